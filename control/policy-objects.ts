/** What the names in the policy's rules stand for right now. */

import { withoutLength } from './config/address.js';
import type { NetworkConfig } from './config/schema.js';
import { knownAddress } from './config/subnets.js';
import type { Interfaces } from './interfaces.js';
import type { PolicyChecks, PolicyEndpoint, PolicyNetwork, PolicyObjects } from './policy-records.js';
import { linkLocalAddress, slaacAddresses } from './slaac.js';
import type { EndpointState, NetworkState } from './state.js';

export interface PolicySources {
  readonly networks: ReadonlyMap<string, NetworkState>;
  readonly endpoints: ReadonlyMap<string, EndpointState>;
  readonly interfaces: Interfaces;
  /** Health checks, by network. */
  readonly checks: readonly PolicyChecks[];
  isBridged(network: string): boolean;
}

/** Networks that the dataplane has, and endpoints that have their addresses: their rules are there before their first packet. */
export function policyObjects(sources: PolicySources): PolicyObjects {
  const networks = [...sources.networks.values()].filter(({ id }) => id >= 0);
  let endpoints: readonly PolicyEndpoint[] | null = null;
  return {
    networks: networks.map((network) => policyNetwork(network, sources)),
    checks: sources.checks,
    /** Found out when a rule asks for it: where there are none, an endpoint that comes need not wait for all others to be gone through. */
    get endpoints(): readonly PolicyEndpoint[] {
      endpoints ??= [...sources.endpoints.values()]
        .filter(({ addresses }) => addresses.length > 0)
        .map((endpoint) => policyEndpoint(endpoint, sources));
      return endpoints;
    },
  };
}

function policyNetwork({ name, id, config }: NetworkState, sources: PolicySources): PolicyNetwork {
  const inside = [...sources.endpoints.values()].filter((endpoint) => endpoint.config.network === name);
  return {
    name,
    number: id,
    place: sources.interfaces.get(name)?.number ?? -id,
    subnets: config.subnets,
    action: config.policy,
    isOpen: sources.isBridged(name) || inside.some((endpoint) => endpoint.config.security !== 'strict'),
  };
}

function policyEndpoint(endpoint: EndpointState, sources: PolicySources): PolicyEndpoint {
  const { name, config } = endpoint;
  const network = sources.networks.get(config.network)?.config;
  return {
    name,
    network: config.network,
    prefixes: endpointPrefixes(endpoint, network, sources.isBridged(config.network)),
  };
}

/** All that port security lets an endpoint speak from, whether or not it is on. @param network undefined where that has gone */
export function endpointPrefixes(
  { config, addresses, mac }: EndpointState,
  network: NetworkConfig | undefined,
  bridged: boolean,
): string[] {
  const slaac = network === undefined ? [] : slaacAddresses(network, mac, bridged);
  const own = [...addresses, ...slaac].map(withoutLength);
  const single = [...own, linkLocalAddress(mac)].map(hostPrefix);
  const allowed = config.allowed_addresses.map((text) => (text.includes('/') ? text : hostPrefix(text)));
  return [...new Set([...single, ...allowed])];
}

function hostPrefix(address: string): string {
  return `${address}/${knownAddress(address).family === 4 ? 32 : 128}`;
}
