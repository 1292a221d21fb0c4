/**
 * What is configured, and what changes seldom: networks and their VLANs, ports, static entries, mirrors, quarantine. None of it is on
 * the path of a packet, so it may allocate; all of it runs between two packets.
 */

import type { Dataplane } from './dataplane.js';
import { EVENT_QUARANTINED, EVENT_RELEASED } from './events.js';
import { COALESCE_NONE } from './offload/coalesce.js';
import { DomainOriginator } from './originate.js';
import { Domain, MAX_NETWORKS, MAX_PORTS, Network, NO_MAC_LIMIT, type Port } from './ports.js';
import { writeArpAnnouncement, writeNeighborAdvertisement } from './switch/announce.js';
import { ISOLATION_OPEN } from './switch/isolation.js';
import { ROUTER_AUTO, ROUTER_NEVER } from './switch/membership.js';
import { assignMirrors, type Mirror } from './switch/mirror.js';
import type { PortSecurity } from './switch/port-security.js';
import { Snooping } from './switch/snooping.js';
import type { StormControl } from './switch/storm.js';
import { PortVlan } from './switch/vlan.js';
import type { VtepOptions } from './vxlan/vtep.js';

/** First two octets of the MAC that queries come from: locally administered, unicast. */
const QUERIER_MAC_HIGH = 0x0274;
/** Seconds between the two announcements of an address (RFC 5227, 1.1: ANNOUNCE_INTERVAL 2; half is enough here). */
const ANNOUNCE_AGAIN = 1;

export interface MulticastOptions {
  readonly querier: boolean;
  readonly dropUnregistered: boolean;
}

export interface NetworkOptions {
  readonly dropWhenFull?: boolean;
  /** TPID of the tags that tell VLANs apart; 0: tags are payload. */
  readonly vlanProtocol?: number;
  /** Null: no snooping. */
  readonly multicast?: MulticastOptions | null;
  /** 0: no loop protection. */
  readonly loopMoves?: number;
  /** Seconds. */
  readonly quarantine?: number;
}

export interface PortVlanOptions {
  /** 0: none. */
  readonly native: number;
  readonly tagged: readonly number[];
  /** TPID, for a port of a network without VLANs, whose one tagged VID stands for the network. */
  readonly protocol?: number;
}

export interface PortOptions {
  readonly security?: PortSecurity | null;
  /** MACs bound to the port by static entries, as [first two octets, last four]. */
  readonly macs?: readonly (readonly [high: number, low: number])[];
  /** MACs that may be learned. */
  readonly macLimit?: number;
  readonly isolation?: number;
  readonly vlan?: PortVlanOptions | null;
  readonly storm?: StormControl | null;
  readonly router?: number;
  readonly fastLeave?: boolean;
  /** The router's alone. */
  readonly routed?: boolean;
  /** False: super-packets are cut, and checksums finished, before they leave by it. */
  readonly offload?: boolean;
  /** COALESCE_TCP and so on: segments that it hands over one by one become one packet. */
  readonly coalesces?: number;
  /** The remote VTEP that it stands for; the network must have one of its own. */
  readonly vtep?: (VtepOptions & { readonly learning?: boolean }) | null;
}

/** Addresses of a port to tell the others of. */
export interface Announcement {
  readonly port: number;
  readonly high: number;
  readonly low: number;
  /** IPv4 addresses. */
  readonly addresses4: Int32Array;
  /** IPv6 addresses, four words each. */
  readonly addresses6: Int32Array;
}

export class Topology {
  /** By number. */
  readonly networks: (Network | null)[] = [null];
  /** Some network's frames are judged by the policy. */
  filtering = false;
  /** Ports in quarantine. */
  readonly quarantined: Port[] = [];
  private readonly dataplane: Dataplane;
  private readonly domains: (Domain | null)[];
  private readonly seed: number;
  private readonly originator: DomainOriginator;
  private readonly multicast = new Map<Network, MulticastOptions>();
  private readonly mirrors: Mirror[] = [];
  private announcements: { readonly at: number; readonly announcement: Announcement }[] = [];

  /** @param domains by number; the dataplane's own list, filled and emptied here */
  constructor(dataplane: Dataplane, domains: (Domain | null)[], seed: number) {
    this.dataplane = dataplane;
    this.domains = domains;
    this.seed = seed;
    this.originator = new DomainOriginator(dataplane);
  }

  // --- networks and VLANs

  /** @throws RangeError where the number is out of range or taken */
  addNetwork(id: number, ageing: number, fdbLimit: number, options: NetworkOptions = {}): void {
    const network = new Network(id, ageing, fdbLimit);
    network.dropWhenFull = options.dropWhenFull ?? false;
    network.vlanProtocol = options.vlanProtocol ?? 0;
    network.loopMoves = options.loopMoves ?? 0;
    network.quarantine = options.quarantine ?? 0;
    this.addDomain(network.domain);
    while (this.networks.length <= id) this.networks.push(null);
    this.networks[id] = network;
    if (options.multicast == null) return;
    this.multicast.set(network, options.multicast);
    this.snoop(network.domain, options.multicast);
  }

  /**
   * A VLAN of a network that has them. Does nothing where it is there already.
   * @param fid its number, out of the same range as those of networks
   * @throws RangeError
   */
  addVlan(networkId: number, vid: number, fid: number): void {
    const network = this.network(networkId);
    if (network.vlans[vid] !== undefined) return;
    const domain = new Domain(fid, vid, network);
    this.addDomain(domain);
    network.vlans[vid] = domain;
    const multicast = this.multicast.get(network);
    if (multicast !== undefined) this.snoop(domain, multicast);
  }

  /**
   * Says in which networks the policy judges frames from endpoint to endpoint; in all others it does not.
   * @param pairs number of the network, and the interface that rules know it by
   */
  filter(pairs: Int32Array): void {
    this.filtering = pairs.length > 0;
    for (const network of this.networks) if (network !== null) network.place = 0;
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const network = this.networks[pairs[at]];
      if (network != null) network.place = pairs[at + 1];
    }
  }

  private addDomain(domain: Domain): void {
    const { fid } = domain;
    if (fid < 1 || fid >= MAX_NETWORKS) throw new RangeError(`network number ${fid} out of range`);
    while (this.domains.length <= fid) this.domains.push(null);
    if (this.domains[fid] !== null) throw new RangeError(`network number ${fid} is taken`);
    this.domains[fid] = domain;
  }

  private snoop(domain: Domain, options: MulticastOptions): void {
    const macLow = Math.imul(this.seed ^ domain.fid, 0x9e3779b1 | 0);
    domain.snooping = new Snooping({ ...options, seed: this.seed, macHigh: QUERIER_MAC_HIGH, macLow });
    domain.snooping.startLearning(this.dataplane.now);
  }

  /** @throws RangeError where it still has ports */
  removeNetwork(id: number): void {
    const network = this.networks[id];
    if (network === null || network === undefined) return;
    if (network.portCount > 0) throw new RangeError(`network number ${id} still has ports`);
    const gone = new Set<number>();
    for (const domain of network.vlans) if (domain !== undefined) gone.add(domain.fid);
    this.dataplane.fdb.forgetDomains(gone);
    for (const fid of gone) this.domains[fid] = null;
    this.networks[id] = null;
    this.multicast.delete(network);
    this.removeMirrors((mirror) => mirror.fromNetwork === id);
  }

  network(id: number): Network {
    const network = this.networks[id];
    if (network === null || network === undefined) throw new RangeError(`no network number ${id}`);
    return network;
  }

  /** The domain of a VLAN, or of a network without VLANs for 0; null where there is none. */
  domain(networkId: number, vid: number): Domain | null {
    return this.network(networkId).vlans[vid] ?? null;
  }

  domainOf(fid: number): Domain | null {
    return this.domains[fid] ?? null;
  }

  // --- ports

  /** The VLANs that it names must be there. @throws RangeError; then nothing has changed */
  addPort(id: number, networkId: number, options: PortOptions = {}): void {
    const port = this.dataplane.ports[id];
    const network = this.network(networkId);
    if (id < 1 || id >= MAX_PORTS || port.live) throw new RangeError(`port number ${id} is out of range or taken`);
    if (options.vtep != null && network.vtep === null) throw new RangeError('the network has no VTEP of its own');
    const vlan = options.vlan == null ? null : portVlan(network, options.vlan);
    // Both may throw: before anything has changed.
    if (options.vtep != null) this.dataplane.vxlan.addVtep(port, network, options.vtep);
    port.vlan = vlan;
    port.untagged = port.vlan === null || !port.vlan.isTrunk;
    port.network = networkId;
    port.domain = networkId;
    port.security = options.security ?? null;
    port.storm = options.storm ?? null;
    port.isolation = options.isolation ?? ISOLATION_OPEN;
    port.router = routerOf(options);
    port.fastLeave = options.fastLeave ?? false;
    port.macLimit = options.macLimit ?? NO_MAC_LIMIT;
    port.live = true;
    port.isRouted = options.routed ?? false;
    port.offload = options.offload ?? true;
    port.outlet = false;
    port.coalesces = options.coalesces ?? COALESCE_NONE;
    network.portCount++;
    this.enterDomains(port);
    port.learning = !this.bind(port, options.macs ?? []) || port.security === null || port.security.macLimit > 1;
    if (options.vtep?.learning === false) port.learning = false;
    assignMirrors(this.mirrors, this.dataplane.ports);
  }

  /**
   * Binds MACs to a port of one domain. An endpoint's on a trunk are learned instead, VLAN by VLAN.
   * @returns whether the first of them, the port's own, is bound
   */
  private bind(port: Port, macs: readonly (readonly [number, number])[]): boolean {
    const isTrunk = this.domainsOf(port).length > 1;
    const domain = this.nativeDomain(port);
    if (domain === null || (isTrunk && port.security !== null)) return false;
    return macs.map(([high, low]) => this.dataplane.fdb.setStatic(domain, high, low, port))[0] === true;
  }

  /** A MAC that is behind a port until the port goes. @throws RangeError, one line, where it cannot be */
  addStatic(networkId: number, vid: number, macHigh: number, macLow: number, portId: number): void {
    const domain = this.domain(networkId, vid);
    const port = this.dataplane.ports[portId];
    if (domain === null || !port.live || !this.domainsOf(port).includes(domain)) {
      throw new RangeError(vid === 0 ? 'the port is not in that network' : `the port is no member of VLAN ${vid}`);
    }
    if (!this.dataplane.fdb.setStatic(domain, macHigh, macLow, port)) throw new RangeError('the FDB is full');
  }

  /** Voids what was learned on it and bound to it. Packets that are on their way to it become drops. */
  removePort(id: number): void {
    const port = this.dataplane.ports[id];
    if (!port.live) return;
    this.leaveDomains(port);
    this.network(port.network).portCount--;
    port.live = false;
    port.network = 0;
    port.domain = 0;
    port.vlan = null;
    port.isRouted = false;
    port.routed = null;
    port.security = null;
    port.storm = null;
    port.mirrorIn = null;
    port.mirrorOut = null;
    this.dataplane.vxlan.removeVtep(port);
    this.dataplane.router.portEnds(id);
    this.dataplane.fdb.endPort(port);
    this.forgetQuarantine(port);
    this.announcements = this.announcements.filter(({ announcement }) => announcement.port !== id);
    this.removeMirrors((mirror) => mirror.to === id || mirror.fromPort === id);
  }

  private domainsOf(port: Port): Domain[] {
    if (port.vlan === null) return this.domains[port.domain] === null ? [] : [this.domains[port.domain] as Domain];
    const fids = new Set(port.vlan.fids);
    fids.add(port.vlan.nativeFid);
    fids.delete(0);
    return [...fids].map((fid) => this.domains[fid] as Domain);
  }

  /** Domain of its untagged frames, or the only one it has; null for a trunk without a native VLAN. */
  private nativeDomain(port: Port): Domain | null {
    if (port.vlan !== null && port.vlan.nativeFid !== 0) return this.domains[port.vlan.nativeFid];
    const domains = this.domainsOf(port);
    return domains.length === 1 ? domains[0] : null;
  }

  private enterDomains(port: Port): void {
    port.forwarding = true;
    if (port.vtep?.floods === false) return;
    for (const domain of this.domainsOf(port)) {
      domain.addMember(port);
      domain.snooping?.addPort(port.id, port.router, port.fastLeave);
    }
  }

  private leaveDomains(port: Port): void {
    if (!port.forwarding) return;
    port.forwarding = false;
    if (port.vtep?.floods === false) return;
    for (const domain of this.domainsOf(port)) {
      domain.removeMember(port);
      domain.snooping?.removePort(port.id);
    }
  }

  /** Whether super-packets in a UDP tunnel may leave by a port. */
  setOutlet(id: number, outlet: boolean): void {
    this.dataplane.ports[id].outlet = outlet;
  }

  /** Whether a VTEP gets what is flooded. */
  setFloods(id: number, floods: boolean): void {
    const port = this.dataplane.ports[id];
    if (port.vtep === null || port.vtep.floods === floods) return;
    const isForwarding = port.forwarding;
    this.leaveDomains(port);
    port.vtep.floods = floods;
    if (isForwarding) this.enterDomains(port);
  }

  // --- flushing

  /** Voids what was learned: on a port, in a VLAN, or in a network (number 0: everywhere). Static entries stay. */
  flush(networkId: number, vid: number, portId: number): void {
    const { fdb, ports } = this.dataplane;
    if (portId !== 0) {
      fdb.flushPort(ports[portId]);
      return;
    }
    for (const network of networkId === 0 ? this.networks : [this.network(networkId)]) {
      for (const domain of network?.vlans ?? []) {
        if (domain !== undefined && (vid === -1 || vid === domain.vid)) fdb.flushDomain(domain.fid);
      }
    }
  }

  // --- quarantine

  /** Nothing enters or leaves by the port for a while. */
  quarantine(port: Port, seconds: number): void {
    if (!port.forwarding) return;
    this.leaveDomains(port);
    this.dataplane.fdb.flushPort(port);
    port.quarantinedUntil = this.dataplane.now + seconds;
    this.quarantined.push(port);
    this.dataplane.events.add(EVENT_QUARANTINED, port.domain, port.id, 0, 0, 0, seconds);
  }

  private forgetQuarantine(port: Port): void {
    const at = this.quarantined.indexOf(port);
    if (at >= 0) this.quarantined.splice(at, 1);
  }

  private release(port: Port): void {
    this.forgetQuarantine(port);
    this.enterDomains(port);
    this.dataplane.events.add(EVENT_RELEASED, port.domain, port.id, 0, 0, 0, 0);
  }

  // --- mirrors

  /** @throws RangeError where what it names is not there, or it is its own target */
  addMirror(mirror: Mirror): void {
    const { ports } = this.dataplane;
    if (mirror.to === mirror.fromPort) throw new RangeError('a mirror cannot send to the port it copies');
    if (!ports[mirror.to].live) throw new RangeError(`no port number ${mirror.to}`);
    if (ports[mirror.to].vtep !== null) throw new RangeError('a mirror cannot send into a tunnel');
    if (mirror.fromPort !== 0 && !ports[mirror.fromPort].live)
      throw new RangeError(`no port number ${mirror.fromPort}`);
    if (mirror.fromPort === 0) this.network(mirror.fromNetwork);
    this.mirrors.push(mirror);
    assignMirrors(this.mirrors, ports);
  }

  removeMirror(id: number): void {
    this.removeMirrors((mirror) => mirror.id === id);
  }

  private removeMirrors(isGone: (mirror: Mirror) => boolean): void {
    const kept = this.mirrors.filter((mirror) => !isGone(mirror));
    if (kept.length === this.mirrors.length) return;
    this.mirrors.splice(0, this.mirrors.length, ...kept);
    assignMirrors(this.mirrors, this.dataplane.ports);
  }

  // --- announcements

  /** Tells the others where a port's addresses are, now and once more a second later, in case the first is lost. */
  announce(announcement: Announcement): void {
    this.send(announcement);
    this.announcements.push({ at: this.dataplane.now + ANNOUNCE_AGAIN, announcement });
  }

  private send({ port: id, high, low, addresses4, addresses6 }: Announcement): void {
    const port = this.dataplane.ports[id];
    const { view } = this.dataplane.arena;
    const domain = this.nativeDomain(port);
    if (!port.forwarding || domain === null || domain.memberCount < 2) return;
    this.originator.speakFor(domain, id);
    for (const address of addresses4) {
      const packet = this.originator.begin();
      if (packet === null) return;
      writeArpAnnouncement(view, packet, high, low, address);
      this.originator.toAll(packet);
    }
    for (let at = 0; at < addresses6.length; at += 4) {
      const packet = this.originator.begin();
      if (packet === null) return;
      writeNeighborAdvertisement(view, packet, high, low, addresses6, at);
      this.originator.toAll(packet);
    }
  }

  // --- time

  /** Once a second. */
  tick(): void {
    const { now } = this.dataplane;
    for (const port of this.quarantined.filter((one) => one.quarantinedUntil <= now)) this.release(port);
    const due = this.announcements.filter(({ at }) => at <= now);
    if (due.length > 0) this.announcements = this.announcements.filter(({ at }) => at > now);
    for (const { announcement } of due) this.send(announcement);
    for (const domain of this.domains) if (domain !== null) this.tickSnooping(domain, now);
  }

  private tickSnooping(domain: Domain, now: number): void {
    if (domain.snooping === null || domain.memberCount === 0) return;
    this.originator.speakFor(domain, 0);
    domain.snooping.tick(now, this.originator, this.dataplane.arena.view);
  }
}

/**
 * No router is looked for behind an isolated port: not all members of a group hear what is asked there, and those who do not would
 * lose their memberships. Where there is one, configuration says so.
 */
function routerOf({ router = ROUTER_AUTO, isolation = ISOLATION_OPEN }: PortOptions): number {
  return router === ROUTER_AUTO && isolation !== ISOLATION_OPEN ? ROUTER_NEVER : router;
}

/** @throws RangeError where a VLAN is not there */
function portVlan(network: Network, options: PortVlanOptions): PortVlan {
  const isFiltering = network.vlanProtocol !== 0;
  const vlan = new PortVlan(isFiltering ? network.vlanProtocol : (options.protocol ?? 0x8100), options.native);
  const fid = (vid: number): number => {
    const domain = isFiltering ? network.vlans[vid] : network.domain;
    if (domain === undefined) throw new RangeError(`network number ${network.id} has no VLAN ${vid}`);
    return domain.fid;
  };
  if (options.native !== 0) vlan.nativeFid = fid(options.native);
  for (const vid of options.tagged) vlan.fids[vid] = fid(vid);
  // Tagged frames of the native VLAN belong to it as well, but not on an access port, which takes no tags.
  if (options.native !== 0 && options.tagged.length > 0) vlan.fids[options.native] = vlan.nativeFid;
  vlan.isTrunk = options.tagged.length > 0;
  if (!isFiltering) vlan.wireVid = options.tagged[0] ?? 0;
  return vlan;
}
