/**
 * Whom mappings have sent to: with address-dependent filtering (RFC 4787, section 5), those may answer from any port. Counted, as several
 * flows of a mapping can lead to one address.
 *
 * A table of two words a place: of a hash of 48 bits the lower 32, then the other 16 and the count. A stranger gets in where his address
 * has the same hash as one that was sent to: among a million of these, with a chance of 1 in 2^28, and without knowing the seed he cannot
 * better it. One mapping has at most 65,536 flows to one address, one for each port there.
 */

import { PLACE_WORDS, vacate } from '../tables/places.js';

const COUNT_MASK = 0xffff;
const HIGH_MASK = 0xffff0000 | 0;

/** Bytes for so many flows: at most half of the places are taken, as each flow makes one permission at most. */
export function permissionBytes(capacity: number): number {
  return placesFor(capacity) * PLACE_WORDS * 4;
}

function placesFor(capacity: number): number {
  let places = 16;
  while (places < capacity * 2) places *= 2;
  return places;
}

export class Permissions {
  /** Pairs of mapping and address. */
  count = 0;
  private readonly words: Int32Array;
  private readonly mask: number;
  private readonly seed: number;
  private low = 0;
  private high = 0;

  /**
   * @param words permissionBytes(capacity), zeroed
   * @param capacity of the flow table
   * @param seed any int32, from a random source
   */
  constructor(words: Int32Array, capacity: number, seed: number) {
    this.words = words;
    this.mask = placesFor(capacity) * PLACE_WORDS - 1;
    this.seed = seed;
  }

  /** @param address four words at `at` */
  has(external: number, protocol: number, port: number, address: Int32Array, at: number): boolean {
    this.hash(external, protocol, port, address, at);
    return this.words[this.search() + 1] !== 0;
  }

  add(external: number, protocol: number, port: number, address: Int32Array, at: number): void {
    this.hash(external, protocol, port, address, at);
    const { words } = this;
    const place = this.search();
    if (words[place + 1] === 0) {
      words[place] = this.low;
      words[place + 1] = this.high;
      this.count++;
    }
    if ((words[place + 1] & COUNT_MASK) !== COUNT_MASK) words[place + 1]++;
  }

  remove(external: number, protocol: number, port: number, address: Int32Array, at: number): void {
    this.hash(external, protocol, port, address, at);
    const { words } = this;
    const place = this.search();
    if (words[place + 1] === 0) return;
    words[place + 1]--;
    if ((words[place + 1] & COUNT_MASK) !== 0) return;
    this.count--;
    vacate(words, this.mask, place);
  }

  /** The place of what was hashed last, or a free one. */
  private search(): number {
    const { words, mask, low, high } = this;
    let place = (low << 1) & mask;
    while (words[place + 1] !== 0 && (words[place] !== low || ((words[place + 1] ^ high) & HIGH_MASK) !== 0)) {
      place = (place + PLACE_WORDS) & mask;
    }
    return place;
  }

  private hash(external: number, protocol: number, port: number, address: Int32Array, at: number): void {
    let low = mix(this.seed, (external << 8) | protocol);
    low = mix(low, port);
    for (let i = 0; i < 4; i++) low = mix(low, address[at + i]);
    this.low = low ^ (low >>> 15);
    // Depends on the words in another way, and is never 0 with a count of 0.
    this.high = Math.imul(mix(low ^ this.seed, address[at + 3] ^ port), 0x85ebca6b | 0) & HIGH_MASK;
  }
}

/** The rounds of MurmurHash3. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51 | 0);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + (0xe6546b64 | 0)) | 0;
}
