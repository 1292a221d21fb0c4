/**
 * Internal addresses that have mappings at an external one: how many, whose they are, and the block of ports that is theirs. Ten words
 * each in a flat table; an address is there as long as it has mappings.
 */

import { mix, NumberIndex } from '../tables/number-index.js';

export const INTERNAL_WORDS = 10;
/** Number of the external address; 0: nothing stands here. */
export const INTERNAL_EXTERNAL = 0;
/** Four words, IPv4 mapped (address.ts). Of a free place the first is the number of the next free one plus 1. */
export const INTERNAL_ADDRESS = 1;
export const INTERNAL_MAPPINGS = 5;
/** Number of the port that its latest mapping was made for. */
export const INTERNAL_OWNER = 6;
/** First port of its block, 0: none; and how many there are. */
export const INTERNAL_BLOCK = 7;
export const INTERNAL_BLOCK_SIZE = 8;
/** How many mappings it had when its block was last told to be used up; 0: not told. */
export const INTERNAL_ALARM = 9;

export class Internals {
  readonly words: Int32Array;
  count = 0;
  private readonly capacity: number;
  private readonly seed: number;
  private readonly index: NumberIndex;
  /** Places from here on have never been used; before, free ones are linked. */
  private top = 0;
  private free = 0;

  constructor(capacity: number, seed: number) {
    this.words = new Int32Array(capacity * INTERNAL_WORDS);
    this.capacity = capacity;
    this.seed = seed;
    this.index = new NumberIndex();
  }

  /** Number of the address; -1: it has no mappings there. */
  find(external: number, a: number, b: number, c: number, d: number): number {
    const { index, words } = this;
    const hash = this.hash(external, a, b, c, d);
    for (let place = index.search(hash); place >= 0; place = index.searchOn(place, hash)) {
      const number = index.numberAt(place);
      const at = number * INTERNAL_WORDS;
      if (
        words[at + INTERNAL_ADDRESS + 3] === d &&
        words[at] === external &&
        words[at + INTERNAL_ADDRESS + 2] === c &&
        words[at + INTERNAL_ADDRESS + 1] === b &&
        words[at + INTERNAL_ADDRESS] === a
      )
        return number;
    }
    return -1;
  }

  /** An address that is not there yet; -1: there is no room. */
  make(external: number, a: number, b: number, c: number, d: number, owner: number): number {
    const { words } = this;
    let number = this.free - 1;
    if (number >= 0) this.free = words[number * INTERNAL_WORDS + INTERNAL_ADDRESS];
    else if (this.top < this.capacity) number = this.top++;
    else return -1;
    const at = number * INTERNAL_WORDS;
    words[at + INTERNAL_EXTERNAL] = external;
    words[at + INTERNAL_ADDRESS] = a;
    words[at + INTERNAL_ADDRESS + 1] = b;
    words[at + INTERNAL_ADDRESS + 2] = c;
    words[at + INTERNAL_ADDRESS + 3] = d;
    words[at + INTERNAL_MAPPINGS] = 0;
    words[at + INTERNAL_OWNER] = owner;
    words[at + INTERNAL_BLOCK] = 0;
    words[at + INTERNAL_BLOCK_SIZE] = 0;
    words[at + INTERNAL_ALARM] = 0;
    this.index.insert(this.hash(external, a, b, c, d), number);
    this.count++;
    return number;
  }

  remove(number: number): void {
    const { words } = this;
    const at = number * INTERNAL_WORDS;
    const from = at + INTERNAL_ADDRESS;
    this.index.remove(this.hash(words[at], words[from], words[from + 1], words[from + 2], words[from + 3]), number);
    words[at + INTERNAL_EXTERNAL] = 0;
    words[from] = this.free;
    this.free = number + 1;
    this.count--;
  }

  /** Spreads addresses over a pool, and over the places of the index. */
  hash(external: number, a: number, b: number, c: number, d: number): number {
    return mix(mix(mix(mix(mix(this.seed, a), b), c), external), d);
  }
}
