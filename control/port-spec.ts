/** From the configuration's words to the dataplane's: networks and ports as `types.ts` specifies them. */

import { parseAddress, withoutLength } from './config/address.js';
import { isIsolated } from './config/check.js';
import {
  type BridgedUplinkConfig,
  DEFAULT_MAC_LIMIT,
  type EndpointConfig,
  type NetworkConfig,
  type PortStormConfig,
  type StormConfig,
  type TrunkConfig,
} from './config/schema.js';
import { allVlansBut, DEFAULT_VLAN, expandVlans } from './config/vlan.js';
import type { NetworkSpec, PortMulticastSpec, PortSpec, PortVlanSpec, SecuritySpec, StormSpec } from './types.js';

/** Tag protocol identifiers (IEEE 802.1Q-2022 table 9-1). */
const TAG_PROTOCOLS = { '802.1q': 0x8100, '802.1ad': 0x88a8 } as const;

const UNLIMITED: StormConfig = { broadcast: 'off', multicast: 'off', unknown_unicast: 'off' };

export function networkSpec(name: string, config: NetworkConfig): NetworkSpec {
  const { multicast, loop_protection } = config;
  return {
    name,
    ageingSeconds: config.ageing,
    fdbLimit: config.fdb_limit,
    fdbFull: config.fdb_full,
    vlanProtocol: config.vlan_filtering ? TAG_PROTOCOLS[config.vlan_protocol ?? '802.1q'] : 0,
    // Whoever does not listen to the answers has no reason to ask.
    multicast: { ...multicast, querier: multicast.snooping && multicast.querier },
    loop: { moves: loop_protection.enabled ? loop_protection.moves : 0, quarantine: loop_protection.quarantine },
  };
}

function trunkSpec({ native = 0, allowed }: TrunkConfig): PortVlanSpec {
  return { native, tagged: expandVlans(allowed).filter((vlan) => vlan !== native) };
}

/** Undefined in a network without VLANs. */
export function endpointVlan(config: EndpointConfig, network: NetworkConfig): PortVlanSpec | undefined {
  if (!network.vlan_filtering) return undefined;
  return config.trunk === undefined ? { native: config.vlan ?? DEFAULT_VLAN, tagged: [] } : trunkSpec(config.trunk);
}

/** Undefined where tags pass as they are. */
export function uplinkVlan({ vlan, trunk }: BridgedUplinkConfig, network: NetworkConfig): PortVlanSpec | undefined {
  if (!network.vlan_filtering) return vlan === undefined ? undefined : { native: 0, tagged: [vlan] };
  if (trunk !== undefined) return trunkSpec(trunk);
  return vlan === undefined
    ? { native: DEFAULT_VLAN, tagged: allVlansBut(DEFAULT_VLAN) }
    : { native: vlan, tagged: [] };
}

/** MACs that may be behind the endpoint, its own included. */
export function macLimit({ security, mac_limit, macs }: EndpointConfig): number {
  return mac_limit ?? (security === 'off' ? DEFAULT_MAC_LIMIT : 1 + macs.length);
}

function hostPrefix(address: string): string {
  return `${address}/${parseAddress(address)?.family === 6 ? 128 : 32}`;
}

/** @param addresses its own, with the prefix length of their subnets */
function securitySpec(config: EndpointConfig, mac: string, addresses: readonly string[]): SecuritySpec {
  const own = addresses.map(withoutLength).map(hostPrefix);
  const allowed = config.allowed_addresses.map((text) => (text.includes('/') ? text : hostPrefix(text)));
  return {
    level: config.security,
    mac,
    macs: config.macs,
    prefixes: [...new Set([...own, ...allowed])],
    macLimit: macLimit(config),
  };
}

function stormSpec(own: PortStormConfig, defaults: StormConfig): StormSpec {
  const rate = (key: keyof StormConfig): number => {
    const value = own[key] ?? defaults[key];
    return value === 'off' ? 0 : value;
  };
  return { broadcast: rate('broadcast'), multicast: rate('multicast'), unknownUnicast: rate('unknown_unicast') };
}

function multicastSpec({ multicast }: EndpointConfig | BridgedUplinkConfig): PortMulticastSpec {
  return { router: multicast.router, fastLeave: multicast.fast_leave };
}

/** All of a port that follows from the configuration; what is left is for whoever opens the descriptor. */
export type ConfiguredPort = Omit<PortSpec, 'kind' | 'name' | 'network' | 'fd' | 'hostMac'>;

export interface EndpointFacts {
  readonly config: EndpointConfig;
  readonly network: NetworkConfig;
  readonly mac: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
  /** Addresses that its kernel makes for itself, with prefix length. */
  readonly slaac?: readonly string[];
  readonly isolation: number;
}

export function endpointPort({
  config,
  network,
  mac,
  addresses,
  slaac = [],
  isolation,
}: EndpointFacts): ConfiguredPort {
  const vlan = endpointVlan(config, network);
  return {
    security: securitySpec(config, mac, [...addresses, ...slaac]),
    isolation,
    ...(vlan === undefined ? {} : { vlan }),
    storm: stormSpec(config.storm_control, network.storm_control),
    multicast: multicastSpec(config),
    announce: addresses.map(withoutLength),
  };
}

export function uplinkPort(config: BridgedUplinkConfig, network: NetworkConfig): ConfiguredPort {
  const vlan = uplinkVlan(config, network);
  return {
    macLimit: config.mac_limit ?? 0,
    ...(vlan === undefined ? {} : { vlan }),
    storm: stormSpec(config.storm_control, UNLIMITED),
    multicast: multicastSpec(config),
  };
}

/** VLAN of the ports that stand for VTEPs; undefined in a network without VLANs, or without vxlan. */
export function tunnelVlan(network: NetworkConfig | undefined): PortVlanSpec | undefined {
  const vlan = network?.vxlan?.vlan;
  return vlan === undefined ? undefined : { native: vlan, tagged: [] };
}

const ISOLATED = 1;

/** The class of an isolation group: the one that its members have, else the lowest that no group of the network has. */
export function isolationClass(
  config: EndpointConfig,
  network: NetworkConfig,
  others: readonly { readonly config: EndpointConfig; readonly isolation: number }[],
): number {
  if (!isIsolated(config, network)) return 0;
  if (config.isolation_group === undefined) return ISOLATED;
  const member = others.find((other) => other.config.isolation_group === config.isolation_group);
  if (member !== undefined) return member.isolation;
  const taken = new Set(others.map(({ isolation }) => isolation));
  let free = ISOLATED + 1;
  while (taken.has(free)) free++;
  return free;
}
