import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError, onUnauthorized, request, segment } from './http.ts';
import { fetchSession } from './session.ts';

const answer = (status: number, body?: unknown, headers: Record<string, string> = {}) => {
  const response = new Response(body === undefined ? null : JSON.stringify(body), { status, headers });
  const fake = vi.fn<typeof fetch>(() => Promise.resolve(response));
  vi.stubGlobal('fetch', fake);
  return fake;
};

afterEach(() => vi.unstubAllGlobals());

describe('request', () => {
  it('sends JSON on the same origin and gives the body', async () => {
    const fake = answer(200, { ok: 1 });
    expect(await request('POST', '/api/x', { body: { a: 1 } })).toEqual({ ok: 1 });
    const [path, init] = fake.mock.calls[0]!;
    expect(path).toBe('/api/x');
    expect(init).toMatchObject({ method: 'POST', credentials: 'same-origin', body: '{"a":1}' });
  });

  it('gives nothing for 204', async () => {
    answer(204);
    expect(await request('DELETE', '/api/x')).toBeUndefined();
  });

  it('carries code, message, id and the time to wait', async () => {
    answer(429, { error: { code: 'RATE_LIMITED', message: 'slow down', errorId: 'e1' } }, { 'retry-after': '7' });
    const error = await request('GET', '/api/x').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 429,
      code: 'RATE_LIMITED',
      message: 'slow down',
      errorId: 'e1',
      retryAfterSeconds: 7,
    });
  });

  it('survives an error page that is not JSON', async () => {
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('<h1>Bad gateway</h1>', { status: 502 })));
    await expect(request('GET', '/api/x')).rejects.toMatchObject({ status: 502, code: 'HTTP_502' });
  });

  it('says so when the server cannot be reached', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('failed to fetch')));
    await expect(request('GET', '/api/x')).rejects.toMatchObject({ status: 0 });
  });

  it('tells about a lost session, except to those who asked for it', async () => {
    const listener = vi.fn();
    const undo = onUnauthorized(listener);
    answer(401, { error: { code: 'UNAUTHORIZED', message: 'no' } });
    expect(await fetchSession()).toBeNull();
    expect(listener).not.toHaveBeenCalled();
    answer(401);
    await expect(request('GET', '/api/tokens')).rejects.toMatchObject({ status: 401 });
    expect(listener).toHaveBeenCalledTimes(1);
    undo();
  });
});

it('never lets data become part of the path', () => {
  expect(segment('../tokens?x')).toBe('..%2Ftokens%3Fx');
});
