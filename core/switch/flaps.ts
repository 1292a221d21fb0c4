/**
 * Loop detection: a MAC that goes back and forth between ports is behind a loop, or two hosts claim it. Learning tells of each move;
 * a table of fixed size counts them by MAC.
 *
 * The port to stop is not the one on which the MAC was before it began to move, but the one on which it showed up later: the owner
 * keeps its place, be that the older port or not.
 */

/** Seconds within which moves are counted. */
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
    const isSame = this.lows[at] === low && this.highs[at] === high;
    if (!isSame || this.counts[at] === 0 || now - this.since[at] >= FLAP_WINDOW) {
      this.lows[at] = low;
      this.highs[at] = high;
      this.homes[at] = from;
      this.since[at] = now;
      this.counts[at] = 0;
    }
    this.counts[at]++;
    if (this.counts[at] < limit) return 0;
    this.moves = this.counts[at];
    this.counts[at] = 0;
    return to === this.homes[at] ? from : to;
  }
}
