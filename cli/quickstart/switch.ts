/** A switch of the quickstart: a daemon on a private socket, in a namespace of its own that has one end of a wire. */

import { closeSync, openSync } from 'node:fs';
import { ApiClient } from '../client.js';
import { Child, taplineCommand } from './child.js';
import { type Wire, wiredTo } from './outside.js';

export interface SwitchOptions {
  /** What it is, for error lines. */
  readonly what: string;
  /** File that it brings up. */
  readonly configuration: string;
  readonly wire: Wire;
  readonly socket: string;
  /** Value of `--engine` for `tapline up`. */
  readonly engine: string;
  /** Aborted by Ctrl-C: whatever waits, ends. */
  readonly signal: AbortSignal;
}

/** Make one, `start` it in a `try`, and `stop` it in the `finally`. */
export class Switch {
  readonly socket: string;
  readonly client: ApiClient;
  readonly wire: Wire;
  readonly #options: SwitchOptions;
  #daemon: Child | null = null;

  constructor(options: SwitchOptions) {
    this.socket = options.socket;
    this.client = new ApiClient(options.socket);
    this.wire = options.wire;
    this.#options = options;
  }

  /** Its process. @throws Error before `start` */
  get daemon(): Child {
    if (this.#daemon === null) throw new Error(`${this.#options.what} was not started`);
    return this.#daemon;
  }

  /** @param outside process id of the host outside @throws TaplineError with the daemon's last words */
  async start(outside: number): Promise<void> {
    await this.#run(wiredTo(this.wire, outside, this.#command()));
  }

  #command(): readonly string[] {
    const { configuration, engine } = this.#options;
    return taplineCommand('up', '-f', configuration, '--engine', engine, '--log-level', 'warn');
  }

  async #run(command: readonly string[]): Promise<void> {
    this.#daemon = new Child(this.#options.what, command, this.socket);
    await this.#daemon.says('ready', this.#options.signal);
  }

  /** Kills the daemon as `kill -9` does, and starts another in its place. @returns milliseconds until that is ready */
  async replaceDaemon(): Promise<number> {
    // Nobody else is in its namespace, which would end with it, and so would the wire.
    const namespace = openSync(`/proc/${this.daemon.pid}/ns/net`, 'r');
    try {
      const began = performance.now();
      await this.daemon.kill();
      await this.#run(['nsenter', `--net=/proc/${process.pid}/fd/${namespace}`, '--', ...this.#command()]);
      return performance.now() - began;
    } finally {
      closeSync(namespace);
    }
  }

  /** Ends the daemon, which removes what it made. Nothing happens when it has ended. */
  async stop(): Promise<void> {
    await this.#daemon?.stop();
  }
}
