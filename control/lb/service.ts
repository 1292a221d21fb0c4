/** A service as it is wanted and as it is. */

import type { ServiceOptions } from '../../core/lb/service.js';
import type { NetworkConfig, ServiceConfig } from '../config/schema.js';
import type { Publisher, Wanted } from '../publish.js';
import type { Backend, BackendState } from './backends.js';
import { listenersOf, servicePublisher, virtualClaims } from './listeners.js';
import { serviceOptions, type Table, tableOf } from './options.js';

export interface ServiceState {
  readonly name: string;
  readonly config: ServiceConfig;
  /** The dataplane's. */
  readonly number: number;
  readonly vrf: string;
  /** In the order of the configuration. */
  readonly backends: readonly BackendState[];
  /** Addresses of the network that are its own, without prefix length. */
  readonly virtual: readonly string[];
}

/** What an update replaces. */
export interface Shape {
  readonly config: ServiceConfig;
  readonly backends: readonly Backend[];
}

export class Service implements ServiceState {
  readonly name: string;
  readonly number: number;
  readonly #network: NetworkConfig;
  readonly publisher: Publisher;
  #shape: Shape;
  #table: Table;

  /** @param network that it is in */
  constructor(name: string, number: number, network: NetworkConfig, shape: Shape) {
    this.name = name;
    this.number = number;
    this.#network = network;
    this.#shape = shape;
    this.#table = tableOf(shape.config);
    this.publisher = servicePublisher(this);
  }

  get vrf(): string {
    return this.#network.vrf;
  }

  get config(): ServiceConfig {
    return this.#shape.config;
  }

  get backends(): readonly Backend[] {
    return this.#shape.backends;
  }

  get shape(): Shape {
    return this.#shape;
  }

  /** Backends that stay keep what is known of them. */
  set shape(shape: Shape) {
    this.#table = tableOf(shape.config, this.#table);
    this.#shape = shape;
    shape.backends.forEach((backend, index) => {
      const config = shape.config.backends[index];
      if (config !== undefined) backend.config = config;
    });
  }

  get virtual(): string[] {
    return virtualClaims(this.config, this.#network).map(({ address }) => address);
  }

  get isChecked(): boolean {
    return this.config.health !== undefined;
  }

  /** What it listens on. */
  get listeners(): Wanted[] {
    return listenersOf(this.config, this.#network);
  }

  /** As the dataplane takes it. */
  get options(): ServiceOptions {
    return serviceOptions(this.name, this.config, this.backends, this.#table);
  }

  /** How a backend is called among those of all services. */
  labelOf({ key }: BackendState): string {
    return `${this.name}/${key}`;
  }
}
