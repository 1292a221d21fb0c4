/** A dataplane that only keeps books: what the daemon asked for, what it could be told to fail at. */

import type {
  Capture,
  CapturedFrame,
  CaptureFilter,
  Dataplane,
  DataplaneEvent,
  DataplaneStatus,
  FdbEntry,
  FdbFlush,
  MdbEntry,
  MirrorSpec,
  NetworkSpec,
  PortCounters,
  PortSpec,
  StaticEntry,
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
  readonly mdbEntries: MdbEntry[] = [];
  readonly flushes: FdbFlush[] = [];
  readonly mirrors = new Map<number, MirrorSpec>();
  /** Numbers of ports. */
  readonly quarantined: number[] = [];
  rxDrops: Record<string, number> = {};
  txDrops: Record<string, number> = {};
  stopped = false;
  /** Makes the next calls of that name throw; a port by its name: `addPort a`. */
  readonly failing = new Set<string>();
  /** Called after a port is there and before addPort answers. */
  beforeAnswer: (port: number) => Promise<void> | void = () => {};
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
    if ([...this.livePorts.values()].some((port) => port.network === network))
      throw new Error(`EBUSY network ${network}`);
    this.networks.delete(network);
    for (const [id, { fromNetwork }] of this.mirrors) if (fromNetwork === network) this.mirrors.delete(id);
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
    for (const [id, { fromPort, to }] of this.mirrors) if (fromPort === port || to === port) this.mirrors.delete(id);
    this.#forget((entry) => entry.port === port);
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
      learnedMacs: 1,
      state: this.quarantined.includes(id) ? 'quarantined' : 'forwarding',
    }));
  }

  portName(port: number): string | null {
    return this.livePorts.get(port)?.name ?? null;
  }

  totals(): Totals {
    return { rxPackets: 20, originated: 1, copies: 3, txPackets: 17, rxDrops: this.rxDrops, txDrops: this.txDrops };
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
