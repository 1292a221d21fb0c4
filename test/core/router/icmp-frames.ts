/** Frames for the tests of ICMP, with right checksums by the slow sum, and readers of what comes out. */

import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader, writeVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';
import { ethernet, ipv4, ipv6 } from '../wire/build.js';
import type { VnetFields } from '../wire/parsed.js';

/** 172.30.0.3, from which the frames come, and 172.30.0.2, to which they go. */
export const HOST4 = 0xac1e0003 | 0;
export const ROUTER4 = 0xac1e0002 | 0;
/** fd00:30::3 and fd00:30::2. */
export const HOST6: Words = [0xfd000030 | 0, 0, 0, 3];
export const ROUTER6: Words = [0xfd000030 | 0, 0, 0, 2];

export type Words = readonly [number, number, number, number];

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** RFC 1071, 1, word by word. */
export function slowSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at] * 256 + (at + 1 < bytes.length ? bytes[at + 1] : 0);
    while (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** The sum of an IPv6 pseudo-header (RFC 8200, 8.1) for a message at `l4` of a frame. */
export function pseudoSum6(frame: Uint8Array, length: number): number {
  const pseudo = new Uint8Array(40);
  pseudo.set(frame.subarray(22, 54));
  pseudo.set([length >> 8, length & 0xff], 34);
  pseudo[39] = 58;
  return slowSum(pseudo);
}

export interface MessageFields {
  type: number;
  code?: number;
  /** Octets 4 to 7. */
  rest?: number;
  data?: Uint8Array;
}

function message(fields: MessageFields): Uint8Array {
  const data = fields.data ?? new Uint8Array(0);
  const bytes = new Uint8Array(8 + data.length);
  const view = viewOf(bytes);
  view.setUint8(0, fields.type);
  view.setUint8(1, fields.code ?? 0);
  view.setInt32(4, fields.rest ?? 0x00070001);
  bytes.set(data, 8);
  return bytes;
}

export interface Ipv4Patch {
  from?: number;
  to?: number;
  tos?: number;
  ttl?: number;
  options?: Uint8Array;
  offset?: number;
  more?: boolean;
  dontFragment?: boolean;
}

/** An IPv4 frame with a right header checksum. */
export function frame4(protocol: number, patch: Ipv4Patch, ...payload: Uint8Array[]): Uint8Array {
  const options = patch.options ?? new Uint8Array(0);
  const packet = ipv4(
    {
      protocol,
      options: options.length,
      offset: patch.offset ?? 0,
      more: patch.more ?? false,
      dontFragment: patch.dontFragment ?? false,
    },
    ...payload,
  );
  const view = viewOf(packet);
  view.setUint8(1, patch.tos ?? 0);
  view.setUint8(8, patch.ttl ?? 1);
  view.setInt32(12, patch.from ?? HOST4);
  view.setInt32(16, patch.to ?? ROUTER4);
  packet.set(options, 20);
  view.setUint16(10, 0);
  view.setUint16(10, ~slowSum(packet.subarray(0, 20 + options.length)) & 0xffff);
  return ethernet(0x0800, packet);
}

/** An ICMP message over IPv4 with right checksums. */
export function icmp4(fields: MessageFields, patch: Ipv4Patch = {}): Uint8Array {
  const bytes = message(fields);
  viewOf(bytes).setUint16(2, ~slowSum(bytes) & 0xffff);
  return frame4(1, patch, bytes);
}

export interface Ipv6Patch {
  from?: Words;
  to?: Words;
  trafficClass?: number;
  hopLimit?: number;
}

/** An IPv6 frame; `nextHeader` names the first of `payload`. */
export function frame6(nextHeader: number, patch: Ipv6Patch, ...payload: Uint8Array[]): Uint8Array {
  const packet = ipv6({ nextHeader }, ...payload);
  const view = viewOf(packet);
  view.setUint32(0, 0x60000000 + (patch.trafficClass ?? 0) * 0x100000);
  view.setUint8(7, patch.hopLimit ?? 1);
  for (const [index, word] of (patch.from ?? HOST6).entries()) view.setInt32(8 + 4 * index, word);
  for (const [index, word] of (patch.to ?? ROUTER6).entries()) view.setInt32(24 + 4 * index, word);
  return ethernet(0x86dd, packet);
}

/** An ICMPv6 message with a right checksum, behind extension headers, the first of which is of kind `first`. */
export function icmp6(
  fields: MessageFields,
  patch: Ipv6Patch = {},
  first = 58,
  ...extensions: Uint8Array[]
): Uint8Array {
  const bytes = message(fields);
  const frame = frame6(first, patch, ...extensions, bytes);
  const at = frame.length - bytes.length;
  const sum = slowSum(bytes, pseudoSum6(frame, bytes.length));
  viewOf(frame).setUint16(at + 2, ~sum & 0xffff);
  return frame;
}

/** One slot with a frame, and another for what is written about it; both hold 0xa5 where nothing was put. */
export class Slots {
  readonly arena = new Arena(new ArrayBuffer(2 * SLOT_STRIDE));
  readonly packet: Packet = this.arena.packets[0];
  readonly error: Packet = this.arena.packets[1];
  get view(): DataView {
    return this.arena.view;
  }

  constructor() {
    this.arena.bytes.fill(0xa5);
  }

  /** Puts a frame in and parses it. */
  load(frame: Uint8Array, vnet: VnetFields = {}): Packet {
    const { arena, packet } = this;
    this.begin(packet);
    arena.bytes.set(frame, packet.start);
    packet.length = frame.length;
    Object.assign(packet, vnet);
    writeVnetHeader(arena, packet);
    const verdict = parse(arena, packet);
    if (verdict !== 0) throw new Error(`test frame refused by the parse: reason ${verdict}`);
    this.begin(this.error);
    return packet;
  }

  private begin(packet: Packet): void {
    packet.start = this.arena.receiveOffset(packet.slot) + VNET_HEADER_LENGTH;
    packet.length = 0;
    clearVnetHeader(this.arena, packet);
  }

  /** The bytes of a frame as they stand now. */
  bytesOf(packet: Packet): Uint8Array {
    return this.arena.bytes.slice(packet.start, packet.start + packet.length);
  }
}
