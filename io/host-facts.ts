/** What the host knows of one of its devices: addresses and routes, as `ip` tells them, in the current namespace. */

import { readFileSync } from 'node:fs';
import { readIp } from './interface.js';

export interface HostFacts {
  /** CIDR, those for good before temporary ones. */
  readonly addresses: readonly string[];
  /** IPv6; null where there is none (yet). */
  readonly linkLocal: string | null;
  /** Default routes by the device, at most one a family. */
  readonly defaults: readonly DefaultRoute[];
  /** All others by the device, but those that come with its addresses; one for each prefix. Where there are very many, none. */
  readonly routes: readonly HostRoute[];
}

export interface HostRoute {
  /** CIDR, as the host writes it. */
  readonly prefix: string;
  /** Null: destinations are on the link. */
  readonly via: string | null;
}

export interface DefaultRoute {
  readonly family: 4 | 6;
  /** Null: everybody is on the link. */
  readonly via: string | null;
}

/** Routes that are followed: those of a site, not those of the Internet. */
const MAX_ROUTES = 4096;

interface AddressEntry {
  readonly family: 'inet' | 'inet6' | string;
  readonly local: string;
  readonly prefixlen: number;
  readonly scope: string;
  readonly tentative?: true;
  readonly dadfailed?: true;
  readonly deprecated?: true;
  readonly temporary?: true;
}

interface RouteEntry {
  /** Without a length: one address. */
  readonly dst?: string;
  readonly protocol?: string;
  readonly type?: string;
  readonly gateway?: string;
  readonly via?: { readonly family: string; readonly host: string };
  readonly dev?: string;
  readonly metric?: number;
  readonly flags?: readonly string[];
  readonly nexthops?: readonly Omit<RouteEntry, 'nexthops' | 'metric'>[];
}

/** @throws Error with `ip`'s own words, when the device is gone too */
export async function hostFacts(device: string): Promise<HostFacts> {
  const [links, routes4, routes6] = await Promise.all([
    readIp<{ ifname?: string; addr_info?: AddressEntry[] }>('address', 'show', 'dev', device),
    readIp<RouteEntry>('-4', 'route', 'show', ...whichRoutes(prefixCount4())),
    // A kernel without IPv6 has no such routes.
    readIp<RouteEntry>('-6', 'route', 'show', ...whichRoutes(prefixCount6())).catch(() => []),
  ]);
  const entries = links.flatMap(({ addr_info }) => addr_info ?? []);
  return {
    ...readAddresses(entries),
    defaults: [...readDefault(4, device, routes4), ...readDefault(6, device, routes6)],
    routes: [...readRoutes(4, device, routes4), ...readRoutes(6, device, routes6)].slice(0, MAX_ROUTES),
  };
}

/** All of the main table; of one that takes seconds to print the default routes alone, by which all is reached as well. */
function whichRoutes(count: number): string[] {
  return count > MAX_ROUTES ? ['default'] : ['table', 'main'];
}

/** Prefixes in the kernel's tables (net/ipv4/fib_trie.c); 0 where it does not count them. */
function prefixCount4(): number {
  const found = statistics('fib_triestat').matchAll(/Prefixes:\s+(\d+)/g);
  return [...found].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** The third of the words in hex is their number (net/ipv6/route.c). */
function prefixCount6(): number {
  return Number.parseInt(statistics('rt6_stats').split(' ')[2] ?? '0', 16) || 0;
}

function statistics(file: string): string {
  try {
    return readFileSync(`/proc/thread-self/net/${file}`, 'utf8');
  } catch {
    // A kernel without these.
    return '';
  }
}

function readAddresses(entries: readonly AddressEntry[]): Pick<HostFacts, 'addresses' | 'linkLocal'> {
  const usable = entries.filter(({ tentative, dadfailed }) => tentative === undefined && dadfailed === undefined);
  const rank = ({ deprecated, temporary }: AddressEntry): number =>
    (deprecated === undefined ? 0 : 2) + (temporary === undefined ? 0 : 1);
  const wide = usable
    .filter(({ family, scope }) => (family === 'inet' || family === 'inet6') && scope === 'global')
    .sort((a, b) => rank(a) - rank(b));
  const local = usable.find(({ family, scope }) => family === 'inet6' && scope === 'link');
  return {
    addresses: wide.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
    linkLocal: local?.local ?? null,
  };
}

/** Of several next hops each is a route. */
function hopsBy(device: string, routes: readonly RouteEntry[]): (RouteEntry & { metric: number })[] {
  return routes
    .flatMap(({ nexthops, ...route }) =>
      (nexthops ?? [route]).map((hop) => ({ type: 'unicast', metric: 0, ...route, ...hop })),
    )
    .filter(({ type, dev, flags }) => type === 'unicast' && dev === device && !flags?.includes('dead'))
    .sort((a, b) => a.metric - b.metric);
}

/** A next hop of the other family (RFC 5549) has no place in our routes. */
function isForeign({ gateway, via }: RouteEntry): boolean {
  return gateway === undefined && via !== undefined;
}

/** The one of the lowest metric; of several next hops the first by the device. */
function readDefault(family: 4 | 6, device: string, routes: readonly RouteEntry[]): DefaultRoute[] {
  const [best] = hopsBy(
    device,
    routes.filter(({ dst }) => dst === 'default'),
  );
  return best === undefined || isForeign(best) ? [] : [{ family, via: best.gateway ?? null }];
}

/** Of each prefix the same. Subnets of the device's own addresses come with these. */
function readRoutes(family: 4 | 6, device: string, routes: readonly RouteEntry[]): HostRoute[] {
  const found = new Map<string, HostRoute>();
  const others = routes.filter(({ dst, protocol }) => dst !== undefined && dst !== 'default' && protocol !== 'kernel');
  for (const hop of hopsBy(device, others)) {
    const prefix = hop.dst?.includes('/') ? hop.dst : `${hop.dst}/${family === 4 ? 32 : 128}`;
    if (!found.has(prefix) && !isForeign(hop)) found.set(prefix, { prefix, via: hop.gateway ?? null });
  }
  return [...found.values()];
}
