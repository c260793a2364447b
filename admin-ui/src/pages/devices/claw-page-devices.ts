/** Devices: who asks to connect, what nodes ask to do, nodes and paired devices. Lives off the gateway. */
import { consume } from '@lit/context';
import { LitElement, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import {
  approveDevice,
  approveSurface,
  listDevices,
  listNodes,
  listPendingSurfaces,
  rejectDevice,
  rejectSurface,
  removeDevice,
} from '../../api/devices.ts';
import type { NodeRow, PairedDevice, PendingDevice, PendingSurface } from '../../api/devices.ts';
import type { GatewayClient } from '../../api/gateway.ts';
import { gatewayContext, shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import { GatewaySubscriptions } from '../../app/subscriptions.ts';
import '../../components/claw-copy.ts';
import '../../components/claw-empty.ts';
import '../../components/claw-failure.ts';
import '../../components/claw-page.ts';
import '../../components/claw-pill.ts';
import '../../components/claw-skeleton.ts';
import '../../components/claw-time.ts';
import { confirmAction } from '../../components/confirm.ts';
import { relativeTime, t } from '../../i18n/index.ts';
import './claw-approval-list.ts';
import { devicesStyles } from './claw-page-devices.styles.ts';
import { deviceName, nodeCommand, platformLine } from './describe.ts';

interface Data {
  pending: PendingDevice[];
  paired: PairedDevice[];
  surfaces: PendingSurface[];
  nodes: NodeRow[];
}

/** Several events may tell about one change. */
const SETTLE_MS = 200;

@customElement('claw-page-devices')
export class ClawPageDevices extends LitElement {
  static override styles = devicesStyles;

  @consume({ context: gatewayContext }) private readonly gateway!: GatewayClient;
  @consume({ context: shellContext }) private readonly shell!: Shell;

  @state() private data: Data | undefined;
  @state() private error: unknown;
  @state() private busy: ReadonlySet<string> = new Set();

  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    const soon = () => this.soon();
    new GatewaySubscriptions(
      this,
      () => this.gateway,
      {
        'device.pair.requested': soon,
        'device.pair.resolved': soon,
        'device.pair.changed': soon,
        'node.pair.requested': soon,
        'node.pair.resolved': soon,
        'node.presence': soon,
        presence: soon,
      },
      () => void this.load(),
    );
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  private soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.load(), SETTLE_MS);
  }

  private async load() {
    try {
      const [devices, surfaces, nodes] = await Promise.all([
        listDevices(this.gateway),
        listPendingSurfaces(this.gateway),
        listNodes(this.gateway),
      ]);
      this.data = { pending: devices.pending ?? [], paired: devices.paired ?? [], surfaces, nodes };
      this.error = undefined;
    } catch (error) {
      this.error = error;
    }
  }

  private async act(id: string, call: () => Promise<unknown>, done: string) {
    this.busy = new Set([...this.busy, id]);
    try {
      await call();
      this.shell.toast(done);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.load();
    this.busy = new Set([...this.busy].filter((other) => other !== id));
  }

  private async removePaired(device: PairedDevice) {
    if (!(await confirmAction(t.devices.removeConfirm(deviceName(device)), t.common.remove))) return;
    await this.act(device.deviceId, () => removeDevice(this.gateway, device.deviceId), t.devices.removed);
  }

  override render() {
    return html`<claw-page heading=${t.devices.title} intro=${t.devices.intro}
      ><claw-approval-list></claw-approval-list>${this.renderContent()}</claw-page
    >`;
  }

  private renderContent() {
    if (this.data) return this.renderData(this.data);
    if (this.error === undefined) return html`<div class="card"><claw-skeleton lines="6"></claw-skeleton></div>`;
    return html`<div class="card">
      <claw-failure .error=${this.error} @claw-retry=${() => this.load()}></claw-failure>
    </div>`;
  }

  private renderData({ pending, paired, surfaces, nodes }: Data) {
    return html`${pending.length > 0
      ? html`<section>
          <div class="section-head">
            <div>
              <h2>${t.devices.pending}</h2>
              <p class="muted">${t.devices.pendingText}</p>
            </div>
          </div>
          <ul class="card list attention">
            ${pending.map((device) => this.renderPending(device))}
          </ul>
        </section>`
      : nothing}
    ${surfaces.length > 0
      ? html`<section>
          <div class="section-head">
            <div>
              <h2>${t.devices.surfaces}</h2>
              <p class="muted">${t.devices.surfacesText}</p>
            </div>
          </div>
          <ul class="card list attention">
            ${surfaces.map((surface) => this.renderSurface(surface))}
          </ul>
        </section>`
      : nothing}
      <section>
        <div class="section-head"><h2>${t.devices.nodes}</h2></div>
        <div class="card">
          ${nodes.length > 0
            ? html`<ul class="list">
                ${nodes.map((node) => this.renderNode(node))}
              </ul>`
            : html`<claw-empty icon="devices" heading=${t.devices.nodesEmpty} text=${t.devices.nodesEmptyText}>
                <claw-copy wrap label=${t.devices.copyCommand} value=${nodeCommand(location)}></claw-copy>
              </claw-empty>`}
        </div>
      </section>
      <section>
        <div class="section-head"><h2>${t.devices.paired}</h2></div>
        <div class="card">
          ${paired.length > 0
            ? html`<ul class="list">
                ${paired.map((device) => this.renderPaired(device))}
              </ul>`
            : html`<p class="none muted">${t.devices.pairedEmpty}</p>`}
        </div>
      </section>`;
  }

  private renderDecision(id: string, name: string, approve: () => Promise<unknown>, reject: () => Promise<unknown>) {
    const disabled = this.busy.has(id);
    return html`<button
        class="btn small primary"
        type="button"
        aria-label=${`${t.common.approve} ${name}`}
        ?disabled=${disabled}
        @click=${() => this.act(id, approve, t.devices.approved)}
      >
        ${t.common.approve}
      </button>
      <button
        class="btn small"
        type="button"
        aria-label=${`${t.common.reject} ${name}`}
        ?disabled=${disabled}
        @click=${() => this.act(id, reject, t.devices.rejected)}
      >
        ${t.common.reject}
      </button>`;
  }

  private renderPending(device: PendingDevice) {
    const { requestId } = device;
    const asks = [...(device.roles ?? [device.role ?? 'operator']), ...(device.scopes ?? [])];
    return html`<li>
      <div class="grow">
        <div class="name wrap-anywhere">${deviceName(device)}</div>
        <div class="muted small-text wrap-anywhere">
          ${platformLine(device)}${device.ts ? html` · <claw-time .at=${device.ts}></claw-time>` : nothing}
        </div>
        <div class="muted small-text wrap-anywhere">${t.devices.asks}: ${asks.join(', ')}</div>
        ${device.isRepair ? html`<div class="small-text warn">${t.devices.repair}</div>` : nothing}
      </div>
      ${this.renderDecision(
        requestId,
        deviceName(device),
        () => approveDevice(this.gateway, requestId),
        () => rejectDevice(this.gateway, requestId),
      )}
    </li>`;
  }

  private renderSurface(surface: PendingSurface) {
    const { requestId } = surface;
    const name = surface.displayName || surface.nodeId.slice(0, 12);
    const needsAdmin = surface.requiredApproveScopes?.includes('operator.admin') ?? false;
    return html`<li>
      <div class="grow">
        <div class="name wrap-anywhere">${name}</div>
        <div class="muted small-text">${platformLine(surface)}</div>
        ${this.renderCommands(surface.commands ?? [])}
        ${needsAdmin ? html`<div class="small-text muted">${t.devices.needsAdmin}</div>` : nothing}
      </div>
      ${this.renderDecision(
        requestId,
        name,
        () => approveSurface(this.gateway, requestId),
        () => rejectSurface(this.gateway, requestId),
      )}
    </li>`;
  }

  private renderCommands(commands: string[]) {
    if (commands.length === 0) return html`<div class="muted small-text">${t.devices.noCommands}</div>`;
    return html`<details>
      <summary class="small-text">${t.devices.commands(commands.length)}</summary>
      <ul class="commands">
        ${commands.map((command) => html`<li><code>${command}</code></li>`)}
      </ul>
    </details>`;
  }

  private renderNode(node: NodeRow) {
    const waiting = node.approvalState?.startsWith('pending') ?? false;
    return html`<li>
      <div class="grow">
        <div class="name wrap-anywhere">
          ${node.displayName || node.nodeId.slice(0, 12)}
          ${node.connected
            ? html`<claw-pill tone="ok">${t.devices.online}</claw-pill>`
            : html`<claw-pill>${t.devices.offline}</claw-pill>`}
          ${waiting ? html`<claw-pill tone="warn">${t.devices.needsApproval}</claw-pill>` : nothing}
        </div>
        <div class="muted small-text wrap-anywhere">
          ${platformLine(node)}
          ${!node.connected && node.lastSeenAtMs
            ? html` · ${t.devices.lastSeen(relativeTime(node.lastSeenAtMs))}`
            : nothing}
        </div>
        ${this.renderCommands(node.commands ?? [])}
      </div>
    </li>`;
  }

  private renderPaired(device: PairedDevice) {
    const name = deviceName(device);
    return html`<li>
      <div class="grow">
        <div class="name wrap-anywhere">
          ${name}
          ${device.connected ? html`<claw-pill tone="ok">${t.devices.online}</claw-pill>` : nothing}
        </div>
        <div class="muted small-text wrap-anywhere">
          ${platformLine(device)} · ${(device.roles ?? [device.role ?? '']).filter(Boolean).join(', ')}
          ${device.lastSeenAtMs ? html` · ${t.devices.lastSeen(relativeTime(device.lastSeenAtMs))}` : nothing}
        </div>
      </div>
      <button
        class="btn small danger"
        type="button"
        aria-label=${`${t.common.remove} ${name}`}
        ?disabled=${this.busy.has(device.deviceId)}
        @click=${() => this.removePaired(device)}
      >
        ${t.common.remove}
      </button>
    </li>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-devices': ClawPageDevices;
  }
}
