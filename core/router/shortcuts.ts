/**
 * Shortcuts of forwarding: what the general path (forward.ts) has found for a destination, kept so that the next packet to it needs
 * neither FIB nor neighbor table.
 *
 * A table of fixed size without any promise: an entry holds as long as nothing has changed that could make it wrong, which the epoch,
 * the neighbor and the FDB's epoch tell; another destination with the same place takes it over. A destination is noted with the second
 * packet to it: noting each of a million that get one packet costs more than it saves, as the table does not fit into the fast caches.
 */

import { type Packet, TAG_NONE } from '../packet/packet.js';
import type { Fdb } from '../switch/fdb.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import { isMapped } from './address.js';
import type { RouterInterface } from './interface.js';
import { NEIGHBOR_REACHABLE, Neighbor } from './neighbor.js';

/** Entries of each family, a power of two. */
const PLACES = 4096;

export class Shortcut {
  epoch = -1;
  /** Number of the interface that packets come in by. */
  from = 0;
  /** First three words of the destination, mapped for IPv4; the last is in `keys`. */
  a = 0;
  b = 0;
  c = 0;
  neighbor: Neighbor;
  generation = 0;
  fdbEpoch = -1;
  /** The new Ethernet header but for the type, as it stands in the frame. */
  first = 0;
  second = 0;
  third = 0;
  /** Of the next link. */
  mtu = 0;
  /** The smaller one of both links': what TCP's segments are clamped to. */
  mss = 0;
  fid = 0;
  port = 0;

  constructor(nobody: Neighbor) {
    this.neighbor = nobody;
  }
}

export class Shortcuts {
  /** Of all that routes, interfaces, VRFs and policy say: a change makes every entry void. */
  epoch = 0;
  private readonly view: DataView;
  private readonly fdb: Fdb;
  private readonly entries: Shortcut[] = [];
  /** The last word of each entry's destination: a miss touches no entry. */
  private readonly keys = new Int32Array(PLACES);
  /** The last words of destinations that had no entry when a packet to them was sent on: the second packet makes one. */
  private readonly candidates = new Int32Array(PLACES);

  /** @param view of the arena */
  constructor(view: DataView, fdb: Fdb) {
    this.view = view;
    this.fdb = fdb;
    const nobody = new Neighbor(0);
    for (let i = 0; i < PLACES; i++) this.entries.push(new Shortcut(nobody));
  }

  /** Routes, interfaces or VRFs have changed. */
  forget(): void {
    this.epoch = (this.epoch + 1) & 0x3fffffff;
  }

  /** For an IPv4 destination, from the interface of this number. Null: there is none that holds. */
  find4(destination: number, from: number): Shortcut | null {
    const place = placeOf(destination, from);
    if (this.keys[place] !== destination) return null;
    const entry = this.entries[place];
    return isMapped(entry.a, entry.b, entry.c) && entry.from === from && this.holds(entry) ? entry : null;
  }

  /** The same for IPv6. */
  find6(a: number, b: number, c: number, d: number, from: number): Shortcut | null {
    const place = placeOf(c ^ d, from);
    if (this.keys[place] !== d) return null;
    const entry = this.entries[place];
    if (entry.a !== a || entry.b !== b || entry.c !== c || entry.from !== from) return null;
    return this.holds(entry) ? entry : null;
  }

  /** Whether nothing has changed that could make an entry wrong. */
  holds(entry: Shortcut): boolean {
    const { neighbor } = entry;
    return (
      entry.epoch === this.epoch &&
      entry.fdbEpoch === this.fdb.epoch &&
      neighbor.fdbEpoch === entry.fdbEpoch &&
      neighbor.generation === entry.generation &&
      neighbor.state === NEIGHBOR_REACHABLE
    );
  }

  /** Gives the packet its new Ethernet header, domain and port. */
  apply(entry: Shortcut, packet: Packet): void {
    const { view } = this;
    const start = packet.l3 - ETHERNET_HEADER_LENGTH;
    view.setInt32(start, entry.first);
    view.setInt32(start + 4, entry.second);
    view.setInt32(start + 8, entry.third);
    packet.length = packet.l3End - start;
    packet.domain = entry.fid;
    packet.tag = TAG_NONE;
    packet.vlan = -1;
    packet.outPort = entry.port;
  }

  /** The general path has sent a plain packet on, to `packet.outPort`. */
  note(
    from: RouterInterface,
    to: RouterInterface,
    neighbor: Neighbor,
    port: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): void {
    const place = placeOf(isMapped(a, b, c) ? d : c ^ d, from.number);
    if (this.candidates[place] !== d) {
      this.candidates[place] = d;
      return;
    }
    this.keys[place] = d;
    const entry = this.entries[place];
    entry.a = a;
    entry.b = b;
    entry.c = c;
    this.fill(entry, from, to, neighbor, port);
  }

  /** All of an entry but the destination. */
  fill(entry: Shortcut, from: RouterInterface, to: RouterInterface, neighbor: Neighbor, port: number): void {
    entry.epoch = this.epoch;
    entry.from = from.number;
    entry.neighbor = neighbor;
    entry.generation = neighbor.generation;
    entry.fdbEpoch = this.fdb.epoch;
    entry.first = (neighbor.macHigh << 16) | (neighbor.macLow >>> 16);
    entry.second = (neighbor.macLow << 16) | to.macHigh;
    entry.third = to.macLow;
    entry.mtu = to.mtu;
    entry.mss = Math.min(from.mtu, to.mtu);
    entry.fid = to.fid;
    entry.port = port;
  }
}

/** @param word the destination's last, mixed with the one before for IPv6 */
function placeOf(word: number, from: number): number {
  return (Math.imul(word ^ (from << 20), 0x9e3779b1 | 0) >>> 20) & (PLACES - 1);
}
