/**
 * The state of an SCTP association as it is seen in between (RFC 9260). What belongs to it is told by the verification tag: each side
 * chooses one in its INIT or INIT ACK, and the other puts it into every packet.
 *
 *   INIT ──► SCTP_OPENING ──COOKIE ACK──► SCTP_ESTABLISHED ──SHUTDOWN──► FIN ──SHUTDOWN ACK, COMPLETE──► CLOSING
 *              │ ABORT                      │ ABORT                       │ ABORT                           │
 *              └──────────► RESET ◄─────────┴─────────────────────────────┘        INIT in both: TCP_REOPEN ┘
 *
 * FIN, CLOSING and RESET are TCP's: they stand for the same, and have the same timeouts.
 *
 * A packet with neither tag of the association is not its own (RFC 9260, 8.5) and dropped, an ABORT above all. An INIT inside an
 * association may be a host that has restarted (5.2.2): it passes, and the tags of what it leads to are held beside the old ones until a
 * COOKIE ACK shows that both sides have changed over. An association on another path of a host with several addresses begins with a
 * HEARTBEAT (5.4): it is picked up like one whose beginning was not seen, and its tags are learned from the first packet of each side.
 *
 * FLOW_TCP, four words: the tag that packets of the original direction have, and those of the reply; the same two of an association
 * that is being set up in the place of this one. 0: not known; no side may choose 0.
 */

import { DROP_NO_FLOW } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import {
  SCTP_ABORT,
  SCTP_CHUNK_FLAGS,
  SCTP_CHUNK_HEADER_LENGTH,
  SCTP_CHUNK_LENGTH,
  SCTP_CHUNK_TYPE,
  SCTP_COOKIE_ACK,
  SCTP_COOKIE_ECHO,
  SCTP_DATA,
  SCTP_HEADER_LENGTH,
  SCTP_HEARTBEAT,
  SCTP_HEARTBEAT_ACK,
  SCTP_I_DATA,
  SCTP_INIT,
  SCTP_INIT_ACK,
  SCTP_INIT_LENGTH,
  SCTP_INITIATE_TAG,
  SCTP_SACK,
  SCTP_SHUTDOWN,
  SCTP_SHUTDOWN_ACK,
  SCTP_SHUTDOWN_COMPLETE,
  SCTP_TAG_REFLECTED,
  SCTP_VERIFICATION_TAG,
} from '../wire/sctp.js';
import {
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  FLOW_LOOSE,
  FLOW_REPLIED,
  FLOW_STATE,
  FLOW_TCP,
  STATE_CLOSING,
  STATE_FIN,
  STATE_MASK,
  STATE_RESET,
  STATE_SCTP_ESTABLISHED,
  STATE_SCTP_OPENING,
} from './flow.js';
import { TCP_REOPEN } from './tcp.js';

/** Words of FLOW_TCP, each followed by the reply's. */
const TAG = FLOW_TCP;
const NEXT_TAG = FLOW_TCP + 2;

/** Control chunks that are looked at in one packet; they stand before data (RFC 9260, 6.10), and more than a few make no sense. */
const CHUNKS_READ = 16;
/** Chunk types that are told apart are below this; a packet's are a set of bits. */
const CHUNK_TYPES = 16;

const INIT = 1 << SCTP_INIT;
const INIT_ACK = 1 << SCTP_INIT_ACK;
const ABORT = 1 << SCTP_ABORT;
const SHUTDOWN = 1 << SCTP_SHUTDOWN;
const SHUTDOWN_ACK = 1 << SCTP_SHUTDOWN_ACK;
const COOKIE_ECHO = 1 << SCTP_COOKIE_ECHO;
const COOKIE_ACK = 1 << SCTP_COOKIE_ACK;
const SHUTDOWN_COMPLETE = 1 << SCTP_SHUTDOWN_COMPLETE;
/** What no association is picked up by: answers, beginnings and ends. */
const NO_BEGINNING = INIT_ACK | ABORT | SHUTDOWN_ACK | COOKIE_ACK | SHUTDOWN_COMPLETE;
/** What only a side sends that has its association. */
const ESTABLISHES =
  (1 << SCTP_DATA) | (1 << SCTP_SACK) | (1 << SCTP_HEARTBEAT) | (1 << SCTP_HEARTBEAT_ACK) | COOKIE_ACK;

/**
 * The state of a new flow by its first packet. Writes FLOW_TCP.
 *
 * @param at first word of the flow
 * @param packet precondition: SCTP, and `packet.l4` is there
 * @returns bits of FLOW_STATE without FLOW_LIVE; -DROP_NO_FLOW where the packet begins nothing
 */
export function openSctp(words: Int32Array, at: number, view: DataView, packet: Packet): number {
  const chunks = chunksOf(view, packet);
  if (chunks <= 0) return -DROP_NO_FLOW;
  clearTags(words, at);
  if ((chunks & INIT) !== 0) {
    if (!isInitValid(view, packet)) return -DROP_NO_FLOW;
    words[at + TAG + DIRECTION_REPLY] = initiateTag(view, packet);
    return STATE_SCTP_OPENING;
  }
  const tag = tagOf(view, packet);
  if ((chunks & NO_BEGINNING) !== 0 || tag === 0) return -DROP_NO_FLOW;
  words[at + TAG + DIRECTION_ORIGINAL] = tag;
  return STATE_SCTP_OPENING | FLOW_LOOSE;
}

/** Whether it is the first packet of an association: INIT, and nothing beside it. Precondition: SCTP, and `packet.l4` is there. */
export function isSctpInit(view: DataView, packet: Packet): boolean {
  const chunks = chunksOf(view, packet);
  return chunks > 0 && (chunks & INIT) !== 0 && isInitValid(view, packet);
}

/**
 * Judges a packet of an association, and notes in FLOW_TCP what it tells. FLOW_STATE is left to the caller.
 *
 * @param at first word of the flow
 * @param direction DIRECTION_ORIGINAL or DIRECTION_REPLY
 * @param packet precondition: SCTP, and `packet.l4` is there
 * @returns above 0: fine, FLOW_STATE as it should be now; TCP_REOPEN; -DROP_NO_FLOW: not of this association
 */
export function trackSctp(words: Int32Array, at: number, direction: number, view: DataView, packet: Packet): number {
  const state = words[at + FLOW_STATE];
  const chunks = chunksOf(view, packet);
  if (chunks < 0) return -DROP_NO_FLOW;
  if ((chunks & INIT) !== 0) return init(words, at, direction, view, packet, state);
  if ((chunks & (ABORT | SHUTDOWN_COMPLETE)) !== 0) return ended(words, at, direction, view, packet, state, chunks);
  const tag = tagOf(view, packet);
  if (!isOwn(words, at, direction, tag) && !isLearned(words, at, direction, tag, state)) return -DROP_NO_FLOW;
  if ((chunks & INIT_ACK) !== 0) return initAck(words, at, direction, view, packet, state, tag);
  const seen = direction === DIRECTION_REPLY ? state | FLOW_REPLIED : state;
  if ((chunks & COOKIE_ACK) !== 0 && tag !== words[at + TAG + direction]) return replaced(words, at, seen);
  if ((chunks & COOKIE_ECHO) !== 0) takeCookie(words, at, direction, tag, state);
  return (seen & ~STATE_MASK) | stageAfter(direction, chunks, state & STATE_MASK);
}

function stageAfter(direction: number, chunks: number, stage: number): number {
  if (stage === STATE_RESET || stage === STATE_CLOSING) return stage;
  if ((chunks & SHUTDOWN_ACK) !== 0) return STATE_CLOSING;
  if ((chunks & SHUTDOWN) !== 0) return STATE_FIN;
  if (stage !== STATE_SCTP_OPENING || direction !== DIRECTION_REPLY) return stage;
  return (chunks & ESTABLISHES) !== 0 ? STATE_SCTP_ESTABLISHED : stage;
}

/** INIT: of a new association, again, from both sides at once (RFC 9260, 5.2.1), or after a restart. */
function init(words: Int32Array, at: number, direction: number, view: DataView, packet: Packet, state: number): number {
  if (!isInitValid(view, packet)) return -DROP_NO_FLOW;
  const stage = state & STATE_MASK;
  if (stage === STATE_CLOSING || stage === STATE_RESET) return TCP_REOPEN;
  const peer = direction ^ 1;
  const tag = initiateTag(view, packet);
  const isUnanswered = stage === STATE_SCTP_OPENING && (state & (FLOW_REPLIED | FLOW_LOOSE)) === 0;
  if (isUnanswered) {
    words[at + TAG + peer] = tag;
  } else if (tag !== words[at + TAG + peer]) {
    words[at + NEXT_TAG + peer] = tag;
    words[at + NEXT_TAG + direction] = 0;
  }
  return state;
}

/**
 * INIT ACK. Repeated, it may bring another tag each time, since its sender keeps nothing of the first: either may be the one that is
 * taken.
 */
function initAck(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
  tag: number,
): number {
  const chosen = initiateTag(view, packet);
  if (chosen === 0) return -DROP_NO_FLOW;
  const peer = direction ^ 1;
  if (tag !== words[at + TAG + direction]) words[at + NEXT_TAG + peer] = chosen;
  else if ((state & STATE_MASK) === STATE_SCTP_OPENING) {
    if (words[at + TAG + peer] === 0) words[at + TAG + peer] = chosen;
    else if (words[at + TAG + peer] !== chosen) words[at + NEXT_TAG + peer] = chosen;
  }
  return direction === DIRECTION_REPLY ? state | FLOW_REPLIED : state;
}

/** COOKIE ECHO: tells which INIT ACK was taken; packets under way may still have the other's tag. */
function takeCookie(words: Int32Array, at: number, direction: number, tag: number, state: number): void {
  const current = words[at + TAG + direction];
  if (tag === current || (state & STATE_MASK) !== STATE_SCTP_OPENING) return;
  words[at + TAG + direction] = tag;
  words[at + NEXT_TAG + direction] = current;
}

/** COOKIE ACK with a new tag: what was set up has taken this one's place, even if it was shutting down (RFC 9260, 5.2.4). */
function replaced(words: Int32Array, at: number, state: number): number {
  changeOver(words, at, DIRECTION_ORIGINAL);
  changeOver(words, at, DIRECTION_REPLY);
  return (state & ~STATE_MASK) | STATE_SCTP_ESTABLISHED;
}

function changeOver(words: Int32Array, at: number, direction: number): void {
  if (words[at + NEXT_TAG + direction] !== 0) words[at + TAG + direction] = words[at + NEXT_TAG + direction];
  words[at + NEXT_TAG + direction] = 0;
}

/** ABORT and SHUTDOWN COMPLETE, which a side that has no association sends with the tag that it was sent (RFC 9260, 8.5.1). */
function ended(
  words: Int32Array,
  at: number,
  direction: number,
  view: DataView,
  packet: Packet,
  state: number,
  chunks: number,
): number {
  const type = (chunks & ABORT) !== 0 ? SCTP_ABORT : SCTP_SHUTDOWN_COMPLETE;
  const expected = (flagsOf(view, packet, type) & SCTP_TAG_REFLECTED) !== 0 ? direction ^ 1 : direction;
  const tag = tagOf(view, packet);
  if (!isOwn(words, at, expected, tag)) return -DROP_NO_FLOW;
  const seen = direction === DIRECTION_REPLY ? state | FLOW_REPLIED : state;
  if (tag !== words[at + TAG + expected]) {
    // Of what was being set up; the association itself goes on.
    words[at + NEXT_TAG] = 0;
    words[at + NEXT_TAG + DIRECTION_REPLY] = 0;
    return seen;
  }
  return (seen & ~STATE_MASK) | (type === SCTP_ABORT ? STATE_RESET : STATE_CLOSING);
}

function isOwn(words: Int32Array, at: number, direction: number, tag: number): boolean {
  return tag !== 0 && (tag === words[at + TAG + direction] || tag === words[at + NEXT_TAG + direction]);
}

/** An association that was picked up: the first packet of a side tells its tag. */
function isLearned(words: Int32Array, at: number, direction: number, tag: number, state: number): boolean {
  if ((state & FLOW_LOOSE) === 0 || tag === 0 || words[at + TAG + direction] !== 0) return false;
  words[at + TAG + direction] = tag;
  return true;
}

function clearTags(words: Int32Array, at: number): void {
  words.fill(0, at + TAG, at + TAG + 5);
}

/** INIT stands alone, with a tag inside and none outside (RFC 9260, 3.3.2 and 8.5.1). Precondition: an INIT was found. */
function isInitValid(view: DataView, packet: Packet): boolean {
  const first = packet.l4 + SCTP_HEADER_LENGTH;
  const length = view.getUint16(first + SCTP_CHUNK_LENGTH);
  if (view.getUint8(first + SCTP_CHUNK_TYPE) !== SCTP_INIT || length < SCTP_INIT_LENGTH) return false;
  if (first + padded(length) < packet.l3End) return false;
  return tagOf(view, packet) === 0 && view.getInt32(first + SCTP_INITIATE_TAG) !== 0;
}

/** Of an INIT ACK that is too short for one, or does not stand first: 0. */
function initiateTag(view: DataView, packet: Packet): number {
  const first = packet.l4 + SCTP_HEADER_LENGTH;
  const type = view.getUint8(first + SCTP_CHUNK_TYPE);
  if (type !== SCTP_INIT && type !== SCTP_INIT_ACK) return 0;
  if (view.getUint16(first + SCTP_CHUNK_LENGTH) < SCTP_INIT_LENGTH) return 0;
  return view.getInt32(first + SCTP_INITIATE_TAG);
}

function tagOf(view: DataView, packet: Packet): number {
  return view.getInt32(packet.l4 + SCTP_VERIFICATION_TAG);
}

/**
 * The types of the chunks in a packet, up to and with the first of data.
 *
 * @returns bits by type, of types below CHUNK_TYPES; -1 where there is no chunk, or one that runs out of the packet
 */
function chunksOf(view: DataView, packet: Packet): number {
  const end = packet.l3End;
  let at = packet.l4 + SCTP_HEADER_LENGTH;
  let chunks = 0;
  if (at + SCTP_CHUNK_HEADER_LENGTH > end) return -1;
  for (let count = 0; count < CHUNKS_READ && at + SCTP_CHUNK_HEADER_LENGTH <= end; count++) {
    const type = view.getUint8(at + SCTP_CHUNK_TYPE);
    const length = view.getUint16(at + SCTP_CHUNK_LENGTH);
    if (length < SCTP_CHUNK_HEADER_LENGTH || at + length > end) return -1;
    if (type === SCTP_DATA || type === SCTP_I_DATA) return chunks | (1 << SCTP_DATA);
    if (type < CHUNK_TYPES) chunks |= 1 << type;
    at += padded(length);
  }
  return chunks;
}

/** Flags of the first chunk of a type. Precondition: `chunksOf` has found it. */
function flagsOf(view: DataView, packet: Packet, type: number): number {
  let at = packet.l4 + SCTP_HEADER_LENGTH;
  while (view.getUint8(at + SCTP_CHUNK_TYPE) !== type) at += padded(view.getUint16(at + SCTP_CHUNK_LENGTH));
  return view.getUint8(at + SCTP_CHUNK_FLAGS);
}

/** A chunk's length with its padding. */
function padded(length: number): number {
  return (length + 3) & ~3;
}
