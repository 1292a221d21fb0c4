/** Reading one fragment: of which datagram it is, and which part (RFC 791, 3.1; RFC 8200, 4.5). */

import type { Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_NONE } from '../packet/vnet.js';
import { ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import {
  IPV4_DESTINATION,
  IPV4_IDENTIFICATION,
  IPV4_MAX_LENGTH,
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  IPV4_OFFSET_UNIT,
  IPV4_SOURCE,
  ipv4Fragment,
  ipv4HeaderLength,
  ipv4Protocol,
} from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_EXTENSION_UNIT,
  IPV6_FRAGMENT,
  IPV6_FRAGMENT_FIELD,
  IPV6_FRAGMENT_IDENTIFICATION,
  IPV6_FRAGMENT_MORE,
  IPV6_FRAGMENT_OFFSET_MASK,
  IPV6_HEADER_LENGTH,
  IPV6_NEXT_HEADER,
  IPV6_NO_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  ipv6ExtensionLength,
  ipv6FragmentField,
} from '../wire/ipv6.js';
import { MAPPED } from './address.js';
import { ICMPV6_BAD_HEADER_FIELD, ICMPV6_INCOMPLETE_CHAIN } from './icmpv6.js';

/** What the last fragment that was refused is to be answered with. */
export const fragmentProblem = {
  /** Code of the Parameter Problem, IPv6 only; -1: no answer is due. */
  code: -1,
  /** Octet of the packet, counted from the IPv6 header. */
  pointer: 0,
};

/** Words of a datagram's key: source, destination (IPv4 mapped), identification, IPv4's protocol. */
export const KEY_SOURCE = 0;
export const KEY_DESTINATION = 4;
export const KEY_IDENTIFICATION = 8;
export const KEY_PROTOCOL = 9;
export const KEY_WORDS = 10;
/** KEY_PROTOCOL of IPv6, whose fragments may name different next headers (RFC 8200, 4.5). */
export const KEY_IPV6 = -1;

/** A fragment as read; one object, used again and again. */
export class Fragment {
  readonly key = new Int32Array(KEY_WORDS);
  /** Domain it came in from: the same addresses may be others' elsewhere. */
  domain = 0;
  /** Bytes: where its payload begins and ends in the datagram's. */
  offset = 0;
  end = 0;
  /** There is more behind it. */
  more = false;
  /** Where its payload stands in the arena. */
  payload = 0;
  /** Bytes of IP header in front of the payload, options or extension headers included, the fragment header not. */
  headerLength = 0;
  /** IPv6: the octet that names the fragment header, from the IPv6 header, and what the fragment header names. */
  nextHeaderAt = 0;
  nextHeader = 0;
  /** ECN codepoint (RFC 3168, 5). */
  ecn = 0;
}

/**
 * Preconditions: PACKET_FRAGMENT; the parse found a sound network header.
 *
 * @returns false, with `fragmentProblem` set, where no datagram can have such a fragment
 */
export function readFragment(view: DataView, packet: Packet, fragment: Fragment): boolean {
  fragmentProblem.code = -1;
  // Offloads are for whole packets: nobody leaves the checksum of part of one to others.
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0 || packet.gsoType !== VNET_GSO_NONE) return false;
  fragment.domain = packet.domain;
  return packet.etherType === ETHERTYPE_IPV6 ? readIpv6(view, packet, fragment) : readIpv4(view, packet, fragment);
}

function readIpv4(view: DataView, packet: Packet, fragment: Fragment): boolean {
  const { l3 } = packet;
  const field = ipv4Fragment(view, l3);
  const { key } = fragment;
  setMapped(key, KEY_SOURCE, view.getInt32(l3 + IPV4_SOURCE));
  setMapped(key, KEY_DESTINATION, view.getInt32(l3 + IPV4_DESTINATION));
  key[KEY_IDENTIFICATION] = view.getUint16(l3 + IPV4_IDENTIFICATION);
  key[KEY_PROTOCOL] = ipv4Protocol(view, l3);
  fragment.ecn = view.getUint8(l3 + 1) & 3;
  fragment.headerLength = ipv4HeaderLength(view, l3);
  fragment.payload = l3 + fragment.headerLength;
  const offset = (field & IPV4_OFFSET_MASK) * IPV4_OFFSET_UNIT;
  setPlace(fragment, offset, packet.l3End, (field & IPV4_MORE_FRAGMENTS) !== 0);
  return isPlaceValid(fragment) && fragment.headerLength + fragment.end <= IPV4_MAX_LENGTH;
}

function setMapped(key: Int32Array, at: number, address: number): void {
  key[at] = 0;
  key[at + 1] = 0;
  key[at + 2] = MAPPED;
  key[at + 3] = address;
}

function readIpv6(view: DataView, packet: Packet, fragment: Fragment): boolean {
  const { l3 } = packet;
  const at = findFragmentHeader(view, packet, fragment);
  if (at < 0) return false;
  const field = ipv6FragmentField(view, at);
  const { key } = fragment;
  for (let i = 0; i < 4; i++) {
    key[KEY_SOURCE + i] = view.getInt32(l3 + IPV6_SOURCE + i * 4);
    key[KEY_DESTINATION + i] = view.getInt32(l3 + IPV6_DESTINATION + i * 4);
  }
  key[KEY_IDENTIFICATION] = view.getInt32(at + IPV6_FRAGMENT_IDENTIFICATION);
  key[KEY_PROTOCOL] = KEY_IPV6;
  fragment.ecn = (view.getUint8(l3 + 1) >> 4) & 3;
  fragment.headerLength = at - l3;
  fragment.nextHeader = view.getUint8(at);
  fragment.payload = at + IPV6_EXTENSION_UNIT;
  setPlace(fragment, field & IPV6_FRAGMENT_OFFSET_MASK, packet.l3End, (field & IPV6_FRAGMENT_MORE) !== 0);
  return isIpv6FragmentValid(packet, fragment);
}

/** Place of the first fragment header that makes a fragment; notes what names it. -1: there is none. */
function findFragmentHeader(view: DataView, packet: Packet, fragment: Fragment): number {
  let field = packet.l3 + IPV6_NEXT_HEADER;
  let at = packet.l3 + IPV6_HEADER_LENGTH;
  while (at < packet.l3End) {
    const kind = view.getUint8(field);
    if (
      kind === IPV6_FRAGMENT &&
      (ipv6FragmentField(view, at) & (IPV6_FRAGMENT_OFFSET_MASK | IPV6_FRAGMENT_MORE)) !== 0
    ) {
      fragment.nextHeaderAt = field - packet.l3;
      return at;
    }
    field = at;
    at += ipv6ExtensionLength(view, at, kind);
  }
  return -1;
}

function setPlace(fragment: Fragment, offset: number, l3End: number, more: boolean): void {
  fragment.offset = offset;
  fragment.end = offset + l3End - fragment.payload;
  fragment.more = more;
}

/** All but the last are of whole units, and none is empty. */
function isPlaceValid(fragment: Fragment): boolean {
  return fragment.end > fragment.offset && (!fragment.more || fragment.end % IPV4_OFFSET_UNIT === 0);
}

/**
 * RFC 8200, 4.5, with its three answers. A datagram whose payload length would be right but which is, header included, longer than
 * 65,535 bytes finds no room in a slot: it is refused without an answer.
 */
function isIpv6FragmentValid(packet: Packet, fragment: Fragment): boolean {
  const { headerLength, end } = fragment;
  if (fragment.more && end % IPV4_OFFSET_UNIT !== 0) return problem(ICMPV6_BAD_HEADER_FIELD, IPV6_PAYLOAD_LENGTH);
  if (headerLength - IPV6_HEADER_LENGTH + end > 0xffff) {
    return problem(ICMPV6_BAD_HEADER_FIELD, headerLength + IPV6_FRAGMENT_FIELD);
  }
  if (fragment.offset === 0 && !isChainWhole(packet)) return problem(ICMPV6_INCOMPLETE_CHAIN, 0);
  return isPlaceValid(fragment) && headerLength + end <= IPV4_MAX_LENGTH;
}

/** The first fragment has all headers up to the transport header (RFC 7112, 5). */
function isChainWhole(packet: Packet): boolean {
  if (packet.protocol === IPV6_NO_NEXT_HEADER) return true;
  return packet.l4 !== -1 && packet.l4 < packet.l3End;
}

function problem(code: number, pointer: number): boolean {
  fragmentProblem.code = code;
  fragmentProblem.pointer = pointer;
  return false;
}
