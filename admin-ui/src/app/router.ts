/** History-path routing over a table. Knows nothing of elements. */
export interface Match<R> {
  route: R | undefined;
  /** The path differs from the asked one: replace it in the address bar. */
  redirect?: string;
}

const ALIASES: Record<string, string> = {
  '/': '/chat',
  '/nodes': '/devices',
  '/settings': '/settings/account',
  '/settings/providers': '/settings/ai-providers',
};

export function matchRoute<R extends { path: string }>(routes: readonly R[], pathname: string): Match<R> {
  const trimmed = pathname.length > 1 ? pathname.replace(/\/+$/, '') || '/' : pathname;
  const path = ALIASES[trimmed] ?? trimmed;
  const route = routes.find((candidate) => candidate.path === path);
  return path === pathname ? { route } : { route, redirect: path };
}

/** The in-app path a click leads to, or `undefined` when the browser should handle it. */
export function clickedPath(event: MouseEvent, origin: string): string | undefined {
  if (event.defaultPrevented || event.button !== 0) return undefined;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return undefined;
  const anchor = event.composedPath().find((node) => node instanceof HTMLAnchorElement);
  if (!(anchor instanceof HTMLAnchorElement) || anchor.target || anchor.hasAttribute('download')) return undefined;
  if (anchor.origin !== origin || anchor.getAttribute('href')?.startsWith('#')) return undefined;
  if (anchor.pathname.startsWith('/api/')) return undefined;
  return anchor.pathname + anchor.search;
}

const SIGN_IN_PREFIX = '#sign-in=';

/** The one-time code in the fragment of a sign-in link. */
export function signInCode(hash: string): string | undefined {
  if (!hash.startsWith(SIGN_IN_PREFIX)) return undefined;
  const code = decode(hash.slice(SIGN_IN_PREFIX.length));
  return code === '' ? undefined : code;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
