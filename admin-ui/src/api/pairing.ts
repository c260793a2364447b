/** Strangers who wrote to a bot and wait for an answer, and the code that links a chat account to a user. */
import { request, segment } from './http.ts';

export interface PairingRequest {
  id: string;
  channel: string;
  accountId: string;
  senderId: string;
  senderName?: string | null;
  code: string;
  createdAt: number;
  expiresAt: number;
}

export interface LinkCode {
  code: string;
  expiresAt: number;
}

export async function listPairingRequests(signal?: AbortSignal): Promise<PairingRequest[]> {
  return (await request<{ requests: PairingRequest[] }>('GET', '/api/pairing', signal ? { signal } : {})).requests;
}

export function approvePairing(id: string): Promise<void> {
  return request('POST', `/api/pairing/${segment(id)}/approve`);
}

export function dismissPairing(id: string): Promise<void> {
  return request('POST', `/api/pairing/${segment(id)}/dismiss`);
}

export function createLinkCode(): Promise<LinkCode> {
  return request('POST', '/api/link-codes');
}
