/** ICMPv6: which errors may be sent, what is in them, and echo replies. */

import test from 'ava';
import fc from 'fast-check';
import { DROP_ICMP_INVALID, DROP_NONE } from '../../../core/drop.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_TCPV6, VNET_GSO_UDP } from '../../../core/packet/vnet.js';
import { isErrorAllowed6, replyEcho6, writeIcmpv6Error } from '../../../core/router/icmpv6.js';
import { parse } from '../../../core/wire/parse.js';
import { authentication, extension, fragmentHeader, tcp, udp } from '../wire/build.js';
import { frame6, HOST6, icmp6, pseudoSum6, ROUTER6, Slots, slowSum, viewOf, type Words } from './icmp-frames.js';

const PING = { type: 128, data: Uint8Array.from({ length: 56 }, (_, at) => at) };
const DATAGRAM = udp({ srcPort: 40000, dstPort: 33434 }, new Uint8Array(12));
const ALL_NODES: Words = [0xff020000 | 0, 0, 0, 1];
const LINK_LOCAL: Words = [0xfe800000 | 0, 0, 0, 3];

function isAllowed(frame: Uint8Array, isTooBig = false): boolean {
  const slots = new Slots();
  return isErrorAllowed6(slots.view, slots.load(frame), isTooBig);
}

function toMac(frame: Uint8Array, ...mac: number[]): Uint8Array {
  const copy = frame.slice();
  copy.set(mac);
  return copy;
}

test('RFC 4443 2.4(e.1), (e.2): no error about an error or a redirect, for all 256 types', (t) => {
  for (let type = 0; type < 256; type++) {
    t.is(isAllowed(icmp6({ type })), type >= 128 && type !== 137, `type ${type}`);
    t.is(isAllowed(icmp6({ type }), true), type >= 128 && type !== 137, `type ${type}, packet too big`);
  }
  t.false(isAllowed(frame6(58, {}, new Uint8Array(7))), 'cut too short to tell');
  t.false(isAllowed(icmp6({ type: 1 }, {}, 60, extension(58))), 'behind an extension header');
});

test('RFC 4443 2.4(e.3): none about a packet to a group, but packet too big and unknown options', (t) => {
  for (const to of [ALL_NODES, [0xff000000 | 0, 0, 0, 0], [-1, -1, -1, -1]] as Words[]) {
    t.false(isAllowed(frame6(17, { to }, DATAGRAM)));
    t.true(isAllowed(frame6(17, { to }, DATAGRAM), true), '3.2: MUST');
  }
  t.true(isAllowed(frame6(17, {}, DATAGRAM)));
});

test('RFC 4443 2.4(e.4), (e.5): none about a packet in a group frame, with the same exceptions', (t) => {
  const frame = frame6(17, {}, DATAGRAM);
  for (const mac of [
    [0x33, 0x33, 0, 0, 0, 1],
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  ]) {
    t.false(isAllowed(toMac(frame, ...mac)));
    t.true(isAllowed(toMac(frame, ...mac), true));
  }
});

test('RFC 4443 2.4(e.6): none to a source that is no single node', (t) => {
  const nobody: Words[] = [
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [0, 0, 0xffff, 0x0a000001],
    ALL_NODES,
    [0xff0e0000 | 0, 0, 0, 5],
  ];
  for (const from of nobody) {
    t.false(isAllowed(frame6(17, { from }, DATAGRAM)), `${from}`);
    t.false(isAllowed(frame6(17, { from }, DATAGRAM), true), `${from}, packet too big`);
  }
  t.true(isAllowed(frame6(17, { from: LINK_LOCAL }, DATAGRAM)), 'link-local: a node on the link');
});

test('RFC 4443 2.4(e): a later fragment is no exception, but ICMPv6 in one may be part of an error', (t) => {
  const later = (nextHeader: number) => frame6(44, {}, fragmentHeader({ nextHeader, offset: 9, more: true }), DATAGRAM);
  t.true(isAllowed(later(17)));
  t.true(isAllowed(later(6), true));
  t.false(isAllowed(later(58)));
  const first = fragmentHeader({ nextHeader: 58, offset: 0, more: true });
  t.true(isAllowed(icmp6(PING, {}, 44, first)));
  t.false(isAllowed(icmp6({ type: 3 }, {}, 44, first)));
});

test('no error about a packet whose header is not to be trusted', (t) => {
  const frame = frame6(17, {}, DATAGRAM);
  viewOf(frame).setUint16(18, 2000); // longer than the frame
  t.false(isAllowed(frame));
  t.false(isAllowed(frame, true));
});

function errorAbout(frame: Uint8Array, type: number, code: number, extra: number): Uint8Array {
  const slots = new Slots();
  const original = slots.load(frame);
  writeIcmpv6Error(slots.arena, slots.error, original, type, code, extra, ...ROUTER6);
  return slots.bytesOf(slots.error);
}

/** Sum over pseudo-header and message of a frame without extension headers: 0xffff where the checksum is right. */
function verify(frame: Uint8Array, end = frame.length): number {
  return slowSum(frame.subarray(54, end), pseudoSum6(frame, end - 54));
}

function words(frame: Uint8Array, at: number): number[] {
  const view = viewOf(frame);
  return [0, 4, 8, 12].map((offset) => view.getInt32(at + offset));
}

test('RFC 4443 2.4, 3: every field of an error', (t) => {
  const frame = frame6(17, { trafficClass: 0x28, hopLimit: 1 }, DATAGRAM);
  const error = errorAbout(frame, 3, 0, 0);
  const view = viewOf(error);
  t.is(error.length, 14 + 40 + 8 + 60);
  t.deepEqual([...error.slice(0, 14)], new Array(14).fill(0xa5), 'the Ethernet header is not touched');
  t.is(view.getInt32(14), 0x60000000);
  t.is(view.getUint16(18), error.length - 54);
  t.deepEqual([error[20], error[21]], [58, 64]);
  t.deepEqual(words(error, 22), [...ROUTER6]);
  t.deepEqual(words(error, 38), [...HOST6]);
  t.deepEqual([error[54], error[55]], [3, 0]);
  t.is(view.getInt32(58), 0);
  t.is(verify(error), 0xffff);
  t.deepEqual(error.slice(62), frame.slice(14), 'the packet as received');
});

test('RFC 4443 3.2, 3.4: MTU and pointer fill the second word', (t) => {
  const frame = frame6(17, {}, DATAGRAM);
  t.deepEqual([...errorAbout(frame, 2, 0, 1280).slice(54, 56)], [2, 0]);
  t.is(viewOf(errorAbout(frame, 2, 0, 1280)).getInt32(58), 1280);
  t.is(viewOf(errorAbout(frame, 2, 0, 65536)).getInt32(58), 65536);
  t.is(viewOf(errorAbout(frame, 4, 1, 40)).getInt32(58), 40);
  t.is(errorAbout(frame, 4, 1, 40)[55], 1);
});

test('RFC 4443 2.4(c): as much of the packet as fits into 1280 bytes, and no link padding', (t) => {
  for (const length of [0, 1, 7, 8, 1191, 1192, 1193, 1400, 9000, 65000]) {
    const frame = frame6(
      253,
      {},
      new Uint8Array(length).map((_, at) => at * 7),
    );
    const padded = new Uint8Array(frame.length + 20).fill(0xee);
    padded.set(frame);
    const error = errorAbout(padded, 1, 3, 0);
    t.is(error.length - 14, Math.min(1280, 40 + 8 + 40 + length), `${length}`);
    t.deepEqual(error.slice(62), frame.slice(14, 14 + error.length - 62), `${length}`);
    t.is(verify(error), 0xffff);
  }
});

test('a segmented super-packet is quoted like any other', (t) => {
  const slots = new Slots();
  const frame = frame6(6, {}, tcp({ srcPort: 1, dstPort: 2 }, new Uint8Array(30_000)));
  const vnet = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 54, checksumOffset: 16 };
  const original = slots.load(frame, { ...vnet, gsoType: VNET_GSO_TCPV6, gsoSize: 1428, headerLength: 74 });
  t.true(isErrorAllowed6(slots.view, original, true));
  writeIcmpv6Error(slots.arena, slots.error, original, 2, 0, 1280, ...ROUTER6);
  const error = slots.bytesOf(slots.error);
  t.is(error.length, 14 + 1280);
  t.deepEqual(error.slice(62), frame.slice(14, 14 + 1232));
  t.is(verify(error), 0xffff);
});

test('any error about any packet has a right checksum and is read back by the parse', (t) => {
  const octets = fc.uint8Array({ maxLength: 1500 });
  const word = fc.integer();
  const address = fc.tuple(word, word, word, word);
  fc.assert(
    fc.property(
      octets,
      fc.nat(255),
      fc.nat(255),
      word,
      address,
      address,
      (payload, type, code, extra, from, source) => {
        const slots = new Slots();
        const original = slots.load(frame6(132, { from }, payload));
        writeIcmpv6Error(slots.arena, slots.error, original, type, code, extra, ...source);
        const error = slots.bytesOf(slots.error);
        t.is(verify(error), 0xffff);
        t.deepEqual(words(error, 22), source);
        t.deepEqual(words(error, 38), from);
        slots.view.setUint16(slots.error.start + 12, 0x86dd);
        t.is(parse(slots.arena, slots.error), DROP_NONE);
        t.is(slots.error.protocol, 58);
        t.is(slots.error.l3End, slots.error.start + slots.error.length);
      },
    ),
  );
});

function answer(frame: Uint8Array, vnet = {}, source: Words = ROUTER6): { reason: number; frame: Uint8Array } {
  const slots = new Slots();
  const packet = slots.load(frame, vnet);
  const reason = replyEcho6(slots.arena, packet, ...source);
  return { reason, frame: slots.bytesOf(packet) };
}

/** What the reply to a request without extension headers must be, byte by byte, its checksum in full. */
function expectedReply(frame: Uint8Array, source: Words = ROUTER6): Uint8Array {
  const reply = frame.slice();
  const view = viewOf(reply);
  const end = 54 + view.getUint16(18);
  reply.copyWithin(38, 22, 38);
  for (const [index, word] of source.entries()) view.setInt32(22 + 4 * index, word);
  reply[21] = 64;
  reply[54] = 129;
  view.setUint16(56, 0);
  view.setUint16(56, ~verify(reply, end) & 0xffff);
  return reply;
}

test('RFC 4443 4.2: the data comes back whole, from the address that was pinged', (t) => {
  const frame = icmp6(PING, { trafficClass: 0x28 });
  const reply = answer(frame);
  t.is(reply.reason, DROP_NONE);
  t.deepEqual(reply.frame, expectedReply(frame));
  t.deepEqual(words(reply.frame, 22), [...ROUTER6]);
  t.deepEqual(words(reply.frame, 38), [...HOST6]);
  t.is(viewOf(reply.frame).getUint32(14), 0x62800000, 'traffic class as in the request');
  t.deepEqual(reply.frame.slice(0, 12), frame.slice(0, 12), 'MACs are the caller’s to swap');
});

test('RFC 4443 4.2: a group that is pinged answers from an address of the interface', (t) => {
  for (const to of [ALL_NODES, [0xff020000 | 0, 0, 0, 2] as const]) {
    const frame = icmp6(PING, { to, from: LINK_LOCAL });
    const source: Words = [0xfe800000 | 0, 0, 0x004200ff, 0xfe000001 | 0];
    const reply = answer(frame, {}, source);
    t.is(reply.reason, DROP_NONE);
    t.deepEqual(reply.frame, expectedReply(frame, source));
    t.is(verify(reply.frame), 0xffff);
  }
});

test('every length from 0 to a whole datagram', (t) => {
  for (const length of [0, 1, 2, 17, 56, 1452, 1453, 9000, 65487]) {
    const frame = icmp6({ type: 128, data: new Uint8Array(length).map((_, at) => at * 13) });
    const reply = answer(frame);
    t.is(reply.reason, DROP_NONE, `${length}`);
    t.deepEqual(reply.frame, expectedReply(frame), `${length}`);
  }
});

test('RFC 1624: any request gives the reply whose checksum is computed in full', (t) => {
  const octets = fc.uint8Array({ maxLength: 200 });
  const word = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 0xffff));
  const address = fc.tuple(word, word, word, word);
  fc.assert(
    fc.property(octets, word, fc.nat(255), address, address, address, (data, rest, code, from, to, source) => {
      const frame = icmp6({ type: 128, code, rest, data }, { from, to });
      const reply = answer(frame, {}, source);
      t.is(reply.reason, DROP_NONE);
      t.deepEqual(reply.frame, expectedReply(frame, source));
    }),
    { numRuns: 500 },
  );
});

test('of all 256 types only echo requests are answered, the others left as they are', (t) => {
  for (let type = 0; type < 256; type++) {
    const frame = icmp6({ ...PING, type });
    const reply = answer(frame);
    t.is(reply.reason, type === 128 ? DROP_NONE : DROP_ICMP_INVALID, `type ${type}`);
    if (type !== 128) t.deepEqual(reply.frame, frame);
  }
});

test('RFC 4443 2.3: a wrong checksum is no request, be a bit of message or pseudo-header wrong', (t) => {
  const frame = icmp6(PING);
  const bits = [...Array(8 * (frame.length - 55)).keys()].map((bit) => bit + 8 * 55);
  for (let bit = 8 * 22; bit < 8 * 54; bit++) bits.push(bit); // addresses
  for (const bit of bits) {
    const wrong = frame.slice();
    wrong[bit >> 3] ^= 1 << (bit & 7);
    t.is(answer(wrong).reason, DROP_ICMP_INVALID, `bit ${bit}`);
  }
});

test('a fragment, a message cut short and another protocol are no request', (t) => {
  const more = fragmentHeader({ nextHeader: 58, offset: 0, more: true });
  t.is(answer(icmp6(PING, {}, 44, more)).reason, DROP_ICMP_INVALID);
  const later = fragmentHeader({ nextHeader: 58, offset: 2, more: false });
  t.is(answer(icmp6(PING, {}, 44, later)).reason, DROP_ICMP_INVALID);
  t.is(answer(frame6(58, {}, Uint8Array.of(128, 0, 0, 0))).reason, DROP_ICMP_INVALID);
  t.is(answer(frame6(17, {}, DATAGRAM)).reason, DROP_ICMP_INVALID);
});

test('RFC 8200 4: a request behind extension headers is answered without them', (t) => {
  const atomic = fragmentHeader({ nextHeader: 58, offset: 0, more: false });
  const rows: [first: number, extensions: Uint8Array[]][] = [
    [0, [extension(58)]],
    [60, [extension(58, 64)]],
    [0, [extension(60), extension(58, 24)]],
    [44, [atomic]],
    [51, [authentication(58, 20)]],
  ];
  for (const [first, extensions] of rows) {
    for (const length of [0, 3, 56, 300]) {
      const message = { type: 128, data: new Uint8Array(length).map((_, at) => at * 11) };
      const slots = new Slots();
      const packet = slots.load(icmp6(message, {}, first, ...extensions));
      t.is(replyEcho6(slots.arena, packet, ...ROUTER6), DROP_NONE);
      const reply = slots.bytesOf(packet);
      t.deepEqual(reply, expectedReply(icmp6(message)), `${first}, ${length}`);
      const { l3, l3End, l4, flags } = packet;
      parse(slots.arena, packet);
      t.deepEqual([l3, l3End, l4, flags], [packet.l3, packet.l3End, packet.l4, packet.flags], 'the handle follows');
    }
  }
});

test('link padding is no part of the message', (t) => {
  const frame = icmp6({ type: 128, data: Uint8Array.of(1, 2, 3) });
  const padded = new Uint8Array(90).fill(0xee);
  padded.set(frame);
  const reply = answer(padded);
  t.is(reply.reason, DROP_NONE);
  t.deepEqual(reply.frame, expectedReply(padded));
});

const PARTIAL = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 54, checksumOffset: 2 };

test('NEEDS_CSUM: the checksum is finished over the pseudo-header’s sum, and the flag gone', (t) => {
  for (const length of [0, 19, 56, 1400]) {
    const slots = new Slots();
    const frame = icmp6({ type: 128, data: new Uint8Array(length).map((_, at) => at * 3) });
    const partial = frame.slice();
    viewOf(partial).setUint16(56, pseudoSum6(frame, frame.length - 54));
    const packet = slots.load(partial, PARTIAL);
    t.is(replyEcho6(slots.arena, packet, ...ROUTER6), DROP_NONE, `${length}`);
    t.deepEqual(slots.bytesOf(packet), expectedReply(frame), `${length}`);
    t.is(packet.vnetFlags, 0);
    t.is(slots.arena.bytes[packet.start - 10], 0, 'in the virtio-net header too');
  }
});

test('NEEDS_CSUM: what was finished is looked at too: a sum over link padding that is not zero is wrong', (t) => {
  const frame = icmp6(PING);
  const partial = (padding: number): Uint8Array => {
    const bytes = Uint8Array.of(...frame, padding, 0);
    viewOf(bytes).setUint16(56, pseudoSum6(frame, frame.length - 54));
    return bytes;
  };
  t.is(answer(partial(0), PARTIAL).reason, DROP_NONE);
  t.is(answer(partial(1), PARTIAL).reason, DROP_ICMP_INVALID);
});

test('NEEDS_CSUM anywhere else than in the message’s checksum is no request, and nothing is written', (t) => {
  const places = [
    { checksumStart: 14, checksumOffset: 4 },
    { checksumStart: 54, checksumOffset: 0 },
    { checksumStart: 55, checksumOffset: 1 },
  ];
  for (const place of places) {
    const frame = icmp6(PING);
    const reply = answer(frame, { ...PARTIAL, ...place });
    t.is(reply.reason, DROP_ICMP_INVALID);
    t.deepEqual(reply.frame, frame);
  }
  const gso = answer(icmp6(PING), { gsoType: VNET_GSO_UDP, gsoSize: 8 });
  t.is(gso.reason, DROP_ICMP_INVALID, 'nor is a segmented one');
});
