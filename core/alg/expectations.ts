/**
 * Connections that are expected: one side of a connection has told the other where to connect to. Few, and short-lived; looked up by the
 * first packet of a flow alone, and only while there are any.
 *
 * Addresses are four words, those of IPv4 mapped (core/router/address.ts).
 */

import { mix, NumberIndex } from '../tables/number-index.js';

/** Words of an expectation. Source and destination of the packet that is expected, as it will come in; from any port, to this one. */
export const EXPECTED_KIND = 0;
export const EXPECTED_SOURCE = 1;
export const EXPECTED_DESTINATION = 5;
export const EXPECTED_PORT = 9;
/** Whom it is for: the destination it leaves with. */
export const EXPECTED_TARGET = 10;
export const EXPECTED_TARGET_PORT = 14;
/** The source that its receiver knows its sender by. */
export const EXPECTED_SOURCE_AFTER = 15;
/** Flow that it was announced in, and direction: flow * 2 + direction. Each has one expectation at a time. */
export const EXPECTED_PARENT = 19;
/** Second in which it is given up; 0: nothing stands here. */
export const EXPECTED_UNTIL = 20;
/** External address of whose port a reference is held, and that port; 0: none. */
export const EXPECTED_EXTERNAL = 21;
const RECORD = 22;

/** Gets what an expectation held. */
export interface ExpectationEnd {
  expectationEnds(external: number, kind: number, port: number): void;
}

export class Expectations {
  count = 0;
  /** RECORD words each; the word of number n at `at(n)`. */
  readonly words: Int32Array;
  private readonly capacity: number;
  private readonly seed: number;
  /** By the packet that is expected, and by the flow that announced it. */
  private readonly byPacket: NumberIndex;
  private readonly byParent: NumberIndex;
  private readonly end: ExpectationEnd;
  private next = 0;

  /** @param seed any int32, from a random source */
  constructor(capacity: number, seed: number, end: ExpectationEnd) {
    this.capacity = capacity;
    this.seed = seed;
    this.words = new Int32Array(capacity * RECORD);
    this.byPacket = new NumberIndex();
    this.byParent = new NumberIndex();
    this.end = end;
  }

  at(number: number): number {
    return number * RECORD;
  }

  /**
   * @param addresses source and destination of a packet: eight words
   * @param port its destination port
   * @returns number of the expectation, or -1
   */
  find(kind: number, addresses: Int32Array, port: number): number {
    const { byPacket, words } = this;
    const hash = this.hash(kind, addresses, 0, port);
    for (let place = byPacket.search(hash); place >= 0; place = byPacket.searchOn(place, hash)) {
      const number = byPacket.numberAt(place);
      const at = number * RECORD;
      if (words[at + EXPECTED_KIND] !== kind || words[at + EXPECTED_PORT] !== port) continue;
      if (isSame(words, at + EXPECTED_SOURCE, addresses, 8)) return number;
    }
    return -1;
  }

  /** The expectation that was announced in a direction of a flow; -1: none. */
  findOf(parent: number): number {
    const { byParent, words } = this;
    const hash = mix(this.seed, parent);
    for (let place = byParent.search(hash); place >= 0; place = byParent.searchOn(place, hash)) {
      const number = byParent.numberAt(place);
      if (words[number * RECORD + EXPECTED_PARENT] === parent) return number;
    }
    return -1;
  }

  /**
   * Takes in an expectation; that of the same parent, one of the same packet, and in a full table any one, ends for it.
   *
   * @param record words as above, EXPECTED_UNTIL above 0
   */
  add(record: Int32Array): void {
    this.removeOf(record[EXPECTED_PARENT]);
    const same = this.find(
      record[EXPECTED_KIND],
      record.subarray(EXPECTED_SOURCE, EXPECTED_SOURCE + 8),
      record[EXPECTED_PORT],
    );
    if (same >= 0) this.remove(same);
    const number = this.freePlace();
    this.words.set(record, number * RECORD);
    this.byPacket.insert(this.hashOf(number), number);
    this.byParent.insert(mix(this.seed, record[EXPECTED_PARENT]), number);
    this.count++;
  }

  remove(number: number): void {
    const { words } = this;
    const at = number * RECORD;
    this.byPacket.remove(this.hashOf(number), number);
    this.byParent.remove(mix(this.seed, words[at + EXPECTED_PARENT]), number);
    words[at + EXPECTED_UNTIL] = 0;
    this.count--;
    const external = words[at + EXPECTED_EXTERNAL];
    if (external !== 0) this.end.expectationEnds(external, words[at + EXPECTED_KIND], words[at + EXPECTED_PORT]);
  }

  removeOf(parent: number): void {
    const number = this.findOf(parent);
    if (number >= 0) this.remove(number);
  }

  /** Ends those whose time is over. */
  expire(now: number): void {
    for (let number = 0, left = this.count; left > 0; number++) {
      const until = this.words[number * RECORD + EXPECTED_UNTIL];
      if (until === 0) continue;
      left--;
      if (until <= now) this.remove(number);
    }
  }

  /** A free place; in turn, so that in a full table the one that ends is likely an old one. */
  private freePlace(): number {
    const isFull = this.count === this.capacity;
    while (!isFull && this.words[this.next * RECORD + EXPECTED_UNTIL] !== 0)
      this.next = (this.next + 1) % this.capacity;
    const number = this.next;
    if (isFull) this.remove(number);
    this.next = (number + 1) % this.capacity;
    return number;
  }

  private hashOf(number: number): number {
    const at = number * RECORD;
    return this.hash(this.words[at + EXPECTED_KIND], this.words, at + EXPECTED_SOURCE, this.words[at + EXPECTED_PORT]);
  }

  private hash(kind: number, words: Int32Array, at: number, port: number): number {
    let hash = mix(mix(this.seed, kind), port);
    for (let i = 0; i < 8; i++) hash = mix(hash, words[at + i]);
    return hash;
  }
}

/** An empty record. */
export function expectationRecord(): Int32Array {
  return new Int32Array(RECORD);
}

function isSame(words: Int32Array, at: number, others: Int32Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (words[at + i] !== others[i]) return false;
  return true;
}
