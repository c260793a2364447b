/** Personal API tokens: what OpenClaw clients call the gateway token. */
import { request, segment } from './http.ts';

export interface Token {
  id: string;
  name: string;
  /** Absent: all that its owner may do. */
  scopes?: string[] | null;
  createdAt: number;
  lastUsedAt?: number | null;
}

/** The answer to `createToken`; `token` is never shown again. */
export interface NewToken extends Token {
  token: string;
}

export async function listTokens(signal?: AbortSignal): Promise<Token[]> {
  const body = await request<Token[] | { tokens: Token[] }>('GET', '/api/tokens', signal ? { signal } : {});
  return Array.isArray(body) ? body : body.tokens;
}

/** Without `scopes` the token can do all that its owner can. */
export function createToken(name: string, scopes?: string[]): Promise<NewToken> {
  return request('POST', '/api/tokens', { body: scopes ? { name, scopes } : { name } });
}

export function deleteToken(id: string): Promise<void> {
  return request('DELETE', `/api/tokens/${segment(id)}`);
}
