/**
 * The desired state and how it becomes real. Networks, endpoints and the uplink are made and removed here, one piece of
 * work at a time for each object; what fails halfway is taken back whole. An endpoint ends when its container does.
 */

import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { KeyedLock } from './concurrency.js';
import { withoutLength } from './config/address.js';
import { checkConfiguration, UPLINK_PORT_NAME } from './config/check.js';
import { checkHostLinks } from './config/host-links.js';
import { checkMirror } from './config/mirror.js';
import { checkRule } from './config/policy.js';
import { formatPath, type KeyPath, type Problem } from './config/problems.js';
import { checkRoute, routesInTheWay } from './config/route.js';
import {
  type BridgedUplinkConfig,
  type Configuration,
  DEFAULT_NAT,
  DEFAULT_VRF,
  type EndpointConfig,
  endpointSchema,
  type MirrorConfig,
  mirrorSchema,
  type NatConfig,
  type NetworkConfig,
  networkSchema,
  type PolicyRule,
  policyRuleSchema,
  type RouteConfig,
  routeSchema,
  type ServiceConfig,
  type UplinkConfig,
  type VrfConfig,
  type VxlanConfig,
} from './config/schema.js';
import { overlayInTheWay, servicesInTheWay } from './config/service.js';
import { isBridged } from './config/subnets.js';
import { checkVxlan } from './config/vxlan.js';
import { Endpoints } from './endpoints.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import { EventLog } from './events.js';
import { addStatic, type StaticRequest } from './fdb.js';
import { flowsIn, flowsOf } from './flow-parties.js';
import { gatewayInterface, gatewayMac } from './gateways.js';
import { HealthChecks } from './health/health.js';
import { Interfaces } from './interfaces.js';
import { Ipam } from './ipam.js';
import { type KeptEndpoint, KeptState } from './kept-state.js';
import { Mirrors } from './mirrors.js';
import { Mtus } from './mtus.js';
import { natPorts, natSettings } from './nat-settings.js';
import type { Underlay } from './network-mtu.js';
import { Numbers } from './numbers.js';
import { PolicyRules } from './policy.js';
import { policyObjects } from './policy-objects.js';
import type { PolicyObjects } from './policy-records.js';
import { networkSpec } from './port-spec.js';
import { Publications } from './publish.js';
import { readKeptObject, restoreObjects } from './restore.js';
import { type RouteState, Routes, UPLINK_METRIC } from './routes.js';
import { ServiceRates } from './service-rates.js';
import { type ServiceState, Services } from './services.js';
import type { EndpointState, NetworkState } from './state.js';
import { realSystem, type System } from './system.js';
import { tracks, translatesBy } from './tracking.js';
import type { Dataplane, DataplaneEvent, VrfSpec } from './types.js';
import { BridgedUplink } from './uplink/bridged-uplink.js';
import type { RoutedUplinkConfig } from './uplink/facts.js';
import { HostPorts } from './uplink/host-ports.js';
import { HostPublishing } from './uplink/host-publishing.js';
import { removeGuards } from './uplink/leftovers.js';
import { type OwnedPorts, translationPorts } from './uplink/owned-ports.js';
import { restoreReservedPorts } from './uplink/reserved-ports.js';
import { RoutedUplink } from './uplink/routed-uplink.js';
import { Vrfs } from './vrfs.js';
import { forgetEntries, restoreEntries } from './vxlan/entries.js';
import { forgetNeighborsOf, restoreNeighbors } from './vxlan/neighbors.js';
import { Overlays } from './vxlan/overlays.js';
import { forgetVteps, restoreVteps } from './vxlan/remotes.js';
import { ToldNeighbors } from './vxlan/told-neighbors.js';

/** How often namespace files are looked at and a lost uplink is tried again. */
const WATCH_INTERVAL_MS = 1000;
/** Routes of a file that are added before a signal to stop is looked for. */
const ROUTES_AT_ONCE = 4096;
/** How many endpoints an error line names. */
const NAMES_IN_LINE = 5;

export interface DaemonOptions {
  readonly dataplane: Dataplane;
  readonly logger: Logger;
  readonly system?: System;
  /** What tells this daemon from others on the machine: its control socket. */
  readonly instance?: string;
  /** What outlives the process; nothing does unless given. */
  readonly kept?: KeptState;
  /** Of services and their backends; the dataplane's own. */
  readonly numbers?: Numbers;
}

export class Daemon {
  readonly dataplane: Dataplane;
  readonly kept: KeptState;
  readonly networks = new Map<string, NetworkState>();
  /** `port-removed` (port number), `network-removed` (network number): what was captured there ends. */
  readonly events = new EventEmitter();
  readonly eventLog: EventLog;
  readonly mirrors: Mirrors;
  readonly policy: PolicyRules;
  readonly interfaces: Interfaces;
  readonly routes: Routes;
  readonly publications: Publications;
  readonly services: Services;
  readonly #health: HealthChecks;
  readonly serviceRates: ServiceRates;
  readonly overlays: Overlays;
  readonly neighbors: ToldNeighbors;
  readonly #mtus: Mtus;
  readonly #endpoints: Endpoints;
  readonly #system: System;
  readonly #logger: Logger;
  readonly #instance: string;
  readonly #lock = new KeyedLock();
  readonly #watch: NodeJS.Timeout;
  readonly #hostPorts: HostPorts;
  readonly #hostPublishing: HostPublishing;
  #uplink: BridgedUplink | RoutedUplink | null = null;
  /** As the file has it; null once it is closed. */
  #uplinkConfig: UplinkConfig | null = null;
  #vrfConfigs: Configuration['vrfs'] = new Map();
  #nat: NatConfig = DEFAULT_NAT;
  #stopping = false;
  /** The rules that stand in the file. */
  #filePolicy: readonly PolicyRule[] = [];
  /** Published ports that an earlier process has kept from the host's stack, until those that come back have: it would reset their connections. */
  #leftPorts: readonly OwnedPorts[] = [];
  /** What an earlier process left and nobody wants has been removed. */
  #settled = false;
  /** Settles when `apply` is through, whichever way. What is asked for meanwhile waits: the file's objects have their names first. */
  #applying: Promise<void> = Promise.resolve();

  constructor(options: DaemonOptions) {
    this.dataplane = options.dataplane;
    this.#logger = options.logger;
    this.#system = options.system ?? realSystem;
    this.#instance = options.instance ?? '';
    this.kept = options.kept ?? KeptState.none();
    this.#leftPorts = (this.kept.object('guard', 'ports') ?? []) as OwnedPorts[];
    this.events.setMaxListeners(0);
    this.eventLog = new EventLog(this.#logger, {
      port: (number) => this.dataplane.portName(number),
      network: (number) => this.#networkNumbered(number)?.name ?? null,
      service: (number) => this.services.nameOf(number),
      backend: (number) => this.services.backendName(number),
    });
    this.mirrors = this.#makeMirrors();
    const vrfs = new Vrfs(
      this.dataplane,
      (name) => this.#vrfSpec(name),
      (vrf) => this.#endFlowsIn(vrf),
    );
    this.interfaces = new Interfaces(this.dataplane, vrfs);
    this.routes = new Routes(this.dataplane, this.interfaces, this.#logger);
    this.neighbors = new ToldNeighbors(this.dataplane, this.interfaces, this.#logger);
    this.overlays = this.#makeOverlays();
    this.policy = this.#makePolicy();
    this.#hostPorts = this.#makeHostPorts();
    this.#hostPublishing = new HostPublishing({
      system: this.#system,
      logger: this.#logger,
      link: () => this.#hostLink(),
      isOfUplink: (address) => this.#isOfUplink(address),
    });
    this.publications = this.#makePublications();
    this.services = this.#makeServices(options.numbers ?? new Numbers());
    this.serviceRates = new ServiceRates(this.dataplane.services.counters, () =>
      [...this.services.all.values()].flatMap(({ backends }) => backends.map(({ number }) => number)),
    );
    this.#health = this.#makeHealth();
    this.#mtus = this.#makeMtus();
    this.#endpoints = this.#makeEndpoints();
    this.dataplane.onEvent((event) => this.#happened(event));
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

  #makeOverlays(): Overlays {
    return new Overlays({
      dataplane: this.dataplane,
      logger: this.#logger,
      system: this.#system,
      uplink: () => (this.#uplink instanceof RoutedUplink ? this.#uplink : null),
      vrfNumber: (name) => this.interfaces.vrfs.numberOf(name),
      network: (name) => this.network(name),
      networkNumbered: (number) => this.#networkNumbered(number),
      ownedChanged: () => this.publications.update(),
      portRemoved: (port) => {
        this.events.emit('port-removed', port);
      },
    });
  }

  #makePolicy(): PolicyRules {
    const { networks, interfaces } = this;
    const bridged = (network: string): boolean => isBridged(network, this.#uplinkConfig);
    const objects = (): PolicyObjects => {
      const { endpoints } = this;
      return policyObjects({ networks, endpoints, interfaces, checks: this.#health.prefixes(), isBridged: bridged });
    };
    return new PolicyRules(this.dataplane.nat, this.#logger, objects);
  }

  #makeServices(numbers: Numbers): Services {
    return new Services({
      dataplane: this.dataplane.services,
      numbers,
      publications: this.publications,
      kept: this.kept,
      events: this.eventLog,
      logger: this.#logger,
      objects: () => this.#asTheyAre(),
      network: (name) => this.network(name),
      virtualChanged: (name) => this.#gatewayChanged(this.network(name)),
      refuseWhileStopping: () => this.#refuseWhileStopping(),
      isStopping: () => this.#stopping,
    });
  }

  #makeHealth(): HealthChecks {
    return new HealthChecks({
      system: this.#system,
      dataplane: this.dataplane,
      logger: this.#logger,
      services: this.services,
      kept: this.kept,
      cameBack: (name) => this.endpoints.get(name)?.place?.identity === this.kept.left.get(name)?.identity,
      network: (name) => this.networks.get(name),
      networkOf: (endpoint) => this.endpoints.get(endpoint)?.config.network,
      policyChanged: () => this.policy.update(),
      portRemoved: (port) => {
        this.events.emit('port-removed', port);
      },
    });
  }

  #makeMtus(): Mtus {
    return new Mtus({
      logger: this.#logger,
      networks: () => (this.#stopping ? [] : this.networks.values()),
      underlay: () => this.#underlay(),
      exclusively: (network, work) =>
        this.#lock.run(`network ${network.name}`, async () => {
          if (this.networks.get(network.name) === network && !this.#stopping) await work();
        }),
      setGateway: (network) => this.#gatewayChanged(network),
      setEndpoints: (network) => this.#endpoints.followMtu(network),
      setHost: () => this.#hostPorts.update(),
    });
  }

  /** What overlays lead through. Before the uplink is open, its device is asked. */
  #underlay(): Underlay | null {
    const config = this.#uplinkConfig;
    if (config === null || config.mode === 'bridged') return null;
    const { device } = config;
    return { device, mtu: this.#uplink?.mtu || (this.#system.linkFacts(device)?.mtu ?? 0) };
  }

  /** The router's interface in a network has its MTU, and the addresses that services listen at. */
  #gatewayChanged({ name, config, mtu, id, ipam }: NetworkState): Promise<void> {
    const translates = translatesBy(this.#uplinkConfig);
    return this.interfaces.follow(name, () => gatewayInterface(config, mtu, id, translates, ipam.virtual()));
  }

  #happened(event: DataplaneEvent): void {
    this.eventLog.add(event);
    this.overlays.happened(event);
    if (event.kind === 'backend-suspect') {
      this.services.setSuspect(event.count, true);
      this.#health.checkNow(event.count);
    }
    if (event.kind === 'backend-trusted') this.services.setSuspect(event.count, false);
  }

  #makeEndpoints(): Endpoints {
    return new Endpoints({
      system: this.#system,
      logger: this.#logger,
      dataplane: this.dataplane,
      lock: this.#lock,
      kept: this.kept,
      network: (name) => this.network(name),
      isBridged: (network) => isBridged(network, this.#uplinkConfig),
      uplink: () => this.#uplink,
      isStopping: () => this.#stopping,
      cameUp: () => this.mirrors.update(),
      publish: async (endpoint) => {
        await this.publications.open(endpoint);
        await this.services.endpointUp(endpoint);
      },
      unpublish: async (endpoint) => {
        // Before its connections are forgotten: those of services end with a word to both sides.
        await this.services.endpointGone(endpoint.name).finally(() => this.publications.close(endpoint));
      },
      portRemoved: (port) => {
        this.events.emit('port-removed', port);
      },
    });
  }

  #makeHostPorts(): HostPorts {
    const portRemoved = (port: number): void => {
      this.events.emit('port-removed', port);
    };
    const { dataplane, interfaces } = this;
    const instance = this.#instance;
    // Published ports lead through it.
    const remade = (): void => this.#publishAnew();
    const parts = { system: this.#system, logger: this.#logger, dataplane, interfaces, instance, portRemoved, remade };
    const networks = (): NetworkState[] => [...this.networks.values()];
    return new HostPorts(parts, networks, () => (this.#isShared ? this.publications.vrfs() : new Set()));
  }

  /** Whether the host's addresses are the uplink's as well. */
  get #isShared(): boolean {
    return this.#uplinkConfig?.mode === 'shared';
  }

  #hostLink(): ReturnType<HostPorts['link']> {
    return this.#uplinkConfig?.mode === 'shared' ? this.#hostPorts.link(this.#uplinkConfig.vrf) : null;
  }

  #isOfUplink(address: string): boolean {
    const addresses = this.#uplink?.describe().addresses ?? [];
    return addresses.some((text) => withoutLength(text) === address);
  }

  #makePublications(): Publications {
    return new Publications({
      nat: this.dataplane.nat,
      vrfOf: ({ config }) => this.network(config.network).config.vrf,
      vrfNumber: (vrf) => this.interfaces.vrfs.numberOf(vrf),
      host: () => (this.#isShared ? this.#hostPublishing : null),
      link: () => this.#hostLink(),
      kept: () => {
        const uplink = this.#uplink;
        if (!(uplink instanceof RoutedUplink)) return null;
        return { vrf: uplink.config.vrf, ports: [...uplink.kept, ...this.overlays.kept()] };
      },
      isStopping: () => this.#stopping,
      changed: () => this.#followPublished(),
    });
  }

  /** What leads out of the host follows networks and published ports: the host port, tracking, and the guard of a shared uplink. */
  async #followPublished(): Promise<void> {
    this.#keepOwned();
    await this.#hostPorts.update();
    await this.interfaces.vrfs.update();
    if (this.#uplink instanceof RoutedUplink) await this.#uplink.networksChanged();
  }

  /** The host has changed: the dataplane is told where published ports are now, and which ports the host keeps. */
  #publishAnew(): void {
    this.publications.update().catch((error: unknown) => this.#undoFailed('following the host', error));
  }

  /** Written down when all is there: what an earlier process had is kept until then. */
  #keepOwned(): void {
    if (!this.#settled || this.#stopping) return;
    const ports = this.#uplinkConfig?.mode === 'shared' ? this.publications.owned() : [];
    if (ports.length === 0) this.kept.removeObject('guard', 'ports');
    else this.kept.setObject('guard', 'ports', ports);
  }

  /** Ports of the host's addresses that are Tapline's. */
  #ownedPorts(reached: readonly NetworkState[]): OwnedPorts[] {
    const leaves4 = reached.some(({ config }) => config.masquerade === true);
    const leaves6 = reached.some(({ config }) => config.nat66 && !Array.isArray(config.masquerade));
    return [
      ...this.publications.owned(),
      ...this.overlays.owned(),
      ...this.#leftPorts,
      ...(leaves4 ? translationPorts(4, this.natPorts) : []),
      ...(leaves6 ? translationPorts(6, this.natPorts) : []),
    ];
  }

  #vrfSpec(name: string): VrfSpec {
    const config: VrfConfig | undefined = this.#vrfConfigs.get(name);
    return {
      name,
      // Whoever names a VRF says by that which networks belong together.
      interconnect: config?.interconnect ?? name !== DEFAULT_VRF,
      recordRoute: config?.ip_options.record_route ?? false,
      timestamp: config?.ip_options.timestamp ?? false,
      tracking: this.#tracks(name),
    };
  }

  /** Of a VRF that is not tracked any more, or goes. With all else they go as well. */
  async #endFlowsIn(vrf: number): Promise<void> {
    if (!this.#stopping) await this.dataplane.nat.flushFlows(flowsIn(vrf));
  }

  /** Names of all VRFs that there are, or are configured; `default` first. */
  vrfNames(): string[] {
    const named = [...this.networks.values()].map(({ config }) => config.vrf);
    return [...new Set([DEFAULT_VRF, ...this.#vrfConfigs.keys(), ...named, ...this.interfaces.vrfs.names()])];
  }

  /** Whether a VRF's connections are tracked, as things are now. */
  #tracks(vrf: string): boolean {
    return tracks(vrf, { ...this.#desired(), services: this.services.configs(), policy: this.policy.configs });
  }

  #networkNumbered(number: number): NetworkState | undefined {
    for (const network of this.networks.values()) if (network.id === number) return network;
    return undefined;
  }

  get endpoints(): ReadonlyMap<string, EndpointState> {
    return this.#endpoints.all;
  }

  /** What is configured of address translation. */
  get nat(): NatConfig {
    return this.#nat;
  }

  /** The ports that translated connections leave from. */
  get natPorts(): { first: number; last: number } {
    return natPorts(this.#nat, this.#uplinkConfig);
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

  /** Settles when what the daemon begins with is there, or has failed: until then a question whether something is there has no answer. */
  applied(): Promise<void> {
    return this.#applying;
  }

  async #applyOrUndo(config: Configuration): Promise<void> {
    this.#uplinkConfig = config.uplink;
    this.#vrfConfigs = config.vrfs;
    this.#nat = config.nat;
    await this.dataplane.nat.setSettings(natSettings(config.nat, config.uplink));
    await this.#restoreReservedPorts();
    try {
      await this.#loadPolicy(config.policy);
      for (const [name, network] of config.networks) {
        this.#endWhereStopped();
        await this.#within(['networks', name], () => this.#addNetwork(name, network));
      }
      await this.#restoreNetworks();
      const services = await this.services.prepare(config.services);
      const { uplink } = config;
      if (uplink !== null) await this.#within(['uplink'], () => this.#openUplink(uplink));
      await this.#openOverlays(config);
      await this.#addRoutes(config);
      await this.#restoreRoutes();
      await this.#attachAll(await this.#stillPublished(config.endpoints));
      await this.#restoreEndpoints();
      for (const [name, mirror] of config.mirrors)
        await this.#within(['mirrors', name], () => this.mirrors.add(name, mirror));
      await this.#restorePublished();
      await this.services.start(services, (name, error) => inObject(['services', name], error));
      await this.#restoreMirrors();
      await this.#restoreStaticEntries();
      await this.#settle();
    } catch (error) {
      await this.#removeEverything();
      throw error;
    }
  }

  /** The file's rules, or what commands had made of them. */
  async #loadPolicy(rules: readonly PolicyRule[]): Promise<void> {
    this.#filePolicy = rules;
    await this.#within(['policy'], async () => this.policy.load(rules));
    await restoreObjects(this.kept, 'policy', this.#logger, async (_, object) => {
      const kept = object as { file: unknown; rules: readonly unknown[] };
      if (JSON.stringify(kept.file) !== JSON.stringify(rules))
        throw new TaplineError('conflict', 'the file has other rules than before');
      this.policy.load(kept.rules.map((rule) => readKeptObject(policyRuleSchema, rule)));
    });
  }

  /** Their order counts, so all rules are written down as soon as a command has changed one. */
  #keepPolicy(): void {
    this.kept.setObject('policy', 'rules', { file: this.#filePolicy, rules: this.policy.configs });
  }

  /** Before the file's endpoints: a packet of theirs that finds no route to another network is refused. */
  async #restoreNetworks(): Promise<void> {
    await restoreObjects(this.kept, 'network', this.#logger, (name, object) =>
      this.#createNetwork(name, readKeptObject(networkSchema, object)),
    );
  }

  /** Before anything that is to come back by way of them. One of a command is tried again, where it cannot be made now. */
  async #openOverlays({ networks }: Configuration): Promise<void> {
    for (const { network } of this.overlays.list()) {
      const { name } = network;
      if (networks.has(name)) await this.#within(['networks', name], () => this.overlays.open(name));
    }
    await this.overlays.begin(performance.now());
    await restoreVteps(this, this.#logger);
    await restoreEntries(this, (line) => this.#logger.warn(line));
    await restoreNeighbors(this, this.#logger);
  }

  async #restoreRoutes(): Promise<void> {
    await restoreObjects(this.kept, 'route', this.#logger, (_, object) => {
      const { vrf, ...route } = object as { vrf: string };
      return this.#addRoute(vrf, readKeptObject(routeSchema, route));
    });
  }

  async #restoreEndpoints(): Promise<void> {
    await restoreObjects(this.kept, 'endpoint', this.#logger, (name, object) => {
      const config = readKeptObject(endpointSchema, object);
      this.#endpoints.requireSamePlace(name, config);
      const kept = this.kept.object('publish', name);
      return this.#connect(name, kept === undefined ? config : withoutUnpublished(config, readPublished(kept)));
    });
  }

  /**
   * The file's endpoints, without the published ports that a command has ended: somebody else may have them by now. Where the file says
   * something else than before, that counts.
   */
  async #stillPublished(endpoints: Configuration['endpoints']): Promise<Configuration['endpoints']> {
    const wanted = new Map(endpoints);
    await restoreObjects(this.kept, 'publish', this.#logger, async (name, object) => {
      const config = wanted.get(name);
      if (config !== undefined) wanted.set(name, withoutUnpublished(config, readPublished(object)));
    });
    return wanted;
  }

  /** All that endpoints have published by command. */
  async #restorePublished(): Promise<void> {
    await restoreObjects(this.kept, 'publish', this.#logger, (name, object) => {
      const { publish } = readPublished(object);
      return this.#changePublished(name, () => publish);
    });
  }

  #keepPublished({ name, config }: EndpointState, before: readonly string[]): void {
    const kept = this.kept.object('publish', name);
    const asked = kept === undefined ? before : readPublished(kept).asked;
    this.kept.setObject('publish', name, { asked, publish: config.publish });
  }

  async #restoreMirrors(): Promise<void> {
    await restoreObjects(this.kept, 'mirror', this.#logger, (name, object) =>
      this.#createMirror(name, readKeptObject(mirrorSchema, object)),
    );
  }

  async #restoreStaticEntries(): Promise<void> {
    await restoreObjects(this.kept, 'fdb', this.#logger, (_, object) => addStatic(this, object as StaticRequest));
  }

  /** All is there that is to come back; the rest of what an earlier process left goes. */
  async #settle(): Promise<void> {
    await this.#removeLeft();
    await this.services.settle();
    this.#health.settle();
    await this.#flushLeft();
    for (const { ipam } of this.networks.values()) ipam.letGo();
    await this.dataplane.settle();
    if (this.#leftPorts.length === 0) return this.#keepOwned();
    this.#leftPorts = [];
    await this.publications.update();
  }

  /** Connections of endpoints that have not come back, whoever began them; and to addresses that an endpoint has no more. */
  async #flushLeft(): Promise<void> {
    for (const [name, left] of this.kept.left) {
      const vrf = this.interfaces.vrfs.numberOf(left.vrf);
      const gone = this.#goneAddresses(name, left);
      if (vrf !== null && gone.length > 0) await this.dataplane.nat.flushFlows(flowsOf(gone, [], vrf));
    }
  }

  #goneAddresses(name: string, left: KeptEndpoint): readonly string[] {
    const endpoint = this.endpoints.get(name);
    const vrf = this.networks.get(endpoint?.config.network ?? '')?.config.vrf;
    // Another container of that name knows nothing of the connections of the one before.
    if (endpoint === undefined || vrf !== left.vrf || endpoint.place?.identity !== left.identity) return left.addresses;
    return left.addresses.filter((address) => !endpoint.addresses.includes(address));
  }

  /** What cannot be removed is said only: it may be in nobody's way. */
  async #removeLeft(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    const guarded = this.#uplinkConfig?.mode === 'shared' ? this.#uplinkConfig.device : null;
    try {
      const removed = await Promise.all([
        this.#endpoints.removeLeft(),
        this.#hostPorts.removeLeft(),
        removeGuards(this.#instance, guarded, this.#system),
      ]);
      this.#sayRemoved(removed.flat());
    } catch (error) {
      this.#logger.warn(`what an earlier process left cannot be removed: ${firstLine(error)}`);
    }
  }

  #sayRemoved(what: readonly string[]): void {
    if (what.length > 0) this.#logger.info(`removed what an earlier process left: ${what.join(', ')}`);
  }

  /** Before the uplink sets aside those of today. */
  async #restoreReservedPorts(): Promise<void> {
    try {
      const ports = await restoreReservedPorts(this.#instance, this.#system);
      this.#sayRemoved(ports === '' ? [] : [`reserved ports ${ports}`]);
    } catch (error) {
      this.#logger.warn(`ports that an earlier process reserved stay reserved: ${firstLine(error)}`);
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

  async #attachAll(endpoints: Configuration['endpoints']): Promise<void> {
    for (const [name, endpoint] of endpoints) {
      await this.#within(['endpoints', name], async () => {
        this.#endpoints.requireNamespace(endpoint);
        this.#endpoints.plan(name, endpoint);
      });
    }
    for (const name of endpoints.keys())
      await this.#within(['endpoints', name], async () => this.#endpoints.address(this.#endpoints.get(name)));
    await this.policy.update();
    await this.#endpoints.attachAll([...endpoints.keys()], (name, error) => inObject(['endpoints', name], error));
    this.#endWhereStopped();
  }

  /** Runs work whose errors belong to the object at `path` in the file. */
  async #within(path: KeyPath, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw inObject(path, error);
    }
  }

  /** @throws TaplineError `invalid`, `conflict` */
  async createNetwork(name: string, config: NetworkConfig): Promise<NetworkState> {
    await this.#applying;
    return this.#createNetwork(name, config);
  }

  #createNetwork(name: string, config: NetworkConfig): Promise<NetworkState> {
    return this.#lock.run(`network ${name}`, async () => {
      this.#refuseWhileStopping();
      if (this.networks.has(name)) throw new TaplineError('conflict', `network ${name} already exists`);
      const desired = this.#desired();
      const wanted = { ...desired, networks: new Map([...desired.networks, [name, config]]) };
      const inTheWay = routesInTheWay(name, wanted, (vrf, prefix) => this.routes.has(vrf, prefix));
      const links = checkHostLinks({ ...wanted, services: this.services.configs() });
      const problems = [...checkConfiguration(wanted), ...links, ...inTheWay];
      throwFirst([...overlayInTheWay(name, config, this.#asTheyAre()), ...problems], ['networks', name]);
      const network = await this.#addNetwork(name, config);
      this.#logger.info(`network ${name} created`);
      return network;
    });
  }

  async #addNetwork(name: string, config: NetworkConfig): Promise<NetworkState> {
    const routed = !isBridged(name, this.#uplinkConfig);
    const ipam = new Ipam(name, config, routed ? gatewayMac(config) : null);
    for (const [endpoint, left] of this.kept.left) if (left.network === name) ipam.hold(endpoint, left.addresses);
    const mtu = this.#mtus.first(config, this.kept.object('network', name) !== undefined);
    const network: NetworkState = { name, config, ipam, mtu, phase: 'starting', id: -1 };
    this.networks.set(name, network);
    try {
      network.id = await this.dataplane.addNetwork(networkSpec(name, config));
      if (routed)
        await this.interfaces.add(name, gatewayInterface(config, mtu, network.id, translatesBy(this.#uplinkConfig)));
      for (const { address, mac } of config.vxlan?.neighbors ?? []) await this.neighbors.tell(name, address, mac);
      await this.overlays.add(network);
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
   * @param force also removes its services, and disconnects its endpoints, and the uplink where that is bridged into it
   * @throws TaplineError `missing`; `conflict` while something is attached
   */
  async removeNetwork(name: string, force: boolean): Promise<void> {
    await this.#applying;
    await this.#lock.run(`network ${name}`, async () => {
      this.#refuseWhileStopping();
      const network = this.network(name);
      const attached = this.endpointsOf(name);
      if (!force && attached.length > 0) {
        const remedy = 'disconnect them first, or use --force';
        throw new TaplineError('conflict', `network ${name} still has endpoints ${namesIn(attached)}; ${remedy}`);
      }
      const services = this.services.of(name);
      if (!force && services.length > 0) {
        const remedy = 'remove them first, or use --force';
        throw new TaplineError('conflict', `network ${name} still has services ${namesIn(services)}; ${remedy}`);
      }
      if (!force && this.#uplink?.network === name) {
        throw new TaplineError('conflict', `network ${name} still has the uplink ${this.#uplink.device}; use --force`);
      }
      network.phase = 'stopping';
      this.kept.removeObject('network', name);
      forgetVteps(this, name);
      forgetEntries(this, name);
      forgetNeighborsOf(this, name);
      await this.#takeDownNetwork(network);
      this.#logger.info(`network ${name} removed`);
    });
  }

  async #takeDownNetwork(network: NetworkState): Promise<void> {
    await this.services.removeOf(network.name);
    await this.#health.leaveNetwork(network.name);
    await this.#removeGateway(network);
    await Promise.all(this.endpointsOf(network.name).map((endpoint) => this.#endpoints.detach(endpoint)));
    if (this.#uplink?.network === network.name) await this.#closeUplink();
    await this.#removeFromDataplane(network);
    this.networks.delete(network.name);
    await this.#networksChanged().catch((error: unknown) => this.#undoFailed('following the networks', error));
  }

  /** What follows the networks: the policy, and what leads out of the host, which is the host port and the guard of a shared uplink. */
  async #networksChanged(): Promise<void> {
    await this.policy.update();
    await this.publications.update();
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
    this.neighbors.forgetNetwork(name);
    await this.overlays
      .remove(name)
      .catch((error: unknown) => this.#undoFailed(`removing the overlay of network ${name}`, error));
    await this.dataplane
      .removeNetwork(id)
      .catch((error: unknown) => this.#undoFailed(`removing network ${name}`, error));
    this.events.emit('network-removed', id);
  }

  /** @throws TaplineError `missing`, `invalid`, `conflict` */
  async addRoute(vrf: string, config: RouteConfig): Promise<RouteState> {
    await this.#applying;
    return this.#addRoute(vrf, config);
  }

  async #addRoute(vrf: string, config: RouteConfig): Promise<RouteState> {
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
    this.#refuseWhileStopping();
    this.requireVrf(vrf);
    await this.routes.remove(vrf, prefix, metric);
    const start = `${vrf} ${prefix} ${metric ?? ''}`;
    for (const [key] of this.kept.objects('route'))
      if (metric === undefined ? key.startsWith(start) : key === start) this.kept.removeObject('route', key);
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
    return this.#connect(name, config);
  }

  #connect(name: string, config: EndpointConfig): Promise<EndpointState> {
    return this.#lock.run(`endpoint ${name}`, async () => {
      this.#refuseWhileStopping();
      if (this.endpoints.has(name)) throw new TaplineError('conflict', `endpoint ${name} already exists`, 'name');
      const desired = this.#desired();
      const problems = checkConfiguration({ ...desired, endpoints: new Map([...desired.endpoints, [name, config]]) });
      throwFirst([...problems, ...this.#servicesInTheWay(name, config)], ['endpoints', name]);
      const endpoint = this.#endpoints.plan(name, config);
      this.#endpoints.address(endpoint);
      await this.policy.update();
      await this.#endpoints.attach(endpoint);
      return endpoint;
    });
  }

  /** @throws TaplineError `missing` */
  async disconnect(name: string): Promise<void> {
    await this.#applying;
    await this.#lock.run(`endpoint ${name}`, async () => {
      this.#refuseWhileStopping();
      await this.#endpoints.detachNow(this.endpoint(name));
      this.#logger.info(`endpoint ${name} disconnected`);
    });
  }

  /**
   * @param publish in canonical form
   * @throws TaplineError `missing`, `invalid`, `conflict`; then it has published what it had
   */
  async publish(name: string, publish: readonly string[]): Promise<EndpointState> {
    await this.#applying;
    return this.#changePublished(name, (before) => [...before, ...publish], true);
  }

  /** @throws TaplineError `missing` for the endpoint, or for what it has not published */
  async unpublish(name: string, publish: readonly string[]): Promise<EndpointState> {
    await this.#applying;
    const without = (before: readonly string[]): string[] => {
      const unknown = publish.find((one) => !before.includes(one));
      if (unknown === undefined) return before.filter((one) => !publish.includes(one));
      const has = before.length === 0 ? 'it has published nothing' : `it has published ${before.join(', ')}`;
      throw new TaplineError('missing', `endpoint ${name} has not published ${unknown}; ${has}`);
    };
    return this.#changePublished(name, without, true);
  }

  /** @param keep it is a command's, and to be made again by the next process */
  #changePublished(
    name: string,
    change: (before: readonly string[]) => string[],
    keep = false,
  ): Promise<EndpointState> {
    return this.#lock.run(`endpoint ${name}`, async () => {
      this.#refuseWhileStopping();
      const endpoint = this.endpoint(name);
      const before = endpoint.config;
      const config = { ...before, publish: change(before.publish) };
      const desired = this.#desired();
      // Last in the list: of two that want one port, the one that asks now is at fault.
      const others = [...desired.endpoints].filter(([other]) => other !== name);
      const problems = checkConfiguration({ ...desired, endpoints: new Map([...others, [name, config]]) });
      throwFirst([...problems, ...this.#servicesInTheWay(name, config)], ['endpoints', name]);
      // At once: nobody else takes the same ports meanwhile, and tracking follows.
      endpoint.config = config;
      try {
        await this.publications.change(endpoint, config.publish);
      } catch (error) {
        endpoint.config = before;
        throw asTaplineError(error);
      }
      if (keep) this.#keepPublished(endpoint, before.publish);
      const what = config.publish.length === 0 ? 'nothing' : config.publish.join(', ');
      this.#logger.info(`endpoint ${name} publishes ${what}`);
      return endpoint;
    });
  }

  /** What services would lose to an endpoint. */
  #servicesInTheWay(name: string, config: EndpointConfig): Problem[] {
    const objects = this.#asTheyAre();
    return servicesInTheWay(name, { ...objects, endpoints: new Map([...objects.endpoints, [name, config]]) });
  }

  /** @throws TaplineError `missing` for what it names, `invalid`, `conflict`; nothing is left behind */
  async createService(name: string, config: ServiceConfig): Promise<ServiceState> {
    await this.#applying;
    return this.services.create(name, config);
  }

  /** @param changed what becomes of what it is by then; may throw @throws TaplineError as of `createService`; then it is what it was */
  async changeService(name: string, changed: (before: ServiceConfig) => ServiceConfig): Promise<ServiceState> {
    await this.#applying;
    return this.services.change(name, changed);
  }

  /** @throws TaplineError `missing` */
  async removeService(name: string): Promise<void> {
    await this.#applying;
    await this.services.remove(name);
  }

  #undoFailed(what: string, error: unknown): void {
    this.#logger.debug(`${what} failed: ${firstLine(error)}`);
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
    if (this.#hostPorts.lost(port, error) || this.#health.lost(port)) return;
    this.#endpoints.portDown(port, error);
  }

  /** Once a second: namespace files that changed or went, what services get, and an uplink that may be back. */
  #lookAround(): void {
    this.#endpoints.lookAround();
    this.serviceRates.look(performance.now());
    if (!this.#stopping) void this.overlays.look(performance.now());
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
    if (uplink.mtu < network.mtu) {
      const what = `uplink ${config.device} has MTU ${uplink.mtu}, network ${network.name} ${network.mtu}`;
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
      pool: () => [...this.networks.values()].filter(({ config: { vrf: other } }) => other === vrf).flatMap(poolOf),
      subnets: () => [...this.networks].filter(isReached).flatMap(([, network]) => network.config.subnets),
      owned: () => this.#ownedPorts([...this.networks].filter(isReached).map(([, network]) => network)),
      portRemoved: (port) => {
        this.events.emit('port-removed', port);
      },
      hasTunnels: () => this.overlays.list().length > 0,
      portBack: () => this.mirrors.update(),
      mtuChanged: () => void this.#mtus.follow(),
      keptChanged: () => {
        this.publications
          .update()
          .catch((error: unknown) => this.#undoFailed('following the ports of the host', error));
      },
    });
    await uplink.open();
    this.#uplink = uplink;
    await this.#mtus.follow();
    // Which ports the host keeps to itself is known now.
    await this.publications.update();
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

  /**
   * @param position from 1; null: behind all others
   * @returns the place that it has
   * @throws TaplineError `missing` for what it names, `invalid`, `conflict`
   */
  async addRule(config: PolicyRule, position: number | null): Promise<number> {
    await this.#applying;
    this.#refuseWhileStopping();
    throwFirst(checkRule([], config, this.#desired()), []);
    const number = await this.policy.add(config, position);
    this.#keepPolicy();
    await this.interfaces.vrfs.update();
    this.#logger.info(`rule ${number} of the policy added`);
    return number;
  }

  /** @throws TaplineError `missing` */
  async removeRule(number: number): Promise<void> {
    await this.#applying;
    this.#refuseWhileStopping();
    await this.policy.remove(number);
    this.#keepPolicy();
    await this.interfaces.vrfs.update();
    this.#logger.info(`rule ${number} of the policy removed`);
  }

  /** @throws TaplineError `missing` for what it names, `invalid`, `conflict` */
  async createMirror(name: string, config: MirrorConfig): Promise<void> {
    await this.#applying;
    await this.#createMirror(name, config);
  }

  async #createMirror(name: string, config: MirrorConfig): Promise<void> {
    this.#refuseWhileStopping();
    if (this.mirrors.configs.has(name)) throw new TaplineError('conflict', `mirror ${name} already exists`);
    const mirrors = new Map([...this.mirrors.configs, [name, config]]);
    throwFirst(checkMirror(name, { ...this.#desired(), mirrors }), ['mirrors', name]);
    await this.mirrors.add(name, config);
  }

  /** The first mistake in what a command would have of a network's overlay, which it has; null: there is none. */
  overlayProblem(name: string, wanted: Partial<Pick<VxlanConfig, 'remotes' | 'fdb'>>): Problem | null {
    const { config } = this.network(name);
    if (config.vxlan === undefined) return null;
    const vxlan = { ...config.vxlan, remotes: [], fdb: [], neighbors: [], ...wanted };
    return checkVxlan(name, { ...config, vxlan }, this.#desired(), new Map())[0] ?? null;
  }

  /** @throws TaplineError `missing` */
  network(name: string): NetworkState {
    const network = this.networks.get(name);
    if (network === undefined) throw new TaplineError('missing', `no network ${name}`);
    return network;
  }

  /** @throws TaplineError `missing` */
  endpoint(name: string): EndpointState {
    return this.#endpoints.get(name);
  }

  endpointsOf(network: string): EndpointState[] {
    return this.#endpoints.of(network);
  }

  /** What services are looked at against: as `#desired`, with the addresses that endpoints have, and the services. */
  #asTheyAre(): Configuration {
    const addressed = ({ config, addresses }: EndpointState): EndpointConfig =>
      addresses.length === 0 ? config : { ...config, addresses: addresses.map(withoutLength) };
    const endpoints = new Map([...this.endpoints].map(([name, endpoint]) => [name, addressed(endpoint)]));
    return { ...this.#desired(), endpoints, services: this.services.configs() };
  }

  /**
   * The desired state in the shape of a file, for the checks across objects; without mirrors, routes, rules and services, since these may
   * name what is away for a while.
   */
  #desired(): Configuration {
    return {
      uplink: this.#uplinkConfig,
      vrfs: new Map(),
      networks: new Map([...this.networks].map(([name, { config }]) => [name, config])),
      endpoints: new Map([...this.endpoints].map(([name, { config }]) => [name, config])),
      mirrors: new Map(),
      services: new Map(),
      policy: [],
      nat: this.#nat,
    };
  }

  #refuseWhileStopping(): void {
    if (this.#stopping) throw new TaplineError('conflict', 'the daemon is stopping');
  }

  /** Removes all that it made: work under way ends first, then endpoints, uplink, networks. */
  async stop(): Promise<void> {
    this.kept.close();
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#applying;
    await this.#lock.idle();
    this.eventLog.close();
    await this.#health.close();
    await this.#removeEverything();
  }

  /**
   * Leaves all that it made where it is, for the next process to go on with: work under way ends first, then nothing more is written
   * down or removed. The dataplane goes on until it is stopped.
   */
  async leave(): Promise<void> {
    await this.#applying;
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#lock.idle();
    await this.services.idle();
    await this.#health.close();
    this.kept.seal();
    this.eventLog.close();
    // They end with the process all the same, which would not end before them.
    await this.#hostPublishing.close();
    await this.overlays.leave();
  }

  async #removeEverything(): Promise<void> {
    await this.mirrors.clear();
    this.routes.clear();
    await this.services.clear();
    for (const network of this.networks.values()) await this.#removeGateway(network);
    await this.#endpoints.clear();
    await this.overlays.close().catch((error: unknown) => this.#undoFailed('closing the overlays', error));
    await this.#closeUplink();
    for (const network of [...this.networks.values()]) await this.#takeDownNetwork(network);
    await this.policy.clear();
    await this.#removeLeft();
    this.kept.removeObject('guard', 'ports');
  }
}

/** What an endpoint was asked to publish when it was made, and what commands have made of that. */
interface KeptPublished {
  readonly asked: readonly string[];
  readonly publish: string[];
}

/** @throws TaplineError `invalid` */
function readPublished(object: unknown): KeptPublished {
  const { asked, publish } = object as Partial<Record<keyof KeptPublished, unknown>>;
  const list = endpointSchema.shape.publish;
  return { asked: readKeptObject(list, asked), publish: readKeptObject(list, publish) };
}

/** @throws TaplineError `conflict` where it is asked for something else than before */
function withoutUnpublished(config: EndpointConfig, { asked, publish }: KeptPublished): EndpointConfig {
  if (asked.join() !== config.publish.join())
    throw new TaplineError('conflict', 'the file publishes other ports than before');
  return { ...config, publish: config.publish.filter((one) => publish.includes(one)) };
}

/** A few names for an error line, and how many more there are. */
function namesIn(objects: readonly { readonly name: string }[]): string {
  const names = objects.slice(0, NAMES_IN_LINE).map(({ name }) => name);
  const more = objects.length > names.length ? ` and ${objects.length - names.length} more` : '';
  return `${names.join(', ')}${more}`;
}

/** Addresses besides the uplink's that a network leaves from. */
function poolOf({ config }: NetworkState): string[] {
  return Array.isArray(config.masquerade) ? config.masquerade : [];
}

/** An error as one of the object at `path` in the file. */
function inObject(path: KeyPath, error: unknown): TaplineError {
  const { kind, detail, key } = asTaplineError(error);
  const base = formatPath(path);
  return new TaplineError(kind, detail, key === '' ? base : `${base}.${key}`);
}

/** Throws the first problem with its path relative to the object that was asked for. */
function throwFirst(problems: readonly Problem[], object: KeyPath): void {
  const problem = problems[0];
  if (problem === undefined) return;
  const inside = object.every((key, index) => problem.path[index] === key);
  const path = inside ? problem.path.slice(object.length) : problem.path;
  throw new TaplineError(problem.kind, problem.message, formatPath(path));
}
