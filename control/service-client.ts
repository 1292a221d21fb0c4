/** The main thread's handle on core/lb: the services, kept for a worker's successor; and the counters of their backends. */

import {
  BACKEND_COUNTERS,
  COUNT_ACTIVE,
  COUNT_INACTIVE,
  MAX_BACKENDS,
  type ServiceOptions,
} from '../core/lb/service.js';
import { removeInPages } from './paged-removal.js';
import type { DataplaneServices } from './types.js';
import type { Answer, Command, FlushPage, WorkerServicesState } from './worker-protocol.js';

export class ServiceClient implements DataplaneServices {
  private readonly request: (command: Command) => Promise<Answer>;
  private readonly replaced: () => Promise<boolean>;
  private readonly services = new Map<number, ServiceOptions>();
  private readonly memory = new SharedArrayBuffer((MAX_BACKENDS + 1) * BACKEND_COUNTERS * 8);
  readonly counters = new Float64Array(this.memory);

  /** @param request, replaced as NatClient has them */
  constructor(request: (command: Command) => Promise<Answer>, replaced: () => Promise<boolean>) {
    this.request = request;
    this.replaced = replaced;
  }

  /** For a worker that starts. */
  setup(): { services: WorkerServicesState } {
    return { services: { counters: this.memory, services: [...this.services] } };
  }

  async set(number: number, options: ServiceOptions): Promise<void> {
    this.services.set(number, options);
    await this.request({ op: 'setService', number, options });
  }

  async remove(number: number): Promise<void> {
    this.services.delete(number);
    await this.request({ op: 'removeService', number });
  }

  async endFlows(backend: number, tcp: boolean): Promise<number> {
    const at = backend * BACKEND_COUNTERS;
    // Most that go have drained: the table is not looked through for nothing.
    if (this.counters[at + COUNT_ACTIVE] + this.counters[at + COUNT_INACTIVE] === 0) return 0;
    return removeInPages(
      async (from, limit) => (await this.request({ op: 'endBackend', backend, tcp, from, limit })) as FlushPage,
      this.replaced,
    );
  }
}
