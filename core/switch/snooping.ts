/**
 * Multicast snooping in one domain: a frame to a group goes to the ports behind which somebody has joined it, instead of to all.
 *
 *   RFC 4541                       what a snooping switch does; section numbers below are its own
 *   RFC 2236, 3376 · 2710, 3810    IGMPv2, IGMPv3 (and version 1's reports) · MLDv1, MLDv2
 *   RFC 7761, 4286                 PIM hellos and multicast router discovery, which tell where routers are
 *
 *   to a group with members             members and router ports
 *   to one without                      every port, or with `dropUnregistered` router ports only (2.1.2, 3)
 *   to 224.0.0.0/24, ff02::/16, ff01::  every port (2.1.2, 2): nobody reports, or not reliably
 *   not IP, not to its group's MAC      every port
 *   reports and leaves                  router ports, and ports with another switch that asks; none: dropped (2.1.1, 1)
 *   queries, unknown types              every port (2.1.1, 5); a query from a ROUTER_NEVER port changes nothing here: who asks there
 *                                       does not ask for us, and may not even be heard by all
 *   messages with a wrong checksum or length, or (MLD) without what every sender must put in: as reports, and counted as malformed;
 *     "the switch should not flood such packets" (2.1.1, 4)
 *
 * Group membership only: sources are not filtered. Whoever joins some sources of a group gets it from all, and his host filters. A
 * "block" asks who is left, since it is all that a host says that leaves its last source.
 *
 * Traffic is never lost for want of knowledge. All multicast is flooded while learning, and while nobody asks for reports, since
 * memberships would end unrenewed. A port of which a report found no room (MAX_GROUPS, MAX_PORT_GROUPS) gets all multicast until that
 * report would have expired; `full` counts them.
 *
 * With several VLANs in one domain (tags that are payload) no querier reaches those inside: such frames are flooded, unread.
 */

import { DROP_SNOOPED, DROP_UNREGISTERED_MULTICAST } from '../drop.js';
import { PACKET_L3_MALFORMED, type Packet, TAG_NONE } from '../packet/packet.js';
import { DROP, FLOOD, TO_GROUP } from '../verdict.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { ICMPV6_MLD_DONE, ICMPV6_MLD_REPORT, ICMPV6_MLD2_REPORT, icmpv6Type, PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import {
  ALLOW_NEW_SOURCES,
  areIgmpRecordsValid,
  BLOCK_OLD_SOURCES,
  CHANGE_TO_EXCLUDE,
  CHANGE_TO_INCLUDE,
  floatingCode,
  IGMP_LEAVE,
  IGMP_LENGTH,
  IGMP_QUERY,
  IGMP_QUERY_FLAGS,
  IGMP_QUERY_INTERVAL,
  IGMP_QUERY_SOURCES,
  IGMP_ROUTER_ADVERTISEMENT,
  IGMP_V1_REPORT,
  IGMP_V2_REPORT,
  IGMP_V3_RECORDS,
  IGMP_V3_REPORT,
  igmpGroup,
  igmpMaxResponse,
  igmpRecordLength,
  igmpType,
  isIgmpIntact,
  isIgmpQueryValid,
  isIpv4Group,
  MODE_IS_EXCLUDE,
  MODE_IS_INCLUDE,
  QUERY_ROBUSTNESS_MASK,
  QUERY_SUPPRESS,
  RECORD_GROUP,
  RECORD_SOURCES,
  RECORD_TYPE,
} from '../wire/igmp.js';
import { ipv4Destination, ipv4Source } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import {
  areMldRecordsValid,
  isIpv6Group,
  isMldIntact,
  isMldQueryValid,
  MLD_GROUP,
  MLD_LENGTH,
  MLD_QUERY,
  MLD_QUERY_FLAGS,
  MLD_QUERY_INTERVAL,
  MLD_QUERY_SOURCES,
  MLD_ROUTER_ADVERTISEMENT,
  MLD_V2_RECORDS,
  MLD_V2_REPORT_LENGTH,
  mldMaxResponse,
  mldRecordLength,
} from '../wire/mld.js';
import { PROTOCOL_IGMP, PROTOCOL_PIM } from '../wire/multicast-router.js';
import { isPimHello } from '../wire/pim.js';
import { Asker, type Originator } from './asker.js';
import { doubled, type Group, groupText, IPV4_THIRD_WORD, type Mdb } from './mdb.js';
import { Membership, ROUTER_ALWAYS, ROUTER_NEVER, type SnoopingPort } from './membership.js';
import { claimIgmp, igmpQuerier, mldQuerier, OTHER_QUERIER_PRESENT, type Querier } from './querier.js';
import {
  IPV4_GROUP_MAC_HIGH,
  IPV6_GROUP_MAC_HIGH,
  ipv4GroupMacLow,
  type QuerySource,
  switchSource,
} from './query-frame.js';

export type { Originator } from './asker.js';
export { MAX_PORT_GROUPS, ROUTER_ALWAYS, ROUTER_AUTO, ROUTER_NEVER } from './membership.js';

/**
 * Seconds from startLearning until reports are complete: ports are asked between one and two seconds after they joined, and hosts
 * take a second to answer.
 */
export const LEARNING_TIME = 5;

/** Specific queries in one tick; the rest waits. */
const QUERIES_A_TICK = 64;
/** A port number above all. */
const NO_PORT = 0x7fffffff;

export interface SnoopingOptions {
  /** Asks for members, while no other querier does. */
  readonly querier: boolean;
  /** Groups without members go to router ports only. */
  readonly dropUnregistered: boolean;
  /** Any int32, from a random source. */
  readonly seed: number;
  /** Source MAC of queries: first two octets, last four. */
  readonly macHigh: number;
  readonly macLow: number;
}

export class Snooping {
  /** Destination ports of the last packet for which receive() said TO_GROUP: each once, never the port it came from. */
  targets = new Int32Array(16);
  targetCount = 0;

  /** Reports and leaves received. */
  reports = 0;
  /** Queries received. */
  queries = 0;
  /** Messages that were not trusted. */
  malformed = 0;

  private readonly dropUnregistered: boolean;
  private readonly members: Membership;
  private readonly mdb: Mdb;
  private readonly igmp: Querier;
  private readonly mld: Querier;
  private readonly asker: Asker;
  /** Who asks where there is no gateway. */
  private readonly own: QuerySource;

  constructor(options: SnoopingOptions) {
    this.dropUnregistered = options.dropUnregistered;
    this.members = new Membership(options.seed);
    this.mdb = this.members.mdb;
    this.own = switchSource(options.macHigh, options.macLow);
    this.igmp = igmpQuerier(options.querier, this.own);
    this.mld = mldQuerier(options.querier, this.own);
    this.asker = new Asker(this.own);
  }

  /** Asks as the gateway of the network does; null: as a switch. */
  speakAs(source: QuerySource | null): void {
    const { 0: a, 1: b, 2: c, 3: d } = (source ?? this.own).linkLocal;
    this.asker.source = source ?? this.own;
    claimIgmp(this.igmp, this.asker.source);
    this.mld.claim(a, b, c, d);
  }

  /** Groups with members. */
  get groups(): number {
    return this.mdb.groups.length;
  }

  /** Joins that found no room. */
  get full(): number {
    return this.members.full;
  }

  /** Queries sent. */
  get queriesSent(): number {
    return this.asker.count;
  }

  /** A port joins the domain; one that is there already begins anew. */
  addPort(port: number, router: number, fastLeave: boolean): void {
    this.members.addPort(port, router, fastLeave);
    if (this.targets.length < this.members.ports.length) this.targets = doubled(this.targets);
  }

  /** Forgets all that was learned on it, at once. */
  removePort(port: number): void {
    this.members.removePort(port);
  }

  /**
   * Until reports are complete (LEARNING_TIME) all multicast is flooded, and every port is asked. For the start, and after one of the
   * worker, when members are there whose reports went to its predecessor.
   */
  startLearning(now: number): void {
    this.igmp.restart(now, now + LEARNING_TIME);
    this.mld.restart(now, now + LEARNING_TIME);
    for (const port of this.members.ports) port.askSoon();
  }

  /**
   * Decides on a frame to a group MAC other than broadcast; learns from reports, queries and router's messages.
   *
   * Precondition: the packet is parsed, and its `tag` set.
   * @param now seconds
   * @returns FLOOD, TO_GROUP (see `targets`), or DROP with packet.reason set
   */
  receive(view: DataView, packet: Packet, now: number): number {
    if ((packet.flags & PACKET_L3_MALFORMED) !== 0 || isTagPayload(packet)) return FLOOD;
    if (packet.etherType === ETHERTYPE_IPV4) return this.receiveIpv4(view, packet, now);
    if (packet.etherType === ETHERTYPE_IPV6) return this.receiveIpv6(view, packet, now);
    return FLOOD;
  }

  /** Once a second: ends what has expired, asks. */
  tick(now: number, originator: Originator, view: DataView): void {
    this.asker.use(originator, view);
    this.igmp.tick(now);
    this.mld.tick(now);
    this.members.tick(now, this.asker, QUERIES_A_TICK);
    if (!this.igmp.enabled || this.members.ports.length === 0) return;
    if (this.igmp.isDue(now) && this.asker.askIgmp()) this.igmp.sent(now);
    if (this.mld.isDue(now) && this.asker.askMld()) this.mld.sent(now);
    this.asker.askNewPorts(this.members.ports);
  }

  /**
   * For listings: every membership, and the router ports under the name "router". May allocate.
   * @param visit group as text; expires in seconds, or -1: never
   */
  forEach(visit: (group: string, port: number, expires: number) => void, now: number): void {
    for (const port of this.members.ports) {
      if (!port.isRouter(now)) continue;
      visit('router', port.id, port.router === ROUTER_ALWAYS ? -1 : port.routerUntil - now);
    }
    for (const group of this.mdb.groups) {
      const text = groupText(group);
      for (let i = 0; i < group.count; i++) visit(text, group.ports[i], Math.max(0, group.expires[i] - now));
    }
  }

  private receiveIpv4(view: DataView, packet: Packet, now: number): number {
    const group = ipv4Destination(view, packet.l3);
    if (!isIpv4Group(group) || packet.dstHigh !== IPV4_GROUP_MAC_HIGH || packet.dstLow !== ipv4GroupMacLow(group)) {
      return FLOOD;
    }
    if (packet.protocol === PROTOCOL_IGMP) return this.receiveIgmp(view, packet, now);
    if (packet.protocol === PROTOCOL_PIM) this.hearPim(view, packet, now);
    if (isLocalIpv4(group)) return FLOOD;
    if (now < this.igmp.trustedFrom) return FLOOD;
    return this.toGroup(packet, this.mdb.find(0, 0, IPV4_THIRD_WORD, group));
  }

  private receiveIpv6(view: DataView, packet: Packet, now: number): number {
    const at = packet.l3 + IPV6_DESTINATION;
    const a = view.getInt32(at);
    const d = view.getInt32(at + 12);
    if (a >>> 24 !== 0xff || packet.dstHigh !== IPV6_GROUP_MAC_HIGH || packet.dstLow !== d) return FLOOD;
    if (packet.protocol === PROTOCOL_ICMPV6 && packet.l4 >= 0) {
      const type = icmpv6Type(view, packet.l4);
      if (isMldType(type)) return this.receiveMld(view, packet, type, now);
    } else if (packet.protocol === PROTOCOL_PIM) {
      this.hearPim(view, packet, now);
    }
    if (isLocalIpv6(a)) return FLOOD;
    if (now < this.mld.trustedFrom) return FLOOD;
    return this.toGroup(packet, this.mdb.find(a, view.getInt32(at + 4), view.getInt32(at + 8), d));
  }

  /** Data: to members and router ports. */
  private toGroup(packet: Packet, group: Group | null): number {
    const wanting = this.members.wanting;
    const count = this.members.wantingCount;
    if (group !== null) this.target(packet.port, group.ports, group.count, wanting, count);
    else if (!this.dropUnregistered) return FLOOD;
    else this.target(packet.port, wanting, count, wanting, 0);
    if (this.targetCount > 0) return TO_GROUP;
    packet.reason = DROP_UNREGISTERED_MULTICAST;
    return DROP;
  }

  /** Reports, and what cannot be trusted: to whom asks. */
  private toTold(packet: Packet): number {
    const told = this.members.told;
    this.target(packet.port, told, this.members.toldCount, told, 0);
    if (this.targetCount > 0) return TO_GROUP;
    packet.reason = DROP_SNOOPED;
    return DROP;
  }

  private toToldMalformed(packet: Packet): number {
    this.malformed++;
    return this.toTold(packet);
  }

  /** Sets the targets: two ascending lists become one, without `from`. */
  private target(from: number, first: Int32Array, firstCount: number, second: Int32Array, secondCount: number): void {
    const targets = this.targets;
    let count = 0;
    let i = 0;
    let j = 0;
    while (i < firstCount || j < secondCount) {
      const x = i < firstCount ? first[i] : NO_PORT;
      const y = j < secondCount ? second[j] : NO_PORT;
      const port = x < y ? x : y;
      if (x === port) i++;
      if (y === port) j++;
      if (port !== from) targets[count++] = port;
    }
    this.targetCount = count;
  }

  private receiveIgmp(view: DataView, packet: Packet, now: number): number {
    const port = this.members.port(packet.port);
    if (port === null) return FLOOD;
    if (!isIgmpIntact(view, packet)) return this.toToldMalformed(packet);
    const type = igmpType(view, packet.l4);
    if (type === IGMP_QUERY) return this.hearIgmpQuery(view, packet, port, now);
    if (type === IGMP_V1_REPORT || type === IGMP_V2_REPORT || type === IGMP_LEAVE) {
      return this.hearIgmpReport(view, packet, port, type, now);
    }
    if (type === IGMP_V3_REPORT) return this.hearIgmpRecords(view, packet, port, now);
    if (type === IGMP_ROUTER_ADVERTISEMENT) this.members.hearRouter(port, now, OTHER_QUERIER_PRESENT);
    return FLOOD;
  }

  private hearIgmpQuery(view: DataView, packet: Packet, port: SnoopingPort, now: number): number {
    const at = packet.l4;
    const length = packet.l3End - at;
    if (!isIgmpQueryValid(view, at, length)) return this.toToldMalformed(packet);
    this.queries++;
    if (port.router === ROUTER_NEVER) return FLOOD;
    const response = Math.ceil(igmpMaxResponse(view, at, length) / 10);
    const group = igmpGroup(view, at);
    const isV3 = length > IGMP_LENGTH;
    const flags = isV3 ? view.getUint8(at + IGMP_QUERY_FLAGS) : 0;
    const source = ipv4Source(view, packet.l3);
    if (group === 0) this.igmp.hear(now, response);
    if (source === 0) {
      this.members.hearAsker(port, now);
    } else {
      const interval = isV3 ? floatingCode(view.getUint8(at + IGMP_QUERY_INTERVAL)) : 0;
      const robustness = flags & QUERY_ROBUSTNESS_MASK;
      let present = OTHER_QUERIER_PRESENT;
      if (group === 0) present = this.igmp.elect(now, source, 0, 0, 0, robustness, interval, response);
      this.members.hearRouter(port, now, present);
    }
    const hasSources = isV3 && view.getUint16(at + IGMP_QUERY_SOURCES) !== 0;
    if (group !== 0 && !hasSources && (flags & QUERY_SUPPRESS) === 0) {
      this.members.shorten(0, 0, IPV4_THIRD_WORD, group, now, response);
    }
    return FLOOD;
  }

  private hearIgmpReport(view: DataView, packet: Packet, port: SnoopingPort, type: number, now: number): number {
    const group = igmpGroup(view, packet.l4);
    if (!isIpv4Group(group)) return this.toToldMalformed(packet);
    this.reports++;
    if (isLocalIpv4(group)) return this.toTold(packet);
    if (type === IGMP_LEAVE) this.members.leave(this.igmp, port, 0, 0, IPV4_THIRD_WORD, group, now);
    else this.members.join(this.igmp, port, 0, 0, IPV4_THIRD_WORD, group, now);
    return this.toTold(packet);
  }

  private hearIgmpRecords(view: DataView, packet: Packet, port: SnoopingPort, now: number): number {
    const start = packet.l4;
    if (!areIgmpRecordsValid(view, start, packet.l3End - start)) return this.toToldMalformed(packet);
    this.reports++;
    let at = start + IGMP_LENGTH;
    for (let left = view.getUint16(start + IGMP_V3_RECORDS); left > 0; left--) {
      const group = view.getInt32(at + RECORD_GROUP);
      if (isIpv4Group(group) && !isLocalIpv4(group)) {
        this.applyRecord(this.igmp, port, view, at, 0, 0, IPV4_THIRD_WORD, group, now);
      }
      at += igmpRecordLength(view, at);
    }
    return this.toTold(packet);
  }

  private receiveMld(view: DataView, packet: Packet, type: number, now: number): number {
    const port = this.members.port(packet.port);
    if (port === null) return FLOOD;
    if (!isMldIntact(view, packet)) return this.toToldMalformed(packet);
    if (type === MLD_QUERY) return this.hearMldQuery(view, packet, port, now);
    if (type === ICMPV6_MLD2_REPORT) return this.hearMldRecords(view, packet, port, now);
    if (type !== MLD_ROUTER_ADVERTISEMENT) return this.hearMldReport(view, packet, port, type, now);
    this.members.hearRouter(port, now, OTHER_QUERIER_PRESENT);
    return FLOOD;
  }

  private hearMldQuery(view: DataView, packet: Packet, port: SnoopingPort, now: number): number {
    const at = packet.l4;
    const length = packet.l3End - at;
    if (!isMldQueryValid(view, at, length)) return this.toToldMalformed(packet);
    this.queries++;
    if (port.router === ROUTER_NEVER) return FLOOD;
    const response = Math.ceil(mldMaxResponse(view, at, length) / 1000);
    const isGeneral = view.getUint8(at + MLD_GROUP) === 0;
    const isV2 = length > MLD_LENGTH;
    const flags = isV2 ? view.getUint8(at + MLD_QUERY_FLAGS) : 0;
    let present = OTHER_QUERIER_PRESENT;
    if (isGeneral) {
      this.mld.hear(now, response);
      const interval = isV2 ? floatingCode(view.getUint8(at + MLD_QUERY_INTERVAL)) : 0;
      present = this.electMld(view, packet.l3 + IPV6_SOURCE, flags & QUERY_ROBUSTNESS_MASK, interval, response, now);
    }
    this.members.hearRouter(port, now, present);
    const hasSources = isV2 && view.getUint16(at + MLD_QUERY_SOURCES) !== 0;
    if (!isGeneral && !hasSources && (flags & QUERY_SUPPRESS) === 0) {
      this.shortenIpv6(view, at + MLD_GROUP, now, response);
    }
    return FLOOD;
  }

  private electMld(
    view: DataView,
    at: number,
    robustness: number,
    interval: number,
    response: number,
    now: number,
  ): number {
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    return this.mld.elect(now, view.getInt32(at), view.getInt32(at + 4), c, d, robustness, interval, response);
  }

  private hearMldReport(view: DataView, packet: Packet, port: SnoopingPort, type: number, now: number): number {
    const at = packet.l4 + MLD_GROUP;
    if (packet.l3End - packet.l4 < MLD_LENGTH || !isIpv6Group(view, at)) return this.toToldMalformed(packet);
    this.reports++;
    const a = view.getInt32(at);
    if (isLocalIpv6(a)) return this.toTold(packet);
    const b = view.getInt32(at + 4);
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    if (type === ICMPV6_MLD_REPORT) this.members.join(this.mld, port, a, b, c, d, now);
    else this.members.leave(this.mld, port, a, b, c, d, now);
    return this.toTold(packet);
  }

  private hearMldRecords(view: DataView, packet: Packet, port: SnoopingPort, now: number): number {
    const start = packet.l4;
    if (!areMldRecordsValid(view, start, packet.l3End - start)) return this.toToldMalformed(packet);
    this.reports++;
    let at = start + MLD_V2_REPORT_LENGTH;
    for (let left = view.getUint16(start + MLD_V2_RECORDS); left > 0; left--) {
      const group = at + RECORD_GROUP;
      const a = view.getInt32(group);
      if (isIpv6Group(view, group) && !isLocalIpv6(a)) {
        const b = view.getInt32(group + 4);
        const c = view.getInt32(group + 8);
        this.applyRecord(this.mld, port, view, at, a, b, c, view.getInt32(group + 12), now);
      }
      at += mldRecordLength(view, at);
    }
    return this.toTold(packet);
  }

  /** A record of an IGMPv3 or MLDv2 report; types that do not exist are ignored (RFC 3376, 4.2.12). */
  private applyRecord(
    querier: Querier,
    port: SnoopingPort,
    view: DataView,
    at: number,
    a: number,
    b: number,
    c: number,
    d: number,
    now: number,
  ): void {
    const type = view.getUint8(at + RECORD_TYPE);
    const hasSources = view.getUint16(at + RECORD_SOURCES) !== 0;
    if (type === MODE_IS_EXCLUDE || type === CHANGE_TO_EXCLUDE) this.members.join(querier, port, a, b, c, d, now);
    else if (type === MODE_IS_INCLUDE || type === CHANGE_TO_INCLUDE) {
      if (hasSources) this.members.join(querier, port, a, b, c, d, now);
      else this.members.leave(querier, port, a, b, c, d, now);
    } else if (type === ALLOW_NEW_SOURCES) {
      if (hasSources) this.members.join(querier, port, a, b, c, d, now);
    } else if (type === BLOCK_OLD_SOURCES) {
      this.members.ask(querier, port, a, b, c, d, now);
    }
  }

  private shortenIpv6(view: DataView, at: number, now: number, response: number): void {
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    this.members.shorten(view.getInt32(at), view.getInt32(at + 4), c, d, now, response);
  }

  private hearPim(view: DataView, packet: Packet, now: number): void {
    const port = this.members.port(packet.port);
    if (port !== null && isPimHello(view, packet)) this.members.hearRouter(port, now, OTHER_QUERIER_PRESENT);
  }
}

/** A tag that does not tell the domain: the frame is in some VLAN of the hosts' own. */
function isTagPayload(packet: Packet): boolean {
  if (packet.vlan < 0) return false;
  return packet.innerVlan >= 0 || (packet.tag === TAG_NONE && (packet.vlan & 0x0fff) !== 0);
}

/** 224.0.0.0/24. */
function isLocalIpv4(group: number): boolean {
  return group >>> 8 === 0xe00000;
}

/** ff02::/16, and the scopes below the link, whatever the flags: they belong on no link at all. @param a first word */
function isLocalIpv6(a: number): boolean {
  const first = a >>> 16;
  return first === 0xff02 || (first & 0x0f) <= 1;
}

function isMldType(type: number): boolean {
  return (
    type === MLD_QUERY ||
    type === ICMPV6_MLD_REPORT ||
    type === ICMPV6_MLD_DONE ||
    type === ICMPV6_MLD2_REPORT ||
    type === MLD_ROUTER_ADVERTISEMENT
  );
}
