import test from 'ava';
import fc from 'fast-check';
import { DROP_FRAGMENT_INVALID, DROP_NO_SLOT } from '../../../core/drop.js';
import type { Arena } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../../../core/packet/vnet.js';
import { fragment4 } from '../../../core/router/fragment.js';
import { createRandom } from '../../support/corpus.js';
import { ethernet, type Ipv4Fields, ipv4 } from '../wire/build.js';
import { createArena, frameOf, isHeaderSumRight, isTransportSumRight4, load, viewOf, withHeaderSum } from './slots.js';

const slots = new Int32Array(2000);

function randomBytes(length: number, seed: number): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length }, () => random(256));
}

/** An IPv4 frame with these options and a right header checksum. */
function frameWith(payload: Uint8Array, options: number[] = [], fields: Partial<Ipv4Fields> = {}): Uint8Array {
  const frame = ethernet(0x0800, ipv4({ protocol: 253, options: options.length, ...fields }, payload));
  frame.set(options, 34);
  return withHeaderSum(frame);
}

/** Cuts a packet; returns the fragments' frames and gives the slots back. */
function cut(arena: Arena, packet: Packet, mtu: number): Uint8Array[] {
  const count = fragment4(arena, packet, mtu, slots);
  const frames: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    frames.push(frameOf(arena, arena.packets[slots[i]]));
    arena.release(slots[i]);
  }
  return frames;
}

function cutFrame(frame: Uint8Array, mtu: number): Uint8Array[] {
  const arena = createArena(150);
  const frames = cut(arena, load(arena, frame), mtu);
  if (arena.available !== arena.slotCount - 1) throw new Error('slots got lost');
  return frames;
}

const headerLength = (frame: Uint8Array) => (frame[14] & 15) * 4;
const totalLength = (frame: Uint8Array) => viewOf(frame).getUint16(16);
const flagsAndOffset = (frame: Uint8Array) => viewOf(frame).getUint16(20);
const payloadOf = (frame: Uint8Array) => frame.slice(14 + headerLength(frame));

/** Slow reference: puts each fragment's payload at its offset. */
function join(frames: Uint8Array[]): Uint8Array {
  const bytes: number[] = [];
  for (const frame of frames) {
    const offset = (flagsAndOffset(frame) & 0x1fff) * 8;
    payloadOf(frame).forEach((byte, i) => {
      bytes[offset + i] = byte;
    });
  }
  return Uint8Array.from(bytes);
}

test('RFC 791, 3.2: 1480 bytes of payload through an MTU of 576 are 552, 552 and 376', (t) => {
  const frames = cutFrame(frameWith(randomBytes(1480, 1)), 576);
  t.deepEqual(
    frames.map((frame) => payloadOf(frame).length),
    [552, 552, 376],
  );
  t.deepEqual(frames.map(flagsAndOffset), [0x2000, 0x2000 | 69, 138]);
});

test('RFC 791, 3.2: the last fragment may fill the MTU, the others only a multiple of 8', (t) => {
  const frames = cutFrame(frameWith(randomBytes(48 + 48 + 7, 1)), 68);
  t.deepEqual(
    frames.map((frame) => totalLength(frame)),
    [68, 68, 27],
  );
  const exact = cutFrame(frameWith(randomBytes(1480 + 1483, 1)), 1503);
  t.deepEqual(
    exact.map((frame) => totalLength(frame)),
    [1500, 1503],
  );
});

test('RFC 791, 3.1: options with the copied flag go into every fragment, the others into the first alone', (t) => {
  const stream = [136, 4, 0x12, 0x34];
  const options = [7, 7, 4, 0, 0, 0, 0, 1, ...stream, 148, 4, 0, 0, 68, 4, 5, 0, 130, 3, 9, 0];
  const frames = cutFrame(frameWith(randomBytes(300, 2), options), 100);
  t.true(frames.length > 3);
  t.deepEqual([...frames[0].slice(34, 14 + headerLength(frames[0]))], options);
  for (const frame of frames.slice(1)) {
    t.deepEqual([...frame.slice(34, 14 + headerLength(frame))], [...stream, 148, 4, 0, 0, 130, 3, 9, 0]);
  }
});

test('what follows a broken option, or the end of the list, is not copied', (t) => {
  for (const [options, later] of [
    [
      [136, 4, 1, 2, 130, 1, 136, 4],
      [136, 4, 1, 2],
    ],
    [
      [136, 4, 1, 2, 130, 0, 136, 4],
      [136, 4, 1, 2],
    ],
    [
      [136, 4, 1, 2, 130, 200, 136, 4],
      [136, 4, 1, 2],
    ],
    [
      [1, 136, 4, 1, 2, 0, 136, 2],
      [136, 4, 1, 2],
    ],
    [[1, 1, 1, 130], []],
  ]) {
    const frames = cutFrame(frameWith(randomBytes(300, 2), options), 100);
    t.deepEqual([...frames[1].slice(34, 14 + headerLength(frames[1]))], later);
  }
});

test('RFC 1812, 5.2.6: a fragment is cut into fragments of the same datagram', (t) => {
  const first = cutFrame(frameWith(randomBytes(800, 3), [], { offset: 100, more: true }), 420);
  t.deepEqual(first.map(flagsAndOffset), [0x2000 | 100, 0x2000 | 150]);
  const last = cutFrame(frameWith(randomBytes(801, 3), [], { offset: 100 }), 420);
  t.deepEqual(last.map(flagsAndOffset), [0x2000 | 100, 0x2000 | 150, 200]);
  t.is(new Set([...first, ...last].map((frame) => viewOf(frame).getUint16(18))).size, 1);
});

test('RFC 1812, 5.2.5: type of service, reserved flag, TTL, protocol and addresses are those of the packet', (t) => {
  const frame = frameWith(randomBytes(500, 4));
  frame[15] = 0xb9;
  frame[20] |= 0x80;
  for (const fragment of cutFrame(withHeaderSum(frame), 200)) {
    t.is(fragment[15], 0xb9);
    t.is(fragment[20] & 0xc0, 0x80);
    t.deepEqual(fragment.slice(22, 24), frame.slice(22, 24));
    t.deepEqual(fragment.slice(26, 34), frame.slice(26, 34));
    t.deepEqual(fragment.slice(0, 14), frame.slice(0, 14));
  }
});

test('property: the fragments fit, sum up, do not overlap, and make the payload; the packet stays as it is', (t) => {
  const arena = createArena(300);
  fc.assert(
    fc.property(
      fc.integer({ min: 1500, max: 20_000 }),
      fc.integer({ min: 150, max: 1500 }),
      fc.nat(10),
      (length, mtu, words) => {
        const frame = frameWith(randomBytes(length, length), new Array(words * 4).fill(1));
        const packet = load(arena, frame);
        const frames = cut(arena, packet, mtu);
        t.deepEqual(frameOf(arena, packet), frame);
        arena.release(packet.slot);
        let reached = 0;
        for (const fragment of frames) {
          t.true(totalLength(fragment) <= mtu);
          t.is(fragment.length, totalLength(fragment) + 14);
          t.true(isHeaderSumRight(fragment));
          t.is((flagsAndOffset(fragment) & 0x1fff) * 8, reached);
          reached += payloadOf(fragment).length;
          t.is((flagsAndOffset(fragment) & 0x2000) !== 0, reached < length);
        }
        t.deepEqual(join(frames), payloadOf(frame));
        t.is(arena.available, arena.slotCount);
      },
    ),
    { numRuns: 150 },
  );
});

test('property: fragments of fragments make the same payload', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 500, max: 5000 }),
      fc.integer({ min: 300, max: 1000 }),
      fc.integer({ min: 68, max: 299 }),
      (length, mtu, smaller) => {
        const frame = frameWith(randomBytes(length, length));
        const frames = cutFrame(frame, mtu).flatMap((fragment) =>
          totalLength(fragment) > smaller ? cutFrame(fragment, smaller) : [fragment],
        );
        t.deepEqual(join(frames), payloadOf(frame));
        t.deepEqual(
          frames.filter((fragment) => (flagsAndOffset(fragment) & 0x2000) === 0),
          frames.slice(-1),
        );
      },
    ),
    { numRuns: 100 },
  );
});

test('a checksum that was still to come is completed before the payload is cut', (t) => {
  const datagram = randomBytes(2000, 7);
  const view = viewOf(datagram);
  view.setUint16(4, 2000);
  const frame = frameWith(datagram, [], { protocol: 17 });
  viewOf(frame).setUint16(40, 0);
  const pseudo = [172 * 256 + 30, 3, 172 * 256 + 30, 2, 17, 2000].reduce((sum, word) => sum + word, 0);
  viewOf(frame).setUint16(40, (pseudo & 0xffff) + (pseudo >>> 16));
  const arena = createArena(20);
  const packet = load(arena, frame, { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: 6 });
  const count = fragment4(arena, packet, 600, slots);
  const frames = Array.from(slots.subarray(0, count), (slot) => frameOf(arena, arena.packets[slot]));
  const whole = Uint8Array.from([...frame.slice(0, 34), ...join(frames)]);
  t.true(isTransportSumRight4(whole));
  for (const slot of slots.subarray(0, count)) t.is(arena.packets[slot].vnetFlags, 0);
});

test('a fragment is ready for the doors: place, port, and a clear virtio-net header', (t) => {
  const arena = createArena(20);
  const packet = load(arena, frameWith(randomBytes(1000, 1)));
  Object.assign(packet, { port: 7, network: 3, domain: 4, tag: 0, vlan: -1, outPort: 9, reason: 5 });
  const count = fragment4(arena, packet, 600, slots);
  t.is(count, 2);
  for (const slot of slots.subarray(0, count)) {
    const { port, network, domain, tag, vlan, outPort, reason, start } = arena.packets[slot];
    t.deepEqual(
      { port, network, domain, tag, vlan, outPort, reason },
      { port: 7, network: 3, domain: 4, tag: 0, vlan: -1, outPort: 9, reason: 0 },
    );
    t.deepEqual([...arena.bytes.slice(start - 10, start)], new Array(10).fill(0));
    t.is(arena.referenceCount(slot), 1);
  }
});

test('link padding behind the packet is not cut along', (t) => {
  const frame = frameWith(randomBytes(500, 1));
  const padded = new Uint8Array(frame.length + 20).fill(0x77);
  padded.set(frame);
  t.deepEqual(cutFrame(padded, 300), cutFrame(frame, 300));
});

test('65,535 bytes through 576 are 119 fragments', (t) => {
  const frames = cutFrame(frameWith(randomBytes(65_515, 5)), 576);
  t.is(frames.length, 119);
});

test('where the arena or the list has too few slots, none is kept', (t) => {
  const frame = frameWith(randomBytes(1000, 1));
  for (const [free, list] of [
    [2, 10],
    [10, 2],
    [0, 10],
    [10, 0],
  ]) {
    const arena = createArena(free + 1);
    const packet = load(arena, frame);
    t.is(fragment4(arena, packet, 300, new Int32Array(list)), -1);
    t.is(packet.reason, DROP_NO_SLOT);
    t.is(arena.available, free);
  }
});

test('a fragment that reaches beyond 65,535 bytes is not cut, and neither is anything for a link that IPv4 does not have', (t) => {
  for (const [frame, mtu] of [
    [frameWith(randomBytes(1000, 1), [], { offset: 8100 }), 576],
    [frameWith(randomBytes(1000, 1), new Array(40).fill(1)), 67],
    [frameWith(randomBytes(1000, 1)), 27],
    [frameWith(randomBytes(1000, 1)), 0],
  ] as const) {
    const arena = createArena(150);
    const packet = load(arena, frame);
    t.is(fragment4(arena, packet, mtu, slots), -1);
    t.is(packet.reason, DROP_FRAGMENT_INVALID);
    t.is(arena.available, 149);
  }
});
