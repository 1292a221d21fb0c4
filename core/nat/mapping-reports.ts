/** What address translation has to tell an operator. */

import type { Dataplane } from '../dataplane.js';
import { EVENT_PORT_BLOCK, EVENT_PORT_BLOCK_FREED, EVENT_PORTS_EXHAUSTED } from '../events.js';
import type { External } from './externals.js';
import type { MappingEvents } from './mappings.js';

export class MappingReports implements MappingEvents {
  private readonly dataplane: Dataplane;

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
  }

  portsExhausted(owner: number, external: External): void {
    this.add(EVENT_PORTS_EXHAUSTED, owner, external, 0, 0);
  }

  /** The block stands where events have a MAC: its first port, and how many. */
  blockTaken(owner: number, external: External, first: number, size: number): void {
    this.add(EVENT_PORT_BLOCK, owner, external, first, size);
  }

  blockFreed(owner: number, external: External, first: number, size: number): void {
    this.add(EVENT_PORT_BLOCK_FREED, owner, external, first, size);
  }

  private add(kind: number, owner: number, { a, b, c, d }: External, first: number, size: number): void {
    this.dataplane.events.addWithAddress(kind, 0, owner, first, size, a, b, c, d);
  }
}
