/** ICMP: which errors may be sent, what is in them, and echo replies. */

import test from 'ava';
import fc from 'fast-check';
import { DROP_ICMP_INVALID, DROP_IP_OPTIONS, DROP_NONE } from '../../../core/drop.js';
import { VNET_F_DATA_VALID, VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4, VNET_GSO_UDP } from '../../../core/packet/vnet.js';
import {
  ICMP_ADMIN_PROHIBITED,
  ICMP_FRAGMENTATION_NEEDED,
  isErrorAllowed4,
  replyEcho4,
  writeIcmpError,
} from '../../../core/router/icmp.js';
import { parse } from '../../../core/wire/parse.js';
import { tcp, udp } from '../wire/build.js';
import { frame4, HOST4, type Ipv4Patch, icmp4, ROUTER4, Slots, slowSum, viewOf } from './icmp-frames.js';

const PING = { type: 8, data: Uint8Array.from({ length: 56 }, (_, at) => at) };
const DATAGRAM = udp({ srcPort: 40000, dstPort: 33434 }, new Uint8Array(12));

function isAllowed(frame: Uint8Array): boolean {
  const slots = new Slots();
  return isErrorAllowed4(slots.view, slots.load(frame));
}

/** The same frame to another MAC. */
function toMac(frame: Uint8Array, ...mac: number[]): Uint8Array {
  const copy = frame.slice();
  copy.set(mac);
  return copy;
}

test('RFC 1812 4.3.2.7: no error about an ICMP error, for all 256 types', (t) => {
  const about = new Set([0, 1, 2, 6, 7, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]);
  for (let type = 0; type < 256; type++) t.is(isAllowed(icmp4({ type })), about.has(type), `type ${type}`);
});

test('RFC 1812 4.3.2.7: no error about a message cut too short to tell', (t) => {
  t.false(isAllowed(frame4(1, {}, new Uint8Array(7))));
  t.true(isAllowed(frame4(17, {}, new Uint8Array(7))), 'UDP is no error, however short');
});

test('RFC 1812 4.3.2.7: no error about a packet to a multicast or broadcast address', (t) => {
  for (const to of [0xe0000001, 0xefffffff, 0xffffffff]) t.false(isAllowed(frame4(17, { to: to | 0 }, DATAGRAM)));
  t.true(isAllowed(frame4(17, { to: 0xdfffffff | 0 }, DATAGRAM)));
});

test('RFC 1812 4.3.2.7: no error about a packet in a broadcast or multicast frame', (t) => {
  const frame = frame4(17, {}, DATAGRAM);
  t.true(isAllowed(frame));
  t.false(isAllowed(toMac(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)));
  t.false(isAllowed(toMac(frame, 0x01, 0x00, 0x5e, 0x00, 0x00, 0x01)));
});

test('RFC 1812 4.3.2.7: no error to a source that is no single host', (t) => {
  for (const from of [0, 0x00010203, 0x7f000001, 0xe0000001, 0xf0000001, 0xffffffff]) {
    t.false(isAllowed(frame4(17, { from: from | 0 }, DATAGRAM)), `${from}`);
  }
  t.true(isAllowed(frame4(17, { from: 0xa9fe0001 | 0 }, DATAGRAM)), 'link-local: a host on the link');
});

test('RFC 1812 4.3.2.7: no error about a later fragment, but about the first', (t) => {
  t.true(isAllowed(frame4(17, { more: true }, DATAGRAM)));
  t.false(isAllowed(frame4(17, { more: true, offset: 1 }, DATAGRAM)));
  t.false(isAllowed(frame4(17, { offset: 100 }, DATAGRAM)));
});

test('no error about a packet whose header is not to be trusted', (t) => {
  const frame = frame4(17, {}, DATAGRAM);
  viewOf(frame).setUint16(16, 2000); // longer than the frame
  t.false(isAllowed(frame));
});

interface Written {
  /** The whole error frame; its first 14 bytes are the caller's to write. */
  frame: Uint8Array;
  original: Uint8Array;
}

function errorAbout(frame: Uint8Array, type: number, code: number, extra: number, identification?: number): Written {
  const slots = new Slots();
  const original = slots.load(frame);
  writeIcmpError(slots.arena, slots.error, original, type, code, extra, ROUTER4, identification);
  return { frame: slots.bytesOf(slots.error), original: slots.bytesOf(original) };
}

test('RFC 1812 4.3.2: every field of an error', (t) => {
  const frame = frame4(17, { tos: 0x28, ttl: 1, to: 0x08080808 }, DATAGRAM);
  const { frame: error, original } = errorAbout(frame, 11, 0, 0, 0xbeef);
  const view = viewOf(error);
  t.is(error.length, 14 + 20 + 8 + 40);
  t.deepEqual([...error.slice(0, 14)], new Array(14).fill(0xa5), 'the Ethernet header is not touched');
  t.is(error[14], 0x45);
  t.is(error[15], 0xc0, 'RFC 1812 4.3.2.5: precedence 6');
  t.is(view.getUint16(16), error.length - 14);
  t.is(view.getUint16(18), 0xbeef);
  t.is(view.getUint16(20), 0, 'DF clear, no fragment');
  t.is(error[22], 64);
  t.is(error[23], 1);
  t.is(slowSum(error.slice(14, 34)), 0xffff, 'header checksum');
  t.is(view.getInt32(26), ROUTER4);
  t.is(view.getInt32(30), HOST4);
  t.deepEqual([error[34], error[35]], [11, 0]);
  t.is(slowSum(error.slice(34)), 0xffff, 'ICMP checksum');
  t.is(view.getInt32(38), 0);
  t.deepEqual(error.slice(42), frame.slice(14), 'RFC 1812 4.3.2.3: the packet as received');
  t.deepEqual(original, frame, 'and left as it was');
  t.is(slowSum(error.slice(42, 62)), 0xffff, 'so that its header checksum verifies');
});

test('RFC 1191 4: the next MTU in the lower half; RFC 792: the pointer in the upper octet', (t) => {
  const frame = frame4(17, { dontFragment: true }, DATAGRAM);
  t.deepEqual([...errorAbout(frame, 3, ICMP_FRAGMENTATION_NEEDED, 1280).frame.slice(34, 36)], [3, 4]);
  t.deepEqual([...errorAbout(frame, 3, ICMP_FRAGMENTATION_NEEDED, 1280).frame.slice(38, 42)], [0, 0, 5, 0]);
  t.deepEqual([...errorAbout(frame, 12, 0, 20 << 24).frame.slice(38, 42)], [20, 0, 0, 0]);
  t.deepEqual([...errorAbout(frame, 12, 0, 200 << 24).frame.slice(38, 42)], [200, 0, 0, 0]);
  t.is(errorAbout(frame, 3, ICMP_ADMIN_PROHIBITED, 0).frame[35], 13);
});

test('RFC 1812 4.3.2.3: as much of the packet as fits into 576 bytes, and no link padding', (t) => {
  for (const length of [0, 1, 7, 8, 100, 519, 520, 521, 1400, 9000, 65000]) {
    const payload = new Uint8Array(length + 8).map((_, at) => at * 7);
    const frame = frame4(47, {}, payload);
    const padded = new Uint8Array(frame.length + 20).fill(0xee);
    padded.set(frame);
    const { frame: error } = errorAbout(padded, 3, 1, 0);
    t.is(error.length - 14, Math.min(576, 20 + 8 + 20 + 8 + length), `${length}`);
    t.deepEqual(error.slice(42), frame.slice(14, 14 + error.length - 42), `${length}`);
    t.is(slowSum(error.slice(34)), 0xffff);
  }
});

test('the shortest packet there is makes no frame below the least length', (t) => {
  const { frame } = errorAbout(frame4(253, {}), 3, 2, 0);
  t.is(frame.length, 62);
});

test('options are quoted with their header, behind VLAN tags too', (t) => {
  const frame = frame4(17, { options: new Uint8Array(40).fill(1) }, DATAGRAM);
  t.deepEqual(errorAbout(frame, 12, 0, 0).frame.slice(42), frame.slice(14));
  const tagged = new Uint8Array(frame.length + 4);
  tagged.set(frame.subarray(0, 12));
  tagged.set([0x81, 0x00, 0x00, 0x05], 12);
  tagged.set(frame.subarray(12), 16);
  t.deepEqual(errorAbout(tagged, 11, 0, 0).frame.slice(42), frame.slice(14));
});

test('a segmented super-packet is quoted like any other', (t) => {
  const slots = new Slots();
  const frame = frame4(6, { dontFragment: true }, tcp({ srcPort: 1, dstPort: 2 }, new Uint8Array(30_000)));
  const vnet = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: 16 };
  const original = slots.load(frame, { ...vnet, gsoType: VNET_GSO_TCPV4, gsoSize: 1448, headerLength: 54 });
  t.true(isErrorAllowed4(slots.view, original));
  writeIcmpError(slots.arena, slots.error, original, 3, 4, 1280, ROUTER4);
  const error = slots.bytesOf(slots.error);
  t.is(error.length, 14 + 576);
  t.deepEqual(error.slice(42), frame.slice(14, 14 + 548));
  t.is(slowSum(error.slice(34)), 0xffff);
});

test('any error about any packet has right checksums and is read back by the parse', (t) => {
  const octets = fc.uint8Array({ maxLength: 1500 });
  const word = fc.integer();
  fc.assert(
    fc.property(
      octets,
      fc.nat(255),
      fc.nat(255),
      word,
      word,
      fc.nat(0xffff),
      (payload, type, code, extra, source, id) => {
        const slots = new Slots();
        const original = slots.load(frame4(132, {}, payload));
        writeIcmpError(slots.arena, slots.error, original, type, code, extra, source, id);
        const error = slots.bytesOf(slots.error);
        t.is(slowSum(error.slice(14, 34)), 0xffff);
        t.is(slowSum(error.slice(34)), 0xffff);
        slots.view.setUint16(slots.error.start + 12, 0x0800);
        t.is(parse(slots.arena, slots.error), DROP_NONE);
        t.is(slots.error.protocol, 1);
        t.is(slots.error.l3End, slots.error.start + slots.error.length);
      },
    ),
  );
});

interface Answer {
  reason: number;
  frame: Uint8Array;
}

function answer(frame: Uint8Array, vnet = {}, source = ROUTER4): Answer {
  const slots = new Slots();
  const packet = slots.load(frame, vnet);
  const reason = replyEcho4(slots.arena, packet, source);
  return { reason, frame: slots.bytesOf(packet) };
}

/** What the reply must be, byte by byte, every checksum in full. */
function expectedReply(frame: Uint8Array, source = ROUTER4): Uint8Array {
  const reply = frame.slice();
  const view = viewOf(reply);
  const end = 14 + view.getUint16(16);
  const l4 = 14 + (reply[14] & 0x0f) * 4;
  view.setInt32(30, view.getInt32(26));
  view.setInt32(26, source);
  view.setUint16(20, 0);
  reply[22] = 64;
  reply[l4] = 0;
  view.setUint16(24, 0);
  view.setUint16(24, ~slowSum(reply.subarray(14, l4)) & 0xffff);
  view.setUint16(l4 + 2, 0);
  view.setUint16(l4 + 2, ~slowSum(reply.subarray(l4, end)) & 0xffff);
  return reply;
}

test('RFC 1812 4.3.3.6: the data comes back whole, from the address that was pinged', (t) => {
  const frame = icmp4(PING, { tos: 0x28, ttl: 1, dontFragment: true });
  const reply = answer(frame);
  t.is(reply.reason, DROP_NONE);
  t.deepEqual(reply.frame, expectedReply(frame));
  t.is(viewOf(reply.frame).getInt32(26), ROUTER4);
  t.is(viewOf(reply.frame).getInt32(30), HOST4);
  t.is(reply.frame[15], 0x28, 'RFC 1812 4.3.2.5: TOS as in the request');
  t.is(viewOf(reply.frame).getUint16(20), 0, 'DF clear');
  t.deepEqual(reply.frame.slice(0, 12), frame.slice(0, 12), 'MACs are the caller’s to swap');
});

test('RFC 1812 4.3.3.6: every length from 0 to a whole datagram', (t) => {
  for (const length of [0, 1, 2, 17, 56, 1472, 1473, 9000, 65507]) {
    const data = new Uint8Array(length).map((_, at) => at * 13);
    const frame = icmp4({ type: 8, data });
    const reply = answer(frame);
    t.is(reply.reason, DROP_NONE, `${length}`);
    t.deepEqual(reply.frame, expectedReply(frame), `${length}`);
  }
});

test('RFC 1624: any request gives the reply whose checksums are computed in full', (t) => {
  const octets = fc.uint8Array({ maxLength: 200 });
  const word = fc.integer();
  fc.assert(
    fc.property(octets, word, fc.nat(255), fc.nat(255), word, (data, rest, code, tos, source) => {
      const frame = icmp4({ type: 8, code, rest, data }, { tos });
      const reply = answer(frame, {}, source);
      t.is(reply.reason, DROP_NONE);
      const expected = expectedReply(frame, source);
      // 0 and 0xffff say the same wherever a word is not 0, and 0xffff is what is sent.
      t.is(slowSum(reply.frame.slice(34)), 0xffff);
      t.deepEqual(withoutIcmpChecksum(reply.frame), withoutIcmpChecksum(expected));
      const sum = viewOf(expected).getUint16(36);
      t.is(viewOf(reply.frame).getUint16(36), sum === 0 ? 0xffff : sum);
    }),
    { numRuns: 500 },
  );
});

function withoutIcmpChecksum(frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  copy.fill(0, 36, 38);
  return copy;
}

test('RFC 1624: every checksum that a request can have', (t) => {
  const slots = new Slots();
  let replied = 0;
  for (let word = 0; word < 0x10000; word++) {
    const packet = slots.load(icmp4({ type: 8, rest: word }));
    if (replyEcho4(slots.arena, packet, ROUTER4) !== DROP_NONE) t.fail(`word ${word}`);
    if (slowSum(slots.bytesOf(packet).subarray(34)) !== 0xffff) t.fail(`word ${word}`);
    replied++;
  }
  t.is(replied, 0x10000);
});

test('RFC 1071: a reply whose every word is 0 has the checksum 0xffff, with which alone it verifies', (t) => {
  const reply = answer(icmp4({ type: 8, rest: 0, data: new Uint8Array(16) }));
  t.is(reply.reason, DROP_NONE);
  t.is(viewOf(reply.frame).getUint16(36), 0xffff);
});

test('RFC 1812 4.3.2.1: of all 256 types only echo requests are answered, the others left as they are', (t) => {
  for (let type = 0; type < 256; type++) {
    const frame = icmp4({ ...PING, type });
    const reply = answer(frame);
    t.is(reply.reason, type === 8 ? DROP_NONE : DROP_ICMP_INVALID, `type ${type}`);
    if (type !== 8) t.deepEqual(reply.frame, frame);
  }
});

test('RFC 792: a wrong checksum is no request, whichever bit is wrong', (t) => {
  const frame = icmp4(PING);
  for (let bit = 8; bit < 8 * (frame.length - 34); bit++) {
    const wrong = frame.slice();
    wrong[34 + (bit >> 3)] ^= 1 << (bit & 7);
    t.is(answer(wrong).reason, DROP_ICMP_INVALID, `bit ${bit}`);
  }
});

test('a checksum of 0xffff for 0 verifies as well', (t) => {
  // The words of the message without the checksum sum to 0xffff.
  const frame = icmp4({ type: 8, rest: 0xf7ff0000 | 0 });
  t.is(viewOf(frame).getUint16(36), 0);
  viewOf(frame).setUint16(36, 0xffff);
  const reply = answer(frame);
  t.is(reply.reason, DROP_NONE);
  t.is(slowSum(reply.frame.slice(34)), 0xffff);
});

test('link padding is no part of the message', (t) => {
  const frame = icmp4({ type: 8, data: Uint8Array.of(1, 2, 3) });
  const padded = new Uint8Array(60).fill(0xee);
  padded.set(frame);
  const reply = answer(padded);
  t.is(reply.reason, DROP_NONE);
  t.deepEqual(reply.frame, expectedReply(padded));
});

test('a fragment, a message cut short and another protocol are no request', (t) => {
  t.is(answer(icmp4(PING, { more: true })).reason, DROP_ICMP_INVALID);
  t.is(answer(icmp4(PING, { offset: 3 })).reason, DROP_ICMP_INVALID);
  t.is(answer(frame4(1, {}, Uint8Array.of(8, 0, 0xf7, 0xff))).reason, DROP_ICMP_INVALID);
  t.is(answer(frame4(17, {}, DATAGRAM)).reason, DROP_ICMP_INVALID);
});

/** A request whose sender leaves the checksum to others; its field holds 0, since ICMP has no pseudo-header. */
function partialPing(length: number): Uint8Array {
  const frame = icmp4({ type: 8, data: new Uint8Array(length).map((_, at) => at * 3) });
  viewOf(frame).setUint16(36, 0);
  return frame;
}

const PARTIAL = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: 2 };

test('NEEDS_CSUM: the checksum is finished, and the flag gone', (t) => {
  for (const length of [18, 19, 56, 1400]) {
    const slots = new Slots();
    const frame = partialPing(length);
    const packet = slots.load(frame, PARTIAL);
    t.is(replyEcho4(slots.arena, packet, ROUTER4), DROP_NONE, `${length}`);
    t.deepEqual(slots.bytesOf(packet), expectedReply(frame), `${length}`);
    t.is(packet.vnetFlags, 0);
    t.is(slots.arena.bytes[packet.start - 10], 0, 'in the virtio-net header too');
  }
});

test('NEEDS_CSUM anywhere else than in the message’s checksum is no request, and nothing is written', (t) => {
  const places = [
    { checksumStart: 14, checksumOffset: 2 },
    { checksumStart: 34, checksumOffset: 0 },
    { checksumStart: 34, checksumOffset: 6 },
    { checksumStart: 35, checksumOffset: 1 },
    { checksumStart: 36, checksumOffset: 0 },
  ];
  for (const place of places) {
    const frame = icmp4(PING);
    const reply = answer(frame, { ...PARTIAL, ...place });
    t.is(reply.reason, DROP_ICMP_INVALID);
    t.deepEqual(reply.frame, frame);
  }
  const gso = answer(icmp4(PING), { gsoType: VNET_GSO_UDP, gsoSize: 8 });
  t.is(gso.reason, DROP_ICMP_INVALID, 'nor is a segmented one');
});

test('DATA_VALID is the kernel’s word, and verified all the same', (t) => {
  t.is(answer(icmp4(PING), { vnetFlags: VNET_F_DATA_VALID }).reason, DROP_NONE);
  const wrong = icmp4(PING);
  wrong[50] ^= 1;
  t.is(answer(wrong, { vnetFlags: VNET_F_DATA_VALID }).reason, DROP_ICMP_INVALID);
});

function withOptions(...octets: number[]): Ipv4Patch {
  const options = new Uint8Array(Math.ceil(octets.length / 4) * 4);
  options.set(octets);
  return { options };
}

test('RFC 1812 4.3.3.6: record route and timestamp come back as they are', (t) => {
  const route = [7, 11, 8, 172, 30, 0, 1, 0, 0, 0, 0];
  const stamps = [68, 8, 5, 0, 0, 0, 0, 0];
  const behindEnd = [0, 131, 7, 4];
  for (const row of [[1, 1, 1, 1], [...route, 0], [1, ...route], stamps, [...stamps, ...route, 0], behindEnd]) {
    const frame = icmp4(PING, withOptions(...row));
    const reply = answer(frame);
    t.is(reply.reason, DROP_NONE, `${row}`);
    t.deepEqual(reply.frame, expectedReply(frame), `${row}`);
  }
});

test('RFC 7126: a request with a source route, an option of unknown meaning or a malformed one is refused', (t) => {
  const rows = [
    [131, 7, 4, 10, 0, 0, 1, 0],
    [137, 7, 4, 10, 0, 0, 1, 0],
    [1, 131, 7, 4, 10, 0, 0, 1],
    [148, 4, 0, 0],
    [130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [68, 8, 5, 0],
    [7, 0, 0, 0],
    [7, 1, 0, 0],
    [7, 5, 4, 0],
    [1, 1, 1, 7],
    [68, 255, 5, 0],
  ];
  for (const row of rows) {
    const frame = icmp4(PING, withOptions(...row));
    const reply = answer(frame);
    t.is(reply.reason, DROP_IP_OPTIONS, `${row}`);
    t.deepEqual(reply.frame, frame);
  }
});

test('any options: read to the end of the header and no farther', (t) => {
  const kinds = fc.constantFrom(0, 1, 7, 68, 131, 2, 3, 4, 8, 255);
  fc.assert(
    fc.property(fc.array(kinds, { minLength: 4, maxLength: 40 }), (octets) => {
      const options = Uint8Array.from(octets.slice(0, octets.length & ~3));
      const reply = answer(icmp4(PING, { options }));
      t.is(reply.reason, slowOptions([...options]) ? DROP_NONE : DROP_IP_OPTIONS, `${options}`);
    }),
    { numRuns: 1000 },
  );
});

/** Whether all options may come back, by taking them off the front. */
function slowOptions(left: number[]): boolean {
  if (left.length === 0 || left[0] === 0) return true;
  if (left[0] === 1) return slowOptions(left.slice(1));
  if (left[0] !== 7 && left[0] !== 68) return false;
  if (left.length < 2 || left[1] < 2 || left[1] > left.length) return false;
  return slowOptions(left.slice(left[1]));
}
