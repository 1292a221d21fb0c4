/** A dataplane that only keeps books: what the daemon asked for, what it could be told to fail at. */

import type {
  Capture,
  CapturedFrame,
  CaptureFilter,
  Dataplane,
  DataplaneStatus,
  FdbEntry,
  NetworkSpec,
  PortCounters,
  PortSpec,
  Totals,
} from '../../../control/types.js';

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

export class DataplaneDouble implements Dataplane {
  readonly networks = new Map<number, NetworkSpec>();
  readonly livePorts = new Map<number, PortSpec>();
  readonly captures: CaptureDouble[] = [];
  readonly watched = new Map<number, () => void>();
  readonly fdbEntries: FdbEntry[] = [];
  rxDrops: Record<string, number> = {};
  txDrops: Record<string, number> = {};
  stopped = false;
  /** Makes the next calls of that name throw; a port by its name: `addPort a`. */
  readonly failing = new Set<string>();
  /** Called after a port is there and before addPort answers. */
  beforeAnswer: (port: number) => Promise<void> | void = () => {};
  #next = 1;
  #portDown: (port: number, error: string) => void = () => {};

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
    if ([...this.livePorts.values()].some((port) => port.network === network))
      throw new Error(`EBUSY network ${network}`);
    this.networks.delete(network);
  }

  async addPort(spec: PortSpec): Promise<number> {
    this.#mayFail(`addPort ${spec.name}`);
    if (!this.networks.has(spec.network)) throw new Error(`ENOENT network ${spec.network}`);
    const id = this.#next++;
    this.livePorts.set(id, spec);
    await this.beforeAnswer(id);
    return id;
  }

  async removePort(port: number): Promise<void> {
    if (!this.livePorts.delete(port)) throw new Error(`ENOENT port ${port}`);
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
    }));
  }

  totals(): Totals {
    return { rxPackets: 20, copies: 3, txPackets: 16, rxDrops: this.rxDrops, txDrops: this.txDrops };
  }

  async fdb(): Promise<FdbEntry[]> {
    return this.fdbEntries;
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
