/** A second slot with the same frame: for the rare case that two ports want different bytes. */

import { DROP_NONE } from '../drop.js';
import { type Arena, VNET_HEADER_LENGTH } from './arena.js';
import { type Packet, UNPARSED } from './packet.js';
import { readVnetHeader } from './vnet.js';

/**
 * Copies frame and virtio-net header, and of the handle what the doors of the dataplane read (`takePlace`).
 * The parse's fields stay behind.
 * @returns the copy, whose one reference is the caller's; null where no slot is free
 */
export function copyPacket(arena: Arena, packet: Packet): Packet | null {
  const slot = arena.allocate();
  if (slot < 0) return null;
  const copy = arena.packets[slot];
  copy.start = arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
  copy.length = packet.length;
  const from = packet.start - VNET_HEADER_LENGTH;
  arena.bytes.copyWithin(copy.start - VNET_HEADER_LENGTH, from, packet.start + packet.length);
  readVnetHeader(arena, copy);
  takePlace(copy, packet);
  return copy;
}

/** Gives a handle what the doors of the dataplane read of another: port, network, domain, tag, output port; no drop reason, and no parse. */
export function takePlace(copy: Packet, packet: Packet): void {
  copy.port = packet.port;
  copy.network = packet.network;
  copy.domain = packet.domain;
  copy.tag = packet.tag;
  copy.vlan = packet.vlan;
  copy.outPort = packet.outPort;
  copy.reason = DROP_NONE;
  copy.etherType = UNPARSED;
}
