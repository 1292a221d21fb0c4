/** FDB entries by command: names in place of numbers, static entries beside the MACs that endpoints own, and flushing. */

import { ALL_MACS } from './config/fields.js';
import type { Daemon } from './daemon.js';
import { TaplineError } from './errors.js';
import { endpointVlan, uplinkVlan } from './port-spec.js';
import type { NetworkState } from './state.js';
import type { PortVlanSpec } from './types.js';
import { BridgedUplink } from './uplink/bridged-uplink.js';
import { addVtepEntry, removeVtepEntry } from './vxlan/entries.js';
import { isVtepOwner } from './vxlan/overlay.js';

export interface StaticRequest {
  readonly mac: string;
  readonly network: string;
  /** Name of an endpoint, or `uplink`. */
  readonly port: string;
  /** Undefined for the VLAN of the port's untagged frames. */
  readonly vlan?: number | undefined;
}

/** The same with the address of a VTEP in the place of a port. The all-zero MAC: it gets what is flooded. */
export type VtepStaticRequest = Omit<StaticRequest, 'port'> & { readonly vtep: string };

export interface StaticView {
  readonly mac: string;
  readonly network: string;
  readonly port: string;
  /** Null in a network without VLANs. */
  readonly vlan: number | null;
  /** Address of the VTEP that the port stands for. */
  readonly vtep?: string;
}

interface NamedPort {
  readonly name: string;
  readonly number: number;
  readonly network: NetworkState;
  readonly vlan: PortVlanSpec | undefined;
}

/** @throws TaplineError with key `port`: `missing`; `conflict` while it is not up */
function findPort(daemon: Daemon, name: string): NamedPort {
  const { uplink } = daemon;
  if (name === 'uplink') {
    if (uplink === null) throw new TaplineError('missing', 'no uplink is configured', 'port');
    if (uplink.port < 0) throw new TaplineError('conflict', `uplink ${uplink.device} is down`, 'port');
    if (!(uplink instanceof BridgedUplink)) {
      const what = `uplink ${uplink.device} is the router's, with no network behind it`;
      throw new TaplineError('conflict', `${what}; only a bridged one has an FDB`, 'port');
    }
    const network = daemon.network(uplink.network);
    return { name, number: uplink.port, network, vlan: uplinkVlan(uplink.config, network.config) };
  }
  const endpoint = daemon.endpoints.get(name);
  if (endpoint === undefined) throw new TaplineError('missing', `no endpoint ${name}`, 'port');
  if (endpoint.phase !== 'up') throw new TaplineError('conflict', `endpoint ${name} is ${endpoint.phase}`, 'port');
  const network = daemon.network(endpoint.config.network);
  return { name, number: endpoint.port, network, vlan: endpointVlan(endpoint.config, network.config) };
}

function portIn(daemon: Daemon, name: string, network: NetworkState): NamedPort {
  const port = findPort(daemon, name);
  if (port.network === network) return port;
  const what = `expected a port of network ${network.name}, got ${name}, which is one of network ${port.network.name}`;
  throw new TaplineError('invalid', what, 'port');
}

function refuseVlan(network: NetworkState): never {
  throw new TaplineError('invalid', `network ${network.name} tells no VLANs apart; leave it out`, 'vlan');
}

/** The VLAN of a new entry: one that the port is in. @returns 0 in a network without VLANs */
function vlanFor(port: NamedPort, vlan: number | undefined): number {
  if (!port.network.config.vlan_filtering) return vlan === undefined ? 0 : refuseVlan(port.network);
  const { native, tagged } = port.vlan ?? { native: 0, tagged: [] };
  const wanted = vlan ?? native;
  if (wanted === 0) throw new TaplineError('invalid', `port ${port.name} has no native VLAN; say which VLAN`, 'vlan');
  if (wanted !== native && !tagged.includes(wanted))
    throw new TaplineError('invalid', `expected a VLAN of port ${port.name}, got ${wanted}`, 'vlan');
  return wanted;
}

/** The host's own MAC behind the uplink has its entry already. */
function refuseHostMac(daemon: Daemon, network: NetworkState, mac: string): void {
  const { uplink } = daemon;
  if (uplink?.isHostMac(network.name, mac))
    throw new TaplineError('conflict', `${mac} is the MAC of the host's ${uplink.device}`, 'mac');
}

/**
 * A MAC that is behind a VTEP moves to the port, and one that is bound to a port by a static entry moves to the VTEP.
 *
 * @throws TaplineError `missing`, `invalid`; `conflict` for a MAC that is another's
 */
export async function addStatic(daemon: Daemon, request: StaticRequest | VtepStaticRequest): Promise<StaticView> {
  if ('vtep' in request) return addAtVtep(daemon, request);
  const { mac } = request;
  const vtep = daemon.overlays.find(request.network)?.entry(mac) ?? null;
  if (vtep === null) return addAtPort(daemon, request);
  const entry = { network: request.network, mac, vtep };
  await removeVtepEntry(daemon, entry);
  return addAtPort(daemon, request).catch(async (error: unknown) => {
    await addVtepEntry(daemon, entry);
    throw error;
  });
}

async function addAtVtep(daemon: Daemon, request: VtepStaticRequest): Promise<StaticView> {
  const { mac, vtep } = request;
  const { name, ipam, id } = daemon.network(request.network);
  const owner = ipam.macOwner(mac);
  const isAtPort = owner?.by === 'static entry' && !isVtepOwner(owner);
  const taken = isAtPort ? (await daemon.dataplane.fdb()).filter((one) => one.network === id && one.mac === mac) : [];
  if (isAtPort) ipam.releaseStatic(mac);
  try {
    await addVtepEntry(daemon, request);
  } catch (error) {
    if (isAtPort) ipam.reserveStatic(owner.owner, mac);
    throw error;
  }
  const { vlan } = daemon.overlays.get(name);
  // One that is in the same VLAN has moved; a MAC has one place in all of them.
  for (const entry of taken) if (entry.static && entry.vlan !== vlan) await daemon.dataplane.removeEntry(entry);
  if (isAtPort) forgetKept(daemon, name, mac);
  return { mac, network: name, port: `vxlan:${name}:${vtep}`, vlan: vlan === 0 ? null : vlan, vtep };
}

function forgetKept({ kept }: Daemon, network: string, mac: string): void {
  for (const [key] of kept.objects('fdb')) if (key.startsWith(`${network} ${mac} `)) kept.removeObject('fdb', key);
}

async function addAtPort(daemon: Daemon, request: StaticRequest): Promise<StaticView> {
  const { mac } = request;
  const network = daemon.network(request.network);
  const port = portIn(daemon, request.port, network);
  const vlan = vlanFor(port, request.vlan);
  refuseHostMac(daemon, network, mac);
  const isNew = network.ipam.reserveStatic(port.name, mac);
  try {
    await daemon.dataplane.addStaticEntry({ network: network.id, vlan, mac }, port.number);
  } catch (error) {
    if (isNew) network.ipam.releaseStatic(mac);
    throw error;
  }
  return { mac, network: network.name, port: port.name, vlan: vlan === 0 ? null : vlan };
}

export interface RemovalRequest {
  readonly mac: string;
  readonly network: string;
  /** Needed only where the MAC has entries in several VLANs. */
  readonly vlan?: number | undefined;
  /** Address of the VTEP that it leads to; needed only for the all-zero MAC. */
  readonly vtep?: string | undefined;
}

function noEntry(mac: string, network: NetworkState, vlan?: number): TaplineError {
  return new TaplineError('missing', `no entry of ${mac} in network ${network.name}${vlan ? `, VLAN ${vlan}` : ''}`);
}

/** @throws TaplineError `missing`; `conflict` for the own MAC of an endpoint or of the host, which stay as long as their ports */
export async function removeEntry(daemon: Daemon, request: RemovalRequest): Promise<void> {
  const { mac } = request;
  const network = daemon.network(request.network);
  if (request.vlan !== undefined && !network.config.vlan_filtering) refuseVlan(network);
  const isAtVtep = (daemon.overlays.find(network.name)?.entry(mac) ?? null) !== null;
  if (request.vtep !== undefined || mac === ALL_MACS || isAtVtep) return removeVtepEntry(daemon, request);
  const entries = (await daemon.dataplane.fdb()).filter((entry) => entry.network === network.id && entry.mac === mac);
  const [first] = entries;
  if (first === undefined) throw noEntry(mac, network);
  if (request.vlan === undefined && entries.length > 1) {
    const vlans = entries.map(({ vlan }) => vlan).sort((a, b) => a - b);
    throw new TaplineError('invalid', `${mac} has entries in VLANs ${vlans.join(', ')}; say which`, 'vlan');
  }
  const vlan = request.vlan ?? first.vlan;
  const entry = entries.find((candidate) => candidate.vlan === vlan);
  if (entry === undefined) throw noEntry(mac, network, vlan);
  const owner = network.ipam.macOwner(mac);
  if (entry.static) refuseHostMac(daemon, network, mac);
  if (owner?.by === 'gateway')
    throw new TaplineError('conflict', `${mac} is the gateway's and stays as long as the network`, 'mac');
  if (entry.static && owner !== undefined && owner.by !== 'static entry') {
    throw new TaplineError('conflict', `${mac} belongs to endpoint ${owner.owner} and stays as long as that`, 'mac');
  }
  // In one step with the order: whoever adds it again meanwhile has it again behind that.
  if (entry.static && entries.filter((other) => other.static).length === 1) network.ipam.releaseStatic(mac);
  if (!(await daemon.dataplane.removeEntry({ network: network.id, vlan, mac }))) throw noEntry(mac, network, vlan);
}

export interface FlushRequest {
  readonly network?: string | undefined;
  readonly port?: string | undefined;
  readonly vlan?: number | undefined;
}

/** Forgets what was learned, all of it where nothing is said. @throws TaplineError `missing`, `invalid`, `conflict` */
export async function flushFdb(daemon: Daemon, request: FlushRequest): Promise<void> {
  const network = request.network === undefined ? null : daemon.network(request.network);
  if (request.vlan !== undefined && network?.config.vlan_filtering === false) refuseVlan(network);
  let port: NamedPort | null = null;
  if (request.port !== undefined)
    port = network === null ? findPort(daemon, request.port) : portIn(daemon, request.port, network);
  await daemon.dataplane.flushFdb({
    network: network?.id ?? null,
    port: port?.number ?? null,
    vlan: request.vlan ?? null,
  });
}
