/** Starting points for well-known providers. Everything can be changed in the form. */
import type { ProviderModel } from '../../../api/providers.ts';

export interface Preset {
  id: string;
  label: string;
  api: string;
  baseUrl: string;
  models: ProviderModel[];
}

export function emptyModel(): ProviderModel {
  return { id: '', name: '', contextWindow: 128_000, maxTokens: 8_192, input: ['text'], reasoning: false };
}

export const presets: readonly Preset[] = [
  {
    id: 'openai',
    label: 'OpenAI',
    api: 'openai-responses',
    baseUrl: 'https://api.openai.com/v1',
    models: [],
  },
  {
    id: 'anthropic',
    label: 'Anthropic',
    api: 'anthropic-messages',
    baseUrl: 'https://api.anthropic.com',
    models: [],
  },
  {
    id: 'google',
    label: 'Google Gemini',
    api: 'google-generative-ai',
    baseUrl: 'https://generativelanguage.googleapis.com/v1beta',
    models: [],
  },
  {
    id: 'openrouter',
    label: 'OpenRouter',
    api: 'openai-completions',
    baseUrl: 'https://openrouter.ai/api/v1',
    models: [],
  },
  {
    id: 'ollama',
    label: 'Ollama',
    api: 'ollama',
    baseUrl: 'http://127.0.0.1:11434',
    models: [],
  },
];
