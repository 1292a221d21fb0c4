/** Longest-prefix match: the FIB's tables beside a linear search and a Map per prefix length. */

import { Lpm4 } from '../../core/tables/lpm4.js';
import { Lpm6 } from '../../core/tables/lpm6.js';
import { DESTINATIONS, destinations, internet4, internet6, mask, type Prefixes, small, uniform4 } from './prefixes.js';
import type { Case } from './suite.js';

/** Lookups in one benchmarked call. */
const BATCH = 1024;
/** Addresses on which table and reference are compared before the measurement. */
const SAMPLES = 2000;
/** What the IPv4 table of a million may take. */
export const MEMORY_BAR = 64 * 2 ** 20;

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
