import test from 'ava';
import fc from 'fast-check';
import { NumberIndex } from '../../../core/tables/number-index.js';

const CAPACITY = 24;

test('agrees with a Map, equal hashes and removals among followers included', (t) => {
  // Few hashes, at the end of the places, so that runs are long and wrap.
  const hash = fc.oneof(fc.integer({ min: 60, max: 66 }), fc.integer());
  const step = fc.record({ hash, number: fc.nat(CAPACITY - 1), isInsert: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const index = new NumberIndex();
      const model = new Map<number, number>();
      for (const { hash, number, isInsert } of steps) {
        const there = model.get(number);
        if (isInsert && there === undefined) {
          index.insert(hash, number);
          model.set(number, hash);
        } else if (!isInsert && there !== undefined) {
          index.remove(there, number);
          model.delete(number);
        }
        for (const wanted of new Set([hash, ...model.values()])) {
          const found: number[] = [];
          for (let place = index.search(wanted); place >= 0; place = index.searchOn(place, wanted))
            found.push(index.numberAt(place));
          const expected = [...model].filter(([, other]) => other === wanted).map(([one]) => one);
          if (found.sort().join() !== expected.sort().join()) return false;
        }
      }
      return true;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('grows as far as it must, and holds what it held', (t) => {
  const index = new NumberIndex();
  const numbers = 10_000;
  const hashOf = (number: number): number => Math.imul(number, 0x9e3779b1);
  for (let number = 0; number < numbers; number++) index.insert(hashOf(number), number);
  for (let number = 0; number < numbers; number += 2) index.remove(hashOf(number), number);
  for (let number = 0; number < numbers; number++) {
    const place = index.search(hashOf(number));
    if (number % 2 === 0) t.is(place, -1);
    else t.is(index.numberAt(place), number);
  }
});
