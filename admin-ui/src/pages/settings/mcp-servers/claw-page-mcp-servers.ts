/** Settings → MCP servers: servers elsewhere whose tools the agents may use. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { deleteMcpServer, listMcpServers, saveMcpServer } from '../../../api/mcp-servers.ts';
import type { McpServer } from '../../../api/mcp-servers.ts';
import { shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-skeleton.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import './claw-mcp-server-card.ts';
import './claw-mcp-server-dialog.ts';
import './claw-mcp-test-dialog.ts';

@customElement('claw-page-mcp-servers')
export class ClawPageMcpServers extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .servers {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 12px;
      }
    `,
  ];

  @consume({ context: shellContext }) private readonly shell!: Shell;
  /** Open dialog: a server, or `new`. */
  @state() private editing: McpServer | 'new' | undefined;
  /** The name of the one that is tried. */
  @state() private testing: string | undefined;

  private readonly servers = new Task(this, { task: (_, { signal }) => listMcpServers(signal), args: () => [] });

  private async toggle(server: McpServer) {
    try {
      await saveMcpServer(server.name, { enabled: !server.enabled });
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.servers.run();
  }

  private async forget(server: McpServer) {
    if (!(await confirmAction(t.mcpServers.removeConfirm(server.name), t.common.remove))) return;
    try {
      await deleteMcpServer(server.name);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.servers.run();
  }

  /** What was saved is tried at once: a typed address proves nothing. */
  private async saved(name: string) {
    this.editing = undefined;
    this.testing = name;
    await this.servers.run();
  }

  private async tested() {
    this.testing = undefined;
    await this.servers.run();
  }

  override render() {
    const { value } = this.servers;
    return html`<claw-page heading=${t.mcpServers.title} intro=${t.mcpServers.intro}>
        <button slot="actions" class="btn primary" type="button" @click=${() => (this.editing = 'new')}>
          <claw-icon name="plus"></claw-icon>${t.mcpServers.add}
        </button>
        ${this.servers.render({
          pending: () =>
            value ? this.renderServers(value) : html`<div class="card"><claw-skeleton></claw-skeleton></div>`,
          error: (error) =>
            html`<div class="card">
              <claw-failure .error=${error} @claw-retry=${() => this.servers.run()}></claw-failure>
            </div>`,
          complete: (servers) => this.renderServers(servers),
        })}
      </claw-page>
      ${this.editing
        ? html`<claw-mcp-server-dialog
            .server=${this.editing === 'new' ? undefined : this.editing}
            .takenNames=${value?.map(({ name }) => name) ?? []}
            @claw-close=${() => (this.editing = undefined)}
            @claw-saved=${(event: CustomEvent<string>) => this.saved(event.detail)}
          ></claw-mcp-server-dialog>`
        : nothing}
      ${this.testing === undefined
        ? nothing
        : html`<claw-mcp-test-dialog
            .name=${this.testing}
            @claw-close=${() => this.tested()}
          ></claw-mcp-test-dialog>`}`;
  }

  private renderServers(servers: McpServer[]) {
    if (servers.length === 0) {
      return html`<div class="card">
        <claw-empty icon="servers" heading=${t.mcpServers.empty} text=${t.mcpServers.emptyText}></claw-empty>
      </div>`;
    }
    return html`<div class="servers">
      ${servers.map(
        (server) =>
          html`<claw-mcp-server-card
            .server=${server}
            @claw-test=${() => (this.testing = server.name)}
            @claw-edit=${() => (this.editing = server)}
            @claw-toggle=${() => this.toggle(server)}
            @claw-remove=${() => this.forget(server)}
          ></claw-mcp-server-card>`,
      )}
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-mcp-servers': ClawPageMcpServers;
  }
}
