/**
 * Coalescing: TCP segments and UDP datagrams of one flow that follow each other become one packet with a virtio-net header that says how
 * they were cut, so that all behind here, the receiver's kernel included, has one packet to handle instead of forty.
 *
 *   add → examine → of a held flow? → follows it, checksums right → merged
 *                                   → does not → the held one goes on first
 *                   begins one → held
 *
 * The rules are those of Linux: net/ipv4/tcp_offload.c (tcp_gro_receive, tcp_gro_complete), net/ipv4/udp_offload.c
 * (udp_gro_receive_segment), include/net/gro.h (gro_receive_network_flush). Order within a flow is kept: what cannot be merged with what is
 * held of its flow goes on behind it. What was merged with nothing goes on as it came.
 *
 * A payload is summed in its place, which verifies the checksum, and then copied behind what is held. A packet that nothing follows is not
 * summed at all.
 */

import { type Arena, SLOT_STRIDE } from '../packet/arena.js';
import { pseudoHeaderSum4, pseudoHeaderSum6, updateChecksum16 } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import {
  readVnetHeader,
  VNET_F_NEEDS_CSUM,
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP_L4,
  writeVnetHeader,
} from '../packet/vnet.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_IDENTIFICATION,
  IPV4_MAX_LENGTH,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IPV4_VERSION_IHL,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_HOP_LIMIT,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  IPV6_VERSION,
} from '../wire/ipv6.js';
import {
  TCP_ACKNOWLEDGMENT,
  TCP_CHECKSUM,
  TCP_CWR,
  TCP_DATA_OFFSET,
  TCP_FIN,
  TCP_FLAGS,
  TCP_HEADER_LENGTH,
  TCP_PSH,
  TCP_SEQUENCE,
  tcpFlags,
} from '../wire/tcp.js';
import { UDP_CHECKSUM, UDP_LENGTH } from '../wire/udp.js';
import { Candidate, examine, isChecksumRight, KIND_FLOW, KIND_HIDDEN, KIND_NONE, KIND_SEGMENT } from './candidate.js';

/** What a port's frames are coalesced into: nothing; TCP packets; TCP and UDP ones. */
export const COALESCE_NONE = 0;
export const COALESCE_TCP = 1;
export const COALESCE_ALL = 2;

/** What becomes of a frame: its bytes are in a held packet; it goes on; it is held. */
export const FRAME_MERGED = 0;
export const FRAME_PASSES = 1;
export const FRAME_HELD = 2;

/** Flows that are held at most; a batch has seldom more than eight. */
const MAX_HELD = 64;
/** Datagrams in one packet: the kernel takes no more (UDP_MAX_SEGMENTS, linux/udp.h). */
const MAX_DATAGRAMS = 128;
/** Packets that wait for the end of a split: what may be held, and what the largest bundle (128 datagrams) brings, twice over. */
const MAX_WAITING = 512;

/** Words of what is held. Offsets are absolute. */
const SLOT = 0; // -1: it is gone
const START = 1;
const L4 = 2;
const PAYLOAD = 3;
/** Where the next payload goes to, and what that must not pass. */
const END = 4;
const LIMIT = 5;
/** Sequence number that comes next. */
const NEXT = 6;
/** Payload bytes of the first segment, which all but the last must have. */
const SIZE = 7;
const COUNT = 8;
/** IPv4 identification of the last one merged, and whether all have the same. */
const IDENTIFICATION = 9;
const FIXED = 10;
/** FIN and PSH of those merged. */
const FLAGS = 11;
const VERIFIED = 12;
const PORT = 13;
/** 1: IPv4; 2: TCP. */
const FAMILY = 14;
const WORDS = 16;

/** What may differ in the word of data offset, flags and window. */
const FLAGS_ASIDE = ~((TCP_CWR | TCP_FIN | TCP_PSH) << 16);

export interface CoalescerSink {
  /** Takes over the slot. Start, length, port and virtio-net header are set; nothing is parsed. May give the coalescer further packets. */
  coalesced(packet: Packet): void;
}

export class Coalescer {
  /** Packets that are held; where 0, `flush` has nothing to do. */
  held = 0;

  private readonly arena: Arena;
  private readonly sink: CoalescerSink;
  private readonly least: number;
  private readonly candidate = new Candidate();
  /** What is held, in order of arrival, with gaps; and of each the key of its flow. */
  private readonly entries = new Int32Array(MAX_HELD * WORDS);
  private readonly keys = new Int32Array(MAX_HELD);
  private used = 0;
  /** Of the entry that was merged into last: the next segment is likely to be of that flow. */
  private recent = 0;
  /** Slot of what the frame in hand has displaced, and which goes on before it; -1: nothing. */
  private displaced = -1;
  /** Slots that go on when the split is over. */
  private readonly waiting = new Int32Array(MAX_WAITING);
  private waitingFrom = 0;
  private waitingTo = 0;
  private isSplitting = false;

  /**
   * @param least bytes of frame below which nothing is held that stands alone: a pure acknowledgment, a request. Such frames are merged into
   * what is held, as ever; to wait for more of their kind costs more than it saves.
   */
  constructor(arena: Arena, sink: CoalescerSink, least = 0) {
    this.arena = arena;
    this.sink = sink;
    this.least = least;
  }

  /**
   * Takes over the slot: holds the packet, merges it into a held one, or hands it on, behind what is held of its flow. Needs its start,
   * length and port, and the virtio-net header in memory. Packets that have segments already are handed on.
   *
   * @param what COALESCE_TCP and so on: what its port's frames may become
   */
  add(packet: Packet, what: number): void {
    readVnetHeader(this.arena, packet);
    // Nothing is held that it could belong to, and it is nothing to begin with: most packets that are no bulk.
    if (this.held === 0 && (packet.gsoType !== VNET_GSO_NONE || packet.length < this.least)) {
      this.sink.coalesced(packet);
      return;
    }
    const allowed = packet.gsoType === VNET_GSO_NONE ? what : COALESCE_NONE;
    const { start, length, port, vnetFlags, checksumStart, checksumOffset } = packet;
    const verdict = this.offer(start, length, port, vnetFlags, checksumStart, checksumOffset, allowed);
    if (verdict === FRAME_MERGED) this.arena.release(packet.slot);
    this.settle(verdict, packet);
  }

  /** Hands on all that is held, in order of arrival. */
  flush(): void {
    // The sink may give further packets, which are held behind these, and close gaps: so until nothing is held.
    for (let entry = 0; this.held > 0; entry = entry + 1 < this.used ? entry + 1 : 0) {
      if (this.entries[entry * WORDS + SLOT] >= 0) this.hand(this.takeOut(entry));
    }
    this.used = 0;
  }

  // --- for add, and for frames that have no slot of their own yet

  /**
   * Merges a frame into what is held of its flow, if that may be. The frame's bytes are read only. `settle` must follow.
   *
   * @param at absolute offset of the first byte
   * @returns FRAME_MERGED; FRAME_HELD or FRAME_PASSES: what is to be done
   */
  offer(
    at: number,
    length: number,
    port: number,
    vnetFlags: number,
    checksumStart: number,
    checksumOffset: number,
    what: number,
  ): number {
    const { candidate } = this;
    examine(this.arena.view, candidate, at, length, port, vnetFlags, checksumStart, checksumOffset);
    if (candidate.kind === KIND_NONE) return FRAME_PASSES;
    if (!isAllowed(candidate, what)) candidate.kind = Math.min(candidate.kind, KIND_FLOW);
    if (this.held > 0) {
      if (candidate.kind === KIND_HIDDEN) {
        this.flush();
        return FRAME_PASSES;
      }
      const entry = this.find();
      if (entry >= 0) {
        if (candidate.kind === KIND_SEGMENT && this.merge(entry)) return FRAME_MERGED;
        this.displaced = this.takeOut(entry);
      }
    }
    if (candidate.kind !== KIND_SEGMENT || candidate.isLast) return FRAME_PASSES;
    if (this.used === MAX_HELD) {
      this.makeRoom();
      // The sink may have given further packets: another frame is in hand.
      examine(this.arena.view, candidate, at, length, port, vnetFlags, checksumStart, checksumOffset);
    }
    return FRAME_HELD;
  }

  /**
   * Does what `offer` has said, in order: hands on what the frame has displaced, holds the frame or hands it on.
   *
   * @param packet the frame in a slot of its own; null where it was merged, or found no slot
   */
  settle(verdict: number, packet: Packet | null): void {
    const { displaced } = this;
    this.displaced = -1;
    // Held before anything is handed on: the sink may give further packets, and the frame is no longer in hand then.
    if (verdict === FRAME_HELD && packet !== null) this.hold(packet);
    if (displaced >= 0) this.hand(displaced);
    if (verdict === FRAME_PASSES && packet !== null) this.hand(packet.slot);
  }

  /** From now on nothing is handed on, until `endSplit`: a slot that is still being read may be among it. */
  beginSplit(): void {
    this.isSplitting = true;
  }

  /** Whether a further frame may find no place to wait in. */
  get isFull(): boolean {
    return this.waitingTo > MAX_WAITING - MAX_HELD - 2;
  }

  endSplit(): void {
    this.isSplitting = false;
    const { waiting } = this;
    // Where the sink begins a split of its own, that one ends this one first.
    while (this.waitingFrom < this.waitingTo) this.hand(waiting[this.waitingFrom++]);
    this.waitingFrom = 0;
    this.waitingTo = 0;
  }

  private hand(slot: number): void {
    if (this.isSplitting) this.waiting[this.waitingTo++] = slot;
    else this.sink.coalesced(this.arena.packets[slot]);
  }

  // --- what is held

  private hold(packet: Packet): void {
    const { candidate, entries } = this;
    const { view } = this.arena;
    const entry = this.used++;
    const at = entry * WORDS;
    const moved = packet.start - candidate.start;
    const { start } = packet;
    const slotEnd = (packet.slot + 1) * SLOT_STRIDE;
    const longest = start + ETHERNET_HEADER_LENGTH + IPV4_MAX_LENGTH;
    this.held++;
    this.keys[entry] = candidate.key;
    entries[at + SLOT] = packet.slot;
    entries[at + START] = start;
    entries[at + L4] = candidate.l4 + moved;
    entries[at + PAYLOAD] = candidate.payload + moved;
    entries[at + END] = candidate.end + moved;
    entries[at + LIMIT] = longest < slotEnd ? longest : slotEnd;
    entries[at + SIZE] = candidate.end - candidate.payload;
    entries[at + COUNT] = 1;
    entries[at + FIXED] = 0;
    entries[at + FLAGS] = 0;
    entries[at + VERIFIED] = candidate.isVerified ? 1 : 0;
    entries[at + PORT] = candidate.port;
    entries[at + FAMILY] = familyOf(candidate);
    if (candidate.isIpv4) {
      entries[at + IDENTIFICATION] = view.getUint16(start + ETHERNET_HEADER_LENGTH + IPV4_IDENTIFICATION);
    }
    if (candidate.isTcp) {
      const sequence = view.getInt32(candidate.l4 + moved + TCP_SEQUENCE);
      entries[at + NEXT] = (sequence + candidate.end - candidate.payload) | 0;
    }
  }

  /** Closes the gaps; where they are few, hands on all that is held: closing them for each frame would cost a microsecond. */
  private makeRoom(): void {
    if (this.held > MAX_HELD >> 1) {
      this.flush();
      return;
    }
    const { entries, keys } = this;
    let to = 0;
    for (let from = 0; from < this.used; from++) {
      if (entries[from * WORDS + SLOT] < 0) continue;
      entries.copyWithin(to * WORDS, from * WORDS, (from + 1) * WORDS);
      keys[to++] = keys[from];
    }
    this.used = to;
  }

  /** The entry of the flow in hand, or -1. */
  private find(): number {
    const { keys, used, recent } = this;
    const { key } = this.candidate;
    if (recent < used && keys[recent] === key && this.isOfFlow(recent)) return recent;
    for (let entry = 0; entry < used; entry++) {
      if (keys[entry] === key && this.isOfFlow(entry)) return entry;
    }
    return -1;
  }

  private isOfFlow(entry: number): boolean {
    const { entries, candidate } = this;
    const { view } = this.arena;
    const at = entry * WORDS;
    if (entries[at + SLOT] < 0 || entries[at + PORT] !== candidate.port) return false;
    if (entries[at + FAMILY] !== familyOf(candidate)) return false;
    if (view.getInt32(entries[at + L4]) !== candidate.ports) return false;
    const held = entries[at + START] + ETHERNET_HEADER_LENGTH;
    const l3 = candidate.start + ETHERNET_HEADER_LENGTH;
    if (candidate.isIpv4) {
      if (view.getInt32(held + IPV4_SOURCE, true) !== view.getInt32(l3 + IPV4_SOURCE, true)) return false;
      return view.getInt32(held + IPV4_DESTINATION, true) === view.getInt32(l3 + IPV4_DESTINATION, true);
    }
    return (
      hasSameAddress(view, held + IPV6_SOURCE, l3 + IPV6_SOURCE) &&
      hasSameAddress(view, held + IPV6_DESTINATION, l3 + IPV6_DESTINATION)
    );
  }

  /** Takes a packet out of the table and makes one of its segments. @returns its slot */
  private takeOut(entry: number): number {
    const { entries } = this;
    const at = entry * WORDS;
    const slot = entries[at + SLOT];
    entries[at + SLOT] = -1;
    this.held--;
    if (entry === this.used - 1) this.used--;
    if (entries[at + COUNT] > 1) this.finish(at, this.arena.packets[slot]);
    return slot;
  }

  // --- merging

  /** Puts the payload in hand behind what is held, where it follows it and both checksums are right. */
  private merge(entry: number): boolean {
    const { arena, candidate, entries } = this;
    const { view } = arena;
    const at = entry * WORDS;
    if (!this.follows(at)) return false;
    const { isIpv4, isTcp, l4, payload, end } = candidate;
    if (entries[at + VERIFIED] === 0) {
      if (!isChecksumRight(view, isIpv4, isTcp, entries[at + L4], entries[at + END])) return false;
      entries[at + VERIFIED] = 1;
    }
    if (!candidate.isVerified && !isChecksumRight(view, isIpv4, isTcp, l4, end)) return false;
    // Before the payload is copied: where it moves down inside one slot, it may overwrite its own header.
    if (isIpv4) this.count(at, candidate.start + ETHERNET_HEADER_LENGTH);
    if (isTcp) entries[at + FLAGS] |= tcpFlags(view, l4) & (TCP_FIN | TCP_PSH);
    const to = entries[at + END];
    const length = end - payload;
    arena.bytes.copyWithin(to, payload, end);
    entries[at + END] = to + length;
    entries[at + NEXT] = (entries[at + NEXT] + length) | 0;
    const count = entries[at + COUNT] + 1;
    entries[at + COUNT] = count;
    this.recent = entry;
    const isOver = candidate.isLast || length < entries[at + SIZE] || (!isTcp && count === MAX_DATAGRAMS);
    if (isOver) this.displaced = this.takeOut(entry);
    return true;
  }

  /** Whether the segment in hand comes next in what is held, and all of its headers that are not to differ are the same. */
  private follows(at: number): boolean {
    const { candidate, entries } = this;
    const { view } = this.arena;
    const length = candidate.end - candidate.payload;
    if (length > entries[at + SIZE] || entries[at + END] + length > entries[at + LIMIT]) return false;
    const held = entries[at + START];
    const { start } = candidate;
    if (view.getInt32(held, true) !== view.getInt32(start, true)) return false;
    if (view.getInt32(held + 4, true) !== view.getInt32(start + 4, true)) return false;
    if (view.getInt32(held + 8, true) !== view.getInt32(start + 8, true)) return false;
    if (candidate.isIpv4) {
      if (!this.followsIpv4(at, held + ETHERNET_HEADER_LENGTH, start + ETHERNET_HEADER_LENGTH)) return false;
    } else if (!followsIpv6(view, held + ETHERNET_HEADER_LENGTH, start + ETHERNET_HEADER_LENGTH)) {
      return false;
    }
    return !candidate.isTcp || this.followsTcp(at);
  }

  /** Type of service, TTL and DF are the same, and identifications count up; or where nothing may be fragmented, all are the same. */
  private followsIpv4(at: number, held: number, l3: number): boolean {
    const { view } = this.arena;
    const { entries } = this;
    if (view.getUint16(held + IPV4_VERSION_IHL) !== view.getUint16(l3 + IPV4_VERSION_IHL)) return false;
    if (view.getUint16(held + IPV4_TTL) !== view.getUint16(l3 + IPV4_TTL)) return false;
    const fragment = view.getUint16(l3 + IPV4_FRAGMENT);
    if (view.getUint16(held + IPV4_FRAGMENT) !== fragment) return false;
    const last = entries[at + IDENTIFICATION];
    const identification = view.getUint16(l3 + IPV4_IDENTIFICATION);
    const mayBeFixed = entries[at + COUNT] === 1 ? fragment === IPV4_DONT_FRAGMENT : entries[at + FIXED] === 1;
    if (mayBeFixed && identification === last) return true;
    return entries[at + FIXED] === 0 && identification === ((last + 1) & 0xffff);
  }

  /** Notes the identification of what is merged. */
  private count(at: number, l3: number): void {
    const { entries } = this;
    const identification = this.arena.view.getUint16(l3 + IPV4_IDENTIFICATION);
    if (entries[at + IDENTIFICATION] === identification) entries[at + FIXED] = 1;
    entries[at + IDENTIFICATION] = identification;
  }

  /** Sequence number, acknowledgment, window, flags and every byte of the options. */
  private followsTcp(at: number): boolean {
    const { candidate, entries } = this;
    const { view } = this.arena;
    const { l4, payload } = candidate;
    const held = entries[at + L4];
    if (view.getInt32(l4 + TCP_SEQUENCE) !== entries[at + NEXT]) return false;
    if (view.getInt32(l4 + TCP_ACKNOWLEDGMENT) !== view.getInt32(held + TCP_ACKNOWLEDGMENT)) return false;
    const word = view.getInt32(l4 + TCP_DATA_OFFSET);
    if ((word & (TCP_CWR << 16)) !== 0) return false;
    if (((word ^ view.getInt32(held + TCP_DATA_OFFSET)) & FLAGS_ASIDE) !== 0) return false;
    const length = payload - l4;
    for (let option = TCP_HEADER_LENGTH; option < length; option += 4) {
      if (view.getInt32(l4 + option, true) !== view.getInt32(held + option, true)) return false;
    }
    return true;
  }

  // --- one packet of many segments

  /** Writes lengths, checksums, flags and virtio-net header. @param at of the entry's words */
  private finish(at: number, packet: Packet): void {
    const { arena, entries } = this;
    const { view } = arena;
    const start = entries[at + START];
    const end = entries[at + END];
    const l4 = entries[at + L4];
    const l3 = start + ETHERNET_HEADER_LENGTH;
    const isIpv4 = (entries[at + FAMILY] & 1) !== 0;
    const isTcp = (entries[at + FAMILY] & 2) !== 0;
    if (isIpv4) finishIpv4(view, l3, end - l3);
    else view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, end - l3 - IPV6_HEADER_LENGTH);
    const protocol = isTcp ? PROTOCOL_TCP : PROTOCOL_UDP;
    const length = end - l4;
    const sum = isIpv4 ? pseudoHeaderSum4(view, l3, protocol, length) : pseudoHeaderSum6(view, l3, protocol, length);
    const field = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    view.setUint16(l4 + field, sum);
    packet.length = end - start;
    packet.vnetFlags = VNET_F_NEEDS_CSUM;
    packet.gsoType = VNET_GSO_UDP_L4;
    if (isTcp) packet.gsoType = finishTcp(view, l4, entries[at + FLAGS]) | (isIpv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6);
    else view.setUint16(l4 + UDP_LENGTH, length);
    packet.headerLength = entries[at + PAYLOAD] - start;
    packet.gsoSize = entries[at + SIZE];
    packet.checksumStart = l4 - start;
    packet.checksumOffset = field;
    writeVnetHeader(arena, packet);
  }
}

/** Addresses and ports do not say what a flow is: its family and protocol do as well. */
function familyOf({ isIpv4, isTcp }: Candidate): number {
  return (isIpv4 ? 1 : 0) | (isTcp ? 2 : 0);
}

function isAllowed(candidate: Candidate, what: number): boolean {
  return candidate.isTcp ? what !== COALESCE_NONE : what === COALESCE_ALL;
}

function hasSameAddress(view: DataView, a: number, b: number): boolean {
  return (
    view.getInt32(a, true) === view.getInt32(b, true) &&
    view.getInt32(a + 4, true) === view.getInt32(b + 4, true) &&
    view.getInt32(a + 8, true) === view.getInt32(b + 8, true) &&
    view.getInt32(a + 12, true) === view.getInt32(b + 12, true)
  );
}

/** Version, traffic class and flow label, and hop limit. */
function followsIpv6(view: DataView, held: number, l3: number): boolean {
  if (view.getInt32(held + IPV6_VERSION, true) !== view.getInt32(l3 + IPV6_VERSION, true)) return false;
  return view.getUint8(held + IPV6_HOP_LIMIT) === view.getUint8(l3 + IPV6_HOP_LIMIT);
}

/** Precondition: the checksum is right. */
function finishIpv4(view: DataView, l3: number, length: number): void {
  const before = view.getUint16(l3 + IPV4_TOTAL_LENGTH);
  view.setUint16(l3 + IPV4_CHECKSUM, updateChecksum16(view.getUint16(l3 + IPV4_CHECKSUM), before, length));
  view.setUint16(l3 + IPV4_TOTAL_LENGTH, length);
}

/** @param more flags of the segments behind the first. @returns what GSO type is said of the flags */
function finishTcp(view: DataView, l4: number, more: number): number {
  const flags = tcpFlags(view, l4) | more;
  view.setUint8(l4 + TCP_FLAGS, flags);
  return (flags & TCP_CWR) === 0 ? 0 : VNET_GSO_ECN;
}
