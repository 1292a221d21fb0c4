/** A dataplane that only keeps books: what the daemon asked for, what it could be told to fail at. */

import { formatSubnet, parseSubnet } from '../../../control/config/address.js';
import { NatClient } from '../../../control/nat-client.js';
import type {
  Capture,
  CapturedFrame,
  CaptureFilter,
  Dataplane,
  DataplaneEvent,
  DataplaneNat,
  DataplaneServices,
  DataplaneStatus,
  DataplaneVxlan,
  FdbEntry,
  FdbFlush,
  FibEntry,
  InterfaceSpec,
  MdbEntry,
  MirrorSpec,
  NeighborEntry,
  NetworkSpec,
  PortCounters,
  PortSpec,
  RouterStatus,
  RouteSpec,
  StaticChange,
  StaticEntry,
  Totals,
  VrfSpec,
  VtepProbe,
  VtepStatus,
  VxlanSpec,
} from '../../../control/types.js';
import { WorkerNat } from '../../../control/worker-nat.js';
import type {
  FlowFilter,
  FlowPage,
  MappingPage,
  WorkerNatSettings,
  WorkerNatStatus,
} from '../../../control/worker-protocol.js';
import type { Dataplane as CoreDataplane } from '../../../core/dataplane.js';
import { BACKEND_COUNTERS, type ServiceOptions } from '../../../core/lb/service.js';
import { FlowTable, flowAddressBytes, flowTableBytes } from '../../../core/nat/flow-table.js';
import { Mappings } from '../../../core/nat/mappings.js';
import { MAX_RULES } from '../../../core/nat/policy.js';

export class CaptureDouble implements Capture {
  readonly filter: CaptureFilter;
  lost = 0;
  stopped = false;
  #callback: (frame: CapturedFrame) => void = () => {};

  constructor(filter: CaptureFilter) {
    this.filter = filter;
  }

  onFrame(callback: (frame: CapturedFrame) => void): void {
    this.#callback = callback;
  }

  deliver(port: number, data: Uint8Array): void {
    this.#callback({ port, direction: 'in', time: 1_000_000_000n, originalLength: data.length, data });
  }

  async stop(): Promise<void> {
    this.stopped = true;
  }
}

export class NatDouble implements DataplaneNat {
  settings: WorkerNatSettings | null = null;
  published: Int32Array = new Int32Array(0);
  policy: Int32Array = new Int32Array(0);
  filtered: Int32Array = new Int32Array(0);
  policyChanges = 0;
  readonly policyHits = new Float64Array(MAX_RULES);
  /** Makes the next call of that name throw. */
  readonly failing = new Set<string>();
  readonly flushed: FlowFilter[] = [];
  #tables: NatTables | null = null;
  current: WorkerNatStatus = {
    flows: 0,
    flowsMax: 0,
    evicted: 0,
    full: 0,
    exhausted: 0,
    owners: new Int32Array(0),
    externals: new Int32Array(0),
  };

  /** Real ones, read by what the worker reads them with; made when they are needed. */
  get tables(): NatTables {
    this.#tables ??= new NatTables();
    return this.#tables;
  }

  async setSettings(settings: WorkerNatSettings): Promise<void> {
    this.settings = settings;
  }

  async setPublished(records: Int32Array): Promise<void> {
    this.published = records;
  }

  async setPolicy(records: Int32Array, filtered: Int32Array): Promise<void> {
    if (this.failing.delete('setPolicy')) throw new Error('EIO setPolicy told to fail');
    this.policy = records;
    this.filtered = filtered;
    this.policyChanges++;
  }

  flows(from: number, limit: number, filter: FlowFilter): Promise<FlowPage> {
    return this.tables.client.flows(from, limit, filter);
  }

  flushFlows(filter: FlowFilter): Promise<number> {
    this.flushed.push(filter);
    return this.tables.client.flushFlows(filter);
  }

  async status(): Promise<WorkerNatStatus> {
    return this.#tables === null ? this.current : { ...this.current, ...(await this.#tables.client.status()) };
  }

  mappings(from: number, limit: number): Promise<MappingPage> {
    return this.tables.client.mappings(from, limit);
  }
}

export class ServicesDouble implements DataplaneServices {
  readonly all = new Map<number, ServiceOptions>();
  readonly counters = new Float64Array(64 * BACKEND_COUNTERS);
  /** Backends whose flows were ended, and whether TCP too. */
  readonly ended: { backend: number; tcp: boolean }[] = [];
  /** Makes the next call of that name throw. */
  readonly failing = new Set<string>();

  async set(number: number, options: ServiceOptions): Promise<void> {
    if (this.failing.delete('set')) throw new Error('EIO set told to fail');
    this.all.set(number, options);
  }

  async remove(number: number): Promise<void> {
    this.all.delete(number);
  }

  async endFlows(backend: number, tcp: boolean): Promise<number> {
    this.ended.push({ backend, tcp });
    return 0;
  }
}

export class VxlanDouble implements DataplaneVxlan {
  /** By network. */
  readonly locals = new Map<number, VxlanSpec>();
  /** By port. */
  readonly floods = new Map<number, boolean>();
  /** By interface and address. */
  readonly neighbors = new Map<string, string>();
  current: VtepStatus[] = [];
  probes: VtepProbe[] = [];
  /** Makes the next call of that name throw. */
  readonly failing = new Set<string>();

  async set(network: number, spec: VxlanSpec | null): Promise<void> {
    if (this.failing.delete('set')) throw new Error('EIO set told to fail');
    if (spec === null) this.locals.delete(network);
    else this.locals.set(network, spec);
  }

  async setFloods(port: number, floods: boolean): Promise<void> {
    this.floods.set(port, floods);
  }

  async status(): Promise<VtepStatus[]> {
    return this.current;
  }

  async probe(ports: readonly number[]): Promise<VtepProbe[]> {
    return this.probes.filter(({ port }) => ports.includes(port));
  }

  async setNeighbor(iface: number, address: string, mac: string | null): Promise<void> {
    if (mac === null) this.neighbors.delete(`${iface} ${address}`);
    else this.neighbors.set(`${iface} ${address}`, mac);
  }
}

/** Flows that the double has room for: more than two pages of a listing. */
const FLOWS = 10_000;

/** The tables of connections and mappings, behind the worker's and the main thread's halves of the conversation about them. */
export class NatTables {
  readonly table = new FlowTable(
    new Int32Array(flowTableBytes(FLOWS) / 4),
    new Int32Array(flowAddressBytes(FLOWS) / 4),
    FLOWS,
    1,
    0,
  );
  readonly mappings = new Mappings(FLOWS, 1);
  readonly client: NatClient;

  constructor() {
    const { table, mappings } = this;
    const worker = new WorkerNat({ router: { flows: { table, mappings } } } as unknown as CoreDataplane);
    this.client = new NatClient(async (command) => worker.dispatch(command) ?? null);
  }
}

export class DataplaneDouble implements Dataplane {
  readonly networks = new Map<number, NetworkSpec>();
  /** Descriptors by port. */
  readonly outlets = new Map<number, number>();
  readonly livePorts = new Map<number, PortSpec>();
  readonly captures: CaptureDouble[] = [];
  readonly watched = new Map<number, () => void>();
  readonly fdbEntries: FdbEntry[] = [];
  /** What `changeStatics` was given, call by call. */
  readonly staticChanges: (readonly StaticChange[])[] = [];
  readonly mdbEntries: MdbEntry[] = [];
  readonly flushes: FdbFlush[] = [];
  readonly mirrors = new Map<number, MirrorSpec>();
  readonly vrfs = new Map<number, VrfSpec>();
  readonly interfaces = new Map<number, InterfaceSpec>();
  /** By VRF and prefix. */
  readonly routes = new Map<string, RouteSpec>();
  readonly neighborEntries: NeighborEntry[] = [];
  /** Interfaces whose neighbors were forgotten. */
  readonly flushedNeighbors: number[] = [];
  /** Numbers of ports. */
  readonly quarantined: number[] = [];
  /** MACs learned on each port. */
  learned = 1;
  rxDrops: Record<string, number> = {};
  txDrops: Record<string, number> = {};
  stopped = false;
  /** Makes the next calls of that name throw; a port by its name: `addPort a`. */
  readonly failing = new Set<string>();
  /** Called after a port is there and before addPort answers. */
  beforeAnswer: (port: number) => Promise<void> | void = () => {};
  readonly nat = new NatDouble();
  readonly services = new ServicesDouble();
  readonly vxlan = new VxlanDouble();
  #next = 1;
  #portDown: (port: number, error: string) => void = () => {};
  #event: (event: DataplaneEvent) => void = () => {};

  #mayFail(call: string): void {
    if (this.failing.has(call)) throw new Error(`EIO ${call} told to fail`);
  }

  async addNetwork(spec: NetworkSpec): Promise<number> {
    this.#mayFail(`addNetwork ${spec.name}`);
    const id = this.#next++;
    this.networks.set(id, spec);
    return id;
  }

  async removeNetwork(network: number): Promise<void> {
    if (!this.networks.has(network)) throw new Error(`ENOENT network ${network}`);
    if ([...this.livePorts.values(), ...this.interfaces.values()].some((user) => user.network === network))
      throw new Error(`EBUSY network ${network}`);
    this.networks.delete(network);
    for (const [id, { fromNetwork }] of this.mirrors) if (fromNetwork === network) this.mirrors.delete(id);
  }

  async addPort(spec: PortSpec): Promise<number> {
    this.#mayFail(`addPort ${spec.name}`);
    if (!this.networks.has(spec.network)) throw new Error(`ENOENT network ${spec.network}`);
    if (spec.vtep !== undefined && !this.vxlan.locals.has(spec.network))
      throw new Error('the network has no VTEP of its own');
    const id = this.#next++;
    this.livePorts.set(id, spec);
    await this.beforeAnswer(id);
    return id;
  }

  async removePort(port: number): Promise<void> {
    if (!this.livePorts.delete(port)) throw new Error(`ENOENT port ${port}`);
    for (const [id, { fromPort, to }] of this.mirrors) if (fromPort === port || to === port) this.mirrors.delete(id);
    this.#forget((entry) => entry.port === port);
  }

  async setOutlet(port: number, fd: number): Promise<void> {
    this.#mayFail('setOutlet');
    if (!this.livePorts.has(port)) throw new Error(`ENOENT port ${port}`);
    if (fd < 0) this.outlets.delete(port);
    else this.outlets.set(port, fd);
  }

  #forget(doomed: (entry: FdbEntry) => boolean): void {
    const kept = this.fdbEntries.filter((entry) => !doomed(entry));
    this.fdbEntries.splice(0, this.fdbEntries.length, ...kept);
  }

  portNamed(name: string): number {
    for (const [id, spec] of this.livePorts) if (spec.name === name) return id;
    throw new Error(`no port ${name}`);
  }

  ports(): PortCounters[] {
    return [...this.livePorts].map(([id, { name, kind, network }]) => ({
      id,
      name,
      kind,
      network,
      rxPackets: 10,
      rxBytes: 1000,
      txPackets: 8,
      txBytes: 800,
      rxDrops: this.rxDrops,
      txDrops: this.txDrops,
      local: 0,
      learnedMacs: this.learned,
      state: this.quarantined.includes(id) ? 'quarantined' : 'forwarding',
    }));
  }

  portName(port: number): string | null {
    return this.livePorts.get(port)?.name ?? null;
  }

  totals(): Totals {
    return {
      rxPackets: 20,
      originated: 1,
      copies: 3,
      local: 2,
      txPackets: 15,
      rxDrops: this.rxDrops,
      txDrops: this.txDrops,
    };
  }

  async fdb(): Promise<FdbEntry[]> {
    return this.fdbEntries;
  }

  async addStaticEntry(entry: StaticEntry, port: number): Promise<void> {
    this.#mayFail('addStaticEntry');
    if (!this.livePorts.has(port)) throw new Error(`ENOENT port ${port}`);
    this.#forget(({ network, vlan, mac }) => network === entry.network && vlan === entry.vlan && mac === entry.mac);
    this.fdbEntries.push({ ...entry, port, ageSeconds: 0, static: true });
  }

  async changeStatics(changes: readonly StaticChange[]): Promise<void> {
    this.staticChanges.push(changes);
    const key = ({ network, vlan, mac }: StaticEntry): string => `${network} ${vlan} ${mac}`;
    const entries = new Map(this.fdbEntries.map((entry) => [key(entry), entry]));
    try {
      for (const { port, ...entry } of changes) {
        this.#mayFail(`changeStatics ${entry.mac}`);
        if (port !== null && !this.livePorts.has(port)) throw new Error(`ENOENT port ${port}`);
        entries.delete(key(entry));
        if (port !== null) entries.set(key(entry), { ...entry, port, ageSeconds: 0, static: true });
      }
    } finally {
      this.fdbEntries.splice(0);
      for (const entry of entries.values()) this.fdbEntries.push(entry);
    }
  }

  async removeEntry({ network, vlan, mac }: StaticEntry): Promise<boolean> {
    const before = this.fdbEntries.length;
    this.#forget((entry) => entry.network === network && entry.vlan === vlan && entry.mac === mac);
    return this.fdbEntries.length < before;
  }

  async flushFdb(what: FdbFlush): Promise<void> {
    this.flushes.push(what);
  }

  async mdb(): Promise<MdbEntry[]> {
    return this.mdbEntries;
  }

  async addMirror(spec: MirrorSpec): Promise<number> {
    this.#mayFail('addMirror');
    const id = this.#next++;
    this.mirrors.set(id, spec);
    return id;
  }

  async removeMirror(mirror: number): Promise<void> {
    if (!this.mirrors.delete(mirror)) throw new Error(`ENOENT mirror ${mirror}`);
  }

  async addVrf(spec: VrfSpec): Promise<number> {
    this.#mayFail(`addVrf ${spec.name}`);
    const id = this.#next++;
    this.vrfs.set(id, spec);
    return id;
  }

  async setVrf(vrf: number, spec: VrfSpec): Promise<void> {
    if (!this.vrfs.has(vrf)) throw new Error(`ENOENT VRF ${vrf}`);
    this.vrfs.set(vrf, spec);
  }

  async removeVrf(vrf: number): Promise<void> {
    if ([...this.interfaces.values()].some((spec) => spec.vrf === vrf)) throw new Error(`EBUSY VRF ${vrf}`);
    if (!this.vrfs.delete(vrf)) throw new Error(`ENOENT VRF ${vrf}`);
    for (const [key, spec] of this.routes) if (spec.vrf === vrf) this.routes.delete(key);
  }

  async addInterface(spec: InterfaceSpec): Promise<number> {
    this.#mayFail('addInterface');
    this.#check(spec);
    const id = this.#next++;
    this.interfaces.set(id, spec);
    return id;
  }

  #check({ vrf, network, port }: InterfaceSpec): void {
    if (!this.vrfs.has(vrf)) throw new Error(`ENOENT VRF ${vrf}`);
    if (!this.networks.has(network)) throw new Error(`ENOENT network ${network}`);
    if (port !== null && !this.livePorts.has(port)) throw new Error(`ENOENT port ${port}`);
  }

  async setInterface(iface: number, spec: InterfaceSpec): Promise<void> {
    if (!this.interfaces.has(iface)) throw new Error(`ENOENT interface ${iface}`);
    this.#check(spec);
    this.interfaces.set(iface, spec);
  }

  async removeInterface(iface: number): Promise<void> {
    if (!this.interfaces.delete(iface)) throw new Error(`ENOENT interface ${iface}`);
    for (const [key, spec] of this.routes) {
      const hops = spec.hops.filter((hop) => hop.interface !== iface);
      if (hops.length === 0 && spec.hops.length > 0) this.routes.delete(key);
      else this.routes.set(key, { ...spec, hops });
    }
  }

  /** The interface of a kind, or of a network by name. */
  interfaceOf(name: string): InterfaceSpec {
    for (const spec of this.interfaces.values())
      if (spec.kind === name || this.networks.get(spec.network)?.name === name) return spec;
    throw new Error(`no interface ${name}`);
  }

  async setRoute(spec: RouteSpec): Promise<void> {
    this.#mayFail(`setRoute ${spec.prefix}`);
    if (!this.vrfs.has(spec.vrf)) throw new Error(`ENOENT VRF ${spec.vrf}`);
    for (const hop of spec.hops)
      if (!this.interfaces.has(hop.interface)) throw new Error(`ENOENT interface ${hop.interface}`);
    this.routes.set(`${spec.vrf} ${spec.prefix}`, spec);
  }

  async removeRoute(vrf: number, prefix: string): Promise<boolean> {
    return this.routes.delete(`${vrf} ${prefix}`);
  }

  async fib(): Promise<FibEntry[]> {
    const connected = [...this.interfaces].flatMap(([id, { vrf, addresses }]) =>
      addresses.flatMap((address): FibEntry[] => {
        const hops = [{ interface: id, via: null, metric: 0 }];
        const host = `${address.split('/')[0]}/${address.includes(':') ? 128 : 32}`;
        return [
          { vrf, prefix: formatSubnet(parseSubnet(address)), kind: 'connected', hops },
          { vrf, prefix: host, kind: 'local', hops },
        ];
      }),
    );
    return [...connected, ...this.routes.values()];
  }

  async neighbors(): Promise<NeighborEntry[]> {
    return this.neighborEntries;
  }

  async flushNeighbors(iface: number): Promise<void> {
    this.flushedNeighbors.push(iface);
  }

  async routerStatus(): Promise<RouterStatus> {
    return {
      neighbors: this.neighborEntries.length,
      neighborsMax: 4096,
      neighborsEvicted: 0,
      fibPrefixes: (await this.fib()).length,
      icmpErrors: 3,
      icmpSuppressed: 1,
      fragmented: 0,
      reassembled: 0,
      held: 0,
    };
  }

  async settle(): Promise<void> {}

  onEvent(callback: (event: DataplaneEvent) => void): void {
    this.#event = callback;
  }

  /** Something happened: a MAC moved unless `part` says otherwise. */
  happen(part: Partial<DataplaneEvent>): void {
    this.#event({
      time: Date.UTC(2026, 0, 31, 12),
      kind: 'mac-moved',
      network: 0,
      vlan: 0,
      port: 0,
      fromPort: 0,
      mac: '',
      count: 0,
      address: '',
      ...part,
    });
  }

  async status(): Promise<DataplaneStatus> {
    return {
      engine: 'epoll',
      engineReason: 'a double',
      slots: 100,
      freeSlots: 100,
      fdbEntries: this.fdbEntries.length,
      fdbCapacity: 1000,
      fdbFull: 0,
      fdbMoves: 4,
      quarantined: this.quarantined,
      workerRestarts: 0,
    };
  }

  async capture(filter: CaptureFilter): Promise<CaptureDouble> {
    this.#mayFail('capture');
    const capture = new CaptureDouble(filter);
    this.captures.push(capture);
    return capture;
  }

  onPortDown(callback: (port: number, error: string) => void): void {
    this.#portDown = callback;
  }

  /** The kernel took the interface away. */
  portDown(port: number, error: string): void {
    this.#portDown(port, error);
  }

  watchPidfd(pidfd: number, callback: () => void): () => void {
    this.watched.set(pidfd, callback);
    return () => this.watched.delete(pidfd);
  }

  async stop(): Promise<void> {
    this.stopped = true;
  }
}
