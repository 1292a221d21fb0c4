/**
 * ICMP that the router sends: errors about packets it does not forward (RFC 792; RFC 1812, 4.3), and replies to echo requests
 * (RFC 1812, 4.3.3.6). icmpv6.ts does the same for IPv6.
 */

import { DROP_ICMP_INVALID, DROP_IP_OPTIONS, DROP_NONE } from '../drop.js';
import type { Arena } from '../packet/arena.js';
import { checksum, completeChecksum, nonZeroChecksum, sumBytes, updateChecksum16 } from '../packet/checksum.js';
import {
  PACKET_FRAGMENT,
  PACKET_IPV4_OPTIONS,
  PACKET_L3_MALFORMED,
  PACKET_LATER_FRAGMENT,
  type Packet,
} from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_NONE } from '../packet/vnet.js';
import { isGroupDestination } from '../switch/admit.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import {
  ICMP_CHECKSUM,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LENGTH,
  ICMP_REDIRECT,
  ICMP_TIME_EXCEEDED,
  ICMP_TYPE,
  ICMP_UNREACHABLE,
  icmpCode,
  icmpType,
} from '../wire/icmp.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_IDENTIFICATION,
  IPV4_OPTION_END,
  IPV4_OPTION_NO_OPERATION,
  IPV4_OPTION_RECORD_ROUTE,
  IPV4_OPTION_TIMESTAMP,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IPV4_VERSION_IHL,
  ipv4Destination,
  ipv4HeaderLength,
  ipv4Source,
  PROTOCOL_ICMP,
} from '../wire/ipv4.js';
import { isHostAddress4 } from './martians.js';

export const ICMP_SOURCE_QUENCH = 4;
export const ICMP_PARAMETER_PROBLEM = 12;
/** RFC 8335. */
export const ICMP_EXTENDED_ECHO_REQUEST = 42;
export const ICMP_EXTENDED_ECHO_REPLY = 43;

/** Codes of ICMP_UNREACHABLE (RFC 792; RFC 1812, 5.2.7.1). */
export const ICMP_NET_UNREACHABLE = 0;
export const ICMP_HOST_UNREACHABLE = 1;
export const ICMP_PROTOCOL_UNREACHABLE = 2;
export const ICMP_PORT_UNREACHABLE = 3;
/** The lower half of the error's second word is the next MTU (RFC 1191, 4). */
export const ICMP_FRAGMENTATION_NEEDED = 4;
export const ICMP_ADMIN_PROHIBITED = 13;
/** Codes of ICMP_TIME_EXCEEDED. */
export const ICMP_TTL_EXCEEDED = 0;
export const ICMP_REASSEMBLY_TIME_EXCEEDED = 1;

/** TTL and hop limit of what the router sends itself (RFC 1700; RFC 1812, 4.2.2.9). */
export const OWN_TTL = 64;
/** Last type of RFC 1122's time; of the few defined since, nobody can tell whether they are errors. */
const LAST_CLASSIC_TYPE = 18;
/** Bytes of an error at most, IPv4 header included (RFC 1812, 4.3.2.3). */
const ERROR_MAXIMUM = 576;
const ERROR_HEADERS = IPV4_HEADER_LENGTH + ICMP_HEADER_LENGTH;
/** Version 4, five words of header, precedence "internetwork control" (RFC 1812, 4.3.2.5). */
const ERROR_FIRST = 0x45c0;
/** TTL and protocol in one word. */
const TTL_AND_ICMP = (OWN_TTL << 8) | PROTOCOL_ICMP;

/**
 * Whether an ICMP error may be sent about an IPv4 packet (RFC 1812, 4.3.2.7): not about ICMP errors, later fragments, packets to
 * more than one host by address or by frame, and packets from no single host. Broadcasts to a subnet, and from its broadcast address,
 * are the caller's to know.
 */
export function isErrorAllowed4(view: DataView, packet: Packet): boolean {
  if ((packet.flags & (PACKET_LATER_FRAGMENT | PACKET_L3_MALFORMED)) !== 0) return false;
  if (isGroupDestination(packet)) return false;
  if (!isHostAddress4(ipv4Source(view, packet.l3)) || !isHostAddress4(ipv4Destination(view, packet.l3))) return false;
  if (packet.protocol !== PROTOCOL_ICMP) return true;
  // Cut too short to tell: it may be an error.
  return packet.l4 !== -1 && !isIcmpError(icmpType(view, packet.l4));
}

/** RFC 1122, 3.2.2, names the errors. A type that is not known may be one, and is taken for one. */
function isIcmpError(type: number): boolean {
  if (type > LAST_CLASSIC_TYPE) return type !== ICMP_EXTENDED_ECHO_REQUEST && type !== ICMP_EXTENDED_ECHO_REPLY;
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_SOURCE_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM
  );
}

/**
 * Writes an ICMP error about `original` into `error`, from its network header on (the Ethernet header in front is the caller's), and
 * sets the length: never below 62 bytes, so that no padding is needed. Quotes the packet as it stands in its slot: call it before
 * anything is rewritten there. It goes to the packet's source, whole, with DF clear.
 *
 * Precondition: `isErrorAllowed4`, and another slot than the original's.
 *
 * @param extra second word of the message: the next MTU in its lower half for ICMP_FRAGMENTATION_NEEDED, the pointer in its upper
 *   octet for ICMP_PARAMETER_PROBLEM, else 0
 * @param source address of the router's to speak from (RFC 1812, 4.3.2.4)
 * @param identification 16 bits, another for each error where the sender counts (RFC 6864, 4.1)
 */
export function writeIcmpError(
  arena: Arena,
  error: Packet,
  original: Packet,
  type: number,
  code: number,
  extra: number,
  source: number,
  identification = 0,
): void {
  const { view } = arena;
  const l3 = error.start + ETHERNET_HEADER_LENGTH;
  const l4 = l3 + IPV4_HEADER_LENGTH;
  const quoted = Math.min(original.l3End - original.l3, ERROR_MAXIMUM - ERROR_HEADERS);
  writeErrorHeader(view, l3, ERROR_HEADERS + quoted, identification, source, ipv4Source(view, original.l3));
  arena.bytes.copyWithin(l4 + ICMP_HEADER_LENGTH, original.l3, original.l3 + quoted);
  view.setUint16(l4 + ICMP_TYPE, (type << 8) | code);
  view.setUint16(l4 + ICMP_CHECKSUM, 0);
  view.setInt32(l4 + 4, extra);
  view.setUint16(l4 + ICMP_CHECKSUM, checksum(arena, l4, ICMP_HEADER_LENGTH + quoted, 0));
  error.length = ETHERNET_HEADER_LENGTH + ERROR_HEADERS + quoted;
}

function writeErrorHeader(view: DataView, at: number, length: number, id: number, from: number, to: number): void {
  view.setUint16(at + IPV4_VERSION_IHL, ERROR_FIRST);
  view.setUint16(at + IPV4_TOTAL_LENGTH, length);
  view.setUint16(at + IPV4_IDENTIFICATION, id);
  view.setUint16(at + IPV4_FRAGMENT, 0);
  view.setUint16(at + IPV4_TTL, TTL_AND_ICMP);
  view.setInt32(at + IPV4_SOURCE, from);
  view.setInt32(at + IPV4_DESTINATION, to);
  writeHeaderChecksum(view, at, IPV4_HEADER_LENGTH);
}

function writeHeaderChecksum(view: DataView, at: number, length: number): void {
  view.setUint16(at + IPV4_CHECKSUM, 0);
  view.setUint16(at + IPV4_CHECKSUM, ~sumBytes(view, at, length) & 0xffff);
}

/**
 * Turns an ICMP echo request into its reply, in place: the data comes back whole, TOS, identification and code as they were, TTL
 * OWN_TTL, DF clear. The MACs stay as they are; handle and parse stay true.
 *
 * A request with options is answered where they are record route or timestamp, which come back with what is noted in them (RFC 1812,
 * 4.3.3.6; whether they may come this far is decided before, in options.ts), or padding. Source routes and options whose meaning in
 * a reply nobody knows are refused.
 *
 * Precondition: sent to an address of the router's, from that of a single host; header checksum verified; nobody else holds the slot.
 *
 * @param source address to reply from: the one that was pinged, unless that was a group's or a broadcast
 * @returns DROP_NONE: send it back. DROP_ICMP_INVALID: any other message, a fragment, a wrong checksum. DROP_IP_OPTIONS
 */
export function replyEcho4(arena: Arena, packet: Packet, source: number): number {
  const { view } = arena;
  const { l3, l4 } = packet;
  if (packet.protocol !== PROTOCOL_ICMP || !isWholeMessage(packet)) return DROP_ICMP_INVALID;
  if (icmpType(view, l4) !== ICMP_ECHO_REQUEST) return DROP_ICMP_INVALID;
  if ((packet.flags & PACKET_IPV4_OPTIONS) !== 0 && !areOptionsRepliable(view, l3)) return DROP_IP_OPTIONS;
  completeChecksum(arena, packet);
  if (sumBytes(view, l4, packet.l3End - l4) !== 0xffff) return DROP_ICMP_INVALID;
  turnMessage4(view, l4);
  view.setInt32(l3 + IPV4_DESTINATION, ipv4Source(view, l3));
  view.setInt32(l3 + IPV4_SOURCE, source);
  view.setUint16(l3 + IPV4_FRAGMENT, 0);
  view.setUint16(l3 + IPV4_TTL, TTL_AND_ICMP);
  writeHeaderChecksum(view, l3, ipv4HeaderLength(view, l3));
  return DROP_NONE;
}

/**
 * Whether an ICMP or ICMPv6 message is all there, and its checksum is either finished or to be finished where such a message has it.
 * Anywhere else it would overwrite what the parse has proven.
 */
export function isWholeMessage(packet: Packet): boolean {
  if (packet.l4 === -1 || (packet.flags & PACKET_FRAGMENT) !== 0 || packet.gsoType !== VNET_GSO_NONE) return false;
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) return true;
  return packet.start + packet.checksumStart === packet.l4 && packet.checksumOffset === ICMP_CHECKSUM;
}

/**
 * A reply whose every word is 0 needs the checksum 0xffff, which the update cannot tell from 0 (RFC 1624, 3): 0xffff is sent for
 * both, and both verify with it.
 */
function turnMessage4(view: DataView, l4: number): void {
  const code = icmpCode(view, l4);
  const before = view.getUint16(l4 + ICMP_CHECKSUM);
  const after = updateChecksum16(before, (ICMP_ECHO_REQUEST << 8) | code, (ICMP_ECHO_REPLY << 8) | code);
  view.setUint8(l4 + ICMP_TYPE, ICMP_ECHO_REPLY);
  view.setUint16(l4 + ICMP_CHECKSUM, nonZeroChecksum(after));
}

/** Whether all options are among those that a reply may carry, and none reaches behind the header. */
function areOptionsRepliable(view: DataView, l3: number): boolean {
  const end = l3 + ipv4HeaderLength(view, l3);
  let at = l3 + IPV4_HEADER_LENGTH;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === IPV4_OPTION_END) return true;
    if (kind === IPV4_OPTION_NO_OPERATION) at++;
    else {
      if (kind !== IPV4_OPTION_RECORD_ROUTE && kind !== IPV4_OPTION_TIMESTAMP) return false;
      const length = at + 1 < end ? view.getUint8(at + 1) : 0;
      if (length < 2 || at + length > end) return false;
      at += length;
    }
  }
  return true;
}
