/**
 * Outer headers (RFC 7348, 5): Ethernet, IPv4 or IPv6, UDP, VXLAN, written in front of an inner frame. What is the same for all packets
 * to a VTEP is kept as words (`Template`); the rest is ECN, source port, lengths and the checksum of IPv4.
 *
 * The outer UDP checksum is left to whoever sends (VNET_F_NEEDS_CSUM): the network card, or nobody where the packet stays on the machine.
 */

import type { Arena } from '../packet/arena.js';
import { finishChecksum, foldSum } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import {
  VNET_F_NEEDS_CSUM,
  VNET_F_UDP_TUNNEL_CSUM,
  VNET_GSO_NONE,
  VNET_GSO_UDP_L4,
  VNET_GSO_UDP_TUNNEL_IPV4,
  VNET_GSO_UDP_TUNNEL_IPV6,
  writeTunnelHeader,
  writeVnetHeader,
} from '../packet/vnet.js';
import { ETHERNET_HEADER_LENGTH, ETHERNET_TYPE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { IPV4_DONT_FRAGMENT, IPV4_HEADER_LENGTH, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_HEADER_LENGTH } from '../wire/ipv6.js';
import { UDP_CHECKSUM, UDP_HEADER_LENGTH } from '../wire/udp.js';
import { VXLAN_FLAG_GBP, VXLAN_FLAG_VNI, VXLAN_HEADER_LENGTH } from '../wire/vxlan.js';
import type { LocalVtep, RemoteVtep } from './vtep.js';

/**
 * 50 or 70 bytes: of the outer IP packet in front of the inner IP packet; and, as both have an Ethernet header, of the outer frame in front of
 * the inner one.
 */
export function outerLength(isIpv4: boolean): number {
  const network = isIpv4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
  return network + UDP_HEADER_LENGTH + VXLAN_HEADER_LENGTH + ETHERNET_HEADER_LENGTH;
}

/** What is the same in all packets to a VTEP. */
export class Template {
  readonly isIpv4: boolean;
  /** The outer headers' length: 50 or 70. */
  readonly length: number;
  /** TTL or hop limit, and the outer DSCP in the upper six bits; -1: the inner packet's. */
  readonly ttl: number;
  readonly dscp: number;
  readonly checksum: boolean;
  readonly udpPort: number;
  /** The VXLAN header's words. */
  readonly first: number;
  readonly second: number;
  /** Sum over the IPv4 header without TOS and length, and over the pseudo-header without the length. */
  readonly headerSum: number;
  readonly pseudoSum: number;
  /** Of the virtio-net header: who sends it has the UDP checksum to complete, or there is none. */
  readonly vnetFlags: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  /** Source and destination; of IPv4 the last word is the address. Words of their own: an array's would be loaded by way of it, 4 ns a packet. */
  readonly fromA: number;
  readonly fromB: number;
  readonly fromC: number;
  readonly fromD: number;
  readonly toA: number;
  readonly toB: number;
  readonly toC: number;
  readonly toD: number;

  constructor({ options, isIpv4 }: LocalVtep, remote: RemoteVtep) {
    this.isIpv4 = isIpv4;
    this.length = outerLength(isIpv4);
    this.ttl = remote.isGroup ? options.groupTtl : options.ttl;
    this.dscp = options.dscp;
    this.checksum = options.checksum;
    this.vnetFlags = options.checksum ? VNET_F_NEEDS_CSUM : 0;
    this.checksumStart = options.checksum ? this.length - UDP_HEADER_LENGTH - VXLAN_HEADER_LENGTH : 0;
    this.checksumOffset = options.checksum ? UDP_CHECKSUM : 0;
    this.udpPort = options.udpPort;
    this.first = options.gbp < 0 ? VXLAN_FLAG_VNI : VXLAN_FLAG_VNI | VXLAN_FLAG_GBP | options.gbp;
    this.second = options.vni << 8;
    const { 0: a, 1: b, 2: c, 3: d } = options.local;
    this.fromA = a;
    this.fromB = b;
    this.fromC = c;
    this.fromD = d;
    this.toA = remote.a;
    this.toB = remote.b;
    this.toC = remote.c;
    this.toD = remote.d;
    const from = isIpv4 ? [d] : [a, b, c, d];
    const to = isIpv4 ? [remote.d] : [remote.a, remote.b, remote.c, remote.d];
    const addresses = sumOf(from) + sumOf(to);
    this.pseudoSum = foldSum(addresses + PROTOCOL_UDP);
    this.headerSum = foldSum(addresses + 0x4500 + IPV4_DONT_FRAGMENT + ((this.ttl << 8) | PROTOCOL_UDP));
  }
}

/** The sum of the 16-bit halves of words. */
function sumOf(words: readonly number[]): number {
  return words.reduce((sum, word) => sum + (word >>> 16) + (word & 0xffff), 0);
}

/**
 * Writes outer headers in front of what stands at `packet.start` (all inner frames of the packet, the first VXLAN header left out), and the
 * virtio-net header before them. The MACs are written later (`setOuterMacs`). The handle is then the outer packet's.
 *
 * Precondition: so much headroom; inner checksums are finished.
 *
 * @param tos ECN and, where the template has none, DSCP: the outer TOS octet or traffic class
 * @param stride bytes of UDP payload a datagram where the packet is a bundle; 0: it is one datagram
 */
export function prepend(
  arena: Arena,
  packet: Packet,
  template: Template,
  tos: number,
  sourcePort: number,
  stride: number,
): void {
  const l4 = prependHeaders(arena.view, packet, template, tos, sourcePort);
  packet.vnetFlags = template.vnetFlags;
  packet.gsoType = stride === 0 ? VNET_GSO_NONE : VNET_GSO_UDP_L4;
  packet.headerLength = stride === 0 ? 0 : l4 + UDP_HEADER_LENGTH - packet.start;
  packet.gsoSize = stride;
  packet.checksumStart = template.checksumStart;
  packet.checksumOffset = template.checksumOffset;
  writeVnetHeader(arena, packet);
}

/** Of the outer packet as a whole, `LONGEST_WHOLE` bytes at most: devices have super-packets that are longer cut (gso_max_size). */
export const LONGEST_WHOLE = 65_535;

/**
 * The same for a super-packet that stays one, to be cut behind us (Port.outlet): what was said of the inner packet holds, and counts from the
 * outer frame now.
 *
 * Precondition: so much headroom, and TUNNEL_HEADER_LENGTH; TCP or UDP_L4 of more than one segment, whose checksum is to come (VNET_F_NEEDS_CSUM);
 * parsed; the outer packet is no longer than LONGEST_WHOLE.
 */
export function prependWhole(arena: Arena, packet: Packet, template: Template, tos: number, sourcePort: number): void {
  const l4 = prependHeaders(arena.view, packet, template, tos, sourcePort);
  packet.vnetFlags = VNET_F_NEEDS_CSUM | (template.checksum ? VNET_F_UDP_TUNNEL_CSUM : 0);
  packet.gsoType |= template.isIpv4 ? VNET_GSO_UDP_TUNNEL_IPV4 : VNET_GSO_UDP_TUNNEL_IPV6;
  packet.headerLength += template.length;
  packet.checksumStart += template.length;
  writeTunnelHeader(arena, packet, l4 - packet.start, packet.l3 - packet.start);
}

/** @returns where the outer UDP header begins; its checksum is that of the pseudo-header */
function prependHeaders(view: DataView, packet: Packet, template: Template, tos: number, sourcePort: number): number {
  packet.start -= template.length;
  packet.length += template.length;
  const ip = packet.start + ETHERNET_HEADER_LENGTH;
  const udpLength = packet.length - template.length + UDP_HEADER_LENGTH + VXLAN_HEADER_LENGTH;
  const l4 = template.isIpv4
    ? writeIpv4(view, ip, template, tos, udpLength)
    : writeIpv6(view, ip, template, tos, udpLength);
  view.setInt32(l4, (sourcePort << 16) | template.udpPort);
  const partial = template.checksum ? foldSum(template.pseudoSum + udpLength) : 0;
  view.setInt32(l4 + 4, (udpLength << 16) | partial);
  view.setInt32(l4 + 8, template.first);
  view.setInt32(l4 + 12, template.second);
  return l4;
}

/** DF is set, so the identification means nothing (RFC 6864, 4.1): 0. @returns where UDP begins */
function writeIpv4(view: DataView, at: number, template: Template, tos: number, udpLength: number): number {
  const length = udpLength + IPV4_HEADER_LENGTH;
  const checksum = finishChecksum(template.headerSum + tos + length);
  view.setInt32(at, 0x45000000 | (tos << 16) | length);
  view.setInt32(at + 4, IPV4_DONT_FRAGMENT);
  view.setInt32(at + 8, (template.ttl << 24) | (PROTOCOL_UDP << 16) | checksum);
  view.setInt32(at + 12, template.fromD);
  view.setInt32(at + 16, template.toD);
  return at + IPV4_HEADER_LENGTH;
}

function writeIpv6(view: DataView, at: number, template: Template, tos: number, udpLength: number): number {
  view.setInt32(at, 0x60000000 | (tos << 20));
  view.setInt32(at + 4, (udpLength << 16) | (PROTOCOL_UDP << 8) | template.ttl);
  view.setInt32(at + 8, template.fromA);
  view.setInt32(at + 12, template.fromB);
  view.setInt32(at + 16, template.fromC);
  view.setInt32(at + 20, template.fromD);
  view.setInt32(at + 24, template.toA);
  view.setInt32(at + 28, template.toB);
  view.setInt32(at + 32, template.toC);
  view.setInt32(at + 36, template.toD);
  return at + IPV6_HEADER_LENGTH;
}

/** The outer Ethernet header. */
export function setOuterMacs(
  view: DataView,
  packet: Packet,
  isIpv4: boolean,
  toHigh: number,
  toLow: number,
  fromHigh: number,
  fromLow: number,
): void {
  const { start } = packet;
  // Whole words: the octets of two MACs one by one take twice as long.
  view.setInt32(start, (toHigh << 16) | (toLow >>> 16));
  view.setInt32(start + 4, (toLow << 16) | fromHigh);
  view.setInt32(start + 8, fromLow);
  view.setUint16(start + ETHERNET_TYPE, isIpv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
}
