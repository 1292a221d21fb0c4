/**
 * The frames of probes: IPv4 between two addresses that are never routed (192.0.0.0/29, RFC 7335, 3), from a host's own MAC to one that is
 * no station's, so that who knows nothing of probes finds nobody to give them to.
 *
 *   Ethernet | IPv4, DF | UDP or TCP to port 9 (discard) | magic 4 | kind 1 | direction 1 | verdict 1 | 0 | id 4 | length 2 | 0 0 | pattern
 *
 * The length is that of the IPv4 packet, the pattern follows from the id: damage shows also where somebody has made the checksum right for it.
 */

import type { Arena } from '../packet/arena.js';
import { finishChecksum, nonZeroChecksum, pseudoHeaderSum4, sumBytes } from '../packet/checksum.js';
import { PACKET_FRAGMENT, PACKET_L3_MALFORMED, type Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_NONE, writeVnetHeader } from '../packet/vnet.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4, setEthernetHeader } from '../wire/ethernet.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_IDENTIFICATION,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IPV4_VERSION_IHL,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/ipv4.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGMENT,
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_DESTINATION_PORT,
  TCP_HEADER_LENGTH,
  TCP_SEQUENCE,
  TCP_SOURCE_PORT,
  TCP_WINDOW,
  tcpHeaderLength,
} from '../wire/tcp.js';
import {
  UDP_CHECKSUM,
  UDP_DESTINATION_PORT,
  UDP_HEADER_LENGTH,
  UDP_LENGTH,
  UDP_SOURCE_PORT,
  udpLength,
} from '../wire/udp.js';

/** Where probes and answers go: locally administered, and no station's. */
export const PROBE_MAC_HIGH = 0x0254;
export const PROBE_MAC_LOW = 0x4c507262;

/** Kinds of probes: a small datagram; a TCP segment whose checksum is left to be computed; a datagram as large as the MTU allows. */
export const PROBE_UDP = 0;
export const PROBE_TCP = 1;
export const PROBE_FULL_SIZE = 2;
export const PROBE_KINDS = 3;

export const PROBE_QUESTION = 0;
export const PROBE_ANSWER = 1;

/** 192.0.0.1 and 192.0.0.2. */
const FROM = 0xc0000001 | 0;
const TO = 0xc0000002 | 0;
const TTL = 64;
const IPV4_FIRST = 0x4500;
/** Each kind is a flow of its own: nobody puts two together. */
const SOURCE_PORT = 49_152;
const DISCARD_PORT = 9;
/** Five words of header, then the flags. */
const TCP_FIELDS = 0x5000 | TCP_ACK;

const MAGIC = 0x546c5072;
const KIND = 4;
const DIRECTION = 5;
const VERDICT = 6;
const ID = 8;
const LENGTH = 12;
const PROBE_HEADER_LENGTH = 16;
/** Bytes of a small one's IPv4 packet. */
const SMALL = 128;

/** What a probe says. */
export interface ProbeFields {
  kind: number;
  /** PROBE_QUESTION or PROBE_ANSWER. */
  direction: number;
  /** Of an answer: what it answers was damaged. */
  isDamaged: boolean;
  id: number;
  /** Of the IPv4 packet, in bytes. */
  length: number;
}

/** Bytes of the IPv4 packet of a kind, where the MTU is `mtu`. */
export function probeLength(kind: number, mtu: number): number {
  return kind === PROBE_FULL_SIZE ? Math.max(mtu, SMALL) : SMALL;
}

/** Writes a probe at `packet.start`, from a MAC, with the virtio-net header that its kind has; and sets the length. */
export function writeProbe(arena: Arena, packet: Packet, fields: ProbeFields, macHigh: number, macLow: number): void {
  const { view } = arena;
  setEthernetHeader(view, packet.start, PROBE_MAC_HIGH, PROBE_MAC_LOW, macHigh, macLow, ETHERTYPE_IPV4);
  const l3 = packet.start + ETHERNET_HEADER_LENGTH;
  const l4 = l3 + IPV4_HEADER_LENGTH;
  packet.length = ETHERNET_HEADER_LENGTH + fields.length;
  writeIpv4(view, l3, fields);
  if (fields.kind === PROBE_TCP) {
    writeTcp(view, l4, fields);
    writePayload(view, l4 + TCP_HEADER_LENGTH, l3 + fields.length, fields);
    const length = fields.length - IPV4_HEADER_LENGTH;
    view.setUint16(l4 + TCP_CHECKSUM, pseudoHeaderSum4(view, l3, PROTOCOL_TCP, length));
    packet.vnetFlags = VNET_F_NEEDS_CSUM;
    packet.checksumStart = l4 - packet.start;
    packet.checksumOffset = TCP_CHECKSUM;
  } else {
    writeUdp(view, l4, fields);
    writePayload(view, l4 + UDP_HEADER_LENGTH, l3 + fields.length, fields);
    const length = fields.length - IPV4_HEADER_LENGTH;
    const sum = pseudoHeaderSum4(view, l3, PROTOCOL_UDP, length) + sumBytes(view, l4, length);
    view.setUint16(l4 + UDP_CHECKSUM, nonZeroChecksum(finishChecksum(sum)));
  }
  writeVnetHeader(arena, packet);
}

function writeIpv4(view: DataView, l3: number, { kind, id, length }: ProbeFields): void {
  view.setUint16(l3 + IPV4_VERSION_IHL, IPV4_FIRST);
  view.setUint16(l3 + IPV4_TOTAL_LENGTH, length);
  view.setUint16(l3 + IPV4_IDENTIFICATION, id & 0xffff);
  view.setUint16(l3 + IPV4_FRAGMENT, IPV4_DONT_FRAGMENT);
  view.setUint8(l3 + IPV4_TTL, TTL);
  view.setUint8(l3 + IPV4_PROTOCOL, kind === PROBE_TCP ? PROTOCOL_TCP : PROTOCOL_UDP);
  view.setUint16(l3 + IPV4_CHECKSUM, 0);
  view.setInt32(l3 + IPV4_SOURCE, FROM);
  view.setInt32(l3 + IPV4_DESTINATION, TO);
  view.setUint16(l3 + IPV4_CHECKSUM, finishChecksum(sumBytes(view, l3, IPV4_HEADER_LENGTH)));
}

function writeTcp(view: DataView, l4: number, { kind, id }: ProbeFields): void {
  view.setUint16(l4 + TCP_SOURCE_PORT, SOURCE_PORT + kind);
  view.setUint16(l4 + TCP_DESTINATION_PORT, DISCARD_PORT);
  view.setInt32(l4 + TCP_SEQUENCE, id);
  view.setInt32(l4 + TCP_ACKNOWLEDGMENT, 0);
  view.setUint16(l4 + TCP_DATA_OFFSET, TCP_FIELDS);
  view.setUint16(l4 + TCP_WINDOW, 0xffff);
  // Checksum, and the urgent pointer behind it.
  view.setInt32(l4 + TCP_CHECKSUM, 0);
}

function writeUdp(view: DataView, l4: number, { kind, length }: ProbeFields): void {
  view.setUint16(l4 + UDP_SOURCE_PORT, SOURCE_PORT + kind);
  view.setUint16(l4 + UDP_DESTINATION_PORT, DISCARD_PORT);
  view.setUint16(l4 + UDP_LENGTH, length - IPV4_HEADER_LENGTH);
  view.setUint16(l4 + UDP_CHECKSUM, 0);
}

function writePayload(view: DataView, at: number, end: number, fields: ProbeFields): void {
  view.setInt32(at, MAGIC);
  view.setUint8(at + KIND, fields.kind);
  view.setUint8(at + DIRECTION, fields.direction);
  view.setUint16(at + VERDICT, fields.isDamaged ? 0x0100 : 0);
  view.setInt32(at + ID, fields.id);
  view.setInt32(at + LENGTH, fields.length << 16);
  for (let i = at + PROBE_HEADER_LENGTH; i < end; i++) view.setUint8(i, patternAt(i - at, fields.id));
}

function patternAt(i: number, id: number): number {
  return (Math.imul(i, 7) + id) & 0xff;
}

/**
 * Reads a parsed frame to the MAC of probes into `fields`.
 * @returns whether it is a probe at all; `isIntact` says whether it is as it was sent
 */
export function readProbe(view: DataView, packet: Packet, fields: ProbeFields): boolean {
  const at = payloadStart(view, packet);
  if (at === 0 || view.getInt32(at) !== MAGIC) return false;
  fields.kind = view.getUint8(at + KIND);
  fields.direction = view.getUint8(at + DIRECTION);
  fields.isDamaged = view.getUint8(at + VERDICT) !== 0;
  fields.id = view.getInt32(at + ID);
  fields.length = view.getUint16(at + LENGTH);
  if (fields.direction !== PROBE_QUESTION && fields.direction !== PROBE_ANSWER) return false;
  return fields.kind < PROBE_KINDS && (fields.kind === PROBE_TCP) === (packet.protocol === PROTOCOL_TCP);
}

/** 0: no IPv4 packet with room for what a probe says. */
function payloadStart(view: DataView, packet: Packet): number {
  const { l3, l3End, l4, protocol } = packet;
  if (packet.etherType !== ETHERTYPE_IPV4 || l4 === -1 || packet.gsoType !== VNET_GSO_NONE) return 0;
  if ((packet.flags & (PACKET_L3_MALFORMED | PACKET_FRAGMENT)) !== 0 || l4 !== l3 + IPV4_HEADER_LENGTH) return 0;
  if (protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_TCP) return 0;
  if (packet.dstPort !== DISCARD_PORT) return 0;
  const at = l4 + (protocol === PROTOCOL_TCP ? tcpHeaderLength(view, l4) : UDP_HEADER_LENGTH);
  return at + PROBE_HEADER_LENGTH <= l3End ? at : 0;
}

/**
 * Whether both checksums are right, nothing is missing, and the pattern is there. A checksum that is left to us has met nobody who could
 * damage it. Precondition: `readProbe` has filled `fields` with it.
 */
export function isProbeIntact(view: DataView, packet: Packet, fields: ProbeFields): boolean {
  const { l3, l3End, l4, protocol } = packet;
  if (sumBytes(view, l3, IPV4_HEADER_LENGTH) !== 0xffff || l3End - l3 !== fields.length) return false;
  const length = l3End - l4;
  if (protocol === PROTOCOL_UDP && (udpLength(view, l4) !== length || view.getUint16(l4 + UDP_CHECKSUM) === 0))
    return false;
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) {
    const sum = pseudoHeaderSum4(view, l3, protocol, length) + sumBytes(view, l4, length);
    if (finishChecksum(sum) !== 0) return false;
  }
  const at = l4 + (protocol === PROTOCOL_TCP ? tcpHeaderLength(view, l4) : UDP_HEADER_LENGTH);
  for (let i = at + PROBE_HEADER_LENGTH; i < l3End; i++) {
    if (view.getUint8(i) !== patternAt(i - at, fields.id)) return false;
  }
  return true;
}
