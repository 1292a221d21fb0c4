/**
 * The forwarding database: (domain, MAC) → port, learned from source addresses and forgotten with age, or static.
 *
 *   key     low: last four octets of the MAC · high: number of the domain << 16 | first two octets
 *   value   port (13 bits) | generation of the port << 13 (10 bits) | generation of the domain << 23 (9 bits)
 *   stamp   seconds of the dataplane's clock at the last refresh, or STATIC
 *
 * A learned entry counts only while its generations are those of its port and of its domain: a flush of either bumps one number and
 * so voids them all at once, and the sweep reclaims the places later. A static entry carries the generation of the port's life
 * instead: it survives every flush and ends with the port.
 */

import { type Domain, MAX_NETWORKS, MAX_PORTS, type Network, type Port, ROUTER_PORT } from '../ports.js';
import { type HashTable, hashTableWords, KEY_HIGH, KEY_LOW, STAMP, VALUE } from '../tables/hash.js';

/** Stamp of an entry that neither ages nor moves. */
export const STATIC = 0x7fffffff;

/** What `learn` met; everything but KNOWN is the slow path. */
export const LEARN_KNOWN = 0;
export const LEARN_NEW = 1;
/** It was on another port: `movedFrom`. */
export const LEARN_MOVED = 2;
/** No room in the table, or in the network's share. */
export const LEARN_FULL = 3;
/** The port has learned as many as it may. */
export const LEARN_LIMIT = 4;
/** A static entry binds the MAC to another port. */
export const LEARN_BOUND = 5;

const PORT_MASK = MAX_PORTS - 1;
const PORT_GENERATION_SHIFT = 13;
const PORT_GENERATION_MASK = 0x3ff;
const DOMAIN_GENERATION_SHIFT = 23;
const DOMAIN_GENERATION_MASK = 0x1ff;

// Where the generations stand: of what a port has learned, of a port's life, of a domain.
const LIVES = MAX_PORTS;
const DOMAINS = 2 * MAX_PORTS;
/** Int32 words of generations; in the same kind of memory as the table, whose entries refer to them. */
export const GENERATION_WORDS = DOMAINS + MAX_NETWORKS;

/** Int32 words for a table of `capacity` entries. */
export function fdbWords(capacity: number): number {
  return hashTableWords(capacity);
}

/** What a supervisor does for a port whose worker is gone: voids all that stands for it. */
export function endPortLife(generations: Int32Array, port: number): void {
  generations[port] = (generations[port] + 1) & PORT_GENERATION_MASK;
  generations[LIVES + port] = (generations[LIVES + port] + 1) & PORT_GENERATION_MASK;
}

/** Int32 an entry of `learnedEntries`: domain, first two octets of the MAC, last four, port, stamp. */
export const LEARNED_RECORD = 5;

/**
 * What stands learned in the words of a table whose process was killed at any instant, for whoever takes the tables over and has them
 * learned anew, port by port. Entries that were half written are left out; one may come twice.
 *
 * @param now seconds
 * @returns LEARNED_RECORD words each
 */
export function learnedEntries(table: HashTable, generations: Int32Array, now: number): Int32Array {
  const { words, places } = table;
  const found = new Int32Array(places * LEARNED_RECORD);
  let length = 0;
  for (let number = 0; number < places; number++) {
    const place = table.placeAt(number);
    const high = words[place + KEY_HIGH];
    const value = words[place + VALUE];
    const stamp = words[place + STAMP];
    const [port, fid] = [value & PORT_MASK, high >>> 16];
    if (fid === 0 || port === 0 || port === ROUTER_PORT || stamp < 0 || stamp > now) continue;
    const [portGeneration, domainGeneration] = [generations[port], generations[DOMAINS + fid]];
    const expected = port | (portGeneration << PORT_GENERATION_SHIFT) | (domainGeneration << DOMAIN_GENERATION_SHIFT);
    if (value !== expected) continue;
    found[length++] = fid;
    found[length++] = high & 0xffff;
    found[length++] = words[place + KEY_LOW];
    found[length++] = port;
    found[length++] = stamp;
  }
  return found.slice(0, length);
}

export class Fdb {
  readonly table: HashTable;
  /** Attempts to learn that found no room: in the table, in the network's share or in the port's. */
  fullCount = 0;
  /** MACs that were learned on another port than before. */
  moveCount = 0;
  /** After LEARN_MOVED: the port before. */
  movedFrom = 0;
  private readonly generations: Int32Array;
  private readonly ports: readonly Port[];
  private readonly domains: readonly (Domain | null)[];
  /** Places that learning leaves to static entries. */
  private readonly reserve: number;
  private sweepAt = 0;
  /** Void entries may still stand in the table, and in counts: something was flushed since they were last reclaimed. */
  private hasVoid = false;
  /** Changes whenever an entry that was found before may be found no more, or elsewhere. */
  epoch = 0;

  /**
   * @param generations GENERATION_WORDS int32
   * @param ports by port number
   * @param domains by number; the caller's own list, which grows and shrinks
   * @param reserve entries that only static ones may take, so that no flood keeps an endpoint from being bound
   */
  constructor(
    table: HashTable,
    generations: Int32Array,
    ports: readonly Port[],
    domains: readonly (Domain | null)[],
    reserve = 0,
  ) {
    this.table = table;
    this.generations = generations;
    this.ports = ports;
    this.domains = domains;
    this.reserve = reserve;
  }

  /**
   * Port behind a MAC, or 0.
   * @param from the port that asks; remembers the answer (saves 7 ns of a packet's 40 when frames come in conversations)
   */
  lookup(from: Port, fid: number, macHigh: number, macLow: number): number {
    const high = (fid << 16) | macHigh;
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

  /** @param high number of the domain << 16 | first two octets */
  search(high: number, macLow: number): number {
    const place = this.table.find(macLow, high);
    return place < 0 || this.isVoid(place) ? 0 : this.table.words[place + VALUE] & PORT_MASK;
  }

  /**
   * Notes that a MAC was seen as source on a port. The fast path refreshes what is there already; the same source again in
   * the same second needs no search.
   * @param now seconds
   * @returns LEARN_KNOWN and so on
   */
  learn(domain: Domain, macHigh: number, macLow: number, port: Port, now: number): number {
    const high = (domain.fid << 16) | macHigh;
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
    if (place < 0) return this.add(domain, macHigh, macLow, port, now);
    if (words[place + VALUE] !== this.learnedValue(port.id, domain.fid) || words[place + STAMP] === STATIC) {
      return this.meetOther(place, domain, port, now);
    }
    if (words[place + STAMP] < now) words[place + STAMP] = now;
    port.sourceLow = macLow;
    port.sourceHigh = high;
    port.sourceStamp = now;
    port.sourceEpoch = this.epoch;
    return LEARN_KNOWN;
  }

  /**
   * Learns anew what a port had learned in another process.
   * @param entries as of `learnedEntries`; those of other ports, and of domains that the port is no part of, are passed over
   */
  inherit(port: Port, entries: Int32Array): void {
    if (!port.learning) return;
    for (let at = 0; at < entries.length; at += LEARNED_RECORD) {
      const domain = this.domains[entries[at]] ?? null;
      if (entries[at + 3] !== port.id || domain === null || domain.network.id !== port.network) continue;
      this.learn(domain, entries[at + 1], entries[at + 2], port, entries[at + 4]);
    }
  }

  /** Adds or replaces an entry that neither ages nor moves. False where there is no room. */
  setStatic(domain: Domain, macHigh: number, macLow: number, port: Port): boolean {
    const high = (domain.fid << 16) | macHigh;
    const words = this.table.words;
    let place = this.table.find(macLow, high);
    if (place >= 0) this.uncount(place);
    else {
      place = this.table.insert(macLow, high);
      if (place < 0) {
        this.fullCount++;
        return false;
      }
      domain.network.fdbCount++;
    }
    words[place + VALUE] = this.staticValue(port.id);
    words[place + STAMP] = STATIC;
    this.nextEpoch();
    return true;
  }

  /** Removes one entry, static or learned. False where there is none. */
  remove(fid: number, macHigh: number, macLow: number): boolean {
    const place = this.table.find(macLow, (fid << 16) | macHigh);
    if (place < 0) return false;
    const wasThere = !this.isVoid(place);
    this.forget(place);
    return wasThere;
  }

  private add(domain: Domain, macHigh: number, macLow: number, port: Port, now: number): number {
    const { network } = domain;
    // What was flushed must not keep out what comes next; this passes the table at most once a flush.
    if (this.hasVoid && !(this.hasRoom(network) && port.macCount < port.macLimit)) this.reclaim();
    if (port.macCount >= port.macLimit) {
      this.fullCount++;
      return LEARN_LIMIT;
    }
    const place = this.hasRoom(network) ? this.table.insert(macLow, (domain.fid << 16) | macHigh) : -1;
    if (place < 0) {
      this.fullCount++;
      return LEARN_FULL;
    }
    network.fdbCount++;
    port.macCount++;
    this.table.words[place + VALUE] = this.learnedValue(port.id, domain.fid);
    this.table.words[place + STAMP] = now;
    return LEARN_NEW;
  }

  private hasRoom(network: Network): boolean {
    return network.fdbCount < network.fdbLimit && this.table.count < this.table.capacity - this.reserve;
  }

  /** The entry is static, or stands for another port, or is void. */
  private meetOther(place: number, domain: Domain, port: Port, now: number): number {
    const words = this.table.words;
    const wasVoid = this.isVoid(place);
    const before = words[place + VALUE] & PORT_MASK;
    if (words[place + STAMP] === STATIC && !wasVoid) return before === port.id ? LEARN_KNOWN : LEARN_BOUND;
    // A void entry may still be in the port's count, and then takes no further place there.
    const isCounted = before === port.id && this.isCounted(place);
    if (!isCounted && port.macCount >= port.macLimit) {
      this.fullCount++;
      return LEARN_LIMIT;
    }
    this.uncount(place);
    port.macCount++;
    words[place + VALUE] = this.learnedValue(port.id, domain.fid);
    words[place + STAMP] = now;
    this.nextEpoch();
    if (wasVoid) return LEARN_NEW;
    this.moveCount++;
    this.movedFrom = before;
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
  flushPort(port: Port): void {
    this.bump(port.id, PORT_GENERATION_MASK);
    port.macCount = 0;
  }

  /** Voids all that was learned in a domain, in O(1). */
  flushDomain(fid: number): void {
    this.bump(DOMAINS + fid, DOMAIN_GENERATION_MASK);
  }

  /** Voids all that stands for a port, static entries included, in O(1). */
  endPort(port: Port): void {
    this.flushPort(port);
    this.bump(LIVES + port.id, PORT_GENERATION_MASK);
  }

  /**
   * Once in 512 or 1,024 times the numbers begin again: then nothing of that time may be left. What has the highest number is not
   * void yet when they do, and is reclaimed half way.
   */
  private bump(at: number, mask: number): void {
    const next = (this.generations[at] + 1) & mask;
    if ((next & (mask >> 1)) === 0) this.reclaim();
    this.generations[at] = next;
    this.hasVoid = true;
    this.nextEpoch();
  }

  /** Forgets all void entries, in time proportional to the table. */
  private reclaim(): void {
    this.hasVoid = false;
    for (let number = 0; number < this.table.places; number++) {
      const place = this.table.placeAt(number);
      while (this.table.words[place + KEY_HIGH] !== 0 && this.isVoid(place)) this.forget(place);
    }
  }

  /** Recounts the entries of networks and ports: for a table taken over from a predecessor. Looks at every place. */
  recount(): void {
    for (const port of this.ports) port.macCount = 0;
    for (const domain of this.domains) if (domain !== null) domain.network.fdbCount = 0;
    if (this.table.count === 0) return;
    for (let number = 0; number < this.table.places; number++) {
      const place = this.table.placeAt(number);
      if (this.table.words[place + KEY_HIGH] === 0) continue;
      const domain = this.domainAt(place);
      if (domain !== null) domain.network.fdbCount++;
      if (this.isCounted(place)) this.ports[this.table.words[place + VALUE] & PORT_MASK].macCount++;
    }
  }

  /** Forgets all entries of these domains at once; looks at every place. For those that are removed. */
  forgetDomains(fids: ReadonlySet<number>): void {
    for (let number = 0; number < this.table.places; number++) {
      const place = this.table.placeAt(number);
      while (fids.has(this.table.words[place + KEY_HIGH] >>> 16)) this.forget(place);
    }
  }

  /** Calls back for each live entry. For listings: not on the hot path. */
  forEach(
    visit: (fid: number, macHigh: number, macLow: number, port: number, stamp: number) => void,
    now: number,
  ): void {
    const words = this.table.words;
    for (let number = 0; number < this.table.places; number++) {
      const place = this.table.placeAt(number);
      const high = words[place + KEY_HIGH];
      if (high === 0 || this.isExpired(place, now)) continue;
      visit(high >>> 16, high & 0xffff, words[place + KEY_LOW], words[place + VALUE] & PORT_MASK, words[place + STAMP]);
    }
  }

  private forget(place: number): void {
    const domain = this.domainAt(place);
    if (domain !== null) domain.network.fdbCount--;
    this.uncount(place);
    this.table.remove(place);
    this.nextEpoch();
  }

  /** The entry will stand for its port no more. */
  private uncount(place: number): void {
    if (this.isCounted(place)) this.ports[this.table.words[place + VALUE] & PORT_MASK].macCount--;
  }

  /** Whether it is in its port's count: learned since the port was flushed last. */
  private isCounted(place: number): boolean {
    const value = this.table.words[place + VALUE];
    if (this.table.words[place + STAMP] === STATIC) return false;
    return ((value >>> PORT_GENERATION_SHIFT) & PORT_GENERATION_MASK) === this.generations[value & PORT_MASK];
  }

  private nextEpoch(): void {
    this.epoch = (this.epoch + 1) & 0x3fffffff;
  }

  private isExpired(place: number, now: number): boolean {
    if (this.isVoid(place)) return true;
    const stamp = this.table.words[place + STAMP];
    const domain = this.domainAt(place);
    return domain === null || (stamp !== STATIC && now - stamp >= domain.network.ageing);
  }

  /** Domain of an entry, or null where it is gone. */
  private domainAt(place: number): Domain | null {
    const fid = this.table.words[place + KEY_HIGH] >>> 16;
    return fid < this.domains.length ? this.domains[fid] : null;
  }

  private isVoid(place: number): boolean {
    const words = this.table.words;
    const value = words[place + VALUE];
    const port = value & PORT_MASK;
    if (words[place + STAMP] === STATIC) return value !== this.staticValue(port);
    return value !== this.learnedValue(port, words[place + KEY_HIGH] >>> 16);
  }

  private learnedValue(port: number, fid: number): number {
    const { generations } = this;
    return (
      port | (generations[port] << PORT_GENERATION_SHIFT) | (generations[DOMAINS + fid] << DOMAIN_GENERATION_SHIFT)
    );
  }

  private staticValue(port: number): number {
    return port | (this.generations[LIVES + port] << PORT_GENERATION_SHIFT);
  }
}
