/**
 * Neighbors that are told: which MAC an address of a network has, so that its gateway need not ask. They outlive the gateway's
 * interface, which may be made anew under another number.
 */

import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import type { Interfaces } from '../interfaces.js';
import type { Dataplane } from '../types.js';

/** Of one network. */
interface Told {
  /** MAC by address. */
  readonly neighbors: Map<string, string>;
  /** The interface that knows of them; -1: none. */
  iface: number;
}

export class ToldNeighbors {
  readonly #dataplane: Pick<Dataplane, 'vxlan'>;
  readonly #interfaces: Interfaces;
  readonly #logger: DataplaneLogger;
  /** By network. */
  readonly #told = new Map<string, Told>();

  constructor(dataplane: Pick<Dataplane, 'vxlan'>, interfaces: Interfaces, logger: DataplaneLogger) {
    this.#dataplane = dataplane;
    this.#interfaces = interfaces;
    this.#logger = logger;
    interfaces.onChange(() => this.#follow());
  }

  /** MACs by address. */
  of(network: string): ReadonlyMap<string, string> {
    return this.#told.get(network)?.neighbors ?? new Map();
  }

  /** Told again, it has the new MAC. @throws Error, one line; then it is as before */
  async tell(network: string, address: string, mac: string): Promise<void> {
    const told = this.#of(network);
    const before = told.neighbors.get(address);
    told.neighbors.set(address, mac);
    try {
      if (told.iface >= 0) await this.#dataplane.vxlan.setNeighbor(told.iface, address, mac);
    } catch (error) {
      if (before === undefined) told.neighbors.delete(address);
      else told.neighbors.set(address, before);
      throw error;
    }
  }

  #of(network: string): Told {
    const known = this.#told.get(network);
    if (known !== undefined) return known;
    const told = { neighbors: new Map<string, string>(), iface: this.#interfaces.get(network)?.number ?? -1 };
    this.#told.set(network, told);
    return told;
  }

  /** @returns false where nothing was told of it */
  async forget(network: string, address: string): Promise<boolean> {
    const told = this.#told.get(network);
    if (told === undefined || !told.neighbors.delete(address)) return false;
    if (told.iface >= 0) await this.#dataplane.vxlan.setNeighbor(told.iface, address, null);
    return true;
  }

  /** The network goes, and all that was told of it. */
  forgetNetwork(network: string): void {
    this.#told.delete(network);
  }

  /** An interface was made, replaced or removed. What a replaced one was told, it still knows. */
  async #follow(): Promise<void> {
    for (const [network, told] of this.#told) {
      const iface = this.#interfaces.get(network)?.number ?? -1;
      if (iface === told.iface) continue;
      told.iface = iface;
      if (iface < 0) continue;
      for (const [address, mac] of told.neighbors) await this.#tellOne(iface, network, address, mac);
    }
  }

  async #tellOne(iface: number, network: string, address: string, mac: string): Promise<void> {
    await this.#dataplane.vxlan.setNeighbor(iface, address, mac).catch((error: unknown) => {
      this.#logger.warn(`network ${network}: neighbor ${address} cannot be told: ${firstLine(error)}`);
    });
  }
}
