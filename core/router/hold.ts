/**
 * Packets that wait for a neighbor's MAC, oldest first (RFC 4861, 7.2.2; RFC 1122, 2.3.2.2), in a fixed number of records: so many a
 * neighbor, so many from one port, so many in all. Where there is no room, an older packet goes: of the same neighbor, else of the
 * same port, else of the port that has most waiting.
 */

import type { Packet } from '../packet/packet.js';
import { MAX_PORTS } from '../ports.js';
import type { Neighbor } from './neighbor.js';

export const MAX_HELD = 256;
export const MAX_HELD_NEIGHBOR = 16;
export const MAX_HELD_PORT = 64;

const NONE = -1;

export class Hold {
  count = 0;
  private readonly packets: (Packet | null)[] = new Array(MAX_HELD).fill(null);
  private readonly neighbors: (Neighbor | null)[] = new Array(MAX_HELD).fill(null);
  /** The next record of the same neighbor, or the next free one. */
  private readonly next = new Int32Array(MAX_HELD);
  /** Rising numbers in order of arrival; they wrap, and are compared by their difference. */
  private readonly arrivals = new Int32Array(MAX_HELD);
  private arrival = 0;
  private free = 0;
  /** Packets that wait, by port. */
  private readonly byPort = new Int32Array(MAX_PORTS);

  constructor() {
    for (let i = 0; i < MAX_HELD; i++) this.next[i] = i + 1 < MAX_HELD ? i + 1 : NONE;
  }

  /** Takes out the packet that must go before one from `port` can be added for `neighbor`; null: there is room. */
  makeRoom(neighbor: Neighbor, port: number): Packet | null {
    if (neighbor.waiting >= MAX_HELD_NEIGHBOR) return this.pop(neighbor);
    if (this.byPort[port] >= MAX_HELD_PORT) return this.remove(this.oldestOf(port));
    if (this.count >= MAX_HELD) return this.remove(this.oldestOf(this.busiestPort()));
    return null;
  }

  /** There must be room. */
  push(neighbor: Neighbor, packet: Packet): void {
    const record = this.free;
    this.free = this.next[record];
    this.packets[record] = packet;
    this.neighbors[record] = neighbor;
    this.arrivals[record] = this.arrival;
    this.arrival = (this.arrival + 1) | 0;
    this.next[record] = NONE;
    if (neighbor.lastHeld === NONE) neighbor.firstHeld = record;
    else this.next[neighbor.lastHeld] = record;
    neighbor.lastHeld = record;
    neighbor.waiting++;
    this.byPort[packet.port]++;
    this.count++;
  }

  /** The oldest packet of a port, which no longer waits; null: none. */
  popFrom(port: number): Packet | null {
    return this.byPort[port] === 0 ? null : this.remove(this.oldestOf(port));
  }

  /** The oldest packet that waits for a neighbor, which no longer waits; null: none. */
  pop(neighbor: Neighbor): Packet | null {
    return neighbor.firstHeld === NONE ? null : this.remove(neighbor.firstHeld);
  }

  private remove(record: number): Packet {
    const neighbor = this.neighbors[record] as Neighbor;
    const packet = this.packets[record] as Packet;
    this.unlink(neighbor, record);
    this.packets[record] = null;
    this.neighbors[record] = null;
    this.next[record] = this.free;
    this.free = record;
    neighbor.waiting--;
    this.byPort[packet.port]--;
    this.count--;
    return packet;
  }

  private unlink(neighbor: Neighbor, record: number): void {
    const { next } = this;
    let before = NONE;
    for (let at = neighbor.firstHeld; at !== record; at = next[at]) before = at;
    if (before === NONE) neighbor.firstHeld = next[record];
    else next[before] = next[record];
    if (neighbor.lastHeld === record) neighbor.lastHeld = before;
  }

  private oldestOf(port: number): number {
    let oldest = NONE;
    for (let i = 0; i < MAX_HELD; i++) {
      if (this.packets[i]?.port !== port) continue;
      if (oldest === NONE || ((this.arrivals[i] - this.arrivals[oldest]) | 0) < 0) oldest = i;
    }
    return oldest;
  }

  private busiestPort(): number {
    let busiest = 0;
    for (const packet of this.packets) {
      if (packet !== null && this.byPort[packet.port] > this.byPort[busiest]) busiest = packet.port;
    }
    return busiest;
  }
}
