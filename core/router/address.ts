/**
 * IP addresses inside the router: four int32 words, so that one table serves both families. An IPv4 address is mapped (RFC 4291,
 * 2.5.5.2): 0, 0, 0xffff, address.
 */

import { isIpv4Group } from '../wire/igmp.js';

/** Third word of a mapped IPv4 address. No IPv6 packet may carry such an address, so nothing is mistaken. */
export const MAPPED = 0xffff;

export function isMapped(a: number, b: number, c: number): boolean {
  return a === 0 && b === 0 && c === MAPPED;
}

/** Whether an address, by its first and last word, is a multicast group's (RFC 1112, 4; RFC 4291, 2.7). */
export function isGroupAddress(isIpv4: boolean, first: number, last: number): boolean {
  return isIpv4 ? isIpv4Group(last) : first >>> 24 === 0xff;
}

/** The first `length` bits set, as int32; 0 to 32. */
export function mask4(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

/** Word `index` (0 to 3) of the mask of an IPv6 prefix of `length` bits. */
export function mask6(length: number, index: number): number {
  const bits = length - index * 32;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : mask4(bits);
}
