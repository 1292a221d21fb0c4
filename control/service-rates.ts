/** What the dataplane counts of backends, and how fast that grows. */

import {
  BACKEND_COUNTERS,
  COUNT_ACTIVE,
  COUNT_BYTES_IN,
  COUNT_BYTES_OUT,
  COUNT_FAILURES,
  COUNT_FLOWS,
  COUNT_INACTIVE,
  COUNT_PACKETS_IN,
  COUNT_PACKETS_OUT,
} from '../core/lb/service.js';

/** Of a backend, or the sum of a service's. */
export interface BackendCounts {
  /** Connections that it got in all; those that are established; half-open ones, and closed ones that are still known. */
  readonly flows: number;
  readonly active: number;
  readonly inactive: number;
  /** From clients. Bytes are those of IP packets. */
  readonly packetsIn: number;
  readonly bytesIn: number;
  /** To clients. */
  readonly packetsOut: number;
  readonly bytesOut: number;
  /** Connections that it has refused, or not answered in time. */
  readonly failures: number;
}

/** A second, over the last one. */
export interface Rate {
  /** New ones. */
  readonly connections: number;
  /** Both directions. */
  readonly packets: number;
  readonly bits: number;
}

/** @param number the dataplane's, of a backend */
export function backendCounts(counters: Float64Array, number: number): BackendCounts {
  const at = number * BACKEND_COUNTERS;
  return {
    flows: counters[at + COUNT_FLOWS],
    active: counters[at + COUNT_ACTIVE],
    inactive: counters[at + COUNT_INACTIVE],
    packetsIn: counters[at + COUNT_PACKETS_IN],
    bytesIn: counters[at + COUNT_BYTES_IN],
    packetsOut: counters[at + COUNT_PACKETS_OUT],
    bytesOut: counters[at + COUNT_BYTES_OUT],
    failures: counters[at + COUNT_FAILURES],
  };
}

export function sumCounts(all: readonly BackendCounts[]): BackendCounts {
  const sum = (key: keyof BackendCounts): number => all.reduce((total, counts) => total + counts[key], 0);
  return {
    flows: sum('flows'),
    active: sum('active'),
    inactive: sum('inactive'),
    packetsIn: sum('packetsIn'),
    bytesIn: sum('bytesIn'),
    packetsOut: sum('packetsOut'),
    bytesOut: sum('bytesOut'),
    failures: sum('failures'),
  };
}

/** @returns null where none of them is known yet */
export function sumRates(all: readonly (Rate | null)[]): Rate | null {
  const known = all.filter((rate) => rate !== null);
  const sum = (key: keyof Rate): number => known.reduce((total, rate) => total + rate[key], 0);
  return known.length === 0 ? null : { connections: sum('connections'), packets: sum('packets'), bits: sum('bits') };
}

/** Two looks that follow each other at once tell nothing about a second. */
const SHORTEST_MS = 100;

/** Numbers of each backend that are remembered of the last look: what was counted, rates (NaN: none yet), and which look it was. */
const LOOK = 7;
const LOOK_FLOWS = 0;
const LOOK_PACKETS = 1;
const LOOK_BYTES = 2;
const LOOK_CONNECTION_RATE = 3;
const LOOK_PACKET_RATE = 4;
const LOOK_BIT_RATE = 5;
const LOOK_COUNT = 6;

/** Looks at the counters once a second, so that whoever asks gets rates without waiting for a second look. */
export class ServiceRates {
  readonly #counters: Float64Array;
  readonly #backends: () => Iterable<number>;
  /** LOOK numbers a backend, in flat memory: there may be a hundred thousand. Empty until there is one. */
  #looks = new Float64Array(0);
  /** Of looks, and one: 0 in `#looks` is none of them. */
  #count = 1;
  /** Milliseconds of a clock that only goes forward. */
  #time = 0;

  /**
   * @param counters BACKEND_COUNTERS a backend, by number
   * @param backends numbers of those that there are
   */
  constructor(counters: Float64Array, backends: () => Iterable<number>) {
    this.#counters = counters;
    this.#backends = backends;
  }

  /**
   * To be called once a second; costs next to nothing where there are no backends.
   *
   * @param now milliseconds, as in `performance.now()`
   */
  look(now: number): void {
    const elapsed = now - this.#time;
    if (this.#count > 1 && elapsed < SHORTEST_MS) return;
    this.#count++;
    this.#time = now;
    for (const number of this.#backends()) this.#lookAt(number, elapsed / 1000);
  }

  /** @param seconds since the last look */
  #lookAt(number: number, seconds: number): void {
    if (this.#looks.length === 0) this.#looks = new Float64Array((this.#counters.length / BACKEND_COUNTERS) * LOOK);
    const [counters, looks, from, at] = [this.#counters, this.#looks, number * BACKEND_COUNTERS, number * LOOK];
    const flows = counters[from + COUNT_FLOWS];
    const packets = counters[from + COUNT_PACKETS_IN] + counters[from + COUNT_PACKETS_OUT];
    const bytes = counters[from + COUNT_BYTES_IN] + counters[from + COUNT_BYTES_OUT];
    const [moreFlows, morePackets] = [flows - looks[at + LOOK_FLOWS], packets - looks[at + LOOK_PACKETS]];
    // Fewer than before: the number is another backend's now.
    const isSame = looks[at + LOOK_COUNT] === this.#count - 1 && moreFlows >= 0 && morePackets >= 0;
    looks[at + LOOK_CONNECTION_RATE] = isSame ? moreFlows / seconds : Number.NaN;
    looks[at + LOOK_PACKET_RATE] = isSame ? morePackets / seconds : Number.NaN;
    looks[at + LOOK_BIT_RATE] = isSame ? ((bytes - looks[at + LOOK_BYTES]) * 8) / seconds : Number.NaN;
    looks[at + LOOK_FLOWS] = flows;
    looks[at + LOOK_PACKETS] = packets;
    looks[at + LOOK_BYTES] = bytes;
    looks[at + LOOK_COUNT] = this.#count;
  }

  /** Null until a backend has been looked at twice. @param number the dataplane's */
  of(number: number): Rate | null {
    const [looks, at] = [this.#looks, number * LOOK];
    const connections = looks[at + LOOK_CONNECTION_RATE];
    if (looks[at + LOOK_COUNT] !== this.#count || Number.isNaN(connections)) return null;
    return { connections, packets: looks[at + LOOK_PACKET_RATE], bits: looks[at + LOOK_BIT_RATE] };
  }
}
