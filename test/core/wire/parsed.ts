/** Running the parse on a frame in a test: a hostile surrounding, the fields read back, and what must hold for any frame. */

import { DROP_NONE } from '../../../core/drop.js';
import { Arena, MAX_FRAME_LENGTH, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import {
  PACKET_FRAGMENT,
  PACKET_L3_MALFORMED,
  PACKET_L4_MALFORMED,
  PACKET_LATER_FRAGMENT,
  type Packet,
} from '../../../core/packet/packet.js';
import { clearVnetHeader, writeVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';

/** What the parse found. Offsets count from the first byte of the frame, so that they can be compared; -1 stays -1. */
export interface Parsed {
  verdict: number;
  flags: number;
  dstHigh: number;
  dstLow: number;
  srcHigh: number;
  srcLow: number;
  vlan: number;
  vlanType: number;
  innerVlan: number;
  etherType: number;
  l3: number;
  /** 0 where l3 is -1. */
  l3End: number;
  protocol: number;
  l4: number;
  srcPort: number;
  dstPort: number;
}

export interface VnetFields {
  vnetFlags?: number;
  gsoType?: number;
  headerLength?: number;
  gsoSize?: number;
  checksumStart?: number;
  checksumOffset?: number;
}

/** A value that no field can hold after a parse: it shows where one was not written. */
const STALE = -77;

/** Farther than eight extension headers of the greatest length, 2 KiB, could lead. */
const POISON_LENGTH = 20_000;

/** One slot to parse frames in, again and again. */
export class ParseBench {
  readonly arena = new Arena(new ArrayBuffer(2 * SLOT_STRIDE));
  readonly packet: Packet = this.arena.packets[1];

  /**
   * Parses a frame in a slot whose other bytes are `poison`, with a handle whose fields an earlier packet left behind.
   *
   * A frame that is longer than a slot holds comes in as the kernel would give it: cut one byte behind the greatest length.
   *
   * @param claimed length to note in the handle, where it is not the frame's own
   */
  parse(frame: Uint8Array, poison = 0xa5, vnet: VnetFields = {}, claimed = frame.length): Parsed {
    const start = this.arena.receiveOffset(1) + VNET_HEADER_LENGTH;
    this.load(frame.subarray(0, MAX_FRAME_LENGTH + 1), start, poison, vnet, claimed);
    return this.read(parse(this.arena, this.packet));
  }

  /** The same with the frame at the end of the memory: whatever reads behind it throws. */
  parseAtEdge(frame: Uint8Array, vnet: VnetFields = {}): Parsed {
    this.load(frame, this.arena.bytes.length - frame.length, 0xa5, vnet, frame.length);
    return this.read(parse(this.arena, this.packet));
  }

  private load(frame: Uint8Array, start: number, poison: number, vnet: VnetFields, claimed: number): void {
    const { arena, packet } = this;
    arena.bytes.fill(poison, start - 64, Math.min(start + frame.length + POISON_LENGTH, arena.bytes.length));
    arena.bytes.set(frame, start);
    packet.start = start;
    packet.length = claimed;
    clearVnetHeader(arena, packet);
    Object.assign(packet, vnet);
    writeVnetHeader(arena, packet);
    soil(packet);
  }

  private read(verdict: number): Parsed {
    const { packet } = this;
    const relative = (offset: number) => (offset === -1 ? -1 : offset - packet.start);
    return {
      verdict,
      flags: packet.flags,
      dstHigh: packet.dstHigh,
      dstLow: packet.dstLow,
      srcHigh: packet.srcHigh,
      srcLow: packet.srcLow,
      vlan: packet.vlan,
      vlanType: packet.vlanType,
      innerVlan: packet.innerVlan,
      etherType: packet.etherType,
      l3: relative(packet.l3),
      l3End: packet.l3 === -1 ? packet.l3End : relative(packet.l3End),
      protocol: packet.protocol,
      l4: relative(packet.l4),
      srcPort: packet.srcPort,
      dstPort: packet.dstPort,
    };
  }
}

function soil(packet: Packet): void {
  packet.flags = STALE;
  packet.dstHigh = STALE;
  packet.dstLow = STALE;
  packet.srcHigh = STALE;
  packet.srcLow = STALE;
  packet.vlan = STALE;
  packet.vlanType = STALE;
  packet.innerVlan = STALE;
  packet.etherType = STALE;
  packet.l3 = STALE;
  packet.l3End = STALE;
  packet.protocol = STALE;
  packet.l4 = STALE;
  packet.srcPort = STALE;
  packet.dstPort = STALE;
}

/** What a stage may rely on, whatever the frame; the first rule that is broken, or null. */
export function brokenRule(parsed: Parsed, length: number): string | null {
  if (Object.values(parsed).some((value) => (value | 0) !== value)) return 'every field is an int32';
  if (parsed.verdict !== DROP_NONE) return brokenDropRule(parsed);
  return brokenNetworkRule(parsed, length) ?? brokenTransportRule(parsed);
}

function brokenDropRule(p: Parsed): string | null {
  const nothing = p.etherType === -1 && p.vlan === -1 && p.l3 === -1 && p.l4 === -1 && p.flags === 0;
  return nothing ? null : 'a frame that is dropped has no fields';
}

function brokenNetworkRule(p: Parsed, length: number): string | null {
  if (p.vlan < -1 || p.innerVlan < -1 || p.etherType < -1) return 'VLAN fields and EtherType are written';
  if (p.innerVlan !== -1 && p.vlan === -1) return 'no inner tag without an outer one';
  if ((p.vlan === -1) !== (p.vlanType === 0)) return 'a tag has a TPID, no tag has none';
  const known = p.etherType === 0x0800 || p.etherType === 0x0806 || p.etherType === 0x86dd;
  if ((p.l3 !== -1) !== known) return 'l3 is there for IPv4, IPv6 and ARP only';
  if (p.l3 === -1)
    return p.l3End === 0 && p.protocol === -1 && p.flags === 0 ? null : 'without l3 there is nothing above';
  const tags = (p.vlan === -1 ? 0 : 4) + (p.innerVlan === -1 ? 0 : 4);
  if (p.l3 !== 14 + tags || p.l3 > p.l3End || p.l3End > length) return 'the network packet lies inside the frame';
  if ((p.flags & PACKET_L3_MALFORMED) === 0) return null;
  if (p.l3End !== length) return 'a malformed network packet ends with the frame';
  return p.l4 === -1 && p.protocol === -1 ? null : 'nothing above a malformed network header';
}

/** Bytes that the parse promises from `l4` on. */
const PROVEN: Readonly<Record<number, number>> = { 1: 8, 6: 20, 17: 8, 58: 8 };

function brokenTransportRule(p: Parsed): string | null {
  const hasPorts = p.l4 !== -1 && (p.protocol === 6 || p.protocol === 17);
  if ((p.srcPort !== -1) !== hasPorts || (p.dstPort !== -1) !== hasPorts) return 'ports for TCP and UDP only';
  if ((p.flags & PACKET_LATER_FRAGMENT) !== 0 && (p.flags & PACKET_FRAGMENT) === 0)
    return 'a later fragment is a fragment';
  const above = (p.flags & (PACKET_LATER_FRAGMENT | PACKET_L3_MALFORMED | PACKET_L4_MALFORMED)) === 0;
  if (p.l4 === -1) return null;
  if (!above) return 'no l4 in a later fragment, nor behind a malformed header';
  if (p.l4 < p.l3 + 20 || p.l4 + (PROVEN[p.protocol] ?? 0) > p.l3End)
    return 'the transport header lies inside the packet';
  return null;
}
