/**
 * Packets to an address of the router: echo requests are answered here. What else comes is for the host, where the network has access to
 * it (the host has the gateway's address on its own side); else there is nobody who takes it, and the sender is told.
 */

import type { Dataplane } from '../dataplane.js';
import {
  DROP_HOST_ACCESS,
  DROP_HOST_OWNED,
  DROP_ICMP_INVALID,
  DROP_MARTIAN_SOURCE,
  DROP_NEIGHBOR_INVALID,
  DROP_NONE,
  DROP_NOT_LISTENING,
} from '../drop.js';
import { NO_FLOW } from '../nat/flow.js';
import { PACKET_FRAGMENT, PACKET_IPV4_OPTIONS, PACKET_REASSEMBLED, type Packet, TAG_NONE } from '../packet/packet.js';
import { CONTINUE, DROP, refuse, TO_PORT } from '../verdict.js';
import { ETHERNET_HEADER_LENGTH, setEthernetHeader } from '../wire/ethernet.js';
import { ICMP_ECHO_REQUEST, ICMP_UNREACHABLE, icmpType } from '../wire/icmp.js';
import {
  ICMPV6_ECHO_REQUEST,
  icmpv6Type,
  ND_REDIRECT,
  ND_ROUTER_SOLICITATION,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import { ipv4Source, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { parse } from '../wire/parse.js';
import { fragmentProblem } from './fragment-header.js';
import { ICMP_ADMIN_PROHIBITED, ICMP_PORT_UNREACHABLE, ICMP_PROTOCOL_UNREACHABLE, replyEcho4 } from './icmp.js';
import {
  ICMPV6_ADMIN_PROHIBITED,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_PORT_UNREACHABLE,
  ICMPV6_UNREACHABLE,
  replyEcho6,
} from './icmpv6.js';
import type { RouterInterface } from './interface.js';
import { reachReason } from './reach.js';
import { COMPLETE } from './reassembly.js';
import type { Router } from './router.js';
import type { Hop, Vrf } from './vrf.js';

export class LocalDelivery {
  /** Datagrams to the router whose fragments were all there. */
  reassembled = 0;
  private readonly dataplane: Dataplane;
  private readonly router: Router;
  /** The packet in hand came in fragments. */
  private isAssembled = false;

  constructor(dataplane: Dataplane, router: Router) {
    this.dataplane = dataplane;
    this.router = router;
  }

  /** @param at names the interface that has the address */
  receive4(packet: Packet, from: RouterInterface, at: Hop, destination: number): number {
    const owner = this.router.interfaces[at.iface] as RouterInterface;
    const reason = this.refusal(from, owner);
    if (reason !== DROP_NONE) {
      if (reason !== DROP_HOST_OWNED)
        this.router.errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_ADMIN_PROHIBITED, 0);
      return refuse(packet, reason);
    }
    if (packet.protocol === PROTOCOL_ICMP && !owner.shared) {
      if ((packet.flags & PACKET_FRAGMENT) !== 0) return this.assemble(packet, from);
      if (packet.l4 === -1) return refuse(packet, DROP_ICMP_INVALID);
      if (icmpType(this.dataplane.arena.view, packet.l4) === ICMP_ECHO_REQUEST)
        return this.echo4(packet, from, owner, destination);
      if (!owner.hostAccess) return refuse(packet, DROP_ICMP_INVALID);
    }
    const host = owner.hostAccess || owner.shared ? this.hostOf(from) : null;
    if (host !== null) return this.toHost4(packet, from, host, destination);
    const refused = this.options4(packet, from, owner);
    if (refused !== DROP_NONE) return refuse(packet, refused);
    const isPorts = packet.protocol === PROTOCOL_UDP || packet.protocol === PROTOCOL_TCP;
    const code = isPorts ? ICMP_PORT_UNREACHABLE : ICMP_PROTOCOL_UNREACHABLE;
    this.router.errors.send4(packet, from, ICMP_UNREACHABLE, code, 0);
    return refuse(packet, DROP_NOT_LISTENING);
  }

  receive6(packet: Packet, from: RouterInterface, at: Hop, a: number, b: number, c: number, d: number): number {
    const owner = this.router.interfaces[at.iface] as RouterInterface;
    const reason = this.refusal(from, owner);
    if (reason !== DROP_NONE) {
      if (reason !== DROP_HOST_OWNED)
        this.router.errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_ADMIN_PROHIBITED, 0, true);
      return refuse(packet, reason);
    }
    const host = owner.hostAccess || owner.shared ? this.hostOf(from) : null;
    if (host === null && (packet.flags & PACKET_FRAGMENT) !== 0) return this.assemble(packet, from);
    if (packet.protocol === PROTOCOL_ICMPV6 && !owner.shared) return this.icmp6(packet, from, host, a, b, c, d);
    if (host !== null) return this.toHost6(packet, from, host, a, b, c, d);
    return this.nobody6(packet, from);
  }

  /** To the interface's own link-local address, which the host has no part in. */
  receiveLinkLocal(packet: Packet, from: RouterInterface): number {
    if (from.shared && !isDiscovery(this.dataplane.arena.view, packet)) return refuse(packet, DROP_HOST_OWNED);
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return this.assemble(packet, from);
    const own = from.linkLocal;
    if (packet.protocol === PROTOCOL_ICMPV6) return this.icmp6(packet, from, null, own[0], own[1], own[2], own[3]);
    return this.nobody6(packet, from);
  }

  private icmp6(
    packet: Packet,
    from: RouterInterface,
    host: Hop | null,
    a: number,
    b: number,
    c: number,
    d: number,
  ): number {
    const { view } = this.dataplane.arena;
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return this.assemble(packet, from);
    if (packet.l4 === -1) return refuse(packet, DROP_ICMP_INVALID);
    if (isDiscovery(view, packet)) return this.discover(packet, from);
    const reason = this.router.examine6(packet, from);
    if (reason !== DROP_NONE) return refuse(packet, reason);
    if (icmpv6Type(view, packet.l4) === ICMPV6_ECHO_REQUEST) return this.echo6(packet, from, a, b, c, d);
    if (host !== null) return this.toHost6(packet, from, host, a, b, c, d);
    return refuse(packet, DROP_ICMP_INVALID);
  }

  /** A message to the interface's MAC. */
  private discover(packet: Packet, from: RouterInterface): number {
    // One that came in fragments is to be ignored (RFC 6980, 5).
    if (this.isAssembled) return refuse(packet, DROP_NEIGHBOR_INVALID);
    const verdict = this.router.discovery.receive(packet, from);
    return verdict === CONTINUE ? refuse(packet, from.shared ? DROP_HOST_OWNED : DROP_NEIGHBOR_INVALID) : verdict;
  }

  private nobody6(packet: Packet, from: RouterInterface): number {
    const reason = this.router.examine6(packet, from);
    if (reason !== DROP_NONE) return refuse(packet, reason);
    this.router.errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_PORT_UNREACHABLE, 0, true);
    return refuse(packet, DROP_NOT_LISTENING);
  }

  /** Why nobody behind `from` may speak to an address of `owner`; DROP_NONE. */
  private refusal(from: RouterInterface, owner: RouterInterface): number {
    if (owner.shared) {
      // The host's stack gets what is for the host by itself; others reach it through the host port.
      if (from === owner) return DROP_HOST_OWNED;
      return from.hostAccess ? DROP_NONE : DROP_HOST_ACCESS;
    }
    return reachReason(this.router.vrfs[from.vrf] as Vrf, from, owner);
  }

  /** The way to the host, where there is one. */
  private hostOf(from: RouterInterface): Hop | null {
    return (this.router.vrfs[from.vrf] as Vrf).host;
  }

  private toHost4(packet: Packet, from: RouterInterface, hop: Hop, destination: number): number {
    const host = this.router.interfaces[hop.iface] as RouterInterface;
    const verdict = this.openToHost(packet, from, host);
    return verdict === CONTINUE ? this.router.forwarder.transit4(packet, from, host, hop, destination) : verdict;
  }

  private toHost6(packet: Packet, from: RouterInterface, hop: Hop, a: number, b: number, c: number, d: number): number {
    const host = this.router.interfaces[hop.iface] as RouterInterface;
    const verdict = this.openToHost(packet, from, host);
    return verdict === CONTINUE ? this.router.forwarder.transit6(packet, from, host, hop, a, b, c, d) : verdict;
  }

  /** A connection to the host is tracked as any other. */
  private openToHost(packet: Packet, from: RouterInterface, host: RouterInterface): number {
    if (!(this.router.vrfs[from.vrf] as Vrf).tracking || packet.flow !== NO_FLOW) return CONTINUE;
    return this.router.flows.opener.openToHost(packet, from, host);
  }

  assemble(packet: Packet, from: RouterInterface): number {
    const { domain, network } = packet;
    const verdict = this.router.reassembly.receive(packet, this.router.now);
    if (verdict === DROP && fragmentProblem.code >= 0) {
      const { code, pointer } = fragmentProblem;
      this.router.errors.send6(packet, from, ICMPV6_PARAMETER_PROBLEM, code, pointer, true);
    }
    if (verdict !== COMPLETE) return verdict;
    this.reassembled++;
    parse(this.dataplane.arena, packet);
    packet.flags |= PACKET_REASSEMBLED;
    packet.domain = domain;
    packet.network = network;
    packet.tag = TAG_NONE;
    this.isAssembled = true;
    try {
      return this.router.receive(packet, from);
    } finally {
      this.isAssembled = false;
    }
  }

  /**
   * Options of a packet that ends here. Only then: one that waits for its other fragments, or for the host's MAC, comes by again, and would
   * have the address noted twice. Returns a drop reason, or DROP_NONE.
   */
  private options4(packet: Packet, from: RouterInterface, owner: RouterInterface): number {
    return (packet.flags & PACKET_IPV4_OPTIONS) === 0 ? DROP_NONE : this.router.forwarder.options4(packet, from, owner);
  }

  private echo4(packet: Packet, from: RouterInterface, owner: RouterInterface, destination: number): number {
    if (from.isBroadcast4(ipv4Source(this.dataplane.arena.view, packet.l3))) return refuse(packet, DROP_MARTIAN_SOURCE);
    const refused = this.options4(packet, from, owner);
    if (refused !== DROP_NONE) return refuse(packet, refused);
    const reason = replyEcho4(this.dataplane.arena, packet, destination);
    return reason === DROP_NONE ? this.answer(packet, from) : refuse(packet, reason);
  }

  /** An echo request to a group is answered from an address of the interface (RFC 4443, 4.2). Takes over the slot. */
  answerGroup(packet: Packet, from: RouterInterface): void {
    const { view } = this.dataplane.arena;
    const at = packet.l3 + IPV6_SOURCE;
    const own = from.source6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
    const words = own < 0 ? from.linkLocal : from.addresses6;
    const i = Math.max(own, 0);
    const { arena } = this.dataplane;
    if (replyEcho6(arena, packet, words[i], words[i + 1], words[i + 2], words[i + 3]) === DROP_NONE)
      this.dataplane.sendRouted(packet, this.turn(packet, from));
    else this.dataplane.arena.release(packet.slot);
  }

  private echo6(packet: Packet, from: RouterInterface, a: number, b: number, c: number, d: number): number {
    const reason = replyEcho6(this.dataplane.arena, packet, a, b, c, d);
    return reason === DROP_NONE ? this.answer(packet, from) : refuse(packet, reason);
  }

  /**
   * A request that has become its reply in place goes back the way it came. The request was taken in; the reply is a packet of our own in
   * the same slot.
   */
  private answer(packet: Packet, from: RouterInterface): number {
    this.dataplane.counters.local(packet.port);
    return this.turn(packet, from);
  }

  /** Sends a reply to where its request came from. A verdict. */
  private turn(packet: Packet, from: RouterInterface): number {
    const { view } = this.dataplane.arena;
    const start = packet.l3 - ETHERNET_HEADER_LENGTH;
    setEthernetHeader(view, start, packet.srcHigh, packet.srcLow, from.macHigh, from.macLow, packet.etherType);
    packet.length = packet.l3End - start;
    packet.outPort = packet.port;
    this.dataplane.counters.originated(packet.port);
    return packet.l3End - packet.l3 > from.mtu ? this.router.forwarder.cut(packet, from, TO_PORT) : TO_PORT;
  }
}

/** Neighbor discovery, by its type (RFC 4861, 4). */
function isDiscovery(view: DataView, packet: Packet): boolean {
  if (packet.protocol !== PROTOCOL_ICMPV6 || packet.l4 === -1) return false;
  const type = icmpv6Type(view, packet.l4);
  return type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT;
}
