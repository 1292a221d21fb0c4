/**
 * ICMPv6 (RFC 4443) and neighbor discovery (RFC 4861, 4). Offsets count from the ICMPv6 header. Type and code stand where
 * ICMP has them; the checksum covers a pseudo-header too.
 */

export const PROTOCOL_ICMPV6 = 58;

export const ICMPV6_TYPE = 0;
export const ICMPV6_CODE = 1;
export const ICMPV6_CHECKSUM = 2;
/** Fixed part: RFC 4443 fixes four octets, every message defined has eight, and Linux takes none shorter (icmpv6_rcv). */
export const ICMPV6_HEADER_LENGTH = 8;

export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
export const ND_ROUTER_SOLICITATION = 133;
export const ND_ROUTER_ADVERTISEMENT = 134;
export const ND_NEIGHBOR_SOLICITATION = 135;
export const ND_NEIGHBOR_ADVERTISEMENT = 136;
export const ND_REDIRECT = 137;

/** Target address of a neighbor solicitation or advertisement (RFC 4861, 4.3 and 4.4). */
export const ND_TARGET = 8;
/** Length of a neighbor solicitation or advertisement without options. */
export const ND_NEIGHBOR_LENGTH = 24;

export function icmpv6Type(view: DataView, at: number): number {
  return view.getUint8(at + ICMPV6_TYPE);
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
