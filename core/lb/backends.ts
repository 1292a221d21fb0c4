/** What is known of backends by their numbers, whichever service they are of: counters, trust, and where they are. */

import type { EventList } from '../events.js';
import { EVENT_BACKEND_SUSPECT, EVENT_BACKEND_TRUSTED } from '../events.js';
import {
  BACKEND_COUNTERS,
  BACKEND_NUMBER,
  BACKEND_RECORD,
  COUNT_ACTIVE,
  COUNT_FAILURES,
  COUNT_FLOWS,
  COUNT_INACTIVE,
  MAX_BACKENDS,
  type ServiceOptions,
} from './service.js';

/** A backend of a service. */
export interface Place {
  readonly options: ServiceOptions;
  /** First word of its record in `options.backends`. */
  readonly at: number;
}

export class Backends {
  /** BACKEND_COUNTERS each, by number. */
  counters: Float64Array = new Float64Array((MAX_BACKENDS + 1) * BACKEND_COUNTERS);
  /** By number: failures since the last success. */
  private readonly failures = new Int32Array(MAX_BACKENDS + 1);
  /** By number: second in which it is trusted again; 0: it is. */
  private readonly suspectUntil = new Int32Array(MAX_BACKENDS + 1);
  /** By number: what the smooth weighted round robin owes it. */
  readonly credit = new Int32Array(MAX_BACKENDS + 1);
  private readonly suspects: number[] = [];
  private readonly places: (Place | null)[] = [];
  private readonly events: EventList;

  constructor(events: EventList) {
    this.events = events;
  }

  /** Backends of a service are these from now on. */
  place(options: ServiceOptions): void {
    const { backends } = options;
    for (let at = 0; at < backends.length; at += BACKEND_RECORD) {
      const number = backends[at + BACKEND_NUMBER];
      this.places[number] = { options, at };
      // Owed by other weights, or among others: a small weight would pay for a large one of before with many flows.
      this.credit[number] = 0;
    }
  }

  /** They are no more, unless they have come up elsewhere. */
  displace(options: ServiceOptions): void {
    const { backends } = options;
    for (let at = 0; at < backends.length; at += BACKEND_RECORD) {
      const number = backends[at + BACKEND_NUMBER];
      if (this.places[number]?.options === options) this.places[number] = null;
    }
  }

  /** Null: there is none of that number (any more). */
  placeOf(number: number): Place | null {
    return this.places[number] ?? null;
  }

  /** There was one; it is not one that nobody has told of yet, behind a start. */
  isGone(number: number): boolean {
    return this.places[number] === null;
  }

  isSuspect(number: number): boolean {
    return this.suspectUntil[number] !== 0;
  }

  /** Flows of now are counted anew from here: also those of backends that nobody has told of yet, or does not any more. */
  recount(): void {
    const { counters } = this;
    for (let at = 0; at < counters.length; at += BACKEND_COUNTERS) {
      // What was never written stays memory that is not there.
      if (counters[at + COUNT_ACTIVE] !== 0) counters[at + COUNT_ACTIVE] = 0;
      if (counters[at + COUNT_INACTIVE] !== 0) counters[at + COUNT_INACTIVE] = 0;
    }
  }

  /** A flow of its is there. */
  joins(number: number, isActive: boolean): void {
    this.counters[number * BACKEND_COUNTERS + (isActive ? COUNT_ACTIVE : COUNT_INACTIVE)]++;
  }

  leaves(number: number, isActive: boolean): void {
    this.counters[number * BACKEND_COUNTERS + (isActive ? COUNT_ACTIVE : COUNT_INACTIVE)]--;
  }

  /** A flow has begun there. */
  begins(number: number): void {
    this.counters[number * BACKEND_COUNTERS + COUNT_FLOWS]++;
  }

  /** It has refused a flow, or not answered it in time. */
  fails(number: number, now: number): void {
    this.counters[number * BACKEND_COUNTERS + COUNT_FAILURES]++;
    const place = this.placeOf(number);
    if (place === null || this.suspectUntil[number] !== 0) return;
    const { failures, suspectTime } = place.options;
    this.failures[number]++;
    if (failures === 0 || this.failures[number] < failures) return;
    this.suspectUntil[number] = now + suspectTime;
    this.suspects.push(number);
    this.events.add(EVENT_BACKEND_SUSPECT, 0, 0, 0, 0, 0, number);
  }

  /** It has answered. */
  succeeds(number: number): void {
    this.failures[number] = 0;
    if (this.suspectUntil[number] !== 0) this.trust(number);
  }

  /** Somebody knows that it is well. */
  trust(number: number): void {
    const at = this.suspects.indexOf(number);
    if (at >= 0) this.suspects.splice(at, 1);
    this.failures[number] = 0;
    if (this.suspectUntil[number] === 0) return;
    this.suspectUntil[number] = 0;
    this.events.add(EVENT_BACKEND_TRUSTED, 0, 0, 0, 0, 0, number);
  }

  /** Once a second: time is over for some. */
  tick(now: number): void {
    for (let i = this.suspects.length - 1; i >= 0; i--) {
      if (this.suspectUntil[this.suspects[i]] <= now) this.trust(this.suspects[i]);
    }
  }
}
