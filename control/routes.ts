/**
 * Routes as they are wanted, and the dataplane made to have them. A route whose next hops are within no interface's reach stays,
 * inactive, until one comes; those of one prefix become one entry of the FIB.
 */

import type { Logger } from 'pino';
import { formatAddress, parseAddress, parseSubnet } from './config/address.js';
import { connectedOwner, linkOf } from './config/route.js';
import type { RouteConfig } from './config/schema.js';
import { knownAddress, type Link } from './config/subnets.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import type { InterfaceState, Interfaces } from './interfaces.js';
import type { Dataplane, HopSpec, RouteSpec } from './types.js';

/** Behind static routes, like a route that a host has learned from its wire. */
export const UPLINK_METRIC = 1024;

export type RouteSource = 'static' | 'uplink';

/** A route that comes with an interface and goes over it. */
export interface InterfaceRoute {
  readonly vrf: string;
  /** CIDR, host bits zero. */
  readonly to: string;
  /** Null: destinations are on the link. */
  readonly via: string | null;
  readonly metric: number;
}

/** One route as it was asked for, and what has become of it. */
export interface RouteState {
  readonly vrf: string;
  readonly prefix: string;
  readonly kind: RouteSpec['kind'];
  /** As asked for, `fe80::1%uplink` included; empty unless unicast; null: on the link. */
  readonly via: readonly (string | null)[];
  readonly metric: number;
  readonly source: RouteSource;
  /** Name of the interface that it came with; null for a static one. */
  readonly owner: string | null;
  /** The hops that are within reach; empty unless unicast. */
  hops: readonly HopSpec[];
  /** Why it is not in the FIB; empty for one that is. */
  reason: string;
}

interface Installed {
  readonly vrf: string;
  readonly spec: RouteSpec;
}

function keyOf(vrf: string, prefix: string): string {
  return `${vrf} ${prefix}`;
}

function staticRoute(vrf: string, { to, via, type, metric }: RouteConfig): RouteState {
  const kind = type ?? 'unicast';
  return { vrf, prefix: to, kind, via: via ?? [], metric, source: 'static', owner: null, hops: [], reason: '' };
}

function interfaceRoute(owner: string, { vrf, to, via, metric }: InterfaceRoute): RouteState {
  const common = { vrf, prefix: to, metric, owner, hops: [], reason: '' };
  return { ...common, kind: 'unicast', via: [via], source: 'uplink' };
}

/** An address of the router, and the interface that has it. */
interface InterfaceLink extends Link {
  readonly state: InterfaceState;
}

function linksOf(state: InterfaceState): InterfaceLink[] {
  return state.request.addresses.map((text) => {
    const address = knownAddress(text.split('/', 1)[0] ?? '');
    return { subnet: parseSubnet(text), address, owner: state.name, state };
  });
}

/** What routes of a VRF can lead to. */
interface Reach {
  readonly interfaces: readonly InterfaceState[];
  readonly links: readonly InterfaceLink[];
}

/** The interface that is up and on whose link an address is: the one with the longest subnet. The router itself is no next hop. */
function interfaceWith(text: string, { links }: Reach): InterfaceState | null {
  const address = parseAddress(text);
  if (address === null) return null;
  const up = links.filter(({ state }) => state.request.up);
  const link = linkOf(up, address);
  return link === undefined || link.address.value === address.value ? null : link.state;
}

export class Routes {
  readonly #dataplane: Dataplane;
  readonly #interfaces: Interfaces;
  readonly #logger: Logger;
  /** In the order in which they were asked for. */
  #routes: RouteState[] = [];
  /** What the dataplane has, by VRF and prefix. */
  readonly #installed = new Map<string, Installed>();
  /** What the log was told of each that is refused. */
  readonly #complaints = new Map<string, string>();

  constructor(dataplane: Dataplane, interfaces: Interfaces, logger: Logger) {
    this.#dataplane = dataplane;
    this.#interfaces = interfaces;
    this.#logger = logger;
    interfaces.onChange(() => this.#reconcile());
  }

  list(): readonly RouteState[] {
    return this.#routes;
  }

  /** @throws TaplineError `conflict` where there is one to that prefix with that metric, or the dataplane refuses it; then there is none */
  async add(vrf: string, config: RouteConfig): Promise<RouteState> {
    return this.#interfaces.exclusively(async () => {
      const route = staticRoute(vrf, config);
      const { prefix, metric } = route;
      if (this.#static(vrf, prefix).some((other) => other.metric === metric)) {
        const what = `a route to ${prefix} with metric ${metric} is already in VRF ${vrf}`;
        throw new TaplineError('conflict', `${what}; remove it, or choose another metric`, 'to');
      }
      this.#routes.push(route);
      const key = keyOf(vrf, prefix);
      const failure = (await this.#reconcile(key)).get(key);
      if (failure === undefined) return route;
      this.#routes = this.#routes.filter((other) => other !== route);
      await this.#reconcile(key);
      throw asTaplineError(failure, 'to');
    });
  }

  /**
   * @param metric needed only where there are several to the prefix
   * @throws TaplineError `missing`; `conflict` for one that comes with an interface; `invalid` where it is not clear which
   */
  async remove(vrf: string, prefix: string, metric?: number): Promise<void> {
    await this.#interfaces.exclusively(async () => {
      const there = this.#static(vrf, prefix).filter((route) => metric === undefined || route.metric === metric);
      const [first] = there;
      if (first === undefined) throw this.#noRoute(vrf, prefix, metric);
      if (there.length > 1) {
        const metrics = there.map((route) => route.metric).sort((a, b) => a - b);
        throw new TaplineError(
          'invalid',
          `routes to ${prefix} have metrics ${metrics.join(', ')}; say which`,
          'metric',
        );
      }
      this.#routes = this.#routes.filter((route) => route !== first);
      await this.#reconcile(keyOf(vrf, prefix));
    });
  }

  #static(vrf: string, prefix: string): RouteState[] {
    return this.#routes.filter((route) => route.vrf === vrf && route.prefix === prefix && route.source === 'static');
  }

  #noRoute(vrf: string, prefix: string, metric?: number): TaplineError {
    const owned = this.#routes.find((route) => route.vrf === vrf && route.prefix === prefix && route.owner !== null);
    if (owned !== undefined) {
      const what = `the route to ${prefix} belongs to interface ${owned.owner} and goes with it`;
      return new TaplineError('conflict', what, 'prefix');
    }
    const connected = this.#interfaces
      .in(vrf)
      .find(({ request }) => request.addresses.some((own) => prefix === textOfSubnet(own)));
    if (connected !== undefined)
      return new TaplineError('conflict', `${prefix} is the subnet of ${connected.name}, which stays`, 'prefix');
    const which = metric === undefined ? '' : ` with metric ${metric}`;
    return new TaplineError('missing', `no route to ${prefix}${which} in VRF ${vrf}`);
  }

  /** Replaces all routes of an interface. Those that fail are inactive, and the log says why. */
  setInterfaceRoutes(owner: string, routes: readonly InterfaceRoute[]): Promise<void> {
    return this.#interfaces.exclusively(async () => {
      const others = this.#routes.filter((route) => route.owner !== owner);
      this.#routes = [...others, ...routes.map((route) => interfaceRoute(owner, route))];
      await this.#reconcile();
    });
  }

  /** Forgets them all. The dataplane loses them with the VRFs. */
  clear(): void {
    this.#routes = [];
  }

  /**
   * Makes the dataplane have what there is to have.
   *
   * @param only VRF and prefix of the routes that changed; null: interfaces may have
   * @returns what it refused, by VRF and prefix
   */
  async #reconcile(only: string | null = null): Promise<Map<string, unknown>> {
    if (only === null) this.#forgetWhatWent();
    const isMeant = (key: string): boolean => only === null || key === only;
    const routes = this.#routes.filter(({ vrf, prefix }) => isMeant(keyOf(vrf, prefix)));
    this.#resolveAll(routes);
    const wanted = this.#wanted(routes);
    for (const key of [...this.#installed.keys()]) if (isMeant(key) && !wanted.has(key)) await this.#uninstall(key);
    const failures = new Map<string, unknown>();
    for (const [key, want] of wanted) {
      const { vrf, spec } = want;
      if (JSON.stringify(this.#installed.get(key)?.spec) === JSON.stringify(spec)) continue;
      try {
        await this.#dataplane.setRoute(spec);
        this.#installed.set(key, want);
        this.#complaints.delete(key);
      } catch (error) {
        failures.set(key, error);
        this.#refused(key, vrf, spec.prefix, firstLine(error));
      }
    }
    return failures;
  }

  /** With an interface go its hops, with the last hop the route, with a VRF all its routes: the dataplane has done so by itself. */
  #forgetWhatWent(): void {
    for (const [key, { vrf, spec }] of this.#installed) {
      const hops = spec.hops.filter((hop) => this.#interfaces.nameOf(hop.interface) !== null);
      const isGone = this.#interfaces.vrfs.numberOf(vrf) !== spec.vrf || (spec.hops.length > 0 && hops.length === 0);
      if (isGone) this.#installed.delete(key);
      else if (hops.length < spec.hops.length) this.#installed.set(key, { vrf, spec: { ...spec, hops } });
    }
  }

  #resolveAll(routes: readonly RouteState[]): void {
    const reaches = new Map<string, Reach>();
    for (const route of routes) {
      const reach = reaches.get(route.vrf) ?? this.#reachOf(route.vrf);
      reaches.set(route.vrf, reach);
      this.#resolve(route, reach);
    }
  }

  #reachOf(vrf: string): Reach {
    const interfaces = this.#interfaces.in(vrf);
    return { interfaces, links: interfaces.flatMap(linksOf) };
  }

  #resolve(route: RouteState, reach: Reach): void {
    const { vrf, prefix, via, metric, kind } = route;
    route.hops = [];
    route.reason = '';
    if (reach.interfaces.length === 0) route.reason = `no network or uplink is in VRF ${vrf}`;
    // An entry that comes with an interface is nobody's to replace.
    const owner = connectedOwner(parseSubnet(prefix), reach.links);
    if (owner !== null) route.reason = `${prefix} is ${owner}`;
    if (kind !== 'unicast' || route.reason !== '') return;
    const hops: HopSpec[] = [];
    for (const hop of via) {
      const found = this.#interfaceOf(route, hop, reach);
      if (found !== null) hops.push({ interface: found.number, via: hop?.split('%', 1)[0] ?? null, metric });
    }
    route.hops = hops;
    if (hops.length === 0) route.reason = `no link of VRF ${vrf} has ${via.join(' or ')}`;
  }

  #interfaceOf(route: RouteState, hop: string | null, reach: Reach): InterfaceState | null {
    const name = route.owner ?? hop?.split('%')[1];
    if (name !== undefined) return reach.interfaces.find((state) => state.name === name && state.request.up) ?? null;
    return hop === null ? null : interfaceWith(hop, reach);
  }

  /** One entry for each prefix: of its routes within reach, the lowest metric decides what kind it is. */
  #wanted(routes: readonly RouteState[]): Map<string, Installed> {
    const groups = new Map<string, RouteState[]>();
    for (const route of routes) {
      if (route.reason !== '') continue;
      const key = keyOf(route.vrf, route.prefix);
      groups.set(key, [...(groups.get(key) ?? []), route]);
    }
    const wanted = new Map<string, Installed>();
    for (const [key, group] of groups) {
      const installed = this.#merge(group);
      if (installed !== null) wanted.set(key, installed);
    }
    return wanted;
  }

  #merge(routes: readonly RouteState[]): Installed | null {
    const [first] = [...routes].sort((a, b) => a.metric - b.metric);
    const number = first === undefined ? null : this.#interfaces.vrfs.numberOf(first.vrf);
    if (first === undefined || number === null) return null;
    const { vrf, prefix, kind } = first;
    for (const route of routes) {
      if (route.kind !== kind || (kind !== 'unicast' && route !== first))
        route.reason = `the route of kind ${kind} with metric ${first.metric} comes first`;
    }
    const chosen = routes.filter((route) => route.reason === '');
    const hops = chosen.flatMap((route) => route.hops).sort((a, b) => a.metric - b.metric);
    return { vrf, spec: { vrf: number, prefix, kind, hops } };
  }

  async #uninstall(key: string): Promise<void> {
    const installed = this.#installed.get(key);
    this.#installed.delete(key);
    if (installed === undefined) return;
    const { vrf, prefix } = installed.spec;
    await this.#dataplane
      .removeRoute(vrf, prefix)
      .catch((error: unknown) => this.#logger.debug(`removing route ${prefix} failed: ${firstLine(error)}`));
  }

  #refused(key: string, vrf: string, prefix: string, why: string): void {
    for (const route of this.#routes)
      if (route.vrf === vrf && route.prefix === prefix && route.reason === '') route.reason = why;
    if (this.#complaints.get(key) === why) return;
    this.#complaints.set(key, why);
    this.#logger.warn(`route to ${prefix} in VRF ${vrf} is inactive: ${why}`);
  }
}

function textOfSubnet(own: string): string {
  const { family, base, prefix } = parseSubnet(own);
  return `${formatAddress({ family, value: base })}/${prefix}`;
}
