/**
 * The multicast database of one domain: group address → ports with members behind them, each with the second in which it is forgotten.
 *
 * An address is four int32 words, `a` to `d`; an IPv4 group is written ::ffff:a.b.c.d, which is no IPv6 group. Groups are found through
 * a hash table of 64-bit keys; those whose 128 bits fall on the same key hang in a chain, so a match is always exact.
 *
 * Only reports change it. It grows with what is in use up to MAX_GROUPS, and a group's list with its members.
 */

import { HashTable, hashTableWords, VALUE } from '../tables/hash.js';

/** Groups a domain. */
export const MAX_GROUPS = 1024;
/** First word of IPv4 groups is 0, of IPv6 groups never. */
export const IPV4_THIRD_WORD = 0xffff;

const FIRST_CAPACITY = 32;

export class Group {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  /** Member ports, ascending; the first `count` of the three lists are valid. */
  ports = new Int32Array(4);
  /** By the same index: the second in which the membership ends. */
  expires = new Int32Array(4);
  /** By the same index: specific queries still to be sent to that port. */
  asks = new Int32Array(4);
  count = 0;
  /** Nothing is due before this second. */
  checkAt = 0;
  /** Place in Mdb.groups. */
  place = 0;
  /** Next group with the same key, or -1. */
  chain = -1;

  constructor(a: number, b: number, c: number, d: number) {
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
  }

  get isIpv4(): boolean {
    return this.a === 0;
  }

  is(a: number, b: number, c: number, d: number): boolean {
    return this.d === d && this.c === c && this.b === b && this.a === a;
  }

  /** Index of a port, or -1 - the index at which it belongs. */
  search(port: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ports[middle] < port) low = middle + 1;
      else high = middle;
    }
    return low < this.count && this.ports[low] === port ? low : -1 - low;
  }

  insert(index: number, port: number): void {
    if (this.count === this.ports.length) this.grow();
    this.ports.copyWithin(index + 1, index, this.count);
    this.expires.copyWithin(index + 1, index, this.count);
    this.asks.copyWithin(index + 1, index, this.count);
    this.ports[index] = port;
    this.expires[index] = 0;
    this.asks[index] = 0;
    this.count++;
  }

  remove(index: number): void {
    this.ports.copyWithin(index, index + 1, this.count);
    this.expires.copyWithin(index, index + 1, this.count);
    this.asks.copyWithin(index, index + 1, this.count);
    this.count--;
  }

  private grow(): void {
    this.ports = doubled(this.ports);
    this.expires = doubled(this.expires);
    this.asks = doubled(this.asks);
  }
}

/** The same list with twice the room. */
export function doubled(list: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(list.length * 2);
  larger.set(list);
  return larger;
}

export class Mdb {
  /** All groups, in no order. */
  readonly groups: Group[] = [];
  private table: HashTable;
  private readonly seed: number;

  /** @param seed any int32, from a random source */
  constructor(seed: number) {
    this.seed = seed;
    this.table = newTable(FIRST_CAPACITY, seed);
  }

  /** The group of this address, or null. Allocates nothing. */
  find(a: number, b: number, c: number, d: number): Group | null {
    const high = keyHigh(a, b, c, d, this.seed);
    const place = this.table.find(keyLow(a, b, c, d, this.seed), high);
    if (place < 0) return null;
    let index = this.table.words[place + VALUE];
    while (index >= 0) {
      const group = this.groups[index];
      if (group.is(a, b, c, d)) return group;
      index = group.chain;
    }
    return null;
  }

  /** Adds a group that is not there yet. Returns null where there are MAX_GROUPS. */
  add(a: number, b: number, c: number, d: number): Group | null {
    if (this.groups.length >= MAX_GROUPS) return null;
    if (this.table.count >= this.table.capacity) this.rebuild(this.table.capacity * 2);
    const group = new Group(a, b, c, d);
    group.place = this.groups.length;
    this.groups.push(group);
    this.link(group);
    return group;
  }

  /** The last group takes the place of the one that goes. */
  remove(group: Group): void {
    this.unlink(group);
    const last = this.groups.pop() as Group;
    if (last === group) return;
    this.unlink(last);
    last.place = group.place;
    this.groups[last.place] = last;
    this.link(last);
  }

  private rebuild(capacity: number): void {
    this.table = newTable(capacity, this.seed);
    for (const group of this.groups) this.link(group);
  }

  private link(group: Group): void {
    const low = keyLow(group.a, group.b, group.c, group.d, this.seed);
    const high = keyHigh(group.a, group.b, group.c, group.d, this.seed);
    let place = this.table.find(low, high);
    group.chain = place < 0 ? -1 : this.table.words[place + VALUE];
    if (place < 0) place = this.table.insert(low, high);
    this.table.words[place + VALUE] = group.place;
  }

  private unlink(group: Group): void {
    const low = keyLow(group.a, group.b, group.c, group.d, this.seed);
    const place = this.table.find(low, keyHigh(group.a, group.b, group.c, group.d, this.seed));
    const words = this.table.words;
    if (words[place + VALUE] !== group.place) {
      let before = this.groups[words[place + VALUE]];
      while (before.chain !== group.place) before = this.groups[before.chain];
      before.chain = group.chain;
    } else if (group.chain >= 0) {
      words[place + VALUE] = group.chain;
    } else {
      this.table.remove(place);
    }
  }
}

function newTable(capacity: number, seed: number): HashTable {
  return new HashTable(new Int32Array(hashTableWords(capacity)), capacity, seed);
}

/** Two seeded mixes of the four words: nobody can choose addresses that share a key without knowing the seed. */
export function keyLow(a: number, b: number, c: number, d: number, seed: number): number {
  let h = Math.imul(a ^ seed, 0x85ebca6b | 0);
  h = Math.imul(h ^ (h >>> 15) ^ b, 0xc2b2ae35 | 0);
  h = Math.imul(h ^ (h >>> 13) ^ c, 0x27d4eb2f);
  return h ^ (h >>> 16) ^ d;
}

/** Never 0, which marks an empty place. */
export function keyHigh(a: number, b: number, c: number, d: number, seed: number): number {
  let h = Math.imul(d ^ seed, 0x9e3779b1 | 0);
  h = Math.imul(h ^ (h >>> 15) ^ c, 0x85ebca6b | 0);
  h = Math.imul(h ^ (h >>> 13) ^ b, 0xc2b2ae35 | 0);
  return (h ^ (h >>> 16) ^ a) | 1;
}

/** "239.1.1.1", "ff15::7" (RFC 5952). For listings. */
export function groupText(group: Group): string {
  if (group.isIpv4) return octets(group.d).join('.');
  const words = [group.a, group.b, group.c, group.d].flatMap((word) => [word >>> 16, word & 0xffff]);
  const [from, length] = longestZeros(words);
  const text = words.map((word) => word.toString(16));
  if (length < 2) return text.join(':');
  return `${text.slice(0, from).join(':')}::${text.slice(from + length).join(':')}`;
}

function octets(word: number): number[] {
  return [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff];
}

/** Start and length of the first of the longest runs of zeros. */
function longestZeros(words: readonly number[]): [number, number] {
  let best: [number, number] = [0, 0];
  for (let from = 0; from < words.length; from++) {
    let length = 0;
    while (from + length < words.length && words[from + length] === 0) length++;
    if (length > best[1]) best = [from, length];
  }
  return best;
}
