/** Messaging channels: what a platform asks for, and the tenant's accounts on it. */
import { request, segment } from './http.ts';

export interface SecretField {
  name: string;
  envName: string;
  label: string;
  help: string;
  required: boolean;
  /** Made by the server when it connects; nobody types it. */
  generated: boolean;
}

export interface ConfigField {
  name: string;
  label: string;
  help?: string;
  required?: boolean;
}

export interface Manifest {
  id: string;
  path: string;
  label: string;
  secrets: SecretField[];
  defaultApiBase?: string;
  /** Only then can a person link their own account. */
  provesSender?: boolean;
  /** Settings beside the secrets, when the platform has any. */
  config?: ConfigField[];
}

export type AccountStatus = string;

export interface ChannelAccount {
  channel: string;
  accountId: string;
  /** Id of the user whose assistant answers here. */
  owner: string;
  enabled: boolean;
  status: AccountStatus;
  statusDetail?: string | null;
  /** What the platform says about the bot. */
  identity?: unknown;
  /** Names of the secrets that are stored. */
  secretsSet: string[] | Record<string, unknown>;
  config?: Record<string, unknown> | null;
  webhookUrl?: string | null;
}

export interface ChannelList {
  channels: Manifest[];
  accounts: ChannelAccount[];
}

export interface ChannelInput {
  enabled: boolean;
  config: Record<string, unknown>;
  /** Only what was typed; a stored secret that is absent stays. */
  secrets: Record<string, string>;
  owner?: string;
}

export interface SavedChannel {
  account: ChannelAccount;
  warnings: string[];
}

export function listChannels(signal?: AbortSignal): Promise<ChannelList> {
  return request('GET', '/api/channels', signal ? { signal } : {});
}

/** Saves, connects to the platform, and says what it thinks of it. */
export async function saveChannel(channel: string, accountId: string, input: ChannelInput): Promise<SavedChannel> {
  const saved = await request<{ account: ChannelAccount; warnings?: string[] }>(
    'PUT',
    `/api/channels/${segment(channel)}/${segment(accountId)}`,
    { body: input },
  );
  return { account: saved.account, warnings: saved.warnings ?? [] };
}

export function deleteChannel(channel: string, accountId: string): Promise<void> {
  return request('DELETE', `/api/channels/${segment(channel)}/${segment(accountId)}`);
}

/** Is the secret stored. */
export function secretIsSet(account: ChannelAccount, name: string): boolean {
  const set = account.secretsSet;
  return Array.isArray(set) ? set.includes(name) : Boolean(set[name]);
}
