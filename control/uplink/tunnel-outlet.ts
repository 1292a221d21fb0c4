/**
 * The outlet of a routed uplink, while networks lead through it to other hosts: super-packets of their tunnels leave whole. Where there can be
 * none (an older kernel, no right to load a BPF program), Tapline cuts them itself, and says so.
 */

import type { Outlet } from '../../io/outlet.js';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import type { System } from '../system.js';
import type { Dataplane } from '../types.js';

export class TunnelOutlet {
  readonly #uplink: string;
  readonly #system: System;
  readonly #dataplane: Dataplane;
  readonly #logger: DataplaneLogger;
  #outlet: Outlet | null = null;
  /** The dataplane's number of the port that it is of. */
  #port = -1;
  /** It is as it should be, or cannot be had: not to be tried again each second. */
  #settled = false;
  /** As it was last said. */
  #trouble = '';

  constructor(uplink: string, system: System, dataplane: Dataplane, logger: DataplaneLogger) {
    this.#uplink = uplink;
    this.#system = system;
    this.#dataplane = dataplane;
    this.#logger = logger;
  }

  /** Name of its device; null where there is none. */
  get device(): string | null {
    return this.#outlet?.device ?? null;
  }

  /** Makes it, unless it is there. Does not reject: without it all works, more slowly. */
  async open(port: number): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    try {
      const outlet = await this.#system.openOutlet(this.#uplink);
      try {
        await this.#dataplane.setOutlet(port, outlet.fd);
      } catch (error) {
        outlet.close();
        throw error;
      }
      this.#outlet = outlet;
      this.#port = port;
      this.#trouble = '';
    } catch (error) {
      this.#say(firstLine(error));
    }
  }

  #say(why: string): void {
    const line = `uplink ${this.#uplink}: super-packets of tunnels are cut here, not by the kernel: ${why}`;
    if (line !== this.#trouble) this.#logger.info(line);
    this.#trouble = line;
  }

  /** Once a second: one that somebody has removed or set down is given up, and made anew. @returns whether `open` has something to do */
  isLost(): boolean {
    const outlet = this.#outlet;
    if (outlet === null) return false;
    const link = this.#system.linkFacts(outlet.device);
    // By its number: another's may have the name by now.
    return link === null || link.index !== outlet.index || !link.enabled;
  }

  /** Gives it up; nothing happens where there is none. It can be opened again. */
  async close(): Promise<void> {
    const outlet = this.#outlet;
    this.#outlet = null;
    this.#settled = false;
    if (outlet === null) return;
    try {
      await this.#dataplane.setOutlet(this.#port, -1);
    } finally {
      outlet.close();
    }
  }
}
