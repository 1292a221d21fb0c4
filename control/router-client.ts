/** The main thread's handle on the router: numbers, and what a worker's successor is to be told. */

import type { NumberRegister, Numbers } from './numbers.js';
import { readFib, readNeighbors, workerInterface, workerPrefix, workerRoute } from './router-specs.js';
import type { FibEntry, InterfaceSpec, NeighborEntry, RouterStatus, RouteSpec, VrfSpec } from './types.js';
import type {
  Answer,
  Command,
  FibListing,
  WorkerInterface,
  WorkerRoute,
  WorkerSetup,
  WorkerVrf,
} from './worker-protocol.js';

/** VRFs of one dataplane. */
const MAX_VRFS = 4096;

export interface RouterClientOptions {
  readonly numbers: Numbers;
  request(command: Command): Promise<Answer>;
  /** The number of the domain that a network, or one of its VLANs, is; and the VLANs that have been given one just now. */
  domainOf(network: number, vlan: number): { fid: number; vlans: [vid: number, fid: number][] };
}

export class RouterClient {
  private readonly options: RouterClientOptions;
  private readonly vrfs = new Map<number, WorkerVrf>();
  private readonly interfaces = new Map<number, WorkerInterface>();
  /** By VRF and prefix. */
  private readonly routes = new Map<string, WorkerRoute>();
  private nextInterface: number;

  constructor(options: RouterClientOptions) {
    this.options = options;
    this.nextInterface = options.numbers.interfaces.highest + 1;
  }

  /** For a worker that starts. */
  setup(): Pick<WorkerSetup, 'vrfs' | 'interfaces' | 'routes'> {
    return {
      vrfs: [...this.vrfs.values()],
      interfaces: [...this.interfaces.values()],
      routes: [...this.routes.values()],
    };
  }

  async addVrf(spec: VrfSpec): Promise<number> {
    const { numbers } = this.options;
    const number = numbers.vrfs.take(spec.name, () => lowestVrf(numbers.vrfs));
    await numbers.saved();
    const vrf = workerVrf(number, spec);
    try {
      await this.keeping(this.vrfs, number, vrf, { op: 'addVrf', vrf });
    } catch (error) {
      numbers.vrfs.release(number);
      throw error;
    }
    return number;
  }

  async setVrf(number: number, spec: VrfSpec): Promise<void> {
    const vrf = workerVrf(number, spec);
    await this.keeping(this.vrfs, number, vrf, { op: 'setVrf', vrf });
  }

  async removeVrf(number: number): Promise<void> {
    await this.options.request({ op: 'removeVrf', number });
    this.vrfs.delete(number);
    this.options.numbers.vrfs.release(number);
    for (const [key, { vrf }] of this.routes) if (vrf === number) this.routes.delete(key);
  }

  async addInterface(spec: InterfaceSpec): Promise<number> {
    const { fid, vlans } = this.options.domainOf(spec.network, spec.vlan);
    const { interfaces } = this.options.numbers;
    // Of a domain there is one, and its number is the network's for good.
    const number = interfaces.take(`${spec.network}/${spec.vlan}`, () => this.nextInterface++);
    await this.options.numbers.saved();
    const iface = workerInterface(number, spec, fid);
    const command: Command = { op: 'addInterface', iface, network: spec.network, vlans };
    try {
      await this.keeping(this.interfaces, number, iface, command);
    } catch (error) {
      interfaces.release(number);
      throw error;
    }
    return number;
  }

  async setInterface(number: number, spec: InterfaceSpec): Promise<void> {
    const { fid } = this.options.domainOf(spec.network, spec.vlan);
    const iface = workerInterface(number, spec, fid);
    await this.keeping(this.interfaces, number, iface, { op: 'setInterface', iface });
  }

  async removeInterface(number: number): Promise<void> {
    await this.options.request({ op: 'removeInterface', number });
    this.interfaces.delete(number);
    this.options.numbers.interfaces.release(number);
    for (const [key, route] of this.routes) {
      const hops = route.hops.filter(({ iface }) => iface !== number);
      if (hops.length === route.hops.length) continue;
      if (hops.length === 0) this.routes.delete(key);
      else this.routes.set(key, { ...route, hops });
    }
  }

  async setRoute(spec: RouteSpec): Promise<void> {
    const route = workerRoute(spec);
    await this.keeping(this.routes, `${spec.vrf} ${spec.prefix}`, route, { op: 'setRoute', route });
  }

  async removeRoute(vrf: number, prefix: string): Promise<boolean> {
    const removed = await this.options.request({ op: 'removeRoute', vrf, prefix: workerPrefix(prefix) });
    this.routes.delete(`${vrf} ${prefix}`);
    return removed === true;
  }

  async fib(): Promise<FibEntry[]> {
    return readFib((await this.options.request({ op: 'fib' })) as FibListing);
  }

  async neighbors(): Promise<NeighborEntry[]> {
    return readNeighbors((await this.options.request({ op: 'neighbors' })) as Int32Array);
  }

  async flushNeighbors(iface: number): Promise<void> {
    await this.options.request({ op: 'flushNeighbors', iface });
  }

  async status(): Promise<RouterStatus> {
    return (await this.options.request({ op: 'routerStatus' })) as RouterStatus;
  }

  /** Notes what is asked for before it is: a worker that dies over it has a successor that knows. Taken back where it is refused. */
  private async keeping<K, V>(map: Map<K, V>, key: K, value: V, command: Command): Promise<void> {
    const before = map.get(key);
    map.set(key, value);
    try {
      await this.options.request(command);
    } catch (error) {
      if (map.get(key) === value) {
        if (before === undefined) map.delete(key);
        else map.set(key, before);
      }
      throw error;
    }
  }
}

function lowestVrf(vrfs: NumberRegister): number {
  for (let number = 1; number <= MAX_VRFS; number++) if (!vrfs.isTaken(number)) return number;
  throw new Error(`no more than ${MAX_VRFS} VRFs`);
}

function workerVrf(number: number, { interconnect, recordRoute, timestamp, tracking }: VrfSpec): WorkerVrf {
  return { number, options: { interconnect, recordRoute, timestamp, tracking } };
}
