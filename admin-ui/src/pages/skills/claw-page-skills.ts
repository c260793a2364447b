/** Skills: what the agent can read up on. Uploaded, switched, given their keys, taken away. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import { ApiError } from '../../api/http.ts';
import { changeSkill, deleteSkill, installSkill, listSkills } from '../../api/skills.ts';
import type { Skill } from '../../api/skills.ts';
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
        <button
          slot="actions"
          class="btn primary"
          type="button"
          ?disabled=${this.uploading}
          @click=${() => this.picker.click()}
        >
          <claw-icon name="plus"></claw-icon>${this.uploading ? t.skills.uploading : t.skills.upload}
        </button>
        <input
          type="file"
          accept=".zip,.md,application/zip,text/markdown"
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
