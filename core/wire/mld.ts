/**
 * Multicast listener discovery: version 1 (RFC 2710, 3), version 2 (RFC 3810, 5). Messages of ICMPv6; offsets count from its header.
 * The types of reports stand in icmpv6.ts. Records, codes and flags are those of IGMP version 3, with longer addresses.
 */

import { finishChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import { PACKET_FRAGMENT, PACKET_IPV6_EXTENSIONS, type Packet } from '../packet/packet.js';
import {
  ICMPV6_CHECKSUM,
  ICMPV6_CODE,
  ICMPV6_MLD_REPORT,
  ICMPV6_MLD2_REPORT,
  isIcmpv6ChecksumRight,
  PROTOCOL_ICMPV6,
} from './icmpv6.js';
import { areRecordsValid, type QueryFields, recordLength } from './igmp.js';
import {
  IPV6_HEADER_LENGTH,
  IPV6_HOP_BY_HOP,
  IPV6_SOURCE,
  ipv6ExtensionLength,
  ipv6HopLimit,
  ipv6NextHeader,
} from './ipv6.js';

export const MLD_QUERY = 130;
/** Multicast router discovery (RFC 4286, 3). */
export const MLD_ROUTER_ADVERTISEMENT = 151;

export const MLD_MAX_RESPONSE = 4;
export const MLD_GROUP = 8;
/** Messages of version 1. */
export const MLD_LENGTH = 24;
/** Query of version 2 (RFC 3810, 5.1): as in IGMP version 3. */
export const MLD_QUERY_FLAGS = 24;
export const MLD_QUERY_INTERVAL = 25;
export const MLD_QUERY_SOURCES = 26;
export const MLD_V2_QUERY_LENGTH = 28;
/** Report of version 2 (RFC 3810, 5.2): the number of records, then these. */
export const MLD_V2_RECORDS = 6;
export const MLD_V2_REPORT_LENGTH = 8;

const IPV6_ADDRESS_LENGTH = 16;
const MLD_TYPE = 0;
const MLD_RESERVED = 6;

/** Options of a hop-by-hop header (RFC 8200, 4.2): Pad1 has no length octet. Router Alert is RFC 2711's. */
const OPTION_PAD1 = 0;
const OPTION_ROUTER_ALERT = 5;
/** A hop-by-hop header with Router Alert for MLD, behind the next header's number: length 0, the option, PadN of no bytes. */
const ROUTER_ALERT_LENGTH = 0x00;
const ROUTER_ALERT_OPTION = 0x05020000;
const PAD_TWO = 0x0100;
export const MLD_HOP_BY_HOP_LENGTH = 8;

/**
 * Whether an IPv6 packet's MLD message may be made use of: hop limit 1, a link-local source (reports also from ::, RFC 3590), a Router
 * Alert (RFC 3810, 5.1.14, 5.2.13 and 6.2: all others are to be ignored), and its checksum right, unless the sender left it to us.
 *
 * Precondition: packet.l4 is a proven ICMPv6 header in the IPv6 packet packet.l3 to l3End.
 */
export function isMldIntact(view: DataView, packet: Packet): boolean {
  const l3 = packet.l3;
  if ((packet.flags & PACKET_FRAGMENT) !== 0 || (packet.flags & PACKET_IPV6_EXTENSIONS) === 0) return false;
  if (ipv6HopLimit(view, l3) !== 1 || !isSourceValid(view, packet) || !hasRouterAlert(view, packet)) return false;
  return isIcmpv6ChecksumRight(view, packet);
}

function isSourceValid(view: DataView, packet: Packet): boolean {
  const at = packet.l3 + IPV6_SOURCE;
  if ((view.getUint16(at) & 0xffc0) === 0xfe80) return true;
  const type = view.getUint8(packet.l4 + MLD_TYPE);
  if (type !== ICMPV6_MLD_REPORT && type !== ICMPV6_MLD2_REPORT) return false;
  const first = view.getInt32(at) | view.getInt32(at + 4);
  return (first | view.getInt32(at + 8) | view.getInt32(at + 12)) === 0;
}

/** Looks through the hop-by-hop header, which the parse has proven to lie before l4. */
function hasRouterAlert(view: DataView, packet: Packet): boolean {
  if (ipv6NextHeader(view, packet.l3) !== IPV6_HOP_BY_HOP) return false;
  const header = packet.l3 + IPV6_HEADER_LENGTH;
  const end = header + ipv6ExtensionLength(view, header, IPV6_HOP_BY_HOP);
  let at = header + 2;
  while (at < end) {
    const option = view.getUint8(at);
    if (option === OPTION_PAD1) {
      at++;
      continue;
    }
    if (at + 2 > end) return false;
    const length = view.getUint8(at + 1);
    if (option === OPTION_ROUTER_ALERT) return length === 2 && at + 4 <= end && view.getUint16(at + 2) === 0;
    at += 2 + length;
  }
  return false;
}

/** Whether the address at `at` is a multicast address: ff00::/8. */
export function isIpv6Group(view: DataView, at: number): boolean {
  return view.getUint8(at) === 0xff;
}

/** Whether a query of `length` bytes is one of a version that exists (RFC 3810, 8.1) and its group and sources make sense. */
export function isMldQueryValid(view: DataView, at: number, length: number): boolean {
  if (length !== MLD_LENGTH && length < MLD_V2_QUERY_LENGTH) return false;
  if (!isGeneralQuery(view, at) && !isIpv6Group(view, at + MLD_GROUP)) return false;
  if (length === MLD_LENGTH) return true;
  return MLD_V2_QUERY_LENGTH + view.getUint16(at + MLD_QUERY_SOURCES) * IPV6_ADDRESS_LENGTH <= length;
}

function isGeneralQuery(view: DataView, at: number): boolean {
  const group = at + MLD_GROUP;
  const first = view.getInt32(group) | view.getInt32(group + 4);
  return (first | view.getInt32(group + 8) | view.getInt32(group + 12)) === 0;
}

/** Longest response time in milliseconds that a query of `length` bytes allows: in version 2 the upper half is floating point. */
export function mldMaxResponse(view: DataView, at: number, length: number): number {
  const code = view.getUint16(at + MLD_MAX_RESPONSE);
  if (length === MLD_LENGTH || code < 0x8000) return code;
  return ((code & 0x0fff) | 0x1000) << (((code >> 12) & 7) + 3);
}

/** Whether all records of a version 2 report of `length` bytes lie inside it. */
export function areMldRecordsValid(view: DataView, at: number, length: number): boolean {
  const count = view.getUint16(at + MLD_V2_RECORDS);
  return areRecordsValid(view, at + MLD_V2_REPORT_LENGTH, at + length, count, IPV6_ADDRESS_LENGTH);
}

/** Length of the version 2 record at `at`. */
export function mldRecordLength(view: DataView, at: number): number {
  return recordLength(view, at, IPV6_ADDRESS_LENGTH);
}

/** Writes the hop-by-hop header that an MLD message needs, MLD_HOP_BY_HOP_LENGTH bytes. */
export function writeMldHopByHop(view: DataView, at: number): void {
  view.setUint8(at, PROTOCOL_ICMPV6);
  view.setUint8(at + 1, ROUTER_ALERT_LENGTH);
  view.setInt32(at + 2, ROUTER_ALERT_OPTION);
  view.setUint16(at + 6, PAD_TWO);
}

/**
 * Writes a version 2 query without sources for the group that stands at `at + MLD_GROUP`, :: for a general one. MLD_V2_QUERY_LENGTH bytes.
 * @param l3 the IPv6 header, its addresses written already: the checksum covers them
 */
export function writeMldQuery(view: DataView, l3: number, at: number, fields: QueryFields): void {
  view.setUint8(at + MLD_TYPE, MLD_QUERY);
  view.setUint8(at + ICMPV6_CODE, 0);
  view.setUint16(at + ICMPV6_CHECKSUM, 0);
  view.setUint16(at + MLD_MAX_RESPONSE, fields.maxResponse);
  view.setUint16(at + MLD_RESERVED, 0);
  view.setUint8(at + MLD_QUERY_FLAGS, fields.robustness);
  view.setUint8(at + MLD_QUERY_INTERVAL, fields.interval);
  view.setUint16(at + MLD_QUERY_SOURCES, 0);
  const sum = sumBytes(view, at, MLD_V2_QUERY_LENGTH);
  const pseudo = pseudoHeaderSum6(view, l3, PROTOCOL_ICMPV6, MLD_V2_QUERY_LENGTH);
  view.setUint16(at + ICMPV6_CHECKSUM, finishChecksum(sum + pseudo));
}
