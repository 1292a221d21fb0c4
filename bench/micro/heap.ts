/** Heap growth over ten million packets: nothing on the packet path may allocate. */

import { load, makeBench, tcpFrame } from './frames.js';

const PACKETS = 10_000_000;
/** Bytes that the measuring itself may cost: 0.01 a packet, where one allocated number a packet would be 160 MB. */
const TOLERANCE = 100_000;

export interface HeapResult {
  readonly packets: number;
  readonly bytes: number;
  readonly ok: boolean;
}

/** Unicast and broadcast from two ports to sixteen. Needs --expose-gc. */
export function heapGrowth(): HeapResult {
  const { arena, dataplane } = makeBench(16);
  const broadcast = tcpFrame(1, 2);
  broadcast.fill(0xff, 0, 6);
  const slots = [
    load(arena, 1, tcpFrame(2, 1)),
    load(arena, 2, tcpFrame(1, 2)),
    load(arena, 1, tcpFrame(2, 1)),
    load(arena, 2, broadcast),
  ];
  const burst = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const slot = slots[i & 3];
      arena.retain(slot, 1);
      dataplane.process(slot);
    }
  };
  burst(PACKETS);
  const before = usedHeap();
  burst(PACKETS);
  const now = process.memoryUsage().heapUsed;
  return { packets: PACKETS, bytes: now - before, ok: now - before <= TOLERANCE };
}

/** No collection may run between the two readings' end points, or it would hide what was allocated: only before the first. */
function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
