/**
 * What tcp.ts keeps in FLOW_TCP and in the state word, as numbers.
 *
 * A file of their own, and literals: the bundler writes imported numbers into the code, and leaves those of the same file in variables,
 * which are read, checked and combined for every segment (3 ns).
 */

/** Words of FLOW_TCP: END, LIMIT (SIDES behind it), each followed by the reply's; both WINDOWs. Counted from the flow. */
export const TCP_END = 11;
export const TCP_LIMIT = 13;
export const TCP_WINDOWS = 15;
export const SIDES = 2;

/** A window is 16 bits, here and in the header; the reply's stands in the upper half. */
export const WINDOW_BITS = 16;
export const WINDOW_MASK = 0xffff;

/** Flags in the state word, each followed by the reply's: FIN seen; the other's SYN acknowledged; SYN in the middle of the connection. */
export const FINISHED = 1 << 24;
export const FINISHED_BOTH = 3 << 24;
export const ACKNOWLEDGED = 1 << 26;
export const ACKNOWLEDGED_BOTH = 3 << 26;
export const ASKED = 1 << 28;
export const ASKED_BOTH = 3 << 28;
/** What the bit of ASKED says in SYN_SENT (an answer came that did not fit) and in RESET (the RST need not have been taken). */
export const CHALLENGED = 1 << 28;
export const DOUBTFUL = 1 << 28;

/** A scale in the state word, the original's from FLOW_SCALE_SHIFT on, and the reply's above it. */
export const SCALE_BITS = 4;
export const SCALE_MASK = 0xf;
export const SCALES = 0xff << 16;

/** Data offset, flags and window of the header in one load: the flags that matter, and ACK. */
export const CONTROL_MASK = 0x17 << 16;
export const CONTROL_ACK = 0x10 << 16;

/** Bytes that an acknowledgment may be behind END at least: as in the paper, the largest window without scale and some more. */
export const STALE_ACK = 66000;

/** Of the common case: it does not settle this segment. No state word is 0. */
export const UNSETTLED = 0;
