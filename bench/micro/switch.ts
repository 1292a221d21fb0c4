/** Learn + forward, flooding, and the FDB beside lru-cache. */

import { LRUCache } from 'lru-cache';
import { COUNTER_BLOCK } from '../../core/counters.js';
import { type Bench, load, makeBench, makeGuarded, tcpFrame, writeMac } from './frames.js';
import { Random } from './random.js';
import type { Case } from './suite.js';

/** Packets in one benchmarked call, so that the harness's own cost a call vanishes. */
const BATCH = 1024;

/** Two hosts talking: everything in the first-level cache. */
function learnForwardHot(name: string, { arena, dataplane, sink }: Bench, target: Pick<Case, 'bar' | 'aim'>): Case {
  const slots = [load(arena, 1, tcpFrame(2, 1)), load(arena, 2, tcpFrame(1, 2))];
  return {
    name,
    unit: 'packets',
    perCall: BATCH,
    ...target,
    run: () => {
      for (let i = 0; i < BATCH; i++) {
        const slot = slots[i & 1];
        arena.retain(slot, 1);
        dataplane.process(slot);
      }
    },
    check: () =>
      sink.count > 0 &&
      sink.count >= dataplane.counters.values[COUNTER_BLOCK] + dataplane.counters.values[2 * COUNTER_BLOCK] &&
      dataplane.fdb.table.count >= 2,
  };
}

/** Every packet from one of 100,000 MACs to another, at random: two cache misses each. */
function learnForwardMany(): Case {
  const macs = 100_000;
  const { arena, dataplane, sink } = makeBench(64);
  const random = new Random(42);
  const slots: number[] = [];
  for (let i = 0; i < 32; i++) slots.push(load(arena, 1, tcpFrame(1, 2)));
  const pairs = new Int32Array(1 << 18);
  for (let i = 0; i < pairs.length; i++) pairs[i] = random.next(macs);
  const portOf = (mac: number): number => (mac & 63) + 1;
  const view = arena.view;
  const address = (slot: number, from: number, to: number): void => {
    const packet = arena.packets[slot];
    packet.port = portOf(from);
    writeMac(view, packet.start, to);
    writeMac(view, packet.start + 6, from);
    arena.retain(slot, 1);
  };
  for (let mac = 0; mac < macs; mac++) {
    address(slots[0], mac, mac ^ 1);
    dataplane.process(slots[0]);
  }
  let at = 0;
  return {
    name: 'learn + forward, 100,000 MACs at random',
    unit: 'packets',
    perCall: BATCH,
    bar: 8e6,
    run: () => {
      // Addresses are written a batch ahead, as the kernel does: loads right behind narrower stores would stall.
      for (let i = 0; i < BATCH; i += slots.length) {
        for (const slot of slots) {
          address(slot, pairs[at], pairs[at + 1]);
          at = (at + 2) & (pairs.length - 1);
        }
        for (const slot of slots) dataplane.process(slot);
      }
    },
    check: () => sink.count > 0 && dataplane.fdb.table.count === macs,
  };
}

/** One broadcast to 15 others: counted in copies sent. */
function floodCase(): Case {
  const { arena, dataplane, sink } = makeBench(16);
  const frame = tcpFrame(1, 2);
  frame.fill(0xff, 0, 6);
  const slot = load(arena, 1, frame);
  return {
    name: 'flood to 15 ports',
    unit: 'copies',
    perCall: 64 * 15,
    run: () => {
      for (let i = 0; i < 64; i++) {
        arena.retain(slot, 1);
        dataplane.process(slot);
      }
    },
    check: () => sink.count % 15 === 0 && sink.count > 0,
  };
}

const LOOKUPS = 100_000;

function randomKeys(): Int32Array {
  const random = new Random(7);
  const keys = new Int32Array(1 << 16);
  for (let i = 0; i < keys.length; i++) keys[i] = random.next(LOOKUPS);
  return keys;
}

function fdbLookup(): Case {
  const { dataplane } = makeBench(64);
  const { domain } = dataplane.topology.network(1);
  for (let mac = 0; mac < LOOKUPS; mac++) dataplane.fdb.learn(domain, 0x0200, mac, dataplane.ports[(mac & 63) + 1], 1);
  const keys = randomKeys();
  let found = 0;
  return {
    name: 'FDB lookup, 100,000 entries',
    unit: 'lookups',
    perCall: keys.length,
    run: () => {
      for (let i = 0; i < keys.length; i++) if (dataplane.fdb.search(0x10200, keys[i]) !== 0) found++;
    },
    check: () => found > 0 && found % keys.length === 0,
  };
}

/** The library in its fastest form: a number as key (a MAC and network do fit into 2^53 only with tricks; here just 32 bits). */
function lruLookup(): Case {
  const cache = new LRUCache<number, number>({ max: LOOKUPS });
  for (let mac = 0; mac < LOOKUPS; mac++) cache.set(mac, (mac & 63) + 1);
  const keys = randomKeys();
  let found = 0;
  return {
    name: 'lru-cache lookup, 100,000 entries',
    unit: 'lookups',
    perCall: keys.length,
    run: () => {
      for (let i = 0; i < keys.length; i++) if (cache.get(keys[i]) !== undefined) found++;
    },
    check: () => found > 0 && found % keys.length === 0,
  };
}

/** Places in `switchCases` of what guards are measured against, and of what is measured, with the ratio that it may have. */
export const UNGUARDED = 0;
export const GUARDED: readonly { readonly index: number; readonly bar: number | null }[] = [
  { index: 1, bar: 1.1 },
  { index: 2, bar: null },
];

export function switchCases(): Case[] {
  return [
    learnForwardHot('learn + forward, hot', makeBench(2), { bar: 20e6, aim: 40e6 }),
    learnForwardHot('learn + forward, hot, every guard on', makeGuarded(2, 1), {}),
    learnForwardHot('learn + forward, hot, every guard on, learning', makeGuarded(2, 2), {}),
    learnForwardMany(),
    floodCase(),
    fdbLookup(),
    lruLookup(),
  ];
}
