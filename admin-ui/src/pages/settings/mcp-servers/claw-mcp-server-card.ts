/** One server: where it is, how it stands, and what can be done with it. Emits `claw-test`, `-edit`, `-toggle`, `-remove`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { McpServer } from '../../../api/mcp-servers.ts';
import '../../../components/claw-pill.ts';
import type { Tone } from '../../../components/claw-pill.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

@customElement('claw-mcp-server-card')
export class ClawMcpServerCard extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .body {
        display: grid;
        gap: 8px;
        padding: 16px 18px;
      }
      .head {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px 10px;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-left: auto;
      }
    `,
  ];

  @property({ attribute: false }) server!: McpServer;

  private button(label: string, event: string, kind = '') {
    return html`<button
      class="btn small ${kind}"
      type="button"
      aria-label=${`${label} ${this.server.name}`}
      @click=${() => this.dispatchEvent(new CustomEvent(event))}
    >
      ${label}
    </button>`;
  }

  override render() {
    const { server } = this;
    const [tone, label] = standing(server);
    return html`<article class="card">
      <div class="body">
        <div class="head">
          <h2 class="wrap-anywhere">${server.name}</h2>
          <claw-pill tone=${tone}>${label}</claw-pill>
          <div class="buttons">
            ${this.button(t.mcpServers.test, 'claw-test')} ${this.button(t.common.edit, 'claw-edit')}
            ${this.button(server.enabled ? t.mcpServers.disable : t.mcpServers.enable, 'claw-toggle')}
            ${this.button(t.common.remove, 'claw-remove', 'danger')}
          </div>
        </div>
        <p class="small-text mono wrap-anywhere">${server.url}</p>
        ${server.enabled && server.problem ? html`<p class="small-text">${server.problem}</p>` : nothing}
        <p class="small-text muted wrap-anywhere">${facts(server).join(' · ')}</p>
      </div>
    </article>`;
  }
}

function standing(server: McpServer): [Tone, string] {
  if (!server.enabled) return ['neutral', t.mcpServers.off];
  if (server.state === 'ready') return ['ok', t.mcpServers.ready(server.tools ?? 0)];
  if (server.state === 'failing') return ['danger', t.mcpServers.failing];
  return ['neutral', t.mcpServers.unknown];
}

function facts(server: McpServer): string[] {
  return [
    t.mcpServers.toolNames(server.prefix),
    server.headers.length > 0 ? t.mcpServers.headerNames(server.headers.join(', ')) : '',
    server.include.length > 0 || server.exclude.length > 0 ? t.mcpServers.filtered : '',
    server.guests.length > 0 ? t.mcpServers.openToGuests(server.guests.join(', ')) : t.mcpServers.ownerOnly,
  ].filter((fact) => fact !== '');
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-mcp-server-card': ClawMcpServerCard;
  }
}
