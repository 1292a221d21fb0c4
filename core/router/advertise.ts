/**
 * Router advertisements (RFC 4861, 6.2): unsolicited ones at random times, an answer to each solicitation, and a last word when the
 * interface goes. What they say follows from the interface: its prefixes, its MTU, its MAC.
 */

import type { Packet } from '../packet/packet.js';
import { LOCAL } from '../verdict.js';
import { ICMPV6_TYPE, ND_OPTION_SOURCE_LINK_ADDRESS, ND_OPTION_UNIT, ND_ROUTER_ADVERTISEMENT } from '../wire/icmpv6.js';
import { setIpv6Address } from '../wire/ipv6.js';
import {
  ALL_NODES_MAC_LOW,
  finishNd,
  GROUP_MAC_HIGH,
  LINK_GROUP_FIRST,
  ndMessage,
  setNdDestination,
  setNdSource,
  writeLinkAddressOption,
  writeNdHeaders,
} from '../wire/nd-frame.js';
import { mask6 } from './address.js';
import type { RouterContext } from './context.js';
import { ADDRESS6_WORDS, type AdvertisementOptions, isLinkLocal, type RouterInterface } from './interface.js';
import { Random } from './random.js';

/** Seconds to the next of the first three, at most (RFC 4861, 10: MAX_INITIAL_RTR_ADVERT_INTERVAL, MAX_INITIAL_RTR_ADVERTISEMENTS). */
const INITIAL_INTERVAL = 16;
const INITIAL_COUNT = 3;
/** Milliseconds between two to everybody (MIN_DELAY_BETWEEN_RAS). */
const LEAST_DELAY = 3000;

/** Offsets in the message (RFC 4861, 4.2). */
const RA_HOP_LIMIT = 4;
const RA_FLAGS = 5;
const RA_LIFETIME = 6;
const RA_REACHABLE = 8;
const RA_RETRANS = 12;
const RA_LENGTH = 16;
const RA_MANAGED = 0x80;
const RA_OTHER = 0x40;
/** What hosts are to put into their packets (RFC 1700, "IP time to live"; as Linux and all others do). */
const HOP_LIMIT = 64;
const TYPE_SHIFT = 24;

/** Prefix information (RFC 4861, 4.6.2): type, length in units, prefix length, flags, lifetimes, reserved, prefix. */
const PREFIX_TYPE = 0x0304;
const PREFIX_LENGTH = 2;
const PREFIX_FLAGS = 3;
const PREFIX_VALID = 4;
const PREFIX_PREFERRED = 8;
const PREFIX_RESERVED = 12;
const PREFIX_PREFIX = 16;
const PREFIX_OPTION_LENGTH = 32;
const PREFIX_ON_LINK = 0x80;
const PREFIX_AUTONOMOUS = 0x40;
/** Seconds (RFC 4861, 6.2.1): 30 days, 7 days. */
const VALID_LIFETIME = 2_592_000;
const PREFERRED_LIFETIME = 604_800;
/** The only prefix length of which hosts on Ethernet make addresses (RFC 4862, 5.5.3(d); RFC 2464, 4). */
const AUTONOMOUS_LENGTH = 64;
/** As many as fit into the least MTU of IPv6. */
const MAX_PREFIXES = 32;

/** MTU option (RFC 4861, 4.6.4), and the least MTU (RFC 8200, 5). */
const MTU_TYPE = 0x0501;
const MTU_RESERVED = 2;
const MTU_VALUE = 4;
const LEAST_MTU = 1280;

/** Of an interface that advertises. */
interface Schedule {
  /** Second of the next unsolicited one. */
  nextAt: number;
  /** Milliseconds of the last one to everybody. */
  sentAt: number;
  /** To everybody so far, up to INITIAL_COUNT. */
  sent: number;
  /** Somebody without an address has asked too soon after the last one. */
  isWanted: boolean;
}

export class Advertiser {
  private readonly context: RouterContext;
  private readonly random: Random;
  /** By number of the interface. */
  private readonly schedules: (Schedule | undefined)[] = [];

  /** @param seed any int32 */
  constructor(context: RouterContext, seed: number) {
    this.context = context;
    this.random = new Random(seed);
  }

  /** Once a second for each interface that is up. The first time says that the router is there. */
  tick(iface: RouterInterface): void {
    const options = iface.advertisement;
    if (options === null) {
      this.schedules[iface.number] = undefined;
      return;
    }
    const schedule = this.scheduleOf(iface);
    const { now } = this.context;
    const isDue = schedule.isWanted || ((now - schedule.nextAt) | 0) >= 0;
    if (isDue && this.isLateEnough(schedule)) this.sendToAll(iface, options, schedule);
  }

  /**
   * Answers a solicitation at once (RFC 4861, 6.2.6: within half a second): to its sender, or, where that has no address yet, to all.
   * Precondition: iface.advertisement is not null.
   * @param a the sender's address with b, c, d; all 0: none
   * @returns LOCAL
   */
  solicited(
    iface: RouterInterface,
    a: number,
    b: number,
    c: number,
    d: number,
    macHigh: number,
    macLow: number,
  ): number {
    const options = iface.advertisement as AdvertisementOptions;
    if ((a | b | c | d) !== 0) {
      this.send(iface, options, options.lifetime, macHigh, macLow, a, b, c, d);
      return LOCAL;
    }
    const schedule = this.scheduleOf(iface);
    if (this.isLateEnough(schedule)) this.sendToAll(iface, options, schedule);
    else schedule.isWanted = true;
    return LOCAL;
  }

  /** The interface goes: hosts are told that this is no default router any more (RFC 4861, 6.2.5), as there will be no later moment. */
  farewell(iface: RouterInterface): void {
    if (iface.advertisement === null) return;
    this.schedules[iface.number] = undefined;
    this.send(iface, iface.advertisement, 0, GROUP_MAC_HIGH, ALL_NODES_MAC_LOW, LINK_GROUP_FIRST, 0, 0, 1);
  }

  private scheduleOf(iface: RouterInterface): Schedule {
    const there = this.schedules[iface.number];
    if (there !== undefined) return there;
    const { now, milliseconds } = this.context;
    const schedule = { nextAt: now, sentAt: (milliseconds - LEAST_DELAY) | 0, sent: 0, isWanted: false };
    this.schedules[iface.number] = schedule;
    return schedule;
  }

  private isLateEnough(schedule: Schedule): boolean {
    const passed = (this.context.milliseconds - schedule.sentAt) | 0;
    return passed >= LEAST_DELAY || passed < 0;
  }

  private sendToAll(iface: RouterInterface, options: AdvertisementOptions, schedule: Schedule): void {
    const { lifetime } = options;
    if (!this.send(iface, options, lifetime, GROUP_MAC_HIGH, ALL_NODES_MAC_LOW, LINK_GROUP_FIRST, 0, 0, 1)) return;
    const { now, milliseconds } = this.context;
    if (schedule.sent < INITIAL_COUNT) schedule.sent++;
    const wait = this.random.between(Math.ceil(options.interval * 0.75), options.interval);
    schedule.nextAt = now + (schedule.sent < INITIAL_COUNT ? Math.min(wait, INITIAL_INTERVAL) : wait);
    schedule.sentAt = milliseconds;
    schedule.isWanted = false;
  }

  /** False: no slot is free. */
  private send(
    iface: RouterInterface,
    options: AdvertisementOptions,
    lifetime: number,
    toHigh: number,
    toLow: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): boolean {
    const packet = this.context.begin();
    if (packet === null) return false;
    const { view } = this.context.arena;
    const { linkLocal } = iface;
    writeNdHeaders(view, packet, toHigh, toLow, iface.macHigh, iface.macLow);
    setNdSource(view, packet, linkLocal[0], linkLocal[1], linkLocal[2], linkLocal[3]);
    setNdDestination(view, packet, a, b, c, d);
    // An internal network has no way out: nobody's default router.
    writeAdvertisementBody(view, packet, iface, options, iface.internal ? 0 : lifetime);
    this.context.sendFrame(packet, iface);
    return true;
  }
}

function writeAdvertisementBody(
  view: DataView,
  packet: Packet,
  iface: RouterInterface,
  options: AdvertisementOptions,
  lifetime: number,
): void {
  const at = ndMessage(packet);
  view.setInt32(at + ICMPV6_TYPE, ND_ROUTER_ADVERTISEMENT << TYPE_SHIFT);
  view.setUint8(at + RA_HOP_LIMIT, HOP_LIMIT);
  view.setUint8(at + RA_FLAGS, (options.managed ? RA_MANAGED : 0) | (options.other ? RA_OTHER : 0));
  view.setUint16(at + RA_LIFETIME, lifetime);
  view.setInt32(at + RA_REACHABLE, 0);
  view.setInt32(at + RA_RETRANS, 0);
  let end = at + RA_LENGTH;
  writeLinkAddressOption(view, end, ND_OPTION_SOURCE_LINK_ADDRESS, iface.macHigh, iface.macLow);
  end += ND_OPTION_UNIT;
  if (iface.mtu >= LEAST_MTU) end = writeMtu(view, end, iface.mtu);
  end = writePrefixes(view, end, iface.addresses6, options.autonomous);
  finishNd(view, packet, end - at);
}

function writeMtu(view: DataView, at: number, mtu: number): number {
  view.setUint16(at, MTU_TYPE);
  view.setUint16(at + MTU_RESERVED, 0);
  view.setInt32(at + MTU_VALUE, mtu);
  return at + ND_OPTION_UNIT;
}

/** Each subnet once; not the link-local one (RFC 4861, 4.6.2), nor a single address. Returns where they end. */
function writePrefixes(view: DataView, at: number, addresses: Int32Array, isAutonomous: boolean): number {
  let end = at;
  for (let i = 0; i < addresses.length && end - at < MAX_PREFIXES * PREFIX_OPTION_LENGTH; i += ADDRESS6_WORDS) {
    if (isLinkLocal(addresses[i]) || addresses[i + 4] === 128 || isListed(addresses, i)) continue;
    const length = addresses[i + 4];
    const flags = isAutonomous && length === AUTONOMOUS_LENGTH ? PREFIX_ON_LINK | PREFIX_AUTONOMOUS : PREFIX_ON_LINK;
    view.setUint16(end, PREFIX_TYPE);
    view.setUint8(end + PREFIX_LENGTH, length);
    view.setUint8(end + PREFIX_FLAGS, flags);
    view.setInt32(end + PREFIX_VALID, VALID_LIFETIME);
    view.setInt32(end + PREFIX_PREFERRED, PREFERRED_LIFETIME);
    view.setInt32(end + PREFIX_RESERVED, 0);
    const word = (index: number): number => addresses[i + index] & mask6(length, index);
    setIpv6Address(view, end + PREFIX_PREFIX, word(0), word(1), word(2), word(3));
    end += PREFIX_OPTION_LENGTH;
  }
  return end;
}

/** Whether an address before that at `at` is in the same subnet. */
function isListed(addresses: Int32Array, at: number): boolean {
  const length = addresses[at + 4];
  for (let i = 0; i < at; i += ADDRESS6_WORDS) {
    if (addresses[i + 4] !== length) continue;
    let isSame = true;
    for (let word = 0; word < 4; word++) {
      if (((addresses[i + word] ^ addresses[at + word]) & mask6(length, word)) !== 0) isSame = false;
    }
    if (isSame) return true;
  }
  return false;
}
