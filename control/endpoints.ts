/**
 * The life of endpoints: planned, given addresses, attached, and taken back whole, by request or since their container, namespace
 * or interface ended.
 */

import type { Logger } from 'pino';
import { attachPort, defaultGateways, findPlace, missingNamespace, type Place } from './attach.js';
import { type KeyedLock, Semaphore } from './concurrency.js';
import { formatAddress } from './config/address.js';
import type { EndpointConfig } from './config/schema.js';
import { gatewaysOf } from './config/subnets.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import { addHostName, HOST_NAME } from './host-name.js';
import type { KeptEndpoint, KeptState } from './kept-state.js';
import { NamespaceRoutes } from './namespace-routes.js';
import { superPacketSize } from './network-mtu.js';
import { isolationClass } from './port-spec.js';
import { slaacAddresses } from './slaac.js';
import type { EndpointState, NetworkState } from './state.js';
import type { System } from './system.js';
import type { Dataplane } from './types.js';
import { UndoStack } from './undo.js';

/** TAPs made at once. Each waits for `ip` most of its time, so a few overlap well even on two cores. */
const ATTACH_AT_ONCE = 6;

/** What they need of the daemon. */
export interface EndpointsParts {
  readonly system: System;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  /** Work on an endpoint holds `endpoint NAME`. */
  readonly lock: KeyedLock;
  readonly kept: KeptState;
  /** @throws TaplineError `missing` */
  network(name: string): NetworkState;
  isBridged(network: string): boolean;
  uplink(): HostDevice | null;
  isStopping(): boolean;
  cameUp(): void;
  /** Makes its published ports. @throws TaplineError; then nothing of it is published */
  publish(endpoint: EndpointState): Promise<void>;
  /** Ends them, and all connections to it. */
  unpublish(endpoint: EndpointState): Promise<void>;
  /** What was captured or mirrored there ends. */
  portRemoved(port: number): void;
}

/** The device of the host that an uplink is on. */
interface HostDevice {
  readonly device: string;
  /** Whether a MAC of a network is that of the device. */
  isHostMac(network: string, mac: string): boolean;
}

export class Endpoints {
  readonly all = new Map<string, EndpointState>();
  readonly #parts: EndpointsParts;
  readonly #namespaceRoutes: NamespaceRoutes;
  readonly #attaching = new Semaphore(ATTACH_AT_ONCE);
  /** Those of an earlier process whose TAPs have been looked after. */
  readonly #lookedAfter = new Set<string>();
  /** Ports that went down before addPort had told us whose they are. */
  readonly #orphanedPortDowns = new Map<number, string>();

  constructor(parts: EndpointsParts) {
    this.#parts = parts;
    this.#namespaceRoutes = new NamespaceRoutes(parts.system, parts.logger);
  }

  /** @throws TaplineError `missing` */
  get(name: string): EndpointState {
    const endpoint = this.all.get(name);
    if (endpoint === undefined) throw new TaplineError('missing', `no endpoint ${name}`);
    return endpoint;
  }

  of(network: string): EndpointState[] {
    return [...this.all.values()].filter(({ config }) => config.network === network);
  }

  /** A namespace file that is none is said before anything is made. @throws TaplineError `missing` */
  requireNamespace({ netns }: EndpointConfig): void {
    if (netns !== undefined && !this.#parts.system.isNamespace(netns)) throw missingNamespace(netns);
  }

  /**
   * The process, or the namespace, that an endpoint of an earlier process was in must be there still: a number or a path may be
   * another's by now. A container is known by its name.
   *
   * @throws TaplineError `missing`
   */
  requireSamePlace(name: string, { pid, netns }: EndpointConfig): void {
    const left = this.#parts.kept.left.get(name);
    if (left === undefined || (pid === undefined && netns === undefined)) return;
    if (this.#parts.system.namespaceIdentity(left.netns) === left.identity) return;
    const what = pid === undefined ? `network namespace ${netns} went away` : `process ${pid} ended`;
    throw new TaplineError('missing', `its ${what}`);
  }

  /** Removes the TAPs that an earlier process had and nobody has taken over. @returns what was removed, for the log */
  async removeLeft(): Promise<string[]> {
    const removed = await Promise.all([...this.#parts.kept.left].map(([name, left]) => this.#removeLeft(name, left)));
    return removed.filter((text) => text !== '');
  }

  async #removeLeft(name: string, left: KeptEndpoint): Promise<string> {
    if (this.#lookedAfter.has(name)) return '';
    this.#lookedAfter.add(name);
    const { system, kept } = this.#parts;
    const live = this.all.get(name);
    if (live?.place?.identity === left.identity && live.config.interface === left.interface) return '';
    if (live === undefined) kept.removeEndpoint(name);
    if (system.namespaceIdentity(left.netns) !== left.identity) return '';
    if (!(await system.removeTap(left.netns, left.interface, `tapline:${name}`))) return '';
    await this.#namespaceRoutes.tidy(left.identity, left.netns);
    return `interface ${left.interface} of endpoint ${name}`;
  }

  /**
   * Puts an endpoint into the desired state and sets its own addresses aside. Synchronous, so nobody comes between.
   *
   * @throws TaplineError; then there is none
   */
  plan(name: string, config: EndpointConfig): EndpointState {
    const network = this.#parts.network(config.network);
    if (network.phase !== 'up') {
      throw new TaplineError('conflict', `network ${config.network} is ${network.phase}; try again`, 'network');
    }
    this.#refuseHostMac(config);
    network.ipam.reserve(name, config);
    const undo = new UndoStack();
    undo.push('releasing the addresses', () => network.ipam.release(name));
    const endpoint: EndpointState = {
      name,
      config,
      undo,
      phase: 'starting',
      addresses: [],
      mac: '',
      isolation: isolationClass(config, network.config, this.of(network.name)),
      place: null,
      port: -1,
    };
    this.all.set(name, endpoint);
    return endpoint;
  }

  /** Else what the wire sends to the host would go to the endpoint. */
  #refuseHostMac({ network, mac, macs }: EndpointConfig): void {
    const uplink = this.#parts.uplink();
    const refuse = (one: string | undefined, key: string): void => {
      if (uplink === null || one === undefined || !uplink.isHostMac(network, one)) return;
      const what = `${one} is the MAC of the host's ${uplink.device}`;
      throw new TaplineError('conflict', `${what}; choose another`, key);
    };
    refuse(mac, 'mac');
    macs.forEach((one, index) => {
      refuse(one, `macs[${index}]`);
    });
  }

  /** Lets IPAM fill in what the user left open. */
  address(endpoint: EndpointState): void {
    const { name, config } = endpoint;
    try {
      const { addresses, mac } = this.#parts.network(config.network).ipam.complete(name, config.addresses, config.mac);
      endpoint.addresses = addresses;
      endpoint.mac = mac;
    } catch (error) {
      this.all.delete(name);
      throw error;
    }
  }

  /**
   * Attaches one that has been planned and has its addresses, for whoever holds its lock.
   *
   * @throws TaplineError; then it is gone
   */
  attach(endpoint: EndpointState): Promise<void> {
    return this.#attaching.run(() => this.#attach(endpoint, 'info'));
  }

  /**
   * The same for many, a few at once. After a failure, and once the daemon is stopping, no more are begun.
   *
   * @param described the error of an endpoint as it is to be thrown
   * @throws what `described` made of the first failure
   */
  async attachAll(names: readonly string[], described: (name: string, error: unknown) => TaplineError): Promise<void> {
    const failures: TaplineError[] = [];
    const attachOne = async (name: string): Promise<void> => {
      if (failures.length > 0 || this.#parts.isStopping()) return;
      await this.#attach(this.get(name), 'debug').catch((error: unknown) => {
        failures.push(described(name, error));
      });
    };
    const { lock } = this.#parts;
    await Promise.all(
      names.map((name) => lock.run(`endpoint ${name}`, () => this.#attaching.run(() => attachOne(name)))),
    );
    if (failures[0] !== undefined) throw failures[0];
  }

  async #attach(endpoint: EndpointState, level: 'info' | 'debug'): Promise<void> {
    try {
      await this.#makePort(endpoint);
    } catch (error) {
      await this.#takeDown(endpoint);
      throw asTaplineError(error);
    }
    const down = this.#orphanedPortDowns.get(endpoint.port);
    this.#orphanedPortDowns.delete(endpoint.port);
    endpoint.phase = 'up';
    this.#parts.cameUp();
    if (down !== undefined) this.#gone(endpoint, `its interface was taken away (${down})`);
    const { name, addresses, config } = endpoint;
    this.#parts.logger[level](
      `endpoint ${name} attached to ${config.network}: ${config.interface} ${addresses.join(' ')}`,
    );
  }

  async #makePort(endpoint: EndpointState): Promise<void> {
    const { name, config, undo, addresses, mac, isolation } = endpoint;
    const place = await findPlace(config, this.#parts.system, undo);
    this.#claimInterface(endpoint, place);
    this.#warnAbout(endpoint, place);
    const network = this.#parts.network(config.network);
    const bridged = this.#parts.isBridged(network.name);
    const slaac = slaacAddresses(network.config, mac, bridged);
    const gateways = defaultGateways(network.config, bridged);
    const table = this.#joinNamespace(endpoint, place, [...addresses, ...slaac], gateways);
    // Before there is a TAP: whoever comes after a kill finds it by this.
    const { path: netns, identity } = place;
    const where = { network: network.name, vrf: network.config.vrf, addresses };
    this.#parts.kept.setEndpoint(name, { ...where, netns, identity, interface: config.interface, table });
    const alone = this.#namespaceRoutes.isAlone(place.identity);
    const facts = { name, config, network: network.config, addresses, mac, slaac, isolation };
    const sizes = { mtu: network.mtu, gsoMaxSize: superPacketSize(network.config, network.mtu) };
    const request = { ...facts, ...sizes, networkId: network.id, gateways: alone ? gateways : [] };
    const { port, tookOver } = await attachPort(request, place, this.#parts.system, this.#parts.dataplane, undo);
    endpoint.port = port;
    undo.push('telling who listens', () => {
      this.#parts.portRemoved(endpoint.port);
    });
    undo.push('leading nothing there', () => this.#namespaceRoutes.depart(place.identity, name));
    await this.#namespaceRoutes.arrived(place.identity, name, alone && !tookOver);
    this.#nameHost(endpoint, place);
    undo.push('ending its connections', () => this.#parts.unpublish(endpoint));
    await this.#parts.publish(endpoint);
    if (place.process === null) return;
    const unwatch = this.#parts.dataplane.watchPidfd(place.process.pidfd, () =>
      this.#gone(endpoint, 'its process ended', 'info'),
    );
    undo.push('unwatching the process', unwatch);
  }

  /** Where the host is reached, its name is known in the container. Without it all else works: what fails is said only. */
  #nameHost({ name, config, undo }: EndpointState, place: Place): void {
    const network = this.#parts.network(config.network).config;
    const [gateway] = gatewaysOf(network);
    if (!network.host || gateway === undefined) return;
    try {
      const remove = addHostName(place, name, formatAddress(gateway), this.#parts.system);
      if (remove !== null) undo.push(`removing ${HOST_NAME}`, remove);
    } catch (error) {
      this.#parts.logger.warn(`endpoint ${name}: ${HOST_NAME} is not known there: ${firstLine(error)}`);
    }
  }

  /** Two names can lead to one namespace, so what counts is the namespace itself. */
  #claimInterface(endpoint: EndpointState, place: Place): void {
    for (const other of this.all.values()) {
      if (other.place?.identity !== place.identity || other.config.interface !== endpoint.config.interface) continue;
      const what = `${endpoint.config.interface} in ${place.path} already belongs to endpoint ${other.name}`;
      throw new TaplineError('conflict', `${what}; choose another interface name`, 'interface');
    }
    endpoint.place = place;
  }

  /** Leaving comes after the interface has gone: its routes went with it, and what is left is put in order for the others. */
  #joinNamespace(
    { name, config, undo }: EndpointState,
    { identity, path }: Place,
    addresses: readonly string[],
    gateways: readonly string[],
  ): number {
    const { network, interface: device, gateway_priority: priority } = config;
    const member = { name, network, interface: device, priority, addresses, gateways };
    const left = this.#parts.kept.left.get(name);
    const isLeft = left?.identity === identity && left.interface === device && !this.#lookedAfter.has(name);
    const table = this.#namespaceRoutes.join(identity, path, member, isLeft ? left.table : null);
    undo.push('putting the routes of the namespace in order', () => this.#namespaceRoutes.leave(identity, name));
    return table;
  }

  #warnAbout({ name }: EndpointState, { container }: Place): void {
    if (container === null || container.networkMode === 'none' || container.networkMode === '') return;
    this.#parts.logger.warn(
      `endpoint ${name}: its container also has network mode ${container.networkMode}; start it with --network none`,
    );
  }

  /** Interfaces of endpoints get the MTU that their network has by now. What fails is said. */
  async followMtu({ name }: NetworkState): Promise<void> {
    const { lock } = this.#parts;
    const followOne = (endpoint: EndpointState): Promise<void> =>
      lock.run(`endpoint ${endpoint.name}`, () => this.#attaching.run(() => this.#resize(endpoint)));
    await Promise.all(this.of(name).map(followOne));
  }

  async #resize(endpoint: EndpointState): Promise<void> {
    const { name, config, place, phase } = endpoint;
    if (this.all.get(name) !== endpoint || phase !== 'up' || place === null) return;
    const { mtu, config: network } = this.#parts.network(config.network);
    const tap = { netns: place.path, interface: config.interface };
    await this.#parts.system.resizeTap(tap, mtu, superPacketSize(network, mtu)).catch((error: unknown) => {
      this.#parts.logger.warn(`endpoint ${name}: ${config.interface} does not get MTU ${mtu}: ${firstLine(error)}`);
    });
  }

  /** Takes one back, if it is still there, when nothing else is under way with it. */
  async detach(endpoint: EndpointState): Promise<void> {
    await this.#parts.lock.run(`endpoint ${endpoint.name}`, async () => {
      if (this.all.get(endpoint.name) === endpoint) await this.detachNow(endpoint);
    });
  }

  /** The same for whoever holds its lock. */
  async detachNow(endpoint: EndpointState): Promise<void> {
    endpoint.phase = 'stopping';
    await this.#attaching.run(() => this.#takeDown(endpoint));
  }

  async #takeDown(endpoint: EndpointState): Promise<void> {
    await endpoint.undo.unwind((what, error) => this.#undoFailed(`endpoint ${endpoint.name}: ${what}`, error));
    this.all.delete(endpoint.name);
    this.#parts.kept.removeObject('endpoint', endpoint.name);
    this.#parts.kept.removeObject('publish', endpoint.name);
    this.#parts.kept.removeEndpoint(endpoint.name);
  }

  /** The container, its namespace or its interface ended: the endpoint ends too, and `connect` works again. */
  #gone(endpoint: EndpointState, why: string, level: 'info' | 'warn' = 'warn'): void {
    this.#parts.lock
      .run(`endpoint ${endpoint.name}`, async () => {
        if (this.all.get(endpoint.name) !== endpoint || this.#parts.isStopping()) return;
        this.#parts.logger[level](`endpoint ${endpoint.name} ended: ${why}`);
        await this.detachNow(endpoint);
      })
      .catch((error: unknown) => this.#parts.logger.error(`endpoint ${endpoint.name}: ${firstLine(error)}`));
  }

  /** The kernel took an interface away. */
  portDown(port: number, error: string): void {
    for (const endpoint of this.all.values()) {
      if (endpoint.port !== port) continue;
      this.#gone(endpoint, `its interface was taken away (${error})`);
      return;
    }
    if ([...this.all.values()].some(({ phase }) => phase === 'starting')) this.#orphanedPortDowns.set(port, error);
  }

  /** Looks for namespace files that changed or went. Synchronous stats of a RAM file system. */
  lookAround(): void {
    for (const endpoint of this.all.values()) {
      const { place, phase, config } = endpoint;
      if (phase !== 'up' || place === null || config.netns === undefined) continue;
      if (this.#parts.system.namespaceIdentity(config.netns) === place.identity) continue;
      this.#gone(endpoint, `network namespace ${config.netns} went away`);
    }
  }

  async clear(): Promise<void> {
    this.#namespaceRoutes.departAll();
    await Promise.all([...this.all.values()].map((endpoint) => this.detach(endpoint)));
  }

  #undoFailed(what: string, error: unknown): void {
    this.#parts.logger.debug(`${what} failed: ${firstLine(error)}`);
  }
}
