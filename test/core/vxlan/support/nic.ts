/**
 * What a network card makes of a frame and its virtio-net header: whole frames of the wire, checksums finished, super-packets cut
 * (Linux' tcp_gso_segment, __udp_gso_segment, inet_gso_segment, slowly and by the RFCs' own numbers). Shares nothing with core/.
 *
 * Super-packets inside a UDP tunnel, which have a longer header, are in tunnel-nic.ts.
 */

import { pseudoHeader, sumOf } from './outer.js';
import { TUNNEL_HEADER, tunnelFrames } from './tunnel-nic.js';

export const NEEDS_CSUM = 1;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
export const GSO_ECN = 0x80;

const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;

export interface VirtioHeader {
  readonly flags: number;
  /** Without GSO_ECN. */
  readonly type: number;
  readonly isEcn: boolean;
  readonly headerLength: number;
  readonly size: number;
  readonly start: number;
  readonly offset: number;
}

/** struct virtio_net_hdr, little endian. */
export function readVirtio(bytes: Uint8Array): VirtioHeader {
  const word = (at: number): number => bytes[at] + bytes[at + 1] * 256;
  return {
    flags: bytes[0],
    type: bytes[1] % 0x80,
    isEcn: bytes[1] >= 0x80,
    headerLength: word(2),
    size: word(4),
    start: word(6),
    offset: word(8),
  };
}

/** @throws where a card, or the kernel before it, would refuse the frame */
export function wireFrames(sent: { readonly frame: Uint8Array; readonly vnet: Uint8Array }): Uint8Array[] {
  const { frame, vnet } = sent;
  if (vnet.length === TUNNEL_HEADER) return tunnelFrames(sent);
  const header = readVirtio(vnet);
  if (header.type === 0) return [(header.flags & NEEDS_CSUM) === 0 ? frame : completed(frame, header)];
  if (frame.length - 14 > 65_535) throw new Error('an IP packet of more than 65,535 octets');
  return segmentsAt(frame, header, 14);
}

/**
 * The segments of a super-packet whose IP header begins at `l3`: frames that have what is before it in front, as it is.
 * @throws where its headers contradict the virtio-net header
 */
export function segmentsAt(frame: Uint8Array, header: VirtioHeader, l3: number): Uint8Array[] {
  if ((header.flags & NEEDS_CSUM) === 0) throw new Error('a super-packet without a partial checksum');
  const isIpv4 = frame[l3 - 2] === 0x08 && frame[l3 - 1] === 0x00;
  const { at: l4, protocol } = transportAt(frame, l3, isIpv4);
  if (header.start !== l4) throw new Error(`the checksum begins at ${header.start}, the transport header at ${l4}`);
  const isTcp = header.type === GSO_TCPV4 || header.type === GSO_TCPV6;
  if (isTcp && (header.type === GSO_TCPV4) !== isIpv4) throw new Error('the type is one of the other family');
  if (protocol !== (isTcp ? 6 : 17) || header.offset !== (isTcp ? 16 : 6))
    throw new Error(`protocol ${protocol} for type ${header.type}, checksum at ${header.offset}`);
  const headers = l4 + (isTcp ? (frame[l4 + 12] >> 4) * 4 : 8);
  if (header.size === 0) throw new Error('segments without a size');
  if (!isTcp && Math.ceil((frame.length - headers) / header.size) > 128) throw new Error('more than 128 datagrams');
  requirePseudoSum(frame, l3, l4, protocol, header);
  const segments: Uint8Array[] = [];
  for (let at = headers; at < frame.length; at += header.size) {
    const end = Math.min(at + header.size, frame.length);
    const segment = new Uint8Array(headers + end - at);
    segment.set(frame.subarray(0, headers));
    segment.set(frame.subarray(at, end), headers);
    const isLast = end === frame.length;
    setLengths(segment, frame, l3, l4, isTcp, segments.length);
    if (isTcp) setTcp(segment, l4, at - headers, segments.length === 0, isLast);
    setTransportChecksum(segment, l3, l4, protocol);
    segments.push(segment);
  }
  return segments;
}

/** Behind options, or behind what stands between IPv6 and its transport: hop-by-hop 0, destination 60 (RFC 8200, 4). */
function transportAt(frame: Uint8Array, l3: number, isIpv4: boolean): { at: number; protocol: number } {
  if (isIpv4) return { at: l3 + (frame[l3] % 16) * 4, protocol: frame[l3 + 9] };
  let at = l3 + 40;
  let protocol = frame[l3 + 6];
  while (protocol === 0 || protocol === 60) {
    protocol = frame[at];
    at += 8 * (frame[at + 1] + 1);
  }
  return { at, protocol };
}

/** The field holds the pseudo-header's sum for the length of the whole (include/linux/skbuff.h, CHECKSUM_PARTIAL). */
export function requirePseudoSum(
  frame: Uint8Array,
  l3: number,
  l4: number,
  protocol: number,
  { start, offset }: Pick<VirtioHeader, 'start' | 'offset'>,
): void {
  const at = start + offset;
  const field = frame[at] * 256 + frame[at + 1];
  const sum = sumOf(pseudoHeader(...addresses(frame, l3), protocol, frame.length - l4));
  if (field % 0xffff !== sum % 0xffff) throw new Error(`${field} in the place of the pseudo-header's sum ${sum}`);
}

function addresses(frame: Uint8Array, l3: number): [Uint8Array, Uint8Array] {
  if (frame[l3] >> 4 === 4) return [frame.slice(l3 + 12, l3 + 16), frame.slice(l3 + 16, l3 + 20)];
  return [frame.slice(l3 + 8, l3 + 24), frame.slice(l3 + 24, l3 + 40)];
}

function completed(frame: Uint8Array, { start, offset }: VirtioHeader): Uint8Array {
  const whole = frame.slice();
  if (start + offset + 2 > frame.length) throw new Error('the checksum is behind the frame');
  put(whole, start + offset, 0xffff - sumOf(whole.subarray(start)) || 0xffff, 2);
  return whole;
}

function put(bytes: Uint8Array, at: number, value: number, count: number): void {
  for (let i = 0; i < count; i++) bytes[at + i] = Math.floor(value / 256 ** (count - 1 - i)) % 256;
}

/** Of an IP packet that ends where the frame does, and of UDP; packets of IPv4 are numbered, from what the whole has. */
export function setLengths(
  segment: Uint8Array,
  whole: Uint8Array,
  l3: number,
  l4: number,
  isTcp: boolean,
  index: number,
): void {
  if (!isTcp) put(segment, l4 + 4, segment.length - l4, 2);
  if (segment[l3] >> 4 === 6) {
    put(segment, l3 + 4, segment.length - l3 - 40, 2);
    return;
  }
  put(segment, l3 + 2, segment.length - l3, 2);
  put(segment, l3 + 4, (whole[l3 + 4] * 256 + whole[l3 + 5] + index) % 0x10000, 2);
  put(segment, l3 + 10, 0, 2);
  put(segment, l3 + 10, 0xffff - sumOf(segment.subarray(l3, l4)), 2);
}

function setTcp(segment: Uint8Array, l4: number, before: number, isFirst: boolean, isLast: boolean): void {
  let sequence = 0;
  for (let i = 0; i < 4; i++) sequence = sequence * 256 + segment[l4 + 4 + i];
  put(segment, l4 + 4, (sequence + before) % 0x100000000, 4);
  let flags = segment[l4 + 13];
  if (!isLast) flags &= ~(FIN | PSH);
  if (!isFirst) flags &= ~CWR;
  segment[l4 + 13] = flags;
}

export function setTransportChecksum(segment: Uint8Array, l3: number, l4: number, protocol: number): void {
  const at = l4 + (protocol === 6 ? 16 : 6);
  put(segment, at, 0, 2);
  const pseudo = pseudoHeader(...addresses(segment, l3), protocol, segment.length - l4);
  const sum = 0xffff - sumOfSums(sumOf(pseudo), sumOf(segment.subarray(l4)));
  put(segment, at, sum === 0 && protocol === 17 ? 0xffff : sum, 2);
}

/** Ones' complement (RFC 1071, 2: parts may be summed apart, where each but the last is of an even length). */
function sumOfSums(one: number, other: number): number {
  return ((one + other) % 0x10000) + Math.floor((one + other) / 0x10000);
}
