/**
 * VLAN tags put into frames and taken out, in place. The virtio-net header and the two MAC addresses move by four bytes, into the
 * headroom or out of it; the payload stays where it is, and so do the handle's offsets into it.
 *
 * Precondition of all: an Ethernet header's length of frame, and nobody else holds a reference on the slot.
 */

import { type Arena, VNET_HEADER_LENGTH } from './arena.js';
import type { Packet } from './packet.js';
import { VNET_F_NEEDS_CSUM } from './vnet.js';

const TAG = 4;
/** Destination and source MAC: what stands before a tag. */
const ADDRESSES = 12;

/** Inserts a tag with this TPID and TCI in front of the EtherType. */
export function insertTag(arena: Arena, packet: Packet, tpid: number, tci: number): void {
  const from = packet.start - VNET_HEADER_LENGTH;
  arena.bytes.copyWithin(from - TAG, from, packet.start + ADDRESSES);
  packet.start -= TAG;
  packet.length += TAG;
  arena.view.setUint16(packet.start + ADDRESSES, tpid);
  arena.view.setUint16(packet.start + ADDRESSES + 2, tci);
  shiftOffsets(arena.view, packet, TAG);
}

/** Takes the outer tag out. The frame must have one. */
export function removeTag(arena: Arena, packet: Packet): void {
  const from = packet.start - VNET_HEADER_LENGTH;
  arena.bytes.copyWithin(from + TAG, from, packet.start + ADDRESSES);
  packet.start += TAG;
  packet.length -= TAG;
  shiftOffsets(arena.view, packet, -TAG);
}

/** Writes the outer tag's TCI. The frame must have one. */
export function setTag(arena: Arena, packet: Packet, tci: number): void {
  arena.view.setUint16(packet.start + ADDRESSES + 2, tci);
}

/** hdr_len and csum_start count from the first byte of the frame; in the header and, for later readers, in the handle. */
function shiftOffsets(view: DataView, packet: Packet, by: number): void {
  const header = packet.start - VNET_HEADER_LENGTH;
  if ((view.getUint8(header) & VNET_F_NEEDS_CSUM) !== 0) {
    // Beyond 65,535 it would come out at the other end, in front of all that was checked.
    packet.checksumStart = Math.min(view.getUint16(header + 6, true) + by, 0xffff);
    view.setUint16(header + 6, packet.checksumStart, true);
  }
  const headerLength = view.getUint16(header + 2, true);
  if (headerLength === 0) return;
  // A hint of what to copy first; at most 65,535 in a frame that may be longer.
  packet.headerLength = Math.min(Math.max(headerLength + by, 0), 0xffff);
  view.setUint16(header + 2, packet.headerLength, true);
}
