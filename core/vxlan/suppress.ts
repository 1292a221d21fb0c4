/**
 * Suppression: questions of endpoints for a MAC are answered here where the gateway's neighbor table knows it and the FDB has it behind a
 * VTEP, instead of being sent to every VTEP (RFC 9161, 3.2 and 3.4, has it so between the edges of an EVPN). Who is in the table was told
 * by the operator or a store, or has spoken to the gateway itself.
 *
 * What is not known goes its way, to everybody, and is told as an event, so that a store may say where it is: an address as an L3 miss, a
 * MAC as an L2 miss (the names of Linux, drivers/net/vxlan).
 *
 * Not answered are questions that ask something else: announcements, probes and duplicate address detection (RFC 5227, 1.1; RFC 4862,
 * 5.4) want to hear from everybody who has the address, and unicast questions from one who has it.
 */

import type { Dataplane } from '../dataplane.js';
import { EVENT_L2_MISS, EVENT_L3_MISS } from '../events.js';
import { PACKET_L3_MALFORMED, type Packet, TAG_NONE } from '../packet/packet.js';
import type { Domain } from '../ports.js';
import { isMapped, MAPPED } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import { isIntact, isToSolicitedNode } from '../router/nd.js';
import { LEARN_ADVERTISEMENT, LEARN_OVERRIDE, LEARN_ROUTER, type Neighbor } from '../router/neighbors.js';
import { PortRate } from '../router/port-rate.js';
import { isGroupDestination } from '../switch/admit.js';
import { CONTINUE, LOCAL } from '../verdict.js';
import { ARP_REPLY, ARP_REQUEST, ARP_SENDER_MAC, arpOperation, arpSender, arpTarget } from '../wire/arp.js';
import { writeArp } from '../wire/arp-frame.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV6, macHigh, macLow } from '../wire/ethernet.js';
import {
  hasNeighborTarget,
  icmpv6Type,
  ND_NEIGHBOR_ADVERTISEMENT,
  ND_NEIGHBOR_LENGTH,
  ND_NEIGHBOR_SOLICITATION,
  ND_OPTION_SOURCE_LINK_ADDRESS,
  ND_OPTION_TARGET_LINK_ADDRESS,
  ND_TARGET,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { isIpv6Group } from '../wire/mld.js';
import {
  ND_FLAGS,
  ND_OVERRIDE,
  ND_ROUTER,
  ND_SOLICITED,
  setNdDestination,
  setNdSource,
  writeAdvertisement,
  writeNdHeaders,
} from '../wire/nd-frame.js';
import { findLinkAddress } from '../wire/nd-options.js';
import { MissTable } from './misses.js';

const GROUP_BIT = 0x0100;

/** Misses that are told a second and at once: of what one port asks, and in all. The list of events has room for the rest besides. */
const PORT_MISSES = 50;
const PORT_MISSES_AT_ONCE = 20;
const MISSES = 100;
const MISSES_AT_ONCE = 50;
/** The number under which all ports together are counted. */
const ALL_PORTS = 0;

export class Suppressor {
  /** Questions that were answered. */
  answered = 0;
  private readonly dataplane: Dataplane;
  private readonly misses: MissTable;
  private readonly byPort = new PortRate(PORT_MISSES, PORT_MISSES_AT_ONCE);
  private readonly all = new PortRate(MISSES, MISSES_AT_ONCE);
  /** Set by `readAddress`: the asker's address, and the target's. */
  private readonly source = new Int32Array(4);
  private readonly target = new Int32Array(4);

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
    // Nobody may choose what falls on the same place.
    this.misses = new MissTable(dataplane.router.seed);
  }

  /**
   * For a parsed frame of a port that is no VTEP's, about to be flooded in a network that has VTEPs.
   * @param gateway of the domain, whose neighbor table is asked; null: nothing is answered
   * @returns LOCAL: it was answered; CONTINUE
   */
  consider(packet: Packet, domain: Domain, gateway: RouterInterface | null): number {
    if (!isGroupDestination(packet)) {
      this.missMac(packet, domain, packet.dstHigh, packet.dstLow);
      return CONTINUE;
    }
    const { vtep } = domain.network;
    if (gateway === null || vtep === null || !vtep.options.suppress || isForeign(packet)) return CONTINUE;
    if (packet.etherType === ETHERTYPE_ARP) return this.considerArp(packet, domain, gateway);
    if (packet.etherType === ETHERTYPE_IPV6 && packet.protocol === PROTOCOL_ICMPV6 && packet.l4 !== -1)
      return this.considerSolicitation(packet, domain, gateway);
    return CONTINUE;
  }

  /**
   * For a parsed frame out of a tunnel that the bridge sends on: an ARP message or an advertisement to an endpoint tells the gateway's
   * neighbor table as well where an address is now, so that nobody is answered with a MAC that it no longer has. What goes to the gateway
   * or to a group the router sees for itself.
   *
   * Only changes what is known, and confirms nothing, as for what everybody may hear (RFC 826, "Merge_flag"; RFC 4861, 7.2.5 without the
   * solicited flag): it was not the gateway that asked, and an endpoint on another host must be able neither to fill the table nor to keep
   * an address of others alive in it. Nor is anybody believed of whom the FDB says that he is elsewhere, or says nothing.
   */
  learnFrom(packet: Packet, domain: Domain, gateway: RouterInterface | null): void {
    if (gateway === null || isForeign(packet) || isGroupDestination(packet)) return;
    const isArp = packet.etherType === ETHERTYPE_ARP;
    if (!isArp && (packet.etherType !== ETHERTYPE_IPV6 || packet.protocol !== PROTOCOL_ICMPV6)) return;
    if (this.dataplane.fdb.search((domain.fid << 16) | packet.srcHigh, packet.srcLow) !== packet.port) return;
    if (isArp) this.learnArp(packet, gateway);
    else if (packet.l4 !== -1) this.learnAdvertisement(packet, gateway);
  }

  // --- ARP

  private considerArp(packet: Packet, domain: Domain, gateway: RouterInterface): number {
    const { view } = this.dataplane.arena;
    const at = packet.l3;
    if ((packet.flags & PACKET_L3_MALFORMED) !== 0 || arpOperation(view, at) !== ARP_REQUEST) return CONTINUE;
    const sender = arpSender(view, at);
    const target = arpTarget(view, at);
    const high = macHigh(view, at + ARP_SENDER_MAC);
    const low = macLow(view, at + ARP_SENDER_MAC);
    // The answer goes to the sender that it names; one that is no station's gets none.
    if (sender === 0 || sender === target || (high & GROUP_BIT) !== 0) return CONTINUE;
    const neighbor = this.knownBehindVtep(packet, domain, gateway, 0, 0, MAPPED, target);
    if (neighbor === null || isAt(neighbor, high, low)) return CONTINUE;
    const reply = this.dataplane.router.begin();
    if (reply === null) return CONTINUE;
    writeArp(view, reply, high, low, ARP_REPLY, neighbor.macHigh, neighbor.macLow, target, high, low, sender);
    return this.answer(reply, packet, domain, neighbor);
  }

  private learnArp(packet: Packet, gateway: RouterInterface): void {
    const { view } = this.dataplane.arena;
    if ((packet.flags & PACKET_L3_MALFORMED) !== 0) return;
    const sender = arpSender(view, packet.l3);
    const high = macHigh(view, packet.l3 + ARP_SENDER_MAC);
    const low = macLow(view, packet.l3 + ARP_SENDER_MAC);
    if (sender === 0 || !isFrom(packet, high, low)) return;
    this.dataplane.router.neighbors.learn(gateway, 0, 0, MAPPED, sender, high, low, LEARN_OVERRIDE, packet.port);
  }

  // --- neighbor discovery

  private considerSolicitation(packet: Packet, domain: Domain, gateway: RouterInterface): number {
    const { view } = this.dataplane.arena;
    const at = packet.l4;
    if (icmpv6Type(view, at) !== ND_NEIGHBOR_SOLICITATION || !hasNeighborTarget(view, at, packet.l3End - at))
      return CONTINUE;
    const from = packet.l3 + IPV6_SOURCE;
    if (!isIntact(view, packet) || !isToSolicitedNode(view, packet) || isIpv6Group(view, from)) return CONTINUE;
    const link = findLinkAddress(view, at + ND_NEIGHBOR_LENGTH, packet.l3End, ND_OPTION_SOURCE_LINK_ADDRESS);
    readAddress(view, from, this.source);
    // Without the option nobody knows whom to answer; to a group it must be there (RFC 4861, 4.3), but in duplicate address detection.
    if (link <= 0 || isUnspecified(this.source) || isIpv6Group(view, at + ND_TARGET)) return CONTINUE;
    readAddress(view, at + ND_TARGET, this.target);
    const { 0: a, 1: b, 2: c, 3: d } = this.target;
    if (isMapped(a, b, c)) return CONTINUE;
    const high = macHigh(view, link);
    const low = macLow(view, link);
    const neighbor = this.knownBehindVtep(packet, domain, gateway, a, b, c, d);
    if (neighbor === null || isAt(neighbor, high, low)) return CONTINUE;
    const reply = this.dataplane.router.begin();
    if (reply === null) return CONTINUE;
    this.writeAnswer(view, reply, neighbor, high, low);
    return this.answer(reply, packet, domain, neighbor);
  }

  /**
   * As the target itself would answer (RFC 4861, 7.2.4), its router flag as it has said it (RFC 9161, 3.2). The override flag is not set:
   * this is somebody else's word (RFC 4861, 7.2.8), and who asks everybody takes the first answer whatever that flag says (7.2.5).
   */
  private writeAnswer(view: DataView, reply: Packet, neighbor: Neighbor, high: number, low: number): void {
    const { a, b, c, d, macHigh: fromHigh, macLow: fromLow } = neighbor;
    const { source } = this;
    writeNdHeaders(view, reply, high, low, fromHigh, fromLow);
    setNdSource(view, reply, a, b, c, d);
    setNdDestination(view, reply, source[0], source[1], source[2], source[3]);
    const flags = ND_SOLICITED | (neighbor.isRouter === 1 ? ND_ROUTER : 0);
    writeAdvertisement(view, reply, flags, a, b, c, d, fromHigh, fromLow);
  }

  private learnAdvertisement(packet: Packet, gateway: RouterInterface): void {
    const { view } = this.dataplane.arena;
    const at = packet.l4;
    if (icmpv6Type(view, at) !== ND_NEIGHBOR_ADVERTISEMENT || !hasNeighborTarget(view, at, packet.l3End - at)) return;
    const link = findLinkAddress(view, at + ND_NEIGHBOR_LENGTH, packet.l3End, ND_OPTION_TARGET_LINK_ADDRESS);
    if (link <= 0 || !isIntact(view, packet)) return;
    const high = macHigh(view, link);
    const low = macLow(view, link);
    readAddress(view, at + ND_TARGET, this.target);
    const { 0: a, 1: b, 2: c, 3: d } = this.target;
    if (!isFrom(packet, high, low) || isMapped(a, b, c)) return;
    const flags = view.getInt32(at + ND_FLAGS);
    let how = LEARN_ADVERTISEMENT;
    if ((flags & ND_ROUTER) !== 0) how |= LEARN_ROUTER;
    if ((flags & ND_OVERRIDE) !== 0) how |= LEARN_OVERRIDE;
    this.dataplane.router.neighbors.learn(gateway, a, b, c, d, high, low, how, packet.port);
  }

  // --- both

  /** The neighbor at an address, if its MAC is behind a VTEP; else null, and what is not known was told. */
  private knownBehindVtep(
    packet: Packet,
    domain: Domain,
    gateway: RouterInterface,
    a: number,
    b: number,
    c: number,
    d: number,
  ): Neighbor | null {
    const { fdb, ports, router } = this.dataplane;
    const neighbor = router.neighbors.find6(gateway.number, a, b, c, d);
    if (neighbor === null || !neighbor.isUsable) {
      this.missAddress(packet, domain, a, b, c, d);
      return null;
    }
    const port = fdb.search((domain.fid << 16) | neighbor.macHigh, neighbor.macLow);
    if (port === 0) this.missMac(packet, domain, neighbor.macHigh, neighbor.macLow);
    return ports[port].vtep === null ? null : neighbor;
  }

  /** An answer counts as use: a stale neighbor is asked whether it is still there, which the asker's question would have done. */
  private answer(reply: Packet, question: Packet, domain: Domain, neighbor: Neighbor): number {
    this.dataplane.router.neighbors.use(neighbor);
    this.dataplane.originateTo(reply, domain, question.port);
    this.answered++;
    return LOCAL;
  }

  private missAddress(packet: Packet, domain: Domain, a: number, b: number, c: number, d: number): void {
    if (!this.mayTell(packet, EVENT_L3_MISS, domain, a, b, c, d)) return;
    this.dataplane.events.addWithAddress(EVENT_L3_MISS, domain.fid, packet.port, 0, 0, a, b, c, d);
  }

  private missMac(packet: Packet, domain: Domain, high: number, low: number): void {
    if (!this.mayTell(packet, EVENT_L2_MISS, domain, 0, 0, high, low)) return;
    this.dataplane.events.add(EVENT_L2_MISS, domain.fid, packet.port, 0, high, low, 0);
  }

  /** Not again within a second, and not too much of one port, nor in all. */
  private mayTell(packet: Packet, kind: number, domain: Domain, a: number, b: number, c: number, d: number): boolean {
    const { now, milliseconds } = this.dataplane;
    if (!this.misses.isNew(kind, domain.fid, a, b, c, d, now)) return false;
    return this.byPort.admit(packet.port, milliseconds) && this.all.admit(ALL_PORTS, milliseconds);
  }
}

/** A tag that is payload: another network's, if it were one. */
function isForeign(packet: Packet): boolean {
  return packet.vlan !== -1 && (packet.tag === TAG_NONE || packet.innerVlan !== -1);
}

/** Whether the frame's sender speaks of itself. */
function isFrom(packet: Packet, high: number, low: number): boolean {
  return packet.srcHigh === high && packet.srcLow === low;
}

/** Whether the asker has the address itself, as far as is known. */
function isAt(neighbor: Neighbor, high: number, low: number): boolean {
  return neighbor.macHigh === high && neighbor.macLow === low;
}

function isUnspecified(words: Int32Array): boolean {
  return (words[0] | words[1] | words[2] | words[3]) === 0;
}

function readAddress(view: DataView, at: number, words: Int32Array): void {
  for (let i = 0; i < 4; i++) words[i] = view.getInt32(at + 4 * i);
}
