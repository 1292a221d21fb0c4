import test from 'ava';
import fc from 'fast-check';
import { Shift, shiftSegment } from '../../../core/alg/sequence.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { Bench, fullChecksum, readChecksum, seal, TCP } from '../nat/packets.js';
import { tcp } from '../wire/build.js';

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/alg/sequence.test.js');
const bench = new Bench();

/** A segment of these numbers with these bytes as options. */
function segmentOf(sequence: number, acknowledgment: number, options: readonly number[], flags = 0x10): Uint8Array {
  const segment = tcp({ srcPort: 1, dstPort: 2, options: options.length, flags }, Uint8Array.of(1, 2, 3));
  const view = new DataView(segment.buffer);
  view.setInt32(4, sequence);
  view.setInt32(8, acknowledgment);
  segment.set(options, 20);
  return seal([10, 0, 0, 1], [10, 0, 0, 2], TCP, segment);
}

function octets(...words: readonly number[]): number[] {
  return words.flatMap((word) => [(word >>> 24) & 255, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
}

test('before the replaced text the former shift counts, behind it the new one; in both directions', (t) => {
  const shift = new Shift(0);
  t.true(shift.isNone);
  shift.grow(1000, 4);
  t.deepEqual(
    [999, 1000, 1001, 1020].map((n) => shift.forth(n)),
    [999, 1000, 1005, 1024],
  );
  t.deepEqual(
    [999, 1000, 1005, 1024].map((n) => shift.back(n)),
    [999, 1000, 1001, 1020],
  );
  shift.grow(1100, -7);
  // A text of 20 bytes that is one of 13 to the receiver.
  t.is(shift.forth(1100), 1104);
  t.is(shift.back(1104), 1100);
  t.is(shift.forth(1120), 1117);
  t.is(shift.back(1117), 1120);
  t.is(shift.back(1098), 1094, 'before the text');
  t.is(shift.after, -3);
  const taken = new Shift(-3);
  t.is(taken.forth(5), 2);
  t.is(taken.back(2), 5);
});

test('numbers wrap', (t) => {
  const shift = new Shift(0);
  shift.grow(0x7ffffffe, 4);
  t.is(shift.forth(0x7ffffffe), 0x7ffffffe);
  t.is(shift.forth(0x7fffffff), -0x80000000 + 3);
  t.is(shift.forth(-0x80000000 + 10), -0x80000000 + 14);
  t.is(shift.back(-0x80000000 + 14), -0x80000000 + 10);
});

test('numbers, and selective acknowledgments at any place in the options, with the checksum', (t) => {
  const property = fc.property(
    fc.integer(),
    fc.integer(),
    fc.integer({ min: -500, max: 500 }),
    fc.integer({ min: -500, max: 500 }),
    fc.integer({ min: 0, max: 3 }),
    fc.array(fc.integer(), { minLength: 2, maxLength: 6 }),
    (sequence, acknowledgment, own, other, padding, words) => {
      const edges = words.slice(0, words.length & ~1);
      const sack = (values: readonly number[]) => {
        const options = [...new Array(padding).fill(1), 5, 2 + 4 * values.length, ...octets(...values)];
        while (options.length % 4 !== 0) options.push(1);
        return options;
      };
      bench.receive(segmentOf(sequence, acknowledgment, sack(edges)));
      shiftSegment(bench.view, bench.packet, new Shift(own), new Shift(other));
      const back = edges.map((edge) => (edge - other) | 0);
      const expected = segmentOf((sequence + own) | 0, (acknowledgment - other) | 0, sack(back));
      t.deepEqual(bench.bytes, expected);
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 1000, seed }), rerun);
});

test('what is no acknowledgment has none to shift, and broken options end the search', (t) => {
  bench.receive(segmentOf(1, 99, [], 0x02));
  shiftSegment(bench.view, bench.packet, new Shift(1), new Shift(1));
  t.deepEqual(bench.bytes, segmentOf(2, 99, [], 0x02));
  for (const options of [
    [5, 40, 0, 0, 0, 1, 0, 0],
    [0, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1],
    [2, 0, 5, 2],
    [1, 1, 1, 5],
  ]) {
    bench.receive(segmentOf(1, 99, options));
    shiftSegment(bench.view, bench.packet, new Shift(0), new Shift(1));
    t.deepEqual(bench.bytes, segmentOf(1, 98, options));
    t.is(readChecksum(bench.bytes, TCP, 20), fullChecksum(bench.bytes, TCP, 20));
  }
});
