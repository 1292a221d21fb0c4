/**
 * Checks across objects: references, overlaps, duplicates, addresses against their subnets. Each takes a configuration
 * whose objects are valid by themselves and returns problems; the object that comes later carries the blame.
 */

import { addressBits, contains, formatAddress, overlaps, parseSubnet, type Subnet, withoutLength } from './address.js';
import { checkHostLinks } from './host-links.js';
import { keptName } from './kept-names.js';
import { checkMirrors } from './mirror.js';
import { checkPolicy } from './policy.js';
import { conflict, invalid, type KeyPath, type Problem } from './problems.js';
import { checkPublished } from './publish.js';
import { checkRoutes } from './route.js';
import {
  type BridgedUplinkConfig,
  type Configuration,
  DEFAULT_VRF,
  type EndpointConfig,
  type NetworkConfig,
  type OwnUplinkConfig,
  type RoutedUplinkConfig,
  TARGET_KEYS,
  type UplinkConfig,
} from './schema.js';
import { checkServices } from './service.js';
import { knownAddress as address, gatewaysOf, isBridged, unusable, uplinkGateways } from './subnets.js';
import { checkTranslation } from './translation.js';
import { carriesIpv6, checkVxlan, IPV6_MIN_MTU, type TakenVnis } from './vxlan.js';

export { UPLINK_PORT_NAME } from './kept-names.js';

function checkGateways(name: string, network: NetworkConfig): Problem[] {
  const problems: Problem[] = [];
  const subnets = network.subnets.map(parseSubnet);
  const served = new Set<Subnet>();
  network.gateways.forEach((text, index) => {
    const path = ['networks', name, 'gateways', index];
    const subnet = subnets.find((candidate) => contains(candidate, address(text)));
    if (subnet === undefined) {
      problems.push(invalid(path, `expected an address in ${network.subnets.join(' or ')}, got ${text}`));
      return;
    }
    const why = unusable(subnet, address(text));
    if (why !== null) problems.push(invalid(path, `${text} is the ${why} of its subnet`));
    if (served.has(subnet))
      problems.push(invalid(path, `expected one gateway for each subnet, got ${text} as another`));
    served.add(subnet);
  });
  return problems;
}

/** Ranges lie in subnets, one in each at most. */
function checkRange(name: string, network: NetworkConfig): Problem[] {
  const problems: Problem[] = [];
  const subnets = network.subnets.map(parseSubnet);
  const served = new Set<Subnet>();
  network.range.forEach((text, index) => {
    const path = ['networks', name, 'range', index];
    const range = parseSubnet(text);
    const subnet = subnets.find((candidate) => covers(candidate, range));
    if (subnet === undefined)
      problems.push(invalid(path, `expected a part of ${network.subnets.join(' or ')}, got ${text}`));
    else if (served.has(subnet))
      problems.push(invalid(path, `expected one range for each subnet, got ${text} as another`));
    if (subnet !== undefined) served.add(subnet);
  });
  return problems;
}

function checkAdvertisements(name: string, network: NetworkConfig): Problem[] {
  const subnets = network.subnets.map(parseSubnet);
  if (!network.router_advertisements.enabled || subnets.some(({ family }) => family === 6)) return [];
  return [invalid(['networks', name, 'router_advertisements'], 'needs an IPv6 subnet')];
}

/** What is said of a gateway where there is none of ours. */
function checkBridgedNetwork(name: string, network: NetworkConfig): Problem[] {
  const said: Readonly<Record<string, boolean>> = {
    host: network.host,
    gateway_mac: network.gateway_mac !== undefined,
    source_validation: network.source_validation,
    proxy: network.proxy.length > 0,
    router_advertisements: network.router_advertisements.enabled,
    vrf: network.vrf !== DEFAULT_VRF,
  };
  return Object.entries(said)
    .filter(([, wanted]) => wanted)
    .map(([key]) =>
      invalid(
        ['networks', name, key],
        'the uplink is bridged into this network: its gateway is outside; leave this out',
      ),
    );
}

interface NamedSubnet {
  readonly subnet: Subnet;
  readonly text: string;
  readonly owner: string;
  /** VRFs know nothing of each other's addresses. */
  readonly vrf: string;
}

function checkNetworks(config: Configuration): Problem[] {
  const problems: Problem[] = [];
  const seen: NamedSubnet[] = [];
  const vnis: TakenVnis = new Map();
  for (const [name, network] of config.networks) {
    const kept = keptName(name);
    if (kept !== null) problems.push(invalid(['networks', name], kept));
    network.subnets.forEach((text, index) => {
      const subnet = parseSubnet(text);
      const other = seen.find(({ vrf, subnet: theirs }) => vrf === network.vrf && overlaps(theirs, subnet));
      if (other !== undefined) {
        problems.push(
          conflict(['networks', name, 'subnets', index], `${text} overlaps ${other.text} of network ${other.owner}`),
        );
      }
      seen.push({ subnet, text, owner: name, vrf: network.vrf });
    });
    if (network.mtu !== undefined && network.mtu < IPV6_MIN_MTU && carriesIpv6(network)) {
      problems.push(
        invalid(
          ['networks', name, 'mtu'],
          `expected at least ${IPV6_MIN_MTU} for a network with an IPv6 subnet, got ${network.mtu}`,
        ),
      );
    }
    problems.push(...checkGateways(name, network), ...checkRange(name, network), ...checkAdvertisements(name, network));
    if (isBridged(name, config.uplink)) problems.push(...checkBridgedNetwork(name, network));
    problems.push(...checkVxlan(name, network, config, vnis));
  }
  return problems;
}

function needsFiltering(network: string): string {
  return `network ${network} tells no VLANs apart; set its vlan_filtering: true`;
}

/** An uplink may be one VLAN of its wire without the network having any. */
function checkUplinkVlans(uplink: BridgedUplinkConfig, network: NetworkConfig): Problem[] {
  if (uplink.trunk === undefined || network.vlan_filtering) return [];
  return [invalid(['uplink', 'trunk'], needsFiltering(uplink.network))];
}

function checkUplink(uplink: UplinkConfig, networks: Configuration['networks']): Problem[] {
  if (uplink.mode === 'shared') return [];
  if (uplink.mode === 'bridged') {
    const network = networks.get(uplink.network);
    if (network !== undefined) return checkUplinkVlans(uplink, network);
    return [invalid(['uplink', 'network'], `expected the name of a network, got ${JSON.stringify(uplink.network)}`)];
  }
  return [
    ...checkWireAddresses(uplink),
    ...checkWireOverlaps(uplink, networks),
    ...checkWireGateways(uplink),
    ...(uplink.mode === 'routed' ? checkWireProxies(uplink) : []),
  ];
}

type WireConfig = OwnUplinkConfig | RoutedUplinkConfig;

function checkWireAddresses({ addresses }: WireConfig): Problem[] {
  const problems: Problem[] = [];
  addresses.forEach((text, index) => {
    const path = ['uplink', 'addresses', index];
    const wire = parseSubnet(text);
    // Of two addresses, or one, none is set apart (RFC 3021, RFC 6164).
    const why = wire.prefix >= addressBits(wire.family) - 1 ? null : unusable(wire, address(withoutLength(text)));
    if (why !== null) problems.push(invalid(path, `${withoutLength(text)} is the ${why} of its wire`));
    if (addresses.findIndex((other) => withoutLength(other) === withoutLength(text)) !== index)
      problems.push(invalid(path, `${withoutLength(text)} given twice`));
  });
  return problems;
}

function covers(outer: Subnet, inner: Subnet): boolean {
  return outer.prefix <= inner.prefix && overlaps(outer, inner);
}

/** A subnet within the wire's is found there only if somebody answers for it. */
function checkWireOverlaps(uplink: WireConfig, networks: Configuration['networks']): Problem[] {
  const problems: Problem[] = [];
  const proxies = uplink.mode === 'routed' ? uplink.proxy.map(parseSubnet) : [];
  uplink.addresses.forEach((text, index) => {
    const wire = parseSubnet(text);
    for (const [name, network] of networks) {
      if (network.vrf !== uplink.vrf) continue;
      const inner = network.subnets.find((candidate) => {
        const subnet = parseSubnet(candidate);
        const proxied = proxies.some((proxy) => covers(proxy, subnet)) && wire.prefix < subnet.prefix;
        return overlaps(wire, subnet) && !proxied;
      });
      if (inner === undefined) continue;
      const isRoutable = uplink.mode === 'routed' && wire.prefix < parseSubnet(inner).prefix;
      const remedy = isRoutable ? `; add ${inner} to the proxy of the uplink` : '';
      problems.push(conflict(['uplink', 'addresses', index], `${text} overlaps ${inner} of network ${name}${remedy}`));
    }
  });
  return problems;
}

function checkWireGateways(uplink: WireConfig): Problem[] {
  const { gateway, gateways, addresses } = uplink;
  if (gateway !== undefined && gateways.length > 0)
    return [invalid(['uplink', 'gateways'], 'expected either gateway or gateways, got both')];
  const problems: Problem[] = [];
  const wires = addresses.map(parseSubnet);
  const all = uplinkGateways(uplink);
  all.forEach((text, index) => {
    const path = gateway === undefined ? ['uplink', 'gateways', index] : ['uplink', 'gateway'];
    const router = address(text);
    const isOnWire = contains(parseSubnet('fe80::/10'), router) || wires.some((wire) => contains(wire, router));
    if (!isOnWire)
      problems.push(invalid(path, `expected an address on the wire of ${addresses.join(' or ')}, got ${text}`));
    if (addresses.some((own) => withoutLength(own) === text))
      problems.push(invalid(path, `${text} is the uplink's own address`));
    if (all.findIndex((other) => address(other).family === router.family) !== index)
      problems.push(invalid(path, `expected one gateway for each family, got ${text} as another`));
  });
  return problems;
}

/** Answering for the uplink's gateway would take it from the wire. */
function checkWireProxies(uplink: RoutedUplinkConfig): Problem[] {
  const problems: Problem[] = [];
  const others = [...uplinkGateways(uplink), ...uplink.addresses.map(withoutLength)];
  uplink.proxy.forEach((text, index) => {
    const taken = others.find((other) => contains(parseSubnet(text), address(other)));
    if (taken !== undefined)
      problems.push(
        invalid(['uplink', 'proxy', index], `${text} covers ${taken}, which is the uplink's or its gateway's`),
      );
  });
  return problems;
}

/** One endpoint against the network that it names. */
function checkAddresses(name: string, endpoint: EndpointConfig, network: NetworkConfig): Problem[] {
  const problems: Problem[] = [];
  const subnets = network.subnets.map(parseSubnet);
  const gateways = new Set(gatewaysOf(network).map(formatAddress));
  endpoint.addresses.forEach((text, index) => {
    const path = ['endpoints', name, 'addresses', index];
    const host = address(text);
    const subnet = subnets.find((candidate) => contains(candidate, host));
    if (subnet === undefined) {
      problems.push(
        invalid(
          path,
          `expected an address in ${network.subnets.join(' or ')} of network ${endpoint.network}, got ${text}`,
        ),
      );
      return;
    }
    const why = unusable(subnet, host) ?? (gateways.has(text) ? 'gateway address' : null);
    if (why !== null) problems.push(invalid(path, `${text} is the ${why} of network ${endpoint.network}`));
  });
  return problems;
}

/** True when the endpoint reaches only the gateway, the uplink and its group. */
export function isIsolated(endpoint: EndpointConfig, network: NetworkConfig): boolean {
  return endpoint.isolation_group !== undefined || (endpoint.isolated ?? network.isolated);
}

function checkVlans(name: string, endpoint: EndpointConfig, network: NetworkConfig): Problem[] {
  const problems: Problem[] = [];
  for (const key of ['vlan', 'trunk'] as const) {
    if (endpoint[key] !== undefined && !network.vlan_filtering)
      problems.push(invalid(['endpoints', name, key], needsFiltering(endpoint.network)));
  }
  if (endpoint.trunk !== undefined && isIsolated(endpoint, network)) {
    const other = endpoint.isolation_group === undefined ? 'set isolated: false' : 'leave out isolation_group';
    const remedy = `give it a vlan, or ${other}`;
    problems.push(invalid(['endpoints', name, 'trunk'], `an isolated endpoint cannot have a trunk; ${remedy}`));
  }
  return problems;
}

/** Addresses that an endpoint may use besides its own may be several endpoints' (that is how they take turns), but nobody's own. */
function checkAllowed(
  name: string,
  endpoint: EndpointConfig,
  network: NetworkConfig,
  owners: AddressOwners,
): Problem[] {
  const problems: Problem[] = [];
  const gateways = new Set(gatewaysOf(network).map(formatAddress));
  endpoint.allowed_addresses.forEach((text, index) => {
    const path = ['endpoints', name, 'allowed_addresses', index];
    const key = `${network.vrf} ${text}`;
    const owner = owners.own.get(key);
    if (gateways.has(text))
      problems.push(invalid(path, `${text} is the gateway address of network ${endpoint.network}`));
    else if (owner !== undefined && owner !== name)
      problems.push(conflict(path, `${text} is already an address of endpoint ${owner}`));
    if (!text.includes('/') && !owners.allowed.has(key)) owners.allowed.set(key, name);
  });
  return problems;
}

/** VRFs and addresses, `default 172.30.0.2`, to the first endpoint that has them, or may use them. */
interface AddressOwners {
  readonly own: Map<string, string>;
  readonly allowed: Map<string, string>;
}

/** Whose an address is already, in words; or null, and then it is ours. */
function claimAddress(key: string, name: string, { own, allowed }: AddressOwners): string | null {
  const owner = own.get(key);
  if (owner !== undefined) return `already an address of endpoint ${owner}`;
  own.set(key, name);
  const user = allowed.get(key);
  return user === undefined || user === name ? null : `already one of the allowed_addresses of endpoint ${user}`;
}

/** Remembers who has what first, and reports who comes second. */
class Owners {
  readonly #owners = new Map<string, string>();

  /** The owner before us, or null when it is ours now. */
  claim(key: string, owner: string): string | null {
    const before = this.#owners.get(key);
    if (before !== undefined) return before;
    this.#owners.set(key, owner);
    return null;
  }
}

/** The container as its user named it, as one comparable text. */
export function targetText(endpoint: EndpointConfig): string {
  for (const key of TARGET_KEYS) {
    if (endpoint[key] !== undefined) return `${key} ${endpoint[key]}`;
  }
  throw new Error('an endpoint without netns, pid or container');
}

function checkMacs(name: string, endpoint: EndpointConfig, macs: Owners): Problem[] {
  const problems: Problem[] = [];
  const claim = (mac: string, key: KeyPath, whose: string): void => {
    const before = macs.claim(`${endpoint.network} ${mac}`, `${whose} of endpoint ${name}`);
    if (before !== null) problems.push(conflict(['endpoints', name, ...key], `${mac} is already ${before}`));
  };
  if (endpoint.mac !== undefined) claim(endpoint.mac, ['mac'], 'the MAC');
  endpoint.macs.forEach((mac, index) => {
    claim(mac, ['macs', index], 'one of the macs');
  });
  return problems;
}

function checkEndpoints(config: Configuration): Problem[] {
  const problems: Problem[] = [];
  const addresses: AddressOwners = { own: new Map(), allowed: new Map() };
  const macs = new Owners();
  const interfaces = new Owners();
  for (const [name, endpoint] of config.endpoints) {
    const path = ['endpoints', name];
    const kept = keptName(name);
    if (kept !== null) problems.push(invalid(path, kept));
    const network = config.networks.get(endpoint.network);
    if (network === undefined) {
      problems.push({
        path: [...path, 'network'],
        kind: 'missing',
        message: `expected the name of a network, got ${JSON.stringify(endpoint.network)}`,
      });
      continue;
    }
    problems.push(...checkAddresses(name, endpoint, network));
    endpoint.addresses.forEach((text, index) => {
      const whose = claimAddress(`${network.vrf} ${text}`, name, addresses);
      if (whose !== null) problems.push(conflict([...path, 'addresses', index], `${text} is ${whose}`));
    });
    problems.push(...checkAllowed(name, endpoint, network, addresses));
    problems.push(...checkVlans(name, endpoint, network));
    problems.push(...checkMacs(name, endpoint, macs));
    const owner = interfaces.claim(`${endpoint.interface} in ${targetText(endpoint)}`, name);
    if (owner !== null) {
      problems.push(
        conflict(
          [...path, 'interface'],
          `${endpoint.interface} in ${targetText(endpoint)} already belongs to endpoint ${owner}`,
        ),
      );
    }
  }
  return problems;
}

/** Everything that is wrong between the objects of a configuration; networks first, since the others refer to them. */
export function checkConfiguration(config: Configuration): Problem[] {
  return [
    ...checkNetworks(config),
    ...checkHostLinks(config),
    ...(config.uplink === null ? [] : checkUplink(config.uplink, config.networks)),
    ...checkRoutes(config),
    ...checkEndpoints(config),
    ...checkPublished(config),
    ...checkTranslation(config),
    ...checkMirrors(config),
    ...checkServices(config),
    ...checkPolicy(config),
  ];
}
