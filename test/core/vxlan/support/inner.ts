/** What containers send: frames between them, and super-packets as their kernels hand them to a TAP. Shares nothing with core/. */

import type { VnetFields } from '../../../support/harness.js';
import { bytesOf, endOf, filler, framed, type Tcp, tcp, udp } from '../../nat/wire.js';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM } from './nic.js';
import { pseudoHeader, sumOf } from './outer.js';

export interface Loaded {
  readonly frame: Uint8Array;
  readonly vnet: VnetFields | null;
}

/** Somebody with a MAC and addresses. */
export interface Speaker {
  readonly mac: readonly number[];
  readonly v4: string;
  readonly v6: string;
}

export type Family = 4 | 6;

export function end(speaker: Speaker, family: Family, port: number): string {
  return family === 4 ? `${speaker.v4}:${port}` : `[${speaker.v6}]:${port}`;
}

/** A datagram from one to another. */
export function datagram(
  from: Speaker,
  to: Speaker,
  {
    family = 4,
    port = 4000,
    toPort = 53,
    data = filler(18),
  }: { family?: Family; port?: number; toPort?: number; data?: Uint8Array } = {},
): Uint8Array {
  return framed(udp(end(from, family, port), end(to, family, toPort), data), to.mac, from.mac);
}

export interface SegmentFields extends Tcp {
  readonly family?: Family;
  readonly port?: number;
  readonly toPort?: number;
  readonly trafficClass?: number;
}

export function segment(
  from: Speaker,
  to: Speaker,
  { family = 4, port = 4000, toPort = 80, ...fields }: SegmentFields = {},
): Uint8Array {
  return framed(tcp(end(from, family, port), end(to, family, toPort), { flags: 'A', ...fields }), to.mac, from.mac);
}

/** Where a frame's IP packet ends, by its own length field. */
function packetEndOf(frame: Uint8Array): number {
  return 14 + (frame[14] >> 4 === 4 ? frame[16] * 256 + frame[17] : 40 + frame[18] * 256 + frame[19]);
}

/** The same with its checksum still to come, as a container's kernel leaves it; and cut into segments later where a size is given. */
export function unfinished(frame: Uint8Array, size = 0, isEcn = false): Loaded {
  const isIpv4 = frame[14] >> 4 === 4;
  // What is to be cut has no padding: nobody could tell it from payload.
  const bytes = frame.slice(0, size === 0 ? frame.length : packetEndOf(frame));
  const l4 = isIpv4 ? 14 + (bytes[14] % 16) * 4 : 54;
  const isTcp = (isIpv4 ? bytes[23] : bytes[20]) === 6;
  const from = bytes.slice(isIpv4 ? 26 : 22, isIpv4 ? 30 : 38);
  const to = bytes.slice(isIpv4 ? 30 : 38, isIpv4 ? 34 : 54);
  const sum = sumOf(pseudoHeader(from, to, isTcp ? 6 : 17, packetEndOf(frame) - l4));
  const offset = isTcp ? 16 : 6;
  bytes.set([sum >> 8, sum & 255], l4 + offset);
  const type = isTcp ? (isIpv4 ? GSO_TCPV4 : GSO_TCPV6) : GSO_UDP_L4;
  const vnet = {
    flags: NEEDS_CSUM,
    gsoType: size === 0 ? 0 : type + (isEcn ? GSO_ECN : 0),
    headerLength: size === 0 ? 0 : l4 + (isTcp ? (bytes[l4 + 12] >> 4) * 4 : 8),
    gsoSize: size,
    checksumStart: l4,
    checksumOffset: offset,
  };
  return { frame: bytes, vnet };
}

/** TCP in one piece, to be cut. */
export function superSegment(
  from: Speaker,
  to: Speaker,
  length: number,
  size: number,
  fields: SegmentFields = {},
): Loaded {
  return unfinished(segment(from, to, { flags: 'PA', ...fields, data: filler(length) }), size);
}

/** Datagrams of one flow in one piece, to be cut. */
export function superDatagram(from: Speaker, to: Speaker, length: number, size: number, family: Family = 4): Loaded {
  return unfinished(datagram(from, to, { family, data: filler(length) }), size);
}

/** DSCP and ECN of a frame's IP header set. */
export function withTrafficClass(frame: Uint8Array, value: number): Uint8Array {
  const bytes = frame.slice();
  if (bytes[14] >> 4 === 6) {
    bytes[14] = 0x60 + (value >> 4);
    bytes[15] = (value % 16) * 16 + (bytes[15] % 16);
    return bytes;
  }
  bytes[15] = value;
  return resummed(bytes);
}

export function trafficClassOf(frame: Uint8Array): number {
  return frame[14] >> 4 === 6 ? (frame[14] % 16) * 16 + (frame[15] >> 4) : frame[15];
}

/** "Don't fragment" set. */
export function withDontFragment(frame: Uint8Array): Uint8Array {
  const bytes = frame.slice();
  bytes[20] |= 0x40;
  return resummed(bytes);
}

function resummed(bytes: Uint8Array): Uint8Array {
  bytes.set([0, 0], 24);
  const sum = 0xffff - sumOf(bytes.subarray(14, 14 + (bytes[14] % 16) * 4));
  bytes.set([sum >> 8, sum & 255], 24);
  return bytes;
}

/** Octets put in behind `at`; what the virtio-net header tells of is behind them. */
function widened({ frame, vnet }: Loaded, at: number, octets: readonly number[]): Loaded {
  const by = octets.length;
  return {
    frame: Uint8Array.from([...frame.subarray(0, at), ...octets, ...frame.subarray(at)]),
    vnet: { ...vnet, headerLength: (vnet?.headerLength ?? 0) + by, checksumStart: (vnet?.checksumStart ?? 0) + by },
  };
}

/** With eight octets of IPv4 options, "no operation" each (RFC 791, 3.1). */
export function withOptions(sent: Loaded): Loaded {
  const { frame, vnet } = widened(sent, 34, new Array(8).fill(1));
  frame[14] += 2;
  const length = frame.length - 14;
  frame.set([length >> 8, length & 255], 16);
  return { frame: resummed(frame), vnet };
}

/** With a header of destination options, all padding, behind that of IPv6 (RFC 8200, 4.6). */
export function withExtension(sent: Loaded): Loaded {
  const { frame, vnet } = widened(sent, 54, [sent.frame[20], 0, 1, 4, 0, 0, 0, 0]);
  frame[20] = 60;
  const length = frame.length - 54;
  frame.set([length >> 8, length & 255], 18);
  return { frame, vnet };
}

/** With a tag. */
export function withTag(sent: Loaded, vid: number): Loaded {
  return widened(sent, 12, [0x81, 0, vid >> 8, vid & 255]);
}

/** ARP (RFC 826): who has `target`, or that `from` is at its own MAC. */
export function arp(from: Speaker, operation: 1 | 2, target: string, toMac: readonly number[]): Uint8Array {
  const asked = operation === 1 ? [0, 0, 0, 0, 0, 0] : toMac;
  const body = [
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    operation,
    ...from.mac,
    ...bytesOf(from.v4),
    ...asked,
    ...bytesOf(endOf(target).address),
  ];
  const bytes = new Uint8Array(60);
  bytes.set([...toMac, ...from.mac, 8, 6, ...body]);
  return bytes;
}

/** The frame with another source MAC. */
export function withFromMac(frame: Uint8Array, mac: readonly number[]): Uint8Array {
  const bytes = frame.slice();
  bytes.set(mac, 6);
  return bytes;
}
