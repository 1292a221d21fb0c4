/** VRFs by name: the dataplane has one as long as an interface is in it. */

import type { Dataplane, VrfSpec } from './types.js';

export class Vrfs {
  readonly #dataplane: Dataplane;
  readonly #specOf: (name: string) => VrfSpec;
  readonly #endFlows: (vrf: number) => Promise<unknown>;
  readonly #live = new Map<string, { readonly number: number; users: number; spec: VrfSpec }>();

  /**
   * @param specOf what is wanted of a VRF, also of one that nobody has configured
   * @param endFlows ends all connections of a VRF, by the dataplane's number
   */
  constructor(
    dataplane: Dataplane,
    specOf: (name: string) => VrfSpec,
    endFlows: (vrf: number) => Promise<unknown> = () => Promise.resolve(),
  ) {
    this.#dataplane = dataplane;
    this.#specOf = specOf;
    this.#endFlows = endFlows;
  }

  /** The dataplane's number; null while no interface is in it. */
  numberOf(name: string): number | null {
    return this.#live.get(name)?.number ?? null;
  }

  /** Null where the number means nothing (any more). */
  nameOf(number: number): string | null {
    for (const [name, vrf] of this.#live) if (vrf.number === number) return name;
    return null;
  }

  /** Names of those that the dataplane has. */
  names(): string[] {
    return [...this.#live.keys()];
  }

  specOf(name: string): VrfSpec {
    return this.#specOf(name);
  }

  /** Counts another user, and makes the VRF for the first. One call at a time. @returns the dataplane's number */
  async acquire(name: string): Promise<number> {
    const known = this.#live.get(name);
    if (known !== undefined) {
      known.users++;
      return known.number;
    }
    const spec = this.#specOf(name);
    const number = await this.#dataplane.addVrf(spec);
    this.#live.set(name, { number, users: 1, spec });
    return number;
  }

  /** Counts a user less; the last one's VRF goes, and its routes with it. One call at a time. */
  async release(name: string): Promise<void> {
    const vrf = this.#live.get(name);
    if (vrf === undefined || --vrf.users > 0) return;
    this.#live.delete(name);
    try {
      // Another VRF will have the number.
      if (vrf.spec.tracking) await this.#endFlows(vrf.number);
    } finally {
      await this.#dataplane.removeVrf(vrf.number);
    }
  }

  /** Tells the dataplane what is wanted of them now, where that has changed. */
  async update(): Promise<void> {
    for (const [name, vrf] of this.#live) {
      const before = vrf.spec;
      const spec = this.#specOf(name);
      if (JSON.stringify(spec) === JSON.stringify(before)) continue;
      // Noted first: who comes meanwhile compares with what the dataplane is being told.
      vrf.spec = spec;
      try {
        await this.#dataplane.setVrf(vrf.number, spec);
      } catch (error) {
        if (vrf.spec === spec) vrf.spec = before;
        throw error;
      }
      // What connections do unseen would be held against them once they are tracked again.
      if (before.tracking && !spec.tracking) await this.#endFlows(vrf.number);
    }
  }
}
