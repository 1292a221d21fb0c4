/** What the host knows of one of its devices: addresses and default routes, as `ip` tells them, in the current namespace. */

import { readIp } from './interface.js';

export interface HostFacts {
  /** CIDR, those for good before temporary ones. */
  readonly addresses: readonly string[];
  /** IPv6; null where there is none (yet). */
  readonly linkLocal: string | null;
  /** Default routes by the device, at most one a family. */
  readonly defaults: readonly DefaultRoute[];
}

export interface DefaultRoute {
  readonly family: 4 | 6;
  /** Null: everybody is on the link. */
  readonly via: string | null;
}

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
    readIp<RouteEntry>('-4', 'route', 'show', 'default'),
    // A kernel without IPv6 has no such routes.
    readIp<RouteEntry>('-6', 'route', 'show', 'default').catch(() => []),
  ]);
  const entries = links.flatMap(({ addr_info }) => addr_info ?? []);
  return {
    ...readAddresses(entries),
    defaults: [...readDefault(4, device, routes4), ...readDefault(6, device, routes6)],
  };
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

/** The one of the lowest metric; of several next hops the first by the device. */
function readDefault(family: 4 | 6, device: string, routes: readonly RouteEntry[]): DefaultRoute[] {
  const hops = routes.flatMap(({ nexthops, ...route }) =>
    (nexthops ?? [route]).map((hop) => ({ type: 'unicast', metric: 0, ...route, ...hop })),
  );
  const best = hops
    .filter(({ type, dev, flags }) => type === 'unicast' && dev === device && !flags?.includes('dead'))
    .sort((a, b) => a.metric - b.metric)[0];
  // A next hop of the other family (RFC 5549) has no place in our routes.
  if (best === undefined || (best.gateway === undefined && best.via !== undefined)) return [];
  return [{ family, via: best.gateway ?? null }];
}
