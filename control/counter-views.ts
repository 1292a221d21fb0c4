/** Counters out of the memory that the worker shares: exact, and read without asking. */

import {
  COUNTER_BLOCK,
  COUNTER_COPIES,
  COUNTER_LOCAL,
  COUNTER_MACS,
  COUNTER_ORIGINATED,
  COUNTER_RX_BYTES,
  COUNTER_RX_DROPS,
  COUNTER_RX_PACKETS,
  COUNTER_TX_BYTES,
  COUNTER_TX_DROPS,
  COUNTER_TX_PACKETS,
} from '../core/counters.js';
import { DROP_REASONS } from '../core/drop.js';
import type { PortCounters, Totals } from './types.js';

/** What is counted of a port. @param id its number */
export function readPort(
  counters: Float64Array,
  id: number,
): Omit<PortCounters, 'id' | 'name' | 'kind' | 'network' | 'state'> {
  const at = id * COUNTER_BLOCK;
  return {
    rxPackets: counters[at + COUNTER_RX_PACKETS],
    rxBytes: counters[at + COUNTER_RX_BYTES],
    txPackets: counters[at + COUNTER_TX_PACKETS],
    txBytes: counters[at + COUNTER_TX_BYTES],
    rxDrops: dropsAt(counters, at + COUNTER_RX_DROPS),
    txDrops: dropsAt(counters, at + COUNTER_TX_DROPS),
    local: counters[at + COUNTER_LOCAL],
    learnedMacs: counters[at + COUNTER_MACS],
  };
}

/** Sums over all ports that there are or have been. @param highest number of a live port */
export function readTotals(counters: Float64Array, highest: number): Totals {
  const sums = new Float64Array(COUNTER_BLOCK);
  for (let at = 0; at < (highest + 1) * COUNTER_BLOCK; at++) sums[at % COUNTER_BLOCK] += counters[at];
  return {
    rxPackets: sums[COUNTER_RX_PACKETS],
    originated: sums[COUNTER_ORIGINATED],
    copies: sums[COUNTER_COPIES],
    local: sums[COUNTER_LOCAL],
    txPackets: sums[COUNTER_TX_PACKETS],
    rxDrops: dropsAt(sums, COUNTER_RX_DROPS),
    txDrops: dropsAt(sums, COUNTER_TX_DROPS),
  };
}

/** Counts by reason, without those of which there are none. */
function dropsAt(counters: Float64Array, at: number): Record<string, number> {
  const drops: Record<string, number> = {};
  DROP_REASONS.forEach((reason, code) => {
    const count = counters[at + code];
    if (count > 0) drops[reason.name] = count;
  });
  return drops;
}
