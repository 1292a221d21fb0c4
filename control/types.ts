/**
 * What the control plane asks of the dataplane, and what it gets back. `control/dataplane.ts` implements it with a worker
 * thread; tests may put a double in its place.
 */

import type { ServiceOptions } from '../core/lb/service.js';
import type { FlowFilter, FlowPage, MappingPage, WorkerNatSettings, WorkerNatStatus } from './worker-protocol.js';

export type EngineName = 'uring' | 'epoll';

export interface NetworkSpec {
  readonly name: string;
  /** Seconds after which an FDB entry that was not refreshed is forgotten. */
  readonly ageingSeconds: number;
  /** FDB entries this network may hold. */
  readonly fdbLimit: number;
  /** What happens to frames from a MAC that finds no room: they flow unlearned, or are dropped. */
  readonly fdbFull: 'flood' | 'drop';
  /** Tag protocol that VLANs are told apart by, 0x8100 or 0x88a8; 0: tags are payload, and the network is one VLAN. */
  readonly vlanProtocol: number;
  readonly multicast: MulticastSpec;
  readonly loop: LoopSpec;
}

export interface MulticastSpec {
  readonly snooping: boolean;
  /** Sends queries while no other querier is heard. */
  readonly querier: boolean;
  readonly unregistered: 'flood' | 'drop';
}

export interface LoopSpec {
  /** Moves of one MAC between ports within 10 s that make a loop; 0: no loop protection. */
  readonly moves: number;
  /** Seconds. */
  readonly quarantine: number;
}

export type SecurityLevel = 'strict' | 'mac' | 'off';

/** What may come from a port. */
export interface SecuritySpec {
  readonly level: SecurityLevel;
  /** The endpoint's own MAC. */
  readonly mac: string;
  /** Further MACs behind the port: static FDB entries, like `mac` itself. */
  readonly macs: readonly string[];
  /** Source addresses and prefixes besides the link-local one; "172.30.0.2/32". */
  readonly prefixes: readonly string[];
  /** MACs that it may speak from, its own included; more are learned as they show up. */
  readonly macLimit: number;
}

/** Frames a second; 0: no limit. */
export interface StormSpec {
  readonly broadcast: number;
  readonly multicast: number;
  readonly unknownUnicast: number;
}

/** A port's VLANs. In a network without VLAN filtering `tagged` has one VID, which stands for the whole network. */
export interface PortVlanSpec {
  /** VLAN of untagged frames, in and out; 0: none. */
  readonly native: number;
  /** VLANs whose frames carry tags; without the native one. Empty on an access port. */
  readonly tagged: readonly number[];
}

export interface PortMulticastSpec {
  readonly router: 'auto' | 'always' | 'never';
  readonly fastLeave: boolean;
}

/** Who reaches whom: 0 everybody, 1 only ports of 0, from 2 on also ports of the same number. */
export type IsolationClass = number;

export interface PortSpec {
  readonly kind: 'tap' | 'uplink' | 'host' | 'vxlan';
  /** Unique among live ports: the endpoint's name, `uplink`, `host`, or `vxlan:NETWORK:ADDRESS`. */
  readonly name: string;
  /** Number that addNetwork gave. */
  readonly network: number;
  /** Open TAP or AF_PACKET descriptor; stays the caller's, who closes it after removePort has resolved. A vxlan port has none: -1. */
  readonly fd: number;
  /**
   * The MAC of the host's own device behind an uplink. What the wire sends to it is the host's, and is kept from being flooded as
   * unknown by a static FDB entry: the host's own frames are not received, so it would never be learned.
   */
  readonly hostMac?: string;
  /** None on an uplink: everybody may speak there. */
  readonly security?: SecuritySpec;
  /** MACs that a port without `security` may have learned; 0: as many as the network may. */
  readonly macLimit?: number;
  readonly isolation?: IsolationClass;
  /** None in a network without VLAN filtering: tags pass as they are. */
  readonly vlan?: PortVlanSpec;
  readonly storm?: StormSpec;
  readonly multicast?: PortMulticastSpec;
  /** The router's alone: no bridge, no learning. An interface must name it, else nothing that comes in is taken. */
  readonly routed?: boolean;
  /** False: super-packets are cut, and checksums finished, before they leave by it. True unless given. */
  readonly offload?: boolean;
  /** The remote VTEP that a vxlan port stands for, and no other port. */
  readonly vtep?: VtepSpec;
  /** Addresses told to the others by gratuitous ARP and unsolicited neighbor advertisements as soon as the port is there. */
  readonly announce?: readonly string[];
}

/** A remote VTEP, or a multicast group of them, as a port of a network. */
export interface VtepSpec {
  readonly address: string;
  /** It gets what is flooded. */
  readonly floods: boolean;
  /** Sources of frames from there are learned. */
  readonly learning: boolean;
}

/** A network's own VTEP. */
export interface VxlanSpec {
  readonly vni: number;
  /** Number of the VRF that the uplink is in. */
  readonly vrf: number;
  /** Address of the uplink. */
  readonly local: string;
  readonly udpPort: number;
  readonly ttl: number;
  readonly groupTtl: number;
  /** 0 to 63, or the inner packet's. */
  readonly dscp: number | 'inherit';
  readonly checksum: boolean;
  /** Group policy tag; null: none. */
  readonly gbp: number | null;
  /** Takes packets from VTEPs that are no port. */
  readonly open: boolean;
  readonly suppress: boolean;
  /** MAC of this host inside the network. */
  readonly mac: string;
}

export interface VtepStatus {
  readonly port: number;
  /** `up`: its next hop answers. `no-route`; `down`: the uplink is; `resolving`; `unreachable`: its next hop does not answer; `refused`: nobody listens there. */
  readonly state: 'up' | 'resolving' | 'unreachable' | 'refused' | 'no-route' | 'down';
  /** Seconds since the last packet from there; null: none yet. */
  readonly heardSeconds: number | null;
  /** Bytes of the largest inner IP packet that passes, by the underlay's MTU and what ICMP said. */
  readonly mtu: number;
  /** Group policy tag of the last packet from there; null: it had none. */
  readonly gbp: number | null;
}

/** What came back of the probes through one VTEP. */
export interface VtepProbe {
  readonly port: number;
  readonly udp: ProbeResult;
  readonly tcp: ProbeResult;
  /** Of the largest packet that the network takes, with DF. */
  readonly fullSize: ProbeResult;
}

export interface ProbeResult {
  /** `wrong-checksum`: the other end got it damaged, or its answer came damaged. */
  readonly outcome: 'answered' | 'lost' | 'wrong-checksum';
  /** Milliseconds there and back; null unless answered. */
  readonly milliseconds: number | null;
}

/** Copies of what passes on some ports, sent to another port. */
export interface MirrorSpec {
  /** Exactly one is not null. */
  readonly fromPort: number | null;
  readonly fromNetwork: number | null;
  readonly to: number;
  readonly direction: 'in' | 'out' | 'both';
}

/** Which entries to forget; null is any. Static entries stay. */
export interface FdbFlush {
  readonly network: number | null;
  readonly port: number | null;
  readonly vlan: number | null;
}

export interface StaticEntry {
  readonly network: number;
  /** 0 in a network without VLAN filtering. */
  readonly vlan: number;
  readonly mac: string;
}

/** A static entry that comes, or goes where `port` is null. */
export interface StaticChange extends StaticEntry {
  readonly port: number | null;
}

export interface MdbEntry {
  readonly network: number;
  readonly vlan: number;
  /** Group address; or `router` for the ports with a multicast router behind them. */
  readonly group: string;
  readonly ports: readonly MdbPort[];
}

export interface MdbPort {
  readonly port: number;
  /** Seconds until it is forgotten; null: never. */
  readonly expires: number | null;
}

/** Something that an operator wants to hear of. */
export interface DataplaneEvent {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly kind:
    | 'mac-moved'
    | 'mac-flapping'
    | 'port-quarantined'
    | 'port-released'
    | 'fdb-full'
    | 'address-conflict'
    | 'neighbors-full'
    | 'connections-alarm'
    | 'connections-full'
    | 'connection-limit'
    | 'ports-exhausted'
    | 'port-block-taken'
    | 'port-block-freed'
    | 'backend-suspect'
    | 'backend-trusted'
    | 'service-flood'
    | 'service-flood-over'
    | 'vtep-heard'
    | 'vtep-unreachable'
    | 'vtep-reachable'
    | 'l2-miss'
    | 'l3-miss'
    | 'events-lost';
  readonly network: number;
  readonly vlan: number;
  /** The port it happened on; 0 where there is none. */
  readonly port: number;
  /** mac-moved, mac-flapping: the port before. */
  readonly fromPort: number;
  /** Empty where there is none. */
  readonly mac: string;
  /** Seconds of quarantine; moves of a flapping MAC; percent of all connections, or how many there may be; events that were lost. */
  readonly count: number;
  /** address-conflict: the address of the router that another uses. Of ports: the external address that they are of. Empty else. */
  readonly address: string;
  /** port-block-taken, port-block-freed: first and last port, as in 1024-2047. */
  readonly ports?: string;
}

/** Networks that share a VRF share its routes. */
export interface VrfSpec {
  readonly name: string;
  /** Its networks reach each other. */
  readonly interconnect: boolean;
  /** IPv4 options that are processed in transit instead of the packet being dropped (RFC 7126). */
  readonly recordRoute: boolean;
  readonly timestamp: boolean;
  /** Connections are tracked. */
  readonly tracking: boolean;
}

export interface AdvertisementSpec {
  /** Seconds. */
  readonly interval: number;
  readonly lifetime: number;
  readonly autonomous: boolean;
  readonly managed: boolean;
  readonly other: boolean;
}

/** An interface of the router. */
export interface InterfaceSpec {
  readonly kind: 'network' | 'uplink' | 'host';
  /** Number that addVrf gave. */
  readonly vrf: number;
  /** Number that addNetwork gave. */
  readonly network: number;
  /** VLAN of the network that it is in; 0 in a network without VLAN filtering. */
  readonly vlan: number;
  /** The one port behind it, added with `routed`; null: the network's bridge. */
  readonly port: number | null;
  readonly mac: string;
  /** Bytes of IP packet. */
  readonly mtu: number;
  /** CIDR. */
  readonly addresses: readonly string[];
  /** IPv6 address to use in place of the one that follows from the MAC. */
  readonly linkLocal?: string;
  readonly up: boolean;
  readonly internal: boolean;
  readonly hostAccess: boolean;
  /** MAC and addresses are the host's: its stack answers for them. */
  readonly shared: boolean;
  readonly validateSource: boolean;
  /** Prefixes for which it answers ARP and neighbor discovery in place of their owners. */
  readonly proxies: readonly string[];
  readonly advertisement: AdvertisementSpec | null;
  readonly translation?: TranslationSpec;
}

/** Address translation of what leaves a network by an uplink. */
export interface TranslationSpec {
  /** Addresses to leave from; empty: the uplink's. Null: IPv4 keeps its addresses. */
  readonly sources4: readonly string[] | null;
  /** The same for IPv6. */
  readonly sources6: readonly string[] | null;
  /** Prefix inside, prefix outside (RFC 6296). */
  readonly prefixes: readonly (readonly [inside: string, outside: string])[];
}

export interface HopSpec {
  readonly interface: number;
  /** Null: destinations are on the link. */
  readonly via: string | null;
  /** The lowest among hops that work is taken; among equals the flow decides. */
  readonly metric: number;
}

export interface RouteSpec {
  readonly vrf: number;
  /** CIDR, host bits zero. */
  readonly prefix: string;
  readonly kind: 'unicast' | 'blackhole' | 'unreachable' | 'prohibit';
  /** Empty unless unicast. */
  readonly hops: readonly HopSpec[];
}

/** What stands in the FIB; those of kind connected, local and broadcast follow from the interfaces. */
export interface FibEntry {
  readonly vrf: number;
  readonly prefix: string;
  readonly kind: RouteSpec['kind'] | 'connected' | 'local' | 'broadcast';
  readonly hops: readonly HopSpec[];
}

export type NeighborState = 'incomplete' | 'reachable' | 'stale' | 'delay' | 'probe' | 'failed' | 'permanent';

export interface NeighborEntry {
  readonly interface: number;
  readonly address: string;
  /** Null while it is not known. */
  readonly mac: string | null;
  readonly state: NeighborState;
  /** Seconds in this state. */
  readonly ageSeconds: number;
  /** Says of itself that it routes (RFC 4861, 4.4). */
  readonly router: boolean;
  /** Packets that wait for its MAC. */
  readonly waiting: number;
}

/** Counts of the router that are no packet's end. */
export interface RouterStatus {
  readonly neighbors: number;
  readonly neighborsMax: number;
  /** Entries that were put out to make room. */
  readonly neighborsEvicted: number;
  readonly fibPrefixes: number;
  readonly icmpErrors: number;
  /** ICMP errors not sent since their receiver had got too many. */
  readonly icmpSuppressed: number;
  readonly fragmented: number;
  readonly reassembled: number;
  /** Packets that wait for a neighbor, and fragments that wait for the rest. */
  readonly held: number;
}

export interface PortCounters {
  readonly id: number;
  readonly name: string;
  readonly kind: 'tap' | 'uplink' | 'host' | 'vxlan';
  readonly network: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  /** Frames received on this port and dropped, by reason; only reasons that occurred. */
  readonly rxDrops: Readonly<Record<string, number>>;
  /** Frames meant to leave by this port and dropped, by reason. */
  readonly txDrops: Readonly<Record<string, number>>;
  /** Frames received on this port that were for the dataplane itself: its router, its multicast snooping. */
  readonly local: number;
  /** FDB entries learned on it. */
  readonly learnedMacs: number;
  /** Quarantined: nothing enters or leaves for a while. */
  readonly state: 'forwarding' | 'quarantined';
}

/** Sums over all ports that ever were: rxPackets + originated + copies = txPackets + local + every drop, once nothing is in flight. */
export interface Totals {
  readonly rxPackets: number;
  /** Frames that the dataplane itself made. */
  readonly originated: number;
  /** Extra copies that flooding made. */
  readonly copies: number;
  /** Frames that were for the dataplane itself: its router, its multicast snooping. */
  readonly local: number;
  readonly txPackets: number;
  readonly rxDrops: Readonly<Record<string, number>>;
  readonly txDrops: Readonly<Record<string, number>>;
}

export interface FdbEntry {
  readonly mac: string;
  readonly network: number;
  readonly port: number;
  /** 0 in a network without VLAN filtering. */
  readonly vlan: number;
  /** Seconds since it was last refreshed. */
  readonly ageSeconds: number;
  readonly static: boolean;
}

export interface DataplaneStatus {
  readonly engine: EngineName;
  /** Why this engine: "kernel 6.18 has io_uring with multishot reads", "asked for with --engine". */
  readonly engineReason: string;
  readonly slots: number;
  readonly freeSlots: number;
  readonly fdbEntries: number;
  readonly fdbCapacity: number;
  /** Learning attempts that found the table, or the share of network or port, full. */
  readonly fdbFull: number;
  /** MACs that were learned on another port than before. */
  readonly fdbMoves: number;
  /** Ports in quarantine. */
  readonly quarantined: readonly number[];
  /** Times that the supervisor restarted the worker. */
  readonly workerRestarts: number;
}

export interface CaptureFilter {
  /** Frames of this port, both directions; or null. */
  readonly port: number | null;
  /** Frames of this network, each once, where it was received; or null. */
  readonly network: number | null;
  /** Bytes kept of each frame; 0 is all. */
  readonly snapLength: number;
}

export interface CapturedFrame {
  readonly port: number;
  readonly direction: 'in' | 'out';
  /** Nanoseconds since the epoch. */
  readonly time: bigint;
  /** Length of the frame before snapLength cut it. */
  readonly originalLength: number;
  /** The frame from its Ethernet header on; the checksum of a NEEDS_CSUM frame completed where the frame is whole. Own copy. */
  readonly data: Uint8Array;
}

export interface Capture {
  /** Calls back for each frame, in order, until stopped. */
  onFrame(callback: (frame: CapturedFrame) => void): void;
  /** Frames lost since the start because the reader was slower than the traffic. */
  readonly lost: number;
  stop(): Promise<void>;
}

/** Connection tracking and address translation (core/nat). Each setter replaces all that was before. */
export interface DataplaneNat {
  setSettings(settings: WorkerNatSettings): Promise<void>;
  /** PUBLISHED_RECORD words each (core/nat/published.ts). */
  setPublished(records: Int32Array): Promise<void>;
  /**
   * @param records RULE_RECORD words each (core/nat/policy.ts)
   * @param filtered networks whose frames from endpoint to endpoint are judged too: pairs of number, and place as in the records
   */
  setPolicy(records: Int32Array, filtered: Int32Array): Promise<void>;
  /** Connections that each rule has decided, by its number: shared memory, costs the worker nothing. */
  readonly policyHits: Float64Array;
  /** At most `limit` flows from number `from` on. */
  flows(from: number, limit: number, filter: FlowFilter): Promise<FlowPage>;
  /** @returns how many there were */
  flushFlows(filter: FlowFilter): Promise<number>;
  status(): Promise<WorkerNatStatus>;
  /** At most `limit` mappings from place `from` on. */
  mappings(from: number, limit: number): Promise<MappingPage>;
}

/** Services and their backends (core/lb). What listens for them are records of `DataplaneNat.setPublished`. */
export interface DataplaneServices {
  /** Makes a service or replaces what it was, while its flows go on. */
  set(number: number, options: ServiceOptions): Promise<void>;
  remove(number: number): Promise<void>;
  /**
   * Ends flows of a backend that is gone: UDP is balanced anew with its next datagram, TCP is reset at both ends.
   *
   * @param tcp false: TCP goes on
   * @returns how many
   */
  endFlows(backend: number, tcp: boolean): Promise<number>;
  /** BACKEND_COUNTERS each, by number of the backend: shared memory, costs the worker nothing. */
  readonly counters: Float64Array;
}

/** VXLAN (core/vxlan). Remote VTEPs are ports, added by `addPort` with `vtep`. */
export interface DataplaneVxlan {
  /** Makes a network's own VTEP, or replaces what it was; null: it has none any more. Packets of the network go on meanwhile. */
  set(network: number, spec: VxlanSpec | null): Promise<void>;
  /** Whether a VTEP gets what is flooded. */
  setFloods(port: number, floods: boolean): Promise<void>;
  /** All VTEPs. */
  status(): Promise<VtepStatus[]>;
  /** Sends probes through VTEPs and waits for the answers, a second at most. */
  probe(ports: readonly number[]): Promise<VtepProbe[]>;
  /** A neighbor that is told, not asked for; null: it is not told any more. */
  setNeighbor(iface: number, address: string, mac: string | null): Promise<void>;
}

export interface Dataplane {
  readonly services: DataplaneServices;
  readonly vxlan: DataplaneVxlan;
  addNetwork(spec: NetworkSpec): Promise<number>;
  /** The network must have no ports left. */
  removeNetwork(network: number): Promise<void>;
  addPort(spec: PortSpec): Promise<number>;
  /** Resolves when the worker holds neither the descriptor nor an FDB entry of the port; counters go into the totals. */
  removePort(port: number): Promise<void>;
  /**
   * Super-packets in UDP tunnels leave an uplink's port by another descriptor (io/outlet.ts), or, with -1, do so no more. It stays the caller's,
   * who closes it after that, or after removePort.
   */
  setOutlet(port: number, fd: number): Promise<void>;
  /** Reads shared memory; costs the worker nothing. */
  ports(): PortCounters[];
  /** Name of a live port; null where there is none. Cheap, where `ports` reads all counters. */
  portName(port: number): string | null;
  totals(): Totals;
  fdb(): Promise<FdbEntry[]>;
  /** Binds a MAC to a port until the port goes. @throws Error, one line: no room, no such VLAN on the port */
  addStaticEntry(entry: StaticEntry, port: number): Promise<void>;
  /**
   * Many at once, in order: thousands take as long as a few one by one. MACs that endpoints own must not be among them.
   *
   * @throws Error, one line: no room; then all that came before the one at fault has been done
   */
  changeStatics(changes: readonly StaticChange[]): Promise<void>;
  /** Removes an entry, static or learned. @returns false where there is none */
  removeEntry(entry: StaticEntry): Promise<boolean>;
  /** In O(1): however many entries there are. */
  flushFdb(what: FdbFlush): Promise<void>;
  mdb(): Promise<MdbEntry[]>;
  /** @returns its number; it ends with the port that it sends to, and when what it copies goes */
  addMirror(spec: MirrorSpec): Promise<number>;
  removeMirror(mirror: number): Promise<void>;
  addVrf(spec: VrfSpec): Promise<number>;
  /** What it says anew replaces what it said. */
  setVrf(vrf: number, spec: VrfSpec): Promise<void>;
  /** No interface may be left in it. Its routes go with it. */
  removeVrf(vrf: number): Promise<void>;
  /** Connected prefixes and local addresses enter the FIB with it. @throws Error where network, VLAN or port are not there */
  addInterface(spec: InterfaceSpec): Promise<number>;
  /** Replaces an interface as a whole, without a packet seeing it away: addresses, MTU, MAC, up or down. Routes over it stay. */
  setInterface(iface: number, spec: InterfaceSpec): Promise<void>;
  /** Hops over it are taken out of the routes; routes without any left go. */
  removeInterface(iface: number): Promise<void>;
  /** Adds or replaces the route of a prefix. @throws Error where the FIB is full, or the prefix is an interface's own */
  setRoute(spec: RouteSpec): Promise<void>;
  /** @returns false where there is none */
  removeRoute(vrf: number, prefix: string): Promise<boolean>;
  /** Reads the FIB back. */
  fib(): Promise<FibEntry[]>;
  neighbors(): Promise<NeighborEntry[]>;
  /** Forgets what was resolved on an interface. */
  flushNeighbors(iface: number): Promise<void>;
  routerStatus(): Promise<RouterStatus>;
  /** Connections, address translation, policy. */
  readonly nat: DataplaneNat;
  onEvent(callback: (event: DataplaneEvent) => void): void;
  /** All that was wanted at the start is there: what an earlier process left and nobody came back for goes. */
  settle(): Promise<void>;
  status(): Promise<DataplaneStatus>;
  capture(filter: CaptureFilter): Promise<Capture>;
  /** Called when the kernel took a port away (its interface was deleted): `error` is the errno's name. */
  onPortDown(callback: (port: number, error: string) => void): void;
  /** Calls back once when the process behind the pidfd ends. Returns a function that stops watching. */
  watchPidfd(pidfd: number, callback: () => void): () => void;
  stop(): Promise<void>;
}
