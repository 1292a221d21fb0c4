/** IP addresses as the dataplane keeps them: int32 words, an IPv4 address mapped where there are four (core/router/address.ts). */

import { isMapped, MAPPED } from '../core/router/address.js';
import { type Address, formatAddress, parseAddress } from './config/address.js';

/** An address as int32 words, the first octets in the first. */
export function words(value: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Number(BigInt.asIntN(32, value >> BigInt(32 * (count - 1 - i)))));
}

/** The address that four words are. */
export function addressOf(list: readonly number[]): string {
  const [a, b, c, d] = list as [number, number, number, number];
  if (isMapped(a, b, c)) return formatAddress({ family: 4, value: BigInt(d >>> 0) });
  const value = [a, b, c, d].reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
  return formatAddress({ family: 6, value });
}

/** Four words of an address, which must be one, IPv4 mapped. */
export function mappedWords(text: string): number[] {
  const { family, value } = parseAddress(text) as Address;
  return family === 6 ? words(value, 4) : [0, 0, MAPPED, ...words(value, 1)];
}
