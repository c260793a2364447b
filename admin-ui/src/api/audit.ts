/** The tenant's audit log, newest first. */
import { request } from './http.ts';

export interface AuditEntry {
  id: string | number;
  /** Epoch milliseconds. */
  at: number;
  action: string;
  actor: string | null;
  target: string | null;
  detail: string | null;
  /** Position to continue from. */
  cursor: string;
}

export async function listAudit(before?: string, signal?: AbortSignal): Promise<AuditEntry[]> {
  const query = before === undefined ? '' : `?before=${encodeURIComponent(before)}`;
  const body = await request<{ entries: Record<string, unknown>[] }>(
    'GET',
    `/api/audit${query}`,
    signal ? { signal } : {},
  );
  return body.entries.map(toEntry);
}

function toEntry(row: Record<string, unknown>): AuditEntry {
  const id = row['id'] ?? row['seq'] ?? row['createdAt'];
  return {
    id: typeof id === 'number' ? id : show(id) ?? '',
    at: Number(row['at'] ?? row['createdAt'] ?? row['ts'] ?? 0),
    action: show(row['action'] ?? row['event'] ?? row['kind']) ?? '',
    actor: show(row['actorEmail'] ?? row['actor'] ?? row['userId']),
    target: show(row['target'] ?? row['subject']),
    detail: show(row['detail'] ?? row['details'] ?? row['data']),
    cursor: show(row['seq'] ?? row['id']) ?? '',
  };
}

function show(value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return JSON.stringify(value);
}
