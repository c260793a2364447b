/**
 * Finds a skill: a search of the registry, or the address of an archive; then shows what it says, and installs that and
 * nothing else. With `wish` it begins at that skill, as an update does. Emits `claw-close`, `claw-installed` with its name.
 */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { fetchSkill, listedSkill, previewSkill, searchSkills } from '../../api/skills.ts';
import type { SkillHit, SkillHits, SkillPreview, SkillWish } from '../../api/skills.ts';
import '../../components/claw-banner.ts';
import '../../components/claw-dialog.ts';
import '../../components/claw-skeleton.ts';
import { describeError } from '../../i18n/errors.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import './claw-skill-preview.ts';
import type { Agreed } from './claw-skill-preview.ts';
import { wishOf } from './wish.ts';

@customElement('claw-skill-finder')
export class ClawSkillFinder extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      claw-dialog {
        --claw-dialog-width: 720px;
      }
      .hits {
        max-height: 320px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
        overflow-y: auto;
      }
      .hits p {
        display: -webkit-box;
        overflow: hidden;
        -webkit-box-orient: vertical;
        -webkit-line-clamp: 2;
      }
      .pair {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
        gap: 16px;
      }
      .or {
        display: flex;
        align-items: center;
        gap: 12px;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
      }
      .or::before,
      .or::after {
        flex: 1;
        height: 1px;
        background: var(--claw-border);
        content: '';
      }
    `,
  ];

  /** Where to begin. */
  @property({ attribute: false }) wish: SkillWish | undefined;

  /** Absent until the server has said whether there is one; `''`: there is none. */
  @state() private registry: string | undefined;
  @state() private hits: SkillHit[] | undefined;
  @state() private searching = false;
  @state() private busy = false;
  @state() private error = '';
  @state() private preview: SkillPreview | undefined;
  @state() private versions: string[] = [];

  @query('#words') private readonly words!: HTMLInputElement;
  @query('#address') private readonly address!: HTMLInputElement;
  @query('#folder') private readonly folder!: HTMLInputElement;

  override connectedCallback() {
    super.connectedCallback();
    if (this.wish) void this.look(this.wish);
    else void this.search('');
  }

  private async search(words: string) {
    this.searching = true;
    this.error = '';
    try {
      const found: SkillHits = await searchSkills(words);
      this.registry = found.registry ?? '';
      this.hits = found.results;
    } catch (error) {
      // An address can be installed from without the registry.
      this.registry ??= '';
      this.error = describeError(error);
    } finally {
      this.searching = false;
    }
  }

  private async look(wish: SkillWish) {
    this.busy = true;
    this.error = '';
    this.wish = wish;
    try {
      this.preview = await previewSkill(wish);
      void this.findVersions(this.preview);
    } catch (error) {
      this.error = describeError(error);
    } finally {
      this.busy = false;
    }
  }

  /** A choice of versions is a nicety. */
  private async findVersions({ origin }: SkillPreview) {
    this.versions = [];
    if (!origin.slug) return;
    const listed = await listedSkill(origin.slug).catch(() => undefined);
    this.versions = listed?.versions.map(({ version }) => version) ?? [];
  }

  private submitAddress(event: Event) {
    event.preventDefault();
    const wish = wishOf(this.address.value, this.folder.value, this.registry ?? '');
    if (!wish) return void (this.error = t.skills.addressProblem);
    void this.look(wish);
  }

  private async install({ acceptSuspicious }: Agreed) {
    if (!this.preview || !this.wish) return;
    const { sha256, replaces, name, origin } = this.preview;
    // Exactly the version that was looked at.
    const wish = origin.version ? { ...this.wish, version: origin.version } : this.wish;
    this.busy = true;
    this.error = '';
    try {
      await fetchSkill(wish, { replace: Boolean(replaces), acceptSuspicious, sha256 });
      this.dispatchEvent(new CustomEvent('claw-installed', { detail: name }));
    } catch (error) {
      this.error = describeError(error);
    } finally {
      this.busy = false;
    }
  }

  private back() {
    this.preview = undefined;
    this.error = '';
    if (this.registry === undefined) void this.search('');
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    const heading = this.preview ? t.skills.lookTitle(this.preview.name) : t.skills.findTitle;
    return html`<claw-dialog heading=${heading} ?busy=${this.busy} @claw-close=${() => this.close()}>
      <div class="stack">
        ${this.error ? html`<claw-banner tone="danger">${this.error}</claw-banner>` : nothing}
        ${this.preview
          ? html`<claw-skill-preview
              .preview=${this.preview}
              .versions=${this.versions}
              ?busy=${this.busy}
              @claw-version=${(event: CustomEvent<string>) => this.look({ ...this.wish, version: event.detail })}
              @claw-install=${(event: CustomEvent<Agreed>) => this.install(event.detail)}
              @claw-back=${() => this.back()}
            ></claw-skill-preview>`
          : this.renderSearch()}
      </div>
    </claw-dialog>`;
  }

  private renderSearch() {
    if (this.registry === undefined && !this.error) return html`<claw-skeleton></claw-skeleton>`;
    return html`<p class="muted">${t.skills.findIntro}</p>
      ${this.registry ? this.renderRegistry(this.registry) : nothing}
      <form class="stack" @submit=${(event: Event) => this.submitAddress(event)}>
        <div class="pair">
          <div class="field">
            <label for="address">${t.skills.address}</label>
            <input
              class="input"
              id="address"
              maxlength="2048"
              autocomplete="off"
              spellcheck="false"
              aria-describedby="address-help"
              placeholder="https://"
            />
            <span class="help" id="address-help">${this.registry ? t.skills.addressHelp : t.skills.addressHelpPlain}</span>
          </div>
          <div class="field">
            <label for="folder">${t.skills.folder} <span class="optional">${t.common.optional}</span></label>
            <input
              class="input"
              id="folder"
              maxlength="200"
              autocomplete="off"
              spellcheck="false"
              aria-describedby="folder-help"
            />
            <span class="help" id="folder-help">${t.skills.folderHelp}</span>
          </div>
        </div>
        <div class="row end">
          <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
          <button class="btn primary" type="submit" ?disabled=${this.busy}>
            ${this.busy ? t.skills.fetching : t.skills.look}
          </button>
        </div>
      </form>`;
  }

  private renderRegistry(registry: string) {
    const name = registry.replace(/^https?:\/\//, '');
    const search = (event: Event) => {
      event.preventDefault();
      void this.search(this.words.value.trim());
    };
    return html`<form class="field" role="search" @submit=${search}>
        <label for="words">${t.skills.registrySearch(name)}</label>
        <div class="row">
          <input class="input grow" id="words" type="search" maxlength="200" autocomplete="off" />
          <button class="btn" type="submit" ?disabled=${this.searching}>
            ${this.searching ? t.skills.searching : t.skills.search}
          </button>
        </div>
      </form>
      ${this.hits?.length === 0 ? html`<p class="muted" role="status">${t.skills.nothingFound}</p>` : nothing}
      ${this.hits && this.hits.length > 0
        ? html`<ul class="list hits" aria-label=${name} tabindex="0">
            ${this.hits.map((hit) => this.renderHit(hit))}
          </ul>`
        : nothing}
      <div class="or">${t.skills.orAddress}</div>`;
  }

  private renderHit(hit: SkillHit) {
    const slug = hit.publisher ? `@${hit.publisher}/${hit.slug}` : hit.slug;
    const about = [hit.version, hit.publisher ? t.skills.by(hit.publisher) : ''].filter(Boolean).join(' · ');
    return html`<li>
      <div class="grow">
        <div class="wrap-anywhere"><strong>${hit.name}</strong> <span class="muted small-text">${about}</span></div>
        ${hit.summary ? html`<p class="muted small-text wrap-anywhere">${hit.summary}</p>` : nothing}
      </div>
      <button
        class="btn small"
        type="button"
        aria-label=${t.skills.lookAt(hit.name)}
        ?disabled=${this.busy}
        @click=${() => this.look({ slug })}
      >
        ${t.skills.look}
      </button>
    </li>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-skill-finder': ClawSkillFinder;
  }
}
