/**
 * What the control plane asks of the dataplane, and what it gets back. `control/dataplane.ts` implements it with a worker
 * thread; tests may put a double in its place.
 */

export type EngineName = 'uring' | 'epoll';

export interface NetworkSpec {
  readonly name: string;
  /** Seconds after which an FDB entry that was not refreshed is forgotten. */
  readonly ageingSeconds: number;
  /** FDB entries this network may hold; when full, frames still flow, unlearned. */
  readonly fdbLimit: number;
}

export interface PortSpec {
  readonly kind: 'tap' | 'uplink';
  /** Unique among live ports: the endpoint's name, or `uplink`. */
  readonly name: string;
  /** Number that addNetwork gave. */
  readonly network: number;
  /** Open TAP or AF_PACKET descriptor; stays the caller's, who closes it after removePort has resolved. */
  readonly fd: number;
  /**
   * The MAC of the host's own device behind an uplink. What the wire sends to it is the host's, and is kept from being flooded as
   * unknown by a static FDB entry: the host's own frames are not received, so it would never be learned.
   */
  readonly hostMac?: string;
}

export interface PortCounters {
  readonly id: number;
  readonly name: string;
  readonly kind: 'tap' | 'uplink';
  readonly network: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  /** Frames received on this port and dropped, by reason; only reasons that occurred. */
  readonly rxDrops: Readonly<Record<string, number>>;
  /** Frames meant to leave by this port and dropped, by reason. */
  readonly txDrops: Readonly<Record<string, number>>;
}

/** Sums over all ports that ever were: rxPackets + copies = txPackets + every drop, once nothing is in flight. */
export interface Totals {
  readonly rxPackets: number;
  /** Extra copies that flooding made. */
  readonly copies: number;
  readonly txPackets: number;
  readonly rxDrops: Readonly<Record<string, number>>;
  readonly txDrops: Readonly<Record<string, number>>;
}

export interface FdbEntry {
  readonly mac: string;
  readonly network: number;
  readonly port: number;
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
  /** Learning attempts that found the table or the network's share full. */
  readonly fdbFull: number;
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

export interface Dataplane {
  addNetwork(spec: NetworkSpec): Promise<number>;
  /** The network must have no ports left. */
  removeNetwork(network: number): Promise<void>;
  addPort(spec: PortSpec): Promise<number>;
  /** Resolves when the worker holds neither the descriptor nor an FDB entry of the port; counters go into the totals. */
  removePort(port: number): Promise<void>;
  /** Reads shared memory; costs the worker nothing. */
  ports(): PortCounters[];
  totals(): Totals;
  fdb(): Promise<FdbEntry[]>;
  status(): Promise<DataplaneStatus>;
  capture(filter: CaptureFilter): Promise<Capture>;
  /** Called when the kernel took a port away (its interface was deleted): `error` is the errno's name. */
  onPortDown(callback: (port: number, error: string) => void): void;
  /** Calls back once when the process behind the pidfd ends. Returns a function that stops watching. */
  watchPidfd(pidfd: number, callback: () => void): () => void;
  stop(): Promise<void>;
}
