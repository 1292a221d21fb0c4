/** The capture ring: what is written is read, in order and whole; what does not fit is counted. */

import test from 'ava';
import fc from 'fast-check';
import { CaptureReader, CaptureWriter, type FrameSource, makeCaptureRing } from '../../control/capture-ring.js';
import type { CapturedFrame } from '../../control/types.js';

/** Bytes of a record before the frame. */
const RECORD = 32;
const WALL = new Int32Array([1_700_000_000, 123_456_789]);
const ALL = Number.POSITIVE_INFINITY;

/** Byte n is n mod 251. */
const memory = new Uint8Array(100_000).map((_, at) => at % 251);

function source(start: number, length: number, more: Partial<FrameSource> = {}): FrameSource {
  return { port: 5, out: false, start, length, checksumStart: 0, checksumOffset: -1, isSuperPacket: false, ...more };
}

function makeRing(size: number): { ring: SharedArrayBuffer; writer: CaptureWriter; reader: CaptureReader } {
  const ring = makeCaptureRing(size);
  return { ring, writer: new CaptureWriter(ring), reader: new CaptureReader(ring) };
}

function drain(reader: CaptureReader): CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  reader.drain((frame) => frames.push(frame), ALL);
  return frames;
}

test('a frame is read as it was written', (t) => {
  const { writer, reader } = makeRing(4096);
  writer.write(memory, source(7, 61, { port: 8191, out: true }), 0, WALL);
  writer.write(memory, source(100, 0), 0, new Int32Array([-1, 5]));
  const [first, second] = drain(reader);
  t.deepEqual(first, {
    port: 8191,
    direction: 'out',
    time: 1_700_000_000_123_456_789n,
    originalLength: 61,
    data: memory.slice(7, 68),
  });
  t.is(second.direction, 'in');
  t.is(second.data.length, 0);
  t.is(second.time, 4_294_967_295_000_000_005n, 'seconds are unsigned: good until 2106');
  t.deepEqual(drain(reader), []);
});

test('what was read stays as it is when the ring is written over', (t) => {
  const { writer, reader } = makeRing(256);
  writer.write(memory, source(0, 64), 0, WALL);
  const [frame] = drain(reader);
  for (let i = 0; i < 20; i++) {
    writer.write(memory, source(1000, 64), 0, WALL);
    drain(reader);
  }
  t.deepEqual(frame.data, memory.slice(0, 64));
});

test('snapLength cuts the bytes, not the length that is told; 0 keeps all', (t) => {
  const { writer, reader } = makeRing(1 << 20);
  for (const snapLength of [0, 1, 59, 60, 61, 1 << 30]) writer.write(memory, source(0, 60), snapLength, WALL);
  const frames = drain(reader);
  t.deepEqual(
    frames.map((frame) => frame.data.length),
    [60, 1, 59, 60, 60, 60],
  );
  t.true(frames.every((frame) => frame.originalLength === 60));
});

test('the reader is told once, until it reads', (t) => {
  const { writer, reader } = makeRing(4096);
  const write = (): boolean => writer.write(memory, source(0, 60), 0, WALL);
  t.deepEqual([write(), write(), write()], [true, false, false]);
  drain(reader);
  t.deepEqual([write(), write()], [true, false]);
});

test('a full ring counts what is lost, keeps what it has, and takes more when there is room', (t) => {
  const { writer, reader } = makeRing(1024);
  const each = RECORD + 64;
  const fits = Math.floor(1024 / each);
  for (let i = 0; i < fits + 3; i++) writer.write(memory, source(i, 64), 0, WALL);
  t.is(reader.lost, 3);
  t.deepEqual(
    drain(reader).map((frame) => frame.data[0]),
    Array.from({ length: fits }, (_, i) => i),
  );
  writer.write(memory, source(40, 64), 0, WALL);
  t.is(drain(reader)[0].data[0], 40);
  t.is(reader.lost, 3);
});

test('a ring that is exactly full is not taken for an empty one', (t) => {
  const { writer, reader } = makeRing(1024);
  for (let i = 0; i < 4; i++) writer.write(memory, source(i, 256 - RECORD), 0, WALL);
  writer.write(memory, source(9, 0), 0, WALL);
  t.is(reader.lost, 1);
  t.is(drain(reader).length, 4);
});

test('a frame larger than the ring is lost, and nothing else', (t) => {
  const { writer, reader } = makeRing(1024);
  for (const length of [1024 - RECORD + 1, 65_549]) {
    writer.write(memory, source(0, length), 0, WALL);
    writer.write(memory, source(3, 60), 0, WALL);
    t.deepEqual(
      drain(reader).map((frame) => frame.data),
      [memory.slice(3, 63)],
    );
  }
  t.is(reader.lost, 2);
});

test('the positions pass 2^31 and 2^32', (t) => {
  for (const before of [0x7fffff00, -256]) {
    const { ring, writer, reader } = makeRing(1024);
    const words = new Int32Array(ring);
    words[0] = before;
    words[1] = before;
    for (let i = 0; i < 40; i++) {
      writer.write(memory, source(i, 100), 0, WALL);
      writer.write(memory, source(i + 1, 37), 0, WALL);
      t.deepEqual(
        drain(reader).map((frame) => frame.data),
        [memory.slice(i, i + 100), memory.slice(i + 1, i + 38)],
      );
    }
    for (let i = 0; i < 10; i++) writer.write(memory, source(0, 300), 0, WALL);
    t.true(reader.lost > 0, 'free room is still known');
  }
});

test('one turn of reading ends, however fast the writer is', (t) => {
  const { writer, reader } = makeRing(4096);
  const write = (): boolean => writer.write(memory, source(0, 60), 0, WALL);
  write();
  let frames = 0;
  const more = reader.drain(() => {
    frames++;
    write();
  }, 100);
  t.is(frames, 100);
  t.true(more);
  t.is(drain(reader).length, 1);
  t.false(
    reader.drain(() => {}, 100),
    'nothing is left',
  );
});

/** Of `bytes`, as the kernel does it: 16-bit words in network order, carries folded in. */
function slowSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

test('the checksum of a whole NEEDS_CSUM frame is completed in the copy alone; one that was cut stays as it is', (t) => {
  const { writer, reader } = makeRing(4096);
  const bytes = memory.slice(0, 200);
  const partial = source(20, 100, { checksumStart: 34, checksumOffset: 16 });
  writer.write(bytes, partial, 0, WALL);
  writer.write(bytes, partial, 99, WALL);
  writer.write(bytes, source(20, 100, { checksumStart: 34, checksumOffset: -1 }), 0, WALL);
  writer.write(bytes, source(20, 100, { checksumStart: 65_535, checksumOffset: 65_535 }), 0, WALL);
  t.deepEqual(bytes, memory.slice(0, 200));
  const [whole, cut, complete, contradicting] = drain(reader);
  const expected = bytes.slice(20, 120);
  const field = ~slowSum(expected.subarray(34)) & 0xffff;
  expected.set([field >> 8, field & 0xff], 50);
  t.deepEqual(whole.data, expected);
  t.deepEqual(cut.data, bytes.slice(20, 119));
  t.deepEqual(complete.data, bytes.slice(20, 120));
  t.deepEqual(contradicting.data, bytes.slice(20, 120));
});

test('the checksum around a tunnel is completed of a super-packet, whose own is to come as well; of a frame it is what was sent', (t) => {
  const { writer, reader } = makeRing(16_384);
  // Ethernet, IPv4 with UDP inside, and a checksum that is to come behind it.
  const bytes = memory.slice(0, 2000);
  bytes.set([0x08, 0x00, 0x45], 12);
  bytes[23] = 17;
  bytes.set([1966 >> 8, 1966 & 255], 38);
  const partial = { checksumStart: 100, checksumOffset: 16 };
  writer.write(bytes, source(0, 2000, partial), 0, WALL);
  writer.write(bytes, source(0, 2000, { ...partial, isSuperPacket: true }), 0, WALL);
  const [frame, superPacket] = drain(reader);
  t.deepEqual(frame.data.subarray(40, 42), bytes.subarray(40, 42));
  t.deepEqual(frame.data.subarray(42), superPacket.data.subarray(42));
  const pseudo = Uint8Array.from([...bytes.subarray(26, 34), 0, 17, ...bytes.subarray(38, 40)]);
  t.is(slowSum(Uint8Array.from([...pseudo, ...superPacket.data.subarray(34)])), 0xffff);
});

test('agrees with a list, whatever is written and however it is read', (t) => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ length: fc.nat(700), snapLength: fc.nat(200) }) },
    { weight: 1, arbitrary: fc.record({ read: fc.nat(5) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer(), (steps, position) => {
      const { ring, writer, reader } = makeRing(1024);
      new Int32Array(ring).fill(position & ~3, 0, 2);
      const expected: string[] = [];
      const found: string[] = [];
      let lost = 0;
      let start = 0;
      for (const step of steps) {
        if ('read' in step) {
          reader.drain((frame) => found.push(`${frame.originalLength} ${frame.data}`), step.read);
          continue;
        }
        const { length, snapLength } = step;
        writer.write(memory, source(start, length), snapLength, WALL);
        const kept = snapLength === 0 ? length : Math.min(length, snapLength);
        if (reader.lost === lost) expected.push(`${length} ${memory.slice(start, start + kept)}`);
        lost = reader.lost;
        start++;
      }
      reader.drain((frame) => found.push(`${frame.originalLength} ${frame.data}`), ALL);
      return found.length === expected.length && found.every((frame, at) => frame === expected[at]);
    }),
  );
  t.pass();
});
