/** What the API answers: plain JSON objects with names in place of numbers. The CLI prints these and nothing else. */

import { DROP_REASONS } from '../core/drop.js';
import { formatAddress } from './config/address.js';
import { gatewaysOf } from './config/check.js';
import type { Daemon, EndpointState, NetworkState } from './daemon.js';
import type { PortCounters } from './types.js';

export interface NetworkView {
  readonly name: string;
  readonly state: string;
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly mtu: number;
  readonly internal: boolean;
  readonly isolated: boolean;
  readonly masquerade: boolean;
  readonly ageing: number;
  readonly fdb_limit: number;
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
}

export interface PortView extends Omit<PortCounters, 'network'> {
  readonly network: string;
}

export interface FdbView {
  readonly mac: string;
  readonly network: string;
  readonly port: string;
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
  readonly copies: number;
  readonly delivered: number;
  readonly drops: readonly DropView[];
  /** Only ports that dropped something. */
  readonly ports: readonly { readonly port: string; readonly network: string; readonly drops: readonly DropView[] }[];
}

export function networkView(daemon: Daemon, network: NetworkState): NetworkView {
  const { name, config, phase } = network;
  const { subnets, mtu, internal, isolated, masquerade, ageing, fdb_limit } = config;
  return {
    name,
    state: phase,
    subnets,
    gateways: gatewaysOf(config).map(formatAddress),
    mtu,
    internal,
    isolated,
    masquerade,
    ageing,
    fdb_limit,
    uplink: daemon.uplink?.network === name ? daemon.uplink.device : null,
    endpoints: daemon.endpointsOf(name).map((endpoint) => endpoint.name),
  };
}

export function endpointView(endpoint: EndpointState): EndpointView {
  const { name, phase, config, addresses, mac, place } = endpoint;
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
  };
}

/** Name of a network by the dataplane's number; `-` for a port that has none at the moment. */
function networkName(daemon: Daemon, id: number): string {
  for (const network of daemon.networks.values()) if (network.id === id) return network.name;
  return '-';
}

export function portViews(daemon: Daemon): PortView[] {
  return daemon.dataplane.ports().map((port) => ({ ...port, network: networkName(daemon, port.network) }));
}

/** @param network only this network's entries; null for all */
export async function fdbViews(daemon: Daemon, network: string | null): Promise<FdbView[]> {
  const id = network === null ? null : daemon.network(network).id;
  const entries = await daemon.dataplane.fdb();
  const ports = new Map(daemon.dataplane.ports().map((port) => [port.id, port.name]));
  return entries
    .filter((entry) => id === null || entry.network === id)
    .map((entry) => ({
      mac: entry.mac,
      network: networkName(daemon, entry.network),
      port: ports.get(entry.port) ?? `port ${entry.port}`,
      ageSeconds: entry.ageSeconds,
      static: entry.static,
    }));
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
    copies: totals.copies,
    delivered: totals.txPackets,
    drops: dropViews(totals.rxDrops, totals.txDrops),
    ports,
  };
}
