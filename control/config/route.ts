/** Checks of routes against what the router is connected to. */

import {
  type Address,
  addressBits,
  contains,
  formatAddress,
  formatSubnet,
  lastOf,
  parseSubnet,
  type Subnet,
} from './address.js';
import { conflict, invalid, type KeyPath, type Problem } from './problems.js';
import type { Configuration, RouteConfig } from './schema.js';
import { interfacesIn, knownAddress, type Link, linksIn, unusable } from './subnets.js';

type Objects = Pick<Configuration, 'uplink' | 'networks'>;

/** How many subnets an error line names. */
const SUBNETS_IN_LINE = 4;

function isSame(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.base === b.base && a.prefix === b.prefix;
}

/** Whose a prefix is without any route, in words: its entries in the FIB come with an interface. Null: nobody's. */
export function connectedOwner(prefix: Subnet, links: readonly Link[]): string | null {
  const isHost = prefix.prefix === addressBits(prefix.family);
  for (const { subnet, address, owner } of links) {
    if (isSame(prefix, subnet)) return `the subnet of ${owner}`;
    if (!isHost || subnet.family !== prefix.family) continue;
    if (prefix.base === address.value) return `the router's own address in ${owner}`;
    const edge = prefix.base === subnet.base || prefix.base === lastOf(subnet);
    if (subnet.family === 4 && subnet.prefix < 31 && edge) return `a broadcast address of ${owner}`;
  }
  return null;
}

function onLinkText(links: readonly Link[], vrf: string): string {
  if (links.length === 0) return `no network or uplink is in VRF ${vrf}, so no next hop is within reach`;
  const names = links.slice(0, SUBNETS_IN_LINE).map(({ subnet, owner }) => `${formatSubnet(subnet)} (${owner})`);
  const more = links.length > names.length ? ` or ${links.length - names.length} more` : '';
  return `expected a next hop on a link of VRF ${vrf}: in ${names.join(', ')}${more}`;
}

/** The longest of the subnets that have the address. */
export function linkOf<T extends { readonly subnet: Subnet }>(links: readonly T[], address: Address): T | undefined {
  let best: T | undefined;
  for (const link of links) {
    if (contains(link.subnet, address) && (best === undefined || link.subnet.prefix > best.subnet.prefix)) best = link;
  }
  return best;
}

function checkHop(path: KeyPath, vrf: string, hop: string, config: Objects): Problem[] {
  const [text = '', zone] = hop.split('%');
  if (zone !== undefined) {
    const names = interfacesIn(vrf, config);
    if (names.includes(zone)) return [];
    const expected = names.length === 0 ? 'none is there' : `expected one of ${names.join(', ')}`;
    return [invalid(path, `no interface ${zone} in VRF ${vrf}; ${expected} behind the %`)];
  }
  const address = knownAddress(text);
  const links = linksIn(vrf, config).filter(({ subnet }) => subnet.family === address.family);
  const link = linkOf(links, address);
  if (link === undefined) {
    // The host alone knows what is on the wire of a shared uplink.
    const { uplink } = config;
    if (uplink?.mode === 'shared' && uplink.vrf === vrf) return [];
    return [invalid(path, `${onLinkText(links, vrf)}, got ${hop}`)];
  }
  if (address.value === link.address.value)
    return [invalid(path, `${hop} is the router's own address in ${link.owner}`)];
  const why = link.subnet.prefix >= addressBits(link.subnet.family) - 1 ? null : unusable(link.subnet, address);
  return why === null ? [] : [invalid(path, `${hop} is the ${why} of ${link.owner}`)];
}

/** One route of a VRF against interfaces, which may be not up yet. @param path of the route */
export function checkRoute(path: KeyPath, vrf: string, route: RouteConfig, config: Objects): Problem[] {
  const owner = connectedOwner(parseSubnet(route.to), linksIn(vrf, config));
  const problems = owner === null ? [] : [conflict([...path, 'to'], `${route.to} is ${owner}; it needs no route`)];
  const via = route.via ?? [];
  via.forEach((hop, index) => {
    problems.push(...checkHop([...path, 'via', ...(via.length > 1 ? [index] : [])], vrf, hop, config));
  });
  return problems;
}

export function checkRoutes(config: Configuration): Problem[] {
  const problems: Problem[] = [];
  for (const [vrf, { routes }] of config.vrfs) {
    const seen = new Map<string, number>();
    routes.forEach((route, index) => {
      const path = ['vrfs', vrf, 'routes', index];
      const key = `${route.to} ${route.metric}`;
      const before = seen.get(key);
      if (before === undefined) seen.set(key, index);
      else {
        const remedy = 'give them different metrics, or one route with a list of next hops';
        problems.push(
          conflict(path, `routes[${before}] also leads to ${route.to} with metric ${route.metric}; ${remedy}`),
        );
      }
      problems.push(...checkRoute(path, vrf, route, config));
    });
  }
  return problems;
}

/** What a network that is made now would take from a route that is there. */
export function routesInTheWay(
  name: string,
  config: Objects,
  routes: readonly { readonly vrf: string; readonly to: string }[],
): Problem[] {
  const network = config.networks.get(name);
  if (network === undefined) return [];
  const links = linksIn(network.vrf, { uplink: config.uplink, networks: new Map([[name, network]]) });
  const taken = routes.find(({ vrf, to }) => vrf === network.vrf && connectedOwner(parseSubnet(to), links) !== null);
  if (taken === undefined) return [];
  const at = network.subnets.findIndex((text) => {
    const [subnet, to] = [parseSubnet(text), parseSubnet(taken.to)];
    return contains(subnet, { family: to.family, value: to.base });
  });
  const where = `${formatAddressOf(taken.to)} of VRF ${network.vrf}`;
  return [conflict(['networks', name, 'subnets', at], `there is a route to ${where}; remove it first`)];
}

function formatAddressOf(prefix: string): string {
  const subnet = parseSubnet(prefix);
  const isHost = subnet.prefix === addressBits(subnet.family);
  return isHost ? formatAddress({ family: subnet.family, value: subnet.base }) : prefix;
}
