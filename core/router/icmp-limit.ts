/**
 * How many ICMP errors the router sends (RFC 1812, 4.3.2.8; RFC 4443, 2.4(f)): a token bucket a source that they go to, one a port, and
 * one for all.
 *
 * Three traceroutes that start together send 48 probes (16 each, as traceroute does by default) before they wait: a burst of
 * SOURCE_BURST answers them all, be they from one host. A host that floods gets SOURCE_RATE a second and leaves the others theirs;
 * sources invented one after the other get PORT_RATE together, which leaves as much to those behind other ports.
 *
 * The table has a fixed size, and a source takes over the place of another that falls on the same: forgetting one costs at most a burst
 * more to it, and the bucket for all bounds what changing sources can gain.
 */

import { PortRate } from './port-rate.js';

/** Errors a second, and at once, to one source. */
export const SOURCE_RATE = 100;
export const SOURCE_BURST = 50;
/** The same to all sources together. */
export const GLOBAL_RATE = 1000;
export const GLOBAL_BURST = 1000;
/** The same to all sources behind one port. */
export const PORT_RATE = 500;
export const PORT_BURST = 500;

/** Sources known at once: 2^PLACE_BITS. */
const PLACE_BITS = 10;
/** Tokens an error: the share of a millisecond in a rate a second is a whole number. */
const ERROR = 1000;
/** Odd multipliers that spread the words of an address over the places. */
const SPREAD = 0x9e3779b1 | 0;
const SPREAD_B = 0x85ebca6b | 0;
const SPREAD_C = 0xc2b2ae35 | 0;

/** Words of a place: the source's four, tokens left, when they were counted (milliseconds). */
const TOKENS = 4;
const FILLED_AT = 5;
const PLACE_WORDS = 6;

export class IcmpLimiter {
  /** Errors admitted, and refused. */
  sent = 0;
  suppressed = 0;
  private readonly places = new Int32Array(PLACE_WORDS << PLACE_BITS);
  private tokens = GLOBAL_BURST * ERROR;
  private filledAt = 0;
  private readonly ports = new PortRate(PORT_RATE, PORT_BURST);

  /**
   * Whether an error may go to a source, four words, IPv4 mapped (address.ts), behind a port; counts it.
   * @param milliseconds the dataplane's clock; wraps
   */
  admit(a: number, b: number, c: number, d: number, port: number, milliseconds: number): boolean {
    const { places } = this;
    const at = this.placeOf(a, b, c, d, milliseconds);
    this.fill(milliseconds);
    // The port last: asking it counts.
    if (places[at + TOKENS] < ERROR || this.tokens < ERROR || !this.ports.admit(port, milliseconds)) {
      this.suppressed++;
      return false;
    }
    places[at + TOKENS] -= ERROR;
    this.tokens -= ERROR;
    this.sent++;
    return true;
  }

  /** The place of a source, its bucket filled; whoever had it before is forgotten. */
  private placeOf(a: number, b: number, c: number, d: number, milliseconds: number): number {
    const { places } = this;
    const at = hash(a, b, c, d) * PLACE_WORDS;
    if (places[at] === a && places[at + 1] === b && places[at + 2] === c && places[at + 3] === d) {
      const passed = (milliseconds - places[at + FILLED_AT]) | 0;
      places[at + TOKENS] = filled(places[at + TOKENS], SOURCE_RATE, SOURCE_BURST, passed);
    } else {
      places[at] = a;
      places[at + 1] = b;
      places[at + 2] = c;
      places[at + 3] = d;
      places[at + TOKENS] = SOURCE_BURST * ERROR;
    }
    places[at + FILLED_AT] = milliseconds;
    return at;
  }

  private fill(milliseconds: number): void {
    this.tokens = filled(this.tokens, GLOBAL_RATE, GLOBAL_BURST, (milliseconds - this.filledAt) | 0);
    this.filledAt = milliseconds;
  }
}

/** Tokens after some milliseconds; negative ones mean that the clock has wrapped since, 25 days and more: full. */
function filled(tokens: number, rate: number, burst: number, passed: number): number {
  return passed < 0 ? burst * ERROR : Math.min(tokens + rate * passed, burst * ERROR);
}

function hash(a: number, b: number, c: number, d: number): number {
  const words = a ^ Math.imul(b, SPREAD_B) ^ Math.imul(c, SPREAD_C) ^ Math.imul(d, SPREAD);
  return Math.imul(words ^ (words >>> 15), SPREAD) >>> (32 - PLACE_BITS);
}
