/** Tries a server and shows what it offers; changed tools are let in here. Emits `claw-close`. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { approveMcpTools, testMcpServer } from '../../../api/mcp-servers.ts';
import type { McpTest, McpTool } from '../../../api/mcp-servers.ts';
import { shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-dialog.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-pill.ts';
import '../../../components/claw-skeleton.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

@customElement('claw-mcp-test-dialog')
export class ClawMcpTestDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      claw-dialog {
        --claw-dialog-width: 640px;
      }
      .tools {
        display: grid;
        max-height: min(46vh, 420px);
        margin: 0;
        padding: 0;
        overflow-y: auto;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
        list-style: none;
      }
      .tools li {
        display: grid;
        gap: 4px;
        padding: 10px 12px;
      }
      .tools li + li {
        border-top: 1px solid var(--claw-border);
      }
      .name {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 6px 8px;
      }
      .said {
        display: -webkit-box;
        overflow: hidden;
        -webkit-box-orient: vertical;
        -webkit-line-clamp: 3;
        line-clamp: 3;
      }
      .approve {
        display: flex;
        margin-top: 8px;
      }
      .changed .said {
        display: block;
        white-space: pre-wrap;
      }
    `,
  ];

  @consume({ context: shellContext }) private readonly shell!: Shell;
  @property() name = '';
  @state() private busy = false;

  private readonly test = new Task(this, { task: ([name]) => testMcpServer(name), args: () => [this.name] as const });

  private async approve(fingerprint: string) {
    this.busy = true;
    try {
      await approveMcpTools(this.name, fingerprint);
      this.shell.toast(t.mcpServers.approved);
    } catch (error) {
      this.shell.toastError(error);
    } finally {
      this.busy = false;
    }
    await this.test.run();
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    return html`<claw-dialog
      heading=${t.mcpServers.testTitle(this.name)}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      <div class="stack">
        ${this.test.render({
          pending: () => html`<p role="status">${t.mcpServers.testing}</p>
            <claw-skeleton></claw-skeleton>`,
          error: (error) =>
            html`<claw-failure .error=${error} @claw-retry=${() => this.test.run()}></claw-failure>`,
          complete: (result) => this.renderResult(result),
        })}
        <div class="row end">
          <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.test.run()}>
            ${t.mcpServers.testAgain}
          </button>
          <button class="btn primary" type="button" ?disabled=${this.busy} @click=${() => this.close()}>
            ${t.mcpServers.done}
          </button>
        </div>
      </div>
    </claw-dialog>`;
  }

  private renderResult(result: McpTest) {
    if (!result.ok) return html`<claw-banner tone="danger">${result.problem ?? t.common.failed}</claw-banner>`;
    const changed = result.tools.filter((tool) => tool.changed);
    // What waits for a decision is on top.
    const tools = [...changed, ...result.tools.filter((tool) => !tool.changed)];
    const { fingerprint } = result;
    return html`<p role="status">
        ${t.mcpServers.connected(result.server ?? this.name, result.protocol ?? '', result.tools.length)}
        ${result.leftOut > 0 ? t.mcpServers.leftOut(result.leftOut) : nothing}
      </p>
      ${changed.length > 0 && fingerprint
        ? html`<claw-banner tone="warn">
            ${t.mcpServers.changedIntro(changed.length)}
            <button
              class="btn small approve"
              type="button"
              ?disabled=${this.busy}
              @click=${() => this.approve(fingerprint)}
            >
              ${t.mcpServers.approve}
            </button>
          </claw-banner>`
        : nothing}
      ${tools.length > 0
        ? html`<ul class="tools" tabindex="0" aria-label=${t.mcpServers.toolList}>
            ${tools.map((tool) => this.renderTool(tool))}
          </ul>`
        : nothing}`;
  }

  private renderTool(tool: McpTool) {
    return html`<li class=${tool.changed ? 'changed' : ''}>
      <div class="name">
        <code class="wrap-anywhere">${tool.called}</code>
        ${tool.changed ? html`<claw-pill tone="warn">${t.mcpServers.changed}</claw-pill>` : nothing}
        ${tool.readOnly ? html`<claw-pill>${t.mcpServers.readOnly}</claw-pill>` : nothing}
      </div>
      ${tool.description
        ? html`<p class="small-text muted said wrap-anywhere">${tool.description}</p>`
        : nothing}
    </li>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-mcp-test-dialog': ClawMcpTestDialog;
  }
}
