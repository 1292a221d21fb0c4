import test from 'ava';
import fc from 'fast-check';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import {
  checksum,
  completeChecksum,
  completeChecksumIn,
  finishChecksum,
  foldSum,
  MAX_SUM_LENGTH,
  nonZeroChecksum,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
  sumBytes,
  updateChecksum16,
  updateChecksum32,
  updatePartialSum32,
} from '../../../core/packet/checksum.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader, readVnetHeader, VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4 } from '../../../core/packet/vnet.js';
import { createRandom } from '../../support/corpus.js';
import { ethernet, ipv4, ipv6, tcp, udp } from '../wire/build.js';

/** RFC 1071, 1, word by word; the model that the fast one is compared with. */
function slowSum(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) {
    sum += bytes[at] * 256 + (at + 1 < to ? bytes[at + 1] : 0);
    while (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

function randomBytes(length: number, seed: number): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length }, () => random(256));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

test('RFC 1071, 3: the example', (t) => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  t.is(sumBytes(viewOf(bytes), 0, 8), 0xddf2);
  t.is(finishChecksum(0xddf2), 0x220d);
});

test('every length from 0 to 9001 agrees with the slow sum, from even and from odd offsets', (t) => {
  const bytes = randomBytes(9001 + 4, 1);
  const view = viewOf(bytes);
  let compared = 0;
  for (let length = 0; length <= 9001; length++) {
    const at = length & 3;
    if (sumBytes(view, at, length) !== slowSum(bytes, at, at + length)) t.fail(`length ${length} at ${at}`);
    compared++;
  }
  for (let length = 0; length <= 100; length++) {
    for (let at = 0; at < 16; at++) {
      if (sumBytes(view, at, length) !== slowSum(bytes, at, at + length)) t.fail(`length ${length} at ${at}`);
      compared++;
    }
  }
  t.is(compared, 9002 + 101 * 16);
});

test('the accumulators hold at the greatest length of the greatest bytes', (t) => {
  const bytes = new Uint8Array(MAX_SUM_LENGTH + 1);
  const view = viewOf(bytes);
  for (const value of [0xff, 0x80, 0x7f, 0xfe, 0x01]) {
    bytes.fill(value);
    for (const length of [65535, 65536, 65557, MAX_SUM_LENGTH - 1, MAX_SUM_LENGTH]) {
      t.is(sumBytes(view, 0, length), slowSum(bytes, 0, length), `${length} times ${value}`);
      t.is(sumBytes(view, 1, length), slowSum(bytes, 1, 1 + length), `${length} times ${value}, odd offset`);
    }
  }
});

test('only a stretch of zeros sums to 0', (t) => {
  t.is(sumBytes(new DataView(new ArrayBuffer(1500)), 0, 1500), 0);
  t.is(sumBytes(viewOf(new Uint8Array(1500).fill(0xff)), 0, 1500), 0xffff);
});

test('no byte beside the stretch counts', (t) => {
  const bytes = randomBytes(300, 2);
  for (let length = 0; length < 80; length++) {
    const before = sumBytes(viewOf(bytes), 100, length);
    const other = bytes.map((byte, at) => (at < 100 || at >= 100 + length ? ~byte : byte));
    t.is(sumBytes(viewOf(other), 100, length), before);
  }
});

test('folding', (t) => {
  t.is(foldSum(0), 0);
  t.is(foldSum(0xffff), 0xffff);
  t.is(foldSum(0x10000), 1);
  t.is(foldSum(0x1ffff), 1);
  t.is(foldSum(0x7fffffff), 0x7fff, 'the greatest total');
  for (const total of [1, 0x12345, 0x1fffe, 0x7fff8000, 0x7ffe8001]) t.is(foldSum(total), total % 0xffff || 0xffff);
});

test('pseudo-header of IPv4', (t) => {
  const packet = ipv4({ protocol: 6 }, tcp({ srcPort: 1, dstPort: 2 }));
  const written = Uint8Array.of(172, 30, 0, 3, 172, 30, 0, 2, 0, 6, 0, 20);
  t.is(pseudoHeaderSum4(viewOf(packet), 0, 6, 20), slowSum(written));
  const long = Uint8Array.of(172, 30, 0, 3, 172, 30, 0, 2, 0, 17, 0xff, 0xeb);
  t.is(pseudoHeaderSum4(viewOf(packet), 0, 17, 0xffeb), slowSum(long));
});

test('pseudo-header of IPv6', (t) => {
  const packet = ipv6({ nextHeader: 58 });
  const written = new Uint8Array(40);
  written.set(packet.subarray(8, 40));
  written.set([0, 0, 0x12, 0x34, 0, 0, 0, 58], 32);
  t.is(pseudoHeaderSum6(viewOf(packet), 0, 58, 0x1234), slowSum(written));
});

test('checksum of an ICMP echo as ping sends it', (t) => {
  const arena = new Arena(new ArrayBuffer(SLOT_STRIDE));
  arena.bytes.set([8, 0, 0, 0, 0x12, 0x34, 0, 1, 0x61, 0x62, 0x63], 201);
  const expected = ~slowSum(arena.bytes, 201, 212) & 0xffff;
  t.is(checksum(arena, 201, 11, 0), expected);
  t.is(
    checksum(arena, 201, 11, 0x1111),
    ~slowSum(Uint8Array.of(0x11, 0x11, ...arena.bytes.slice(201, 212), 0)) & 0xffff,
  );
});

/** A ten-word header with a word of choice; the others fixed and not all 0. */
function headerWith(word: number): Uint8Array {
  const header = randomBytes(20, 3);
  viewOf(header).setUint16(6, word);
  return header;
}

test('RFC 1624: every 16-bit word, from and to', (t) => {
  const sums = new Uint16Array(65536);
  for (let word = 0; word < 65536; word++) sums[word] = ~slowSum(headerWith(word)) & 0xffff;
  const fixed = [0x0000, 0x0001, 0x00ff, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x1234];
  let compared = 0;
  for (let word = 0; word < 65536; word++) {
    for (const other of fixed) {
      if (updateChecksum16(sums[word], word, other) !== sums[other]) t.fail(`${word} to ${other}`);
      if (updateChecksum16(sums[other], other, word) !== sums[word]) t.fail(`${other} to ${word}`);
      compared += 2;
    }
  }
  t.is(compared, 65536 * 16);
});

test('RFC 1624, 4: the example that equation 2 gets wrong', (t) => {
  t.is(updateChecksum16(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('every checksum of a header is reached by an update, 0x0000 included and 0xffff never', (t) => {
  const base = ~slowSum(headerWith(0)) & 0xffff;
  const reached = new Set<number>();
  for (let word = 0; word < 65536; word++) reached.add(updateChecksum16(base, 0, word));
  t.is(reached.size, 65535);
  t.true(reached.has(0));
  t.false(reached.has(0xffff));
});

test('32-bit update: two 16-bit updates, and the full sum', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 60 }), fc.integer(), fc.nat(4), (bytes, word, index) => {
      bytes[0] = 0x45; // a header is never all zeros
      const at = 4 * index;
      const view = viewOf(bytes);
      const before = ~slowSum(bytes) & 0xffff;
      const old = view.getInt32(at);
      const halves = updateChecksum16(before, old >>> 16, word >>> 16);
      view.setInt32(at, word);
      if (slowSum(bytes) === 0) return; // the word replaced was the 0x45 and all else is 0
      const after = ~slowSum(bytes) & 0xffff;
      t.is(updateChecksum32(before, old, word), after);
      t.is(updateChecksum16(halves, old & 0xffff, word & 0xffff), after);
    }),
  );
  t.is(updateChecksum32(0x1234, -1, -1), 0x1234);
  t.is(updateChecksum32(0x1234, -0x80000000, -0x80000000), 0x1234);
});

interface Loaded {
  arena: Arena;
  packet: Packet;
}

/** The frame in a slot, with a virtio-net header that asks for its checksum. */
function loadPartial(frame: Uint8Array, checksumStart: number, checksumOffset: number): Loaded {
  const arena = new Arena(new ArrayBuffer(SLOT_STRIDE));
  const packet = arena.packets[0];
  packet.start = arena.receiveOffset(0) + VNET_HEADER_LENGTH;
  packet.length = frame.length;
  arena.bytes.fill(0xa5);
  arena.bytes.set(frame, packet.start);
  clearVnetHeader(arena, packet);
  packet.vnetFlags = VNET_F_NEEDS_CSUM;
  packet.checksumStart = checksumStart;
  packet.checksumOffset = checksumOffset;
  return { arena, packet };
}

/** TCP over IPv4 as a sender with checksum offload hands it over: the field holds the pseudo-header's sum. */
function partialTcp4(payload: Uint8Array): Uint8Array {
  const frame = ethernet(0x0800, ipv4({ protocol: 6 }, tcp({ srcPort: 40000, dstPort: 80 }, payload)));
  const view = viewOf(frame);
  view.setUint16(34 + 16, pseudoHeaderSum4(view, 14, 6, 20 + payload.length));
  return frame;
}

/** The sum over pseudo-header and segment: 0xffff where the checksum is right. */
function verifyTcp4(frame: Uint8Array): number {
  const length = frame.length - 34;
  const pseudo = Uint8Array.of(...frame.slice(26, 34), 0, frame[23], length >> 8, length & 0xff);
  return foldSum(slowSum(pseudo) + slowSum(frame, 34));
}

test('completing a NEEDS_CSUM frame, at every payload length', (t) => {
  for (let length = 0; length < 200; length++) {
    const frame = partialTcp4(randomBytes(length, length));
    const { arena, packet } = loadPartial(frame, 34, 16);
    completeChecksum(arena, packet);
    const done = arena.bytes.slice(packet.start, packet.start + packet.length);
    t.is(verifyTcp4(done), 0xffff);
    t.deepEqual(
      done.filter((_, at) => at !== 50 && at !== 51),
      frame.filter((_, at) => at !== 50 && at !== 51),
      'nothing else changes',
    );
    t.is(arena.bytes[packet.start + packet.length], 0xa5);
  }
});

test('completing takes the flag away, in the handle and in the header, and a second time changes nothing', (t) => {
  const { arena, packet } = loadPartial(partialTcp4(randomBytes(100, 9)), 34, 16);
  completeChecksum(arena, packet);
  t.is(packet.vnetFlags, 0);
  const once = arena.bytes.slice();
  readVnetHeader(arena, packet);
  t.is(packet.vnetFlags, 0);
  completeChecksum(arena, packet);
  t.deepEqual(arena.bytes, once);
});

test('a frame without the flag, and a GSO frame, are left alone', (t) => {
  for (const change of [{ vnetFlags: 0 }, { gsoType: VNET_GSO_TCPV4, gsoSize: 1448 }]) {
    const { arena, packet } = loadPartial(partialTcp4(randomBytes(100, 9)), 34, 16);
    Object.assign(packet, change);
    const before = arena.bytes.slice();
    completeChecksum(arena, packet);
    t.deepEqual(arena.bytes, before);
    t.is(packet.vnetFlags, change.vnetFlags ?? VNET_F_NEEDS_CSUM);
  }
});

test('a UDP checksum that comes out as 0 is sent as 0xffff', (t) => {
  t.is(nonZeroChecksum(0), 0xffff);
  t.is(nonZeroChecksum(0xffff), 0xffff);
  t.is(nonZeroChecksum(1), 1);
  const frame = ethernet(0x86dd, ipv6({ nextHeader: 17 }, udp({ srcPort: 1, dstPort: 2 }, new Uint8Array(2))));
  const view = viewOf(frame);
  view.setUint16(60, pseudoHeaderSum6(view, 14, 17, 10));
  view.setUint16(62, ~slowSum(frame, 54) & 0xffff); // the payload makes the sum 0xffff
  const copy = frame.slice();
  t.true(completeChecksumIn(copy, 54, 6));
  t.is(viewOf(copy).getUint16(60), 0xffff);
});

test('link padding of zeros does not change the checksum', (t) => {
  const bare = partialTcp4(randomBytes(3, 5));
  const padded = new Uint8Array(bare.length + 9);
  padded.set(bare);
  t.true(completeChecksumIn(bare, 34, 16));
  t.true(completeChecksumIn(padded, 34, 16));
  t.is(viewOf(padded).getUint16(50), viewOf(bare).getUint16(50));
});

test('the variant for copies gives the same bytes, also in the middle of a larger buffer', (t) => {
  const frame = partialTcp4(randomBytes(333, 6));
  const { arena, packet } = loadPartial(frame, 34, 16);
  completeChecksum(arena, packet);
  const buffer = new Uint8Array(frame.length + 11).fill(0x77);
  buffer.set(frame, 5);
  t.true(completeChecksumIn(buffer.subarray(5, 5 + frame.length), 34, 16));
  t.deepEqual(buffer.slice(5, 5 + frame.length), arena.bytes.slice(packet.start, packet.start + packet.length));
  t.deepEqual([...buffer.slice(0, 5), ...buffer.slice(-6)], new Array(11).fill(0x77));
});

test('a copy that was cut before its checksum field stays as it is', (t) => {
  const frame = partialTcp4(randomBytes(10, 7));
  for (const length of [0, 34, 50, 51]) {
    const cut = frame.slice(0, length);
    t.false(completeChecksumIn(cut, 34, 16));
    t.deepEqual(cut, frame.slice(0, length));
  }
  t.true(completeChecksumIn(frame.slice(0, 52), 34, 16));
});

test('rewriting an address of a NEEDS_CSUM frame updates the partial sum, not a checksum; ports need no update', (t) => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer(),
      fc.nat(65535),
      fc.uint8Array({ maxLength: 64 }),
      (src, dst, port, payload) => {
        const frame = partialTcp4(payload);
        const view = viewOf(frame);
        const partial = updatePartialSum32(view.getUint16(50), view.getInt32(26), src);
        view.setUint16(50, updatePartialSum32(partial, view.getInt32(30), dst));
        view.setInt32(26, src);
        view.setInt32(30, dst);
        view.setUint16(36, port);
        completeChecksumIn(frame, 34, 16);
        t.is(verifyTcp4(frame), 0xffff);
      },
    ),
  );
});

test('the partial sum after an update is the sum of the new pseudo-header', (t) => {
  fc.assert(
    fc.property(fc.integer(), (address) => {
      const frame = partialTcp4(new Uint8Array(8));
      const view = viewOf(frame);
      const updated = updatePartialSum32(view.getUint16(50), view.getInt32(30), address);
      view.setInt32(30, address);
      t.is(updated, pseudoHeaderSum4(view, 14, 6, 28));
    }),
  );
});
