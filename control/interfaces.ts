/**
 * The router's interfaces by name: that of a network has the network's, the others are `uplink` and `host`. All changes of the
 * router run through here, one after the other, so that a route never names an interface that is on its way out.
 */

import { isDeepStrictEqual } from 'node:util';
import { Turns } from './concurrency.js';
import type { Dataplane, InterfaceSpec } from './types.js';
import type { Vrfs } from './vrfs.js';

/** An interface as it is wanted: its VRF by name. */
export interface InterfaceRequest extends Omit<InterfaceSpec, 'vrf'> {
  readonly vrf: string;
}

export interface InterfaceState {
  readonly name: string;
  /** The dataplane's. */
  readonly number: number;
  readonly request: InterfaceRequest;
}

export class Interfaces {
  readonly vrfs: Vrfs;
  readonly #dataplane: Dataplane;
  readonly #byName = new Map<string, InterfaceState>();
  readonly #listeners: (() => Promise<unknown>)[] = [];
  readonly #turns = new Turns();

  constructor(dataplane: Dataplane, vrfs: Vrfs) {
    this.#dataplane = dataplane;
    this.vrfs = vrfs;
  }

  /** Runs when no other change is under way. Work must not wait for another change of the router. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.run(work);
  }

  /** Called, and waited for, after each change and before the next; must not reject. */
  onChange(listener: () => Promise<unknown>): void {
    this.#listeners.push(listener);
  }

  async #changed(): Promise<void> {
    for (const listener of this.#listeners) await listener();
  }

  /**
   * Makes the VRF too where it is the first in it.
   *
   * @returns the dataplane's number
   * @throws Error where the name is taken, or the dataplane refuses it; nothing is left behind
   */
  add(name: string, request: InterfaceRequest): Promise<number> {
    return this.exclusively(async () => {
      if (this.#byName.has(name)) throw new Error(`interface ${name} already exists`);
      const { vrf } = request;
      const vrfNumber = await this.vrfs.acquire(vrf);
      try {
        const number = await this.#dataplane.addInterface({ ...request, vrf: vrfNumber });
        this.#byName.set(name, { name, number, request });
        await this.#changed();
        return number;
      } catch (error) {
        await this.vrfs.release(vrf);
        throw error;
      }
    });
  }

  /** Replaces what it was, all but the VRF, without a packet seeing it away. @throws Error where there is none */
  set(name: string, request: InterfaceRequest): Promise<void> {
    return this.exclusively(() => this.#replace(name, request));
  }

  async #replace(name: string, request: InterfaceRequest): Promise<void> {
    const state = this.#byName.get(name);
    const vrf = this.vrfs.numberOf(request.vrf);
    if (state === undefined || vrf === null || state.request.vrf !== request.vrf)
      throw new Error(`no interface ${name} in VRF ${request.vrf}`);
    await this.#dataplane.setInterface(state.number, { ...request, vrf });
    this.#byName.set(name, { ...state, request });
    await this.#changed();
  }

  /** Replaces it where another is wanted by now than there is. As `set` else. */
  follow(name: string, wanted: () => InterfaceRequest): Promise<void> {
    // Asked when its turn comes: those who wait together find it done by the first.
    return this.exclusively(async () => {
      const request = wanted();
      if (!isDeepStrictEqual(this.#byName.get(name)?.request, request)) await this.#replace(name, request);
    });
  }

  /** Its VRF goes with the last one. Nothing happens where there is none. @throws Error what the dataplane says; it is forgotten all the same */
  remove(name: string): Promise<void> {
    return this.exclusively(async () => {
      const state = this.#byName.get(name);
      if (state === undefined) return;
      this.#byName.delete(name);
      try {
        await this.#dataplane.removeInterface(state.number);
      } finally {
        await this.vrfs.release(state.request.vrf).finally(() => this.#changed());
      }
    });
  }

  get(name: string): InterfaceState | undefined {
    return this.#byName.get(name);
  }

  /** Null where the number means nothing (any more). */
  nameOf(number: number): string | null {
    for (const state of this.#byName.values()) if (state.number === number) return state.name;
    return null;
  }

  /** In the order in which they were made. */
  in(vrf: string): InterfaceState[] {
    return [...this.#byName.values()].filter(({ request }) => request.vrf === vrf);
  }
}
