/**
 * One dataplane: the tables, and the path of a packet through them.
 *
 *   rx → coalesce → parse → admit → VLAN → port security → learn → storm control → snooping | forward → to a port | to a group | flood | drop
 *                                                                                          → to the router → to a port | flood | drop
 *   rx on an uplink → parse → VXLAN: the inner frame begins anew, on the port of its VTEP
 *
 * `process` runs one packet to completion. Every packet leaves by exactly one door (`send`, `sendToGroup`, `flood`, `drop`, `takeIn`),
 * each of which counts it and gives up its slot; so rx + originated + copies = tx + local + drops. Only the router may hold one back.
 */

import { Counters } from './counters.js';
import {
  DROP_FDB_FULL,
  DROP_INTERFACE_DOWN,
  DROP_INTERNAL_ERROR,
  DROP_ISOLATED,
  DROP_MAC_LIMIT,
  DROP_NO_DESTINATION,
  DROP_NO_SLOT,
  DROP_NONE,
  DROP_OTHER_HOST,
  DROP_PORT_GONE,
  DROP_PORT_UNBOUND,
  DROP_QUARANTINED,
  DROP_RX_REJECTED,
  DROP_SNOOPED,
  DROP_SOURCE_MAC,
  DROP_STATIC_MAC,
  DROP_VNET_HEADER,
} from './drop.js';
import { EVENT_FDB_FULL, EVENT_MAC_FLAPPING, EVENT_MAC_MOVED, EventList } from './events.js';
import { BridgeFilter } from './nat/bridge-filter.js';
import { flowAddressBytes, flowTableBytes } from './nat/flow-table.js';
import type { FlowMemory } from './nat/flows.js';
import { LOOK_AHEAD } from './nat/look-ahead.js';
import { COALESCE_NONE, Coalescer, type CoalescerSink } from './offload/coalesce.js';
import { PlainFrames } from './offload/plain.js';
import type { Arena } from './packet/arena.js';
import { copyPacket } from './packet/copy.js';
import { type Packet, TAG_NONE } from './packet/packet.js';
import { type Domain, MAX_PORTS, Port, ROUTER_PORT } from './ports.js';
import type { RouterInterface } from './router/interface.js';
import { Router } from './router/router.js';
import { admit, isBroadcast, isGroupDestination } from './switch/admit.js';
import { Fdb, LEARN_BOUND, LEARN_FULL, LEARN_KNOWN, LEARN_LIMIT, LEARN_MOVED } from './switch/fdb.js';
import { FlapDetector } from './switch/flaps.js';
import { forward } from './switch/forward.js';
import { ISOLATION_OPEN, mayReach } from './switch/isolation.js';
import { inspect, type PortSecurity, SECURITY_STRICT } from './switch/port-security.js';
import { classify, egressVid, isStacked, presentVid, setVid } from './switch/vlan.js';
import { HashTable } from './tables/hash.js';
import { Topology } from './topology.js';
import {
  CONTINUE,
  DROP,
  FLOOD,
  FLOOD_ROUTED,
  LOCAL,
  refuse,
  TO_GROUP,
  TO_PORT,
  TO_ROUTER,
  TO_TUNNEL,
} from './verdict.js';
import { Vxlan } from './vxlan/vxlan.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, setEthernetHeader } from './wire/ethernet.js';
import { parse } from './wire/parse.js';

/** Where frames leave: an engine, or a recorder in tests. */
export interface Transmitter {
  /** Takes over one reference on the slot. */
  transmit(port: number, slot: number): void;
}

/** Sees packets pass, for captures. Must not change or keep them. */
export interface Observer {
  received(packet: Packet): void;
  transmitted(port: number, packet: Packet): void;
}

export interface DataplaneOptions {
  readonly arena: Arena;
  readonly transmitter: Transmitter;
  /** COUNTER_BLOCK float64 for each of MAX_PORTS ports. */
  readonly counters: Float64Array;
  /** fdbWords(fdbCapacity) int32. */
  readonly fdbWords: Int32Array;
  readonly fdbCapacity: number;
  /** Places of the FDB that only static entries may take. */
  readonly fdbReserve?: number;
  /** GENERATION_WORDS int32, kept together with fdbWords. */
  readonly generations: Int32Array;
  /** Any int32 from a random source. */
  readonly seed: number;
  /** Seconds, as `now` will go on. */
  readonly now?: number;
  /** Memory for connections; a small one of its own where none is given. */
  readonly flows?: FlowMemory;
}

/** Connections of a dataplane that is given no memory for them. */
const PRIVATE_FLOWS = 4096;

function privateFlows(): FlowMemory {
  const words = new Int32Array(flowTableBytes(PRIVATE_FLOWS) / 4);
  const addresses6 = new Int32Array(flowAddressBytes(PRIVATE_FLOWS) / 4);
  return { words, addresses6, capacity: PRIVATE_FLOWS };
}

/** Bytes below which a frame of a port in segments is none of a bulk. */
const SHORT_FRAME = 256;

/** Seconds between two reports of one network's FDB being full. */
const FULL_REPORT = 60;

export class Dataplane implements CoalescerSink {
  readonly arena: Arena;
  readonly counters: Counters;
  readonly fdb: Fdb;
  readonly ports: Port[] = [];
  /** Ports, networks, VLANs, mirrors and quarantine: all that is configured or changes seldom. */
  readonly topology: Topology;
  readonly router: Router;
  readonly vxlan: Vxlan;
  private readonly filter: BridgeFilter;
  private readonly coalescer: Coalescer;
  private readonly plain: PlainFrames;
  readonly events = new EventList();
  /** Seconds and milliseconds (int32, wraps); the caller sets both once a batch. */
  now = 0;
  milliseconds = 0;

  /** What a stage threw last, for the supervisor to report; null once reported. */
  lastError: unknown = null;

  private readonly domains: (Domain | null)[] = [null];
  private readonly flaps = new FlapDetector();
  private readonly transmitter: Transmitter;
  private observer: Observer | null = null;
  /** Ports that the packet in hand goes to, where they are chosen one by one; and another list, for what a tunnel makes of it. */
  private targets = new Int32Array(MAX_PORTS);
  private tunnelTargets = new Int32Array(MAX_PORTS);

  constructor(options: DataplaneOptions) {
    this.arena = options.arena;
    this.transmitter = options.transmitter;
    this.now = options.now ?? 0;
    this.counters = new Counters(options.counters);
    for (let id = 0; id < MAX_PORTS; id++) this.ports.push(new Port(id));
    const table = new HashTable(options.fdbWords, options.fdbCapacity, options.seed);
    this.fdb = new Fdb(table, options.generations, this.ports, this.domains, options.fdbReserve);
    this.topology = new Topology(this, this.domains, options.seed);
    this.router = new Router(this, options.seed, options.flows ?? privateFlows());
    this.coalescer = new Coalescer(this.arena, this, SHORT_FRAME);
    this.plain = new PlainFrames(this.arena);
    this.vxlan = new Vxlan(this, options.seed, this.coalescer);
    this.filter = new BridgeFilter(this.router.flows, this.arena.view);
    // Nothing is ever sent to it: frames for it are handed to the router before.
    this.ports[ROUTER_PORT].live = true;
    // Gateways that a predecessor on the same memory had are no longer.
    this.fdb.endPort(this.ports[ROUTER_PORT]);
  }

  observe(observer: Observer | null): void {
    this.observer = observer;
  }

  // --- the path of a packet

  /** Takes over the references on slots that ports have filled, in their order. */
  processBatch(slots: Int32Array, count: number): void {
    const { lookAhead } = this.router.flows;
    for (let from = 0; from < count; from += LOOK_AHEAD) {
      const to = from + LOOK_AHEAD < count ? from + LOOK_AHEAD : count;
      if (lookAhead.isUseful) lookAhead.read(slots, from, to);
      for (let i = from; i < to; i++) this.take(slots[i]);
    }
    if (this.coalescer.held > 0) this.coalescer.flush();
  }

  /** A packet of a batch: segments that follow each other become one packet first, where the port gives them one by one. */
  private take(slot: number): void {
    const packet = this.arena.packets[slot];
    const { coalesces } = this.ports[packet.port];
    if (coalesces === COALESCE_NONE) this.run(slot);
    else this.coalescer.add(packet, coalesces);
  }

  /** For the coalescer. */
  coalesced(packet: Packet): void {
    this.run(packet.slot);
  }

  /** The interface of the router that a port's packets come in by, tags aside; null: there is none. */
  interfaceAt(id: number): RouterInterface | null {
    const port = this.ports[id];
    return port.isRouted ? port.routed : (this.domains[port.domain]?.gateway ?? null);
  }

  /** Takes over the reference on a slot that a port has filled: a batch of one. */
  process(slot: number): void {
    this.take(slot);
    if (this.coalescer.held > 0) this.coalescer.flush();
  }

  private run(slot: number): void {
    const packet = this.arena.packets[slot];
    this.counters.received(packet.port, packet.length);
    const port = this.ports[packet.port];
    packet.network = port.network;
    packet.reason = DROP_NONE;
    let verdict = this.decideSafely(packet, port);
    if (this.observer !== null) this.observer.received(packet);
    if (port.mirrorIn !== null) this.mirrorReceived(packet, port.mirrorIn);
    if (this.topology.filtering) verdict = this.filterSafely(packet, verdict);
    if (verdict === TO_PORT) this.send(packet);
    else if (verdict === TO_ROUTER) this.route(packet);
    else this.leave(verdict, packet, port);
  }

  /** What the policy says of a frame that the bridge would send on. After captures have seen it: its sender may be answered. */
  private filterSafely(packet: Packet, verdict: number): number {
    if (verdict === DROP || verdict === TO_ROUTER || verdict === LOCAL) return verdict;
    const domain = this.domains[packet.domain] as Domain;
    if (domain.network.place === 0) return verdict;
    try {
      const reason = this.filter.judge(packet, domain);
      return reason === DROP_NONE ? verdict : refuse(packet, reason);
    } catch (error) {
      this.lastError = error;
      return refuse(packet, DROP_INTERNAL_ERROR);
    }
  }

  /** All verdicts but those on the fast paths. */
  private leave(verdict: number, packet: Packet, port: Port): void {
    if (verdict === TO_TUNNEL) {
      this.vxlan.receiver.receive(packet);
      return;
    }
    if (verdict === LOCAL) {
      this.takeIn(packet);
      return;
    }
    if (verdict === DROP && packet.reason !== DROP_SNOOPED) {
      this.drop(packet);
      return;
    }
    const { gateway } = this.domains[packet.domain] as Domain;
    if (gateway !== null && isGroupDestination(packet) && this.overhear(verdict, packet, gateway)) return;
    if (verdict === FLOOD) {
      if (!this.isAnswered(packet, port)) this.flood(packet, port);
    } else if (verdict === TO_GROUP) this.sendToGroup(packet, port);
    else this.drop(packet);
  }

  /** A question that would go through tunnels, and is answered here; the slot is given up. */
  private isAnswered(packet: Packet, port: Port): boolean {
    const domain = this.domains[packet.domain] as Domain;
    if (domain.network.vtep === null || port.vtep !== null) return false;
    if (this.vxlan.suppress(packet, domain) !== LOCAL) return false;
    this.takeIn(packet);
    return true;
  }

  // --- the router's part

  /** A frame for the router: unicast to its MAC, or, on a port that is the router's alone, to a group. */
  private route(packet: Packet): void {
    const iface = this.interfaceOf(packet);
    const own = this.arena.referenceCount(packet.slot) === 1 ? packet : this.unshared(packet);
    if (iface === null || own === null) {
      packet.reason = iface === null ? DROP_INTERFACE_DOWN : DROP_NO_SLOT;
      this.drop(packet);
      return;
    }
    this.leaveRouted(this.routeSafely(own, iface), own);
  }

  /** The interface that a packet came in by; null: it was removed meanwhile. */
  interfaceOf(packet: Packet): RouterInterface | null {
    const port = this.ports[packet.port];
    if (port.isRouted) return port.routed;
    return this.domains[packet.domain]?.gateway ?? null;
  }

  /**
   * A copy, parsed, of a packet whose slot others hold, say mirrors: for router and tunnels, which write into it. Takes over one reference
   * on the shared slot. Null: no slot for a copy, and the reference is still the caller's.
   */
  unshared(packet: Packet): Packet | null {
    const copy = copyPacket(this.arena, packet);
    if (copy === null) return null;
    parse(this.arena, copy);
    this.arena.release(packet.slot);
    return copy;
  }

  private routeSafely(packet: Packet, iface: RouterInterface): number {
    try {
      return this.router.receive(packet, iface);
    } catch (error) {
      this.lastError = error;
      return refuse(packet, DROP_INTERNAL_ERROR);
    }
  }

  private leaveRouted(verdict: number, packet: Packet): void {
    if (verdict === TO_PORT) this.send(packet);
    else if (verdict === FLOOD_ROUTED) this.floodRouted(packet);
    else if (verdict === LOCAL) this.takeIn(packet);
    else if (verdict === DROP) this.drop(packet);
  }

  /**
   * Shows a group frame to the router before the bridge has it.
   * @returns true where that was all
   */
  private overhear(verdict: number, packet: Packet, gateway: RouterInterface): boolean {
    // A membership message that snooping took in was for the querier, which the gateway is.
    if (verdict === DROP) {
      this.takeIn(packet);
      return true;
    }
    const answer = this.overhearSafely(packet, gateway);
    if (answer === CONTINUE) return false;
    this.leaveRouted(answer, packet);
    return true;
  }

  private overhearSafely(packet: Packet, gateway: RouterInterface): number {
    try {
      return this.router.overhear(packet, gateway);
    } catch (error) {
      this.lastError = error;
      return refuse(packet, DROP_INTERNAL_ERROR);
    }
  }

  /** The packet in hand has been here before, and waited for a MAC: nobody has sent it again. */
  isResuming = false;

  /** For the router: a packet that it has held back goes its way, from where it came in. */
  resume(packet: Packet): void {
    packet.reason = DROP_NONE;
    // An outer packet of a tunnel's.
    if (packet.domain === 0) {
      this.vxlan.transmitter.resume(packet);
      return;
    }
    this.isResuming = true;
    this.route(packet);
    this.isResuming = false;
  }

  /**
   * For the router: an IP packet of its own goes its way as if it had come in by an interface.
   *
   * @param packet IP and what follows are written; the MACs are not
   */
  inject(packet: Packet, iface: RouterInterface): void {
    const { view } = this.arena;
    const isIpv4 = view.getUint8(packet.start + ETHERNET_HEADER_LENGTH) >>> 4 === 4;
    const type = isIpv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
    setEthernetHeader(view, packet.start, iface.macHigh, iface.macLow, 0, 0, type);
    // Of a wire, interfaces are found by their port.
    packet.port = iface.port;
    parse(this.arena, packet);
    this.own(packet, this.domains[iface.fid] as Domain);
    this.route(packet);
  }

  /** For the router: a packet that it has held back is dropped, for `packet.reason`. */
  abandon(packet: Packet): void {
    this.drop(packet);
  }

  /** For the router: sends a packet that goes its way in another slot, or in several. Counted by the caller as copies. */
  sendRouted(packet: Packet, verdict: number): void {
    this.leaveRouted(verdict, packet);
  }

  /** A packet was for the dataplane itself. */
  takeIn(packet: Packet): void {
    this.counters.local(packet.port);
    this.arena.release(packet.slot);
  }

  private floodRouted(packet: Packet): void {
    const domain = this.domains[packet.domain] as Domain;
    this.deliver(packet, this.ports[ROUTER_PORT], domain, domain.members, domain.memberCount);
  }

  /** A frame came in that the kernel could not hand over: its length is not known. */
  receiveRejected(port: number): void {
    this.counters.received(port, 0);
    this.counters.dropReceived(port, DROP_RX_REJECTED);
  }

  /** A stage that throws is a defect of ours; the packet is dropped and counted, and the others go on. */
  private decideSafely(packet: Packet, port: Port): number {
    try {
      return this.decide(packet, port);
    } catch (error) {
      this.lastError = error;
      return refuse(packet, DROP_INTERNAL_ERROR);
    }
  }

  private decide(packet: Packet, port: Port): number {
    const reason = parse(this.arena, packet);
    if (reason !== DROP_NONE) return refuse(packet, reason);
    if (!port.forwarding) return refuse(packet, port.live ? DROP_QUARANTINED : DROP_PORT_UNBOUND);
    const verdict = admit(packet);
    if (verdict !== CONTINUE) return verdict;
    return port.isRouted ? this.enterRouted(packet, port) : this.enter(packet, port);
  }

  /** A port that is the router's alone: its frames are for the router, or for others on that wire. */
  private enterRouted(packet: Packet, port: Port): number {
    const { routed } = port;
    packet.domain = port.domain;
    packet.tag = TAG_NONE;
    if (routed === null) return refuse(packet, DROP_INTERFACE_DOWN);
    const isOurs = packet.dstLow === routed.macLow && packet.dstHigh === routed.macHigh;
    if (!isOurs && !isGroupDestination(packet)) return refuse(packet, DROP_OTHER_HOST);
    if (!this.vxlan.isListening) return TO_ROUTER;
    const verdict = this.vxlan.receiver.claim(packet, routed);
    return verdict === CONTINUE ? TO_ROUTER : verdict;
  }

  /** What the port lets in, and into which domain. */
  private enter(packet: Packet, port: Port): number {
    if (port.vlan === null) {
      packet.domain = port.domain;
      packet.tag = TAG_NONE;
    } else {
      const reason = classify(packet, port.vlan);
      if (reason !== DROP_NONE) return refuse(packet, reason);
    }
    if (port.vtep !== null) {
      const verdict = this.vxlan.enter(packet, port);
      if (verdict !== CONTINUE) return verdict;
    }
    if (port.security !== null) {
      const reason = this.guard(packet, port, port.security);
      if (reason !== DROP_NONE) return refuse(packet, reason);
    }
    if (port.learning) {
      const reason = this.learn(packet, port);
      if (reason !== DROP_NONE) return refuse(packet, reason);
    }
    if (port.vtep !== null) this.vxlan.learnFrom(packet);
    return this.bridge(packet, port);
  }

  private bridge(packet: Packet, port: Port): number {
    if (isGroupDestination(packet)) return this.group(packet, port);
    const verdict = forward(this.fdb, this.ports, port, packet);
    if (verdict === TO_PORT && packet.outPort === ROUTER_PORT) return TO_ROUTER;
    return verdict === FLOOD ? this.limit(packet, port) : verdict;
  }

  private group(packet: Packet, port: Port): number {
    const verdict = this.limit(packet, port);
    if (verdict !== FLOOD || isBroadcast(packet)) return verdict;
    const { snooping } = this.domains[packet.domain] as Domain;
    return snooping === null ? FLOOD : snooping.receive(this.arena.view, packet, this.now);
  }

  /** Storm control, for what goes to many. FLOOD, or DROP. */
  private limit(packet: Packet, port: Port): number {
    if (port.storm === null) return FLOOD;
    const reason = port.storm.admit(packet, this.milliseconds);
    return reason === DROP_NONE ? FLOOD : refuse(packet, reason);
  }

  // --- sources

  private guard(packet: Packet, port: Port, security: PortSecurity): number {
    if (packet.srcLow !== security.macLow || packet.srcHigh !== security.macHigh) {
      if (!this.mayUseSource(packet, port, security)) return DROP_SOURCE_MAC;
    }
    return security.level === SECURITY_STRICT ? inspect(this.arena.view, security, packet) : DROP_NONE;
  }

  /** A MAC that is not the port's first one: known to be there, or there is room to learn it. */
  private mayUseSource(packet: Packet, port: Port, security: PortSecurity): boolean {
    if (security.macLimit > 1 || security.hasFurther(packet.srcHigh, packet.srcLow)) return true;
    return this.fdb.search((packet.domain << 16) | packet.srcHigh, packet.srcLow) === port.id;
  }

  private learn(packet: Packet, port: Port): number {
    const domain = this.domains[packet.domain] as Domain;
    const result = this.fdb.learn(domain, packet.srcHigh, packet.srcLow, port, this.now);
    return result === LEARN_KNOWN ? DROP_NONE : this.learned(result, packet, port, domain);
  }

  /** The slow path of learning: something is new, or cannot be. Returns a drop reason, or DROP_NONE. */
  private learned(result: number, packet: Packet, port: Port, domain: Domain): number {
    const { network } = domain;
    if (result === LEARN_MOVED) return this.moved(packet, port, domain);
    if (result === LEARN_BOUND) return DROP_STATIC_MAC;
    if (result === LEARN_LIMIT) return port.security !== null || network.dropWhenFull ? DROP_MAC_LIMIT : DROP_NONE;
    if (result !== LEARN_FULL) return DROP_NONE;
    if (this.now - network.fullReportedAt >= FULL_REPORT) {
      network.fullReportedAt = this.now;
      this.events.add(EVENT_FDB_FULL, domain.fid, port.id, 0, packet.srcHigh, packet.srcLow, network.fdbCount);
    }
    return network.dropWhenFull || !isCountless(packet, port) ? DROP_FDB_FULL : DROP_NONE;
  }

  private moved(packet: Packet, port: Port, domain: Domain): number {
    const { srcHigh, srcLow } = packet;
    const { loopMoves, quarantine } = domain.network;
    const from = this.fdb.movedFrom;
    // The group's port stood for its VTEP, until that had one of its own: nobody has moved.
    if (port.vtep !== null && this.ports[from].vtep?.isGroup === true) return DROP_NONE;
    this.events.add(EVENT_MAC_MOVED, domain.fid, port.id, from, srcHigh, srcLow, 0);
    if (loopMoves === 0) return DROP_NONE;
    const high = (domain.fid << 16) | srcHigh;
    const culprit = this.flaps.note(high, srcLow, from, port.id, loopMoves, this.now);
    if (culprit === 0) return DROP_NONE;
    const other = culprit === port.id ? from : port.id;
    this.events.add(EVENT_MAC_FLAPPING, domain.fid, culprit, other, srcHigh, srcLow, this.flaps.moves);
    this.topology.quarantine(this.ports[culprit], quarantine);
    return culprit === port.id ? DROP_QUARANTINED : DROP_NONE;
  }

  // --- the doors

  private send(packet: Packet): void {
    const out = this.ports[packet.outPort];
    if (!out.forwarding) {
      packet.reason = out.live ? DROP_QUARANTINED : DROP_PORT_GONE;
      this.drop(packet);
    } else if (packet.tag === TAG_NONE && out.untagged) {
      this.output(packet, out);
    } else {
      this.targets[0] = out.id;
      this.deliverTagged(packet, this.domains[packet.domain] as Domain, 1);
    }
  }

  private flood(packet: Packet, from: Port): void {
    const domain = this.domains[packet.domain] as Domain;
    if (domain.taggers > 0 || from.isolation !== ISOLATION_OPEN) {
      this.deliver(packet, from, domain, domain.members, domain.memberCount);
      return;
    }
    const others = domain.memberCount - 1;
    if (others < 1) {
      packet.reason = DROP_NO_DESTINATION;
      this.drop(packet);
      return;
    }
    this.counters.copied(packet.port, others - 1);
    this.arena.retain(packet.slot, others - 1);
    const { members, memberCount } = domain;
    for (let i = 0; i < memberCount; i++) {
      // Not the packet's port: who has the last reference, a tunnel, makes another packet of it.
      if (members[i] !== from.id) this.output(packet, this.ports[members[i]]);
    }
  }

  private sendToGroup(packet: Packet, from: Port): void {
    const domain = this.domains[packet.domain] as Domain;
    const { snooping } = domain;
    if (snooping !== null) this.deliver(packet, from, domain, snooping.targets, snooping.targetCount);
  }

  /** To those of the first `count` ports of a list that the sender may reach. */
  private deliver(packet: Packet, from: Port, domain: Domain, list: Int32Array, count: number): void {
    const { targets } = this;
    let chosen = 0;
    let refused = 0;
    for (let i = 0; i < count; i++) {
      const port = this.ports[list[i]];
      if (port.id === packet.port || !port.forwarding) continue;
      if (mayReach(from.isolation, port.isolation)) targets[chosen++] = port.id;
      else refused++;
    }
    if (chosen === 0) {
      packet.reason = refused > 0 ? DROP_ISOLATED : DROP_NO_DESTINATION;
      this.drop(packet);
      return;
    }
    this.counters.copied(packet.port, chosen - 1);
    if (domain.taggers > 0) this.deliverTagged(packet, domain, chosen);
    else this.deliverSame(packet, 0, chosen, chosen - 1);
  }

  /** Sends the frame as it is to targets[from..to). @param retain references needed beyond those there are */
  private deliverSame(packet: Packet, from: number, to: number, retain: number): void {
    this.arena.retain(packet.slot, retain);
    for (let i = from; i < to; i++) this.output(packet, this.ports[this.targets[i]]);
  }

  /**
   * Sends to the first `count` targets, each with the tag it wants: first to those that take the frame as it is, since it must not
   * change once it is on its way; then for each other form in place if nobody holds it, else in a copy.
   */
  private deliverTagged(packet: Packet, domain: Domain, count: number): void {
    const stacked = isStacked(this.arena.view, packet);
    let at = this.partition(domain, 0, count, presentVid(packet), stacked);
    this.deliverSame(packet, 0, at, at);
    while (at < count) {
      const vid = this.nextVid(domain, at, count, stacked);
      const end = this.partition(domain, at, count, vid, stacked);
      const isOurs = this.arena.referenceCount(packet.slot) === 1;
      const frame = isOurs ? packet : copyPacket(this.arena, packet);
      if (frame === null) {
        for (let i = at; i < end; i++) this.counters.dropTransmit(this.targets[i], DROP_NO_SLOT);
      } else {
        const { vlan } = this.ports[this.targets[at]];
        setVid(this.arena, frame, vlan === null ? 0 : vlan.protocol, vid);
        this.deliverSame(frame, at, end, isOurs ? end - at : end - at - 1);
      }
      at = end;
    }
    this.arena.release(packet.slot);
  }

  /** A tag that one of targets[from..to) wants, or 0: those without come last, since a tag's priority goes with it. */
  private nextVid(domain: Domain, from: number, to: number, stacked: boolean): number {
    for (let i = from; i < to; i++) {
      const vid = egressVid(this.ports[this.targets[i]].vlan, domain.vid, stacked);
      if (vid !== 0) return vid;
    }
    return 0;
  }

  /** Puts those of targets[from..to) that want the tag `vid` first. Returns where they end. */
  private partition(domain: Domain, from: number, to: number, vid: number, stacked: boolean): number {
    const { targets } = this;
    let end = from;
    for (let i = from; i < to; i++) {
      const target = targets[i];
      if (egressVid(this.ports[target].vlan, domain.vid, stacked) !== vid) continue;
      targets[i] = targets[end];
      targets[end++] = target;
    }
    return end;
  }

  private output(packet: Packet, port: Port): void {
    this.counters.transmitted(port.id, packet.length);
    if (this.observer !== null) this.observer.transmitted(port.id, packet);
    if (port.mirrorOut !== null) this.mirror(packet, port.mirrorOut);
    if (port.vtep !== null) this.intoTunnel(packet, port);
    else if (port.offload) this.transmitter.transmit(port.id, packet.slot);
    else this.outputPlain(packet, port);
  }

  /** Its sender may be answered by a flood, while others are still to get the packet itself. What is answered is not answered again. */
  private intoTunnel(packet: Packet, port: Port): void {
    const { targets } = this;
    this.targets = this.tunnelTargets;
    this.tunnelTargets = targets;
    this.vxlan.transmitter.transmit(packet, port);
    this.tunnelTargets = this.targets;
    this.targets = targets;
  }

  /** To a port that takes neither super-packets nor unfinished checksums. */
  private outputPlain(packet: Packet, port: Port): void {
    const { length } = packet;
    const { plain } = this;
    const count = plain.make(packet);
    if (count < 0) {
      this.counters.transmitFailed(port.id, length, packet.reason);
      this.arena.release(packet.slot);
      return;
    }
    // One was counted, the super-packet itself; so many more leave.
    this.counters.copied(port.id, count - 1);
    if (count > 1) this.counters.segmented(port.id, count - 1);
    for (let i = 0; i < count; i++) this.transmitter.transmit(port.id, plain.slots[i]);
  }

  private drop(packet: Packet): void {
    this.counters.dropReceived(packet.port, packet.reason);
    this.arena.release(packet.slot);
  }

  // --- copies for mirrors

  /** Before the frame goes on; also of one that is dropped, as long as it is one. */
  private mirrorReceived(packet: Packet, targets: Int32Array): void {
    if (packet.reason === DROP_NONE || packet.reason > DROP_VNET_HEADER) this.mirror(packet, targets);
  }

  private mirror(packet: Packet, targets: Int32Array): void {
    for (let i = 0; i < targets.length; i++) {
      const target = this.ports[targets[i]];
      if (!target.forwarding) continue;
      this.counters.copied(packet.port, 1);
      this.arena.retain(packet.slot, 1);
      this.counters.transmitted(target.id, packet.length);
      if (this.observer !== null) this.observer.transmitted(target.id, packet);
      if (target.offload) this.transmitter.transmit(target.id, packet.slot);
      else this.mirrorPlain(packet, target);
    }
  }

  /** The packet itself may be about to be dropped, for a reason that stays its own. */
  private mirrorPlain(packet: Packet, target: Port): void {
    const { reason } = packet;
    this.outputPlain(packet, target);
    packet.reason = reason;
  }

  // --- frames of our own

  /** Sends a frame that the dataplane has made to ports of a list. `packet.port` is the port that it speaks for, or 0. */
  originate(packet: Packet, domain: Domain, list: Int32Array, count: number): void {
    this.own(packet, domain);
    this.deliver(packet, this.ports[packet.port], domain, list, count);
  }

  /** The same, to one port. */
  originateTo(packet: Packet, domain: Domain, port: number): void {
    this.own(packet, domain);
    packet.outPort = port;
    this.send(packet);
  }

  private own(packet: Packet, domain: Domain): void {
    packet.network = domain.network.id;
    packet.domain = domain.fid;
    packet.tag = TAG_NONE;
    packet.vlan = -1;
    packet.reason = DROP_NONE;
    this.counters.originated(packet.port);
  }
}

/**
 * Whether the source may be used without a place in the FDB: any where there is no security, and what configuration names. Others are
 * held to a limit by counting what was learned, which a full FDB must not lift.
 */
function isCountless({ srcHigh, srcLow }: Packet, { security }: Port): boolean {
  if (security === null || (srcHigh === security.macHigh && srcLow === security.macLow)) return true;
  return security.hasFurther(srcHigh, srcLow);
}
