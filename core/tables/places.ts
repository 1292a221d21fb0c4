/** Open addressing in places of two words: a hash, whose lower bits are the home, and what stands there; 0 is an empty place. */

export const PLACE_WORDS = 2;

/**
 * Empties a place. Followers that would not be found any more move up, so no marks are left.
 *
 * @param mask number of words less one, a power of two less one
 * @param place index of its first word
 */
export function vacate(words: Int32Array, mask: number, place: number): void {
  let hole = place;
  for (let at = (hole + PLACE_WORDS) & mask; words[at + 1] !== 0; at = (at + PLACE_WORDS) & mask) {
    const home = (words[at] << 1) & mask;
    // It may fill the hole only if its home does not lie behind the hole (cyclically).
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    words[hole] = words[at];
    words[hole + 1] = words[at + 1];
    hole = at;
  }
  words[hole] = 0;
  words[hole + 1] = 0;
}
