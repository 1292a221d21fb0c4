/** All services of a dataplane, and what happens to their flows. */

import { BACKEND_COUNTERS, MAX_BACKENDS, type ServiceOptions } from './service.js';

export class Services {
  /** BACKEND_COUNTERS each, by number of the backend. */
  counters: Float64Array = new Float64Array((MAX_BACKENDS + 1) * BACKEND_COUNTERS);
  private readonly byNumber: (ServiceOptions | null)[] = [];

  /** Makes a service or replaces what it was. What its scheduler remembers stays. */
  set(number: number, options: ServiceOptions): void {
    this.byNumber[number] = options;
  }

  remove(number: number): void {
    this.byNumber[number] = null;
  }

  endFlows(_backend: number, _tcp: boolean, _from: number, _limit: number): { removed: number; next: number } {
    return { removed: 0, next: -1 };
  }
}
