/** The worker's part of core/lb: what the main thread asks of it. */

import type { Dataplane } from '../core/dataplane.js';
import { FlowEnding } from '../core/lb/ending.js';
import type { Services } from '../core/lb/services.js';
import type { Answer, Command, WorkerServicesState } from './worker-protocol.js';

export class WorkerServices {
  private readonly services: Services;
  private readonly ending: FlowEnding;

  constructor(dataplane: Dataplane) {
    this.services = dataplane.router.flows.services;
    this.ending = new FlowEnding(dataplane);
  }

  /** In place before the first packet, and before what a predecessor's flows hold is taken over. */
  inherit({ counters, services }: WorkerServicesState): void {
    this.services.backends.counters = new Float64Array(counters);
    for (const [number, options] of services) this.services.set(number, options);
  }

  /** Undefined where the command is not for it. */
  dispatch(command: Command): Answer | undefined {
    switch (command.op) {
      case 'setService':
        this.services.set(command.number, command.options);
        return null;
      case 'removeService':
        this.services.remove(command.number);
        return null;
      case 'endBackend': {
        const { backend, tcp, from, limit } = command;
        return this.ending.end(backend, tcp, from, limit);
      }
      default:
        return undefined;
    }
  }
}
