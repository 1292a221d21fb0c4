/** Ports, networks and their domains as the dataplane sees them: numbers, flags and flat lists. */

import type { RouterInterface } from './router/interface.js';
import type { PortSecurity } from './switch/port-security.js';
import type { Snooping } from './switch/snooping.js';
import type { StormControl } from './switch/storm.js';
import type { PortVlan } from './switch/vlan.js';
import type { LocalVtep, RemoteVtep } from './vxlan/vtep.js';

/** Port numbers go from 1 to MAX_PORTS - 1; 0 is nobody. They have 13 bits of an FDB entry. */
export const MAX_PORTS = 8192;
/** The router, in FDB entries: a frame for it is for the gateway of its domain. No port of this number is ever added. */
export const ROUTER_PORT = MAX_PORTS - 1;
/** Numbers of networks and domains go from 1 to MAX_NETWORKS - 1; they have 16 bits of an FDB key. */
export const MAX_NETWORKS = 65536;
/** More MACs than there can be. */
export const NO_MAC_LIMIT = 0x7fffffff;

export class Port {
  readonly id: number;
  /** There is such a port. */
  live = false;
  /** Live and not in quarantine: frames may come in and go out. */
  forwarding = false;
  /** The network it belongs to, or 0. */
  network = 0;
  /** Domain of its frames where it tells no VLANs apart. */
  domain = 0;

  /** Null: tags are payload. */
  vlan: PortVlan | null = null;
  /** Frames leave without a tag of the domain's, whichever VLAN they are in: no trunk. */
  untagged = true;
  /** It belongs to the router alone, not to a bridge. */
  isRouted = false;
  /** The router's interface at it, for such a port; null: none yet. */
  routed: RouterInterface | null = null;
  /** It takes super-packets and checksums that are still to come. */
  offload = true;
  /** It takes super-packets that are in a UDP tunnel. */
  outlet = false;
  /** COALESCE_TCP and so on (offload/coalesce.ts): what it hands over in segments may follow each other. */
  coalesces = 0;
  /** The remote VTEP that it stands for; null: frames leave by an engine. */
  vtep: RemoteVtep | null = null;
  /** Null: everybody may speak there. */
  security: PortSecurity | null = null;
  /** Null: no limits. */
  storm: StormControl | null = null;
  /** Who reaches whom: see switch/isolation.ts. */
  isolation = 0;

  /** Sources are learned. Off where all that may speak are static entries. */
  learning = true;
  /** Entries it may have learned. */
  macLimit = NO_MAC_LIMIT;
  /** Entries it has learned; those of a flushed VLAN count until the sweep has met them. */
  macCount = 0;

  /** Ports that get copies of what comes in, and of what goes out; null: none. */
  mirrorIn: Int32Array | null = null;
  mirrorOut: Int32Array | null = null;

  /** Multicast: ROUTER_AUTO and so on (switch/membership.ts); whether a leave counts at once. */
  router = 0;
  fastLeave = false;

  /** Second in which the quarantine ends. */
  quarantinedUntil = 0;

  // What the FDB remembers of the last frame received here, so that the next of the same conversation needs no search
  // (fdb.ts): the source that is known to be here, the destination, and the epochs of the FDB in which that was found.
  sourceHigh = 0;
  sourceLow = 0;
  sourceStamp = -1;
  sourceEpoch = -1;
  destinationHigh = 0;
  destinationLow = 0;
  destinationPort = 0;
  destinationEpoch = -1;

  constructor(id: number) {
    this.id = id;
  }
}

/** One filtering domain: a network, or one VLAN of it. What is learned, flooded and joined in one does not show in another. */
export class Domain {
  /** The number in FDB keys (the FID of IEEE 802.1Q, 8.8.8). */
  readonly fid: number;
  /** VLAN identifier, or 0 for the network as a whole. */
  readonly vid: number;
  readonly network: Network;
  /** Port numbers, the first `memberCount` are valid. Ports in quarantine are no members. */
  members = new Int32Array(16);
  memberCount = 0;
  /** Members that tell VLANs apart: while there are any, copies may differ in their tags. */
  taggers = 0;
  /** Null: group addresses are flooded. */
  snooping: Snooping | null = null;
  /** The router's interface in it; null: no gateway. */
  gateway: RouterInterface | null = null;

  constructor(fid: number, vid: number, network: Network) {
    this.fid = fid;
    this.vid = vid;
    this.network = network;
  }

  addMember(port: Port): void {
    if (this.memberCount === this.members.length) this.grow();
    this.members[this.memberCount++] = port.id;
    if (port.vlan !== null) this.taggers++;
  }

  /** The last member takes the place of the one that goes. */
  removeMember(port: Port): void {
    const at = this.members.subarray(0, this.memberCount).indexOf(port.id);
    if (at < 0) return;
    this.members[at] = this.members[--this.memberCount];
    if (port.vlan !== null) this.taggers--;
  }

  private grow(): void {
    const larger = new Int32Array(this.members.length * 2);
    larger.set(this.members);
    this.members = larger;
  }
}

export class Network {
  readonly id: number;
  /** Seconds. */
  ageing: number;
  /** FDB entries it may hold. */
  fdbLimit: number;
  /** FDB entries it holds, counting void ones until the sweep has met them. */
  fdbCount = 0;
  /** Frames whose source finds no room in the FDB are dropped. */
  dropWhenFull = false;
  /** Second in which an operator was told last that the FDB is full. */
  fullReportedAt = -0x40000000;
  /** TPID of the tags that tell its VLANs apart; 0: tags are payload. */
  vlanProtocol = 0;
  /** Moves of a MAC within FLAP_WINDOW that make a loop; 0: no loop protection. */
  loopMoves = 0;
  /** Seconds that a port is quarantined after a loop. */
  quarantine = 0;
  /** Ports of any of its domains. */
  portCount = 0;
  /** Interface that rules of the policy know it by, where they judge its frames from endpoint to endpoint; 0: they do not. */
  place = 0;
  /** Its own VTEP; null: it has none. */
  vtep: LocalVtep | null = null;
  /** The domain of the whole, number `id`. */
  readonly domain: Domain;
  /** Its VLANs by VID; entry 0 is `domain`. */
  readonly vlans: (Domain | undefined)[] = [];

  constructor(id: number, ageing: number, fdbLimit: number) {
    this.id = id;
    this.ageing = ageing;
    this.fdbLimit = fdbLimit;
    this.domain = new Domain(id, 0, this);
    this.vlans[0] = this.domain;
  }
}
