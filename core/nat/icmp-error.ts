/**
 * ICMP errors across an address translation (RFC 5508, 4; RFC 4443, 3). An error quotes the packet that it is about, as that was where the
 * error arose: the connection is found by the quoted addresses and ports, and the quote is translated back together with the header
 * around it, so that the sender recognizes what he sent.
 *
 * Quotes may be cut anywhere behind the ports. Extensions behind a quote (RFC 4884) stay as they are.
 */

import { DROP_ICMP_INVALID, DROP_IP_CHECKSUM, DROP_NO_FLOW, DROP_NONE } from '../drop.js';
import { nonZeroChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { isWholeMessage } from '../router/icmp.js';
import { ICMP_CHECKSUM, ICMP_HEADER_LENGTH, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../wire/icmp.js';
import { ICMPV6_HEADER_LENGTH, PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_HEADER_LENGTH,
  IPV4_OFFSET_MASK,
  IPV4_SOURCE,
  ipv4Fragment,
  ipv4HeaderLength,
  ipv4Protocol,
  ipv4TotalLength,
  ipv4VersionIhl,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_EXTENSION_UNIT,
  IPV6_FRAGMENT,
  IPV6_FRAGMENT_OFFSET_MASK,
  IPV6_HEADER_LENGTH,
  IPV6_ROUTING,
  IPV6_SOURCE,
  ipv6ExtensionLength,
  ipv6FragmentField,
  ipv6NextHeader,
  ipv6PayloadLength,
  ipv6Version,
  isIpv6Extension,
} from '../wire/ipv6.js';
import { MAX_IPV6_EXTENSIONS } from '../wire/parse.js';
import {
  DCCP_CHECKSUM,
  PROTOCOL_DCCP,
  PROTOCOL_SCTP,
  PROTOCOL_UDP_LITE,
  SCTP_CHECKSUM,
  UDP_LITE_CHECKSUM,
} from '../wire/sctp.js';
import { TCP_CHECKSUM } from '../wire/tcp.js';
import { UDP_CHECKSUM } from '../wire/udp.js';
import { updateCrc32c } from './crc32c.js';
import { changeOf, ICMP_IDENTIFIER, isIcmpQueryType, isPartial, setAddress6, updated, updatedSum } from './rewrite.js';

/** The quote in the error that was read last; the translation goes by it. */
export const embedded = {
  protocol: 0,
  /** Of IPv4, int32. */
  source: 0,
  destination: 0,
  /** Of IPv6: source, then destination. */
  words: new Int32Array(8),
  /** As `portsOf` gives them; 0 where the protocol has none. */
  ports: 0,
  /** Absolute offsets: quoted IP header, transport header, end of the quote. */
  l3: 0,
  l4: 0,
  end: 0,
  /** Octets of the quoted packet from its transport header on, by its own length, however much of it is quoted. */
  length: 0,
};

/** Octets of the quote's length, and its unit, in the header of errors that may have extensions (RFC 4884, 4). */
const ICMP_QUOTE_LENGTH = 5;
const ICMP_QUOTE_UNIT = 4;
const ICMPV6_QUOTE_LENGTH = 4;
const ICMPV6_QUOTE_UNIT = 8;

const ICMP_PARAMETER_PROBLEM = 12;
const ICMPV6_UNREACHABLE = 1;
const ICMPV6_TIME_EXCEEDED = 3;
const ICMPV6_PARAMETER_PROBLEM = 4;

/** Octets of a transport header that must be quoted: the ports, or type, code, checksum and identifier. */
const PORTS_LENGTH = 4;
const QUERY_LENGTH = 6;

/**
 * Whether a packet is an ICMP or ICMPv6 error that is translated. Redirects are about the link that they are on, source quench is no more
 * (RFC 6633).
 */
export function isIcmpError(view: DataView, packet: Packet): boolean {
  const { protocol, l4 } = packet;
  if (l4 === -1) return false;
  if (protocol === PROTOCOL_ICMP) return isIcmpErrorType(view.getUint8(l4));
  if (protocol !== PROTOCOL_ICMPV6) return false;
  const type = view.getUint8(l4);
  return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

function isIcmpErrorType(type: number): boolean {
  return type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM;
}

/**
 * Reads the quote of an ICMP error into `embedded` (RFC 5508, REQ-3): checks the error's checksum and the quoted header's, skips options,
 * and leaves the quoted transport checksum alone, which the quoting host may never have finished. An error is sent to whom sent the quoted
 * packet: any other is not to be believed.
 *
 * Precondition: `isIcmpError`, over IPv4.
 *
 * @returns DROP_NONE; DROP_ICMP_INVALID; DROP_IP_CHECKSUM: the quoted header's; DROP_NO_FLOW: a quote that has no ports
 */
export function readEmbedded4(view: DataView, packet: Packet): number {
  const { l4, l3End } = packet;
  if (!isWholeMessage(packet)) return DROP_ICMP_INVALID;
  if (!isPartial(packet, ICMP_CHECKSUM) && sumBytes(view, l4, l3End - l4) !== 0xffff) return DROP_ICMP_INVALID;
  const l3 = l4 + ICMP_HEADER_LENGTH;
  const end = quoteEnd(l3, l3End, view.getUint8(l4 + ICMP_QUOTE_LENGTH) * ICMP_QUOTE_UNIT);
  const headerLength = l3 + IPV4_HEADER_LENGTH > end ? 0 : embeddedHeaderLength(view, l3, end);
  if (headerLength === 0) return DROP_ICMP_INVALID;
  if (sumBytes(view, l3, headerLength) !== 0xffff) return DROP_IP_CHECKSUM;
  embedded.source = view.getInt32(l3 + IPV4_SOURCE);
  embedded.destination = view.getInt32(l3 + IPV4_DESTINATION);
  if (view.getInt32(packet.l3 + IPV4_DESTINATION) !== embedded.source) return DROP_ICMP_INVALID;
  if ((ipv4Fragment(view, l3) & IPV4_OFFSET_MASK) !== 0) return DROP_NO_FLOW;
  const total = ipv4TotalLength(view, l3);
  if (total < headerLength) return DROP_ICMP_INVALID;
  return readTransport(
    view,
    l3,
    l3 + headerLength,
    Math.min(end, l3 + total),
    total - headerLength,
    ipv4Protocol(view, l3),
  );
}

/** The end of the quote: where the header says, if it says it, else that of the packet. */
function quoteEnd(from: number, packetEnd: number, length: number): number {
  return length === 0 ? packetEnd : Math.min(packetEnd, from + length);
}

/** Length of the quoted IPv4 header with its options; 0 where that is none, or not all there. */
function embeddedHeaderLength(view: DataView, l3: number, end: number): number {
  if (ipv4VersionIhl(view, l3) >> 4 !== 4) return 0;
  const length = ipv4HeaderLength(view, l3);
  return length >= IPV4_HEADER_LENGTH && l3 + length <= end ? length : 0;
}

/**
 * The same over IPv6. The quote is as long as fits into 1280 octets.
 *
 * @returns DROP_NONE, DROP_ICMP_INVALID or DROP_NO_FLOW
 */
export function readEmbedded6(view: DataView, packet: Packet): number {
  const { l3, l4, l3End } = packet;
  if (!isWholeMessage(packet)) return DROP_ICMP_INVALID;
  if (!isPartial(packet, ICMP_CHECKSUM) && !isSumRight6(view, packet)) return DROP_ICMP_INVALID;
  const quoted = l4 + ICMPV6_HEADER_LENGTH;
  const end = quoteEnd(quoted, l3End, quoteLength6(view, l4));
  if (quoted + IPV6_HEADER_LENGTH > end || ipv6Version(view, quoted) !== 6) return DROP_ICMP_INVALID;
  const { words } = embedded;
  for (let i = 0; i < 8; i++) words[i] = view.getInt32(quoted + IPV6_SOURCE + 4 * i);
  for (let i = 0; i < 4; i++) {
    if (view.getInt32(l3 + IPV6_DESTINATION + 4 * i) !== words[i]) return DROP_ICMP_INVALID;
  }
  return readChain(view, quoted, end);
}

function isSumRight6(view: DataView, packet: Packet): boolean {
  const { l3, l4, l3End } = packet;
  const pseudo = pseudoHeaderSum6(view, l3, PROTOCOL_ICMPV6, l3End - l4);
  const total = pseudo + sumBytes(view, l4, l3End - l4);
  return total === 0xffff || total === 0x1fffe;
}

/** Types 1 and 3 alone have it; the other two have a word of 32 bits there. */
function quoteLength6(view: DataView, l4: number): number {
  const type = view.getUint8(l4);
  if (type !== ICMPV6_UNREACHABLE && type !== ICMPV6_TIME_EXCEEDED) return 0;
  return view.getUint8(l4 + ICMPV6_QUOTE_LENGTH) * ICMPV6_QUOTE_UNIT;
}

/** Walks the quoted extension headers to the transport header. */
function readChain(view: DataView, l3: number, end: number): number {
  let kind = ipv6NextHeader(view, l3);
  let at = l3 + IPV6_HEADER_LENGTH;
  for (let count = 0; isIpv6Extension(kind); count++) {
    if (count === MAX_IPV6_EXTENSIONS || at + IPV6_EXTENSION_UNIT > end) return DROP_NO_FLOW;
    if (kind === IPV6_FRAGMENT && (ipv6FragmentField(view, at) & IPV6_FRAGMENT_OFFSET_MASK) !== 0) return DROP_NO_FLOW;
    // Its destination is not the connection's.
    if (kind === IPV6_ROUTING && view.getUint8(at + 3) !== 0) return DROP_NO_FLOW;
    const length = ipv6ExtensionLength(view, at, kind);
    kind = view.getUint8(at);
    at += length;
  }
  const length = l3 + IPV6_HEADER_LENGTH + ipv6PayloadLength(view, l3) - at;
  if (at > end || length < 0) return DROP_NO_FLOW;
  return readTransport(view, l3, at, Math.min(end, at + length), length, kind);
}

/** An error about an error is no more than noise (RFC 1122, 3.2.2): of ICMP only queries are found. */
function readTransport(view: DataView, l3: number, l4: number, end: number, length: number, protocol: number): number {
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  embedded.protocol = protocol;
  embedded.l3 = l3;
  embedded.l4 = l4;
  embedded.end = end;
  embedded.length = length;
  embedded.ports = 0;
  if (isIcmp) {
    if (l4 + QUERY_LENGTH > end) return DROP_NO_FLOW;
    if (!isIcmpQueryType(protocol, view.getUint8(l4))) return DROP_NO_FLOW;
    const identifier = view.getUint16(l4 + ICMP_IDENTIFIER);
    embedded.ports = (identifier << 16) | identifier;
  } else if (hasPorts(protocol)) {
    if (l4 + PORTS_LENGTH > end) return DROP_NO_FLOW;
    embedded.ports = view.getInt32(l4);
  }
  return DROP_NONE;
}

function hasPorts(protocol: number): boolean {
  return protocol === PROTOCOL_SCTP || checksumPlace(protocol) >= 0;
}

/** Where the checksum stands in a quoted header that has ports and a sum over a pseudo-header; -1: in none such. */
function checksumPlace(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return TCP_CHECKSUM;
  if (protocol === PROTOCOL_UDP) return UDP_CHECKSUM;
  if (protocol === PROTOCOL_UDP_LITE) return UDP_LITE_CHECKSUM;
  return protocol === PROTOCOL_DCCP ? DCCP_CHECKSUM : -1;
}

/**
 * Gives an ICMP error, and the packet quoted in it, these addresses and ports (RFC 5508, REQ-4 and REQ-5).
 *
 * Precondition: `readEmbedded4` has just found this packet sound; nobody else holds the slot.
 *
 * @param source of the header around the quote; so `destination`
 * @param ports of the quote; ignored where its protocol has none
 */
export function translateError4(
  view: DataView,
  packet: Packet,
  source: number,
  destination: number,
  quotedSource: number,
  quotedDestination: number,
  ports: number,
): void {
  const { l4 } = packet;
  setAddresses4(view, packet.l3, source, destination);
  const { l3 } = embedded;
  const addresses = setAddresses4(view, l3, quotedSource, quotedDestination);
  // The quoted header's own sum stays what it was, its checksum counted in: nothing of it changes the sum around it.
  const change = translateQuoted(view, addresses, ports);
  const at = l4 + ICMP_CHECKSUM;
  if (!isPartial(packet, ICMP_CHECKSUM)) view.setUint16(at, updated(view.getUint16(at), change));
}

/** Writes both addresses and updates the header's checksum. @returns the change of a sum over the addresses */
function setAddresses4(view: DataView, l3: number, source: number, destination: number): number {
  const change =
    changeOf(view.getInt32(l3 + IPV4_SOURCE), source) + changeOf(view.getInt32(l3 + IPV4_DESTINATION), destination);
  view.setUint16(l3 + IPV4_CHECKSUM, updated(view.getUint16(l3 + IPV4_CHECKSUM), change));
  view.setInt32(l3 + IPV4_SOURCE, source);
  view.setInt32(l3 + IPV4_DESTINATION, destination);
  return change;
}

/**
 * The same over IPv6.
 *
 * @param words 16 from `at` on: source and destination of the header around the quote, then of the quote
 */
export function translateError6(view: DataView, packet: Packet, words: Int32Array, at: number, ports: number): void {
  const { l4 } = packet;
  const outer = setAddresses6(view, packet.l3, words, at);
  const quoted = setAddresses6(view, embedded.l3, words, at + 8);
  const change = outer + quoted + translateQuoted(view, quoted, ports);
  const place = l4 + ICMP_CHECKSUM;
  const checksum = view.getUint16(place);
  if (isPartial(packet, ICMP_CHECKSUM)) view.setUint16(place, updatedSum(checksum, outer));
  else view.setUint16(place, updated(checksum, change));
}

function setAddresses6(view: DataView, l3: number, words: Int32Array, at: number): number {
  return setAddress6(view, l3 + IPV6_SOURCE, words, at) + setAddress6(view, l3 + IPV6_DESTINATION, words, at + 4);
}

/**
 * Ports and checksum of the quoted transport header, as much of it as is quoted.
 *
 * @param addresses change of the quoted pseudo-header's sum
 * @returns change of a sum over the quoted transport header
 */
function translateQuoted(view: DataView, addresses: number, ports: number): number {
  const { protocol } = embedded;
  if (protocol === PROTOCOL_ICMP) return translateQuery(view, 0, ports);
  if (protocol === PROTOCOL_ICMPV6) return translateQuery(view, addresses, ports);
  if (protocol === PROTOCOL_SCTP) return translateSctp(view, ports);
  const offset = checksumPlace(protocol);
  return offset < 0 ? 0 : translateSummed(view, offset, addresses, ports);
}

function translateQuery(view: DataView, addresses: number, ports: number): number {
  const { l4 } = embedded;
  const identifier = ports & 0xffff;
  const change = identifier - view.getUint16(l4 + ICMP_IDENTIFIER);
  view.setUint16(l4 + ICMP_IDENTIFIER, identifier);
  return change + updateAt(view, l4 + ICMP_CHECKSUM, addresses + change, false);
}

/** A quoted UDP checksum of 0 says that there was none: it stays. */
function translateSummed(view: DataView, offset: number, addresses: number, ports: number): number {
  const { l4, end, protocol } = embedded;
  const change = changeOf(view.getInt32(l4), ports);
  view.setInt32(l4, ports);
  const at = l4 + offset;
  if (at + 2 > end) return change;
  if (protocol === PROTOCOL_UDP && view.getUint16(at) === 0) return change;
  return change + updateAt(view, at, addresses + change, protocol === PROTOCOL_UDP || protocol === PROTOCOL_UDP_LITE);
}

/** @returns by how much the word of the checksum itself has grown */
function updateAt(view: DataView, at: number, change: number, isNeverZero: boolean): number {
  const before = view.getUint16(at);
  const after = updated(before, change);
  view.setUint16(at, isNeverZero ? nonZeroChecksum(after) : after);
  return view.getUint16(at) - before;
}

function translateSctp(view: DataView, ports: number): number {
  const { l4, end, length } = embedded;
  const before = view.getInt32(l4, true);
  const change = changeOf(view.getInt32(l4), ports);
  view.setInt32(l4, ports);
  const at = l4 + SCTP_CHECKSUM;
  if (at + 4 > end || view.getInt32(at) === 0) return change;
  const checksum = view.getInt32(at);
  view.setInt32(at, updateCrc32c(view.getInt32(at, true), before, view.getInt32(l4, true), length), true);
  return change + changeOf(checksum, view.getInt32(at));
}
