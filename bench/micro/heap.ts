/** Heap growth over ten million packets: nothing on the packet path may allocate, the guards, the router, address translation, tunnels and the making of copies included. */

import { COUNTER_BLOCK, COUNTER_RX_DROPS } from '../../core/counters.js';
import { finishChecksum, sumBytes } from '../../core/packet/checksum.js';
import { copyPacket } from '../../core/packet/copy.js';
import { ROUTER_ALWAYS } from '../../core/switch/membership.js';
import { LEARNING_TIME } from '../../core/switch/snooping.js';
import { PROTOCOL_UDP } from '../../core/wire/ipv4.js';
import { type Bench, load, makeBench, makeGuarded, tagged, tcpFrame } from './frames.js';
import { EveryService } from './lb.js';
import { frame4, frame6, hopAddress4, hopAddress6, makeRouted, NEAR_PORT } from './routed.js';
import type { Traffic } from './traffic.js';
import { Masqueraded } from './translated.js';
import { BothWays } from './vxlan.js';

const PACKETS = 10_000_000;
/**
 * Bytes that the measuring itself may cost: 0.025 a packet, where one allocated number a packet would be 160 MB. In some runs V8 compiles the
 * loop around the packets anew in each stretch, with all that is inlined there: 116 kB.
 */
const TOLERANCE = 250_000;
/** Times as many before: what V8 notes and compiles is on the heap as well, and comes to an end. */
const WARM_UP = 3;
/** Times that are measured, until one is without: what V8 compiles anew late comes once, what packets take comes each time. */
const MEASURED = 3;

export interface HeapResult {
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
  readonly ok: boolean;
}

/** A dataplane, and what it is given. */
interface Load {
  readonly bench: Bench;
  readonly give: (at: number) => void;
  /** After all: whether packets went the way that is meant. */
  readonly isSound?: () => boolean;
}

/** Frames that stand in slots, in turn. */
function inTurn(bench: Bench, slots: readonly number[]): Load {
  return { bench, give: (at) => give(bench, slots[at % slots.length], at) };
}

/** Unicast and broadcast from two ports to sixteen. */
function bare(): Load {
  const bench = makeBench(16);
  return inTurn(bench, [...conversation(bench, 1, 2), ...conversation(bench, 2, 1)]);
}

/** The same under guards, with a multicast group, and with a trunk, which wants tags and sends them. */
function guarded(): Load {
  const bench = makeGuarded(2, 1);
  const { arena, dataplane } = bench;
  dataplane.topology.addPort(TRUNK, 2, { vlan: { native: 0, tagged: [10] }, router: ROUTER_ALWAYS });
  for (dataplane.now = 1; dataplane.now <= LEARNING_TIME; dataplane.now++) dataplane.topology.tick();
  dataplane.process(load(arena, 2, report(2)));
  const group = load(arena, 1, multicastFrame(1));
  const fromTrunk = load(arena, TRUNK, tagged(tcpFrame(1, STRANGER), TAG));
  return inTurn(bench, [...conversation(bench, 1, 2), ...conversation(bench, 2, 1), group, fromTrunk]);
}

/** From network to network, both families: in place, and in a copy where somebody else holds the slot. */
function routed(): Load {
  const bench = makeRouted();
  const frames = [frame4(hopAddress4(0)), frame6(hopAddress6(1))];
  return inTurn(
    bench,
    frames.map((frame) => load(bench.arena, NEAR_PORT, frame)),
  );
}

/** Connections through address translation, there and back; every eighth packet begins one, and others end by age. */
function translated(): Load {
  const traffic = new Masqueraded(PROTOCOL_UDP);
  traffic.establish(Int32Array.from({ length: CONNECTIONS }, (_, i) => i));
  return { bench: traffic.bench, give: comeAndGo(traffic) };
}

/** The same through services: every scheduler, affinity, and a flood whose packets get no connection. */
function balanced(): Load {
  const traffic = new EveryService();
  traffic.establish(Int32Array.from({ length: CONNECTIONS }, (_, i) => i));
  traffic.flood();
  return { bench: traffic.bench, give: comeAndGo(traffic), isSound: () => traffic.passed > 0 };
}

/** Into tunnels and out of them, cut, put together and taken apart. */
function tunnelled(): Load {
  const traffic = new BothWays();
  return { bench: traffic.bench, give: (at) => traffic.give(at), isSound: () => traffic.isSound };
}

/** Every eighth packet begins a connection; others go on, there and back. */
function comeAndGo(traffic: Traffic): (at: number) => void {
  const { dataplane } = traffic.bench;
  return (at) => {
    if ((at & 7) !== 0) traffic.give(at, (at >>> 4) & (CONNECTIONS - 1), (at & 8) !== 0);
    else traffic.give(at, CONNECTIONS + ((at >>> 3) & NEW_CONNECTIONS), false);
    if ((at & PACKETS_A_SECOND) !== 0) return;
    dataplane.now++;
    dataplane.router.flows.tick();
  };
}

/** Connections that go on all the time, and numbers of the others; both less one are masks. */
const CONNECTIONS = 1024;
const NEW_CONNECTIONS = (1 << 24) - 1;
/** Less one. So fast that connections end by age before the table is full of them. */
const PACKETS_A_SECOND = (1 << 12) - 1;

const TRUNK = 5;
/** VLAN 10, priority 5. */
const TAG = 0xa00a;
/** A host behind the trunk. */
const STRANGER = 99;
const GROUP = [239, 1, 1, 1];
const GROUP_MAC = [0x01, 0x00, 0x5e, 0x01, 0x01, 0x01];

/** To the other, and to all. */
function conversation({ arena }: Bench, from: number, to: number): number[] {
  const broadcast = tcpFrame(to, from);
  broadcast.fill(0xff, 0, 6);
  return [load(arena, from, tcpFrame(to, from)), load(arena, from, broadcast)];
}

function multicastFrame(from: number): Uint8Array {
  const bytes = tcpFrame(0, from);
  bytes.set(GROUP_MAC, 0);
  bytes.set(GROUP, 30);
  return bytes;
}

/** An IGMPv2 report (RFC 2236, 2) with Router Alert. */
function report(from: number): Uint8Array {
  const bytes = multicastFrame(from);
  bytes.set([0x46, 0, 0, 32, 0, 0, 0, 0, 1, 2, 0, 0], 14);
  bytes.set([0x94, 4, 0, 0, 0x16, 0, 0, 0, ...GROUP], 34);
  const view = new DataView(bytes.buffer);
  view.setUint16(24, finishChecksum(sumBytes(view, 14, 24)));
  view.setUint16(40, finishChecksum(sumBytes(view, 38, 8)));
  return bytes;
}

const RUNS: readonly { readonly name: string; readonly make: () => Load }[] = [
  { name: 'bare', make: bare },
  { name: 'every guard on, multicast, VLAN copies', make: guarded },
  { name: 'routed, IPv4 and IPv6', make: routed },
  { name: 'translated, new connections among them', make: translated },
  { name: 'lb: every scheduler, affinity, a flood', make: balanced },
  { name: 'vxlan: both ways, super-packets among them', make: tunnelled },
];
/** By number of the run. */
export const HEAP_NAMES: readonly string[] = RUNS.map(({ name }) => name);

/** One run; needs a process of its own, and --expose-gc. */
export function heapGrowth(run: number): HeapResult {
  const { name, make } = RUNS[run];
  const { bench, give: next, isSound } = make();
  const burst = (count: number): void => {
    for (let i = 0; i < count; i++) next(i);
  };
  for (let i = 0; i < WARM_UP; i++) burst(PACKETS);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < MEASURED && least > TOLERANCE; i++) {
    const before = usedHeap();
    burst(PACKETS);
    least = Math.min(least, process.memoryUsage().heapUsed - before);
  }
  refuseDrops(bench);
  if (isSound?.() === false) throw new Error(`heap benchmark: ${name}: packets went another way`);
  return { name, packets: PACKETS, bytes: least, ok: least <= TOLERANCE };
}

/** Every other time in a slot of its own, in which a tag may be changed in place; the clock goes on so that no storm control acts. */
function give({ arena, dataplane }: Bench, slot: number, at: number): void {
  dataplane.milliseconds = at & 0x3fffffff;
  if ((at & 8) === 0) {
    arena.retain(slot, 1);
    dataplane.process(slot);
    return;
  }
  const copy = copyPacket(arena, arena.packets[slot]);
  if (copy !== null) dataplane.process(copy.slot);
}

/** A dropped packet would not go the way that is measured. */
function refuseDrops({ dataplane }: Bench): void {
  const { values } = dataplane.counters;
  for (let at = 0; at < values.length; at++) {
    if (at % COUNTER_BLOCK >= COUNTER_RX_DROPS && values[at] !== 0) {
      const reason = (at % COUNTER_BLOCK) - COUNTER_RX_DROPS;
      throw new Error(`heap benchmark: ${values[at]} packets dropped for reason ${reason}`);
    }
  }
}

/** No collection may run between the two readings' end points, or it would hide what was allocated: only before the first. */
function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
