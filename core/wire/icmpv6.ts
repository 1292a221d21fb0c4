/**
 * ICMPv6 (RFC 4443) and neighbor discovery (RFC 4861, 4). Offsets count from the ICMPv6 header. Type and code stand where
 * ICMP has them; the checksum covers a pseudo-header too.
 */

import { finishChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';

export const PROTOCOL_ICMPV6 = 58;

export const ICMPV6_TYPE = 0;
export const ICMPV6_CODE = 1;
export const ICMPV6_CHECKSUM = 2;
/** Fixed part: RFC 4443 fixes four octets, every message defined has eight, and Linux takes none shorter (icmpv6_rcv). */
export const ICMPV6_HEADER_LENGTH = 8;

export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
/** Multicast listener discovery (RFC 2710, 3; RFC 3810, 5.2). */
export const ICMPV6_MLD_REPORT = 131;
export const ICMPV6_MLD_DONE = 132;
export const ICMPV6_MLD2_REPORT = 143;
export const ND_ROUTER_SOLICITATION = 133;
export const ND_ROUTER_ADVERTISEMENT = 134;
export const ND_NEIGHBOR_SOLICITATION = 135;
export const ND_NEIGHBOR_ADVERTISEMENT = 136;
export const ND_REDIRECT = 137;

/** Target address of a neighbor solicitation or advertisement (RFC 4861, 4.3 and 4.4). */
export const ND_TARGET = 8;
/** Length of a neighbor solicitation or advertisement without options. */
export const ND_NEIGHBOR_LENGTH = 24;
/** Length of a router solicitation without options. */
export const ND_ROUTER_SOLICITATION_LENGTH = 8;

/** Options (RFC 4861, 4.6): type, length in units of eight octets (0 is invalid), then the value. */
export const ND_OPTION_LENGTH = 1;
export const ND_OPTION_VALUE = 2;
export const ND_OPTION_UNIT = 8;
export const ND_OPTION_SOURCE_LINK_ADDRESS = 1;
export const ND_OPTION_TARGET_LINK_ADDRESS = 2;

export function icmpv6Type(view: DataView, at: number): number {
  return view.getUint8(at + ICMPV6_TYPE);
}

/**
 * Whether an ICMPv6 message is what its checksum says (RFC 4443, 2.3), or its sender left that to us (VNET_F_NEEDS_CSUM): then it has not
 * crossed a wire yet. Who goes on with the checksum itself, as the reply to an echo request does, completes it before.
 *
 * Precondition: packet.l4 is a proven ICMPv6 header in the IPv6 packet packet.l3 to l3End, and no segments of a routing header are left.
 */
export function isIcmpv6ChecksumRight(view: DataView, packet: Packet): boolean {
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0) return true;
  const length = packet.l3End - packet.l4;
  const pseudo = pseudoHeaderSum6(view, packet.l3, PROTOCOL_ICMPV6, length);
  return finishChecksum(pseudo + sumBytes(view, packet.l4, length)) === 0;
}

/**
 * Whether a message of `length` bytes at `at` is a neighbor solicitation or advertisement with its target address inside. The
 * fixed header must be readable.
 */
export function hasNeighborTarget(view: DataView, at: number, length: number): boolean {
  const type = icmpv6Type(view, at);
  if (type !== ND_NEIGHBOR_SOLICITATION && type !== ND_NEIGHBOR_ADVERTISEMENT) return false;
  return length >= ND_NEIGHBOR_LENGTH;
}
