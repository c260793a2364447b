import { expect, it } from 'vitest';
import { matchRoute, signInCode } from './router.ts';

const routes = [{ path: '/chat' }, { path: '/devices' }, { path: '/settings/account' }];

it('finds pages, with or without a slash at the end', () => {
  expect(matchRoute(routes, '/chat').route).toBe(routes[0]);
  expect(matchRoute(routes, '/chat/')).toEqual({ route: routes[0], redirect: '/chat' });
});

it('redirects the root and old names', () => {
  expect(matchRoute(routes, '/')).toEqual({ route: routes[0], redirect: '/chat' });
  expect(matchRoute(routes, '/nodes')).toEqual({ route: routes[1], redirect: '/devices' });
  expect(matchRoute(routes, '/settings').redirect).toBe('/settings/account');
});

it('knows what it does not know', () => {
  expect(matchRoute(routes, '/nowhere').route).toBeUndefined();
  expect(matchRoute(routes, '//').route).toBe(routes[0]);
});

it('reads the code of a sign-in link only', () => {
  expect(signInCode('#sign-in=abc%2F1')).toBe('abc/1');
  expect(signInCode('#sign-in=a%zz')).toBe('a%zz');
  expect(signInCode('#sign-in=')).toBeUndefined();
  expect(signInCode('#section')).toBeUndefined();
});
