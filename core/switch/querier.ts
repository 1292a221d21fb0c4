/**
 * The querier of one family (IGMP or MLD) in a domain: who asks for members, when, and how long what they answer holds.
 *
 *   RFC 3376, 6.6.2 and 8 · RFC 3810, 7.6.2 and 9   election and timers
 *   RFC 4541, 2.1.1                                 a switch asks from 0.0.0.0, so that no router takes it for one
 *
 * Where the network has a gateway, that asks, with its own addresses. Else ours gives way to any router. In IGMP its source is 0.0.0.0, which takes no part in the election. MLD asks for a link-local source and
 * lets the lowest address win, so ours is one above nearly all: fe80::feff and the MAC. Two switches thus have a winner as well.
 */

import { QUERY_INTERVAL, type QuerySource, ROBUSTNESS } from './query-frame.js';

/** Defaults of RFC 3376, 8 and RFC 3810, 9; seconds where there is a unit. */
export const QUERY_RESPONSE = 10;
export const STARTUP_INTERVAL = 31;
export const STARTUP_QUERIES = 2;
export const OTHER_QUERIER_PRESENT = 255;
/** Specific queries after a leave, a second apart: last member query count and interval. */
export const LAST_MEMBER_QUERIES = 2;

/** Intervals of an elected querier that are followed; outside, the default holds. */
const SANE_INTERVAL_MINIMUM = 10;
const SANE_INTERVAL_MAXIMUM = 3600;

/** No second is as late. */
export const NEVER = 0x7fffffff;

/** A word of the address that ranks below every other: that of IGMP, where our source takes no part. */
const LAST = -1;

export class Querier {
  /** Membership reports are complete from this second on; NEVER while nobody asks for them. */
  trustedFrom: number;
  /** Asks, unless a router does. */
  readonly enabled: boolean;
  // Our address in the election.
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  // The elected querier, where it is not ours: its address, and until when it counts.
  private elected = false;
  private otherA = 0;
  private otherB = 0;
  private otherC = 0;
  private otherD = 0;
  private otherUntil = 0;
  /** Until when the last query heard, of whichever source, keeps memberships fresh. */
  private heardUntil = 0;

  private robustness = ROBUSTNESS;
  private interval = QUERY_INTERVAL;
  private response = QUERY_RESPONSE;

  private nextQuery = 0;
  private startup = STARTUP_QUERIES;

  constructor(enabled: boolean, a: number, b: number, c: number, d: number) {
    this.enabled = enabled;
    this.trustedFrom = enabled ? 0 : NEVER;
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
  }

  /** Takes part in the election with another address. */
  claim(a: number, b: number, c: number, d: number): void {
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
  }

  /** Whether it is we who ask. */
  get acting(): boolean {
    return this.enabled && !this.elected;
  }

  /** Seconds that a report holds: group membership interval. */
  get membershipInterval(): number {
    return this.robustness * this.interval + this.response;
  }

  /** Begins anew, and trusts what reports say from `learned` on. */
  restart(now: number, learned: number): void {
    this.elected = false;
    this.useDefaults();
    this.heardUntil = 0;
    this.nextQuery = now;
    this.startup = STARTUP_QUERIES;
    this.trustedFrom = this.enabled ? learned : NEVER;
  }

  /**
   * A general query was heard, from whomever.
   * @param response the longest response time it allows, in seconds
   */
  hear(now: number, response: number): void {
    this.heardUntil = Math.max(this.heardUntil, now + OTHER_QUERIER_PRESENT);
    if (this.trustedFrom === NEVER) this.trustedFrom = now + Math.min(response, QUERY_INTERVAL) + 1;
  }

  /**
   * A general query with a source of its own was heard: whoever has the lowest address asks from now on.
   * @param robustness and interval as the query says; 0 where its version says none
   * @returns seconds that its sender counts as there
   */
  elect(
    now: number,
    a: number,
    b: number,
    c: number,
    d: number,
    robustness: number,
    interval: number,
    response: number,
  ): number {
    const times = robustness === 0 ? ROBUSTNESS : Math.max(robustness, 2);
    const every = interval < SANE_INTERVAL_MINIMUM || interval > SANE_INTERVAL_MAXIMUM ? QUERY_INTERVAL : interval;
    const within = Math.max(1, Math.min(response, every));
    const present = times * every + ((within + 1) >> 1);
    this.heardUntil = Math.max(this.heardUntil, now + present);
    if (this.enabled && !isLower(a, b, c, d, this.a, this.b, this.c, this.d)) return present;
    if (this.elected && isLower(this.otherA, this.otherB, this.otherC, this.otherD, a, b, c, d)) return present;
    this.elected = true;
    this.otherA = a;
    this.otherB = b;
    this.otherC = c;
    this.otherD = d;
    this.otherUntil = now + present;
    this.robustness = times;
    this.interval = every;
    this.response = within;
    return present;
  }

  /** Once a second: forgets queriers that fell silent. */
  tick(now: number): void {
    if (this.elected && now >= this.otherUntil) {
      this.elected = false;
      this.useDefaults();
      this.nextQuery = now;
    }
    if (!this.enabled && now >= this.heardUntil) this.trustedFrom = NEVER;
  }

  /** Whether a general query is to go out. */
  isDue(now: number): boolean {
    return this.acting && now >= this.nextQuery;
  }

  /** It went out. */
  sent(now: number): void {
    if (this.startup > 0) this.startup--;
    this.nextQuery = now + (this.startup > 0 ? STARTUP_INTERVAL : QUERY_INTERVAL);
  }

  private useDefaults(): void {
    this.robustness = ROBUSTNESS;
    this.interval = QUERY_INTERVAL;
    this.response = QUERY_RESPONSE;
  }
}

/** A querier for IGMP. */
export function igmpQuerier(enabled: boolean, source: QuerySource): Querier {
  const querier = new Querier(enabled, LAST, LAST, LAST, LAST);
  claimIgmp(querier, source);
  return querier;
}

/** From 0.0.0.0 it gives way to everybody. */
export function claimIgmp(querier: Querier, { address4 }: QuerySource): void {
  if (address4 === 0) querier.claim(LAST, LAST, LAST, LAST);
  else querier.claim(address4, 0, 0, 0);
}

export function mldQuerier(enabled: boolean, { linkLocal }: QuerySource): Querier {
  return new Querier(enabled, linkLocal[0], linkLocal[1], linkLocal[2], linkLocal[3]);
}

/** Whether the first address, four words, is lower than the second. */
function isLower(
  a: number,
  b: number,
  c: number,
  d: number,
  otherA: number,
  otherB: number,
  otherC: number,
  otherD: number,
): boolean {
  if (a !== otherA) return a >>> 0 < otherA >>> 0;
  if (b !== otherB) return b >>> 0 < otherB >>> 0;
  if (c !== otherC) return c >>> 0 < otherC >>> 0;
  return d >>> 0 < otherD >>> 0;
}
