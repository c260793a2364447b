/** Settings → Members. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import type { Role, Session } from '../../../api/session.ts';
import { listUsers, setDisabled } from '../../../api/users.ts';
import type { Member } from '../../../api/users.ts';
import { sessionContext, shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-pill.ts';
import '../../../components/claw-skeleton.ts';
import '../../../components/claw-time.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import './claw-invite-dialog.ts';

const RANKS: Record<Role, number> = { member: 0, admin: 1, owner: 2 };

@customElement('claw-page-members')
export class ClawPageMembers extends LitElement {
  static override styles = sharedStyles;

  @consume({ context: sessionContext, subscribe: true }) @state() private session!: Session;
  @consume({ context: shellContext }) private readonly shell!: Shell;
  @state() private inviting = false;
  /** Id of the member that is being changed. */
  @state() private changing = '';

  private readonly members = new Task(this, { task: (_, { signal }) => listUsers(signal), args: () => [] });

  /** Nobody changes themselves or somebody above them. */
  private mayChange({ id, role }: Member): boolean {
    const { user } = this.session;
    return id !== user.id && RANKS[role] <= RANKS[user.role];
  }

  private async change(member: Member, disabled: boolean) {
    if (disabled && !(await confirmAction(t.members.disableConfirm(member.email), t.members.disable))) return;
    this.changing = member.id;
    try {
      await setDisabled(member.id, disabled);
      this.shell.toast(disabled ? t.members.nowDisabled(member.email) : t.members.nowEnabled(member.email));
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.members.run();
    this.changing = '';
  }

  private closed() {
    this.inviting = false;
    void this.members.run();
  }

  override render() {
    return html`<claw-page heading=${t.members.title} intro=${t.members.intro}>
        <button slot="actions" class="btn primary" type="button" @click=${() => (this.inviting = true)}>
          <claw-icon name="plus"></claw-icon>${t.members.invite}
        </button>
        <div class="card">
          ${this.members.render({
            pending: () =>
              this.members.value ? this.renderTable(this.members.value) : html`<claw-skeleton></claw-skeleton>`,
            error: (error) =>
              html`<claw-failure .error=${error} @claw-retry=${() => this.members.run()}></claw-failure>`,
            complete: (members) => this.renderTable(members),
          })}
        </div>
      </claw-page>
      ${this.inviting
        ? html`<claw-invite-dialog
            ?owner=${this.session.user.role === 'owner'}
            @claw-close=${() => this.closed()}
          ></claw-invite-dialog>`
        : nothing}`;
  }

  private renderTable(members: Member[]) {
    if (members.length === 0) return html`<claw-empty icon="members" heading=${t.members.empty}></claw-empty>`;
    const dated = members.some((member) => member.createdAt !== undefined);
    return html`<div class="table-scroll" tabindex="0" role="region" aria-label=${t.members.title}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t.members.email}</th>
            <th scope="col">${t.members.role}</th>
            ${dated ? html`<th scope="col">${t.members.joined}</th>` : nothing}
            <th scope="col"><span class="visually-hidden">${t.members.disable}</span></th>
          </tr>
        </thead>
        <tbody>
          ${members.map(
            (member) =>
              html`<tr>
                <td class="wrap-anywhere" data-label=${t.members.email}>
<span>                  ${member.name ? html`${member.name} <span class="muted">${member.email}</span>` : member.email}
                  ${member.id === this.session.user.id ? html`<span class="muted">(${t.members.you})</span>` : nothing}</span>
                </td>
                <td data-label=${t.members.role}>
                  <span>
                    ${t.members.roles[member.role] ?? member.role}
                    ${member.disabled ? html`<claw-pill tone="warn">${t.members.disabled}</claw-pill>` : nothing}
                  </span>
                </td>
                ${dated ? html`<td data-label=${t.members.joined}><claw-time .at=${member.createdAt ?? 0}></claw-time></td>` : nothing}
                <td class="actions">${this.renderAction(member)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }

  private renderAction(member: Member) {
    if (!this.mayChange(member)) return nothing;
    const action = member.disabled ? t.members.enable : t.members.disable;
    return html`<button
      class="btn small ${member.disabled ? '' : 'danger'}"
      type="button"
      aria-label=${`${action} ${member.email}`}
      ?disabled=${this.changing === member.id}
      @click=${() => this.change(member, !member.disabled)}
    >
      ${action}
    </button>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-members': ClawPageMembers;
  }
}
