/** A fetched skill: where it is from, what it says, what it would change. Emits `claw-install`, `claw-version`, `claw-back`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { SkillPreview } from '../../api/skills.ts';
import '../../components/claw-banner.ts';
import '../../components/claw-pill.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

export interface Agreed {
  acceptSuspicious: boolean;
}

@customElement('claw-skill-preview')
export class ClawSkillPreview extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      dl {
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr);
        gap: 6px 16px;
        font-size: 0.875rem;
      }
      dt {
        color: var(--claw-text-2);
      }
      pre {
        max-height: 300px;
        margin: 8px 0 0;
        padding: 10px 12px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius-s);
        background: var(--claw-code-bg);
        font-family: var(--claw-mono);
        font-size: 0.8125rem;
        line-height: 1.5;
        white-space: pre-wrap;
        overflow: auto;
        overflow-wrap: anywhere;
      }
      .plus {
        background: var(--claw-ok-soft);
      }
      .minus {
        background: var(--claw-danger-soft);
      }
      summary {
        cursor: pointer;
        font-weight: 500;
      }
      details + details {
        margin-top: 8px;
      }
      select.input {
        width: auto;
        min-height: 30px;
        padding: 2px 8px;
      }
      @media (max-width: 640px) {
        dl {
          grid-template-columns: minmax(0, 1fr);
          gap: 0;
        }
        dd {
          margin-bottom: 8px;
        }
      }
    `,
  ];

  @property({ attribute: false }) preview!: SkillPreview;
  /** To choose from; may come later. */
  @property({ attribute: false }) versions: readonly string[] = [];
  @property({ type: Boolean }) busy = false;
  @state() private accepted = false;

  private get suspicious(): boolean {
    return this.preview.verdict.verdict !== 'ok';
  }

  private emit(name: string, detail?: unknown) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  override render() {
    const { preview } = this;
    const action = preview.replaces ? t.skills.replace : t.skills.install;
    return html`<div class="stack">
      <p class="wrap-anywhere">${preview.emoji ? `${preview.emoji} ` : ''}${preview.description}</p>
      ${this.suspicious
        ? html`<claw-banner tone="warn">${t.skills.suspicious(preview.verdict.reason ?? '')}</claw-banner>`
        : nothing}
      ${this.renderFacts()}
      ${preview.replaces ? html`<p>${t.skills.willReplace(source(preview.replaces))}</p>` : nothing}
      ${preview.replaces ? this.renderChanges() : nothing}
      <details ?open=${!preview.replaces}>
        <summary>${t.skills.whatItSays}</summary>
        <pre tabindex="0">${preview.text}</pre>
      </details>
      ${this.suspicious
        ? html`<label class="check">
            <input
              type="checkbox"
              .checked=${this.accepted}
              @change=${(event: Event) => (this.accepted = (event.target as HTMLInputElement).checked)}
            />
            ${t.skills.acceptSuspicious}
          </label>`
        : nothing}
      <div class="row end">
        <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.emit('claw-back')}>
          ${t.skills.back}
        </button>
        <button
          class="btn primary"
          type="button"
          ?disabled=${this.busy || (this.suspicious && !this.accepted)}
          @click=${() => this.emit('claw-install', { acceptSuspicious: this.accepted } satisfies Agreed)}
        >
          ${this.busy ? t.skills.installing : action}
        </button>
      </div>
    </div>`;
  }

  private renderFacts() {
    const { origin, sha256, bins, env, paths } = this.preview;
    const asks = [
      bins.length > 0 ? t.skills.programs(bins.join(', ')) : '',
      env.length > 0 ? t.skills.variables(env.join(', ')) : '',
    ].filter((text) => text !== '');
    return html`<dl>
      <dt>${t.skills.from}</dt>
      <dd class="wrap-anywhere">
        <a href=${origin.url} target="_blank" rel="noreferrer noopener">${origin.url}</a>${origin.folder
          ? ` › ${origin.folder}`
          : nothing}
      </dd>
      ${origin.version ? html`<dt>${t.skills.version}</dt><dd>${this.renderVersions(origin.version)}</dd>` : nothing}
      <dt>${t.skills.asksFor}</dt>
      <dd class="wrap-anywhere">${asks.length > 0 ? asks.join('; ') : t.skills.asksNothing}</dd>
      <dt>${t.skills.contents(paths.length)}</dt>
      <dd class="wrap-anywhere">${paths.map(({ path }) => path).join(', ')}</dd>
      <dt>${t.skills.fingerprint}</dt>
      <dd class="mono wrap-anywhere">${sha256}</dd>
    </dl>`;
  }

  private renderVersions(chosen: string) {
    if (this.versions.length < 2) return chosen;
    const all = this.versions.includes(chosen) ? this.versions : [chosen, ...this.versions];
    return html`<select
      class="input"
      aria-label=${t.skills.version}
      ?disabled=${this.busy}
      @change=${(event: Event) => this.emit('claw-version', (event.target as HTMLSelectElement).value)}
    >
      ${all.map(
        (version, at) =>
          html`<option value=${version} ?selected=${version === chosen}>
            ${at === 0 ? `${version} (${t.skills.newest})` : version}
          </option>`,
      )}
    </select>`;
  }

  private renderChanges() {
    const { changes } = this.preview;
    return html`<section>
      <h3>${t.skills.changesTitle}</h3>
      ${changes.length === 0 ? html`<p class="muted">${t.skills.noChanges}</p>` : nothing}
      ${changes.map(
        ({ path, kind, diff }) =>
          html`<details ?open=${changes.length === 1}>
            <summary><span class="mono wrap-anywhere">${path}</span> <claw-pill>${t.skills.changeKinds[kind] ?? kind}</claw-pill></summary>
            ${diff ? html`<pre tabindex="0">${lines(diff)}</pre>` : html`<p class="muted small-text">${t.skills.noDiff}</p>`}
          </details>`,
      )}
    </section>`;
  }
}

/** The lines of a `diff -u`, those that come and go marked. */
function lines(diff: string) {
  return diff.split('\n').map((line) => {
    const kind = line.startsWith('+') ? 'plus' : line.startsWith('-') ? 'minus' : '';
    return html`<span class=${kind}>${line}</span>\n`;
  });
}

function source(replaced: string): string {
  return t.skills.sources[replaced] ?? replaced;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-skill-preview': ClawSkillPreview;
  }
}
