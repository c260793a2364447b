/** Settings → Your account: who you are, your time zone, your password. */
import { consume } from '@lit/context';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import { ApiError } from '../../../api/http.ts';
import { browserZone, changeProfile, setPassword } from '../../../api/session.ts';
import type { Session } from '../../../api/session.ts';
import { sessionContext, shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-page.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

/** The server checks again. */
const MIN_LENGTH = 10;

@customElement('claw-page-account')
export class ClawPageAccount extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .card {
        padding: 18px 16px;
      }
      dl {
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr);
        gap: 8px 24px;
      }
      dt {
        color: var(--claw-text-2);
      }
      form {
        max-width: 380px;
      }
    `,
  ];

  @consume({ context: sessionContext, subscribe: true }) @state() private session!: Session;
  @consume({ context: shellContext }) private readonly shell!: Shell;

  @state() private busy = false;
  @state() private problem = '';
  @state() private currentProblem = '';
  /** Learned on this page: the session said otherwise when it was loaded. */
  @state() private saved = false;
  @state() private refused = false;
  @state() private zoneBusy = false;
  @state() private zoneProblem = '';

  @query('#zone') private readonly zone!: HTMLInputElement;
  @query('#current') private readonly current!: HTMLInputElement | null;
  @query('#password') private readonly password!: HTMLInputElement;
  @query('#repeat') private readonly repeat!: HTMLInputElement;

  private async submit(event: Event) {
    event.preventDefault();
    const { value } = this.password;
    this.problem = value.length < MIN_LENGTH ? t.account.tooShort : value !== this.repeat.value ? t.account.mismatch : '';
    this.currentProblem = '';
    if (this.problem) return;
    const current = this.current?.value;
    this.busy = true;
    try {
      await setPassword(value, current);
      (event.target as HTMLFormElement).reset();
      this.saved = true;
      this.shell.toast(t.account.saved);
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) {
        this.currentProblem = current ? t.account.currentWrong : t.account.currentNeeded;
        this.refused = true;
      } else this.problem = describeError(error);
    } finally {
      this.busy = false;
    }
  }

  private async saveZone(event: Event) {
    event.preventDefault();
    this.zoneBusy = true;
    this.zoneProblem = '';
    try {
      await changeProfile({ timeZone: this.zone.value.trim() });
      await this.shell.refreshSession();
      this.shell.toast(t.account.zoneSaved);
    } catch (error) {
      const unknown = error instanceof ApiError && error.status === 400;
      this.zoneProblem = unknown ? t.account.zoneUnknown : describeError(error);
    } finally {
      this.zoneBusy = false;
    }
  }

  private renderZone() {
    const here = browserZone();
    return html`<section>
      <div class="section-head">
        <div>
          <h2>${t.account.zoneTitle}</h2>
          <p class="muted">${t.account.zoneIntro}</p>
        </div>
      </div>
      <div class="card">
        <form class="stack" @submit=${(event: Event) => this.saveZone(event)}>
          <div class="field">
            <label for="zone">${t.account.zone}</label>
            <input
              class="input"
              id="zone"
              list="zones"
              autocomplete="off"
              spellcheck="false"
              required
              aria-describedby="zone-help"
              aria-invalid=${this.zoneProblem ? 'true' : 'false'}
              .value=${this.session.user.timeZone ?? here}
            />
            <datalist id="zones">
              ${Intl.supportedValuesOf('timeZone').map((name) => html`<option value=${name}></option>`)}
            </datalist>
            ${this.zoneProblem ? html`<span class="problem" role="alert">${this.zoneProblem}</span>` : nothing}
            <span class="help" id="zone-help">${here ? t.account.zoneHere(here) : t.account.zoneExample}</span>
          </div>
          <div><button class="btn" type="submit" ?disabled=${this.zoneBusy}>${t.common.save}</button></div>
        </form>
      </div>
    </section>`;
  }

  override render() {
    const { user, tenant, hasPassword, asksPassword } = this.session;
    const changes = hasPassword || this.saved || this.refused;
    return html`<claw-page heading=${t.account.title} intro=${t.account.intro}>
      <section>
        <div class="card">
          <dl>
            <dt>${t.account.signedInAs}</dt>
            <dd class="wrap-anywhere">${user.email}</dd>
            <dt>${t.account.role}</dt>
            <dd>${t.members.roles[user.role] ?? user.role}</dd>
            <dt>${t.account.tenant}</dt>
            <dd class="wrap-anywhere">${tenant.name || tenant.slug}</dd>
          </dl>
        </div>
      </section>
      ${this.renderZone()}
      <section>
        <div class="section-head">
          <div>
            <h2>${t.account.passwordTitle}</h2>
            <p class="muted">${changes ? t.account.changeIntro : t.account.passwordIntro}</p>
          </div>
        </div>
        <div class="card">
          <form class="stack" @submit=${(event: Event) => this.submit(event)}>
            <input type="text" hidden autocomplete="username" aria-label=${t.signIn.email} .value=${user.email} />
            ${
              asksPassword || this.refused
                ? html`<div class="field">
                    <label for="current">${t.account.current}</label>
                    <input
                      class="input"
                      id="current"
                      type="password"
                      autocomplete="current-password"
                      required
                      aria-describedby="current-help"
                      aria-invalid=${this.currentProblem ? 'true' : 'false'}
                    />
                    ${
                      this.currentProblem
                        ? html`<span class="problem" role="alert">${this.currentProblem}</span>`
                        : nothing
                    }
                    <span class="help" id="current-help">${t.account.currentHelp}</span>
                  </div>`
                : nothing
            }
            <div class="field">
              <label for="password">${t.account.password}</label>
              <input
                class="input"
                id="password"
                type="password"
                autocomplete="new-password"
                required
                aria-describedby="rule"
                aria-invalid=${this.problem ? 'true' : 'false'}
              />
              <span class="help" id="rule">${t.account.rule}</span>
            </div>
            <div class="field">
              <label for="repeat">${t.account.repeat}</label>
              <input
                class="input"
                id="repeat"
                type="password"
                autocomplete="new-password"
                required
                aria-invalid=${this.problem ? 'true' : 'false'}
              />
              ${this.problem ? html`<span class="problem" role="alert">${this.problem}</span>` : nothing}
            </div>
            <div><button class="btn primary" type="submit" ?disabled=${this.busy}>
                ${changes ? t.account.change : t.account.save}
              </button></div>
          </form>
        </div>
      </section>
    </claw-page>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-account': ClawPageAccount;
  }
}
