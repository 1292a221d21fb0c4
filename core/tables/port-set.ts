/** A set of ports, one bit each (8 KiB), and the search for one that is in neither of two such sets: at most 2,048 words are read. */

const WORDS = 65_536 >> 5;

/** Which ports a search may return: any, even ones, odd ones, as a mask of a word's bits. */
export const ANY_PORT = -1;
export const EVEN_PORTS = 0x55555555;
export const ODD_PORTS = 0xaaaaaaaa | 0;

/** Ports are 0 to 65,535; ranges include both ends, and none is empty. */
export class PortSet {
  /** Bit `port & 31` of word `port >> 5`. */
  readonly words = new Int32Array(WORDS);

  has(port: number): boolean {
    return (this.words[port >> 5] & (1 << (port & 31))) !== 0;
  }

  add(port: number): void {
    this.words[port >> 5] |= 1 << (port & 31);
  }

  remove(port: number): void {
    this.words[port >> 5] &= ~(1 << (port & 31));
  }

  addRange(first: number, last: number): void {
    const { words } = this;
    for (let at = first >> 5; at <= last >> 5; at++) words[at] |= maskOf(at, first, last);
  }

  removeRange(first: number, last: number): void {
    const { words } = this;
    for (let at = first >> 5; at <= last >> 5; at++) words[at] &= ~maskOf(at, first, last);
  }

  clear(): void {
    this.words.fill(0);
  }

  /** How many ports of the range are in the set. */
  count(first: number, last: number): number {
    const { words } = this;
    let count = 0;
    for (let at = first >> 5; at <= last >> 5; at++) count += bitsOf(words[at] & maskOf(at, first, last));
    return count;
  }

  /** Whether no port of the range is in the set. */
  isFree(first: number, last: number): boolean {
    const { words } = this;
    for (let at = first >> 5; at <= last >> 5; at++) if ((words[at] & maskOf(at, first, last)) !== 0) return false;
    return true;
  }
}

/**
 * The first port from `from` on, and then from `first` on, that is in neither set.
 *
 * @param from within the range
 * @param which ANY_PORT, EVEN_PORTS or ODD_PORTS
 * @returns -1 where there is none in the range
 */
export function freePort(
  one: PortSet,
  other: PortSet,
  from: number,
  first: number,
  last: number,
  which: number,
): number {
  const port = firstFree(one.words, other.words, from, last, which);
  return port >= 0 || from === first ? port : firstFree(one.words, other.words, first, from - 1, which);
}

/** How many ports of the range are in neither set. */
export function countFree(one: PortSet, other: PortSet, first: number, last: number): number {
  let count = 0;
  for (let at = first >> 5; at <= last >> 5; at++)
    count += bitsOf(~(one.words[at] | other.words[at]) & maskOf(at, first, last));
  return count;
}

function firstFree(one: Int32Array, other: Int32Array, first: number, last: number, which: number): number {
  for (let at = first >> 5; at <= last >> 5; at++) {
    const free = ~(one[at] | other[at]) & which & maskOf(at, first, last);
    if (free !== 0) return (at << 5) + 31 - Math.clz32(free & -free);
  }
  return -1;
}

/** The bits of word `at` that belong to ports of the range. */
function maskOf(at: number, first: number, last: number): number {
  const low = at === first >> 5 ? -1 << (first & 31) : -1;
  return at === last >> 5 ? low & (-1 >>> (31 - (last & 31))) : low;
}

/** How many bits are set. */
function bitsOf(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
