/**
 * What does not fit through the next interface, and what helps: a lower MSS in the handshake, smaller segments of what has not
 * been segmented yet. MTUs are bytes of IP packet.
 */

import type { Arena } from '../packet/arena.js';
import { updateChecksum16 } from '../packet/checksum.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import {
  VNET_F_NEEDS_CSUM,
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP,
  VNET_GSO_UDP_L4,
  writeVnetHeader,
} from '../packet/vnet.js';
import { ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { IPV4_DONT_FRAGMENT, IPV4_HEADER_LENGTH, ipv4Fragment, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_HEADER_LENGTH } from '../wire/ipv6.js';
import { TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER_LENGTH, TCP_SYN, tcpHeaderLength } from '../wire/tcp.js';
import { UDP_HEADER_LENGTH } from '../wire/udp.js';

/** TCP options (RFC 9293, 3.1 and 3.2): kind, then, but for the first two, the length of the whole option. */
const OPTION_END = 0;
const OPTION_NO_OPERATION = 1;
const OPTION_MSS = 2;
const OPTION_MSS_LENGTH = 4;

/**
 * Whether the packet, or a segment that a GSO packet will be cut into, is longer than the MTU.
 *
 * Precondition: the parse found a sound IPv4 or IPv6 header.
 */
export function exceedsMtu(view: DataView, packet: Packet, mtu: number): boolean {
  // A GSO packet of one short segment passes here as well.
  if (packet.l3End - packet.l3 <= mtu) return false;
  if (packet.gsoType === VNET_GSO_NONE) return true;
  const headers = segmentHeaders(view, packet);
  return headers < 0 || headers + packet.gsoSize > mtu;
}

/** The same: most packets are far from it, and what tells those is to be inlined, the rest is not. */
export function isTooBig(view: DataView, packet: Packet, mtu: number): boolean {
  return packet.l3End - packet.l3 > mtu && exceedsMtu(view, packet, mtu);
}

/**
 * Bytes of headers that each segment of a GSO packet begins with, from the network header on; -1 where the packet is not what its
 * type says, so that nobody can tell how it will be cut. Read from the frame: the sender's hdr_len is a hint, and his to choose.
 */
function segmentHeaders(view: DataView, packet: Packet): number {
  const { l4 } = packet;
  if (l4 === -1 || (packet.flags & PACKET_FRAGMENT) !== 0) return -1;
  const type = packet.gsoType & ~VNET_GSO_ECN;
  if (type === VNET_GSO_TCPV4 || type === VNET_GSO_TCPV6) {
    return packet.protocol === PROTOCOL_TCP ? l4 + tcpHeaderLength(view, l4) - packet.l3 : -1;
  }
  if (packet.protocol !== PROTOCOL_UDP) return -1;
  if (type === VNET_GSO_UDP_L4) return l4 + UDP_HEADER_LENGTH - packet.l3;
  // Cut into IP fragments; the UDP header is part of the first one's gsoSize (skb_gso_network_seglen).
  return type === VNET_GSO_UDP ? l4 - packet.l3 : -1;
}

/**
 * Lowers gsoSize, in handle and virtio-net header, so that each segment of an IPv4 TCP packet fits: what has not been cut yet may
 * be cut smaller. Only where the sender allows fragments (DF clear): to others the MTU is to be told.
 *
 * Precondition: the parse found a sound header; nobody else holds the slot.
 *
 * @returns false, and changes nothing, where the packet is of another kind or the MTU has no room for a byte of payload
 */
export function shrinkSegments(arena: Arena, packet: Packet, mtu: number): boolean {
  if ((packet.gsoType & ~VNET_GSO_ECN) !== VNET_GSO_TCPV4 || packet.etherType === ETHERTYPE_IPV6) return false;
  if ((ipv4Fragment(arena.view, packet.l3) & IPV4_DONT_FRAGMENT) !== 0) return false;
  const headers = segmentHeaders(arena.view, packet);
  if (headers < 0 || headers >= mtu) return false;
  if (headers + packet.gsoSize > mtu) {
    packet.gsoSize = mtu - headers;
    writeVnetHeader(arena, packet);
  }
  return true;
}

/**
 * Lowers the MSS that a SYN segment announces to what the MTU has room for: the MTU less the fixed headers, whatever options the
 * segments will have (RFC 6691, 2). A segment that announces none stays as it is. Costs other segments one byte's test.
 *
 * Precondition: the parse found a sound header; nobody else holds the slot of a SYN segment.
 */
export function clampMss(view: DataView, packet: Packet, mtu: number): void {
  // Of a later fragment l4 is -1.
  if (packet.protocol !== PROTOCOL_TCP || packet.l4 === -1) return;
  if ((view.getUint8(packet.l4 + TCP_FLAGS) & TCP_SYN) !== 0) clampSyn(view, packet, mtu);
}

function clampSyn(view: DataView, packet: Packet, mtu: number): void {
  const at = findMss(view, packet.l4 + TCP_HEADER_LENGTH, packet.l4 + tcpHeaderLength(view, packet.l4));
  if (at < 0) return;
  const networkHeader = packet.etherType === ETHERTYPE_IPV6 ? IPV6_HEADER_LENGTH : IPV4_HEADER_LENGTH;
  const limit = mtu - networkHeader - TCP_HEADER_LENGTH;
  const announced = view.getUint16(at);
  if (announced <= limit || limit < 1) return;
  view.setUint16(at, limit);
  // Where the checksum is still to come, the options will be summed as they then are.
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) updateTcpChecksum(view, packet.l4, at, announced, limit);
}

/** Place of the MSS in the options from `at` to `end`; -1 where there is none, or the list is broken before it. */
function findMss(view: DataView, at: number, end: number): number {
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return -1;
    if (kind === OPTION_NO_OPERATION) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) return -1;
    if (kind === OPTION_MSS) return length === OPTION_MSS_LENGTH ? at + 2 : -1;
    at += length;
  }
  return -1;
}

/** For 16 bits at `at`. At an odd distance from the header they count as if their octets were swapped (RFC 1071, 2(B)). */
function updateTcpChecksum(view: DataView, l4: number, at: number, oldWord: number, newWord: number): void {
  const isOdd = ((at - l4) & 1) !== 0;
  const before = isOdd ? swapOctets(oldWord) : oldWord;
  const after = isOdd ? swapOctets(newWord) : newWord;
  view.setUint16(l4 + TCP_CHECKSUM, updateChecksum16(view.getUint16(l4 + TCP_CHECKSUM), before, after));
}

function swapOctets(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}
