/** What the API answers: plain JSON objects with names in place of numbers. The CLI prints these and nothing else. */

import { DROP_REASONS } from '../core/drop.js';
import { ROUTER_PORT } from '../core/ports.js';
import { formatAddress } from './config/address.js';
import { isIsolated, UPLINK_PORT_NAME } from './config/check.js';
import type { EndpointConfig, NetworkConfig, StormConfig, TrunkConfig } from './config/schema.js';
import { gatewaysOf } from './config/subnets.js';
import { formatVlans } from './config/vlan.js';
import type { Daemon } from './daemon.js';
import { endpointVlan, macLimit, tunnelVlan, uplinkVlan } from './port-spec.js';
import type { EndpointState, NetworkState } from './state.js';
import type { FdbEntry, MdbPort, PortCounters, PortVlanSpec, SecurityLevel } from './types.js';
import { BridgedUplink } from './uplink/bridged-uplink.js';

export interface NetworkView {
  readonly name: string;
  readonly state: string;
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  /** Null where the gateway is outside, behind a bridged uplink. */
  readonly gateway_mac: string | null;
  /** Parts of the subnets that addresses are given out of; empty: all of them. */
  readonly range: readonly string[];
  readonly vrf: string;
  readonly mtu: number;
  readonly internal: boolean;
  readonly isolated: boolean;
  readonly masquerade: boolean | readonly string[];
  readonly policy: NetworkConfig['policy'];
  readonly host: boolean;
  readonly source_validation: boolean;
  readonly proxy: readonly string[];
  readonly router_advertisements: NetworkConfig['router_advertisements'];
  readonly ageing: number;
  readonly fdb_limit: number;
  readonly fdb_full: 'flood' | 'drop';
  readonly vlan_filtering: boolean;
  /** Null without vlan_filtering. */
  readonly vlan_protocol: '802.1q' | '802.1ad' | null;
  readonly multicast: NetworkConfig['multicast'];
  readonly storm_control: StormConfig;
  readonly loop_protection: NetworkConfig['loop_protection'];
  /** Null: the network is on this host alone. */
  readonly vxlan: NonNullable<NetworkConfig['vxlan']> | null;
  /** Device of the uplink that is a port of the network, or null. */
  readonly uplink: string | null;
  /** Names. */
  readonly endpoints: readonly string[];
}

export interface EndpointView {
  readonly name: string;
  readonly state: string;
  readonly network: string;
  readonly netns: string | null;
  readonly pid: number | null;
  readonly container: string | null;
  readonly interface: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly security: SecurityLevel;
  readonly allowed_addresses: readonly string[];
  readonly macs: readonly string[];
  readonly mac_limit: number;
  readonly isolated: boolean;
  readonly isolation_group: string | null;
  /** The access port's VLAN; null for a trunk, and in a network without VLANs. */
  readonly vlan: number | null;
  readonly trunk: TrunkConfig | null;
  readonly gateway_priority: number;
  readonly publish: readonly string[];
}

/** What a port does with VLANs. */
export interface PortVlanView {
  /** VLAN of untagged frames, or null. */
  readonly native: number | null;
  /** VLANs of tagged frames, such as `10-20,30`; empty on an access port. */
  readonly tagged: string;
}

export interface PortView extends Omit<PortCounters, 'network'> {
  readonly network: string;
  /** Null where tags pass as they are. */
  readonly vlan: PortVlanView | null;
  /** Null for an uplink: everybody may speak there. */
  readonly security: SecurityLevel | null;
  readonly isolated: boolean;
  readonly isolation_group: string | null;
}

export interface MdbView {
  readonly network: string;
  /** Null in a network without VLANs. */
  readonly vlan: number | null;
  /** Group address; `router` for the ports with a multicast router behind them. */
  readonly group: string;
  readonly ports: readonly { readonly port: string; readonly expires: number | null }[];
}

export interface SecurityView {
  readonly endpoint: string;
  readonly network: string;
  readonly level: SecurityLevel;
  readonly isolated: boolean;
  readonly isolation_group: string | null;
  /** Its own MAC first. */
  readonly macs: readonly string[];
  /** Its own addresses, then those that it may use besides; without link-local ones. */
  readonly addresses: readonly string[];
  readonly mac_limit: number;
  readonly learnedMacs: number;
  /** Frames from it that were dropped, by reason; only reasons that occurred. */
  readonly violations: Readonly<Record<string, number>>;
}

export interface FdbView {
  readonly mac: string;
  readonly network: string;
  /** Null in a network without VLANs. */
  readonly vlan: number | null;
  readonly port: string;
  /** Address of the VTEP that the port stands for; null for all other ports. */
  readonly vtep: string | null;
  readonly ageSeconds: number;
  readonly static: boolean;
}

export interface DropView {
  readonly reason: string;
  readonly text: string;
  /** Frames received and dropped. */
  readonly rx: number;
  /** Frames meant to leave and dropped. */
  readonly tx: number;
}

export interface DropsView {
  readonly received: number;
  /** Frames that Tapline itself made: announcements and queries, ARP and ICMP of the router. */
  readonly originated: number;
  readonly copies: number;
  /** Frames for the router itself, or for multicast snooping. */
  readonly local: number;
  readonly delivered: number;
  readonly drops: readonly DropView[];
  /** Only ports that dropped something. */
  readonly ports: readonly { readonly port: string; readonly network: string; readonly drops: readonly DropView[] }[];
}

export function networkView(daemon: Daemon, network: NetworkState): NetworkView {
  const { name, config, phase, mtu } = network;
  const { subnets, internal, isolated, masquerade, ageing, fdb_limit } = config;
  return {
    name,
    state: phase,
    subnets,
    gateways: gatewaysOf(config).map(formatAddress),
    gateway_mac: daemon.interfaces.get(name)?.request.mac ?? null,
    range: config.range,
    vrf: config.vrf,
    mtu,
    internal,
    isolated,
    masquerade,
    policy: config.policy,
    host: config.host,
    source_validation: config.source_validation,
    proxy: config.proxy,
    router_advertisements: config.router_advertisements,
    ageing,
    fdb_limit,
    fdb_full: config.fdb_full,
    vlan_filtering: config.vlan_filtering,
    vlan_protocol: config.vlan_filtering ? (config.vlan_protocol ?? '802.1q') : null,
    multicast: config.multicast,
    storm_control: config.storm_control,
    loop_protection: config.loop_protection,
    vxlan: config.vxlan ?? null,
    uplink: daemon.uplink?.network === name ? daemon.uplink.device : null,
    endpoints: daemon.endpointsOf(name).map((endpoint) => endpoint.name),
  };
}

export function endpointView(daemon: Daemon, endpoint: EndpointState): EndpointView {
  const { name, phase, config, addresses, mac, place } = endpoint;
  const network = daemon.network(config.network).config;
  return {
    name,
    state: phase,
    network: config.network,
    netns: config.netns ?? null,
    pid: place?.process?.pid ?? config.pid ?? null,
    container: config.container ?? null,
    interface: config.interface,
    addresses,
    mac,
    security: config.security,
    allowed_addresses: config.allowed_addresses,
    macs: config.macs,
    mac_limit: macLimit(config),
    ...isolationView(config, network),
    vlan: config.trunk === undefined ? (endpointVlan(config, network)?.native ?? null) : null,
    trunk: config.trunk ?? null,
    gateway_priority: config.gateway_priority,
    publish: config.publish,
  };
}

function isolationView(config: EndpointConfig, network: NetworkConfig): Pick<PortView, 'isolated' | 'isolation_group'> {
  return { isolated: isIsolated(config, network), isolation_group: config.isolation_group ?? null };
}

/** Name of a network by the dataplane's number; `-` for a port that has none at the moment. */
export function networkName(daemon: Daemon, id: number): string {
  for (const network of daemon.networks.values()) if (network.id === id) return network.name;
  return '-';
}

export function portViews(daemon: Daemon): PortView[] {
  return daemon.dataplane.ports().map((port) => ({ ...port, ...portFacts(daemon, port) }));
}

function vlanOf(daemon: Daemon, name: string): PortVlanSpec | undefined {
  const { uplink } = daemon;
  const endpoint = daemon.endpoints.get(name);
  if (endpoint !== undefined) return endpointVlan(endpoint.config, daemon.network(endpoint.config.network).config);
  const tunnelled = /^vxlan:([^:]+):/.exec(name)?.[1];
  if (tunnelled !== undefined) return tunnelVlan(daemon.networks.get(tunnelled)?.config);
  if (name !== UPLINK_PORT_NAME || !(uplink instanceof BridgedUplink)) return undefined;
  return uplinkVlan(uplink.config, daemon.network(uplink.network).config);
}

function portVlanView(vlan: PortVlanSpec | undefined): PortVlanView | null {
  return vlan === undefined ? null : { native: vlan.native || null, tagged: formatVlans(vlan.tagged) };
}

/** What the configuration knows of a port; a port whose endpoint is on its way out has no more than its name. */
function portFacts(daemon: Daemon, port: PortCounters): Omit<PortView, keyof Omit<PortCounters, 'network'>> {
  const endpoint = daemon.endpoints.get(port.name);
  const network = endpoint === undefined ? undefined : daemon.networks.get(endpoint.config.network);
  const isolation =
    endpoint === undefined || network === undefined
      ? { isolated: false, isolation_group: null }
      : isolationView(endpoint.config, network.config);
  return {
    network: networkName(daemon, port.network),
    vlan: portVlanView(vlanOf(daemon, port.name)),
    security: endpoint?.config.security ?? null,
    ...isolation,
  };
}

/** Name of a port by the dataplane's number, as it is now. */
export function portName(daemon: Daemon, port: number): string {
  return daemon.dataplane.portName(port) ?? `port ${port}`;
}

/** @param network only this network's entries; null for all */
export async function mdbViews(daemon: Daemon, network: string | null): Promise<MdbView[]> {
  const id = network === null ? null : daemon.network(network).id;
  const entries = await daemon.dataplane.mdb();
  return entries
    .filter((entry) => id === null || entry.network === id)
    .map((entry) => ({
      network: networkName(daemon, entry.network),
      vlan: entry.vlan === 0 ? null : entry.vlan,
      group: entry.group,
      ports: entry.ports.map(({ port, expires }: MdbPort) => ({ port: portName(daemon, port), expires })),
    }));
}

/** Drop reasons of port security: what an endpoint has tried that it may not. */
const SECURITY_REASONS: readonly string[] = [
  'source_mac',
  'mac_limit',
  'static_mac',
  'source_address',
  'arp_sender',
  'nd_target',
  'dhcp_server',
  'router_advertisement',
  'multicast_router',
  'link_protocol',
  'unverifiable',
];

function securityView(daemon: Daemon, endpoint: EndpointState, port: PortCounters | undefined): SecurityView {
  const { name, config, mac, addresses } = endpoint;
  const drops = port?.rxDrops ?? {};
  return {
    endpoint: name,
    network: config.network,
    level: config.security,
    ...isolationView(config, daemon.network(config.network).config),
    macs: [mac, ...config.macs],
    addresses: [...addresses.map((address) => address.replace(/\/\d+$/, '')), ...config.allowed_addresses],
    mac_limit: macLimit(config),
    learnedMacs: port?.learnedMacs ?? 0,
    violations: Object.fromEntries(
      SECURITY_REASONS.filter((reason) => (drops[reason] ?? 0) > 0).map((reason) => [reason, drops[reason] ?? 0]),
    ),
  };
}

/** @param network only this network's endpoints; null for all */
export function securityViews(daemon: Daemon, network: string | null): SecurityView[] {
  const ports = new Map(daemon.dataplane.ports().map((port) => [port.id, port]));
  const endpoints =
    network === null ? [...daemon.endpoints.values()] : daemon.endpointsOf(daemon.network(network).name);
  return endpoints.map((endpoint) => securityView(daemon, endpoint, ports.get(endpoint.port)));
}

/** @param network only this network's entries; null for all */
export async function fdbViews(daemon: Daemon, network: string | null): Promise<FdbView[]> {
  const id = network === null ? null : daemon.network(network).id;
  const entries = await daemon.dataplane.fdb();
  return entries.filter((entry) => id === null || entry.network === id).map((entry) => fdbView(daemon, entry));
}

function fdbView(daemon: Daemon, { mac, vlan, ageSeconds, ...entry }: FdbEntry): FdbView {
  const network = networkName(daemon, entry.network);
  const port = entry.port === ROUTER_PORT ? 'gateway' : portName(daemon, entry.port);
  const vtep = vtepAddress(network, port);
  return { mac, network, vlan: vlan === 0 ? null : vlan, port, vtep, ageSeconds, static: entry.static };
}

/** By the name of a port: `vxlan:NETWORK:ADDRESS`, which no endpoint can have. Null for ports of other kinds. */
function vtepAddress(network: string, port: string): string | null {
  const prefix = `vxlan:${network}:`;
  return port.startsWith(prefix) ? port.slice(prefix.length) : null;
}

type Counts = Readonly<Record<string, number>>;

/** In the order in which the reasons are declared, only those that occurred; a reason nobody declared still shows. */
function dropViews(rx: Counts, tx: Counts): DropView[] {
  const declared = new Map(DROP_REASONS.map(({ name, text }) => [name, text]));
  const names = new Set([...declared.keys(), ...Object.keys(rx), ...Object.keys(tx)]);
  return [...names]
    .map((reason) => ({ reason, text: declared.get(reason) ?? '', rx: rx[reason] ?? 0, tx: tx[reason] ?? 0 }))
    .filter((drop) => drop.rx > 0 || drop.tx > 0);
}

export function dropsView(daemon: Daemon): DropsView {
  const totals = daemon.dataplane.totals();
  const ports = portViews(daemon)
    .map((port) => ({ port: port.name, network: port.network, drops: dropViews(port.rxDrops, port.txDrops) }))
    .filter(({ drops }) => drops.length > 0);
  return {
    received: totals.rxPackets,
    originated: totals.originated,
    copies: totals.copies,
    local: totals.local,
    delivered: totals.txPackets,
    drops: dropViews(totals.rxDrops, totals.txDrops),
    ports,
  };
}
