/** Line icons, drawn on a 20 by 20 grid. Decorative: the control that holds one carries the name. */
import { LitElement, css, html, svg } from 'lit';
import type { SVGTemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';

const ICONS = {
  chat: svg`<path d="M3.5 5.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H9l-3.5 3v-3a2 2 0 0 1-2-2z"/>`,
  activity: svg`<path d="M2.5 10.5h3l2.5-6.5 4 12 2.5-5.5h3"/>`,
  channels: svg`<path d="M7 3.5v13M13 3.5v13M3 7.5h14M3 12.5h14"/>`,
  devices: svg`<rect x="2.5" y="4" width="11" height="8.5" rx="1.5"/><path d="M5.5 16h4"/><rect x="14" y="8" width="4" height="8" rx="1"/>`,
  providers: svg`<rect x="5" y="5" width="10" height="10" rx="2"/><path d="M8 2v3M12 2v3M8 15v3M12 15v3M2 8h3M2 12h3M15 8h3M15 12h3"/>`,
  skills: svg`<path d="M10 5.5C8.5 4 6 3.5 3 3.5v11c3 0 5.5.5 7 2 1.5-1.5 4-2 7-2v-11c-3 0-5.5.5-7 2zM10 5.5v11"/>`,
  servers: svg`<rect x="3" y="3.5" width="14" height="5.5" rx="1.5"/><rect x="3" y="11" width="14" height="5.5" rx="1.5"/><path d="M6 6.25h.3M6 13.75h.3M10 6.25h4M10 13.75h4"/>`,
  tokens: svg`<circle cx="6.5" cy="13.5" r="3.5"/><path d="m9 11 7.5-7.5M13.5 6.5 16 9"/>`,
  budgets: svg`<path d="M3 14.5a7 7 0 1 1 14 0M10 14.5l3.5-4.5M3 14.5h2.2M14.8 14.5H17M10 7.5v1.8"/>`,
  members: svg`<circle cx="7.5" cy="7" r="3"/><path d="M2 16.5c0-3 2.5-4.5 5.5-4.5s5.5 1.5 5.5 4.5M13 4.3a3 3 0 0 1 0 5.4M15 12.5c2 .5 3 1.9 3 4"/>`,
  audit: svg`<path d="M5.5 2.5h6l4 4v11h-10zM11.5 2.5v4h4M8 10.5h5M8 13.5h5"/>`,
  account: svg`<circle cx="10" cy="7" r="3.25"/><path d="M3.5 17c.5-3.5 3-5 6.5-5s6 1.5 6.5 5"/>`,
  signout: svg`<path d="M8 3.5H4.5v13H8M12 6.5l3.5 3.5-3.5 3.5M15.5 10H8"/>`,
  menu: svg`<path d="M3 5.5h14M3 10h14M3 14.5h14"/>`,
  close: svg`<path d="m5 5 10 10M15 5 5 15"/>`,
  plus: svg`<path d="M10 4v12M4 10h12"/>`,
  send: svg`<path d="M10 16.5v-13M4.5 9 10 3.5 15.5 9"/>`,
  stop: svg`<rect x="5.5" y="5.5" width="9" height="9" rx="1.5" fill="currentColor"/>`,
  attach: svg`<rect x="3" y="4" width="14" height="12" rx="2"/><circle cx="7.5" cy="8.5" r="1.25"/><path d="m3.5 14.5 4-3.5 2.5 2 3.5-3.5 3 3"/>`,
  copy: svg`<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M13 7V5a1.5 1.5 0 0 0-1.5-1.5H5A1.5 1.5 0 0 0 3.5 5v6.5A1.5 1.5 0 0 0 5 13h2"/>`,
  trash: svg`<path d="M3.5 5.5h13M8 5.5v-2h4v2M5.5 5.5l.8 11h7.4l.8-11M8.5 9v4.5M11.5 9v4.5"/>`,
  down: svg`<path d="M10 3.5v13M4.5 11 10 16.5l5.5-5.5"/>`,
  chevron: svg`<path d="m7.5 5 5 5-5 5"/>`,
  tool: svg`<path d="M12.5 3a4.5 4.5 0 0 0-4 6.3L3.3 14.5a1.55 1.55 0 0 0 2.2 2.2l5.2-5.2A4.5 4.5 0 0 0 16.7 6L14 8.7 11.3 6 14 3.3A4.5 4.5 0 0 0 12.5 3z"/>`,
  check: svg`<path d="m4 10.5 4 4 8-9"/>`,
  warning: svg`<path d="M10 3 2.5 16.5h15zM10 8v4M10 14.2v.3"/>`,
  info: svg`<circle cx="10" cy="10" r="7.25"/><path d="M10 9.2v4.3M10 6.3v.3"/>`,
  list: svg`<path d="M7 5.5h10M7 10h10M7 14.5h10M3.5 5.5h.3M3.5 10h.3M3.5 14.5h.3"/>`,
} satisfies Record<string, SVGTemplateResult>;

export type IconName = keyof typeof ICONS;

@customElement('claw-icon')
export class ClawIcon extends LitElement {
  static override styles = css`
    :host {
      display: inline-flex;
      flex: none;
      width: 18px;
      height: 18px;
    }
    svg {
      width: 100%;
      height: 100%;
      fill: none;
      stroke: currentColor;
      stroke-width: 1.6;
      stroke-linecap: round;
      stroke-linejoin: round;
    }
  `;

  @property() name: IconName = 'info';

  override render() {
    return html`<svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">${ICONS[this.name]}</svg>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-icon': ClawIcon;
  }
}
