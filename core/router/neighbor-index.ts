/**
 * (interface, address) → neighbor: open addressing on flat memory, half full at most, with the hash beside each entry, so that an object
 * is looked at only where it is the right one, but for one case in billions. Finding allocates nothing.
 */

import { mix } from '../tables/number-index.js';
import { PLACE_WORDS, vacate } from '../tables/places.js';
import { MAPPED } from './address.js';
import type { Neighbor } from './neighbor.js';

/** Words a place: hash, id of the neighbor (0: empty). */

export class NeighborIndex {
  private readonly words: Int32Array;
  /** Of word offsets. */
  private readonly mask: number;
  /** By id less one. */
  private readonly pool: readonly Neighbor[];
  private readonly seed: number;
  /** Hash of a mapped address's first three words. */
  private readonly mapped: number;

  /** @param pool the neighbors by id less one; may grow up to `maximum` */
  constructor(pool: readonly Neighbor[], maximum: number, seed: number) {
    let places = 16;
    while (places < 2 * maximum) places *= 2;
    this.words = new Int32Array(places * PLACE_WORDS);
    this.mask = places * PLACE_WORDS - 1;
    this.pool = pool;
    this.seed = seed | 0;
    this.mapped = mix(mix(mix(this.seed, 0), 0), MAPPED);
  }

  find4(iface: number, address: number): Neighbor | null {
    const hash = mix(mix(this.mapped, iface), address);
    const { words, mask } = this;
    for (let at = (hash << 1) & mask; ; at = (at + PLACE_WORDS) & mask) {
      const id = words[at + 1];
      if (id === 0) return null;
      if (words[at] !== hash) continue;
      const there = this.pool[id - 1];
      if (there.d === address && there.iface === iface && there.c === MAPPED && there.b === 0 && there.a === 0)
        return there;
    }
  }

  find6(iface: number, a: number, b: number, c: number, d: number): Neighbor | null {
    const hash = this.hash(iface, a, b, c, d);
    const { words, mask } = this;
    for (let at = (hash << 1) & mask; ; at = (at + PLACE_WORDS) & mask) {
      const id = words[at + 1];
      if (id === 0) return null;
      if (words[at] !== hash) continue;
      const there = this.pool[id - 1];
      if (there.d === d && there.c === c && there.b === b && there.a === a && there.iface === iface) return there;
    }
  }

  /** The neighbor's key must not be there yet, and fewer than `maximum` must be. */
  insert(neighbor: Neighbor): void {
    const hash = this.hash(neighbor.iface, neighbor.a, neighbor.b, neighbor.c, neighbor.d);
    const { words, mask } = this;
    let at = (hash << 1) & mask;
    while (words[at + 1] !== 0) at = (at + PLACE_WORDS) & mask;
    words[at] = hash;
    words[at + 1] = neighbor.id;
  }

  /** The neighbor must be there, with the key that it was inserted with. Followers move up, so no marks are left. */
  remove(neighbor: Neighbor): void {
    const { words, mask } = this;
    let hole = (this.hash(neighbor.iface, neighbor.a, neighbor.b, neighbor.c, neighbor.d) << 1) & mask;
    while (words[hole + 1] !== neighbor.id) hole = (hole + PLACE_WORDS) & mask;
    vacate(words, mask, hole);
  }

  private hash(iface: number, a: number, b: number, c: number, d: number): number {
    return mix(mix(mix(mix(mix(this.seed, a), b), c), iface), d);
  }
}
