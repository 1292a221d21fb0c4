/** A routing table as a plain list that is searched from end to end, and the two real ones behind the same face. */

import { Lpm4 } from '../../../core/tables/lpm4.js';
import { Lpm6 } from '../../../core/tables/lpm6.js';

/** Addresses are bigints, as wide as the table. */
export interface Table {
  readonly bits: number;
  insert(prefix: bigint, length: number, value: number): number;
  remove(prefix: bigint, length: number): boolean;
  get(prefix: bigint, length: number): number;
  lookup(address: bigint): number;
  clear(): void;
  list(): string[];
  count(): number;
  memory(): number;
  compact(): void;
}

export function table4(maximum: number): Table {
  const table = new Lpm4(maximum);
  return {
    bits: 32,
    insert: (prefix, length, value) => table.insert(Number(prefix) | 0, length, value),
    remove: (prefix, length) => table.remove(Number(prefix) | 0, length),
    get: (prefix, length) => table.get(Number(prefix) | 0, length),
    lookup: (address) => table.lookup(Number(address) | 0),
    clear: () => table.clear(),
    list: () => {
      const lines: string[] = [];
      table.forEach((prefix, length, value) => {
        lines.push(line(BigInt(prefix >>> 0), length, value));
      });
      return lines;
    },
    count: () => table.count,
    memory: () => table.memory,
    compact: () => table.compact(),
  };
}

export function table6(maximum: number): Table {
  const table = new Lpm6(maximum);
  const word = (address: bigint, index: number): number =>
    Number((address >> BigInt(96 - 32 * index)) & 0xffffffffn) | 0;
  type Words = [number, number, number, number];
  const words = (address: bigint): Words => [word(address, 0), word(address, 1), word(address, 2), word(address, 3)];
  return {
    bits: 128,
    insert: (prefix, length, value) => table.insert(...words(prefix), length, value),
    remove: (prefix, length) => table.remove(...words(prefix), length),
    get: (prefix, length) => table.get(...words(prefix), length),
    lookup: (address) => table.lookup(...words(address)),
    clear: () => table.clear(),
    list: () => {
      const lines: string[] = [];
      table.forEach((a, b, c, d, length, value) => {
        const address = [a, b, c, d].reduce((high, low) => (high << 32n) | BigInt(low >>> 0), 0n);
        lines.push(line(address, length, value));
      });
      return lines;
    },
    count: () => table.count,
    memory: () => table.memory,
    compact: () => table.compact(),
  };
}

function line(prefix: bigint, length: number, value: number): string {
  return `${prefix.toString(16)}/${length} ${value}`;
}

interface Row {
  readonly prefix: bigint;
  readonly length: number;
  value: number;
}

/** The slow one: says the same as `Table`, by looking at every prefix. */
export class LinearTable {
  readonly rows: Row[] = [];
  private readonly bits: number;
  private readonly maximum: number;

  constructor(bits: number, maximum: number) {
    this.bits = bits;
    this.maximum = maximum;
  }

  masked(prefix: bigint, length: number): bigint {
    const shift = BigInt(this.bits - length);
    return (prefix >> shift) << shift;
  }

  private find(prefix: bigint, length: number): number {
    const masked = this.masked(prefix, length);
    return this.rows.findIndex((row) => row.prefix === masked && row.length === length);
  }

  insert(prefix: bigint, length: number, value: number): number {
    const at = this.find(prefix, length);
    if (at >= 0) {
      this.rows[at].value = value;
      return 2;
    }
    if (this.rows.length >= this.maximum) return 0;
    this.rows.push({ prefix: this.masked(prefix, length), length, value });
    return 1;
  }

  remove(prefix: bigint, length: number): boolean {
    const at = this.find(prefix, length);
    if (at >= 0) this.rows.splice(at, 1);
    return at >= 0;
  }

  get(prefix: bigint, length: number): number {
    const at = this.find(prefix, length);
    return at < 0 ? 0 : this.rows[at].value;
  }

  lookup(address: bigint): number {
    let length = -1;
    let value = 0;
    for (const row of this.rows) {
      if (row.length <= length || this.masked(address, row.length) !== row.prefix) continue;
      length = row.length;
      value = row.value;
    }
    return value;
  }

  list(): string[] {
    const order = (a: Row, b: Row): number =>
      a.prefix === b.prefix ? a.length - b.length : a.prefix < b.prefix ? -1 : 1;
    return [...this.rows].sort(order).map((row) => line(row.prefix, row.length, row.value));
  }

  /** Addresses at which something may begin or end around a prefix. */
  edges(prefix: bigint, length: number): bigint[] {
    const first = this.masked(prefix, length);
    const last = first + (1n << BigInt(this.bits - length)) - 1n;
    const end = (1n << BigInt(this.bits)) - 1n;
    return [first, last, (first + last) >> 1n, prefix, first === 0n ? end : first - 1n, last === end ? 0n : last + 1n];
  }
}
