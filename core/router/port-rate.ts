/** How often each port may make the router work: a token bucket a port, in flat memory. */

import { MAX_PORTS } from '../ports.js';

/** Tokens an event, so that a millisecond's share of a low rate is a whole number. */
const EVENT = 1000;

export class PortRate {
  /** Events a second; events at once. */
  private readonly rate: number;
  private readonly burst: number;
  /** What is missing to a full bucket, so that zeroed memory is full ones. */
  private readonly missing = new Int32Array(MAX_PORTS);
  /** Milliseconds. */
  private readonly filledAt = new Int32Array(MAX_PORTS);

  constructor(rate: number, burst: number) {
    this.rate = rate;
    this.burst = burst * EVENT;
  }

  /** @param milliseconds the dataplane's clock; wraps */
  admit(port: number, milliseconds: number): boolean {
    const passed = (milliseconds - this.filledAt[port]) | 0;
    this.filledAt[port] = milliseconds;
    // Negative after 25 days without an event. A second fills any bucket whose burst is at most its rate.
    if (passed < 0 || passed >= EVENT) this.missing[port] = 0;
    else this.missing[port] = Math.max(0, this.missing[port] - this.rate * passed);
    if (this.missing[port] + EVENT > this.burst) return false;
    this.missing[port] += EVENT;
    return true;
  }
}
