/**
 * Whom mappings have sent to: with address-dependent filtering (RFC 4787, section 5), those may answer from any port. Counted, as several
 * flows of a mapping can lead to one address.
 *
 * Keyed by a hash of 64 bits of mapping and address. Two that fall together would let a stranger in who has to find out a seed for that,
 * 1 in 2^64 by chance.
 */

import { HashTable, hashTableWords, VALUE } from '../tables/hash.js';

/** Keys are seeded on their own; the table's seed only spreads them. */
const SPREAD = 0x3ad8025f;

export class Permissions {
  private readonly table: HashTable;
  private readonly seed: number;
  private low = 0;
  private high = 0;

  /**
   * @param capacity of the flow table: each flow makes one at most
   * @param seed any int32, from a random source
   */
  constructor(capacity: number, seed: number) {
    this.table = new HashTable(new Int32Array(hashTableWords(capacity)), capacity, SPREAD);
    this.seed = seed;
  }

  /** @param words the remote address: four words at `at` */
  has(external: number, protocol: number, port: number, words: Int32Array, at: number): boolean {
    this.hash(external, protocol, port, words, at);
    return this.table.find(this.low, this.high) >= 0;
  }

  add(external: number, protocol: number, port: number, words: Int32Array, at: number): void {
    this.hash(external, protocol, port, words, at);
    const { table } = this;
    const found = table.find(this.low, this.high);
    const place = found >= 0 ? found : table.insert(this.low, this.high);
    if (place >= 0) table.words[place + VALUE]++;
  }

  remove(external: number, protocol: number, port: number, words: Int32Array, at: number): void {
    this.hash(external, protocol, port, words, at);
    const { table } = this;
    const place = table.find(this.low, this.high);
    if (place >= 0 && --table.words[place + VALUE] <= 0) table.remove(place);
  }

  get count(): number {
    return this.table.count;
  }

  private hash(external: number, protocol: number, port: number, words: Int32Array, at: number): void {
    const first = (external << 8) | protocol;
    let low = mix(this.seed, first);
    let high = mix(~this.seed, port);
    for (let i = 0; i < 4; i++) {
      low = mix(low, words[at + i]);
      high = mix(high ^ low, words[at + i]);
    }
    this.low = mix(low, port);
    // 0 marks an empty place.
    this.high = mix(high, first) | 1;
  }
}

/** The rounds of MurmurHash3. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51 | 0);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + (0xe6546b64 | 0)) | 0;
}
