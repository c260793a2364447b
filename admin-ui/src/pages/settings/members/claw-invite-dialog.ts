/** Invites a member and shows their sign-in link. Emits `claw-close`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import type { Role } from '../../../api/session.ts';
import { inviteUser } from '../../../api/users.ts';
import type { Invited } from '../../../api/users.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-copy.ts';
import '../../../components/claw-dialog.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

@customElement('claw-invite-dialog')
export class ClawInviteDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      fieldset {
        display: grid;
        gap: 10px;
        margin: 0;
        padding: 0;
        border: 0;
      }
      legend {
        margin-bottom: 8px;
        padding: 0;
        font-weight: 500;
      }
      .choice {
        display: grid;
        grid-template-columns: 16px minmax(0, 1fr);
        align-items: start;
        gap: 0 10px;
        cursor: pointer;
      }
      .choice input {
        width: 16px;
        height: 16px;
        margin: 3px 0 0;
        accent-color: var(--claw-accent-fill);
      }
    `,
  ];

  /** Only an owner may make owners. */
  @property({ type: Boolean }) owner = false;

  @state() private chosenRole: Role = 'member';
  @state() private busy = false;
  @state() private error: unknown;
  @state() private invited: Invited | undefined;

  @query('#email') private readonly email!: HTMLInputElement;

  private async submit(event: Event) {
    event.preventDefault();
    this.busy = true;
    this.error = undefined;
    try {
      this.invited = await inviteUser(this.email.value.trim(), this.chosenRole);
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    return html`<claw-dialog
      heading=${this.invited ? t.members.linkTitle : t.members.inviteTitle}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      ${this.invited ? this.renderLink(this.invited) : this.renderForm()}
    </claw-dialog>`;
  }

  private renderForm() {
    const roles: Role[] = this.owner ? ['member', 'admin', 'owner'] : ['member', 'admin'];
    return html`<form class="stack" @submit=${(event: Event) => this.submit(event)}>
      ${this.error === undefined
        ? nothing
        : html`<claw-banner tone="danger">${describeError(this.error)}</claw-banner>`}
      <div class="field">
        <label for="email">${t.members.email}</label>
        <input class="input" id="email" type="email" required autocomplete="off" />
      </div>
      <fieldset>
        <legend>${t.members.role}</legend>
        ${roles.map(
          (role) =>
            html`<label class="choice">
              <input
                type="radio"
                name="role"
                .value=${role}
                ?checked=${role === this.chosenRole}
                @change=${() => (this.chosenRole = role)}
              />
              <span>${t.members.roles[role]}<br /><span class="muted small-text">${t.members.roleHelp[role]}</span></span>
            </label>`,
        )}
      </fieldset>
      <div class="row end">
        <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
        <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.members.submit}</button>
      </div>
    </form>`;
  }

  private renderLink(invited: Invited) {
    return html`<div class="stack">
      <p class="wrap-anywhere">${t.members.linkText(invited.user.email)}</p>
      <claw-copy wrap label=${t.members.copyLink} value=${invited.signInLink}></claw-copy>
      <div class="row end">
        <button class="btn primary" type="button" @click=${() => this.close()}>${t.members.done}</button>
      </div>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-invite-dialog': ClawInviteDialog;
  }
}
