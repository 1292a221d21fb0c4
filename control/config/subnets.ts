/** Subnets of a configuration: which addresses in them hosts can have, and which are the router's. */

import {
  type Address,
  contains,
  firstHost,
  lastOf,
  parseAddress,
  parseSubnet,
  type Subnet,
  withoutLength,
} from './address.js';
import type { Configuration, NetworkConfig, UplinkConfig } from './schema.js';

/** An address in text that has been validated before. Throws on any other text. */
export function knownAddress(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`not an address: ${text}`);
  return parsed;
}

/** Why no host can have this address of the subnet, or null. IPv6 has no broadcast; its first address is the routers' (RFC 4291 2.6.1). */
export function unusable(subnet: Subnet, host: Address): string | null {
  if (host.value === subnet.base) return subnet.family === 4 ? 'network address' : 'subnet-router anycast address';
  return subnet.family === 4 && host.value === lastOf(subnet) ? 'broadcast address' : null;
}

/** The gateway of each subnet, in the order of the subnets: the configured one, else the first address. */
export function gatewaysOf(network: NetworkConfig): Address[] {
  const configured = network.gateways.map(knownAddress);
  return network.subnets
    .map(parseSubnet)
    .map((subnet) => configured.find((gateway) => contains(subnet, gateway)) ?? firstHost(subnet));
}

/** The routers that an uplink names, at most one of each family. */
export function uplinkGateways(uplink: Extract<UplinkConfig, { gateways: string[] }>): string[] {
  return [...(uplink.gateway === undefined ? [] : [uplink.gateway]), ...uplink.gateways];
}

/** True for the network whose other port is the outside wire: its gateways are out there. */
export function isBridged(network: string, uplink: UplinkConfig | null): boolean {
  return uplink?.mode === 'bridged' && uplink.network === network;
}

/** Where the router has an address. */
export interface Link {
  readonly subnet: Subnet;
  /** The router's own. */
  readonly address: Address;
  /** `network blue`, `the uplink`. */
  readonly owner: string;
}

type Objects = Pick<Configuration, 'uplink' | 'networks'>;

/** Names of the router's interfaces in a VRF, as they will be when all is up. */
export function interfacesIn(vrf: string, { uplink, networks }: Objects): string[] {
  const names = [...networks].filter(([name, network]) => network.vrf === vrf && !isBridged(name, uplink));
  const isWire = uplink !== null && uplink.mode !== 'bridged' && uplink.vrf === vrf;
  return [...names.map(([name]) => name), ...(isWire ? ['uplink'] : [])];
}

/** What is on the links of a VRF; without those of a shared uplink, which only the host knows. */
export function linksIn(vrf: string, config: Objects): Link[] {
  const { uplink, networks } = config;
  const links: Link[] = [];
  for (const [name, network] of networks) {
    if (network.vrf !== vrf || isBridged(name, uplink)) continue;
    const gateways = gatewaysOf(network);
    network.subnets.map(parseSubnet).forEach((subnet, index) => {
      const address = gateways[index];
      if (address !== undefined) links.push({ subnet, address, owner: `network ${name}` });
    });
  }
  if (uplink === null || (uplink.mode !== 'own' && uplink.mode !== 'routed') || uplink.vrf !== vrf) return links;
  for (const text of uplink.addresses) {
    const address = knownAddress(withoutLength(text));
    links.push({ subnet: parseSubnet(text), address, owner: 'the uplink' });
  }
  return links;
}
