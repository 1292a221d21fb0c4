/**
 * IP packets of connections as text and back, for tests of address translation: written with all their checksums, read with all of them
 * checked, by code that shares nothing with the dataplane's.
 *
 * An end of a connection is "10.1.0.11:5000", "[fd00:1::11]:5000", or without a port: "10.1.0.11", "fd00:1::11".
 */

import { ip4, ip6 } from '../switch/multicast.js';
import { ethernet } from '../wire/build.js';
import {
  fullChecksum,
  ICMP,
  ICMPV6,
  isHeaderRight,
  readChecksum,
  SCTP,
  seal,
  sealHeader,
  slowPseudoSum,
  slowSum,
  TCP,
  UDP,
} from './packets.js';

export const GRE = 47;

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
const FLAG_LETTERS: readonly [number, string][] = [
  [SYN, 'S'],
  [FIN, 'F'],
  [RST, 'R'],
  [PSH, 'P'],
  [ACK, 'A'],
];
const NAMES: Record<number, string> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  47: 'gre',
  58: 'icmp',
  132: 'sctp',
};

export interface End {
  readonly address: string;
  readonly port: number;
}

export function endOf(text: string): End {
  const bracketed = /^\[(.+)\]:(\d+)$/.exec(text);
  if (bracketed !== null) return { address: bracketed[1], port: Number(bracketed[2]) };
  const [address, port] = text.split(':');
  return text.includes('.') ? { address, port: Number(port ?? 0) } : { address: text, port: 0 };
}

export function textOf(address: string, port: number): string {
  if (port === 0) return address;
  return address.includes('.') ? `${address}:${port}` : `[${address}]:${port}`;
}

export function bytesOf(address: string): number[] {
  return address.includes('.') ? ip4(address) : ip6(address);
}

/** The shortest text of an address (RFC 5952 for what the tests use). */
export function addressOf(bytes: ArrayLike<number>): string {
  if (bytes.length === 4) return Array.from(bytes).join('.');
  const words = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] << 8) | bytes[2 * i + 1]).toString(16));
  const runs = words.join(':').match(/(?<=^|:)0(:0)+(?=:|$)/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return words.join(':');
  return words.join(':').replace(new RegExp(`(^|:)${longest}(:|$)`), '::');
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// --- writing: IP packets without a frame

/** Some payload that shows where it was moved. */
export function filler(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + 3) & 0xff);
}

export function packet(protocol: number, from: string, to: string, segment: Uint8Array, options = 0): Uint8Array {
  return seal(bytesOf(endOf(from).address), bytesOf(endOf(to).address), protocol, segment, options);
}

export interface Tcp {
  /** Letters: S, F, R, P, A. */
  readonly flags?: string;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly window?: number;
  readonly data?: Uint8Array;
  /** Octets, a multiple of 4. */
  readonly options?: readonly number[];
}

export function tcp(from: string, to: string, fields: Tcp = {}): Uint8Array {
  const { flags = 'S', sequence = 1000, acknowledgment = 0, window = 65_535, data = new Uint8Array(0) } = fields;
  const options = fields.options ?? [];
  const segment = new Uint8Array(20 + options.length + data.length);
  const view = viewOf(segment);
  view.setUint16(0, endOf(from).port);
  view.setUint16(2, endOf(to).port);
  view.setUint32(4, sequence >>> 0);
  view.setUint32(8, acknowledgment >>> 0);
  segment[12] = (5 + options.length / 4) << 4;
  segment[13] = FLAG_LETTERS.reduce((sum, [bit, letter]) => (flags.includes(letter) ? sum | bit : sum), 0);
  view.setUint16(14, window);
  segment.set(options, 20);
  segment.set(data, 20 + options.length);
  return packet(TCP, from, to, segment);
}

export function udp(from: string, to: string, data = filler(18)): Uint8Array {
  const segment = new Uint8Array(8 + data.length);
  const view = viewOf(segment);
  view.setUint16(0, endOf(from).port);
  view.setUint16(2, endOf(to).port);
  view.setUint16(4, segment.length);
  segment.set(data, 8);
  return packet(UDP, from, to, segment);
}

/** A query of ICMP or ICMPv6, by the family of the addresses. */
export function echo(from: string, to: string, identifier: number, isReply = false, data = filler(32)): Uint8Array {
  const isIpv4 = from.includes('.');
  const type = isIpv4 ? (isReply ? 0 : 8) : isReply ? 129 : 128;
  return icmp(from, to, type, 0, (identifier << 16) | 1, data);
}

/** @param rest the word behind the checksum */
export function icmp(
  from: string,
  to: string,
  type: number,
  code: number,
  rest: number,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const message = new Uint8Array(8 + data.length);
  message.set([type, code]);
  viewOf(message).setInt32(4, rest);
  message.set(data, 8);
  return packet(from.includes('.') ? ICMP : ICMPV6, from, to, message);
}

/** Unreachable port, of whatever family: quotes a packet, all of it or its first octets. */
export function unreachable(from: string, to: string, quoted: Uint8Array, length = quoted.length): Uint8Array {
  const isIpv4 = from.includes('.');
  return icmp(from, to, isIpv4 ? 3 : 1, isIpv4 ? 3 : 4, 0, quoted.slice(0, length));
}

/** @param chunk its kind: 1 INIT, 2 INIT ACK, 10 COOKIE ECHO, 11 COOKIE ACK, 0 DATA */
export function sctp(from: string, to: string, chunk: number, tag: number, initiateTag = 0): Uint8Array {
  const segment = new Uint8Array(12 + 20);
  const view = viewOf(segment);
  view.setUint16(0, endOf(from).port);
  view.setUint16(2, endOf(to).port);
  view.setUint32(4, tag >>> 0);
  segment[12] = chunk;
  view.setUint16(14, 20);
  view.setUint32(16, initiateTag >>> 0);
  view.setUint32(20, 65_536);
  view.setUint16(24, 1);
  view.setUint16(26, 1);
  return packet(SCTP, from, to, segment);
}

/** GRE (RFC 2784) with a payload: no ports, no checksum. */
export function gre(from: string, to: string): Uint8Array {
  return packetWithout(GRE, from, to, Uint8Array.of(0, 0, 8, 0, ...filler(20)));
}

/** Of a protocol whose checksum, if it has one, is in nobody's way. */
export function packetWithout(protocol: number, from: string, to: string, segment: Uint8Array): Uint8Array {
  const isIpv4 = from.includes('.');
  const bytes = new Uint8Array((isIpv4 ? 20 : 40) + segment.length);
  const view = viewOf(bytes);
  if (isIpv4) {
    bytes.set([0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol]);
    view.setUint16(2, bytes.length);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, protocol, 64]);
    view.setUint16(4, segment.length);
  }
  bytes.set([...bytesOf(endOf(from).address), ...bytesOf(endOf(to).address)], isIpv4 ? 12 : 8);
  bytes.set(segment, isIpv4 ? 20 : 40);
  return isIpv4 ? sealHeader(bytes) : bytes;
}

/** IPv4 fragments of a packet, each with so many octets of payload (a multiple of 8) at most. */
export function fragments4(whole: Uint8Array, size: number, dontFragment = false): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 20; at < whole.length; at += size) {
    const piece = new Uint8Array([...whole.subarray(0, 20), ...whole.subarray(at, at + size)]);
    const view = viewOf(piece);
    view.setUint16(2, piece.length);
    const more = at + size < whole.length ? 0x2000 : 0;
    view.setUint16(6, (dontFragment ? 0x4000 : 0) | more | ((at - 20) / 8));
    pieces.push(sealHeader(piece));
  }
  return pieces;
}

/** The same for IPv6, without extension headers. */
export function fragments6(whole: Uint8Array, size: number, identification = 77): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 40; at < whole.length; at += size) {
    const part = whole.subarray(at, at + size);
    const piece = new Uint8Array([...whole.subarray(0, 40), whole[6], 0, 0, 0, 0, 0, 0, 0, ...part]);
    const view = viewOf(piece);
    piece[6] = 44;
    view.setUint16(4, 8 + part.length);
    view.setUint16(42, (at - 40) | (at + size < whole.length ? 1 : 0));
    view.setUint32(44, identification);
    pieces.push(piece);
  }
  return pieces;
}

/** TTL or hop limit of an IP packet set. */
export function withHops(bytes: Uint8Array, hops: number): Uint8Array {
  const changed = bytes.slice();
  changed[bytes[0] >> 4 === 4 ? 8 : 7] = hops;
  return bytes[0] >> 4 === 4 ? sealHeader(changed) : changed;
}

/** An Ethernet frame around it, 60 octets at least. */
export function framed(bytes: Uint8Array, to: readonly number[], from: readonly number[]): Uint8Array {
  const whole = ethernet(bytes[0] >> 4 === 4 ? 0x0800 : 0x86dd, bytes);
  const frame = new Uint8Array(Math.max(60, whole.length));
  frame.set(whole);
  frame.set(to, 0);
  frame.set(from, 6);
  return frame;
}

// --- reading

export interface Seen {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** 0 where the protocol has none; of ICMP queries the identifier. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly hops: number;
  readonly isFragment: boolean;
  /** TCP. */
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  /** ICMP. */
  readonly type: number;
  readonly code: number;
  /** Behind the transport header; of an ICMP error what it quotes. */
  readonly payload: Uint8Array;
  readonly bytes: Uint8Array;
}

/** The IP packet of an untagged frame. */
export function ipOf(frame: Uint8Array): Uint8Array {
  const view = viewOf(frame);
  return frame.slice(14, 14 + (view.getUint16(12) === 0x0800 ? view.getUint16(16) : 40 + view.getUint16(18)));
}

/** @throws where a checksum is wrong */
export function read(bytes: Uint8Array): Seen {
  const isIpv4 = bytes[0] >> 4 === 4;
  if (isIpv4 && !isHeaderRight(bytes)) throw new Error('wrong IPv4 header checksum');
  const { protocol, at, isFragment, isLater } = transportOf(bytes);
  const seen = parts(bytes, protocol, isLater ? -1 : at, isFragment);
  if (!isFragment) checkTransport(bytes, protocol, at);
  return seen;
}

/** The same of a quoted packet, which may be cut, and whose transport checksum nobody vouches for. @throws for the header checksum */
export function readQuote(bytes: Uint8Array): Seen {
  if (bytes[0] >> 4 === 4 && !isHeaderRight(bytes)) throw new Error('wrong quoted IPv4 header checksum');
  const { protocol, at } = transportOf(bytes);
  return parts(bytes, protocol, at, false);
}

/** Whether a quoted packet's transport checksum is right, where all of the packet is there. */
export function isQuoteWhole(bytes: Uint8Array): boolean {
  const { protocol, at } = transportOf(bytes);
  return isTransportRight(bytes, protocol, at);
}

function transportOf(bytes: Uint8Array): { protocol: number; at: number; isFragment: boolean; isLater: boolean } {
  const view = viewOf(bytes);
  if (bytes[0] >> 4 === 4) {
    const field = view.getUint16(6) & 0x3fff;
    const isLater = (field & 0x1fff) !== 0;
    return { protocol: bytes[9], at: (bytes[0] & 15) * 4, isFragment: field !== 0, isLater };
  }
  let kind = bytes[6];
  let at = 40;
  let isFragment = false;
  let isLater = false;
  while (kind === 0 || kind === 43 || kind === 60 || kind === 44) {
    if (kind === 44) {
      isFragment = true;
      isLater = view.getUint16(at + 2) >> 3 !== 0;
    }
    const length = kind === 44 ? 8 : 8 + bytes[at + 1] * 8;
    kind = bytes[at];
    at += length;
  }
  return { protocol: kind, at, isFragment, isLater };
}

function checkTransport(bytes: Uint8Array, protocol: number, at: number): void {
  if (!isTransportRight(bytes, protocol, at)) throw new Error(`wrong ${NAMES[protocol]} checksum`);
}

function isTransportRight(bytes: Uint8Array, protocol: number, at: number): boolean {
  if (![TCP, UDP, ICMP, ICMPV6, SCTP].includes(protocol) || bytes.length < at + 8) return true;
  if (protocol === SCTP) return fullChecksum(bytes, protocol, at) === readChecksum(bytes, protocol, at);
  if (protocol === UDP && readChecksum(bytes, protocol, at) === 0) return bytes[0] >> 4 === 4;
  const addresses = bytes[0] >> 4 === 4 ? bytes.slice(12, 20) : bytes.slice(8, 40);
  const segment = bytes.subarray(at);
  return slowSum(segment, slowPseudoSum(addresses, protocol, segment.length)) === 0xffff;
}

function parts(bytes: Uint8Array, protocol: number, at: number, isFragment: boolean): Seen {
  const view = viewOf(bytes);
  const isIpv4 = bytes[0] >> 4 === 4;
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  const hasPorts = at >= 0 && !isIcmp && protocol !== GRE && bytes.length >= at + 4 && protocol in NAMES;
  const isTcp = at >= 0 && protocol === TCP && bytes.length >= at + 20;
  const type = at >= 0 && isIcmp ? bytes[at] : -1;
  const isQuery = isIcmp && (isIpv4 ? [0, 8, 13, 14] : [128, 129]).includes(type);
  const identifier = isQuery && bytes.length >= at + 6 ? view.getUint16(at + 4) : 0;
  const header = isTcp ? (bytes[at + 12] >> 4) * 4 : hasPorts && protocol === SCTP ? 12 : protocol === GRE ? 0 : 8;
  return {
    family: isIpv4 ? 4 : 6,
    protocol,
    source: addressOf(bytes.subarray(isIpv4 ? 12 : 8, isIpv4 ? 16 : 24)),
    destination: addressOf(bytes.subarray(isIpv4 ? 16 : 24, isIpv4 ? 20 : 40)),
    sourcePort: hasPorts ? view.getUint16(at) : identifier,
    destinationPort: hasPorts ? view.getUint16(at + 2) : identifier,
    hops: bytes[isIpv4 ? 8 : 7],
    isFragment,
    flags: isTcp ? bytes[at + 13] : 0,
    sequence: isTcp ? view.getUint32(at + 4) : 0,
    acknowledgment: isTcp ? view.getUint32(at + 8) : 0,
    type,
    code: at >= 0 && isIcmp ? bytes[at + 1] : -1,
    payload: bytes.slice(Math.min(bytes.length, Math.max(at, 0) + header)),
    bytes,
  };
}

export function isError(seen: Seen): boolean {
  if (seen.protocol === ICMP) return [3, 11, 12].includes(seen.type);
  return seen.protocol === ICMPV6 && seen.type >= 1 && seen.type <= 4;
}

/** "udp 10.1.0.11:5000 > 198.51.100.1:53", "tcp SA …", "icmp 8 …", "icmp 3/3 a > b [udp …]". */
export function describe(seen: Seen): string {
  const { protocol } = seen;
  const name = NAMES[protocol] ?? `protocol ${protocol}`;
  const ends = `${textOf(seen.source, seen.sourcePort)} > ${textOf(seen.destination, seen.destinationPort)}`;
  if (isError(seen)) {
    const quote = readQuote(seen.payload);
    return `icmp ${seen.type}/${seen.code} ${seen.source} > ${seen.destination} [${describe(quote)}]`;
  }
  if (protocol === TCP) {
    const letters = FLAG_LETTERS.filter(([bit]) => (seen.flags & bit) !== 0).map(([, letter]) => letter);
    return ['tcp', letters.join(''), ends].filter((part) => part !== '').join(' ');
  }
  return seen.type >= 0 ? `icmp ${seen.type} ${ends}` : `${name} ${ends}`;
}
