/** The main thread's handle on the dataplane: starts the worker, sends it commands, reads counters out of shared memory, restarts it. */

import { randomBytes } from 'node:crypto';
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import { COUNTER_BLOCK, Counters } from '../core/counters.js';
import { flowIndexBytes } from '../core/nat/flow-index.js';
import { permissionBytes } from '../core/nat/permissions.js';
import { SLOT_STRIDE } from '../core/packet/arena.js';
import { MAX_NETWORKS, MAX_PORTS, ROUTER_PORT } from '../core/ports.js';
import { endPortLife, LEARNED_RECORD, learnedEntries } from '../core/switch/fdb.js';
import type { Mirror } from '../core/switch/mirror.js';
import { HashTable } from '../core/tables/hash.js';
import { Clock } from '../io/clock.js';
import { type EngineResources, PORT_PACKET, PORT_TAP, releaseResources } from '../io/engine.js';
import { takesUdpSegments } from '../io/kernel.js';
import { errorName } from '../io/libc.js';
import { mapRegion, type Region, unmapRegion } from '../io/memory.js';
import { probeUring } from '../io/uring.js';
import { Wakeup } from '../io/wakeup.js';
import { FDB_CAPACITY, MAX_FLOWS } from './capacities.js';
import { makeCaptureRing } from './capture-ring.js';
import { CaptureSession } from './capture-session.js';
import { readPort, readTotals } from './counter-views.js';
import { flowsIn } from './flow-parties.js';
import { macWords } from './mac.js';
import { NatClient } from './nat-client.js';
import { Numbers } from './numbers.js';
import { NoWorkerError } from './paged-removal.js';
import { RouterClient } from './router-client.js';
import { ServiceClient } from './service-client.js';
import { mapTables, type TableLayout, type TableMemory, tableWords } from './table-memory.js';
import type {
  Capture,
  CaptureFilter,
  Dataplane,
  DataplaneEvent,
  DataplaneStatus,
  EngineName,
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
} from './types.js';
import { VxlanClient } from './vxlan-client.js';
import { bootWorker } from './worker-boot.js';
import type {
  Answer,
  Command,
  MacWords,
  Reply,
  Request,
  WorkerNetwork,
  WorkerPort,
  WorkerSetup,
  WorkerStatic,
  WorkerStatus,
  WorkerVtep,
  WorkerWatch,
} from './worker-protocol.js';
import { PORT_VXLAN } from './worker-protocol.js';
import { plainEvent, readEvents, readFdb, workerNetwork, workerPort } from './worker-specs.js';

/** Packet slots: 136 MiB of address space, of which a steady load touches a few MiB. */
const SLOTS = 2048;
/** Places of the FDB that only static entries may take: one for each port there can be. More than 100,000 are left to learning. */
const FDB_RESERVE = MAX_PORTS;
/** Bytes of frames that a capture's reader may lag behind. */
const CAPTURE_RING = 16 << 20;
/** A worker that dies this often in a row, within a second of its start, is not started again. */
const RESTART_LIMIT = 5;

const NOTHING = new Int32Array(0);

/** Milliseconds. */
const RESTART_PAUSE = 20;

export interface DataplaneLogger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface StartOptions {
  /** auto: the best that the kernel allows. */
  readonly engine: 'auto' | EngineName;
  readonly logger: DataplaneLogger;
  /** Connections that there is room for. */
  readonly maxFlows?: number;
  /** File of the tables that outlive the process; null: they end with it. */
  readonly tables?: string | null;
  /** Of `bootWorker`; one is booted unless given. */
  readonly worker?: Worker | undefined;
  /** What names had these in an earlier process; fresh ones unless given. */
  readonly numbers?: Numbers;
}

/** What the worker is to do with a port's descriptor. */
const KINDS = { tap: PORT_TAP, host: PORT_TAP, uplink: PORT_PACKET, vxlan: PORT_VXLAN } as const;

/** @throws Error, one line, where the engine asked for is not to be had */
export async function startDataplane(options: StartOptions): Promise<Dataplane> {
  const { engine, reason } = chooseEngine(options.engine);
  const tables = mapTables(options.maxFlows ?? MAX_FLOWS, options.tables ?? null);
  sayWhatWasFound(tables, options.logger);
  const numbers = options.numbers ?? new Numbers();
  const booted = options.worker ?? null;
  const dataplane = new WorkerDataplane(engine, reason, options.logger, tables, numbers, booted);
  try {
    await dataplane.start();
  } catch (error) {
    await dataplane.stop();
    throw error;
  }
  return dataplane;
}

function sayWhatWasFound({ found }: TableMemory, logger: DataplaneLogger): void {
  if (found === 'kept') logger.info('going on with the tables of an earlier process');
  if (found === 'other layout')
    logger.warn(
      'the tables of an earlier process have another layout: starting clean, its connections are not known here',
    );
}

function chooseEngine(wanted: 'auto' | EngineName): { engine: EngineName; reason: string } {
  if (wanted === 'epoll') return { engine: 'epoll', reason: 'asked for' };
  const missing = probeUring();
  if (missing === null)
    return { engine: 'uring', reason: wanted === 'uring' ? 'asked for' : 'the best this kernel allows' };
  if (wanted === 'uring') throw new Error(`engine uring is not to be had: ${missing}`);
  return { engine: 'epoll', reason: `no io_uring: ${missing}` };
}

interface Pending {
  resolve(value: Answer): void;
  reject(error: Error): void;
  readonly command: Command;
}

/**
 * Requests that need no worker: what one that is gone was asked to give up, it holds no more, and its successor is not told of it;
 * what it was asked to watch, the successor is told at its start.
 */
const SETTLED_WITHOUT_WORKER: ReadonlySet<Command['op']> = new Set([
  'removeNetwork',
  'removePort',
  'setOutlet',
  'watch',
  'unwatch',
  'endCapture',
  'addStatic',
  'changeStatics',
  'addMirror',
  'removeMirror',
  'addVrf',
  'setVrf',
  'removeVrf',
  'addInterface',
  'setInterface',
  'removeInterface',
  'setRoute',
  'removeRoute',
  'flushNeighbors',
  'setNat',
  'setPublished',
  'setPolicy',
  'setService',
  'removeService',
  'setVxlan',
  'setFloods',
  'setNeighbor',
  'removeNeighbor',
  'settle',
  'stop',
]);

interface Watch extends WorkerWatch {
  readonly callback: () => void;
}

interface LiveNetwork extends WorkerNetwork {
  readonly name: string;
  readonly vlans: Map<number, number>;
}

interface LivePort extends WorkerPort {
  readonly name: string;
  readonly label: PortSpec['kind'];
}

class WorkerDataplane implements Dataplane {
  private readonly engine: EngineName;
  private readonly engineReason: string;
  private readonly logger: DataplaneLogger;
  private readonly arena: Region = mapRegion(SLOTS * SLOT_STRIDE, true);
  /** Looked at in random places: with huge pages, one of a million flows is found in 9 ns instead of 87. */
  private readonly scratch: Region;
  private readonly counterMemory = new SharedArrayBuffer(MAX_PORTS * COUNTER_BLOCK * 8);
  private readonly counters = new Float64Array(this.counterMemory);
  private readonly tables: TableMemory;
  private readonly numbers: Numbers;
  private readonly seed = randomBytes(4).readInt32LE();
  private readonly wakeup = new Wakeup();

  /** Waits for its setup. */
  private booted: Worker | null;
  private worker: Worker | null = null;
  private engineResources: EngineResources | null = null;
  private commands: MessagePort | null = null;
  private readonly pending = new Map<number, Pending>();
  private nextRequest = 1;
  private nextToken = 1;
  private nextCapture = 1;
  private restarts = 0;
  private quickDeaths = 0;
  /** False where a worker that died is not replaced. */
  private restarting: Promise<boolean> = Promise.resolve(false);
  private startedAt = 0;
  private stopping = false;

  private readonly networks = new Map<number, LiveNetwork>();
  /** What ports had learned in an earlier process, and have not come back for yet; as of `learnedEntries`. */
  private learned: Int32Array;
  private readonly mirrors = new Map<number, Mirror>();
  private nextMirror = 1;
  /** By network, VLAN and MAC. */
  private readonly statics = new Map<string, WorkerStatic>();
  /** All ports of an earlier process that are to come back have come back. */
  private settled = false;
  private readonly eventCallbacks: ((event: DataplaneEvent) => void)[] = [];
  /** Port numbers, as the events tell. */
  private readonly quarantined = new Set<number>();
  private readonly router: RouterClient;
  readonly nat = new NatClient(
    (command) => this.request(command),
    () => this.replaced(),
  );
  readonly services = new ServiceClient(
    (command) => this.request(command),
    () => this.replaced(),
  );
  readonly vxlan = new VxlanClient(
    (command) => this.request(command),
    (port, change) => this.changeVtep(port, change),
  );
  private readonly livePorts = new Map<number, LivePort>();
  private readonly removals = new Map<number, Promise<void>>();
  private readonly watches = new Map<number, Watch>();
  private readonly captures = new Map<number, CaptureSession>();
  private readonly portDownCallbacks: ((port: number, error: string) => void)[] = [];
  private lastPort: number;

  constructor(
    engine: EngineName,
    engineReason: string,
    logger: DataplaneLogger,
    tables: TableMemory,
    numbers: Numbers,
    booted: Worker | null,
  ) {
    this.booted = booted;
    this.tables = tables;
    const { flowCapacity } = tables;
    this.scratch = mapRegion(flowIndexBytes(flowCapacity) + permissionBytes(flowCapacity), true);
    this.numbers = numbers;
    this.lastPort = numbers.ports.highest;
    this.router = new RouterClient({
      numbers,
      request: (command) => this.request(command),
      domainOf: (network, vlan) => this.domainOf(network, vlan),
    });
    this.learned = tables.found === 'kept' ? takeLearned(tables) : NOTHING;
    this.engine = engine;
    this.engineReason = engineReason;
    this.logger = logger;
  }

  // --- the worker's life

  async start(): Promise<void> {
    const channel = new MessageChannel();
    const setup: WorkerSetup = {
      engine: this.engine,
      arenaAddress: this.arena.address,
      arenaLength: this.arena.length,
      scratch: { address: this.scratch.address, length: this.scratch.length },
      counters: this.counterMemory,
      tables: this.tableLayout(),
      fdbCapacity: FDB_CAPACITY,
      fdbReserve: FDB_RESERVE,
      seed: this.seed,
      udpSegments: takesUdpSegments(),
      wakeupFd: this.wakeup.fd,
      commands: channel.port2,
      networks: [...this.networks.values()],
      ports: [...this.livePorts.values()],
      watches: [...this.watches.values()].map(({ token, fd }) => ({ token, fd })),
      captures: [...this.captures.values()].map(({ capture }) => capture),
      mirrors: [...this.mirrors.values()],
      statics: [...this.statics.values()],
      settled: this.settled,
      ...this.router.setup(),
      ...this.nat.setup(),
      ...this.services.setup(),
      ...this.vxlan.setup(),
    };
    const worker = this.booted ?? bootWorker();
    this.booted = null;
    worker.ref();
    worker.postMessage(setup, [channel.port2]);
    this.worker = worker;
    this.commands = channel.port1;
    this.startedAt = Date.now();
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (reply: Reply) => {
        if (reply.kind !== 'started') return this.receive(reply);
        this.engineResources = reply.resources;
        resolve();
      });
      worker.on('error', (error) => {
        this.logger.error(`dataplane worker died: ${error.stack ?? error.message}`);
        reject(error);
      });
      worker.on('exit', () => {
        this.workerEnded();
        reject(new Error('the dataplane worker ended at its start'));
      });
    });
  }

  /** The supervisor: a worker that ended without being told to is replaced, and goes on with the same tables and ports. */
  private workerEnded(): void {
    this.worker = null;
    if (this.engineResources !== null) releaseResources(this.engineResources);
    this.engineResources = null;
    const interrupted = [...this.pending.values()];
    this.pending.clear();
    for (const { command, resolve, reject } of interrupted) this.withoutWorker(command).then(resolve, reject);
    if (this.stopping) return;
    this.quickDeaths = Date.now() - this.startedAt < 1000 ? this.quickDeaths + 1 : 0;
    if (this.quickDeaths >= RESTART_LIMIT) {
      this.logger.error(`dataplane worker died ${RESTART_LIMIT} times in a row; giving up`);
      process.exitCode = 1;
      process.kill(process.pid, 'SIGTERM');
      return;
    }
    this.restarts++;
    this.restarting = this.restart().then(
      () => true,
      (error: Error) => {
        this.logger.error(`restarting the dataplane failed: ${error.message}`);
        return false;
      },
    );
  }

  /** The successor of a worker that died runs; false where there will be none. */
  private async replaced(): Promise<boolean> {
    return (await this.restarting) && this.worker !== null && !this.stopping;
  }

  private async restart(): Promise<void> {
    // The kernel takes a dead ring apart in the background; until then it may still fill slots.
    await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE));
    if (this.stopping) return;
    this.releaseQuarantined();
    await this.start();
    this.logger.warn(`dataplane worker restarted with its tables and ${this.livePorts.size} ports`);
  }

  /** Quarantines end with the worker that imposed them: its successor starts with all ports forwarding, and finds a loop again. */
  private releaseQuarantined(): void {
    for (const port of this.quarantined) {
      const network = this.livePorts.get(port)?.network ?? 0;
      this.emit(plainEvent('port-released', { network, port }));
    }
  }

  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    const worker = this.worker;
    if (worker !== null) {
      const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      void this.request({ op: 'stop' });
      await ended;
    }
    this.commands?.close();
    this.wakeup.close(true);
    unmapRegion(this.arena);
    unmapRegion(this.scratch);
    this.tables.unmap();
  }

  /** Without what cannot be handed to another thread. */
  private tableLayout(): TableLayout {
    const { address, length, fdb, generations, flows, addresses6, flowCapacity } = this.tables;
    return { address, length, fdb, generations, flows, addresses6, flowCapacity };
  }

  // --- commands and replies

  private request(command: Command): Promise<Answer> {
    const { commands } = this;
    if (commands === null || this.worker === null) return this.withoutWorker(command);
    const id = this.nextRequest++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject, command });
      commands.postMessage({ id, command } satisfies Request);
      this.wakeup.ring();
    });
  }

  /** Answers a request that no worker has done, or will do. */
  private async withoutWorker(command: Command): Promise<null> {
    const why = this.stopping ? 'is being stopped' : 'is being restarted';
    if (!SETTLED_WITHOUT_WORKER.has(command.op)) throw new NoWorkerError(`the dataplane ${why}: no ${command.op} now`);
    if (command.op === 'removePort') this.retirePort(command.id);
    return null;
  }

  /** What a worker does when it removes a port: voids what the port has learned, and keeps its counts for the totals. */
  private retirePort(id: number): void {
    endPortLife(tableWords(this.tables.buffer, this.tables.generations), id);
    new Counters(this.counters).retire(id);
  }

  private receive(reply: Reply): void {
    switch (reply.kind) {
      case 'done':
        this.pending.get(reply.id)?.resolve(reply.value);
        this.pending.delete(reply.id);
        break;
      case 'failed':
        this.pending.get(reply.id)?.reject(new Error(reply.error));
        this.pending.delete(reply.id);
        break;
      case 'portDown':
        for (const callback of this.portDownCallbacks) callback(reply.port, errorName(reply.errno));
        break;
      case 'readable':
        this.watchFired(reply.token);
        break;
      case 'events':
        for (const event of readEvents(reply.events, this.networks.values())) this.emit(event);
        break;
      case 'captured':
        for (const session of this.captures.values()) session.drain();
        break;
      case 'trouble':
        this.logger.error(reply.error);
        break;
      case 'started':
        break;
    }
  }

  // --- networks and ports

  async addNetwork(spec: NetworkSpec): Promise<number> {
    const id = this.numberDomain(spec.name);
    await this.numbers.saved();
    const network: LiveNetwork = { ...workerNetwork(id, spec), name: spec.name, vlans: new Map() };
    this.networks.set(id, network);
    try {
      await this.request({ op: 'addNetwork', network });
    } catch (error) {
      this.forgetNetwork(network);
      throw error;
    }
    return id;
  }

  /** A number for a network, or for a VLAN of one. */
  private numberDomain(name: string): number {
    const { domains } = this.numbers;
    return domains.take(name, () => {
      for (let id = 1; id < MAX_NETWORKS; id++) if (!domains.isTaken(id)) return id;
      throw new Error(`no more than ${MAX_NETWORKS - 1} networks and VLANs`);
    });
  }

  async removeNetwork(id: number): Promise<void> {
    await this.request({ op: 'removeNetwork', id });
    const network = this.networks.get(id);
    if (network !== undefined) this.forgetNetwork(network);
    this.forgetMirrors((mirror) => mirror.fromNetwork === id);
  }

  private forgetNetwork(network: LiveNetwork): void {
    this.networks.delete(network.id);
    for (const number of [network.id, ...network.vlans.values()]) this.numbers.domains.release(number);
  }

  /** Numbers for the VLANs that a port is the first of its network to name. */
  private nameVlans({ network, vlan }: PortSpec): [vid: number, fid: number][] {
    return vlan === undefined ? [] : this.numberVlans(network, [vlan.native, ...vlan.tagged]);
  }

  private numberVlans(networkId: number, vids: readonly number[]): [vid: number, fid: number][] {
    const network = this.networks.get(networkId);
    if (network === undefined || network.vlanProtocol === 0) return [];
    const fresh: [number, number][] = [];
    try {
      for (const vid of new Set(vids))
        if (vid !== 0 && !network.vlans.has(vid)) fresh.push([vid, this.numberDomain(`${network.name}/${vid}`)]);
    } catch (error) {
      for (const [, fid] of fresh) this.numbers.domains.release(fid);
      throw error;
    }
    // Only now that there are numbers for all: the worker hears of none where there are too few.
    for (const [vid, fid] of fresh) network.vlans.set(vid, fid);
    return fresh;
  }

  /** The domain of a VLAN, or of a network without for 0, and the VLANs that this names first. */
  private domainOf(networkId: number, vlan: number): { fid: number; vlans: [vid: number, fid: number][] } {
    const vlans = this.numberVlans(networkId, [vlan]);
    return { fid: this.networks.get(networkId)?.vlans.get(vlan) ?? networkId, vlans };
  }

  async addPort(spec: PortSpec): Promise<number> {
    const id = this.numberPort(spec.name);
    const vlans = this.nameVlans(spec);
    await this.numbers.saved();
    const kind = KINDS[spec.kind];
    const port: LivePort = { ...workerPort(id, kind, spec), name: spec.name, label: spec.kind };
    this.livePorts.set(id, port);
    try {
      await this.request({ op: 'addPort', port, vlans, learned: this.takeLearned(id) });
    } catch (error) {
      this.livePorts.delete(id);
      this.numbers.ports.release(id);
      throw error;
    }
    return id;
  }

  async setOutlet(id: number, fd: number): Promise<void> {
    const port = this.livePorts.get(id);
    if (port === undefined) return;
    this.livePorts.set(id, { ...port, outlet: fd });
    try {
      await this.request({ op: 'setOutlet', port: id, fd });
    } catch (error) {
      // The caller closes it: a successor of the worker must not be given what its number is then.
      const now = this.livePorts.get(id);
      if (now !== undefined) this.livePorts.set(id, { ...now, outlet: -1 });
      throw error;
    }
  }

  private changeVtep(id: number, change: (vtep: WorkerVtep) => WorkerVtep): void {
    const port = this.livePorts.get(id);
    if (port?.vtep != null) this.livePorts.set(id, { ...port, vtep: change(port.vtep) });
  }

  /** Numbers go round, so that one is not used again at once: a glance at old output cannot mistake one port for another. */
  private numberPort(name: string): number {
    const { ports } = this.numbers;
    return ports.take(name, () => {
      // The router's number is nobody else's.
      const most = ROUTER_PORT - 1;
      for (let tries = 0; tries < most; tries++) {
        this.lastPort = (this.lastPort % most) + 1;
        if (!ports.isTaken(this.lastPort)) return this.lastPort;
      }
      throw new Error(`no more than ${most} ports`);
    });
  }

  /** What a port had learned in an earlier process; once. */
  private takeLearned(port: number): Int32Array {
    const { learned } = this;
    const own: number[] = [];
    for (let at = 0; at < learned.length; at += LEARNED_RECORD)
      if (learned[at + 3] === port) own.push(...learned.subarray(at, at + LEARNED_RECORD));
    return Int32Array.from(own);
  }

  async settle(): Promise<void> {
    this.learned = NOTHING;
    this.settled = true;
    // Another VRF will have the number.
    for (const vrf of this.numbers.vrfs.left()) await this.nat.flushFlows(flowsIn(vrf));
    this.numbers.settle();
    await this.numbers.saved();
    await this.request({ op: 'settle' });
  }

  removePort(id: number): Promise<void> {
    const underWay = this.removals.get(id);
    if (underWay !== undefined) return underWay;
    if (!this.livePorts.has(id)) return Promise.resolve();
    const removal = this.removeLivePort(id).finally(() => this.removals.delete(id));
    this.removals.set(id, removal);
    return removal;
  }

  private async removeLivePort(id: number): Promise<void> {
    await this.request({ op: 'removePort', id });
    this.livePorts.delete(id);
    this.numbers.ports.release(id);
    this.quarantined.delete(id);
    for (const [key, entry] of this.statics) if (entry.port === id) this.statics.delete(key);
    this.forgetMirrors((mirror) => mirror.to === id || mirror.fromPort === id);
  }

  onPortDown(callback: (port: number, error: string) => void): void {
    this.portDownCallbacks.push(callback);
  }

  // --- counters and tables

  ports(): PortCounters[] {
    return [...this.livePorts.values()].map(({ id, name, label, network }) => {
      const state = this.quarantined.has(id) ? 'quarantined' : 'forwarding';
      return { id, name, kind: label, network, ...readPort(this.counters, id), state };
    });
  }

  portName(id: number): string | null {
    return this.livePorts.get(id)?.name ?? null;
  }

  totals(): Totals {
    return readTotals(this.counters, Math.max(0, ...this.livePorts.keys()));
  }

  async fdb(): Promise<FdbEntry[]> {
    return readFdb((await this.request({ op: 'fdb' })) as Int32Array, this.networks.values());
  }

  async addStaticEntry({ network, vlan, mac }: StaticEntry, port: number): Promise<void> {
    const entry: WorkerStatic = { network, vlan, mac: macWords(mac), port };
    const owner = [...this.livePorts.values()].find((one) => one.network === network && owns(one, entry.mac));
    if (owner !== undefined && owner.id !== port) throw new Error(`${mac} is the MAC of ${owner.name}`);
    await this.request({ op: 'addStatic', entry });
    this.statics.set(staticKey(entry), entry);
  }

  async changeStatics(changes: readonly StaticChange[]): Promise<void> {
    const wanted = changes.map(({ network, vlan, mac, port }) => ({
      network,
      vlan,
      mac: macWords(mac),
      port: port ?? 0,
    }));
    const words = wanted.flatMap(({ network, vlan, mac, port }) => [network, vlan, ...mac, port]);
    // A successor is told all of it: what the worker refuses, whoever asked takes back.
    for (const entry of wanted) {
      if (entry.port === 0) this.statics.delete(staticKey(entry));
      else this.statics.set(staticKey(entry), entry);
    }
    await this.request({ op: 'changeStatics', words: Int32Array.from(words) });
  }

  async removeEntry({ network, vlan, mac }: StaticEntry): Promise<boolean> {
    const words = macWords(mac);
    const owner = [...this.livePorts.values()].find((port) => port.network === network && owns(port, words));
    if (owner !== undefined)
      throw new Error(`${mac} is the MAC of ${owner.name}, which keeps it as long as it is connected`);
    const removed = await this.request({ op: 'removeEntry', network, vlan, mac: words });
    this.statics.delete(staticKey({ network, vlan, mac: words }));
    return removed === true;
  }

  async flushFdb({ network, port, vlan }: FdbFlush): Promise<void> {
    await this.request({ op: 'flushFdb', network: network ?? 0, vlan: vlan ?? -1, port: port ?? 0 });
  }

  async mdb(): Promise<MdbEntry[]> {
    return (await this.request({ op: 'mdb' })) as MdbEntry[];
  }

  async addMirror(spec: MirrorSpec): Promise<number> {
    const mirror: Mirror = {
      id: this.nextMirror++,
      fromPort: spec.fromPort ?? 0,
      fromNetwork: spec.fromNetwork ?? 0,
      to: spec.to,
      incoming: spec.direction !== 'out',
      outgoing: spec.direction !== 'in',
    };
    this.mirrors.set(mirror.id, mirror);
    try {
      await this.request({ op: 'addMirror', mirror });
    } catch (error) {
      this.mirrors.delete(mirror.id);
      throw error;
    }
    return mirror.id;
  }

  async removeMirror(id: number): Promise<void> {
    await this.request({ op: 'removeMirror', id });
    this.mirrors.delete(id);
  }

  private forgetMirrors(isGone: (mirror: Mirror) => boolean): void {
    for (const mirror of [...this.mirrors.values()]) if (isGone(mirror)) this.mirrors.delete(mirror.id);
  }

  // --- the router

  addVrf(spec: VrfSpec): Promise<number> {
    return this.router.addVrf(spec);
  }

  setVrf(vrf: number, spec: VrfSpec): Promise<void> {
    return this.router.setVrf(vrf, spec);
  }

  removeVrf(vrf: number): Promise<void> {
    return this.router.removeVrf(vrf);
  }

  addInterface(spec: InterfaceSpec): Promise<number> {
    return this.router.addInterface(spec);
  }

  setInterface(iface: number, spec: InterfaceSpec): Promise<void> {
    return this.router.setInterface(iface, spec);
  }

  removeInterface(iface: number): Promise<void> {
    this.vxlan.forgetInterface(iface);
    return this.router.removeInterface(iface);
  }

  setRoute(spec: RouteSpec): Promise<void> {
    return this.router.setRoute(spec);
  }

  removeRoute(vrf: number, prefix: string): Promise<boolean> {
    return this.router.removeRoute(vrf, prefix);
  }

  fib(): Promise<FibEntry[]> {
    return this.router.fib();
  }

  neighbors(): Promise<NeighborEntry[]> {
    return this.router.neighbors();
  }

  flushNeighbors(iface: number): Promise<void> {
    return this.router.flushNeighbors(iface);
  }

  routerStatus(): Promise<RouterStatus> {
    return this.router.status();
  }

  onEvent(callback: (event: DataplaneEvent) => void): void {
    this.eventCallbacks.push(callback);
  }

  private emit(event: DataplaneEvent): void {
    // An event may come after its port has gone, whose number another will have.
    if (event.kind === 'port-quarantined' && this.livePorts.has(event.port)) this.quarantined.add(event.port);
    if (event.kind === 'port-released') this.quarantined.delete(event.port);
    for (const callback of this.eventCallbacks) callback(event);
  }

  async status(): Promise<DataplaneStatus> {
    const status = (await this.request({ op: 'status' })) as WorkerStatus;
    return {
      engine: this.engine,
      engineReason: this.engineReason,
      slots: SLOTS,
      fdbCapacity: FDB_CAPACITY,
      workerRestarts: this.restarts,
      ...status,
    };
  }

  // --- watches

  watchPidfd(pidfd: number, callback: () => void): () => void {
    const token = this.nextToken++;
    this.watches.set(token, { token, fd: pidfd, callback });
    this.request({ op: 'watch', watch: { token, fd: pidfd } }).catch((error: Error) =>
      this.logger.error(error.message),
    );
    return () => this.unwatch(token);
  }

  private unwatch(token: number): void {
    if (!this.watches.delete(token) || this.stopping) return;
    this.request({ op: 'unwatch', token }).catch((error: Error) => this.logger.error(error.message));
  }

  private watchFired(token: number): void {
    const watch = this.watches.get(token);
    if (watch === undefined) return;
    this.unwatch(token);
    watch.callback();
  }

  // --- captures

  async capture(filter: CaptureFilter): Promise<Capture> {
    const id = this.nextCapture++;
    const capture = {
      id,
      port: filter.port ?? 0,
      network: filter.network ?? 0,
      snapLength: filter.snapLength,
      ring: makeCaptureRing(CAPTURE_RING),
    };
    const session = new CaptureSession(capture, () => this.endCapture(id));
    this.captures.set(id, session);
    try {
      await this.request({ op: 'capture', capture });
    } catch (error) {
      this.captures.delete(id);
      throw error;
    }
    return session;
  }

  private async endCapture(id: number): Promise<void> {
    const session = this.captures.get(id);
    if (session === undefined) return;
    await this.request({ op: 'endCapture', id });
    this.captures.delete(id);
    session.finish();
  }
}

/** Takes out what a predecessor's ports had learned, and leaves the table empty: its ports have yet to come back. */
function takeLearned(tables: TableMemory): Int32Array {
  const words = tableWords(tables.buffer, tables.fdb);
  const generations = tableWords(tables.buffer, tables.generations);
  const clock = new Clock();
  clock.read();
  const learned = learnedEntries(new HashTable(words, FDB_CAPACITY, 1), generations, clock.seconds);
  clock.close();
  words.fill(0);
  generations.fill(0);
  return learned;
}

function staticKey({ network, vlan, mac }: Omit<WorkerStatic, 'port'>): string {
  return `${network} ${vlan} ${mac[0]} ${mac[1]}`;
}

function same(one: MacWords, other: MacWords): boolean {
  return one[0] === other[0] && one[1] === other[1];
}

/** Whether a MAC is bound to a port by its configuration. */
function owns(port: WorkerPort, mac: MacWords): boolean {
  return port.macs.some((one) => same(one, mac));
}
