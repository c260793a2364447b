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
    api: 'google-generative-ai',
    baseUrl: 'https://generativelanguage.googleapis.com/v1beta',
  },
  {
    id: 'openrouter',
    label: 'OpenRouter',
    api: 'openai-completions',
    baseUrl: 'https://openrouter.ai/api/v1',
  },
  {
    id: 'azure',
    label: 'Azure OpenAI',
    api: 'azure-openai-responses',
    baseUrl: 'https://RESOURCE.openai.azure.com',
  },
  {
    id: 'mistral',
    label: 'Mistral',
    api: 'openai-completions',
    baseUrl: 'https://api.mistral.ai/v1',
  },
  {
    id: 'groq',
    label: 'Groq',
    api: 'openai-completions',
    baseUrl: 'https://api.groq.com/openai/v1',
  },
  {
    id: 'deepseek',
    label: 'DeepSeek',
    api: 'openai-completions',
    baseUrl: 'https://api.deepseek.com',
  },
  {
    id: 'xai',
    label: 'xAI',
    api: 'openai-completions',
    baseUrl: 'https://api.x.ai/v1',
  },
  {
    id: 'together',
    label: 'Together',
    api: 'openai-completions',
    baseUrl: 'https://api.together.xyz/v1',
  },
  {
    id: 'amazon-bedrock',
    label: 'Amazon Bedrock',
    api: 'bedrock-converse-stream',
    baseUrl: 'https://bedrock-runtime.us-east-1.amazonaws.com',
  },
  {
    id: 'voyage',
    label: 'Voyage (embeddings)',
    api: 'openai-completions',
    baseUrl: 'https://api.voyageai.com/v1',
  },
  {
    id: 'ollama',
    label: 'Ollama',
    api: 'ollama',
    baseUrl: 'http://127.0.0.1:11434',
  },
];
