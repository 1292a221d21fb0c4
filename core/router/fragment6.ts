/**
 * Fragments of IPv6 packets that the router sends itself (RFC 8200, 4.5). In transit nothing is cut: the sender is told (forward.ts).
 */

import { DROP_NO_SLOT } from '../drop.js';
import { type Arena, VNET_HEADER_LENGTH } from '../packet/arena.js';
import { completeChecksum } from '../packet/checksum.js';
import { takePlace } from '../packet/copy.js';
import type { Packet } from '../packet/packet.js';
import { clearVnetHeader } from '../packet/vnet.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import {
  IPV6_FRAGMENT,
  IPV6_FRAGMENT_FIELD,
  IPV6_FRAGMENT_MORE,
  IPV6_HEADER_LENGTH,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
} from '../wire/ipv6.js';

const FRAGMENT_HEADER_LENGTH = 8;
const IDENTIFICATION = 4;
/** Fragments but the last have a multiple of this in them. */
const UNIT = 8;

/**
 * Cuts a packet that has no extension headers into fragments in slots of their own. The original stays as it is, but for a checksum that
 * was still to come.
 *
 * Preconditions: no GSO, no VLAN tag (`start === l3 - 14`), one reference on the slot.
 *
 * @param mtu at least 1280, which every link has (RFC 8200, 5)
 * @param slots filled with the fragments' slot numbers by ascending offset
 * @param identification another one for each packet to the same destination
 * @returns how many; -1 with packet.reason DROP_NO_SLOT, and then all slots are back
 */
export function fragment6(
  arena: Arena,
  packet: Packet,
  mtu: number,
  slots: Int32Array,
  identification: number,
): number {
  completeChecksum(arena, packet);
  const end = packet.l3End - packet.l3 - IPV6_HEADER_LENGTH;
  const room = (mtu - IPV6_HEADER_LENGTH - FRAGMENT_HEADER_LENGTH) & -UNIT;
  let count = 0;
  for (let at = 0; at < end; at += room) {
    const slot = count < slots.length ? arena.allocate() : -1;
    if (slot < 0) {
      for (let i = 0; i < count; i++) arena.release(slots[i]);
      packet.reason = DROP_NO_SLOT;
      return -1;
    }
    slots[count++] = slot;
    const size = Math.min(room, end - at);
    fill(arena, packet, arena.packets[slot], at, size, at + size < end ? IPV6_FRAGMENT_MORE : 0, identification);
  }
  return count;
}

/** @param at where the fragment's part begins in the packet's payload; a multiple of 8, as the header wants it */
function fill(
  arena: Arena,
  packet: Packet,
  fragment: Packet,
  at: number,
  size: number,
  more: number,
  identification: number,
): void {
  const { bytes, view } = arena;
  fragment.start = arena.receiveOffset(fragment.slot) + VNET_HEADER_LENGTH;
  const l3 = fragment.start + ETHERNET_HEADER_LENGTH;
  const header = l3 + IPV6_HEADER_LENGTH;
  const payload = packet.l3 + IPV6_HEADER_LENGTH + at;
  bytes.copyWithin(fragment.start, packet.l3 - ETHERNET_HEADER_LENGTH, packet.l3 + IPV6_HEADER_LENGTH);
  bytes.copyWithin(header + FRAGMENT_HEADER_LENGTH, payload, payload + size);
  view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, FRAGMENT_HEADER_LENGTH + size);
  view.setUint8(header, view.getUint8(l3 + IPV6_NEXT_HEADER));
  view.setUint8(header + 1, 0);
  view.setUint16(header + IPV6_FRAGMENT_FIELD, at | more);
  view.setInt32(header + IDENTIFICATION, identification);
  view.setUint8(l3 + IPV6_NEXT_HEADER, IPV6_FRAGMENT);
  fragment.length = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + FRAGMENT_HEADER_LENGTH + size;
  clearVnetHeader(arena, fragment);
  takePlace(fragment, packet);
}
