/**
 * ICMPv6 that the router sends: errors about packets it does not forward, and replies to echo requests (RFC 4443). Neighbor discovery
 * is nd.ts's.
 */

import { DROP_ICMP_INVALID, DROP_NONE } from '../drop.js';
import type { Arena } from '../packet/arena.js';
import {
  checksum,
  completeChecksum,
  pseudoHeaderSum6,
  updateChecksum16,
  updateChecksum32,
} from '../packet/checksum.js';
import { PACKET_IPV6_EXTENSIONS, PACKET_L3_MALFORMED, type Packet } from '../packet/packet.js';
import { isGroupDestination } from '../switch/admit.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import {
  ICMPV6_CHECKSUM,
  ICMPV6_CODE,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_HEADER_LENGTH,
  ICMPV6_TYPE,
  icmpv6Type,
  isIcmpv6ChecksumRight,
  ND_REDIRECT,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  IPV6_VERSION,
  setIpv6Address,
} from '../wire/ipv6.js';
import { isWholeMessage, OWN_TTL } from './icmp.js';
import { isHostAddress6 } from './martians.js';

/** Errors (RFC 4443, 3). */
export const ICMPV6_UNREACHABLE = 1;
/** The second word is the next MTU. */
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
/** The second word is the pointer. */
export const ICMPV6_PARAMETER_PROBLEM = 4;
/** Codes of ICMPV6_UNREACHABLE. */
export const ICMPV6_NO_ROUTE = 0;
export const ICMPV6_ADMIN_PROHIBITED = 1;
export const ICMPV6_BEYOND_SCOPE = 2;
export const ICMPV6_ADDRESS_UNREACHABLE = 3;
export const ICMPV6_PORT_UNREACHABLE = 4;
/** Codes of ICMPV6_TIME_EXCEEDED. */
export const ICMPV6_HOP_LIMIT_EXCEEDED = 0;
export const ICMPV6_REASSEMBLY_TIME_EXCEEDED = 1;
/** Codes of ICMPV6_PARAMETER_PROBLEM. */
export const ICMPV6_BAD_HEADER_FIELD = 0;
export const ICMPV6_UNKNOWN_NEXT_HEADER = 1;
export const ICMPV6_UNKNOWN_OPTION = 2;
/** A first fragment without the whole header chain (RFC 7112, 7). */
export const ICMPV6_INCOMPLETE_CHAIN = 3;

/** Types from here on are no errors (RFC 4443, 2.1). */
const FIRST_INFORMATIONAL = 128;
/** First octet of multicast addresses (RFC 4291, 2.7). */
const MULTICAST = 0xff;
/** Bytes of an error at most, IPv6 header included: the least MTU there may be (RFC 4443, 2.4(c)). */
const ERROR_MAXIMUM = 1280;
const ERROR_HEADERS = IPV6_HEADER_LENGTH + ICMPV6_HEADER_LENGTH;
/** Version 6, traffic class and flow label 0. */
const ERROR_FIRST = 0x60000000;
/** Next header and hop limit in one word. */
const ICMPV6_AND_HOP_LIMIT = (PROTOCOL_ICMPV6 << 8) | OWN_TTL;

/**
 * Whether an ICMPv6 error may be sent about an IPv6 packet (RFC 4443, 2.4(e)): not about ICMPv6 errors and redirects, packets to a
 * group by address or by frame, with two exceptions, and packets from no single host. About later fragments it may, other than for
 * IPv4: of those only ICMPv6's are left out, since they may be parts of an error.
 *
 * @param isTooBig the error is one of the exceptions: ICMPV6_PACKET_TOO_BIG, or ICMPV6_UNKNOWN_OPTION
 */
export function isErrorAllowed6(view: DataView, packet: Packet, isTooBig: boolean): boolean {
  const { l3 } = packet;
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0) return false;
  if (!isTooBig && (isGroupDestination(packet) || view.getUint8(l3 + IPV6_DESTINATION) === MULTICAST)) return false;
  if (!isFromHost(view, l3 + IPV6_SOURCE)) return false;
  if (packet.protocol !== PROTOCOL_ICMPV6) return true;
  // A later fragment, or cut too short to tell.
  if (packet.l4 === -1) return false;
  const type = icmpv6Type(view, packet.l4);
  return type >= FIRST_INFORMATIONAL && type !== ND_REDIRECT;
}

/** Whether the address at `at` is that of a single host. */
export function isFromHost(view: DataView, at: number): boolean {
  return isHostAddress6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
}

/**
 * Writes an ICMPv6 error about `original` into `error`, from its network header on (the Ethernet header in front is the caller's), and
 * sets the length: never below 102 bytes, so that no padding is needed. Quotes the packet as it stands in its slot: call it before
 * anything is rewritten there. It goes to the packet's source.
 *
 * Precondition: `isErrorAllowed6`, and another slot than the original's.
 *
 * @param extra second word of the message: MTU or pointer, else 0
 * @param a address of the router's to speak from, with `b`, `c` and `d`
 */
export function writeIcmpv6Error(
  arena: Arena,
  error: Packet,
  original: Packet,
  type: number,
  code: number,
  extra: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  const { view } = arena;
  const l3 = error.start + ETHERNET_HEADER_LENGTH;
  const l4 = l3 + IPV6_HEADER_LENGTH;
  const quoted = Math.min(original.l3End - original.l3, ERROR_MAXIMUM - ERROR_HEADERS);
  const length = ICMPV6_HEADER_LENGTH + quoted;
  view.setInt32(l3 + IPV6_VERSION, ERROR_FIRST);
  view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, length);
  view.setUint16(l3 + IPV6_NEXT_HEADER, ICMPV6_AND_HOP_LIMIT);
  setIpv6Address(view, l3 + IPV6_SOURCE, a, b, c, d);
  copyAddress(view, l3 + IPV6_DESTINATION, original.l3 + IPV6_SOURCE);
  arena.bytes.copyWithin(l4 + ICMPV6_HEADER_LENGTH, original.l3, original.l3 + quoted);
  view.setUint8(l4 + ICMPV6_TYPE, type);
  view.setUint8(l4 + ICMPV6_CODE, code);
  view.setUint16(l4 + ICMPV6_CHECKSUM, 0);
  view.setInt32(l4 + 4, extra);
  const initial = pseudoHeaderSum6(view, l3, PROTOCOL_ICMPV6, length);
  view.setUint16(l4 + ICMPV6_CHECKSUM, checksum(arena, l4, length, initial));
  error.length = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + length;
}

function copyAddress(view: DataView, to: number, from: number): void {
  setIpv6Address(
    view,
    to,
    view.getInt32(from),
    view.getInt32(from + 4),
    view.getInt32(from + 8),
    view.getInt32(from + 12),
  );
}

/**
 * Turns an ICMPv6 echo request into its reply, in place: the data comes back whole (RFC 4443, 4.2), traffic class, flow label and code
 * as they were, hop limit OWN_TTL. Extension headers were for the way here and are left out; the handle follows. The MACs stay as
 * they are.
 *
 * Precondition: sent to an address of the router's, or to a group it is in, from that of a single host; the extension headers are
 * processed (extensions.ts), no segments are left; nobody else holds the slot.
 *
 * @param a address to reply from, with `b`, `c` and `d`: the one that was pinged, unless that was a group's
 * @returns DROP_NONE: send it back. DROP_ICMP_INVALID: any other message, a fragment, a wrong checksum
 */
export function replyEcho6(arena: Arena, packet: Packet, a: number, b: number, c: number, d: number): number {
  const { view } = arena;
  if (packet.protocol !== PROTOCOL_ICMPV6 || !isWholeMessage(packet)) return DROP_ICMP_INVALID;
  if (icmpv6Type(view, packet.l4) !== ICMPV6_ECHO_REQUEST) return DROP_ICMP_INVALID;
  // It takes the flag away, so the sum is looked at in any case: the reply's is made of it.
  completeChecksum(arena, packet);
  if (!isIcmpv6ChecksumRight(view, packet)) return DROP_ICMP_INVALID;
  if ((packet.flags & PACKET_IPV6_EXTENSIONS) !== 0) removeExtensions(arena, packet);
  turnMessage6(view, packet, a, b, c, d);
  copyAddress(view, packet.l3 + IPV6_DESTINATION, packet.l3 + IPV6_SOURCE);
  setIpv6Address(view, packet.l3 + IPV6_SOURCE, a, b, c, d);
  view.setUint8(packet.l3 + IPV6_HOP_LIMIT, OWN_TTL);
  return DROP_NONE;
}

/** Moves the message up to the fixed header. Extension headers are whole words of 4 octets: its sum stays. */
function removeExtensions(arena: Arena, packet: Packet): void {
  const { view } = arena;
  const l4 = packet.l3 + IPV6_HEADER_LENGTH;
  const length = packet.l3End - packet.l4;
  arena.bytes.copyWithin(l4, packet.l4, packet.l3End);
  view.setUint16(packet.l3 + IPV6_PAYLOAD_LENGTH, length);
  view.setUint8(packet.l3 + IPV6_NEXT_HEADER, PROTOCOL_ICMPV6);
  packet.l4 = l4;
  packet.l3End = l4 + length;
  packet.length = packet.l3End - packet.start;
  packet.flags &= ~PACKET_IPV6_EXTENSIONS;
}

/**
 * Type and checksum. Swapped addresses leave the pseudo-header's sum, but where a group was pinged, another address comes in its place;
 * so the old destination is still there when this is called.
 */
function turnMessage6(view: DataView, packet: Packet, a: number, b: number, c: number, d: number): void {
  const { l4 } = packet;
  const pinged = packet.l3 + IPV6_DESTINATION;
  const code = view.getUint8(l4 + ICMPV6_CODE);
  let sum = view.getUint16(l4 + ICMPV6_CHECKSUM);
  sum = updateChecksum16(sum, (ICMPV6_ECHO_REQUEST << 8) | code, (ICMPV6_ECHO_REPLY << 8) | code);
  sum = updateChecksum32(sum, view.getInt32(pinged), a);
  sum = updateChecksum32(sum, view.getInt32(pinged + 4), b);
  sum = updateChecksum32(sum, view.getInt32(pinged + 8), c);
  sum = updateChecksum32(sum, view.getInt32(pinged + 12), d);
  view.setUint8(l4 + ICMPV6_TYPE, ICMPV6_ECHO_REPLY);
  view.setUint16(l4 + ICMPV6_CHECKSUM, sum);
}
