/** Gateway events for the time an element is connected to the page. */
import type { ReactiveController, ReactiveControllerHost } from 'lit';
import type { ConnectionState, GatewayClient } from '../api/gateway.ts';

type Handlers = Record<string, (payload: never) => void>;

/**
 * Listens to the named events, and calls `load` whenever what is shown may be stale: at the start of each connection
 * and on `resync`.
 */
export class GatewaySubscriptions implements ReactiveController {
  #undo: (() => void)[] = [];
  #greeted: unknown;

  constructor(
    host: ReactiveControllerHost,
    private readonly gateway: () => GatewayClient | undefined,
    private readonly handlers: Handlers,
    private readonly load: () => void,
  ) {
    host.addController(this);
  }

  hostConnected(): void {
    // Contexts answer while the host connects, which may be after its controllers: look once more afterwards.
    queueMicrotask(() => this.#start());
  }

  hostDisconnected(): void {
    for (const undo of this.#undo) undo();
    this.#undo = [];
    this.#greeted = undefined;
  }

  #start(): void {
    const gateway = this.gateway();
    if (!gateway || this.#undo.length > 0) return;
    for (const [name, handler] of Object.entries(this.handlers)) {
      this.#undo.push(gateway.on(name, handler as (payload: unknown) => void));
    }
    this.#undo.push(gateway.onState((state) => this.#onState(state)));
    this.#undo.push(
      gateway.on<{ reason: string }>('resync', ({ reason }) => {
        if (reason === 'gap') this.load();
      }),
    );
    this.#onState(gateway.state);
  }

  #onState(state: ConnectionState): void {
    if (state.phase !== 'open' || state.hello === this.#greeted) return;
    this.#greeted = state.hello;
    this.load();
  }
}
