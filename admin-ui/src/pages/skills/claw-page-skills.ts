/** Skills: what the agent can read up on. Found or uploaded, switched, given their keys, brought up to date, taken away. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import { ApiError } from '../../api/http.ts';
import { changeSkill, checkSkillUpdates, deleteSkill, installSkill, listSkills } from '../../api/skills.ts';
import type { Skill, SkillWish } from '../../api/skills.ts';
import { shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import '../../components/claw-empty.ts';
import '../../components/claw-failure.ts';
import '../../components/claw-icon.ts';
import '../../components/claw-page.ts';
import '../../components/claw-skeleton.ts';
import { confirmAction } from '../../components/confirm.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import './claw-skill-card.ts';
import './claw-skill-dialog.ts';
import './claw-skill-finder.ts';

@customElement('claw-page-skills')
export class ClawPageSkills extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .skills {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 12px;
      }
    `,
  ];

  @consume({ context: shellContext }) private readonly shell!: Shell;
  @state() private uploading = false;
  /** Whose keys are being entered. */
  @state() private editing: Skill | undefined;
  /** The finder is open, perhaps at a skill. */
  @state() private finding: SkillWish | 'anew' | undefined;
  @state() private checking = false;
  @query('input[type="file"]') private readonly picker!: HTMLInputElement;

  private readonly skills = new Task(this, { task: (_, { signal }) => listSkills(signal), args: () => [] });

  private async picked() {
    const file = this.picker.files?.[0];
    this.picker.value = '';
    if (!file) return;
    this.uploading = true;
    try {
      await this.install(file);
    } catch (error) {
      this.shell.toastError(error);
    } finally {
      this.uploading = false;
    }
    await this.skills.run();
  }

  private async install(file: File) {
    let skill: Skill;
    try {
      skill = await installSkill(file, false);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 409)) throw error;
      if (!(await confirmAction(t.skills.replaceConfirm(file.name), t.skills.replace))) return;
      skill = await installSkill(file, true);
    }
    this.shell.toast(t.skills.installed(skill.name));
  }

  private async installed(name: string) {
    this.finding = undefined;
    this.shell.toast(t.skills.installed(name));
    await this.skills.run();
  }

  private async check() {
    this.checking = true;
    try {
      const skills = await checkSkillUpdates();
      this.shell.toast(t.skills.checked(skills.filter((skill) => skill.origin?.update).length));
    } catch (error) {
      this.shell.toastError(error);
    } finally {
      this.checking = false;
    }
    await this.skills.run();
  }

  /** Shows what the newer version would change. */
  private showUpdate({ origin }: Skill) {
    if (!origin?.slug || !origin.update) return;
    const slug = origin.publisher ? `@${origin.publisher}/${origin.slug}` : origin.slug;
    this.finding = { slug, version: origin.update };
  }

  private async toggle(skill: Skill) {
    try {
      await changeSkill(skill.key, { enabled: !skill.enabled });
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.skills.run();
  }

  private async uninstall(skill: Skill) {
    if (!(await confirmAction(t.skills.removeConfirm(skill.name), t.common.remove))) return;
    try {
      await deleteSkill(skill.key);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.skills.run();
  }

  private async saved() {
    this.editing = undefined;
    this.shell.toast(t.common.saved);
    await this.skills.run();
  }

  override render() {
    const { value } = this.skills;
    return html`<claw-page heading=${t.skills.title} intro=${t.skills.intro}>
        <div slot="actions" class="row">
          ${value?.some((skill) => skill.source === 'clawhub')
            ? html`<button
                class="btn"
                type="button"
                ?disabled=${this.checking}
                @click=${() => this.check()}
              >
                ${this.checking ? t.skills.checking : t.skills.checkUpdates}
              </button>`
            : nothing}
          <button
            class="btn"
            type="button"
            ?disabled=${this.uploading}
            @click=${() => this.picker.click()}
          >
            ${this.uploading ? t.skills.uploading : t.skills.upload}
          </button>
          <button class="btn primary" type="button" @click=${() => (this.finding = 'anew')}>
            <claw-icon name="plus"></claw-icon>${t.skills.find}
          </button>
        </div>
        <input
          type="file"
          accept=".zip,.gz,.tgz,.md,application/zip,application/gzip,text/markdown"
          aria-label=${t.skills.file}
          hidden
          @change=${() => this.picked()}
        />
        ${this.skills.render({
          pending: () =>
            value ? this.renderSkills(value) : html`<div class="card"><claw-skeleton></claw-skeleton></div>`,
          error: (error) =>
            html`<div class="card">
              <claw-failure .error=${error} @claw-retry=${() => this.skills.run()}></claw-failure>
            </div>`,
          complete: (skills) => this.renderSkills(skills),
        })}
      </claw-page>
      ${this.editing
        ? html`<claw-skill-dialog
            .skill=${this.editing}
            @claw-close=${() => (this.editing = undefined)}
            @claw-saved=${() => this.saved()}
          ></claw-skill-dialog>`
        : nothing}
      ${this.finding
        ? html`<claw-skill-finder
            .wish=${this.finding === 'anew' ? undefined : this.finding}
            @claw-close=${() => (this.finding = undefined)}
            @claw-installed=${(event: CustomEvent<string>) => this.installed(event.detail)}
          ></claw-skill-finder>`
        : nothing}`;
  }

  private renderSkills(skills: Skill[]) {
    if (skills.length === 0) {
      return html`<div class="card">
        <claw-empty icon="skills" heading=${t.skills.empty} text=${t.skills.emptyText}></claw-empty>
      </div>`;
    }
    return html`<div class="skills">
      ${skills.map(
        (skill) =>
          html`<claw-skill-card
            .skill=${skill}
            @claw-toggle=${() => this.toggle(skill)}
            @claw-keys=${() => (this.editing = skill)}
            @claw-remove=${() => this.uninstall(skill)}
            @claw-update=${() => this.showUpdate(skill)}
          ></claw-skill-card>`,
      )}
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-skills': ClawPageSkills;
  }
}
