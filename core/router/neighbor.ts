/** One neighbor: what an IP address on a link is to the router (RFC 4861, 5.1 and 7.3.2; ARP's are kept alike). */

import type { Path } from '../nat/paths.js';

export const NEIGHBOR_FREE = 0;
/** Asked for; packets wait. */
export const NEIGHBOR_INCOMPLETE = 1;
/** Did not answer. Kept for a moment, so that packets for it are refused at once and it is not asked for again and again. */
export const NEIGHBOR_FAILED = 2;
export const NEIGHBOR_REACHABLE = 3;
/** Not confirmed lately; used all the same, and then asked. */
export const NEIGHBOR_STALE = 4;
/** In use; given a moment to confirm itself by other traffic. */
export const NEIGHBOR_DELAY = 5;
/** Being asked, by unicast. */
export const NEIGHBOR_PROBE = 6;
/** Told by the operator: neither aged nor changed. */
export const NEIGHBOR_PERMANENT = 7;

/** Pooled: an object is used again for another address; `iface` is 0 in between. */
export class Neighbor {
  /** Number of the interface; with the four words of the address the key. */
  iface = 0;
  a = 0;
  b = 0;
  c = 0;
  d = 0;
  state = NEIGHBOR_FREE;
  /** Valid where `isUsable`. */
  macHigh = 0;
  macLow = 0;
  /** 1: says of itself that it routes (RFC 4861, 4.4). */
  isRouter = 0;
  /** Second in which it came into its state; was confirmed last; was used last, as far as the slow path sees. */
  since = 0;
  confirmedAt = 0;
  usedAt = 0;
  /** Requests without an answer. */
  probes = 0;
  /** Packets that wait. */
  waiting = 0;

  // For whoever sends: the port behind which the MAC is, and the epoch of the FDB in which that was found; -1: not known.
  outPort = 0;
  fdbEpoch = -1;

  /** What flows have found of it (core/nat/paths.ts), one for each pair of interfaces. */
  readonly paths: Path[] = [];

  // The table's own.
  /** Changes whenever the object is given to another address, or the address is at another MAC: what was kept of it is void. */
  generation = 0;
  /** Port of the packet that caused the entry. */
  port = 0;
  /** Milliseconds at the last request; for a failed one, at its failure. */
  sentAt = 0;
  /** Seconds that a confirmation lasts. */
  reachableFor = 0;
  /** First and last record of the packets that wait; -1: none. */
  firstHeld = -1;
  lastHeld = -1;
  /** Its places in the lists of all entries and of the unresolved ones. */
  liveAt = -1;
  unresolvedAt = -1;
  /** Number in the pool, from 1. */
  readonly id: number;

  constructor(id: number) {
    this.id = id;
  }

  /** Packets may be sent to its MAC. */
  get isUsable(): boolean {
    return this.state >= NEIGHBOR_REACHABLE;
  }
}
