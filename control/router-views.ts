/** What the API answers about the router: routes as wanted and as they stand, neighbors, VRFs. */

import type { Daemon } from './daemon.js';
import type { RouteSource, RouteState } from './routes.js';
import type { FibEntry, HopSpec, NeighborState } from './types.js';

export interface HopView {
  /** Name of a network, `uplink` or `host`. */
  readonly interface: string;
  /** Null: destinations are on the link. */
  readonly via: string | null;
  readonly metric: number;
}

export interface RouteView {
  readonly vrf: string;
  readonly prefix: string;
  readonly kind: FibEntry['kind'];
  /** `connected`: a subnet of an interface; `local`: an address of the router, or a broadcast address. */
  readonly source: RouteSource | 'connected' | 'local';
  /** Those within reach; empty unless there is somewhere to send packets to. */
  readonly hops: readonly HopView[];
  /** Next hops as asked for. */
  readonly via: readonly string[];
  /** Null for what comes with an interface. */
  readonly metric: number | null;
  readonly state: 'active' | 'inactive';
  /** Why it is inactive; empty for an active one. */
  readonly reason: string;
}

export interface NeighborView {
  readonly vrf: string;
  /** Name of a network, `uplink` or `host`. */
  readonly interface: string;
  readonly address: string;
  /** Null while it is not known. */
  readonly mac: string | null;
  readonly state: NeighborState;
  /** Seconds in this state. */
  readonly ageSeconds: number;
  readonly router: boolean;
  /** Packets that wait for its MAC. */
  readonly waiting: number;
}

export interface VrfView {
  readonly name: string;
  /** `unused`: no interface is in it. */
  readonly state: 'up' | 'unused';
  readonly interconnect: boolean;
  /** Names of networks, `uplink`, `host`. */
  readonly interfaces: readonly string[];
  /** Static routes and those of the uplink. */
  readonly routes: number;
  /** Prefixes in the FIB, those of interfaces included. */
  readonly prefixes: number;
  readonly ip_options: { readonly record_route: boolean; readonly timestamp: boolean };
}

/** Only what belongs to a VRF, or to an interface; null for all. */
export interface RouterFilter {
  readonly vrf: string | null;
  /** Name of a network. */
  readonly network: string | null;
}

function interfaceName(daemon: Daemon, number: number): string {
  return daemon.interfaces.nameOf(number) ?? `interface ${number}`;
}

function hopViews(daemon: Daemon, hops: readonly HopSpec[]): HopView[] {
  return hops.map((hop) => ({ interface: interfaceName(daemon, hop.interface), via: hop.via, metric: hop.metric }));
}

function connectedView(daemon: Daemon, { vrf, prefix, kind, hops }: FibEntry): RouteView {
  const name = daemon.interfaces.vrfs.nameOf(vrf) ?? `VRF ${vrf}`;
  const source = kind === 'connected' ? 'connected' : 'local';
  const common = { vrf: name, prefix, kind, source, via: [], metric: null, state: 'active', reason: '' } as const;
  return { ...common, hops: hopViews(daemon, hops) };
}

/** A route as it was asked for. */
export function routeView(daemon: Daemon, route: RouteState): RouteView {
  const { vrf, prefix, kind, source, metric, hops, reason } = route;
  const via = route.via.filter((hop) => hop !== null);
  const state = reason === '' ? 'active' : 'inactive';
  return { vrf, prefix, kind, source, hops: hopViews(daemon, hops), via, metric, state, reason };
}

/** In the order in which a packet that fits all would have it: VRF, family, the longest prefix first. */
function byPrefix(a: RouteView, b: RouteView): number {
  if (a.vrf !== b.vrf) return a.vrf < b.vrf ? -1 : 1;
  const [familyA, familyB] = [a.prefix.includes(':'), b.prefix.includes(':')];
  if (familyA !== familyB) return familyA ? 1 : -1;
  const length = Number(b.prefix.split('/')[1]) - Number(a.prefix.split('/')[1]);
  return length !== 0 ? length : (a.metric ?? 0) - (b.metric ?? 0);
}

function isWanted({ vrf, hops }: RouteView, filter: RouterFilter): boolean {
  if (filter.vrf !== null && vrf !== filter.vrf) return false;
  return filter.network === null || hops.some((hop) => hop.interface === filter.network);
}

/** @throws TaplineError `missing` for a network or a VRF that is not there */
export async function routeViews(daemon: Daemon, filter: RouterFilter): Promise<RouteView[]> {
  checkFilter(daemon, filter);
  const fib = await daemon.dataplane.fib();
  const own = fib.filter(({ kind }) => kind === 'connected' || kind === 'local' || kind === 'broadcast');
  const views = [
    ...own.map((entry) => connectedView(daemon, entry)),
    ...daemon.routes.list().map((route) => routeView(daemon, route)),
  ];
  return views.filter((view) => isWanted(view, filter)).sort(byPrefix);
}

function checkFilter(daemon: Daemon, { vrf, network }: RouterFilter): void {
  if (network !== null) daemon.network(network);
  if (vrf !== null) daemon.requireVrf(vrf);
}

/** @throws TaplineError `missing` for a network or a VRF that is not there */
export async function neighborViews(daemon: Daemon, filter: RouterFilter): Promise<NeighborView[]> {
  checkFilter(daemon, filter);
  const entries = await daemon.dataplane.neighbors();
  const views = entries.map((entry) => {
    const name = interfaceName(daemon, entry.interface);
    return { ...entry, vrf: daemon.interfaces.get(name)?.request.vrf ?? '-', interface: name };
  });
  return views.filter(
    (view) =>
      (filter.vrf === null || view.vrf === filter.vrf) &&
      (filter.network === null || view.interface === filter.network),
  );
}

export async function vrfViews(daemon: Daemon): Promise<VrfView[]> {
  const fib = await daemon.dataplane.fib();
  const { vrfs } = daemon.interfaces;
  return daemon.vrfNames().map((name) => {
    const { interconnect, recordRoute, timestamp } = vrfs.specOf(name);
    const number = vrfs.numberOf(name);
    return {
      name,
      state: number === null ? 'unused' : 'up',
      interconnect,
      interfaces: daemon.interfaces.in(name).map((state) => state.name),
      routes: daemon.routes.list().filter(({ vrf }) => vrf === name).length,
      prefixes: fib.filter(({ vrf }) => vrf === number).length,
      ip_options: { record_route: recordRoute, timestamp },
    };
  });
}
