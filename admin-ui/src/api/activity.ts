/** What needs a person: messages that were given up, replies that may not have arrived. */
import { request, segment } from './http.ts';

export interface InboxRow {
  id: string | number;
  source: string;
  sessionKey: string;
  state: string;
  reason?: string | null;
  attempts: number;
  receivedAt: number;
}

export interface OutboxRow {
  id: string | number;
  conversation: string;
  /** `unknown`: sent or not, nobody knows. `failed`: certainly not sent. */
  state: string;
  error?: string | null;
  createdAt: number;
}

export interface Activity {
  inbox: InboxRow[];
  outbox: OutboxRow[];
}

export function fetchActivity(signal?: AbortSignal): Promise<Activity> {
  return request('GET', '/api/activity', signal ? { signal } : {});
}

export function retryInbox(id: string | number): Promise<void> {
  return request('POST', `/api/activity/inbox/${segment(String(id))}/retry`);
}

export function retryOutbox(id: string | number): Promise<void> {
  return request('POST', `/api/activity/outbox/${segment(String(id))}/retry`);
}
