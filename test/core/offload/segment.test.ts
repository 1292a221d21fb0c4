/** Segments of GSO packets: each is the one that slow and simple code makes. */

import test from 'ava';
import fc from 'fast-check';
import { DROP_NO_SLOT, DROP_NONE, DROP_VNET_HEADER } from '../../../core/drop.js';
import { Segmenter, segmentIntoSlots } from '../../../core/offload/segment.js';
import { type Arena, SLOT_STRIDE } from '../../../core/packet/arena.js';
import { readVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';
import { readWithTshark } from '../corpus/tshark.js';
import {
  ACK,
  bytesOf,
  CWR,
  ECE,
  FIN,
  finishedFrame,
  gsoOf,
  load,
  makeArena,
  NO_OFFLOAD,
  type PacketSpec,
  PLAIN,
  PSH,
  partialFrame,
  put16,
  RST,
  SYN,
  slowSegments,
  slowSum,
  URG,
  type VnetSpec,
  vnetOf,
} from './packets.js';
import { packetSpecs } from './specs.js';

const ARENA = makeArena(300);
const SEGMENTER = new Segmenter(ARENA);
const SLOTS = new Int32Array(256);

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Cuts a packet into slots and takes the frames out of them; all slots are free again. */
function cut(arena: Arena, frame: Uint8Array, vnet: VnetSpec): Uint8Array[] {
  const packet = load(arena, frame, vnet);
  if (parse(arena, packet) !== DROP_NONE) throw new Error('the packet does not parse');
  const count = segmentIntoSlots(arena, SEGMENTER, packet, SLOTS);
  const segments: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    segments.push(bytesOf(arena, arena.packets[SLOTS[i]]));
    arena.release(SLOTS[i]);
  }
  if (text(bytesOf(arena, packet)) !== text(frame)) throw new Error('the packet has changed');
  arena.release(packet.slot);
  if (arena.available !== arena.slotCount) throw new Error('slots are lost');
  return count < 0 ? [] : segments;
}

/** -1, or the number of segments. */
function begin(spec: PacketSpec, change: Partial<VnetSpec>, size = 100, frame = partialFrame(spec)): number {
  const packet = load(ARENA, frame, { ...gsoOf(spec, 100), ...change });
  parse(ARENA, packet);
  const count = SEGMENTER.begin(packet, size);
  ARENA.release(packet.slot);
  return count;
}

function payload(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);
}

test('every segment of a random packet is the one that the slow way makes', (t) => {
  fc.assert(
    fc.property(packetSpecs(), ({ spec, size }) => {
      const segments = cut(ARENA, partialFrame(spec), gsoOf(spec, size)).map(text);
      t.deepEqual(segments, slowSegments(spec, size).map(text));
    }),
    { numRuns: 300 },
  );
});

test('a packet whose checksum is finished, or void, gives the same segments', (t) => {
  fc.assert(
    fc.property(packetSpecs(), fc.boolean(), ({ spec, size }, isVoid) => {
      const frame = finishedFrame(spec);
      if (isVoid) put16(frame, gsoOf(spec, size).checksumStart + gsoOf(spec, size).checksumOffset, 0xabcd);
      const segments = cut(ARENA, frame, { ...gsoOf(spec, size), vnetFlags: 0 }).map(text);
      t.deepEqual(segments, slowSegments(spec, size).map(text));
    }),
    { numRuns: 50 },
  );
});

test('no payload byte is lost or made: their sums agree', (t) => {
  fc.assert(
    fc.property(packetSpecs(), ({ spec, size }) => {
      const segments = cut(ARENA, partialFrame(spec), gsoOf(spec, size));
      const headers = gsoOf(spec, size).headerLength;
      const whole = Buffer.concat(segments.map((segment) => segment.subarray(headers)));
      return whole.length === spec.payload.length && slowSum(whole) === slowSum(spec.payload);
    }),
    { numRuns: 50 },
  );
  t.pass();
});

test('TCP in smaller segments than the sender asked for', (t) => {
  const spec = { ...PLAIN, payload: payload(3000), flags: ACK | PSH | FIN };
  const packet = load(ARENA, partialFrame(spec), gsoOf(spec, 1448));
  parse(ARENA, packet);
  t.is(SEGMENTER.begin(packet, 700), 5);
  t.is(SEGMENTER.frameLength, 66 + 700);
  t.is(SEGMENTER.lastLength, 66 + 200);
  const at = ARENA.receiveOffset(ARENA.slotCount - 1);
  slowSegments(spec, 700).forEach((expected, index) => {
    const length = SEGMENTER.write(index, at);
    t.is(text(ARENA.bytes.slice(at, at + length)), text(expected));
  });
  ARENA.release(packet.slot);
});

test('one segment is as long as the last', (t) => {
  const spec = { ...PLAIN, payload: payload(99) };
  t.is(begin(spec, {}), 1);
  t.deepEqual([SEGMENTER.frameLength, SEGMENTER.lastLength], [66 + 99, 66 + 99]);
  t.is(begin({ ...PLAIN, payload: payload(100) }, {}), 1);
  t.is(begin({ ...PLAIN, payload: payload(101) }, {}), 2);
  t.deepEqual([SEGMENTER.frameLength, SEGMENTER.lastLength], [66 + 100, 66 + 1]);
});

test('flags, sequence numbers and identifications of a packet that has all of them', (t) => {
  const spec = {
    ...PLAIN,
    payload: payload(350),
    flags: ACK | PSH | FIN | CWR | ECE,
    sequence: 0xffffff80,
    identification: 0xfffe,
  };
  const segments = cut(ARENA, partialFrame(spec), gsoOf(spec, 100)).map((bytes) => new DataView(bytes.buffer));
  t.deepEqual(
    segments.map((view) => view.getUint8(14 + 20 + 13)),
    [ACK | ECE | CWR, ACK | ECE, ACK | ECE, ACK | ECE | PSH | FIN],
  );
  t.deepEqual(
    segments.map((view) => view.getUint32(14 + 20 + 4)),
    [0xffffff80, 0xffffffe4, 0x48, 0xac],
  );
  t.deepEqual(
    segments.map((view) => view.getUint16(14 + 4)),
    [0xfffe, 0xffff, 0, 1],
  );
});

test('the greatest packets there are', (t) => {
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      const spec = { ...PLAIN, isIpv4, isTcp };
      const room = 65_535 - (isIpv4 ? 20 : 40);
      const whole = { ...spec, payload: payload(room - (isTcp ? 32 : 8)) };
      const size = 1400;
      const segments = cut(ARENA, partialFrame(whole), gsoOf(whole, size)).map(text);
      t.deepEqual(segments, slowSegments(whole, size).map(text));
    }
  }
});

test('link padding behind the packet is no payload', (t) => {
  const spec = { ...PLAIN, payload: payload(250) };
  const padded = Buffer.concat([partialFrame(spec), payload(33)]);
  const segments = cut(ARENA, padded, gsoOf(spec, 100)).map(text);
  t.deepEqual(segments, slowSegments(spec, 100).map(text));
});

test('a UDP checksum that comes out as 0 is sent as the other zero; one of TCP is not', (t) => {
  for (const isTcp of [true, false]) {
    const spec = { ...PLAIN, isTcp, payload: new Uint8Array(200) };
    // Two bytes of the payload take up what is left to a sum of 0xffff.
    const first = slowSegments(spec, 100)[0];
    const field = gsoOf(spec, 100).checksumStart + gsoOf(spec, 100).checksumOffset;
    const missing = (first[field] << 8) | first[field + 1];
    put16(spec.payload, 0, missing);
    const segment = cut(ARENA, partialFrame(spec), gsoOf(spec, 100))[0];
    t.is((segment[field] << 8) | segment[field + 1], isTcp ? 0 : 0xffff);
  }
});

test('what contradicts itself is not cut', (t) => {
  const spec = { ...PLAIN, payload: payload(300) };
  t.is(begin(spec, {}), 3);
  t.is(begin(spec, { gsoType: 0 }), -1, 'no GSO');
  t.is(begin(spec, { gsoType: 3 }), -1, 'UDP fragmentation');
  t.is(begin(spec, { gsoType: 4 }), -1, 'TCPv6 over IPv4');
  t.is(begin(spec, { gsoType: 5 }), -1, 'UDP of TCP');
  t.is(begin(spec, {}, 0), -1, 'size 0');
  t.is(begin(spec, {}, -5), -1, 'size below 0');
  t.is(begin(spec, {}, 101), -1, 'above the size that the sender asked for');
  t.is(begin(spec, { checksumStart: 33 }), -1, 'checksum of something else');
  t.is(begin(spec, { checksumOffset: 6 }), -1, 'another field');
  t.is(begin({ ...spec, flags: ACK | SYN }, {}), -1, 'SYN');
  t.is(begin({ ...spec, flags: ACK | RST }, {}), 3, 'RST with data (RFC 9293, 3.5.3)');
  t.is(begin({ ...spec, flags: ACK | URG }, {}), 3);
  t.is(begin({ ...spec, payload: payload(0) }, {}), -1, 'no payload');
  const fragment = partialFrame(spec);
  fragment[14 + 6] = 0x20;
  t.is(begin(spec, {}, 100, fragment), -1, 'a fragment');
  const six = { ...spec, isIpv4: false };
  t.is(begin(six, {}), 3);
  t.is(begin(six, { gsoType: 1 }), -1, 'TCPv4 over IPv6');
});

test('a UDP packet that contradicts itself is not cut', (t) => {
  const spec = { ...PLAIN, isTcp: false, payload: payload(300) };
  t.is(begin(spec, {}), 3);
  t.is(begin(spec, {}, 99), -1, 'its datagrams are the sender’s');
  t.is(begin(spec, { gsoType: 1 }), -1, 'TCP of UDP');
  t.is(begin(spec, { checksumOffset: 16 }), -1, 'another field');
  for (const length of [0, 7, 8, 307, 309]) {
    const frame = partialFrame(spec);
    put16(frame, 14 + 20 + 4, length);
    t.is(begin(spec, {}, 100, frame), -1, `length ${length}`);
  }
});

test('no truncation makes it cut what is not there', (t) => {
  let cutUp = 0;
  const refused: number[] = [];
  const after = 64;
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      const spec = { ...PLAIN, isIpv4, isTcp, tags: [5], payload: payload(300) };
      const whole = partialFrame(spec);
      for (let length = 0; length <= whole.length; length++) {
        const packet = load(ARENA, whole.subarray(0, length), gsoOf(spec, 100));
        if (parse(ARENA, packet) === DROP_NONE) {
          const count = segmentIntoSlots(ARENA, SEGMENTER, packet, SLOTS);
          if (count < 0) refused.push(packet.reason);
          else cutUp++;
          for (let i = 0; i < count; i++) {
            const segment = ARENA.packets[SLOTS[i]];
            const end = segment.start + segment.length;
            t.true(end + after <= (segment.slot + 1) * SLOT_STRIDE);
            ARENA.release(segment.slot);
          }
        }
        ARENA.release(packet.slot);
      }
    }
  }
  t.is(cutUp, 4, 'the whole ones');
  t.true(refused.length > 1000 && refused.every((reason) => reason === DROP_VNET_HEADER));
  t.is(ARENA.available, ARENA.slotCount);
});

test('slots: in order, with what the doors of the dataplane read; and too few of them', (t) => {
  const spec = { ...PLAIN, payload: payload(1000) };
  const arena = makeArena(12);
  const segmenter = new Segmenter(arena);
  const packet = load(arena, partialFrame(spec), gsoOf(spec, 100), 7);
  parse(arena, packet);
  Object.assign(packet, { network: 3, domain: 4, outPort: 9 });
  t.is(segmentIntoSlots(arena, segmenter, packet, SLOTS), 10);
  for (let i = 0; i < 10; i++) {
    const segment = arena.packets[SLOTS[i]];
    t.deepEqual([segment.port, segment.network, segment.domain, segment.outPort], [7, 3, 4, 9]);
    t.is(arena.referenceCount(segment.slot), 1);
    readVnetHeader(arena, segment);
    t.deepEqual(vnetOf(segment), NO_OFFLOAD);
  }
  t.is(arena.available, 1);
  packet.reason = DROP_NONE;
  t.is(segmentIntoSlots(arena, segmenter, packet, SLOTS), -1);
  t.is(packet.reason, DROP_NO_SLOT);
  t.is(arena.available, 1, 'none was taken');
  for (let i = 0; i < 10; i++) arena.release(SLOTS[i]);
  packet.reason = DROP_NONE;
  t.is(segmentIntoSlots(arena, segmenter, packet, new Int32Array(9)), -1);
  t.is(packet.reason, DROP_NO_SLOT);
  t.is(arena.available, 11);
});

test('tshark finds every checksum and length good', (t) => {
  const frames: Uint8Array[] = [];
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      for (const extra of isIpv4 ? [0, 8] : [0, 2]) {
        const spec = { ...PLAIN, isIpv4, isTcp, extra, tags: extra === 0 ? [] : [42], payload: payload(5001) };
        frames.push(...cut(ARENA, partialFrame(spec), gsoOf(spec, 1398)));
      }
    }
  }
  t.is(frames.length, 8 * 4);
  for (const row of readWithTshark(frames)) {
    t.deepEqual(row['_ws.malformed'], []);
    t.deepEqual([...row['tcp.checksum.status'], ...row['udp.checksum.status']], ['1']);
    if (row['ip.hdr_len'].length > 0) t.deepEqual(row['ip.checksum.status'], ['1']);
  }
});
