/**
 * IP and MAC addresses as numbers and as canonical text. Configuration only: BigInt is welcome here, and nothing of the
 * packet path imports this.
 */

import { isIPv4, isIPv6 } from 'node:net';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export interface Subnet {
  readonly family: Family;
  /** The prefix with all host bits zero. */
  readonly base: bigint;
  readonly prefix: number;
}

export function addressBits(family: Family): number {
  return family === 4 ? 32 : 128;
}

function parseIPv4(text: string): bigint {
  let value = 0n;
  for (const octet of text.split('.')) value = (value << 8n) | BigInt(octet);
  return value;
}

/** Words of one side of `::`; a dotted tail (`::ffff:192.0.2.1`, RFC 4291 section 2.2) counts as two. */
function words(text: string): bigint[] {
  const out: bigint[] = [];
  if (text === '') return out;
  for (const part of text.split(':')) {
    if (part.includes('.')) {
      const low = parseIPv4(part);
      out.push(low >> 16n, low & 0xffffn);
    } else {
      out.push(BigInt(`0x${part}`));
    }
  }
  return out;
}

function parseIPv6(text: string): bigint {
  const [head = '', tail] = text.split('::');
  const left = words(head);
  const right = tail === undefined ? [] : words(tail);
  const middle = new Array<bigint>(8 - left.length - right.length).fill(0n);
  let value = 0n;
  for (const word of [...left, ...middle, ...right]) value = (value << 16n) | word;
  return value;
}

/** An IPv4 or IPv6 address, or null. Zone identifiers (`fe80::1%eth0`) are refused: they mean nothing in another namespace. */
export function parseAddress(text: string): Address | null {
  if (isIPv4(text)) return { family: 4, value: parseIPv4(text) };
  if (isIPv6(text) && !text.includes('%')) return { family: 6, value: parseIPv6(text) };
  return null;
}

function formatIPv4(value: bigint): string {
  const bits = Number(value);
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
}

/** The first longest run of at least two zero words: [start, length], length 0 for none (RFC 5952 section 4.2). */
function zeroRun(parts: readonly number[]): [number, number] {
  let bestStart = 0;
  let bestLength = 0;
  let start = 0;
  for (let i = 0; i <= parts.length; i++) {
    if (i < parts.length && parts[i] === 0) continue;
    if (i - start > bestLength) {
      bestStart = start;
      bestLength = i - start;
    }
    start = i + 1;
  }
  return bestLength >= 2 ? [bestStart, bestLength] : [0, 0];
}

function formatIPv6(value: bigint): string {
  const parts: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) parts.push(Number((value >> shift) & 0xffffn));
  const [start, length] = zeroRun(parts);
  const hex = (list: readonly number[]) => list.map((word) => word.toString(16)).join(':');
  if (length === 0) return hex(parts);
  return `${hex(parts.slice(0, start))}::${hex(parts.slice(start + length))}`;
}

/** Canonical text (RFC 5952 for IPv6), so that equal addresses are equal strings. */
export function formatAddress(address: Address): string {
  return address.family === 4 ? formatIPv4(address.value) : formatIPv6(address.value);
}

/** True for 0.0.0.0 and ::, which stand for all addresses of their family. */
export function isUnspecified({ value }: Address): boolean {
  return value === 0n;
}

export function canonicalAddress(text: string): string | null {
  const address = parseAddress(text);
  return address === null ? null : formatAddress(address);
}

export function hostMask(family: Family, prefix: number): bigint {
  return (1n << BigInt(addressBits(family) - prefix)) - 1n;
}

/** `ADDRESS/PREFIX`, host bits kept; or null. */
export function parseCidr(text: string): { address: Address; prefix: number } | null {
  const slash = text.indexOf('/');
  if (slash < 0) return null;
  const address = parseAddress(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === null || !/^(0|[1-9]\d{0,2})$/.test(length)) return null;
  const prefix = Number(length);
  return prefix <= addressBits(address.family) ? { address, prefix } : null;
}

export function subnetOf(address: Address, prefix: number): Subnet {
  const { family, value } = address;
  return { family, prefix, base: value & ~hostMask(family, prefix) };
}

/** The address of `ADDRESS/PREFIX`, or of an address alone. */
export function withoutLength(text: string): string {
  return text.split('/', 1)[0] ?? text;
}

/** A subnet in text that has been validated before. Throws on any other text. */
export function parseSubnet(text: string): Subnet {
  const cidr = parseCidr(text);
  if (cidr === null) throw new Error(`not a subnet: ${text}`);
  return subnetOf(cidr.address, cidr.prefix);
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress({ family: subnet.family, value: subnet.base })}/${subnet.prefix}`;
}

/** The highest address; of an IPv4 subnet this is its broadcast address. */
export function lastOf(subnet: Subnet): bigint {
  return subnet.base | hostMask(subnet.family, subnet.prefix);
}

export function contains(subnet: Subnet, address: Address): boolean {
  return address.family === subnet.family && address.value >= subnet.base && address.value <= lastOf(subnet);
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.base <= lastOf(b) && b.base <= lastOf(a);
}

/** The gateway's address where none is configured: the first after the network address. */
export function firstHost(subnet: Subnet): Address {
  return { family: subnet.family, value: subnet.base + 1n };
}

/** Six octets in lower-case text, or null. */
export function canonicalMac(text: string): string | null {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? text.toLowerCase() : null;
}

/** True for an address that one interface can have: not a group address, not all zero (IEEE 802, I/G bit). */
export function isUnicastMac(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}
