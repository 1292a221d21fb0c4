/**
 * The policy: ordered rules that say which new connections may be. The control plane resolves names to addresses and interfaces and
 * gives the rules as flat records; here the first record that fits decides. It is asked once a connection, and again for each connection
 * after the rules have changed (`epoch`). Answers, and ICMP errors about a connection, are part of it and are not asked about.
 *
 * A record is RULE_RECORD int32 words. Several may be of one rule: of each pair of addresses and each range of ports that it names.
 */

import { mask4, mask6 } from '../router/address.js';

/** Number of the rule, 0 to MAX_RULES - 1: who is counted, and what a flow remembers. */
export const RULE_NUMBER = 0;
export const RULE_ACTION = 1;
/** Interfaces by which the connection comes in, and would leave; 0: any. */
export const RULE_FROM_IFACE = 2;
export const RULE_TO_IFACE = 3;
/** 4, 6, or 0: any address. */
export const RULE_FROM_FAMILY = 4;
/** Four words, of an IPv4 address the last one; prefix length behind them. */
export const RULE_FROM = 5;
export const RULE_TO_FAMILY = 10;
export const RULE_TO = 11;
/** 0: any. */
export const RULE_PROTOCOL = 16;
export const RULE_FIRST_PORT = 17;
export const RULE_LAST_PORT = 18;
export const RULE_RECORD = 19;

/** So that a rule's number fits into half a word of a flow with room for none. */
export const MAX_RULES = 16_384;

export const POLICY_ACCEPT = 0;
export const POLICY_DROP = 1;
/** Dropped, and the sender is told: a TCP RST, else ICMP administratively prohibited. */
export const POLICY_REJECT = 2;

/** No rule fits. */
export const NO_RULE = -1;
/** As `port`: a later fragment, whose ports nobody knows. */
export const UNKNOWN_PORT = -1;

/** Of either family's records as they are compared: what both have, then masks and the addresses under them. */
const NUMBER = 0;
const ACTION = 1;
const FROM_IFACE = 2;
const TO_IFACE = 3;
const PROTOCOL = 4;
const FIRST_PORT = 5;
const LAST_PORT = 6;
const ADDRESSES = 7;
const RECORD4 = ADDRESSES + 4;
const RECORD6 = ADDRESSES + 16;
/** Places of the words in `decide6`: source, destination, destination before a published port's translation. */
const DESTINATION6 = 4;
const ORIGINAL6 = 8;

export class Policy {
  /** 16 bits; another after each change of the rules. */
  epoch: number;
  /** Connections that each rule has decided, by its number; a refused one counts with each try. MAX_RULES float64, which others may read. */
  hits: Float64Array;
  private records4 = new Int32Array(0);
  private records6 = new Int32Array(0);
  private readonly actions = new Uint8Array(MAX_RULES);
  /** Place of each rule among the others: how many records come before its first. */
  private readonly places = new Int32Array(MAX_RULES);

  /**
   * @param hits as above
   * @param epoch where to begin, from a random source: flows in memory that outlives the process have seen other rules
   */
  constructor(hits: Float64Array, epoch: number) {
    this.hits = hits;
    this.epoch = epoch & 0xffff;
  }

  /** No rule at all: everything may be, and nothing needs to be asked. */
  get isEmpty(): boolean {
    return this.records4.length === 0 && this.records6.length === 0;
  }

  /** Takes the place of all rules there were. @param records RULE_RECORD words each, in the order in which they decide */
  set(records: Int32Array): void {
    const list4: number[] = [];
    const list6: number[] = [];
    for (let at = records.length - RULE_RECORD; at >= 0; at -= RULE_RECORD) this.places[records[at + RULE_NUMBER]] = at;
    for (let at = 0; at + RULE_RECORD <= records.length; at += RULE_RECORD) {
      const number = records[at + RULE_NUMBER];
      if (number < 0 || number >= MAX_RULES)
        throw new RangeError(`policy: rule ${number}, expected 0 to ${MAX_RULES - 1}`);
      this.actions[number] = records[at + RULE_ACTION];
      const isFor = (family: number): boolean =>
        isOf(records[at + RULE_FROM_FAMILY], family) && isOf(records[at + RULE_TO_FAMILY], family);
      if (isFor(4))
        list4.push(...common(records, at), ...prefix4(records, at + RULE_FROM), ...prefix4(records, at + RULE_TO));
      if (isFor(6))
        list6.push(...common(records, at), ...prefix6(records, at + RULE_FROM), ...prefix6(records, at + RULE_TO));
    }
    this.records4 = Int32Array.from(list4);
    this.records6 = Int32Array.from(list6);
    this.epoch = (this.epoch + 1) & 0xffff;
  }

  /**
   * The rule that decides about a connection over IPv4, or NO_RULE.
   *
   * A rule's destination and ports fit either what the connection was sent to, or what a published port has made of it: both before, or
   * both after. A rule that names an interface means what is behind it, so it sees what is after.
   *
   * @param port of the destination, 0 for protocols without, UNKNOWN_PORT for a later fragment: then a rule for some ports fits if it
   *   accepts (the first fragment has been judged by it), else not
   * @param originalDestination the destination as it came in; the same as `destination` where nothing is translated
   */
  decide4(
    fromIface: number,
    toIface: number,
    source: number,
    destination: number,
    originalDestination: number,
    protocol: number,
    port: number,
    originalPort: number,
  ): number {
    const words = this.records4;
    for (let at = 0; at < words.length; at += RECORD4) {
      if (!fits(words, at, fromIface, toIface, protocol)) continue;
      if (((source ^ words[at + ADDRESSES + 1]) & words[at + ADDRESSES]) !== 0) continue;
      const mask = words[at + ADDRESSES + 2];
      const wanted = words[at + ADDRESSES + 3];
      if (((destination ^ wanted) & mask) === 0 && fitsPort(words, at, port)) return words[at + NUMBER];
      if (words[at + TO_IFACE] !== 0) continue;
      if (((originalDestination ^ wanted) & mask) === 0 && fitsPort(words, at, originalPort)) return words[at + NUMBER];
    }
    return NO_RULE;
  }

  /** The same over IPv6. @param addresses twelve words: source, destination, destination as it came in */
  decide6(
    fromIface: number,
    toIface: number,
    addresses: Int32Array,
    protocol: number,
    port: number,
    originalPort: number,
  ): number {
    const words = this.records6;
    for (let at = 0; at < words.length; at += RECORD6) {
      if (!fits(words, at, fromIface, toIface, protocol)) continue;
      if (!isInside(words, at + ADDRESSES, addresses, 0)) continue;
      const to = at + ADDRESSES + 8;
      if (isInside(words, to, addresses, DESTINATION6) && fitsPort(words, at, port)) return words[at + NUMBER];
      if (words[at + TO_IFACE] !== 0) continue;
      if (isInside(words, to, addresses, ORIGINAL6) && fitsPort(words, at, originalPort)) return words[at + NUMBER];
    }
    return NO_RULE;
  }

  /**
   * For a connection that is taken up in the middle, of which nobody knows who began it: of the rules that decide about it in one
   * direction and in the other, the one that comes first.
   */
  earlier(one: number, other: number): number {
    if (one === NO_RULE || other === NO_RULE) return one === NO_RULE ? other : one;
    return this.places[one] <= this.places[other] ? one : other;
  }

  /** What a rule says, POLICY_ACCEPT and so on; NO_RULE accepts. */
  action(rule: number): number {
    return rule < 0 ? POLICY_ACCEPT : this.actions[rule];
  }

  /** A rule has decided about a connection; NO_RULE is nobody. */
  count(rule: number): void {
    if (rule >= 0) this.hits[rule]++;
  }
}

/** What any record is compared by first: interfaces and protocol. */
function fits(words: Int32Array, at: number, fromIface: number, toIface: number, protocol: number): boolean {
  const from = words[at + FROM_IFACE];
  if (from !== 0 && from !== fromIface) return false;
  const to = words[at + TO_IFACE];
  if (to !== 0 && to !== toIface) return false;
  const wanted = words[at + PROTOCOL];
  return wanted === 0 || wanted === protocol;
}

function fitsPort(words: Int32Array, at: number, port: number): boolean {
  const first = words[at + FIRST_PORT];
  const last = words[at + LAST_PORT];
  if (port !== UNKNOWN_PORT) return port >= first && port <= last;
  return (first === 0 && last === 65_535) || words[at + ACTION] === POLICY_ACCEPT;
}

/** Whether the four words at `address` are in the prefix whose mask and base, four words each, stand at `at`. */
function isInside(words: Int32Array, at: number, addresses: Int32Array, address: number): boolean {
  return (
    ((addresses[address] ^ words[at + 4]) & words[at]) === 0 &&
    ((addresses[address + 1] ^ words[at + 5]) & words[at + 1]) === 0 &&
    ((addresses[address + 2] ^ words[at + 6]) & words[at + 2]) === 0 &&
    ((addresses[address + 3] ^ words[at + 7]) & words[at + 3]) === 0
  );
}

function isOf(family: number, wanted: number): boolean {
  return family === 0 || family === wanted;
}

function common(records: Int32Array, at: number): number[] {
  const words = [
    RULE_NUMBER,
    RULE_ACTION,
    RULE_FROM_IFACE,
    RULE_TO_IFACE,
    RULE_PROTOCOL,
    RULE_FIRST_PORT,
    RULE_LAST_PORT,
  ];
  return words.map((word) => records[at + word]);
}

/** Mask and base of the prefix at `at`, a length of 0 where any address will do. */
function prefix4(records: Int32Array, at: number): number[] {
  const mask = mask4(records[at + 4]);
  return [mask, records[at + 3] & mask];
}

function prefix6(records: Int32Array, at: number): number[] {
  const masks = [0, 1, 2, 3].map((index) => mask6(records[at + 4], index));
  return [...masks, ...masks.map((mask, index) => records[at + index] & mask)];
}
