/**
 * The timer wheel of flows: 8,192 slots of one second, in each a list for every class of states.
 *
 * Lists are linked through the entries (FLOW_NEXT, FLOW_PREVIOUS: number of the flow plus 1; 0 or less: an end of the list with that
 * number, negated), so that a flow leaves its list without a search. A flow stands in the slot of the second in which it ends, or in an
 * earlier one: a packet that refreshes it writes FLOW_EXPIRES alone, and the flow is moved on when its slot is due. Within a list they
 * stand in the order in which they came.
 */

import { FLOW_EXPIRES, FLOW_NEXT, FLOW_PREVIOUS, FLOW_REST_WORDS, FLOW_WORDS } from './flow.js';

/** Seconds that the wheel reaches ahead; flows that last longer are moved on once a round. */
export const SLOTS = 8192;
const SLOT_MASK = SLOTS - 1;

export class FlowWheel {
  /** The second whose slot is next; every flow stands in one of the SLOTS from it on. */
  hand: number;
  /** Flows of each class. */
  readonly counts: Int32Array;
  private readonly words: Int32Array;
  /** Where the rest of the first flow's words begins. */
  private readonly rest: number;
  /** First and last flow (plus 1; 0: none) of each list: class * SLOTS + slot. */
  private readonly heads: Int32Array;
  private readonly tails: Int32Array;
  /** By class: no flow stands before this second, so that searches for the oldest need not begin at the hand each time. */
  private readonly oldest: Int32Array;

  /**
   * @param rest where in `words` the rest of the first flow's begins
   * @param now seconds
   */
  constructor(words: Int32Array, rest: number, classes: number, now: number) {
    this.words = words;
    this.rest = rest;
    this.hand = now;
    this.counts = new Int32Array(classes);
    this.heads = new Int32Array(classes * SLOTS);
    this.tails = new Int32Array(classes * SLOTS);
    this.oldest = new Int32Array(classes).fill(now);
  }

  /** Puts a flow at the end of the list of the second that its FLOW_EXPIRES says, or of the last one that the wheel reaches. */
  link(flow: number, flowClass: number): void {
    const { words, heads, tails, hand, oldest } = this;
    const at = this.rest + flow * FLOW_REST_WORDS;
    const expires = words[flow * FLOW_WORDS + FLOW_EXPIRES];
    const second = expires < hand ? hand : expires - hand > SLOT_MASK ? hand + SLOT_MASK : expires;
    const list = flowClass * SLOTS + (second & SLOT_MASK);
    const tail = tails[list];
    words[at + FLOW_NEXT] = 0 - list;
    if (tail === 0) {
      words[at + FLOW_PREVIOUS] = 0 - list;
      heads[list] = flow + 1;
    } else {
      words[at + FLOW_PREVIOUS] = tail;
      words[this.rest + (tail - 1) * FLOW_REST_WORDS + FLOW_NEXT] = flow + 1;
    }
    tails[list] = flow + 1;
    if (second < oldest[flowClass]) oldest[flowClass] = second;
    this.counts[flowClass]++;
  }

  /** @param flowClass under which it was linked */
  unlink(flow: number, flowClass: number): void {
    const { words, rest } = this;
    const at = rest + flow * FLOW_REST_WORDS;
    const next = words[at + FLOW_NEXT];
    const previous = words[at + FLOW_PREVIOUS];
    if (previous > 0) words[rest + (previous - 1) * FLOW_REST_WORDS + FLOW_NEXT] = next;
    else this.heads[0 - previous] = next > 0 ? next : 0;
    if (next > 0) words[rest + (next - 1) * FLOW_REST_WORDS + FLOW_PREVIOUS] = previous;
    else this.tails[0 - next] = previous > 0 ? previous : 0;
    this.counts[flowClass]--;
  }

  relink(flow: number, flowClass: number): void {
    this.unlink(flow, flowClass);
    this.link(flow, flowClass);
  }

  /** First flow of a class in the slot of a second, or -1. */
  first(flowClass: number, second: number): number {
    return this.heads[flowClass * SLOTS + (second & SLOT_MASK)] - 1;
  }

  /**
   * The flow of a class that ends soonest; of those in the same second, the one that came first. Refreshed ones that stand before their
   * time are moved on, but no more than `steps`: the next one is taken as it is.
   * @returns -1: the class has none
   */
  soonest(flowClass: number, steps: number): number {
    if (this.counts[flowClass] === 0) return -1;
    const { oldest, words } = this;
    let second = Math.max(oldest[flowClass], this.hand);
    for (;;) {
      const flow = this.first(flowClass, second);
      if (flow < 0) second++;
      else if (steps === 0 || words[flow * FLOW_WORDS + FLOW_EXPIRES] <= second) {
        oldest[flowClass] = second;
        return flow;
      } else {
        steps--;
        this.relink(flow, flowClass);
      }
    }
  }
}
