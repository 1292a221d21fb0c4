/**
 * The frames that a querier sends: IGMPv3 (RFC 3376, 4.1) and MLDv2 queries (RFC 3810, 5.1) without sources. Hosts of older versions read
 * the first part of them, the fields that their own version has.
 */

import { sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, setEthernetHeader } from '../wire/ethernet.js';
import { IGMP_V3_QUERY_LENGTH, type QueryFields, writeIgmpQuery } from '../wire/igmp.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_IDENTIFICATION,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IPV4_VERSION_IHL,
} from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_HOP_BY_HOP,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  IPV6_VERSION,
  LINK_LOCAL,
  setIpv6Address,
} from '../wire/ipv6.js';
import { MLD_GROUP, MLD_HOP_BY_HOP_LENGTH, MLD_V2_QUERY_LENGTH, writeMldHopByHop, writeMldQuery } from '../wire/mld.js';
import { PROTOCOL_IGMP } from '../wire/multicast-router.js';

/** What queries say of the querier's timers (RFC 3376, 8.1 and 8.2); see querier.ts. */
export const ROBUSTNESS = 2;
/** Seconds. */
export const QUERY_INTERVAL = 125;

/** General queries, in the wire's units: one for all hosts at leisure, one for what is behind a new port, and those after a leave. */
export const IGMP_GENERAL: QueryFields = { maxResponse: 100, robustness: ROBUSTNESS, interval: QUERY_INTERVAL };
export const IGMP_QUICK: QueryFields = { maxResponse: 10, robustness: ROBUSTNESS, interval: QUERY_INTERVAL };
export const MLD_GENERAL: QueryFields = { maxResponse: 10_000, robustness: ROBUSTNESS, interval: QUERY_INTERVAL };
export const MLD_QUICK: QueryFields = { maxResponse: 1000, robustness: ROBUSTNESS, interval: QUERY_INTERVAL };

/** The first half of a switch's own interface identifier. */
export const OWN_IDENTIFIER = 0xfeff0000 | 0;

/** Who asks. */
export interface QuerySource {
  readonly macHigh: number;
  readonly macLow: number;
  /** IPv4 address; 0: a switch, which has none (RFC 4541, 2.1.1). */
  readonly address4: number;
  /** Link-local address, four words. */
  readonly linkLocal: Int32Array;
}

/** A switch that has no address: it gives way to any router. */
export function switchSource(macHigh: number, macLow: number): QuerySource {
  return { macHigh, macLow, address4: 0, linkLocal: Int32Array.of(LINK_LOCAL, 0, OWN_IDENTIFIER | macHigh, macLow) };
}

/** Shortest frame without FCS (IEEE 802.3-2022, 3.2.8). */
const MINIMUM_FRAME = 60;
const IGMP_IPV4_HEADER_LENGTH = IPV4_HEADER_LENGTH + 4;
/** Version 4, six words of header, precedence "internetwork control" (RFC 3376, 4). */
const IGMP_IPV4_FIRST = 0x46c0;
/** Router Alert (RFC 2113). */
const ROUTER_ALERT = 0x94040000 | 0;
const IPV6_FIRST = 0x60000000;
/** First two octets of the MACs of IPv4 and IPv6 groups (RFC 1112, 6.4; RFC 2464, 7), and the third of IPv4's. */
export const IPV4_GROUP_MAC_HIGH = 0x0100;
export const IPV4_GROUP_MAC_LOW = 0x5e000000;
export const IPV6_GROUP_MAC_HIGH = 0x3333;
/** 224.0.0.1 and ff02::1, to which general queries go. */
const IPV4_ALL_HOSTS = 0xe0000001 | 0;
const IPV6_ALL_NODES_FIRST = 0xff020000 | 0;

/** The last four octets of the MAC of an IPv4 group. */
export function ipv4GroupMacLow(group: number): number {
  return IPV4_GROUP_MAC_LOW | (group & 0x7fffff);
}

/**
 * Writes an IGMPv3 query at `packet.start` and sets the length.
 * @param group 0: general
 */
export function writeIgmpQueryFrame(
  view: DataView,
  packet: Packet,
  { macHigh, macLow, address4 }: QuerySource,
  group: number,
  fields: QueryFields,
): void {
  const to = group === 0 ? IPV4_ALL_HOSTS : group;
  const l4 = writeIgmpHeaders(view, packet, macHigh, macLow, address4, to, IGMP_V3_QUERY_LENGTH);
  writeIgmpQuery(view, l4, group, fields);
}

/**
 * Writes all that stands before an IGMP message of `length` bytes, pads the frame behind it, and sets its length.
 * @param to group, whose MAC the frame goes to
 * @returns where the message begins
 */
export function writeIgmpHeaders(
  view: DataView,
  packet: Packet,
  macHigh: number,
  macLow: number,
  from: number,
  to: number,
  length: number,
): number {
  const start = packet.start;
  setEthernetHeader(view, start, IPV4_GROUP_MAC_HIGH, ipv4GroupMacLow(to), macHigh, macLow, ETHERTYPE_IPV4);
  const l3 = start + ETHERNET_HEADER_LENGTH;
  view.setUint16(l3 + IPV4_VERSION_IHL, IGMP_IPV4_FIRST);
  view.setUint16(l3 + IPV4_TOTAL_LENGTH, IGMP_IPV4_HEADER_LENGTH + length);
  view.setUint16(l3 + IPV4_IDENTIFICATION, 0);
  view.setUint16(l3 + IPV4_FRAGMENT, 0);
  view.setUint8(l3 + IPV4_TTL, 1);
  view.setUint8(l3 + IPV4_PROTOCOL, PROTOCOL_IGMP);
  view.setUint16(l3 + IPV4_CHECKSUM, 0);
  view.setInt32(l3 + IPV4_SOURCE, from);
  view.setInt32(l3 + IPV4_DESTINATION, to);
  view.setInt32(l3 + IPV4_HEADER_LENGTH, ROUTER_ALERT);
  view.setUint16(l3 + IPV4_CHECKSUM, ~sumBytes(view, l3, IGMP_IPV4_HEADER_LENGTH) & 0xffff);
  const l4 = l3 + IGMP_IPV4_HEADER_LENGTH;
  for (let pad = l4 + length; pad < start + MINIMUM_FRAME; pad++) view.setUint8(pad, 0);
  packet.length = Math.max(l4 + length - start, MINIMUM_FRAME);
  return l4;
}

/** Writes an MLDv2 query at `packet.start` and sets the length. The group is four words, all 0: general. */
export function writeMldQueryFrame(
  view: DataView,
  packet: Packet,
  { macHigh, macLow, linkLocal }: QuerySource,
  a: number,
  b: number,
  c: number,
  d: number,
  fields: QueryFields,
): void {
  const l4 =
    a === 0
      ? writeMldHeaders(view, packet, macHigh, macLow, linkLocal, IPV6_ALL_NODES_FIRST, 0, 0, 1, MLD_V2_QUERY_LENGTH)
      : writeMldHeaders(view, packet, macHigh, macLow, linkLocal, a, b, c, d, MLD_V2_QUERY_LENGTH);
  setIpv6Address(view, l4 + MLD_GROUP, a, b, c, d);
  writeMldQuery(view, packet.start + ETHERNET_HEADER_LENGTH, l4, fields);
}

/**
 * Writes all that stands before an MLD message of `length` bytes, and sets the frame's length.
 * @param from four words; the destination's are `a` to `d`, a group, whose MAC the frame goes to
 * @returns where the message begins
 */
export function writeMldHeaders(
  view: DataView,
  packet: Packet,
  macHigh: number,
  macLow: number,
  from: Int32Array,
  a: number,
  b: number,
  c: number,
  d: number,
  length: number,
): number {
  const start = packet.start;
  const l3 = start + ETHERNET_HEADER_LENGTH;
  const l4 = l3 + IPV6_HEADER_LENGTH + MLD_HOP_BY_HOP_LENGTH;
  setEthernetHeader(view, start, IPV6_GROUP_MAC_HIGH, d, macHigh, macLow, ETHERTYPE_IPV6);
  view.setInt32(l3 + IPV6_VERSION, IPV6_FIRST);
  view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, MLD_HOP_BY_HOP_LENGTH + length);
  view.setUint8(l3 + IPV6_NEXT_HEADER, IPV6_HOP_BY_HOP);
  view.setUint8(l3 + IPV6_HOP_LIMIT, 1);
  setIpv6Address(view, l3 + IPV6_SOURCE, from[0], from[1], from[2], from[3]);
  setIpv6Address(view, l3 + IPV6_DESTINATION, a, b, c, d);
  writeMldHopByHop(view, l3 + IPV6_HEADER_LENGTH);
  packet.length = l4 + length - start;
  return l4;
}
