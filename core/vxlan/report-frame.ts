/**
 * The frames by which a host says which groups it listens to: IGMPv1 to v3 (RFC 1112, appendix I; RFC 2236, 2; RFC 3376, 4.2), MLDv1 and v2
 * (RFC 2710, 3; RFC 3810, 5.2). Always for all sources.
 */

import { finishChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import type { RouterInterface } from '../router/interface.js';
import { writeIgmpHeaders, writeMldHeaders } from '../switch/query-frame.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import {
  ICMPV6_CHECKSUM,
  type ICMPV6_MLD_DONE,
  ICMPV6_MLD_REPORT,
  ICMPV6_MLD2_REPORT,
  ICMPV6_TYPE,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import {
  IGMP_CHECKSUM,
  IGMP_GROUP,
  IGMP_LEAVE,
  IGMP_LENGTH,
  IGMP_TYPE,
  IGMP_V3_RECORDS,
  IGMP_V3_REPORT,
  RECORD_GROUP,
  RECORD_TYPE,
} from '../wire/igmp.js';
import { setIpv6Address } from '../wire/ipv6.js';
import { MLD_GROUP, MLD_LENGTH, MLD_MAX_RESPONSE, MLD_V2_RECORDS, MLD_V2_REPORT_LENGTH } from '../wire/mld.js';

/** Where leaves of IGMPv2 go, and reports of IGMPv3: 224.0.0.2 and 224.0.0.22. */
const IPV4_ALL_ROUTERS = 0xe0000002 | 0;
const IPV4_ALL_REPORTS = 0xe0000016 | 0;
/** The same for MLD: ff02::2 and ff02::16. */
const IPV6_LINK_GROUP = 0xff020000 | 0;
const IPV6_ALL_ROUTERS = 2;
const IPV6_ALL_REPORTS = 0x16;

/** A record without sources. */
const IGMP_RECORD_LENGTH = 8;
const MLD_RECORD_LENGTH = 20;

/** What is to be said of a group, four words, IPv4 mapped: `type` MODE_IS_EXCLUDE and so on (wire/igmp.ts). */
export interface GroupRecord {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly type: number;
}

/** Records of one report: with those of MLD it still fits into the least MTU of IPv6. */
export const MAX_RECORDS = 61;

/** Writes a report of IGMPv3 at `packet.start` and sets the length. At most MAX_RECORDS. */
export function writeIgmpReport(
  view: DataView,
  packet: Packet,
  iface: RouterInterface,
  records: readonly GroupRecord[],
): void {
  const length = IGMP_LENGTH + records.length * IGMP_RECORD_LENGTH;
  const at = beginIgmp(view, packet, iface, IPV4_ALL_REPORTS, length);
  view.setInt32(at + IGMP_TYPE, IGMP_V3_REPORT << 24);
  view.setInt32(at + IGMP_GROUP, 0);
  view.setUint16(at + IGMP_V3_RECORDS, records.length);
  records.forEach(({ type, d }, i) => {
    const record = at + IGMP_LENGTH + i * IGMP_RECORD_LENGTH;
    view.setInt32(record + RECORD_TYPE, type << 24);
    view.setInt32(record + RECORD_GROUP, d);
  });
  view.setUint16(at + IGMP_CHECKSUM, finishChecksum(sumBytes(view, at, length)));
}

/** Writes a report of version 1 or 2, or a leave: `type` IGMP_V1_REPORT, IGMP_V2_REPORT or IGMP_LEAVE. */
export function writeOldIgmp(
  view: DataView,
  packet: Packet,
  iface: RouterInterface,
  type: number,
  { d }: GroupRecord,
): void {
  const at = beginIgmp(view, packet, iface, type === IGMP_LEAVE ? IPV4_ALL_ROUTERS : d, IGMP_LENGTH);
  view.setInt32(at + IGMP_TYPE, type << 24);
  view.setInt32(at + IGMP_GROUP, d);
  view.setUint16(at + IGMP_CHECKSUM, finishChecksum(sumBytes(view, at, IGMP_LENGTH)));
}

function beginIgmp(view: DataView, packet: Packet, iface: RouterInterface, to: number, length: number): number {
  const { macHigh, macLow, addresses4 } = iface;
  // From 0.0.0.0 where there is no address (RFC 3376, 4.2.13).
  return writeIgmpHeaders(view, packet, macHigh, macLow, addresses4.length > 0 ? addresses4[0] : 0, to, length);
}

/** Writes a report of MLDv2, as writeIgmpReport. */
export function writeMldReport(
  view: DataView,
  packet: Packet,
  iface: RouterInterface,
  records: readonly GroupRecord[],
): void {
  const length = MLD_V2_REPORT_LENGTH + records.length * MLD_RECORD_LENGTH;
  const { macHigh, macLow, linkLocal } = iface;
  const last = IPV6_ALL_REPORTS;
  const at = writeMldHeaders(view, packet, macHigh, macLow, linkLocal, IPV6_LINK_GROUP, 0, 0, last, length);
  view.setInt32(at + ICMPV6_TYPE, ICMPV6_MLD2_REPORT << 24);
  view.setInt32(at + MLD_MAX_RESPONSE, 0);
  view.setUint16(at + MLD_V2_RECORDS, records.length);
  records.forEach(({ type, a, b, c, d }, i) => {
    const record = at + MLD_V2_REPORT_LENGTH + i * MLD_RECORD_LENGTH;
    view.setInt32(record + RECORD_TYPE, type << 24);
    setIpv6Address(view, record + RECORD_GROUP, a, b, c, d);
  });
  finishMld(view, packet, at, length);
}

/** Writes a report or a "done" of version 1: `type` ICMPV6_MLD_REPORT or ICMPV6_MLD_DONE. */
export function writeOldMld(
  view: DataView,
  packet: Packet,
  iface: RouterInterface,
  type: typeof ICMPV6_MLD_REPORT | typeof ICMPV6_MLD_DONE,
  { a, b, c, d }: GroupRecord,
): void {
  const { macHigh, macLow, linkLocal } = iface;
  const at =
    type === ICMPV6_MLD_REPORT
      ? writeMldHeaders(view, packet, macHigh, macLow, linkLocal, a, b, c, d, MLD_LENGTH)
      : writeMldHeaders(view, packet, macHigh, macLow, linkLocal, IPV6_LINK_GROUP, 0, 0, IPV6_ALL_ROUTERS, MLD_LENGTH);
  view.setInt32(at + ICMPV6_TYPE, type << 24);
  view.setInt32(at + MLD_MAX_RESPONSE, 0);
  setIpv6Address(view, at + MLD_GROUP, a, b, c, d);
  finishMld(view, packet, at, MLD_LENGTH);
}

function finishMld(view: DataView, packet: Packet, at: number, length: number): void {
  const pseudo = pseudoHeaderSum6(view, packet.start + ETHERNET_HEADER_LENGTH, PROTOCOL_ICMPV6, length);
  view.setUint16(at + ICMPV6_CHECKSUM, finishChecksum(pseudo + sumBytes(view, at, length)));
}
