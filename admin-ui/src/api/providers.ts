/** AI providers of the tenant. API keys go in and never come back. */
import { request, segment } from './http.ts';

/** The demo provider's own; nobody configures it. */
const BUILT_IN_API = 'demo-echo';

export interface ProviderModel {
  id: string;
  name?: string;
  /** Tokens; absent: the server's default. */
  contextWindow?: number;
  maxTokens?: number;
  input?: string[];
  reasoning?: boolean;
}

/** A key without its value, and how it stands for the person who is signed in. */
export interface ProviderKey {
  /** `default` is the one that is entered with the provider. */
  name: string;
  /** Epoch milliseconds. */
  lastUsedAt?: number;
  /** It is not used until then, epoch milliseconds. */
  restsUntil?: number;
  /** Why: `rate_limit`, `billing`, `auth`, … */
  reason?: string;
  /** For this model only. */
  model?: string;
}

export interface Provider {
  id: string;
  /** Wire family, e.g. `openai-completions`. */
  api: string;
  baseUrl: string;
  enabled: boolean;
  keySet: boolean;
  keys: ProviderKey[];
  /** Names of keys: where there are any, they alone are used, in this order. */
  keyOrder: string[];
  models: ProviderModel[];
}

export interface ProviderList {
  providers: Provider[];
  apis: string[];
}

export interface ProviderInput {
  api: string;
  baseUrl: string;
  enabled: boolean;
  models: ProviderModel[];
  /** Left out: the stored key stays. */
  apiKey?: string;
}

export interface Model {
  /** `provider/id`. */
  ref: string;
  name: string;
  provider: string;
  contextWindow: number;
  reasoning: boolean;
  default: boolean;
}

export async function listProviders(signal?: AbortSignal): Promise<ProviderList> {
  const body = await request<{ providers: Provider[]; apis: (string | { id: string })[] }>(
    'GET',
    '/api/providers',
    signal ? { signal } : {},
  );
  const apis = body.apis.map((api) => (typeof api === 'string' ? api : api.id));
  return { providers: body.providers, apis: apis.filter((api) => api !== BUILT_IN_API) };
}

export function saveProvider(id: string, input: ProviderInput): Promise<unknown> {
  return request('PUT', `/api/providers/${segment(id)}`, { body: input });
}

export function deleteProvider(id: string): Promise<void> {
  return request('DELETE', `/api/providers/${segment(id)}`);
}

export function saveKey(id: string, name: string, apiKey: string): Promise<Provider> {
  return request('PUT', `/api/providers/${segment(id)}/keys/${segment(name)}`, { body: { apiKey } });
}

export function deleteKey(id: string, name: string): Promise<void> {
  return request('DELETE', `/api/providers/${segment(id)}/keys/${segment(name)}`);
}

/** Without names all keys are used, the one that rested longest first. */
export function orderKeys(id: string, order: string[]): Promise<Provider> {
  return request('PUT', `/api/providers/${segment(id)}/key-order`, { body: { order } });
}

/** Lets a key that rests be tried with the next message, for everybody. */
export function retryKey(id: string, name: string): Promise<Provider> {
  return request('POST', `/api/providers/${segment(id)}/keys/${segment(name)}/retry`);
}

export async function listModels(signal?: AbortSignal): Promise<Model[]> {
  return (await request<{ models: Model[] }>('GET', '/api/models', signal ? { signal } : {})).models;
}
