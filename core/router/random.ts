/** Numbers that spread timers, so that they do not fall together. Not for secrets. */

export class Random {
  private state: number;

  /** @param seed any int32 */
  constructor(seed: number) {
    this.state = seed === 0 ? 0x9e3779b9 | 0 : seed | 0;
  }

  /** From `low` to `high`, both included. */
  between(low: number, high: number): number {
    // Xorshift of 32 bits (G. Marsaglia, Xorshift RNGs, 2003): never 0.
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return low + ((x >>> 0) % (high - low + 1));
  }
}
