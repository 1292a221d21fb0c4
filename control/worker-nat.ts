/** The worker's part of core/nat: what the main thread asks of it. */

import type { Dataplane } from '../core/dataplane.js';
import { FLOW_REST_WORDS, FLOW_WORDS } from '../core/nat/flow.js';
import type { FlowTable } from '../core/nat/flow-table.js';
import { MAX_PORTS } from '../core/ports.js';
import type { Router } from '../core/router/router.js';
import { FlowSelection } from './flow-selection.js';
import {
  type Answer,
  type Command,
  FLOW_LISTING,
  type FlowFilter,
  type FlowPage,
  type FlushPage,
  type MappingPage,
  type WorkerNatSettings,
  type WorkerNatState,
  type WorkerNatStatus,
} from './worker-protocol.js';

/** Flows that a listing looks at while packets wait, whether they match or not: less than a millisecond. */
const LOOKED = 8192;

export class WorkerNat {
  private readonly dataplane: Dataplane;
  private readonly router: Router;

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
    this.router = dataplane.router;
  }

  /** In place before the first packet. */
  inherit({ settings, published, policy, filtered, policyHits }: WorkerNatState): void {
    this.set(settings);
    this.setPublished(published);
    this.router.flows.policy.hits = new Float64Array(policyHits);
    this.setPolicy(policy, filtered);
    this.router.flows.adopt();
  }

  /** Undefined where the command is not for it. */
  dispatch(command: Command): Answer | undefined {
    switch (command.op) {
      case 'setNat':
        this.set(command.settings);
        return null;
      case 'setPublished':
        this.setPublished(command.records);
        return null;
      case 'setPolicy':
        this.setPolicy(command.records, command.filtered);
        return null;
      case 'flows':
        return this.list(command.from, command.limit, command.filter);
      case 'flushFlows':
        return this.flush(command.from, command.limit, command.filter);
      case 'natStatus':
        return this.status();
      case 'mappings':
        return this.listMappings(command.from, command.limit);
      default:
        return undefined;
    }
  }

  private set(settings: WorkerNatSettings): void {
    this.router.flows.configure(settings);
  }

  private setPublished(records: Int32Array): void {
    const { flows } = this.router;
    flows.published.set(records);
    flows.mappings.reserve(records);
    flows.changed();
  }

  private setPolicy(records: Int32Array, filtered: Int32Array): void {
    this.router.flows.policy.set(records);
    this.dataplane.topology.filter(filtered);
    this.router.flows.changed();
  }

  /** Flat and in pages, since packets wait meanwhile. */
  private list(from: number, limit: number, filter: FlowFilter): FlowPage {
    const { table } = this.router.flows;
    const selection = new FlowSelection(filter);
    const words = new Int32Array(limit * FLOW_LISTING);
    let count = 0;
    let flow = table.nextFrom(from);
    // A filter that matches little does not make the packets wait for the whole table either.
    for (let looked = 0; flow >= 0 && count < limit && looked < LOOKED; looked++, flow = table.nextFrom(flow + 1)) {
      if (!selection.isOf(table, flow)) continue;
      const at = count++ * FLOW_LISTING;
      words.set(table.words.subarray(flow * FLOW_WORDS, (flow + 1) * FLOW_WORDS), at);
      words.set(table.words.subarray(table.restAt(flow), table.restAt(flow) + FLOW_REST_WORDS), at + FLOW_WORDS);
      words.set(table.addresses6.subarray(flow * 16, flow * 16 + 16), at + FLOW_WORDS + FLOW_REST_WORDS);
      words[at + FLOW_LISTING - 1] = flow;
    }
    return { words: words.slice(0, count * FLOW_LISTING), next: flow, now: table.now };
  }

  private flush(from: number, limit: number, filter: FlowFilter): FlushPage {
    const { table } = this.router.flows;
    const selection = new FlowSelection(filter);
    let removed = 0;
    let flow = table.nextFrom(from);
    for (let looked = 0; flow >= 0 && looked < limit; looked++, flow = table.nextFrom(flow + 1)) {
      if (!selection.isOf(table, flow)) continue;
      table.remove(flow);
      removed++;
    }
    return { removed, next: flow };
  }

  private listMappings(from: number, limit: number): MappingPage {
    const { mappings } = this.router.flows;
    let next = mappings.nextFrom(from);
    for (let count = 0; next >= 0 && count < limit; count++) next = mappings.nextFrom(next + 1);
    return { words: mappings.list(from, limit), next };
  }

  private status(): WorkerNatStatus {
    const { table, mappings } = this.router.flows;
    return {
      flows: table.count,
      flowsMax: table.capacity,
      evicted: table.evicted,
      full: table.capacityReached,
      exhausted: mappings.exhausted,
      owners: ownersOf(table),
      externals: mappings.status(),
    };
  }
}

/** Pairs of port number and count. */
function ownersOf(table: FlowTable): Int32Array {
  const pairs: number[] = [];
  for (let port = 0; port < MAX_PORTS; port++) {
    const count = table.ownerCount(port);
    if (count > 0) pairs.push(port, count);
  }
  return Int32Array.from(pairs);
}
