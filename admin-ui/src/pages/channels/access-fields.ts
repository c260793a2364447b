/** The form fields for who may write. */
import { html, nothing } from 'lit';
import { t } from '../../i18n/index.ts';
import { parseSenders } from './access.ts';
import type { Access, DirectPolicy, GroupPolicy } from './access.ts';

export function renderAccess(access: Access, change: (access: Access) => void) {
  const value = (event: Event) => (event.target as HTMLSelectElement).value;
  const directs: DirectPolicy[] = ['pairing', 'allowlist', 'open', 'disabled'];
  const groups: GroupPolicy[] = ['allowlist', 'open', 'disabled'];
  return html`<div class="field">
      <label for="direct">${t.channels.direct}</label>
      <select
        class="input"
        id="direct"
        @change=${(event: Event) => change({ ...access, direct: value(event) as DirectPolicy })}
      >
        ${directs.map(
          (policy) =>
            html`<option value=${policy} ?selected=${policy === access.direct}>
              ${t.channels.directPolicies[policy]}
            </option>`,
        )}
      </select>
    </div>
    ${access.direct === 'disabled'
      ? nothing
      : html`<div class="field">
          <label for="allow">
            ${t.channels.allowFrom} <span class="optional">(${t.common.optional})</span>
          </label>
          <textarea
            class="input"
            id="allow"
            rows="2"
            spellcheck="false"
            aria-describedby="allow-help"
            .value=${access.allowFrom.join('\n')}
            @change=${(event: Event) => change({ ...access, allowFrom: parseSenders(value(event)) })}
          ></textarea>
          <span class="help" id="allow-help">${t.channels.allowFromHelp}</span>
        </div>`}
    <div class="field">
      <label for="group">${t.channels.group}</label>
      <select
        class="input"
        id="group"
        @change=${(event: Event) => change({ ...access, group: value(event) as GroupPolicy })}
      >
        ${groups.map(
          (policy) =>
            html`<option value=${policy} ?selected=${policy === access.group}>
              ${t.channels.groupPolicies[policy]}
            </option>`,
        )}
      </select>
    </div>`;
}
