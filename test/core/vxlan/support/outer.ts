/**
 * The outside of a VXLAN packet, written and read octet by octet from the RFCs' own numbers: Ethernet, IPv4 (RFC 791) or IPv6 (RFC 8200),
 * UDP (RFC 768), VXLAN (RFC 7348, 5). Slow on purpose, and it shares nothing with core/.
 */

import { addressOf, bytesOf } from '../../nat/wire.js';

export type Checksum = 'zero' | 'right' | 'wrong';

export interface OuterFields {
  readonly toMac: readonly number[];
  readonly fromMac: readonly number[];
  /** "10.77.0.1" or "fd77::1"; both of one family. */
  readonly from: string;
  readonly to: string;
  /** DSCP and ECN. */
  readonly trafficClass?: number;
  readonly hops?: number;
  readonly dontFragment?: boolean;
  /** More fragments (0x2000) and offset in 8 octets, of IPv4. */
  readonly fragment?: number;
  readonly identification?: number;
  /** Of IPv4: octets, a multiple of 4. */
  readonly options?: readonly number[];
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly checksum?: Checksum;
  /** What UDP says its length is, where that is not true. */
  readonly udpLength?: number;
  /** First octet of the VXLAN header, the three behind it, the VNI, the last octet. */
  readonly flags?: number;
  readonly reserved?: number;
  readonly vni?: number;
  readonly last?: number;
}

/** An IP header is 20 or 40 octets; Ethernet's 14, UDP's 8 and VXLAN's 8 come on top. */
export const OUTER4 = 50;
export const OUTER6 = 70;

const octets = (value: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** (count - 1 - i)) % 256);

const numberOf = (bytes: ArrayLike<number>, at: number, count: number): number => {
  let value = 0;
  for (let i = 0; i < count; i++) value = value * 256 + bytes[at + i];
  return value;
};

/** The ones' complement sum of 16-bit words (RFC 1071, 1). */
export function sumOf(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at++) sum += at % 2 === 0 ? bytes[at] * 256 : bytes[at];
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** What a checksum counts before the transport header (RFC 768; RFC 8200, 8.1). */
export function pseudoHeader(
  from: ArrayLike<number>,
  to: ArrayLike<number>,
  protocol: number,
  length: number,
): number[] {
  return [...Array.from(from), ...Array.from(to), ...octets(length, 4), 0, 0, 0, protocol];
}

export function vxlanHeader({ flags = 0x08, reserved = 0, vni = 42, last = 0 }: Partial<OuterFields>): number[] {
  return [flags, ...octets(reserved, 3), ...octets(vni, 3), last];
}

/** A VXLAN packet around an Ethernet frame. */
export function outer(fields: OuterFields, inner: ArrayLike<number>): Uint8Array {
  return outerAround(fields, [...vxlanHeader(fields), ...Array.from(inner)]);
}

/** UDP and what is below it, around any payload. */
export function outerAround(fields: OuterFields, payload: readonly number[]): Uint8Array {
  const { from, to, toMac, fromMac } = fields;
  const datagram = udpDatagram(fields, bytesOf(from), bytesOf(to), payload);
  const isIpv4 = from.includes('.');
  const packet = isIpv4 ? ipv4Packet(fields, datagram) : ipv6Packet(fields, datagram);
  return Uint8Array.from([...toMac, ...fromMac, ...(isIpv4 ? [0x08, 0x00] : [0x86, 0xdd]), ...packet]);
}

function udpDatagram(fields: OuterFields, from: number[], to: number[], payload: readonly number[]): number[] {
  const { sourcePort = 50_000, destinationPort = 4789, checksum = 'zero' } = fields;
  const length = 8 + payload.length;
  const field = fields.udpLength ?? length;
  const header = [...octets(sourcePort, 2), ...octets(destinationPort, 2), ...octets(field, 2)];
  if (checksum === 'zero') return [...header, 0, 0, ...payload];
  const sum = 0xffff - sumOf([...pseudoHeader(from, to, 17, length), ...header, 0, 0, ...payload]);
  const right = sum === 0 ? 0xffff : sum;
  // Neither 0, which means none, nor 0xffff, which may be the same as 0.
  const wrong = right === 0x1234 ? 0x4321 : 0x1234;
  return [...header, ...octets(checksum === 'right' ? right : wrong, 2), ...payload];
}

function ipv4Packet(fields: OuterFields, datagram: readonly number[]): number[] {
  const { trafficClass = 0, hops = 64, dontFragment = true, fragment = 0, identification = 0, options = [] } = fields;
  const length = 20 + options.length + datagram.length;
  const before = [
    0x45 + options.length / 4,
    trafficClass,
    ...octets(length, 2),
    ...octets(identification, 2),
    ...octets((dontFragment ? 0x4000 : 0) + fragment, 2),
    hops,
    17,
  ];
  const behind = [...bytesOf(fields.from), ...bytesOf(fields.to), ...options];
  return [...before, ...octets(0xffff - sumOf([...before, 0, 0, ...behind]), 2), ...behind, ...datagram];
}

function ipv6Packet({ trafficClass = 0, hops = 64, from, to }: OuterFields, datagram: readonly number[]): number[] {
  const first = octets(0x60000000 + trafficClass * 0x100000, 4);
  return [...first, ...octets(datagram.length, 2), 17, hops, ...bytesOf(from), ...bytesOf(to), ...datagram];
}

// --- reading

export interface Outer {
  readonly toMac: number[];
  readonly fromMac: number[];
  readonly from: string;
  readonly to: string;
  readonly trafficClass: number;
  readonly hops: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly checksum: Checksum;
  readonly flags: number;
  readonly reserved: number;
  readonly vni: number;
  readonly last: number;
  readonly inner: Uint8Array;
}

interface Network {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly trafficClass: number;
  readonly hops: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  /** Where UDP begins. */
  readonly at: number;
}

/** @throws where a frame is no whole, unfragmented VXLAN packet, or its lengths or header checksum are wrong: nobody may send such */
export function readOuter(frame: Uint8Array): Outer {
  const type = numberOf(frame, 12, 2);
  if (type !== 0x0800 && type !== 0x86dd) throw new Error(`EtherType ${type.toString(16)} outside`);
  const { at, from, to, ...network } = type === 0x0800 ? readIpv4(frame) : readIpv6(frame);
  const length = numberOf(frame, at + 4, 2);
  if (at + length !== frame.length) throw new Error(`UDP of ${length} octets in ${frame.length - at}`);
  if (length < 16) throw new Error(`${length} octets of UDP hold no VXLAN header`);
  const field = numberOf(frame, at + 6, 2);
  const sum = sumOf([...pseudoHeader(from, to, 17, length), ...frame.subarray(at)]);
  return {
    ...network,
    toMac: [...frame.subarray(0, 6)],
    fromMac: [...frame.subarray(6, 12)],
    from: addressOf(from),
    to: addressOf(to),
    sourcePort: numberOf(frame, at, 2),
    destinationPort: numberOf(frame, at + 2, 2),
    checksum: field === 0 ? 'zero' : sum === 0xffff ? 'right' : 'wrong',
    flags: frame[at + 8],
    reserved: numberOf(frame, at + 9, 3),
    vni: numberOf(frame, at + 12, 3),
    last: frame[at + 15],
    inner: frame.slice(at + 16),
  };
}

function readIpv4(frame: Uint8Array): Network {
  if (frame[14] !== 0x45) throw new Error(`version and header length ${frame[14].toString(16)}`);
  if (numberOf(frame, 16, 2) !== frame.length - 14) throw new Error('total length is not that of the frame');
  if (sumOf(frame.subarray(14, 34)) !== 0xffff) throw new Error('wrong header checksum');
  if (frame[23] !== 17) throw new Error(`protocol ${frame[23]} outside`);
  const fragment = numberOf(frame, 20, 2);
  if (fragment % 0x4000 !== 0) throw new Error('a fragment: no VTEP may make any');
  return {
    from: frame.slice(26, 30),
    to: frame.slice(30, 34),
    trafficClass: frame[15],
    hops: frame[22],
    identification: numberOf(frame, 18, 2),
    dontFragment: fragment === 0x4000,
    at: 34,
  };
}

function readIpv6(frame: Uint8Array): Network {
  if (frame[14] >> 4 !== 6) throw new Error(`version ${frame[14] >> 4}`);
  if (numberOf(frame, 18, 2) !== frame.length - 54) throw new Error('payload length is not that of the frame');
  if (frame[20] !== 17) throw new Error(`next header ${frame[20]} outside`);
  return {
    from: frame.slice(22, 38),
    to: frame.slice(38, 54),
    trafficClass: Math.floor(numberOf(frame, 14, 2) / 16) % 256,
    hops: frame[21],
    identification: 0,
    dontFragment: true,
    at: 54,
  };
}
