/** Bundles taken apart: where their frames stay, and where they go when slots are few. */

import test from 'ava';
import { COALESCE_ALL, COALESCE_TCP } from '../../../core/offload/coalesce.js';
import { hex, Lab, taken } from './lab.js';
import {
  ACK,
  finishedFrame,
  gsoOf,
  load,
  NO_OFFLOAD,
  type PacketSpec,
  PLAIN,
  PSH,
  partialFrame,
  put16,
} from './packets.js';
import { fill } from './specs.js';

function stream(count: number, change: Partial<PacketSpec> = {}): PacketSpec {
  return { ...PLAIN, payload: fill(100 * count, 7), ...change };
}

const CUTTER = new Lab(700);

function segmentsOf(spec: PacketSpec, size = 100): Uint8Array[] {
  return CUTTER.cut(partialFrame(spec), gsoOf(spec, size));
}

function merged(spec: PacketSpec, size = 100): ReturnType<typeof taken> {
  return taken(partialFrame(spec), gsoOf(spec, size));
}

test('a flow is merged where it stands: no further slot is taken', (t) => {
  const lab = new Lab(60);
  const spec = stream(40);
  const segments = segmentsOf(spec);
  lab.giveBundle(segments, COALESCE_TCP);
  t.is(lab.arena.available, 59);
  t.is(lab.coalescer.held, 1);
  t.deepEqual(lab.flush(), [merged(spec)]);
});

test('the next bundle goes on where the one before has ended', (t) => {
  const lab = new Lab(60);
  const spec = stream(90);
  const segments = segmentsOf(spec);
  lab.giveBundle(segments.slice(0, 40), COALESCE_TCP);
  lab.giveBundle(segments.slice(40, 80), COALESCE_TCP);
  lab.giveBundle(segments.slice(80), COALESCE_TCP);
  t.is(lab.arena.available, 59);
  t.deepEqual(lab.flush(), [merged(spec)]);
});

test('a run that ends amid the bundle, and one that begins there and grows to its full length', (t) => {
  const lab = new Lab(60);
  const first = stream(20, { flags: ACK | PSH });
  const second = stream(0, { ports: [1, 2], payload: fill(65_400, 3) });
  const ofSecond = segmentsOf(second);
  lab.giveBundle([...segmentsOf(first), ...ofSecond.slice(0, 20)], COALESCE_TCP);
  t.deepEqual(lab.got.splice(0), [merged(first)]);
  for (let at = 20; at < ofSecond.length; at += 300) lab.giveBundle(ofSecond.slice(at, at + 300), COALESCE_TCP);
  t.deepEqual(lab.flush(), [merged(second)]);
});

test('frames that are not coalesced: each in a slot of its own, the first in the bundle’s', (t) => {
  const lab = new Lab(6);
  const spec = stream(5, { isTcp: false });
  const segments = segmentsOf(spec);
  let least = 99;
  lab.onPacket = () => {
    least = Math.min(least, lab.arena.available);
  };
  t.is(lab.giveBundle(segments, COALESCE_TCP, 3), 0);
  t.is(least, 1);
  t.deepEqual(
    lab.flush(),
    segments.map((segment) => taken(segment, NO_OFFLOAD, 3)),
  );
});

test('too few slots: frames are lost, and counted', (t) => {
  const lab = new Lab(8);
  const spec = stream(7, { isTcp: false });
  const segments = segmentsOf(spec);
  const occupied = [lab.arena.allocate(), lab.arena.allocate(), lab.arena.allocate()];
  t.is(lab.giveBundle(segments, COALESCE_TCP), 2, 'the bundle’s slot and four more');
  for (const slot of occupied) lab.arena.release(slot);
  t.deepEqual(
    lab.flush(),
    segments.slice(0, 5).map((segment) => taken(segment)),
  );
});

test('a frame without a slot still sends on what was held of its flow', (t) => {
  const lab = new Lab(2);
  const spec = stream(2, { ports: [5, 6] });
  const [first, second] = segmentsOf(spec);
  put16(second, 14 + 20 + 14, 77);
  second[second.length - 1] ^= 1;
  lab.give(first, COALESCE_TCP);
  const other = finishedFrame(stream(1));
  t.is(lab.giveBundle([other, second], COALESCE_TCP), 1);
  t.is(lab.coalescer.held, 1);
  t.deepEqual(lab.flush(), [taken(first), taken(other)]);
});

test('thousands of tiny frames: what finds no place is counted, and every slot comes back', (t) => {
  const lab = new Lab(1200);
  const frames = Array.from({ length: 2500 }, (_, i) => Uint8Array.of(...fill(13, i), i & 255));
  const lost = lab.giveBundle(frames, COALESCE_ALL);
  const got = lab.flush();
  t.is(got.length + lost, frames.length);
  t.true(lost > 0 && got.length >= 256, 'twice what the largest bundle has');
  t.deepEqual(
    got.map(({ bytes }) => bytes),
    frames.slice(0, got.length).map(hex),
  );
  const spec = stream(3);
  lab.giveBundle(segmentsOf(spec), COALESCE_ALL);
  t.deepEqual(lab.flush(), [merged(spec)]);
});

test('sizes that contradict each other', (t) => {
  const lab = new Lab(4);
  for (const [stride, prefix] of [
    [8, 8],
    [0, 8],
    [-5, 8],
    [3, 8],
  ]) {
    const packet = load(lab.arena, finishedFrame(stream(1)));
    t.is(lab.splitter.split(packet, packet.start, stride, prefix, packet.start + packet.length, COALESCE_ALL), 1);
  }
  const empty = load(lab.arena, finishedFrame(stream(1)));
  t.is(lab.splitter.split(empty, empty.start, 100, 8, empty.start, COALESCE_ALL), 0);
  t.deepEqual(lab.flush(), []);
});

test('the last frame may have any length', (t) => {
  const lab = new Lab(8);
  const [first, second] = segmentsOf(stream(2));
  for (let length = 1; length < second.length; length++) {
    const last = second.subarray(0, length);
    lab.giveBundle([first, last], COALESCE_ALL);
    const got = lab.flush().map(({ bytes }) => bytes);
    t.deepEqual(got.toSorted(), [hex(first), hex(last)].toSorted());
  }
});
