/** Packets with right checksums, for tests of address translation: built and summed by code that shares nothing with the dataplane's. */

import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { writeVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';
import { ethernet, ipv4, ipv6 } from '../wire/build.js';

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMPV6 = 58;
export const SCTP = 132;
export const DCCP = 33;
export const UDP_LITE = 136;

/** RFC 1071, 1, word by word. */
export function slowSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at] * 256 + (at + 1 < bytes.length ? bytes[at + 1] : 0);
  while (sum > 0xffff) sum = Math.floor(sum / 0x10000) + (sum % 0x10000);
  return sum;
}

/** RFC 9260, appendix A, bit by bit. */
export function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Where the checksum stands in a transport header. */
export function checksumOffset(protocol: number): number {
  if (protocol === TCP) return 16;
  if (protocol === ICMP || protocol === ICMPV6) return 2;
  return protocol === SCTP ? 8 : 6;
}

/** The pseudo-header's sum for addresses of either family, given as bytes (source, destination). */
export function slowPseudoSum(addresses: Uint8Array, protocol: number, length: number): number {
  return protocol === ICMP ? 0 : slowSum(addresses, protocol + length);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The transport checksum that belongs into this packet, at whatever its own field holds now. `transport`: where its header begins. */
export function fullChecksum(packet: Uint8Array, protocol: number, transport: number): number {
  const segment = packet.slice(transport);
  const view = viewOf(segment);
  if (protocol === SCTP) {
    view.setUint32(8, 0);
    return slowCrc32c(segment);
  }
  view.setUint16(checksumOffset(protocol), 0);
  const addresses = packet[0] >> 4 === 4 ? packet.slice(12, 20) : packet.slice(8, 40);
  // UDP-Lite and the rest cover all of the packet here.
  const sum = ~slowSum(segment, slowPseudoSum(addresses, protocol, segment.length)) & 0xffff;
  return sum === 0 && (protocol === UDP || protocol === UDP_LITE) ? 0xffff : sum;
}

export function readChecksum(packet: Uint8Array, protocol: number, transport: number): number {
  const at = transport + checksumOffset(protocol);
  return protocol === SCTP ? viewOf(packet).getUint32(at, true) : viewOf(packet).getUint16(at);
}

export function writeChecksum(packet: Uint8Array, protocol: number, transport: number, value: number): void {
  const at = transport + checksumOffset(protocol);
  if (protocol === SCTP) viewOf(packet).setUint32(at, value, true);
  else viewOf(packet).setUint16(at, value);
}

/** Sets the IPv4 header's checksum. */
export function sealHeader(packet: Uint8Array): Uint8Array {
  const length = (packet[0] & 15) * 4;
  viewOf(packet).setUint16(10, 0);
  viewOf(packet).setUint16(10, ~slowSum(packet.subarray(0, length)) & 0xffff);
  return packet;
}

export function isHeaderRight(packet: Uint8Array): boolean {
  return slowSum(packet.subarray(0, (packet[0] & 15) * 4)) === 0xffff;
}

export function setAddresses(
  packet: Uint8Array,
  source: ArrayLike<number>,
  destination: ArrayLike<number>,
): Uint8Array {
  const at = packet[0] >> 4 === 4 ? 12 : 8;
  packet.set(Array.from(source), at);
  packet.set(Array.from(destination), at + source.length);
  return packet;
}

/** An IPv4 or IPv6 packet around a transport header and payload, with all its checksums. */
export function seal(
  source: ArrayLike<number>,
  destination: ArrayLike<number>,
  protocol: number,
  segment: Uint8Array,
  options = 0,
): Uint8Array {
  const packet = source.length === 4 ? ipv4({ protocol, options }, segment) : ipv6({ nextHeader: protocol }, segment);
  setAddresses(packet, source, destination);
  const transport = packet.length - segment.length;
  writeChecksum(packet, protocol, transport, fullChecksum(packet, protocol, transport));
  return source.length === 4 ? sealHeader(packet) : packet;
}

export interface Offload {
  readonly flags: number;
  readonly gsoType?: number;
  readonly gsoSize?: number;
  /** Counted from the IP header. */
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

/** One slot, as a port receives into it. */
export class Bench {
  readonly arena = new Arena(new ArrayBuffer(SLOT_STRIDE));
  readonly packet: Packet = this.arena.packets[this.arena.allocate()];

  get view(): DataView {
    return this.arena.view;
  }

  /** Puts an IP packet into an Ethernet frame and parses it. @throws where the parse drops it */
  receive(bytes: Uint8Array, offload?: Offload): Packet {
    const { packet, arena } = this;
    const frame = ethernet(bytes[0] >> 4 === 4 ? 0x0800 : 0x86dd, bytes);
    packet.start = arena.receiveOffset(packet.slot) + VNET_HEADER_LENGTH;
    packet.length = frame.length;
    packet.vnetFlags = offload?.flags ?? 0;
    packet.gsoType = offload?.gsoType ?? 0;
    packet.gsoSize = offload?.gsoSize ?? 0;
    packet.headerLength = 0;
    packet.checksumStart = offload === undefined ? 0 : offload.checksumStart + 14;
    packet.checksumOffset = offload?.checksumOffset ?? 0;
    writeVnetHeader(arena, packet);
    arena.bytes.set(frame, packet.start);
    const reason = parse(arena, packet);
    if (reason !== 0) throw new Error(`the parse drops the frame: reason ${reason}`);
    return packet;
  }

  /** The IP packet as it is now. */
  get bytes(): Uint8Array {
    return this.arena.bytes.slice(this.packet.l3, this.packet.l3End);
  }
}
