/**
 * IGMP: version 1 (RFC 1112, appendix I), version 2 (RFC 2236, 2), version 3 (RFC 3376, 4). Offsets count from the IGMP header. The
 * length of a message is that of the IP payload; what stands behind its last field counts in the checksum only.
 */

import { sumBytes } from '../packet/checksum.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';

export const IGMP_TYPE = 0;
export const IGMP_MAX_RESPONSE = 1;
export const IGMP_CHECKSUM = 2;
export const IGMP_GROUP = 4;
/** Shortest message. */
export const IGMP_LENGTH = 8;

export const IGMP_QUERY = 0x11;
export const IGMP_V1_REPORT = 0x12;
export const IGMP_V2_REPORT = 0x16;
export const IGMP_LEAVE = 0x17;
export const IGMP_V3_REPORT = 0x22;
/** Multicast router discovery (RFC 4286, 3). */
export const IGMP_ROUTER_ADVERTISEMENT = 0x30;

/** Query of version 3 (RFC 3376, 4.1): S flag and robustness in one octet, then the interval, then the number of sources. */
export const IGMP_QUERY_FLAGS = 8;
export const IGMP_QUERY_INTERVAL = 9;
export const IGMP_QUERY_SOURCES = 10;
export const IGMP_V3_QUERY_LENGTH = 12;
/** S flag: routers are not to change their timers because of this query; MLD has it in the same place. */
export const QUERY_SUPPRESS = 0x08;
export const QUERY_ROBUSTNESS_MASK = 0x07;

/** Report of version 3 (RFC 3376, 4.2): the number of records, then these. */
export const IGMP_V3_RECORDS = 6;
/** A record: type, length of auxiliary data in 32-bit words, number of sources, group; sources and auxiliary data follow. */
export const RECORD_TYPE = 0;
export const RECORD_AUXILIARY = 1;
export const RECORD_SOURCES = 2;
export const RECORD_GROUP = 4;

/** Record types (RFC 3376, 4.2.12), the same in MLD (RFC 3810, 5.2.12). */
export const MODE_IS_INCLUDE = 1;
export const MODE_IS_EXCLUDE = 2;
export const CHANGE_TO_INCLUDE = 3;
export const CHANGE_TO_EXCLUDE = 4;
export const ALLOW_NEW_SOURCES = 5;
export const BLOCK_OLD_SOURCES = 6;

const IPV4_ADDRESS_LENGTH = 4;
/** Response time where a query says none: that of version 1 (RFC 3376, 7.2.1), in tenths of a second. */
const V1_RESPONSE = 100;

export function igmpType(view: DataView, at: number): number {
  return view.getUint8(at + IGMP_TYPE);
}

export function igmpGroup(view: DataView, at: number): number {
  return view.getInt32(at + IGMP_GROUP);
}

/**
 * Whether an IPv4 packet's IGMP message is whole and both checksums are right; anything else "should not be made use of" (RFC 4541,
 * 2.1.1, 4). Where the sender left the checksum to us, there is none to check. TTL and Router Alert are not asked for: stacks
 * that leave them out exist, and their hosts want their traffic all the same.
 *
 * Precondition: packet.l3 and l3End are an IPv4 packet's, its protocol is IGMP.
 */
export function isIgmpIntact(view: DataView, packet: Packet): boolean {
  const at = packet.l4;
  const length = packet.l3End - at;
  if (at < 0 || length < IGMP_LENGTH || (packet.flags & PACKET_FRAGMENT) !== 0) return false;
  if (sumBytes(view, packet.l3, at - packet.l3) !== 0xffff) return false;
  return (packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0 || sumBytes(view, at, length) === 0xffff;
}

/** IPv4 multicast: 224.0.0.0/4. */
export function isIpv4Group(address: number): boolean {
  return address >>> 28 === 0xe;
}

/** Whether a query of `length` bytes is one of a version that exists (RFC 3376, 7.1) and its group and sources make sense. */
export function isIgmpQueryValid(view: DataView, at: number, length: number): boolean {
  const group = igmpGroup(view, at);
  if (group !== 0 && !isIpv4Group(group)) return false;
  if (length === IGMP_LENGTH) return true;
  if (length < IGMP_V3_QUERY_LENGTH) return false;
  return IGMP_V3_QUERY_LENGTH + view.getUint16(at + IGMP_QUERY_SOURCES) * IPV4_ADDRESS_LENGTH <= length;
}

/** Longest response time in tenths of a second that a query of `length` bytes allows. */
export function igmpMaxResponse(view: DataView, at: number, length: number): number {
  const code = view.getUint8(at + IGMP_MAX_RESPONSE);
  if (length > IGMP_LENGTH) return floatingCode(code);
  return code === 0 ? V1_RESPONSE : code;
}

/** An 8-bit code whose upper half is floating point (RFC 3376, 4.1.1 and 4.1.7): at most 31,744. */
export function floatingCode(code: number): number {
  return code < 0x80 ? code : ((code & 0x0f) | 0x10) << (((code >> 4) & 7) + 3);
}

/** Whether all records of a version 3 report of `length` bytes lie inside it. */
export function areIgmpRecordsValid(view: DataView, at: number, length: number): boolean {
  return areRecordsValid(
    view,
    at + IGMP_LENGTH,
    at + length,
    view.getUint16(at + IGMP_V3_RECORDS),
    IPV4_ADDRESS_LENGTH,
  );
}

/** Walks `count` records from `at`; false where one runs over `end`. For MLD too, with its longer addresses. */
export function areRecordsValid(
  view: DataView,
  at: number,
  end: number,
  count: number,
  addressLength: number,
): boolean {
  for (let i = 0; i < count; i++) {
    if (at + RECORD_GROUP + addressLength > end) return false;
    at += recordLength(view, at, addressLength);
    if (at > end) return false;
  }
  return true;
}

/** Length of the record at `at`, as it says itself. Its fixed part must be readable. */
export function recordLength(view: DataView, at: number, addressLength: number): number {
  const sources = view.getUint16(at + RECORD_SOURCES);
  return RECORD_GROUP + addressLength + sources * addressLength + (view.getUint8(at + RECORD_AUXILIARY) << 2);
}

/** Length of the version 3 record at `at`. */
export function igmpRecordLength(view: DataView, at: number): number {
  return recordLength(view, at, IPV4_ADDRESS_LENGTH);
}

/** What a query says, in the units of the wire. */
export interface QueryFields {
  /** Tenths of a second for IGMP, milliseconds for MLD; small enough to be its own code (below 128, below 32,768). */
  readonly maxResponse: number;
  /** 1 to 7. */
  readonly robustness: number;
  /** Seconds, below 128. */
  readonly interval: number;
}

/**
 * Writes a version 3 query without sources, IGMP_V3_QUERY_LENGTH bytes; older hosts read its first eight bytes.
 * @param group 0 for a general query
 */
export function writeIgmpQuery(view: DataView, at: number, group: number, fields: QueryFields): void {
  view.setUint8(at + IGMP_TYPE, IGMP_QUERY);
  view.setUint8(at + IGMP_MAX_RESPONSE, fields.maxResponse);
  view.setUint16(at + IGMP_CHECKSUM, 0);
  view.setInt32(at + IGMP_GROUP, group);
  view.setUint8(at + IGMP_QUERY_FLAGS, fields.robustness);
  view.setUint8(at + IGMP_QUERY_INTERVAL, fields.interval);
  view.setUint16(at + IGMP_QUERY_SOURCES, 0);
  view.setUint16(at + IGMP_CHECKSUM, ~sumBytes(view, at, IGMP_V3_QUERY_LENGTH) & 0xffff);
}
