/** Work that is done again and again, and leaves nothing on the heap. */

import type { ExecutionContext } from 'ava';

/** Flows between two readings: few enough that the collector does not run between them, were they to leave garbage. */
const BURST = 20_000;
const BURSTS = 50;
const WARM_UP = 20;
/** Bytes that a reading costs; one number allocated a flow would be 320,000. */
const TOLERANCE = 4000;

/** Does a number of flows. @returns how many were refused */
export interface FlowLoad {
  run(flows: number): number;
}

/** A million flows: none is refused, and no burst of them costs more than the reading. */
export function leavesNothing(t: ExecutionContext, load: FlowLoad): void {
  let refused = 0;
  for (let i = 0; i < WARM_UP; i++) refused += load.run(BURST);
  const growth: number[] = [];
  for (let i = 0; i < BURSTS; i++) {
    const before = process.memoryUsage().heapUsed;
    refused += load.run(BURST);
    growth.push(process.memoryUsage().heapUsed - before);
  }
  growth.sort((a, b) => a - b);
  t.true(growth[BURSTS >> 1] <= TOLERANCE, `${growth[BURSTS >> 1]} bytes in ${BURST} flows`);
  t.is(refused, 0);
}
