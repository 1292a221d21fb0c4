/** Segmentation and coalescing. */

import { COALESCE_ALL, Coalescer, type CoalescerSink } from '../../core/offload/coalesce.js';
import { Segmenter, segmentIntoSlots } from '../../core/offload/segment.js';
import { Splitter } from '../../core/offload/split.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import { pseudoHeaderSum4, pseudoHeaderSum6, updateChecksum16 } from '../../core/packet/checksum.js';
import type { Packet } from '../../core/packet/packet.js';
import {
  clearVnetHeader,
  VNET_F_NEEDS_CSUM,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP_L4,
  writeVnetHeader,
} from '../../core/packet/vnet.js';
import { parse } from '../../core/wire/parse.js';
import type { Case } from './suite.js';

/** Payload bytes a segment inside a tunnel over 1,500 bytes: 1,450 less IPv4 (20) and TCP with timestamps (32). */
const SEGMENT = 1398;
const FILL = 0x5a;
/** Segments of a packet: as many as a full one has. */
const SEGMENTS = 46;

interface Family {
  readonly isIpv4: boolean;
  readonly isTcp: boolean;
}

const TCP4: Family = { isIpv4: true, isTcp: true };
const TCP6: Family = { isIpv4: false, isTcp: true };
const UDP4: Family = { isIpv4: true, isTcp: false };

/** A GSO packet, from host to host; checksums are partial. */
function superPacket(arena: Arena, { isIpv4, isTcp }: Family, segments = SEGMENTS): Packet {
  const packet = arena.packets[arena.allocate()];
  packet.start = arena.receiveOffset(packet.slot) + VNET_HEADER_LENGTH;
  const l4 = 14 + (isIpv4 ? 20 : 40);
  const headers = l4 + (isTcp ? 32 : 8);
  const bytes = arena.bytes.subarray(packet.start, packet.start + headers + segments * SEGMENT);
  for (let i = headers; i < bytes.length; i++) bytes[i] = FILL;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  bytes.set([2, 0x42, 0, 0, 0, 1, 2, 0x42, 0, 0, 0, 2]);
  if (isIpv4) {
    bytes.set([0x08, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, isTcp ? 6 : 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 12);
    view.setUint16(16, bytes.length - 14);
  } else {
    bytes.set([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, isTcp ? 6 : 17, 64, 0xfd], 12);
    bytes[53] = 1;
    view.setUint16(18, bytes.length - 54);
  }
  view.setUint32(l4, 0x9c400050);
  if (isTcp) bytes.set([0x80, 0x10, 1, 0xf6, 0, 0, 0, 0, 1, 1, 8, 10], l4 + 12);
  else view.setUint16(l4 + 4, bytes.length - l4);
  packet.length = bytes.length;
  packet.port = 1;
  packet.vnetFlags = VNET_F_NEEDS_CSUM;
  packet.gsoType = isTcp ? (isIpv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6) : VNET_GSO_UDP_L4;
  packet.headerLength = headers;
  packet.gsoSize = SEGMENT;
  packet.checksumStart = l4;
  packet.checksumOffset = isTcp ? 16 : 6;
  writeVnetHeader(arena, packet);
  parse(arena, packet);
  const pseudoHeaderSum = isIpv4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  const sum = pseudoHeaderSum(arena.view, packet.l3, packet.protocol, packet.length - l4);
  arena.view.setUint16(packet.l4 + packet.checksumOffset, sum);
  return packet;
}

/** A packet cut back to back, as a tunnel's super-packets are filled. */
function segmentCase(name: string, family: Family, target: Pick<Case, 'bar' | 'aim'>): Case {
  const arena = new Arena(new ArrayBuffer(8 * SLOT_STRIDE));
  const segmenter = new Segmenter(arena);
  const packets = [superPacket(arena, family), superPacket(arena, family)];
  const to = [4, 5].map((slot) => arena.receiveOffset(slot));
  let written = 0;
  let calls = 0;
  return {
    name: `segments of ${name}, back to back`,
    unit: 'bytes',
    perCall: SEGMENTS * SEGMENT,
    ...target,
    run: () => {
      const count = segmenter.begin(packets[calls & 1], SEGMENT);
      let at = to[calls & 1];
      for (let index = 0; index < count; index++) at += segmenter.write(index, at) - packets[0].headerLength;
      written += at - to[calls & 1];
      calls++;
    },
    check: () => written === calls * SEGMENTS * SEGMENT,
  };
}

function segmentIntoSlotsCase(): Case {
  const arena = new Arena(new ArrayBuffer(64 * SLOT_STRIDE));
  const segmenter = new Segmenter(arena);
  const packet = superPacket(arena, TCP4);
  const slots = new Int32Array(SEGMENTS);
  let lost = 0;
  return {
    name: 'segments of 64 KiB TCP/IPv4, each in a slot',
    unit: 'bytes',
    perCall: SEGMENTS * SEGMENT,
    run: () => {
      lost += SEGMENTS - segmentIntoSlots(arena, segmenter, packet, slots);
      for (let i = 0; i < SEGMENTS; i++) arena.release(slots[i]);
    },
    check: () => lost === 0,
  };
}

/** Takes packets from a coalescer, and gives their slots back. */
class Count implements CoalescerSink {
  packets = 0;
  bytes = 0;
  private readonly arena: Arena;

  constructor(arena: Arena) {
    this.arena = arena;
  }

  coalesced(packet: Packet): void {
    this.packets++;
    this.bytes += packet.length;
    this.arena.release(packet.slot);
  }
}

/** A batch: the segments of one packet of each flow, in turn, from slots of their own; all checksums are verified. */
function coalesceCase(name: string, family: Family, flows: number, target: Pick<Case, 'bar' | 'aim'>): Case {
  const arena = new Arena(new ArrayBuffer((SEGMENTS + 4) * SLOT_STRIDE));
  const sink = new Count(arena);
  const coalescer = new Coalescer(arena, sink);
  const each = Math.floor(SEGMENTS / flows);
  const packet = superPacket(arena, family, each);
  const slots = new Int32Array(SEGMENTS);
  segmentIntoSlots(arena, new Segmenter(arena), packet, slots.subarray(0, each));
  const order: Packet[] = [];
  for (let i = 0; i < each; i++) {
    for (let flow = 0; flow < flows; flow++) {
      const segment = arena.packets[flow === 0 ? slots[i] : arena.allocate()];
      if (flow > 0) copyOfFlow(arena, arena.packets[slots[i]], segment, packet, flow);
      order.push(segment);
    }
  }
  const lengths = order.map(({ length }) => length);
  const heads = order.slice(0, flows);
  const before = heads.map(({ start }) => arena.bytes.slice(start - VNET_HEADER_LENGTH, start + packet.headerLength));
  let calls = 0;
  return {
    name: `coalescing, ${name}`,
    unit: 'segments',
    perCall: order.length,
    ...target,
    run: () => {
      for (let i = 0; i < order.length; i++) {
        const segment = order[i];
        segment.length = lengths[i];
        arena.retain(segment.slot, 1);
        coalescer.add(segment, COALESCE_ALL);
      }
      coalescer.flush();
      // What was made of the first ones' headers is undone.
      for (let flow = 0; flow < flows; flow++) arena.bytes.set(before[flow], heads[flow].start - VNET_HEADER_LENGTH);
      calls++;
    },
    check: () => sink.packets === calls * flows,
  };
}

/** Segments without payload: what coalescing costs a packet that it cannot merge. */
function passCase(): Case {
  const arena = new Arena(new ArrayBuffer(4 * SLOT_STRIDE));
  const sink = new Count(arena);
  const coalescer = new Coalescer(arena, sink);
  const packet = superPacket(arena, TCP4);
  packet.length = packet.headerLength;
  arena.view.setUint16(packet.l3 + 2, packet.headerLength - 14);
  clearVnetHeader(arena, packet);
  let calls = 0;
  return {
    name: 'coalescing, TCP/IPv4, acknowledgments pass',
    unit: 'packets',
    perCall: SEGMENTS,
    run: () => {
      arena.retain(packet.slot, SEGMENTS);
      for (let i = 0; i < SEGMENTS; i++) coalescer.add(packet, COALESCE_ALL);
      calls++;
    },
    check: () => sink.packets === calls * SEGMENTS,
  };
}

/** The same segment of another flow, cut from a packet: its source port is larger, and its checksum smaller, by as much. */
function copyOfFlow(
  arena: Arena,
  from: Packet,
  to: Packet,
  { checksumStart: l4, checksumOffset }: Packet,
  flow: number,
): void {
  to.start = arena.receiveOffset(to.slot) + VNET_HEADER_LENGTH;
  to.length = from.length;
  to.port = from.port;
  arena.bytes.copyWithin(to.start, from.start, from.start + from.length);
  clearVnetHeader(arena, to);
  const field = to.start + l4 + checksumOffset;
  arena.view.setUint16(to.start + l4, arena.view.getUint16(from.start + l4) + flow);
  arena.view.setUint16(field, updateChecksum16(arena.view.getUint16(field), 0, flow));
}

/** A bundle of the segments of one packet, taken apart and merged in place. */
function splitCase(name: string, family: Family, target: Pick<Case, 'bar' | 'aim'>): Case {
  const prefix = 8;
  const count = SEGMENTS - 2;
  const arena = new Arena(new ArrayBuffer(8 * SLOT_STRIDE));
  const sink = new Count(arena);
  const coalescer = new Coalescer(arena, sink);
  const splitter = new Splitter(arena, coalescer);
  const segmenter = new Segmenter(arena);
  const packet = superPacket(arena, family, count);
  segmenter.begin(packet, SEGMENT);
  const stride = segmenter.frameLength + prefix;
  const bundle = arena.packets[arena.allocate()];
  const first = arena.receiveOffset(bundle.slot) + 60;
  for (let i = 0; i < count; i++) segmenter.write(i, first + i * stride);
  // All payload bytes are alike: where they have moved down, only headers have to be put back.
  const headers: Uint8Array[] = [];
  for (let at = first; headers.length < count; at += stride)
    headers.push(arena.bytes.slice(at, at + packet.headerLength));
  let calls = 0;
  return {
    name: `bundle of ${name}, taken apart and coalesced`,
    unit: 'segments',
    perCall: count,
    ...target,
    run: () => {
      for (let i = 0; i < count; i++) arena.bytes.set(headers[i], first + i * stride);
      arena.retain(bundle.slot, 1);
      splitter.split(bundle, first, stride, prefix, first + count * stride - prefix, COALESCE_ALL);
      coalescer.flush();
      calls++;
    },
    check: () => sink.packets === calls && sink.bytes === calls * packet.length,
  };
}

export function offloadCases(): Case[] {
  const target = { bar: 3e9, aim: 6e9 };
  const quick = { bar: 3e6 };
  return [
    segmentCase('64 KiB TCP/IPv4', TCP4, target),
    segmentCase('64 KiB TCP/IPv6', TCP6, target),
    segmentCase('64 KiB UDP/IPv4', UDP4, {}),
    segmentIntoSlotsCase(),
    coalesceCase('TCP/IPv4', TCP4, 1, quick),
    coalesceCase('TCP/IPv6', TCP6, 1, quick),
    coalesceCase('UDP/IPv4', UDP4, 1, {}),
    coalesceCase('TCP/IPv4, 8 flows in turn', TCP4, 8, {}),
    passCase(),
    splitCase('TCP/IPv4', TCP4, quick),
    splitCase('TCP/IPv6', TCP6, quick),
  ];
}
