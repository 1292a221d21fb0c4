/** The way to a VTEP: route and next hop in the uplink's VRF, found once and kept while nothing changes that could make it wrong. */

import type { Dataplane } from '../dataplane.js';
import { DROP_INTERFACE_DOWN, DROP_NEIGHBOR_FAILED, DROP_NO_ROUTE, DROP_NONE } from '../drop.js';
import { EVENT_VTEP_REACHABLE, EVENT_VTEP_UNREACHABLE } from '../events.js';
import type { Packet } from '../packet/packet.js';
import type { RouterInterface } from '../router/interface.js';
import { NEIGHBOR_FAILED, NEIGHBOR_REACHABLE, type Neighbor } from '../router/neighbor.js';
import type { Router } from '../router/router.js';
import { type Hop, ROUTE_UNICAST, type Vrf } from '../router/vrf.js';
import { IPV4_GROUP_MAC_HIGH, IPV6_GROUP_MAC_HIGH, ipv4GroupMacLow } from '../switch/query-frame.js';
import { CONTINUE, HELD, TO_PORT } from '../verdict.js';
import { outerLength } from './encapsulate.js';
import {
  type LocalVtep,
  type RemoteVtep,
  VTEP_DOWN,
  VTEP_NO_ROUTE,
  VTEP_RESOLVING,
  VTEP_UNREACHABLE,
  VTEP_UP,
} from './vtep.js';

/** Bytes of the largest IP packet: of IPv4; of IPv6 it would be 40 more. */
const IP_MAX_LENGTH = 65535;

export class Underlay {
  /** After TO_PORT: the MAC that the packet goes to. */
  macHigh = 0;
  macLow = 0;
  /** After a failure of `find`: the drop reason. */
  reason = DROP_NONE;
  private readonly dataplane: Dataplane;
  private readonly router: Router;

  constructor(dataplane: Dataplane, router: Router) {
    this.dataplane = dataplane;
    this.router = router;
  }

  /**
   * Whether there is a route, by an interface that is up and has the local address; then `remote.iface` and `remote.mtu` are right; else
   * `reason` is. Costs three loads while nothing has changed, whatever the answer: routes, interfaces and VRFs move the epoch.
   */
  find(remote: RemoteVtep): boolean {
    if (remote.routeEpoch !== this.router.forwarder.shortcuts.epoch) return this.search(remote);
    if (remote.iface !== null) return true;
    this.reason = remote.noWay;
    return false;
  }

  private search(remote: RemoteVtep): boolean {
    remote.routeEpoch = this.router.forwarder.shortcuts.epoch;
    remote.neighbor = null;
    remote.iface = remote.isGroup ? this.groupInterface(remote) : this.routedInterface(remote);
    if (remote.iface === null) {
      remote.noWay = this.reason;
      this.setState(remote, this.reason === DROP_NO_ROUTE ? VTEP_NO_ROUTE : VTEP_DOWN);
      return false;
    }
    if (remote.pathMtu !== 0 && this.dataplane.now >= remote.pathMtuUntil) remote.pathMtu = 0;
    const { mtu } = remote.iface;
    const link = remote.pathMtu !== 0 && remote.pathMtu < mtu ? remote.pathMtu : mtu;
    // A link may take more than a length field says.
    remote.mtu = Math.min(link, IP_MAX_LENGTH) - outerLength(remote.local.isIpv4);
    if (remote.isGroup) this.setState(remote, VTEP_UP);
    else if (remote.state === VTEP_NO_ROUTE || remote.state === VTEP_DOWN) this.setState(remote, VTEP_RESOLVING);
    return true;
  }

  /** The interface that has the local address. */
  private groupInterface({ local }: RemoteVtep): RouterInterface | null {
    this.reason = DROP_INTERFACE_DOWN;
    for (const iface of this.router.interfaces) {
      if (iface !== null && iface.vrf === local.options.vrf && isUsable(iface, local)) return iface;
    }
    return null;
  }

  /** The interface that the route leads to; which must have the local address, or the answers would come elsewhere. */
  private routedInterface(remote: RemoteVtep): RouterInterface | null {
    const vrf = this.router.vrfs[remote.local.options.vrf];
    this.reason = DROP_NO_ROUTE;
    if (vrf == null) return null;
    const hop = this.hopTo(vrf, remote);
    if (hop === null) return null;
    const iface = this.router.interfaces[hop.iface];
    if (iface == null || !isUsable(iface, remote.local)) {
      this.reason = DROP_INTERFACE_DOWN;
      return null;
    }
    remote.hopA = hop.onLink ? remote.a : hop.a;
    remote.hopB = hop.onLink ? remote.b : hop.b;
    remote.hopC = hop.onLink ? remote.c : hop.c;
    remote.hopD = hop.onLink ? remote.d : hop.d;
    return iface;
  }

  private hopTo(vrf: Vrf, { local, a, b, c, d }: RemoteVtep): Hop | null {
    const number = local.isIpv4 ? vrf.fib4.lookup(d) : vrf.fib6.lookup(a, b, c, d);
    const route = vrf.routes[number];
    if (route.kind !== ROUTE_UNICAST) return null;
    return route.hops.find(({ iface }) => this.router.interfaces[iface]?.up === true) ?? null;
  }

  /**
   * The next hop's MAC, for a packet with all of its outer headers but the MACs, after `find`.
   * @returns TO_PORT; HELD, and the slot is the neighbor table's; DROP with `packet.reason`
   */
  resolve(remote: RemoteVtep, packet: Packet): number {
    const iface = remote.iface as RouterInterface;
    if (remote.isGroup) return this.toGroup(remote);
    let { neighbor } = remote;
    if (neighbor === null || neighbor.generation !== remote.neighborGeneration) neighbor = this.learn(remote, iface);
    if (neighbor?.isUsable !== true) return this.hold(remote, iface, packet);
    if (neighbor.state !== NEIGHBOR_REACHABLE) this.router.neighbors.use(neighbor);
    this.macHigh = neighbor.macHigh;
    this.macLow = neighbor.macLow;
    return TO_PORT;
  }

  private learn(remote: RemoteVtep, iface: RouterInterface): Neighbor | null {
    const { hopA, hopB, hopC, hopD } = remote;
    const neighbor = this.router.neighbors.find6(iface.number, hopA, hopB, hopC, hopD);
    remote.neighbor = neighbor;
    remote.neighborGeneration = neighbor === null ? -1 : neighbor.generation;
    return neighbor;
  }

  private hold(remote: RemoteVtep, iface: RouterInterface, packet: Packet): number {
    const { hopA, hopB, hopC, hopD } = remote;
    const verdict = this.router.neighbors.resolve(iface, hopA, hopB, hopC, hopD, packet);
    if (verdict === HELD) return HELD;
    if (packet.reason === DROP_NEIGHBOR_FAILED) this.setState(remote, VTEP_UNREACHABLE);
    return verdict === CONTINUE ? this.resolve(remote, packet) : verdict;
  }

  private toGroup({ local, d }: RemoteVtep): number {
    this.macHigh = local.isIpv4 ? IPV4_GROUP_MAC_HIGH : IPV6_GROUP_MAC_HIGH;
    this.macLow = local.isIpv4 ? ipv4GroupMacLow(d) : d;
    return TO_PORT;
  }

  /** Once a second: what is known of the way is looked at, though nothing is sent; who is not known yet is asked for. */
  tick(remote: RemoteVtep): void {
    remote.routeEpoch = -1;
    if (!this.find(remote) || remote.isGroup) return;
    const iface = remote.iface as RouterInterface;
    const { neighbors } = this.router;
    const neighbor = this.learn(remote, iface);
    if (neighbor === null) neighbors.seek(iface, remote.hopA, remote.hopB, remote.hopC, remote.hopD, remote.port);
    else if (neighbor.isUsable) this.setState(remote, VTEP_UP);
    else if (neighbor.state === NEIGHBOR_FAILED) this.setState(remote, VTEP_UNREACHABLE);
  }

  private setState(remote: RemoteVtep, state: number): void {
    const before = remote.state;
    if (before === state) return;
    remote.state = state;
    const isGone = state === VTEP_UNREACHABLE || state === VTEP_NO_ROUTE || state === VTEP_DOWN;
    const wasGone = remote.isSaidGone;
    if (isGone === wasGone || state === VTEP_RESOLVING) return;
    remote.isSaidGone = isGone;
    const { fid } = remote.local.network.domain;
    const kind = isGone ? EVENT_VTEP_UNREACHABLE : EVENT_VTEP_REACHABLE;
    this.dataplane.events.add(kind, fid, remote.port, 0, 0, 0, 0);
  }
}

/** Whether an uplink is up and has the local address. */
function isUsable(iface: RouterInterface, { isIpv4, options }: LocalVtep): boolean {
  if (!iface.up || iface.port === 0) return false;
  const { 0: a, 1: b, 2: c, 3: d } = options.local;
  return isIpv4 ? iface.owns4(d) : iface.owns6(a, b, c, d);
}
