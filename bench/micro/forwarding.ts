/**
 * The whole path of a packet from one network to another: parse, bridge, router, rewrite, transmit. Frames stay in their slots. With random
 * destinations they get one each time, and back what forwarding has changed (MACs, TTL): that is part of the figures. Those of
 * conversations keep their destination and leave with the MACs that they came with (see `makeRouted`), until their TTL has run out.
 */

import { COUNTER_BLOCK, COUNTER_RX_DROPS } from '../../core/counters.js';
import { DROP_NONE } from '../../core/drop.js';
import { finishChecksum, sumBytes } from '../../core/packet/checksum.js';
import { destinationReason4, destinationReason6, isHostAddress4, isHostAddress6 } from '../../core/router/martians.js';
import { Hop, prefix4, prefix6, ROUTE_UNICAST, type Vrf } from '../../core/router/vrf.js';
import { ETHERNET_HEADER_LENGTH } from '../../core/wire/ethernet.js';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_HEADER_LENGTH, IPV4_TTL } from '../../core/wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT, setIpv6Address } from '../../core/wire/ipv6.js';
import { MEMORY_BAR } from './fib.js';
import { type Bench, load } from './frames.js';
import { DESTINATIONS, destinations, internet4, internet6, type Prefixes, small } from './prefixes.js';
import {
  FAR,
  frame4,
  frame6,
  HOPS,
  hopAddress4,
  hopAddress6,
  isOwn4,
  isOwn6,
  makeRouted,
  NEAR_PORT,
  VRF,
  writeMacs,
} from './routed.js';
import type { Case } from './suite.js';

/** Packets in one benchmarked call. */
const BATCH = 1024;
/** Frames written before they are processed, as the kernel does it: loads right behind narrower stores would stall. */
const AHEAD = 32;

/** Offsets in an untagged frame. The first is of a word: TTL, protocol and checksum. */
const IP = ETHERNET_HEADER_LENGTH;
const TTL4 = IP + IPV4_TTL;
const CHECKSUM4 = IP + IPV4_CHECKSUM;
const DESTINATION4 = IP + IPV4_DESTINATION;
const HOP_LIMIT6 = IP + IPV6_HOP_LIMIT;
const DESTINATION6 = IP + IPV6_DESTINATION;
/** TTL or hop limit of the frames, and how often such a frame is forwarded before it gets it again. */
const LIFE = 255;
const PASSES = 250;

/** Frames for a router that is set up. */
interface Traffic {
  readonly bench: Bench;
  /** Conversations: few destinations, and frames that are forwarded again as they came out. */
  readonly few: boolean;
  /** Memory of the table that is looked up in. */
  readonly bytes: number;
  /** As the sender sends it. */
  readonly frame: Uint8Array;
  /** Gives the frame at `at` what forwarding has changed, and destination `index`. */
  renew(view: DataView, at: number, index: number): void;
}

/** TTL, protocol and the checksum that goes with each destination: a word of the header. */
function ttlWords(frame: Uint8Array, to: Int32Array): Int32Array {
  const bytes = frame.slice();
  const view = new DataView(bytes.buffer);
  const words = new Int32Array(to.length);
  for (let i = 0; i < to.length; i++) {
    view.setInt32(DESTINATION4, to[i]);
    view.setUint16(CHECKSUM4, 0);
    view.setUint16(CHECKSUM4, finishChecksum(sumBytes(view, IP, IPV4_HEADER_LENGTH)));
    words[i] = view.getInt32(TTL4);
  }
  return words;
}

/** Whether a router forwards to it, and it is in none of our own networks. */
function isForwarded4(address: number): boolean {
  return isHostAddress4(address) && destinationReason4(address) === DROP_NONE && !isOwn4(address);
}

function isForwarded6(a: number, b: number, c: number, d: number): boolean {
  return isHostAddress6(a, b, c, d) && destinationReason6(a, b, c, d) === DROP_NONE && !isOwn6(a);
}

/** Destinations that packets come back to again and again, as those of conversations do. */
const CONVERSATIONS = 64;

/** Routes by way of the neighbors in the far network, in turn. */
function traffic4(prefixes: Prefixes, few: boolean): Traffic {
  const bench = makeRouted(few);
  const { dataplane } = bench;
  const vrf = dataplane.router.vrf(VRF);
  prefixes.lengths.forEach((length, index) => {
    setRoute(vrf, prefix4(prefixes.addresses[index], length), hopAddress4(index % HOPS));
  });
  const to = destinations(prefixes, isForwarded4);
  const frame = frame4(hopAddress4(0));
  frame[TTL4] = LIFE;
  const ttl = ttlWords(frame, to);
  return {
    bench,
    few,
    bytes: vrf.fib4.memory,
    frame,
    renew: (view, at, index) => {
      writeMacs(view, at);
      view.setInt32(at + TTL4, ttl[index]);
      view.setInt32(at + DESTINATION4, to[index]);
    },
  };
}

function traffic6(prefixes: Prefixes, few: boolean): Traffic {
  const bench = makeRouted(few);
  const { dataplane } = bench;
  const vrf = dataplane.router.vrf(VRF);
  prefixes.lengths.forEach((length, index) => {
    const [a, b, c, d] = prefixes.addresses.subarray(index * 4, index * 4 + 4);
    setRoute(vrf, prefix6(a, b, c, d, length), hopAddress6(index % HOPS));
  });
  const to = destinations(prefixes, isForwarded6);
  return {
    bench,
    few,
    bytes: vrf.fib6.memory,
    frame: frame6(hopAddress6(0)),
    renew: (view, at, index) => {
      writeMacs(view, at);
      view.setUint8(at + HOP_LIMIT6, LIFE);
      const word = index * 4;
      setIpv6Address(view, at + DESTINATION6, to[word], to[word + 1], to[word + 2], to[word + 3]);
    },
  };
}

function setRoute(vrf: Vrf, prefix: Parameters<Vrf['set']>[0], via: readonly number[]): void {
  vrf.set(prefix, ROUTE_UNICAST, [new Hop(FAR, via, 0)], false);
}

/** Frames in slots, and what becomes of them in a call. */
class Flow {
  readonly traffic: Traffic;
  given = 0;
  private readonly slots: readonly number[];
  private at = 0;
  private passes = 0;

  constructor(traffic: Traffic) {
    const { bench, frame, few } = traffic;
    this.traffic = traffic;
    this.slots = Array.from({ length: few ? CONVERSATIONS : AHEAD }, () => load(bench.arena, NEAR_PORT, frame));
    bench.sink.keeps = true;
    bench.sink.count = 0;
  }

  /** BATCH packets. */
  run(): void {
    const { slots } = this;
    const { dataplane } = this.traffic.bench;
    for (let i = 0; i < BATCH; i += slots.length) {
      if (this.passes-- === 0) this.renew();
      for (const slot of slots) dataplane.process(slot);
    }
    this.given += BATCH;
  }

  private renew(): void {
    const { bench, few, renew } = this.traffic;
    const { arena } = bench;
    for (const slot of this.slots) {
      renew(arena.view, arena.packets[slot].start, this.at);
      this.at = (this.at + 1) & ((few ? CONVERSATIONS : DESTINATIONS) - 1);
    }
    this.passes = few ? PASSES : 0;
  }

  get isWhole(): boolean {
    const { bench, bytes } = this.traffic;
    refuseDrops(bench);
    return this.given > 0 && bench.sink.count === this.given && bytes <= MEMORY_BAR;
  }
}

/** The router is set up when the case is to run, not when it is listed. */
function forwardingCase(name: string, target: Pick<Case, 'bar' | 'aim'>, make: () => Traffic): Case {
  let flow: Flow | null = null;
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    ...target,
    prepare: () => {
      flow = new Flow(make());
    },
    run: () => (flow as Flow).run(),
    note: () => `${((flow as Flow).traffic.bytes / 2 ** 20).toFixed(2)} MB`,
    check: () => (flow as Flow).isWhole,
  };
}

/** A packet that is dropped has not gone the way that is measured; which reason it was says what is wrong. */
function refuseDrops({ dataplane }: Bench): void {
  const from = NEAR_PORT * COUNTER_BLOCK + COUNTER_RX_DROPS;
  const drops = dataplane.counters.values.subarray(from, (NEAR_PORT + 1) * COUNTER_BLOCK);
  const reason = drops.findIndex((count) => count > 0);
  if (reason >= 0) throw new Error(`forwarding: ${drops[reason]} packets dropped for reason ${reason}`);
}

export function forwardingCases(): Case[] {
  return [
    forwardingCase('IPv4 forwarding, 10 routes', { bar: 15e6 }, () => traffic4(small(1), true)),
    forwardingCase('IPv4 forwarding, 10 routes, random destinations', {}, () => traffic4(small(1), false)),
    forwardingCase('IPv4 forwarding, a million prefixes, random destinations', { bar: 8e6 }, () =>
      traffic4(internet4(1_000_000), false),
    ),
    forwardingCase('IPv4 forwarding, a million prefixes', {}, () => traffic4(internet4(1_000_000), true)),
    forwardingCase('IPv6 forwarding, 10 routes', { bar: 8e6 }, () => traffic6(small(4), true)),
    forwardingCase('IPv6 forwarding, 200,000 prefixes, random destinations', {}, () =>
      traffic6(internet6(200_000), false),
    ),
  ];
}
