/**
 * IPv4 options of packets that pass the router, or are for it (RFC 791, 3.1; RFC 1812, 4.2.2.1 and 5.3.13). Source routes
 * are refused always, record route and timestamp unless they have been allowed (RFC 7126, 4.3 to 4.7). All others pass as they are,
 * unknown ones included (RFC 1812, 5.3.13.1).
 */

import { DROP_IP_OPTIONS, DROP_NONE } from '../drop.js';
import { finishChecksum, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import {
  IPV4_CHECKSUM,
  IPV4_HEADER_LENGTH,
  IPV4_OPTION_END,
  IPV4_OPTION_LOOSE_SOURCE_ROUTE,
  IPV4_OPTION_NO_OPERATION,
  IPV4_OPTION_RECORD_ROUTE,
  IPV4_OPTION_STRICT_SOURCE_ROUTE,
  IPV4_OPTION_TIMESTAMP,
  ipv4HeaderLength,
} from '../wire/ipv4.js';

/** Both have, behind type and length, a pointer to the next free octet: counted from the option, the first octet being 1. */
const OPTION_LENGTH = 1;
const OPTION_POINTER = 2;
const ROUTE_FIRST = 4;
const ADDRESS = 4;

/** The timestamp option's fourth octet: stations that found no room in the upper half, what to write in the lower. */
const OPTION_OVERFLOW = 3;
const TIMESTAMP_FIRST = 5;
const TIMESTAMP = 4;
const STAMP_ONLY = 0;
const STAMP_WITH_ADDRESS = 1;
const STAMP_PRESPECIFIED = 3;

/** What the last packet that was refused is to be answered with. */
export const optionsProblem = {
  /** Octet of the IPv4 header for a Parameter Problem (RFC 792); -1: refused by policy, no answer is due. */
  pointer: -1,
};

/** The one record route and the one timestamp of the packet in hand: where they begin, or -1. */
let routeAt = -1;
let timestampAt = -1;

/**
 * Checks the options, and then writes what they ask for. A packet that is refused is left unchanged.
 *
 * Preconditions: the packet has options (PACKET_IPV4_OPTIONS) and a right header checksum; nobody else holds the slot where record
 * route or timestamp is allowed.
 *
 * @param address the router's own on the way out, for record route and timestamp
 * @param milliseconds since midnight UTC
 * @param recordRoute record route is allowed
 * @param timestamp so is timestamp
 * @returns DROP_NONE, or DROP_IP_OPTIONS with `optionsProblem` set
 */
export function processOptions(
  view: DataView,
  packet: Packet,
  address: number,
  milliseconds: number,
  recordRoute: boolean,
  timestamp: boolean,
): number {
  const { l3 } = packet;
  routeAt = -1;
  timestampAt = -1;
  optionsProblem.pointer = -1;
  const wrong = findOptions(view, l3 + IPV4_HEADER_LENGTH, l3 + ipv4HeaderLength(view, l3), recordRoute, timestamp);
  if (wrong !== NOTHING) {
    if (wrong !== REFUSED) optionsProblem.pointer = wrong - l3;
    return DROP_IP_OPTIONS;
  }
  if (routeAt < 0 && timestampAt < 0) return DROP_NONE;
  if (routeAt >= 0) writeRoute(view, routeAt, address);
  if (timestampAt >= 0) writeTimestamp(view, timestampAt, address, milliseconds);
  view.setUint16(l3 + IPV4_CHECKSUM, 0);
  view.setUint16(l3 + IPV4_CHECKSUM, finishChecksum(sumBytes(view, l3, ipv4HeaderLength(view, l3))));
  return DROP_NONE;
}

/** What the checks below return, besides the place of the octet that is wrong. */
const NOTHING = -1;
const REFUSED = -2;

/** Checks the options from `at` to `end`, and notes where record route and timestamp are. */
function findOptions(view: DataView, at: number, end: number, recordRoute: boolean, timestamp: boolean): number {
  while (at < end) {
    const type = view.getUint8(at);
    if (type === IPV4_OPTION_END) return NOTHING;
    if (type === IPV4_OPTION_NO_OPERATION) {
      at++;
      continue;
    }
    if (at + OPTION_LENGTH >= end) return at;
    const length = view.getUint8(at + OPTION_LENGTH);
    if (length < 2 || at + length > end) return at + OPTION_LENGTH;
    const wrong = checkOption(view, at, type, length, recordRoute, timestamp);
    if (wrong !== NOTHING) return wrong;
    at += length;
  }
  return NOTHING;
}

function checkOption(
  view: DataView,
  at: number,
  type: number,
  length: number,
  recordRoute: boolean,
  timestamp: boolean,
): number {
  if (type === IPV4_OPTION_LOOSE_SOURCE_ROUTE || type === IPV4_OPTION_STRICT_SOURCE_ROUTE) return REFUSED;
  if (type === IPV4_OPTION_RECORD_ROUTE) return recordRoute ? checkRoute(view, at, length) : REFUSED;
  if (type === IPV4_OPTION_TIMESTAMP) return timestamp ? checkTimestamp(view, at, length) : REFUSED;
  return NOTHING;
}

/** RFC 791: appears at most once; a full one is passed on; one with room for part of an address is in error. */
function checkRoute(view: DataView, at: number, length: number): number {
  if (routeAt >= 0) return at;
  if (length <= OPTION_POINTER) return at + OPTION_LENGTH;
  const pointer = view.getUint8(at + OPTION_POINTER);
  if (pointer < ROUTE_FIRST || !hasRoom(pointer, length, ADDRESS)) return at + OPTION_POINTER;
  routeAt = at;
  return NOTHING;
}

/** The same; a full one counts those that found no room, and is in error when it cannot count on. */
function checkTimestamp(view: DataView, at: number, length: number): number {
  if (timestampAt >= 0) return at;
  if (length <= OPTION_OVERFLOW) return at + OPTION_LENGTH;
  const pointer = view.getUint8(at + OPTION_POINTER);
  const overflow = view.getUint8(at + OPTION_OVERFLOW);
  const entry = entryLength(overflow & 0x0f);
  if (entry === 0) return at + OPTION_OVERFLOW;
  if (pointer < TIMESTAMP_FIRST || !hasRoom(pointer, length, entry)) return at + OPTION_POINTER;
  if (pointer > length && overflow >> 4 === 0x0f) return at + OPTION_OVERFLOW;
  timestampAt = at;
  return NOTHING;
}

/** Bytes that one station writes; 0: no such format. */
function entryLength(format: number): number {
  if (format === STAMP_ONLY) return TIMESTAMP;
  return format === STAMP_WITH_ADDRESS || format === STAMP_PRESPECIFIED ? ADDRESS + TIMESTAMP : 0;
}

/** Whether an option is full, or has room for a whole entry at its pointer. */
function hasRoom(pointer: number, length: number, entry: number): boolean {
  return pointer > length || pointer - 1 + entry <= length;
}

function writeRoute(view: DataView, at: number, address: number): void {
  const pointer = view.getUint8(at + OPTION_POINTER);
  if (pointer > view.getUint8(at + OPTION_LENGTH)) return;
  view.setInt32(at + pointer - 1, address);
  view.setUint8(at + OPTION_POINTER, pointer + ADDRESS);
}

function writeTimestamp(view: DataView, at: number, address: number, milliseconds: number): void {
  const pointer = view.getUint8(at + OPTION_POINTER);
  const overflow = view.getUint8(at + OPTION_OVERFLOW);
  if (pointer > view.getUint8(at + OPTION_LENGTH)) {
    view.setUint8(at + OPTION_OVERFLOW, overflow + 0x10);
    return;
  }
  const format = overflow & 0x0f;
  let place = at + pointer - 1;
  if (format === STAMP_PRESPECIFIED && view.getInt32(place) !== address) return;
  if (format !== STAMP_ONLY) {
    view.setInt32(place, address);
    place += ADDRESS;
  }
  view.setInt32(place, milliseconds);
  view.setUint8(at + OPTION_POINTER, pointer + entryLength(format));
}
