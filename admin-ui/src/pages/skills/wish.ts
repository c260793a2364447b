/** What a person typed, as a wish. */
import type { SkillWish } from '../../api/skills.ts';

/** An address of an archive, or with a registry a skill's name or page there; `undefined` when it is neither. */
export function wishOf(typed: string, folder: string, registry: string): SkillWish | undefined {
  const text = typed.trim();
  if (text === '') return undefined;
  const page = registry !== '' && text.startsWith(`${registry}/`) && !/\.(?:zip|tgz|tar\.gz)(?:[?#]|$)/i.test(text);
  if (/^https?:\/\//i.test(text) && !page) {
    const within = folder.trim();
    return within === '' ? { url: text } : { url: text, folder: within };
  }
  return registry === '' || /\s/.test(text) ? undefined : { slug: text };
}
