/** The dataplane's numbers of services and backends, which names keep from one process to the next. */

import { BACKEND_COUNTERS, MAX_BACKENDS, MAX_SERVICES } from '../../core/lb/service.js';
import { TaplineError } from '../errors.js';
import { goingRound, type Numbers } from '../numbers.js';

export class ServiceNumbers {
  readonly #numbers: Numbers;
  readonly #counters: Float64Array;
  readonly #nextService: () => number | null;
  readonly #nextBackend: () => number | null;

  /** @param counters of backends, BACKEND_COUNTERS each by number */
  constructor(numbers: Numbers, counters: Float64Array) {
    this.#numbers = numbers;
    this.#counters = counters;
    this.#nextService = goingRound(numbers.services, MAX_SERVICES);
    this.#nextBackend = goingRound(numbers.backends, MAX_BACKENDS);
  }

  /** To be written down (`saved`) before it is used. @throws TaplineError `conflict` where none is left */
  takeService(name: string): number {
    return this.#numbers.services.take(name, () => {
      const number = this.#nextService();
      if (number !== null) return number;
      throw new TaplineError('conflict', `there are ${MAX_SERVICES} services already; remove one first`);
    });
  }

  /** As `takeService`. @param key ENDPOINT:PORT */
  takeBackend(service: string, key: string): number {
    return this.#numbers.backends.take(`${service}/${key}`, () => {
      const number = this.#nextBackend();
      if (number === null)
        throw new TaplineError('conflict', `there are ${MAX_BACKENDS} backends already; remove some first`);
      // What the one counted that had the number before is not of this one.
      this.#counters.fill(0, number * BACKEND_COUNTERS, (number + 1) * BACKEND_COUNTERS);
      return number;
    });
  }

  releaseService(number: number): void {
    this.#numbers.services.release(number);
  }

  releaseBackend(number: number): void {
    this.#numbers.backends.release(number);
  }

  /** Those of an earlier process's backends that nobody has asked for yet. */
  leftBackends(): number[] {
    return this.#numbers.backends.left();
  }

  saved(): Promise<void> {
    return this.#numbers.saved();
  }
}
