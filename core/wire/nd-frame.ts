/**
 * Whole neighbor discovery frames (RFC 4861, 4), untagged, as the dataplane itself sends them. Headers and addresses are written first,
 * then the message, which sets lengths and checksum.
 */

import { finishChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV6, setEthernetHeader, setMac } from './ethernet.js';
import {
  ICMPV6_CHECKSUM,
  ICMPV6_TYPE,
  ND_NEIGHBOR_ADVERTISEMENT,
  ND_NEIGHBOR_LENGTH,
  ND_NEIGHBOR_SOLICITATION,
  ND_OPTION_SOURCE_LINK_ADDRESS,
  ND_OPTION_TARGET_LINK_ADDRESS,
  ND_OPTION_UNIT,
  ND_OPTION_VALUE,
  ND_TARGET,
  PROTOCOL_ICMPV6,
} from './icmpv6.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  IPV6_VERSION,
  setIpv6Address,
} from './ipv6.js';

/** The only hop limit that neighbor discovery is believed with: no router has passed it on (RFC 4861, 3.1). */
export const ND_HOP_LIMIT = 255;

/** Flags of an advertisement (RFC 4861, 4.4), at ND_FLAGS. */
export const ND_FLAGS = 4;
export const ND_ROUTER = 0x80000000 | 0;
export const ND_SOLICITED = 0x40000000;
export const ND_OVERRIDE = 0x20000000;

/** 33-33-00-00-00-01 and ff02::1: all nodes. */
export const ALL_NODES_MAC_LOW = 1;
export const GROUP_MAC_HIGH = 0x3333;
export const LINK_GROUP_FIRST = 0xff020000 | 0;
/** Solicited-node groups (RFC 4291, 2.7.1): ff02::1:ff00:0/104 and the address's last 24 bits. */
export const SOLICITED_NODE_THIRD = 1;
const SOLICITED_NODE_LAST = 0xff000000 | 0;

const IPV6_FIRST = 0x60000000;

/** Last word of the solicited-node group of an address with last word `d`; also the last four octets of its MAC. */
export function solicitedNodeLast(d: number): number {
  return SOLICITED_NODE_LAST | (d & 0x00ffffff);
}

/** Where the ICMPv6 message of a frame begins that these functions write. */
export function ndMessage(packet: Packet): number {
  return packet.start + ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH;
}

/** Writes Ethernet and IPv6 header, all but the IPv6 addresses and the length. */
export function writeNdHeaders(
  view: DataView,
  packet: Packet,
  toHigh: number,
  toLow: number,
  fromHigh: number,
  fromLow: number,
): void {
  setEthernetHeader(view, packet.start, toHigh, toLow, fromHigh, fromLow, ETHERTYPE_IPV6);
  const ip = packet.start + ETHERNET_HEADER_LENGTH;
  view.setInt32(ip + IPV6_VERSION, IPV6_FIRST);
  view.setUint8(ip + IPV6_NEXT_HEADER, PROTOCOL_ICMPV6);
  view.setUint8(ip + IPV6_HOP_LIMIT, ND_HOP_LIMIT);
}

export function setNdSource(view: DataView, packet: Packet, a: number, b: number, c: number, d: number): void {
  setIpv6Address(view, packet.start + ETHERNET_HEADER_LENGTH + IPV6_SOURCE, a, b, c, d);
}

export function setNdDestination(view: DataView, packet: Packet, a: number, b: number, c: number, d: number): void {
  setIpv6Address(view, packet.start + ETHERNET_HEADER_LENGTH + IPV6_DESTINATION, a, b, c, d);
}

/** Writes a link-layer address option (RFC 4861, 4.6.1) of kind `kind` at `at`: one unit. */
export function writeLinkAddressOption(view: DataView, at: number, kind: number, high: number, low: number): void {
  view.setUint16(at, (kind << 8) | 1);
  setMac(view, at + ND_OPTION_VALUE, high, low);
}

/** Writes an advertisement of a target at a MAC; the headers and addresses stand already. `flags`: ND_ROUTER and so on. */
export function writeAdvertisement(
  view: DataView,
  packet: Packet,
  flags: number,
  a: number,
  b: number,
  c: number,
  d: number,
  high: number,
  low: number,
): void {
  const icmp = ndMessage(packet);
  view.setInt32(icmp + ICMPV6_TYPE, ND_NEIGHBOR_ADVERTISEMENT << 24);
  view.setInt32(icmp + ND_FLAGS, flags);
  setIpv6Address(view, icmp + ND_TARGET, a, b, c, d);
  writeLinkAddressOption(view, icmp + ND_NEIGHBOR_LENGTH, ND_OPTION_TARGET_LINK_ADDRESS, high, low);
  finishNd(view, packet, ND_NEIGHBOR_LENGTH + ND_OPTION_UNIT);
}

/**
 * Writes a solicitation of a target; the headers and addresses stand already.
 * @param hasOption the sender's MAC goes with it; it must not where the source is :: (RFC 4861, 4.3)
 */
export function writeSolicitation(
  view: DataView,
  packet: Packet,
  a: number,
  b: number,
  c: number,
  d: number,
  hasOption: boolean,
  high: number,
  low: number,
): void {
  const icmp = ndMessage(packet);
  view.setInt32(icmp + ICMPV6_TYPE, ND_NEIGHBOR_SOLICITATION << 24);
  view.setInt32(icmp + ND_FLAGS, 0);
  setIpv6Address(view, icmp + ND_TARGET, a, b, c, d);
  if (hasOption) writeLinkAddressOption(view, icmp + ND_NEIGHBOR_LENGTH, ND_OPTION_SOURCE_LINK_ADDRESS, high, low);
  finishNd(view, packet, hasOption ? ND_NEIGHBOR_LENGTH + ND_OPTION_UNIT : ND_NEIGHBOR_LENGTH);
}

/** Sets lengths and checksum of a frame whose message of `length` bytes is complete but for the checksum, which is 0. */
export function finishNd(view: DataView, packet: Packet, length: number): void {
  const ip = packet.start + ETHERNET_HEADER_LENGTH;
  const icmp = ip + IPV6_HEADER_LENGTH;
  view.setUint16(ip + IPV6_PAYLOAD_LENGTH, length);
  const sum = sumBytes(view, icmp, length) + pseudoHeaderSum6(view, ip, PROTOCOL_ICMPV6, length);
  view.setUint16(icmp + ICMPV6_CHECKSUM, finishChecksum(sum));
  packet.length = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + length;
}
