/** Text in a TCP segment replaced by another, longer or shorter. */

import { isPartial, updated, updatedSum } from '../nat/rewrite.js';
import type { Arena } from '../packet/arena.js';
import { finishChecksum, pseudoHeaderSum4, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { VNET_GSO_NONE } from '../packet/vnet.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { IPV4_CHECKSUM, IPV4_TOTAL_LENGTH, PROTOCOL_TCP } from '../wire/ipv4.js';
import { IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.js';
import { TCP_CHECKSUM, tcpHeaderLength } from '../wire/tcp.js';

/** Packets that text is replaced in are no longer than this afterwards: what every IPv6 link carries (RFC 8200, 5), whatever the next one is. */
const MAX_LENGTH = 1280;

/** First byte of a segment's payload. */
export function payloadOf(view: DataView, packet: Packet): number {
  return packet.l4 + tcpHeaderLength(view, packet.l4);
}

/**
 * Whether a segment's text may be read and replaced: it is not damaged, which replacing would hide, and not yet to be cut into several.
 */
export function isReplaceable(view: DataView, packet: Packet): boolean {
  if (packet.gsoType !== VNET_GSO_NONE) return false;
  return isPartial(packet, TCP_CHECKSUM) || isSumRight(view, packet);
}

function isSumRight(view: DataView, packet: Packet): boolean {
  return finishChecksum(segmentSum(view, packet)) === 0;
}

/** Over pseudo-header and segment. */
function segmentSum(view: DataView, packet: Packet): number {
  const { l3, l4, l3End } = packet;
  const length = l3End - l4;
  const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
  const pseudo = isIpv4
    ? pseudoHeaderSum4(view, l3, PROTOCOL_TCP, length)
    : pseudoHeaderSum6(view, l3, PROTOCOL_TCP, length);
  return pseudo + sumBytes(view, l4, length);
}

/**
 * Replaces the bytes from `from` to `to`. Lengths and checksums follow; sequence numbers are the caller's.
 *
 * Precondition: `isReplaceable`, the addresses are those that the packet leaves with, nobody else holds the slot.
 *
 * @param text ASCII
 * @returns false, and changes nothing, where the packet would be too long
 */
export function replaceText(arena: Arena, packet: Packet, from: number, to: number, text: string): boolean {
  const { bytes, view } = arena;
  const growth = text.length - (to - from);
  if (packet.l3End - packet.l3 + growth > MAX_LENGTH && growth > 0) return false;
  bytes.copyWithin(to + growth, to, packet.l3End);
  for (let i = 0; i < text.length; i++) bytes[from + i] = text.charCodeAt(i);
  resize(view, packet, growth);
  const at = packet.l4 + TCP_CHECKSUM;
  if (isPartial(packet, TCP_CHECKSUM)) {
    // The pseudo-header has the length in it.
    view.setUint16(at, updatedSum(view.getUint16(at), growth));
  } else {
    view.setUint16(at, 0);
    view.setUint16(at, finishChecksum(segmentSum(view, packet)));
  }
  return true;
}

function resize(view: DataView, packet: Packet, growth: number): void {
  const { l3 } = packet;
  packet.l3End += growth;
  packet.length += growth;
  if (packet.etherType === ETHERTYPE_IPV4) {
    view.setUint16(l3 + IPV4_TOTAL_LENGTH, view.getUint16(l3 + IPV4_TOTAL_LENGTH) + growth);
    view.setUint16(l3 + IPV4_CHECKSUM, updated(view.getUint16(l3 + IPV4_CHECKSUM), growth));
  } else {
    view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, view.getUint16(l3 + IPV6_PAYLOAD_LENGTH) + growth);
  }
}
