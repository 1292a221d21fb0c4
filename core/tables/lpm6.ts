/** IPv6 prefixes → small positive integers, by longest match. lpm.ts says how. */

import { ABOVE, entryFor, PrefixTable, VALUE_MASK } from './lpm.js';

/** Addresses are four int32 words, the first bits in `a`; host bits of prefixes are ignored. */
export class Lpm6 extends PrefixTable {
  /** @param maximum prefixes that it may hold */
  constructor(maximum: number) {
    super(16, maximum);
  }

  /** Value of the longest prefix that holds the address, or NO_MATCH. Allocates nothing. */
  lookup(a: number, b: number, c: number, d: number): number {
    const words = this.words;
    const bytes = this.bytes;
    let entry = entryFor(words, bytes, this.root, a >>> 24);
    let best = 0;
    // Ends by itself: nodes of the last level have no children.
    for (let level = 1; entry < 0; level++) {
      const reference = ~entry;
      const above = words[(reference >> 1) + ABOVE];
      if (above !== 0) best = above;
      const word = level < 8 ? (level < 4 ? a : b) : level < 12 ? c : d;
      entry = entryFor(words, bytes, reference, (word >>> (24 - ((level & 3) << 3))) & 0xff);
    }
    return (entry !== 0 ? entry : best) & VALUE_MASK;
  }

  /**
   * Adds a prefix, or gives it a new value.
   * @param value 1 to MAX_VALUE
   * @returns INSERTED, REPLACED, or FULL, where nothing has changed
   * @throws RangeError for a length or value that cannot be
   */
  insert(a: number, b: number, c: number, d: number, length: number, value: number): number {
    this.aim(length, a, b, c, d);
    return this.insertUnits(length, value);
  }

  /** Value of exactly this prefix, or NO_MATCH. */
  get(a: number, b: number, c: number, d: number, length: number): number {
    this.aim(length, a, b, c, d);
    return this.getUnits(length);
  }

  /** Removes a prefix: the next shorter one over it takes its place. False where it is not there. */
  remove(a: number, b: number, c: number, d: number, length: number): boolean {
    this.aim(length, a, b, c, d);
    return this.removeUnits(length);
  }

  /** Every prefix by ascending address (unsigned), the shorter first. The table must not change meanwhile. */
  forEach(visitor: (a: number, b: number, c: number, d: number, length: number, value: number) => void): void {
    this.visit(([a, b, c, d], length, value) => visitor(a, b, c, d, length, value));
  }
}
