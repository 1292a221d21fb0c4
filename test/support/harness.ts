/** A dataplane without a kernel: frames in, frames out, counters. For scenario tests. */

import {
  COUNTER_BLOCK,
  COUNTER_COPIES,
  COUNTER_ORIGINATED,
  COUNTER_RX_DROPS,
  COUNTER_TX_DROPS,
} from '../../core/counters.js';
import { Dataplane, type Transmitter } from '../../core/dataplane.js';
import { DROP_REASONS } from '../../core/drop.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import { clearVnetHeader, writeVnetHeader } from '../../core/packet/vnet.js';
import { MAX_PORTS } from '../../core/ports.js';
import { fdbWords, GENERATION_WORDS } from '../../core/switch/fdb.js';
import type { Topology } from '../../core/topology.js';

export interface SentFrame {
  readonly port: number;
  readonly frame: Uint8Array;
  /** The slot it was sent from. */
  readonly slot: number;
  /** The 10 bytes in front of it. */
  readonly vnet: Uint8Array;
}

/** Keeps copies of what is sent, and gives the slots back as an engine does. */
class Recorder implements Transmitter {
  readonly sent: SentFrame[] = [];
  arena: Arena | null = null;
  /** False: count only, for long runs. */
  keep = true;
  count = 0;

  transmit(port: number, slot: number): void {
    const arena = this.arena as Arena;
    const packet = arena.packets[slot];
    this.count++;
    if (this.keep) {
      const frame = arena.bytes.slice(packet.start, packet.start + packet.length);
      const vnet = arena.bytes.slice(packet.start - VNET_HEADER_LENGTH, packet.start);
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

export class Harness {
  readonly arena: Arena;
  readonly dataplane: Dataplane;
  readonly recorder = new Recorder();
  readonly counters = new Float64Array(MAX_PORTS * COUNTER_BLOCK);

  get topology(): Topology {
    return this.dataplane.topology;
  }

  /** Network 1 with ports 1..ports, unless `ports` is 0. */
  constructor(ports = 0, options: { slots?: number; fdbCapacity?: number; ageing?: number; fdbLimit?: number } = {}) {
    const capacity = options.fdbCapacity ?? 1024;
    this.arena = new Arena(new ArrayBuffer((options.slots ?? 32) * SLOT_STRIDE));
    this.recorder.arena = this.arena;
    this.dataplane = new Dataplane({
      arena: this.arena,
      transmitter: this.recorder,
      counters: this.counters,
      fdbWords: new Int32Array(fdbWords(capacity)),
      fdbCapacity: capacity,
      generations: new Int32Array(GENERATION_WORDS),
      seed: 12345,
    });
    if (ports === 0) return;
    this.topology.addNetwork(1, options.ageing ?? 300, options.fdbLimit ?? capacity);
    for (let port = 1; port <= ports; port++) this.topology.addPort(port, 1);
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
    this.recorder.sent.length = 0;
    this.dataplane.process(this.load(port, frame, vnet));
    return [...this.recorder.sent];
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

  /** received + originated + copies - delivered - drops over all ports: 0, always, once nothing is in flight. */
  imbalance(): number {
    let balance = 0;
    for (let port = 0; port < MAX_PORTS; port++) {
      balance += this.counter(port, 0) + this.counter(port, COUNTER_ORIGINATED);
      balance += this.counter(port, COUNTER_COPIES) - this.counter(port, 2);
      for (let i = COUNTER_RX_DROPS; i < COUNTER_BLOCK; i++) balance -= this.counter(port, i);
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
