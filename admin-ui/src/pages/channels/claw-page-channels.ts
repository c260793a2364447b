/** Channels: the tenant's accounts on messaging platforms, who waits to be let in, and linking. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { deleteChannel, listChannels } from '../../api/channels.ts';
import type { ChannelAccount, ChannelList, SavedChannel } from '../../api/channels.ts';
import { isAdmin } from '../../api/session.ts';
import type { Session } from '../../api/session.ts';
import { listUsers } from '../../api/users.ts';
import type { Member } from '../../api/users.ts';
import { sessionContext, shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import '../../components/claw-empty.ts';
import '../../components/claw-failure.ts';
import '../../components/claw-icon.ts';
import '../../components/claw-page.ts';
import '../../components/claw-skeleton.ts';
import { confirmAction } from '../../components/confirm.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import './claw-channel-card.ts';
import './claw-channel-dialog.ts';
import './claw-pairing-list.ts';

interface Data extends ChannelList {
  members: Member[];
}

@customElement('claw-page-channels')
export class ClawPageChannels extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .accounts {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 12px;
      }
    `,
  ];

  @consume({ context: sessionContext, subscribe: true }) @state() private session!: Session;
  @consume({ context: shellContext }) private readonly shell!: Shell;
  /** Open dialog: an account, or `new`. */
  @state() private editing: ChannelAccount | 'new' | undefined;

  private readonly data = new Task(this, {
    task: async (_, { signal }): Promise<Data> => {
      const list = await listChannels(signal);
      // Only administrators see the members, and only they choose an owner.
      const members = isAdmin(this.session) ? await listUsers(signal).catch(() => []) : [];
      return { ...list, members };
    },
    args: () => [],
  });

  private async saved({ account }: SavedChannel) {
    this.editing = undefined;
    const label = this.data.value?.channels.find(({ id }) => id === account.channel)?.label ?? account.channel;
    this.shell.toast(account.status === 'connected' ? t.channels.savedOk(label) : t.common.saved);
    await this.data.run();
  }

  private async disconnect(account: ChannelAccount, label: string) {
    if (!(await confirmAction(t.channels.disconnectConfirm(label), t.channels.disconnect))) return;
    try {
      await deleteChannel(account.channel, account.accountId);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.data.run();
  }

  override render() {
    const admin = isAdmin(this.session);
    const { value } = this.data;
    return html`<claw-page heading=${t.channels.title} intro=${t.channels.intro}>
        ${admin
          ? html`<button
              slot="actions"
              class="btn primary"
              type="button"
              ?disabled=${!value}
              @click=${() => (this.editing = 'new')}
            >
              <claw-icon name="plus"></claw-icon>${t.channels.add}
            </button>`
          : nothing}
        ${this.data.render({
          pending: () =>
            value ? this.renderAccounts(value, admin) : html`<div class="card"><claw-skeleton></claw-skeleton></div>`,
          error: (error) =>
            html`<div class="card">
              <claw-failure .error=${error} @claw-retry=${() => this.data.run()}></claw-failure>
            </div>`,
          complete: (data) => this.renderAccounts(data, admin),
        })}
        <claw-pairing-list .manifests=${value?.channels ?? []}></claw-pairing-list>
      </claw-page>
      ${this.editing && value ? this.renderDialog(this.editing, value) : nothing}`;
  }

  private renderDialog(editing: ChannelAccount | 'new', data: Data) {
    return html`<claw-channel-dialog
      .manifests=${data.channels}
      .account=${editing === 'new' ? undefined : editing}
      .accounts=${data.accounts}
      .members=${data.members}
      self=${this.session.user.id}
      @claw-close=${() => (this.editing = undefined)}
      @claw-saved=${(event: CustomEvent<SavedChannel>) => this.saved(event.detail)}
    ></claw-channel-dialog>`;
  }

  private renderAccounts({ accounts, channels }: Data, admin: boolean) {
    if (accounts.length === 0) {
      return html`<div class="card">
        <claw-empty icon="channels" heading=${t.channels.empty} text=${t.channels.emptyText}></claw-empty>
      </div>`;
    }
    return html`<div class="accounts">
      ${accounts.map((account) => {
        const manifest = channels.find(({ id }) => id === account.channel);
        return html`<claw-channel-card
          .account=${account}
          .manifest=${manifest}
          ?editable=${admin}
          @claw-edit=${() => (this.editing = account)}
          @claw-disconnect=${() => this.disconnect(account, manifest?.label ?? account.channel)}
        ></claw-channel-card>`;
      })}
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-channels': ClawPageChannels;
  }
}
