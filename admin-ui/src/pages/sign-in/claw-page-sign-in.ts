/** Sign-in with e-mail and password. `problem` is why a sign-in link did not work. Emits `claw-signed-in`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { ApiError } from '../../api/http.ts';
import { signInWithPassword } from '../../api/session.ts';
import type { Session } from '../../api/session.ts';
import '../../components/claw-banner.ts';
import { describeError } from '../../i18n/errors.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-page-sign-in')
export class ClawPageSignIn extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        width: min(400px, 100%);
      }
      .brand {
        display: flex;
        align-items: center;
        gap: 10px;
        margin-bottom: 22px;
        font-weight: 650;
      }
      .brand img {
        width: 32px;
        height: 32px;
      }
      .card {
        padding: 28px;
      }
      h1 {
        margin-bottom: 4px;
        font-size: 1.25rem;
        font-weight: 650;
        letter-spacing: -0.01em;
      }
      form {
        margin-top: 20px;
      }
      .btn {
        min-height: 38px;
      }
      .foot {
        margin-top: 16px;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
        text-align: center;
      }
    `,
  ];

  /** What was thrown when the code of a sign-in link was used. */
  @property({ attribute: false }) problem: unknown = undefined;

  @state() private busy = false;
  @state() private failure: unknown = undefined;

  @query('#email') private readonly email!: HTMLInputElement;
  @query('#password') private readonly password!: HTMLInputElement;

  override firstUpdated() {
    this.email.focus();
  }

  private async submit(event: Event) {
    event.preventDefault();
    if (this.busy) return;
    this.busy = true;
    this.failure = undefined;
    this.problem = undefined;
    try {
      const session = await signInWithPassword(this.email.value.trim(), this.password.value);
      this.dispatchEvent(
        new CustomEvent<Session>('claw-signed-in', { detail: session, bubbles: true, composed: true }),
      );
    } catch (error) {
      this.failure = error;
      await this.updateComplete;
      this.password.select();
    } finally {
      this.busy = false;
    }
  }

  private message(): string {
    if (this.failure !== undefined) return refused(this.failure) ? t.signIn.wrongPassword : describeError(this.failure);
    if (this.problem !== undefined) return refused(this.problem) ? t.signIn.linkInvalid : describeError(this.problem);
    return '';
  }

  override render() {
    const message = this.message();
    const wrong = refused(this.failure);
    return html`<div class="card">
        <div class="brand"><img src="/favicon.svg" alt="" />${t.product}</div>
        <h1>${t.signIn.title}</h1>
        <p class="muted">${t.signIn.intro}</p>
        <form class="stack" @submit=${(event: Event) => this.submit(event)}>
          ${message ? html`<claw-banner id="message" tone="danger">${message}</claw-banner>` : nothing}
          <div class="field">
            <label for="email">${t.signIn.email}</label>
            <input
              class="input"
              id="email"
              type="email"
              autocomplete="username"
              required
              aria-invalid=${wrong ? 'true' : 'false'}
            />
          </div>
          <div class="field">
            <label for="password">${t.signIn.password}</label>
            <input
              class="input"
              id="password"
              type="password"
              autocomplete="current-password"
              required
              aria-invalid=${wrong ? 'true' : 'false'}
            />
          </div>
          <button class="btn primary" type="submit" ?disabled=${this.busy}>
            ${this.busy ? t.signIn.working : t.signIn.submit}
          </button>
        </form>
      </div>
      <p class="foot">${t.signIn.firstTime}</p>`;
  }
}

/** The server knows neither this code nor this password. */
function refused(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 401 || error.status === 400);
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-sign-in': ClawPageSignIn;
  }
}
