/**
 * Search of flows by the tuple of either direction: open addressing with linear probing, at most half full, two places a flow.
 *
 *   place (4 bytes)   tag of the hash (upper bits) | distance from the tuple's home (5 bits) | flow * 2 + direction + 1 (lower bits)
 *
 * 0 is an empty place. An entry of the table is looked at only where tag and distance fit, so a search touches, but for one in a
 * hundred, a line of the index and the flow's own. Removal shifts followers back instead of leaving a mark, and needs no look at their
 * entries either, as the distance tells how far each may go.
 *
 * "Reference" is flow * 2 + direction. Entries are laid out as flow.ts says.
 */

import {
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SOURCE,
  FLOW_WORDS,
  isIpv6Kind,
} from './flow.js';

/** Bytes of places for so many flows: 16 a flow where their number is a power of two. */
export function flowIndexBytes(capacity: number): number {
  return 4 * 2 ** bitsFor(capacity * 4 - 1);
}

/** Words of the two addresses of an IPv6 tuple. */
export const TUPLE_ADDRESS_WORDS = 8;
/** Words from one tuple of an entry to the other. */
const TUPLE_WORDS = FLOW_REPLY_SOURCE - FLOW_SOURCE;

const DISTANCE_BITS = 5;
/** Stands for itself and all that is farther; then the entry tells. */
const FARTHEST = (1 << DISTANCE_BITS) - 1;

export class FlowIndex {
  private readonly words: Int32Array;
  private readonly addresses6: Int32Array;
  private readonly places: Int32Array;
  private readonly placeMask: number;
  /** The hash's upper bits are the home, its lower ones the tag. */
  private readonly homeShift: number;
  private readonly tagShift: number;
  private readonly distanceShift: number;
  private readonly distanceStep: number;
  private readonly referenceMask: number;

  // Secret odd factors of the hash. Those that every packet needs are fields of their own.
  private readonly sourceFactor: number;
  private readonly destinationFactor: number;
  private readonly portsFactor: number;
  private readonly kindFactor: number;
  private readonly addressFactors = new Int32Array(TUPLE_ADDRESS_WORDS);

  /**
   * @param words of the table's entries
   * @param addresses6 16 words a flow
   * @param capacity flows, at most 2^24
   * @param seed any int32, from a random source, so that nobody can choose tuples that collide
   * @param places flowIndexBytes(capacity), zeroed
   */
  constructor(words: Int32Array, addresses6: Int32Array, capacity: number, seed: number, places: Int32Array) {
    this.words = words;
    this.addresses6 = addresses6;
    const placeBits = bitsFor(capacity * 4 - 1);
    this.places = places;
    this.placeMask = (1 << placeBits) - 1;
    this.homeShift = 32 - placeBits;
    this.distanceShift = bitsFor(capacity * 2);
    this.distanceStep = 1 << this.distanceShift;
    this.referenceMask = this.distanceStep - 1;
    this.tagShift = this.distanceShift + DISTANCE_BITS;
    this.sourceFactor = factor(seed, 1);
    this.destinationFactor = factor(seed, 2);
    this.portsFactor = factor(seed, 3);
    this.kindFactor = factor(seed, 4);
    for (let i = 0; i < TUPLE_ADDRESS_WORDS; i++) this.addressFactors[i] = factor(seed, 5 + i);
  }

  /** Reference of an IPv4 tuple, or -1. */
  find4(kind: number, source: number, destination: number, ports: number): number {
    const { words, places, placeMask, referenceMask } = this;
    const hash = this.hash4(kind, source, destination, ports);
    let place = hash >>> this.homeShift;
    let expected = hash << this.tagShift;
    for (let distance = 0; ; ) {
      const word = places[place];
      if (word === 0) return -1;
      if ((word & ~referenceMask) === expected) {
        const reference = (word & referenceMask) - 1;
        const at = (reference >>> 1) * FLOW_WORDS;
        const tuple = at + (reference & 1) * TUPLE_WORDS;
        if (
          words[tuple + FLOW_SOURCE] === source &&
          words[tuple + FLOW_DESTINATION] === destination &&
          words[tuple + FLOW_PORTS] === ports &&
          words[at + FLOW_KIND] === kind
        ) {
          return reference;
        }
      }
      place = (place + 1) & placeMask;
      if (distance < FARTHEST) {
        distance++;
        expected += this.distanceStep;
      }
    }
  }

  /** Reference of what stands in the home of an IPv4 tuple, whatever it is; or -1. */
  guess4(kind: number, source: number, destination: number, ports: number): number {
    return (this.places[this.hash4(kind, source, destination, ports) >>> this.homeShift] & this.referenceMask) - 1;
  }

  /** Reference of an IPv6 tuple, or -1. @param addresses eight words from 0 on: source, destination */
  find6(kind: number, addresses: Int32Array, ports: number): number {
    const { words, places, placeMask, referenceMask } = this;
    const hash = this.hash6(kind, addresses, 0, ports);
    let place = hash >>> this.homeShift;
    let expected = hash << this.tagShift;
    for (let distance = 0; ; ) {
      const word = places[place];
      if (word === 0) return -1;
      if ((word & ~referenceMask) === expected) {
        const reference = (word & referenceMask) - 1;
        const at = (reference >>> 1) * FLOW_WORDS;
        if (
          words[at + (reference & 1) * TUPLE_WORDS + FLOW_PORTS] === ports &&
          words[at + FLOW_KIND] === kind &&
          sameAddresses(this.addresses6, reference * TUPLE_ADDRESS_WORDS, addresses, 0)
        ) {
          return reference;
        }
      }
      place = (place + 1) & placeMask;
      if (distance < FARTHEST) {
        distance++;
        expected += this.distanceStep;
      }
    }
  }

  /**
   * Enters both tuples of a flow; one, where they are the same: of who talks to its own mapping.
   *
   * @returns false, and nothing is changed: one is another flow's
   */
  add(flow: number): boolean {
    const place = this.addTuple(flow * 2);
    if (place < 0) return false;
    if (this.addTuple(flow * 2 + 1) >= 0 || this.isSameTuple(flow * 2, flow * 2 + 1)) return true;
    // It was the last in its run: nothing has come behind it.
    this.places[place] = 0;
    return false;
  }

  /** Takes out both tuples of a flow, which are as they were when it was added. */
  remove(flow: number): void {
    this.removeTuple(flow * 2);
    if (!this.isSameTuple(flow * 2, flow * 2 + 1)) this.removeTuple(flow * 2 + 1);
  }

  /** @returns the place, or -1: the tuple is there already */
  private addTuple(reference: number): number {
    const { places, placeMask, referenceMask } = this;
    const hash = this.hashOf(reference);
    let place = hash >>> this.homeShift;
    let expected = hash << this.tagShift;
    let distance = 0;
    for (let word = places[place]; word !== 0; word = places[place]) {
      if ((word & ~referenceMask) === expected && this.isSameTuple((word & referenceMask) - 1, reference)) return -1;
      place = (place + 1) & placeMask;
      if (distance < FARTHEST) {
        distance++;
        expected += this.distanceStep;
      }
    }
    places[place] = expected | (reference + 1);
    return place;
  }

  private removeTuple(reference: number): void {
    const { places, placeMask, referenceMask } = this;
    let hole = this.hashOf(reference) >>> this.homeShift;
    while ((places[hole] & referenceMask) !== reference + 1) hole = (hole + 1) & placeMask;
    let place = (hole + 1) & placeMask;
    for (let word = places[place]; word !== 0; word = places[place]) {
      const distance = this.distanceOf(word, place);
      const shift = (place - hole) & placeMask;
      if (distance >= shift) {
        places[hole] = this.withDistance(word, distance - shift);
        hole = place;
      }
      place = (place + 1) & placeMask;
    }
    places[hole] = 0;
  }

  /** How far from its home the tuple in a place stands. */
  private distanceOf(word: number, place: number): number {
    const distance = (word >>> this.distanceShift) & FARTHEST;
    if (distance < FARTHEST) return distance;
    const home = this.hashOf((word & this.referenceMask) - 1) >>> this.homeShift;
    return (place - home) & this.placeMask;
  }

  private withDistance(word: number, distance: number): number {
    const shift = this.distanceShift;
    return (word & ~(FARTHEST << shift)) | ((distance < FARTHEST ? distance : FARTHEST) << shift);
  }

  private isSameTuple(one: number, other: number): boolean {
    const { words, addresses6 } = this;
    const oneAt = (one >>> 1) * FLOW_WORDS;
    const otherAt = (other >>> 1) * FLOW_WORDS;
    const oneTuple = oneAt + (one & 1) * TUPLE_WORDS;
    const otherTuple = otherAt + (other & 1) * TUPLE_WORDS;
    const kind = words[oneAt + FLOW_KIND];
    if (kind !== words[otherAt + FLOW_KIND]) return false;
    if (words[oneTuple + FLOW_PORTS] !== words[otherTuple + FLOW_PORTS]) return false;
    if (isIpv6Kind(kind)) {
      return sameAddresses(addresses6, one * TUPLE_ADDRESS_WORDS, addresses6, other * TUPLE_ADDRESS_WORDS);
    }
    return (
      words[oneTuple + FLOW_SOURCE] === words[otherTuple + FLOW_SOURCE] &&
      words[oneTuple + FLOW_DESTINATION] === words[otherTuple + FLOW_DESTINATION]
    );
  }

  private hashOf(reference: number): number {
    const { words } = this;
    const at = (reference >>> 1) * FLOW_WORDS;
    const tuple = at + (reference & 1) * TUPLE_WORDS;
    const kind = words[at + FLOW_KIND];
    const ports = words[tuple + FLOW_PORTS];
    if (isIpv6Kind(kind)) return this.hash6(kind, this.addresses6, reference * TUPLE_ADDRESS_WORDS, ports);
    return this.hash4(kind, words[tuple + FLOW_SOURCE], words[tuple + FLOW_DESTINATION], ports);
  }

  private hash4(kind: number, source: number, destination: number, ports: number): number {
    return finish(
      Math.imul(source, this.sourceFactor) ^
        Math.imul(destination, this.destinationFactor) ^
        Math.imul(ports, this.portsFactor) ^
        Math.imul(kind, this.kindFactor),
    );
  }

  private hash6(kind: number, addresses: Int32Array, at: number, ports: number): number {
    // Written out: a loop takes twice as long.
    const { addressFactors } = this;
    return finish(
      Math.imul(ports, this.portsFactor) ^
        Math.imul(kind, this.kindFactor) ^
        Math.imul(addresses[at], addressFactors[0]) ^
        Math.imul(addresses[at + 1], addressFactors[1]) ^
        Math.imul(addresses[at + 2], addressFactors[2]) ^
        Math.imul(addresses[at + 3], addressFactors[3]) ^
        Math.imul(addresses[at + 4], addressFactors[4]) ^
        Math.imul(addresses[at + 5], addressFactors[5]) ^
        Math.imul(addresses[at + 6], addressFactors[6]) ^
        Math.imul(addresses[at + 7], addressFactors[7]),
    );
  }
}

function sameAddresses(one: Int32Array, oneAt: number, other: Int32Array, otherAt: number): boolean {
  return (
    one[oneAt + 3] === other[otherAt + 3] &&
    one[oneAt + 7] === other[otherAt + 7] &&
    one[oneAt + 2] === other[otherAt + 2] &&
    one[oneAt + 6] === other[otherAt + 6] &&
    one[oneAt + 1] === other[otherAt + 1] &&
    one[oneAt + 5] === other[otherAt + 5] &&
    one[oneAt] === other[otherAt] &&
    one[oneAt + 4] === other[otherAt + 4]
  );
}

/** Spreads the sum of products, whose upper bits alone depend on all of the tuple, over all bits. */
function finish(sum: number): number {
  const h = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b | 0);
  return h ^ (h >>> 15);
}

/** An odd number for each place of the tuple (the finaliser of MurmurHash3 on a Weyl sequence). */
function factor(seed: number, place: number): number {
  let h = (seed + Math.imul(place, 0x9e3779b9 | 0)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b | 0);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35 | 0);
  return (h ^ (h >>> 16)) | 1;
}

/** Bits that a number needs. */
function bitsFor(value: number): number {
  return 32 - Math.clz32(value);
}
