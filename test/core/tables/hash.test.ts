import test from 'ava';
import fc from 'fast-check';
import { HashTable, hashTableWords, KEY_HIGH, KEY_LOW, STAMP, VALUE } from '../../../core/tables/hash.js';

function make(capacity: number, seed = 7): HashTable {
  return new HashTable(new Int32Array(hashTableWords(capacity)), capacity, seed);
}

/** Keys from a small set, so that probes collide and removals meet followers. */
const key = fc.tuple(fc.integer({ min: -3, max: 12 }), fc.integer({ min: 1, max: 3 }));
const step = fc.oneof(
  fc.record({ op: fc.constant('put' as const), key, value: fc.integer() }),
  fc.record({ op: fc.constant('remove' as const), key, value: fc.constant(0) }),
);

test('agrees with a Map after every step of any sequence of inserts, updates and removals', (t) => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer(),
      (steps, capacity, seed) => {
        const table = make(capacity, seed);
        const model = new Map<string, number>();
        for (const {
          op,
          key: [low, high],
          value,
        } of steps) {
          const name = `${low}/${high}`;
          const place = table.find(low, high);
          if (place >= 0 !== model.has(name)) return false;
          if (op === 'remove') {
            if (place >= 0) table.remove(place);
            model.delete(name);
          } else {
            const at = place >= 0 ? place : table.insert(low, high);
            if (at < 0 !== (model.size >= capacity && !model.has(name))) return false;
            if (at >= 0) {
              table.words[at + VALUE] = value;
              model.set(name, value);
            }
          }
          if (!sameAs(table, model)) return false;
        }
        return true;
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

function sameAs(table: HashTable, model: Map<string, number>): boolean {
  if (table.count !== model.size) return false;
  for (const [name, value] of model) {
    const [low, high] = name.split('/').map(Number);
    const place = table.find(low, high);
    if (place < 0 || table.words[place + VALUE] !== value) return false;
  }
  return true;
}

test('holds exactly its capacity, also when that is a power of two', (t) => {
  const table = make(64);
  for (let i = 0; i < 64; i++) t.true(table.insert(i, 1) >= 0);
  t.is(table.insert(64, 1), -1);
  t.is(table.count, 64);
});

test('a second table on the same words goes on where the first stopped, with its seed', (t) => {
  const words = new Int32Array(hashTableWords(16));
  const first = new HashTable(words, 16, 1);
  const place = first.insert(5, 9);
  first.words[place + STAMP] = 77;
  const second = new HashTable(words, 16, 2);
  t.is(second.find(5, 9), place);
  t.is(second.words[place + STAMP], 77);
  t.is(second.words[place + KEY_LOW], 5);
  t.is(second.words[place + KEY_HIGH], 9);
});

test('too little memory is refused', (t) => {
  t.throws(() => new HashTable(new Int32Array(10), 16, 1), { instanceOf: RangeError });
});
