/** The tenant's audit log, newest first. Pages go by `seq`. */
import { request } from './http.ts';

export interface AuditEntry {
  /** From 1, without holes. */
  seq: number;
  /** Epoch milliseconds. */
  at: number;
  action: string;
  /** User id, `system` or `cli`. */
  actor: string | null;
  target: string | null;
  detail: string | null;
}

export async function listAudit(before?: number, signal?: AbortSignal): Promise<AuditEntry[]> {
  const query = before === undefined ? '' : `?before=${before}`;
  const body = await request<{ entries: Record<string, unknown>[] }>(
    'GET',
    `/api/audit${query}`,
    signal ? { signal } : {},
  );
  return body.entries.map(toEntry);
}

function toEntry(row: Record<string, unknown>): AuditEntry {
  return {
    seq: Number(row['seq'] ?? 0),
    at: Number(row['at'] ?? 0),
    action: show(row['action']) ?? '',
    actor: show(row['actor']),
    target: show(row['target']),
    detail: show(row['detail']),
  };
}

function show(value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const text = JSON.stringify(value);
  return text === '{}' ? null : text;
}
