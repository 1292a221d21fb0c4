/**
 * An uplink of the router (modes own, shared, routed): a hidden network with the device's socket as its only port, and an interface
 * there. It follows its device: addresses and gateways of the host where they are shared, MTU, link down and up, deletion and return.
 */

import type { ChangeSocket } from '../../io/netlink.js';
import type { Uplink } from '../../io/uplink.js';
import { Turns } from '../concurrency.js';
import { withoutLength } from '../config/address.js';
import { UPLINK_PORT_NAME } from '../config/check.js';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import type { InterfaceRequest, Interfaces } from '../interfaces.js';
import type { System } from '../system.js';
import type { Dataplane } from '../types.js';
import { missingDevice, type UplinkDescription } from './description.js';
import {
  type RoutedUplinkConfig,
  refuseTheHosts,
  type UplinkFacts,
  type UplinkRoute,
  uplinkFacts,
  uplinkFilter,
  withLink,
} from './facts.js';
import { Guard, removeStaleGuard } from './guard.js';
import { hiddenNetwork } from './hidden-network.js';
import { HostWatch } from './host-watch.js';
import { hostMark } from './leftovers.js';
import { guardedPorts, type KeptPort, keptPorts, type OwnedPorts, reservedRanges, withoutKept } from './owned-ports.js';
import { ReservedPorts } from './reserved-ports.js';
import { TunnelOutlet } from './tunnel-outlet.js';

export interface RoutedUplinkParts {
  readonly system: System;
  readonly dataplane: Dataplane;
  readonly interfaces: Interfaces;
  readonly logger: DataplaneLogger;
  /** What tells this Tapline from another on the machine: its control socket. */
  readonly instance: string;
  /** Replaces the routes by this uplink. */
  setRoutes(routes: readonly UplinkRoute[]): Promise<void>;
  /** Further addresses that packets leave from, and answers come to. */
  pool(): readonly string[];
  /** Subnets of the networks that are reached by it, as they are now. */
  subnets(): readonly string[];
  /** Ports of its addresses that are Tapline's, as they are now; of interface where it shares them with the host. */
  owned(): readonly OwnedPorts[];
  /** Networks lead through it to other hosts. */
  hasTunnels(): boolean;
  /** Its port went, and with it what was watched or captured there; or it came back under another number. */
  portRemoved(port: number): void;
  portBack(): void;
  /** It carries larger packets than before, or only smaller ones. */
  mtuChanged(): void;
  /** Other ports than before are left to the host. */
  keptChanged(): void;
}

export class RoutedUplink {
  readonly config: RoutedUplinkConfig;
  readonly network = null;
  readonly #parts: RoutedUplinkParts;
  readonly #guard: Guard | null;
  readonly #reserved: ReservedPorts;
  readonly #outlet: TunnelOutlet;
  /** Ports of ours in use by the host's sockets since before: left to it. */
  #kept: readonly KeptPort[] = [];
  readonly #watches: HostWatch[] = [];
  #socket: Uplink | null = null;
  #networkId = -1;
  #port = -1;
  #facts: UplinkFacts | null = null;
  /** The router's MAC on the wire, which stays when the device is made anew with another. */
  #ownMac: string | null = null;
  /** What the router was last told, as text; empty: it has no such interface. */
  #told = '';
  #routes = '';
  #filter = '';
  /** The device as `retry` should find it. */
  #link = '';
  readonly #turns = new Turns();
  #looking = false;
  #closed = false;
  /** Why it does not come back, said once. */
  #trouble = '';

  constructor(config: RoutedUplinkConfig, parts: RoutedUplinkParts) {
    this.config = config;
    this.#parts = parts;
    this.#guard =
      config.mode === 'shared' ? new Guard(config.device, hostMark(parts.instance), parts.system, parts.logger) : null;
    this.#outlet = new TunnelOutlet(config.device, parts.system, parts.dataplane, parts.logger);
    this.#reserved = new ReservedPorts(parts.instance, parts.system, parts.logger);
  }

  get device(): string {
    return this.config.device;
  }

  /** The dataplane's number of the port; -1 while the device is away. */
  get port(): number {
    return this.#port;
  }

  /** Bytes; 0 while the device is away. */
  get mtu(): number {
    return this.#facts?.mtu ?? 0;
  }

  get mac(): string {
    return this.#ownMac ?? this.#facts?.mac ?? '';
  }

  /** Ports that address translation must not use. */
  get kept(): readonly KeptPort[] {
    return this.#kept;
  }

  /** No network has the wire inside, so nobody there can take the host's MAC. */
  isHostMac(_network: string, _mac: string): boolean {
    return false;
  }

  get #why(): string {
    return this.#socket === null || this.#facts === null ? 'its device is away' : this.#facts.why;
  }

  describe(): UplinkDescription {
    const { device, mtu, mac } = this;
    const { mode, vrf } = this.config;
    const why = this.#why;
    const addresses = this.#facts?.addresses ?? [];
    const gateways = (this.#facts?.defaults ?? []).flatMap(({ via }) => via ?? []);
    const outlet = this.#outlet.device;
    return {
      device,
      mode,
      network: null,
      vrf,
      outlet,
      state: why === '' ? 'up' : 'down',
      why,
      mtu,
      mac,
      addresses,
      gateways,
    };
  }

  /** @throws TaplineError `missing` with key `device` when there is no such device; Error; nothing is left behind */
  open(): Promise<void> {
    return this.#turns.run(async () => {
      try {
        await this.#open();
      } catch (error) {
        await this.#takeDown();
        throw error;
      }
    });
  }

  async #open(): Promise<void> {
    const { system, dataplane, logger } = this.#parts;
    if (this.#guard === null) await removeStaleGuard(this.device, system);
    const shared = this.config.mode === 'shared';
    // Listening first: a change between reading and listening would be missed.
    this.#watch(system.watchLinks(shared), () => this.look());
    if (this.#guard !== null) this.#watch(system.watchRules(), () => void this.#guard?.check());
    this.#networkId = await dataplane.addNetwork(hiddenNetwork('uplink'));
    const facts = await uplinkFacts(this.config, system);
    if (facts === null) throw missingDevice(this.device, new Error('ENODEV no such device in this network namespace'));
    if (this.config.mode !== 'shared') {
      await refuseTheHosts(this.config, system);
      this.#ownMac = facts.mac;
    }
    await this.#attach(facts);
    await this.#tell();
    if (facts.why !== '') logger.warn(`uplink ${this.device} is down: ${facts.why}; waiting`);
  }

  #watch(socket: ChangeSocket, onChange: () => void): void {
    this.#watches.push(new HostWatch(this.#parts.dataplane, socket, onChange));
  }

  /** Opens the device: guard, socket, port. The guard is first, else the host would answer what reaches us. */
  async #attach(facts: UplinkFacts): Promise<void> {
    const { dataplane, subnets } = this.#parts;
    const owned = await this.#ownedNow();
    await this.#guard?.install(subnets(), guardedPorts(owned, facts.addresses));
    const filter = this.#wantedFilter(facts);
    const socket = this.#openSocket(filter);
    try {
      this.#port = await dataplane.addPort({
        kind: 'uplink',
        name: UPLINK_PORT_NAME,
        network: this.#networkId,
        fd: socket.fd,
        routed: true,
        offload: this.config.offload,
      });
    } catch (error) {
      socket.close();
      throw error;
    }
    this.#socket = socket;
    this.#filter = JSON.stringify(filter);
    this.#facts = facts;
    await this.#followTunnels();
  }

  async #followTunnels(): Promise<void> {
    const { offload, outlet } = this.config;
    const isWanted = offload && outlet && this.#port >= 0 && this.#parts.hasTunnels();
    if (!isWanted || this.#outlet.isLost()) await this.#outlet.close();
    if (isWanted) await this.#outlet.open(this.#port);
  }

  #openSocket(filter: ReturnType<typeof uplinkFilter>): Uplink {
    try {
      return this.#parts.system.openUplink({ device: this.device, filter });
    } catch (error) {
      throw missingDevice(this.device, error);
    }
  }

  #wantedFilter(facts: UplinkFacts): ReturnType<typeof uplinkFilter> {
    const { subnets, owned } = this.#parts;
    return uplinkFilter(this.config.mode === 'shared', this.#ownMac ?? facts.mac, subnets(), owned());
  }

  /** Ports that are ours and not the host's; the host is kept from choosing them for itself. */
  async #ownedNow(): Promise<readonly OwnedPorts[]> {
    if (this.#guard === null) return [];
    const wanted = this.#parts.owned();
    const yields = wanted.some((one) => one.yields);
    this.#kept = yields ? keptPorts(wanted, await this.#parts.system.usedPorts()) : [];
    const owned = withoutKept(wanted, this.#kept);
    await this.#reserved.set(reservedRanges(owned));
    return owned;
  }

  /** Guard and filter follow networks, ports and the host's addresses. */
  async #guardWhatIsOurs(facts: UplinkFacts): Promise<void> {
    const owned = await this.#ownedNow();
    await this.#guard?.update(this.#parts.subnets(), guardedPorts(owned, facts.addresses));
    this.#setFilter(facts);
  }

  /** Gives up port and socket; interface and routes stay, down, for its return. */
  async #detach(): Promise<void> {
    const socket = this.#socket;
    const port = this.#port;
    if (socket === null) return;
    this.#socket = null;
    this.#port = -1;
    await this.#tell().catch((error: unknown) => this.#failed('setting the interface down', error));
    this.#parts.portRemoved(port);
    await this.#outlet.close().catch((error: unknown) => this.#failed('closing its outlet', error));
    try {
      await this.#parts.dataplane.removePort(port);
    } finally {
      socket.close();
    }
  }

  /** What the router should know of it now. */
  #request(facts: UplinkFacts): InterfaceRequest {
    const { config } = this;
    return {
      kind: 'uplink',
      vrf: config.vrf,
      network: this.#networkId,
      vlan: 0,
      port: this.#port < 0 ? null : this.#port,
      mac: this.mac,
      mtu: facts.mtu,
      addresses: withPool(facts.addresses, this.#parts.pool()),
      ...(facts.linkLocal === null ? {} : { linkLocal: facts.linkLocal }),
      up: this.#port >= 0 && facts.why === '',
      internal: false,
      hostAccess: false,
      shared: config.mode === 'shared',
      validateSource: false,
      proxies: config.mode === 'routed' ? config.proxy : [],
      advertisement: null,
    };
  }

  /** Tells the router what differs from what it knows. */
  async #tell(): Promise<void> {
    const { interfaces, setRoutes } = this.#parts;
    const facts = this.#facts;
    if (facts === null) return;
    const request = this.#request(facts);
    const text = JSON.stringify(request);
    if (text !== this.#told) {
      if (this.#told === '') await interfaces.add('uplink', request);
      else await interfaces.set('uplink', request);
      this.#told = text;
    }
    const wanted = [...facts.defaults, ...facts.routes];
    const routes = JSON.stringify(wanted);
    if (routes === this.#routes) return;
    await setRoutes(wanted);
    this.#routes = routes;
  }

  /** Looks at the device and the host anew, soon. Cheap to call: looks that are asked for meanwhile become one. */
  look(): void {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    void this.#turns.run(async () => {
      this.#looking = false;
      if (this.#closed) return;
      try {
        await this.#follow();
        this.#trouble = '';
      } catch (error) {
        this.#failed('following its device', error);
      }
    });
  }

  async #follow(): Promise<void> {
    const kept = JSON.stringify(this.#kept);
    await this.#followDevice();
    if (JSON.stringify(this.#kept) !== kept) this.#parts.keptChanged();
  }

  async #followDevice(): Promise<void> {
    const link = this.#parts.system.linkFacts(this.device);
    this.#link = JSON.stringify(link);
    const before = this.#facts;
    const away = this.#socket === null;
    const why = this.#why;
    if (link !== null && before !== null && link.index === this.#socket?.index) {
      this.#facts = withLink(before, this.device, link);
      await this.#tell();
    }
    const facts = await uplinkFacts(this.config, this.#parts.system);
    if (facts === null || facts.index !== this.#socket?.index) await this.#detach();
    if (facts === null) {
      if (!away) this.#parts.logger.warn(`uplink ${this.device} is down: its device is away; trying again each second`);
      return;
    }
    if (this.#socket === null) await this.#attach(facts);
    this.#facts = facts;
    await this.#guardWhatIsOurs(facts);
    await this.#tell();
    if (away || facts.index !== before?.index) this.#parts.portBack();
    this.#sayWhatChanged(before, facts, why);
    if (facts.mtu !== before?.mtu) this.#parts.mtuChanged();
  }

  #sayWhatChanged(before: UplinkFacts | null, facts: UplinkFacts, whyBefore: string): void {
    const { logger } = this.#parts;
    const { device } = this;
    if (facts.why !== '' && facts.why !== whyBefore) logger.warn(`uplink ${device} is down: ${facts.why}; waiting`);
    if (facts.why === '' && (whyBefore !== '' || facts.index !== before?.index))
      logger.info(`uplink ${device} is back`);
    if (before === null) return;
    if (facts.mtu !== before.mtu) logger.info(`uplink ${device}: MTU ${facts.mtu}, before ${before.mtu}`);
    const addresses = facts.addresses.join(' ');
    if (addresses !== before.addresses.join(' ')) logger.info(`uplink ${device}: addresses ${addresses || 'none'}`);
    const via = facts.defaults.map((route) => route.via ?? 'the link').join(' ');
    if (JSON.stringify(facts.defaults) !== JSON.stringify(before.defaults))
      logger.info(`uplink ${device}: default route by ${via || 'nobody'}`);
  }

  #setFilter(facts: UplinkFacts): void {
    const filter = this.#wantedFilter(facts);
    const text = JSON.stringify(filter);
    if (this.#socket === null || text === this.#filter) return;
    this.#socket.setFilter(filter);
    this.#filter = text;
  }

  #failed(what: string, error: unknown): void {
    const line = `uplink ${this.device}: ${what} failed: ${firstLine(error)}`;
    if (line !== this.#trouble) this.#parts.logger.warn(line);
    this.#trouble = line;
  }

  /** Networks or published ports came or went: guard and filter follow. @throws Error, one line, where they cannot */
  networksChanged(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#facts === null || this.#closed) return;
      await this.#guardWhatIsOurs(this.#facts);
      await this.#tell();
      await this.#followTunnels();
    });
  }

  /** The kernel took the device away: gives up the port, until the device is found again. */
  lost(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#socket === null) return;
      this.#link = '';
      this.#parts.logger.warn(`uplink ${this.device} is down: its device is away; trying again each second`);
      await this.#detach();
    });
  }

  /** Once a second: what failed is tried again, and what the sockets that tell of changes should have told is looked for. */
  retry(): Promise<false> {
    for (const watch of this.#watches) watch.poll();
    const link = JSON.stringify(this.#parts.system.linkFacts(this.device));
    if (link !== this.#link || this.#trouble !== '') this.look();
    if (this.#guard?.failing) void this.#guard.check();
    if (this.#outlet.isLost()) void this.networksChanged().catch(() => undefined);
    return Promise.resolve(false);
  }

  /** Removes all it has made; the host is left as it was found. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#turns.run(() => this.#takeDown());
  }

  async #takeDown(): Promise<void> {
    const { interfaces, dataplane, setRoutes } = this.#parts;
    for (const watch of this.#watches) watch.stop();
    const attempt = (what: string, work: () => Promise<unknown>): Promise<unknown> =>
      work().catch((error: unknown) => this.#failed(what, error));
    if (this.#routes !== '') await attempt('removing its routes', () => setRoutes([]));
    if (this.#told !== '') await attempt('removing its interface', () => interfaces.remove('uplink'));
    this.#told = '';
    this.#facts = null;
    await attempt('removing its port', () => this.#detach());
    if (this.#networkId >= 0) await attempt('removing its network', () => dataplane.removeNetwork(this.#networkId));
    const guard = this.#guard;
    // Last: until here the host's stack must not see what is ours.
    if (guard !== null) await attempt('removing its guard', () => guard.remove());
    await this.#reserved.set([]);
    for (const watch of this.#watches.splice(0)) watch.close();
  }
}

/** Pool addresses stand alone: no subnet comes with them. */
function withPool(addresses: readonly string[], pool: readonly string[]): string[] {
  const own = new Set(addresses.map(withoutLength));
  const further = [...new Set(pool)].filter((address) => !own.has(address));
  return [...addresses, ...further.map((address) => `${address}/${address.includes(':') ? 128 : 32}`)];
}
