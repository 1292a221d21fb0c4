/**
 * Forwarding: from the FIB to the port. The path of a packet that meets nothing unusual is written straight down; what is unusual goes to
 * functions of its own.
 *
 *   header check → martians → FIB → (own address, no route: elsewhere) → reach → TTL → MTU → neighbor → MSS → rewrite → port
 *
 * Nothing in the packet changes before it is sure to leave: one that waits for its neighbor is routed anew, and one that is refused is
 * quoted as it came.
 */

import type { Dataplane } from '../dataplane.js';
import {
  DROP_BLACKHOLE,
  DROP_DIRECTED_BROADCAST,
  DROP_HOST_OWNED,
  DROP_INTERFACE_DOWN,
  DROP_IP_CHECKSUM,
  DROP_IP_MALFORMED,
  DROP_IP_OPTIONS,
  DROP_ISOLATED,
  DROP_LINK_BROADCAST,
  DROP_MARTIAN_DESTINATION,
  DROP_NEIGHBOR_INVALID,
  DROP_NO_ROUTE,
  DROP_NONE,
  DROP_PROHIBITED,
  DROP_SOURCE_VALIDATION,
  DROP_TOO_BIG,
  DROP_TTL_EXCEEDED,
  DROP_UNREACHABLE,
} from '../drop.js';
import { NO_FLOW } from '../nat/flow.js';
import type { Flows } from '../nat/flows.js';
import { sumBytes } from '../packet/checksum.js';
import {
  PACKET_IPV4_OPTIONS,
  PACKET_L3_MALFORMED,
  PACKET_REASSEMBLED,
  type Packet,
  TAG_NONE,
} from '../packet/packet.js';
import { VNET_GSO_ECN, VNET_GSO_NONE, VNET_GSO_TCPV4 } from '../packet/vnet.js';
import { ROUTER_PORT } from '../ports.js';
import type { Fdb } from '../switch/fdb.js';
import { ISOLATION_OPEN, mayReach } from '../switch/isolation.js';
import { CONTINUE, DROP, FLOOD_ROUTED, HELD, refuse, TO_PORT } from '../verdict.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../wire/icmp.js';
import {
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_IDENTIFICATION,
  IPV4_SOURCE,
  IPV4_TTL,
  ipv4HeaderLength,
  oneHopLess,
} from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT, IPV6_SOURCE, ipv6HopLimit } from '../wire/ipv6.js';
import { isMapped, MAPPED } from './address.js';
import { fragment4 } from './fragment.js';
import { fragment6 } from './fragment6.js';
import {
  ICMP_ADMIN_PROHIBITED,
  ICMP_FRAGMENTATION_NEEDED,
  ICMP_HOST_UNREACHABLE,
  ICMP_NET_UNREACHABLE,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TTL_EXCEEDED,
} from './icmp.js';
import {
  ICMPV6_ADDRESS_UNREACHABLE,
  ICMPV6_ADMIN_PROHIBITED,
  ICMPV6_BEYOND_SCOPE,
  ICMPV6_HOP_LIMIT_EXCEEDED,
  ICMPV6_NO_ROUTE,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_TIME_EXCEEDED,
  ICMPV6_UNREACHABLE,
} from './icmpv6.js';
import { INTERFACE_HOST, isLinkLocal, type RouterInterface } from './interface.js';
import { destinationReason4, destinationReason6, isLinkLocal4, sourceReason4, sourceReason6 } from './martians.js';
import { clampMss, isTooBig, shrinkSegments } from './mtu.js';
import { Multipath } from './multipath.js';
import { NEIGHBOR_REACHABLE, type Neighbor, type NeighborTable } from './neighbors.js';
import { optionsProblem, processOptions } from './options.js';
import { reachReason } from './reach.js';
import type { Router } from './router.js';
import { Shortcuts } from './shortcuts.js';
import {
  type Hop,
  ROUTE_BLACKHOLE,
  ROUTE_BROADCAST,
  ROUTE_LOCAL,
  ROUTE_PROHIBIT,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
  type Vrf,
} from './vrf.js';

/** Fragments that one packet can become: 65,535 bytes in pieces of 8. */
const MAX_FRAGMENTS = 8192;
/** Bytes that every IPv6 link carries (RFC 8200, 5). */
const IPV6_LEAST_MTU = 1280;
/** 224.0.0.0/4, by the first octet's upper half. */
const MULTICAST4 = 0xe;

export class Forwarder {
  /** Packets that were cut. */
  fragmented = 0;
  private readonly dataplane: Dataplane;
  private readonly router: Router;
  // Of those two, for the fast path: each step on the way to them is a load that waits for the one before.
  readonly shortcuts: Shortcuts;
  private readonly multipath: Multipath;
  private readonly view: DataView;
  private readonly fdb: Fdb;
  private readonly vrfs: readonly (Vrf | null)[];
  private readonly interfaces: readonly (RouterInterface | null)[];
  private readonly neighbors: NeighborTable;
  /** Of our own IPv6 packets; any start is as good (RFC 7739, 5.2: not to be guessed). */
  private identification: number;
  private readonly slots = new Int32Array(MAX_FRAGMENTS);
  /** Set once both are made. */
  flows!: Flows;

  constructor(dataplane: Dataplane, router: Router) {
    this.dataplane = dataplane;
    this.router = router;
    this.identification = router.seed;
    this.shortcuts = new Shortcuts(dataplane.arena.view, dataplane.fdb);
    this.view = dataplane.arena.view;
    this.fdb = dataplane.fdb;
    this.vrfs = router.vrfs;
    this.interfaces = router.interfaces;
    this.neighbors = router.neighbors;
    this.multipath = new Multipath(this.view, this.interfaces, this.neighbors, router.seed);
  }

  // --- IPv4

  /**
   * @param from where it came in
   * @returns a verdict
   */
  receive4(packet: Packet, from: RouterInterface): number {
    const { view } = this;
    const { l3 } = packet;
    if (l3 === -1 || (packet.flags & (PACKET_L3_MALFORMED | PACKET_IPV4_OPTIONS)) !== 0) return this.odd4(packet, from);
    const first = view.getInt32(l3);
    const second = view.getInt32(l3 + 4);
    const third = view.getInt32(l3 + 8);
    const source = view.getInt32(l3 + 12);
    const destination = view.getInt32(l3 + 16);
    if (!isSumRight(first, second, third, source, destination)) return refuse(packet, DROP_IP_CHECKSUM);
    const refusal = sourceReason4(source);
    if (refusal !== DROP_NONE && !isOfHostLink(from, source, destination)) return refuse(packet, refusal);
    if (from.tracking) {
      packet.flow = NO_FLOW;
      return this.flows.receive4(packet, from, source, destination, third);
    }
    const shortcut = this.shortcuts.find4(destination, from.number);
    if (shortcut === null || third >>> 24 <= 1 || isTooBig(view, packet, shortcut.mtu)) {
      packet.flow = NO_FLOW;
      return this.resolve4(packet, from, destination);
    }
    clampMss(view, packet, shortcut.mss);
    view.setInt32(l3 + IPV4_TTL, oneHopLess(third));
    this.shortcuts.apply(shortcut, packet);
    return TO_PORT;
  }

  /** With options, or a header that contradicts itself. */
  private odd4(packet: Packet, from: RouterInterface): number {
    const { view } = this;
    const { l3 } = packet;
    if (l3 === -1 || (packet.flags & PACKET_L3_MALFORMED) !== 0) return refuse(packet, DROP_IP_MALFORMED);
    if (sumBytes(view, l3, ipv4HeaderLength(view, l3)) !== 0xffff) return refuse(packet, DROP_IP_CHECKSUM);
    const refusal = sourceReason4(view.getInt32(l3 + IPV4_SOURCE));
    if (refusal !== DROP_NONE) return refuse(packet, refusal);
    const destination = view.getInt32(l3 + IPV4_DESTINATION);
    packet.flow = NO_FLOW;
    if (!from.tracking) return this.resolve4(packet, from, destination);
    const source = view.getInt32(l3 + IPV4_SOURCE);
    return this.flows.receive4(packet, from, source, destination, view.getInt32(l3 + IPV4_TTL));
  }

  /** The general path: a sound packet that no shortcut fits. @param destination where its flow says that it goes, or its own */
  resolve4(packet: Packet, from: RouterInterface, destination: number): number {
    const refusal = destinationReason4(destination);
    if (refusal !== DROP_NONE && !isAnswerToHost(packet, destination)) return refuse(packet, refusal);
    if (destination >>> 28 === MULTICAST4) return refuse(packet, DROP_LINK_BROADCAST);
    const vrf = this.vrfs[from.vrf] as Vrf;
    if (from.validateSource && !this.isExpected4(vrf, from, this.view.getInt32(packet.l3 + IPV4_SOURCE))) {
      return refuse(packet, DROP_SOURCE_VALIDATION);
    }
    const route = vrf.routes[vrf.fib4.lookup(destination)];
    if (route.kind !== ROUTE_UNICAST) return this.unusual4(packet, from, route, destination);
    const hop = route.hops.length === 1 ? route.hops[0] : this.multipath.choose(route, packet);
    const to = this.interfaces[hop.iface] as RouterInterface;
    if (from.tracking && packet.flow === NO_FLOW) {
      const verdict = this.flows.opener.open(packet, from, to);
      if (verdict !== CONTINUE) return verdict;
    }
    return this.transit4(packet, from, to, hop, destination);
  }

  /** Whether the route to the source leads back to the interface (RFC 3704, 2.2: strict reverse path). */
  private isExpected4(vrf: Vrf, from: RouterInterface, source: number): boolean {
    return leadsTo(vrf.routes[vrf.fib4.lookup(source)], from);
  }

  private unusual4(packet: Packet, from: RouterInterface, route: Route, destination: number): number {
    const { errors } = this.router;
    switch (route.kind) {
      case ROUTE_LOCAL:
        return this.router.local.receive4(packet, from, route.hops[0], destination);
      case ROUTE_BROADCAST:
        return refuse(packet, DROP_DIRECTED_BROADCAST);
      case ROUTE_BLACKHOLE:
        return refuse(packet, DROP_BLACKHOLE);
      case ROUTE_UNREACHABLE:
        errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_HOST_UNREACHABLE, 0);
        return refuse(packet, DROP_UNREACHABLE);
      case ROUTE_PROHIBIT:
        errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_ADMIN_PROHIBITED, 0);
        return refuse(packet, DROP_PROHIBITED);
      default:
        errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_NET_UNREACHABLE, 0);
        return refuse(packet, DROP_NO_ROUTE);
    }
  }

  /** From one interface to another, `hop` being on the second. */
  transit4(packet: Packet, from: RouterInterface, to: RouterInterface, hop: Hop, destination: number): number {
    const { view } = this;
    const { l3 } = packet;
    const refusal = packet.flow === NO_FLOW ? this.admit(from, to) : this.admitFlow(packet, from, to);
    if (refusal !== DROP_NONE) return this.refuse4(packet, from, refusal);
    const word = view.getInt32(l3 + IPV4_TTL);
    if (word >>> 24 <= 1) return this.expired4(packet, from);
    const isBig = isTooBig(view, packet, to.mtu);
    if (isBig && !mayBeCut(view, packet)) return this.tooBig4(packet, from, to);
    const neighbor = this.neighbor4(hop, to.number, hop.onLink ? destination : hop.d);
    if (neighbor === null || neighbor.state !== NEIGHBOR_REACHABLE) {
      const verdict = this.settle(packet, to, neighbor, 0, 0, MAPPED, hop.onLink ? destination : hop.d);
      if (verdict !== TO_PORT) return verdict;
    }
    const usable = neighbor as Neighbor;
    if ((packet.flags & PACKET_IPV4_OPTIONS) !== 0) {
      const reason = this.options4(packet, from, to);
      if (reason !== DROP_NONE) return refuse(packet, reason);
    }
    if (packet.flow !== NO_FLOW) this.flows.translate(packet);
    clampMss(view, packet, from.mtu < to.mtu ? from.mtu : to.mtu);
    // Read again: options and translation change the checksum.
    view.setInt32(l3 + IPV4_TTL, oneHopLess(view.getInt32(l3 + IPV4_TTL)));
    const verdict = this.aim(packet, from, to, usable);
    if (isBig) return verdict === DROP ? DROP : this.cut(packet, to, verdict);
    if (verdict !== TO_PORT) return verdict;
    if (packet.flow !== NO_FLOW) this.noteFlow(packet, from, to, usable);
    else if (hop.isSole && isLasting(from, to, usable)) {
      this.shortcuts.note(from, to, usable, packet.outPort, 0, 0, MAPPED, destination);
    }
    return verdict;
  }

  private neighbor4(hop: Hop, iface: number, address: number): Neighbor | null {
    if (hop.onLink) return this.neighbors.find4(iface, address);
    const known = hop.neighbor;
    if (known !== null && known.iface === iface && known.d === address && isMapped(known.a, known.b, known.c)) {
      return known;
    }
    hop.neighbor = this.neighbors.find4(iface, address);
    return hop.neighbor;
  }

  refuse4(packet: Packet, from: RouterInterface, reason: number): number {
    if (reason === DROP_HOST_OWNED) return refuse(packet, reason);
    const code = reason === DROP_INTERFACE_DOWN ? ICMP_NET_UNREACHABLE : ICMP_ADMIN_PROHIBITED;
    this.router.errors.send4(packet, from, ICMP_UNREACHABLE, code, 0);
    return refuse(packet, reason);
  }

  private expired4(packet: Packet, from: RouterInterface): number {
    this.router.errors.send4(packet, from, ICMP_TIME_EXCEEDED, ICMP_TTL_EXCEEDED, 0);
    return refuse(packet, DROP_TTL_EXCEEDED);
  }

  private tooBig4(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    this.router.errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED, to.mtu);
    return refuse(packet, DROP_TOO_BIG);
  }

  /** Options, in transit to or at `to`. Returns a drop reason, or DROP_NONE. */
  options4(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const vrf = this.vrfs[from.vrf] as Vrf;
    const { view } = this;
    const own = to.source4(0);
    const result = processOptions(view, packet, own, this.router.timeOfDay, vrf.recordRoute, vrf.timestamp);
    if (result === DROP_NONE) return DROP_NONE;
    const { pointer } = optionsProblem;
    if (pointer >= 0) this.router.errors.send4(packet, from, ICMP_PARAMETER_PROBLEM, 0, pointer << 24);
    return DROP_IP_OPTIONS;
  }

  /**
   * A packet that is larger than the MTU and may be cut: what the kernel has not segmented yet is to be segmented smaller, the rest goes
   * as fragments. Of IPv6 only packets of our own are cut (RFC 8200, 4.5).
   */
  cut(packet: Packet, to: RouterInterface, verdict: number): number {
    const { arena, counters } = this.dataplane;
    if (packet.gsoType !== 0) {
      return shrinkSegments(arena, packet, to.mtu) ? verdict : refuse(packet, DROP_TOO_BIG);
    }
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    if (isIpv4 && packet.flow !== NO_FLOW && this.flows.hidesSource(packet)) this.identify4(packet);
    const count = isIpv4
      ? fragment4(arena, packet, to.mtu, this.slots)
      : fragment6(arena, packet, sizeOfFragments6(packet, to), this.slots, ++this.identification | 0);
    if (count < 0) return DROP;
    this.fragmented++;
    counters.copied(packet.port, count - 1);
    for (let i = 0; i < count; i++) {
      const fragment = arena.packets[this.slots[i]];
      fragment.outPort = packet.outPort;
      this.dataplane.sendRouted(fragment, verdict);
    }
    arena.release(packet.slot);
    return HELD;
  }

  /** Another identification: those who share an address do not know each other's (RFC 6864, 5.3.1; RFC 7857, 10). */
  private identify4(packet: Packet): void {
    this.identification = (this.identification + 1) | 0;
    this.view.setUint16(packet.l3 + IPV4_IDENTIFICATION, this.identification & 0xffff);
  }

  // --- IPv6

  receive6(packet: Packet, from: RouterInterface): number {
    const { view } = this;
    const { l3 } = packet;
    if (l3 === -1 || (packet.flags & PACKET_L3_MALFORMED) !== 0) return refuse(packet, DROP_IP_MALFORMED);
    const a = view.getInt32(l3 + IPV6_DESTINATION);
    const b = view.getInt32(l3 + IPV6_DESTINATION + 4);
    const c = view.getInt32(l3 + IPV6_DESTINATION + 8);
    const d = view.getInt32(l3 + IPV6_DESTINATION + 12);
    if (isLinkLocal(a)) return this.linkLocal6(packet, from, a, b, c, d);
    const refusal = this.check6(packet, a, b, c, d);
    if (refusal !== DROP_NONE) return refuse(packet, refusal);
    const hopLimit = ipv6HopLimit(view, l3);
    packet.flow = NO_FLOW;
    if (from.tracking) return this.receiveTracked6(packet, from, hopLimit);
    const shortcut = this.shortcuts.find6(a, b, c, d, from.number);
    if (shortcut === null || hopLimit <= 1 || isTooBig(view, packet, shortcut.mtu)) {
      return this.resolve6(packet, from, a, b, c, d);
    }
    if (isLinkLocal(view.getInt32(l3 + IPV6_SOURCE))) return this.beyondScope6(packet, from);
    clampMss(view, packet, shortcut.mss);
    view.setUint8(l3 + IPV6_HOP_LIMIT, hopLimit - 1);
    this.shortcuts.apply(shortcut, packet);
    return TO_PORT;
  }

  private receiveTracked6(packet: Packet, from: RouterInterface, hopLimit: number): number {
    if (isLinkLocal(this.view.getInt32(packet.l3 + IPV6_SOURCE))) return this.untracked6(packet, from);
    return this.flows.receive6(packet, from, hopLimit);
  }

  /** From an address that means something on its link only: no connection reaches beyond it. */
  private untracked6(packet: Packet, from: RouterInterface): number {
    const { view } = this;
    const at = packet.l3 + IPV6_DESTINATION;
    const a = view.getInt32(at);
    return this.resolve6(packet, from, a, view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
  }

  resolve6(packet: Packet, from: RouterInterface, a: number, b: number, c: number, d: number): number {
    const { view } = this;
    const { l3 } = packet;
    const vrf = this.vrfs[from.vrf] as Vrf;
    if (from.validateSource && !this.isExpected6(vrf, from, l3)) return refuse(packet, DROP_SOURCE_VALIDATION);
    const route = vrf.routes[vrf.fib6.lookup(a, b, c, d)];
    if (route.kind !== ROUTE_UNICAST) return this.unusual6(packet, from, route, a, b, c, d);
    // Beyond the link that gives such a source its meaning it names nobody (RFC 4291, 2.5.6).
    if (isLinkLocal(view.getInt32(l3 + IPV6_SOURCE))) return this.beyondScope6(packet, from);
    const hop = route.hops.length === 1 ? route.hops[0] : this.multipath.choose(route, packet);
    const to = this.interfaces[hop.iface] as RouterInterface;
    if (from.tracking && packet.flow === NO_FLOW) {
      const verdict = this.flows.opener.open(packet, from, to);
      if (verdict !== CONTINUE) return verdict;
    }
    return this.transit6(packet, from, to, hop, a, b, c, d);
  }

  private check6(packet: Packet, a: number, b: number, c: number, d: number): number {
    const { view } = this;
    if (a >>> 24 === 0xff) return DROP_LINK_BROADCAST;
    const at = packet.l3 + IPV6_SOURCE;
    const source = view.getInt32(at);
    if (!isLinkLocal(source)) {
      const reason = sourceReason6(source, view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
      // Duplicate address detection asks from nowhere; whether that is one, neighbor discovery sees (RFC 4862, 5.4.2).
      if (reason !== DROP_NONE) return reason;
    }
    return destinationReason6(a, b, c, d);
  }

  private isExpected6(vrf: Vrf, from: RouterInterface, l3: number): boolean {
    const { view } = this;
    const at = l3 + IPV6_SOURCE;
    const a = view.getInt32(at);
    if (isLinkLocal(a)) return true;
    const value = vrf.fib6.lookup(a, view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
    return leadsTo(vrf.routes[value], from);
  }

  private linkLocal6(packet: Packet, from: RouterInterface, a: number, b: number, c: number, d: number): number {
    if (!from.owns6(a, b, c, d)) return refuse(packet, DROP_MARTIAN_DESTINATION);
    return this.router.local.receiveLinkLocal(packet, from);
  }

  private beyondScope6(packet: Packet, from: RouterInterface): number {
    this.router.errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_BEYOND_SCOPE, 0);
    return refuse(packet, DROP_MARTIAN_DESTINATION);
  }

  private unusual6(
    packet: Packet,
    from: RouterInterface,
    route: Route,
    a: number,
    b: number,
    c: number,
    d: number,
  ): number {
    const { errors } = this.router;
    switch (route.kind) {
      case ROUTE_LOCAL:
        return this.router.local.receive6(packet, from, route.hops[0], a, b, c, d);
      case ROUTE_BLACKHOLE:
        return refuse(packet, DROP_BLACKHOLE);
      case ROUTE_UNREACHABLE:
        errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_ADDRESS_UNREACHABLE, 0);
        return refuse(packet, DROP_UNREACHABLE);
      case ROUTE_PROHIBIT:
        errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_ADMIN_PROHIBITED, 0);
        return refuse(packet, DROP_PROHIBITED);
      default:
        errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, 0);
        return refuse(packet, DROP_NO_ROUTE);
    }
  }

  transit6(
    packet: Packet,
    from: RouterInterface,
    to: RouterInterface,
    hop: Hop,
    a: number,
    b: number,
    c: number,
    d: number,
  ): number {
    const { view } = this;
    const { l3 } = packet;
    const refusal = packet.flow === NO_FLOW ? this.admit(from, to) : this.admitFlow(packet, from, to);
    if (refusal !== DROP_NONE) return this.refuse6(packet, from, refusal);
    const hopLimit = ipv6HopLimit(view, l3);
    if (hopLimit <= 1) return this.expired6(packet, from);
    // What came in fragments leaves in fragments, which no link refuses: nobody has asked for whole packets of that size.
    const isCut = (packet.flags & PACKET_REASSEMBLED) !== 0 && packet.l3End - packet.l3 > IPV6_LEAST_MTU;
    if (!isCut && isTooBig(view, packet, to.mtu)) return this.tooBig6(packet, from, to);
    const neighbor = this.neighbor6(hop, to.number, a, b, c, d);
    if (neighbor === null || neighbor.state !== NEIGHBOR_REACHABLE) {
      const verdict = hop.onLink
        ? this.settle(packet, to, neighbor, a, b, c, d)
        : this.settle(packet, to, neighbor, hop.a, hop.b, hop.c, hop.d);
      if (verdict !== TO_PORT) return verdict;
    }
    if (packet.flow !== NO_FLOW) this.flows.translate(packet);
    clampMss(view, packet, from.mtu < to.mtu ? from.mtu : to.mtu);
    view.setUint8(l3 + IPV6_HOP_LIMIT, hopLimit - 1);
    const usable = neighbor as Neighbor;
    const verdict = this.aim(packet, from, to, usable);
    if (isCut) return verdict === DROP ? DROP : this.cut(packet, to, verdict);
    if (verdict !== TO_PORT) return verdict;
    if (packet.flow !== NO_FLOW) this.noteFlow(packet, from, to, usable);
    else if (hop.isSole && isLasting(from, to, usable)) {
      this.shortcuts.note(from, to, usable, packet.outPort, a, b, c, d);
    }
    return verdict;
  }

  private neighbor6(hop: Hop, iface: number, a: number, b: number, c: number, d: number): Neighbor | null {
    if (hop.onLink) return this.neighbors.find6(iface, a, b, c, d);
    const known = hop.neighbor;
    if (known !== null && known.iface === iface && known.d === hop.d && known.c === hop.c) {
      if (known.b === hop.b && known.a === hop.a) return known;
    }
    hop.neighbor = this.neighbors.find6(iface, hop.a, hop.b, hop.c, hop.d);
    return hop.neighbor;
  }

  refuse6(packet: Packet, from: RouterInterface, reason: number): number {
    if (reason === DROP_HOST_OWNED) return refuse(packet, reason);
    const code = reason === DROP_INTERFACE_DOWN ? ICMPV6_NO_ROUTE : ICMPV6_ADMIN_PROHIBITED;
    this.router.errors.send6(packet, from, ICMPV6_UNREACHABLE, code, 0);
    return refuse(packet, reason);
  }

  private expired6(packet: Packet, from: RouterInterface): number {
    this.router.errors.send6(packet, from, ICMPV6_TIME_EXCEEDED, ICMPV6_HOP_LIMIT_EXCEEDED, 0);
    return refuse(packet, DROP_TTL_EXCEEDED);
  }

  private tooBig6(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    this.router.errors.send6(packet, from, ICMPV6_PACKET_TOO_BIG, 0, to.mtu);
    return refuse(packet, DROP_TOO_BIG);
  }

  // --- both

  /** Whether a packet may go from one interface to the other. Returns a drop reason, or DROP_NONE. */
  admit(from: RouterInterface, to: RouterInterface): number {
    if (!to.up) return DROP_INTERFACE_DOWN;
    // What came to the host's MAC and is to leave there again is for the host to forward, or not.
    if (from === to) return from.shared ? DROP_HOST_OWNED : DROP_NONE;
    return reachReason(this.vrfs[from.vrf] as Vrf, from, to);
  }

  /** A packet of a flow: who was let through in spite of what the networks say still is. */
  private admitFlow(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const reason = this.admit(from, to);
    return reason !== DROP_NONE && this.flows.isInvited(packet.flow, reason) ? DROP_NONE : reason;
  }

  /**
   * The neighbor is not there, or not known to be reachable.
   * @returns TO_PORT: its MAC is good to go on with; else the verdict
   */
  private settle(
    packet: Packet,
    to: RouterInterface,
    neighbor: Neighbor | null,
    a: number,
    b: number,
    c: number,
    d: number,
  ): number {
    const { neighbors } = this;
    if (neighbor?.isUsable === true) {
      neighbors.use(neighbor);
      return TO_PORT;
    }
    const verdict = neighbors.resolve(to, a, b, c, d, packet);
    // Those that waited were told when it failed; so is who comes while that is remembered.
    if (verdict === DROP) this.router.explain(packet);
    return verdict;
  }

  /** The next packet of the flow may go the same way unseen. */
  private noteFlow(packet: Packet, from: RouterInterface, to: RouterInterface, neighbor: Neighbor): void {
    if (isLasting(from, to, neighbor)) this.flows.notePath(packet, from, to, neighbor);
  }

  /** The new Ethernet header, the domain and the port. TO_PORT, FLOOD_ROUTED, or DROP. */
  aim(packet: Packet, from: RouterInterface, to: RouterInterface, neighbor: Neighbor): number {
    const { fdb, view } = this;
    const { ports } = this.dataplane;
    const start = packet.l3 - ETHERNET_HEADER_LENGTH;
    // The EtherType is there, be a tag taken out or not. Words, since the octets of two MACs one by one take twice as long.
    view.setInt32(start, (neighbor.macHigh << 16) | (neighbor.macLow >>> 16));
    view.setInt32(start + 4, (neighbor.macLow << 16) | to.macHigh);
    view.setInt32(start + 8, to.macLow);
    // Padding of the last link stays behind (RFC 1812, 5.2.2).
    packet.length = packet.l3End - start;
    packet.domain = to.fid;
    packet.tag = TAG_NONE;
    packet.vlan = -1;
    if (to.port !== 0) {
      packet.outPort = to.port;
      neighbor.fdbEpoch = fdb.epoch;
      return TO_PORT;
    }
    if (neighbor.fdbEpoch !== fdb.epoch) {
      const port = fdb.search((to.fid << 16) | neighbor.macHigh, neighbor.macLow);
      if (port === 0) return this.floodTo(packet, from, to);
      if (port === ROUTER_PORT) return refuse(packet, DROP_NEIGHBOR_INVALID);
      neighbor.outPort = port;
      neighbor.fdbEpoch = fdb.epoch;
    }
    packet.outPort = neighbor.outPort;
    if (from === to && !mayReach(ports[packet.port].isolation, ports[neighbor.outPort].isolation)) {
      return refuse(packet, DROP_ISOLATED);
    }
    return TO_PORT;
  }

  /** Nobody knows behind which port the MAC is. An isolated endpoint reaches its like by no detour. */
  private floodTo(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const isIsolated = this.dataplane.ports[packet.port].isolation !== ISOLATION_OPEN;
    return from === to && isIsolated ? refuse(packet, DROP_ISOLATED) : FLOOD_ROUTED;
  }
}

/**
 * Whether the checksum of an IPv4 header without options is right, from its five words: the sum of their halves is all ones then (RFC 1071).
 * Written out, since the sum over any number of bytes takes 20 ns, and this 4.
 */
function isSumRight(a: number, b: number, c: number, d: number, e: number): boolean {
  const upper = (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16);
  const sum = upper + (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return ((sum + (sum >>> 16)) & 0xffff) === 0xffff;
}

/** Whether a packet that is too big may go on in pieces: as fragments, or, if TCP that is not segmented yet, in smaller segments. */
function mayBeCut(view: DataView, packet: Packet): boolean {
  // The pieces fit: that is all that is asked for where the packet came in pieces.
  if ((packet.flags & PACKET_REASSEMBLED) !== 0) return true;
  if ((view.getUint16(packet.l3 + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) !== 0) return false;
  return packet.gsoType === VNET_GSO_NONE || (packet.gsoType & ~VNET_GSO_ECN) === VNET_GSO_TCPV4;
}

function sizeOfFragments6(packet: Packet, to: RouterInterface): number {
  return (packet.flags & PACKET_REASSEMBLED) !== 0 ? IPV6_LEAST_MTU : to.mtu;
}

/** Whether the next packet to the same destination may go the same way unseen. */
function isLasting(from: RouterInterface, to: RouterInterface, neighbor: Neighbor): boolean {
  return from !== to && !from.validateSource && neighbor.state === NEIGHBOR_REACHABLE;
}

/** The router's own addresses, and broadcasts, lead nowhere: nobody behind an interface speaks from them. */
function leadsTo(route: Route, iface: RouterInterface): boolean {
  return route.kind === ROUTE_UNICAST && route.hops.some((hop) => hop.iface === iface.number);
}

/** What the host sends from its end of the host port to the router's, where published ports are: it goes on with other addresses. */
function isOfHostLink(from: RouterInterface, source: number, destination: number): boolean {
  return from.kind === INTERFACE_HOST && isLinkLocal4(source) && isLinkLocal4(destination);
}

/** Connections with link-local addresses begin at the host port only. */
function isAnswerToHost(packet: Packet, destination: number): boolean {
  return packet.flow !== NO_FLOW && isLinkLocal4(destination);
}
