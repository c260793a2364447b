/** Styles that every shadow root with controls in it adopts: buttons, inputs, cards, tables. One sheet, shared. */
import { css } from 'lit';

export const sharedStyles = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :host([hidden]),
  [hidden] {
    display: none !important;
  }
  :focus-visible {
    outline: 2px solid var(--claw-accent);
    outline-offset: 2px;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  ol,
  dl,
  dd {
    margin: 0;
  }
  h2 {
    font-size: 1rem;
    font-weight: 600;
    line-height: 1.4;
  }
  h3 {
    font-size: 0.9375rem;
    font-weight: 600;
  }
  a {
    color: var(--claw-accent);
    text-underline-offset: 2px;
  }
  code,
  .mono {
    font-family: var(--claw-mono);
    font-size: 0.8125rem;
  }

  .btn {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 6px;
    min-height: 34px;
    padding: 0 14px;
    border: 1px solid var(--claw-control-border);
    border-radius: var(--claw-radius-s);
    background: var(--claw-surface);
    color: var(--claw-text);
    font: 500 0.875rem/1 var(--claw-font);
    text-decoration: none;
    white-space: nowrap;
    cursor: pointer;
    transition: background-color 0.12s;
  }
  .btn:hover:not(:disabled) {
    background: var(--claw-surface-hover);
  }
  .btn:disabled {
    opacity: 0.55;
    cursor: default;
  }
  .btn.primary {
    border-color: transparent;
    background: var(--claw-accent-fill);
    color: var(--claw-on-accent);
  }
  .btn.primary:hover:not(:disabled) {
    background: var(--claw-accent-fill-hover);
  }
  .btn.danger {
    color: var(--claw-danger);
  }
  .btn.danger.solid {
    border-color: transparent;
    background: var(--claw-danger-fill);
    color: #fff;
  }
  .btn.ghost {
    border-color: transparent;
    background: transparent;
    color: var(--claw-text-2);
  }
  .btn.ghost:hover:not(:disabled) {
    background: var(--claw-surface-hover);
    color: var(--claw-text);
  }
  .btn.small {
    min-height: 28px;
    padding: 0 10px;
    font-size: 0.8125rem;
  }
  .btn.icon {
    width: 34px;
    padding: 0;
  }
  .btn.icon.small {
    width: 28px;
  }

  .field {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    align-content: start;
    gap: 4px;
  }
  .field > label,
  .field > .label {
    font-weight: 500;
    font-size: 0.875rem;
  }
  .field .help {
    color: var(--claw-text-2);
    font-size: 0.8125rem;
  }
  .field .problem {
    color: var(--claw-danger);
    font-size: 0.8125rem;
  }
  .optional {
    color: var(--claw-text-3);
    font-weight: 400;
  }
  .input {
    width: 100%;
    min-height: 36px;
    padding: 6px 10px;
    border: 1px solid var(--claw-border-strong);
    border-radius: var(--claw-radius-s);
    background: var(--claw-surface);
    color: var(--claw-text);
    font: inherit;
  }
  textarea.input {
    resize: vertical;
  }
  .input::placeholder {
    color: var(--claw-text-3);
    opacity: 1;
  }
  .input:focus-visible {
    outline-offset: 0;
  }
  .input[aria-invalid='true'] {
    border-color: var(--claw-danger);
  }
  .check {
    display: flex;
    align-items: center;
    gap: 8px;
    cursor: pointer;
  }
  .check input {
    width: 16px;
    height: 16px;
    margin: 0;
    accent-color: var(--claw-accent-fill);
  }
  .stack {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 16px;
  }
  .row {
    display: flex;
    align-items: center;
    gap: 8px;
    flex-wrap: wrap;
  }
  .row.end {
    justify-content: flex-end;
  }
  .grow {
    flex: 1;
    min-width: 0;
  }
  .muted {
    color: var(--claw-text-2);
  }
  .small-text {
    font-size: 0.8125rem;
  }
  .truncate {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .wrap-anywhere {
    overflow-wrap: anywhere;
  }

  .card {
    border: 1px solid var(--claw-border);
    border-radius: var(--claw-radius);
    background: var(--claw-surface);
    box-shadow: var(--claw-shadow-1);
  }
  .card-head {
    display: flex;
    align-items: center;
    gap: 12px;
    flex-wrap: wrap;
    padding: 14px 16px;
  }
  .card-body {
    padding: 0 16px 16px;
  }
  ul.list {
    margin: 0;
    padding: 0;
    list-style: none;
  }
  ul.list > li {
    display: flex;
    align-items: center;
    gap: 12px;
    flex-wrap: wrap;
    padding: 12px 16px;
  }
  ul.list > li + li {
    border-top: 1px solid var(--claw-border);
  }
  section + section {
    margin-top: 28px;
  }
  .section-head {
    display: flex;
    align-items: flex-end;
    justify-content: space-between;
    gap: 12px;
    flex-wrap: wrap;
    margin-bottom: 10px;
  }

  .table-scroll {
    overflow-x: auto;
  }
  table {
    width: 100%;
    border-collapse: collapse;
    font-size: 0.875rem;
  }
  th,
  td {
    padding: 10px 16px;
    text-align: left;
    vertical-align: middle;
  }
  th {
    color: var(--claw-text-2);
    font-weight: 500;
    font-size: 0.8125rem;
    white-space: nowrap;
  }
  tbody tr {
    border-top: 1px solid var(--claw-border);
  }
  td.actions {
    width: 1%;
    text-align: right;
    white-space: nowrap;
  }
  @media (max-width: 640px) {
    /* A row becomes a small sheet: each value with the name of its column. */
    thead {
      display: none;
    }
    tbody tr {
      display: grid;
      gap: 4px;
      padding: 12px 16px;
    }
    tbody tr:first-child {
      border-top: 0;
    }
    td,
    td.actions {
      display: flex;
      justify-content: space-between;
      gap: 16px;
      width: auto;
      padding: 0;
      text-align: right;
    }
    td:empty {
      display: none;
    }
    td[data-label]::before {
      flex: none;
      color: var(--claw-text-2);
      content: attr(data-label);
    }
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation-duration: 0.01ms !important;
      transition-duration: 0.01ms !important;
    }
  }
`;
