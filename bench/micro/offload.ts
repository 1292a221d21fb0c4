/** Segmentation and coalescing. */

import { Segmenter, segmentIntoSlots } from '../../core/offload/segment.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import type { Packet } from '../../core/packet/packet.js';
import {
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
/** Segments of a packet: as many as a full one has. */
const SEGMENTS = 46;

interface Family {
  readonly isIpv4: boolean;
  readonly isTcp: boolean;
}

const TCP4: Family = { isIpv4: true, isTcp: true };

/** A GSO packet, from host to host; checksums are partial. */
function superPacket(arena: Arena, { isIpv4, isTcp }: Family): Packet {
  const packet = arena.packets[arena.allocate()];
  packet.start = arena.receiveOffset(packet.slot) + VNET_HEADER_LENGTH;
  const l4 = 14 + (isIpv4 ? 20 : 40);
  const headers = l4 + (isTcp ? 32 : 8);
  const bytes = arena.bytes.subarray(packet.start, packet.start + headers + SEGMENTS * SEGMENT);
  for (let i = headers; i < bytes.length; i++) bytes[i] = i * 7;
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

export function offloadCases(): Case[] {
  const target = { bar: 3e9, aim: 6e9 };
  return [
    segmentCase('64 KiB TCP/IPv4', TCP4, target),
    segmentCase('64 KiB TCP/IPv6', { isIpv4: false, isTcp: true }, target),
    segmentCase('64 KiB UDP/IPv4', { isIpv4: true, isTcp: false }, {}),
    segmentIntoSlotsCase(),
  ];
}
