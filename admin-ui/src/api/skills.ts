/** Skills of the person who is signed in. */
import { request, segment } from './http.ts';

export interface SkillMissing {
  bins: string[];
  anyBins: string[];
  env: string[];
  config: string[];
  os: string[];
}

export interface Skill {
  key: string;
  name: string;
  description: string;
  emoji?: string | null;
  homepage?: string | null;
  /** `upload`, `import`, or `node`: offered by a connected device. */
  source: string;
  enabled: boolean;
  eligible: boolean;
  missing: SkillMissing;
  /** The device it can work with, where it needs one. */
  node?: string | null;
  primaryEnv?: string | null;
  apiKeySet: boolean;
  envWanted: string[];
  envSet: string[];
  files: number;
  size: number;
  updatedAt: number;
}

/** What is absent stays as it was; an empty text takes a value away. */
export interface SkillChange {
  enabled?: boolean;
  apiKey?: string;
  env?: Record<string, string>;
}

export async function listSkills(signal?: AbortSignal): Promise<Skill[]> {
  const body = await request<{ skills: Skill[] }>('GET', '/api/skills', signal ? { signal } : {});
  return body.skills;
}

/** Installs a zip, or a `SKILL.md`. */
export function installSkill(file: Blob & { name?: string }, replace: boolean): Promise<Skill> {
  const text = file.name?.toLowerCase().endsWith('.md') ?? false;
  return request('POST', `/api/skills${replace ? '?replace=true' : ''}`, {
    raw: { body: file, type: text ? 'text/markdown' : 'application/zip' },
  });
}

export function changeSkill(key: string, change: SkillChange): Promise<Skill> {
  return request('PUT', `/api/skills/${segment(key)}`, { body: change });
}

export function deleteSkill(key: string): Promise<void> {
  return request('DELETE', `/api/skills/${segment(key)}`);
}
