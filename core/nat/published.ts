/**
 * Published ports, and the listening ones of services: what comes to one of the router's addresses, at a port or a range of ports, is for
 * an endpoint, or for a service to give to a backend. A range is one record, however wide; records are sorted, and a search is a binary
 * one. Single ports, of which there may be thousands, are found by a hash instead.
 *
 * Only the first packet of a flow is looked up here (the flow remembers).
 */

import { isMapped, MAPPED } from '../router/address.js';
import { mix, NumberIndex } from '../tables/number-index.js';

/** Words of a record. Addresses are four words, those of IPv4 mapped (RFC 4291, 2.5.5.2). */
export const PUBLISHED_RECORD = 15;
/** Number of the VRF in whose addresses it is. */
export const PUBLISHED_ZONE = 0;
/** 6, 17 or 132: TCP, UDP, SCTP. */
export const PUBLISHED_PROTOCOL = 1;
/** Unspecified (`::`, or 0.0.0.0 mapped): any address of that family that is asked about. */
export const PUBLISHED_ADDRESS = 2;
export const PUBLISHED_FIRST = 6;
export const PUBLISHED_LAST = 7;
/** The endpoint's address, of the same family. */
export const PUBLISHED_TARGET = 8;
/** The endpoint's port for the first of the range; the others follow in order. */
export const PUBLISHED_TARGET_FIRST = 12;
/** The dataplane's number of the endpoint's port; NO_PORT: nobody's, only kept from address translation. */
export const PUBLISHED_PORT = 13;
export const NO_PORT = 0;
/** Number of the service (core/lb) that it leads to in place of an endpoint; 0: to the endpoint. */
export const PUBLISHED_SERVICE = 14;

/** What orders the records: all up to the first port, in the order in which they stand. */
const KEY_WORDS = PUBLISHED_FIRST + 1;

export class PublishedPorts {
  /** Records: first the ranges, sorted, then single ports. A record's number is the place of its first word. */
  words: Int32Array = new Int32Array(0);
  /** Words that ranges take. */
  private ranges = 0;
  private single = new NumberIndex();
  /** Records by the last word of the endpoint's address. */
  private readonly byTarget = new Map<number, number[]>();
  /** Records by service. */
  private readonly byService = new Map<number, number[]>();

  /**
   * Replaces all.
   *
   * @param records PUBLISHED_RECORD words each; those of one zone, protocol and address must not overlap
   */
  set(records: Int32Array): void {
    const places = Array.from(
      { length: Math.floor(records.length / PUBLISHED_RECORD) },
      (_, i) => i * PUBLISHED_RECORD,
    );
    const isRange = (at: number): boolean => records[at + PUBLISHED_FIRST] !== records[at + PUBLISHED_LAST];
    const ranges = places.filter(isRange).sort((a, b) => compareKeys(records, a, b));
    const words = new Int32Array(places.length * PUBLISHED_RECORD);
    [...ranges, ...places.filter((at) => !isRange(at))].forEach((place, i) => {
      words.set(records.subarray(place, place + PUBLISHED_RECORD), i * PUBLISHED_RECORD);
    });
    this.words = words;
    this.ranges = ranges.length * PUBLISHED_RECORD;
    this.single = new NumberIndex();
    for (let at = this.ranges; at < words.length; at += PUBLISHED_RECORD) this.single.insert(hashOf(words, at), at);
    this.listOwners();
  }

  private listOwners(): void {
    const { words, byTarget, byService } = this;
    byTarget.clear();
    byService.clear();
    for (let at = 0; at < words.length; at += PUBLISHED_RECORD) {
      const service = words[at + PUBLISHED_SERVICE];
      if (service !== 0) append(byService, service, at);
      else if (words[at + PUBLISHED_PORT] !== NO_PORT) append(byTarget, words[at + PUBLISHED_TARGET + 3], at);
    }
  }

  get count(): number {
    return this.words.length / PUBLISHED_RECORD;
  }

  /**
   * The record for an address of the router: one that is bound to it, else one that is bound to none.
   *
   * @param port 0 to 65535
   * @returns its number, or -1
   */
  find4(zone: number, protocol: number, address: number, port: number): number {
    const bound = this.search(zone, protocol, 0, 0, MAPPED, address, port);
    return bound >= 0 ? bound : this.search(zone, protocol, 0, 0, MAPPED, 0, port);
  }

  /** As `find4`. */
  find6(zone: number, protocol: number, a: number, b: number, c: number, d: number, port: number): number {
    const bound = this.search(zone, protocol, a, b, c, d, port);
    return bound >= 0 ? bound : this.search(zone, protocol, 0, 0, 0, 0, port);
  }

  /**
   * The published port that stands for an endpoint's own: what it sends from there leaves from the port that others know.
   *
   * @param source the endpoint's address: four words; so `external`, the address that it leaves from
   * @returns -1: it has none there
   */
  findSource(zone: number, protocol: number, source: Int32Array, port: number, external: Int32Array): number {
    const records = this.byTarget.get(source[3]);
    if (records === undefined) return -1;
    const { words } = this;
    for (const at of records) {
      const outer = words[at + PUBLISHED_FIRST] + port - words[at + PUBLISHED_TARGET_FIRST];
      if (outer < words[at + PUBLISHED_FIRST] || outer > words[at + PUBLISHED_LAST]) continue;
      if (words[at + PUBLISHED_ZONE] !== zone || words[at + PUBLISHED_PROTOCOL] !== protocol) continue;
      if (!this.holds(at + PUBLISHED_TARGET, source)) continue;
      if (this.isUnbound(at) || this.holds(at + PUBLISHED_ADDRESS, external)) return outer;
    }
    return -1;
  }

  private holds(at: number, address: Int32Array): boolean {
    const { words } = this;
    for (let i = 0; i < 4; i++) if (words[at + i] !== address[i]) return false;
    return true;
  }

  /** Published at every address. */
  isUnbound(record: number): boolean {
    return this.words[record + PUBLISHED_ADDRESS] === 0 && this.words[record + PUBLISHED_ADDRESS + 3] === 0;
  }

  /** Number of the service that a record leads to; 0: to an endpoint. */
  service(record: number): number {
    return this.words[record + PUBLISHED_SERVICE];
  }

  /** Records of a service. */
  listenersOf(service: number): readonly number[] {
    return this.byService.get(service) ?? NONE;
  }

  /** Word `index` (0 to 3) of the address that a record is bound to. */
  address(record: number, index: number): number {
    return this.words[record + PUBLISHED_ADDRESS + index];
  }

  isIpv6(record: number): boolean {
    const { words } = this;
    const at = record + PUBLISHED_ADDRESS;
    return !isMapped(words[at], words[at + 1], words[at + 2]);
  }

  /** Whether a record is one of these, and has a port so many behind its first. */
  isOf(record: number, zone: number, protocol: number, isIpv6: boolean, offset: number): boolean {
    const { words } = this;
    if (words[record + PUBLISHED_ZONE] !== zone || words[record + PUBLISHED_PROTOCOL] !== protocol) return false;
    if (this.isIpv6(record) !== isIpv6) return false;
    return offset >= 0 && offset <= words[record + PUBLISHED_LAST] - words[record + PUBLISHED_FIRST];
  }

  /** Ports from the first of a record's to one of them. */
  offset(record: number, port: number): number {
    return port - this.words[record + PUBLISHED_FIRST];
  }

  /** Word `index` (0 to 3) of the endpoint's address; of an IPv4 address the last one counts. */
  target(record: number, index: number): number {
    return this.words[record + PUBLISHED_TARGET + index];
  }

  /** The endpoint's port for a published one of the record. */
  targetPort(record: number, port: number): number {
    return this.words[record + PUBLISHED_TARGET_FIRST] + this.offset(record, port);
  }

  /** The dataplane's number of the endpoint's port. */
  endpointPort(record: number): number {
    return this.words[record + PUBLISHED_PORT];
  }

  private search(zone: number, protocol: number, a: number, b: number, c: number, d: number, port: number): number {
    const at = this.searchSingle(zone, protocol, a, b, c, d, port);
    return at >= 0 || this.ranges === 0 ? at : this.searchRanges(zone, protocol, a, b, c, d, port);
  }

  private searchSingle(
    zone: number,
    protocol: number,
    a: number,
    b: number,
    c: number,
    d: number,
    port: number,
  ): number {
    const { single } = this;
    const hash = hashKey(zone, protocol, a, b, c, d, port);
    for (let place = single.search(hash); place >= 0; place = single.searchOn(place, hash)) {
      const at = single.numberAt(place);
      if (this.isAt(at, zone, protocol, a, b, c, d) && this.words[at + PUBLISHED_FIRST] === port) {
        return this.leads(at) ? at : -1;
      }
    }
    return -1;
  }

  private isAt(at: number, zone: number, protocol: number, a: number, b: number, c: number, d: number): boolean {
    const { words } = this;
    return (
      words[at + PUBLISHED_ADDRESS + 3] === d &&
      words[at + PUBLISHED_ZONE] === zone &&
      words[at + PUBLISHED_PROTOCOL] === protocol &&
      words[at + PUBLISHED_ADDRESS] === a &&
      words[at + PUBLISHED_ADDRESS + 1] === b &&
      words[at + PUBLISHED_ADDRESS + 2] === c
    );
  }

  /** Not only kept from address translation. */
  private leads(at: number): boolean {
    return this.words[at + PUBLISHED_PORT] !== NO_PORT || this.words[at + PUBLISHED_SERVICE] !== 0;
  }

  /** The last record that does not begin behind the port is the only one that can hold it. */
  private searchRanges(
    zone: number,
    protocol: number,
    a: number,
    b: number,
    c: number,
    d: number,
    port: number,
  ): number {
    const { words } = this;
    let low = 0;
    let high = this.ranges / PUBLISHED_RECORD;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = middle * PUBLISHED_RECORD;
      let order = words[at + PUBLISHED_ZONE] - zone;
      if (order === 0) order = words[at + PUBLISHED_PROTOCOL] - protocol;
      if (order === 0) order = words[at + PUBLISHED_ADDRESS] - a;
      if (order === 0) order = words[at + PUBLISHED_ADDRESS + 1] - b;
      if (order === 0) order = words[at + PUBLISHED_ADDRESS + 2] - c;
      if (order === 0) order = words[at + PUBLISHED_ADDRESS + 3] - d;
      if (order === 0) order = words[at + PUBLISHED_FIRST] - port;
      if (order <= 0) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return -1;
    const at = (low - 1) * PUBLISHED_RECORD;
    const holds = this.isAt(at, zone, protocol, a, b, c, d) && port <= words[at + PUBLISHED_LAST] && this.leads(at);
    return holds ? at : -1;
  }
}

const NONE: readonly number[] = [];

function append(lists: Map<number, number[]>, key: number, at: number): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [at]);
  else list.push(at);
}

function hashOf(words: Int32Array, at: number): number {
  const address = at + PUBLISHED_ADDRESS;
  return hashKey(
    words[at + PUBLISHED_ZONE],
    words[at + PUBLISHED_PROTOCOL],
    words[address],
    words[address + 1],
    words[address + 2],
    words[address + 3],
    words[at + PUBLISHED_FIRST],
  );
}

/** What listens is the operator's choice: nobody makes these collide on purpose, so no seed. */
function hashKey(zone: number, protocol: number, a: number, b: number, c: number, d: number, port: number): number {
  const place = mix(mix(0, (zone << 8) | protocol), port);
  return mix(mix(place, a ^ c), b ^ d);
}

function compareKeys(words: Int32Array, a: number, b: number): number {
  for (let i = 0; i < KEY_WORDS; i++) {
    const order = words[a + i] - words[b + i];
    if (order !== 0) return order;
  }
  return 0;
}
