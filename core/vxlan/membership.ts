/**
 * The groups of the underlay that VTEPs listen to: the host's part of IGMP (RFC 3376, 5 and 7.2) and MLD (RFC 3810, 6 and 8.2), so that
 * switches and routers send us what goes to them. We listen to all sources of a group, so its state is one of two.
 *
 *   join   reported at once, and again within a second (robustness), as a change
 *   leave  the same
 *   query  answered within the time that it allows, at random, with the state
 *
 * To a querier of an older version reports are of that version, until it has been silent for OLDER_QUERIER_PRESENT. Reports of others do
 * not stop ours, as older versions may have it (RFC 3376, 7.2.2): switches that snoop do not let us hear them, and want ours.
 *
 * Times count down in ticks, a second apart at most. What would be late at the next tick is sent early: a query says how long an answer may
 * take, not how long it must.
 */

import type { Arena } from '../packet/arena.js';
import { PACKET_L3_MALFORMED, type Packet } from '../packet/packet.js';
import { isMapped, MAPPED } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import { Random } from '../router/random.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { ICMPV6_MLD_DONE, ICMPV6_MLD_REPORT, icmpv6Type, PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import {
  CHANGE_TO_EXCLUDE,
  CHANGE_TO_INCLUDE,
  IGMP_LEAVE,
  IGMP_LENGTH,
  IGMP_MAX_RESPONSE,
  IGMP_QUERY,
  IGMP_QUERY_FLAGS,
  IGMP_V1_REPORT,
  IGMP_V2_REPORT,
  igmpGroup,
  igmpMaxResponse,
  igmpType,
  isIgmpIntact,
  isIgmpQueryValid,
  MODE_IS_EXCLUDE,
  QUERY_ROBUSTNESS_MASK,
} from '../wire/igmp.js';
import {
  isMldIntact,
  isMldQueryValid,
  MLD_GROUP,
  MLD_LENGTH,
  MLD_QUERY,
  MLD_QUERY_FLAGS,
  mldMaxResponse,
} from '../wire/mld.js';
import { PROTOCOL_IGMP } from '../wire/multicast-router.js';
import {
  type GroupRecord,
  MAX_RECORDS,
  writeIgmpReport,
  writeMldReport,
  writeOldIgmp,
  writeOldMld,
} from './report-frame.js';

/** What it needs of the router. */
export interface MembershipSender {
  readonly arena: Arena;
  /** Any int32, from a random source. */
  readonly seed: number;
  /** By number. */
  readonly interfaces: readonly (RouterInterface | null | undefined)[];
  /** A slot's handle to fill with a frame; null: no slot is free. */
  begin(): Packet | null;
  /** Sends it out of an interface, and takes over the slot. */
  sendFrame(packet: Packet, iface: RouterInterface): void;
}

/** Milliseconds between ticks, at most. */
const TICK = 1000;
/** A change is told so often, unless the querier says otherwise, within this many milliseconds (RFC 3376, 8.1 and 8.11; RFC 3810, 9.1, 9.11). */
const ROBUSTNESS = 2;
const UNSOLICITED_REPORT_INTERVAL = 1000;
/** Milliseconds: robustness times the query interval, and the time for answers (RFC 3376, 8.12; RFC 3810, 9.12). */
const OLDER_QUERIER_PRESENT = 260_000;
/** No answer is waited for. */
const NEVER = -1;

/** A group on an interface. Four words, IPv4 mapped. */
class Group {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  /** VTEPs that listen to it; 0: that nobody does any more is still to be told. */
  listeners = 1;
  /** Times that the change is still to be told, and milliseconds to the next. */
  changes = 0;
  changeIn = 0;
  /** Milliseconds to the answer to a query; NEVER: none is due. */
  answerIn = NEVER;

  constructor(a: number, b: number, c: number, d: number) {
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
  }

  /** @param ahead milliseconds until which it is sent now */
  isChangeDue(ahead: number): boolean {
    return this.changes > 0 && this.changeIn <= ahead;
  }

  get isAnswerDue(): boolean {
    return this.answerIn !== NEVER && this.answerIn < TICK;
  }
}

/** One family on one interface: its groups, and what is known of the querier. */
class Link {
  readonly iface: number;
  readonly isIpv4: boolean;
  groups: Group[] = [];
  robustness = ROBUSTNESS;
  /** Milliseconds that a querier of version 1, or (IGMP only) 2, counts as there. */
  first = 0;
  second = 0;
  /** The interface as it was when reports went out last; null: none has, or it was down since. */
  told: RouterInterface | null = null;

  constructor(iface: number, isIpv4: boolean) {
    this.iface = iface;
    this.isIpv4 = isIpv4;
  }

  /** Version of the querier that we speak as: 1 and up. */
  get version(): number {
    if (this.first > 0) return 1;
    if (!this.isIpv4) return 2;
    return this.second > 0 ? 2 : 3;
  }

  /** Whether reports are of the newest version. */
  get isCurrent(): boolean {
    return this.version === (this.isIpv4 ? 3 : 2);
  }
}

export class GroupMembership {
  private readonly sender: MembershipSender;
  private readonly random: Random;
  private readonly links: Link[] = [];
  /** Of the last tick. */
  private milliseconds = 0;
  private hasTicked = false;

  constructor(sender: MembershipSender) {
    this.sender = sender;
    this.random = new Random(sender.seed);
  }

  /**
   * A VTEP listens to a group. As often as it is joined it must be left.
   * @param iface number of the interface to listen at: it need not be there yet
   */
  join(iface: number, a: number, b: number, c: number, d: number): void {
    const link = this.linkOf(iface, isMapped(a, b, c));
    const known = find(link, a, b, c, d);
    const group = known ?? new Group(a, b, c, d);
    if (known === null) link.groups.push(group);
    else if (group.listeners++ > 0) return;
    this.change(link, group);
  }

  /** @throws RangeError where nobody listens to it */
  leave(iface: number, a: number, b: number, c: number, d: number): void {
    const link = this.linkOf(iface, isMapped(a, b, c));
    const group = find(link, a, b, c, d);
    if (group === null || group.listeners === 0) throw new RangeError('a group is left that nobody has joined');
    if (--group.listeners > 0) return;
    group.answerIn = NEVER;
    this.change(link, group);
  }

  /**
   * Once a second or more often.
   * @param milliseconds of a clock; wraps
   */
  tick(milliseconds: number): void {
    const passed = this.hasTicked ? Math.max(0, (milliseconds - this.milliseconds) | 0) : 0;
    this.hasTicked = true;
    this.milliseconds = milliseconds;
    for (const link of this.links) {
      this.age(link, passed);
      this.report(link, TICK);
    }
  }

  /**
   * For a parsed packet that came in by an interface: a query is answered in its time. It is not taken in: others may want it as well.
   * @returns whether it was a query
   */
  hear(packet: Packet, iface: RouterInterface): boolean {
    if (packet.l4 === -1 || (packet.flags & PACKET_L3_MALFORMED) !== 0) return false;
    if (packet.etherType === ETHERTYPE_IPV4) return packet.protocol === PROTOCOL_IGMP && this.hearIgmp(packet, iface);
    return packet.etherType === ETHERTYPE_IPV6 && packet.protocol === PROTOCOL_ICMPV6 && this.hearMld(packet, iface);
  }

  // --- queries

  private hearIgmp(packet: Packet, iface: RouterInterface): boolean {
    const { view } = this.sender.arena;
    const at = packet.l4;
    const length = packet.l3End - at;
    if (!isIgmpIntact(view, packet) || igmpType(view, at) !== IGMP_QUERY || !isIgmpQueryValid(view, at, length))
      return false;
    const link = this.linkOf(iface.number, true);
    const before = link.version;
    // Versions by length and response time: RFC 3376, 7.1. One of version 1 is for all groups whatever it names.
    const isFirst = length === IGMP_LENGTH && view.getUint8(at + IGMP_MAX_RESPONSE) === 0;
    const group = isFirst ? 0 : igmpGroup(view, at);
    if (isFirst) link.first = OLDER_QUERIER_PRESENT;
    else if (length > IGMP_LENGTH) link.robustness = robustnessOf(view.getUint8(at + IGMP_QUERY_FLAGS));
    else if (group === 0) link.second = OLDER_QUERIER_PRESENT;
    if (link.version !== before) cancel(link);
    this.ask(link, igmpMaxResponse(view, at, length) * 100, 0, 0, group === 0 ? 0 : MAPPED, group);
    return true;
  }

  private hearMld(packet: Packet, iface: RouterInterface): boolean {
    const { view } = this.sender.arena;
    const at = packet.l4;
    const length = packet.l3End - at;
    if (icmpv6Type(view, at) !== MLD_QUERY || !isMldIntact(view, packet) || !isMldQueryValid(view, at, length))
      return false;
    const link = this.linkOf(iface.number, false);
    const before = link.version;
    const group = at + MLD_GROUP;
    const a = view.getInt32(group);
    if (length !== MLD_LENGTH) link.robustness = robustnessOf(view.getUint8(at + MLD_QUERY_FLAGS));
    else if (a === 0) link.first = OLDER_QUERIER_PRESENT;
    if (link.version !== before) cancel(link);
    const response = mldMaxResponse(view, at, length);
    this.ask(link, response, a, view.getInt32(group + 4), view.getInt32(group + 8), view.getInt32(group + 12));
    return true;
  }

  /**
   * Sets the time of the answer, unless one is due before (RFC 3376, 5.2). One for some sources of a group is answered for all of them:
   * that is what we listen to.
   * @param within milliseconds
   * @param a first of four words of the group; all 0: every group
   */
  private ask(link: Link, within: number, a: number, b: number, c: number, d: number): void {
    const isGeneral = (a | b | c | d) === 0;
    // One delay for all, so that one report has them all.
    const delay = this.random.between(0, within);
    for (const group of link.groups) {
      if (group.listeners === 0 || (!isGeneral && !isSame(group, a, b, c, d))) continue;
      if (group.answerIn === NEVER || group.answerIn > delay) group.answerIn = delay;
    }
    this.report(link, 0);
  }

  // --- time

  private change(link: Link, group: Group): void {
    group.changes = link.robustness;
    group.changeIn = 0;
    this.report(link, 0);
  }

  private age(link: Link, passed: number): void {
    const before = link.version;
    link.first = Math.max(0, link.first - passed);
    link.second = Math.max(0, link.second - passed);
    if (link.version !== before) cancel(link);
    for (const group of link.groups) {
      group.changeIn -= passed;
      if (group.answerIn !== NEVER) group.answerIn = Math.max(0, group.answerIn - passed);
    }
  }

  // --- reports

  /**
   * Sends what is due. What finds no slot, or no interface, stays due; but of an interface that is gone there is nothing to leave.
   * @param ahead milliseconds: changes that are told again by then are told now. Only at a tick, or they would follow on the heels of the first
   */
  private report(link: Link, ahead: number): void {
    const iface = this.sender.interfaces[link.iface] ?? null;
    if (iface === null || !iface.up) {
      link.told = null;
      link.groups = link.groups.filter(({ listeners }) => listeners > 0);
      return;
    }
    if (link.told !== iface) this.begin(link, iface);
    if (link.isCurrent) this.reportTogether(link, iface, ahead);
    else for (const group of link.groups) if (isDue(group, ahead)) this.reportAlone(link, iface, group, ahead);
    link.groups = link.groups.filter(({ listeners, changes }) => listeners > 0 || changes > 0);
  }

  /** The interface is new, or up again, or has other addresses: nobody on its link knows of us. */
  private begin(link: Link, iface: RouterInterface): void {
    link.told = iface;
    for (const group of link.groups) {
      group.changes = link.robustness;
      group.changeIn = 0;
    }
  }

  private reportTogether(link: Link, iface: RouterInterface, ahead: number): void {
    const due = link.groups.filter((group) => isDue(group, ahead));
    const { view } = this.sender.arena;
    for (let from = 0; from < due.length; from += MAX_RECORDS) {
      const some = due.slice(from, from + MAX_RECORDS);
      const packet = this.sender.begin();
      if (packet === null) return;
      const records = some.map((group) => recordOf(group, ahead));
      if (link.isIpv4) writeIgmpReport(view, packet, iface, records);
      else writeMldReport(view, packet, iface, records);
      this.sender.sendFrame(packet, iface);
      for (const group of some) this.reported(group, ahead);
    }
  }

  /** Of older versions, where a message tells of one group; that one is left, version 1 of IGMP cannot say, and others say it once. */
  private reportAlone(link: Link, iface: RouterInterface, group: Group, ahead: number): void {
    const { view } = this.sender.arena;
    const isLeft = group.listeners === 0;
    if (!isLeft || !link.isIpv4 || link.version > 1) {
      const packet = this.sender.begin();
      if (packet === null) return;
      const record = recordOf(group, ahead);
      const report = link.version === 1 ? IGMP_V1_REPORT : IGMP_V2_REPORT;
      if (link.isIpv4) writeOldIgmp(view, packet, iface, isLeft ? IGMP_LEAVE : report, record);
      else writeOldMld(view, packet, iface, isLeft ? ICMPV6_MLD_DONE : ICMPV6_MLD_REPORT, record);
      this.sender.sendFrame(packet, iface);
    }
    this.reported(group, ahead);
    if (isLeft) group.changes = 0;
  }

  private reported(group: Group, ahead: number): void {
    group.answerIn = NEVER;
    if (!group.isChangeDue(ahead)) return;
    group.changes--;
    group.changeIn = this.random.between(1, UNSOLICITED_REPORT_INTERVAL);
  }

  private linkOf(iface: number, isIpv4: boolean): Link {
    for (const link of this.links) if (link.iface === iface && link.isIpv4 === isIpv4) return link;
    const link = new Link(iface, isIpv4);
    this.links.push(link);
    return link;
  }
}

/** What waits is not sent in another version than it was meant for (RFC 3376, 7.2.1; RFC 3810, 8.2.1). */
function cancel(link: Link): void {
  for (const group of link.groups) {
    group.changes = 0;
    group.answerIn = NEVER;
  }
}

/** 0 says nothing (RFC 3376, 4.1.6). */
function robustnessOf(flags: number): number {
  const robustness = flags & QUERY_ROBUSTNESS_MASK;
  return robustness === 0 ? ROBUSTNESS : robustness;
}

function isDue(group: Group, ahead: number): boolean {
  return group.isChangeDue(ahead) || group.isAnswerDue;
}

/** A change says what the state is, and so answers a query as well. */
function recordOf(group: Group, ahead: number): GroupRecord {
  const { a, b, c, d } = group;
  const change = group.listeners > 0 ? CHANGE_TO_EXCLUDE : CHANGE_TO_INCLUDE;
  return { a, b, c, d, type: group.isChangeDue(ahead) ? change : MODE_IS_EXCLUDE };
}

function isSame(group: Group, a: number, b: number, c: number, d: number): boolean {
  return group.d === d && group.c === c && group.b === b && group.a === a;
}

function find(link: Link, a: number, b: number, c: number, d: number): Group | null {
  for (const group of link.groups) if (isSame(group, a, b, c, d)) return group;
  return null;
}
