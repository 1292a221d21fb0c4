/**
 * Loop detection: a MAC that goes back and forth between ports is behind a loop, or two hosts claim it. Learning tells of each move;
 * a table of fixed size counts them by MAC.
 *
 * The port to stop is not the one on which the MAC was before it began to move, but the one on which it showed up later: the owner
 * keeps its place, be that the older port or not. A place is where the MAC stayed for FLAP_WINDOW: who takes it shortly before the count
 * begins again does not become its owner.
 */

/** Seconds within which moves are counted, and after which a MAC that did not move has its place. */
export const FLAP_WINDOW = 10;
/** MACs watched at once, a power of two; one that falls on the same place takes the other's. */
const PLACES = 1024;

export class FlapDetector {
  /** Moves counted when `note` found a loop. */
  moves = 0;
  private readonly lows = new Int32Array(PLACES);
  private readonly highs = new Int32Array(PLACES);
  private readonly homes = new Int32Array(PLACES);
  private readonly since = new Int32Array(PLACES);
  private readonly lastAt = new Int32Array(PLACES);
  private readonly counts = new Int32Array(PLACES);

  /**
   * A MAC was learned on another port than before.
   * @param high number of the domain << 16 | first two octets
   * @param limit moves within FLAP_WINDOW that make a loop
   * @param now seconds
   * @returns the port to stop, or 0
   */
  note(high: number, low: number, from: number, to: number, limit: number, now: number): number {
    const at = (Math.imul(low ^ high, 0x9e3779b1 | 0) >>> 22) & (PLACES - 1);
    const isKnown = this.lows[at] === low && this.highs[at] === high && now - this.lastAt[at] < FLAP_WINDOW;
    if (!isKnown) {
      this.lows[at] = low;
      this.highs[at] = high;
      this.homes[at] = from;
    }
    if (!isKnown || this.counts[at] === 0 || now - this.since[at] >= FLAP_WINDOW) {
      this.since[at] = now;
      this.counts[at] = 0;
    }
    this.lastAt[at] = now;
    this.counts[at]++;
    if (this.counts[at] < limit) return 0;
    this.moves = this.counts[at];
    this.counts[at] = 0;
    return to === this.homes[at] ? from : to;
  }
}
