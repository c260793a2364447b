/** Who is signed in, signing in and out. */
import { ApiError, request } from './http.ts';

export type Role = 'owner' | 'admin' | 'member';

export interface Profile {
  id: string;
  email: string;
  name: string | null;
  role: Role;
  /** IANA name; `null` until one is chosen. */
  timeZone: string | null;
}

export interface Session {
  tenant: { slug: string; name: string };
  user: Profile;
  /** Gateway scopes of this session, e.g. `operator.read`. */
  scopes: string[];
  /** No AI provider is set up: the built-in demo provider answers. */
  zeroKey: boolean;
  hasPassword: boolean;
  /** A new password has to come with the present one. */
  asksPassword: boolean;
}

/** The signed-in session, or `null` if nobody is signed in. */
export async function fetchSession(signal?: AbortSignal): Promise<Session | null> {
  try {
    return await request<Session>('GET', '/api/session', { expectUnauthorized: true, ...(signal && { signal }) });
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}

export function signInWithCode(code: string): Promise<Session> {
  return request('POST', '/api/session', { body: { code }, expectUnauthorized: true });
}

export function signInWithPassword(email: string, password: string): Promise<Session> {
  return request('POST', '/api/session', { body: { email, password }, expectUnauthorized: true });
}

export function signOut(): Promise<void> {
  return request('DELETE', '/api/session', { expectUnauthorized: true });
}

/** Fails with 403 when the present password is missing or wrong. */
export function setPassword(password: string, currentPassword?: string): Promise<void> {
  return request('PUT', '/api/session/password', { body: { password, ...(currentPassword && { currentPassword }) } });
}

/** What is left out stays. */
export function changeProfile(change: { name?: string; timeZone?: string }): Promise<Profile> {
  return request('PATCH', '/api/session/profile', { body: change });
}

/** The time zone of this browser; empty where it does not tell. */
export function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

export function isAdmin(session: Session): boolean {
  return session.user.role !== 'member';
}
