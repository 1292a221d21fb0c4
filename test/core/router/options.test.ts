import test from 'ava';
import fc from 'fast-check';
import { DROP_IP_OPTIONS, DROP_NONE } from '../../../core/drop.js';
import { optionsProblem, processOptions } from '../../../core/router/options.js';
import { ethernet, ipv4 } from '../wire/build.js';
import { createArena, frameOf, isHeaderSumRight, load, viewOf, withHeaderSum } from './slots.js';

/** 10.1.2.254 */
const OWN = 0x0a0102fe;
const OWN_BYTES = [10, 1, 2, 254];
/** 12:34:56.789 as milliseconds of the day. */
const TIME = 45_296_789;
const TIME_BYTES = [0x02, 0xb3, 0x2c, 0x95];

interface Result {
  readonly reason: number;
  readonly pointer: number;
  readonly frame: Uint8Array;
  /** The frame before. */
  readonly sent: Uint8Array;
  readonly options: number[];
}

function run(options: number[], recordRoute = true, timestamp = true): Result {
  const padded = [...options];
  while (padded.length % 4 !== 0) padded.push(0);
  const sent = ethernet(0x0800, ipv4({ protocol: 253, options: padded.length }, new Uint8Array(8)));
  sent.set(padded, 34);
  withHeaderSum(sent);
  const arena = createArena(1);
  const packet = load(arena, sent);
  const reason = processOptions(arena.view, packet, OWN, TIME, recordRoute, timestamp);
  const frame = frameOf(arena, packet);
  return { reason, pointer: optionsProblem.pointer, frame, sent, options: [...frame.slice(34, 34 + options.length)] };
}

test('RFC 1812, 5.3.13.1: unknown options, router alert and security pass unchanged', (t) => {
  for (const options of [
    [148, 4, 0, 0],
    [130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 1, 222, 3, 9, 94, 2],
    [1, 1, 1, 1],
    [0, 131, 3, 4],
  ]) {
    for (const allowed of [true, false]) {
      const result = run(options, allowed, allowed);
      t.is(result.reason, DROP_NONE);
      t.deepEqual(result.frame, result.sent);
    }
  }
});

test('RFC 7126, 4.3 and 4.4: source routes are refused whatever is allowed, and not answered', (t) => {
  for (const type of [131, 137]) {
    const result = run([1, type, 7, 4, 10, 0, 0, 1]);
    t.is(result.reason, DROP_IP_OPTIONS);
    t.is(result.pointer, -1);
    t.deepEqual(result.frame, result.sent);
  }
});

test('RFC 7126, 4.5 and 4.7: record route and timestamp are refused unless allowed, each for itself', (t) => {
  const route = [7, 7, 4, 0, 0, 0, 0];
  const stamp = [68, 8, 5, 0, 0, 0, 0, 0];
  t.is(run(route, false, true).reason, DROP_IP_OPTIONS);
  t.is(run(route, true, false).reason, DROP_NONE);
  t.is(run(stamp, true, false).reason, DROP_IP_OPTIONS);
  t.is(run(stamp, false, true).reason, DROP_NONE);
  run(stamp, false, false);
  t.is(optionsProblem.pointer, -1);
});

test('RFC 791 record route: the own address goes to the pointer, the pointer moves on, the header sums up', (t) => {
  const result = run([1, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
  t.deepEqual(result.options, [1, 7, 11, 8, ...OWN_BYTES, 0, 0, 0, 0]);
  t.true(isHeaderSumRight(result.frame));
  const second = run([7, 11, 8, 1, 2, 3, 4, 0, 0, 0, 0]);
  t.deepEqual(second.options, [7, 11, 12, 1, 2, 3, 4, ...OWN_BYTES]);
  t.true(isHeaderSumRight(second.frame));
});

test('RFC 791 record route: a full one passes; room for part of an address is an error at the pointer', (t) => {
  const full = run([7, 7, 8, 1, 2, 3, 4]);
  t.is(full.reason, DROP_NONE);
  t.deepEqual(full.frame, full.sent);
  const part = run([7, 9, 8, 1, 2, 3, 4, 0, 0]);
  t.is(part.reason, DROP_IP_OPTIONS);
  t.is(part.pointer, 22);
  t.deepEqual(part.frame, part.sent);
});

test('RFC 791 timestamp: alone, with the address, and for the one that was named', (t) => {
  t.deepEqual(run([68, 8, 5, 0, 0, 0, 0, 0]).options, [68, 8, 9, 0, ...TIME_BYTES]);
  t.deepEqual(run([68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]).options, [68, 12, 13, 1, ...OWN_BYTES, ...TIME_BYTES]);
  t.deepEqual(run([68, 12, 5, 3, ...OWN_BYTES, 0, 0, 0, 0]).options, [68, 12, 13, 3, ...OWN_BYTES, ...TIME_BYTES]);
  t.deepEqual(run([68, 12, 5, 3, 10, 9, 9, 9, 0, 0, 0, 0]).options, [68, 12, 5, 3, 10, 9, 9, 9, 0, 0, 0, 0]);
  for (const format of [0, 1, 3]) {
    t.true(isHeaderSumRight(run([68, 12, 5, format, ...OWN_BYTES, 0, 0, 0, 0]).frame));
  }
});

test('RFC 791 timestamp: without room the station is counted, until the count is full', (t) => {
  const counted = run([68, 8, 9, 0x20, 1, 2, 3, 4]);
  t.deepEqual(counted.options, [68, 8, 9, 0x30, 1, 2, 3, 4]);
  t.true(isHeaderSumRight(counted.frame));
  const full = run([68, 8, 9, 0xf0, 1, 2, 3, 4]);
  t.is(full.reason, DROP_IP_OPTIONS);
  t.is(full.pointer, 23);
});

test('malformed lengths and pointers are refused, and the octet is named (RFC 1812, 4.3.3.5)', (t) => {
  for (const [options, pointer, what] of [
    [[222, 0, 1, 1], 21, 'length 0'],
    [[222, 1, 1, 1], 21, 'length 1'],
    [[222, 5, 1, 1], 21, 'one beyond the header'],
    [[222, 255, 1, 1], 21, 'far beyond'],
    [[1, 1, 1, 222], 23, 'no length'],
    [[148, 4, 0, 0, 7, 1, 1, 1], 25, 'after a sound one'],
    [[7, 2, 1, 1], 21, 'record route without a pointer'],
    [[7, 7, 3, 0, 0, 0, 0], 22, 'pointer before the first address'],
    [[7, 7, 0, 0, 0, 0, 0], 22, 'pointer 0'],
    [[7, 3, 4, 7, 3, 4], 23, 'record route twice'],
    [[68, 3, 5, 0], 21, 'timestamp without flags'],
    [[68, 8, 4, 0, 0, 0, 0, 0], 22, 'timestamp pointer too low'],
    [[68, 8, 5, 1, 0, 0, 0, 0], 22, 'room for the address alone'],
    [[68, 8, 5, 2, 0, 0, 0, 0], 23, 'no such format'],
    [[68, 4, 5, 0, 68, 4, 5, 0], 24, 'timestamp twice'],
  ] as const) {
    const result = run([...options]);
    t.is(result.reason, DROP_IP_OPTIONS, what);
    t.is(result.pointer, pointer, what);
    t.deepEqual(result.frame, result.sent, what);
  }
});

test('one that is refused after a record route is left as it was', (t) => {
  const result = run([7, 7, 4, 0, 0, 0, 0, 222, 0]);
  t.is(result.reason, DROP_IP_OPTIONS);
  t.deepEqual(result.frame, result.sent);
});

test('property: any bytes as options: nothing but the header changes, a packet that passes sums up, one that does not is unchanged', (t) => {
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 7, 68, 131, 4, 5, 8, 9, 12));
  const route = fc.tuple(fc.constant(7), fc.constantFrom(7, 11, 12), fc.constantFrom(4, 8, 12), byte);
  const stamp = fc.tuple(
    fc.constant(68),
    fc.constantFrom(8, 12),
    fc.constantFrom(5, 9, 13),
    fc.constantFrom(0, 1, 3, 0xf0),
  );
  const bytes = fc.array(byte, { minLength: 1, maxLength: 36 });
  const lists = fc.oneof(
    bytes,
    fc.tuple(fc.oneof(route, stamp), bytes).map(([head, rest]) => [...head, ...rest]),
  );
  let written = 0;
  let refused = 0;
  fc.assert(
    fc.property(lists, (options) => {
      const { reason, pointer, frame, sent } = run(options);
      const end = 14 + (sent[14] & 15) * 4;
      if (reason === DROP_NONE) {
        t.true(isHeaderSumRight(frame));
        t.deepEqual(frame.slice(end), sent.slice(end));
        t.deepEqual(frame.slice(0, 24), sent.slice(0, 24));
        t.deepEqual(frame.slice(26, 34), sent.slice(26, 34));
        if (viewOf(frame).getUint16(24) !== viewOf(sent).getUint16(24)) written++;
      } else {
        refused++;
        t.deepEqual(frame, sent);
        t.true(pointer === -1 || (pointer >= 20 && pointer < end - 14));
      }
    }),
    { numRuns: 5000 },
  );
  t.true(refused > 500 && written > 20, `${refused} refused, ${written} written`);
});
