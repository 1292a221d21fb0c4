/**
 * Services as they are wanted, and what follows from them: backends that are there or not, the dataplane's records and tables, addresses
 * of the router, published ports. One change after the other. Endpoints come and go without a command: a backend is there as long as
 * an endpoint of its name is, whatever its address.
 */

import { Turns } from './concurrency.js';
import { withoutLength } from './config/address.js';
import { formatPath } from './config/problems.js';
import type { Configuration, ServiceConfig } from './config/schema.js';
import { serviceProblems } from './config/service.js';
import type { DataplaneLogger } from './dataplane.js';
import { firstLine, TaplineError } from './errors.js';
import type { EventLog } from './events.js';
import type { KeptState } from './kept-state.js';
import type { Backend } from './lb/backends.js';
import { KeptServices, type StartingService } from './lb/kept-services.js';
import { virtualClaims } from './lb/listeners.js';
import { ServiceMaker } from './lb/maker.js';
import { Phases } from './lb/phases.js';
import type { Service, ServiceState } from './lb/service.js';
import { ServiceNumbers } from './lb/service-numbers.js';
import type { Numbers } from './numbers.js';
import type { Publications } from './publish.js';
import type { EndpointState, NetworkState } from './state.js';
import type { DataplaneServices } from './types.js';

export type { BackendPhase, BackendState } from './lb/backends.js';
export type { ServiceState } from './lb/service.js';

export interface ServicesParts {
  readonly dataplane: DataplaneServices;
  readonly numbers: Numbers;
  readonly publications: Publications;
  readonly kept: KeptState;
  readonly events: EventLog;
  readonly logger: DataplaneLogger;
  /** All objects that are wanted, endpoints with the addresses that they have. */
  objects(): Configuration;
  /** @throws TaplineError `missing` */
  network(name: string): NetworkState;
  /** The router's interface in a network follows what services listen at. */
  virtualChanged(network: string): Promise<void>;
  /** @throws TaplineError `conflict` */
  refuseWhileStopping(): void;
  isStopping(): boolean;
}

export class Services {
  readonly #parts: ServicesParts;
  readonly #all = new Map<string, Service>();
  /** Those of the start that are still to be made. */
  #starting: ReadonlyMap<string, StartingService> = new Map();
  /** Endpoints that are there, with their addresses. */
  readonly #there = new Map<string, readonly string[]>();
  readonly #numbers: ServiceNumbers;
  readonly #phases: Phases;
  readonly #maker: ServiceMaker;
  readonly #keptServices: KeptServices;
  readonly #listeners: (() => void)[] = [];
  readonly #turns = new Turns();

  constructor(parts: ServicesParts) {
    this.#parts = parts;
    const { counters } = parts.dataplane;
    this.#numbers = new ServiceNumbers(parts.numbers, counters);
    this.#keptServices = new KeptServices(parts.kept);
    this.#phases = new Phases({
      events: parts.events,
      counters,
      kept: parts.kept,
      endFlows: (backend) => this.#behind(() => this.#endDrained(backend)),
    });
    this.#maker = new ServiceMaker({
      ...parts,
      numbers: this.#numbers,
      phases: this.#phases,
      all: this.#all,
      addressesOf: (endpoint) => this.#there.get(endpoint) ?? [],
    });
  }

  get all(): ReadonlyMap<string, ServiceState> {
    return this.#all;
  }

  /** @throws TaplineError `missing` */
  get(name: string): ServiceState {
    return this.#get(name);
  }

  #get(name: string): Service {
    const service = this.#all.get(name);
    if (service === undefined) throw new TaplineError('missing', `no service ${name}`);
    return service;
  }

  /** As they are configured, also those of the start that are still to be made: nobody else is to have their ports. */
  configs(): ReadonlyMap<string, ServiceConfig> {
    return new Map([...this.#starting, ...this.#all].map(([name, { config }]) => [name, config]));
  }

  /** Those that stand in a network. */
  of(network: string): ServiceState[] {
    return [...this.#all.values()].filter(({ config }) => config.network === network);
  }

  /** Null where the dataplane's number means nothing (any more). */
  nameOf(number: number): string | null {
    for (const service of this.#all.values()) if (service.number === number) return service.name;
    return null;
  }

  /** SERVICE/ENDPOINT:PORT, likewise. */
  backendName(number: number): string | null {
    const found = this.#backendNumbered(number);
    return found === null ? null : found.service.labelOf(found.backend);
  }

  /** What the dataplane's numbers of backends mean, for whoever looks many up. */
  backendsByNumber(): ReadonlyMap<number, { readonly service: string; readonly backend: string }> {
    return new Map(
      [...this.#all.values()].flatMap(({ name, backends }) =>
        backends.map(({ number, key }) => [number, { service: name, backend: key }] as const),
      ),
    );
  }

  #backendNumbered(number: number): { service: Service; backend: Backend } | null {
    for (const service of this.#all.values())
      for (const backend of service.backends) if (backend.number === number) return { service, backend };
    return null;
  }

  /** Called whenever services, backends, their addresses or phases have changed. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** For what nobody waits for. */
  #behind(work: () => Promise<void>): void {
    this.#turns.run(work).catch((error: unknown) => {
      if (!this.#parts.isStopping()) this.#parts.logger.error(`services: ${firstLine(error)}`);
    });
  }

  /** Settles when nothing is under way. */
  idle(): Promise<void> {
    return this.#turns.idle();
  }

  // --- start

  /**
   * The file's services as commands have changed them, and those that commands have made. Their addresses are set aside in the networks,
   * which are there, so that no endpoint is given one.
   */
  async prepare(file: Configuration['services']): Promise<Map<string, StartingService>> {
    const starting = await this.#keptServices.starting(file, this.#parts.logger);
    this.#starting = starting;
    const { networks } = this.#parts.objects();
    for (const [name, { config }] of starting) {
      const network = networks.get(config.network);
      if (network === undefined) continue;
      const { ipam } = this.#parts.network(config.network);
      ipam.setVirtual(name, virtualClaims(config, network));
    }
    return starting;
  }

  /**
   * Makes what `prepare` has found, all at once.
   *
   * @param described the error of one that the file has, as it is to be thrown
   * @throws what `described` made of the first failure; what a command had made is said and forgotten instead
   */
  async start(
    starting: ReadonlyMap<string, StartingService>,
    described: (name: string, error: unknown) => TaplineError,
  ): Promise<void> {
    const failures: TaplineError[] = [];
    await this.#turns.run(async () => {
      const startOne = async ([name, { config, isKept }]: [string, StartingService]): Promise<void> => {
        try {
          // The file has been checked as a whole.
          if (isKept) this.#refuseMistakes(name, config);
          await this.#maker.make(name, config);
        } catch (error) {
          if (isKept) this.#forgetKept(name, config, error);
          else failures.push(described(name, error));
        }
      };
      await Promise.all([...starting].map(startOne));
      this.#starting = new Map();
    });
    this.#changed();
    if (failures[0] !== undefined) throw failures[0];
  }

  #forgetKept(name: string, { network }: ServiceConfig, error: unknown): void {
    this.#keptServices.forget(name);
    if (this.#parts.objects().networks.has(network)) this.#parts.network(network).ipam.setVirtual(name, []);
    const what = `service ${name}, made or changed by command before the restart, is not there any more`;
    this.#parts.logger.warn(`${what}: ${firstLine(error)}`);
  }

  /** Connections to backends of an earlier process that have not come back end. */
  async settle(): Promise<void> {
    this.#phases.settle();
    for (const number of this.#numbers.leftBackends()) await this.#parts.dataplane.endFlows(number, true);
    for (const { backends } of this.#all.values())
      for (const backend of backends)
        if (backend.state === 'absent') await this.#parts.dataplane.endFlows(backend.number, true);
  }

  // --- commands

  /** @throws TaplineError `missing` for what it names, `invalid`, `conflict`; nothing is left behind */
  create(name: string, config: ServiceConfig): Promise<ServiceState> {
    return this.#turns.run(async () => {
      this.#parts.refuseWhileStopping();
      if (this.#all.has(name)) throw new TaplineError('conflict', `service ${name} already exists`, 'name');
      this.#refuseMistakes(name, config);
      const service = await this.#maker.make(name, config);
      this.#keptServices.changed(name, config);
      this.#changed();
      const count = config.backends.length;
      this.#parts.logger.info(
        `service ${name} listens on ${config.listen.join(', ')}, with ${count} backend${count === 1 ? '' : 's'}`,
      );
      return service;
    });
  }

  /**
   * Replaces all that a service is but its network, while its connections go on. Those of backends that it has no more end at once, those
   * of backends with weight 0 by themselves, or when their time is over.
   *
   * @param changed what becomes of what it is by then, when all that was asked for before is done; may throw
   * @throws TaplineError as of `create`, and `missing` for the service; then it is what it was
   */
  change(name: string, changed: (before: ServiceConfig) => ServiceConfig): Promise<ServiceState> {
    return this.#turns.run(async () => {
      this.#parts.refuseWhileStopping();
      const service = this.#get(name);
      const { network } = service.config;
      const config = changed(service.config);
      if (config.network !== network)
        throw new TaplineError('invalid', `service ${name} stays in network ${network}; remove it first`, 'network');
      this.#refuseMistakes(name, config);
      await this.#maker.replace(service, config).finally(() => this.#changed());
      this.#keptServices.changed(name, config);
      this.#parts.logger.info(`service ${name} changed`);
      return service;
    });
  }

  /** @throws TaplineError `missing` */
  remove(name: string): Promise<void> {
    return this.#turns.run(async () => {
      this.#parts.refuseWhileStopping();
      await this.#maker.remove(this.#get(name));
      this.#keptServices.changed(name, null);
      this.#changed();
      this.#parts.logger.info(`service ${name} removed`);
    });
  }

  /** All that stand in a network that is on its way out. */
  removeOf(network: string): Promise<void> {
    return this.#turns.run(async () => {
      for (const service of [...this.#all.values()].filter(({ config }) => config.network === network)) {
        await this.#maker.remove(service);
        this.#keptServices.forget(service.name);
        this.#parts.logger.info(`service ${service.name} removed with network ${network}`);
      }
      this.#changed();
    });
  }

  /** At the end of the process; nothing is written down of it. */
  clear(): Promise<void> {
    return this.#turns.run(async () => {
      this.#starting = new Map();
      await Promise.all([...this.#all.values()].map((service) => this.#maker.remove(service)));
      this.#changed();
    });
  }

  /** @throws TaplineError the first mistake, with the key in the service */
  #refuseMistakes(name: string, config: ServiceConfig): void {
    const [problem] = serviceProblems(name, config, this.#parts.objects());
    if (problem !== undefined) throw new TaplineError(problem.kind, problem.message, formatPath(problem.path));
    const { phase } = this.#parts.network(config.network);
    if (phase !== 'up')
      throw new TaplineError('conflict', `network ${config.network} is ${phase}; try again`, 'network');
  }

  // --- what becomes of backends

  /** What one has left whose deadline has come; unless it was given a weight again meanwhile. */
  async #endDrained(backend: Backend): Promise<void> {
    if (backend.state === 'draining') await this.#maker.endFlows(backend, true);
  }

  /** An endpoint has its addresses and its port, whoever had the name before. */
  endpointUp(endpoint: EndpointState): Promise<void> {
    const addresses = endpoint.addresses.map(withoutLength);
    return this.#turns.run(async () => {
      this.#there.set(endpoint.name, addresses);
      await this.#tellAll(this.#place(endpoint.name, addresses));
    });
  }

  /** An endpoint is on its way out: it gets no new connections, and those that it has end, with a word to both sides. */
  endpointGone(name: string): Promise<void> {
    return this.#turns.run(async () => {
      this.#there.delete(name);
      const placed = this.#place(name, []);
      if (this.#parts.isStopping()) return;
      try {
        await this.#tellAll(placed);
      } finally {
        for (const { backend } of placed) await this.#maker.endFlows(backend, true);
      }
    });
  }

  /** @returns all backends that the endpoint is */
  #place(endpoint: string, addresses: readonly string[]): { service: Service; backend: Backend }[] {
    const placed: { service: Service; backend: Backend }[] = [];
    for (const service of this.#all.values()) {
      const backends = service.backends.filter(({ config }) => config.endpoint === endpoint);
      for (const backend of backends) {
        backend.place(addresses);
        placed.push({ service, backend });
      }
      if (backends.length > 0) this.#phases.follow(service);
    }
    if (placed.length > 0) this.#changed();
    return placed;
  }

  async #tellAll(placed: readonly { readonly service: Service }[]): Promise<void> {
    const services = new Set(placed.map(({ service }) => service));
    await Promise.all([...services].map((service) => this.#tell(service)));
  }

  #tell(service: Service): Promise<void> {
    return this.#parts.dataplane.set(service.number, service.options);
  }

  /** What its check says of a backend. Nothing happens where that is not there any more, or not checked. @param key ENDPOINT:PORT */
  setHealth(name: string, key: string, up: boolean, reason: string): void {
    const service = this.#all.get(name);
    const backend = service?.backends.find((one) => one.key === key);
    if (service === undefined || backend === undefined || !service.isChecked) return;
    const before = backend.isUp(true);
    backend.judge(up, reason);
    if (this.#phases.follow(service)) this.#changed();
    const isUp = backend.isUp(true);
    if (isUp === before) return;
    this.#behind(async () => {
      if (this.#all.get(name) !== service) return;
      await this.#tell(service);
      // A server that does not answer its check may go on with what it has begun; datagrams go to others.
      if (!isUp) await this.#maker.endFlows(backend, false);
    });
  }

  /** What the dataplane says of a backend by its number. */
  setSuspect(number: number, suspect: boolean): void {
    const found = this.#backendNumbered(number);
    if (found === null || found.backend.suspect === suspect) return;
    found.backend.suspect = suspect;
    this.#changed();
  }
}
