/** Commands that wait for the user's word. */
import { request, segment } from './http.ts';

export type Decision = 'allow-once' | 'allow-always' | 'deny';

export interface Approval {
  id: string;
  command: string;
  cwd: string | null;
  envKeys: string[];
  nodeId: string | null;
  nodeName: string | null;
  agentId: string | null;
  sessionKey: string | null;
  warning: string | null;
  decisions: Decision[];
  createdAt: number;
  /** From then on it is denied. */
  expiresAt: number;
}

export async function listApprovals(signal?: AbortSignal): Promise<Approval[]> {
  return (await request<{ approvals: Approval[] }>('GET', '/api/approvals', signal ? { signal } : {})).approvals;
}

export function decideApproval(id: string, decision: Decision): Promise<void> {
  return request('POST', `/api/approvals/${segment(id)}`, { body: { decision } });
}
