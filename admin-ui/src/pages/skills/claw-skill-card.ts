/** One skill: what it is for, how it stands, and what can be done with it. Emits `claw-toggle`, `claw-keys`, `claw-update`, `claw-remove`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { Skill } from '../../api/skills.ts';
import '../../components/claw-icon.ts';
import '../../components/claw-pill.ts';
import type { Tone } from '../../components/claw-pill.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-skill-card')
export class ClawSkillCard extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .body {
        display: grid;
        gap: 8px;
        padding: 16px 18px;
      }
      .head {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px 10px;
      }
      h2 {
        margin: 0;
        font-weight: 600;
        font-size: 1rem;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-left: auto;
      }
      @media (max-width: 640px) {
        .buttons {
          width: 100%;
          margin-left: 0;
        }
      }
      ul {
        display: grid;
        gap: 4px;
        padding-left: 18px;
      }
      p,
      ul {
        margin: 0;
      }
    `,
  ];

  @property({ attribute: false }) skill!: Skill;

  private emit(name: string) {
    this.dispatchEvent(new CustomEvent(name));
  }

  override render() {
    const { skill } = this;
    const [tone, label] = state(skill);
    const problems = missing(skill);
    return html`<article class="card">
      <div class="body">
        <div class="head">
          <h2 class="wrap-anywhere">${skill.emoji ? `${skill.emoji} ` : ''}${skill.name}</h2>
          <claw-pill tone=${tone}>${label}</claw-pill>
          ${skill.origin?.suspicious ? html`<claw-pill tone="warn">${t.skills.odd}</claw-pill>` : nothing}
          <div class="buttons">
            ${skill.origin?.update
              ? html`<button
                  class="btn small primary"
                  type="button"
                  aria-label=${t.skills.updateOf(skill.name, skill.origin.update)}
                  @click=${() => this.emit('claw-update')}
                >
                  ${t.skills.update(skill.origin.update)}
                </button>`
              : nothing}
            ${hasSettings(skill)
              ? html`<button
                  class="btn small"
                  type="button"
                  aria-label=${t.skills.settingsOf(skill.name)}
                  @click=${() => this.emit('claw-keys')}
                >
                  ${t.skills.settings}
                </button>`
              : nothing}
            <button
              class="btn small"
              type="button"
              aria-label=${skill.enabled ? t.skills.disableOf(skill.name) : t.skills.enableOf(skill.name)}
              @click=${() => this.emit('claw-toggle')}
            >
              ${skill.enabled ? t.skills.disable : t.skills.enable}
            </button>
            ${skill.source === 'node'
              ? nothing
              : html`<button
                  class="btn small danger"
                  type="button"
                  aria-label=${t.skills.removeOf(skill.name)}
                  @click=${() => this.emit('claw-remove')}
                >
                  ${t.common.remove}
                </button>`}
          </div>
        </div>
        <p class="wrap-anywhere">${skill.description}</p>
        ${skill.enabled && problems.length > 0
          ? html`<ul class="small-text">
              ${problems.map((problem) => html`<li>${problem}</li>`)}
            </ul>`
          : nothing}
        <p class="small-text muted">
          ${origin(skill)}${renderFrom(skill)}
          ${skill.homepage
            ? html` · <a href=${skill.homepage} target="_blank" rel="noreferrer noopener">${t.skills.homepage}</a>`
            : nothing}
        </p>
      </div>
    </article>`;
  }
}

function hasSettings(skill: Skill): boolean {
  return skill.userInvocable || Boolean(skill.primaryEnv) || skill.apiKeySet || skill.envWanted.length > 0 || skill.envSet.length > 0;
}

function state(skill: Skill): [Tone, string] {
  if (!skill.enabled) return ['neutral', t.skills.off];
  return skill.eligible ? ['ok', t.skills.ready] : ['warn', t.skills.notReady];
}

function missing({ missing }: Skill): string[] {
  return [
    missing.os.length > 0 ? t.skills.missingOs(missing.os.map(systemName).join(' / ')) : '',
    missing.bins.length > 0 ? t.skills.missingBins(missing.bins.join(', ')) : '',
    missing.anyBins.length > 0 ? t.skills.missingAnyBins(missing.anyBins.join(', ')) : '',
    missing.env.length > 0 ? t.skills.missingEnv(missing.env.join(', ')) : '',
    missing.config.length > 0 ? t.skills.missingConfig(missing.config.join(', ')) : '',
  ].filter((text) => text !== '');
}

function systemName(os: string): string {
  return { darwin: 'macOS', linux: 'Linux', win32: 'Windows' }[os] ?? os;
}

/** Where it was fetched, as a link. */
function renderFrom({ origin }: Skill) {
  if (!origin) return nothing;
  const name = origin.slug
    ? `${origin.publisher ? `${origin.publisher}/` : ''}${origin.slug} ${origin.version ?? ''}`
    : origin.url.replace(/^https?:\/\//, '');
  const folder = origin.folder ? ` › ${origin.folder}` : '';
  return html` ·
    <a class="wrap-anywhere" href=${origin.url} target="_blank" rel="noreferrer noopener">${name}</a>${folder}`;
}

function origin(skill: Skill): string {
  if (skill.source === 'node') return t.skills.fromNode;
  const files = t.skills.files(skill.files);
  return skill.node ? `${files} · ${t.skills.usesNode(skill.node)}` : files;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-skill-card': ClawSkillCard;
  }
}
