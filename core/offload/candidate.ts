/**
 * What coalescing has to know of a frame: whether it is of a flow, where its headers stand, and whether its segment may be merged with
 * others at all. Every length is hostile: nothing behind the frame's end is read.
 *
 * As Linux does it: net/ipv4/af_inet.c (inet_gro_receive), net/ipv6/ip6_offload.c (ipv6_gro_receive), net/ipv4/tcp_offload.c
 * (tcp_gro_receive), net/ipv4/udp_offload.c (udp_gro_receive_segment).
 */

import { foldSum, sumBytes } from '../packet/checksum.js';
import { VNET_F_DATA_VALID, VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import { ETHERNET_HEADER_LENGTH, ETHERNET_TYPE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import {
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_SOURCE,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  isIpv6Extension,
} from '../wire/ipv6.js';
import {
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_FIN,
  TCP_HEADER_LENGTH,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
} from '../wire/tcp.js';
import { UDP_CHECKSUM, UDP_HEADER_LENGTH, UDP_LENGTH } from '../wire/udp.js';

/** `kind`: of no flow; of a flow that its headers do not show; of a flow, and not to be merged; to be merged. */
export const KIND_NONE = 0;
export const KIND_HIDDEN = 1;
export const KIND_FLOW = 2;
export const KIND_SEGMENT = 3;

/** Words of an IPv4 header that begin a packet which may be merged: version 4, no options. */
const PLAIN_IPV4 = 0x45;
const ODD_FLAGS = TCP_SYN | TCP_RST | TCP_URG;

/** The frame in hand. Offsets are absolute. */
export class Candidate {
  kind = KIND_NONE;
  start = 0;
  /** End of the frame. From KIND_SEGMENT on that of the network packet as well. */
  end = 0;
  port = 0;
  isIpv4 = false;
  isTcp = false;
  l4 = 0;
  /** First payload byte. */
  payload = 0;
  /** For a flow, what differs with it. */
  key = 0;
  /** Source and destination port in one word. */
  ports = 0;
  /** The checksum was verified, or is still to come. */
  isVerified = false;
  /** No segment may follow in the same packet. */
  isLast = false;
}

/**
 * Reads a frame. From KIND_FLOW on `isIpv4`, `isTcp`, `l4`, `ports` and `key` are set, from KIND_SEGMENT on all fields.
 *
 * @param at absolute offset of its first byte
 * @param port that it came from
 * @param vnetFlags and checksum place: of its virtio-net header
 */
export function examine(
  view: DataView,
  candidate: Candidate,
  at: number,
  length: number,
  port: number,
  vnetFlags: number,
  checksumStart: number,
  checksumOffset: number,
): void {
  candidate.kind = KIND_NONE;
  candidate.start = at;
  candidate.end = at + length;
  candidate.port = port;
  if (length < ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH) return;
  const etherType = view.getUint16(at + ETHERNET_TYPE);
  if (etherType === ETHERTYPE_IPV4) examineIpv4(view, candidate, at + ETHERNET_HEADER_LENGTH);
  else if (etherType === ETHERTYPE_IPV6) examineIpv6(view, candidate, at + ETHERNET_HEADER_LENGTH);
  if (candidate.kind !== KIND_SEGMENT) return;
  candidate.isVerified = (vnetFlags & (VNET_F_NEEDS_CSUM | VNET_F_DATA_VALID)) !== 0;
  if ((vnetFlags & VNET_F_NEEDS_CSUM) === 0) return;
  const field = candidate.isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  if (checksumStart !== candidate.l4 - at || checksumOffset !== field) candidate.kind = KIND_FLOW;
}

/** RFC 791, 3.1. Precondition: the header without options is inside the frame. */
function examineIpv4(view: DataView, candidate: Candidate, at: number): void {
  const first = view.getInt32(at);
  const second = view.getInt32(at + 4);
  if (first >>> 28 !== 4) return;
  if (first >>> 24 !== PLAIN_IPV4 || (second & 0xffff & ~IPV4_DONT_FRAGMENT) !== 0) {
    candidate.kind = KIND_HIDDEN;
    return;
  }
  const third = view.getInt32(at + 8);
  const source = view.getInt32(at + IPV4_SOURCE);
  const destination = view.getInt32(at + IPV4_DESTINATION);
  const protocol = (third >>> 16) & 0xff;
  candidate.isIpv4 = true;
  candidate.key = source ^ Math.imul(destination, 0x9e3779b1);
  const l3End = at + (first & 0xffff);
  examineTransport(view, candidate, protocol, at + IPV4_HEADER_LENGTH, l3End);
  if (candidate.kind !== KIND_SEGMENT) return;
  const upper = (first >>> 16) + (second >>> 16) + (third >>> 16) + (source >>> 16) + (destination >>> 16);
  const lower = (first & 0xffff) + (second & 0xffff) + (third & 0xffff) + (source & 0xffff) + (destination & 0xffff);
  if (foldSum(upper + lower) !== 0xffff) candidate.kind = KIND_FLOW;
}

/** RFC 8200, 3. */
function examineIpv6(view: DataView, candidate: Candidate, at: number): void {
  if (at + IPV6_HEADER_LENGTH > candidate.end || view.getUint8(at) >> 4 !== 6) return;
  const nextHeader = view.getUint8(at + IPV6_NEXT_HEADER);
  if (isIpv6Extension(nextHeader)) {
    candidate.kind = KIND_HIDDEN;
    return;
  }
  candidate.isIpv4 = false;
  candidate.key =
    view.getInt32(at + IPV6_SOURCE + 12) ^ Math.imul(view.getInt32(at + IPV6_DESTINATION + 12), 0x9e3779b1);
  const l3End = at + IPV6_HEADER_LENGTH + view.getUint16(at + IPV6_PAYLOAD_LENGTH);
  examineTransport(view, candidate, nextHeader, at + IPV6_HEADER_LENGTH, l3End);
}

/** A header that says of a length what is not so, or link padding, leaves KIND_FLOW. */
function examineTransport(view: DataView, candidate: Candidate, protocol: number, at: number, l3End: number): void {
  const isTcp = protocol === PROTOCOL_TCP;
  if (!isTcp && protocol !== PROTOCOL_UDP) return;
  const { end } = candidate;
  if (at + UDP_HEADER_LENGTH > end) return;
  const ports = view.getInt32(at);
  candidate.isTcp = isTcp;
  candidate.l4 = at;
  candidate.ports = ports;
  candidate.key = Math.imul(candidate.key ^ ports, 0x85ebca6b) ^ (isTcp ? candidate.port : ~candidate.port);
  candidate.kind = KIND_FLOW;
  if (l3End !== end) return;
  if (isTcp) examineTcp(view, candidate, at, end);
  else examineUdp(view, candidate, at, end);
}

function examineTcp(view: DataView, candidate: Candidate, at: number, end: number): void {
  if (at + TCP_HEADER_LENGTH > end) return;
  const field = view.getUint16(at + TCP_DATA_OFFSET);
  const headerLength = (field >>> 12) << 2;
  const payload = at + headerLength;
  if (headerLength < TCP_HEADER_LENGTH || payload >= end || (field & ODD_FLAGS) !== 0) return;
  candidate.payload = payload;
  candidate.isLast = (field & (TCP_PSH | TCP_FIN)) !== 0;
  candidate.kind = KIND_SEGMENT;
}

/** A datagram without a checksum stays without one. */
function examineUdp(view: DataView, candidate: Candidate, at: number, end: number): void {
  const payload = at + UDP_HEADER_LENGTH;
  if (view.getUint16(at + UDP_LENGTH) !== end - at || payload === end || view.getUint16(at + UDP_CHECKSUM) === 0)
    return;
  candidate.payload = payload;
  candidate.isLast = false;
  candidate.kind = KIND_SEGMENT;
}

/**
 * Whether the transport checksum of an IP packet without options or extension headers is right: in one sum, since the addresses stand
 * just before the transport header.
 *
 * @param l4 absolute offset of the transport header; `end`, of the packet's end
 */
export function isChecksumRight(view: DataView, isIpv4: boolean, isTcp: boolean, l4: number, end: number): boolean {
  const from = isIpv4 ? l4 - (IPV4_HEADER_LENGTH - IPV4_SOURCE) : l4 - (IPV6_HEADER_LENGTH - IPV6_SOURCE);
  const protocol = isTcp ? PROTOCOL_TCP : PROTOCOL_UDP;
  return foldSum(sumBytes(view, from, end - from) + protocol + (end - l4)) === 0xffff;
}
