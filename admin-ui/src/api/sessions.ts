/** The list of conversations. */
import type { GatewayClient } from './gateway.ts';

export interface SessionRow {
  key: string;
  label?: string | null;
  displayName?: string | null;
  derivedTitle?: string | null;
  lastMessagePreview?: string | null;
  updatedAt?: number | null;
  lastInteractionAt?: number | null;
  isMain?: boolean;
  unread?: boolean;
  pinned?: boolean;
  hasActiveRun?: boolean;
  modelProvider?: string | null;
  model?: string | null;
}

export interface SessionList {
  sessions: SessionRow[];
  hasMore?: boolean;
  nextOffset?: number | null;
  totalCount?: number;
  defaults?: { modelProvider?: string | null; model?: string | null };
}

export function listSessions(gateway: GatewayClient, page: { limit: number; offset?: number }): Promise<SessionList> {
  return gateway.request('sessions.list', {
    includeDerivedTitles: true,
    includeLastMessage: true,
    ...page,
  });
}

/** Asks for `sessions.changed`. Needed once per connection. */
export function subscribeSessions(gateway: GatewayClient): Promise<unknown> {
  return gateway.request('sessions.subscribe', {});
}

/** Asks for `session.message` of one conversation; without effect on a server that does not know it. */
export async function subscribeMessages(gateway: GatewayClient, key: string): Promise<void> {
  if (gateway.supports('sessions.messages.subscribe')) await gateway.request('sessions.messages.subscribe', { key });
}

export function renameSession(gateway: GatewayClient, key: string, label: string | null): Promise<unknown> {
  return gateway.request('sessions.patch', { key, label });
}

export function resetSession(gateway: GatewayClient, key: string): Promise<unknown> {
  return gateway.request('sessions.reset', { key, reason: 'new' });
}

export function deleteSession(gateway: GatewayClient, key: string): Promise<unknown> {
  return gateway.request('sessions.delete', { key, deleteTranscript: true });
}
