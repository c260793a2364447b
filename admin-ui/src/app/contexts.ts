/** What pages get from the shell: who is signed in, the live connection, a way to say something, a way to go somewhere. */
import { createContext } from '@lit/context';
import type { ConnectionState, GatewayClient } from '../api/gateway.ts';
import type { Session } from '../api/session.ts';

export const sessionContext = createContext<Session>(Symbol('session'));
export const gatewayContext = createContext<GatewayClient>(Symbol('gateway'));
export const connectionContext = createContext<ConnectionState>(Symbol('connection'));

export interface Shell {
  navigate(path: string): void;
  /** Asks the server again who is signed in and what is set up. */
  refreshSession(): Promise<void>;
  signOut(): Promise<void>;
  toast(text: string): void;
  /** Tells about an error that has no better place. */
  toastError(error: unknown): void;
}

export const shellContext = createContext<Shell>(Symbol('shell'));
