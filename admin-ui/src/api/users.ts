/** Members of the tenant. */
import { request } from './http.ts';
import type { Role } from './session.ts';

export interface Member {
  id: string;
  email: string;
  name?: string | null;
  role: Role;
  /** Locked out by an owner or administrator. */
  disabled?: boolean;
  createdAt?: number;
  lastSeenAt?: number | null;
}

export interface Invited {
  user: Member;
  /** Link that signs the new member in once. */
  signInLink: string;
  expiresAt?: number;
}

export async function listUsers(signal?: AbortSignal): Promise<Member[]> {
  const body = await request<Member[] | { users: Member[] }>('GET', '/api/users', signal ? { signal } : {});
  return Array.isArray(body) ? body : body.users;
}

export async function inviteUser(email: string, role: Role): Promise<Invited> {
  const body = await request<Record<string, unknown>>('POST', '/api/users', { body: { email, role } });
  const user = (body['user'] ?? body) as Member;
  const link = body['signInLink'] ?? body['signInUrl'] ?? body['link'];
  const expiresAt = body['expiresAt'];
  return {
    user,
    signInLink: typeof link === 'string' ? link : '',
    ...(typeof expiresAt === 'number' && { expiresAt }),
  };
}

/** Locks a member out, or lets them in again. */
export async function setDisabled(id: string, disabled: boolean): Promise<Member> {
  return request<Member>('PATCH', `/api/users/${encodeURIComponent(id)}`, { body: { disabled } });
}
