/** Tables of prefixes like those of real routers, and destinations in them: seeded, so that every run has the same. */

import { Random } from './random.js';

/** Destinations that are gone through in turn; larger than what the caches keep. */
export const DESTINATIONS = 1 << 18;

/** Prefixes in parallel arrays, `words` int32 words each. */
export interface Prefixes {
  readonly words: number;
  readonly addresses: Int32Array;
  readonly lengths: Uint8Array;
}

type Share = readonly [length: number, weight: number];

/** Shares of lengths in a full IPv4 BGP table, with host routes of our own. */
const BGP4: readonly Share[] = [
  [24, 600],
  [23, 95],
  [22, 115],
  [21, 50],
  [20, 45],
  [19, 27],
  [18, 15],
  [17, 9],
  [16, 14],
  [15, 2],
  [14, 1],
  [13, 1],
  [12, 1],
  [30, 5],
  [32, 20],
];
/** Of IPv6: allocations, customers' networks, and a few segments and hosts. */
const BGP6: readonly Share[] = [
  [29, 25],
  [32, 180],
  [36, 50],
  [40, 80],
  [44, 120],
  [48, 445],
  [56, 20],
  [64, 60],
  [128, 20],
];
/** Every length as often as any other: no router has that, but nothing may break. */
const UNIFORM4: readonly Share[] = Array.from({ length: 25 }, (_, index) => [index + 8, 1]);

/** Blocks of 16 bits that are in use in the IPv4 internet, about. */
const BLOCKS4 = 40_000;
/** IPv6 allocations: networks of 32 bits below few of 16. */
const BLOCKS6 = 20_000;
const HEADS6 = [0x2001, 0x2400, 0x2401, 0x2402, 0x2403, 0x2404, 0x2405, 0x2406, 0x2407, 0x2409, 0x240e, 0x2600, 0x2602];
const MORE_HEADS6 = [0x2603, 0x2604, 0x2605, 0x2606, 0x2607, 0x2620, 0x2800, 0x2801, 0x2803, 0x2804, 0x2a00, 0x2a01];
const LAST_HEADS6 = [0x2a02, 0x2a03, 0x2a04, 0x2a05, 0x2a06, 0x2a07, 0x2a09, 0x2a0a, 0x2a0b, 0x2a0c, 0x2a0d, 0x2a0e];
const ALL_HEADS6 = [...HEADS6, ...MORE_HEADS6, ...LAST_HEADS6];

function word(random: Random): number {
  return (random.next(65536) << 16) | random.next(65536);
}

/** Word `index` of the mask of `length` bits. */
export function mask(length: number, index: number): number {
  const bits = length - index * 32;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

/** Different prefixes, drawn until there are `count`. */
function draw(count: number, shares: readonly Share[], words: number, address: (random: Random) => number[]): Prefixes {
  const random = new Random(0xf1b);
  const wheel = shares.flatMap(([length, weight]) => Array<number>(weight).fill(length));
  const addresses = new Int32Array(count * words);
  const lengths = new Uint8Array(count);
  const seen = new Set<string>();
  for (let index = 0; index < count; ) {
    const length = wheel[random.next(wheel.length)];
    const prefix = address(random).map((part, at) => part & mask(length, at));
    const name = `${prefix}/${length}`;
    if (seen.has(name)) continue;
    seen.add(name);
    addresses.set(prefix, index * words);
    lengths[index++] = length;
  }
  return { words, addresses, lengths };
}

export function internet4(count: number): Prefixes {
  const random = new Random(4);
  const blocks = Array.from({ length: BLOCKS4 }, () => (1 + random.next(222)) * 256 + random.next(256));
  // The sum of two draws: some blocks are full of customers, most are not.
  return draw(count, BGP4, 1, (from) => [
    (blocks[Math.abs(from.next(BLOCKS4) + from.next(BLOCKS4) - BLOCKS4)] << 16) | from.next(65536),
  ]);
}

export function uniform4(count: number): Prefixes {
  return draw(count, UNIFORM4, 1, (from) => [word(from)]);
}

export function internet6(count: number): Prefixes {
  const random = new Random(6);
  const head = (): number => ALL_HEADS6[random.next(ALL_HEADS6.length)] << 16;
  const blocks = Array.from({ length: BLOCKS6 }, () => head() | random.next(8192));
  return draw(count, BGP6, 4, (from) => [
    blocks[from.next(BLOCKS6)],
    // Customers are numbered from the start of an allocation.
    (from.next(from.next(16) === 0 ? 65536 : 256) << 16) | from.next(16),
    word(from),
    word(from),
  ]);
}

/** A small VRF: a default route, a few networks, hosts and a blackhole. */
export function small(words: number): Prefixes {
  const rows: readonly (readonly [number[], number])[] = [
    [[0], 0],
    [[0x0a000000], 8],
    [[0x0a010000], 16],
    [[0x0a010200], 24],
    [[0x0a010300], 24],
    [[0x0a010380], 25],
    [[0xac1e0000 | 0], 16],
    [[0xac1e0100 | 0], 24],
    [[0xac1e0105 | 0], 32],
    [[0xc0a80000 | 0], 16],
  ];
  const addresses = new Int32Array(rows.length * words);
  rows.forEach(([prefix], index) => {
    addresses.set(prefix, index * words);
  });
  return { words, addresses, lengths: Uint8Array.from(rows, ([, length]) => length) };
}

/**
 * One address in each of random prefixes: every lookup finds something, as deep as the table goes.
 * @param accepts whether an address, in as many words as the table has, may be one of them
 */
export function destinations(
  { words, addresses, lengths }: Prefixes,
  accepts: (...address: number[]) => boolean = () => true,
): Int32Array {
  const random = new Random(0xde57);
  const list = new Int32Array(DESTINATIONS * words);
  for (let i = 0; i < DESTINATIONS; ) {
    const at = random.next(lengths.length);
    const address = Array.from(
      { length: words },
      (_, part) => addresses[at * words + part] | (word(random) & ~mask(lengths[at], part)),
    );
    if (accepts(...address)) list.set(address, i++ * words);
  }
  return list;
}
