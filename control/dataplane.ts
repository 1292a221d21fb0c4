/** The main thread's handle on the dataplane: starts the worker, sends it commands, reads counters out of shared memory, restarts it. */

import { randomBytes } from 'node:crypto';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import {
  COUNTER_BLOCK,
  COUNTER_COPIES,
  COUNTER_RX_BYTES,
  COUNTER_RX_DROPS,
  COUNTER_RX_PACKETS,
  COUNTER_TX_BYTES,
  COUNTER_TX_DROPS,
  COUNTER_TX_PACKETS,
  Counters,
} from '../core/counters.js';
import { DROP_REASONS } from '../core/drop.js';
import { SLOT_STRIDE } from '../core/packet/arena.js';
import { MAX_NETWORKS, MAX_PORTS } from '../core/ports.js';
import { fdbWords } from '../core/switch/fdb.js';
import { type EngineResources, PORT_PACKET, PORT_TAP, releaseResources } from '../io/engine.js';
import { errorName } from '../io/libc.js';
import { mapRegion, type Region, unmapRegion } from '../io/memory.js';
import { probeUring } from '../io/uring.js';
import { Wakeup } from '../io/wakeup.js';
import { CaptureReader, makeCaptureRing } from './capture-ring.js';
import type {
  Capture,
  CapturedFrame,
  CaptureFilter,
  Dataplane,
  DataplaneStatus,
  EngineName,
  FdbEntry,
  NetworkSpec,
  PortCounters,
  PortSpec,
  Totals,
} from './types.js';
import { applyV8Flags } from './v8-flags.js';
import type {
  Command,
  Reply,
  Request,
  WorkerNetwork,
  WorkerPort,
  WorkerSetup,
  WorkerStatus,
  WorkerWatch,
} from './worker-protocol.js';

/** Packet slots: 136 MiB of address space, of which a steady load touches a few MiB. */
const SLOTS = 2048;
const FDB_CAPACITY = 131072;
/** Bytes of frames that a capture's reader may lag behind. */
const CAPTURE_RING = 16 << 20;
/** Captured frames handed on before the rest of the main thread gets its turn: about a millisecond. */
const DRAIN_LIMIT = 512;
/** A worker that dies this often in a row, within a second of its start, is not started again. */
const RESTART_LIMIT = 5;

/** The bundled worker (scripts/bundle.mjs). */
const WORKER = new URL('../bundle/worker.js', import.meta.url);
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
}

/** @throws Error, one line, where the engine asked for is not to be had */
export async function startDataplane(options: StartOptions): Promise<Dataplane> {
  applyV8Flags();
  const { engine, reason } = chooseEngine(options.engine);
  const dataplane = new WorkerDataplane(engine, reason, options.logger);
  try {
    await dataplane.start();
  } catch (error) {
    await dataplane.stop();
    throw error;
  }
  return dataplane;
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
  resolve(value: FdbEntry[] | WorkerStatus | null): void;
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
  'watch',
  'unwatch',
  'endCapture',
  'stop',
]);

interface Watch extends WorkerWatch {
  readonly callback: () => void;
}

interface LivePort extends WorkerPort {
  readonly name: string;
  readonly label: 'tap' | 'uplink';
}

class WorkerDataplane implements Dataplane {
  private readonly engine: EngineName;
  private readonly engineReason: string;
  private readonly logger: DataplaneLogger;
  private readonly arena: Region = mapRegion(SLOTS * SLOT_STRIDE, true);
  private readonly counterMemory = new SharedArrayBuffer(MAX_PORTS * COUNTER_BLOCK * 8);
  private readonly counters = new Float64Array(this.counterMemory);
  private readonly fdbMemory = new SharedArrayBuffer(fdbWords(FDB_CAPACITY) * 4);
  private readonly generationMemory = new SharedArrayBuffer(MAX_PORTS * 4);
  private readonly seed = randomBytes(4).readInt32LE();
  private readonly wakeup = new Wakeup();

  private worker: Worker | null = null;
  private engineResources: EngineResources | null = null;
  private commands: MessagePort | null = null;
  private readonly pending = new Map<number, Pending>();
  private nextRequest = 1;
  private nextToken = 1;
  private nextCapture = 1;
  private restarts = 0;
  private quickDeaths = 0;
  private startedAt = 0;
  private stopping = false;

  private readonly networks = new Map<number, WorkerNetwork>();
  private readonly livePorts = new Map<number, LivePort>();
  private readonly removals = new Map<number, Promise<void>>();
  private readonly watches = new Map<number, Watch>();
  private readonly captures = new Map<number, WorkerCaptureSession>();
  private readonly portDownCallbacks: ((port: number, error: string) => void)[] = [];
  private lastPort = 0;

  constructor(engine: EngineName, engineReason: string, logger: DataplaneLogger) {
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
      counters: this.counterMemory,
      fdbWords: this.fdbMemory,
      fdbCapacity: FDB_CAPACITY,
      portGenerations: this.generationMemory,
      seed: this.seed,
      wakeupFd: this.wakeup.fd,
      commands: channel.port2,
      networks: [...this.networks.values()],
      ports: [...this.livePorts.values()],
      watches: [...this.watches.values()].map(({ token, fd }) => ({ token, fd })),
      captures: [...this.captures.values()].map(({ capture }) => capture),
    };
    const worker = new Worker(WORKER, {
      workerData: setup,
      transferList: [channel.port2],
      name: 'dataplane',
    });
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
    this.restart().catch((error: Error) => this.logger.error(`restarting the dataplane failed: ${error.message}`));
  }

  private async restart(): Promise<void> {
    // The kernel takes a dead ring apart in the background; until then it may still fill slots.
    await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE));
    if (this.stopping) return;
    await this.start();
    this.logger.warn(`dataplane worker restarted with its tables and ${this.livePorts.size} ports`);
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
  }

  // --- commands and replies

  private request(command: Command): Promise<FdbEntry[] | WorkerStatus | null> {
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
    if (!SETTLED_WITHOUT_WORKER.has(command.op)) throw new Error(`the dataplane ${why}: no ${command.op} now`);
    if (command.op === 'removePort') this.retirePort(command.id);
    return null;
  }

  /** What a worker does when it removes a port: voids what the port has learned, and keeps its counts for the totals. */
  private retirePort(id: number): void {
    const generations = new Int32Array(this.generationMemory);
    generations[id] = (generations[id] + 1) & 0xffff;
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
    const id = firstFree(this.networks, MAX_NETWORKS, 'networks');
    const network: WorkerNetwork = { id, ageing: spec.ageingSeconds, fdbLimit: spec.fdbLimit };
    this.networks.set(id, network);
    try {
      await this.request({ op: 'addNetwork', network });
    } catch (error) {
      this.networks.delete(id);
      throw error;
    }
    return id;
  }

  async removeNetwork(id: number): Promise<void> {
    await this.request({ op: 'removeNetwork', id });
    this.networks.delete(id);
  }

  async addPort(spec: PortSpec): Promise<number> {
    const id = this.freePort();
    const kind = spec.kind === 'tap' ? PORT_TAP : PORT_PACKET;
    const staticMac = spec.hostMac === undefined ? null : macWords(spec.hostMac);
    const port: LivePort = {
      id,
      network: spec.network,
      fd: spec.fd,
      kind,
      name: spec.name,
      label: spec.kind,
      staticMac,
    };
    this.livePorts.set(id, port);
    try {
      await this.request({ op: 'addPort', port });
    } catch (error) {
      this.livePorts.delete(id);
      throw error;
    }
    return id;
  }

  /** Numbers go round, so that one is not used again at once: a glance at old output cannot mistake one port for another. */
  private freePort(): number {
    for (let tries = 1; tries < MAX_PORTS; tries++) {
      this.lastPort = (this.lastPort % (MAX_PORTS - 1)) + 1;
      if (!this.livePorts.has(this.lastPort)) return this.lastPort;
    }
    throw new Error(`no more than ${MAX_PORTS - 1} ports`);
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
  }

  onPortDown(callback: (port: number, error: string) => void): void {
    this.portDownCallbacks.push(callback);
  }

  // --- counters and tables

  ports(): PortCounters[] {
    return [...this.livePorts.values()].map((port) => this.portCounters(port));
  }

  private portCounters(port: LivePort): PortCounters {
    const at = port.id * COUNTER_BLOCK;
    const { counters } = this;
    return {
      id: port.id,
      name: port.name,
      kind: port.label,
      network: port.network,
      rxPackets: counters[at + COUNTER_RX_PACKETS],
      rxBytes: counters[at + COUNTER_RX_BYTES],
      txPackets: counters[at + COUNTER_TX_PACKETS],
      txBytes: counters[at + COUNTER_TX_BYTES],
      rxDrops: this.dropsAt(at + COUNTER_RX_DROPS),
      txDrops: this.dropsAt(at + COUNTER_TX_DROPS),
    };
  }

  private dropsAt(at: number): Record<string, number> {
    const drops: Record<string, number> = {};
    DROP_REASONS.forEach((reason, code) => {
      const count = this.counters[at + code];
      if (count > 0) drops[reason.name] = count;
    });
    return drops;
  }

  totals(): Totals {
    const sums = new Float64Array(COUNTER_BLOCK);
    for (let port = 0; port <= this.highestPort(); port++) {
      for (let i = 0; i < COUNTER_BLOCK; i++) sums[i] += this.counters[port * COUNTER_BLOCK + i];
    }
    const drops = (from: number): Record<string, number> =>
      Object.fromEntries(
        DROP_REASONS.map((reason, code) => [reason.name, sums[from + code]]).filter(([, count]) => count !== 0),
      );
    return {
      rxPackets: sums[COUNTER_RX_PACKETS],
      copies: sums[COUNTER_COPIES],
      txPackets: sums[COUNTER_TX_PACKETS],
      rxDrops: drops(COUNTER_RX_DROPS),
      txDrops: drops(COUNTER_TX_DROPS),
    };
  }

  private highestPort(): number {
    let highest = 0;
    for (const id of this.livePorts.keys()) highest = Math.max(highest, id);
    return highest;
  }

  async fdb(): Promise<FdbEntry[]> {
    return (await this.request({ op: 'fdb' })) as FdbEntry[];
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
    const session = new WorkerCaptureSession(capture, () => this.endCapture(id));
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

class WorkerCaptureSession implements Capture {
  readonly capture: Extract<Command, { op: 'capture' }>['capture'];
  private readonly reader: CaptureReader;
  private readonly end: () => Promise<void>;
  private callback: ((frame: CapturedFrame) => void) | null = null;
  /** The rest of the ring will be read in a turn to come. */
  private draining = false;

  constructor(capture: WorkerCaptureSession['capture'], end: () => Promise<void>) {
    this.capture = capture;
    this.reader = new CaptureReader(capture.ring);
    this.end = end;
  }

  get lost(): number {
    return this.reader.lost;
  }

  onFrame(callback: (frame: CapturedFrame) => void): void {
    this.callback = callback;
    this.drain();
  }

  /** A part of what is there, and the rest after others had their turn. Leaves the frames in the ring until somebody listens. */
  drain(): void {
    if (this.callback === null || this.draining) return;
    this.draining = this.reader.drain(this.callback, DRAIN_LIMIT);
    if (this.draining) setImmediate(() => this.drainOn());
  }

  /** All that is left, once nobody writes any more. */
  finish(): void {
    if (this.callback !== null) while (this.reader.drain(this.callback, DRAIN_LIMIT));
  }

  private drainOn(): void {
    this.draining = false;
    this.drain();
  }

  stop(): Promise<void> {
    return this.end();
  }
}

/** "02:42:ac:1e:00:02" → the two words of a handle: 16 bits and int32. */
function macWords(mac: string): [high: number, low: number] {
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  return [(octets[0] << 8) | octets[1], (octets[2] << 24) | (octets[3] << 16) | (octets[4] << 8) | octets[5]];
}

function firstFree(taken: ReadonlyMap<number, unknown>, limit: number, what: string): number {
  for (let id = 1; id < limit; id++) if (!taken.has(id)) return id;
  throw new Error(`no more than ${limit - 1} ${what}`);
}
