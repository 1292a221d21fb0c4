/**
 * Packets of numbered connections through a dataplane whose router tracks them. Frames stay in their slots and are written anew for each
 * packet, since translation has changed them: that is part of the figures.
 */

import { COUNTER_BLOCK, COUNTER_RX_DROPS } from '../../core/counters.js';
import { FLOW_REST_WORDS, FLOW_WORDS } from '../../core/nat/flow.js';
import { flowIndexBytes } from '../../core/nat/flow-index.js';
import { DEFAULT_TIMEOUTS, flowAddressBytes, flowTableBytes } from '../../core/nat/flow-table.js';
import { permissionBytes } from '../../core/nat/permissions.js';
import { FILTERING_ADDRESS_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from '../../core/nat/settings.js';
import { INTERFACE_NETWORK, INTERFACE_UPLINK } from '../../core/router/interface.js';
import { Hop, prefix4, ROUTE_UNICAST } from '../../core/router/vrf.js';
import { ETHERNET_HEADER_LENGTH } from '../../core/wire/ethernet.js';
import {
  IPV4_DESTINATION,
  IPV4_HEADER_LENGTH,
  IPV4_SOURCE,
  IPV4_TTL,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../../core/wire/ipv4.js';
import { TCP_ACK, TCP_ACKNOWLEDGMENT, TCP_FLAGS, TCP_SEQUENCE, TCP_SYN, TCP_WINDOW } from '../../core/wire/tcp.js';
import { mapRegion } from '../../io/memory.js';
import { type Bench, load, MAC_HIGH, tcpFrame } from './frames.js';
import { Random } from './random.js';
import { FAR, hopAddress4, makeRouted, NEAR, NEAR_PORT, VRF } from './routed.js';
import type { Case } from './suite.js';

/** Packets in one benchmarked call. */
export const BATCH = 1024;
/** Frames written before they are processed, as the kernel does it. */
const AHEAD = 32;
/** Flows there can be; twice as many places, so that a million leave room. */
export const CAPACITY = 1 << 20;
/** The wire's, behind which the first next hop in the far network is (routed.ts), and its MAC. */
export const WIRE_PORT = NEAR_PORT + 1;
export const HOP_MAC = 20;

const IP = ETHERNET_HEADER_LENGTH;
const TTL_WORD = IP + IPV4_TTL;
const L4 = IP + IPV4_HEADER_LENGTH;
const TTL = 64;

/** Those on the wire: 198.18.0.0/15 (RFC 2544). */
export const STRANGERS = 0xc6120000 | 0;
/** What tells connections apart: a port from the first on, and the rest of their number, which is the stranger's. */
const FIRST_PORT = 1024;
const PORTS_SHIFT = 10;
const PORTS_MASK = (1 << PORTS_SHIFT) - 1;

export function strangerOf(flow: number): number {
  return STRANGERS | (flow >>> PORTS_SHIFT);
}

export function portOf(flow: number): number {
  return FIRST_PORT + (flow & PORTS_MASK);
}

/** Network 1 behind masquerading, network 2 is the wire. */
export function makeTracked(): Bench {
  const words = new Int32Array(mapRegion(flowTableBytes(CAPACITY)).buffer);
  const addresses6 = new Int32Array(flowAddressBytes(CAPACITY) / 4);
  // As the daemon has it: in huge pages.
  const places = new Int32Array(mapRegion(flowIndexBytes(CAPACITY), true).buffer);
  const permissions = new Int32Array(mapRegion(permissionBytes(CAPACITY), true).buffer);
  const bench = makeRouted(false, { words, addresses6, capacity: CAPACITY, places, permissions });
  const { router } = bench.dataplane;
  router.flows.configure({
    mapping: MAPPING_ENDPOINT_INDEPENDENT,
    filtering: FILTERING_ADDRESS_DEPENDENT,
    firstPort: 1024,
    lastPort: 65_535,
    portBlock: 0,
    flowsPerEndpoint: 2 * CAPACITY,
    timeouts: DEFAULT_TIMEOUTS,
    algs: 0,
  });
  router.setVrf(VRF, { interconnect: true, recordRoute: false, timestamp: false, tracking: true });
  const near = router.interface(NEAR);
  const none = new Int32Array(0);
  router.setInterface(
    NEAR,
    { ...near, kind: INTERFACE_NETWORK, translation: { sources4: none, sources6: null, prefixes: none } },
    true,
  );
  router.setInterface(FAR, { ...router.interface(FAR), kind: INTERFACE_UPLINK }, true);
  router.vrf(VRF).set(prefix4(STRANGERS, 15), ROUTE_UNICAST, [new Hop(FAR, hopAddress4(0), 0)], false);
  bench.sink.keeps = true;
  bench.sink.count = 0;
  return bench;
}

/** The word of TTL, protocol and checksum of a header without options between two addresses. */
function ttlWord(protocol: number, source: number, destination: number): number {
  const fixed = 0x4500 + 40 + ((TTL << 8) | protocol);
  const sum = fixed + (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
  const folded = (sum & 0xffff) + (sum >>> 16);
  return (TTL << 24) | (protocol << 16) | (~((folded & 0xffff) + (folded >>> 16)) & 0xffff);
}

/** Words of a frame that translation and forwarding change, but for checksums, which may be anything. */
const COPIED = [0, 1, 2, 3, 6, 7, 8, 9];

/** Written out: 4 ns, where writing the fields takes 35. Network headers begin at a multiple of four, frames two octets behind one. */
function copyWords(from: Int32Array, at: number, to: Int32Array, start: number): void {
  to[start] = from[at];
  to[start + 1] = from[at + 1];
  to[start + 2] = from[at + 2];
  to[start + 3] = from[at + 3];
  to[start + 6] = from[at + 4];
  to[start + 7] = from[at + 5];
  to[start + 8] = from[at + 6];
  to[start + 9] = from[at + 7];
}

/** Connections by number, in packets of either direction. */
export abstract class Traffic {
  readonly bench: Bench;
  given = 0;
  protected readonly protocol: number;
  /** Where packets come in: of those who begin connections, and of those who answer. */
  private readonly port: number;
  private readonly replyPort: number;
  private readonly slots: Int32Array;
  /** The arena's. */
  private readonly words: Int32Array;

  constructor(bench: Bench, protocol: number, port: number, replyPort: number) {
    const { view } = bench.arena;
    this.bench = bench;
    this.protocol = protocol;
    this.port = port;
    this.replyPort = replyPort;
    this.words = new Int32Array(view.buffer, view.byteOffset);
    const frame = tcpFrame(0, 0);
    frame[IP + 9] = protocol;
    // Of UDP, the length.
    if (protocol === PROTOCOL_UDP) frame.set([0, 20], L4 + 4);
    this.slots = Int32Array.from({ length: AHEAD }, () => load(bench.arena, port, frame));
  }

  /** What translation changes of a connection's packet, into the frame of a slot: calls `writeFrame`. */
  protected abstract write(slot: number, flow: number, isReply: boolean): void;

  /** @param to last four octets of a MAC; `from` likewise. @param ports source << 16 | destination */
  protected writeFrame(
    slot: number,
    to: number,
    from: number,
    source: number,
    destination: number,
    ports: number,
  ): void {
    const { arena } = this.bench;
    const { view } = arena;
    const at = arena.packets[slot].start;
    view.setInt32(at, MAC_HIGH << 16);
    view.setInt32(at + 4, (to << 16) | MAC_HIGH);
    view.setInt32(at + 8, from);
    view.setInt32(at + TTL_WORD, ttlWord(this.protocol, source, destination));
    view.setInt32(at + IP + IPV4_SOURCE, source);
    view.setInt32(at + IP + IPV4_DESTINATION, destination);
    view.setInt32(at + L4, ports);
  }

  /** The same of many connections, as words to be copied: COPIED for each. */
  render(flows: Int32Array, isReply: boolean): Int32Array {
    const slot = this.slots[0];
    const from = this.bench.arena.packets[slot].start >> 2;
    const words = new Int32Array(flows.length * COPIED.length);
    flows.forEach((flow, index) => {
      this.write(slot, flow, isReply);
      COPIED.forEach((word, i) => {
        words[index * COPIED.length + i] = this.words[from + word];
      });
    });
    return words;
  }

  /** Of all TCP segments from now on, none of which has a payload. Of UDP nothing changes. */
  setFlags(flags: number): void {
    if (this.protocol !== PROTOCOL_TCP) return;
    const { arena } = this.bench;
    for (const slot of this.slots) {
      const at = arena.packets[slot].start + L4;
      arena.view.setInt32(at + TCP_SEQUENCE, (flags & TCP_SYN) === 0 ? 1 : 0);
      arena.view.setInt32(at + TCP_ACKNOWLEDGMENT, (flags & TCP_ACK) === 0 ? 0 : 1);
      arena.view.setUint8(at + TCP_FLAGS, flags);
      arena.view.setUint16(at + TCP_WINDOW, 0xffff);
    }
  }

  /** Packets of so many connections, one each. @param flows numbers */
  pass(flows: Int32Array, isReply: boolean): void {
    this.replay(this.render(flows, isReply), 0, flows.length, isReply);
  }

  /** @param frames as `render` gives them, of which `count` from number `from` on are used */
  replay(frames: Int32Array, from: number, count: number, isReply: boolean): void {
    const { bench, slots, words } = this;
    const { packets } = bench.arena;
    const port = isReply ? this.replyPort : this.port;
    for (let i = 0; i < count; i += AHEAD) {
      for (let j = 0; j < AHEAD; j++) {
        const packet = packets[slots[j]];
        packet.port = port;
        copyWords(frames, (from + i + j) * COPIED.length, words, packet.start >> 2);
      }
      bench.dataplane.processBatch(slots, AHEAD);
    }
    this.given += count;
  }

  /** One packet of one connection. @param at which slot it comes in */
  give(at: number, flow: number, isReply: boolean): void {
    const slot = this.slots[at % AHEAD];
    this.bench.arena.packets[slot].port = isReply ? this.replyPort : this.port;
    this.write(slot, flow, isReply);
    this.bench.dataplane.process(slot);
    this.given++;
  }

  /** Connections that have seen packets of both directions. */
  establish(flows: Int32Array): void {
    this.setFlags(TCP_SYN);
    this.pass(flows, false);
    this.setFlags(TCP_SYN | TCP_ACK);
    this.pass(flows, true);
    this.setFlags(TCP_ACK);
    this.pass(flows, false);
  }

  /** All connections end. */
  age(): void {
    const { dataplane } = this.bench;
    dataplane.now += AGE;
    while (dataplane.router.flows.table.count > 0) dataplane.router.flows.tick();
  }

  /** Every packet has left. */
  get isWhole(): boolean {
    const { values } = this.bench.dataplane.counters;
    for (const port of [this.port, this.replyPort]) {
      const drops = values.subarray(port * COUNTER_BLOCK + COUNTER_RX_DROPS, (port + 1) * COUNTER_BLOCK);
      const reason = drops.findIndex((count) => count > 0);
      if (reason >= 0) throw new Error(`traffic: ${drops[reason]} packets dropped for reason ${reason}`);
    }
    return this.given > 0 && this.bench.sink.count === this.given;
  }
}

/** Numbers 0 to count - 1, in random order, so that nothing is found by being next to what was found before. */
export function shuffled(count: number): Int32Array {
  const numbers = Int32Array.from({ length: count }, (_, i) => i);
  const random = new Random(7);
  for (let i = count - 1; i > 0; i--) {
    const j = random.next(i + 1);
    const other = numbers[j];
    numbers[j] = numbers[i];
    numbers[i] = other;
  }
  return numbers;
}

/** Packets of connections that are there. */
export function establishedCase(
  name: string,
  target: Pick<Case, 'bar' | 'aim'>,
  make: () => Traffic,
  count: number,
  isReply: boolean,
): Case {
  let traffic: Traffic;
  let frames: Int32Array;
  let at = 0;
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    ...target,
    prepare: () => {
      const flows = shuffled(count);
      traffic = make();
      traffic.establish(flows);
      frames = traffic.render(flows, isReply);
    },
    run: () => {
      traffic.replay(frames, at, BATCH, isReply);
      at = (at + BATCH) % count;
    },
    check: () => traffic.isWhole && traffic.bench.dataplane.router.flows.table.count === count,
    note: () => `${count} connections, ${(FLOW_WORDS + FLOW_REST_WORDS) * 4} bytes each and 16 of the index`,
  };
}

/** Connections that begin before all of them end, by age: the table never has to make room. */
const OPENED = CAPACITY >> 2;
/** Seconds: longer than a half-open connection lasts. */
const AGE = 600;

/** Every packet begins a connection; each ends by its timer, which is part of the figure. */
export function openingCase(name: string, target: Pick<Case, 'bar' | 'aim'>, make: () => Traffic): Case {
  let traffic: Traffic;
  let frames: Int32Array;
  let next = 0;
  const run = (): void => {
    traffic.replay(frames, next, BATCH, false);
    next = (next + BATCH) % OPENED;
    if (next === 0) traffic.age();
  };
  return {
    name,
    unit: 'sessions',
    perCall: BATCH,
    ...target,
    prepare: () => {
      traffic = make();
      traffic.setFlags(TCP_SYN);
      frames = traffic.render(
        Int32Array.from({ length: OPENED }, (_, i) => i),
        false,
      );
      // All memory of flows is there before it begins: pages that the kernel gives for the first time are nobody's price later.
      for (let i = 0; i < CAPACITY; i += BATCH) run();
    },
    run,
    check: () => traffic.isWhole && traffic.bench.dataplane.router.flows.table.evicted === 0,
  };
}
