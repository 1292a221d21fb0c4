/** Frames in slots of an arena, parsed, for tests of the router's stages; and slow sums to check what they wrote. */

import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader, writeVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';

export interface Offload {
  readonly vnetFlags?: number;
  readonly gsoType?: number;
  readonly gsoSize?: number;
  readonly headerLength?: number;
  readonly checksumStart?: number;
  readonly checksumOffset?: number;
}

/** An arena whose bytes are 0xee, so that what nobody wrote shows. */
export function createArena(slots: number): Arena {
  const arena = new Arena(new ArrayBuffer(slots * SLOT_STRIDE));
  arena.bytes.fill(0xee);
  return arena;
}

/** Puts a frame into a free slot, as a port would, and parses it. */
export function load(arena: Arena, frame: Uint8Array, offload: Offload = {}): Packet {
  const slot = arena.allocate();
  if (slot < 0) throw new Error('the test needs more slots');
  const packet = arena.packets[slot];
  packet.start = arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
  packet.length = frame.length;
  arena.bytes.set(frame, packet.start);
  clearVnetHeader(arena, packet);
  Object.assign(packet, offload);
  writeVnetHeader(arena, packet);
  parseAgain(arena, packet);
  return packet;
}

export function parseAgain(arena: Arena, packet: Packet): void {
  const reason = parse(arena, packet);
  if (reason !== 0) throw new Error(`the parse refuses the frame: reason ${reason}`);
}

/** A copy of the packet's frame. */
export function frameOf(arena: Arena, packet: Packet): Uint8Array {
  return arena.bytes.slice(packet.start, packet.start + packet.length);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** RFC 1071, 1, word by word. */
export function slowSum(bytes: Uint8Array, from: number, to: number, initial = 0): number {
  let sum = initial;
  for (let at = from; at < to; at += 2) {
    sum += bytes[at] * 256 + (at + 1 < to ? bytes[at + 1] : 0);
    while (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** Whether the IPv4 header at `l3` of a frame sums up. */
export function isHeaderSumRight(frame: Uint8Array, l3 = 14): boolean {
  return slowSum(frame, l3, l3 + (frame[l3] & 15) * 4) === 0xffff;
}

/** Whether TCP or UDP in a whole IPv4 packet of a frame without padding sums up. */
export function isTransportSumRight4(frame: Uint8Array): boolean {
  const l4 = 14 + (frame[14] & 15) * 4;
  const pseudo = slowSum(frame, 26, 34, frame[23] + frame.length - l4);
  return slowSum(frame, l4, frame.length, pseudo) === 0xffff;
}

/** The same for IPv6 without extension headers. */
export function isTransportSumRight6(frame: Uint8Array): boolean {
  const pseudo = slowSum(frame, 22, 54, frame[20] + frame.length - 54);
  return slowSum(frame, 54, frame.length, pseudo) === 0xffff;
}

/** Fills in the IPv4 header's checksum. */
export function withHeaderSum(frame: Uint8Array): Uint8Array {
  const view = viewOf(frame);
  view.setUint16(24, 0);
  view.setUint16(24, ~slowSum(frame, 14, 14 + (frame[14] & 15) * 4) & 0xffff);
  return frame;
}

/** Fills in the TCP checksum, of IPv4 or of IPv6 without extension headers. */
export function withTcpSum(frame: Uint8Array): Uint8Array {
  const view = viewOf(frame);
  const isIpv6 = frame[14] >> 4 === 6;
  const l4 = isIpv6 ? 54 : 14 + (frame[14] & 15) * 4;
  view.setUint16(l4 + 16, 0);
  const pseudo = slowSum(frame, isIpv6 ? 22 : 26, isIpv6 ? 54 : 34, 6 + frame.length - l4);
  view.setUint16(l4 + 16, ~slowSum(frame, l4, frame.length, pseudo) & 0xffff);
  return frame;
}
