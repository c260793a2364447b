/** Holds the element of the current page, loading its code on first use. */
import type { ReactiveController, ReactiveControllerHost } from 'lit';

export class PageOutlet implements ReactiveController {
  element: HTMLElement | undefined;
  /** The page's code could not be loaded. */
  error: unknown;
  #tag = '';

  constructor(private readonly host: ReactiveControllerHost) {
    host.addController(this);
  }

  hostConnected(): void {
    // The shell decides what to show.
  }

  /** Shows `<tag>`; the previous page stays until the new one is ready. A second call for the same tag keeps it. */
  async show(tag: string, load: () => Promise<unknown>): Promise<void> {
    if (this.#tag === tag && this.error === undefined) {
      this.host.requestUpdate();
      return;
    }
    this.#tag = tag;
    try {
      await load();
    } catch (error) {
      if (this.#tag !== tag) return;
      this.element = undefined;
      this.error = error;
      this.host.requestUpdate();
      return;
    }
    // Another page may have been asked for meanwhile.
    if (this.#tag !== tag) return;
    this.error = undefined;
    this.element = document.createElement(tag);
    this.host.requestUpdate();
  }

  clear(): void {
    this.#tag = '';
    this.error = undefined;
    this.element = undefined;
    this.host.requestUpdate();
  }
}
