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

export interface Provider {
  id: string;
  /** Wire family, e.g. `openai-completions`. */
  api: string;
  baseUrl: string;
  enabled: boolean;
  keySet: boolean;
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

export async function listModels(signal?: AbortSignal): Promise<Model[]> {
  return (await request<{ models: Model[] }>('GET', '/api/models', signal ? { signal } : {})).models;
}
