/** Adds or edits a server. A stored header is never shown: one without a new value stays. Emits `claw-close`, `claw-saved`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { saveMcpServer } from '../../../api/mcp-servers.ts';
import type { McpServer, McpServerChange } from '../../../api/mcp-servers.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-dialog.ts';
import '../../../components/claw-icon.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

interface Header {
  name: string;
  value: string;
  /** There is a value on the server. */
  stored: boolean;
}

@customElement('claw-mcp-server-dialog')
export class ClawMcpServerDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      claw-dialog {
        --claw-dialog-width: 600px;
      }
      fieldset {
        display: grid;
        gap: 8px;
        min-width: 0;
        margin: 0;
        padding: 0;
        border: 0;
      }
      legend {
        padding: 0 0 4px;
        font-weight: 500;
        font-size: 0.875rem;
      }
      .header {
        display: grid;
        grid-template-columns: minmax(0, 2fr) minmax(0, 3fr) auto;
        gap: 8px;
      }
      .header .btn {
        min-height: 36px;
      }
      .pair {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
        gap: 16px;
      }
      summary {
        cursor: pointer;
        font-weight: 500;
        font-size: 0.875rem;
      }
      details > div {
        margin-top: 16px;
      }
    `,
  ];

  /** The server to edit; absent adds one. */
  @property({ attribute: false }) server: McpServer | undefined;
  @property({ attribute: false }) takenNames: readonly string[] = [];

  @state() private headers: Header[] = [];
  /** Stored headers to take away. */
  @state() private gone: string[] = [];
  @state() private busy = false;
  @state() private error = '';

  override connectedCallback() {
    super.connectedCallback();
    const names = this.server?.headers ?? [];
    this.headers = names.map((name) => ({ name, value: '', stored: true }));
  }

  private setHeader(index: number, change: Partial<Header>) {
    this.headers = this.headers.map((header, at) => (at === index ? { ...header, ...change } : header));
  }

  private dropHeader(index: number) {
    const header = this.headers[index];
    if (header?.stored) this.gone = [...this.gone, header.name];
    this.headers = this.headers.filter((_, at) => at !== index);
  }

  private changedHeaders(): Record<string, string> {
    const changed: Record<string, string> = {};
    for (const name of this.gone) changed[name] = '';
    for (const { name, value } of this.headers) {
      if (name.trim() !== '' && value.trim() !== '') changed[name.trim()] = value.trim();
    }
    return changed;
  }

  private problem(name: string, url: string): string {
    if (name === '') return t.mcpServers.nameProblem;
    if (!this.server && this.takenNames.includes(name)) return t.mcpServers.nameTaken(name);
    if (!/^https?:\/\/\S+$/.test(url)) return t.mcpServers.urlProblem;
    const half = this.headers.some((header) => {
      const named = header.name.trim() !== '';
      return named ? !header.stored && header.value.trim() === '' : header.value.trim() !== '';
    });
    return half ? t.mcpServers.headerProblem : '';
  }

  private async submit(event: SubmitEvent) {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const text = (field: string) => {
      const value = form.get(field);
      return typeof value === 'string' ? value.trim() : '';
    };
    const name = this.server?.name ?? text('name');
    this.error = this.problem(name, text('url'));
    if (this.error) return;
    const seconds = Number(text('timeout'));
    const headers = this.changedHeaders();
    const change: McpServerChange = {
      url: text('url'),
      include: list(text('include')),
      exclude: list(text('exclude')),
      guests: list(text('guests')),
      requestTimeoutMs: Number.isFinite(seconds) && seconds > 0 ? Math.round(seconds * 1000) : 0,
    };
    if (Object.keys(headers).length > 0) change.headers = headers;
    this.busy = true;
    try {
      await saveMcpServer(name, change);
      this.dispatchEvent(new CustomEvent('claw-saved', { detail: name }));
    } catch (error) {
      this.error = describeError(error);
    } finally {
      this.busy = false;
    }
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    const { server } = this;
    return html`<claw-dialog
      heading=${server ? t.mcpServers.editTitle(server.name) : t.mcpServers.addTitle}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      <form class="stack" novalidate @submit=${(event: SubmitEvent) => this.submit(event)}>
        ${this.error ? html`<claw-banner tone="danger">${this.error}</claw-banner>` : nothing}
        ${server ? nothing : this.renderField('name', t.mcpServers.name, '', t.mcpServers.nameHelp, 64)}
        ${this.renderField('url', t.mcpServers.url, server?.url ?? '', t.mcpServers.urlHelp, 2000)}
        ${this.renderHeaders()}
        <details ?open=${isTuned(server)}>
          <summary>${t.mcpServers.more}</summary>
          <div class="stack">
            <div class="pair">
              ${this.renderField('include', t.mcpServers.include, server?.include.join(', ') ?? '', t.mcpServers.includeHelp)}
              ${this.renderField('exclude', t.mcpServers.exclude, server?.exclude.join(', ') ?? '', t.mcpServers.excludeHelp)}
              ${this.renderField('guests', t.mcpServers.guests, server?.guests.join(', ') ?? '', t.mcpServers.guestsHelp)}
              ${this.renderField(
                'timeout',
                t.mcpServers.timeout,
                server ? String(server.requestTimeoutMs / 1000) : '',
                t.mcpServers.timeoutHelp,
                6,
              )}
            </div>
          </div>
        </details>
        <div class="row end">
          <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
          <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.mcpServers.saveAndTest}</button>
        </div>
      </form>
    </claw-dialog>`;
  }

  private renderField(id: string, label: string, value: string, help: string, longest = 1000) {
    return html`<div class="field">
      <label for=${id}>${label}</label>
      <input
        class="input"
        id=${id}
        name=${id}
        .value=${value}
        maxlength=${longest}
        autocomplete="off"
        spellcheck="false"
        aria-describedby=${`${id}-help`}
      />
      <span class="help" id=${`${id}-help`}>${help}</span>
    </div>`;
  }

  private renderHeaders() {
    return html`<fieldset>
      <legend>${t.mcpServers.headers}</legend>
      <p class="muted small-text">${t.mcpServers.headersHelp}</p>
      ${this.headers.map((header, index) => this.renderHeader(header, index))}
      <div>
        <button
          class="btn small"
          type="button"
          @click=${() => (this.headers = [...this.headers, { name: this.headers.length === 0 ? 'Authorization' : '', value: '', stored: false }])}
        >
          <claw-icon name="plus"></claw-icon>${t.mcpServers.addHeader}
        </button>
      </div>
    </fieldset>`;
  }

  private renderHeader(header: Header, index: number) {
    return html`<div class="header">
      <input
        class="input"
        aria-label=${t.mcpServers.headerName(index + 1)}
        autocomplete="off"
        spellcheck="false"
        maxlength="100"
        ?readonly=${header.stored}
        .value=${header.name}
        @input=${(event: Event) => this.setHeader(index, { name: (event.target as HTMLInputElement).value })}
      />
      <input
        class="input"
        type="password"
        aria-label=${t.mcpServers.headerValue(header.name || String(index + 1))}
        autocomplete="off"
        spellcheck="false"
        maxlength="8000"
        placeholder=${header.stored ? t.mcpServers.stored : 'Bearer …'}
        .value=${header.value}
        @input=${(event: Event) => this.setHeader(index, { value: (event.target as HTMLInputElement).value })}
      />
      <button
        class="btn icon"
        type="button"
        aria-label=${t.mcpServers.dropHeader(header.name || String(index + 1))}
        @click=${() => this.dropHeader(index)}
      >
        <claw-icon name="trash"></claw-icon>
      </button>
    </div>`;
  }
}

/** Names between commas. */
function list(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

function isTuned(server: McpServer | undefined): boolean {
  return server !== undefined && server.include.length + server.exclude.length + server.guests.length > 0;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-mcp-server-dialog': ClawMcpServerDialog;
  }
}
