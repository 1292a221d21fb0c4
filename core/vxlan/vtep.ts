/** The two ends of a tunnel (RFC 7348): a network's own one, and the remote ones, each of which is a port of the network. */

import { DROP_NONE } from '../drop.js';
import type { Network } from '../ports.js';
import { isGroupAddress, isMapped } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import type { Neighbor } from '../router/neighbor.js';
import { Template } from './encapsulate.js';

/** A network's own end. */
export interface LocalVtepOptions {
  /** 1 to 2^24 - 1. */
  readonly vni: number;
  /** Number of the VRF that the uplink is in. */
  readonly vrf: number;
  /** Outer source of all that is sent: four words, IPv4 mapped (0, 0, 0xffff, address). */
  readonly local: Int32Array;
  /** UDP port that packets are sent to, and taken at. */
  readonly udpPort: number;
  /** Outer TTL or hop limit, to a VTEP and to a multicast group. */
  readonly ttl: number;
  readonly groupTtl: number;
  /** Outer DSCP, 0 to 63; -1: the inner packet's. */
  readonly dscp: number;
  /** An outer UDP checksum is sent; false: 0, and no bundles. */
  readonly checksum: boolean;
  /** Group policy tag of what is sent; -1: none. */
  readonly gbp: number;
  /** Packets from VTEPs that are no port are taken, by the group's port, and told of. */
  readonly open: boolean;
  /** ARP and neighbor discovery are answered for MACs behind a VTEP that the neighbor table knows. */
  readonly suppress: boolean;
  /** MAC of this host inside the network (vxlan/anycast.ts). */
  readonly macHigh: number;
  readonly macLow: number;
}

/** A remote end, or a multicast group of them. */
export interface VtepOptions {
  /** Four words, as `local`. */
  readonly address: Int32Array;
  /** It gets what is flooded. */
  readonly floods: boolean;
}

/** What is known of the way to a remote end: nothing yet; its next hop answers; does not; there is no route; the uplink is down. */
export const VTEP_RESOLVING = 0;
export const VTEP_UP = 1;
export const VTEP_UNREACHABLE = 2;
export const VTEP_NO_ROUTE = 3;
export const VTEP_DOWN = 4;
/** Its host says that nobody listens there. */
export const VTEP_REFUSED = 5;
/** Seconds that this holds, unless the VTEP is heard before. */
const REFUSAL = 60;

/** A network's own VTEP. */
export class LocalVtep {
  readonly network: Network;
  readonly options: LocalVtepOptions;
  // Of the options, for each packet.
  readonly vni: number;
  readonly udpPort: number;
  readonly isIpv4: boolean;
  readonly macHigh: number;
  readonly macLow: number;
  /** The port that stands for the network's multicast group; null: it has none. Who invents addresses must not make us search for it. */
  group: RemoteVtep | null = null;

  constructor(network: Network, options: LocalVtepOptions) {
    this.network = network;
    this.options = options;
    this.vni = options.vni;
    this.udpPort = options.udpPort;
    const { 0: a, 1: b, 2: c } = options.local;
    this.isIpv4 = isMapped(a, b, c);
    this.macHigh = options.macHigh;
    this.macLow = options.macLow;
  }

  /** Whether an address is its own. */
  isOwn(a: number, b: number, c: number, d: number): boolean {
    const { local } = this.options;
    return local[0] === a && local[1] === b && local[2] === c && local[3] === d;
  }
}

/** A remote VTEP, or a multicast group of them: what the port that stands for it sends to, and takes from. */
export class RemoteVtep {
  /** Number of its port. */
  readonly port: number;
  /** Its network's own VTEP; another one when that is configured anew (`follow`). */
  local: LocalVtep;
  template: Template;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly isGroup: boolean;
  floods: boolean;
  /** Number of the interface by which a group is listened to; 0: none. */
  listensBy = 0;
  /** VTEP_RESOLVING and so on. */
  state = VTEP_RESOLVING;
  /** An operator was told that there is no way there. */
  isSaidGone = false;
  /** Second of the last packet from there; -1: none yet. */
  heardAt = -1;
  /** Second in which its host said last that nobody listens there; -1: never. */
  refusedAt = -1;
  /** Group policy tag of the last packet from there; -1: it had none. */
  gbp = -1;
  /** Bytes of the largest inner IP packet that passes; 0: not known yet. */
  mtu = 0;
  /** What routers on the way have said passes of the outer packet, and until which second that holds; 0: nothing. */
  pathMtu = 0;
  pathMtuUntil = 0;

  // The way there (underlay.ts): void where the router has changed since, or the neighbor is another one.
  iface: RouterInterface | null = null;
  /** Why there is none, where `iface` is null: a drop reason. */
  noWay = DROP_NONE;
  hopA = 0;
  hopB = 0;
  hopC = 0;
  hopD = 0;
  neighbor: Neighbor | null = null;
  neighborGeneration = -1;
  routeEpoch = -1;

  constructor(port: number, local: LocalVtep, { address, floods }: VtepOptions) {
    this.port = port;
    this.local = local;
    this.a = address[0];
    this.b = address[1];
    this.c = address[2];
    this.d = address[3];
    this.isGroup = isGroupAddress(isMapped(this.a, this.b, this.c), this.a, this.d);
    this.floods = floods;
    this.template = new Template(local, this);
  }

  /** What is known of it in that second. */
  stateAt(now: number): number {
    const isRefused = this.refusedAt >= 0 && this.refusedAt > this.heardAt && now - this.refusedAt < REFUSAL;
    return this.state === VTEP_UP && isRefused ? VTEP_REFUSED : this.state;
  }

  /** Its network's own VTEP is configured anew. */
  follow(local: LocalVtep): void {
    this.local = local;
    this.template = new Template(local, this);
    this.routeEpoch = -1;
  }
}
