/** The outer headers of a VXLAN packet: what is wrong with them, and the virtio-net header that is right without them. */

import { finishChecksum, foldSum, pseudoHeaderSum4, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { VNET_F_DATA_VALID, VNET_F_NEEDS_CSUM, VNET_GSO_ECN, VNET_GSO_NONE, VNET_GSO_UDP_L4 } from '../packet/vnet.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ipv4HeaderLength, PROTOCOL_UDP } from '../wire/ipv4.js';
import { UDP_CHECKSUM, UDP_HEADER_LENGTH, udpLength } from '../wire/udp.js';

/** Where the UDP payload ends; the parse has proven that the datagram is inside the frame. */
export function payloadEnd(view: DataView, packet: Packet): number {
  const length = udpLength(view, packet.l4);
  const end = packet.l4 + length;
  return length === 0 || end > packet.l3End ? packet.l3End : end;
}

/** Whether the checksum of the outer IPv4 header is right; IPv6 has none. */
export function isOuterHeaderRight(view: DataView, packet: Packet): boolean {
  if (packet.etherType !== ETHERTYPE_IPV4) return true;
  return sumBytes(view, packet.l3, ipv4HeaderLength(view, packet.l3)) === 0xffff;
}

/**
 * Whether the outer UDP checksum is right, or there is none to look at: 0 is none (RFC 7348, 5; RFC 6935 over IPv6), and what has not left the
 * machine yet, or was looked at by the kernel, needs none.
 */
export function isOuterChecksumRight(view: DataView, packet: Packet): boolean {
  if (view.getUint16(packet.l4 + UDP_CHECKSUM) === 0) return true;
  if ((packet.vnetFlags & (VNET_F_NEEDS_CSUM | VNET_F_DATA_VALID)) !== 0) return true;
  const { l3, l4 } = packet;
  const length = payloadEnd(view, packet) - l4;
  const pseudo =
    packet.etherType === ETHERTYPE_IPV4
      ? pseudoHeaderSum4(view, l3, PROTOCOL_UDP, length)
      : pseudoHeaderSum6(view, l3, PROTOCOL_UDP, length);
  return finishChecksum(foldSum(pseudo) + sumBytes(view, l4, length)) === 0;
}

/** Whether several datagrams with one header have come (UDP GSO): the checksum that is to come is the outer one. */
export function isBundle(packet: Packet): boolean {
  return (packet.gsoType & ~VNET_GSO_ECN) === VNET_GSO_UDP_L4 && packet.checksumStart === packet.l4 - packet.start;
}

/**
 * Makes the handle that of the inner frame: place, length, virtio-net fields. The kernel hands its tunnelled super-packets over whole, with a
 * checksum that is to come inside: what counts from the outer frame counts from the inner one then.
 *
 * @returns false where segmentation and checksum are not the inner frame's: nobody could cut it
 */
export function strip(packet: Packet, inner: number, end: number): boolean {
  const by = inner - packet.start;
  const isInside = packet.checksumStart >= by;
  packet.start = inner;
  packet.length = end - inner;
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0 && isInside) {
    packet.checksumStart -= by;
    packet.headerLength = packet.headerLength > by ? packet.headerLength - by : 0;
    return true;
  }
  const isSegmented = packet.gsoType !== VNET_GSO_NONE;
  // That of the outer UDP header, or what was verified of it, says nothing of the inner frame.
  packet.vnetFlags = 0;
  packet.gsoType = VNET_GSO_NONE;
  packet.gsoSize = 0;
  packet.headerLength = 0;
  packet.checksumStart = 0;
  packet.checksumOffset = 0;
  return !isSegmented;
}

/** UDP payload a datagram begins at. */
export function payloadStart(packet: Packet): number {
  return packet.l4 + UDP_HEADER_LENGTH;
}
