/**
 * Reassembly of IPv4 and IPv6 fragments (RFC 791, 3.2; RFC 8200, 4.5), for packets that a stage needs whole. Fragments in transit
 * are forwarded as they are.
 *
 * A fragment is held in the slot that it came in, unchanged, so that what is given up can still be quoted. The one that completes a
 * datagram gets all the others' bytes into its slot. Memory is bounded: so many datagrams and slots in all, and so many of one
 * source. Where a limit is reached, the oldest datagram makes room: of an attacker's fragments most never complete, and the longer
 * one has waited, the less likely it does.
 *
 * Fragments of one datagram form a list by ascending offset, linked by slot number.
 */

import { DROP_FRAGMENT_INVALID, DROP_FRAGMENT_LIMIT, DROP_FRAGMENT_TIMEOUT } from '../drop.js';
import type { Arena } from '../packet/arena.js';
import { finishChecksum, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { clearVnetHeader } from '../packet/vnet.js';
import { HELD, refuse } from '../verdict.js';
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_MAX_LENGTH,
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  IPV4_TOTAL_LENGTH,
  ipv4Fragment,
} from '../wire/ipv4.js';
import { IPV6_HEADER_LENGTH, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.js';
import { Fragment, KEY_IDENTIFICATION, KEY_IPV6, KEY_PROTOCOL, KEY_WORDS, readFragment } from './fragment-header.js';

/** The datagram is whole. What else `receive` returns are verdicts (verdict.ts); none of them has this number. */
export const COMPLETE = 64;

/**
 * Seconds that a datagram's fragments wait for the rest, from the first to arrive. IPv6: RFC 8200, 4.5. IPv4: as in Linux
 * (IP_FRAG_TIME), between the 15 that RFC 791 (3.2) begins with and the 60 that RFC 1122 (3.3.2) recommends to hosts.
 */
export const TIMEOUT_IPV4 = 30;
export const TIMEOUT_IPV6 = 60;

export interface ReassemblyContext {
  readonly arena: Arena;
  /**
   * Gives up a fragment that was held, unchanged: answers with ICMP where that is due (DROP_FRAGMENT_TIMEOUT and a first fragment:
   * time exceeded, code 1), counts the reason, releases the slot. Must not call `receive`.
   */
  giveUp(packet: Packet, reason: number): void;
  /** A held fragment's bytes are in the whole datagram now: counts it as taken in, releases the slot. */
  takeIn(packet: Packet): void;
}

export interface ReassemblyLimits {
  /** Datagrams of which fragments are held. */
  readonly datagrams?: number;
  /** Fragments held, a slot each. */
  readonly slots?: number;
  /** Datagrams of one source address, which may hold half of the slots besides. */
  readonly perSource?: number;
}

const DATAGRAMS = 64;
const SLOTS = 256;
const PER_SOURCE = 16;

const NO_SLOT = -1;
const UNKNOWN = -1;

/** ECN codepoints seen, as bits of a mask (RFC 3168, 5). */
const NOT_ECT = 1 << 0;
const CONGESTION_EXPERIENCED = 1 << 3;

/** A datagram of which some fragments are here; one object a place, used again and again. */
class Datagram {
  live = false;
  domain = 0;
  readonly key = new Int32Array(KEY_WORDS);
  /** Second in which its first fragment came. */
  since = 0;
  /** Datagrams begun before it. */
  order = 0;
  /** Slots of the fragments with the lowest and the highest offset. */
  first = NO_SLOT;
  last = NO_SLOT;
  count = 0;
  /** Payload bytes that are here. */
  bytes = 0;
  /** Where the payload ends; UNKNOWN until the last fragment has come. */
  end = UNKNOWN;
  /** Codepoints seen. */
  ecn = 0;
  // Of the first fragment (see Fragment).
  headerLength = 0;
  nextHeaderAt = 0;
  nextHeader = 0;

  begin(fragment: Fragment, seconds: number, order: number): void {
    this.live = true;
    this.domain = fragment.domain;
    this.key.set(fragment.key);
    this.since = seconds;
    this.order = order;
    this.first = NO_SLOT;
    this.last = NO_SLOT;
    this.count = 0;
    this.bytes = 0;
    this.end = UNKNOWN;
    this.ecn = 0;
  }

  get isIpv6(): boolean {
    return this.key[KEY_PROTOCOL] === KEY_IPV6;
  }

  isOf(fragment: Fragment): boolean {
    if (!this.live || this.key[KEY_IDENTIFICATION] !== fragment.key[KEY_IDENTIFICATION]) return false;
    return this.domain === fragment.domain && isSame(this.key, fragment.key, KEY_WORDS);
  }

  isFromSourceOf(fragment: Fragment): boolean {
    return this.live && this.domain === fragment.domain && isSame(this.key, fragment.key, 4);
  }

  isExpired(seconds: number): boolean {
    return this.live && seconds - this.since >= (this.isIpv6 ? TIMEOUT_IPV6 : TIMEOUT_IPV4);
  }
}

function isSame(one: Int32Array, other: Int32Array, words: number): boolean {
  for (let i = 0; i < words; i++) if (one[i] !== other[i]) return false;
  return true;
}

export class Reassembly {
  /** Fragments held. */
  held = 0;

  private readonly context: ReassemblyContext;
  private readonly datagrams: Datagram[] = [];
  private readonly slots: number;
  private readonly perSource: number;
  private readonly slotsPerSource: number;
  private begun = 0;
  /** The fragment in hand. */
  private readonly fragment = new Fragment();
  // By slot: the next of the datagram, and the fragment's place in it and in the arena.
  private readonly next: Int32Array;
  private readonly offsets: Int32Array;
  private readonly ends: Int32Array;
  private readonly payloads: Int32Array;

  /** @param limits unless given: 64 datagrams, 16 of one source, 256 slots but no more than a quarter of the arena's */
  constructor(context: ReassemblyContext, limits: ReassemblyLimits = {}) {
    const { slotCount } = context.arena;
    const datagrams = limits.datagrams ?? DATAGRAMS;
    this.context = context;
    for (let i = 0; i < datagrams; i++) this.datagrams.push(new Datagram());
    this.slots = limits.slots ?? Math.min(SLOTS, slotCount >> 2);
    this.perSource = limits.perSource ?? PER_SOURCE;
    this.slotsPerSource = (this.slots + 1) >> 1;
    this.next = new Int32Array(slotCount);
    this.offsets = new Int32Array(slotCount);
    this.ends = new Int32Array(slotCount);
    this.payloads = new Int32Array(slotCount);
  }

  /**
   * Takes a fragment in.
   *
   * Preconditions: PACKET_FRAGMENT; the parse found a sound network header, IPv4's checksum is right; nobody else holds the slot.
   *
   * @param seconds the router's clock
   * @returns
   * HELD: the slot is kept.
   * COMPLETE: behind the packet's own Ethernet header now stands the whole datagram, with the first fragment's IP header and a clear
   * virtio-net header; `start` and `length` are right, the rest of the handle is for a new parse. The slot is the caller's.
   * DROP: the slot is the caller's, `packet.reason` is DROP_FRAGMENT_INVALID or DROP_FRAGMENT_LIMIT, `fragmentProblem` says what to
   * answer. Where that makes others of the datagram useless, they have been given up.
   */
  receive(packet: Packet, seconds: number): number {
    const { fragment } = this;
    if (!readFragment(this.context.arena.view, packet, fragment)) return refuse(packet, DROP_FRAGMENT_INVALID);
    const known = this.find(fragment);
    if (known === null) return this.hold(this.begin(seconds), packet, NO_SLOT);
    if (!known.isExpired(seconds)) return this.add(known, packet);
    this.abandon(known, DROP_FRAGMENT_TIMEOUT);
    return this.hold(this.begin(seconds), packet, NO_SLOT);
  }

  /** To be called once a second: gives up what has waited too long. */
  tick(seconds: number): void {
    for (const datagram of this.datagrams) {
      if (datagram.isExpired(seconds)) this.abandon(datagram, DROP_FRAGMENT_TIMEOUT);
    }
  }

  /** Gives up the datagrams of which a fragment came in by a port: it goes. */
  giveUpFrom(port: number, reason: number): void {
    for (const datagram of this.datagrams) {
      if (datagram.live && this.hasFrom(datagram, port)) this.abandon(datagram, reason);
    }
  }

  // --- datagrams

  private hasFrom(datagram: Datagram, port: number): boolean {
    const { packets } = this.context.arena;
    let { first: slot } = datagram;
    while (slot !== NO_SLOT && packets[slot].port !== port) slot = this.next[slot];
    return slot !== NO_SLOT;
  }

  private find(fragment: Fragment): Datagram | null {
    for (const datagram of this.datagrams) if (datagram.isOf(fragment)) return datagram;
    return null;
  }

  /** A place for the datagram of the fragment in hand. */
  private begin(seconds: number): Datagram {
    const { fragment } = this;
    let ofSource = 0;
    for (const datagram of this.datagrams) if (datagram.isFromSourceOf(fragment)) ofSource++;
    if (ofSource >= this.perSource) this.abandon(this.oldest(true), DROP_FRAGMENT_LIMIT);
    let place = this.datagrams.find((datagram) => !datagram.live);
    if (place === undefined) {
      place = this.oldest(false);
      this.abandon(place, DROP_FRAGMENT_LIMIT);
    }
    this.begun = (this.begun + 1) | 0;
    place.begin(fragment, seconds, this.begun);
    return place;
  }

  /** @param ofSource only of the source of the fragment in hand. There must be one */
  private oldest(ofSource: boolean): Datagram {
    let oldest: Datagram | null = null;
    for (const datagram of this.datagrams) {
      if (!datagram.live || (ofSource && !datagram.isFromSourceOf(this.fragment))) continue;
      if (oldest === null || ((datagram.order - oldest.order) | 0) < 0) oldest = datagram;
    }
    return oldest as Datagram;
  }

  /** Gives up all that is here of a datagram, by ascending offset. */
  private abandon(datagram: Datagram, reason: number): void {
    const { arena } = this.context;
    let slot = this.detach(datagram);
    while (slot !== NO_SLOT) {
      const next = this.next[slot];
      this.context.giveUp(arena.packets[slot], reason);
      slot = next;
    }
  }

  /** Ends a datagram. Returns its first slot: the list is the caller's. */
  private detach(datagram: Datagram): number {
    datagram.live = false;
    this.held -= datagram.count;
    return datagram.first;
  }

  // --- fragments

  /**
   * Adds a fragment to those that are here. Where two overlap, nobody can say which is meant: the whole datagram is given up
   * (RFC 8200, 4.5; RFC 1858 and 3128 for what comes of it in IPv4). One that is there already, byte for byte, is dropped alone.
   */
  private add(datagram: Datagram, packet: Packet): number {
    const { fragment } = this;
    const before = this.findBefore(datagram, fragment.offset);
    if (before !== NO_SLOT && this.isDuplicate(datagram, before)) return refuse(packet, DROP_FRAGMENT_INVALID);
    if (this.isContradiction(datagram, before)) {
      this.abandon(datagram, DROP_FRAGMENT_INVALID);
      return refuse(packet, DROP_FRAGMENT_INVALID);
    }
    const end = fragment.more ? datagram.end : fragment.end;
    if (datagram.bytes + fragment.end - fragment.offset !== end) return this.hold(datagram, packet, before);
    this.note(datagram);
    return this.assemble(datagram, packet);
  }

  /** The slot with the highest offset that is not above `offset`, or NO_SLOT. Mostly the last: fragments come in order. */
  private findBefore(datagram: Datagram, offset: number): number {
    if (this.offsets[datagram.last] <= offset) return datagram.last;
    let before = NO_SLOT;
    for (let slot = datagram.first; this.offsets[slot] <= offset; slot = this.next[slot]) before = slot;
    return before;
  }

  private isDuplicate(datagram: Datagram, slot: number): boolean {
    const { offset, end, more, payload } = this.fragment;
    if (this.offsets[slot] !== offset || this.ends[slot] !== end || more === (datagram.end === end)) return false;
    const { bytes } = this.context.arena;
    const there = this.payloads[slot];
    for (let i = 0; i < end - offset; i++) if (bytes[there + i] !== bytes[payload + i]) return false;
    return true;
  }

  /** Whether it overlaps another, lies behind the end, or says that the end is elsewhere. */
  private isContradiction(datagram: Datagram, before: number): boolean {
    const { offset, end, more } = this.fragment;
    if (before !== NO_SLOT && this.ends[before] > offset) return true;
    const after = before === NO_SLOT ? datagram.first : this.next[before];
    if (after !== NO_SLOT && this.offsets[after] < end) return true;
    if (more) return datagram.end !== UNKNOWN && end > datagram.end;
    return datagram.end !== UNKNOWN || after !== NO_SLOT;
  }

  /** Keeps a fragment behind the slot `before`; or not, where its own datagram is the one to make room. */
  private hold(datagram: Datagram, packet: Packet, before: number): number {
    this.makeRoom();
    if (!datagram.live) return refuse(packet, DROP_FRAGMENT_LIMIT);
    const { fragment } = this;
    const { slot } = packet;
    this.offsets[slot] = fragment.offset;
    this.ends[slot] = fragment.end;
    this.payloads[slot] = fragment.payload;
    this.link(datagram, slot, before);
    this.note(datagram);
    datagram.bytes += fragment.end - fragment.offset;
    datagram.count++;
    this.held++;
    return HELD;
  }

  private link(datagram: Datagram, slot: number, before: number): void {
    if (before === NO_SLOT) {
      this.next[slot] = datagram.first;
      datagram.first = slot;
    } else {
      this.next[slot] = this.next[before];
      this.next[before] = slot;
    }
    if (before === datagram.last) datagram.last = slot;
  }

  /** What the fragment in hand says of the whole. */
  private note(datagram: Datagram): void {
    const { fragment } = this;
    datagram.ecn |= 1 << fragment.ecn;
    if (!fragment.more) datagram.end = fragment.end;
    if (fragment.offset !== 0) return;
    datagram.headerLength = fragment.headerLength;
    datagram.nextHeaderAt = fragment.nextHeaderAt;
    datagram.nextHeader = fragment.nextHeader;
  }

  /** Room for one more slot: of the same source, where that has its share; else of whoever came first. */
  private makeRoom(): void {
    let ofSource = 0;
    for (const datagram of this.datagrams) if (datagram.isFromSourceOf(this.fragment)) ofSource += datagram.count;
    if (ofSource >= this.slotsPerSource) this.abandon(this.oldest(true), DROP_FRAGMENT_LIMIT);
    else if (this.held >= this.slots) this.abandon(this.oldest(false), DROP_FRAGMENT_LIMIT);
  }

  // --- the whole

  /** Puts the datagram together in the slot of the fragment in hand, the last one that was missing. */
  private assemble(datagram: Datagram, packet: Packet): number {
    if (!isAssemblable(datagram)) {
      this.abandon(datagram, DROP_FRAGMENT_INVALID);
      return refuse(packet, DROP_FRAGMENT_INVALID);
    }
    const { arena } = this.context;
    const { bytes } = arena;
    const { fragment } = this;
    const payload = packet.l3 + datagram.headerLength;
    // Its own part first: the others' may come to lie where that is now.
    bytes.copyWithin(payload + fragment.offset, fragment.payload, fragment.payload + fragment.end - fragment.offset);
    if (fragment.offset !== 0) {
      const { l3 } = arena.packets[datagram.first];
      bytes.copyWithin(packet.l3, l3, l3 + datagram.headerLength);
    }
    let slot = this.detach(datagram);
    while (slot !== NO_SLOT) {
      const next = this.next[slot];
      const from = this.payloads[slot];
      bytes.copyWithin(payload + this.offsets[slot], from, from + this.ends[slot] - this.offsets[slot]);
      this.context.takeIn(arena.packets[slot]);
      slot = next;
    }
    if (datagram.isIpv6) finishIpv6(arena.view, packet.l3, datagram);
    else finishIpv4(arena.view, packet.l3, datagram);
    packet.length = payload + datagram.end - packet.start;
    clearVnetHeader(arena, packet);
    return COMPLETE;
  }
}

/**
 * The first fragment's header may be longer than those that were checked. And congestion that one fragment met must not get lost,
 * nor be told to an end that does not take part in ECN (RFC 3168, 5.3).
 */
function isAssemblable(datagram: Datagram): boolean {
  const unfair = CONGESTION_EXPERIENCED | NOT_ECT;
  return datagram.headerLength + datagram.end <= IPV4_MAX_LENGTH && (datagram.ecn & unfair) !== unfair;
}

function finishIpv4(view: DataView, l3: number, datagram: Datagram): void {
  if ((datagram.ecn & CONGESTION_EXPERIENCED) !== 0) view.setUint8(l3 + 1, view.getUint8(l3 + 1) | 0x03);
  view.setUint16(l3 + IPV4_TOTAL_LENGTH, datagram.headerLength + datagram.end);
  view.setUint16(l3 + IPV4_FRAGMENT, ipv4Fragment(view, l3) & ~(IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK));
  view.setUint16(l3 + IPV4_CHECKSUM, 0);
  view.setUint16(l3 + IPV4_CHECKSUM, finishChecksum(sumBytes(view, l3, datagram.headerLength)));
}

/** The fragment header is gone: what named it now names what it named, as its first fragment says (RFC 8200, 4.5). */
function finishIpv6(view: DataView, l3: number, datagram: Datagram): void {
  if ((datagram.ecn & CONGESTION_EXPERIENCED) !== 0) view.setUint8(l3 + 1, view.getUint8(l3 + 1) | 0x30);
  view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, datagram.headerLength - IPV6_HEADER_LENGTH + datagram.end);
  view.setUint8(l3 + datagram.nextHeaderAt, datagram.nextHeader);
}
