/** Tokens for programs: personal API tokens, which OpenClaw clients call the gateway token, and tokens of hooks. */
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

export interface HookToken {
  id: string;
  name: string;
  /** The one hook it opens; absent: all. */
  hook?: string | null;
  createdAt: number;
  lastUsedAt?: number | null;
}

/** The answer to `createHookToken`; `token` is never shown again. */
export interface NewHookToken extends HookToken {
  token: string;
}

/** What a token opens. */
export interface Hook {
  name: string;
  /** What stands behind `/hooks/`; absent where the body alone decides. */
  path?: string | null;
  action: 'wake' | 'agent';
}

export interface HookTokens {
  hookTokens: HookToken[];
  enabled: boolean;
  hooks: Hook[];
}

export function listHookTokens(signal?: AbortSignal): Promise<HookTokens> {
  return request('GET', '/api/hook-tokens', signal ? { signal } : {});
}

/** Without `hook` the token opens all of them. */
export function createHookToken(name: string, hook?: string): Promise<NewHookToken> {
  return request('POST', '/api/hook-tokens', { body: hook ? { name, hook } : { name } });
}

export function deleteHookToken(id: string): Promise<void> {
  return request('DELETE', `/api/hook-tokens/${segment(id)}`);
}
