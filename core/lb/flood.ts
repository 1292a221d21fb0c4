/**
 * How many new flows a service gets. Above its rate no more are noted: a flood of connections that never come to anything would else fill
 * the table of flows, and put out what is half-open there. Packets go to backends by the hash of their client then, each for itself.
 */

/** Seconds that the rate must be kept for the flood to be over. */
const CALM = 3;
/** Seconds after a flood in which packets of no flow may be those of connections that were not noted: as long as a SYN is repeated. */
const AFTERMATH = 130;
const NEVER = -0x40000000;

export class Flood {
  /** Flows that were not noted. */
  passed = 0;
  private second = NEVER;
  private count = 0;
  private last = NEVER;
  private isOn = false;

  /** Counts a new flow. @param rate flows a second; 0: any. @returns whether it is one too many */
  isOver(rate: number, now: number): boolean {
    if (rate === 0) return false;
    if (this.second !== now) {
      this.second = now;
      this.count = 0;
    }
    return ++this.count > rate;
  }

  /** One is not noted. */
  pass(now: number): void {
    this.last = now;
    this.passed++;
  }

  /** Whether packets of no flow may belong to a connection all the same. */
  hasAftermath(now: number): boolean {
    return now - this.last <= AFTERMATH;
  }

  /** Whether a flood has begun since this was asked last. */
  hasBegun(now: number): boolean {
    if (this.isOn || this.last !== now) return false;
    this.isOn = true;
    return true;
  }

  /** Whether it is over since this was asked last. */
  hasEnded(now: number): boolean {
    if (!this.isOn || now - this.last < CALM) return false;
    this.isOn = false;
    return true;
  }
}
