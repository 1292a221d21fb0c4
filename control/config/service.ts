/** Services against their network, the endpoints of their backends, the uplink, published ports and each other. */

import { MAX_BACKENDS_OF_SERVICE } from '../../core/lb/service.js';
import { type Address, contains, type Family, formatAddress, isUnspecified, parseSubnet } from './address.js';
import { type Claim, overlapProblems, placeInside } from './claims.js';
import type { ListenSpec } from './fields.js';
import { checkHostLinks, HOST_LINKS } from './host-links.js';
import { keptName } from './kept-names.js';
import { isVirtual, listenClaim, listenSpec, virtualAddresses } from './listen.js';
import { conflict, invalid, type KeyPath, type Problem } from './problems.js';
import { isLoopback, networkFamilies, publishedClaims, unpublishable, wireAddresses } from './publish.js';
import type { BackendConfig, Configuration, EndpointConfig, NetworkConfig, ServiceConfig } from './schema.js';
import { gatewaysOf, isBridged, knownAddress, unusable } from './subnets.js';
import { DEFAULT_VLAN } from './vlan.js';
import { vxlanClaims, vxlanInTheWay } from './vxlan.js';

/** What a service is looked at against. */
interface Surroundings {
  readonly config: Configuration;
  /** VRFs and addresses (`placeInside`) to the endpoint that has them. */
  readonly owners: ReadonlyMap<string, string>;
}

/** A service in a network that is there. */
interface Placed {
  readonly service: ServiceConfig;
  readonly network: NetworkConfig;
  readonly listeners: readonly ListenSpec[];
}

function surroundings(config: Configuration): Surroundings {
  const owners = new Map<string, string>();
  for (const [name, { network, addresses }] of config.endpoints) {
    const vrf = config.networks.get(network)?.vrf;
    if (vrf !== undefined) for (const text of addresses) owners.set(placeInside(vrf, knownAddress(text)), name);
  }
  return { config, owners };
}

function missing(path: KeyPath, what: string, name: string): Problem {
  return { path, kind: 'missing', message: `expected the name of ${what}, got ${JSON.stringify(name)}` };
}

/** `172.30.0.0/24 or fd00:30::/64 of network blue` */
function insideText({ service, network }: Placed): string {
  return `${network.subnets.join(' or ')} of network ${service.network}`;
}

/** What is wrong with an address of the network; `path` is the listener's. */
function checkVirtual(path: KeyPath, address: Address, placed: Placed, { owners }: Surroundings): Problem[] {
  const { service, network } = placed;
  const text = formatAddress(address);
  const subnet = network.subnets.map(parseSubnet).find((candidate) => contains(candidate, address));
  const why = subnet === undefined ? null : unusable(subnet, address);
  if (why !== null) return [invalid(path, `${text} is the ${why} of network ${service.network}`)];
  const owner = owners.get(placeInside(network.vrf, address));
  if (owner !== undefined) return [conflict(path, `${text} is already an address of endpoint ${owner}; take another`)];
  if (service.forwarding === 'nat' || !gatewaysOf(network).some(({ value }) => value === address.value)) return [];
  const what = `${text} is the gateway address of network ${service.network}, which no backend can have too`;
  return [invalid(path, `${what}; forwarding: direct needs another`)];
}

/** Of a network that has this address though the service's has not, as the end of an error line. */
function elsewhereText(address: Address, { networks }: Configuration): string {
  const has = ({ subnets }: NetworkConfig): boolean => subnets.some((text) => contains(parseSubnet(text), address));
  const other = [...networks].find(([, network]) => has(network));
  return other === undefined ? '' : `, which is in network ${other[0]}`;
}

/** What is wrong with an address of the uplink; null stands for all of them. */
function checkOutside(path: KeyPath, address: Address | null, placed: Placed, { config }: Surroundings): Problem[] {
  const { service, network } = placed;
  const { uplink } = config;
  const inside = insideText(placed);
  const reason = unpublishable(service.network, network, uplink);
  if (reason !== null) {
    const remedy = reason.remedy === '' ? '' : `${reason.remedy}, or `;
    return [invalid(path, `${reason.why}; ${remedy}listen on an address in ${inside}`)];
  }
  if (service.forwarding === 'direct' && (address === null || isUnspecified(address) || isLoopback(address)))
    return [invalid(path, 'forwarding: direct needs the one address that all backends have too')];
  if (address === null || isUnspecified(address)) {
    const isThere =
      address === null || uplink === null || !('addresses' in uplink) || hasFamily(uplink, address.family);
    return isThere ? [] : [invalid(path, `the uplink has no IPv${address.family} address`)];
  }
  const text = formatAddress(address);
  const elsewhere = elsewhereText(address, config);
  // Which addresses the host has shows when it is made.
  if (uplink === null || !('addresses' in uplink)) {
    if (elsewhere === '') return [];
    return [invalid(path, `expected an address of the host, or one in ${inside}, got ${text}${elsewhere}`)];
  }
  const there = wireAddresses(uplink, config);
  if (there.includes(text)) return [];
  const expected = `expected an address of the uplink, ${there.join(' or ')}, or one in ${inside}`;
  return [invalid(path, `${expected}, got ${text}${elsewhere}`)];
}

function hasFamily({ addresses }: { readonly addresses: readonly string[] }, family: Family): boolean {
  return addresses.some((text) => text.includes(':') === (family === 6));
}

/** Networks whose endpoints can be reached by the service, by name: those of its backends; without any its own. */
function targetNetworks({ service }: Placed, { config }: Surroundings): Map<string, NetworkConfig> {
  const targets = new Map<string, NetworkConfig>();
  const add = (name: string): void => {
    const network = config.networks.get(name);
    if (network !== undefined) targets.set(name, network);
  };
  for (const { endpoint } of service.backends) add(config.endpoints.get(endpoint)?.network ?? '');
  if (targets.size === 0) add(service.network);
  return targets;
}

/** A family in which nobody answers. */
function checkFamily(path: KeyPath, { address }: ListenSpec, placed: Placed, around: Surroundings): Problem[] {
  if (address === null) return [];
  const targets = targetNetworks(placed, around);
  if ([...targets.values()].some((network) => networkFamilies(network).includes(address.family))) return [];
  const whose =
    targets.size === 1 ? `network ${[...targets.keys()][0]} has` : `networks ${[...targets.keys()].join(', ')} have`;
  return [
    invalid(path, `no backend can have an IPv${address.family} address: ${whose} no IPv${address.family} subnet`),
  ];
}

function checkListener(index: number, placed: Placed, around: Surroundings): Problem[] {
  const spec = placed.listeners[index];
  if (spec === undefined) throw new Error(`no listener ${index}`);
  const path = ['listen', index];
  const { address } = spec;
  const problems =
    address !== null && isVirtual(spec, placed.network)
      ? checkVirtual(path, address, placed, around)
      : checkOutside(path, address, placed, around);
  return problems.length > 0 ? problems : checkFamily(path, spec, placed, around);
}

/** Why connections of a service do not reach an endpoint, whatever its port; or null. */
function unreachable(name: string, endpoint: EndpointConfig, placed: Placed, config: Configuration): string | null {
  const { service, network } = placed;
  const its = config.networks.get(endpoint.network);
  // Its own problem, and said of it.
  if (its === undefined) return null;
  const where = `endpoint ${name} is in network ${endpoint.network}`;
  if (its.vrf !== network.vrf)
    return `${where} of VRF ${its.vrf}, the service in VRF ${network.vrf}; no connection leads from one to the other`;
  if (endpoint.network !== service.network) {
    if (its.internal) return `${where}, which is internal: only services of that network reach it`;
    if (isBridged(endpoint.network, config.uplink))
      return `${where}, which the uplink is bridged into: its gateway is outside, and no service reaches it`;
    if (service.forwarding === 'direct')
      return `${where}; forwarding: direct reaches endpoints of network ${service.network} alone`;
  }
  if (endpoint.vlan === undefined || endpoint.vlan === DEFAULT_VLAN) return null;
  return `endpoint ${name} is in VLAN ${endpoint.vlan} of network ${endpoint.network}, its gateway in VLAN ${DEFAULT_VLAN}`;
}

function isAllowed(address: Address, { addresses, allowed_addresses }: EndpointConfig): boolean {
  return [...addresses, ...allowed_addresses].some((text) =>
    text.includes('/') ? contains(parseSubnet(text), address) : text === formatAddress(address),
  );
}

/** An endpoint that answers with the service's address needs leave to. */
function mutedAddress(endpoint: EndpointConfig, network: NetworkConfig, { service, listeners }: Placed): string | null {
  if (service.forwarding === 'nat' || endpoint.security !== 'strict') return null;
  for (const { address } of listeners) {
    if (address === null || !networkFamilies(network).includes(address.family)) continue;
    if (!isAllowed(address, endpoint)) return formatAddress(address);
  }
  return null;
}

/** What is wrong with an endpoint as a backend, whatever its port; or null. */
function endpointMistake(name: string, endpoint: EndpointConfig, placed: Placed, config: Configuration): string | null {
  const why = unreachable(name, endpoint, placed, config);
  if (why !== null) return why;
  const muted = mutedAddress(endpoint, placed.network, placed);
  if (muted === null) return null;
  const what = `endpoint ${name} may not send from ${muted}, as forwarding: direct asks of it`;
  return `${what}; add it to its allowed_addresses, or set its security: mac`;
}

/** A backend's port against the listeners'. */
function portMistake({ port }: BackendConfig, { service, listeners }: Placed): string | null {
  for (const [index, { first, last }] of listeners.entries()) {
    const most = 65_535 - (last - first);
    if (port > most)
      return `expected ${most} at most, for the ${last - first + 1} ports of ${service.listen[index]}, got ${port}`;
    if (service.forwarding === 'direct' && port !== first)
      return `forwarding: direct leaves ports as they are: expected ${first}, as ${service.listen[index]}, got ${port}`;
  }
  return null;
}

/** @param before what the service was: backends of that may be away for a while */
function checkBackends(placed: Placed, { config }: Surroundings, before: ServiceConfig | undefined): Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  const known = new Set(before?.backends.map(({ endpoint }) => endpoint));
  placed.service.backends.forEach((backend, index) => {
    const path = ['backends', index];
    const { endpoint: name, port } = backend;
    const key = `${name}:${port}`;
    if (seen.has(key)) problems.push(invalid(path, `${key} given twice`));
    seen.add(key);
    const endpoint = config.endpoints.get(name);
    if (endpoint === undefined) {
      if (!known.has(name)) problems.push(missing([...path, 'endpoint'], 'an endpoint', name));
    } else {
      const mistake = endpointMistake(name, endpoint, placed, config);
      if (mistake !== null) problems.push(invalid([...path, 'endpoint'], mistake));
    }
    const mistake = portMistake(backend, placed);
    if (mistake !== null) problems.push(invalid([...path, 'port'], mistake));
  });
  return problems;
}

/** Room in what a scheduler keeps of its backends. */
function checkRoom({ scheduler, backends, table_size }: ServiceConfig): Problem[] {
  const count = backends.length;
  if (count > MAX_BACKENDS_OF_SERVICE)
    return [invalid(['backends'], `expected ${MAX_BACKENDS_OF_SERVICE} backends at most, got ${count}`)];
  if ((scheduler !== 'sh' && scheduler !== 'maglev') || table_size > count) return [];
  return [invalid(['table_size'], `expected a prime number above ${count}, of the backends, got ${table_size}`)];
}

interface Checked {
  readonly problems: readonly Problem[];
  /** Of listeners that are right by themselves. */
  readonly claims: readonly Claim[];
}

/** One service by itself, and against all but what others listen on. Paths begin at the service, and behind `path` those of claims. */
function checkOne(
  name: string,
  service: ServiceConfig,
  around: Surroundings,
  path: KeyPath,
  before?: ServiceConfig,
): Checked {
  const { config } = around;
  const kept = keptName(name);
  const problems = kept === null ? [] : [invalid([], kept)];
  const network = config.networks.get(service.network);
  if (network === undefined)
    return { problems: [...problems, missing(['network'], 'a network', service.network)], claims: [] };
  if (isBridged(service.network, config.uplink)) {
    const what = `the uplink is bridged into network ${service.network}: its gateway is outside`;
    return {
      problems: [...problems, invalid(['network'], `${what}; services need a network of a router`)],
      claims: [],
    };
  }
  const placed = { service, network, listeners: service.listen.map(listenSpec) };
  const claims: Claim[] = [];
  service.listen.forEach((text, index) => {
    const mistakes = checkListener(index, placed, around);
    problems.push(...mistakes);
    if (mistakes.length === 0) claims.push(listenClaim(name, text, network, [...path, 'listen', index]));
  });
  problems.push(...checkBackends(placed, around, before), ...checkRoom(service));
  return { problems, claims };
}

/** What a service listens on, right or not. */
function claimsOf(name: string, service: ServiceConfig, { networks }: Configuration): Claim[] {
  const network = networks.get(service.network);
  if (network === undefined) return [];
  return service.listen.map((text, index) => listenClaim(name, text, network, ['services', name, 'listen', index]));
}

/** All services of a file. */
export function checkServices(config: Configuration): Problem[] {
  if (config.services.size === 0) return [];
  const around = surroundings(config);
  const taken = [...vxlanClaims(config), ...publishedClaims(config).claims];
  const claims = [...taken];
  const problems: Problem[] = [];
  for (const [name, service] of config.services) {
    const path = ['services', name];
    const checked = checkOne(name, service, around, path);
    problems.push(...checked.problems.map((problem) => ({ ...problem, path: [...path, ...problem.path] })));
    claims.push(...checked.claims);
  }
  return [...problems, ...overlapProblems(claims, taken.length)];
}

/**
 * One service that is made or changed while others are there. `config` has these, and the endpoints, with all addresses that they have
 * by now, none with a prefix length; where it has a service of this name, that is what the service was so far, and such backends of it as are away may stay.
 *
 * @returns problems whose paths begin at the service: `listen[0]`
 */
export function serviceProblems(name: string, service: ServiceConfig, config: Configuration): Problem[] {
  const others = [...config.services].filter(([other]) => other !== name);
  const taken = [
    ...vxlanClaims(config),
    ...publishedClaims(config).claims,
    ...others.flatMap(([other, its]) => claimsOf(other, its, config)),
  ];
  const { problems, claims } = checkOne(name, service, surroundings(config), [], config.services.get(name));
  const all = [...problems, ...overlapProblems([...taken, ...claims], taken.length)];
  if (all.length > 0) return all;
  const links = checkHostLinks({ ...config, services: new Map([...others, [name, service]]) });
  return links.map(({ path }) =>
    conflict(
      ['listen'],
      `network ${path[1]} overlaps ${HOST_LINKS}, the links to the host, by which it would be reached`,
    ),
  );
}

/** What a network's overlay, that is to come, would take from published ports and services that are there. */
export function overlayInTheWay(name: string, network: NetworkConfig, config: Configuration): Problem[] {
  const listening = [...config.services].flatMap(([owner, service]) => claimsOf(owner, service, config));
  return vxlanInTheWay(name, network, [...publishedClaims(config).claims, ...listening]);
}

/**
 * What services that are there would lose to an endpoint that is made or changed now: their addresses, their ports; and what it is as a
 * backend that waits for it. `config` has the endpoint and the services.
 *
 * @returns problems whose paths begin at the file: `endpoints.a.publish[0]`
 */
export function servicesInTheWay(name: string, config: Configuration): Problem[] {
  const endpoint = config.endpoints.get(name);
  const network = endpoint === undefined ? undefined : config.networks.get(endpoint.network);
  if (endpoint === undefined || network === undefined || config.services.size === 0) return [];
  const path = ['endpoints', name];
  const services = [...config.services];
  const taken = services.flatMap(([other, service]) => claimsOf(other, service, config));
  const { claims } = publishedClaims({ ...config, endpoints: new Map([[name, endpoint]]) });
  return [
    ...takenAddresses(path, endpoint, network, config),
    ...overlapProblems([...taken, ...claims], taken.length),
    ...services.flatMap(([other, service]) => waitingProblems(path, endpoint, other, service, config)),
  ];
}

function takenAddresses(
  path: KeyPath,
  endpoint: EndpointConfig,
  network: NetworkConfig,
  config: Configuration,
): Problem[] {
  const owners = new Map<string, string>();
  for (const [service, its] of config.services) {
    if (config.networks.get(its.network)?.vrf !== network.vrf) continue;
    for (const address of virtualAddresses(its, config)) owners.set(address, service);
  }
  return endpoint.addresses.flatMap((text, index) => {
    const owner = owners.get(text);
    if (owner === undefined) return [];
    return [conflict([...path, 'addresses', index], `${text} is already an address of service ${owner}`)];
  });
}

function waitingProblems(
  path: KeyPath,
  endpoint: EndpointConfig,
  owner: string,
  service: ServiceConfig,
  config: Configuration,
): Problem[] {
  const name = String(path[1]);
  const network = config.networks.get(service.network);
  if (network === undefined || !service.backends.some((backend) => backend.endpoint === name)) return [];
  const placed = { service, network, listeners: service.listen.map(listenSpec) };
  const mistake = endpointMistake(name, endpoint, placed, config);
  return mistake === null ? [] : [conflict(path, `is a backend of service ${owner}: ${mistake}`)];
}

/** What is right and perhaps not meant, for the log. */
export function serviceWarnings(name: string, { scheduler, backends }: ServiceConfig): string[] {
  if (scheduler !== 'rr' && scheduler !== 'lc') return [];
  const weights = new Set(backends.map(({ weight }) => weight).filter((weight) => weight > 0));
  if (weights.size < 2) return [];
  return [`service ${name}: scheduler ${scheduler} does not look at weights other than 0; w${scheduler} does`];
}
