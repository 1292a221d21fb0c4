/**
 * IP addresses inside the router: four int32 words, so that one table serves both families. An IPv4 address is mapped (RFC 4291,
 * 2.5.5.2): 0, 0, 0xffff, address.
 */

/** Third word of a mapped IPv4 address. No IPv6 packet may carry such an address, so nothing is mistaken. */
export const MAPPED = 0xffff;

export function isMapped(a: number, b: number, c: number): boolean {
  return a === 0 && b === 0 && c === MAPPED;
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
