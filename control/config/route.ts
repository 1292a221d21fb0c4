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

/** Prefixes that are somebody's without any route: their entries in the FIB come with an interface. */
export class ConnectedPrefixes {
  /** By CIDR, host bits zero. */
  readonly #owners = new Map<string, string>();

  constructor(links: readonly Link[]) {
    for (const link of links) this.#note(link);
  }

  #note({ subnet, address, owner }: Link): void {
    const { family, prefix, base } = subnet;
    this.#first(formatSubnet(subnet), `the subnet of ${owner}`);
    const host = (value: bigint): string => formatSubnet({ family, base: value, prefix: addressBits(family) });
    this.#first(host(address.value), `the router's own address in ${owner}`);
    if (family === 6 || prefix >= 31) return;
    for (const edge of [base, lastOf(subnet)]) this.#first(host(edge), `a broadcast address of ${owner}`);
  }

  #first(prefix: string, owner: string): void {
    if (!this.#owners.has(prefix)) this.#owners.set(prefix, owner);
  }

  /** Whose it is, in words; null: nobody's. @param prefix CIDR, host bits zero */
  ownerOf(prefix: string): string | null {
    return this.#owners.get(prefix) ?? null;
  }

  prefixes(): Iterable<string> {
    return this.#owners.keys();
  }
}

/** What routes of a VRF are checked against; it takes long to find for thousands of routes each. */
interface Connections {
  readonly vrf: string;
  readonly config: Objects;
  readonly links: readonly Link[];
  readonly connected: ConnectedPrefixes;
}

function connectionsOf(vrf: string, config: Objects): Connections {
  const links = linksIn(vrf, config);
  return { vrf, config, links, connected: new ConnectedPrefixes(links) };
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

function checkHop(path: KeyPath, hop: string, { vrf, config, links: all }: Connections): Problem[] {
  const [text = '', zone] = hop.split('%');
  if (zone !== undefined) {
    const names = interfacesIn(vrf, config);
    if (names.includes(zone)) return [];
    const expected = names.length === 0 ? 'none is there' : `expected one of ${names.join(', ')}`;
    return [invalid(path, `no interface ${zone} in VRF ${vrf}; ${expected} behind the %`)];
  }
  const address = knownAddress(text);
  const link = linkOf(all, address);
  if (link === undefined) {
    // The host alone knows what is on the wire of a shared uplink.
    const { uplink } = config;
    if (uplink?.mode === 'shared' && uplink.vrf === vrf) return [];
    const links = all.filter(({ subnet }) => subnet.family === address.family);
    return [invalid(path, `${onLinkText(links, vrf)}, got ${hop}`)];
  }
  if (address.value === link.address.value)
    return [invalid(path, `${hop} is the router's own address in ${link.owner}`)];
  const why = link.subnet.prefix >= addressBits(link.subnet.family) - 1 ? null : unusable(link.subnet, address);
  return why === null ? [] : [invalid(path, `${hop} is the ${why} of ${link.owner}`)];
}

/** One route of a VRF against interfaces, which may be not up yet. @param path of the route */
export function checkRoute(path: KeyPath, vrf: string, route: RouteConfig, config: Objects): Problem[] {
  return checkAgainst(path, route, connectionsOf(vrf, config));
}

function checkAgainst(path: KeyPath, route: RouteConfig, connections: Connections): Problem[] {
  const owner = connections.connected.ownerOf(route.to);
  const problems = owner === null ? [] : [conflict([...path, 'to'], `${route.to} is ${owner}; it needs no route`)];
  const via = route.via ?? [];
  via.forEach((hop, index) => {
    problems.push(...checkHop([...path, 'via', ...(via.length > 1 ? [index] : [])], hop, connections));
  });
  return problems;
}

export function checkRoutes(config: Configuration): Problem[] {
  const problems: Problem[] = [];
  for (const [vrf, { routes }] of config.vrfs) {
    const seen = new Map<string, number>();
    const connections = connectionsOf(vrf, config);
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
      problems.push(...checkAgainst(path, route, connections));
    });
  }
  return problems;
}

/** What a network that is made now would take from a route that is there. */
export function routesInTheWay(
  name: string,
  config: Objects,
  isRoute: (vrf: string, to: string) => boolean,
): Problem[] {
  const network = config.networks.get(name);
  if (network === undefined) return [];
  const { vrf } = network;
  const links = linksIn(vrf, { uplink: config.uplink, networks: new Map([[name, network]]) });
  const taken = [...new ConnectedPrefixes(links).prefixes()].find((prefix) => isRoute(vrf, prefix));
  if (taken === undefined) return [];
  const { family, base } = parseSubnet(taken);
  const at = network.subnets.findIndex((text) => contains(parseSubnet(text), { family, value: base }));
  const where = `${formatAddressOf(taken)} of VRF ${vrf}`;
  return [conflict(['networks', name, 'subnets', at], `there is a route to ${where}; remove it first`)];
}

function formatAddressOf(prefix: string): string {
  const subnet = parseSubnet(prefix);
  const isHost = subnet.prefix === addressBits(subnet.family);
  return isHost ? formatAddress({ family: subnet.family, value: subnet.base }) : prefix;
}
