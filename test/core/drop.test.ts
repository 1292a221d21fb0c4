/** A reason's number, name and place in the counters are one thing. */

import test from 'ava';
import * as drop from '../../core/drop.js';

const { DROP_REASONS, DROP_REASON_SLOTS } = drop;

/** DROP_… constants: name in snake case → number. */
const numbers = Object.entries(drop)
  .filter(([name, value]) => /^DROP_(?!REASON)/.test(name) && typeof value === 'number')
  .map(([name, value]) => [name.slice('DROP_'.length).toLowerCase(), value as number] as const);

test('every constant is the index of the reason of its name, and every reason has one', (t) => {
  for (const [name, number] of numbers) t.is(DROP_REASONS[number]?.name, name);
  t.is(numbers.length, DROP_REASONS.length);
});

test('names are unique, in snake case, and say something', (t) => {
  t.is(new Set(DROP_REASONS.map((reason) => reason.name)).size, DROP_REASONS.length);
  for (const { name, text } of DROP_REASONS) {
    t.regex(name, /^[a-z]+(_[a-z0-9]+)*$/);
    t.regex(text, /^\S.{5,}[^.\s]$/);
  }
});

test('the counter blocks have room for all', (t) => {
  t.true(DROP_REASONS.length <= DROP_REASON_SLOTS);
});
