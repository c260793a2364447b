/** Asks before something that cannot be undone. */
import { html, render } from 'lit';
import { t } from '../i18n/index.ts';
import './claw-dialog.ts';
import './claw-confirm-body.ts';

/** Resolves to whether the person agreed. */
export function confirmAction(question: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    const holder = document.createElement('div');
    document.body.append(holder);
    const done = (answer: boolean) => {
      render(null, holder);
      holder.remove();
      resolve(answer);
    };
    render(
      html`<claw-dialog heading=${action} @claw-close=${() => done(false)}>
        <claw-confirm-body
          question=${question}
          action=${action}
          cancel=${t.common.cancel}
          @claw-cancel=${() => done(false)}
          @claw-confirm=${() => done(true)}
        ></claw-confirm-body>
      </claw-dialog>`,
      holder,
    );
  });
}
