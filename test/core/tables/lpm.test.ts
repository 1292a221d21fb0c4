import test from 'ava';
import fc from 'fast-check';
import { FULL, INSERTED, MAX_VALUE, NO_MATCH, REPLACED } from '../../../core/tables/lpm.js';
import { createRandom, rerunLine, seedOfRun } from '../../support/corpus.js';
import { LinearTable, type Table, table4, table6 } from './lpm-reference.js';

const seed = seedOfRun();
const RERUN = rerunLine(seed, 'dist/test/core/tables/lpm.test.js');
/** Where lengths of nodes meet, and the ends. */
const EDGE_LENGTHS = [0, 1, 8, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 112, 113, 127, 128];
const FAMILIES = [
  { name: 'IPv4', make: table4, bits: 32 },
  { name: 'IPv6', make: table6, bits: 128 },
];

interface Step {
  readonly op: 'insert' | 'remove' | 'clear';
  readonly prefix: bigint;
  readonly length: number;
  readonly value: number;
}

/** Addresses with bytes of a small set, so that prefixes nest, meet and repeat. */
function addresses(bits: number): fc.Arbitrary<bigint> {
  return fc
    .array(fc.constantFrom(0, 0, 0, 1, 127, 128, 255, 255), { minLength: bits / 8, maxLength: bits / 8 })
    .map((bytes) => bytes.reduce((high, byte) => (high << 8n) | BigInt(byte), 0n));
}

function histories(bits: number): fc.Arbitrary<Step[]> {
  const edges = EDGE_LENGTHS.filter((length) => length <= bits);
  const length = fc.oneof(fc.integer({ min: 0, max: bits }), fc.constantFrom(...edges));
  // Few values: neighbours with the same one are joined, and must come apart again.
  const value = fc.constantFrom(1, 1, 2, MAX_VALUE);
  const op = fc.constantFrom<Step['op']>(...Array(12).fill('insert'), ...Array(6).fill('remove'), 'clear');
  const fresh = fc.record({ op, prefix: addresses(bits), length, value });
  return fc
    .array(fc.record({ step: fresh, again: fc.option(fc.nat(40), { freq: 2 }) }), { maxLength: 120 })
    .map((drawn) =>
      // Half of the steps are about a prefix that was there before.
      drawn.map(({ step, again }, index) => {
        if (again === null || again >= index) return step;
        return { ...step, prefix: drawn[again].step.prefix, length: drawn[again].step.length };
      }),
    );
}

/** The first thing in which table and reference differ after a step, or ''. */
function difference(table: Table, linear: LinearTable, { op, prefix, length, value }: Step): string {
  if (op === 'clear') {
    table.clear();
    linear.rows.length = 0;
  } else {
    const says = op === 'insert' ? table.insert(prefix, length, value) : table.remove(prefix, length);
    const should = op === 'insert' ? linear.insert(prefix, length, value) : linear.remove(prefix, length);
    if (says !== should) return `${op} ${prefix.toString(16)}/${length} says ${says} instead of ${should}`;
  }
  if (table.count() !== linear.rows.length) return `${table.count()} prefixes instead of ${linear.rows.length}`;
  if (table.get(prefix, length) !== linear.get(prefix, length)) return `get ${prefix.toString(16)}/${length}`;
  return wrongLookup(table, linear, linear.edges(prefix, length));
}

function wrongLookup(table: Table, linear: LinearTable, at: readonly bigint[]): string {
  for (const address of at) {
    const found = table.lookup(address);
    const expected = linear.lookup(address);
    if (found !== expected) return `lookup ${address.toString(16)}: ${found} instead of ${expected}`;
  }
  return '';
}

for (const { name, make, bits } of FAMILIES) {
  test(`${name}: any history of inserts, replacements and removals says what a linear search says`, (t) => {
    fc.assert(
      fc.property(histories(bits), fc.constantFrom(3, 20, 1000), (steps, maximum) => {
        const table = make(maximum);
        const linear = new LinearTable(bits, maximum);
        for (const step of steps) {
          const wrong = difference(table, linear, step);
          if (wrong !== '') throw new Error(wrong);
        }
        for (const row of linear.rows) {
          const wrong = wrongLookup(table, linear, linear.edges(row.prefix, row.length));
          if (wrong !== '') throw new Error(wrong);
        }
        const listed = table.list().join();
        if (listed !== linear.list().join()) throw new Error(`lists ${listed} instead of ${linear.list().join()}`);
      }),
      { numRuns: 400, seed },
    );
    t.log(RERUN);
    t.pass();
  });

  test(`${name}: hundreds of prefixes, so that nodes change their form to and fro`, (t) => {
    const random = createRandom(seed);
    const table = make(400);
    const linear = new LinearTable(bits, 400);
    const wide = (): bigint => {
      // Eight values of the first byte, then any: dense enough to nest, wide enough for many nodes.
      let address = BigInt(random(8) * 36);
      for (let byte = 1; byte < bits / 8; byte++) address = (address << 8n) | BigInt(random(4) === 0 ? 0 : random(256));
      return address;
    };
    for (let round = 0; round < 3; round++) {
      for (let full = 0; full < 30; ) {
        const length = random(3) === 0 ? random(bits + 1) : Math.min(bits, random(32));
        const wrong = difference(table, linear, { op: 'insert', prefix: wide(), length, value: 1 + random(5) });
        t.is(wrong, '', RERUN);
        // Thirty more steps against a full table.
        if (table.count() === 400) full++;
      }
      t.deepEqual(table.list(), linear.list(), RERUN);
      while (linear.rows.length > (round === 2 ? 0 : 10)) {
        const { prefix, length } = linear.rows[random(linear.rows.length)];
        t.is(difference(table, linear, { op: 'remove', prefix, length, value: 0 }), '', RERUN);
      }
    }
    t.is(table.memory(), make(400).memory(), 'all memory is given back');
  });

  test(`${name}: thousands of prefixes below two bytes: nodes become tables, and sparse again`, (t) => {
    const table = make(10_000);
    // Every other one of 32 bits, the others of 30.
    const base = 0x0a010000n << BigInt(bits - 32);
    const at = (index: number): bigint => base | (BigInt(index * 8) << BigInt(bits - 32));
    t.is(table.insert(base, 20, 7), INSERTED);
    for (let i = 0; i < 6000; i++) t.is(table.insert(at(i), i % 2 === 0 ? 32 : 30, 1 + i), INSERTED);
    const dense = table.memory();
    const cover = (i: number): number => (i * 8 < 4096 ? 7 : NO_MATCH);
    for (let i = 0; i < 6000; i++) {
      t.is(table.lookup(at(i)), 1 + i);
      t.is(table.lookup(at(i) | (1n << BigInt(bits - 32))), i % 2 === 0 ? cover(i) : 1 + i);
      t.is(table.lookup(at(i) | (4n << BigInt(bits - 32))), cover(i));
    }
    for (let i = 0; i < 5900; i++) t.true(table.remove(at(i), i % 2 === 0 ? 32 : 30));
    for (let i = 0; i < 6000; i++) t.is(table.lookup(at(i)), i < 5900 ? cover(i) : 1 + i);
    t.true(table.memory() < dense / 4);
    t.is(table.count(), 101);
    t.is(table.list().length, 101);
  });

  test(`${name}: the default route alone, and under others`, (t) => {
    const table = make(10);
    const end = (1n << BigInt(bits)) - 1n;
    t.is(table.lookup(0n), NO_MATCH);
    t.is(table.insert(0n, 0, 9), INSERTED);
    for (const address of [0n, 1n, end >> 1n, end]) t.is(table.lookup(address), 9);
    t.is(table.insert(end, bits, 4), INSERTED);
    t.is(table.lookup(end), 4);
    t.is(table.lookup(end - 1n), 9);
    t.true(table.remove(0n, 0));
    t.is(table.lookup(end), 4);
    t.is(table.lookup(end - 1n), NO_MATCH);
    t.false(table.remove(0n, 0));
  });

  test(`${name}: a pair of the last two lengths`, (t) => {
    const table = make(10);
    const pair = 6n;
    table.insert(pair, bits - 1, 1);
    table.insert(pair, bits, 2);
    t.deepEqual([5n, 6n, 7n, 8n].map(table.lookup), [0, 2, 1, 0]);
    t.true(table.remove(pair, bits));
    t.deepEqual([5n, 6n, 7n, 8n].map(table.lookup), [0, 1, 1, 0]);
  });

  test(`${name}: host bits are ignored`, (t) => {
    const table = make(10);
    const prefix = 0x0a0102ffn << BigInt(bits - 32);
    t.is(table.insert(prefix, 24, 5), INSERTED);
    t.is(table.insert(prefix + (1n << BigInt(bits - 32)), 24, 6), INSERTED, 'that is the next prefix');
    t.is(table.insert(prefix - 1n, 24, 7), REPLACED);
    t.is(table.get(prefix, 24), 7);
    t.is(table.get(prefix, 25), NO_MATCH);
    t.true(table.remove(prefix - 3n, 24));
    t.is(table.count(), 1);
  });

  test(`${name}: what is not there cannot be removed`, (t) => {
    const table = make(10);
    const prefix = 0x0a010000n << BigInt(bits - 32);
    table.insert(prefix, 24, 5);
    t.false(table.remove(prefix, 23));
    t.false(table.remove(prefix, 25));
    t.false(table.remove(prefix, bits));
    t.false(table.remove(0n, 24));
    t.is(table.lookup(prefix), 5);
    t.is(table.count(), 1);
  });

  test(`${name}: a full table refuses new prefixes and nothing else`, (t) => {
    const table = make(3);
    const prefix = (number: number): bigint => BigInt(number) << BigInt(bits - 24);
    for (let i = 1; i <= 3; i++) t.is(table.insert(prefix(i), 24, i), INSERTED);
    const before = table.list();
    t.is(table.insert(prefix(4), 24, 4), FULL);
    t.is(table.insert(prefix(1), bits, 4), FULL);
    t.deepEqual(table.list(), before);
    t.is(table.lookup(prefix(1)), 1);
    t.is(table.lookup(prefix(4)), NO_MATCH);
    t.is(table.insert(prefix(1), 24, 8), REPLACED);
    t.true(table.remove(prefix(2), 24));
    t.is(table.insert(prefix(4), 24, 4), INSERTED);
    t.is(table.lookup(prefix(4)), 4);
  });

  test(`${name}: lengths, values and sizes that cannot be are refused`, (t) => {
    const table = make(3);
    for (const length of [-1, bits + 1, 1.5, Number.NaN]) {
      t.throws(() => table.insert(0n, length, 1), { instanceOf: RangeError, message: /prefix length/ });
      t.throws(() => table.remove(0n, length), { instanceOf: RangeError });
      t.throws(() => table.get(0n, length), { instanceOf: RangeError });
    }
    for (const value of [0, -1, MAX_VALUE + 1, 1.5, Number.NaN])
      t.throws(() => table.insert(0n, 8, value), { instanceOf: RangeError, message: /value/ });
    t.is(table.count(), 0);
    t.throws(() => make(0), { instanceOf: RangeError });
    t.is(table.insert(0n, 8, MAX_VALUE), INSERTED);
    t.is(table.lookup(1n), MAX_VALUE);
  });

  test(`${name}: routes that come and go leave no memory behind`, (t) => {
    const random = createRandom(seed);
    const table = make(5000);
    const draw = (): [bigint, number] => {
      let address = 0n;
      for (let unit = 0; unit < bits / 16; unit++) address = (address << 16n) | BigInt(random(unit < 2 ? 300 : 65536));
      return [address, 17 + random(bits - 16)];
    };
    let most = 0;
    for (let round = 0; round < 20; round++) {
      const prefixes = Array.from({ length: 2000 }, draw);
      for (const [prefix, length] of prefixes) table.insert(prefix, length, 1 + random(100));
      if (round === 1) most = table.memory();
      if (round > 1)
        t.true(table.memory() <= most * 1.6, `${table.memory()} bytes in round ${round}, ${most} before. ${RERUN}`);
      for (const [prefix, length] of prefixes) table.remove(prefix, length);
      t.is(table.count(), 0);
    }
    t.is(table.memory(), make(1).memory());
  });

  test(`${name}: compacting changes nothing but the memory`, (t) => {
    const random = createRandom(seed);
    const table = make(3000);
    const linear = new LinearTable(bits, 3000);
    for (let i = 0; i < 3000; i++) {
      const address = BigInt(random(20) * 0x1000000 + random(0x1000000)) << BigInt(bits - 32);
      const length = 4 + random(29);
      table.insert(address, length, 1 + i);
      linear.insert(address, length, 1 + i);
    }
    for (const { prefix, length } of linear.rows.slice(0, 1500)) table.remove(prefix, length);
    linear.rows.splice(0, 1500);
    const before = table.memory();
    table.compact();
    t.true(table.memory() <= before);
    t.deepEqual(table.list(), linear.list(), RERUN);
    for (const { prefix, length } of linear.rows.slice(0, 300))
      t.is(wrongLookup(table, linear, linear.edges(prefix, length)), '', RERUN);
    t.is(table.insert(0n, 0, 5), INSERTED);
    t.is(table.lookup(0xfffffffen), linear.lookup(0xfffffffen) || 5);
  });

  test(`${name}: a small table is small`, (t) => {
    const table = make(1_000_000);
    t.true(table.memory() <= 1024);
    for (let i = 0; i < 10; i++) table.insert(BigInt(0x0a000000 + i * 0x10100) << BigInt(bits - 32), 16 + i, 1 + i);
    t.true(table.memory() <= 32768, `${table.memory()} bytes`);
  });
}
