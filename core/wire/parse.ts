/**
 * The parse: reads a frame's headers once and notes in the handle where they are, so that no later stage looks for them or
 * proves a length again.
 *
 *   parse → Ethernet, VLAN tags → ARP | IPv4 | IPv6, extension headers → TCP | UDP | ICMP | ICMPv6
 *
 * Nothing behind `packet.start + packet.length` is read: a slot still holds bytes of earlier frames there. A network or
 * transport header that is cut short or contradicts itself is no reason for a bridge to drop the frame: it sets
 * PACKET_L3_MALFORMED or PACKET_L4_MALFORMED, and stages that need the header decide.
 *
 * Checksums are not verified here. Frame and packet lengths of up to 64 KiB are normal (GSO).
 */

import { DROP_NONE, DROP_OVERSIZED, DROP_RUNT, DROP_VNET_HEADER } from '../drop.js';
import { type Arena, MAX_FRAME_LENGTH } from '../packet/arena.js';
import {
  PACKET_FRAGMENT,
  PACKET_IPV4_OPTIONS,
  PACKET_IPV6_EXTENSIONS,
  PACKET_L3_MALFORMED,
  PACKET_L4_MALFORMED,
  PACKET_LATER_FRAGMENT,
  type Packet,
} from '../packet/packet.js';
import { isVnetHeaderValid, readVnetHeader, VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import {
  ARP_HARDWARE_ETHERNET,
  ARP_HARDWARE_IEEE802,
  ARP_HARDWARE_LENGTH,
  ARP_HARDWARE_TYPE,
  ARP_LENGTH,
  ARP_PROTOCOL_TYPE,
} from './arp.js';
import { ETHERNET_HEADER_LENGTH, ETHERNET_TYPE, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import { ICMP_HEADER_LENGTH } from './icmp.js';
import { ICMPV6_HEADER_LENGTH, PROTOCOL_ICMPV6 } from './icmpv6.js';
import {
  IPV4_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_HEADER_LENGTH_MAXIMUM,
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_VERSION_IHL,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './ipv4.js';
import {
  IPV6_EXTENSION_UNIT,
  IPV6_FRAGMENT,
  IPV6_FRAGMENT_MORE,
  IPV6_FRAGMENT_OFFSET_MASK,
  IPV6_HEADER_LENGTH,
  IPV6_NO_NEXT_HEADER,
  ipv6ExtensionLength,
  ipv6FragmentField,
  ipv6NextHeader,
  ipv6PayloadLength,
  ipv6Version,
  isIpv6Extension,
} from './ipv6.js';
import { TCP_DATA_OFFSET, TCP_HEADER_LENGTH } from './tcp.js';
import { UDP_HEADER_LENGTH, udpLength } from './udp.js';
import { isVlanType, VLAN_NEXT_TYPE, VLAN_TAG_LENGTH, VLAN_TPID_CUSTOMER, VLAN_TPID_SERVICE } from './vlan.js';

/**
 * Extension headers that are followed. The order that RFC 8200 (4.1) recommends has six besides ESP; a packet with more than
 * this counts as malformed, so that a frame of 64 KiB cannot ask for 8,000 steps.
 */
export const MAX_IPV6_EXTENSIONS = 8;

/** Both in one 16-bit load: address lengths of ARP for Ethernet (6) and IPv4 (4). */
const ARP_ADDRESS_LENGTHS = 0x0604;

/**
 * Fills every parse field of the handle, and the virtio-net fields, from the frame at `packet.start`.
 *
 * Where the frame is dropped, the fields say "not there". `l3End` never lies behind the frame; it is the frame's end where the
 * network header is malformed.
 *
 * Each way out writes each field once, instead of all being cleared at the start. The most common path (Ethernet, IPv4, TCP)
 * loads its fields itself instead of calling the accessors: calls to other modules' functions, inlined or not, cost 3 ns of 20.
 *
 * @returns DROP_NONE, DROP_RUNT, DROP_OVERSIZED or DROP_VNET_HEADER
 */
export function parse(arena: Arena, packet: Packet): number {
  readVnetHeader(arena, packet);
  if (packet.length < ETHERNET_HEADER_LENGTH) return unparsed(packet, DROP_RUNT);
  if (packet.length > MAX_FRAME_LENGTH) return unparsed(packet, DROP_OVERSIZED);
  if (!isVnetHeaderValid(packet)) return unparsed(packet, DROP_VNET_HEADER);
  return parseEthernet(arena.view, packet);
}

/** Nothing of the frame is trusted, its addresses neither. */
function unparsed(packet: Packet, reason: number): number {
  packet.dstHigh = 0;
  packet.dstLow = 0;
  packet.srcHigh = 0;
  packet.srcLow = 0;
  packet.vlan = -1;
  packet.vlanType = 0;
  packet.innerVlan = -1;
  packet.etherType = -1;
  noNetwork(packet);
  return reason;
}

function parseEthernet(view: DataView, packet: Packet): number {
  const start = packet.start;
  const first = view.getInt32(start); // destination, octets 0 to 3
  const second = view.getInt32(start + 4); // destination, 4 and 5; source, 0 and 1
  packet.dstHigh = first >>> 16;
  packet.dstLow = (first << 16) | (second >>> 16);
  packet.srcHigh = second & 0xffff;
  packet.srcLow = view.getInt32(start + 8);
  packet.vlan = -1;
  packet.vlanType = 0;
  packet.innerVlan = -1;
  const etherType = view.getUint16(start + ETHERNET_TYPE);
  const end = start + packet.length;
  if (etherType === VLAN_TPID_CUSTOMER || etherType === VLAN_TPID_SERVICE) {
    const behind = parseVlan(view, packet, etherType, end);
    return isChecksumBehind(packet, behind) ? DROP_NONE : unparsed(packet, DROP_VNET_HEADER);
  }
  parseNetwork(view, packet, etherType, start + ETHERNET_HEADER_LENGTH, end);
  return DROP_NONE;
}

/** A checksum written into a tag would choose the VLAN after all checks; or the source MAC, once the tag is out. */
function isChecksumBehind(packet: Packet, at: number): boolean {
  return (packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0 || packet.start + packet.checksumStart >= at;
}

/**
 * Two tags are read. With a third one `etherType` is that tag's TPID and there is no l3: the frame is switched by its outer
 * tags like any frame whose payload is not IP. A tag that the frame's end cuts leaves `etherType` at -1.
 *
 * @returns where the tags end that were read
 */
function parseVlan(view: DataView, packet: Packet, outerType: number, end: number): number {
  const outer = packet.start + ETHERNET_HEADER_LENGTH;
  const inner = outer + VLAN_TAG_LENGTH;
  if (inner > end) {
    cutTag(packet);
    return outer;
  }
  packet.vlan = view.getUint16(outer);
  packet.vlanType = outerType;
  const etherType = view.getUint16(outer + VLAN_NEXT_TYPE);
  if (!isVlanType(etherType)) {
    parseNetwork(view, packet, etherType, inner, end);
    return inner;
  }
  const behind = inner + VLAN_TAG_LENGTH;
  if (behind > end) {
    cutTag(packet);
    return inner;
  }
  packet.innerVlan = view.getUint16(inner);
  parseNetwork(view, packet, view.getUint16(inner + VLAN_NEXT_TYPE), behind, end);
  return behind;
}

function cutTag(packet: Packet): void {
  packet.etherType = -1;
  noNetwork(packet);
}

/**
 * @param at where the network header begins; at most `end`
 * @param end the end of the frame
 */
function parseNetwork(view: DataView, packet: Packet, etherType: number, at: number, end: number): void {
  packet.etherType = etherType;
  if (etherType === ETHERTYPE_IPV4) parseIpv4(view, packet, at, end);
  else if (etherType === ETHERTYPE_IPV6) parseIpv6(view, packet, at, end);
  else if (etherType === ETHERTYPE_ARP) parseArp(view, packet, at, end);
  else noNetwork(packet);
}

/** RFC 791, 3.1; the checks are those of RFC 1812, 5.2.2, but for the checksum. */
function parseIpv4(view: DataView, packet: Packet, at: number, end: number): void {
  if (at + IPV4_HEADER_LENGTH > end) {
    malformedNetwork(packet, at, end);
    return;
  }
  const first = view.getInt32(at + IPV4_VERSION_IHL); // version and header length, type of service, total length
  const headerLength = ((first >> 24) - 0x40) << 2; // out of bounds where the version is not 4
  const l3End = at + (first & 0xffff);
  if (headerLength < IPV4_HEADER_LENGTH || headerLength > IPV4_HEADER_LENGTH_MAXIMUM || l3End > end) {
    malformedNetwork(packet, at, end);
    return;
  }
  const l4 = at + headerLength;
  if (l4 > l3End) {
    malformedNetwork(packet, at, end);
    return;
  }
  const protocol = view.getUint8(at + IPV4_PROTOCOL);
  packet.l3 = at;
  packet.l3End = l3End;
  packet.protocol = protocol;
  const flags = headerLength > IPV4_HEADER_LENGTH ? PACKET_IPV4_OPTIONS : 0;
  const fragment = view.getUint16(at + IPV4_FRAGMENT) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK);
  if (fragment === 0) parseTransport(view, packet, protocol, l4, flags);
  else if (fragment === IPV4_MORE_FRAGMENTS) parseTransport(view, packet, protocol, l4, flags | PACKET_FRAGMENT);
  else noTransport(packet, flags | PACKET_FRAGMENT | PACKET_LATER_FRAGMENT);
}

/** RFC 8200, 3. A jumbogram (RFC 2675) says length 0 and does not fit in a frame: malformed, by its extension header. */
function parseIpv6(view: DataView, packet: Packet, at: number, end: number): void {
  if (at + IPV6_HEADER_LENGTH > end || ipv6Version(view, at) !== 6) {
    malformedNetwork(packet, at, end);
    return;
  }
  const l3End = at + IPV6_HEADER_LENGTH + ipv6PayloadLength(view, at);
  if (l3End > end) {
    malformedNetwork(packet, at, end);
    return;
  }
  const nextHeader = ipv6NextHeader(view, at);
  if (isIpv6Extension(nextHeader)) {
    parseIpv6Extensions(view, packet, at, l3End, end);
    return;
  }
  packet.l3 = at;
  packet.l3End = l3End;
  packet.protocol = nextHeader;
  parseTransport(view, packet, nextHeader, at + IPV6_HEADER_LENGTH, 0);
}

/**
 * Walks the extension headers of the IPv6 packet at `l3` to its transport header. A later fragment has none: its `protocol` is
 * what the fragment header names, be that an extension header (RFC 8200, 4.5). A fragment header with offset 0 and no more
 * fragments makes no fragment (RFC 6946). Where the chain is broken, the fixed header's length is not trusted either.
 */
function parseIpv6Extensions(view: DataView, packet: Packet, l3: number, l3End: number, end: number): void {
  let nextHeader = ipv6NextHeader(view, l3);
  let at = l3 + IPV6_HEADER_LENGTH;
  let flags = PACKET_IPV6_EXTENSIONS;
  for (let count = 0; isIpv6Extension(nextHeader) && (flags & PACKET_LATER_FRAGMENT) === 0; count++) {
    if (count === MAX_IPV6_EXTENSIONS || at + IPV6_EXTENSION_UNIT > l3End) {
      malformedNetwork(packet, l3, end);
      return;
    }
    const length = ipv6ExtensionLength(view, at, nextHeader);
    if (at + length > l3End) {
      malformedNetwork(packet, l3, end);
      return;
    }
    if (nextHeader === IPV6_FRAGMENT) flags |= fragmentFlags(ipv6FragmentField(view, at));
    nextHeader = view.getUint8(at);
    at += length;
  }
  packet.l3 = l3;
  packet.l3End = l3End;
  packet.protocol = nextHeader;
  if ((flags & PACKET_LATER_FRAGMENT) !== 0) noTransport(packet, flags);
  else parseTransport(view, packet, nextHeader, at, flags);
}

/** What an IPv6 fragment header makes of its packet. */
function fragmentFlags(field: number): number {
  if ((field & IPV6_FRAGMENT_OFFSET_MASK) !== 0) return PACKET_FRAGMENT | PACKET_LATER_FRAGMENT;
  return (field & IPV6_FRAGMENT_MORE) !== 0 ? PACKET_FRAGMENT : 0;
}

/** RFC 826. Only ARP for Ethernet and IPv4 is proven; any other counts as malformed, since nothing here can read it. */
function parseArp(view: DataView, packet: Packet, at: number, end: number): void {
  if (at + ARP_LENGTH > end || !isArpForIpv4(view, at)) {
    malformedNetwork(packet, at, end);
    return;
  }
  packet.l3 = at;
  packet.l3End = at + ARP_LENGTH;
  packet.protocol = -1;
  noTransport(packet, 0);
}

function isArpForIpv4(view: DataView, at: number): boolean {
  const hardware = view.getUint16(at + ARP_HARDWARE_TYPE);
  if (hardware !== ARP_HARDWARE_ETHERNET && hardware !== ARP_HARDWARE_IEEE802) return false;
  if (view.getUint16(at + ARP_PROTOCOL_TYPE) !== ETHERTYPE_IPV4) return false;
  return view.getUint16(at + ARP_HARDWARE_LENGTH) === ARP_ADDRESS_LENGTHS;
}

/**
 * Proves the transport header at `at` (at most `l3End`). Of other protocols than TCP, UDP, ICMP and ICMPv6 only the place is
 * noted; what follows "no next header" is ignored (RFC 8200, 4.7). A header that the first fragment does not hold whole counts
 * as malformed (RFC 1858, 3; RFC 7112, 5).
 */
function parseTransport(view: DataView, packet: Packet, protocol: number, at: number, flags: number): void {
  if (protocol === PROTOCOL_TCP) parseTcp(view, packet, at, flags);
  else if (protocol === PROTOCOL_UDP) parseUdp(view, packet, at, flags);
  else if (protocol === PROTOCOL_ICMP) parseMessage(packet, at, ICMP_HEADER_LENGTH, flags);
  else if (protocol === PROTOCOL_ICMPV6) parseMessage(packet, at, ICMPV6_HEADER_LENGTH, flags);
  else if (protocol === IPV6_NO_NEXT_HEADER) noTransport(packet, flags);
  else setTransport(packet, at, -1, -1, flags);
}

function parseTcp(view: DataView, packet: Packet, at: number, flags: number): void {
  if (at + TCP_HEADER_LENGTH > packet.l3End) {
    noTransport(packet, flags | PACKET_L4_MALFORMED);
    return;
  }
  const headerLength = (view.getUint8(at + TCP_DATA_OFFSET) >> 4) << 2;
  if (headerLength < TCP_HEADER_LENGTH || at + headerLength > packet.l3End) {
    noTransport(packet, flags | PACKET_L4_MALFORMED);
    return;
  }
  setPorts(view, packet, at, flags);
}

function parseUdp(view: DataView, packet: Packet, at: number, flags: number): void {
  if (at + UDP_HEADER_LENGTH > packet.l3End || !isUdpLengthValid(packet, at, udpLength(view, at), flags)) {
    noTransport(packet, flags | PACKET_L4_MALFORMED);
    return;
  }
  setPorts(view, packet, at, flags);
}

/**
 * Whether a UDP length can be true. It counts the whole datagram, hence more than the first fragment holds, and the whole of a
 * GSO packet. Over IPv6, 0 means "to the end" (RFC 2675, 4) and Linux takes it so in any packet (__udp6_lib_rcv).
 */
function isUdpLengthValid(packet: Packet, at: number, length: number, flags: number): boolean {
  if (length === 0) return packet.etherType === ETHERTYPE_IPV6;
  if (length < UDP_HEADER_LENGTH) return false;
  return at + length <= packet.l3End || (flags & PACKET_FRAGMENT) !== 0;
}

function parseMessage(packet: Packet, at: number, headerLength: number, flags: number): void {
  if (at + headerLength > packet.l3End) noTransport(packet, flags | PACKET_L4_MALFORMED);
  else setTransport(packet, at, -1, -1, flags);
}

/** TCP and UDP both begin with the source port and the destination port. */
function setPorts(view: DataView, packet: Packet, at: number, flags: number): void {
  const ports = view.getInt32(at);
  setTransport(packet, at, ports >>> 16, ports & 0xffff, flags);
}

function setTransport(packet: Packet, l4: number, srcPort: number, dstPort: number, flags: number): void {
  packet.l4 = l4;
  packet.srcPort = srcPort;
  packet.dstPort = dstPort;
  packet.flags = flags;
}

function noTransport(packet: Packet, flags: number): void {
  setTransport(packet, -1, -1, -1, flags);
}

function noNetwork(packet: Packet): void {
  packet.l3 = -1;
  packet.l3End = 0;
  packet.protocol = -1;
  noTransport(packet, 0);
}

function malformedNetwork(packet: Packet, at: number, end: number): void {
  packet.l3 = at;
  packet.l3End = end;
  packet.protocol = -1;
  noTransport(packet, PACKET_L3_MALFORMED);
}
