/** The main thread's handle on core/nat: what is configured, kept for a worker's successor; and what is read back. */

import { DEFAULT_TIMEOUTS } from '../core/nat/flow-table.js';
import { MAX_RULES } from '../core/nat/policy.js';
import { FILTERING_ADDRESS_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from '../core/nat/settings.js';
import { removeInPages } from './paged-removal.js';
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

  /** @returns how many there were */
  flushFlows(filter: FlowFilter): Promise<number> {
    return removeInPages(
      async (from, limit) => (await this.request({ op: 'flushFlows', from, limit, filter })) as FlushPage,
      this.replaced,
    );
  }

  async status(): Promise<WorkerNatStatus> {
    return (await this.request({ op: 'natStatus' })) as WorkerNatStatus;
  }

  async mappings(from: number, limit: number): Promise<MappingPage> {
    return (await this.request({ op: 'mappings', from, limit })) as MappingPage;
  }
}
