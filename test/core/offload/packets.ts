/** GSO packets for tests of the offload engine, as a kernel hands them on, and what slow and simple code makes of them. */

import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { writeVnetHeader } from '../../../core/packet/vnet.js';
import { authentication, ethernet, extension, ipv4, ipv6, tcp, udp, vlan } from '../wire/build.js';

/** linux/virtio_net.h. */
export const NEEDS_CSUM = 1;
export const TCPV4 = 1;
export const TCPV6 = 4;
export const UDP_L4 = 5;
export const ECN = 0x80;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

export interface PacketSpec {
  isIpv4: boolean;
  isTcp: boolean;
  /** VLAN tags: TCIs from the outermost in. */
  tags: readonly number[];
  /** Bytes of IPv4 options, or number of IPv6 extension headers. */
  extra: number;
  tos: number;
  ttl: number;
  identification: number;
  dontFragment: boolean;
  ports: readonly [number, number];
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  /** TCP options, a multiple of 4. */
  options: Uint8Array;
  payload: Uint8Array;
}

export const PLAIN: PacketSpec = {
  isIpv4: true,
  isTcp: true,
  tags: [],
  extra: 0,
  tos: 0,
  ttl: 64,
  identification: 0x1234,
  dontFragment: true,
  ports: [40000, 80],
  sequence: 0x01020304,
  acknowledgment: 0x05060708,
  flags: ACK,
  window: 502,
  options: Uint8Array.of(1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4),
  payload: new Uint8Array(0),
};

/** Where things stand in a frame made of a spec. */
export interface Layout {
  l3: number;
  l4: number;
  payload: number;
}

export function layoutOf(spec: PacketSpec): Layout {
  const l3 = 14 + 4 * spec.tags.length;
  const l4 = l3 + (spec.isIpv4 ? 20 + spec.extra : 40 + extensions(spec).reduce((sum, part) => sum + part.length, 0));
  return { l3, l4, payload: l4 + (spec.isTcp ? 20 + spec.options.length : 8) };
}

/** Hop-by-hop options, destination options, and an authentication header of a length that is no multiple of 8. */
function extensions({ extra, isTcp }: PacketSpec): Uint8Array[] {
  const last = isTcp ? 6 : 17;
  const next = [60, 51, last];
  next[extra - 1] = last;
  return [extension(next[0], 8), extension(next[1], 16), authentication(last, 28)].slice(0, extra);
}

/** The frame, its checksums finished. */
export function finishedFrame(spec: PacketSpec): Uint8Array {
  const frame = bareFrame(spec);
  finishIpv4(spec, frame);
  finishTransport(spec, frame);
  return frame;
}

/** The frame, its transport checksum field holding the pseudo-header's sum. */
export function partialFrame(spec: PacketSpec): Uint8Array {
  const frame = bareFrame(spec);
  finishIpv4(spec, frame);
  const { l4 } = layoutOf(spec);
  put16(frame, l4 + (spec.isTcp ? 16 : 6), slowSum(pseudoHeader(spec, frame)));
  return frame;
}

function bareFrame(spec: PacketSpec): Uint8Array {
  const protocol = spec.isTcp ? 6 : 17;
  const transport = spec.isTcp
    ? tcp({ srcPort: spec.ports[0], dstPort: spec.ports[1], options: spec.options.length }, spec.payload)
    : udp({ srcPort: spec.ports[0], dstPort: spec.ports[1] }, spec.payload);
  const before = extensions(spec);
  const network = spec.isIpv4
    ? ipv4({ protocol, options: spec.extra, dontFragment: spec.dontFragment }, transport)
    : ipv6({ nextHeader: [protocol, 0, 0, 0][spec.extra] }, ...before, transport);
  const type = spec.isIpv4 ? 0x0800 : 0x86dd;
  let inner: { type: number; bytes: Uint8Array } = { type, bytes: network };
  for (const tag of spec.tags.toReversed()) inner = { type: 0x8100, bytes: vlan(tag, inner.type, inner.bytes) };
  const frame = ethernet(inner.type, inner.bytes);
  const { l3, l4 } = layoutOf(spec);
  if (spec.isIpv4) {
    frame[l3 + 1] = spec.tos;
    put16(frame, l3 + 4, spec.identification);
    frame[l3 + 8] = spec.ttl;
  } else {
    frame[l3] = 0x60 | (spec.tos >> 4);
    frame[l3 + 1] = ((spec.tos << 4) & 0xf0) | 0x05;
    frame[l3 + 7] = spec.ttl;
  }
  if (spec.isTcp) {
    put32(frame, l4 + 4, spec.sequence);
    put32(frame, l4 + 8, spec.acknowledgment);
    frame[l4 + 13] = spec.flags;
    put16(frame, l4 + 14, spec.window);
    frame.set(spec.options, l4 + 20);
  }
  return frame;
}

function finishIpv4(spec: PacketSpec, frame: Uint8Array): void {
  if (!spec.isIpv4) return;
  const { l3 } = layoutOf(spec);
  put16(frame, l3 + 10, 0);
  put16(frame, l3 + 10, slowSum(frame.subarray(l3, l3 + 20 + spec.extra)) ^ 0xffff);
}

function finishTransport(spec: PacketSpec, frame: Uint8Array): void {
  const { l4 } = layoutOf(spec);
  const field = l4 + (spec.isTcp ? 16 : 6);
  put16(frame, field, 0);
  const checksum = slowSum(pseudoHeader(spec, frame), frame.subarray(l4)) ^ 0xffff;
  put16(frame, field, checksum === 0 && !spec.isTcp ? 0xffff : checksum);
}

/** RFC 9293, 3.1; RFC 8200, 8.1. */
function pseudoHeader(spec: PacketSpec, frame: Uint8Array): Uint8Array {
  const { l3, l4 } = layoutOf(spec);
  const addresses = spec.isIpv4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
  const rest = new Uint8Array(8);
  put32(rest, 0, frame.length - l4);
  rest[7] = spec.isTcp ? 6 : 17;
  return Uint8Array.of(...addresses, ...rest);
}

/** RFC 1071, word by word. */
export function slowSum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const bytes of parts) {
    for (let at = 0; at < bytes.length; at += 2) {
      sum += bytes[at] * 256 + (at + 1 < bytes.length ? bytes[at + 1] : 0);
      while (sum > 0xffff) sum -= 0xffff;
    }
  }
  return sum;
}

/** The segments that a sender without segmentation offload would have sent: each made anew from the spec. */
export function slowSegments(spec: PacketSpec, size: number): Uint8Array[] {
  const segments: Uint8Array[] = [];
  for (let at = 0; at < spec.payload.length; at += size) {
    const isFirst = at === 0;
    const isLast = at + size >= spec.payload.length;
    let flags = spec.flags;
    if (!isLast) flags &= ~(FIN | PSH);
    if (!isFirst) flags &= ~CWR;
    segments.push(
      finishedFrame({
        ...spec,
        flags,
        identification: (spec.identification + at / size) & 0xffff,
        sequence: (spec.sequence + at) >>> 0,
        payload: spec.payload.subarray(at, at + size),
      }),
    );
  }
  return segments;
}

export interface VnetSpec {
  vnetFlags: number;
  gsoType: number;
  headerLength: number;
  gsoSize: number;
  checksumStart: number;
  checksumOffset: number;
}

export const NO_OFFLOAD: VnetSpec = {
  vnetFlags: 0,
  gsoType: 0,
  headerLength: 0,
  gsoSize: 0,
  checksumStart: 0,
  checksumOffset: 0,
};

/** As the kernel says it of a GSO packet. */
export function gsoOf(spec: PacketSpec, gsoSize: number): VnetSpec {
  const { l4, payload } = layoutOf(spec);
  const ecn = spec.isTcp && (spec.flags & CWR) !== 0 ? ECN : 0;
  const type = spec.isTcp ? (spec.isIpv4 ? TCPV4 : TCPV6) : UDP_L4;
  return {
    vnetFlags: NEEDS_CSUM,
    gsoType: type | ecn,
    headerLength: payload,
    gsoSize,
    checksumStart: l4,
    checksumOffset: spec.isTcp ? 16 : 6,
  };
}

/** What a slot holds that nobody wrote. */
const FILL = 0xa5;

export function makeArena(slots: number): Arena {
  const arena = new Arena(new ArrayBuffer(slots * SLOT_STRIDE));
  arena.bytes.fill(FILL);
  return arena;
}

/** A frame in a slot of its own, as a port hands it on. */
export function load(arena: Arena, frame: Uint8Array, vnet: VnetSpec = NO_OFFLOAD, port = 1): Packet {
  const packet = arena.packets[arena.allocate()];
  packet.start = arena.receiveOffset(packet.slot) + VNET_HEADER_LENGTH;
  packet.length = frame.length;
  packet.port = port;
  arena.bytes.set(frame, packet.start);
  Object.assign(packet, vnet);
  writeVnetHeader(arena, packet);
  return packet;
}

/** A copy of a packet's frame. */
export function bytesOf(arena: Arena, packet: Packet): Uint8Array {
  return arena.bytes.slice(packet.start, packet.start + packet.length);
}

export function vnetOf({ vnetFlags, gsoType, headerLength, gsoSize, checksumStart, checksumOffset }: Packet): VnetSpec {
  return { vnetFlags, gsoType, headerLength, gsoSize, checksumStart, checksumOffset };
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value >> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
}
