/** A dataplane without a kernel: frames in, frames out, counters. For scenario tests. */

import {
  COUNTER_BLOCK,
  COUNTER_COPIES,
  COUNTER_LOCAL,
  COUNTER_ORIGINATED,
  COUNTER_RX_DROPS,
  COUNTER_RX_PACKETS,
  COUNTER_TX_BYTES,
  COUNTER_TX_DROPS,
  COUNTER_TX_PACKETS,
  RETIRED_PORT,
} from '../../core/counters.js';
import { Dataplane, type Transmitter } from '../../core/dataplane.js';
import { DROP_REASONS } from '../../core/drop.js';
import { EVENT_RECORD } from '../../core/events.js';
import type { FlowMemory } from '../../core/nat/flows.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import { clearVnetHeader, TUNNEL_HEADER_LENGTH, VNET_GSO_UDP_TUNNEL, writeVnetHeader } from '../../core/packet/vnet.js';
import { MAX_PORTS, type Port } from '../../core/ports.js';
import { fdbWords, GENERATION_WORDS } from '../../core/switch/fdb.js';
import type { NetworkOptions, PortOptions, Topology } from '../../core/topology.js';

export interface SentFrame {
  readonly port: number;
  readonly frame: Uint8Array;
  /** The slot it was sent from. */
  readonly slot: number;
  /** The 10 bytes in front of it; of a super-packet in a tunnel 24. */
  readonly vnet: Uint8Array;
}

/** Keeps copies of what is sent, and gives the slots back as an engine does. */
class Recorder implements Transmitter {
  readonly sent: SentFrame[] = [];
  arena: Arena | null = null;
  /** False: count only, for long runs. */
  keep = true;
  /** True: as an engine that writes at the end of a batch. Frames are read, and slots given back, by `flush`. */
  deferred = false;
  count = 0;
  private readonly queue: { readonly port: number; readonly slot: number; readonly start: number }[] = [];

  transmit(port: number, slot: number): void {
    const { start } = (this.arena as Arena).packets[slot];
    this.count++;
    if (this.deferred) this.queue.push({ port, slot, start });
    else this.write(port, slot, start);
  }

  /** Writes what was queued. A frame that was changed after it was queued comes out changed, as it would for the kernel. */
  flush(): void {
    for (const { port, slot, start } of this.queue.splice(0)) this.write(port, slot, start);
  }

  private write(port: number, slot: number, start: number): void {
    const arena = this.arena as Arena;
    if (this.keep) {
      const { gsoType, length } = arena.packets[slot];
      const header = (gsoType & VNET_GSO_UDP_TUNNEL) === 0 ? VNET_HEADER_LENGTH : TUNNEL_HEADER_LENGTH;
      const frame = arena.bytes.slice(start, start + length);
      const vnet = arena.bytes.slice(start - header, start);
      this.sent.push({ port, frame, slot, vnet });
    }
    arena.release(slot);
  }
}

export interface VnetFields {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly headerLength?: number;
  readonly gsoSize?: number;
  readonly checksumStart?: number;
  readonly checksumOffset?: number;
}

export interface HarnessOptions {
  readonly slots?: number;
  readonly fdbCapacity?: number;
  readonly fdbReserve?: number;
  readonly ageing?: number;
  readonly fdbLimit?: number;
  readonly network?: NetworkOptions;
  /** Frames leave, and slots come back, only after each `receive`. */
  readonly deferred?: boolean;
  /** What outlives a worker: those of another harness, as its successor finds them. */
  readonly survivors?: Survivors;
  /** Memory for connections, which outlives a worker likewise; and the second in which its clock begins. */
  readonly flows?: FlowMemory;
  readonly now?: number;
}

export interface Survivors {
  readonly counters: Float64Array;
  readonly fdbWords: Int32Array;
  readonly generations: Int32Array;
}

/** What changed in one port's counters; names of drop reasons with "drop " or, on the way out, "lost " before them. */
export type Changes = Record<string, number>;

export interface SeenEvent {
  readonly kind: number;
  readonly domain: number;
  readonly port: number;
  readonly before: number;
  readonly high: number;
  readonly low: number;
  readonly number: number;
}

const COUNTER_NAMES: (string | undefined)[] = [];
COUNTER_NAMES[COUNTER_RX_PACKETS] = 'rx';
COUNTER_NAMES[COUNTER_TX_PACKETS] = 'tx';
COUNTER_NAMES[COUNTER_COPIES] = 'copies';
COUNTER_NAMES[COUNTER_LOCAL] = 'local';
COUNTER_NAMES[COUNTER_ORIGINATED] = 'originated';
DROP_REASONS.forEach(({ name }, code) => {
  COUNTER_NAMES[COUNTER_RX_DROPS + code] = `drop ${name}`;
  COUNTER_NAMES[COUNTER_TX_DROPS + code] = `lost ${name}`;
});

/** Counters as they were before what `changes` looks at. There are so many that new ones each time take longer than the looking. */
const BEFORE = new Float64Array(MAX_PORTS * COUNTER_BLOCK);

/** Of a counter of packets that came or were made: 1; of one of packets that went: -1; of any other: 0. */
const COUNTER_SIGNS = new Float64Array(COUNTER_BLOCK).fill(-1, COUNTER_RX_DROPS);
for (const index of [COUNTER_RX_PACKETS, COUNTER_ORIGINATED, COUNTER_COPIES]) COUNTER_SIGNS[index] = 1;
for (const index of [COUNTER_TX_PACKETS, COUNTER_LOCAL]) COUNTER_SIGNS[index] = -1;

export class Harness {
  readonly arena: Arena;
  readonly dataplane: Dataplane;
  readonly recorder = new Recorder();
  readonly counters: Float64Array;
  /** For a successor with the same `fdbCapacity`. */
  readonly survivors: Survivors;

  get topology(): Topology {
    return this.dataplane.topology;
  }

  /** Network 1 with ports 1..ports, unless `ports` is 0. */
  constructor(ports = 0, options: HarnessOptions = {}) {
    const capacity = options.fdbCapacity ?? 1024;
    this.arena = new Arena(new ArrayBuffer((options.slots ?? 32) * SLOT_STRIDE));
    this.recorder.arena = this.arena;
    this.recorder.deferred = options.deferred ?? false;
    this.survivors = options.survivors ?? {
      counters: new Float64Array(MAX_PORTS * COUNTER_BLOCK),
      fdbWords: new Int32Array(fdbWords(capacity)),
      generations: new Int32Array(GENERATION_WORDS),
    };
    this.counters = this.survivors.counters;
    this.dataplane = new Dataplane({
      arena: this.arena,
      transmitter: this.recorder,
      counters: this.counters,
      fdbWords: this.survivors.fdbWords,
      fdbCapacity: capacity,
      fdbReserve: options.fdbReserve ?? 0,
      generations: this.survivors.generations,
      seed: 12345,
      ...(options.flows === undefined ? {} : { flows: options.flows }),
      now: options.now ?? 0,
    });
    if (ports === 0) return;
    this.topology.addNetwork(1, options.ageing ?? 300, options.fdbLimit ?? capacity, options.network);
    for (let port = 1; port <= ports; port++) this.topology.addPort(port, 1);
  }

  /** Adds ports 1, 2, ... to network 1, one for each of the options. */
  addPorts(...ports: readonly PortOptions[]): void {
    ports.forEach((options, i) => {
      this.topology.addPort(i + 1, 1, options);
    });
  }

  /** Network 1 with VLANs, each of which has its VID + 1000 as number. */
  addVlanNetwork(vids: readonly number[], protocol = 0x8100, options: NetworkOptions = {}): void {
    this.topology.addNetwork(1, 300, 1024, { ...options, vlanProtocol: protocol });
    for (const vid of vids) this.topology.addVlan(1, vid, vid + 1000);
  }

  /** Puts a frame into a slot as if `port` had received it, without processing it. */
  load(port: number, frame: Uint8Array, vnet: VnetFields | null = null): number {
    const slot = this.arena.allocate();
    if (slot < 0) throw new Error('harness: no free slot');
    const packet = this.arena.packets[slot];
    packet.port = port;
    packet.start = this.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
    packet.length = frame.length;
    this.arena.bytes.set(frame, packet.start);
    if (vnet === null) clearVnetHeader(this.arena, packet);
    else {
      packet.vnetFlags = vnet.flags ?? 0;
      packet.gsoType = vnet.gsoType ?? 0;
      packet.headerLength = vnet.headerLength ?? 0;
      packet.gsoSize = vnet.gsoSize ?? 0;
      packet.checksumStart = vnet.checksumStart ?? 0;
      packet.checksumOffset = vnet.checksumOffset ?? 0;
      writeVnetHeader(this.arena, packet);
    }
    return slot;
  }

  /** Receives a frame on a port; returns what left because of it. */
  receive(port: number, frame: Uint8Array, vnet: VnetFields | null = null): SentFrame[] {
    return this.sentBy(() => this.dataplane.process(this.load(port, frame, vnet)));
  }

  /** What leaves because of whatever `run` does. */
  sentBy(run: () => void): SentFrame[] {
    this.recorder.sent.length = 0;
    run();
    this.recorder.flush();
    return [...this.recorder.sent];
  }

  /** The ticks of the seconds up to `now`, each as the worker does it. */
  passTo(now: number): void {
    while (this.dataplane.now < now) {
      this.dataplane.now++;
      this.dataplane.milliseconds = (this.dataplane.milliseconds + 1000) | 0;
      this.dataplane.fdb.sweep(this.dataplane.fdb.table.places, this.dataplane.now);
      this.topology.tick();
      this.dataplane.router.flows.tick();
      this.dataplane.router.tick();
      this.dataplane.vxlan.tick();
      this.recorder.flush();
    }
  }

  /** Ports a frame left by, ascending. */
  receivePorts(port: number, frame: Uint8Array): number[] {
    return this.receive(port, frame)
      .map((sent) => sent.port)
      .sort((a, b) => a - b);
  }

  counter(port: number, index: number): number {
    return this.counters[port * COUNTER_BLOCK + index];
  }

  rxDrops(port: number): Record<string, number> {
    return this.drops(port, COUNTER_RX_DROPS);
  }

  txDrops(port: number): Record<string, number> {
    return this.drops(port, COUNTER_TX_DROPS);
  }

  private drops(port: number, from: number): Record<string, number> {
    const found: Record<string, number> = {};
    DROP_REASONS.forEach((reason, code) => {
      const count = this.counter(port, from + code);
      if (count !== 0) found[reason.name] = count;
    });
    return found;
  }

  /**
   * Counter changes by port, of those ports where something changed. Bytes are not among them: they are compared with the frames, but for
   * VTEPs, whose frames leave by another port.
   * @throws where a port's bytes are not those of the frames it sent
   */
  changes(run: () => void): Record<number, Changes> {
    const { counters } = this;
    BEFORE.set(counters);
    /** Sent less counted, by port. */
    const uncounted = new Float64Array(MAX_PORTS);
    for (const { port, frame } of this.sentBy(run)) uncounted[port] += frame.length;
    const changes: Record<number, Changes> = {};
    for (let at = 0; at < counters.length; at++) {
      const change = counters[at] - BEFORE[at];
      if (change === 0) continue;
      const port = Math.floor(at / COUNTER_BLOCK);
      const index = at % COUNTER_BLOCK;
      if (index === COUNTER_TX_BYTES && this.dataplane.ports[port].vtep === null) uncounted[port] -= change;
      const name = COUNTER_NAMES[index];
      if (name === undefined) continue;
      changes[port] ??= {};
      changes[port][name] = change;
    }
    const wrong = uncounted.findIndex((bytes) => bytes !== 0);
    if (wrong >= 0)
      throw new Error(`port ${wrong} did not count just the bytes it sent: ${uncounted[wrong]} are missing`);
    return changes;
  }

  /** The events since the last call. */
  events(): SeenEvent[] {
    const { events } = this.dataplane;
    const seen: SeenEvent[] = [];
    for (let i = 0; i < events.count; i++) {
      const [kind, domain, port, before, high, low, number] = events.words.subarray(i * EVENT_RECORD);
      seen.push({ kind, domain, port, before, high, low, number });
    }
    events.clear();
    return seen;
  }

  /** Packets, a slot each, that wait in the router: for a neighbor's MAC, the rest of a datagram, or the other end of a connection. */
  get held(): number {
    const { neighbors, reassembly, flows } = this.dataplane.router;
    return neighbors.held + reassembly.held + flows.unsolicited.held;
  }

  /** Nothing is lost: every frame is accounted for, and every slot is back or holds one that waits. */
  get isWhole(): boolean {
    return this.imbalance() === 0 && this.arena.available === this.arena.slotCount - this.held;
  }

  /** received + originated + copies - delivered - local - drops - held over all ports: 0, always, once nothing is in flight. */
  imbalance(): number {
    // Of thousands of ports few are there; only where those alone do not add up, the others are looked at.
    return this.balanceOf(({ id, live }) => live || id === RETIRED_PORT) && this.balanceOf(() => true);
  }

  private balanceOf(counts: (port: Port) => boolean): number {
    let balance = -this.held;
    for (const port of this.dataplane.ports) {
      if (!counts(port)) continue;
      const at = port.id * COUNTER_BLOCK;
      for (let index = 0; index < COUNTER_BLOCK; index++) balance += COUNTER_SIGNS[index] * this.counters[at + index];
    }
    return balance;
  }
}

/** "02:00:00:00:00:01" → 6 bytes. */
export function mac(text: string): number[] {
  return text.split(':').map((octet) => Number.parseInt(octet, 16));
}

/** A MAC with a number in its last four octets. */
export function numberedMac(number: number): number[] {
  return [0x02, 0x00, (number >>> 24) & 255, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
}

export const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/** An Ethernet frame with an experimental EtherType (or a given one) and a payload padded to the minimum of 60 bytes. */
export function frame(to: number[], from: number[], payload: number[] = [], etherType = 0x88b5): Uint8Array {
  const bytes = new Uint8Array(Math.max(60, 14 + payload.length));
  bytes.set(to, 0);
  bytes.set(from, 6);
  bytes[12] = etherType >> 8;
  bytes[13] = etherType & 255;
  bytes.set(payload, 14);
  return bytes;
}

/** The frame with a tag behind its addresses, in front of those it has. */
export function tagged(frame: Uint8Array, vid: number, priority = 0, protocol = 0x8100): Uint8Array {
  const tag = [protocol >> 8, protocol & 255, (priority << 5) | (vid >> 8), vid & 255];
  return Uint8Array.from([...frame.subarray(0, 12), ...tag, ...frame.subarray(12)]);
}
