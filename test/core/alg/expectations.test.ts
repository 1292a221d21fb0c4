import test from 'ava';
import {
  EXPECTED_DESTINATION,
  EXPECTED_EXTERNAL,
  EXPECTED_KIND,
  EXPECTED_PARENT,
  EXPECTED_PORT,
  EXPECTED_SOURCE,
  EXPECTED_UNTIL,
  Expectations,
  expectationRecord,
} from '../../../core/alg/expectations.js';

/** An expectation of this number: all about it follows from that. */
function recordOf(number: number, parent = number): Int32Array {
  const record = expectationRecord();
  record[EXPECTED_KIND] = 6;
  record[EXPECTED_SOURCE + 3] = number & 7;
  record[EXPECTED_DESTINATION + 3] = number;
  record[EXPECTED_PORT] = number & 0xffff;
  record[EXPECTED_PARENT] = parent;
  record[EXPECTED_UNTIL] = 100 + (number % 10);
  record[EXPECTED_EXTERNAL] = number + 1;
  return record;
}

function find(expectations: Expectations, number: number): number {
  return expectations.find(6, Int32Array.of(0, 0, 0, number & 7, 0, 0, 0, number), number & 0xffff);
}

class Ends {
  readonly ended: number[] = [];

  expectationEnds(external: number): void {
    this.ended.push(external - 1);
  }
}

test('each is found by all of its words, and by who announced it', (t) => {
  const expectations = new Expectations(64, 1, new Ends());
  for (let number = 0; number < 64; number++) expectations.add(recordOf(number, number + 1000));
  t.is(expectations.count, 64);
  for (let number = 0; number < 64; number++) {
    t.is(expectations.words[expectations.at(find(expectations, number)) + EXPECTED_DESTINATION + 3], number);
    t.is(expectations.findOf(number + 1000), find(expectations, number));
  }
  t.is(expectations.findOf(999), -1);
  const addresses = Int32Array.of(0, 0, 0, 1, 0, 0, 0, 1);
  t.true(expectations.find(6, addresses, 1) >= 0);
  t.is(expectations.find(17, addresses, 1), -1);
  t.is(expectations.find(6, addresses, 2), -1);
  for (let word = 0; word < 8; word++) {
    const other = addresses.slice();
    other[word] ^= 0x10000;
    t.is(expectations.find(6, other, 1), -1, `word ${word}`);
  }
});

test('a parent has one at a time, and so has a packet', (t) => {
  const ends = new Ends();
  const expectations = new Expectations(64, 1, ends);
  expectations.add(recordOf(1, 500));
  expectations.add(recordOf(2, 500));
  t.deepEqual(ends.ended, [1]);
  t.is(find(expectations, 1), -1);
  expectations.add(recordOf(2, 501));
  t.deepEqual(ends.ended, [1, 2]);
  t.is(expectations.findOf(500), -1);
  t.is(expectations.count, 1);
});

test('a full table takes in another, for one that ends; nothing is lost over many', (t) => {
  const ends = new Ends();
  const expectations = new Expectations(64, 1, ends);
  for (let number = 0; number < 10_000; number++) expectations.add(recordOf(number));
  t.is(expectations.count, 64);
  t.is(ends.ended.length, 10_000 - 64);
  t.deepEqual(
    ends.ended,
    Array.from({ length: 10_000 - 64 }, (_, i) => i),
    'the oldest first',
  );
  for (let number = 10_000 - 64; number < 10_000; number++) t.true(find(expectations, number) >= 0);
  t.is(find(expectations, 0), -1);
});

test('each ends when its time is over', (t) => {
  const ends = new Ends();
  const expectations = new Expectations(64, 1, ends);
  for (let number = 0; number < 30; number++) expectations.add(recordOf(number));
  expectations.expire(99);
  t.is(expectations.count, 30);
  expectations.expire(104);
  t.is(expectations.count, 15);
  t.true(ends.ended.every((number) => number % 10 <= 4));
  expectations.expire(109);
  t.is(expectations.count, 0);
  expectations.expire(200);
  for (let number = 0; number < 64; number++) expectations.add(recordOf(number));
  t.is(expectations.count, 64);
});
