/**
 * The desired state and how it becomes real. Networks, endpoints and the uplink are made and removed here, one piece of
 * work at a time for each object; what fails halfway is taken back whole. An endpoint ends when its container does.
 */

import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { attachPort, defaultGateways, findPlace, missingNamespace, type Place } from './attach.js';
import { KeyedLock, Semaphore } from './concurrency.js';
import { formatAddress } from './config/address.js';
import { checkConfiguration, UPLINK_PORT_NAME } from './config/check.js';
import { checkMirror } from './config/mirror.js';
import { formatPath, type KeyPath, type Problem } from './config/problems.js';
import { checkRoute, routesInTheWay } from './config/route.js';
import {
  type BridgedUplinkConfig,
  type Configuration,
  DEFAULT_VRF,
  type EndpointConfig,
  type MirrorConfig,
  type NetworkConfig,
  type RouteConfig,
  type UplinkConfig,
  type VrfConfig,
} from './config/schema.js';
import { gatewaysOf, isBridged } from './config/subnets.js';
import { unsupportedEndpoint, unsupportedNetwork } from './config/supported.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import { EventLog } from './events.js';
import { gatewayInterface, gatewayMac } from './gateways.js';
import { addHostName, HOST_NAME } from './host-name.js';
import { Interfaces } from './interfaces.js';
import { Ipam } from './ipam.js';
import { Mirrors } from './mirrors.js';
import { NamespaceRoutes } from './namespace-routes.js';
import { isolationClass, networkSpec } from './port-spec.js';
import { type RouteState, Routes, UPLINK_METRIC } from './routes.js';
import { slaacAddresses } from './slaac.js';
import { realSystem, type System } from './system.js';
import type { Dataplane, VrfSpec } from './types.js';
import { UndoStack } from './undo.js';
import { BridgedUplink } from './uplink/bridged-uplink.js';
import type { RoutedUplinkConfig } from './uplink/facts.js';
import { HostPorts } from './uplink/host-ports.js';
import { removeLeftovers } from './uplink/leftovers.js';
import { RoutedUplink } from './uplink/routed-uplink.js';
import { Vrfs } from './vrfs.js';

/** TAPs made at once. Each waits for `ip` most of its time, so a few overlap well even on two cores. */
const ATTACH_AT_ONCE = 6;
/** How often namespace files are looked at and a lost uplink is tried again. */
const WATCH_INTERVAL_MS = 1000;
/** Routes of a file that are added before a signal to stop is looked for. */
const ROUTES_AT_ONCE = 4096;
/** How many endpoints an error line names. */
const NAMES_IN_LINE = 5;

export type Phase = 'starting' | 'up' | 'stopping';

export interface NetworkState {
  readonly name: string;
  readonly config: NetworkConfig;
  readonly ipam: Ipam;
  phase: Phase;
  /** The dataplane's number; -1 before there is one. */
  id: number;
}

export interface EndpointState {
  readonly name: string;
  readonly config: EndpointConfig;
  readonly undo: UndoStack;
  phase: Phase;
  /** With prefix length; empty until IPAM has chosen. */
  addresses: readonly string[];
  mac: string;
  /** Among those of its network; see IsolationClass. */
  readonly isolation: number;
  place: Place | null;
  /** The dataplane's number; -1 before there is one. */
  port: number;
}

export interface DaemonOptions {
  readonly dataplane: Dataplane;
  readonly logger: Logger;
  readonly system?: System;
  /** What tells this daemon from others on the machine: its control socket. */
  readonly instance?: string;
}

export class Daemon {
  readonly dataplane: Dataplane;
  readonly networks = new Map<string, NetworkState>();
  readonly endpoints = new Map<string, EndpointState>();
  /** `port-removed` (port number), `network-removed` (network number): what was captured there ends. */
  readonly events = new EventEmitter();
  readonly eventLog: EventLog;
  readonly mirrors: Mirrors;
  readonly interfaces: Interfaces;
  readonly routes: Routes;
  readonly #namespaceRoutes: NamespaceRoutes;
  readonly #system: System;
  readonly #logger: Logger;
  readonly #instance: string;
  readonly #lock = new KeyedLock();
  readonly #attaching = new Semaphore(ATTACH_AT_ONCE);
  readonly #watch: NodeJS.Timeout;
  /** Ports that went down before addPort had told us whose they are. */
  readonly #orphanedPortDowns = new Map<number, string>();
  readonly #hostPorts: HostPorts;
  #uplink: BridgedUplink | RoutedUplink | null = null;
  /** As the file has it; null once it is closed. */
  #uplinkConfig: UplinkConfig | null = null;
  #vrfConfigs: Configuration['vrfs'] = new Map();
  #stopping = false;
  /** Settles when `apply` is through, whichever way. What is asked for meanwhile waits: the file's objects have their names first. */
  #applying: Promise<void> = Promise.resolve();

  constructor(options: DaemonOptions) {
    this.dataplane = options.dataplane;
    this.#logger = options.logger;
    this.#system = options.system ?? realSystem;
    this.#instance = options.instance ?? '';
    this.events.setMaxListeners(0);
    this.eventLog = new EventLog(this.#logger, {
      port: (number) => this.dataplane.portName(number),
      network: (number) => this.#networkNumbered(number)?.name ?? null,
    });
    this.mirrors = this.#makeMirrors();
    this.interfaces = new Interfaces(this.dataplane, new Vrfs(this.dataplane, (name) => this.#vrfSpec(name)));
    this.routes = new Routes(this.dataplane, this.interfaces, this.#logger);
    this.#hostPorts = this.#makeHostPorts();
    this.#namespaceRoutes = new NamespaceRoutes(this.#system, this.#logger);
    this.dataplane.onEvent((event) => this.eventLog.add(event));
    this.dataplane.onPortDown((port, error) => this.#portDown(port, error));
    this.#watch = setInterval(() => this.#lookAround(), WATCH_INTERVAL_MS);
    this.#watch.unref();
  }

  #makeMirrors(): Mirrors {
    const up = (number: number | undefined): number | null => (number === undefined || number < 0 ? null : number);
    const mirrors = new Mirrors(this.dataplane, this.#logger, {
      endpointPort: (name) => {
        const endpoint = this.endpoints.get(name);
        return endpoint?.phase === 'up' ? up(endpoint.port) : null;
      },
      networkNumber: (name) => {
        const network = this.networks.get(name);
        return network?.phase === 'up' ? up(network.id) : null;
      },
      uplinkPort: () => up(this.#uplink?.port),
      networkOf: (endpoint) => this.endpoints.get(endpoint)?.config.network,
    });
    this.events.on('port-removed', () => mirrors.update());
    this.events.on('network-removed', () => mirrors.update());
    return mirrors;
  }

  #makeHostPorts(): HostPorts {
    const portRemoved = (port: number): void => {
      this.events.emit('port-removed', port);
    };
    const { dataplane, interfaces } = this;
    const instance = this.#instance;
    const parts = { system: this.#system, logger: this.#logger, dataplane, interfaces, instance, portRemoved };
    return new HostPorts(parts, () => [...this.networks.values()].map(({ config }) => config));
  }

  #vrfSpec(name: string): VrfSpec {
    const config: VrfConfig | undefined = this.#vrfConfigs.get(name);
    return {
      name,
      // Whoever names a VRF says by that which networks belong together.
      interconnect: config?.interconnect ?? name !== DEFAULT_VRF,
      recordRoute: config?.ip_options.record_route ?? false,
      timestamp: config?.ip_options.timestamp ?? false,
    };
  }

  /** Names of all VRFs that there are, or are configured; `default` first. */
  vrfNames(): string[] {
    const named = [...this.networks.values()].map(({ config }) => config.vrf);
    return [...new Set([DEFAULT_VRF, ...this.#vrfConfigs.keys(), ...named, ...this.interfaces.vrfs.names()])];
  }

  #networkNumbered(number: number): NetworkState | undefined {
    for (const network of this.networks.values()) if (network.id === number) return network;
    return undefined;
  }

  get uplink(): BridgedUplink | RoutedUplink | null {
    return this.#uplink;
  }

  /**
   * Brings a whole configuration up in an empty daemon. Explicit addresses are set aside before any is given out.
   *
   * @throws TaplineError whose key is the path in the file; everything made until then has been taken back
   */
  apply(config: Configuration): Promise<void> {
    const applied = this.#applyOrUndo(config);
    this.#applying = applied.catch(() => undefined);
    return applied;
  }

  async #applyOrUndo(config: Configuration): Promise<void> {
    this.#uplinkConfig = config.uplink;
    this.#vrfConfigs = config.vrfs;
    await this.#removeLeftovers();
    try {
      for (const [name, network] of config.networks) {
        this.#endWhereStopped();
        await this.#within(['networks', name], () => this.#addNetwork(name, network));
      }
      const { uplink } = config;
      if (uplink !== null) await this.#within(['uplink'], () => this.#openUplink(uplink));
      await this.#addRoutes(config);
      this.#warnOfMasquerade(config);
      await this.#attachAll(config.endpoints);
      for (const [name, mirror] of config.mirrors)
        await this.#within(['mirrors', name], () => this.mirrors.add(name, mirror));
    } catch (error) {
      await this.#removeEverything();
      throw error;
    }
  }

  /** What cannot be removed is said only: it may be in nobody's way. */
  async #removeLeftovers(): Promise<void> {
    const guarded = this.#uplinkConfig?.mode === 'shared' ? this.#uplinkConfig.device : null;
    try {
      const removed = await removeLeftovers(this.#instance, guarded, this.#system);
      if (removed.length > 0) this.#logger.info(`removed what an earlier process left: ${removed.join(', ')}`);
    } catch (error) {
      this.#logger.warn(`what an earlier process left cannot be removed: ${firstLine(error)}`);
    }
  }

  async #addRoutes({ vrfs }: Configuration): Promise<void> {
    for (const [vrf, { routes }] of vrfs) {
      for (let first = 0; first < routes.length; first += ROUTES_AT_ONCE) {
        this.#endWhereStopped();
        const added = await this.routes.addAll(vrf, routes.slice(first, first + ROUTES_AT_ONCE));
        const at = added.findIndex((route) => route instanceof TaplineError);
        if (at >= 0) await this.#within(['vrfs', vrf, 'routes', first + at], () => Promise.reject(added[at]));
      }
    }
  }

  #endWhereStopped(): void {
    if (this.#stopping) throw new TaplineError('failure', 'stopped before everything was up');
  }

  #warnOfMasquerade({ uplink, networks }: Configuration): void {
    if (uplink?.mode !== 'own' && uplink?.mode !== 'shared') return;
    const leaving = [...networks].filter(
      ([, { vrf, internal, masquerade }]) => vrf === uplink.vrf && !internal && masquerade,
    );
    if (leaving.length === 0) return;
    const names = leaving.slice(0, NAMES_IN_LINE).map(([name]) => name);
    const more = leaving.length > names.length ? ` and ${leaving.length - names.length} more` : '';
    const what = `packets of ${names.join(', ')}${more} leave by uplink ${uplink.device} with their own addresses`;
    this.#logger.warn(`masquerade is not supported in this version: ${what}; the wire needs routes to their subnets`);
  }

  async #attachAll(endpoints: Configuration['endpoints']): Promise<void> {
    for (const [name, endpoint] of endpoints) {
      await this.#within(['endpoints', name], async () => {
        const { netns } = endpoint;
        if (netns !== undefined && !this.#system.isNamespace(netns)) throw missingNamespace(netns);
        this.#plan(name, endpoint);
      });
    }
    for (const name of endpoints.keys())
      await this.#within(['endpoints', name], async () => this.#address(this.#endpoint(name)));
    let failure: unknown = null;
    const attachOne = async (name: string): Promise<void> => {
      if (failure !== null || this.#stopping) return;
      try {
        await this.#within(['endpoints', name], () => this.#attach(this.#endpoint(name), 'debug'));
      } catch (error) {
        failure ??= error;
      }
    };
    const names = [...endpoints.keys()];
    await Promise.all(
      names.map((name) => this.#lock.run(`endpoint ${name}`, () => this.#attaching.run(() => attachOne(name)))),
    );
    if (failure !== null) throw failure;
    this.#endWhereStopped();
  }

  /** Runs work whose errors belong to the object at `path` in the file. */
  async #within(path: KeyPath, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { kind, detail, key } = asTaplineError(error);
      const base = formatPath(path);
      throw new TaplineError(kind, detail, key === '' ? base : `${base}.${key}`);
    }
  }

  /** @throws TaplineError `invalid`, `conflict` */
  async createNetwork(name: string, config: NetworkConfig): Promise<NetworkState> {
    await this.#applying;
    return this.#lock.run(`network ${name}`, async () => {
      this.#refuseWhileStopping();
      if (this.networks.has(name)) throw new TaplineError('conflict', `network ${name} already exists`);
      const desired = this.#desired();
      const wanted = { ...desired, networks: new Map([...desired.networks, [name, config]]) };
      const inTheWay = routesInTheWay(name, wanted, (vrf, prefix) => this.routes.has(vrf, prefix));
      const problems = [...checkConfiguration(wanted), ...inTheWay];
      throwFirst([...problems, ...unsupportedNetwork(name, config)], ['networks', name]);
      const network = await this.#addNetwork(name, config);
      this.#logger.info(`network ${name} created`);
      return network;
    });
  }

  async #addNetwork(name: string, config: NetworkConfig): Promise<NetworkState> {
    const routed = !isBridged(name, this.#uplinkConfig);
    const ipam = new Ipam(name, config, routed ? gatewayMac(config) : null);
    const network: NetworkState = { name, config, ipam, phase: 'starting', id: -1 };
    this.networks.set(name, network);
    try {
      network.id = await this.dataplane.addNetwork(networkSpec(name, config));
      if (routed) await this.interfaces.add(name, gatewayInterface(config, network.id));
      await this.#networksChanged();
    } catch (error) {
      await this.#removeFromDataplane(network);
      this.networks.delete(name);
      await this.#networksChanged().catch((again: unknown) => this.#undoFailed('following the networks', again));
      throw error;
    }
    network.phase = 'up';
    this.mirrors.update();
    return network;
  }

  /**
   * @param force also disconnects its endpoints, and the uplink where that is bridged into it
   * @throws TaplineError `missing`; `conflict` while something is attached
   */
  async removeNetwork(name: string, force: boolean): Promise<void> {
    await this.#applying;
    await this.#lock.run(`network ${name}`, async () => {
      const network = this.network(name);
      const attached = this.endpointsOf(name);
      if (!force && attached.length > 0) {
        const names = attached.slice(0, NAMES_IN_LINE).map((endpoint) => endpoint.name);
        const more = attached.length > names.length ? ` and ${attached.length - names.length} more` : '';
        const remedy = 'disconnect them first, or use --force';
        throw new TaplineError('conflict', `network ${name} still has endpoints ${names.join(', ')}${more}; ${remedy}`);
      }
      if (!force && this.#uplink?.network === name) {
        throw new TaplineError('conflict', `network ${name} still has the uplink ${this.#uplink.device}; use --force`);
      }
      network.phase = 'stopping';
      await this.#takeDownNetwork(network);
      this.#logger.info(`network ${name} removed`);
    });
  }

  async #takeDownNetwork(network: NetworkState): Promise<void> {
    await this.#removeGateway(network);
    await Promise.all(this.endpointsOf(network.name).map((endpoint) => this.#detach(endpoint)));
    if (this.#uplink?.network === network.name) await this.#closeUplink();
    await this.#removeFromDataplane(network);
    this.networks.delete(network.name);
    await this.#networksChanged().catch((error: unknown) => this.#undoFailed('following the networks', error));
  }

  /** What leads out of the host follows the networks: the host port, and the guard of a shared uplink. */
  async #networksChanged(): Promise<void> {
    await this.#hostPorts.update();
    if (this.#uplink instanceof RoutedUplink) await this.#uplink.networksChanged();
  }

  /** Before the endpoints go: hosts behind them are told that their router does (RFC 4861, 6.2.5). */
  async #removeGateway({ name }: NetworkState): Promise<void> {
    await this.interfaces
      .remove(name)
      .catch((error: unknown) => this.#undoFailed(`removing the gateway of network ${name}`, error));
  }

  async #removeFromDataplane(network: NetworkState): Promise<void> {
    const { name, id } = network;
    if (id < 0) return;
    await this.#removeGateway(network);
    await this.dataplane
      .removeNetwork(id)
      .catch((error: unknown) => this.#undoFailed(`removing network ${name}`, error));
    this.events.emit('network-removed', id);
  }

  /** @throws TaplineError `missing`, `invalid`, `conflict` */
  async addRoute(vrf: string, config: RouteConfig): Promise<RouteState> {
    await this.#applying;
    this.#refuseWhileStopping();
    this.requireVrf(vrf);
    throwFirst(checkRoute([], vrf, config, this.#desired()), []);
    const route = await this.routes.add(vrf, config);
    this.#logger.info(`route to ${config.to} in VRF ${vrf} added`);
    return route;
  }

  /** @throws TaplineError `missing`, `invalid`, `conflict` */
  async removeRoute(vrf: string, prefix: string, metric?: number): Promise<void> {
    await this.#applying;
    this.requireVrf(vrf);
    await this.routes.remove(vrf, prefix, metric);
    this.#logger.info(`route to ${prefix} in VRF ${vrf} removed`);
  }

  /** @throws TaplineError `missing` for a VRF that nobody has named */
  requireVrf(vrf: string): void {
    const names = this.vrfNames();
    if (!names.includes(vrf)) throw new TaplineError('missing', `no VRF ${vrf}; there is ${names.join(', ')}`, 'vrf');
  }

  /**
   * @returns the endpoint, up
   * @throws TaplineError of any kind; nothing is left behind
   */
  async connect(name: string, config: EndpointConfig): Promise<EndpointState> {
    await this.#applying;
    return this.#lock.run(`endpoint ${name}`, async () => {
      this.#refuseWhileStopping();
      if (this.endpoints.has(name)) throw new TaplineError('conflict', `endpoint ${name} already exists`, 'name');
      const desired = this.#desired();
      const problems = checkConfiguration({ ...desired, endpoints: new Map([...desired.endpoints, [name, config]]) });
      throwFirst([...problems, ...unsupportedEndpoint(name, config)], ['endpoints', name]);
      const endpoint = this.#plan(name, config);
      this.#address(endpoint);
      await this.#attaching.run(() => this.#attach(endpoint, 'info'));
      return endpoint;
    });
  }

  /** @throws TaplineError `missing` */
  async disconnect(name: string): Promise<void> {
    await this.#applying;
    await this.#lock.run(`endpoint ${name}`, async () => {
      await this.#detachNow(this.#endpoint(name));
      this.#logger.info(`endpoint ${name} disconnected`);
    });
  }

  /** Puts an endpoint into the desired state and sets its own addresses aside. Synchronous, so nobody comes between. */
  #plan(name: string, config: EndpointConfig): EndpointState {
    const network = this.network(config.network);
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
      isolation: isolationClass(config, network.config, this.endpointsOf(network.name)),
      place: null,
      port: -1,
    };
    this.endpoints.set(name, endpoint);
    return endpoint;
  }

  /** Else what the wire sends to the host would go to the endpoint. */
  #refuseHostMac({ network, mac, macs }: EndpointConfig): void {
    const uplink = this.#uplink;
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
  #address(endpoint: EndpointState): void {
    const { name, config } = endpoint;
    try {
      const { addresses, mac } = this.network(config.network).ipam.complete(name, config.addresses, config.mac);
      endpoint.addresses = addresses;
      endpoint.mac = mac;
    } catch (error) {
      this.endpoints.delete(name);
      throw error;
    }
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
    this.mirrors.update();
    if (down !== undefined) this.#gone(endpoint, `its interface was taken away (${down})`);
    const { name, addresses, config } = endpoint;
    this.#logger[level](`endpoint ${name} attached to ${config.network}: ${config.interface} ${addresses.join(' ')}`);
  }

  async #makePort(endpoint: EndpointState): Promise<void> {
    const { name, config, undo, addresses, mac, isolation } = endpoint;
    const place = await findPlace(config, this.#system, undo);
    this.#claimInterface(endpoint, place);
    this.#warnAbout(endpoint, place);
    const network = this.network(config.network);
    const bridged = isBridged(network.name, this.#uplinkConfig);
    const slaac = slaacAddresses(network.config, mac, bridged);
    const gateways = defaultGateways(network.config, bridged);
    this.#joinNamespace(endpoint, place, [...addresses, ...slaac], gateways);
    const alone = this.#namespaceRoutes.isAlone(place.identity);
    const facts = { name, config, network: network.config, addresses, mac, slaac, isolation };
    const request = { ...facts, networkId: network.id, gateways: alone ? gateways : [] };
    const { port, tookOver } = await attachPort(request, place, this.#system, this.dataplane, undo);
    endpoint.port = port;
    undo.push('telling who listens', () => {
      this.events.emit('port-removed', endpoint.port);
    });
    undo.push('leading nothing there', () => this.#namespaceRoutes.depart(place.identity, name));
    await this.#namespaceRoutes.arrived(place.identity, name, alone && !tookOver);
    this.#nameHost(endpoint, place);
    if (place.process === null) return;
    const unwatch = this.dataplane.watchPidfd(place.process.pidfd, () =>
      this.#gone(endpoint, 'its process ended', 'info'),
    );
    undo.push('unwatching the process', unwatch);
  }

  /** Where the host is reached, its name is known in the container. Without it all else works: what fails is said only. */
  #nameHost({ name, config, undo }: EndpointState, place: Place): void {
    const network = this.network(config.network).config;
    const [gateway] = gatewaysOf(network);
    if (!network.host || gateway === undefined) return;
    try {
      const remove = addHostName(place, name, formatAddress(gateway), this.#system);
      if (remove !== null) undo.push(`removing ${HOST_NAME}`, remove);
    } catch (error) {
      this.#logger.warn(`endpoint ${name}: ${HOST_NAME} is not known there: ${firstLine(error)}`);
    }
  }

  /** Two names can lead to one namespace, so what counts is the namespace itself. */
  #claimInterface(endpoint: EndpointState, place: Place): void {
    for (const other of this.endpoints.values()) {
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
  ): void {
    const { network, interface: device, gateway_priority: priority } = config;
    this.#namespaceRoutes.join(identity, path, { name, network, interface: device, priority, addresses, gateways });
    undo.push('putting the routes of the namespace in order', () => this.#namespaceRoutes.leave(identity, name));
  }

  #warnAbout({ name }: EndpointState, { container }: Place): void {
    if (container === null || container.networkMode === 'none' || container.networkMode === '') return;
    this.#logger.warn(
      `endpoint ${name}: its container also has network mode ${container.networkMode}; start it with --network none`,
    );
  }

  async #detach(endpoint: EndpointState): Promise<void> {
    await this.#lock.run(`endpoint ${endpoint.name}`, async () => {
      if (this.endpoints.get(endpoint.name) === endpoint) await this.#detachNow(endpoint);
    });
  }

  async #detachNow(endpoint: EndpointState): Promise<void> {
    endpoint.phase = 'stopping';
    await this.#attaching.run(() => this.#takeDown(endpoint));
  }

  async #takeDown(endpoint: EndpointState): Promise<void> {
    await endpoint.undo.unwind((what, error) => this.#undoFailed(`endpoint ${endpoint.name}: ${what}`, error));
    this.endpoints.delete(endpoint.name);
  }

  #undoFailed(what: string, error: unknown): void {
    this.#logger.debug(`${what} failed: ${firstLine(error)}`);
  }

  /** The container, its namespace or its interface ended: the endpoint ends too, and `connect` works again. */
  #gone(endpoint: EndpointState, why: string, level: 'info' | 'warn' = 'warn'): void {
    this.#lock
      .run(`endpoint ${endpoint.name}`, async () => {
        if (this.endpoints.get(endpoint.name) !== endpoint || this.#stopping) return;
        this.#logger[level](`endpoint ${endpoint.name} ended: ${why}`);
        await this.#detachNow(endpoint);
      })
      .catch((error: unknown) => this.#logger.error(`endpoint ${endpoint.name}: ${firstLine(error)}`));
  }

  #portDown(port: number, error: string): void {
    const uplink = this.#uplink;
    if (uplink?.port === port) {
      if (uplink instanceof BridgedUplink) {
        this.#logger.warn(`uplink ${uplink.device} is down (${error}); trying again each second`);
        // It comes back as another port; a capture of this one would wait for ever.
        this.#uplinkRemoved(port, uplink.network);
      }
      uplink.lost().catch((cause: unknown) => this.#undoFailed('closing the uplink', cause));
      return;
    }
    if (this.#hostPorts.lost(port, error)) return;
    for (const endpoint of this.endpoints.values()) {
      if (endpoint.port !== port) continue;
      this.#gone(endpoint, `its interface was taken away (${error})`);
      return;
    }
    if ([...this.endpoints.values()].some(({ phase }) => phase === 'starting'))
      this.#orphanedPortDowns.set(port, error);
  }

  /** Once a second: namespace files that changed or went, and an uplink that may be back. Synchronous stats of a RAM file system. */
  #lookAround(): void {
    for (const endpoint of this.endpoints.values()) {
      const { place, phase, config } = endpoint;
      if (phase !== 'up' || place === null || config.netns === undefined) continue;
      if (this.#system.namespaceIdentity(config.netns) === place.identity) continue;
      this.#gone(endpoint, `network namespace ${config.netns} went away`);
    }
    const uplink = this.#uplink;
    if (uplink === null || this.#stopping) return;
    uplink
      .retry()
      .then((back) => {
        if (!back) return;
        this.#logger.info(`uplink ${uplink.device} is back`);
        this.mirrors.update();
      })
      .catch((error: unknown) => this.#undoFailed('reopening the uplink', error));
  }

  async #openUplink(config: UplinkConfig): Promise<void> {
    if (config.mode === 'bridged') await this.#openBridgedUplink(config);
    else await this.#openRoutedUplink(config);
    this.mirrors.update();
  }

  async #openBridgedUplink(config: BridgedUplinkConfig): Promise<void> {
    const network = this.network(config.network);
    const uplink = new BridgedUplink(config, network.config, network.id, this.#system, this.dataplane);
    await uplink.open();
    this.#uplink = uplink;
    if (uplink.mtu < network.config.mtu) {
      const what = `uplink ${config.device} has MTU ${uplink.mtu}, network ${network.name} ${network.config.mtu}`;
      this.#logger.warn(`${what}: larger frames will be dropped on their way out`);
    }
  }

  async #openRoutedUplink(config: RoutedUplinkConfig): Promise<void> {
    const { vrf } = config;
    const isReached = ([name, network]: [string, NetworkState]): boolean =>
      network.config.vrf === vrf && !network.config.internal && !isBridged(name, this.#uplinkConfig);
    const uplink = new RoutedUplink(config, {
      system: this.#system,
      dataplane: this.dataplane,
      interfaces: this.interfaces,
      logger: this.#logger,
      instance: this.#instance,
      setRoutes: (routes) => {
        const metric = UPLINK_METRIC;
        const wanted = routes.map(({ prefix, via }) => ({ vrf, to: prefix, via, metric }));
        return this.routes.setInterfaceRoutes('uplink', wanted);
      },
      subnets: () => [...this.networks].filter(isReached).flatMap(([, network]) => network.config.subnets),
      portRemoved: (port) => {
        this.events.emit('port-removed', port);
      },
      portBack: () => this.mirrors.update(),
    });
    await uplink.open();
    this.#uplink = uplink;
  }

  /** The static entries of its port end with the port, whether or not it comes back. */
  #uplinkRemoved(port: number, network: string): void {
    this.networks.get(network)?.ipam.release(UPLINK_PORT_NAME);
    this.events.emit('port-removed', port);
  }

  async #closeUplink(): Promise<void> {
    const uplink = this.#uplink;
    this.#uplink = null;
    this.#uplinkConfig = null;
    if (uplink === null) return;
    if (uplink instanceof BridgedUplink && uplink.port >= 0) this.#uplinkRemoved(uplink.port, uplink.network);
    await uplink.close().catch((error: unknown) => this.#undoFailed('closing the uplink', error));
  }

  /** @throws TaplineError `missing` for what it names, `invalid`, `conflict` */
  async createMirror(name: string, config: MirrorConfig): Promise<void> {
    await this.#applying;
    this.#refuseWhileStopping();
    if (this.mirrors.configs.has(name)) throw new TaplineError('conflict', `mirror ${name} already exists`);
    const mirrors = new Map([...this.mirrors.configs, [name, config]]);
    throwFirst(checkMirror(name, { ...this.#desired(), mirrors }), ['mirrors', name]);
    await this.mirrors.add(name, config);
  }

  /** @throws TaplineError `missing` */
  network(name: string): NetworkState {
    const network = this.networks.get(name);
    if (network === undefined) throw new TaplineError('missing', `no network ${name}`);
    return network;
  }

  /** @throws TaplineError `missing` */
  endpoint(name: string): EndpointState {
    return this.#endpoint(name);
  }

  #endpoint(name: string): EndpointState {
    const endpoint = this.endpoints.get(name);
    if (endpoint === undefined) throw new TaplineError('missing', `no endpoint ${name}`);
    return endpoint;
  }

  endpointsOf(network: string): EndpointState[] {
    return [...this.endpoints.values()].filter(({ config }) => config.network === network);
  }

  /** The desired state in the shape of a file, for the checks across objects. Mirrors and routes may name what is away for a while. */
  #desired(): Configuration {
    return {
      uplink: this.#uplinkConfig,
      vrfs: new Map(),
      networks: new Map([...this.networks].map(([name, { config }]) => [name, config])),
      endpoints: new Map([...this.endpoints].map(([name, { config }]) => [name, config])),
      mirrors: new Map(),
      services: new Map(),
      policy: [],
    };
  }

  #refuseWhileStopping(): void {
    if (this.#stopping) throw new TaplineError('conflict', 'the daemon is stopping');
  }

  /** Removes all that it made: work under way ends first, then endpoints, uplink, networks. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#applying;
    await this.#lock.idle();
    this.eventLog.close();
    await this.#removeEverything();
  }

  async #removeEverything(): Promise<void> {
    await this.mirrors.clear();
    this.routes.clear();
    for (const network of this.networks.values()) await this.#removeGateway(network);
    this.#namespaceRoutes.departAll();
    await Promise.all([...this.endpoints.values()].map((endpoint) => this.#detach(endpoint)));
    await this.#closeUplink();
    for (const network of [...this.networks.values()]) await this.#takeDownNetwork(network);
  }
}

/** Throws the first problem with its path relative to the object that was asked for. */
function throwFirst(problems: readonly Problem[], object: KeyPath): void {
  const problem = problems[0];
  if (problem === undefined) return;
  const inside = object.every((key, index) => problem.path[index] === key);
  const path = inside ? problem.path.slice(object.length) : problem.path;
  throw new TaplineError(problem.kind, problem.message, formatPath(path));
}
