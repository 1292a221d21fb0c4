/**
 * Cutting IPv4 packets into fragments (RFC 791, 3.2; RFC 1812, 4.2.2.7 and 5.2.6). IPv6 packets are never cut in transit
 * (RFC 8200, 5).
 */

import { DROP_FRAGMENT_INVALID, DROP_NO_SLOT } from '../drop.js';
import { type Arena, VNET_HEADER_LENGTH } from '../packet/arena.js';
import { completeChecksum, finishChecksum, sumBytes } from '../packet/checksum.js';
import { takePlace } from '../packet/copy.js';
import type { Packet } from '../packet/packet.js';
import { clearVnetHeader } from '../packet/vnet.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_MAX_LENGTH,
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  IPV4_OFFSET_UNIT,
  IPV4_OPTION_COPIED,
  IPV4_OPTION_END,
  IPV4_OPTION_NO_OPERATION,
  IPV4_TOTAL_LENGTH,
  IPV4_VERSION_IHL,
  ipv4Fragment,
  ipv4HeaderLength,
} from '../wire/ipv4.js';

/**
 * Cuts an IPv4 packet that is longer than `mtu` into fragments that are not, each a frame in a slot of its own with one reference,
 * the caller's: the packet's Ethernet header, its port, network, domain and output port, no tag, and a clear virtio-net header.
 * The parse's fields are not set. A fragment is cut into further ones of the same datagram.
 *
 * The packet stays the caller's, and as it is, but for a checksum that was still to come: the payload must hold it first.
 *
 * Preconditions: a sound IPv4 header; DF clear; no GSO; no VLAN tag (`start === l3 - 14`); nobody else holds the slot where the
 * checksum is still to come.
 *
 * @param mtu at least 68, which every link has (RFC 791, 3.2)
 * @param slots filled with the fragments' slot numbers by ascending offset: 119 for 65,535 bytes and an MTU of 576
 * @returns how many; -1 with `packet.reason` where there are none: DROP_NO_SLOT (the arena or `slots` has too few), or
 * DROP_FRAGMENT_INVALID (a fragment that reaches beyond 65,535 bytes, or a smaller `mtu`)
 */
export function fragment4(arena: Arena, packet: Packet, mtu: number, slots: Int32Array): number {
  const headerLength = ipv4HeaderLength(arena.view, packet.l3);
  const field = ipv4Fragment(arena.view, packet.l3);
  const base = (field & IPV4_OFFSET_MASK) * IPV4_OFFSET_UNIT;
  const end = packet.l3End - packet.l3 - headerLength;
  if (headerLength + base + end > IPV4_MAX_LENGTH || headerLength + IPV4_OFFSET_UNIT > mtu) {
    return refuse(packet, DROP_FRAGMENT_INVALID);
  }
  completeChecksum(arena, packet);
  let count = 0;
  for (let at = 0; at < end; ) {
    const slot = count < slots.length ? arena.allocate() : -1;
    if (slot < 0) {
      for (let i = 0; i < count; i++) arena.release(slots[i]);
      return refuse(packet, DROP_NO_SLOT);
    }
    slots[count++] = slot;
    at += fillFragment(arena, packet, arena.packets[slot], mtu, at, end - at, field);
  }
  return count;
}

function refuse(packet: Packet, reason: number): number {
  packet.reason = reason;
  return -1;
}

/**
 * Makes the frame of one fragment.
 *
 * @param at where its payload begins in the packet's
 * @param left payload bytes from there on
 * @param field flags and offset of the packet
 * @returns payload bytes taken
 */
function fillFragment(
  arena: Arena,
  packet: Packet,
  fragment: Packet,
  mtu: number,
  at: number,
  left: number,
  field: number,
): number {
  const { bytes } = arena;
  fragment.start = arena.receiveOffset(fragment.slot) + VNET_HEADER_LENGTH;
  const header = fragment.start + ETHERNET_HEADER_LENGTH;
  bytes.copyWithin(fragment.start, packet.l3 - ETHERNET_HEADER_LENGTH, packet.l3);
  const headerLength = at === 0 ? copyHeader(arena, packet.l3, header) : copyLaterHeader(arena, packet.l3, header);
  const room = mtu - headerLength;
  const size = left <= room ? left : room & -IPV4_OFFSET_UNIT;
  const payload = packet.l3 + ipv4HeaderLength(arena.view, packet.l3) + at;
  bytes.copyWithin(header + headerLength, payload, payload + size);
  // What the packet says of more behind it holds for its last piece; behind the others there is more in any case.
  const more = size < left ? IPV4_MORE_FRAGMENTS : 0;
  finishHeader(arena.view, header, headerLength, size, (field | more) + at / IPV4_OFFSET_UNIT);
  fragment.length = ETHERNET_HEADER_LENGTH + headerLength + size;
  clearVnetHeader(arena, fragment);
  takePlace(fragment, packet);
  return size;
}

/** Copies the header whole. Returns its length. */
function copyHeader(arena: Arena, from: number, to: number): number {
  const length = ipv4HeaderLength(arena.view, from);
  arena.bytes.copyWithin(to, from, from + length);
  return length;
}

/**
 * Copies the header with those options alone that have the copied flag, in their order (RFC 791, 3.1 and 3.2), filled up to
 * 32 bits. What follows a broken option is left out. Returns the header's length.
 */
function copyLaterHeader(arena: Arena, from: number, to: number): number {
  const { bytes } = arena;
  bytes.copyWithin(to, from, from + IPV4_HEADER_LENGTH);
  const end = from + ipv4HeaderLength(arena.view, from);
  let length = IPV4_HEADER_LENGTH;
  for (let at = from + IPV4_HEADER_LENGTH; at < end && bytes[at] !== IPV4_OPTION_END; ) {
    if (bytes[at] === IPV4_OPTION_NO_OPERATION) {
      at++;
      continue;
    }
    const optionLength = at + 1 < end ? bytes[at + 1] : 0;
    if (optionLength < 2 || at + optionLength > end) break;
    if ((bytes[at] & IPV4_OPTION_COPIED) !== 0) {
      bytes.copyWithin(to + length, at, at + optionLength);
      length += optionLength;
    }
    at += optionLength;
  }
  while ((length & 3) !== 0) bytes[to + length++] = IPV4_OPTION_END;
  arena.view.setUint8(to + IPV4_VERSION_IHL, 0x40 | (length >> 2));
  return length;
}

/** Writes lengths, flags and offset, and then the checksum. */
function finishHeader(view: DataView, at: number, headerLength: number, payload: number, field: number): void {
  view.setUint16(at + IPV4_TOTAL_LENGTH, headerLength + payload);
  view.setUint16(at + IPV4_FRAGMENT, field);
  view.setUint16(at + IPV4_CHECKSUM, 0);
  view.setUint16(at + IPV4_CHECKSUM, finishChecksum(sumBytes(view, at, headerLength)));
}
