/** The multicast database: exact matches whatever the keys, its limit, and its texts. */

import test from 'ava';
import fc from 'fast-check';
import { type Group, groupText, keyHigh, keyLow, MAX_GROUPS, Mdb } from '../../../core/switch/mdb.js';
import { ip4, ip6 } from './multicast.js';

const SEED = 99;

type Address = readonly [number, number, number, number];

/** Addresses that share both halves of the key, found by their birthdays. */
function sameKeys(): Address[] {
  const seen = new Map<number, Address>();
  const target = keyHigh(0, 0, 0, 7, SEED);
  for (let c = 1; c < 4_000_000; c++) {
    const a = keyHigh(0, 0, c, 7, SEED) ^ target;
    const address: Address = [a, 0, c, 7];
    if (keyHigh(a, 0, c, 7, SEED) !== target) continue;
    const low = keyLow(a, 0, c, 7, SEED);
    const other = seen.get(low);
    if (other !== undefined) return [other, address];
    seen.set(low, address);
  }
  throw new Error('no two addresses share a key: the search is too short');
}

test('groups whose keys are the same are told apart, in whichever order they come and go', (t) => {
  const [first, second] = sameKeys();
  t.is(keyLow(...first, SEED), keyLow(...second, SEED));
  t.is(keyHigh(...first, SEED), keyHigh(...second, SEED));
  for (const [one, other] of [
    [first, second],
    [second, first],
  ]) {
    for (const goes of [one, other]) {
      const stays = goes === one ? other : one;
      const mdb = new Mdb(SEED);
      mdb.add(0, 0, 0xffff, 1);
      t.true(mdb.add(...one)?.is(...one));
      t.is(mdb.find(...other), null, 'the key alone is no match');
      mdb.add(...other);
      t.true(mdb.find(...one)?.is(...one));
      t.true(mdb.find(...other)?.is(...other));
      mdb.remove(mdb.find(...goes) as Group);
      t.is(mdb.find(...goes), null);
      t.true(mdb.find(...stays)?.is(...stays));
      mdb.remove(mdb.find(...stays) as Group);
      t.is(mdb.find(...stays), null);
      t.not(mdb.find(0, 0, 0xffff, 1), null);
    }
  }
});

const step = fc.record({
  add: fc.boolean(),
  address: fc.tuple(fc.constantFrom(0, -1, 7), fc.nat(1), fc.constantFrom(0, 0xffff), fc.nat(40)),
});

test('agrees with a Map after every step of any sequence', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.integer(), (steps, seed) => {
      const mdb = new Mdb(seed);
      const model = new Map<string, Group>();
      for (const { add, address } of steps) {
        const name = address.join();
        const found = mdb.find(...address);
        if (found !== (model.get(name) ?? null)) return false;
        if (add && found === null) model.set(name, mdb.add(...address) as Group);
        if (!add && found !== null) {
          mdb.remove(found);
          model.delete(name);
        }
        if (mdb.groups.length !== model.size) return false;
      }
      return [...model.values()].every((group) => mdb.find(group.a, group.b, group.c, group.d) === group);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('holds MAX_GROUPS, and takes one again when one went', (t) => {
  const mdb = new Mdb(SEED);
  for (let i = 0; i < MAX_GROUPS; i++) t.not(mdb.add(0, 0, 0xffff, i), null);
  t.is(mdb.add(0, 0, 0xffff, MAX_GROUPS), null);
  for (let i = 0; i < MAX_GROUPS; i++) t.is(mdb.find(0, 0, 0xffff, i)?.d, i);
  mdb.remove(mdb.groups[0]);
  t.not(mdb.add(0, 0, 0xffff, MAX_GROUPS), null);
});

test('members stay in order and keep their times', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 30 })), { maxLength: 200 }), (steps) => {
      const group = new Mdb(SEED).add(1, 2, 3, 4) as Group;
      const model = new Map<number, number>();
      steps.forEach(([add, port], time) => {
        let index = group.search(port);
        if (index >= 0 !== model.has(port)) throw new Error(`search(${port}) is ${index}`);
        if (add) {
          if (index < 0) {
            index = -1 - index;
            group.insert(index, port);
          }
          group.expires[index] = time;
          group.asks[index] = time * 2;
          model.set(port, time);
        } else if (index >= 0) {
          group.remove(index);
          model.delete(port);
        }
      });
      const expected = [...model].sort(([a], [b]) => a - b).map(([port, time]) => [port, time, time * 2]);
      const found = [...group.ports.subarray(0, group.count)].map((p, i) => [p, group.expires[i], group.asks[i]]);
      return JSON.stringify(found) === JSON.stringify(expected);
    }),
  );
  t.pass();
});

test('addresses as text (RFC 5952)', (t) => {
  const mdb = new Mdb(SEED);
  const texts = [
    '239.1.1.1',
    '224.255.0.1',
    'ff15::7',
    'ff05:1:0:2::3',
    'ff0e::',
    'ff1e:0:1:0:2:3:4:5',
    'ff3e:1:2:3:4:5:6:7',
  ];
  for (const text of [...texts, 'ff18::1:0:0:0', 'ff18:0:0:1::']) {
    const bytes = text.includes(':') ? ip6(text) : [...new Array(10).fill(0), 255, 255, ...ip4(text)];
    const view = new DataView(Uint8Array.from(bytes).buffer);
    const group = mdb.add(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)) as Group;
    t.is(groupText(group), text);
  }
});
