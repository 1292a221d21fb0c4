/** The router's interface in a network: its gateway. */

import { formatAddress, parseSubnet } from './config/address.js';
import type { NetworkConfig } from './config/schema.js';
import { gatewaysOf, knownAddress } from './config/subnets.js';
import { DEFAULT_VLAN } from './config/vlan.js';
import type { InterfaceRequest } from './interfaces.js';
import { macFromAddress } from './ipam.js';
import type { AdvertisementSpec } from './types.js';

/** The MAC of a network's gateway: the configured one, else from its first IPv4 address, else from its first of all. */
export function gatewayMac(config: NetworkConfig): string {
  const gateways = gatewaysOf(config);
  const address = gateways.find(({ family }) => family === 4) ?? gateways[0];
  if (address === undefined) throw new Error('a network without subnets');
  return config.gateway_mac ?? macFromAddress(address);
}

function advertisementSpec({ enabled, ...spec }: NetworkConfig['router_advertisements']): AdvertisementSpec | null {
  return enabled ? spec : null;
}

/** What leaves by an uplink: IPv4 by `masquerade`, IPv6 only where it is asked for. */
function translation({ masquerade, nat66, nptv6, subnets }: NetworkConfig): Pick<InterfaceRequest, 'translation'> {
  const given = Array.isArray(masquerade) ? masquerade : [];
  const of = (six: boolean): string[] => given.filter((address) => address.includes(':') === six);
  const sources4 = masquerade === true || of(false).length > 0 ? of(false) : null;
  const sources6 = nat66 || of(true).length > 0 ? of(true) : null;
  const inside = subnets.filter((subnet) => subnet.includes(':'));
  const prefixes = nptv6 === undefined ? [] : inside.map((subnet): [string, string] => [subnet, nptv6]);
  if (sources4 === null && sources6 === null && prefixes.length === 0) return {};
  return { translation: { sources4, sources6, prefixes } };
}

/**
 * @param mtu of the network, as things are
 * @param network the dataplane's number of the network
 * @param translates whether the uplink, if there is one, hides what is behind it; a routed one does not
 * @param virtual addresses of services, without prefix length
 */
export function gatewayInterface(
  config: NetworkConfig,
  mtu: number,
  network: number,
  translates: boolean,
  virtual: readonly string[] = [],
): InterfaceRequest {
  const gateways = gatewaysOf(config).map(formatAddress);
  const own = config.subnets.map((text, index) => `${gateways[index]}/${parseSubnet(text).prefix}`);
  return {
    kind: 'network',
    vrf: config.vrf,
    network,
    vlan: config.vlan_filtering ? DEFAULT_VLAN : 0,
    port: null,
    mac: gatewayMac(config),
    mtu,
    addresses: [...own, ...virtual.map((text) => `${text}/${knownAddress(text).family === 4 ? 32 : 128}`)],
    up: true,
    internal: config.internal,
    hostAccess: config.host,
    shared: false,
    validateSource: config.source_validation,
    proxies: config.proxy,
    advertisement: advertisementSpec(config.router_advertisements),
    ...(translates ? translation(config) : {}),
  };
}
