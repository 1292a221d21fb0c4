/** Where a service listens: at addresses of its network, which are virtual ones, or at addresses of the uplink. */

import { contains, formatAddress, parseSubnet } from './address.js';
import { AT_UPLINK, type Claim, placeInside } from './claims.js';
import { type ListenSpec, readListen } from './fields.js';
import type { KeyPath } from './problems.js';
import type { Configuration, NetworkConfig, ServiceConfig } from './schema.js';
import { gatewaysOf } from './subnets.js';

/** A listening address as the configuration has it. Throws on text that has not been validated before. */
export function listenSpec(text: string): ListenSpec {
  const read = readListen(text);
  if (!('value' in read)) throw new Error(`not a listening address: ${text}`);
  return read.value;
}

/** True for an address in the network's subnets, which its gateway then has; all others are the uplink's. */
export function isVirtual({ address }: ListenSpec, { subnets }: NetworkConfig): boolean {
  return address !== null && subnets.some((subnet) => contains(parseSubnet(subnet), address));
}

export function listensAtUplink({ listen }: ServiceConfig, network: NetworkConfig | undefined): boolean {
  return network !== undefined && listen.map(listenSpec).some((spec) => !isVirtual(spec, network));
}

/**
 * Addresses of its network that a service makes the gateway's: those that it listens on and that are not the gateway's anyway. Nobody
 * else in the network can have them.
 *
 * @returns in canonical text, without prefix length, each once; none where the network is not there
 */
export function virtualAddresses(service: ServiceConfig, { networks }: Pick<Configuration, 'networks'>): string[] {
  const network = networks.get(service.network);
  if (network === undefined) return [];
  const gateways = new Set(gatewaysOf(network).map(formatAddress));
  const found = service.listen
    .map(listenSpec)
    .flatMap((spec) => (spec.address !== null && isVirtual(spec, network) ? [formatAddress(spec.address)] : []));
  return [...new Set(found)].filter((address) => !gateways.has(address));
}

/** The ports of a listener. @param path of it */
export function listenClaim(owner: string, text: string, network: NetworkConfig, path: KeyPath): Claim {
  const spec = listenSpec(text);
  const { address } = spec;
  const place = address !== null && isVirtual(spec, network) ? placeInside(network.vrf, address) : AT_UPLINK;
  return { ...spec, place, text, kind: 'service', owner, path };
}
