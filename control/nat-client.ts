/** The main thread's handle on core/nat: what is configured, kept for a worker's successor; and what is read back. */

import { DEFAULT_TIMEOUTS } from '../core/nat/flow-table.js';
import { MAX_RULES } from '../core/nat/policy.js';
import { FILTERING_ADDRESS_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from '../core/nat/settings.js';
import type {
  Answer,
  Command,
  FlowFilter,
  FlowPage,
  FlushPage,
  MappingPage,
  WorkerNatSettings,
  WorkerNatState,
  WorkerNatStatus,
} from './worker-protocol.js';

export const DEFAULT_NAT_SETTINGS: WorkerNatSettings = {
  mapping: MAPPING_ENDPOINT_INDEPENDENT,
  filtering: FILTERING_ADDRESS_DEPENDENT,
  firstPort: 1024,
  lastPort: 65_535,
  portBlock: 0,
  flowsPerEndpoint: 131_072,
  timeouts: DEFAULT_TIMEOUTS,
  algs: 0,
};

/** Entries of the table that a flush looks at while packets wait: about a millisecond. */
const FLUSH_PAGE = 4096;

/** No worker is there to do what was asked for. */
export class NoWorkerError extends Error {}

/** Every flow. */
export const ANY_FLOW: FlowFilter = {
  protocol: 0,
  states: 0,
  source: null,
  destination: null,
  port: 0,
  reached: null,
  translated: false,
  party: null,
  backends: null,
  spared: [],
};

export class NatClient {
  private readonly request: (command: Command) => Promise<Answer>;
  private state: WorkerNatState = {
    settings: DEFAULT_NAT_SETTINGS,
    published: new Int32Array(0),
    policy: new Int32Array(0),
    filtered: new Int32Array(0),
    policyHits: new SharedArrayBuffer(MAX_RULES * 8),
  };
  readonly policyHits = new Float64Array(this.state.policyHits);

  private readonly replaced: () => Promise<boolean>;

  /**
   * @param request rejects with NoWorkerError what no worker has done
   * @param replaced settles once a worker runs: true where it is another than before; false where none will
   */
  constructor(request: (command: Command) => Promise<Answer>, replaced = () => Promise.resolve(false)) {
    this.request = request;
    this.replaced = replaced;
  }

  /** For a worker that starts. */
  setup(): Pick<{ nat: WorkerNatState }, 'nat'> {
    return { nat: this.state };
  }

  async setSettings(settings: WorkerNatSettings): Promise<void> {
    this.state = { ...this.state, settings };
    await this.request({ op: 'setNat', settings });
  }

  async setPublished(published: Int32Array): Promise<void> {
    this.state = { ...this.state, published };
    await this.request({ op: 'setPublished', records: published });
  }

  async setPolicy(policy: Int32Array, filtered: Int32Array): Promise<void> {
    this.state = { ...this.state, policy, filtered };
    await this.request({ op: 'setPolicy', records: policy, filtered });
  }

  async flows(from: number, limit: number, filter: FlowFilter): Promise<FlowPage> {
    return (await this.request({ op: 'flows', from, limit, filter })) as FlowPage;
  }

  /** Flows outlive a worker: what one that died has not ended, its successor does. @returns how many there were */
  async flushFlows(filter: FlowFilter): Promise<number> {
    for (;;) {
      try {
        return await this.flushPages(filter);
      } catch (error) {
        if (!(error instanceof NoWorkerError) || !(await this.replaced())) throw error;
      }
    }
  }

  /** In pages, between which packets pass. */
  private async flushPages(filter: FlowFilter): Promise<number> {
    let count = 0;
    for (let from = 0; from >= 0; ) {
      const { removed, next } = (await this.request({
        op: 'flushFlows',
        from,
        limit: FLUSH_PAGE,
        filter,
      })) as FlushPage;
      count += removed;
      from = next;
    }
    return count;
  }

  async status(): Promise<WorkerNatStatus> {
    return (await this.request({ op: 'natStatus' })) as WorkerNatStatus;
  }

  async mappings(from: number, limit: number): Promise<MappingPage> {
    return (await this.request({ op: 'mappings', from, limit })) as MappingPage;
  }
}
