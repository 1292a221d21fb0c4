/** Longest-prefix match: the FIB's tables beside a linear search and a Map per prefix length. */

import { Lpm4 } from '../../core/tables/lpm4.js';
import { Lpm6 } from '../../core/tables/lpm6.js';
import { Random } from './frames.js';
import type { Case } from './suite.js';

/** Lookups in one benchmarked call. */
const BATCH = 1024;
/** Destinations that are gone through in turn; larger than what the caches keep. */
const DESTINATIONS = 1 << 18;
/** Addresses on which table and reference are compared before the measurement. */
const SAMPLES = 2000;
/** What the IPv4 table of a million may take. */
const MEMORY_BAR = 64 * 2 ** 20;

/** Prefixes in parallel arrays, `words` int32 words each. */
interface Prefixes {
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
function mask(length: number, index: number): number {
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

function internet4(count: number): Prefixes {
  const random = new Random(4);
  const blocks = Array.from({ length: BLOCKS4 }, () => (1 + random.next(222)) * 256 + random.next(256));
  // The sum of two draws: some blocks are full of customers, most are not.
  return draw(count, BGP4, 1, (from) => [
    (blocks[Math.abs(from.next(BLOCKS4) + from.next(BLOCKS4) - BLOCKS4)] << 16) | from.next(65536),
  ]);
}

function uniform4(count: number): Prefixes {
  return draw(count, UNIFORM4, 1, (from) => [word(from)]);
}

function internet6(count: number): Prefixes {
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
function small(words: number): Prefixes {
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

/** One address in each of random prefixes: every lookup finds something, as deep as the table goes. */
function destinations({ words, addresses, lengths }: Prefixes): Int32Array {
  const random = new Random(0xde57);
  const list = new Int32Array(DESTINATIONS * words);
  for (let i = 0; i < DESTINATIONS; i++) {
    const at = random.next(lengths.length);
    for (let part = 0; part < words; part++)
      list[i * words + part] = addresses[at * words + part] | (word(random) & ~mask(lengths[at], part));
  }
  return list;
}

function fill4({ addresses, lengths }: Prefixes): Lpm4 {
  const table = new Lpm4(lengths.length);
  for (let i = 0; i < lengths.length; i++) table.insert(addresses[i], lengths[i], hopOf(i));
  table.compact();
  return table;
}

function fill6({ addresses, lengths }: Prefixes): Lpm6 {
  const table = new Lpm6(lengths.length);
  for (let i = 0; i < lengths.length; i++) {
    const [a, b, c, d] = addresses.subarray(i * 4, i * 4 + 4);
    table.insert(a, b, c, d, lengths[i], hopOf(i));
  }
  table.compact();
  return table;
}

/** Next hops: as many as a router with many neighbours has. */
function hopOf(index: number): number {
  return 1 + (index % 1000);
}

/** The plain way: a Map for each length that occurs, asked from the longest down. */
class MapPerLength {
  private readonly maps: { readonly mask: number; readonly values: Map<number, number> }[] = [];

  constructor({ addresses, lengths }: Prefixes) {
    for (let length = 32; length >= 0; length--) {
      const values = new Map<number, number>();
      lengths.forEach((own, index) => {
        if (own === length) values.set(addresses[index], hopOf(index));
      });
      if (values.size > 0) this.maps.push({ mask: mask(length, 0), values });
    }
  }

  lookup(address: number): number {
    for (const { mask, values } of this.maps) {
      const value = values.get(address & mask);
      if (value !== undefined) return value;
    }
    return 0;
  }
}

/** The slow reference: looks at every prefix. */
class Linear {
  private readonly prefixes: Prefixes;
  private readonly masks: Int32Array;

  constructor(prefixes: Prefixes) {
    this.prefixes = prefixes;
    this.masks = new Int32Array(prefixes.addresses.length);
    for (let i = 0; i < this.masks.length; i++)
      this.masks[i] = mask(prefixes.lengths[Math.floor(i / prefixes.words)], i % prefixes.words);
  }

  lookup(address: number): number {
    const { addresses, lengths } = this.prefixes;
    let found = -1;
    for (let i = 0; i < addresses.length; i++)
      if ((address & this.masks[i]) === addresses[i] && (found < 0 || lengths[i] > lengths[found])) found = i;
    return found < 0 ? 0 : hopOf(found);
  }

  lookup6(a: number, b: number, c: number, d: number): number {
    const { masks } = this;
    const { addresses, lengths } = this.prefixes;
    let found = -1;
    for (let i = 0, at = 0; i < lengths.length; i++, at += 4) {
      if ((a & masks[at]) !== addresses[at] || (b & masks[at + 1]) !== addresses[at + 1]) continue;
      if ((c & masks[at + 2]) !== addresses[at + 2] || (d & masks[at + 3]) !== addresses[at + 3]) continue;
      if (found < 0 || lengths[i] > lengths[found]) found = i;
    }
    return found < 0 ? 0 : hopOf(found);
  }
}

type Target = Pick<Case, 'bar' | 'aim'>;

/** A table and destinations. */
interface Prepared {
  /** Looks up as many destinations as a call has, from `at` on, and returns the sum of what was found. */
  batch(at: number): number;
  /** Whether the table says what another way says. */
  agrees?(): boolean;
  /** Memory of the table. */
  readonly bytes?: number;
}

/** The tables are made when the case is to run, not when it is listed. */
function fibCase(name: string, perCall: number, target: Target, make: () => Prepared): Case {
  let prepared: Prepared | null = null;
  let at = 0;
  let found = 0;
  return {
    name,
    unit: 'lookups',
    perCall,
    ...target,
    prepare: () => {
      prepared = make();
      if (prepared.agrees?.() === false) throw new Error(`${name}: the table and its reference do not agree`);
    },
    run: () => {
      found += (prepared as Prepared).batch(at) > 0 ? 1 : 0;
      at = (at + perCall) & (DESTINATIONS - 1);
    },
    note: () => (prepared?.bytes === undefined ? '' : `${(prepared.bytes / 2 ** 20).toFixed(2)} MB`),
    check: () => found > 0 && (prepared?.bytes ?? 0) <= MEMORY_BAR,
  };
}

/** IPv4 in the table, compared with the Maps. @param hosts that the destinations are of, in turn; 0: all are drawn */
function lpm4(make: () => Prefixes, hosts = 0): () => Prepared {
  return () => {
    const prefixes = make();
    const table = fill4(prefixes);
    const drawn = destinations(prefixes);
    const to = hosts === 0 ? drawn : drawn.map((_, index) => drawn[index % hosts]);
    const maps = new MapPerLength(prefixes);
    return {
      bytes: table.memory,
      batch: (at) => {
        let sum = 0;
        for (let i = at; i < at + BATCH; i++) sum += table.lookup(to[i]);
        return sum;
      },
      agrees: () => to.subarray(0, SAMPLES).every((address) => table.lookup(address) === maps.lookup(address)),
    };
  };
}

/** IPv6 in the table, compared with the linear search. */
function lpm6(make: () => Prefixes): () => Prepared {
  return () => {
    const prefixes = make();
    const table = fill6(prefixes);
    const to = destinations(prefixes);
    const linear = new Linear(prefixes);
    return {
      bytes: table.memory,
      batch: (at) => {
        let sum = 0;
        for (let i = at * 4; i < (at + BATCH) * 4; i += 4) sum += table.lookup(to[i], to[i + 1], to[i + 2], to[i + 3]);
        return sum;
      },
      agrees: () => {
        for (let i = 0; i < SAMPLES; i += 4) {
          const [a, b, c, d] = to.subarray(i, i + 4);
          if (table.lookup(a, b, c, d) !== linear.lookup6(a, b, c, d)) return false;
        }
        return true;
      },
    };
  };
}

/** One of the plain ways, for IPv4. */
function plain4(
  perCall: number,
  make: () => Prefixes,
  build: (prefixes: Prefixes) => { lookup(address: number): number },
): () => Prepared {
  return () => {
    const prefixes = make();
    const table = build(prefixes);
    const to = destinations(prefixes);
    return {
      batch: (at) => {
        let sum = 0;
        for (let i = at; i < at + perCall; i++) sum += table.lookup(to[i]);
        return sum;
      },
    };
  };
}

const million4 = (): Prefixes => internet4(1_000_000);
const small4 = (): Prefixes => small(1);
const maps = (prefixes: Prefixes): MapPerLength => new MapPerLength(prefixes);
const linear = (prefixes: Prefixes): Linear => new Linear(prefixes);
/** A linear search of a million takes a millisecond. */
const FEW = 16;

export function fibCases(): Case[] {
  return [
    fibCase('IPv4 FIB, 10 routes, two hosts', BATCH, { bar: 15e6, aim: 100e6 }, lpm4(small4, 2)),
    fibCase('IPv4 FIB, 10 routes', BATCH, { bar: 15e6 }, lpm4(small4)),
    fibCase('IPv4 Map per length, 10 routes', BATCH, {}, plain4(BATCH, small4, maps)),
    fibCase('IPv4 linear, 10 routes', BATCH, {}, plain4(BATCH, small4, linear)),
    fibCase('IPv4 FIB, a million as in BGP', BATCH, { bar: 8e6, aim: 25e6 }, lpm4(million4)),
    fibCase(
      'IPv4 FIB, a million of all lengths',
      BATCH,
      {},
      lpm4(() => uniform4(1_000_000)),
    ),
    fibCase('IPv4 Map per length, a million as in BGP', BATCH, {}, plain4(BATCH, million4, maps)),
    fibCase('IPv4 linear, a million as in BGP', FEW, {}, plain4(FEW, million4, linear)),
    fibCase(
      'IPv6 FIB, 10 routes',
      BATCH,
      { bar: 8e6 },
      lpm6(() => small(4)),
    ),
    fibCase(
      'IPv6 FIB, 200,000 as in BGP',
      BATCH,
      { bar: 8e6 },
      lpm6(() => internet6(200_000)),
    ),
  ];
}
