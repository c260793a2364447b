/** Who may write to a bot: the part of an account's settings that the form edits. Pure. */
export type DirectPolicy = 'pairing' | 'allowlist' | 'open' | 'disabled';
export type GroupPolicy = 'allowlist' | 'open' | 'disabled';

export interface Access {
  direct: DirectPolicy;
  group: GroupPolicy;
  /** Sender ids of the platform, without the `*` that "everyone" needs. */
  allowFrom: string[];
}

type Config = Record<string, unknown>;

const DIRECT: readonly DirectPolicy[] = ['pairing', 'allowlist', 'open', 'disabled'];
const GROUP: readonly GroupPolicy[] = ['allowlist', 'open', 'disabled'];

export function readAccess(config: Config | null | undefined): Access {
  const direct = DIRECT.find((policy) => policy === config?.['dmPolicy']) ?? 'pairing';
  const group = GROUP.find((policy) => policy === config?.['groupPolicy']) ?? 'allowlist';
  const list = config?.['allowFrom'];
  const entries = Array.isArray(list) ? list.map(String) : [];
  return { direct, group, allowFrom: entries.filter((entry) => entry !== '*') };
}

/** `config` with `access` in it; everything else stays. Names are written only when they differ from the default. */
export function writeAccess(config: Config, access: Access): Config {
  const next: Config = { ...config };
  delete next['dmPolicy'];
  delete next['groupPolicy'];
  delete next['allowFrom'];
  if (access.direct !== 'pairing') next['dmPolicy'] = access.direct;
  if (access.group !== 'allowlist') next['groupPolicy'] = access.group;
  // "Everyone" must be said twice, or it lets nobody in.
  const allowFrom = access.direct === 'open' ? ['*', ...access.allowFrom] : access.allowFrom;
  if (allowFrom.length > 0) next['allowFrom'] = allowFrom;
  return next;
}

/** Ids as people type them: commas, spaces or lines between them. */
export function parseSenders(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/).filter((entry) => entry !== '' && entry !== '*'))];
}
