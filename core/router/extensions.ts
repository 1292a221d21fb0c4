/**
 * Extension headers of IPv6 packets that are for the router itself (RFC 8200, 4). Those of packets in transit are not looked at:
 * they pass unchanged, hop-by-hop options included, which a router processes only where it has been told to (RFC 8200, 4 and 4.3).
 */

import { DROP_IP_OPTIONS, DROP_NONE, DROP_NOT_LISTENING } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_DESTINATION_OPTIONS,
  IPV6_FRAGMENT,
  IPV6_FRAGMENT_MORE,
  IPV6_FRAGMENT_OFFSET_MASK,
  IPV6_HEADER_LENGTH,
  IPV6_HOP_BY_HOP,
  IPV6_NEXT_HEADER,
  IPV6_NO_NEXT_HEADER,
  IPV6_ROUTING,
  ipv6ExtensionLength,
  ipv6FragmentField,
} from '../wire/ipv6.js';
import { ICMPV6_BAD_HEADER_FIELD, ICMPV6_UNKNOWN_NEXT_HEADER, ICMPV6_UNKNOWN_OPTION } from './icmpv6.js';

/** What the last packet that was refused is to be answered with. */
export const extensionsProblem = {
  /** Code of the Parameter Problem; -1: no answer is due. */
  code: -1,
  /** Octet of the packet, counted from the IPv6 header. */
  pointer: 0,
};

/** Offsets in a routing header (RFC 8200, 4.4). */
const ROUTING_TYPE = 2;
const ROUTING_SEGMENTS_LEFT = 3;

/** Options (RFC 8200, 4.2): type, then, but for Pad1, the length of what follows. */
const OPTION_PAD1 = 0;
const OPTION_PADN = 1;
/** The upper two bits of an unknown option's type. */
const UNKNOWN_SKIP = 0;
const UNKNOWN_DISCARD = 1;
const UNKNOWN_ANSWER = 2;

/**
 * Limits that RFC 8504 (5.3) allows, and the kernel has (ip6_parse_tlv, sysctl max_dst_opts_number): octets of padding on end, as
 * much as an alignment can need, and options besides padding in one header. Otherwise one packet could ask for thousands of steps.
 */
const MAX_PADDING = 7;
const MAX_OPTIONS = 8;

/**
 * Walks the extension headers of a packet for the router up to the transport header, or to the header of a fragment, behind which
 * nothing is looked at until the datagram is whole.
 *
 * Precondition: the parse found a sound IPv6 header, and thus a chain that lies inside the packet.
 *
 * @returns DROP_NONE; DROP_IP_OPTIONS, or DROP_NOT_LISTENING for a header that the router does not know, with `extensionsProblem` set
 */
export function examineExtensions(view: DataView, packet: Packet): number {
  const { l3 } = packet;
  extensionsProblem.code = -1;
  let field = l3 + IPV6_NEXT_HEADER;
  let at = l3 + IPV6_HEADER_LENGTH;
  for (;;) {
    const kind = view.getUint8(field);
    if (!isExamined(kind, field - l3)) return finish(packet, kind, field);
    if (kind === IPV6_FRAGMENT && isFragment(view, at)) return DROP_NONE;
    const reason = examineHeader(view, packet, kind, at);
    if (reason !== DROP_NONE) return reason;
    field = at;
    at += ipv6ExtensionLength(view, at, kind);
  }
}

/**
 * The kinds that are walked past. Hop-by-hop options anywhere but at the start of the chain count as unknown (RFC 8200, 4.1 and
 * 4), and so does AH: nobody here could verify it.
 */
function isExamined(kind: number, pointer: number): boolean {
  if (kind === IPV6_HOP_BY_HOP) return pointer === IPV6_NEXT_HEADER;
  return kind === IPV6_ROUTING || kind === IPV6_FRAGMENT || kind === IPV6_DESTINATION_OPTIONS;
}

/** A fragment header that says "the first and the last" makes no fragment (RFC 6946). */
function isFragment(view: DataView, at: number): boolean {
  return (ipv6FragmentField(view, at) & (IPV6_FRAGMENT_OFFSET_MASK | IPV6_FRAGMENT_MORE)) !== 0;
}

function finish(packet: Packet, kind: number, field: number): number {
  if (kind === PROTOCOL_ICMPV6 || kind === PROTOCOL_UDP || kind === PROTOCOL_TCP) return DROP_NONE;
  // What follows "no next header" is ignored (RFC 8200, 4.7): nothing is left to take.
  if (kind === IPV6_NO_NEXT_HEADER) return DROP_NOT_LISTENING;
  return problem(packet, ICMPV6_UNKNOWN_NEXT_HEADER, field, DROP_NOT_LISTENING);
}

function examineHeader(view: DataView, packet: Packet, kind: number, at: number): number {
  if (kind === IPV6_FRAGMENT) return DROP_NONE;
  if (kind === IPV6_ROUTING) return examineRouting(view, packet, at);
  return examineOptions(view, packet, at + 2, at + ipv6ExtensionLength(view, at, kind));
}

/** No type of routing header is followed, type 0 least of all (RFC 5095); one that has done its work is walked past. */
function examineRouting(view: DataView, packet: Packet, at: number): number {
  if (view.getUint8(at + ROUTING_SEGMENTS_LEFT) === 0) return DROP_NONE;
  return problem(packet, ICMPV6_BAD_HEADER_FIELD, at + ROUTING_TYPE, DROP_IP_OPTIONS);
}

/** The options from `at` to `end`. */
function examineOptions(view: DataView, packet: Packet, at: number, end: number): number {
  let padding = 0;
  let count = 0;
  while (at < end) {
    const type = view.getUint8(at);
    const length = optionLength(view, at, end);
    if (length === 0) return problem(packet, ICMPV6_BAD_HEADER_FIELD, Math.min(at + 1, end - 1), DROP_IP_OPTIONS);
    if (type === OPTION_PAD1 || type === OPTION_PADN) {
      padding += length;
    } else {
      padding = 0;
      count++;
      const reason = examineOption(view, packet, type, at);
      if (reason !== DROP_NONE) return reason;
    }
    if (padding > MAX_PADDING || count > MAX_OPTIONS) return DROP_IP_OPTIONS;
    at += length;
  }
  return DROP_NONE;
}

/** Bytes of the whole option; 0 where it does not end before `end`. */
function optionLength(view: DataView, at: number, end: number): number {
  if (view.getUint8(at) === OPTION_PAD1) return 1;
  if (at + 2 > end) return 0;
  const length = view.getUint8(at + 1) + 2;
  return at + length <= end ? length : 0;
}

/**
 * None but padding is known. The upper two bits of a type say what becomes of the packet then (RFC 8200, 4.2); router alert
 * (RFC 2711) is one to skip.
 */
function examineOption(view: DataView, packet: Packet, type: number, at: number): number {
  const action = type >> 6;
  if (action === UNKNOWN_SKIP) return DROP_NONE;
  if (action === UNKNOWN_DISCARD) return DROP_IP_OPTIONS;
  if (action !== UNKNOWN_ANSWER && isMulticast(view, packet)) return DROP_IP_OPTIONS;
  return problem(packet, ICMPV6_UNKNOWN_OPTION, at, DROP_IP_OPTIONS);
}

function isMulticast(view: DataView, packet: Packet): boolean {
  return view.getUint8(packet.l3 + IPV6_DESTINATION) === 0xff;
}

function problem(packet: Packet, code: number, at: number, reason: number): number {
  extensionsProblem.code = code;
  extensionsProblem.pointer = at - packet.l3;
  return reason;
}
