/**
 * Which backend gets the next flow. Each scheduler is a function of a service, what is known of backends, and the flow's family; it returns
 * the first word of the backend's record, or -1: there is none. Nothing is allocated, and nothing noted: many a packet is refused behind
 * this, and its turn is the next one's. `take` notes it once there is a flow.
 *
 * A backend is available that is up, has weight, an address of the family, and is not suspected; where all that are left are suspected,
 * they are taken all the same: a guess is no reason to refuse a client.
 */

import type { Backends } from './backends.js';
import {
  BACKEND_ADDRESS4,
  BACKEND_ADDRESS6,
  BACKEND_COUNTERS,
  BACKEND_FLAGS,
  BACKEND_NUMBER,
  BACKEND_RECORD,
  BACKEND_UP,
  BACKEND_WEIGHT,
  COUNT_ACTIVE,
  COUNT_INACTIVE,
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
  type ServiceOptions,
} from './service.js';

/** What a half-open or closing connection weighs against 256 of an established one, as IPVS has it. */
const ACTIVE_SHIFT = 256;

/** Places of the table that are tried, each by another step of the hash, before all backends are gone through. */
const TRIES = 16;

/** What a scheduler remembers of a service from flow to flow. */
export class Turn {
  /** Place in the list behind the one that was chosen last. */
  next = 0;
}

/** Whether a backend may get a flow. @param at first word of its record */
export function isAvailable(
  options: ServiceOptions,
  at: number,
  isIpv6: boolean,
  backends: Backends,
  withSuspects: boolean,
): boolean {
  const words = options.backends;
  if ((words[at + BACKEND_FLAGS] & BACKEND_UP) === 0 || words[at + BACKEND_WEIGHT] === 0) return false;
  if (!hasFamily(words, at, isIpv6)) return false;
  return withSuspects || !backends.isSuspect(words[at + BACKEND_NUMBER]);
}

function hasFamily(words: Int32Array, at: number, isIpv6: boolean): boolean {
  if (!isIpv6) return words[at + BACKEND_ADDRESS4 + 2] !== 0;
  const address = at + BACKEND_ADDRESS6;
  return (words[address] | words[address + 1] | words[address + 2] | words[address + 3]) !== 0;
}

/** @param hash of the client; for the hashing schedulers */
export function schedule(
  options: ServiceOptions,
  turn: Turn,
  backends: Backends,
  isIpv6: boolean,
  hash: number,
): number {
  const chosen = scheduleAmong(options, turn, backends, isIpv6, hash, false);
  return chosen >= 0 ? chosen : scheduleAmong(options, turn, backends, isIpv6, hash, true);
}

function scheduleAmong(
  options: ServiceOptions,
  turn: Turn,
  backends: Backends,
  isIpv6: boolean,
  hash: number,
  withSuspects: boolean,
): number {
  switch (options.scheduler) {
    case SCHEDULER_WRR:
      return weightedRoundRobin(options, backends, isIpv6, withSuspects);
    case SCHEDULER_LC:
      return leastConnections(options, turn, backends, isIpv6, withSuspects, false);
    case SCHEDULER_WLC:
      return leastConnections(options, turn, backends, isIpv6, withSuspects, true);
    case SCHEDULER_SH:
    case SCHEDULER_MAGLEV:
      return hashedAmong(options, backends, isIpv6, hash, withSuspects);
    default:
      return roundRobin(options, turn, backends, isIpv6, withSuspects);
  }
}

/** One after the other. */
function roundRobin(
  options: ServiceOptions,
  turn: Turn,
  backends: Backends,
  isIpv6: boolean,
  withSuspects: boolean,
): number {
  const isThere = turn.next < options.backends.length;
  return firstFrom(options, isThere ? turn.next : 0, backends, isIpv6, withSuspects);
}

/** The first one that may be taken from a place on, around the list. */
function firstFrom(
  options: ServiceOptions,
  start: number,
  backends: Backends,
  isIpv6: boolean,
  withSuspects: boolean,
): number {
  const { length } = options.backends;
  let at = start;
  for (let tried = 0; tried < length; tried += BACKEND_RECORD) {
    if (isAvailable(options, at, isIpv6, backends, withSuspects)) return at;
    at = at + BACKEND_RECORD < length ? at + BACKEND_RECORD : 0;
  }
  return -1;
}

/**
 * Smooth weighted round robin: each flow gives every backend its weight as credit, and the one with the most pays all that was given. In a
 * cycle of as many flows as all weights make, each gets exactly its weight, spread over the cycle.
 */
function weightedRoundRobin(
  options: ServiceOptions,
  backends: Backends,
  isIpv6: boolean,
  withSuspects: boolean,
): number {
  const words = options.backends;
  let best = -1;
  let most = 0;
  for (let at = 0; at < words.length; at += BACKEND_RECORD) {
    if (!isAvailable(options, at, isIpv6, backends, withSuspects)) continue;
    const credit = backends.credit[words[at + BACKEND_NUMBER]] + words[at + BACKEND_WEIGHT];
    if (best < 0 || credit > most) {
      best = at;
      most = credit;
    }
  }
  return best;
}

/** Everybody's credit behind a flow that `at` has got. */
function pay(options: ServiceOptions, backends: Backends, isIpv6: boolean, at: number): void {
  const words = options.backends;
  const { credit } = backends;
  const withSuspects = backends.isSuspect(words[at + BACKEND_NUMBER]);
  let given = 0;
  for (let other = 0; other < words.length; other += BACKEND_RECORD) {
    if (!isAvailable(options, other, isIpv6, backends, withSuspects)) continue;
    const weight = words[other + BACKEND_WEIGHT];
    credit[words[other + BACKEND_NUMBER]] += weight;
    given += weight;
  }
  credit[words[at + BACKEND_NUMBER]] -= given;
}

/** The flow that `schedule` has chosen for is there. */
export function take(options: ServiceOptions, turn: Turn, backends: Backends, isIpv6: boolean, at: number): void {
  if (options.scheduler === SCHEDULER_WRR) pay(options, backends, isIpv6, at);
  turn.next = at + BACKEND_RECORD < options.backends.length ? at + BACKEND_RECORD : 0;
}

/** The one with the fewest connections, for its weight where that counts; among equals each in turn. */
function leastConnections(
  options: ServiceOptions,
  turn: Turn,
  backends: Backends,
  isIpv6: boolean,
  withSuspects: boolean,
  isWeighted: boolean,
): number {
  const words = options.backends;
  const { length } = words;
  let best = -1;
  let bestLoad = 0;
  let bestWeight = 1;
  let at = turn.next < length ? turn.next : 0;
  for (let tried = 0; tried < length; tried += BACKEND_RECORD) {
    if (isAvailable(options, at, isIpv6, backends, withSuspects)) {
      const load = loadOf(backends, words[at + BACKEND_NUMBER]);
      const weight = isWeighted ? words[at + BACKEND_WEIGHT] : 1;
      // load / weight < bestLoad / bestWeight
      if (best < 0 || load * bestWeight < bestLoad * weight) {
        best = at;
        bestLoad = load;
        bestWeight = weight;
      }
    }
    at = at + BACKEND_RECORD < length ? at + BACKEND_RECORD : 0;
  }
  return best;
}

function loadOf({ counters }: Backends, number: number): number {
  const at = number * BACKEND_COUNTERS;
  return counters[at + COUNT_ACTIVE] * ACTIVE_SHIFT + counters[at + COUNT_INACTIVE];
}

/** By the hash of a client, whatever the scheduler: so one client has one backend as long as there is nothing to remember it by. */
export function scheduleByHash(options: ServiceOptions, backends: Backends, isIpv6: boolean, hash: number): number {
  const chosen = hashedAmong(options, backends, isIpv6, hash, false);
  return chosen >= 0 ? chosen : hashedAmong(options, backends, isIpv6, hash, true);
}

/**
 * The table of core/lb/maglev.ts says whose the hash is. Where that one is not available, another step of the hash chooses among the rest:
 * only its clients move, they spread over all, and come back with it.
 */
function hashedAmong(
  options: ServiceOptions,
  backends: Backends,
  isIpv6: boolean,
  hash: number,
  withSuspects: boolean,
): number {
  const { table } = options;
  const size = table.length;
  let step = hash;
  for (let tries = 0; size > 0 && tries < TRIES; tries++) {
    const at = table[(step >>> 0) % size] * BACKEND_RECORD;
    if (isAvailable(options, at, isIpv6, backends, withSuspects)) return at;
    step = Math.imul(step ^ (step >>> 15), 0x2c1b3c6d) + 0x297a2d39;
  }
  const count = options.backends.length / BACKEND_RECORD;
  return count === 0 ? -1 : firstFrom(options, ((hash >>> 0) % count) * BACKEND_RECORD, backends, isIpv6, withSuspects);
}
