/** Turns whatever was thrown into a sentence for people. Knows errors by their shape, not by their class. */
import { t } from './index.ts';

interface ErrorShape {
  status?: number;
  code?: string;
  message?: string;
  errorId?: string;
  retryAfterSeconds?: number;
}

export function describeError(error: unknown): string {
  const shape = (typeof error === 'object' && error !== null ? error : {}) as ErrorShape;
  if (shape.status === 0) return t.errors.network;
  if (shape.status === 429) return t.errors.rateLimited(shape.retryAfterSeconds);
  if (shape.status === 401) return t.errors.sessionEnded;
  if (shape.code === 'DISCONNECTED') return t.errors.disconnected;
  const message = shape.message && shape.message !== '' ? sentence(shape.message) : t.common.failed;
  return shape.errorId ? `${message} ${t.common.errorId(shape.errorId)}` : message;
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
