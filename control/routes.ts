/**
 * Routes as they are wanted, and the dataplane made to have them. A route whose next hops are within no interface's reach stays,
 * inactive, until one comes; those of one prefix become one entry of the FIB.
 */

import type { Logger } from 'pino';
import { formatSubnet, parseAddress, parseSubnet, withoutLength } from './config/address.js';
import { ConnectedPrefixes, linkOf } from './config/route.js';
import type { RouteConfig } from './config/schema.js';
import { knownAddress, type Link } from './config/subnets.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import type { InterfaceState, Interfaces } from './interfaces.js';
import type { Dataplane, HopSpec, RouteSpec } from './types.js';

/** Behind static routes, like a route that a host has learned from its wire. */
export const UPLINK_METRIC = 1024;
/** Prefixes that the dataplane is told of before its answers are waited for. */
const PREFIXES_AT_ONCE = 256;

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
    const address = knownAddress(withoutLength(text));
    return { subnet: parseSubnet(text), address, owner: state.name, state };
  });
}

/** What routes of a VRF can lead to, as it is at one moment. Thousands of routes have few next hops, so each is found once. */
class Reach {
  readonly interfaces: readonly InterfaceState[];
  readonly connected: ConnectedPrefixes;
  readonly #links: readonly InterfaceLink[];
  readonly #found = new Map<string, InterfaceState | null>();

  constructor(interfaces: readonly InterfaceState[]) {
    const links = interfaces.flatMap(linksOf);
    this.interfaces = interfaces;
    this.connected = new ConnectedPrefixes(links);
    this.#links = links.filter(({ state }) => state.request.up);
  }

  named(name: string): InterfaceState | null {
    return this.interfaces.find((state) => state.name === name && state.request.up) ?? null;
  }

  /** The interface that is up and on whose link an address is: the one with the longest subnet. The router itself is no next hop. */
  onLink(text: string): InterfaceState | null {
    const known = this.#found.get(text);
    if (known !== undefined) return known;
    const address = parseAddress(text);
    const link = address === null ? undefined : linkOf(this.#links, address);
    const found = link === undefined || link.address.value === address?.value ? null : link.state;
    this.#found.set(text, found);
    return found;
  }
}

export class Routes {
  readonly #dataplane: Dataplane;
  readonly #interfaces: Interfaces;
  readonly #logger: Logger;
  /** By VRF and prefix; those of one prefix in the order in which they were asked for. */
  readonly #routes = new Map<string, readonly RouteState[]>();
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
    return [...this.#routes.values()].flat();
  }

  /** Whether there is a route to a prefix, whoever asked for it. */
  has(vrf: string, prefix: string): boolean {
    return this.#routes.has(keyOf(vrf, prefix));
  }

  #of(key: string): readonly RouteState[] {
    return this.#routes.get(key) ?? [];
  }

  #put(route: RouteState): void {
    const key = keyOf(route.vrf, route.prefix);
    this.#routes.set(key, [...this.#of(key), route]);
  }

  #drop(route: RouteState): void {
    const key = keyOf(route.vrf, route.prefix);
    const others = this.#of(key).filter((other) => other !== route);
    if (others.length === 0) this.#routes.delete(key);
    else this.#routes.set(key, others);
  }

  /** @throws TaplineError `conflict` where there is one to that prefix with that metric, or the dataplane refuses it; then there is none */
  async add(vrf: string, config: RouteConfig): Promise<RouteState> {
    const [added] = await this.addAll(vrf, [config]);
    if (added === undefined || added instanceof TaplineError) throw added ?? new Error('no route');
    return added;
  }

  /**
   * Several at once, which takes much less time than one by one.
   *
   * @returns for each the route, or why there is none; see `add`
   */
  addAll(vrf: string, configs: readonly RouteConfig[]): Promise<(RouteState | TaplineError)[]> {
    return this.#interfaces.exclusively(async () => {
      const added = configs.map((config) => this.#addStatic(vrf, config));
      const fresh = added.filter((route) => !(route instanceof TaplineError));
      const failures = await this.#reconcile(fresh.map(({ prefix }) => keyOf(vrf, prefix)));
      if (failures.size === 0) return added;
      const refused = fresh.filter(({ prefix }) => failures.has(keyOf(vrf, prefix)));
      for (const route of refused) this.#drop(route);
      await this.#reconcile(failures.keys());
      return added.map((route) => {
        if (route instanceof TaplineError || !refused.includes(route)) return route;
        return asTaplineError(failures.get(keyOf(vrf, route.prefix)), 'to');
      });
    });
  }

  #addStatic(vrf: string, config: RouteConfig): RouteState | TaplineError {
    const route = staticRoute(vrf, config);
    const { prefix, metric } = route;
    if (this.#static(vrf, prefix).some((other) => other.metric === metric)) {
      const what = `a route to ${prefix} with metric ${metric} is already in VRF ${vrf}`;
      return new TaplineError('conflict', `${what}; remove it, or choose another metric`, 'to');
    }
    this.#put(route);
    return route;
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
      this.#drop(first);
      await this.#reconcile([keyOf(vrf, prefix)]);
    });
  }

  #static(vrf: string, prefix: string): RouteState[] {
    return this.#of(keyOf(vrf, prefix)).filter(({ source }) => source === 'static');
  }

  #noRoute(vrf: string, prefix: string, metric?: number): TaplineError {
    const owned = this.#of(keyOf(vrf, prefix)).find(({ owner }) => owner !== null);
    if (owned !== undefined) {
      const what = `the route to ${prefix} belongs to interface ${owned.owner} and goes with it`;
      return new TaplineError('conflict', what, 'prefix');
    }
    const connected = this.#interfaces
      .in(vrf)
      .find(({ request }) => request.addresses.some((own) => prefix === formatSubnet(parseSubnet(own))));
    if (connected !== undefined)
      return new TaplineError('conflict', `${prefix} is the subnet of ${connected.name}, which stays`, 'prefix');
    const which = metric === undefined ? '' : ` with metric ${metric}`;
    return new TaplineError('missing', `no route to ${prefix}${which} in VRF ${vrf}`);
  }

  /** Replaces all routes of an interface. Those that fail are inactive, and the log says why. */
  setInterfaceRoutes(owner: string, routes: readonly InterfaceRoute[]): Promise<void> {
    return this.#interfaces.exclusively(async () => {
      const before = this.list().filter((route) => route.owner === owner);
      const after = routes.map((route) => interfaceRoute(owner, route));
      for (const route of before) this.#drop(route);
      for (const route of after) this.#put(route);
      await this.#reconcile([...before, ...after].map(({ vrf, prefix }) => keyOf(vrf, prefix)));
    });
  }

  /** Forgets them all. The dataplane loses them with the VRFs. */
  clear(): void {
    this.#routes.clear();
  }

  /**
   * Makes the dataplane have what there is to have.
   *
   * @param only VRF and prefix of the routes that changed; null: interfaces may have
   * @returns what it refused, by VRF and prefix
   */
  async #reconcile(only: Iterable<string> | null = null): Promise<Map<string, unknown>> {
    if (only === null) this.#forgetWhatWent();
    const keys = [...new Set(only ?? [...this.#installed.keys(), ...this.#routes.keys()])];
    const reaches = new Map<string, Reach>();
    const failures = new Map<string, unknown>();
    const work: Promise<void>[] = [];
    for (const key of keys) {
      const wanted = this.#wanted(this.#of(key), reaches);
      if (isSame(this.#installed.get(key), wanted)) continue;
      work.push(wanted === null ? this.#uninstall(key) : this.#install(key, wanted, failures));
      if (work.length >= PREFIXES_AT_ONCE) await Promise.all(work.splice(0));
    }
    await Promise.all(work);
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

  /** What the routes of one prefix are to be in the FIB; null: nothing. */
  #wanted(routes: readonly RouteState[], reaches: Map<string, Reach>): Installed | null {
    for (const route of routes) {
      const reach = reaches.get(route.vrf) ?? new Reach(this.#interfaces.in(route.vrf));
      reaches.set(route.vrf, reach);
      resolve(route, reach);
    }
    return this.#merge(routes.filter(({ reason }) => reason === ''));
  }

  /** One entry: of the routes within reach, the lowest metric decides what kind it is. */
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

  async #install(key: string, want: Installed, failures: Map<string, unknown>): Promise<void> {
    try {
      await this.#dataplane.setRoute(want.spec);
      this.#installed.set(key, want);
      this.#complaints.delete(key);
    } catch (error) {
      failures.set(key, error);
      this.#refused(key, want, firstLine(error));
    }
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

  #refused(key: string, { vrf, spec }: Installed, why: string): void {
    for (const route of this.#of(key)) if (route.reason === '') route.reason = why;
    if (this.#complaints.get(key) === why) return;
    this.#complaints.set(key, why);
    this.#logger.warn(`route to ${spec.prefix} in VRF ${vrf} is inactive: ${why}`);
  }
}

function isSame(there: Installed | undefined, wanted: Installed | null): boolean {
  if (there === undefined || wanted === null) return there === undefined && wanted === null;
  const { vrf, kind, hops } = wanted.spec;
  if (there.spec.vrf !== vrf || there.spec.kind !== kind || there.spec.hops.length !== hops.length) return false;
  return hops.every((hop, index) => isSameHop(hop, there.spec.hops[index] as HopSpec));
}

function isSameHop(a: HopSpec, b: HopSpec): boolean {
  return a.interface === b.interface && a.via === b.via && a.metric === b.metric;
}

/** Finds the hops of a route, or the reason why it is none of the FIB's. */
function resolve(route: RouteState, reach: Reach): void {
  const { vrf, prefix, via, metric, kind } = route;
  route.hops = [];
  route.reason = '';
  if (reach.interfaces.length === 0) route.reason = `no network or uplink is in VRF ${vrf}`;
  // An entry that comes with an interface is nobody's to replace.
  const owner = reach.connected.ownerOf(prefix);
  if (owner !== null) route.reason = `${prefix} is ${owner}`;
  if (kind !== 'unicast' || route.reason !== '') return;
  const hops: HopSpec[] = [];
  for (const hop of via) {
    const found = interfaceOf(route, hop, reach);
    if (found !== null) hops.push({ interface: found.number, via: hop?.split('%', 1)[0] ?? null, metric });
  }
  route.hops = hops;
  if (hops.length === 0) route.reason = `no link of VRF ${vrf} has ${via.join(' or ')}`;
}

function interfaceOf({ owner }: RouteState, hop: string | null, reach: Reach): InterfaceState | null {
  const name = owner ?? hop?.split('%')[1];
  if (name !== undefined) return reach.named(name);
  return hop === null ? null : reach.onLink(hop);
}
