/**
 * Into a tunnel and out of it. What goes out of a tunnel is what the other end has sent. `alone` are the tunnel's own stages; the others are the
 * whole path of a packet between a container's port and the uplink: parse, bridge, tunnel, router, transmit.
 *
 * Single frames stay in their slots, and get back what the passing has changed: that is part of the figures. Bundles and segments are copied into
 * fresh slots, as the kernel does it, and that is part of the figures too.
 */

import { COUNTER_BLOCK, COUNTER_RX_DROPS, COUNTER_TX_BYTES, COUNTER_TX_PACKETS } from '../../core/counters.js';
import { DROP_NONE } from '../../core/drop.js';
import { VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import type { Packet } from '../../core/packet/packet.js';
import { readVnetHeader } from '../../core/packet/vnet.js';
import { parse } from '../../core/wire/parse.js';
import type { Bench } from './frames.js';
import type { Case } from './suite.js';
import {
  acknowledgment,
  containerPort,
  type EndOptions,
  innerMtu,
  makeEnd,
  OVER_IPV4,
  OVER_IPV6,
  opaque,
  place,
  segmentSize,
  sentBy,
  superPacket,
  UPLINK_PORT,
  vtepPort,
  type Whole,
  WIRE_MTU,
} from './tunnel.js';

/** Packets in one benchmarked call. */
const BATCH = 1024;
/** Frames written before they are processed, as the kernel does it: loads right behind narrower stores would stall. */
const AHEAD = 32;
/** Super-packets in one benchmarked call, and segments that they are cut into: as many as fit one bundle, which is what containers are told. */
const SUPER_PACKETS = 8;
const SEGMENTS = 44;

const BAR = { bar: 15e6 };
/** Numbers of the ends: what is measured is this one. */
const HERE = 1;
const THERE = 2;

/** One frame in many slots, given again and again. */
class Standing {
  readonly bench: Bench;
  given = 0;
  readonly slots: Int32Array;
  private readonly packets: Packet[];
  private readonly port: number;
  private readonly start: number;
  private readonly length: number;
  /** What the passing overwrites: where in the arena, and three words. */
  private readonly places: Int32Array;
  private readonly first: number;
  private readonly second: number;
  private readonly third: number;
  private readonly words: Int32Array;

  /**
   * @param port that the frames come in by
   * @param from where three words begin that the passing overwrites, in words from the virtio-net header
   */
  constructor(bench: Bench, port: number, frame: Whole, from: number) {
    const { arena } = bench;
    this.bench = bench;
    this.slots = Int32Array.from({ length: AHEAD }, () => place(bench, port, frame));
    this.packets = [...this.slots].map((slot) => arena.packets[slot]);
    this.port = port;
    this.start = VNET_HEADER_LENGTH - from * 4;
    this.length = frame.length - VNET_HEADER_LENGTH;
    this.places = this.slots.map((slot) => (arena.receiveOffset(slot) >> 2) + from);
    this.words = new Int32Array(arena.view.buffer, arena.view.byteOffset, arena.view.byteLength >> 2);
    [this.first, this.second, this.third] = this.words.subarray(this.places[0], this.places[0] + 3);
    bench.sink.keeps = true;
    bench.sink.count = 0;
  }

  /** As a port does that has read them once more. */
  renew(): void {
    const { packets, places, words, port, start, length, first, second, third } = this;
    for (let i = 0; i < AHEAD; i++) {
      const packet = packets[i];
      const at = places[i];
      words[at] = first;
      words[at + 1] = second;
      words[at + 2] = third;
      packet.port = port;
      packet.start = at * 4 + start;
      packet.length = length;
    }
  }

  /** BATCH packets the whole way. */
  run(): void {
    for (let i = 0; i < BATCH; i += AHEAD) {
      this.renew();
      this.bench.dataplane.processBatch(this.slots, AHEAD);
    }
    this.given += BATCH;
  }

  get isWhole(): boolean {
    refuseDrops(this.bench);
    return this.given > 0 && this.bench.sink.count === this.given;
  }
}

/** A packet that is dropped has not gone the way that is measured; which reason it was says what is wrong. */
export function refuseDrops({ dataplane }: Bench): void {
  const { values } = dataplane.counters;
  for (let at = 0; at < values.length; at++) {
    const reason = (at % COUNTER_BLOCK) - COUNTER_RX_DROPS;
    if (reason >= 0 && values[at] !== 0)
      throw new Error(
        `tunnel: ${values[at]} packets of port ${Math.floor(at / COUNTER_BLOCK)} dropped for reason ${reason}`,
      );
  }
}

/** What the passing overwrites, in words from the virtio-net header: that header itself; and where the inner frame's will be. */
const OWN_HEADER = 0;

/** The added headers are as long as the inner packet is smaller. */
function innerHeader(network: number): number {
  return (WIRE_MTU - innerMtu(network)) >> 2;
}

function outgoing(network: number, frame: Whole): Standing {
  return new Standing(makeEnd(HERE, THERE), containerPort(network), frame, OWN_HEADER);
}

function incoming(network: number, frame: Whole): Standing {
  const [outer] = sentBy(makeEnd(THERE, HERE), network, frame);
  return new Standing(makeEnd(HERE, THERE), UPLINK_PORT, outer, innerHeader(network));
}

/** Single frames the whole way. */
function wholeCase(name: string, make: () => Standing): Case {
  let standing: Standing;
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    prepare: () => {
      standing = make();
    },
    run: () => standing.run(),
    check: () => standing.isWhole,
  };
}

/** From the parsed frame that the bridge sends to a VTEP to the outer one that leaves. */
function encapsulationCase(network: number, frame: Whole, name: string): Case {
  let standing: Standing;
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    ...BAR,
    prepare: () => {
      standing = outgoing(network, frame);
      for (const slot of standing.slots) parseAt(standing.bench, slot);
    },
    run: () => {
      const { bench, slots } = standing;
      const { arena, dataplane } = bench;
      const port = dataplane.ports[vtepPort(network)];
      for (let i = 0; i < BATCH; i += AHEAD) {
        standing.renew();
        for (let j = 0; j < AHEAD; j++) {
          const packet = arena.packets[slots[j]];
          readVnetHeader(arena, packet);
          packet.domain = network;
          dataplane.vxlan.transmitter.transmit(packet, port);
        }
      }
      standing.given += BATCH;
    },
    check: () => standing.isWhole,
  };
}

/** From the parsed outer frame that is ours to the inner one that the network gets. */
function decapsulationCase(network: number, frame: Whole, name: string): Case {
  let standing: Standing;
  let taken = 0;
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    ...BAR,
    prepare: () => {
      standing = incoming(network, frame);
      for (const slot of standing.slots) parseAt(standing.bench, slot);
      standing.bench.dataplane.coalesced = () => {
        taken++;
      };
    },
    run: () => {
      const { bench, slots } = standing;
      const { arena, dataplane } = bench;
      for (let i = 0; i < BATCH; i += AHEAD) {
        standing.renew();
        for (let j = 0; j < AHEAD; j++) {
          const packet = arena.packets[slots[j]];
          readVnetHeader(arena, packet);
          dataplane.vxlan.receiver.receive(packet);
        }
      }
      standing.given += BATCH;
    },
    check: () => {
      refuseDrops(standing.bench);
      return taken > 0 && taken === standing.given;
    },
  };
}

function parseAt({ arena }: Bench, slot: number): void {
  const reason = parse(arena, arena.packets[slot]);
  if (reason !== DROP_NONE) throw new Error(`tunnel: the frame is dropped for reason ${reason}`);
}

/** Frames that do not come out as they went in, each time in fresh slots. Counted in bytes of TCP payload. */
function payloadCase(
  name: string,
  from: number,
  to: number,
  make: () => readonly Whole[],
  options: EndOptions = {},
): Case {
  let bench: Bench;
  let frames: readonly Whole[];
  let slots: Int32Array;
  let given = 0;
  return {
    name,
    unit: 'bytes',
    perCall: SUPER_PACKETS * PAYLOAD,
    prepare: () => {
      bench = makeEnd(HERE, THERE, options);
      frames = make();
      slots = new Int32Array(frames.length);
    },
    run: () => {
      for (let i = 0; i < SUPER_PACKETS; i++) {
        for (let j = 0; j < frames.length; j++) slots[j] = place(bench, from, frames[j]);
        bench.dataplane.processBatch(slots, frames.length);
      }
      given += SUPER_PACKETS * PAYLOAD;
    },
    check: () => {
      refuseDrops(bench);
      const sent = bench.dataplane.counters.values[to * COUNTER_BLOCK + COUNTER_TX_BYTES];
      return given > 0 && sent > given && bench.arena.available === bench.arena.slotCount;
    },
    note: () => {
      const { values } = bench.dataplane.counters;
      const packets = values[to * COUNTER_BLOCK + COUNTER_TX_PACKETS];
      return `${((packets * PAYLOAD) / given).toFixed(1)} packets for each super-packet`;
    },
  };
}

const PAYLOAD = SEGMENTS * segmentSize(OVER_IPV4);

/** What the other end sends of a super-packet. */
function fromThere(checksum: boolean): readonly Whole[] {
  return sentBy(makeEnd(THERE, HERE, { checksum }), OVER_IPV4, bulk(THERE, HERE));
}

function bulk(from: number, to: number): Whole {
  return superPacket(from, to, PAYLOAD, segmentSize(OVER_IPV4));
}

function fewSegments(from: number, to: number): Whole {
  const size = segmentSize(OVER_IPV6);
  return superPacket(from, to, FEW_SEGMENTS * size, size);
}

export function vxlanCases(): Case[] {
  const out = acknowledgment(HERE, THERE);
  const back = acknowledgment(THERE, HERE);
  const large = innerMtu(OVER_IPV4);
  return [
    encapsulationCase(OVER_IPV4, out, 'encapsulation alone, 64 bytes, over IPv4'),
    encapsulationCase(OVER_IPV6, out, 'encapsulation alone, 64 bytes, over IPv6'),
    decapsulationCase(OVER_IPV4, back, 'decapsulation alone, 64 bytes, over IPv4'),
    decapsulationCase(OVER_IPV6, back, 'decapsulation alone, 64 bytes, over IPv6'),
    wholeCase('container → uplink, 64 bytes, over IPv4', () => outgoing(OVER_IPV4, out)),
    wholeCase('container → uplink, 64 bytes, over IPv6', () => outgoing(OVER_IPV6, out)),
    wholeCase('container → uplink, 1,450 bytes, over IPv4', () => outgoing(OVER_IPV4, opaque(HERE, THERE, large))),
    wholeCase('uplink → container, 64 bytes, over IPv4', () => incoming(OVER_IPV4, back)),
    wholeCase('uplink → container, 64 bytes, over IPv6', () => incoming(OVER_IPV6, back)),
    wholeCase('uplink → container, 1,450 bytes, over IPv4', () => incoming(OVER_IPV4, opaque(THERE, HERE, large))),
    payloadCase(
      'container → uplink, super-packets left whole',
      containerPort(OVER_IPV4),
      UPLINK_PORT,
      () => [bulk(HERE, THERE)],
      { outlet: true },
    ),
    payloadCase('container → uplink, super-packets to bundles', containerPort(OVER_IPV4), UPLINK_PORT, () => [
      bulk(HERE, THERE),
    ]),
    payloadCase('uplink → container, bundles to super-packets', UPLINK_PORT, containerPort(OVER_IPV4), () =>
      fromThere(true),
    ),
    payloadCase('uplink → container, segments to super-packets', UPLINK_PORT, containerPort(OVER_IPV4), () =>
      fromThere(false),
    ),
  ];
}

/** Packets that are given at once, and of how many one is a super-packet or bundle: so many that V8 has compiled all before. */
const TOGETHER = 8;
const LARGE_BITS = 4;
const LARGE_MASK = (1 << LARGE_BITS) - 1;
/** Segments of these. */
const FEW_SEGMENTS = 4;

/** Packets in both directions and tunnels, large ones among them. */
export class BothWays {
  readonly bench = makeEnd(HERE, THERE);
  private readonly small = [OVER_IPV4, OVER_IPV6].flatMap((network) => this.bothWays(network, acknowledgment));
  private readonly large = [OVER_IPV4, OVER_IPV6].flatMap((network) => this.bothWays(network, fewSegments));
  private readonly slots = new Int32Array(TOGETHER);
  private waiting = 0;

  /** What the container sends in a network, and what comes for it. */
  private bothWays(network: number, make: (from: number, to: number) => Whole): Arriving[] {
    const arriving = sentBy(makeEnd(THERE, HERE), network, make(THERE, HERE));
    return [
      { port: containerPort(network), frame: make(HERE, THERE) },
      ...arriving.map((frame) => ({ port: UPLINK_PORT, frame })),
    ];
  }

  give(at: number): void {
    const isLarge = (at & LARGE_MASK) === 0;
    const frames = isLarge ? this.large : this.small;
    const { port, frame } = frames[(isLarge ? at >>> LARGE_BITS : at) % frames.length];
    this.slots[this.waiting++] = place(this.bench, port, frame);
    if (this.waiting < TOGETHER) return;
    this.waiting = 0;
    this.bench.dataplane.processBatch(this.slots, TOGETHER);
  }

  /** Whether packets have left at both ends, and none has stayed. */
  get isSound(): boolean {
    const { arena, dataplane } = this.bench;
    const { values } = dataplane.counters;
    const left = [OVER_IPV4, OVER_IPV6].every(
      (network) => values[containerPort(network) * COUNTER_BLOCK + COUNTER_TX_PACKETS] > 0,
    );
    return (
      left &&
      values[UPLINK_PORT * COUNTER_BLOCK + COUNTER_TX_PACKETS] > 0 &&
      arena.available + this.waiting === arena.slotCount
    );
  }
}

interface Arriving {
  readonly port: number;
  readonly frame: Whole;
}
