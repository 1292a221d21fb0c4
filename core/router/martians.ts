/**
 * Martians: addresses that no packet on a wire may have, or that no router forwards (RFC 1812, 5.3.7; RFC 6890; RFC 4291).
 *
 * Only the blocks that are never right are refused. Private, shared, benchmark and documentation addresses are somebody's network in
 * every laboratory, and pass. Multicast destinations are the caller's to decide, as are broadcasts to a subnet, which need its mask.
 *
 * On the path of every routed packet: three comparisons pass an ordinary IPv4 address, two an ordinary IPv6 address.
 */

import { DROP_MARTIAN_DESTINATION, DROP_MARTIAN_SOURCE, DROP_NONE } from '../drop.js';
import { isMapped } from './address.js';
import { isLinkLocal } from './interface.js';

/** First octets of IPv4 blocks: 127/8 (loopback), 224/4 (multicast), 240/4 (reserved, limited broadcast). */
const LOOPBACK = 127;
const MULTICAST = 224;
const RESERVED = 240;
/** First two octets of 169.254/16 (RFC 3927). */
const LINK_LOCAL = 0xa9fe;
/** fe00::/7, in which link-local and multicast lie, and ff00::/8 inside it, as the upper 7 and 8 bits. */
const UPPER_7 = 0x7f;
const MULTICAST_6 = 0xff;

/**
 * 0/8, 127/8, 224/4 and 240/4 are nobody's address; 169.254/16 is somebody's, but not beyond its link (RFC 3927, 2.7).
 * @returns DROP_NONE or DROP_MARTIAN_SOURCE
 */
export function sourceReason4(address: number): number {
  if (!isHostAddress4(address) || isLinkLocal4(address)) return DROP_MARTIAN_SOURCE;
  return DROP_NONE;
}

/**
 * As for sources; multicast passes, the limited broadcast is in 240/4.
 * @returns DROP_NONE or DROP_MARTIAN_DESTINATION
 */
export function destinationReason4(address: number): number {
  const first = address >>> 24;
  if (isOutside(first, RESERVED) || first === LOOPBACK || isLinkLocal4(address)) return DROP_MARTIAN_DESTINATION;
  return DROP_NONE;
}

/** Whether an IPv4 address is good on its own link only: 169.254/16. */
export function isLinkLocal4(address: number): boolean {
  return address >>> 16 === LINK_LOCAL;
}

/** Whether an address can be that of one host: not "this network", loopback, multicast, reserved or broadcast. */
export function isHostAddress4(address: number): boolean {
  const first = address >>> 24;
  return !isOutside(first, MULTICAST) && first !== LOOPBACK;
}

/** Whether a first octet is 0, or `limit` and above: one comparison, since -1 is the greatest unsigned. */
function isOutside(first: number, limit: number): boolean {
  return (first - 1) >>> 0 >= limit - 1;
}

/**
 * Unspecified, loopback and mapped IPv4 addresses are never on a wire (RFC 4291, 2.5.2 and 2.5.3; RFC 6890), multicast is no source
 * (2.7), and link-local does not leave its link (2.5.6): whoever takes packets from the link itself asks before.
 * @returns DROP_NONE or DROP_MARTIAN_SOURCE
 */
export function sourceReason6(a: number, b: number, c: number, d: number): number {
  if (a === 0) return isNobody(b, c, d) ? DROP_MARTIAN_SOURCE : DROP_NONE;
  if (a >>> 25 !== UPPER_7) return DROP_NONE;
  return a >>> 24 === MULTICAST_6 || isLinkLocal(a) ? DROP_MARTIAN_SOURCE : DROP_NONE;
}

/**
 * As for sources; multicast passes.
 * @returns DROP_NONE or DROP_MARTIAN_DESTINATION
 */
export function destinationReason6(a: number, b: number, c: number, d: number): number {
  if (a === 0) return isNobody(b, c, d) ? DROP_MARTIAN_DESTINATION : DROP_NONE;
  return isLinkLocal(a) ? DROP_MARTIAN_DESTINATION : DROP_NONE;
}

/** Whether an address can be that of one host on a wire, be it on this link only. */
export function isHostAddress6(a: number, b: number, c: number, d: number): boolean {
  return a === 0 ? !isNobody(b, c, d) : a >>> 24 !== MULTICAST_6;
}

/** ::, ::1 and ::ffff:0:0/96, by the words behind a first one of 0. */
function isNobody(b: number, c: number, d: number): boolean {
  if (isMapped(0, b, c)) return true;
  return b === 0 && c === 0 && d >>> 1 === 0;
}
