/**
 * hash → numbers of records that lie elsewhere: open addressing on flat memory, half full at most, the whole hash beside each number, so
 * that a record is looked at only where it is the right one, but for one case in billions. It begins small and doubles where it must: a
 * place for all that might ever come would be a miss of the cache each time. The owner of the records computes the hash and compares the
 * key:
 *
 *   for (let place = index.search(hash); place >= 0; place = index.searchOn(place, hash)) if (isIt(index.numberAt(place))) …
 */

import { PLACE_WORDS, vacate } from './places.js';

/** Words a place: hash, number plus 1 (0: empty). */
const FIRST_PLACES = 1024;

export class NumberIndex {
  private words = new Int32Array(FIRST_PLACES * PLACE_WORDS);
  /** Of word offsets. */
  private mask = FIRST_PLACES * PLACE_WORDS - 1;
  private count = 0;

  /** The first place with this hash; -1: none. Places are good until the next insert or remove. */
  search(hash: number): number {
    return this.from((hash << 1) & this.mask, hash);
  }

  /** The next one behind a place with this hash. */
  searchOn(place: number, hash: number): number {
    return this.from((place + PLACE_WORDS) & this.mask, hash);
  }

  numberAt(place: number): number {
    return this.words[place + 1] - 1;
  }

  /** The number must not be there yet. */
  insert(hash: number, number: number): void {
    this.count++;
    if (this.count * 2 * PLACE_WORDS > this.words.length) this.grow();
    this.put(hash, number);
  }

  private put(hash: number, number: number): void {
    const { words, mask } = this;
    let at = (hash << 1) & mask;
    while (words[at + 1] !== 0) at = (at + PLACE_WORDS) & mask;
    words[at] = hash;
    words[at + 1] = number + 1;
  }

  /** The number must be there, with the hash that it was inserted with. Followers move up, so no marks are left. */
  remove(hash: number, number: number): void {
    const { words, mask } = this;
    let hole = (hash << 1) & mask;
    while (words[hole + 1] !== number + 1) hole = (hole + PLACE_WORDS) & mask;
    vacate(words, mask, hole);
    this.count--;
  }

  /** Twice the places: 20 ns a number. Never fewer again. */
  private grow(): void {
    const { words } = this;
    this.words = new Int32Array(words.length * 2);
    this.mask = this.words.length - 1;
    for (let at = 0; at < words.length; at += PLACE_WORDS)
      if (words[at + 1] !== 0) this.put(words[at], words[at + 1] - 1);
  }

  private from(start: number, hash: number): number {
    const { words, mask } = this;
    for (let at = start; words[at + 1] !== 0; at = (at + PLACE_WORDS) & mask) if (words[at] === hash) return at;
    return -1;
  }
}

/** One round of multiply and shift (a constant of MurmurHash3's finaliser). */
export function mix(hash: number, word: number): number {
  const h = Math.imul(hash ^ word, 0x85ebca6b | 0);
  return h ^ (h >>> 15);
}
