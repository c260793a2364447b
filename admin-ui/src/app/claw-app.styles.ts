/** Layout of the shell: side navigation and content; below 820 px a top bar and a drawer. */
import { css } from 'lit';
import { sharedStyles } from '../styles/shared.ts';

export const appStyles = [
  sharedStyles,
  css`
    :host {
      display: block;
      height: 100dvh;
    }
    .center {
      display: grid;
      place-items: center;
      min-height: 100dvh;
      padding: 24px 16px;
    }
    .spinner {
      width: 26px;
      height: 26px;
      border: 3px solid var(--claw-border);
      border-top-color: var(--claw-accent);
      border-radius: 50%;
      animation: spin 0.9s linear infinite;
    }
    @keyframes spin {
      to {
        transform: rotate(1turn);
      }
    }
    .skip {
      position: fixed;
      z-index: 60;
      top: -60px;
      left: 12px;
      padding: 8px 14px;
      border-radius: var(--claw-radius-s);
      background: var(--claw-surface);
      box-shadow: var(--claw-shadow-2);
    }
    .skip:focus {
      top: 12px;
    }
    .shell {
      display: grid;
      grid-template-columns: 236px minmax(0, 1fr);
      height: 100%;
    }
    claw-nav {
      border-right: 1px solid var(--claw-border);
    }
    .topbar,
    .scrim {
      display: none;
    }
    main {
      display: flex;
      flex-direction: column;
      min-width: 0;
      min-height: 0;
      overflow-y: auto;
    }
    main:focus {
      outline: none;
    }
    .page {
      flex: 1;
      display: flex;
      flex-direction: column;
      min-height: 0;
    }
    .page > * {
      flex: 1 0 auto;
    }
    .page > claw-page-chat {
      flex: 1 1 0;
      min-height: 0;
    }
    @media (max-width: 820px) {
      .shell {
        grid-template-rows: auto minmax(0, 1fr);
        grid-template-columns: minmax(0, 1fr);
      }
      .topbar {
        display: flex;
        align-items: center;
        gap: 8px;
        min-height: 48px;
        padding: 0 8px;
        border-bottom: 1px solid var(--claw-border);
        background: var(--claw-surface);
      }
      .place {
        font-weight: 600;
      }
      claw-nav {
        position: fixed;
        z-index: 40;
        inset: 0 auto 0 0;
        width: min(280px, 84vw);
        box-shadow: var(--claw-shadow-2);
        visibility: hidden;
        transform: translateX(-102%);
        transition:
          transform 0.18s ease-out,
          visibility 0.18s;
      }
      claw-nav.open {
        visibility: visible;
        transform: none;
      }
      .scrim {
        position: fixed;
        z-index: 30;
        inset: 0;
        display: block;
        border: 0;
        background: var(--claw-overlay);
      }
    }
  `,
];
