/** Types of the JavaScript helpers, for the tests. */
declare module '*/mock-server.mjs' {
  interface Options {
    port?: number;
    empty?: boolean;
    zeroKey?: boolean;
    signedIn?: boolean;
    messages?: number;
  }
  interface Mock {
    url: string;
    data: {
      signedIn: boolean;
      failing: boolean;
      session: { zeroKey: boolean; user: { timeZone: string | null } };
      providers: { keyOrder: string[] }[];
    };
    sockets: { clients: Set<{ terminate(): void }> };
    close(): Promise<void>;
  }
  export function startMockServer(options?: Options): Promise<Mock>;
}
declare module '*/browser.mjs' {
  import type { Browser } from 'playwright';
  export function launchBrowser(): Promise<Browser>;
}
