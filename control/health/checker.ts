/** The checks of one VRF: a thread in a namespace of its own, and a port there for each network that has something to check. */

import type { NetworkState } from '../state.js';
import type { CheckThread, CheckThreadListener } from './check-thread.js';
import { HealthPort, type HealthPortParts } from './health-port.js';
import type { Order } from './messages.js';

export interface CheckerParts extends HealthPortParts {
  start(listener: CheckThreadListener): Promise<CheckThread>;
}

export class Checker {
  readonly #parts: CheckerParts;
  readonly #thread: CheckThread;
  /** By network. */
  readonly #ports = new Map<string, HealthPort>();

  private constructor(parts: CheckerParts, thread: CheckThread) {
    this.#parts = parts;
    this.#thread = thread;
  }

  /** @throws Error, one line, where there is no thread to be had */
  static async start(parts: CheckerParts, listener: CheckThreadListener): Promise<Checker> {
    return new Checker(parts, await parts.start(listener));
  }

  get ports(): Iterable<HealthPort> {
    return this.#ports.values();
  }

  /**
   * Makes a port in a network that has none, or has lost it.
   *
   * @throws what refused it
   */
  async join(network: NetworkState): Promise<void> {
    const before = this.#ports.get(network.name);
    if (before !== undefined && !before.isLost && before.network === network) return;
    await this.leave(network.name);
    const port = new HealthPort(network, this.#parts);
    this.#ports.set(network.name, port);
    try {
      await port.open(this.#thread.netns);
    } catch (error) {
      this.#ports.delete(network.name);
      throw error;
    }
  }

  async leave(network: string): Promise<void> {
    await this.#ports.get(network)?.close();
    this.#ports.delete(network);
  }

  order(order: Order): void {
    this.#thread.order(order);
  }

  async close(): Promise<void> {
    for (const network of [...this.#ports.keys()]) await this.leave(network);
    await this.#thread.stop();
  }
}
