/** Texts of the current language. A further language is one file like `en.ts` and a choice here. */
import { en } from './en.ts';

export type Texts = typeof en;
export const t: Texts = en;

/** How numbers and dates are written. */
export const locale = 'en';

const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });
const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
];

/** "5 min. ago", "in 3 hr."; `ms` is epoch milliseconds. */
export function relativeTime(ms: number, now = Date.now()): string {
  const difference = ms - now;
  for (const [unit, size] of UNITS) {
    if (Math.abs(difference) >= size) return relative.format(Math.round(difference / size), unit);
  }
  return difference > 30_000 ? relative.format(1, 'minute') : t.common.justNow;
}

const full = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });
export function fullTime(ms: number): string {
  return full.format(ms);
}
