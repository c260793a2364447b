/** Layout of the chat page: two columns; on narrow screens the list covers the conversation while it is open. */
import { css } from 'lit';
import { sharedStyles } from '../../styles/shared.ts';

export const chatPageStyles = [
  sharedStyles,
  css`
    :host {
      display: grid;
      grid-template-rows: minmax(0, 1fr);
      grid-template-columns: 264px minmax(0, 1fr);
      min-height: 0;
    }
    claw-session-list {
      border-right: 1px solid var(--claw-border);
    }
    .conversation {
      display: flex;
      flex-direction: column;
      min-width: 0;
      min-height: 0;
      margin: 0;
    }
    header {
      display: flex;
      align-items: center;
      gap: 8px;
      min-height: 48px;
      padding: 0 12px 0 24px;
      border-bottom: 1px solid var(--claw-border);
    }
    .toggle {
      display: none;
    }
    .demo {
      margin: 12px 24px 0;
    }
    .fill {
      flex: 1 1 0;
      min-height: 0;
    }
    .middle {
      display: grid;
      place-items: center;
      overflow-y: auto;
    }
    @media (max-width: 900px) {
      :host {
        position: relative;
        grid-template-columns: minmax(0, 1fr);
      }
      claw-session-list {
        display: none;
        position: absolute;
        z-index: 5;
        inset: 48px 0 0;
        border-right: 0;
        background: var(--claw-bg);
      }
      claw-session-list.open {
        display: flex;
      }
      .toggle {
        display: inline-flex;
      }
      header {
        padding: 0 10px;
      }
      .demo {
        margin: 10px 10px 0;
      }
    }
  `,
];
