/**
 * Counters: one block of float64 a port, in memory that other threads read while the dataplane writes. Float64 counts exactly to
 * 2^53, is updated without allocation, and an aligned 8-byte store is seen whole.
 *
 * Once nothing is in flight, over all ports: rxPackets + originated + copies = txPackets + local + all rx drops + all
 * tx drops.
 */

import { DROP_REASON_SLOTS } from './drop.js';

export const COUNTER_RX_PACKETS = 0;
export const COUNTER_RX_BYTES = 1;
export const COUNTER_TX_PACKETS = 2;
export const COUNTER_TX_BYTES = 3;
/** Extra copies made of frames that this port received: destinations of a flood less one. */
export const COUNTER_COPIES = 4;
/** Frames that the dataplane made itself, on behalf of this port; of port 0, on a network's. */
export const COUNTER_ORIGINATED = 5;
/** No counter but a gauge: MACs learned on this port, as of the last tick. */
export const COUNTER_MACS = 6;
/** Frames received here that were for the dataplane itself: its router, its multicast snooping. */
export const COUNTER_LOCAL = 7;
/** Frames received here and dropped, by reason. */
export const COUNTER_RX_DROPS = 8;
/** Frames meant to leave here and dropped, by reason. */
export const COUNTER_TX_DROPS = COUNTER_RX_DROPS + DROP_REASON_SLOTS;
/** Float64 a port. */
export const COUNTER_BLOCK = COUNTER_TX_DROPS + DROP_REASON_SLOTS;

/** Port number under which the sums of removed ports are kept. */
export const RETIRED_PORT = 0;

export class Counters {
  readonly values: Float64Array;

  /** @param values COUNTER_BLOCK float64 for each port number */
  constructor(values: Float64Array) {
    this.values = values;
  }

  received(port: number, bytes: number): void {
    const at = port * COUNTER_BLOCK;
    this.values[at + COUNTER_RX_PACKETS] += 1;
    this.values[at + COUNTER_RX_BYTES] += bytes;
  }

  transmitted(port: number, bytes: number): void {
    const at = port * COUNTER_BLOCK;
    this.values[at + COUNTER_TX_PACKETS] += 1;
    this.values[at + COUNTER_TX_BYTES] += bytes;
  }

  /** A frame counted as transmitted leaves as one and so many more; their headers are not counted in bytes. */
  segmented(port: number, more: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_TX_PACKETS] += more;
  }

  copied(port: number, copies: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_COPIES] += copies;
  }

  originated(port: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_ORIGINATED] += 1;
  }

  local(port: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_LOCAL] += 1;
  }

  setMacs(port: number, count: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_MACS] = count;
  }

  dropReceived(port: number, reason: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_RX_DROPS + reason] += 1;
  }

  dropTransmit(port: number, reason: number): void {
    this.values[port * COUNTER_BLOCK + COUNTER_TX_DROPS + reason] += 1;
  }

  /** A frame that was counted as transmitted was not: the kernel refused it. */
  transmitFailed(port: number, bytes: number, reason: number): void {
    const at = port * COUNTER_BLOCK;
    this.values[at + COUNTER_TX_PACKETS] -= 1;
    this.values[at + COUNTER_TX_BYTES] -= bytes;
    this.values[at + COUNTER_TX_DROPS + reason] += 1;
  }

  /** Adds a port's counts to RETIRED_PORT's and zeroes them, so that sums over all ports stay whole. */
  retire(port: number): void {
    const values = this.values;
    const from = port * COUNTER_BLOCK;
    const to = RETIRED_PORT * COUNTER_BLOCK;
    values[from + COUNTER_MACS] = 0;
    for (let i = 0; i < COUNTER_BLOCK; i++) {
      values[to + i] += values[from + i];
      values[from + i] = 0;
    }
  }
}
