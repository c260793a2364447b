/** The keys of a skill, where they may go, and who may call it. A stored one is never shown: an empty field leaves it as it is. Emits `claw-close`, `claw-saved`. */
import { LitElement, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { changeSkill } from '../../api/skills.ts';
import type { Skill, SkillChange } from '../../api/skills.ts';
import '../../components/claw-banner.ts';
import '../../components/claw-dialog.ts';
import { describeError } from '../../i18n/errors.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-skill-dialog')
export class ClawSkillDialog extends LitElement {
  static override styles = sharedStyles;

  @property({ attribute: false }) skill!: Skill;
  @state() private busy = false;
  @state() private error: unknown;
  /** Stored values to take away, by field. */
  @state() private cleared = new Set<string>();

  /** Variables with a field of their own; the main one is filled by the key. */
  private get variables(): string[] {
    const { envWanted, envSet, primaryEnv } = this.skill;
    return [...new Set([...envWanted, ...envSet])].filter((name) => name !== primaryEnv || envSet.includes(name));
  }

  private async submit(event: SubmitEvent) {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const value = (field: string) => {
      const entered = form.get(field);
      if (typeof entered === 'string' && entered.trim() !== '') return entered.trim();
      return this.cleared.has(field) ? '' : undefined;
    };
    const change: SkillChange = {};
    const apiKey = value('apiKey');
    if (apiKey !== undefined) change.apiKey = apiKey;
    const env: Record<string, string> = {};
    for (const name of this.variables) {
      const text = value(`env.${name}`);
      if (text !== undefined) env[name] = text;
    }
    if (Object.keys(env).length > 0) change.env = env;
    const hosts = form.get('hosts');
    if (typeof hosts === 'string') {
      const secretHosts = hosts.split(/[\s,]+/).filter((host) => host !== '');
      if (secretHosts.join() !== this.skill.secretHosts.join()) change.secretHosts = secretHosts;
    }
    const guests = form.has('guests');
    if (this.skill.userInvocable && guests !== this.skill.guests) change.guests = guests;
    this.busy = true;
    this.error = undefined;
    try {
      await changeSkill(this.skill.key, change);
      this.dispatchEvent(new CustomEvent('claw-saved'));
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  private clear(field: string) {
    this.cleared = new Set([...this.cleared, field]);
  }

  override render() {
    const { skill } = this;
    return html`<claw-dialog heading=${t.skills.settingsOf(skill.name)} ?busy=${this.busy} @claw-close=${() => this.close()}>
      <form class="stack" @submit=${(event: SubmitEvent) => this.submit(event)}>
        ${this.error === undefined
          ? nothing
          : html`<claw-banner tone="danger">${describeError(this.error)}</claw-banner>`}
        ${this.takesKeys ? html`<p class="muted">${t.skills.keysIntro}</p>` : nothing}
        ${skill.primaryEnv || skill.apiKeySet
          ? this.renderField('apiKey', t.skills.apiKey(skill.primaryEnv ?? ''), skill.apiKeySet)
          : nothing}
        ${this.variables.map((name) => this.renderField(`env.${name}`, name, skill.envSet.includes(name)))}
        ${this.takesKeys ? this.renderHosts() : nothing}
        ${skill.userInvocable
          ? html`<label class="check">
              <input type="checkbox" name="guests" ?checked=${skill.guests} />
              ${t.skills.guests}
            </label>`
          : nothing}
        <div class="row end">
          <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
          <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.common.save}</button>
        </div>
      </form>
    </claw-dialog>`;
  }

  private get takesKeys(): boolean {
    return Boolean(this.skill.primaryEnv) || this.skill.apiKeySet || this.variables.length > 0;
  }

  private renderHosts() {
    return html`<div class="field">
      <label for="hosts">${t.skills.hosts} <span class="optional">${t.common.optional}</span></label>
      <textarea
        class="input"
        id="hosts"
        name="hosts"
        rows="2"
        spellcheck="false"
        aria-describedby="hosts-help"
        .value=${this.skill.secretHosts.join('\n')}
      ></textarea>
      <span class="help" id="hosts-help">${t.skills.hostsHelp}</span>
    </div>`;
  }

  private renderField(field: string, label: string, stored: boolean) {
    const kept = stored && !this.cleared.has(field);
    return html`<div class="field">
      <label for=${field}>${label}</label>
      <div class="row">
        <input
          class="input grow"
          id=${field}
          name=${field}
          type="password"
          maxlength="16000"
          autocomplete="off"
          spellcheck="false"
          placeholder=${kept ? t.skills.stored : t.skills.notStored}
        />
        ${kept
          ? html`<button
              class="btn small"
              type="button"
              aria-label=${t.skills.clearOf(label)}
              @click=${() => this.clear(field)}
            >
              ${t.skills.clear}
            </button>`
          : nothing}
      </div>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-skill-dialog': ClawSkillDialog;
  }
}
