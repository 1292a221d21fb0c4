/**
 * The whole path of a packet from one network to another: parse, bridge, router, rewrite, transmit. Frames stay in their slots; each
 * time they get back what forwarding has changed (MACs, TTL), and another destination. That is part of the figures.
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
import { Random } from './random.js';
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
const HOP_LIMIT = 64;

/** Frames for a router that is set up. */
interface Traffic {
  readonly bench: Bench;
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

/** Destinations in random order. @param words of one; @param few no more different ones than CONVERSATIONS */
function drawn(all: Int32Array, words: number, few: boolean): Int32Array {
  if (!few) return all;
  const random = new Random(0xc0);
  for (let at = CONVERSATIONS * words; at < all.length; at += words) {
    const from = random.next(CONVERSATIONS) * words;
    all.copyWithin(at, from, from + words);
  }
  return all;
}

/** Routes by way of the neighbors in the far network, in turn. */
function traffic4(prefixes: Prefixes, few: boolean): Traffic {
  const bench = makeRouted();
  const { dataplane } = bench;
  const vrf = dataplane.router.vrf(VRF);
  prefixes.lengths.forEach((length, index) => {
    setRoute(vrf, prefix4(prefixes.addresses[index], length), hopAddress4(index % HOPS));
  });
  const to = drawn(destinations(prefixes, isForwarded4), 1, few);
  const frame = frame4(hopAddress4(0));
  const ttl = ttlWords(frame, to);
  return {
    bench,
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
  const bench = makeRouted();
  const { dataplane } = bench;
  const vrf = dataplane.router.vrf(VRF);
  prefixes.lengths.forEach((length, index) => {
    const [a, b, c, d] = prefixes.addresses.subarray(index * 4, index * 4 + 4);
    setRoute(vrf, prefix6(a, b, c, d, length), hopAddress6(index % HOPS));
  });
  const to = drawn(destinations(prefixes, isForwarded6), 4, few);
  return {
    bench,
    bytes: vrf.fib6.memory,
    frame: frame6(hopAddress6(0)),
    renew: (view, at, index) => {
      writeMacs(view, at);
      view.setUint8(at + HOP_LIMIT6, HOP_LIMIT);
      const word = index * 4;
      setIpv6Address(view, at + DESTINATION6, to[word], to[word + 1], to[word + 2], to[word + 3]);
    },
  };
}

function setRoute(vrf: Vrf, prefix: Parameters<Vrf['set']>[0], via: readonly number[]): void {
  vrf.set(prefix, ROUTE_UNICAST, [new Hop(FAR, via, 0)], false);
}

/** The router is set up when the case is to run, not when it is listed. */
function forwardingCase(name: string, target: Pick<Case, 'bar' | 'aim'>, make: () => Traffic): Case {
  let traffic: Traffic | null = null;
  let slots: readonly number[] = [];
  let at = 0;
  let given = 0;
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    ...target,
    prepare: () => {
      traffic = make();
      const { bench, frame } = traffic;
      slots = Array.from({ length: AHEAD }, () => load(bench.arena, NEAR_PORT, frame));
      bench.sink.keeps = true;
      bench.sink.count = 0;
    },
    run: () => {
      const { bench, renew } = traffic as Traffic;
      const { arena, dataplane } = bench;
      for (let i = 0; i < BATCH; i += AHEAD) {
        for (const slot of slots) {
          renew(arena.view, arena.packets[slot].start, at);
          at = (at + 1) & (DESTINATIONS - 1);
        }
        for (const slot of slots) dataplane.process(slot);
      }
      given += BATCH;
    },
    note: () => `${((traffic as Traffic).bytes / 2 ** 20).toFixed(2)} MB`,
    check: () => {
      const { bench, bytes } = traffic as Traffic;
      refuseDrops(bench);
      return given > 0 && bench.sink.count === given && bytes <= MEMORY_BAR;
    },
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
