/**
 * Addresses and ports of a packet written anew, in place, with every checksum over them updated by the difference (RFC 1624, equation 3):
 * what was right stays right, and what was damaged on its way stays so.
 *
 * Where the checksum is still to come (VNET_F_NEEDS_CSUM) its field holds the sum of the pseudo-header: addresses change that sum, ports
 * nothing. A super-packet needs no more: its segments' checksums are made from the same field.
 *
 * Ports are the word of flow.ts: source in the upper half, destination in the lower; of ICMP queries the identifier in both.
 */

import { VNET_HEADER_LENGTH } from '../packet/arena.js';
import { nonZeroChecksum } from '../packet/checksum.js';
import {
  PACKET_IPV6_EXTENSIONS,
  PACKET_L3_MALFORMED,
  PACKET_L4_MALFORMED,
  PACKET_LATER_FRAGMENT,
  type Packet,
} from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import { ICMP_CHECKSUM, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from '../wire/icmp.js';
import { ICMPV6_CHECKSUM, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST, PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { IPV4_DESTINATION, IPV4_SOURCE, IPV4_TTL, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import {
  IPV6_AUTHENTICATION,
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_ROUTING,
  IPV6_SOURCE,
  ipv6ExtensionLength,
  ipv6NextHeader,
  isIpv6Extension,
} from '../wire/ipv6.js';
import {
  DCCP_CHECKSUM,
  DCCP_HEADER_LENGTH,
  PROTOCOL_DCCP,
  PROTOCOL_SCTP,
  PROTOCOL_UDP_LITE,
  SCTP_CHECKSUM,
  SCTP_HEADER_LENGTH,
  UDP_LITE_CHECKSUM,
  UDP_LITE_HEADER_LENGTH,
} from '../wire/sctp.js';
import { TCP_CHECKSUM } from '../wire/tcp.js';
import { UDP_CHECKSUM } from '../wire/udp.js';
import { crc32c, updateCrc32c } from './crc32c.js';

/** Identifier of an ICMP or ICMPv6 query, counted from the message (RFC 792; RFC 4443, 4.1). */
export const ICMP_IDENTIFIER = 4;
export const ICMP_TIMESTAMP = 13;
export const ICMP_TIMESTAMP_REPLY = 14;

/**
 * Whether a packet can be told apart from those of other connections: its transport header is there, and an ICMP message is a query or the
 * reply to one. ICMP errors are not; those follow the connection that they are about (icmp-error.ts).
 */
export function isTrackable(view: DataView, packet: Packet): boolean {
  if ((packet.flags & (PACKET_L3_MALFORMED | PACKET_L4_MALFORMED | PACKET_LATER_FRAGMENT)) !== 0) return false;
  const { protocol } = packet;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) return true;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) return isIcmpQuery(view, packet);
  return packet.l4 + headerLengthOf(protocol) <= packet.l3End;
}

/** Octets that the parse has not proven of protocols that it does not know; 0 where nothing of them is read. */
function headerLengthOf(protocol: number): number {
  if (protocol === PROTOCOL_SCTP) return SCTP_HEADER_LENGTH;
  if (protocol === PROTOCOL_DCCP) return DCCP_HEADER_LENGTH;
  return protocol === PROTOCOL_UDP_LITE ? UDP_LITE_HEADER_LENGTH : 0;
}

/** Whether an ICMP or ICMPv6 message is a query or a reply, and so has an identifier. Its fixed header must be there. */
export function isIcmpQuery(view: DataView, packet: Packet): boolean {
  return isIcmpQueryType(packet.protocol, view.getUint8(packet.l4));
}

export function isIcmpQueryType(protocol: number, type: number): boolean {
  if (protocol === PROTOCOL_ICMPV6) return type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY;
  if (type === ICMP_ECHO_REPLY || type === ICMP_ECHO_REQUEST) return true;
  return type === ICMP_TIMESTAMP || type === ICMP_TIMESTAMP_REPLY;
}

/** Whether it is the query itself: a reply begins no connection. */
export function isIcmpRequest(view: DataView, packet: Packet): boolean {
  const type = view.getUint8(packet.l4);
  if (packet.protocol === PROTOCOL_ICMPV6) return type === ICMPV6_ECHO_REQUEST;
  return type === ICMP_ECHO_REQUEST || type === ICMP_TIMESTAMP;
}

/**
 * Whether addresses may be changed: the authentication header covers them (RFC 4302, 3.3.3.1), and behind a routing header with segments
 * left the checksum is over another destination (RFC 8200, 8.1).
 */
export function isTranslatable(view: DataView, packet: Packet): boolean {
  if (packet.protocol === IPV6_AUTHENTICATION) return false;
  return (packet.flags & PACKET_IPV6_EXTENSIONS) === 0 || areExtensionsTranslatable(view, packet.l3);
}

/** Precondition: the parse has proven the chain. */
function areExtensionsTranslatable(view: DataView, l3: number): boolean {
  let kind = ipv6NextHeader(view, l3);
  let at = l3 + IPV6_HEADER_LENGTH;
  while (isIpv6Extension(kind)) {
    if (kind === IPV6_AUTHENTICATION) return false;
    if (kind === IPV6_ROUTING && view.getUint8(at + 3) !== 0) return false;
    const length = ipv6ExtensionLength(view, at, kind);
    kind = view.getUint8(at);
    at += length;
  }
  return true;
}

/** The ports of a packet as a flow has them; 0 of protocols without. Precondition: `isTrackable`. */
export function portsOf(view: DataView, packet: Packet): number {
  const { protocol, l4 } = packet;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) return (packet.srcPort << 16) | packet.dstPort;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    const identifier = view.getUint16(l4 + ICMP_IDENTIFIER);
    return (identifier << 16) | identifier;
  }
  return headerLengthOf(protocol) === 0 ? 0 : view.getInt32(l4);
}

/**
 * Gives an IPv4 packet these addresses and ports.
 *
 * Precondition: `isTrackable`, or a later fragment, of which the addresses alone are written; nobody else holds the slot.
 *
 * @param ports ignored where the protocol has none
 */
export function rewrite4(view: DataView, packet: Packet, source: number, destination: number, ports: number): void {
  const { l3 } = packet;
  const change =
    changeOf(view.getInt32(l3 + IPV4_SOURCE), source) + changeOf(view.getInt32(l3 + IPV4_DESTINATION), destination);
  // With TTL and protocol, as the next stage reads it again: a load of more than has just been stored waits for the store.
  const word = view.getInt32(l3 + IPV4_TTL);
  view.setInt32(l3 + IPV4_TTL, (word & ~0xffff) | updated(word & 0xffff, change));
  view.setInt32(l3 + IPV4_SOURCE, source);
  view.setInt32(l3 + IPV4_DESTINATION, destination);
  rewriteTransport(view, packet, change, ports);
}

/**
 * The same for IPv6.
 *
 * @param words the new source and destination: eight words from `at` on
 */
export function rewrite6(view: DataView, packet: Packet, words: Int32Array, at: number, ports: number): void {
  const { l3 } = packet;
  const change =
    setAddress6(view, l3 + IPV6_SOURCE, words, at) + setAddress6(view, l3 + IPV6_DESTINATION, words, at + 4);
  rewriteTransport(view, packet, change, ports);
}

/** Writes an address of four words at `to`. @returns the change of a sum over it; 0 where it is the one that stands there */
export function setAddress6(view: DataView, to: number, words: Int32Array, at: number): number {
  let change = 0;
  for (let i = 0; i < 4; i++) {
    const before = view.getInt32(to + 4 * i);
    const after = words[at + i];
    if (before === after) continue;
    view.setInt32(to + 4 * i, after);
    change += changeOf(before, after);
  }
  return change;
}

/** By how much a sum over a 32-bit word grows when another takes its place; below 2^17 either way, not folded. */
export function changeOf(before: number, after: number): number {
  return (after >>> 16) + (after & 0xffff) - (before >>> 16) - (before & 0xffff);
}

/** A multiple of 0xffff, which is 0 to a sum: more than 15 words can take away. */
const BIAS = 0xffff << 5;

/**
 * A sum after words under it changed: by less than BIAS in all. As an own function, instead of `foldSum`, since both halves and the carry
 * come out of one rotation: 1 ns less of 10. Never 0: that is for sums over nothing but zeros, and addresses are not.
 */
export function updatedSum(sum: number, change: number): number {
  const total = (sum + change + BIAS) | 0;
  return (total + ((total << 16) | (total >>> 16))) >>> 16;
}

/** The same for a checksum, the complement of its sum. */
export function updated(checksum: number, change: number): number {
  return ~updatedSum(~checksum & 0xffff, change) & 0xffff;
}

/** @param change of the pseudo-header's sum */
function rewriteTransport(view: DataView, packet: Packet, change: number, ports: number): void {
  const { l4, protocol } = packet;
  if (l4 === -1) return;
  if (protocol === PROTOCOL_TCP) rewriteTcp(view, packet, change, ports);
  else if (protocol === PROTOCOL_UDP) rewriteUdp(view, packet, change, ports);
  else if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) rewriteIcmp(view, packet, change, ports);
  else if (protocol === PROTOCOL_SCTP) rewriteSctp(view, packet, ports);
  else if (protocol === PROTOCOL_UDP_LITE) rewriteSummed(view, packet, UDP_LITE_CHECKSUM, change, ports);
  else if (protocol === PROTOCOL_DCCP) rewriteSummed(view, packet, DCCP_CHECKSUM, change, ports);
}

function rewriteTcp(view: DataView, packet: Packet, change: number, ports: number): void {
  const { l4 } = packet;
  const at = l4 + TCP_CHECKSUM;
  if (isPartial(packet, TCP_CHECKSUM)) view.setUint16(at, updatedSum(view.getUint16(at), change));
  else view.setUint16(at, updated(view.getUint16(at), change + changeOf(view.getInt32(l4), ports)));
  setPorts(view, packet, ports);
}

/** A checksum of 0 says that there is none (RFC 768; over IPv6 RFC 6935, 5): it stays, and no other becomes 0. */
function rewriteUdp(view: DataView, packet: Packet, change: number, ports: number): void {
  const { l4 } = packet;
  const at = l4 + UDP_CHECKSUM;
  const checksum = view.getUint16(at);
  if (isPartial(packet, UDP_CHECKSUM)) {
    view.setUint16(at, updatedSum(checksum, change));
  } else if (checksum !== 0) {
    view.setUint16(at, nonZeroChecksum(updated(checksum, change + changeOf(view.getInt32(l4), ports))));
  }
  setPorts(view, packet, ports);
}

function setPorts(view: DataView, packet: Packet, ports: number): void {
  view.setInt32(packet.l4, ports);
  packet.srcPort = ports >>> 16;
  packet.dstPort = ports & 0xffff;
}

/** DCCP and UDP-Lite: whatever the checksum covers of the payload, the ports are in it. That of UDP-Lite is never 0 (RFC 3828, 3.1). */
function rewriteSummed(view: DataView, packet: Packet, offset: number, change: number, ports: number): void {
  const { l4 } = packet;
  const at = l4 + offset;
  const checksum = view.getUint16(at);
  if (isPartial(packet, offset)) {
    view.setUint16(at, updatedSum(checksum, change));
  } else {
    const result = updated(checksum, change + changeOf(view.getInt32(l4), ports));
    view.setUint16(at, packet.protocol === PROTOCOL_UDP_LITE ? nonZeroChecksum(result) : result);
  }
  view.setInt32(l4, ports);
}

/** Only queries have an identifier. ICMPv6 has a pseudo-header, ICMP none. */
function rewriteIcmp(view: DataView, packet: Packet, change: number, ports: number): void {
  const { l4 } = packet;
  const isIcmpv6 = packet.protocol === PROTOCOL_ICMPV6;
  const at = l4 + (isIcmpv6 ? ICMPV6_CHECKSUM : ICMP_CHECKSUM);
  const pseudo = isIcmpv6 ? change : 0;
  const before = view.getUint16(l4 + ICMP_IDENTIFIER);
  const after = isIcmpQuery(view, packet) ? ports & 0xffff : before;
  const checksum = view.getUint16(at);
  view.setUint16(l4 + ICMP_IDENTIFIER, after);
  if (isPartial(packet, ICMP_CHECKSUM)) {
    view.setUint16(at, updatedSum(checksum, pseudo));
  } else {
    const result = updated(checksum, pseudo + after - before);
    // An echo reply may consist of zeros, whose checksum is all ones; which verifies wherever 0 does.
    view.setUint16(at, view.getUint16(l4) === ICMP_ECHO_REPLY ? nonZeroChecksum(result) : result);
  }
}

/**
 * SCTP has no pseudo-header. A checksum of 0 was agreed upon, and is none (RFC 9653). A sender on this host may leave it to the device,
 * which virtio-net has no word for but the flag: it is made here then.
 */
function rewriteSctp(view: DataView, packet: Packet, ports: number): void {
  const { l4 } = packet;
  const at = l4 + SCTP_CHECKSUM;
  const length = packet.l3End - l4;
  const before = view.getInt32(l4, true);
  const checksum = view.getInt32(at, true);
  view.setInt32(l4, ports);
  if (isPartial(packet, SCTP_CHECKSUM)) {
    view.setInt32(at, crc32c(view, l4, length, at), true);
    clearNeedsChecksum(view, packet);
  } else if (checksum !== 0) {
    view.setInt32(at, updateCrc32c(checksum, before, view.getInt32(l4, true), length), true);
  }
}

/** Whether the transport checksum at `offset` is still to come; the flag may be about a packet inside of this one, which has its own. */
export function isPartial(packet: Packet, offset: number): boolean {
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) return false;
  return packet.start + packet.checksumStart === packet.l4 && packet.checksumOffset === offset;
}

/** The checksum is made: in the handle, and in the virtio-net header's first octet. */
function clearNeedsChecksum(view: DataView, packet: Packet): void {
  packet.vnetFlags &= ~VNET_F_NEEDS_CSUM;
  view.setUint8(packet.start - VNET_HEADER_LENGTH, packet.vnetFlags);
}
