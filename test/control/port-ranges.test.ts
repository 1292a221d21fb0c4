/** Sets of ports against arrays with a place for each port. */

import test from 'ava';
import {
  formatRanges,
  freeRange,
  mergeRanges,
  type PortRange,
  parseRanges,
  subtractRanges,
} from '../../control/port-ranges.js';
import { createRandom, type Random, rerunLine, seedOfRun } from '../support/corpus.js';

const LAST = 200;

function randomRanges(random: Random): PortRange[] {
  return Array.from({ length: random(8) }, () => {
    const first = 1 + random(LAST - 10);
    return { first, last: first + random(10) };
  });
}

const members = (ranges: readonly PortRange[]): boolean[] =>
  Array.from({ length: LAST + 1 }, (_, port) => ranges.some(({ first, last }) => first <= port && port <= last));

test('the same ports as in arrays with a place for each', (t) => {
  const seed = seedOfRun();
  const hint = rerunLine(seed, 'dist/test/control/port-ranges.test.js');
  const random = createRandom(seed);
  for (let i = 0; i < 2000; i++) {
    const [a, b] = [randomRanges(random), randomRanges(random)];
    const [inA, inB] = [members(a), members(b)];
    const merged = mergeRanges(a);
    t.deepEqual(members(merged), inA, hint);
    for (let j = 1; j < merged.length; j++)
      t.true((merged[j] as PortRange).first > (merged[j - 1] as PortRange).last + 1, hint);
    const left = subtractRanges(a, b);
    t.deepEqual(
      members(left),
      inA.map((is, port) => is && !inB[port]),
      hint,
    );
    t.deepEqual(mergeRanges(left), left, hint);
    t.deepEqual(parseRanges(formatRanges(a)), merged, hint);
  }
});

test('written as the kernel writes it', (t) => {
  t.is(
    formatRanges([
      { first: 9000, last: 9010 },
      { first: 8080, last: 8080 },
    ]),
    '8080,9000-9010',
  );
  t.is(formatRanges([]), '');
  t.deepEqual(parseRanges(''), []);
});

test('a range that is free: the one that is asked for, else the lowest that is as long, else none', (t) => {
  const taken = [
    { first: 1, last: 79 },
    { first: 85, last: 60_000 },
  ];
  t.deepEqual(freeRange({ first: 80, last: 84 }, taken), { first: 80, last: 84 });
  t.deepEqual(freeRange({ first: 84, last: 86 }, taken), { first: 80, last: 82 });
  t.deepEqual(freeRange({ first: 8080, last: 8089 }, taken), { first: 60_001, last: 60_010 });
  t.is(freeRange({ first: 1, last: 65_535 }, taken), null);
});
