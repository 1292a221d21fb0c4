/**
 * Backends that drain: with weight 0 they get no new connections. They have drained when none is left, which their counters tell, or at
 * their deadline, when those that are left are ended. Deadlines are written down: they are the same for the process after this one.
 */

import { BACKEND_COUNTERS, COUNT_ACTIVE } from '../../core/lb/service.js';
import type { KeptState } from '../kept-state.js';
import type { Backend } from './backends.js';
import type { Service } from './service.js';

/** Milliseconds between two looks. */
const LOOK_INTERVAL = 500;
/** Looks in a row that find no connection: one that was about to be established by the first is by the second. */
const LOOKS = 2;

export interface DrainingParts {
  /** BACKEND_COUNTERS each, by number. */
  readonly counters: Float64Array;
  readonly kept: KeptState;
  /** @param isOver its deadline has come: what it has left is to be ended */
  drained(service: Service, backend: Backend, isOver: boolean): void;
}

interface Drain {
  readonly service: Service;
  readonly backend: Backend;
  idle: number;
  /** Its end is worth a word: it was said to drain, or has had connections since. */
  isNews: boolean;
}

/** As it is written down. */
interface Deadline {
  /** Seconds, as they were asked for: with others it counts anew. */
  readonly timeout: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export class Draining {
  readonly #parts: DrainingParts;
  /** By number of the backend. */
  readonly #all = new Map<number, Drain>();
  #timer: NodeJS.Timeout | null = null;
  /** An earlier process's, of backends that have not come back yet. */
  readonly #left: Map<string, Deadline>;

  constructor(parts: DrainingParts) {
    this.#parts = parts;
    this.#left = new Map(parts.kept.objects('drain') as [string, Deadline][]);
  }

  /**
   * @param seconds until its connections are ended; 0: they end by themselves
   * @param isNews it is said to drain
   */
  begin(service: Service, backend: Backend, seconds: number, isNews: boolean): void {
    const key = service.labelOf(backend);
    const left = this.#left.get(key);
    this.#left.delete(key);
    this.#setDeadline(service, backend, seconds, left?.timeout === seconds ? left.at : Date.now() + seconds * 1000);
    this.#all.set(backend.number, { service, backend, idle: 0, isNews });
    this.#timer ??= setInterval(() => this.#look(), LOOK_INTERVAL).unref();
  }

  /** Another time for one that drains still. Parameters as of `begin`, counted from then. */
  change(backend: Backend, seconds: number): void {
    const drain = this.#all.get(backend.number);
    if (drain !== undefined) this.#setDeadline(drain.service, backend, seconds, backend.since + seconds * 1000);
  }

  #setDeadline(service: Service, backend: Backend, timeout: number, at: number): void {
    const { kept } = this.#parts;
    const key = service.labelOf(backend);
    backend.deadline = timeout === 0 ? null : at;
    if (timeout === 0) kept.removeObject('drain', key);
    else kept.setObject('drain', key, { timeout, at } satisfies Deadline);
  }

  /** It gets connections again, or is gone. */
  end(backend: Backend): void {
    const drain = this.#all.get(backend.number);
    if (drain === undefined) return;
    this.#setDeadline(drain.service, backend, 0, 0);
    this.#all.delete(backend.number);
    if (this.#all.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Whoever has not come back by now does not. */
  settle(): void {
    for (const key of this.#left.keys()) this.#parts.kept.removeObject('drain', key);
    this.#left.clear();
  }

  #look(): void {
    for (const drain of [...this.#all.values()]) {
      const { service, backend } = drain;
      const active = this.#parts.counters[backend.number * BACKEND_COUNTERS + COUNT_ACTIVE] ?? 0;
      drain.idle = active > 0 ? 0 : drain.idle + 1;
      drain.isNews ||= active > 0;
      const isOver = backend.deadline !== null && Date.now() >= backend.deadline;
      if (!isOver && drain.idle < LOOKS) continue;
      this.end(backend);
      if (drain.isNews) this.#parts.drained(service, backend, isOver);
    }
  }
}
