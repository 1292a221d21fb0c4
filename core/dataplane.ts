/**
 * One dataplane: the tables, and the path of a packet through them.
 *
 *   rx → parse → admit → learn → forward → to a port | flood | drop
 *
 * `process` runs one packet to completion. Every packet leaves by exactly one of three doors (`send`, `flood`, `drop`), each of
 * which counts it and gives up its slot; so rx + copies = tx + drops.
 */

import { Counters } from './counters.js';
import {
  DROP_INTERNAL_ERROR,
  DROP_NO_DESTINATION,
  DROP_NONE,
  DROP_PORT_GONE,
  DROP_PORT_UNBOUND,
  DROP_RX_REJECTED,
} from './drop.js';
import type { Arena } from './packet/arena.js';
import type { Packet } from './packet/packet.js';
import { MAX_NETWORKS, MAX_PORTS, Network, Port } from './ports.js';
import { admit } from './switch/admit.js';
import { Fdb } from './switch/fdb.js';
import { forward } from './switch/forward.js';
import { HashTable } from './tables/hash.js';
import { CONTINUE, DROP, FLOOD, TO_PORT } from './verdict.js';
import { parse } from './wire/parse.js';

/** Where frames leave: an engine, or a recorder in tests. */
export interface Transmitter {
  /** Takes over one reference on the slot. */
  transmit(port: number, slot: number): void;
}

/** Sees packets pass, for captures. Must not change or keep them. */
export interface Observer {
  received(packet: Packet): void;
  transmitted(port: number, packet: Packet): void;
}

export interface DataplaneOptions {
  readonly arena: Arena;
  readonly transmitter: Transmitter;
  /** COUNTER_BLOCK float64 for each of MAX_PORTS ports. */
  readonly counters: Float64Array;
  /** fdbWords(fdbCapacity) int32. */
  readonly fdbWords: Int32Array;
  readonly fdbCapacity: number;
  /** MAX_PORTS int32, kept together with fdbWords. */
  readonly portGenerations: Int32Array;
  /** Any int32 from a random source. */
  readonly seed: number;
}

export class Dataplane {
  readonly arena: Arena;
  readonly counters: Counters;
  readonly fdb: Fdb;
  readonly ports: Port[] = [];
  readonly networks: (Network | null)[] = [null];
  /** Seconds; the caller sets it once a batch. */
  now = 0;

  /** What a stage threw last, for the supervisor to report; null once reported. */
  lastError: unknown = null;

  private readonly transmitter: Transmitter;
  private observer: Observer | null = null;

  constructor(options: DataplaneOptions) {
    this.arena = options.arena;
    this.transmitter = options.transmitter;
    this.counters = new Counters(options.counters);
    for (let id = 0; id < MAX_PORTS; id++) this.ports.push(new Port(id));
    const table = new HashTable(options.fdbWords, options.fdbCapacity, options.seed);
    this.fdb = new Fdb(table, options.portGenerations, this.networks);
  }

  // --- configuration

  /** @throws RangeError where the number is out of range or taken */
  addNetwork(id: number, ageing: number, fdbLimit: number): void {
    if (id < 1 || id >= MAX_NETWORKS) throw new RangeError(`network number ${id} out of range`);
    while (this.networks.length <= id) this.networks.push(null);
    if (this.networks[id] !== null) throw new RangeError(`network number ${id} is taken`);
    const network = new Network(id, ageing, fdbLimit);
    network.fdbCount = this.fdb.countOf(id);
    this.networks[id] = network;
  }

  /** @throws RangeError where it still has ports */
  removeNetwork(id: number): void {
    const network = this.networks[id];
    if (network === null || network === undefined) return;
    if (network.memberCount > 0) throw new RangeError(`network number ${id} still has ports`);
    this.fdb.forgetNetwork(network);
    this.networks[id] = null;
  }

  addPort(id: number, networkId: number): void {
    const port = this.ports[id];
    const network = this.networks[networkId];
    if (id < 1 || id >= MAX_PORTS || port.live) throw new RangeError(`port number ${id} is out of range or taken`);
    if (network === null || network === undefined) throw new RangeError(`no network number ${networkId}`);
    port.live = true;
    port.network = networkId;
    network.addMember(id);
  }

  /** A MAC that is behind a port for good, until the port goes. False where the FDB has no room. */
  addStaticMac(id: number, macHigh: number, macLow: number): boolean {
    const port = this.ports[id];
    const network = this.networks[port.network];
    return network !== null && this.fdb.setStatic(network, macHigh, macLow, port);
  }

  /** Voids what was learned on it. Packets that are on their way to it become drops. */
  removePort(id: number): void {
    const port = this.ports[id];
    if (!port.live) return;
    this.networks[port.network]?.removeMember(id);
    port.live = false;
    port.network = 0;
    this.fdb.forgetPort(id);
  }

  observe(observer: Observer | null): void {
    this.observer = observer;
  }

  // --- the path of a packet

  /** Takes over the reference on a slot that a port has filled. */
  process(slot: number): void {
    const packet = this.arena.packets[slot];
    this.counters.received(packet.port, packet.length);
    const port = this.ports[packet.port];
    packet.network = port.network;
    packet.reason = DROP_NONE;
    const verdict = this.decideSafely(packet, port);
    if (this.observer !== null) this.observer.received(packet);
    if (verdict === TO_PORT) this.send(packet);
    else if (verdict === FLOOD) this.flood(packet);
    else this.drop(packet);
  }

  /** A frame came in that the kernel could not hand over: its length is not known. */
  receiveRejected(port: number): void {
    this.counters.received(port, 0);
    this.counters.dropReceived(port, DROP_RX_REJECTED);
  }

  /** A stage that throws is a defect of ours; the packet is dropped and counted, and the others go on. */
  private decideSafely(packet: Packet, port: Port): number {
    try {
      return this.decide(packet, port);
    } catch (error) {
      this.lastError = error;
      packet.reason = DROP_INTERNAL_ERROR;
      return DROP;
    }
  }

  private decide(packet: Packet, port: Port): number {
    const reason = parse(this.arena, packet);
    if (reason !== DROP_NONE) {
      packet.reason = reason;
      return DROP;
    }
    const network = this.networks[port.network];
    if (network === null) {
      packet.reason = DROP_PORT_UNBOUND;
      return DROP;
    }
    return this.bridge(packet, network, port);
  }

  private bridge(packet: Packet, network: Network, port: Port): number {
    const verdict = admit(packet);
    if (verdict !== CONTINUE) return verdict;
    this.fdb.learn(network, packet.srcHigh, packet.srcLow, port, this.now);
    return forward(this.fdb, port, packet);
  }

  // --- the three doors

  private send(packet: Packet): void {
    const out = packet.outPort;
    if (!this.ports[out].live) {
      packet.reason = DROP_PORT_GONE;
      this.drop(packet);
      return;
    }
    this.output(packet, out);
  }

  private flood(packet: Packet): void {
    const network = this.networks[packet.network];
    const others = network === null ? 0 : network.memberCount - 1;
    if (network === null || others < 1) {
      packet.reason = DROP_NO_DESTINATION;
      this.drop(packet);
      return;
    }
    this.counters.copied(packet.port, others - 1);
    this.arena.retain(packet.slot, others - 1);
    const members = network.members;
    for (let i = 0; i <= others; i++) {
      if (members[i] !== packet.port) this.output(packet, members[i]);
    }
  }

  private output(packet: Packet, port: number): void {
    this.counters.transmitted(port, packet.length);
    if (this.observer !== null) this.observer.transmitted(port, packet);
    this.transmitter.transmit(port, packet.slot);
  }

  private drop(packet: Packet): void {
    this.counters.dropReceived(packet.port, packet.reason);
    this.arena.release(packet.slot);
  }
}
