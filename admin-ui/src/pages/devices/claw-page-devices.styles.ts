/** Styles of the devices page. */
import { css } from 'lit';
import { sharedStyles } from '../../styles/shared.ts';

export const devicesStyles = [
  sharedStyles,
  css`
    .name {
      display: flex;
      align-items: center;
      gap: 8px;
      flex-wrap: wrap;
      font-weight: 500;
    }
    .attention {
      border-color: var(--claw-accent);
    }
    .warn {
      color: var(--claw-warn);
    }
    .none {
      padding: 16px;
    }
    summary {
      width: max-content;
      color: var(--claw-text-2);
      cursor: pointer;
    }
    .commands {
      display: flex;
      gap: 6px;
      flex-wrap: wrap;
      margin: 6px 0 0;
      padding: 0;
      list-style: none;
    }
    .commands code {
      padding: 2px 6px;
      border-radius: 4px;
      background: var(--claw-surface-2);
    }
    claw-copy {
      width: min(640px, 100%);
      text-align: left;
    }
  `,
];
