/**
 * The router of one dataplane: its VRFs and interfaces, and the parts that deal with a packet. What is configured is changed between two
 * packets.
 *
 *   receive  → ARP | neighbor discovery | forward.ts → local.ts (own addresses)
 *   overhear → the same for broadcasts and multicasts, which the bridge has too
 */

import type { Dataplane } from '../dataplane.js';
import {
  DROP_FRAGMENT_TIMEOUT,
  DROP_HOST_OWNED,
  DROP_INTERFACE_DOWN,
  DROP_NEIGHBOR_FAILED,
  DROP_NONE,
  DROP_NOT_LISTENING,
  DROP_OTHER_HOST,
  DROP_PORT_GONE,
  DROP_UNVERIFIABLE,
  DROP_VLAN_NOT_ALLOWED,
} from '../drop.js';
import type { EventList } from '../events.js';
import { type FlowMemory, Flows } from '../nat/flows.js';
import { beginFrame } from '../originate.js';
import type { Arena } from '../packet/arena.js';
import { copyPacket } from '../packet/copy.js';
import {
  PACKET_FRAGMENT,
  PACKET_L3_MALFORMED,
  PACKET_LATER_FRAGMENT,
  type Packet,
  TAG_NONE,
} from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import { ROUTER_PORT } from '../ports.js';
import { isGroupDestination } from '../switch/admit.js';
import { checksumField, isChecksumSafe } from '../switch/port-security.js';
import { setVid } from '../switch/vlan.js';
import { CONTINUE, refuse } from '../verdict.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, macHigh, macLow } from '../wire/ethernet.js';
import { ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../wire/icmp.js';
import {
  ICMPV6_ECHO_REQUEST,
  icmpv6Type,
  ND_REDIRECT,
  ND_ROUTER_SOLICITATION,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { parse } from '../wire/parse.js';
import { Advertiser } from './advertise.js';
import { Arp } from './arp.js';
import type { RouterContext } from './context.js';
import { IcmpErrors } from './errors.js';
import { examineExtensions, extensionsProblem } from './extensions.js';
import { Forwarder } from './forward.js';
import { ICMP_HOST_UNREACHABLE, ICMP_REASSEMBLY_TIME_EXCEEDED } from './icmp.js';
import {
  ICMPV6_ADDRESS_UNREACHABLE,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_REASSEMBLY_TIME_EXCEEDED,
  ICMPV6_TIME_EXCEEDED,
  ICMPV6_UNREACHABLE,
  isFromHost,
} from './icmpv6.js';
import {
  ADDRESS4_WORDS,
  ADDRESS6_WORDS,
  INTERFACE_HOST,
  INTERFACE_NETWORK,
  type InterfaceOptions,
  RouterInterface,
} from './interface.js';
import { LocalDelivery } from './local.js';
import { Discovery } from './nd.js';
import { NeighborTable } from './neighbors.js';
import { Reassembly, type ReassemblyContext } from './reassembly.js';
import {
  Hop,
  type Prefix,
  prefix4,
  prefix6,
  ROUTE_BROADCAST,
  ROUTE_LOCAL,
  ROUTE_UNICAST,
  type Route,
  Vrf,
} from './vrf.js';

const GROUP_BIT = 0x0100;
/** ff02::1 and ff02::2. */
const ALL_ON_LINK = 0xff020000 | 0;
const ALL_NODES = 1;
const ALL_ROUTERS = 2;

export interface VrfOptions {
  readonly interconnect: boolean;
  readonly recordRoute: boolean;
  readonly timestamp: boolean;
  /** Connections are tracked: packets are looked up in the flow table (core/nat). */
  readonly tracking?: boolean;
}

export class Router implements RouterContext, ReassemblyContext {
  /** By number; 0 is none. */
  readonly vrfs: (Vrf | null)[] = [null];
  readonly interfaces: (RouterInterface | null)[] = [null];
  readonly seed: number;
  readonly neighbors: NeighborTable;
  readonly arp: Arp;
  readonly advertiser: Advertiser;
  readonly discovery: Discovery;
  readonly errors: IcmpErrors;
  readonly forwarder: Forwarder;
  readonly local: LocalDelivery;
  readonly reassembly: Reassembly;
  readonly flows: Flows;
  private readonly dataplane: Dataplane;

  constructor(dataplane: Dataplane, seed: number, memory: FlowMemory) {
    this.dataplane = dataplane;
    this.seed = seed;
    this.neighbors = new NeighborTable(this, seed);
    this.arp = new Arp(this, this.neighbors);
    this.advertiser = new Advertiser(this, seed);
    this.discovery = new Discovery(this, this.neighbors, this.advertiser);
    this.errors = new IcmpErrors(this);
    this.forwarder = new Forwarder(dataplane, this);
    this.local = new LocalDelivery(dataplane, this);
    this.reassembly = new Reassembly(this);
    this.flows = new Flows(dataplane, this, memory);
    this.forwarder.flows = this.flows;
  }

  // --- packets

  /** A unicast frame to the interface's MAC; on a port that is the router's alone, group frames as well. Returns a verdict. */
  receive(packet: Packet, from: RouterInterface): number {
    if (packet.vlan !== -1) {
      // A tag that is not the domain's would make it another network's, if it were one.
      if (packet.tag === TAG_NONE || packet.innerVlan !== -1) return refuse(packet, DROP_VLAN_NOT_ALLOWED);
      setVid(this.dataplane.arena, packet, 0, 0);
      // One that is held comes by again.
      packet.vlan = -1;
    }
    if (isGroupDestination(packet)) return this.receiveGroup(packet, from);
    if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0 && !isChecksumInside(packet))
      return refuse(packet, DROP_UNVERIFIABLE);
    if (packet.etherType === ETHERTYPE_IPV4) return this.forwarder.receive4(packet, from);
    if (packet.etherType === ETHERTYPE_IPV6) return this.forwarder.receive6(packet, from);
    if (packet.etherType !== ETHERTYPE_ARP) return refuse(packet, DROP_NOT_LISTENING);
    const verdict = this.arp.receive(packet, from);
    return verdict === CONTINUE ? refuse(packet, from.shared ? DROP_HOST_OWNED : DROP_NOT_LISTENING) : verdict;
  }

  /** A group frame that nobody but the router could take. */
  private receiveGroup(packet: Packet, from: RouterInterface): number {
    const verdict = this.overhear(packet, from);
    return verdict === CONTINUE ? refuse(packet, from.shared ? DROP_HOST_OWNED : DROP_OTHER_HOST) : verdict;
  }

  /** A broadcast or multicast in the interface's domain. CONTINUE: the bridge goes on with it; else the verdict. */
  overhear(packet: Packet, from: RouterInterface): number {
    if (packet.vlan !== -1 && (packet.tag === TAG_NONE || packet.innerVlan !== -1)) return CONTINUE;
    if (packet.etherType === ETHERTYPE_ARP) return this.arp.receive(packet, from);
    if (packet.etherType !== ETHERTYPE_IPV6 || packet.protocol !== PROTOCOL_ICMPV6) return CONTINUE;
    if (packet.l4 === -1 || (packet.flags & (PACKET_FRAGMENT | PACKET_L3_MALFORMED)) !== 0) return CONTINUE;
    const type = icmpv6Type(this.arena.view, packet.l4);
    if (type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT) return this.discovery.receive(packet, from);
    if (type === ICMPV6_ECHO_REQUEST && !from.shared) this.answerGroup(packet, from);
    return CONTINUE;
  }

  /** An echo request to all nodes or all routers: answered out of a copy, since others get it as well. */
  private answerGroup(packet: Packet, from: RouterInterface): void {
    const { arena } = this;
    const at = packet.l3 + IPV6_DESTINATION;
    const last = arena.view.getInt32(at + 12);
    const isAll = arena.view.getInt32(at) === ALL_ON_LINK && (last === ALL_NODES || last === ALL_ROUTERS);
    if (!isAll || arena.view.getInt32(at + 4) !== 0 || arena.view.getInt32(at + 8) !== 0) return;
    if (!isFromHost(arena.view, packet.l3 + IPV6_SOURCE) || this.examine6(packet, from) !== DROP_NONE) return;
    const copy = copyPacket(arena, packet);
    if (copy === null) return;
    parse(arena, copy);
    copy.domain = packet.domain;
    if (packet.tag !== TAG_NONE) setVid(arena, copy, 0, 0);
    this.local.answerGroup(copy, from);
  }

  /** Destination options and the like of a packet to us (RFC 8200, 4). Returns a drop reason, or DROP_NONE. */
  examine6(packet: Packet, from: RouterInterface): number {
    const reason = examineExtensions(this.arena.view, packet);
    const { code, pointer } = extensionsProblem;
    if (reason !== DROP_NONE && code >= 0)
      this.errors.send6(packet, from, ICMPV6_PARAMETER_PROBLEM, code, pointer, true);
    return reason;
  }

  // --- RouterContext

  get arena(): Arena {
    return this.dataplane.arena;
  }

  get events(): EventList {
    return this.dataplane.events;
  }

  get now(): number {
    return this.dataplane.now;
  }

  get milliseconds(): number {
    return this.dataplane.milliseconds;
  }

  /** For timestamp options: no standard time, which the highest bit says (RFC 791, 3.1). */
  get timeOfDay(): number {
    return this.dataplane.milliseconds | (0x80000000 | 0);
  }

  begin(): Packet | null {
    return beginFrame(this.arena, 0);
  }

  sendFrame(packet: Packet, iface: RouterInterface): void {
    const { dataplane } = this;
    const domain = dataplane.topology.domainOf(iface.fid);
    if (domain === null || !iface.up || domain.memberCount === 0) {
      this.arena.release(packet.slot);
      return;
    }
    const { view } = this.arena;
    const high = macHigh(view, packet.start);
    const port = iface.port !== 0 ? iface.port : this.portOf(iface, high, macLow(view, packet.start));
    if (port !== 0) dataplane.originateTo(packet, domain, port);
    else dataplane.originate(packet, domain, domain.members, domain.memberCount);
  }

  /** The port behind which a MAC is; 0: a group's, or unknown. */
  private portOf(iface: RouterInterface, high: number, low: number): number {
    if ((high & GROUP_BIT) !== 0) return 0;
    const port = this.dataplane.fdb.search((iface.fid << 16) | high, low);
    return port === ROUTER_PORT ? 0 : port;
  }

  /**
   * A port goes, and the FDB still knows who is behind it. They are forgotten here as well, so that who sends to them is soon told that
   * nobody answers, instead of when their last confirmation is too old. What has come from there and waits goes with it.
   */
  portEnds(port: number): void {
    this.neighbors.giveUpFrom(port, DROP_PORT_GONE);
    this.reassembly.giveUpFrom(port, DROP_PORT_GONE);
    this.flows.portEnds(port);
    this.neighbors.forget(({ iface: number, macHigh: high, macLow: low }) => {
      const iface = this.interfaces[number];
      return iface !== null && iface !== undefined && iface.port === 0 && this.portOf(iface, high, low) === port;
    });
  }

  resume(packet: Packet): void {
    this.dataplane.resume(packet);
  }

  giveUp(packet: Packet, reason: number): void {
    packet.reason = reason;
    this.explain(packet);
    this.dataplane.abandon(packet);
  }

  takeIn(packet: Packet): void {
    this.dataplane.takeIn(packet);
  }

  /** What the sender of a packet whose next hop does not answer is told, or of fragments whose rest does not come. */
  explain(packet: Packet): void {
    const from = this.dataplane.interfaceOf(packet);
    if (from === null) return;
    const { reason } = packet;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    if (reason === DROP_NEIGHBOR_FAILED) {
      if (isIpv4) this.errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_HOST_UNREACHABLE, 0);
      else this.errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_ADDRESS_UNREACHABLE, 0);
    } else if (reason === DROP_FRAGMENT_TIMEOUT && (packet.flags & PACKET_LATER_FRAGMENT) === 0) {
      if (isIpv4) this.errors.send4(packet, from, ICMP_TIME_EXCEEDED, ICMP_REASSEMBLY_TIME_EXCEEDED, 0);
      else this.errors.send6(packet, from, ICMPV6_TIME_EXCEEDED, ICMPV6_REASSEMBLY_TIME_EXCEEDED, 0, true);
    }
  }

  // --- VRFs

  /** @throws RangeError where the number is taken */
  addVrf(number: number, options: VrfOptions): void {
    while (this.vrfs.length <= number) this.vrfs.push(null);
    if (this.vrfs[number] !== null) throw new RangeError(`VRF number ${number} is taken`);
    this.vrfs[number] = new Vrf(number);
    this.setVrf(number, options);
  }

  setVrf(number: number, options: VrfOptions): void {
    const vrf = this.vrf(number);
    Object.assign(vrf, options);
    for (const iface of this.interfaces) if (iface?.vrf === number) iface.tracking = vrf.tracking;
    this.forwarder.shortcuts.forget();
  }

  /** @throws RangeError where interfaces are left in it */
  removeVrf(number: number): void {
    if (this.interfaces.some((iface) => iface?.vrf === number)) throw new RangeError(`VRF number ${number} is in use`);
    this.vrfs[number] = null;
    this.forwarder.shortcuts.forget();
  }

  /** @throws RangeError where there is none */
  vrf(number: number): Vrf {
    const vrf = this.vrfs[number];
    if (vrf === null || vrf === undefined) throw new RangeError(`no VRF number ${number}`);
    return vrf;
  }

  // --- interfaces

  /** @throws RangeError where the number is taken, or VRF, domain or port are not there; then nothing has changed */
  addInterface(number: number, options: InterfaceOptions, isUp = true): void {
    while (this.interfaces.length <= number) this.interfaces.push(null);
    if (this.interfaces[number] !== null) throw new RangeError(`interface number ${number} is taken`);
    this.require(options);
    const iface = this.place(number, options, isUp);
    if (isUp) this.present(iface);
  }

  /**
   * Replaces an interface as a whole. What was resolved on it stays.
   * @throws RangeError as addInterface does
   */
  setInterface(number: number, options: InterfaceOptions, isUp: boolean): void {
    const before = this.interface(number);
    this.require(options);
    this.displace(before);
    const iface = this.place(number, options, isUp);
    if (!isUp) this.silence(number);
    else if (!before.up || hasMoved(before, iface)) this.present(iface);
  }

  removeInterface(number: number): void {
    const iface = this.interface(number);
    this.advertiser.farewell(iface);
    this.displace(iface);
    this.interfaces[number] = null;
    this.silence(number);
    this.neighbors.removeInterface(number, DROP_INTERFACE_DOWN);
    this.withoutHop(this.vrf(iface.vrf), number);
  }

  /** @throws RangeError where there is none */
  interface(number: number): RouterInterface {
    const iface = this.interfaces[number];
    if (iface === null || iface === undefined) throw new RangeError(`no interface number ${number}`);
    return iface;
  }

  private require({ vrf, fid, port }: InterfaceOptions): void {
    this.vrf(vrf);
    if (this.dataplane.topology.domainOf(fid) === null) throw new RangeError(`no domain number ${fid}`);
    if (port !== 0 && !this.dataplane.ports[port].isRouted) throw new RangeError(`port number ${port} is a bridge's`);
  }

  private place(number: number, options: InterfaceOptions, isUp: boolean): RouterInterface {
    const iface = new RouterInterface(number, options);
    const { dataplane } = this;
    iface.up = isUp;
    iface.tracking = this.vrf(options.vrf).tracking;
    this.interfaces[number] = iface;
    this.neighbors.setInterface(iface);
    this.flows.prefixes.update(this.interfaces);
    this.forwarder.shortcuts.forget();
    if (iface.port !== 0) dataplane.ports[iface.port].routed = iface;
    else this.bind(iface);
    const vrf = this.vrf(iface.vrf);
    this.forEachOwn(iface, (prefix, kind) => vrf.set(prefix, kind, [new Hop(number, null, 0)], true));
    if (iface.kind === INTERFACE_HOST) vrf.host = new Hop(number, null, 0);
    return iface;
  }

  /** The gateway of a bridge: its MAC is the router's for good. */
  private bind(iface: RouterInterface): void {
    const { fdb, ports, topology } = this.dataplane;
    const domain = topology.domainOf(iface.fid);
    if (domain === null) return;
    domain.gateway = iface;
    domain.snooping?.speakAs({ ...iface, address4: iface.addresses4[0] ?? 0 });
    if (!fdb.setStatic(domain, iface.macHigh, iface.macLow, ports[ROUTER_PORT]))
      throw new RangeError('the FDB is full');
  }

  private displace(iface: RouterInterface): void {
    this.forwarder.shortcuts.forget();
    const { fdb, ports, topology } = this.dataplane;
    const domain = topology.domainOf(iface.fid);
    if (iface.port !== 0) {
      if (ports[iface.port].routed === iface) ports[iface.port].routed = null;
    } else if (domain?.gateway === iface) {
      domain.gateway = null;
      domain.snooping?.speakAs(null);
      fdb.remove(iface.fid, iface.macHigh, iface.macLow);
    }
    const vrf = this.vrf(iface.vrf);
    this.forEachOwn(iface, (prefix) => vrf.remove(prefix));
    if (vrf.host?.iface === iface.number) vrf.host = null;
  }

  /** Nothing can be heard or said there. */
  private silence(number: number): void {
    this.neighbors.flush(number, DROP_INTERFACE_DOWN);
    this.arp.removeInterface(number);
    this.discovery.removeInterface(number);
  }

  /** Tells the neighbors of an interface that its addresses are there. */
  present(iface: RouterInterface): void {
    this.arp.announce(iface);
    this.discovery.announce(iface);
  }

  /**
   * The prefixes that follow from an interface's addresses: the subnet, unless the interface is down; the address; all ones and zeros of an
   * IPv4 subnet, unless it has none (RFC 3021); and for IPv6 the routers' anycast address (RFC 4291, 2.6.1). What comes first is the
   * weaker, where two are the same.
   */
  private forEachOwn(iface: RouterInterface, visit: (prefix: Prefix, kind: number) => void): void {
    const { addresses4, addresses6 } = iface;
    for (let i = 0; i < addresses4.length; i += ADDRESS4_WORDS)
      visitOwn4(addresses4[i], addresses4[i + 1], iface.up, visit);
    for (let i = 0; i < addresses6.length; i += ADDRESS6_WORDS) visitOwn6(addresses6, i, iface, visit);
  }

  /** Takes the hops over an interface out of all routes that have any. */
  private withoutHop(vrf: Vrf, number: number): void {
    const affected: [Prefix, Route][] = [];
    vrf.forEach((prefix, route) => {
      if (route.hops.some(({ iface }) => iface === number)) affected.push([prefix, route]);
    });
    for (const [prefix, route] of affected) {
      const hops = route.hops.filter(({ iface }) => iface !== number);
      if (hops.length === 0) vrf.remove(prefix);
      else vrf.set(prefix, route.kind, hops, route.isConnected);
    }
  }

  // --- routes

  /** @throws RangeError, one line, where VRF or interface are not there, the FIB is full, or the prefix is an interface's own */
  setRoute(vrf: number, prefix: Prefix, kind: number, hops: readonly Hop[]): void {
    for (const { iface } of hops) this.interface(iface);
    this.forwarder.shortcuts.forget();
    this.vrf(vrf).set(prefix, kind, hops, false);
  }

  /** @returns false where there is none, or it is an interface's own */
  removeRoute(number: number, prefix: Prefix): boolean {
    const vrf = this.vrf(number);
    this.forwarder.shortcuts.forget();
    return vrf.get(prefix)?.isConnected === false && vrf.remove(prefix);
  }

  // --- time

  /** Once a second. */
  tick(): void {
    const { now } = this;
    this.neighbors.tick();
    this.arp.tick();
    this.discovery.tick();
    this.reassembly.tick(now);
    for (const iface of this.interfaces) if (iface?.up === true) this.advertiser.tick(iface);
  }
}

function visitOwn4(address: number, mask: number, isUp: boolean, visit: (prefix: Prefix, kind: number) => void): void {
  const length = prefixLength(mask);
  if (isUp && length < 32) visit(prefix4(address, length), ROUTE_UNICAST);
  if (length < 31) {
    visit(prefix4(address & mask, 32), ROUTE_BROADCAST);
    visit(prefix4(address | ~mask, 32), ROUTE_BROADCAST);
  }
  visit(prefix4(address, 32), ROUTE_LOCAL);
}

function visitOwn6(
  words: Int32Array,
  at: number,
  { up, kind }: RouterInterface,
  visit: (prefix: Prefix, kind: number) => void,
): void {
  const { 0: a, 1: b, 2: c, 3: d, 4: length } = words.subarray(at, at + ADDRESS6_WORDS);
  const subnet = prefix6(a, b, c, d, length);
  if (up && length < 128) visit(subnet, ROUTE_UNICAST);
  // On a link with one other host, or with routers of its own, the address may be somebody's (RFC 6164, 5.1).
  if (length < 127 && kind === INTERFACE_NETWORK) visit({ ...subnet, length: 128 }, ROUTE_LOCAL);
  visit(prefix6(a, b, c, d, 128), ROUTE_LOCAL);
}

/**
 * Whether a checksum that is to come lies in the payload. Whoever completes it would else write over addresses, TTL or ports after all
 * checks; or behind the packet, where the frame no longer is when its padding has stayed behind.
 */
function isChecksumInside(packet: Packet): boolean {
  return isChecksumSafe(packet) && checksumField(packet) + 2 <= packet.l3End;
}

/** Leading ones. */
function prefixLength(mask: number): number {
  return Math.clz32(~mask);
}

/** Whether neighbors must hear of a change. */
function hasMoved(before: RouterInterface, now: RouterInterface): boolean {
  if (before.macLow !== now.macLow || before.macHigh !== now.macHigh || before.port !== now.port) return true;
  return `${before.addresses4} ${before.addresses6}` !== `${now.addresses4} ${now.addresses6}`;
}
