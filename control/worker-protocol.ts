/** What main thread and worker say to each other. Commands go over a MessagePort with an eventfd to wake the worker out of the kernel. */

import type { MessagePort } from 'node:worker_threads';
import type { ServiceOptions } from '../core/lb/service.js';
import type { FlowSettings } from '../core/nat/flows.js';
import type { InterfaceOptions } from '../core/router/interface.js';
import type { VrfOptions } from '../core/router/router.js';
import type { Prefix } from '../core/router/vrf.js';
import type { Mirror } from '../core/switch/mirror.js';
import type { MulticastOptions } from '../core/topology.js';
import type { LocalVtepOptions, VtepOptions } from '../core/vxlan/vtep.js';
import type { EngineResources } from '../io/engine.js';
import type { TableLayout } from './table-memory.js';
import type { EngineName, MdbEntry, PortVlanSpec, RouterStatus, StormSpec } from './types.js';

/** Handed to the worker at its start. Memory is given by address, so that a new worker goes on with the tables of a dead one. */
export interface WorkerSetup {
  readonly engine: EngineName;
  readonly arenaAddress: number;
  readonly arenaLength: number;
  /** For index and permissions of the flows: what a predecessor left there means nothing. */
  readonly scratch: { readonly address: number; readonly length: number };
  readonly counters: SharedArrayBuffer;
  /** FDB and flows. */
  readonly tables: TableLayout;
  readonly fdbCapacity: number;
  readonly fdbReserve: number;
  readonly seed: number;
  /** The kernel takes UDP super-packets. */
  readonly udpSegments: boolean;
  readonly wakeupFd: number;
  readonly commands: MessagePort;
  /** What a predecessor had: in place before the first packet and the first sweep of the FDB. */
  readonly networks: readonly WorkerNetwork[];
  readonly ports: readonly WorkerPort[];
  readonly watches: readonly WorkerWatch[];
  readonly captures: readonly WorkerCapture[];
  readonly mirrors: readonly Mirror[];
  readonly statics: readonly WorkerStatic[];
  /** What a predecessor knew of ports that are not among these ends: they went while there was no worker. */
  readonly settled: boolean;
  readonly vrfs: readonly WorkerVrf[];
  readonly interfaces: readonly WorkerInterface[];
  readonly routes: readonly WorkerRoute[];
  readonly nat: WorkerNatState;
  readonly services: WorkerServicesState;
  readonly vxlan: readonly WorkerVxlan[];
  readonly neighbors: readonly WorkerNeighbor[];
}

/** A descriptor that the main thread wants to know readable. */
export interface WorkerWatch {
  /** From 1. */
  readonly token: number;
  readonly fd: number;
}

export interface WorkerPort {
  readonly id: number;
  readonly network: number;
  readonly fd: number;
  /** PORT_TAP or PORT_PACKET (io/engine.ts), or PORT_VXLAN. */
  readonly kind: number;
  /** Null: no port security. */
  readonly security: WorkerSecurity | null;
  /** MACs that are behind the port for good; the port's own is the first. */
  readonly macs: readonly MacWords[];
  /** MACs that may be learned on it. */
  readonly macLimit: number;
  readonly isolation: number;
  readonly vlan: PortVlanSpec | null;
  readonly storm: StormSpec | null;
  /** ROUTER_AUTO and so on. */
  readonly router: number;
  readonly fastLeave: boolean;
  /** The router's alone. */
  readonly routed: boolean;
  /** False: super-packets are cut, and checksums finished, before they leave by it. */
  readonly offload: boolean;
  /** Descriptor by which super-packets in a UDP tunnel leave (io/outlet.ts); -1: there is none. */
  readonly outlet: number;
  /** The remote VTEP that it stands for, a port of kind PORT_VXLAN without a descriptor; null: it stands for none. */
  readonly vtep: WorkerVtep | null;
  /** Addresses to announce once the port is there; null: none. */
  readonly announce: AnnouncedAddresses | null;
}

/** Kind of a port that no descriptor is behind. */
export const PORT_VXLAN = 3;

export interface WorkerVtep extends VtepOptions {
  /** Sources are learned. */
  readonly learning: boolean;
}

/** A network's own VTEP, by number of the network. */
export type WorkerVxlan = readonly [network: number, options: LocalVtepOptions];

/** Neighbors that are told: interface, four words of address, MAC. */
export interface WorkerNeighbor {
  readonly iface: number;
  readonly address: readonly number[];
  readonly mac: MacWords;
}

/**
 * Int32 a VTEP in a listing: port, VTEP_UP and so on (core/vxlan/vtep.ts), seconds since it was heard (-1: never), bytes of the largest
 * inner IP packet, group policy tag (-1: none).
 */
export const VTEP_RECORD = 5;

/**
 * Int32 a VTEP in a listing of probes: port, then for each of PROBE_UDP, PROBE_TCP, PROBE_FULL_SIZE (core/vxlan/probe.ts) the outcome and
 * the microseconds.
 */
export const PROBE_RECORD = 7;

/** First two octets, last four as int32. */
export type MacWords = readonly [high: number, low: number];

export interface WorkerSecurity {
  /** SECURITY_MAC or SECURITY_STRICT. */
  readonly level: number;
  readonly mac: MacWords;
  readonly macLimit: number;
  /** As in PortSecurity. */
  readonly prefixes4: Int32Array;
  readonly prefixes6: Int32Array;
  readonly further: Int32Array;
}

export interface AnnouncedAddresses {
  readonly mac: MacWords;
  readonly addresses4: Int32Array;
  /** Four words each. */
  readonly addresses6: Int32Array;
}

export interface WorkerNetwork {
  readonly id: number;
  readonly ageing: number;
  readonly fdbLimit: number;
  readonly dropWhenFull: boolean;
  readonly vlanProtocol: number;
  readonly multicast: MulticastOptions | null;
  readonly loopMoves: number;
  readonly quarantine: number;
  /** Number of the domain by VID, for the VLANs that ports have named so far. */
  readonly vlans: ReadonlyMap<number, number>;
}

/** Int32 a change of a static entry: network, VLAN, MAC's first two octets, last four, port (0: the entry goes). */
export const STATIC_RECORD = 5;

/** A MAC bound to a port by command. */
export interface WorkerStatic {
  readonly network: number;
  readonly vlan: number;
  readonly mac: MacWords;
  readonly port: number;
}

export interface WorkerVrf {
  readonly number: number;
  readonly options: VrfOptions;
}

export interface WorkerInterface {
  readonly number: number;
  readonly up: boolean;
  readonly options: InterfaceOptions;
}

export interface WorkerHop {
  readonly iface: number;
  /** Four words; null: on the link. */
  readonly via: readonly number[] | null;
  readonly metric: number;
}

export interface WorkerRoute {
  readonly vrf: number;
  readonly prefix: Prefix;
  /** ROUTE_UNICAST and so on. */
  readonly kind: number;
  readonly hops: readonly WorkerHop[];
}

/** All that core/nat is configured with; each part replaces what was before. */
export interface WorkerNatState {
  readonly settings: WorkerNatSettings;
  /** PUBLISHED_RECORD words each (core/nat/published.ts). */
  readonly published: Int32Array;
  /** RULE_RECORD words each (core/nat/policy.ts). */
  readonly policy: Int32Array;
  /** Networks whose frames from endpoint to endpoint are judged too: pairs of number, and place as in the records. */
  readonly filtered: Int32Array;
  /** MAX_RULES float64: connections that each rule has decided. */
  readonly policyHits: SharedArrayBuffer;
}

export type WorkerNatSettings = FlowSettings;

/** All that core/lb is configured with. */
export interface WorkerServicesState {
  /** BACKEND_COUNTERS float64 each, by number of the backend (core/lb/service.ts). */
  readonly counters: SharedArrayBuffer;
  readonly services: readonly (readonly [number: number, options: ServiceOptions])[];
}

/** Which flows: those that all of this fits; 0 and null fit any. */
export interface FlowFilter {
  readonly protocol: number;
  /** A bit for each STATE_ of core/nat/flow.ts. */
  readonly states: number;
  /** Where it began. */
  readonly source: FlowPrefix | null;
  /** Where it was to go, or was sent instead. */
  readonly destination: FlowPrefix | null;
  /** Any of its ports. */
  readonly port: number;
  /** The port that its first packet was for, as that had it. */
  readonly reached: { readonly first: number; readonly last: number } | null;
  /** Translated ones only. */
  readonly translated: boolean;
  readonly party: FlowParty | null;
  /** Numbers of backends: those alone that services have led to one of these. */
  readonly backends: readonly number[] | null;
  /** None whose first packet was for one of these. */
  readonly spared: readonly FlowPrefix[];
}

/** IPv4 is mapped, with 96 bits before its own. */
export interface FlowPrefix {
  /** Else what is mapped would be in ::/0 as well. */
  readonly isIpv6: boolean;
  readonly words: readonly number[];
  /** 0 to 128. */
  readonly length: number;
}

/** An endpoint or a network: a flow is its own where it owns it, or has one of the four addresses there. */
export interface FlowParty {
  /** Numbers of ports: by these its first packet came in. */
  readonly owners: readonly number[];
  readonly prefixes: readonly FlowPrefix[];
  /** Where these addresses are its own: the VRF of what is routed (0: none), the domain of what is not. */
  readonly vrf: number;
  readonly domain: number;
}

/** Int32 a flow in a listing: its FLOW_WORDS, its FLOW_REST_WORDS, 16 words of IPv6 addresses (zeros for IPv4), its number. */
export const FLOW_LISTING = 37;

export interface FlowPage {
  /** FLOW_LISTING words each. */
  readonly words: Int32Array;
  /** Where the next page begins; -1: there is none. */
  readonly next: number;
  /** Seconds on the worker's clock. */
  readonly now: number;
}

export interface MappingPage {
  /** MAPPING_LISTING words each (core/nat/mappings.ts). */
  readonly words: Int32Array;
  /** Where the next page begins; -1: there is none. */
  readonly next: number;
}

export interface FlushPage {
  readonly removed: number;
  /** Where the next page begins; -1: there is none. */
  readonly next: number;
}

export interface WorkerNatStatus {
  readonly flows: number;
  readonly flowsMax: number;
  readonly evicted: number;
  /** Times that a new flow found the table full. */
  readonly full: number;
  /** Flows that got no port of an external address. */
  readonly exhausted: number;
  /** Flows by owner: pairs of port number and count. */
  readonly owners: Int32Array;
  /** What `Mappings` tells of each external address; MAPPING_STATUS words each. */
  readonly externals: Int32Array;
}

/** Int32 a prefix of the FIB in a listing: VRF, the prefix's four words, length, number of the route in the VRF. */
export const FIB_RECORD = 7;

export interface FibListing {
  readonly words: Int32Array;
  /** The routes that the prefixes lead to: few, however many prefixes there are. */
  readonly routes: readonly (Omit<WorkerRoute, 'prefix'> & { readonly value: number; readonly isConnected: boolean })[];
}

/** Int32 a neighbor in a listing: interface, address, state, MAC's first two octets, last four, seconds in the state, router, waiting. */
export const NEIGHBOR_RECORD = 11;

export interface WorkerCapture {
  readonly id: number;
  /** 0: any. */
  readonly port: number;
  /** 0: any. */
  readonly network: number;
  readonly snapLength: number;
  readonly ring: SharedArrayBuffer;
}

export type Command =
  | { op: 'addNetwork'; network: WorkerNetwork }
  | { op: 'removeNetwork'; id: number }
  /** `vlans`: those of the network that the port is the first to name, and the numbers of their domains. */
  | {
      op: 'addPort';
      port: WorkerPort;
      vlans: readonly (readonly [vid: number, fid: number])[];
      /** What the port had learned in another process, as of `learnedEntries`; empty for one that is new. */
      learned: Int32Array;
    }
  | { op: 'removePort'; id: number }
  /** fd -1: the port has none any more. */
  | { op: 'setOutlet'; port: number; fd: number }
  | { op: 'watch'; watch: WorkerWatch }
  | { op: 'unwatch'; token: number }
  | { op: 'fdb' }
  | { op: 'addStatic'; entry: WorkerStatic }
  /** STATIC_RECORD words each. */
  | { op: 'changeStatics'; words: Int32Array }
  | { op: 'removeEntry'; network: number; vlan: number; mac: MacWords }
  /** 0: any network, any port; vlan -1: any. */
  | { op: 'flushFdb'; network: number; vlan: number; port: number }
  | { op: 'mdb' }
  | { op: 'addMirror'; mirror: Mirror }
  | { op: 'removeMirror'; id: number }
  | { op: 'addVrf'; vrf: WorkerVrf }
  | { op: 'setVrf'; vrf: WorkerVrf }
  | { op: 'removeVrf'; number: number }
  /** `vlans` as with addPort. */
  | {
      op: 'addInterface';
      iface: WorkerInterface;
      network: number;
      vlans: readonly (readonly [vid: number, fid: number])[];
    }
  | { op: 'setInterface'; iface: WorkerInterface }
  | { op: 'removeInterface'; number: number }
  | { op: 'setRoute'; route: WorkerRoute }
  | { op: 'removeRoute'; vrf: number; prefix: Prefix }
  | { op: 'fib' }
  | { op: 'neighbors' }
  | { op: 'flushNeighbors'; iface: number }
  | { op: 'routerStatus' }
  | { op: 'setNat'; settings: WorkerNatSettings }
  | { op: 'setPublished'; records: Int32Array }
  | { op: 'setPolicy'; records: Int32Array; filtered: Int32Array }
  /** At most `limit` flows from number `from` on. */
  | { op: 'flows'; from: number; limit: number; filter: FlowFilter }
  /** Those among `limit` entries of the table from number `from` on. */
  | { op: 'flushFlows'; from: number; limit: number; filter: FlowFilter }
  | { op: 'natStatus' }
  | { op: 'setService'; number: number; options: ServiceOptions }
  | { op: 'removeService'; number: number }
  /** Ends a backend's flows, TCP by RST to both ends where `tcp` says so; else TCP goes on. */
  | { op: 'endBackend'; backend: number; tcp: boolean; from: number; limit: number }
  /** At most `limit` mappings from place `from` on. */
  | { op: 'mappings'; from: number; limit: number }
  /** Null: the network has no VTEP of its own any more. */
  | { op: 'setVxlan'; network: number; options: LocalVtepOptions | null }
  | { op: 'setFloods'; port: number; floods: boolean }
  /** Answered with VTEP_RECORD words each. */
  | { op: 'vxlanStatus' }
  | { op: 'sendProbes'; ports: readonly number[] }
  /** What has come back so far; PROBE_RECORD words each. */
  | { op: 'probes' }
  | { op: 'setNeighbor'; neighbor: WorkerNeighbor }
  | { op: 'removeNeighbor'; iface: number; address: readonly number[] }
  /** All that is to come back of what another process left has come back. */
  | { op: 'settle' }
  | { op: 'status' }
  | { op: 'capture'; capture: WorkerCapture }
  | { op: 'endCapture'; id: number }
  | { op: 'stop' };

export interface Request {
  readonly id: number;
  readonly command: Command;
}

export interface WorkerStatus {
  readonly freeSlots: number;
  readonly fdbEntries: number;
  readonly fdbFull: number;
  readonly fdbMoves: number;
  /** Port numbers. */
  readonly quarantined: readonly number[];
}

/** Int32 an FDB entry in a listing: domain, MAC's first two octets, last four, port, age in seconds, 1 where it is static. */
export const FDB_RECORD = 6;

/** What a worker answers a request with; an Int32Array is a listing of the FDB or of neighbors. */
export type Answer =
  | Int32Array
  | MdbEntry[]
  | WorkerStatus
  | FibListing
  | RouterStatus
  | FlowPage
  | FlushPage
  | MappingPage
  | WorkerNatStatus
  | number
  | boolean
  | null;

/** Events as the dataplane lists them: EVENT_RECORD words each (core/events.ts), and how many found no room. */
export interface WorkerEvents {
  readonly words: Int32Array;
  readonly lost: number;
}

export type Reply =
  /** First of all, as soon as there is an engine. */
  | { kind: 'started'; resources: EngineResources }
  | { kind: 'done'; id: number; value: Answer }
  | { kind: 'failed'; id: number; error: string }
  | { kind: 'portDown'; port: number; errno: number }
  | { kind: 'readable'; token: number }
  | { kind: 'captured' }
  | { kind: 'events'; events: WorkerEvents }
  /** Something that ends neither a request nor the worker. */
  | { kind: 'trouble'; error: string };
