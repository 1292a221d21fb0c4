/** The options of neighbor discovery messages (RFC 4861, 4.6). Whoever knows one kind passes over the others. */

import { macHigh } from './ethernet.js';
import { ND_OPTION_LENGTH, ND_OPTION_UNIT, ND_OPTION_VALUE } from './icmpv6.js';

/** What `findLinkAddress` returns where there is no such option, or where any option is malformed. No MAC stands there. */
export const NO_LINK_ADDRESS = 0;
export const OPTIONS_INVALID = -1;

const GROUP_BIT = 0x0100;

/**
 * Looks through all options from `at` to `end` for the MAC in that of kind `kind`, the last one where there are several.
 * @returns where the MAC stands; NO_LINK_ADDRESS; OPTIONS_INVALID: an option is empty or runs over the end, or the MAC is a group's
 */
export function findLinkAddress(view: DataView, at: number, end: number, kind: number): number {
  let found = NO_LINK_ADDRESS;
  while (at < end) {
    if (at + ND_OPTION_UNIT > end) return OPTIONS_INVALID;
    const length = view.getUint8(at + ND_OPTION_LENGTH) * ND_OPTION_UNIT;
    if (length === 0 || at + length > end) return OPTIONS_INVALID;
    if (view.getUint8(at) === kind) {
      found = at + ND_OPTION_VALUE;
      // Over Ethernet one unit (RFC 2464, 6); no group's MAC, which is no neighbor's.
      if (length !== ND_OPTION_UNIT || (macHigh(view, found) & GROUP_BIT) !== 0) return OPTIONS_INVALID;
    }
    at += length;
  }
  return found;
}
