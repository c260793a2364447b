/** Starting points for well-known providers. Everything can be changed in the form. */
import type { ProviderModel } from '../../../api/providers.ts';

export interface Preset {
  id: string;
  label: string;
  api: string;
  baseUrl: string;
}

export function emptyModel(): ProviderModel {
  return { id: '', name: '', input: ['text'], reasoning: false };
}

export const presets: readonly Preset[] = [
  {
    id: 'openai',
    label: 'OpenAI',
    api: 'openai-completions',
    baseUrl: 'https://api.openai.com/v1',
  },
  {
    id: 'anthropic',
    label: 'Anthropic',
    api: 'anthropic-messages',
    baseUrl: 'https://api.anthropic.com',
  },
  {
    id: 'google',
    label: 'Google Gemini',
    api: 'openai-completions',
    baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai',
  },
  {
    id: 'openrouter',
    label: 'OpenRouter',
    api: 'openai-completions',
    baseUrl: 'https://openrouter.ai/api/v1',
  },
  {
    id: 'ollama',
    label: 'Ollama',
    api: 'openai-completions',
    baseUrl: 'http://127.0.0.1:11434/v1',
  },
];
