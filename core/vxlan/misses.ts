/**
 * What was told as missing within this second, so that it is told once: a table of fixed size, in which a newcomer takes the place of
 * whoever falls on the same one. Being told twice costs little; whoever tells has a limit besides.
 */

/** Places: 2^PLACE_BITS. */
const PLACE_BITS = 9;
/** Words of a place: kind, domain, four words of the key, the second in which it was told. */
const TOLD_AT = 6;
const PLACE_WORDS = 7;

export class MissTable {
  private readonly places = new Int32Array(PLACE_WORDS << PLACE_BITS);
  private readonly seed: number;

  /** @param seed any int32, from a random source */
  constructor(seed: number) {
    this.seed = seed;
  }

  /**
   * Whether it was not told in the last second; from now on it was.
   * @param kind of event, never 0
   * @param now seconds
   */
  isNew(kind: number, domain: number, a: number, b: number, c: number, d: number, now: number): boolean {
    const { places } = this;
    const at = this.placeOf(kind, domain, a, b, c, d);
    const isSame =
      places[at] === kind &&
      places[at + 1] === domain &&
      places[at + 2] === a &&
      places[at + 3] === b &&
      places[at + 4] === c &&
      places[at + 5] === d;
    if (isSame && places[at + TOLD_AT] === now) return false;
    places[at] = kind;
    places[at + 1] = domain;
    places[at + 2] = a;
    places[at + 3] = b;
    places[at + 4] = c;
    places[at + 5] = d;
    places[at + TOLD_AT] = now;
    return true;
  }

  private placeOf(kind: number, domain: number, a: number, b: number, c: number, d: number): number {
    let hash = Math.imul(a ^ this.seed, 0x9e3779b1) ^ Math.imul(b ^ kind, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15) ^ c, 0xc2b2ae35) ^ Math.imul(d ^ domain, 0x27d4eb2f);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return (hash >>> (32 - PLACE_BITS)) * PLACE_WORDS;
  }
}
