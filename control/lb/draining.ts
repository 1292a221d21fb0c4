/**
 * Backends that drain: with weight 0 they get no new connections. They have drained when none is left, which their counters tell, or at
 * their deadline, when those that are left are ended.
 */

import { BACKEND_COUNTERS, COUNT_ACTIVE } from '../../core/lb/service.js';
import type { Backend } from './backends.js';
import type { Service } from './service.js';

/** Milliseconds between two looks. */
const LOOK_INTERVAL = 500;
/** Looks in a row that find no connection: one that was about to be established by the first is by the second. */
const LOOKS = 2;

export interface DrainingParts {
  /** BACKEND_COUNTERS each, by number. */
  readonly counters: Float64Array;
  /** @param isOver its deadline has come: what it has left is to be ended */
  drained(service: Service, backend: Backend, isOver: boolean): void;
}

interface Drain {
  readonly service: Service;
  readonly backend: Backend;
  idle: number;
}

export class Draining {
  readonly #parts: DrainingParts;
  /** By number of the backend. */
  readonly #all = new Map<number, Drain>();
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: DrainingParts) {
    this.#parts = parts;
  }

  /** @param seconds until its connections are ended; 0: they end by themselves */
  begin(service: Service, backend: Backend, seconds: number): void {
    backend.deadline = seconds === 0 ? null : Date.now() + seconds * 1000;
    this.#all.set(backend.number, { service, backend, idle: 0 });
    this.#timer ??= setInterval(() => this.#look(), LOOK_INTERVAL).unref();
  }

  /** Another time for one that drains still. Parameters as of `begin`, counted from then. */
  change(backend: Backend, seconds: number): void {
    if (this.#all.has(backend.number)) backend.deadline = seconds === 0 ? null : backend.since + seconds * 1000;
  }

  /** It gets connections again, or is gone. */
  end(backend: Backend): void {
    backend.deadline = null;
    this.#all.delete(backend.number);
    if (this.#all.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #look(): void {
    for (const drain of [...this.#all.values()]) {
      const { service, backend } = drain;
      const active = this.#parts.counters[backend.number * BACKEND_COUNTERS + COUNT_ACTIVE] ?? 0;
      drain.idle = active > 0 ? 0 : drain.idle + 1;
      const isOver = backend.deadline !== null && Date.now() >= backend.deadline;
      if (!isOver && drain.idle < LOOKS) continue;
      this.end(backend);
      this.#parts.drained(service, backend, isOver);
    }
  }
}
