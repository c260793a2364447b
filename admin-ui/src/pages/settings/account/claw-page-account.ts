/** Settings → Your account: who you are, your password. */
import { consume } from '@lit/context';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import { setPassword } from '../../../api/session.ts';
import type { Session } from '../../../api/session.ts';
import { sessionContext, shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-page.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

/** The server checks again. */
const MIN_LENGTH = 12;

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

  @query('#password') private readonly password!: HTMLInputElement;
  @query('#repeat') private readonly repeat!: HTMLInputElement;

  private async submit(event: Event) {
    event.preventDefault();
    const { value } = this.password;
    this.problem = value.length < MIN_LENGTH ? t.account.tooShort : value !== this.repeat.value ? t.account.mismatch : '';
    if (this.problem) return;
    this.busy = true;
    try {
      await setPassword(value);
      (event.target as HTMLFormElement).reset();
      this.shell.toast(t.account.saved);
    } catch (error) {
      this.problem = describeError(error);
    } finally {
      this.busy = false;
    }
  }

  override render() {
    const { user, tenant } = this.session;
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
      <section>
        <div class="section-head">
          <div>
            <h2>${t.account.passwordTitle}</h2>
            <p class="muted">${t.account.passwordIntro}</p>
          </div>
        </div>
        <div class="card">
          <form class="stack" @submit=${(event: Event) => this.submit(event)}>
            <input type="text" hidden autocomplete="username" aria-label=${t.signIn.email} .value=${user.email} />
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
            <div><button class="btn primary" type="submit" ?disabled=${this.busy}>${t.account.save}</button></div>
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
