/** How a hook is called (`docs/programs.md`). */
import type { Hook } from '../../../api/tokens.ts';
import { t } from '../../../i18n/index.ts';

/** The address of a hook; of one that any token opens when none is given. */
export function hookUrl(origin: string, hook?: Hook): string {
  return `${origin}/hooks/${hook?.path ?? hook?.name ?? 'agent'}`;
}

/** A command line that calls it. */
export function curl(origin: string, hook: Hook | undefined, token: string): string {
  const field = (hook?.action ?? 'agent') === 'wake' ? 'text' : 'message';
  const body = JSON.stringify({ [field]: t.tokens.exampleNote });
  return [
    `curl -X POST ${hookUrl(origin, hook)}`,
    `-H 'Authorization: Bearer ${token}'`,
    "-H 'Content-Type: application/json'",
    `-d '${body}'`,
  ].join(' \\\n  ');
}
