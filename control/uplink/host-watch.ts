/**
 * Hearing of changes of the host: the worker watches the socket, since Node cannot; what comes in quick succession is told once.
 */

import type { ChangeSocket } from '../../io/netlink.js';
import type { Dataplane } from '../types.js';

/** Milliseconds from the first change until it is told: a change seldom comes alone. */
const PAUSE = 25;
/** Milliseconds between two that are told: whoever looks runs programs, and some hosts change their routes all the time. */
const INTERVAL = 250;

export class HostWatch {
  readonly #dataplane: Pick<Dataplane, 'watchPidfd'>;
  readonly #socket: ChangeSocket;
  readonly #onChange: () => void;
  #unwatch: () => void = () => {};
  #timer: NodeJS.Timeout | null = null;
  #toldAt = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(dataplane: Pick<Dataplane, 'watchPidfd'>, socket: ChangeSocket, onChange: () => void) {
    this.#dataplane = dataplane;
    this.#socket = socket;
    this.#onChange = onChange;
    this.#arm();
  }

  #arm(): void {
    this.#unwatch = this.#dataplane.watchPidfd(this.#socket.fd, () => {
      this.#unwatch = () => {};
      this.#timer = setTimeout(() => this.#tell(), Math.max(PAUSE, this.#toldAt + INTERVAL - performance.now()));
      this.#timer.unref();
    });
  }

  /** Emptied before it is watched again: what comes in between makes it readable once more. */
  #tell(): void {
    this.#timer = null;
    if (this.#stopped) return;
    this.#toldAt = performance.now();
    this.#socket.drain();
    this.#arm();
    this.#onChange();
  }

  /** Tells at once what the worker has not, for whatever reason. */
  poll(): void {
    if (!this.#stopped && this.#timer === null && this.#socket.drain()) this.#onChange();
  }

  /** Nothing is told any more. The socket stays open until `close`: the worker may not have let go of it. */
  stop(): void {
    this.#stopped = true;
    this.#unwatch();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  close(): void {
    this.stop();
    this.#socket.close();
  }
}
