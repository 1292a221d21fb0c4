/** How a service is made, changed and removed: wholly, or not at all. One at a time, or several that have nothing in common. */

import type { ServiceConfig } from '../config/schema.js';
import { serviceWarnings } from '../config/service.js';
import type { DataplaneLogger } from '../dataplane.js';
import { asTaplineError, firstLine } from '../errors.js';
import type { Publications } from '../publish.js';
import type { NetworkState } from '../state.js';
import type { DataplaneServices } from '../types.js';
import { UndoStack } from '../undo.js';
import { Backend, backendKey } from './backends.js';
import { virtualClaims } from './listeners.js';
import type { Phases } from './phases.js';
import { Service } from './service.js';
import type { ServiceNumbers } from './service-numbers.js';

export interface MakerParts {
  readonly dataplane: DataplaneServices;
  readonly publications: Publications;
  readonly logger: DataplaneLogger;
  readonly numbers: ServiceNumbers;
  readonly phases: Phases;
  /** All services, which it adds to and takes from. */
  readonly all: Map<string, Service>;
  /** Addresses of an endpoint, without prefix length; none while it is not there. */
  addressesOf(endpoint: string): readonly string[];
  /** @throws TaplineError `missing` */
  network(name: string): NetworkState;
  /** The router's interface in a network follows what services listen at. */
  virtualChanged(network: string): Promise<void>;
  isStopping(): boolean;
}

export class ServiceMaker {
  readonly #parts: MakerParts;

  constructor(parts: MakerParts) {
    this.#parts = parts;
  }

  /** @throws TaplineError; then nothing of it is there */
  async make(name: string, config: ServiceConfig): Promise<Service> {
    const undo = new UndoStack();
    try {
      const service = this.#plan(name, config, undo);
      await this.#parts.numbers.saved();
      await this.#build(service, undo);
      this.#warn(service);
      return service;
    } catch (error) {
      throw await this.#undone(name, undo, error);
    }
  }

  /** Sets aside what it needs. Synchronous, so nobody comes between. */
  #plan(name: string, config: ServiceConfig, undo: UndoStack): Service {
    const { all, numbers, phases, network: networkNamed } = this.#parts;
    const network = networkNamed(config.network);
    undo.push('releasing its addresses', () => network.ipam.setVirtual(name, []));
    network.ipam.setVirtual(name, virtualClaims(config, network.config));
    const number = numbers.takeService(name);
    undo.push('releasing its number', () => numbers.releaseService(number));
    const backends = this.#takeBackends(name, config, [], undo);
    const service = new Service(name, number, network.config, { config, backends });
    // From here on its VRF tracks connections, and others know of its addresses and ports.
    all.set(name, service);
    undo.push('forgetting it', () => {
      all.delete(name);
      phases.ended(service);
    });
    phases.follow(service, new Set(backends));
    return service;
  }

  async #build(service: Service, undo: UndoStack): Promise<void> {
    const { dataplane, publications, virtualChanged } = this.#parts;
    const { network } = service.config;
    undo.push('removing it from the dataplane', () => dataplane.remove(service.number));
    await dataplane.set(service.number, service.options);
    undo.push('removing its ports', () => publications.forget(service.publisher.owner));
    await publications.listen(service.publisher, service.listeners);
    undo.push('removing its addresses', () => {
      this.#parts.network(network).ipam.setVirtual(service.name, []);
      return virtualChanged(network);
    });
    await virtualChanged(network);
  }

  /** Backends as they are wanted: those that are there already, and new ones. */
  #takeBackends(name: string, config: ServiceConfig, before: readonly Backend[], undo: UndoStack): Backend[] {
    const { numbers, addressesOf } = this.#parts;
    const known = new Map(before.map((backend) => [backend.key, backend]));
    return config.backends.map((wanted) => {
      const key = backendKey(wanted);
      const there = known.get(key);
      if (there !== undefined) return there;
      const number = numbers.takeBackend(name, key);
      undo.push('releasing the number of a backend', () => numbers.releaseBackend(number));
      const backend = new Backend(wanted, number);
      backend.place(addressesOf(wanted.endpoint));
      return backend;
    });
  }

  /**
   * All but its network. Connections go on, but for those of backends that it has no more.
   *
   * @throws TaplineError; then it is what it was
   */
  async replace(service: Service, config: ServiceConfig): Promise<void> {
    const { shape: before } = service;
    const undo = new UndoStack();
    try {
      await this.#rebuild(service, config, undo);
    } catch (error) {
      throw await this.#undone(service.name, undo, error);
    }
    this.#parts.phases.follow(service);
    if (before.config.drain_timeout !== config.drain_timeout) this.#parts.phases.drainTimeChanged(service);
    this.#warn(service);
    await this.#endRemoved(service, before.backends);
  }

  async #rebuild(service: Service, config: ServiceConfig, undo: UndoStack): Promise<void> {
    const { dataplane, publications, numbers, virtualChanged } = this.#parts;
    const { name, number, publisher, shape: before, listeners } = service;
    const network = this.#parts.network(config.network);
    const setAside = (one: ServiceConfig): void => network.ipam.setVirtual(name, virtualClaims(one, network.config));
    undo.push('taking its addresses back', () => setAside(before.config));
    setAside(config);
    const backends = this.#takeBackends(name, config, before.backends, undo);
    await numbers.saved();
    // Run in the other order: it is what it was by then.
    undo.push('putting it back', () => dataplane.set(number, service.options));
    undo.push('putting its backends back', () => {
      service.shape = before;
    });
    // Whoever is up without checks stays so until they say otherwise.
    if (!service.isChecked) for (const backend of before.backends) backend.judge(true, '');
    service.shape = { config, backends };
    await dataplane.set(number, service.options);
    undo.push('putting its ports back', () => publications.listen(publisher, listeners));
    await publications.listen(publisher, service.listeners);
    undo.push('putting its addresses back', () => {
      setAside(before.config);
      return virtualChanged(network.name);
    });
    await virtualChanged(network.name);
  }

  async #endRemoved(service: Service, before: readonly Backend[]): Promise<void> {
    const { phases, numbers } = this.#parts;
    const kept = new Set(service.backends);
    for (const backend of before.filter((one) => !kept.has(one))) {
      phases.removed(service, backend);
      await this.endFlows(backend, true);
      numbers.releaseBackend(backend.number);
    }
  }

  /** Whatever refuses to follow: it is forgotten. */
  async remove(service: Service): Promise<void> {
    const { all, dataplane, phases, publications, numbers, virtualChanged, isStopping } = this.#parts;
    const { name, number, backends } = service;
    const network = this.#parts.network(service.config.network);
    // The last one is taken first.
    const steps = new UndoStack();
    steps.push('releasing its numbers', () => {
      for (const backend of backends) numbers.releaseBackend(backend.number);
      numbers.releaseService(number);
    });
    // Only now: flows of a VRF that is not tracked any more end without a word.
    steps.push('following', () => publications.update());
    steps.push('forgetting it', () => {
      all.delete(name);
      phases.ended(service);
    });
    steps.push('removing it from the dataplane', () => dataplane.remove(number));
    for (const backend of backends) steps.push('ending its connections', () => this.endFlows(backend, true));
    steps.push('removing its addresses', () => {
      network.ipam.setVirtual(name, []);
      return isStopping() ? undefined : virtualChanged(network.name);
    });
    steps.push('removing its ports', () => publications.forget(service.publisher.owner));
    await steps.unwind((what, error) => this.#undoFailed(name, what, error));
  }

  /** @param tcp false: only what others can go on with: datagrams */
  async endFlows({ number }: Backend, tcp: boolean): Promise<void> {
    // With all else the flows go as well.
    if (!this.#parts.isStopping()) await this.#parts.dataplane.endFlows(number, tcp);
  }

  #warn({ name, config }: Service): void {
    for (const line of serviceWarnings(name, config)) this.#parts.logger.warn(line);
  }

  async #undone(name: string, undo: UndoStack, error: unknown): Promise<Error> {
    await undo.unwind((what, cause) => this.#undoFailed(name, what, cause));
    return asTaplineError(error);
  }

  #undoFailed(name: string, what: string, error: unknown): void {
    this.#parts.logger.info(`service ${name}: ${what} failed: ${firstLine(error)}`);
  }
}
