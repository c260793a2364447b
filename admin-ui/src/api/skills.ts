/** Skills of the person who is signed in. */
import { request, segment } from './http.ts';

export interface SkillMissing {
  bins: string[];
  anyBins: string[];
  env: string[];
  config: string[];
  os: string[];
}

/** Where a skill was fetched. */
export interface SkillOrigin {
  url: string;
  folder?: string | null;
  slug?: string | null;
  publisher?: string | null;
  version?: string | null;
  /** The version it can be updated to, as far as is known. */
  update?: string | null;
  checkedAt?: number | null;
  suspicious: boolean;
}

export interface Skill {
  key: string;
  name: string;
  description: string;
  emoji?: string | null;
  homepage?: string | null;
  /** `upload`, `import`, `url`, `clawhub`, or `node`: offered by a connected device. */
  source: string;
  origin?: SkillOrigin | null;
  enabled: boolean;
  eligible: boolean;
  missing: SkillMissing;
  /** The device it can work with, where it needs one. */
  node?: string | null;
  primaryEnv?: string | null;
  apiKeySet: boolean;
  envWanted: string[];
  envSet: string[];
  /** Hosts that the agent may send the key and the variables to. */
  secretHosts: string[];
  /** May others who write to the agent call it by its command. */
  guests: boolean;
  userInvocable: boolean;
  files: number;
  size: number;
  updatedAt: number;
}

/** What is absent stays as it was; an empty text takes a value away. */
export interface SkillChange {
  enabled?: boolean;
  apiKey?: string;
  env?: Record<string, string>;
  secretHosts?: string[];
  guests?: boolean;
}

/** What a search of the registry found. */
export interface SkillHit {
  slug: string;
  publisher?: string | null;
  name: string;
  summary?: string | null;
  version?: string | null;
  updatedAt?: number | null;
}

export interface SkillHits {
  /** Absent: there is no registry. */
  registry?: string | null;
  results: SkillHit[];
}

/** Which skill: the address of an archive, or a slug of the registry. */
export interface SkillWish {
  url?: string;
  folder?: string;
  slug?: string;
  version?: string;
}

export interface SkillConsent {
  replace: boolean;
  acceptSuspicious: boolean;
  sha256: string;
}

/** A skill that was fetched, and is not installed. */
export interface SkillPreview {
  key: string;
  name: string;
  description: string;
  emoji?: string | null;
  homepage?: string | null;
  origin: SkillOrigin;
  verdict: { verdict: 'ok' | 'suspicious' | 'malicious'; reason?: string | null };
  sha256: string;
  text: string;
  paths: { path: string; size: number }[];
  bins: string[];
  env: string[];
  os: string[];
  /** Version or source of the skill it would take the place of. */
  replaces?: string | null;
  changes: { path: string; kind: 'added' | 'removed' | 'changed'; diff?: string | null }[];
}

export interface ListedSkill {
  versions: { version: string; createdAt: number; changelog?: string | null }[];
}

export async function listSkills(signal?: AbortSignal): Promise<Skill[]> {
  const body = await request<{ skills: Skill[] }>('GET', '/api/skills', signal ? { signal } : {});
  return body.skills;
}

/** Installs a zip, a tar.gz, or a `SKILL.md`. */
export function installSkill(file: Blob & { name?: string }, replace: boolean): Promise<Skill> {
  const name = file.name?.toLowerCase() ?? '';
  const packed = name.endsWith('gz') ? 'application/gzip' : 'application/zip';
  return request('POST', `/api/skills${replace ? '?replace=true' : ''}`, {
    raw: { body: file, type: name.endsWith('.md') ? 'text/markdown' : packed },
  });
}

export function searchSkills(words: string, signal?: AbortSignal): Promise<SkillHits> {
  return request('GET', `/api/skill-store?q=${segment(words)}`, signal ? { signal } : {});
}

export function listedSkill(slug: string): Promise<ListedSkill> {
  return request('GET', `/api/skill-store/skills/${segment(slug)}`);
}

/** Fetches a skill to look at. */
export function previewSkill(wish: SkillWish): Promise<SkillPreview> {
  return request('POST', '/api/skill-store/preview', { body: wish });
}

export function fetchSkill(wish: SkillWish, consent: SkillConsent): Promise<Skill> {
  return request('POST', '/api/skill-store/install', { body: { ...wish, ...consent } });
}

/** Asks the registry for newer versions of all skills that came from it. */
export async function checkSkillUpdates(): Promise<Skill[]> {
  return (await request<{ skills: Skill[] }>('POST', '/api/skill-store/check')).skills;
}

export function changeSkill(key: string, change: SkillChange): Promise<Skill> {
  return request('PUT', `/api/skills/${segment(key)}`, { body: change });
}

export function deleteSkill(key: string): Promise<void> {
  return request('DELETE', `/api/skills/${segment(key)}`);
}
