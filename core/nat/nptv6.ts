/**
 * Prefix translation of IPv6 (RFC 6296): one prefix for another of the same length, and in return one 16-bit word of the rest changed so that
 * every checksum over the address stays right. No state, no ports, both directions alike; hosts behind it can be reached.
 *
 * Since the sum over an address stays, nothing else in a packet changes; in ICMPv6 errors the quoted addresses are translated likewise.
 */

import { foldSum } from '../packet/checksum.js';

/** Bits of the longest prefix: behind it must be a word to change (RFC 6296, 3.5). */
export const NPTV6_MAX_PREFIX = 64;
/** Up to here the word behind 48 bits is changed, the subnet; beyond, the first fitting one of the interface identifier (3.4, 3.5). */
const SUBNET_PREFIX = 48;
const SUBNET_WORD = 6;

export interface Prefix6 {
  /** The first two words of the address; what follows is not looked at. */
  readonly a: number;
  readonly b: number;
  /** Bits, at most NPTV6_MAX_PREFIX. */
  readonly length: number;
}

export interface Nptv6 {
  /** Of both prefixes: the longer one's; the shorter one has zeros up to there (3.2). */
  readonly length: number;
  readonly maskA: number;
  readonly maskB: number;
  readonly insideA: number;
  readonly insideB: number;
  readonly outsideA: number;
  readonly outsideB: number;
  /** What a word grows by on the way out, and on the way in (3.1): sums of 16 bits. */
  readonly outwards: number;
  readonly inwards: number;
}

/** @throws RangeError where a prefix is too long to leave a word to change */
export function makeNptv6(inside: Prefix6, outside: Prefix6): Nptv6 {
  const length = Math.max(inside.length, outside.length);
  if (Math.min(inside.length, outside.length) < 0 || length > NPTV6_MAX_PREFIX) {
    throw new RangeError(`NPTv6: prefix of ${length} bits; at most ${NPTV6_MAX_PREFIX} can be translated`);
  }
  const [insideA, insideB] = prefixWords(inside);
  const [outsideA, outsideB] = prefixWords(outside);
  const insideSum = sumOf(insideA, insideB);
  const outsideSum = sumOf(outsideA, outsideB);
  return {
    length,
    maskA: maskOf(length),
    maskB: maskOf(length - 32),
    insideA,
    insideB,
    outsideA,
    outsideB,
    outwards: foldSum(insideSum + (~outsideSum & 0xffff)),
    inwards: foldSum(outsideSum + (~insideSum & 0xffff)),
  };
}

/** The upper `bits` of a word; fewer than none or more than all count as those. */
function maskOf(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : (-1 << (32 - bits)) | 0;
}

function prefixWords({ a, b, length }: Prefix6): [number, number] {
  return [a & maskOf(length), b & maskOf(length - 32)];
}

function sumOf(a: number, b: number): number {
  return foldSum((a >>> 16) + (a & 0xffff) + (b >>> 16) + (b & 0xffff));
}

/** Whether an address, of which these are the first two words, is of the inside. */
export function isInside(rule: Nptv6, a: number, b: number): boolean {
  return (a & rule.maskA) === rule.insideA && (b & rule.maskB) === rule.insideB;
}

/** Whether it is of the outside. */
export function isOutside(rule: Nptv6, a: number, b: number): boolean {
  return (a & rule.maskA) === rule.outsideA && (b & rule.maskB) === rule.outsideB;
}

/**
 * Gives the address at `at` the other prefix.
 *
 * Precondition: `isInside` (outbound) or `isOutside` (inbound) of its first two words; nobody else holds the slot.
 *
 * @returns false, and changes nothing, where the address has no counterpart: no word that could take up the difference, or an interface
 * identifier of zeros, the subnet's anycast address (3.4, 3.5). To be answered with ICMPv6 destination unreachable
 */
export function translate(view: DataView, at: number, rule: Nptv6, outbound: boolean): boolean {
  const place = rule.length <= SUBNET_PREFIX ? subnetPlace(view, at) : identifierPlace(view, at);
  if (place < 0) return false;
  const a = view.getInt32(at);
  const b = view.getInt32(at + 4);
  view.setInt32(at, (a & ~rule.maskA) | (outbound ? rule.outsideA : rule.insideA));
  view.setInt32(at + 4, (b & ~rule.maskB) | (outbound ? rule.outsideB : rule.insideB));
  const word = foldSum(view.getUint16(at + place) + (outbound ? rule.outwards : rule.inwards));
  // Both zeros are one to a sum; 0xffff would not be translated back (3.1).
  view.setUint16(at + place, word === 0xffff ? 0 : word);
  return true;
}

/** A subnet of all ones is not translated: its counterpart would be that of 0. */
function subnetPlace(view: DataView, at: number): number {
  return view.getUint16(at + SUBNET_WORD) === 0xffff ? -1 : SUBNET_WORD;
}

/** The first word of the interface identifier that is not all ones. */
function identifierPlace(view: DataView, at: number): number {
  if (view.getInt32(at + 8) === 0 && view.getInt32(at + 12) === 0) return -1;
  for (let place = 8; place < 16; place += 2) {
    if (view.getUint16(at + place) !== 0xffff) return place;
  }
  return -1;
}
