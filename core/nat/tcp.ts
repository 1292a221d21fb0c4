/**
 * The state of a TCP connection as it is seen in between: which stage it is in, and which segments belong to it.
 *
 *   SYN ──► SYN_SENT ──SYN-ACK, SYN──► SYN_RECEIVED ──both SYNs acknowledged──► ESTABLISHED ◄─────┐
 *           │      ▲                     ▲   │                                  │ FIN             │
 *           │      └ SYN again, or       │   │                                  ▼                 │ RST was doubtful,
 *           │        an old host's ACK   │   │              FIN of one side ── FIN                │ and a segment
 *           │ RST                        │   │ RST                              │ FIN of the other │ follows it
 *           ▼                            │   ▼                                  ▼                 │
 *         RESET ◄────────────────────────┼── RESET ◄── RST in window ──────── CLOSING             │
 *           │  └────────────────────────────────────────────────────────────────┼────────────────┘
 *           └── SYN: TCP_REOPEN ─────────┼──────────────── SYN: TCP_REOPEN ◄─────┘
 *   any other segment ───────────────────┘ (no connection known: picked up, FLOW_LOOSE)
 *
 * The stages are those of RFC 6146 (3.5.2) as RFC 7857 (2) asks for them: CLOSED is no flow, INIT is SYN_SENT, FIN RCV is FIN, TRANS is
 * CLOSING and RESET. What differs, and why:
 *   - RFC 6146 has a connection established with the other side's SYN. Here both sides must have acknowledged: who floods with SYNs
 *     from false addresses would else fill the table with flows that live for hours.
 *   - An RST counts only inside the window (RFC 7857, 2.2). One with exactly the number that is due ends the connection for good: what
 *     was under way then revives nothing, where RFC 6146 has any segment lead back to ESTABLISHED. One elsewhere in the window is
 *     doubtful: hosts answer it by a challenge ACK (RFC 5961, 3.2), and that, or any other segment, leads back.
 *   - Sequence and acknowledgment numbers are checked throughout. RFC 6146 does not ask for it; without, anybody who knows addresses and
 *     ports ends or holds open what is not his. What fails is dropped and never answered.
 *   - A SYN in the middle of a connection passes, wherever its number lies, and changes nothing: its host may have lost the connection,
 *     and learns from the challenge ACK that the other has not (RFC 9293, 3.5.1). Where the other has too it answers SYN-ACK, and the
 *     flow goes on as one that was picked up.
 *   - A connection whose beginning was not seen counts as established once the other side answers.
 *
 * The check is that of Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000). Of each side: END, behind the last byte
 * it has sent; LIMIT, how far the other has allowed it to send; WINDOW, the largest window that it has announced. A segment of a side with
 * END, whose peer has END', lies in the window where
 *   sequence             <= LIMIT                     it may be sent
 *   sequence + length    >= END - WINDOW'             the peer need not have it yet: END was sent, so END - WINDOW' was acknowledged
 *   acknowledgment       <= END'                      nobody acknowledges what was not sent
 *   acknowledgment       >= END' - 2 WINDOW - 2       the peer takes one WINDOW before what it knows to be acknowledged (RFC 5961, 5.2),
 *                                                     which is END' - WINDOW or later; never less than 66000
 * both of the first with 1 to spare: keepalives repeat the byte before (RFC 9293, 3.8.4), zero window probes take the one behind (3.8.6.1);
 * and FIN takes another, whence the 2.
 * Sizes are those of whole packets, so that one of 64 KiB (GSO) counts as its segments would. All numbers wrap at 2^32 and are compared by
 * the sign of their difference.
 *
 * FLOW_TCP, five words: END of the original direction, of the reply, LIMIT of the original, of the reply; both WINDOWs, 16 bits each, the
 * original's low. A WINDOW counts in units of its side's scale; in plain bytes as long as that side has not acknowledged the other's SYN.
 * Until then the other's LIMIT minus this WINDOW is the number behind the other's SYN. In SYN_SENT, LIMIT is the number behind the SYN,
 * and END of the reply what the last answer that did not fit acknowledged.
 */

import { DROP_NO_FLOW, DROP_TCP_STATE, DROP_TCP_WINDOW } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGMENT,
  TCP_DATA_OFFSET,
  TCP_FIN,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SYN,
  TCP_WINDOW,
  tcpFlags,
  tcpHeaderLength,
  tcpWindowScale,
} from '../wire/tcp.js';
import {
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  FLOW_LOOSE,
  FLOW_REPLIED,
  FLOW_SCALE_REPLY_SHIFT,
  FLOW_SCALE_SHIFT,
  FLOW_STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_MASK,
  STATE_RESET,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
} from './flow.js';
import {
  ACKNOWLEDGED,
  ACKNOWLEDGED_BOTH,
  ASKED,
  ASKED_BOTH,
  CHALLENGED,
  CONTROL_ACK,
  CONTROL_MASK,
  DOUBTFUL,
  FINISHED,
  FINISHED_BOTH,
  SCALE_BITS,
  SCALE_MASK,
  SCALES,
  SIDES,
  STALE_ACK,
  TCP_END,
  TCP_LIMIT,
  TCP_WINDOWS,
  UNSETTLED,
  WINDOW_BITS,
  WINDOW_MASK,
} from './tcp-words.js';

/** `trackTcp`, `trackSctp`: begins another connection between ports whose last one is over. Below the negative of any drop reason. */
export const TCP_REOPEN = -256;

/** A SYN without the option, in SYN_SENT: none of both sides scales then. The largest scale there is, is 14 (RFC 7323, 2.3). */
const SCALE_NONE = 15;

/** Bytes that an acknowledgment may be behind beside two windows: a probe and FIN. */
const STALE_SPARE = 2;
/** Bytes around END in which an RST counts on a flow whose windows are not known. */
const LOOSE_WINDOW = 1 << 24;
/** Data that a SYN can have carried (TCP fast open, RFC 7413), so that not all before END need be acknowledged by its answer. */
const FAST_OPEN_DATA = 0xffff;

const FLAGS = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;

/**
 * A bit for each combination of FIN, SYN, RST (bits 0 to 2) and ACK (bit 3) that a segment may have: SYN, RST, each of them with ACK, ACK,
 * FIN with ACK. PSH, URG and ECN's flags go with all (RFC 9293, 3.1; RFC 3168).
 */
const LEGAL = (1 << 2) | (1 << 4) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 12);

/** Whether a segment may have these flags at all. Precondition: TCP, and `packet.l4` is there. */
export function isTcpLegal(view: DataView, packet: Packet): boolean {
  return isLegal(tcpFlags(view, packet.l4));
}

/** Whether it is the first of a connection: SYN, no ACK. */
export function isTcpSyn(view: DataView, packet: Packet): boolean {
  return (tcpFlags(view, packet.l4) & FLAGS) === TCP_SYN;
}

/**
 * The state of a new flow by its first segment, which need not be a SYN: any other but an RST is picked up. Writes FLOW_TCP.
 *
 * @param at first word of the flow
 * @returns bits of FLOW_STATE without FLOW_LIVE; -DROP_TCP_STATE for flags that no segment may have, -DROP_NO_FLOW for an RST
 */
export function openTcp(words: Int32Array, at: number, view: DataView, packet: Packet): number {
  const flags = tcpFlags(view, packet.l4);
  if (!isLegal(flags)) return -DROP_TCP_STATE;
  if ((flags & TCP_RST) !== 0) return -DROP_NO_FLOW;
  if ((flags & FLAGS) !== TCP_SYN) return pickUp(words, at, DIRECTION_ORIGINAL, view, packet);
  return STATE_SYN_SENT | (beginSyn(words, at, view, packet) << FLOW_SCALE_SHIFT);
}

/**
 * Judges a segment of a connection, and notes in FLOW_TCP what it tells. FLOW_STATE is left to the caller.
 *
 * @param at first word of the flow
 * @param direction DIRECTION_ORIGINAL or DIRECTION_REPLY
 * @param packet precondition: TCP, and `packet.l4` is there
 * @returns above 0: fine, FLOW_STATE as it should be now; TCP_REOPEN; below: -DROP_TCP_WINDOW or -DROP_TCP_STATE
 */
export function trackTcp(words: Int32Array, at: number, direction: number, view: DataView, packet: Packet): number {
  const next = trackCommon(words, at, direction, view, packet);
  return next !== UNSETTLED ? next : trackRare(words, at, direction, view, packet, words[at + FLOW_STATE]);
}

/**
 * Data and acknowledgments of an established connection that bring it forward: what is behind END, or behind what was acknowledged by more
 * than is always taken, or a window that is larger than all before, is left to `trackRare` with everything else. Nothing of
 * the lower edges has to be computed then, and nothing called: 7 ns with its own call instead of 12.
 *
 * @returns the state, or UNSETTLED with nothing noted
 */
function trackCommon(words: Int32Array, at: number, direction: number, view: DataView, packet: Packet): number {
  const state = words[at + FLOW_STATE];
  const l4 = packet.l4;
  const control = view.getInt32(l4 + TCP_DATA_OFFSET);
  if ((control & CONTROL_MASK) !== CONTROL_ACK) return UNSETTLED;
  if ((state & (STATE_MASK | FLOW_LOOSE | ASKED_BOTH)) !== STATE_ESTABLISHED) return UNSETTLED;
  const sequence = view.getInt32(l4 + TCP_SEQUENCE);
  const acknowledgment = view.getInt32(l4 + TCP_ACKNOWLEDGMENT);
  const own = (at + TCP_END + direction) | 0;
  const peer = (at + TCP_END + 1 - direction) | 0;
  const end = (sequence + packet.l3End - l4 - ((control >>> 28) << 2)) | 0;
  const ahead = (end - words[own]) | 0;
  if (ahead < -1 || ((sequence - words[own + SIDES]) | 0) > 1) return UNSETTLED;
  if ((words[peer] - acknowledgment) >>> 0 > STALE_ACK) return UNSETTLED;
  const window = control & WINDOW_MASK;
  if (window > ((words[at + TCP_WINDOWS] >>> (direction << 4)) & WINDOW_MASK)) return UNSETTLED;
  if (ahead > 0) words[own] = end;
  const scale = (state >>> (FLOW_SCALE_SHIFT + (direction << 2))) & SCALE_MASK;
  const limit = (acknowledgment + (window << scale)) | 0;
  if (((limit - words[peer + SIDES]) | 0) > 0) words[peer + SIDES] = limit;
  return state;
}

function trackRare(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): number {
  const flags = tcpFlags(view, packet.l4);
  if (!isLegal(flags)) return -DROP_TCP_STATE;
  if ((state & STATE_MASK) === STATE_SYN_SENT) {
    if (direction === DIRECTION_ORIGINAL) return beforeAnswer(words, at, view, packet, state, flags);
    return firstAnswer(words, at, view, packet, state, flags);
  }
  if ((flags & TCP_SYN) !== 0) {
    if ((flags & TCP_ACK) !== 0) return repeatedSynAck(words, at, direction, view, packet, state);
    return laterSyn(words, at, direction, view, packet, state);
  }
  if ((flags & TCP_RST) !== 0) return reset(words, at, direction, view, packet, state);
  return segment(words, at, direction, view, packet, state, flags);
}

/** SYN_SENT, of the side that began. */
function beforeAnswer(
  words: Int32Array,
  at: number,
  view: DataView,
  packet: Packet,
  state: number,
  flags: number,
): number {
  if ((flags & FLAGS) === TCP_SYN) return anotherSyn(words, at, view, packet, state);
  if ((flags & TCP_RST) === 0) return -DROP_TCP_STATE;
  const sequence = sequenceOf(view, packet);
  if ((state & CHALLENGED) !== 0 && sequence === words[at + TCP_END + DIRECTION_REPLY]) return state;
  if (isAfter(words[at + TCP_LIMIT] - 1, sequence) || isAfter(sequence, words[at + TCP_END])) return -DROP_TCP_WINDOW;
  return (state & ~(STATE_MASK | CHALLENGED)) | STATE_RESET;
}

/**
 * The SYN again; maybe without the data and the options that got no answer, in which case the other side may take either. One with
 * another number is another connection's: its host has given up on the first.
 */
function anotherSyn(words: Int32Array, at: number, view: DataView, packet: Packet, state: number): number {
  const previousEnd = words[at + TCP_END];
  const previousWindow = windowField(words, at, DIRECTION_ORIGINAL);
  const previousScale = (state >>> FLOW_SCALE_SHIFT) & SCALE_MASK;
  const isRepeated = ((sequenceOf(view, packet) + 1) | 0) === words[at + TCP_LIMIT];
  const challenge = words[at + TCP_END + DIRECTION_REPLY];
  const scale = beginSyn(words, at, view, packet);
  if (!isRepeated) return withScales(state & ~CHALLENGED, scale, 0);
  words[at + TCP_END + DIRECTION_REPLY] = challenge;
  if (isAfter(previousEnd, words[at + TCP_END])) words[at + TCP_END] = previousEnd;
  if (previousWindow > windowField(words, at, DIRECTION_ORIGINAL)) {
    setWindow(words, at, DIRECTION_ORIGINAL, previousWindow);
  }
  return withScales(state, largerScale(previousScale, scale), 0);
}

function largerScale(a: number, b: number): number {
  if (a === SCALE_NONE) return b;
  return b === SCALE_NONE || b < a ? a : b;
}

/** Writes FLOW_TCP for a SYN that begins a connection. @returns its scale, or SCALE_NONE */
function beginSyn(words: Int32Array, at: number, view: DataView, packet: Packet): number {
  words[at + TCP_END] = endOf(view, packet);
  words[at + TCP_END + DIRECTION_REPLY] = 0;
  words[at + TCP_LIMIT] = (sequenceOf(view, packet) + 1) | 0;
  words[at + TCP_LIMIT + DIRECTION_REPLY] = 0;
  words[at + TCP_WINDOWS] = windowOf(view, packet);
  return scaleOf(view, packet);
}

/**
 * SYN_SENT, of the other side. What does not acknowledge the SYN comes of a connection that the host there still has, or of an old SYN;
 * the one that began answers by an RST of just the number that is acknowledged (RFC 9293, 3.5, figures 8 and 9).
 */
function firstAnswer(
  words: Int32Array,
  at: number,
  view: DataView,
  packet: Packet,
  state: number,
  flags: number,
): number {
  const acknowledgment = acknowledgmentOf(view, packet);
  const isSyn = (flags & TCP_SYN) !== 0;
  if ((flags & TCP_ACK) === 0) {
    return isSyn ? receivedSyn(words, at, view, packet, state, words[at + TCP_LIMIT]) : -DROP_TCP_WINDOW;
  }
  const acknowledges = !isAfter(words[at + TCP_LIMIT], acknowledgment) && !isAfter(acknowledgment, words[at + TCP_END]);
  if ((flags & TCP_RST) !== 0) {
    if (!acknowledges) return -DROP_TCP_WINDOW;
    return (state & ~(STATE_MASK | CHALLENGED)) | STATE_RESET | FLOW_REPLIED;
  }
  if (isSyn && acknowledges) {
    const next = receivedSyn(words, at, view, packet, state, acknowledgment);
    return acknowledged(words, at, DIRECTION_REPLY, next);
  }
  words[at + TCP_END + DIRECTION_REPLY] = acknowledgment;
  return state | CHALLENGED;
}

/** Both SYNs are known. @param from the number from which the reply's window counts for the original */
function receivedSyn(
  words: Int32Array,
  at: number,
  view: DataView,
  packet: Packet,
  state: number,
  from: number,
): number {
  const window = windowOf(view, packet);
  words[at + TCP_END + DIRECTION_REPLY] = endOf(view, packet);
  words[at + TCP_LIMIT] = (from + window) | 0;
  words[at + TCP_LIMIT + DIRECTION_REPLY] =
    (sequenceOf(view, packet) + 1 + windowField(words, at, DIRECTION_ORIGINAL)) | 0;
  setWindow(words, at, DIRECTION_REPLY, window);
  const offered = (state >>> FLOW_SCALE_SHIFT) & SCALE_MASK;
  const answered = scaleOf(view, packet);
  const isScaled = offered !== SCALE_NONE && answered !== SCALE_NONE;
  const next = (state & ~(STATE_MASK | CHALLENGED)) | STATE_SYN_RECEIVED | FLOW_REPLIED;
  return withScales(next, isScaled ? offered : 0, isScaled ? answered : 0);
}

/** The side has acknowledged the other's SYN: its window counts in its own units from here on, rounded up. */
function acknowledged(words: Int32Array, at: number, direction: number, state: number): number {
  const scale = scaleBits(state, direction);
  const units = (windowField(words, at, direction) + (1 << scale) - 1) >>> scale;
  setWindow(words, at, direction, units);
  return staged(state | (ACKNOWLEDGED << direction));
}

/** A SYN after both. One at or before END is a duplicate; a new one is answered by the other side, whichever way. */
function laterSyn(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): number {
  const stage = state & STATE_MASK;
  if (stage === STATE_CLOSING || stage === STATE_RESET) return TCP_REOPEN;
  const isDuplicate =
    !isAfter(endOf(view, packet), words[at + TCP_END + direction]) && isSent(words, at, direction, view, packet, state);
  return isDuplicate ? state : state | (ASKED << direction);
}

function repeatedSynAck(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): number {
  const peer = direction ^ 1;
  if (isNewSynAck(words, at, direction, view, packet, state)) {
    words[at + TCP_END + direction] = endOf(view, packet);
    words[at + TCP_LIMIT + direction] = (sequenceOf(view, packet) + 1 + windowField(words, at, peer)) | 0;
  }
  const isOver = (state & STATE_MASK) === STATE_RESET;
  const isOther = (state & FLOW_LOOSE) !== 0 || !isInWindow(words, at, direction, view, packet, state);
  if (isOther && !isOver && (state & (ASKED << peer)) !== 0) {
    const kept = state & ~(STATE_MASK | SCALES | FINISHED_BOTH | ACKNOWLEDGED_BOTH | ASKED_BOTH);
    return kept | FLOW_REPLIED | pickUp(words, at, direction, view, packet);
  }
  if (isOther && (state & FLOW_LOOSE) === 0) return -DROP_TCP_WINDOW;
  return passed(words, at, direction, view, packet, state, windowOf(view, packet));
}

/**
 * A SYN-ACK instead of the one before: a host that keeps nothing of the first (SYN cookies, RFC 4987, 3.6) makes another number when the
 * SYN is repeated. Only until the one that began has acknowledged a number.
 */
function isNewSynAck(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): boolean {
  const peer = direction ^ 1;
  if ((state & STATE_MASK) !== STATE_SYN_RECEIVED || (state & (FLOW_LOOSE | (ACKNOWLEDGED << peer))) !== 0)
    return false;
  const unacknowledged = (words[at + TCP_END + peer] - acknowledgmentOf(view, packet)) | 0;
  return unacknowledged >= 0 && unacknowledged <= FAST_OPEN_DATA;
}

/** RST after both SYNs. The number that it acknowledges is not looked at: some hosts send 0. */
function reset(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): number {
  const ahead = (sequenceOf(view, packet) - words[at + TCP_END + direction]) | 0;
  const isCounted =
    (state & FLOW_LOOSE) !== 0
      ? ahead >= -LOOSE_WINDOW && ahead <= LOOSE_WINDOW
      : isSent(words, at, direction, view, packet, state);
  if (!isCounted) return -DROP_TCP_WINDOW;
  const isCertain = ahead === 0 || (state & (STATE_MASK | DOUBTFUL)) === STATE_RESET;
  return (state & ~(STATE_MASK | ASKED_BOTH)) | STATE_RESET | (isCertain ? 0 : DOUBTFUL);
}

/** ACK, data or FIN in any stage but SYN_SENT. */
function segment(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
  flags: number,
): number {
  if ((state & FLOW_LOOSE) === 0 && !isInWindow(words, at, direction, view, packet, state)) return -DROP_TCP_WINDOW;
  const finished = (flags & TCP_FIN) !== 0 ? FINISHED << direction : 0;
  const isReset = (state & STATE_MASK) === STATE_RESET;
  const settled = state & ~(isReset ? DOUBTFUL : ASKED << (direction ^ 1));
  if (isReset && (state & DOUBTFUL) === 0) return state;
  const next = (isReset ? settled & ~STATE_MASK : settled) | finished;
  return passed(words, at, direction, view, packet, next, windowOf(view, packet) << scaleBits(state, direction));
}

/**
 * Notes what a segment in the window tells.
 *
 * @param window bytes
 * @returns the state, its stage by its flags
 */
function passed(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
  window: number,
): number {
  const peer = direction ^ 1;
  const isFirst = (state & (ACKNOWLEDGED << direction)) === 0;
  const next = isFirst ? acknowledged(words, at, direction, state) : state;
  const end = endOf(view, packet);
  if (isAfter(end, words[at + TCP_END + direction])) words[at + TCP_END + direction] = end;
  const limit = (acknowledgmentOf(view, packet) + window) | 0;
  if (isAfter(limit, words[at + TCP_LIMIT + peer])) words[at + TCP_LIMIT + peer] = limit;
  const scale = scaleBits(next, direction);
  const units = Math.min(WINDOW_MASK, (window + (1 << scale) - 1) >>> scale);
  if (units > windowField(words, at, direction)) setWindow(words, at, direction, units);
  return staged(direction === DIRECTION_REPLY ? next | FLOW_REPLIED : next);
}

/** The stage that the flags of a state make, where it is not reset. */
function staged(state: number): number {
  return (state & ~STATE_MASK) | stageOf(state);
}

function stageOf(state: number): number {
  if ((state & STATE_MASK) === STATE_RESET) return STATE_RESET;
  if ((state & ACKNOWLEDGED_BOTH) !== ACKNOWLEDGED_BOTH) return STATE_SYN_RECEIVED;
  const finished = state & FINISHED_BOTH;
  if (finished === 0) return STATE_ESTABLISHED;
  return finished === FINISHED_BOTH ? STATE_CLOSING : STATE_FIN;
}

/**
 * Writes FLOW_TCP for a connection of which this segment is the first that is seen, or that has begun anew unseen.
 *
 * @returns bits of the state: SYN_RECEIVED, since only an answer shows that there is such a connection
 */
function pickUp(words: Int32Array, at: number, direction: number, view: DataView, packet: Packet): number {
  const peer = direction ^ 1;
  const end = endOf(view, packet);
  const acknowledgment = acknowledgmentOf(view, packet);
  const window = windowOf(view, packet);
  words[at + TCP_END + direction] = end;
  words[at + TCP_END + peer] = acknowledgment;
  words[at + TCP_LIMIT + direction] = end;
  words[at + TCP_LIMIT + peer] = (acknowledgment + window) | 0;
  words[at + TCP_WINDOWS] = 0;
  setWindow(words, at, direction, window);
  const finished = (tcpFlags(view, packet.l4) & TCP_FIN) !== 0 ? FINISHED << direction : 0;
  return STATE_SYN_RECEIVED | FLOW_LOOSE | (ACKNOWLEDGED << direction) | finished;
}

/** Both numbers are in the window. An acknowledgment that is the side's first must be one of the other's SYN. */
function isInWindow(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): boolean {
  if (!isSent(words, at, direction, view, packet, state)) return false;
  const peer = direction ^ 1;
  const acknowledgment = acknowledgmentOf(view, packet);
  const behind = (words[at + TCP_END + peer] - acknowledgment) | 0;
  if (behind < 0) return false;
  if ((state & (ACKNOWLEDGED << direction)) === 0) {
    return !isAfter(words[at + TCP_LIMIT + peer] - windowField(words, at, direction), acknowledgment);
  }
  return behind <= STALE_ACK || isRecent(words, at, direction, state, behind);
}

/** Whether an acknowledgment that is so many bytes behind END is one that its peer still takes; negative: ahead of it, no. */
function isRecent(words: Int32Array, at: number, direction: number, state: number, behind: number): boolean {
  const window = windowBytes(words, at, direction, state); // at most 2^30, twice is more than an int32
  return behind >= 0 && behind - window <= window + STALE_SPARE;
}

/** The sequence number is in the window: the first two lines of the check. */
function isSent(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
): boolean {
  if (((sequenceOf(view, packet) - words[at + TCP_LIMIT + direction]) | 0) > 1) return false;
  const ahead = (endOf(view, packet) - words[at + TCP_END + direction]) | 0;
  return ahead >= -1 - windowBytes(words, at, direction ^ 1, state);
}

/** Largest window of a side, in bytes. */
function windowBytes(words: Int32Array, at: number, direction: number, state: number): number {
  const scale = (state & (ACKNOWLEDGED << direction)) !== 0 ? scaleBits(state, direction) : 0;
  return windowField(words, at, direction) << scale;
}

function windowField(words: Int32Array, at: number, direction: number): number {
  return (words[at + TCP_WINDOWS] >>> (WINDOW_BITS * direction)) & WINDOW_MASK;
}

function setWindow(words: Int32Array, at: number, direction: number, units: number): void {
  const shift = WINDOW_BITS * direction;
  words[at + TCP_WINDOWS] = (words[at + TCP_WINDOWS] & ~(WINDOW_MASK << shift)) | (units << shift);
}

function scaleBits(state: number, direction: number): number {
  return (state >>> (FLOW_SCALE_SHIFT + SCALE_BITS * direction)) & SCALE_MASK;
}

function withScales(state: number, original: number, reply: number): number {
  return (state & ~SCALES) | (original << FLOW_SCALE_SHIFT) | (reply << FLOW_SCALE_REPLY_SHIFT);
}

function isLegal(flags: number): boolean {
  const combination = (flags & (TCP_FIN | TCP_SYN | TCP_RST)) | ((flags & TCP_ACK) >> 1);
  return ((LEGAL >> combination) & 1) !== 0;
}

/** Whether a sequence number is behind another: by less than 2^31. */
function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

function sequenceOf(view: DataView, packet: Packet): number {
  return view.getInt32(packet.l4 + TCP_SEQUENCE);
}

function acknowledgmentOf(view: DataView, packet: Packet): number {
  return view.getInt32(packet.l4 + TCP_ACKNOWLEDGMENT);
}

/** The window as it stands in the segment. */
function windowOf(view: DataView, packet: Packet): number {
  return view.getUint16(packet.l4 + TCP_WINDOW);
}

/** The number behind the segment. SYN and FIN take one each. */
function endOf(view: DataView, packet: Packet): number {
  const l4 = packet.l4;
  const flags = tcpFlags(view, l4);
  const length = packet.l3End - l4 - tcpHeaderLength(view, l4);
  return (sequenceOf(view, packet) + length + ((flags & TCP_SYN) >> 1) + (flags & TCP_FIN)) | 0;
}

function scaleOf(view: DataView, packet: Packet): number {
  const scale = tcpWindowScale(view, packet.l4);
  return scale < 0 ? SCALE_NONE : scale;
}
