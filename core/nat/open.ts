/**
 * The beginning of a flow: a packet that belongs to none.
 *
 *   arrive → own address? published port | mapping (filter) → the inside address → forward.ts: FIB
 *   open   → TTL → reach → policy → source (mapping, hairpin) → flow
 *
 * Between the two, forward.ts has found where the packet would go; nothing else comes in between, so what `arrive` has found stands in
 * fields until `open` takes it.
 *
 * Addresses are four words here, those of IPv4 mapped: one path for both families, as it is walked once a flow.
 */

import {
  EXPECTED_EXTERNAL,
  EXPECTED_SOURCE_AFTER,
  EXPECTED_TARGET,
  EXPECTED_TARGET_PORT,
} from '../alg/expectations.js';
import type { Dataplane } from '../dataplane.js';
import {
  DROP_FILTERED,
  DROP_FLOW_LIMIT,
  DROP_FLOWS_FULL,
  DROP_HOST_ACCESS,
  DROP_NO_FLOW,
  DROP_NONE,
  DROP_NOT_PUBLISHED,
  DROP_POLICY,
  DROP_PORTS_EXHAUSTED,
  DROP_PROHIBITED,
  DROP_UNTRANSLATABLE,
} from '../drop.js';
import { EVENT_FLOW_LIMIT, EVENT_FLOWS_ALARM, EVENT_FLOWS_FULL } from '../events.js';
import { ServiceEntry } from '../lb/entry.js';
import type { Packet } from '../packet/packet.js';
import { MAPPED } from '../router/address.js';
import { ICMP_ADMIN_PROHIBITED } from '../router/icmp.js';
import { ICMPV6_ADMIN_PROHIBITED, ICMPV6_NO_ROUTE, ICMPV6_UNREACHABLE } from '../router/icmpv6.js';
import { INTERFACE_HOST, INTERFACE_NETWORK, INTERFACE_UPLINK, type RouterInterface } from '../router/interface.js';
import type { Router } from '../router/router.js';
import { ROUTE_LOCAL, type Vrf } from '../router/vrf.js';
import { CONTINUE, DROP, HELD, refuse } from '../verdict.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ICMP_UNREACHABLE } from '../wire/icmp.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { IPV4_TTL, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_HOP_LIMIT } from '../wire/ipv6.js';
import { PROTOCOL_SCTP } from '../wire/sctp.js';
import { TCP_ACK, TCP_FLAGS, TCP_RST, TCP_SYN, tcpFlags } from '../wire/tcp.js';
import {
  Arrival,
  beginsConnection,
  DESTINATION,
  INSIDE_EXPECTED,
  INSIDE_MAPPING,
  INSIDE_NONE,
  INSIDE_PREFIX,
  INSIDE_PUBLISHED,
  INSIDE_SERVICE,
  PASSING_IN,
  PASSING_OUT,
  SOURCE,
} from './arrival.js';
import {
  FLOW_ANSWERED,
  FLOW_BACKEND_SHIFT,
  FLOW_BALANCED,
  FLOW_DESTINATION,
  FLOW_DIRECT,
  FLOW_DIRECT_SERVICE,
  FLOW_DNAT,
  FLOW_ENTERED,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_LOOSE,
  FLOW_MAPPED,
  FLOW_PASSING,
  FLOW_PORTS,
  FLOW_RELATED,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_RULE,
  FLOW_SNAT,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
  kindOf,
  protocolOfKind,
  STATE_ICMP_UNREPLIED,
  STATE_OTHER_UNREPLIED,
  STATE_UDP_UNREPLIED,
  zoneOfKind,
} from './flow.js';
import { CLASS_CLOSING, CLASS_ESTABLISHED, classOf } from './flow-table.js';
import type { Flows } from './flows.js';
import { NO_RULE, POLICY_ACCEPT, POLICY_REJECT } from './policy.js';
import { isIcmpRequest, isTrackable, isTranslatable, portsOf } from './rewrite.js';
import { openSctp } from './sctp.js';
import { FILTERING_ADDRESS_AND_PORT_DEPENDENT, FILTERING_ENDPOINT_INDEPENDENT } from './settings.js';
import { openTcp } from './tcp.js';

/** Percent of the table at which an operator is told; and, below that, is told again. */
const ALARM = 80;
const ALARM_OVER = 70;
/** Seconds between two reports of the same. */
const REPORT = 60;

export class FlowOpener {
  private readonly dataplane: Dataplane;
  private readonly router: Router;
  private readonly flows: Flows;
  private readonly view: DataView;
  /** The packet in hand. */
  private readonly arrival = new Arrival();
  private readonly before = this.arrival.before;
  private readonly after = this.arrival.after;
  readonly entry: ServiceEntry;
  private alarmed = false;
  private fullAt = -0x40000000;
  /** Second of the last report, by port. */
  private readonly limitedAt = new Map<number, number>();

  constructor(dataplane: Dataplane, router: Router, flows: Flows) {
    this.dataplane = dataplane;
    this.router = router;
    this.flows = flows;
    this.view = dataplane.arena.view;
    this.entry = new ServiceEntry(router, flows, this.arrival);
  }

  // --- a packet without a flow

  /** @param ports as a flow has them. Returns a verdict */
  arrive4(packet: Packet, from: RouterInterface, ports: number): number {
    packet.flow = -1;
    this.arrival.read4(this.view, packet);
    const verdict = this.findInside(packet, from, ports);
    if (verdict !== CONTINUE) return verdict;
    const { isDirect, via, after } = this.arrival;
    return this.router.forwarder.resolve4(packet, from, isDirect ? via[3] : after[DESTINATION + 3]);
  }

  arrive6(packet: Packet, from: RouterInterface, ports: number): number {
    packet.flow = -1;
    this.arrival.read6(this.view, packet);
    const verdict = this.findInside(packet, from, ports);
    if (verdict !== CONTINUE) return verdict;
    const { after, via } = this.arrival;
    if (this.arrival.isDirect) return this.router.forwarder.resolve6(packet, from, via[0], via[1], via[2], via[3]);
    return this.router.forwarder.resolve6(packet, from, after[4], after[5], after[6], after[7]);
  }

  /** Whether an address of the router's own stands for somebody inside. CONTINUE, with `after`, `portsAfter` and `inside` set; or a verdict. */
  private findInside(packet: Packet, from: RouterInterface, ports: number): number {
    this.arrival.forget();
    this.arrival.portsBefore = ports;
    this.arrival.portsAfter = ports;
    const { before } = this;
    if (this.flows.services.isFlooded && from.kind === INTERFACE_NETWORK && this.entry.findPassing(packet, from)) {
      return CONTINUE;
    }
    if (this.flows.algs.isExpecting && this.findExpected(packet, from)) return CONTINUE;
    if (!this.isOwn(from, before[4], before[5], before[6], before[7])) {
      return packet.etherType === ETHERTYPE_IPV4 ? CONTINUE : this.findPrefix(packet, from);
    }
    if (!isTrackable(this.view, packet)) return CONTINUE;
    const record = this.findPublished(packet, from);
    if (record >= 0) return this.enterRecord(packet, from, record);
    const { protocol } = packet;
    // Queries go from inside out only (RFC 5508, 3.1); protocols without ports have no mapping to find.
    if (protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6 && ports !== 0) {
      const verdict = this.findMapping(packet, from);
      if (verdict !== CONTINUE) return verdict;
    }
    return this.arrival.inside === INSIDE_NONE ? this.stray(packet, from) : CONTINUE;
  }

  /** Only the first packet of a connection is: an expectation is for one. */
  private findExpected(packet: Packet, from: RouterInterface): boolean {
    const { expectations } = this.flows.algs;
    const { before, after } = this;
    const { protocol } = packet;
    if (packet.l4 === -1 || !beginsConnection(this.view, packet)) return false;
    const kind = kindOf(from.vrf, protocol, packet.etherType !== ETHERTYPE_IPV4);
    this.arrival.expected = expectations.find(kind, before, this.arrival.portsBefore & 0xffff);
    if (this.arrival.expected < 0) return false;
    const { words } = expectations;
    const at = expectations.at(this.arrival.expected);
    for (let i = 0; i < 4; i++) after[DESTINATION + i] = words[at + EXPECTED_TARGET + i];
    this.arrival.portsAfter = (this.arrival.portsBefore & (0xffff0000 | 0)) | words[at + EXPECTED_TARGET_PORT];
    if (this.arrival.portsAfter !== this.arrival.portsBefore || !isSame(before, after, DESTINATION))
      this.arrival.inside = INSIDE_EXPECTED;
    return true;
  }

  /** Where the source that is expected stands among the expectation's words; -1: nothing is expected, or the one that it has. */
  private expectedSource(): number {
    if (this.arrival.expected < 0) return -1;
    const { expectations } = this.flows.algs;
    const at = expectations.at(this.arrival.expected) + EXPECTED_SOURCE_AFTER;
    for (let i = 0; i < 4; i++) if (expectations.words[at + i] !== this.before[SOURCE + i]) return at;
    return -1;
  }

  /** Whether the packet in hand is expected at a port that is held for it. */
  private isExpectedAtMapping(): boolean {
    if (this.arrival.expected < 0) return false;
    const { words } = this.flows.algs.expectations;
    return words[this.flows.algs.expectations.at(this.arrival.expected) + EXPECTED_EXTERNAL] !== 0;
  }

  private findPrefix(packet: Packet, from: RouterInterface): number {
    const { before, after } = this;
    const { prefixes } = this.flows;
    // From inside as well: endpoints may know each other by their addresses outside (RFC 6296, 4.3).
    if (!prefixes.isOutside(from.vrf, before, DESTINATION)) return CONTINUE;
    if (!prefixes.inward(from.vrf, before, after, DESTINATION)) return refuse(packet, this.explainPrefix(packet, from));
    this.arrival.inside = INSIDE_PREFIX;
    return CONTINUE;
  }

  /** An address of a translated prefix without counterpart (RFC 6296, 3.4 and 3.5). A drop reason. */
  private explainPrefix(packet: Packet, from: RouterInterface): number {
    this.router.errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, 0);
    return DROP_UNTRANSLATABLE;
  }

  /** The record of published.ts for the packet in hand, or -1. */
  private findPublished(packet: Packet, from: RouterInterface): number {
    const { published } = this.flows;
    if (published.count === 0) return -1;
    const { before } = this;
    const port = this.arrival.portsBefore & 0xffff;
    return packet.etherType === ETHERTYPE_IPV4
      ? published.find4(from.vrf, packet.protocol, before[7], port)
      : published.find6(from.vrf, packet.protocol, before[4], before[5], before[6], before[7], port);
  }

  private enterRecord(packet: Packet, from: RouterInterface, record: number): number {
    const { published } = this.flows;
    if (published.service(record) !== 0) return this.entry.enter(packet, from, record);
    const { after } = this;
    for (let i = 0; i < 4; i++) after[DESTINATION + i] = published.target(record, i);
    this.arrival.portsAfter =
      (this.arrival.portsBefore & (0xffff0000 | 0)) | published.targetPort(record, this.arrival.portsBefore & 0xffff);
    this.arrival.inside = INSIDE_PUBLISHED;
    return CONTINUE;
  }

  /** For flows.ts: where packets go that begin at a flow's source; the backend's address where that is not the flow's destination. */
  viaOf(flow: number, isIpv6: boolean): Int32Array | null {
    const { table, services } = this.flows;
    return services.addressOf(table.backendOf(flow), isIpv6, this.arrival.via) ? this.arrival.via : null;
  }

  private findMapping(packet: Packet, from: RouterInterface): number {
    const { mappings } = this.flows;
    const { before, after } = this;
    const port = this.arrival.portsBefore & 0xffff;
    const { protocol } = packet;
    const mapping = mappings.find(from.vrf, before[4], before[5], before[6], before[7], protocol, port);
    if (mapping < 0) return CONTINUE;
    if (!this.mayEnter(packet, from, port)) return refuse(packet, DROP_FILTERED);
    for (let i = 0; i < 4; i++) after[DESTINATION + i] = mappings.internalWord(mapping, i);
    this.arrival.portsAfter = (this.arrival.portsBefore & (0xffff0000 | 0)) | mappings.internalPort(mapping);
    this.arrival.inside = INSIDE_MAPPING;
    return CONTINUE;
  }

  /** Whether the filter of a mapping lets a packet in (RFC 4787, 5). Those inside are no strangers to each other (REQ-9). */
  private mayEnter(packet: Packet, from: RouterInterface, port: number): boolean {
    const { filtering, permissions, mappings } = this.flows;
    if (from.kind !== INTERFACE_UPLINK || filtering === FILTERING_ENDPOINT_INDEPENDENT) return true;
    if (filtering === FILTERING_ADDRESS_AND_PORT_DEPENDENT) return false;
    const { before } = this;
    const external = mappings.findExternal(from.vrf, before[4], before[5], before[6], before[7]);
    return permissions.has(external, packet.protocol, port, before, SOURCE);
  }

  /** To an own address, and for nobody inside: the router's own delivery has it, but for connections that nobody waits for. */
  private stray(packet: Packet, from: RouterInterface): number {
    if (packet.protocol !== PROTOCOL_TCP || from.kind !== INTERFACE_UPLINK) return CONTINUE;
    const port = this.arrival.portsBefore & 0xffff;
    if (from.shared && !this.isNatPort(port)) return CONTINUE;
    const flags = this.view.getUint8(packet.l4 + TCP_FLAGS);
    if ((flags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN) {
      return this.flows.unsolicited.hold(packet) ? HELD : DROP;
    }
    return this.unknown(packet, from);
  }

  /** Whether a port of a shared address is Tapline's for translated connections. */
  private isNatPort(port: number): boolean {
    const { settings } = this.flows;
    return settings !== null && port >= settings.firstPort && port <= settings.lastPort;
  }

  /** A segment of a connection that is not known (any more): its sender is told at once, never left waiting. */
  unknown(packet: Packet, from: RouterInterface): number {
    this.flows.resets.send(packet, from);
    return refuse(packet, DROP_NO_FLOW);
  }

  isLocal4(from: RouterInterface, address: number): boolean {
    return this.isOwn(from, 0, 0, MAPPED, address);
  }

  isLocal6(from: RouterInterface, a: number, b: number, c: number, d: number): boolean {
    return this.isOwn(from, a, b, c, d);
  }

  private isOwn(from: RouterInterface, a: number, b: number, c: number, d: number): boolean {
    return this.owns(from.vrf, a, b, c, d);
  }

  /** Whether an address is one of the router's own in a VRF. */
  owns(zone: number, a: number, b: number, c: number, d: number): boolean {
    const vrf = this.router.vrfs[zone] as Vrf;
    const isIpv4 = a === 0 && b === 0 && c === MAPPED;
    const route = vrf.routes[isIpv4 ? vrf.fib4.lookup(d) : vrf.fib6.lookup(a, b, c, d)];
    return route.kind === ROUTE_LOCAL;
  }

  // --- a flow

  /**
   * For forward.ts, of a packet without a flow that is about to be sent from one interface to the other.
   *
   * @returns CONTINUE: it may go, in a flow (`packet.flow`) unless it can go no further anyway; else the verdict
   */
  open(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const { view } = this;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    // Answered by forward.ts, and no connection begins.
    if (view.getUint8(packet.l3 + (isIpv4 ? IPV4_TTL : IPV6_HOP_LIMIT)) <= 1) return CONTINUE;
    // It answers what the policy has let in.
    if (this.arrival.passing === PASSING_OUT) return this.letPass(packet);
    const verdict = this.judge(packet, from, to);
    if (verdict !== CONTINUE) return verdict;
    if (this.arrival.passing === PASSING_IN) return this.letPass(packet);
    if (!isTrackable(view, packet)) return this.pass(packet, from, to);
    const { protocol } = packet;
    if ((protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) && !isIcmpRequest(view, packet)) {
      return this.pass(packet, from, to);
    }
    this.isOneSided = this.arrival.inside === INSIDE_NONE && this.spansHosts(from, to);
    // That nobody listens there, says an end whose router has not seen who asked.
    if (this.isOneSided && protocol === PROTOCOL_TCP && (tcpFlags(view, packet.l4) & TCP_RST) !== 0) return CONTINUE;
    const reason = this.chooseSource(packet, from, to);
    if (reason !== DROP_NONE) return this.refuse(packet, from, reason);
    return this.begin(packet, from, to);
  }

  /** The flow that is begun may have its answers go another way. */
  private isOneSided = false;

  /** Whether one of two networks has endpoints on other hosts, whose answers the routers there send on. */
  private spansHosts(from: RouterInterface, to: RouterInterface): boolean {
    if (from.kind !== INTERFACE_NETWORK || to.kind !== INTERFACE_NETWORK || from === to) return false;
    const { topology } = this.dataplane;
    const hasVtep = ({ fid }: RouterInterface): boolean => (topology.domainOf(fid)?.network.vtep ?? null) !== null;
    return hasVtep(from) || hasVtep(to);
  }

  private letPass(packet: Packet): number {
    if (!isTranslatable(this.view, packet)) return refuse(packet, DROP_UNTRANSLATABLE);
    packet.flow = FLOW_PASSING;
    return CONTINUE;
  }

  /** The same for a packet that goes to the host. */
  openToHost(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    if (packet.etherType === ETHERTYPE_IPV4) this.arrival.read4(this.view, packet);
    else this.arrival.read6(this.view, packet);
    this.arrival.forget();
    this.arrival.portsBefore = isTrackable(this.view, packet) ? portsOf(this.view, packet) : 0;
    this.arrival.portsAfter = this.arrival.portsBefore;
    return this.open(packet, from, to);
  }

  /** Rule that let the packet in hand pass, or NO_RULE. */
  private rule = NO_RULE;

  /** Who may reach whom: what the networks say, and the policy. CONTINUE, or a verdict. */
  private judge(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const { policy } = this.flows;
    const { forwarder } = this.router;
    this.rule = policy.isEmpty || this.arrival.expected >= 0 ? NO_RULE : this.decideFor(packet, from, to);
    if (
      !policy.isEmpty &&
      this.arrival.inside === INSIDE_NONE &&
      packet.l4 !== -1 &&
      !beginsConnection(this.view, packet)
    ) {
      // Nobody knows who began it.
      this.rule = policy.earlier(this.rule, this.decideMirrored(packet, from, to));
    }
    if (policy.action(this.rule) !== POLICY_ACCEPT) return this.deny(packet, from, this.rule);
    policy.count(this.rule);
    const isInvited = this.rule !== NO_RULE || this.isAddressed(from) || this.arrival.expected >= 0;
    const reason = forwarder.admit(from, to);
    if (reason !== DROP_NONE && (reason !== DROP_PROHIBITED || !isInvited) && !this.isHostsOwn(reason, from)) {
      return this.refuse(packet, from, reason);
    }
    // The wire has no route to what is behind address translation, whoever on it thinks so.
    if (from.kind === INTERFACE_UPLINK && !isInvited && this.isHidden(to, packet)) {
      return refuse(packet, DROP_NOT_PUBLISHED);
    }
    return CONTINUE;
  }

  /** Whether the wire knows what is behind an interface by other addresses than that of the packet in hand. */
  private isHidden(to: RouterInterface, packet: Packet): boolean {
    if (to.kind !== INTERFACE_NETWORK) return false;
    if (sourcesOf(to, packet) !== null) return true;
    return packet.etherType !== ETHERTYPE_IPV4 && this.flows.prefixes.isInside(to, this.after, DESTINATION);
  }

  /** Whether the packet in hand was sent to somebody inside as those who may do so know him. */
  private isAddressed(from: RouterInterface): boolean {
    // Another prefix is open to the wire; to other networks it opens nothing.
    if (this.arrival.inside === INSIDE_PREFIX) return from.kind === INTERFACE_UPLINK;
    return this.arrival.inside !== INSIDE_NONE;
  }

  /** The host reaches what is published, also of networks that are not reached from it otherwise. */
  private isHostsOwn(reason: number, from: RouterInterface): boolean {
    const isPublished = this.arrival.inside === INSIDE_PUBLISHED || this.arrival.inside === INSIDE_SERVICE;
    return reason === DROP_HOST_ACCESS && from.kind === INTERFACE_HOST && isPublished;
  }

  private decideFor(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const { policy } = this.flows;
    const { before, after } = this;
    const { protocol } = packet;
    const port = this.arrival.portsAfter & 0xffff;
    const portBefore = this.arrival.portsBefore & 0xffff;
    if (packet.etherType === ETHERTYPE_IPV4) {
      return policy.decide4(from.number, to.number, before[3], after[7], before[7], protocol, port, portBefore);
    }
    return policy.decide6(from.number, to.number, this.addresses12(), protocol, port, portBefore);
  }

  /** As if the packet in hand were an answer. Precondition: nothing of it is translated. */
  private decideMirrored(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const { policy } = this.flows;
    const { before, twelve } = this;
    const port = this.arrival.portsBefore >>> 16;
    const { protocol } = packet;
    if (packet.etherType === ETHERTYPE_IPV4) {
      return policy.decide4(to.number, from.number, before[7], before[3], before[3], protocol, port, port);
    }
    for (let i = 0; i < 4; i++) {
      twelve[i] = before[4 + i];
      twelve[4 + i] = before[i];
      twelve[8 + i] = before[i];
    }
    return policy.decide6(to.number, from.number, twelve, protocol, port, port);
  }

  private readonly twelve = new Int32Array(12);

  private addresses12(): Int32Array {
    const { twelve, before, after } = this;
    for (let i = 0; i < 4; i++) {
      twelve[i] = before[i];
      twelve[4 + i] = after[4 + i];
      twelve[8 + i] = before[4 + i];
    }
    return twelve;
  }

  /** Does what a rule says that does not accept, and counts it. */
  deny(packet: Packet, from: RouterInterface, rule: number): number {
    const { policy } = this.flows;
    policy.count(rule);
    if (policy.action(rule) === POLICY_REJECT) this.tell(packet, from);
    return refuse(packet, DROP_POLICY);
  }

  /** Tells a sender that it may not: by RST, or ICMP. */
  tell(packet: Packet, from: RouterInterface): void {
    const { errors } = this.router;
    if (packet.protocol === PROTOCOL_TCP && packet.l4 !== -1) this.flows.resets.send(packet, from);
    else if (packet.etherType === ETHERTYPE_IPV4) {
      errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_ADMIN_PROHIBITED, 0);
    } else errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_ADMIN_PROHIBITED, 0);
  }

  /** What cannot be a flow goes on as it is, where nothing of it would have to be translated. */
  private pass(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const isTranslated = this.arrival.inside !== INSIDE_NONE || this.translatesSource(packet, from, to);
    return isTranslated ? refuse(packet, DROP_UNTRANSLATABLE) : CONTINUE;
  }

  private translatesSource(packet: Packet, from: RouterInterface, to: RouterInterface): boolean {
    if (this.expectedSource() >= 0) return true;
    // Who is asked by way of a service sees who asks, but where answers would not come back this way.
    if (this.arrival.inside === INSIDE_SERVICE)
      return !this.arrival.isDirect && (from.kind === INTERFACE_HOST || from === to);
    if (this.arrival.inside !== INSIDE_NONE)
      return from.kind === INTERFACE_HOST || from === to || sourcesOf(from, packet) !== null;
    if (to.kind !== INTERFACE_UPLINK || from.kind !== INTERFACE_NETWORK) return false;
    return sourcesOf(from, packet) !== null || this.hasPrefix(packet, from);
  }

  /** Whether the source's prefix is another outside. */
  private hasPrefix(packet: Packet, from: RouterInterface): boolean {
    return packet.etherType !== ETHERTYPE_IPV4 && this.flows.prefixes.isInside(from, this.before, SOURCE);
  }

  /** Sets the source that the packet leaves with. A drop reason, or DROP_NONE. */
  private chooseSource(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const leavesPrefix = to.kind === INTERFACE_UPLINK || this.arrival.inside === INSIDE_PREFIX;
    if (leavesPrefix && this.hasPrefix(packet, from)) return this.choosePrefix(packet, from);
    const isTranslated = this.translatesSource(packet, from, to);
    if (!isTranslated && this.arrival.inside === INSIDE_NONE) return DROP_NONE;
    if (!isTranslatable(this.view, packet)) return DROP_UNTRANSLATABLE;
    // Whoever knows the connection could not go on with it: the translation is not what it was.
    if ((isTranslated || !this.arrival.isPickedUp) && !beginsConnection(this.view, packet)) return DROP_NO_FLOW;
    return isTranslated ? this.takeSource(packet, from, to) : DROP_NONE;
  }

  /** Sets a source that is the router's own. A drop reason, or DROP_NONE. */
  private takeSource(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const external = this.chooseExternal(packet, from, to);
    if (external === 0) return DROP_PORTS_EXHAUSTED;
    for (let i = 0; i < 4; i++) this.after[SOURCE + i] = this.flows.mappings.externalWord(external, i);
    const known = this.publishedPort(packet, from);
    const port = known >= 0 ? known : this.takePort(packet, from, external);
    if (port < 0) return DROP_PORTS_EXHAUSTED;
    // An identifier stands in both halves.
    const isIdentifier = packet.protocol === PROTOCOL_ICMP || packet.protocol === PROTOCOL_ICMPV6;
    this.arrival.portsAfter = (port << 16) | (isIdentifier ? port : this.arrival.portsAfter & 0xffff);
    // A published port is nobody's to give back.
    this.arrival.external = known >= 0 ? 0 : external;
    return DROP_NONE;
  }

  /** The source under its prefix outside. A drop reason, or DROP_NONE. */
  private choosePrefix(packet: Packet, from: RouterInterface): number {
    if (!isTranslatable(this.view, packet)) return DROP_UNTRANSLATABLE;
    const { prefixes } = this.flows;
    return prefixes.outward(from, this.before, this.after, SOURCE) ? DROP_NONE : this.explainPrefix(packet, from);
  }

  /** The port under which others know the one that the packet in hand was sent from; -1: it is not published where it leaves. */
  private publishedPort(packet: Packet, from: RouterInterface): number {
    const { published } = this.flows;
    if (published.count === 0) return -1;
    return published.findSource(from.vrf, packet.protocol, this.before, this.arrival.portsBefore >>> 16, this.after);
  }

  /** Takes a port at an external address. -1: none is left. */
  private takePort(packet: Packet, from: RouterInterface, external: number): number {
    const { mappings, table } = this.flows;
    const { before, after, portsBefore, portsAfter } = this.arrival;
    const { protocol, etherType, port } = packet;
    const kind = kindOf(from.vrf, protocol, etherType !== ETHERTYPE_IPV4);
    const remote = portsAfter & 0xffff;
    return mappings.take(external, protocol, before, portsBefore >>> 16, port, after, remote, table, kind);
  }

  /** Number of the external address to leave from; 0: there is none. */
  private chooseExternal(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    const { mappings } = this.flows;
    const { before } = this;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const expected = this.expectedSource();
    if (expected >= 0) {
      const { words } = this.flows.algs.expectations;
      return mappings.external(
        from.vrf,
        words[expected],
        words[expected + 1],
        words[expected + 2],
        words[expected + 3],
      );
    }
    if (from.kind === INTERFACE_HOST || this.arrival.inside === INSIDE_SERVICE) return this.ownAddressOf(packet, to);
    const pool = sourcesOf(from, packet);
    if (pool !== null && pool.length > 0) return mappings.choose(from.vrf, pool, isIpv4, before);
    // A hairpin leaves from the address that it came to: the one that others see this endpoint have.
    if (to.kind !== INTERFACE_UPLINK) return mappings.external(from.vrf, before[4], before[5], before[6], before[7]);
    return this.ownAddressOf(packet, to);
  }

  /** An interface's own address towards the destination. */
  private ownAddressOf(packet: Packet, iface: RouterInterface): number {
    const { mappings } = this.flows;
    const { after } = this;
    if (packet.etherType === ETHERTYPE_IPV4) {
      const own = iface.source4(after[7]);
      return own === 0 ? 0 : mappings.external(iface.vrf, 0, 0, MAPPED, own);
    }
    const at = iface.source6(after[4], after[5], after[6], after[7]);
    if (at < 0) return 0;
    const words = iface.addresses6;
    return mappings.external(iface.vrf, words[at], words[at + 1], words[at + 2], words[at + 3]);
  }

  /** Makes the flow of the packet in hand. A verdict; CONTINUE: it is there. */
  private begin(packet: Packet, from: RouterInterface, to: RouterInterface): number {
    let reason = this.makeOver(packet, from);
    // One port of a client's at two listeners that lead to one place: there, the second flow comes from the router.
    if (reason === DROP_PORTS_EXHAUSTED && this.hasPublicTarget && this.isSourceKept) {
      reason = this.takeSource(packet, from, to);
      if (reason === DROP_NONE) reason = this.makeOver(packet, from);
    }
    if (reason === DROP_NONE) return CONTINUE;
    if (this.arrival.external !== 0) {
      this.flows.mappings.release(this.arrival.external, packet.protocol, this.arrival.portsAfter >>> 16, false);
    }
    return this.refuse(packet, from, reason);
  }

  /** Its port may have been another's until now, whose last flow to the same place is over but not forgotten. A drop reason, or DROP_NONE */
  private makeOver(packet: Packet, from: RouterInterface): number {
    const reason = this.make(packet, from);
    return reason === DROP_PORTS_EXHAUSTED && this.endClosing(packet, from) ? this.make(packet, from) : reason;
  }

  /** Ends the flow that has the reply tuple of the one in hand, if it is closing. False: there is none such. */
  private endClosing(packet: Packet, from: RouterInterface): boolean {
    const { table } = this.flows;
    const { reply } = this;
    const { after, portsAfter } = this.arrival;
    for (let i = 0; i < 8; i++) reply[i] = after[(i + 4) & 7];
    const ports = (portsAfter << 16) | (portsAfter >>> 16);
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const kind = kindOf(from.vrf, packet.protocol, !isIpv4);
    const found = isIpv4 ? table.find4(kind, reply[3], reply[7], ports) : table.findWords6(kind, reply, ports);
    if (found < 0 || !isClosing(table.words[(found >> 1) * FLOW_WORDS + FLOW_STATE])) return false;
    table.remove(found >> 1);
    return true;
  }

  private readonly reply = new Int32Array(8);

  private make(packet: Packet, from: RouterInterface): number {
    const { flows } = this;
    const { table } = flows;
    const limit = flows.settings?.flowsPerEndpoint ?? table.capacity;
    if (from.kind === INTERFACE_NETWORK && table.ownerCount(packet.port) >= limit) return this.limited(packet, limit);
    const flow = this.beginEntry();
    if (flow < 0) return DROP_FLOWS_FULL;
    const at = flow * FLOW_WORDS;
    const isIpv6 = packet.etherType !== ETHERTYPE_IPV4;
    this.writeTuples(flow, at, isIpv6);
    const { words } = table;
    words[at + FLOW_KIND] = kindOf(from.vrf, packet.protocol, isIpv6);
    words[table.restAt(flow) + FLOW_RULE] = (flows.policy.epoch << 16) | (this.rule + 1);
    const first = this.firstState(packet, at);
    if (first < 0) {
      table.abort(flow);
      return -first;
    }
    const state = first | this.flags(packet.protocol);
    if (!table.commit(flow, state, packet.port | (this.arrival.backend << FLOW_BACKEND_SHIFT)))
      return DROP_PORTS_EXHAUSTED;
    packet.flow = flow << 1;
    if (this.arrival.backend !== 0) flows.services.begun(this.arrival.backend, !isYielding(state));
    if (this.arrival.turnOf !== null)
      flows.services.take(this.arrival.turnOf, this.before, isIpv6, this.arrival.turnAt);
    if (this.arrival.external !== 0) this.permit(packet, state);
    if (this.arrival.expected >= 0) {
      // First: what is expected gives up its reference, and nobody else is to get the port in between.
      if ((state & FLOW_ENTERED) !== 0) this.enter(flow);
      flows.algs.expectations.remove(this.arrival.expected);
    }
    this.watchFilling();
    return DROP_NONE;
  }

  private writeTuples(flow: number, at: number, isIpv6: boolean): void {
    const { words, addresses6 } = this.flows.table;
    const { before, after } = this;
    words[at + FLOW_PORTS] = this.arrival.portsBefore;
    // As answers have them: mirrored.
    words[at + FLOW_REPLY_PORTS] = (this.arrival.portsAfter << 16) | (this.arrival.portsAfter >>> 16);
    if (!isIpv6) {
      words[at + FLOW_SOURCE] = before[3];
      words[at + FLOW_DESTINATION] = before[7];
      words[at + FLOW_REPLY_SOURCE] = after[7];
      words[at + FLOW_REPLY_DESTINATION] = after[3];
      return;
    }
    const to = flow * 16;
    for (let i = 0; i < 8; i++) addresses6[to + i] = before[i];
    for (let i = 0; i < 4; i++) {
      addresses6[to + 8 + i] = after[4 + i];
      addresses6[to + 12 + i] = after[i];
    }
  }

  firstState(packet: Packet, at: number): number {
    const { table } = this.flows;
    switch (packet.protocol) {
      case PROTOCOL_TCP:
        return openTcp(table.words, at, this.view, packet);
      case PROTOCOL_SCTP:
        return openSctp(table.words, at, this.view, packet);
      case PROTOCOL_UDP:
        return STATE_UDP_UNREPLIED;
      case PROTOCOL_ICMP:
      case PROTOCOL_ICMPV6:
        return STATE_ICMP_UNREPLIED;
      default:
        return STATE_OTHER_UNREPLIED;
    }
  }

  private get isSourceKept(): boolean {
    return (
      isSame(this.before, this.after, SOURCE) && this.arrival.portsBefore >>> 16 === this.arrival.portsAfter >>> 16
    );
  }

  /** Whether the packet in hand came to an address and port at which an endpoint or a service is for others, and is translated. */
  private get hasPublicTarget(): boolean {
    return (
      this.arrival.inside === INSIDE_PUBLISHED || (this.arrival.inside === INSIDE_SERVICE && !this.arrival.isDirect)
    );
  }

  private flags(protocol: number): number {
    let flags = FLOW_LIVE;
    if (!this.isSourceKept) flags |= FLOW_SNAT;
    if (this.arrival.inside !== INSIDE_NONE && !this.arrival.isDirect) flags |= FLOW_DNAT;
    if (this.arrival.backend !== 0) flags |= this.arrival.isDirect ? FLOW_BALANCED | FLOW_DIRECT : FLOW_BALANCED;
    if (this.isOneSided) flags |= FLOW_DIRECT;
    if (this.arrival.external !== 0) flags |= FLOW_MAPPED;
    if (this.arrival.inside === INSIDE_MAPPING || this.isExpectedAtMapping()) flags |= FLOW_ENTERED;
    if (this.arrival.expected >= 0) flags |= FLOW_RELATED;
    return (
      flags | this.flows.algs.flagsFor(protocol, this.arrival.portsBefore & 0xffff, this.arrival.portsAfter & 0xffff)
    );
  }

  // --- what a flow holds

  /** Whom it talks to may send to its mapping from other ports as well (address-dependent filtering). */
  private permit(packet: Packet, state: number): void {
    const { mappings, permissions } = this.flows;
    const port = this.arrival.portsAfter >>> 16;
    permissions.add(this.arrival.external, packet.protocol, port, this.after, DESTINATION);
    if (isYielding(state)) mappings.close(this.arrival.external, packet.protocol, port);
  }

  /** A flow that holds something ends. */
  release(flow: number): void {
    const { mappings, permissions, table } = this.flows;
    const { words } = table;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    const isEnding = isYielding(state);
    const protocol = protocolOfKind(words[at + FLOW_KIND]);
    const external = (state & FLOW_MAPPED) === 0 ? 0 : this.externalOf(flow);
    if (external !== 0) {
      const port = words[at + FLOW_REPLY_PORTS] & 0xffff;
      permissions.remove(external, protocol, port, this.tuple, SOURCE);
      mappings.release(external, protocol, port, isEnding);
    }
    const entered = (state & FLOW_ANSWERED) === 0 ? 0 : this.enteredOf(flow);
    if (entered !== 0) mappings.release(entered, protocol, words[at + FLOW_PORTS] & 0xffff, isEnding);
  }

  /** A predecessor's flow holds something. */
  adopt(flow: number): void {
    const { words } = this.flows.table;
    const state = words[flow * FLOW_WORDS + FLOW_STATE];
    if ((state & FLOW_MAPPED) !== 0) this.adoptSource(flow);
    if ((state & FLOW_ANSWERED) !== 0) this.adoptEntered(flow);
  }

  private adoptSource(flow: number): void {
    const { flows } = this;
    const { words } = flows.table;
    const at = flow * FLOW_WORDS;
    const kind = words[at + FLOW_KIND];
    const protocol = protocolOfKind(kind);
    const port = words[at + FLOW_REPLY_PORTS] & 0xffff;
    this.readReply(flow);
    const { tuple } = this;
    const external = flows.mappings.external(zoneOfKind(kind), tuple[4], tuple[5], tuple[6], tuple[7]);
    if (external === 0) return;
    const internal = words[at + FLOW_PORTS] >>> 16;
    const owner = flows.table.ownerOf(flow);
    const closing = isYielding(words[at + FLOW_STATE]);
    this.readInside(flow);
    flows.mappings.adopt(external, protocol, port, this.before, internal, owner, closing);
    flows.permissions.add(external, protocol, port, tuple, SOURCE);
  }

  /**
   * A flow with FLOW_ENTERED is answered: the mapping is not to end before it, since what the inside sends by it goes out from that mapping,
   * and refreshes it (RFC 4787, REQ-1 and REQ-6). Unless the port has become another's meanwhile.
   */
  enter(flow: number): void {
    const { mappings, table } = this.flows;
    const { words } = table;
    const at = flow * FLOW_WORDS;
    const kind = words[at + FLOW_KIND];
    this.readOriginal(flow);
    const { tuple } = this;
    const port = words[at + FLOW_PORTS] & 0xffff;
    const mapping = mappings.find(zoneOfKind(kind), tuple[4], tuple[5], tuple[6], tuple[7], protocolOfKind(kind), port);
    this.readReply(flow);
    if (mapping >= 0) {
      if (mappings.internalPort(mapping) !== words[at + FLOW_REPLY_PORTS] >>> 16) return;
      for (let i = 0; i < 4; i++) if (mappings.internalWord(mapping, i) !== tuple[i]) return;
    }
    if (this.adoptEntered(flow)) table.setState(flow, words[at + FLOW_STATE] | FLOW_ANSWERED);
  }

  private adoptEntered(flow: number): boolean {
    const { mappings, table } = this.flows;
    const { words } = table;
    const at = flow * FLOW_WORDS;
    const kind = words[at + FLOW_KIND];
    this.readOriginal(flow);
    const { tuple } = this;
    const external = mappings.external(zoneOfKind(kind), tuple[4], tuple[5], tuple[6], tuple[7]);
    if (external === 0) return false;
    // Its inside end is whom answers come from.
    this.readReply(flow);
    const port = words[at + FLOW_PORTS] & 0xffff;
    const internal = words[at + FLOW_REPLY_PORTS] >>> 16;
    const closing = isYielding(words[at + FLOW_STATE]);
    return mappings.adopt(external, protocolOfKind(kind), port, tuple, internal, table.ownerOf(flow), closing);
  }

  /** Sets `before` to who has begun a flow. */
  private readInside(flow: number): void {
    const { words, addresses6 } = this.flows.table;
    const { before } = this;
    const at = flow * FLOW_WORDS;
    const isIpv6 = isIpv6Kind(words[at + FLOW_KIND]);
    before[0] = isIpv6 ? addresses6[flow * 16] : 0;
    before[1] = isIpv6 ? addresses6[flow * 16 + 1] : 0;
    before[2] = isIpv6 ? addresses6[flow * 16 + 2] : MAPPED;
    before[3] = isIpv6 ? addresses6[flow * 16 + 3] : words[at + FLOW_SOURCE];
  }

  /** Source and destination of a flow's answers, four words each. */
  private readonly tuple = new Int32Array(8);

  private readReply(flow: number): void {
    this.readTuple(flow, FLOW_REPLY_SOURCE, FLOW_REPLY_DESTINATION, 8);
  }

  /** The same of the packet that began it. */
  private readOriginal(flow: number): void {
    this.readTuple(flow, FLOW_SOURCE, FLOW_DESTINATION, 0);
  }

  private readTuple(flow: number, source: number, destination: number, at6: number): void {
    const { words, addresses6 } = this.flows.table;
    const { tuple } = this;
    const at = flow * FLOW_WORDS;
    if (isIpv6Kind(words[at + FLOW_KIND])) {
      for (let i = 0; i < 8; i++) tuple[i] = addresses6[flow * 16 + at6 + i];
      return;
    }
    tuple[0] = 0;
    tuple[1] = 0;
    tuple[2] = MAPPED;
    tuple[3] = words[at + source];
    tuple[4] = 0;
    tuple[5] = 0;
    tuple[6] = MAPPED;
    tuple[7] = words[at + destination];
  }

  /**
   * A flow that holds something yields from now on: its port is the first to be given away where none is left. Or it does so no longer.
   */
  close(flow: number, isClosed: boolean): void {
    const { words } = this.flows.table;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    const protocol = protocolOfKind(words[at + FLOW_KIND]);
    const external = (state & FLOW_MAPPED) === 0 ? 0 : this.externalOf(flow);
    if (external !== 0) this.closeMapping(external, protocol, words[at + FLOW_REPLY_PORTS] & 0xffff, isClosed);
    const entered = (state & FLOW_ANSWERED) === 0 ? 0 : this.enteredOf(flow);
    if (entered !== 0) this.closeMapping(entered, protocol, words[at + FLOW_PORTS] & 0xffff, isClosed);
  }

  private closeMapping(external: number, protocol: number, port: number, isClosed: boolean): void {
    const { mappings } = this.flows;
    if (isClosed) mappings.close(external, protocol, port);
    else mappings.reopen(external, protocol, port);
  }

  /** The external address of a flow with FLOW_MAPPED, its reply tuple in `tuple`; 0: there is none. */
  private externalOf(flow: number): number {
    this.readReply(flow);
    return this.findExternal(flow);
  }

  /** The same with FLOW_ENTERED, and the original tuple. */
  private enteredOf(flow: number): number {
    this.readOriginal(flow);
    return this.findExternal(flow);
  }

  /** Of the destination in `tuple`. */
  private findExternal(flow: number): number {
    const { tuple } = this;
    const zone = zoneOfKind(this.flows.table.words[flow * FLOW_WORDS + FLOW_KIND]);
    return this.flows.mappings.findExternal(zone, tuple[4], tuple[5], tuple[6], tuple[7]);
  }

  /** Whether a flow with FLOW_SNAT leaves from an address that is the router's still, or of a prefix that it translates. */
  ownsSource(flow: number): boolean {
    this.readReply(flow);
    const { tuple } = this;
    const zone = zoneOfKind(this.flows.table.words[flow * FLOW_WORDS + FLOW_KIND]);
    if (this.owns(zone, tuple[4], tuple[5], tuple[6], tuple[7])) return true;
    return this.flows.prefixes.isOutside(zone, tuple, DESTINATION);
  }

  /** Whether a flow that is not translated would be if it began now: its network is hidden from the wire since. */
  isExposed(packet: Packet, from: RouterInterface, flow: number): boolean {
    const { words } = this.flows.table;
    const at = flow * FLOW_WORDS;
    const elsewhere = FLOW_SNAT | FLOW_DNAT | FLOW_DIRECT;
    if (from.kind !== INTERFACE_NETWORK || (words[at + FLOW_STATE] & elsewhere) !== 0) return false;
    this.readOriginal(flow);
    const { tuple } = this;
    const isHidden = sourcesOf(from, packet) !== null || this.flows.prefixes.isInside(from, tuple, SOURCE);
    if (!isHidden) return false;
    const vrf = this.router.vrfs[from.vrf] as Vrf;
    const to = this.router.interfaces[this.ifaceBehind(vrf, tuple[4], tuple[5], tuple[6], tuple[7])];
    return to?.kind === INTERFACE_UPLINK;
  }

  /** What the policy says now of a flow that there is. A rule, or NO_RULE. */
  decide(flow: number): number {
    const { policy, table } = this.flows;
    if (policy.isEmpty) return NO_RULE;
    const rule = this.decideFlow(flow);
    // Nobody knows who began one that was taken up in the middle; nothing of it is translated.
    const isLoose = (table.words[flow * FLOW_WORDS + FLOW_STATE] & FLOW_LOOSE) !== 0;
    return isLoose ? policy.earlier(rule, this.decideFlowMirrored(flow)) : rule;
  }

  private decideFlow(flow: number): number {
    const { flows, router } = this;
    const { words, addresses6 } = flows.table;
    const at = flow * FLOW_WORDS;
    const kind = words[at + FLOW_KIND];
    const vrf = router.vrfs[zoneOfKind(kind)];
    if (vrf === null || vrf === undefined) return NO_RULE;
    const protocol = protocolOfKind(kind);
    const port = words[at + FLOW_REPLY_PORTS] >>> 16;
    const portBefore = words[at + FLOW_PORTS] & 0xffff;
    if (!isIpv6Kind(kind)) {
      const source = words[at + FLOW_SOURCE];
      const target = words[at + FLOW_REPLY_SOURCE];
      const from = this.ifaceBehind(vrf, 0, 0, MAPPED, source);
      const to = this.ifaceOfTarget(vrf, flow, 0, 0, MAPPED, target);
      return flows.policy.decide4(from, to, source, target, words[at + FLOW_DESTINATION], protocol, port, portBefore);
    }
    const { twelve } = this;
    const a = flow * 16;
    for (let i = 0; i < 4; i++) {
      twelve[i] = addresses6[a + i];
      twelve[4 + i] = addresses6[a + 8 + i];
      twelve[8 + i] = addresses6[a + 4 + i];
    }
    const from = this.ifaceBehind(vrf, twelve[0], twelve[1], twelve[2], twelve[3]);
    const to = this.ifaceOfTarget(vrf, flow, twelve[4], twelve[5], twelve[6], twelve[7]);
    return flows.policy.decide6(from, to, twelve, protocol, port, portBefore);
  }

  /** Number of the interface that leads to a flow's target: its address, or the backend that takes packets with the service's; 0: none. */
  private ifaceOfTarget(vrf: Vrf, flow: number, a: number, b: number, c: number, d: number): number {
    const { words } = this.flows.table;
    const at = flow * FLOW_WORDS;
    const isDirect = (words[at + FLOW_STATE] & FLOW_DIRECT_SERVICE) === FLOW_DIRECT_SERVICE;
    if (!isDirect) return this.ifaceBehind(vrf, a, b, c, d);
    const via = this.viaOf(flow, isIpv6Kind(words[at + FLOW_KIND]));
    return via === null ? 0 : this.ifaceBehind(vrf, via[0], via[1], via[2], via[3]);
  }

  /** As if its answers had begun it. */
  private decideFlowMirrored(flow: number): number {
    const { flows, router, twelve } = this;
    const { words, addresses6 } = flows.table;
    const at = flow * FLOW_WORDS;
    const kind = words[at + FLOW_KIND];
    const vrf = router.vrfs[zoneOfKind(kind)];
    if (vrf === null || vrf === undefined) return NO_RULE;
    const protocol = protocolOfKind(kind);
    const port = words[at + FLOW_PORTS] >>> 16;
    if (!isIpv6Kind(kind)) {
      const source = words[at + FLOW_DESTINATION];
      const target = words[at + FLOW_SOURCE];
      const from = this.ifaceBehind(vrf, 0, 0, MAPPED, source);
      const to = this.ifaceBehind(vrf, 0, 0, MAPPED, target);
      return flows.policy.decide4(from, to, source, target, target, protocol, port, port);
    }
    for (let i = 0; i < 4; i++) {
      twelve[i] = addresses6[flow * 16 + 4 + i];
      twelve[4 + i] = addresses6[flow * 16 + i];
      twelve[8 + i] = addresses6[flow * 16 + i];
    }
    const from = this.ifaceBehind(vrf, twelve[0], twelve[1], twelve[2], twelve[3]);
    const to = this.ifaceBehind(vrf, twelve[4], twelve[5], twelve[6], twelve[7]);
    return flows.policy.decide6(from, to, twelve, protocol, port, port);
  }

  /** Number of the interface that leads to an address of four words; 0: none. */
  ifaceTo(zone: number, address: Int32Array): number {
    const vrf = this.router.vrfs[zone];
    return vrf === null || vrf === undefined
      ? 0
      : this.ifaceBehind(vrf, address[0], address[1], address[2], address[3]);
  }

  /** Number of the interface that leads to an address; 0: none. */
  private ifaceBehind(vrf: Vrf, a: number, b: number, c: number, d: number): number {
    const isIpv4 = a === 0 && b === 0 && c === MAPPED;
    const { hops } = vrf.routes[isIpv4 ? vrf.fib4.lookup(d) : vrf.fib6.lookup(a, b, c, d)];
    return hops.length === 0 ? 0 : hops[0].iface;
  }

  // --- when there is no way

  /** Drops a packet, and tells its sender where that is due. A verdict. */
  refuse(packet: Packet, from: RouterInterface, reason: number): number {
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    if (reason === DROP_NO_FLOW && packet.protocol === PROTOCOL_TCP) return this.unknown(packet, from);
    // RFC 5508, REQ-8: no session can be made.
    if (reason === DROP_PORTS_EXHAUSTED || reason === DROP_FLOWS_FULL || reason === DROP_FLOW_LIMIT) {
      if (isIpv4) this.router.errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_ADMIN_PROHIBITED, 0);
      else this.router.errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_ADMIN_PROHIBITED, 0);
      return refuse(packet, reason);
    }
    if (reason >= DROP_NO_FLOW) return refuse(packet, reason);
    const { forwarder } = this.router;
    return isIpv4 ? forwarder.refuse4(packet, from, reason) : forwarder.refuse6(packet, from, reason);
  }

  limited(packet: Packet, limit: number): number {
    const { now, events } = this.dataplane;
    const last = this.limitedAt.get(packet.port) ?? -REPORT;
    if (now - last >= REPORT) {
      this.limitedAt.set(packet.port, now);
      events.add(EVENT_FLOW_LIMIT, packet.domain, packet.port, 0, 0, 0, limit);
    }
    return DROP_FLOW_LIMIT;
  }

  /** An entry for a flow; -1: there is none, not even one that a half-open connection could give up. */
  beginEntry(): number {
    const { table } = this.flows;
    const { capacityReached } = table;
    const flow = table.begin();
    if (table.capacityReached !== capacityReached) this.tellFull();
    return flow;
  }

  private tellFull(): void {
    const { now, events } = this.dataplane;
    if (now - this.fullAt < REPORT) return;
    this.fullAt = now;
    events.add(EVENT_FLOWS_FULL, 0, 0, 0, 0, 0, this.flows.table.capacity);
  }

  /** A flow has begun: the first to find the table nearly full says so. */
  watchFilling(): void {
    const { count, capacity } = this.flows.table;
    if (this.alarmed) {
      if (count * 100 < capacity * ALARM_OVER) this.alarmed = false;
    } else if (count * 100 >= capacity * ALARM) {
      this.alarmed = true;
      this.dataplane.events.add(EVENT_FLOWS_ALARM, 0, 0, 0, 0, 0, ALARM);
    }
  }
}

/** The pool that packets of an interface leave from by an uplink; null: with their own addresses. */
function sourcesOf({ translation }: RouterInterface, packet: Packet): Int32Array | null {
  if (translation === null) return null;
  return packet.etherType === ETHERTYPE_IPV4 ? translation.sources4 : translation.sources6;
}

function isSame(one: Int32Array, other: Int32Array, at: number): boolean {
  return (
    one[at] === other[at] &&
    one[at + 1] === other[at + 1] &&
    one[at + 2] === other[at + 2] &&
    one[at + 3] === other[at + 3]
  );
}

/**
 * Whether a flow yields its port where none is left: it has been closed by its ends, or nobody has answered it yet. Whoever opens connections
 * to nobody from all ports there are keeps none from the others so.
 */
export function isYielding(state: number): boolean {
  return classOf(state) !== CLASS_ESTABLISHED;
}

function isClosing(state: number): boolean {
  return classOf(state) === CLASS_CLOSING;
}
