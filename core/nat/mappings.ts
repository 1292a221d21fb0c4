/**
 * Which external address and port an internal address and port is translated to (RFC 4787, section 4; RFC 5382, 5508 and 7857 for TCP,
 * ICMP identifiers and what has changed since).
 *
 *   external, choose   the number of an external address, and which one of a pool is an internal address's
 *   take               a port there for a new flow, and a reference on its mapping
 *   close              that flow is about to end: its port may be given to another where none is left
 *   release            it has ended
 *   find               the mapping that a packet from outside may be for
 *   adopt              a reference for a flow that a predecessor left
 *   reserve            published ports
 *
 * Addresses are four words, those of IPv4 mapped (address.ts).
 *
 * With endpoint-independent mapping, an internal address, protocol and port has one port at an external address, and nobody shares it. With
 * address-and-port-dependent mapping, and for protocols without ports, flows share ports as long as their answers can be told apart; such a
 * mapping has references, but belongs to nobody, and is not found from outside.
 *
 * A port is kept where it is free. Else it is a random one (RFC 7857, section 9) out of the same class (0 to 1023, or above), which ports
 * from 1024 on never leave, and of the same parity where the protocol carries RTP and one is free.
 *
 * A mapping is 16 bytes, 16 to 32 of an index, and 4 in the list of its external address. Nothing here outlives the process: all follows
 * from the flows. Memory is made at the start, with the first mapping of a protocol at an external address, and where there are more
 * mappings than ever before; what was never used of it costs nothing.
 */

import { isMapped, MAPPED } from '../router/address.js';
import { Random } from '../router/random.js';
import { mix, NumberIndex } from '../tables/number-index.js';
import { ANY_PORT, countFree, EVEN_PORTS, freePort, ODD_PORTS, type PortSet } from '../tables/port-set.js';
import { External, type ExternalPorts, hasIdentifier, hasParity, hasPorts, MAX_EXTERNALS } from './externals.js';
import { isIpv6Kind, protocolOfKind } from './flow.js';
import {
  INTERNAL_ADDRESS,
  INTERNAL_ALARM,
  INTERNAL_BLOCK,
  INTERNAL_BLOCK_SIZE,
  INTERNAL_EXTERNAL,
  INTERNAL_MAPPINGS,
  INTERNAL_OWNER,
  INTERNAL_WORDS,
  Internals,
} from './internals.js';
import {
  PUBLISHED_ADDRESS,
  PUBLISHED_FIRST,
  PUBLISHED_LAST,
  PUBLISHED_PROTOCOL,
  PUBLISHED_RECORD,
  PUBLISHED_ZONE,
} from './published.js';
import { MAPPING_ENDPOINT_INDEPENDENT } from './settings.js';

/** Words of a mapping. References: flows that use it; of a free place, the number of the next free one plus 1. */
const MAPPING_WORDS = 4;
const REFERENCES = 0;
/** Those of them that are about to end. */
const CLOSING = 1;
/** Internal port in the upper half, external port in the lower. */
const PORTS = 2;
/** Number of the internal address plus 1, whether the mapping is its own, protocol; 0: nothing stands here. */
const INTERNAL = 3;
const INTERNAL_SHIFT = 9;
const IS_OWN = 1 << 8;
const PROTOCOL_MASK = 0xff;
/** What INTERNAL has room for. */
const MAX_MAPPINGS = 1 << 22;

const FIRST_HIGH_PORT = 1024;
/** Random ports that are looked at before the next free one behind such a port is taken, which is less random. */
const PROBES = 8;
/** Ports that are tried for one flow at most: the answer to it may be taken at each. */
const ATTEMPTS = 4096;

/** Int32 an external address and protocol in `status`. */
export const MAPPING_STATUS = 11;
export const MAPPING_STATUS_ZONE = 0;
/** Four words. */
export const MAPPING_STATUS_ADDRESS = 1;
export const MAPPING_STATUS_PROTOCOL = 5;
/** Ports with a mapping. */
export const MAPPING_STATUS_USED = 6;
/** Ports of the range that a new mapping could have. */
export const MAPPING_STATUS_FREE = 7;
/** Ports of the range that are kept for published ones. */
export const MAPPING_STATUS_RESERVED = 8;
/** Blocks taken, of all protocols together. */
export const MAPPING_STATUS_BLOCKS = 9;
/** Ports that may be given to another where none is left. */
export const MAPPING_STATUS_IDLE = 10;

/** Int32 a mapping in `list`. */
export const MAPPING_LISTING = 16;
export const MAPPING_LISTING_ZONE = 0;
export const MAPPING_LISTING_PROTOCOL = 1;
/** Number of the port that it was made for. */
export const MAPPING_LISTING_OWNER = 2;
export const MAPPING_LISTING_REFERENCES = 3;
/** Of these, about to end. */
export const MAPPING_LISTING_CLOSING = 4;
/** 0: flows share the port; the internal address and port are those of the first. */
export const MAPPING_LISTING_IS_OWN = 5;
/** Four words; then the port. */
export const MAPPING_LISTING_INTERNAL = 6;
export const MAPPING_LISTING_INTERNAL_PORT = 10;
export const MAPPING_LISTING_EXTERNAL = 11;
/** External port; last word of the record. */
export const MAPPING_LISTING_EXTERNAL_PORT = 15;

export interface MappingSettings {
  /** MAPPING_ENDPOINT_INDEPENDENT or MAPPING_ADDRESS_AND_PORT_DEPENDENT. */
  readonly mapping: number;
  /** 1 to 65,535, both included. */
  readonly firstPort: number;
  readonly lastPort: number;
  /** Ports of an internal address's block; 0: no blocks. */
  readonly portBlock: number;
}

/** Tells whether the tuple of an answer is that of a flow already: the flow table. */
export interface Tuples {
  isTaken4(kind: number, source: number, destination: number, ports: number): boolean;
  /** @param words source and destination, eight words. @returns -1: no flow has them */
  findWords6(kind: number, words: Int32Array, ports: number): number;
}

/** What an operator wants to hear of. `owner` is the number of the port that the internal address is behind. */
export interface MappingEvents {
  /** A flow was refused since no port is left; told again once an eighth of the mappings has gone. */
  portsExhausted(owner: number, external: External): void;
  blockTaken(owner: number, external: External, first: number, size: number): void;
  blockFreed(owner: number, external: External, first: number, size: number): void;
}

export class Mappings {
  events: MappingEvents | null = null;
  /** Mappings there are. */
  count = 0;
  /** Flows that got no port. */
  exhausted = 0;
  /** Mappings that were taken from flows about to end, since no port was left. */
  recycled = 0;

  private readonly capacity: number;
  private readonly seed: number;
  private readonly random: Random;
  private readonly words: Int32Array;
  /** Of mappings that are an internal address's own. */
  private readonly index: NumberIndex;
  private readonly internals: Internals;
  /** By number less one. */
  private readonly externals: (External | null)[] = [];
  private readonly externalIndex = new NumberIndex();
  /** Records of published.ts. */
  private reserved: Int32Array = new Int32Array(0);
  /** Places from here on have never been used; before, free ones are linked. */
  private top = 0;
  private free = 0;

  private isIndependent = true;
  private firstPort = FIRST_HIGH_PORT;
  private lastPort = 65_535;
  private blockSize = 0;

  /** The flow that a port is looked for: fields, so that nothing is allocated and no function takes ten arguments. */
  private tuples: Tuples | null = null;
  private kind = 0;
  private remotePort = 0;
  /** Source and destination of its answers. */
  private readonly answer = new Int32Array(8);

  /**
   * @param seed any int32, from a random source
   * @param capacity of the flow table: each flow holds one mapping at most; below 2^22
   */
  constructor(seed: number, capacity: number) {
    // One more than there are flows: a new flow takes its port before it takes its place, which may be another's.
    const places = capacity + 1;
    if (places > MAX_MAPPINGS) throw new RangeError(`mappings: ${capacity} flows are more than ${MAX_MAPPINGS - 1}`);
    this.capacity = places;
    this.seed = seed | 0;
    this.random = new Random(seed);
    this.words = new Int32Array(places * MAPPING_WORDS);
    this.index = new NumberIndex();
    this.internals = new Internals(places, seed);
  }

  /** Mappings that are there keep their ports as long as these are in the range. @throws RangeError */
  configure({ mapping, firstPort, lastPort, portBlock }: MappingSettings): void {
    const size = lastPort - firstPort + 1;
    if (!(firstPort >= 1 && size >= 1 && lastPort <= 65_535))
      throw new RangeError(`mappings: ports ${firstPort}-${lastPort} are no range within 1-65535`);
    if (!(portBlock >= 0 && portBlock <= size))
      throw new RangeError(`mappings: blocks of ${portBlock} ports do not fit into ${firstPort}-${lastPort}`);
    this.isIndependent = mapping === MAPPING_ENDPOINT_INDEPENDENT;
    this.firstPort = firstPort;
    this.lastPort = lastPort;
    this.blockSize = portBlock;
    this.reserveAll();
  }

  // External addresses

  /** Number of an external address, 1 and above, made where it is new; 0: there are too many. Good as long as it has mappings. */
  external(zone: number, a: number, b: number, c: number, d: number): number {
    const number = this.findExternal(zone, a, b, c, d);
    return number !== 0 ? number : this.makeExternal(zone, a, b, c, d);
  }

  /** 0: no such external address. */
  findExternal(zone: number, a: number, b: number, c: number, d: number): number {
    const { externalIndex: index } = this;
    const hash = this.externalHash(zone, a, b, c, d);
    for (let place = index.search(hash); place >= 0; place = index.searchOn(place, hash)) {
      const number = index.numberAt(place);
      if (this.at(number).is(zone, a, b, c, d)) return number;
    }
    return 0;
  }

  /** Word `index` (0 to 3) of its address. */
  externalWord(external: number, index: number): number {
    const { a, b, c, d } = this.at(external);
    return index === 0 ? a : index === 1 ? b : index === 2 ? c : d;
  }

  /**
   * Number of that address of a pool that is an internal one's as long as it has mappings there (RFC 4787, REQ-2); before, the same one
   * each time. 0: there are too many external addresses.
   *
   * @param pool addresses, at least one: a word each for IPv4, else four
   * @param internal the internal address: the first four words
   */
  choose(zone: number, pool: Int32Array, isIpv4: boolean, internal: Int32Array): number {
    const size = isIpv4 ? pool.length : pool.length >> 2;
    if (size === 1) return this.ofPool(zone, pool, isIpv4, 0, true);
    const { internals } = this;
    const a = internal[0];
    const b = internal[1];
    const c = internal[2];
    const d = internal[3];
    const start = (internals.hash(0, a, b, c, d) >>> 0) % size;
    for (let i = 0; i < size; i++) {
      const external = this.ofPool(zone, pool, isIpv4, (start + i) % size, false);
      if (external !== 0 && internals.find(external, a, b, c, d) >= 0) return external;
    }
    return this.ofPool(zone, pool, isIpv4, start, true);
  }

  /** Number of an address of a pool; 0: it has none, and is to have none or cannot. */
  private ofPool(zone: number, pool: Int32Array, isIpv4: boolean, index: number, isMade: boolean): number {
    const at = isIpv4 ? index : index << 2;
    const a = isIpv4 ? 0 : pool[at];
    const b = isIpv4 ? 0 : pool[at + 1];
    const c = isIpv4 ? MAPPED : pool[at + 2];
    const d = isIpv4 ? pool[at] : pool[at + 3];
    return isMade ? this.external(zone, a, b, c, d) : this.findExternal(zone, a, b, c, d);
  }

  /**
   * Replaces the ports that are not given out: published ones. At an external address at most half of the ports are kept for
   * them, in the order of the records; what would be more is ignored, so that translation goes on.
   *
   * @param published PUBLISHED_RECORD words each (published.ts)
   */
  reserve(published: Int32Array): void {
    this.reserved = published;
    this.reserveAll();
  }

  // Mappings

  /**
   * The external port of a new flow, with a reference held.
   *
   * @param inside source of the packet in its first four words
   * @param port internal; an identifier; 0 for protocols without
   * @param owner number of the port that the packet came in by
   * @param outside whom answers come from, after all translation, in words 4 to 7; likewise the port, which identifiers need not
   * @param tuples where the answer's tuple must be free
   * @param kind of the flow: zone, family and protocol (flow.ts)
   * @returns -1: none is left
   */
  take(
    external: number,
    protocol: number,
    inside: Int32Array,
    port: number,
    owner: number,
    outside: Int32Array,
    remotePort: number,
    tuples: Tuples,
    kind: number,
  ): number {
    const outer = this.at(external);
    this.expect(outer, outside, remotePort, tuples, kind);
    const ports = outer.ports(protocol) ?? this.makePorts(outer, protocol);
    const known = this.internals.find(external, inside[0], inside[1], inside[2], inside[3]);
    const there = known >= 0 && this.isOwned(protocol) ? this.findUsable(known, protocol, port) : -1;
    if (there >= 0) {
      this.change(ports, there, 1, 0);
      return this.words[there * MAPPING_WORDS + PORTS] & 0xffff;
    }
    const internal = known >= 0 ? known : this.makeInternal(external, inside, owner);
    const found = internal >= 0 ? this.choosePort(outer, ports, internal, port) : -1;
    const isHeld = found >= 0 && this.hold(outer, ports, found, internal, port, owner);
    // A shared port may be of a mapping that another began.
    this.endUnused(outer, internal);
    if (isHeld) return found;
    this.refuse(outer, internal, owner);
    return -1;
  }

  /** A flow that holds a reference is about to end (FIN both ways, or RST): once a flow. */
  close(external: number, protocol: number, port: number): void {
    const ports = this.at(external).ports(protocol);
    const mapping = mappingAt(ports, port);
    if (mapping >= 0) this.change(ports as ExternalPorts, mapping, 0, 1);
  }

  /** It goes on after all: an RST that its other end did not take. */
  reopen(external: number, protocol: number, port: number): void {
    const ports = this.at(external).ports(protocol);
    const mapping = mappingAt(ports, port);
    if (mapping >= 0) this.change(ports as ExternalPorts, mapping, 0, -1);
  }

  /**
   * A flow that holds a reference has ended.
   *
   * @param isClosing whether `close` was called for it, and `reopen` not since
   * @returns false: there is no such mapping
   */
  release(external: number, protocol: number, port: number, isClosing = false): boolean {
    const outer = this.at(external);
    const ports = outer.ports(protocol);
    const mapping = mappingAt(ports, port);
    if (mapping < 0) return false;
    this.change(ports as ExternalPorts, mapping, -1, isClosing ? -1 : 0);
    if (this.words[mapping * MAPPING_WORDS + REFERENCES] === 0) this.end(outer, ports as ExternalPorts, mapping);
    return true;
  }

  /**
   * One more reference, for a flow of a predecessor; after `configure`. The order of the flows matters only where two have ports in what
   * is one block now, or share a port and are both about to end: whoever comes first has it.
   *
   * @param port external
   * @param inside the internal address: the first four words; likewise the port
   * @param isClosing whether the flow is about to end; `close` need not be called for it
   * @returns false: there is no room, or the protocol has no such port
   */
  adopt(
    external: number,
    protocol: number,
    port: number,
    inside: Int32Array,
    internalPort: number,
    owner: number,
    isClosing = false,
  ): boolean {
    const outer = this.at(external);
    const ports = outer.ports(protocol) ?? this.makePorts(outer, protocol);
    if (port >= ports.mappings.length) return false;
    const known = this.internals.find(external, inside[0], inside[1], inside[2], inside[3]);
    const internal = known >= 0 ? known : this.makeInternal(external, inside, owner);
    if (internal < 0) return false;
    const isDone = this.adoptPort(outer, ports, port, internal, internalPort, owner, isClosing);
    // Its port may be another's already, in whose name the reference is.
    if (!this.endUnused(outer, internal)) this.adoptBlock(outer, internal, port);
    return isDone;
  }

  /** The mapping that an external address and port belongs to; -1: it belongs to none, or flows share it. */
  find(zone: number, a: number, b: number, c: number, d: number, protocol: number, port: number): number {
    const external = this.findExternal(zone, a, b, c, d);
    if (external === 0) return -1;
    const mapping = mappingAt(this.at(external).ports(protocol), port);
    return mapping >= 0 && (this.words[mapping * MAPPING_WORDS + INTERNAL] & IS_OWN) !== 0 ? mapping : -1;
  }

  /** Word `index` (0 to 3) of a mapping's internal address. */
  internalWord(mapping: number, index: number): number {
    return this.internals.words[this.internalOf(mapping) * INTERNAL_WORDS + INTERNAL_ADDRESS + index];
  }

  internalPort(mapping: number): number {
    return this.words[mapping * MAPPING_WORDS + PORTS] >>> 16;
  }

  /** Number of the port that the internal address's latest mapping was made for. */
  ownerOf(mapping: number): number {
    return this.internals.words[this.internalOf(mapping) * INTERNAL_WORDS + INTERNAL_OWNER];
  }

  // Listings

  /** MAPPING_STATUS words for each external address and protocol that has, or has had, mappings. */
  status(): Int32Array {
    const words: number[] = [];
    const { firstPort, lastPort } = this;
    for (const outer of this.externals) {
      for (let protocol = 0; outer !== null && protocol <= PROTOCOL_MASK; protocol++) {
        const ports = outer.ports(protocol);
        if (ports === null) continue;
        const reserved = ports.reserved.count(firstPort, lastPort);
        const free = hasPorts(protocol) ? countFree(ports.taken, ports.reserved, firstPort, lastPort) : 1 - ports.used;
        const { zone, a, b, c, d, blocks } = outer;
        words.push(zone, a, b, c, d, protocol, ports.used, free, reserved, blocks, ports.idle);
      }
    }
    return Int32Array.from(words);
  }

  /** MAPPING_LISTING words for each of at most `limit` mappings, in no order, from place `from` on. */
  list(from = 0, limit = MAX_MAPPINGS): Int32Array {
    const count = Math.min(limit, this.count);
    const listing = new Int32Array(count * MAPPING_LISTING);
    let at = 0;
    for (let mapping = this.nextFrom(from); mapping >= 0 && at < listing.length; mapping = this.nextFrom(mapping + 1)) {
      this.describe(mapping, listing, at);
      at += MAPPING_LISTING;
    }
    return at === listing.length ? listing : listing.slice(0, at);
  }

  /** Internal addresses with mappings, once for each external address. */
  get internalCount(): number {
    return this.internals.count;
  }

  /** The first mapping from this place on; -1: there is none. */
  nextFrom(place: number): number {
    for (let mapping = place; mapping < this.top; mapping++)
      if (this.words[mapping * MAPPING_WORDS + INTERNAL] !== 0) return mapping;
    return -1;
  }

  private describe(mapping: number, listing: Int32Array, at: number): void {
    const { words } = this;
    const entry = mapping * MAPPING_WORDS;
    const internal = this.internalOf(mapping) * INTERNAL_WORDS;
    const outer = this.at(this.internals.words[internal + INTERNAL_EXTERNAL]);
    listing[at + MAPPING_LISTING_ZONE] = outer.zone;
    listing[at + MAPPING_LISTING_PROTOCOL] = words[entry + INTERNAL] & PROTOCOL_MASK;
    listing[at + MAPPING_LISTING_OWNER] = this.ownerOf(mapping);
    listing[at + MAPPING_LISTING_REFERENCES] = words[entry + REFERENCES];
    listing[at + MAPPING_LISTING_CLOSING] = words[entry + CLOSING];
    listing[at + MAPPING_LISTING_IS_OWN] = (words[entry + INTERNAL] & IS_OWN) !== 0 ? 1 : 0;
    for (let i = 0; i < 4; i++)
      listing[at + MAPPING_LISTING_INTERNAL + i] = this.internals.words[internal + INTERNAL_ADDRESS + i];
    listing[at + MAPPING_LISTING_INTERNAL_PORT] = this.internalPort(mapping);
    listing[at + MAPPING_LISTING_EXTERNAL] = outer.a;
    listing[at + MAPPING_LISTING_EXTERNAL + 1] = outer.b;
    listing[at + MAPPING_LISTING_EXTERNAL + 2] = outer.c;
    listing[at + MAPPING_LISTING_EXTERNAL + 3] = outer.d;
    listing[at + MAPPING_LISTING_EXTERNAL_PORT] = words[entry + PORTS] & 0xffff;
  }

  // A new flow

  /** Notes what is asked for each port that is tried. */
  private expect(outer: External, outside: Int32Array, remotePort: number, tuples: Tuples, kind: number): void {
    const { answer } = this;
    for (let i = 0; i < 4; i++) answer[i] = outside[4 + i];
    answer[4] = outer.a;
    answer[5] = outer.b;
    answer[6] = outer.c;
    answer[7] = outer.d;
    this.remotePort = remotePort;
    this.tuples = tuples;
    this.kind = kind;
  }

  private makeInternal(external: number, inside: Int32Array, owner: number): number {
    return this.internals.make(external, inside[0], inside[1], inside[2], inside[3], owner);
  }

  /** Whether mappings of the protocol belong to one internal address and port each. */
  private isOwned(protocol: number): boolean {
    return this.isIndependent && hasPorts(protocol);
  }

  /** The mapping of an internal address and port, unless its port may not be used any more: then it is no longer its own. */
  private findUsable(internal: number, protocol: number, port: number): number {
    const mapping = this.findOwn(internal, protocol, port);
    if (mapping < 0) return -1;
    const external = this.words[mapping * MAPPING_WORDS + PORTS] & 0xffff;
    if (external >= this.firstPort && external <= this.lastPort) return mapping;
    this.disown(mapping);
    return -1;
  }

  private findOwn(internal: number, protocol: number, port: number): number {
    const { index, words } = this;
    const key = ((internal + 1) << INTERNAL_SHIFT) | IS_OWN | protocol;
    const hash = mix(mix(this.seed, key), port);
    for (let place = index.search(hash); place >= 0; place = index.searchOn(place, hash)) {
      const mapping = index.numberAt(place);
      const at = mapping * MAPPING_WORDS;
      if (words[at + INTERNAL] === key && words[at + PORTS] >>> 16 === port) return mapping;
    }
    return -1;
  }

  /** A port of the external address for a flow; -1: none. */
  private choosePort(outer: External, ports: ExternalPorts, internal: number, port: number): number {
    const { protocol } = ports;
    if (!hasPorts(protocol)) return this.isAnswerTaken(0) ? -1 : 0;
    const first = this.blockSize === 0 ? this.firstPort : this.blockOf(outer, ports, internal);
    if (first < 0) return -1;
    const last = this.blockSize === 0 ? this.lastPort : first + this.blockSize - 1;
    let low = first;
    if (!hasIdentifier(protocol)) {
      if (port >= FIRST_HIGH_PORT && last >= FIRST_HIGH_PORT) low = Math.max(first, FIRST_HIGH_PORT);
      if (port < FIRST_HIGH_PORT && first < FIRST_HIGH_PORT) {
        const wellKnown = this.pick(ports, first, Math.min(last, FIRST_HIGH_PORT - 1), port);
        if (wellKnown >= 0) return wellKnown;
      }
    }
    const found = this.pick(ports, low, last, port);
    return found >= 0 || !this.isIndependent ? found : this.findIdle(ports, low, last);
  }

  /** A port of the range: the wanted one, one of the same parity, any. */
  private pick(ports: ExternalPorts, first: number, last: number, wanted: number): number {
    const { reserved } = ports;
    const held = this.isIndependent ? ports.taken : reserved;
    if (wanted >= first && wanted <= last && this.isUsable(held, reserved, wanted)) return wanted;
    if (hasParity(ports.protocol)) {
      const alike = this.search(held, reserved, first, last, (wanted & 1) === 0 ? EVEN_PORTS : ODD_PORTS);
      if (alike >= 0) return alike;
    }
    return this.search(held, reserved, first, last, ANY_PORT);
  }

  /** A port in neither set, at random. */
  private search(held: PortSet, reserved: PortSet, first: number, last: number, which: number): number {
    const { random } = this;
    for (let i = 0; i < PROBES; i++) {
      const port = ofParity(random.between(first, last), which);
      if (port >= first && port <= last && this.isUsable(held, reserved, port)) return port;
    }
    let port = freePort(held, reserved, random.between(first, last), first, last, which);
    const start = port;
    for (let i = 0; port >= 0 && i < ATTEMPTS; i++) {
      if (!this.isAnswerTaken(port)) return port;
      port = freePort(held, reserved, port < last ? port + 1 : first, first, last, which);
      if (port === start) return -1;
    }
    return -1;
  }

  private isUsable(held: PortSet, reserved: PortSet, port: number): boolean {
    return !held.has(port) && !reserved.has(port) && !this.isAnswerTaken(port);
  }

  /** Whether the answers to the flow would be another flow's if it had this port. */
  private isAnswerTaken(port: number): boolean {
    const { kind, answer } = this;
    const tuples = this.tuples as Tuples;
    const ports = hasIdentifier(protocolOfKind(kind)) ? (port << 16) | port : (this.remotePort << 16) | port;
    if (isIpv6Kind(kind)) return tuples.findWords6(kind, answer, ports) >= 0;
    return tuples.isTaken4(kind, answer[3], answer[7], ports);
  }

  /** A port all of whose flows are about to end. */
  private findIdle(ports: ExternalPorts, first: number, last: number): number {
    if (ports.idle === 0) return -1;
    const { words } = this;
    let port = this.random.between(first, last);
    for (let i = Math.min(last - first + 1, ATTEMPTS); i > 0; i--, port = port < last ? port + 1 : first) {
      const at = (ports.mappings[port] - 1) * MAPPING_WORDS;
      if (at < 0 || words[at + REFERENCES] !== words[at + CLOSING]) continue;
      if (!ports.reserved.has(port) && !this.isAnswerTaken(port)) return port;
    }
    return -1;
  }

  /** A reference on the mapping of an external port, made where there is none. @returns false: no room for another mapping */
  private hold(
    outer: External,
    ports: ExternalPorts,
    external: number,
    internal: number,
    port: number,
    owner: number,
  ): boolean {
    const { protocol } = ports;
    let mapping = ports.mappings[external] - 1;
    if (mapping < 0) {
      mapping = this.make(outer, ports, external, internal, port, owner);
      if (mapping >= 0 && this.isOwned(protocol)) this.own(mapping);
      return mapping >= 0;
    }
    this.change(ports, mapping, 1, 0);
    if (this.isOwned(protocol)) {
      this.handOver(outer, mapping, internal, port, owner);
      this.own(mapping);
      this.recycled++;
    }
    return true;
  }

  /** No port is left: counted, and told once until there is room again. */
  private refuse(outer: External, internal: number, owner: number): void {
    this.exhausted++;
    const { words } = this.internals;
    const at = internal * INTERNAL_WORDS;
    if (internal >= 0 && words[at + INTERNAL_BLOCK] !== 0) {
      if (words[at + INTERNAL_ALARM] !== 0) return;
      words[at + INTERNAL_ALARM] = words[at + INTERNAL_MAPPINGS];
    } else {
      if (outer.alarm !== 0) return;
      outer.alarm = Math.max(outer.mappings, 1);
    }
    this.events?.portsExhausted(owner, outer);
  }

  // A flow of a predecessor

  private adoptPort(
    outer: External,
    ports: ExternalPorts,
    external: number,
    internal: number,
    port: number,
    owner: number,
    isClosing: boolean,
  ): boolean {
    let mapping = ports.mappings[external] - 1;
    if (mapping < 0) {
      mapping = this.make(outer, ports, external, internal, port, owner);
      if (mapping < 0) return false;
      if (isClosing) this.change(ports, mapping, 0, 1);
    } else {
      const wasIdle = this.isIdle(mapping);
      this.change(ports, mapping, 1, isClosing ? 1 : 0);
      // The port was given to another when all flows of the first were about to end: this is the other's.
      const isHandedOver = wasIdle && !isClosing && this.isOwned(ports.protocol) && !this.isOf(mapping, internal, port);
      if (isHandedOver) this.handOver(outer, mapping, internal, port, owner);
    }
    if (this.isOwned(ports.protocol) && this.isOf(mapping, internal, port)) this.adoptOwn(mapping, isClosing);
    return true;
  }

  /** Of several mappings of an internal address and port, that one is its own of which not all flows are about to end. */
  private adoptOwn(mapping: number, isClosing: boolean): void {
    const at = mapping * MAPPING_WORDS;
    if ((this.words[at + INTERNAL] & IS_OWN) !== 0) return;
    const other = this.findOwn(
      this.internalOf(mapping),
      this.words[at + INTERNAL] & PROTOCOL_MASK,
      this.internalPort(mapping),
    );
    if (other >= 0 && (isClosing || !this.isIdle(other))) return;
    if (other >= 0) this.disown(other);
    this.own(mapping);
  }

  private isIdle(mapping: number): boolean {
    const at = mapping * MAPPING_WORDS;
    return this.words[at + REFERENCES] === this.words[at + CLOSING];
  }

  private isOf(mapping: number, internal: number, port: number): boolean {
    return this.internalOf(mapping) === internal && this.internalPort(mapping) === port;
  }

  // The life of a mapping

  /** A mapping with one reference, nobody's own; -1: there is no room. */
  private make(
    outer: External,
    ports: ExternalPorts,
    external: number,
    internal: number,
    port: number,
    owner: number,
  ): number {
    const { words } = this;
    let mapping = this.free - 1;
    if (mapping >= 0) this.free = words[mapping * MAPPING_WORDS + REFERENCES];
    else if (this.top < this.capacity) mapping = this.top++;
    else return -1;
    const at = mapping * MAPPING_WORDS;
    words[at + REFERENCES] = 1;
    words[at + CLOSING] = 0;
    words[at + PORTS] = (port << 16) | external;
    words[at + INTERNAL] = ((internal + 1) << INTERNAL_SHIFT) | ports.protocol;
    ports.mappings[external] = mapping + 1;
    ports.taken.add(external);
    ports.used++;
    outer.mappings++;
    this.count++;
    this.join(internal, owner);
    return mapping;
  }

  /** The last reference has gone. */
  private end(outer: External, ports: ExternalPorts, mapping: number): void {
    const { words } = this;
    const at = mapping * MAPPING_WORDS;
    const port = words[at + PORTS] & 0xffff;
    const internal = this.internalOf(mapping);
    this.disown(mapping);
    words[at + INTERNAL] = 0;
    words[at + REFERENCES] = this.free;
    this.free = mapping + 1;
    this.count--;
    ports.mappings[port] = 0;
    ports.taken.remove(port);
    ports.used--;
    outer.mappings--;
    if (outer.mappings * 8 < outer.alarm * 7) outer.alarm = 0;
    this.leave(outer, internal);
  }

  /** The mapping is another's from now on; references of flows before stay. */
  private handOver(outer: External, mapping: number, internal: number, port: number, owner: number): void {
    const { words } = this;
    const at = mapping * MAPPING_WORDS;
    const before = this.internalOf(mapping);
    this.disown(mapping);
    words[at + PORTS] = (port << 16) | (words[at + PORTS] & 0xffff);
    words[at + INTERNAL] = ((internal + 1) << INTERNAL_SHIFT) | (words[at + INTERNAL] & PROTOCOL_MASK);
    this.join(internal, owner);
    this.leave(outer, before);
  }

  /** From now on the internal address and port has this mapping; it must have no other. */
  private own(mapping: number): void {
    const at = mapping * MAPPING_WORDS;
    this.words[at + INTERNAL] |= IS_OWN;
    this.index.insert(this.hashOf(mapping), mapping);
  }

  private disown(mapping: number): void {
    const at = mapping * MAPPING_WORDS + INTERNAL;
    if ((this.words[at] & IS_OWN) === 0) return;
    this.index.remove(this.hashOf(mapping), mapping);
    this.words[at] &= ~IS_OWN;
  }

  /** Of one that is an internal address's own. */
  private hashOf(mapping: number): number {
    const at = mapping * MAPPING_WORDS;
    return mix(mix(this.seed, this.words[at + INTERNAL]), this.words[at + PORTS] >>> 16);
  }

  private internalOf(mapping: number): number {
    return (this.words[mapping * MAPPING_WORDS + INTERNAL] >>> INTERNAL_SHIFT) - 1;
  }

  /** References, and those of them about to end, by so many more. */
  private change(ports: ExternalPorts, mapping: number, references: number, closing: number): void {
    const { words } = this;
    const at = mapping * MAPPING_WORDS;
    const wasIdle = words[at + REFERENCES] === words[at + CLOSING];
    const now = words[at + REFERENCES] + references;
    const ending = Math.min(Math.max(words[at + CLOSING] + closing, 0), now);
    words[at + REFERENCES] = now;
    words[at + CLOSING] = ending;
    if (wasIdle) ports.idle--;
    if (now === ending && now > 0) ports.idle++;
  }

  private join(internal: number, owner: number): void {
    const { words } = this.internals;
    words[internal * INTERNAL_WORDS + INTERNAL_MAPPINGS]++;
    words[internal * INTERNAL_WORDS + INTERNAL_OWNER] = owner;
  }

  private leave(outer: External, internal: number): void {
    const { words } = this.internals;
    const at = internal * INTERNAL_WORDS;
    const left = --words[at + INTERNAL_MAPPINGS];
    if (left * 8 < words[at + INTERNAL_ALARM] * 7) words[at + INTERNAL_ALARM] = 0;
    if (left === 0) this.endInternal(outer, internal);
  }

  /** Ends an internal address without mappings. @param internal may be -1. @returns whether it was one */
  private endUnused(outer: External, internal: number): boolean {
    if (internal < 0 || this.internals.words[internal * INTERNAL_WORDS + INTERNAL_MAPPINGS] !== 0) return false;
    this.endInternal(outer, internal);
    return true;
  }

  private endInternal(outer: External, internal: number): void {
    this.dropBlock(outer, internal);
    this.internals.remove(internal);
  }

  // Blocks

  /**
   * First port of an internal address's block, taken where it has none: the one that follows from the address (after RFC 7422), so that
   * neighbors have different ones and each the same every time; or the next that nobody has. -1: all are taken.
   */
  private blockOf(outer: External, ports: ExternalPorts, internal: number): number {
    const { blockSize, firstPort, lastPort } = this;
    const { words } = this.internals;
    const at = internal * INTERNAL_WORDS;
    const first = words[at + INTERNAL_BLOCK];
    if (first !== 0) {
      const isAsSet = words[at + INTERNAL_BLOCK_SIZE] === blockSize && first >= firstPort;
      if (isAsSet && first + blockSize - 1 <= lastPort) return first;
      this.dropBlock(outer, internal);
    }
    const blocks = Math.floor((lastPort - firstPort + 1) / blockSize);
    const best = (words[at + INTERNAL_ADDRESS + 3] >>> 0) % blocks;
    for (let i = 0; i < blocks; i++) {
      const low = firstPort + ((best + i) % blocks) * blockSize;
      const high = low + blockSize - 1;
      if (!outer.blocked.isFree(low, high) || ports.reserved.count(low, high) === blockSize) continue;
      this.giveBlock(outer, internal, low);
      return low;
    }
    return -1;
  }

  /** The block that a flow of a predecessor has its port from, unless it is another's. */
  private adoptBlock(outer: External, internal: number, port: number): void {
    const { blockSize, firstPort, lastPort } = this;
    const { words } = this.internals;
    const at = internal * INTERNAL_WORDS;
    if (blockSize === 0 || words[at + INTERNAL_BLOCK] !== 0 || port < firstPort) return;
    const first = port - ((port - firstPort) % blockSize);
    if (first + blockSize - 1 > lastPort || !outer.blocked.isFree(first, first + blockSize - 1)) return;
    this.giveBlock(outer, internal, first);
  }

  private giveBlock(outer: External, internal: number, first: number): void {
    const { words } = this.internals;
    const at = internal * INTERNAL_WORDS;
    words[at + INTERNAL_BLOCK] = first;
    words[at + INTERNAL_BLOCK_SIZE] = this.blockSize;
    outer.blocked.addRange(first, first + this.blockSize - 1);
    outer.blocks++;
    this.events?.blockTaken(words[at + INTERNAL_OWNER], outer, first, this.blockSize);
  }

  private dropBlock(outer: External, internal: number): void {
    const { words } = this.internals;
    const at = internal * INTERNAL_WORDS;
    const first = words[at + INTERNAL_BLOCK];
    if (first === 0) return;
    const size = words[at + INTERNAL_BLOCK_SIZE];
    words[at + INTERNAL_BLOCK] = 0;
    outer.blocked.removeRange(first, first + size - 1);
    outer.blocks--;
    this.events?.blockFreed(words[at + INTERNAL_OWNER], outer, first, size);
  }

  // External addresses and what is reserved at them

  private at(external: number): External {
    return this.externals[external - 1] as External;
  }

  private makeExternal(zone: number, a: number, b: number, c: number, d: number): number {
    const { externals } = this;
    if (externals.length === MAX_EXTERNALS && !externals.includes(null)) this.dropUnused();
    const hole = externals.indexOf(null);
    const number = (hole >= 0 ? hole : externals.length) + 1;
    if (number > MAX_EXTERNALS) return 0;
    externals[number - 1] = new External(number, zone, a, b, c, d);
    this.externalIndex.insert(this.externalHash(zone, a, b, c, d), number);
    return number;
  }

  /** External addresses come and go with the interfaces'. */
  private dropUnused(): void {
    this.externals.forEach((outer, i) => {
      if (outer === null || outer.mappings > 0) return;
      this.externalIndex.remove(this.externalHash(outer.zone, outer.a, outer.b, outer.c, outer.d), outer.number);
      this.externals[i] = null;
    });
  }

  private externalHash(zone: number, a: number, b: number, c: number, d: number): number {
    return mix(mix(mix(mix(mix(this.seed, zone), a), b), c), d);
  }

  private makePorts(outer: External, protocol: number): ExternalPorts {
    const ports = outer.makePorts(protocol);
    this.reserveAt(outer, ports);
    return ports;
  }

  private reserveAll(): void {
    for (const outer of this.externals) {
      for (let protocol = 0; outer !== null && protocol <= PROTOCOL_MASK; protocol++) {
        const ports = outer.ports(protocol);
        if (ports !== null) this.reserveAt(outer, ports);
      }
    }
  }

  private reserveAt(outer: External, ports: ExternalPorts): void {
    const { reserved: records, firstPort, lastPort } = this;
    let room = (lastPort - firstPort + 1) >> 1;
    ports.reserved.clear();
    for (let at = 0; at < records.length; at += PUBLISHED_RECORD) {
      if (!isPublishedAt(records, at, outer, ports.protocol)) continue;
      const first = Math.max(records[at + PUBLISHED_FIRST], firstPort);
      const last = Math.min(records[at + PUBLISHED_LAST], lastPort);
      if (first > last) continue;
      const more = last - first + 1 - ports.reserved.count(first, last);
      if (more > room) continue;
      ports.reserved.addRange(first, last);
      room -= more;
    }
  }
}

/** Whether a published port is one of the external address: bound to it, or to none of its family. */
function isPublishedAt(records: Int32Array, at: number, outer: External, protocol: number): boolean {
  if (records[at + PUBLISHED_ZONE] !== outer.zone || records[at + PUBLISHED_PROTOCOL] !== protocol) return false;
  const address = at + PUBLISHED_ADDRESS;
  const a = records[address];
  const b = records[address + 1];
  const c = records[address + 2];
  const d = records[address + 3];
  if (outer.is(outer.zone, a, b, c, d)) return true;
  return d === 0 && a === 0 && b === 0 && c === (isMapped(outer.a, outer.b, outer.c) ? MAPPED : 0);
}

/** The mapping of a port, -1: none. */
function mappingAt(ports: ExternalPorts | null, port: number): number {
  return ports === null || port >= ports.mappings.length ? -1 : ports.mappings[port] - 1;
}

/** The port, or its neighbor of the right parity. */
function ofParity(port: number, which: number): number {
  if (which === ANY_PORT) return port;
  return which === EVEN_PORTS ? port & ~1 : port | 1;
}
