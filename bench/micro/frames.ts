/** A dataplane without a kernel, and frames, for the micro benchmarks. */

import { FDB_CAPACITY } from '../../control/capacities.js';
import { COUNTER_BLOCK } from '../../core/counters.js';
import { Dataplane, type Transmitter } from '../../core/dataplane.js';
import type { FlowMemory } from '../../core/nat/flows.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import { finishChecksum, sumBytes } from '../../core/packet/checksum.js';
import { clearVnetHeader } from '../../core/packet/vnet.js';
import { MAX_PORTS } from '../../core/ports.js';
import { fdbWords, GENERATION_WORDS } from '../../core/switch/fdb.js';
import { PortSecurity, SECURITY_STRICT } from '../../core/switch/port-security.js';
import { StormControl } from '../../core/switch/storm.js';

/** Gives slots back at once, as an engine does when the kernel has taken the frame. */
export class Sink implements Transmitter {
  count = 0;
  arena: Arena;
  /** True: slots stay with whoever filled them, for the next packet in them. */
  keeps = false;

  constructor(arena: Arena) {
    this.arena = arena;
  }

  transmit(_port: number, slot: number): void {
    this.count++;
    if (!this.keeps) this.arena.release(slot);
  }
}

export interface Bench {
  readonly arena: Arena;
  readonly sink: Sink;
  readonly dataplane: Dataplane;
}

/** Network 1 with ports 1..ports. */
export function makeBench(ports: number, fdbCapacity = FDB_CAPACITY, slots = 64, flows?: FlowMemory): Bench {
  const arena = new Arena(new ArrayBuffer(slots * SLOT_STRIDE));
  const sink = new Sink(arena);
  const dataplane = new Dataplane({
    arena,
    transmitter: sink,
    counters: new Float64Array(MAX_PORTS * COUNTER_BLOCK),
    fdbWords: new Int32Array(fdbWords(fdbCapacity)),
    fdbCapacity,
    generations: new Int32Array(GENERATION_WORDS),
    seed: 0x5eed,
    ...(flows === undefined ? {} : { flows }),
  });
  if (ports > 0) dataplane.topology.addNetwork(1, 300, fdbCapacity);
  for (let port = 1; port <= ports; port++) dataplane.topology.addPort(port, 1);
  return { arena, sink, dataplane };
}

/**
 * The same with every guard on: VLAN 10 of a network with VLANs, port security (strict) for host N on port N, an isolation group,
 * storm control, snooping, loop protection, and a mirror of another port.
 * @param macLimit 1: sources are bound, as endpoints' are; more: they are learned
 */
export function makeGuarded(ports: number, macLimit: number): Bench {
  const bench = makeBench(0);
  const { topology } = bench.dataplane;
  const multicast = { querier: true, dropUnregistered: false };
  const options = { vlanProtocol: 0x8100, multicast, loopMoves: 20, quarantine: 30 };
  topology.addNetwork(2, 300, FDB_CAPACITY, options);
  topology.addVlan(2, 10, 3);
  for (let port = 1; port <= ports + 2; port++) {
    const addresses = Int32Array.of(hostAddress(port) | 0, -1);
    topology.addPort(port, 2, {
      security: new PortSecurity(SECURITY_STRICT, 0x0200, port, macLimit, addresses, new Int32Array(0)),
      macs: macLimit === 1 ? [[0x0200, port]] : [],
      isolation: port <= ports ? 2 : 0,
      vlan: { native: 10, tagged: [] },
      storm: new StormControl(10_000, 10_000, 10_000),
    });
  }
  topology.addMirror({ id: 1, fromPort: ports + 1, fromNetwork: 0, to: ports + 2, incoming: true, outgoing: true });
  return bench;
}

/** A 64-byte frame (60 without FCS): Ethernet, IPv4, TCP without payload. */
export function tcpFrame(to: number, from: number): Uint8Array {
  const bytes = new Uint8Array(60);
  const view = new DataView(bytes.buffer);
  writeMac(view, 0, to);
  writeMac(view, 6, from);
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, 40);
  view.setUint8(22, 64);
  view.setUint8(23, 6);
  view.setUint32(26, hostAddress(from));
  view.setUint32(30, hostAddress(to));
  view.setUint16(34, 40000);
  view.setUint16(36, 80);
  view.setUint8(46, 0x50);
  view.setUint16(24, finishChecksum(sumBytes(view, 14, 20)));
  return bytes;
}

/** 74 bytes (without FCS): Ethernet, IPv6, TCP without payload. */
export function tcp6Frame(to: number, from: number): Uint8Array {
  const bytes = new Uint8Array(74);
  const view = new DataView(bytes.buffer);
  writeIpv6(view, to, from, 20);
  view.setUint8(20, 6);
  view.setUint16(54, 40000);
  view.setUint16(56, 80);
  view.setUint8(66, 0x50);
  return bytes;
}

/** IPv6 with a hop-by-hop header and UDP. */
export function udp6Frame(to: number, from: number): Uint8Array {
  const bytes = new Uint8Array(86);
  const view = new DataView(bytes.buffer);
  writeIpv6(view, to, from, 32);
  view.setUint8(54, 17);
  bytes.set([1, 4, 0, 0, 0, 0], 56);
  view.setUint16(62, 1000);
  view.setUint16(64, 2000);
  view.setUint16(66, 24);
  return bytes;
}

/** Ethernet and an IPv6 header without a protocol. */
function writeIpv6(view: DataView, to: number, from: number, payload: number): void {
  writeMac(view, 0, to);
  writeMac(view, 6, from);
  view.setUint16(12, 0x86dd);
  view.setUint8(14, 0x60);
  view.setUint16(18, payload);
  view.setUint8(21, 64);
  for (const [at, number] of [
    [22, from],
    [38, to],
  ]) {
    HOST_NETWORK6.forEach((word, index) => {
      view.setInt32(at + index * 4, word);
    });
    view.setUint32(at + 12, number);
  }
}

/** The frame with a tag of 802.1Q in it. @param control priority, DEI and VLAN identifier */
export function tagged(plain: Uint8Array, control: number): Uint8Array {
  return Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, control >> 8, control & 0xff, ...plain.subarray(12)]);
}

/** First three words of hosts' IPv6 addresses, fd00:30::; the last is their number. */
const HOST_NETWORK6: readonly number[] = [0xfd000030 | 0, 0, 0];

/** IPv4 address of a host by its number: 172.30.0.0 plus that. */
export function hostAddress(number: number): number {
  return (0xac1e0000 + number) >>> 0;
}

/** First two octets of all MACs here. */
export const MAC_HIGH = 0x0200;

/** MAC_HIGH followed by a number. */
export function writeMac(view: DataView, at: number, number: number): void {
  view.setUint16(at, MAC_HIGH);
  view.setUint32(at + 2, number);
}

export const BROADCAST = -1;

/** Takes a slot and puts a frame in, as if `port` had received it. */
export function load(arena: Arena, port: number, frame: Uint8Array): number {
  const slot = arena.allocate();
  const packet = arena.packets[slot];
  packet.port = port;
  packet.start = arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
  packet.length = frame.length;
  arena.bytes.set(frame, packet.start);
  clearVnetHeader(arena, packet);
  return slot;
}
