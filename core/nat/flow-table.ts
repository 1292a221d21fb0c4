/**
 * The table of flows: entries (flow.ts), found by the tuple of either direction (flow-index.ts), which age by their state (flow-wheel.ts).
 *
 * Entries and the addresses of IPv6 flows lie in memory of the caller, which may outlive the process; all else is computed anew from
 * them. An entry becomes a flow with the one store of FLOW_STATE and ends with another: whenever the process is killed, what has no
 * FLOW_STATE is free, and what has one is whole.
 *
 * Free entries are those in a list of given back ones (linked by FLOW_NEXT), and all from a mark on, whose memory was never touched. The
 * mark stands behind the entries, so that a successor looks at no more than was used.
 */

import { MAX_PORTS } from '../ports.js';
import {
  FLOW_ALG,
  FLOW_BACKEND_SHIFT,
  FLOW_BALANCED,
  FLOW_DESTINATION,
  FLOW_EXPIRES,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_NEXT,
  FLOW_OWNER,
  FLOW_OWNER_MASK,
  FLOW_PATH,
  FLOW_PATH_REPLY,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_SOURCE,
  FLOW_REST_WORDS,
  FLOW_RULE,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_TCP,
  FLOW_WORDS,
  isIpv6Kind,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_ICMP_REPLIED,
  STATE_ICMP_UNREPLIED,
  STATE_MASK,
  STATE_OTHER_REPLIED,
  STATE_OTHER_UNREPLIED,
  STATE_RESET,
  STATE_SCTP_ESTABLISHED,
  STATE_SCTP_OPENING,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
  STATES,
} from './flow.js';
import { FlowIndex, flowIndexBytes, TUPLE_ADDRESS_WORDS } from './flow-index.js';
import { FlowWheel, SLOTS } from './flow-wheel.js';

/** Nothing has answered yet: the first to go when there is no room. */
export const CLASS_EMBRYONIC = 0;
/** Over but for late packets: the next to go. */
export const CLASS_CLOSING = 1;
/** Never evicted. */
export const CLASS_ESTABLISHED = 2;
const CLASSES = 3;

/** Words of a flow in `addresses6`: original source and destination, reply source and destination. */
export const ADDRESS_WORDS = 2 * TUPLE_ADDRESS_WORDS;

/** Seconds by state, 0 where there is none: at least what RFC 5382 (REQ-5), RFC 4787 (REQ-5) and RFC 5508 (REQ-2) ask for. */
export const DEFAULT_TIMEOUTS = timeoutTable();
/** Seconds: the longest timeout that may be set. An entry of a predecessor that says more is not believed. */
export const LONGEST_TIMEOUT = 30 * 86_400;

const CLASS_OF = classTable();

/** Refreshed flows that making room moves on before it takes the next one as it is. */
const EVICTION_STEPS = 16;

/** Bits of a kind: zone of 16, and 10 for the rest. */
const KIND_BITS = 26;

/** What the index can number. */
const MAX_CAPACITY = 1 << 24;

/** Behind the entries: one word, the mark. */
const HEADER_WORDS = 1;

/** Told of a flow that is about to end, while its words still stand. */
export interface FlowEnd {
  flowEnds(flow: number): void;
}

/** A question about a flow. */
export interface FlowMatch {
  /**
   * @param owner number of the port that the flow's first packet came in by
   * @param backend number of the backend that a service has chosen for it; 0: none has
   */
  matches(words: Int32Array, addresses6: Int32Array, flow: number, owner: number, backend: number): boolean;
}

/** Bytes of `words` for a table of so many flows. */
export function flowTableBytes(capacity: number): number {
  return (capacity * (FLOW_WORDS + FLOW_REST_WORDS) + HEADER_WORDS) * 4;
}

/** Bytes of `addresses6`; what no IPv6 flow uses is never touched. */
export function flowAddressBytes(capacity: number): number {
  return capacity * ADDRESS_WORDS * 4;
}

/** CLASS_EMBRYONIC and so on, of a whole FLOW_STATE word. */
export function classOf(state: number): number {
  return CLASS_OF[state & STATE_MASK];
}

export class FlowTable {
  readonly words: Int32Array;
  readonly addresses6: Int32Array;
  readonly capacity: number;
  /** Flows. */
  count = 0;
  /** Seconds of the clock that counts from boot; the caller sets it. */
  now: number;
  /** Seconds by state, at most LONGEST_TIMEOUT. A change counts for a flow from its next packet on. */
  readonly timeouts = Int32Array.from(DEFAULT_TIMEOUTS);
  onRemove: FlowEnd | null = null;
  /** Flows that began, that ended by age, and that ended to make room. */
  created = 0;
  expired = 0;
  evicted = 0;
  /** Times that a new flow found every entry taken, whether another was evicted for it or not. */
  capacityReached = 0;
  /** At the start: flows of a predecessor that go on, and those that were over or not to be believed. */
  readonly recovered: number;
  discarded = 0;

  private readonly rest: number;
  private readonly index: FlowIndex;
  private readonly wheel: FlowWheel;
  private readonly owners = new Int32Array(MAX_PORTS);
  private readonly scratch6 = new Int32Array(TUPLE_ADDRESS_WORDS);
  /** First of the free list, plus 1; 0: none. */
  private free = 0;
  /** Where in `words` the mark is. */
  private readonly markAt: number;

  /**
   * @param words flowTableBytes(capacity), zeroed or as a process of the same layout left them, at whatever instant it was killed
   * @param addresses6 flowAddressBytes(capacity), likewise
   * @param seed any int32, from a random source, so that nobody can choose flows that collide
   * @param now seconds of the clock that counts from boot
   * @param places flowIndexBytes(capacity), zeroed, of this process alone; null: from the heap. A place among a million flows' costs 87 ns,
   *   and 9 in huge pages
   */
  constructor(
    words: Int32Array,
    addresses6: Int32Array,
    capacity: number,
    seed: number,
    now: number,
    places: Int32Array | null = null,
  ) {
    if (!(Number.isInteger(capacity) && capacity >= 1 && capacity <= MAX_CAPACITY)) {
      throw new RangeError(`flow table: ${capacity} flows; expected 1 to ${MAX_CAPACITY}`);
    }
    const index = places ?? new Int32Array(flowIndexBytes(capacity) / 4);
    if (
      index.byteLength < flowIndexBytes(capacity) ||
      words.byteLength < flowTableBytes(capacity) ||
      addresses6.byteLength < flowAddressBytes(capacity)
    ) {
      throw new RangeError(`flow table: the memory is too small for ${capacity} flows`);
    }
    this.words = words;
    this.addresses6 = addresses6;
    this.capacity = capacity;
    this.now = now;
    this.rest = capacity * FLOW_WORDS;
    this.markAt = this.rest + capacity * FLOW_REST_WORDS;
    this.index = new FlowIndex(words, addresses6, capacity, seed, index);
    this.wheel = new FlowWheel(words, this.rest, CLASSES, now);
    this.rebuild();
    this.recovered = this.count;
  }

  /** Flows of a class. */
  classCount(flowClass: number): number {
    return this.wheel.counts[flowClass];
  }

  /** Flows whose first packet came in by this port. */
  ownerCount(port: number): number {
    return this.owners[port];
  }

  /** First word of a flow. */
  at(flow: number): number {
    return flow * FLOW_WORDS;
  }

  /** First word of the rest of a flow (FLOW_RULE and so on). */
  restAt(flow: number): number {
    return this.rest + flow * FLOW_REST_WORDS;
  }

  /** Number of the port that a flow's first packet came in by. */
  ownerOf(flow: number): number {
    return this.words[this.restAt(flow) + FLOW_OWNER] & FLOW_OWNER_MASK;
  }

  /** Number of the backend that a service has chosen for a flow; 0: none has. */
  backendOf(flow: number): number {
    return this.words[this.restAt(flow) + FLOW_OWNER] >>> FLOW_BACKEND_SHIFT;
  }

  /**
   * Flow and direction of a packet's IPv4 tuple.
   * @param kind kindOf(zone, protocol, false), or bridgedKind
   * @returns flow * 2 + direction, or -1
   */
  find4(kind: number, source: number, destination: number, ports: number): number {
    return this.index.find4(kind, source, destination, ports);
  }

  /** The flow that `find4` will look at first; -1: none. */
  guess4(kind: number, source: number, destination: number, ports: number): number {
    return this.index.guess4(kind, source, destination, ports) >> 1;
  }

  /** The same for IPv6. @param at where the source address is in `view`; the destination is 16 behind */
  find6(kind: number, view: DataView, at: number, ports: number): number {
    const { scratch6 } = this;
    scratch6[0] = view.getInt32(at);
    scratch6[1] = view.getInt32(at + 4);
    scratch6[2] = view.getInt32(at + 8);
    scratch6[3] = view.getInt32(at + 12);
    scratch6[4] = view.getInt32(at + 16);
    scratch6[5] = view.getInt32(at + 20);
    scratch6[6] = view.getInt32(at + 24);
    scratch6[7] = view.getInt32(at + 28);
    return this.index.find6(kind, scratch6, ports);
  }

  /** The same. @param addresses eight words from 0 on: source, destination */
  findWords6(kind: number, addresses: Int32Array, ports: number): number {
    return this.index.find6(kind, addresses, ports);
  }

  /** Whether packets with this tuple belong to a flow. */
  isTaken4(kind: number, source: number, destination: number, ports: number): boolean {
    return this.index.find4(kind, source, destination, ports) >= 0;
  }

  /**
   * A free entry for a new flow, its words for paths, rule and TCP zeroed. The caller fills both tuples and the kind, and of IPv6 the
   * addresses in `addresses6` at flow * ADDRESS_WORDS (the entry's address words follow from them); then it calls `commit` or `abort`.
   *
   * In a full table another flow ends for it: the embryonic one that would end soonest, else such a closing one.
   * @returns number of the flow, or -1: full of established ones
   */
  begin(): number {
    const flow = this.takeEntry();
    if (flow < 0) return -1;
    const { words } = this;
    const at = flow * FLOW_WORDS;
    words[at + FLOW_PATH] = 0;
    words[at + FLOW_PATH_REPLY] = 0;
    words[this.restAt(flow) + FLOW_RULE] = 0;
    for (let i = FLOW_TCP; i < FLOW_WORDS; i++) words[at + i] = 0;
    return flow;
  }

  /**
   * Makes the entry a flow.
   * @param state the whole FLOW_STATE word, FLOW_LIVE included
   * @param owner number of a port, below MAX_PORTS, and of a backend above it, as in FLOW_OWNER
   * @returns false: one of the tuples belongs to another flow already; the entry is free again
   */
  commit(flow: number, state: number, owner: number): boolean {
    const { words } = this;
    const at = flow * FLOW_WORDS;
    if (isIpv6Kind(words[at + FLOW_KIND])) this.copyLastWords(flow);
    if (!this.index.add(flow)) {
      this.abort(flow);
      return false;
    }
    words[this.restAt(flow) + FLOW_OWNER] = owner;
    words[at + FLOW_EXPIRES] = this.now + this.timeouts[state & STATE_MASK];
    words[at + FLOW_STATE] = state;
    this.join(flow);
    this.created++;
    return true;
  }

  /** Gives back an entry of `begin` that shall be no flow. */
  abort(flow: number): void {
    this.words[this.restAt(flow) + FLOW_NEXT] = this.free;
    this.free = flow + 1;
  }

  /** Ends a flow. */
  remove(flow: number): void {
    if (this.onRemove !== null) this.onRemove.flowEnds(flow);
    const { words } = this;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    words[at + FLOW_STATE] = 0;
    this.index.remove(flow);
    this.wheel.unlink(flow, classOf(state));
    this.owners[words[this.restAt(flow) + FLOW_OWNER] & FLOW_OWNER_MASK]--;
    this.count--;
    this.abort(flow);
  }

  /** Ends all flows that match. Looks at every one: for changes of configuration, and for commands. @returns how many */
  removeWhere(match: FlowMatch): number {
    let removed = 0;
    for (let flow = this.nextFrom(0); flow >= 0; flow = this.nextFrom(flow + 1)) {
      if (!match.matches(this.words, this.addresses6, flow, this.ownerOf(flow), this.backendOf(flow))) continue;
      this.remove(flow);
      removed++;
    }
    return removed;
  }

  /** Ends all flows of a port; looks at entries until it has met them all. @returns how many */
  removeOwner(port: number): number {
    const before = this.owners[port];
    for (let flow = 0; this.owners[port] > 0; flow++) {
      flow = this.nextFrom(flow);
      if (this.ownerOf(flow) === port) this.remove(flow);
    }
    return before;
  }

  /** The first flow with this number or a higher one, or -1. */
  nextFrom(flow: number): number {
    const { words } = this;
    const mark = words[this.markAt];
    for (let next = flow; next < mark; next++) if (words[next * FLOW_WORDS + FLOW_STATE] !== 0) return next;
    return -1;
  }

  /** Calls back for every flow; the callback may end it. */
  forEach(visit: (flow: number) => void): void {
    for (let flow = this.nextFrom(0); flow >= 0; flow = this.nextFrom(flow + 1)) visit(flow);
  }

  /**
   * Changes the whole FLOW_STATE word of a flow. Another state (STATE_MASK) begins its own timeout; flags alone change no timeout.
   */
  setState(flow: number, state: number): void {
    const { words } = this;
    const at = flow * FLOW_WORDS;
    const before = words[at + FLOW_STATE];
    words[at + FLOW_STATE] = state;
    if (((before ^ state) & STATE_MASK) === 0) return;
    const expires = this.now + this.timeouts[state & STATE_MASK];
    const isSooner = expires < words[at + FLOW_EXPIRES];
    words[at + FLOW_EXPIRES] = expires;
    if (classOf(before) === classOf(state) && !isSooner) return;
    this.wheel.unlink(flow, classOf(before));
    this.wheel.link(flow, classOf(state));
  }

  /** A packet has come: the timeout of the flow's state begins anew. */
  refresh(flow: number): void {
    const { words } = this;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    const expires = this.now + this.timeouts[state & STATE_MASK];
    const before = words[at + FLOW_EXPIRES];
    if (expires === before) return;
    words[at + FLOW_EXPIRES] = expires;
    // Only where a shorter timeout was set: the slot is too late for it.
    if (expires < before) this.wheel.relink(flow, classOf(state));
  }

  /**
   * Ends the flows whose time is over. Slots without flows are not counted; all of them take some 20 µs, after a long sleep.
   * @param budget flows to look at
   * @returns whether more is due
   */
  tick(budget: number): boolean {
    const { wheel, now } = this;
    if (now - wheel.hand >= SLOTS) wheel.hand = now - SLOTS + 1;
    let left = budget;
    for (; wheel.hand <= now; wheel.hand++) {
      for (let flowClass = 0; flowClass < CLASSES; flowClass++) {
        left = this.sweep(flowClass, left);
        if (left < 0) return true;
      }
    }
    return false;
  }

  /** Empties the list of a class under the hand. @returns what is left of the budget; -1: it did not suffice */
  private sweep(flowClass: number, budget: number): number {
    const { wheel, words } = this;
    let left = budget;
    for (let flow = wheel.first(flowClass, wheel.hand); flow >= 0; flow = wheel.first(flowClass, wheel.hand)) {
      if (left === 0) return -1;
      left--;
      if (words[flow * FLOW_WORDS + FLOW_EXPIRES] > this.now) wheel.relink(flow, flowClass);
      else {
        this.expired++;
        this.remove(flow);
      }
    }
    return left;
  }

  private takeEntry(): number {
    const { words } = this;
    if (this.free === 0) {
      const mark = words[this.markAt];
      if (mark < this.capacity) {
        // No state first: the entry counts as used from then on.
        words[mark * FLOW_WORDS + FLOW_STATE] = 0;
        words[this.markAt] = mark + 1;
        return mark;
      }
      this.capacityReached++;
      if (!this.evict(CLASS_EMBRYONIC) && !this.evict(CLASS_CLOSING)) return -1;
    }
    const flow = this.free - 1;
    this.free = words[this.restAt(flow) + FLOW_NEXT];
    return flow;
  }

  private evict(flowClass: number): boolean {
    const flow = this.wheel.soonest(flowClass, EVICTION_STEPS);
    if (flow < 0) return false;
    this.evicted++;
    this.remove(flow);
    return true;
  }

  /** Counts a flow that the index has, and lets it age. */
  private join(flow: number): void {
    const at = flow * FLOW_WORDS;
    this.count++;
    this.owners[this.ownerOf(flow)]++;
    this.wheel.link(flow, classOf(this.words[at + FLOW_STATE]));
  }

  /** The address words of an IPv6 flow, from its addresses. */
  private copyLastWords(flow: number): void {
    const { words, addresses6 } = this;
    const at = flow * FLOW_WORDS;
    const from = flow * ADDRESS_WORDS;
    words[at + FLOW_SOURCE] = addresses6[from + 3];
    words[at + FLOW_DESTINATION] = addresses6[from + 7];
    words[at + FLOW_REPLY_SOURCE] = addresses6[from + 11];
    words[at + FLOW_REPLY_DESTINATION] = addresses6[from + 15];
  }

  /** Takes over what a predecessor left, and frees everything else below its mark. Downwards, so that low entries are used first. */
  private rebuild(): void {
    const { words } = this;
    const left = words[this.markAt];
    let mark = left >= 0 && left <= this.capacity ? left : this.capacity;
    for (let flow = mark - 1; flow >= 0; flow--) {
      if (this.adopt(flow)) continue;
      words[flow * FLOW_WORDS + FLOW_STATE] = 0;
      if (flow === mark - 1) mark = flow;
      else this.abort(flow);
    }
    words[this.markAt] = mark;
  }

  /** False: the entry is free, over, or not to be believed. */
  private adopt(flow: number): boolean {
    const { words } = this;
    const at = flow * FLOW_WORDS;
    if (words[at + FLOW_STATE] === 0) return false;
    if (!this.isSound(flow) || !this.index.add(flow)) {
      this.discarded++;
      return false;
    }
    // Stamped with the predecessor's generations; but for flows that have something else there (core/alg).
    if ((words[at + FLOW_STATE] & FLOW_ALG) === 0) words[at + FLOW_PATH] = words[at + FLOW_PATH_REPLY] = 0;
    this.join(flow);
    return true;
  }

  private isSound(flow: number): boolean {
    const { words } = this;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    const isBalanced = (state & FLOW_BALANCED) !== 0;
    const hasBackend = this.backendOf(flow) !== 0;
    const left = words[at + FLOW_EXPIRES] - this.now;
    if (state < 0 || (state & FLOW_LIVE) === 0 || DEFAULT_TIMEOUTS[state & STATE_MASK] === 0) return false;
    if (left <= 0 || left > LONGEST_TIMEOUT || isBalanced !== hasBackend) return false;
    const kind = words[at + FLOW_KIND];
    return kind >>> KIND_BITS === 0 && (!isIpv6Kind(kind) || this.hasLastWords(flow));
  }

  private hasLastWords(flow: number): boolean {
    const { words, addresses6 } = this;
    const at = flow * FLOW_WORDS;
    const from = flow * ADDRESS_WORDS;
    return (
      words[at + FLOW_SOURCE] === addresses6[from + 3] &&
      words[at + FLOW_DESTINATION] === addresses6[from + 7] &&
      words[at + FLOW_REPLY_SOURCE] === addresses6[from + 11] &&
      words[at + FLOW_REPLY_DESTINATION] === addresses6[from + 15]
    );
  }
}

function timeoutTable(): Int32Array {
  const seconds = new Int32Array(STATES);
  seconds[STATE_SYN_SENT] = 240;
  seconds[STATE_SYN_RECEIVED] = 240;
  seconds[STATE_ESTABLISHED] = 86_400;
  seconds[STATE_FIN] = 240;
  seconds[STATE_CLOSING] = 240;
  seconds[STATE_RESET] = 240;
  seconds[STATE_UDP_UNREPLIED] = 300;
  seconds[STATE_UDP_STREAM] = 300;
  seconds[STATE_ICMP_UNREPLIED] = 60;
  seconds[STATE_ICMP_REPLIED] = 60;
  seconds[STATE_OTHER_UNREPLIED] = 600;
  seconds[STATE_OTHER_REPLIED] = 600;
  seconds[STATE_SCTP_OPENING] = 240;
  seconds[STATE_SCTP_ESTABLISHED] = 86_400;
  return seconds;
}

function classTable(): Int32Array {
  const classes = new Int32Array(STATES).fill(CLASS_ESTABLISHED);
  for (const state of [STATE_SYN_SENT, STATE_SYN_RECEIVED, STATE_SCTP_OPENING]) classes[state] = CLASS_EMBRYONIC;
  for (const state of [STATE_UDP_UNREPLIED, STATE_ICMP_UNREPLIED, STATE_OTHER_UNREPLIED]) {
    classes[state] = CLASS_EMBRYONIC;
  }
  for (const state of [STATE_CLOSING, STATE_RESET]) classes[state] = CLASS_CLOSING;
  return classes;
}
