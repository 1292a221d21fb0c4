/**
 * The forwarding database: (network, MAC) → port, learned from source addresses and forgotten with age.
 *
 *   key     low: last four octets of the MAC · high: network << 16 | first two octets
 *   value   generation of the port << 16 | port
 *   stamp   seconds of the dataplane's clock at the last refresh, or STATIC
 *
 * An entry counts only while its generation is the port's: removing a port voids all it has learned at once, and the sweep
 * reclaims the places later.
 */

import type { Network, Port } from '../ports.js';
import { type HashTable, hashTableWords, KEY_HIGH, KEY_LOW, STAMP, VALUE } from '../tables/hash.js';

/** Stamp of an entry that neither ages nor moves. */
export const STATIC = 0x7fffffff;

/** What `learn` met; everything but KNOWN is the slow path. */
export const LEARN_KNOWN = 0;
export const LEARN_NEW = 1;
export const LEARN_MOVED = 2;
export const LEARN_FULL = 3;

/** Int32 words for a table of `capacity` entries. */
export function fdbWords(capacity: number): number {
  return hashTableWords(capacity);
}

export class Fdb {
  readonly table: HashTable;
  /** Attempts to learn that found the table or the network's share full. */
  fullCount = 0;
  /** MACs that were learned on another port than before. */
  moveCount = 0;
  /** By port number, 0..65535; bumped when the port goes. */
  private readonly generations: Int32Array;
  private readonly networks: readonly (Network | null)[];
  private sweepAt = 0;
  /** Changes whenever an entry that was found before may be found no more, or elsewhere. */
  private epoch = 0;

  /**
   * @param generations one int32 a port number; in the same kind of memory as the table, whose entries refer to them
   * @param networks by network number; the caller's own list, which grows and shrinks
   */
  constructor(table: HashTable, generations: Int32Array, networks: readonly (Network | null)[]) {
    this.table = table;
    this.generations = generations;
    this.networks = networks;
  }

  /**
   * Port behind a MAC, or 0.
   * @param from the port that asks; remembers the answer (saves 7 ns of a packet's 40 when frames come in conversations)
   */
  lookup(from: Port, network: number, macHigh: number, macLow: number): number {
    const high = (network << 16) | macHigh;
    if (from.destinationLow === macLow && from.destinationHigh === high && from.destinationEpoch === this.epoch) {
      return from.destinationPort;
    }
    const port = this.search(high, macLow);
    if (port === 0) return 0;
    from.destinationLow = macLow;
    from.destinationHigh = high;
    from.destinationPort = port;
    from.destinationEpoch = this.epoch;
    return port;
  }

  /** @param high network << 16 | first two octets */
  search(high: number, macLow: number): number {
    const place = this.table.find(macLow, high);
    if (place < 0) return 0;
    const value = this.table.words[place + VALUE];
    const port = value & 0xffff;
    return this.generations[port] === value >>> 16 ? port : 0;
  }

  /**
   * Notes that a MAC was seen as source on a port. The fast path refreshes what is there already; the same source again in
   * the same second needs no search.
   * @param now seconds
   * @returns LEARN_KNOWN and so on
   */
  learn(network: Network, macHigh: number, macLow: number, port: Port, now: number): number {
    const high = (network.id << 16) | macHigh;
    if (
      port.sourceLow === macLow &&
      port.sourceHigh === high &&
      port.sourceStamp === now &&
      port.sourceEpoch === this.epoch
    ) {
      return LEARN_KNOWN;
    }
    const words = this.table.words;
    const place = this.table.find(macLow, high);
    if (place < 0) return this.add(network, macHigh, macLow, port, now);
    if (words[place + VALUE] !== this.entryValue(port)) return this.move(place, port, now);
    if (words[place + STAMP] < now) words[place + STAMP] = now;
    port.sourceLow = macLow;
    port.sourceHigh = high;
    port.sourceStamp = now;
    port.sourceEpoch = this.epoch;
    return LEARN_KNOWN;
  }

  /** Adds or replaces an entry that neither ages nor moves. False where there is no room. */
  setStatic(network: Network, macHigh: number, macLow: number, port: Port): boolean {
    const high = (network.id << 16) | macHigh;
    let place = this.table.find(macLow, high);
    if (place < 0) {
      if (this.add(network, macHigh, macLow, port, STATIC) !== LEARN_NEW) return false;
      place = this.table.find(macLow, high);
    }
    this.table.words[place + VALUE] = this.entryValue(port);
    this.table.words[place + STAMP] = STATIC;
    this.nextEpoch();
    return true;
  }

  private add(network: Network, macHigh: number, macLow: number, port: Port, now: number): number {
    const place = network.fdbCount < network.fdbLimit ? this.table.insert(macLow, (network.id << 16) | macHigh) : -1;
    if (place < 0) {
      this.fullCount++;
      return LEARN_FULL;
    }
    network.fdbCount++;
    this.table.words[place + VALUE] = this.entryValue(port);
    this.table.words[place + STAMP] = now;
    return LEARN_NEW;
  }

  /** The MAC stands for another port, or for one that is gone. */
  private move(place: number, port: Port, now: number): number {
    const words = this.table.words;
    const wasVoid = this.isVoid(words[place + VALUE]);
    if (words[place + STAMP] === STATIC && !wasVoid) return LEARN_KNOWN;
    words[place + VALUE] = this.entryValue(port);
    words[place + STAMP] = now;
    this.nextEpoch();
    if (wasVoid) return LEARN_NEW;
    this.moveCount++;
    return LEARN_MOVED;
  }

  /**
   * Forgets what is too old or void, going on where the last call stopped.
   * @param budget places to look at
   * @param now seconds
   */
  sweep(budget: number, now: number): void {
    const table = this.table;
    const words = table.words;
    for (let i = 0; i < budget; i++) {
      const place = table.placeAt(this.sweepAt);
      // Removal may pull a follower into this place: look again before going on.
      while (words[place + KEY_HIGH] !== 0 && this.isExpired(place, now)) this.forget(place);
      this.sweepAt = (this.sweepAt + 1) & (table.places - 1);
    }
  }

  /** Voids all that was learned on a port, in O(1). */
  forgetPort(port: number): void {
    this.nextEpoch();
    this.generations[port] = (this.generations[port] + 1) & 0xffff;
  }

  /** Entries that stand for a network, void ones included. Looks at every place: for a table taken over from a predecessor. */
  countOf(network: number): number {
    if (this.table.count === 0) return 0;
    let count = 0;
    for (let number = 0; number < this.table.places; number++) {
      if (this.table.words[this.table.placeAt(number) + KEY_HIGH] >>> 16 === network) count++;
    }
    return count;
  }

  /** Forgets all of a network's entries at once; looks at every place. For networks that are removed. */
  forgetNetwork(network: Network): void {
    for (let number = 0; number < this.table.places; number++) {
      const place = this.table.placeAt(number);
      while (this.table.words[place + KEY_HIGH] >>> 16 === network.id) this.forget(place);
    }
  }

  /** Calls back for each live entry. For listings: not on the hot path. */
  forEach(
    visit: (network: number, macHigh: number, macLow: number, port: number, stamp: number) => void,
    now: number,
  ): void {
    const words = this.table.words;
    for (let number = 0; number < this.table.places; number++) {
      const place = this.table.placeAt(number);
      const high = words[place + KEY_HIGH];
      if (high === 0 || this.isExpired(place, now)) continue;
      visit(high >>> 16, high & 0xffff, words[place + KEY_LOW], words[place + VALUE] & 0xffff, words[place + STAMP]);
    }
  }

  private forget(place: number): void {
    const network = this.networkAt(place);
    if (network !== null) network.fdbCount--;
    this.table.remove(place);
    this.nextEpoch();
  }

  private nextEpoch(): void {
    this.epoch = (this.epoch + 1) & 0x3fffffff;
  }

  private isExpired(place: number, now: number): boolean {
    const words = this.table.words;
    if (this.isVoid(words[place + VALUE])) return true;
    const stamp = words[place + STAMP];
    const network = this.networkAt(place);
    return network === null || (stamp !== STATIC && now - stamp >= network.ageing);
  }

  /** Network of an entry, or null where it is gone. */
  private networkAt(place: number): Network | null {
    const id = this.table.words[place + KEY_HIGH] >>> 16;
    return id < this.networks.length ? this.networks[id] : null;
  }

  private isVoid(value: number): boolean {
    return this.generations[value & 0xffff] !== value >>> 16;
  }

  private entryValue(port: Port): number {
    return (this.generations[port.id] << 16) | port.id;
  }
}
