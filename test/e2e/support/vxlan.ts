/**
 * One network stretched over hosts by VXLAN, each end of which is a Tapline or the kernel's own device.
 *
 *   container a1 172.30.0.17 ─ Tapline ─ 10.77.0.1 ┐
 *             fd00:30::11                          ├ underlay
 *   container b1 172.30.0.33 ─ Tapline ─ 10.77.0.2 ┘     (or: veth, bridge, vxlan device)
 *             fd00:30::21
 */

import type { ExecutionContext } from 'ava';
import type { OverlayView, VtepView } from '../../../control/vxlan/views.js';
import { DATAGRAM_PORT } from './datagrams.js';
import { BAD_CHECKSUM, type Tcpdump, tcpdump, tshark, tsharkCounts } from './frames.js';
import { must } from './process.js';
import { send } from './published.js';
import { type StartOptions, startTapline, type Tapline } from './tapline.js';
import {
  addKernelAddresses,
  type Container,
  createContainer,
  createUnderlay,
  type OverlayHost,
  type Underlay,
  type UnderlayOptions,
} from './underlay.js';
import { eventually } from './wait.js';
import { createVeth, pings } from './wire.js';

export const VNI = 42;
export const SUBNETS = ['172.30.0.0/24', 'fd00:30::/64'];
/** Of each host, by derivation. */
export const GATEWAY = { ip: '172.30.0.1', ip6: 'fd00:30::1', mac: '02:42:ac:1e:00:01' };
export const NOBODY = '00:00:00:00:00:00';

export type Family = 4 | 6;

export function addressOf(host: OverlayHost, family: Family): string {
  return family === 4 ? host.ip : host.ip6;
}

/** Keys of `vxlan` for a host all of whose peers are known. */
export function remotesOf(host: OverlayHost, peers: readonly OverlayHost[], family: Family = 4): object {
  const remotes = peers.filter(({ number }) => number !== host.number).map((peer) => addressOf(peer, family));
  return { vni: VNI, local: addressOf(host, family), remotes };
}

export interface OverlayOptions extends StartOptions {
  /** More keys of the network `blue`, of the uplink, of the file, and of endpoints by name. */
  readonly network?: object;
  readonly uplink?: object;
  readonly file?: object;
  readonly endpoints?: Readonly<Record<string, object>>;
}

/** The configuration of a host: an own uplink, and the network `blue` with `vxlan`. */
export function overlayConfig(
  host: OverlayHost,
  containers: readonly Container[],
  vxlan: object | null,
  options: OverlayOptions = {},
): object {
  const { ip, ip6 } = host;
  const endpoints = containers.map((container) => [
    container.endpoint,
    {
      network: 'blue',
      netns: container.path,
      addresses: [container.ip, container.ip6],
      ...options.endpoints?.[container.endpoint],
    },
  ]);
  return {
    version: 1,
    uplink: { device: 'up0', mode: 'own', addresses: [`${ip}/24`, `${ip6}/64`], ...options.uplink },
    networks: { blue: { subnets: SUBNETS, ...(vxlan === null ? {} : { vxlan }), ...options.network } },
    endpoints: Object.fromEntries(endpoints),
    ...options.file,
  };
}

export function startOverlay(
  t: ExecutionContext,
  host: OverlayHost,
  containers: readonly Container[],
  vxlan: object,
  options: OverlayOptions = {},
): Promise<Tapline> {
  return startTapline(t, overlayConfig(host, containers, vxlan, options), { ...options, netns: host.namespace });
}

/** A host with a Tapline. */
export interface Site {
  readonly host: OverlayHost;
  readonly tapline: Tapline;
  readonly containers: readonly Container[];
}

export interface Stretched {
  readonly underlay: Underlay;
  readonly sites: readonly Site[];
}

export interface StretchedOptions extends UnderlayOptions {
  readonly hosts?: number;
  /** Of each host. */
  readonly containers?: number;
  readonly family?: Family;
  /** More keys of `vxlan`, and of all else, for one of the hosts. */
  readonly vxlan?: object | ((host: OverlayHost) => object);
  readonly overlay?: OverlayOptions | ((host: OverlayHost) => OverlayOptions);
  /** Done before its Tapline starts. */
  readonly prepare?: (host: OverlayHost) => Promise<void>;
}

/** Hosts with a Tapline each, all of which know each other. */
export async function createStretched(t: ExecutionContext, options: StretchedOptions = {}): Promise<Stretched> {
  const underlay = await createUnderlay(t, options);
  const hosts: OverlayHost[] = [];
  for (let number = 1; number <= (options.hosts ?? 2); number++) hosts.push(await underlay.addHost(number));
  const sites: Site[] = [];
  for (const host of hosts) {
    const containers: Container[] = [];
    for (let place = 1; place <= (options.containers ?? 1); place++)
      containers.push(await createContainer(t, host, place));
    await options.prepare?.(host);
    const more = typeof options.vxlan === 'function' ? options.vxlan(host) : options.vxlan;
    const vxlan = { ...remotesOf(host, hosts, options.family), ...more };
    const overlay = typeof options.overlay === 'function' ? options.overlay(host) : options.overlay;
    sites.push({ host, containers, tapline: await startOverlay(t, host, containers, vxlan, overlay) });
  }
  return { underlay, sites };
}

export interface KernelVtepOptions {
  /** Unicast: the devices of others that get what is flooded, and the MACs behind them, which are not learned then. */
  readonly peers?: readonly string[];
  readonly fdb?: Readonly<Record<string, string>>;
  readonly group?: string;
  readonly local: string;
  readonly port?: number;
  /** Of the outer UDP header; without it 0 is sent. It is taken in any case. */
  readonly checksum?: boolean;
  /** Of the network. */
  readonly mtu?: number;
  readonly vni?: number;
  /** The group policy tag is the packet's mark. */
  readonly gbp?: boolean;
  /** Outer type of service, as `ip link` has it; 0 unless given. */
  readonly tos?: string;
}

/** A host whose kernel does what Docker's overlay driver does: a bridge, a vxlan device, and a veth to each container. */
export async function startKernelVtep(
  host: OverlayHost,
  containers: readonly Container[],
  options: KernelVtepOptions,
): Promise<void> {
  const { namespace } = host;
  const mtu = options.mtu ?? (options.local.includes(':') ? 1430 : 1450);
  const ip = (...words: string[]): Promise<string> => namespace.exec('ip', ...words);
  await ip('link', 'add', 'br1', 'type', 'bridge');
  const ends = options.group === undefined ? [] : ['group', options.group, 'dev', 'up0', 'ttl', '1'];
  const sums = options.checksum === false ? ['noudpcsum', 'udp6zerocsumtx'] : ['udpcsum', 'noudp6zerocsumtx'];
  const learning = options.fdb === undefined ? 'learning' : 'nolearning';
  const words = [
    ...ends,
    'local',
    options.local,
    'dstport',
    `${options.port ?? 4789}`,
    learning,
    ...sums,
    'udp6zerocsumrx',
  ];
  if (options.gbp === true) words.push('gbp');
  if (options.tos !== undefined) words.push('tos', options.tos);
  await ip('link', 'add', 'vx1', 'type', 'vxlan', 'id', `${options.vni ?? VNI}`, ...words);
  await ip('link', 'set', 'vx1', 'mtu', `${mtu}`, 'master', 'br1', 'up');
  await ip('link', 'set', 'br1', 'up');
  const fdb = (...rest: string[]): Promise<string> => namespace.exec('bridge', 'fdb', 'append', ...rest);
  for (const peer of options.peers ?? []) await fdb(NOBODY, 'dev', 'vx1', 'dst', peer);
  for (const [mac, peer] of Object.entries(options.fdb ?? {})) await fdb(mac, 'dev', 'vx1', 'dst', peer, 'self');
  for (const [at, container] of containers.entries()) {
    const end = `veth${at}`;
    await createVeth(namespace, end, container, 'eth0');
    await ip('link', 'set', end, 'mtu', `${mtu}`, 'master', 'br1');
    await container.exec('ip', 'link', 'set', 'eth0', 'mtu', `${mtu}`, 'address', container.mac);
    await container.exec('ip', 'address', 'add', `${container.ip}/24`, 'dev', 'eth0');
    await container.exec('ip', 'address', 'add', `${container.ip6}/64`, 'dev', 'eth0', 'nodad');
  }
}

/** A host with the kernel's VTEP, and its addresses in the underlay. */
export async function createKernelHost(
  host: OverlayHost,
  containers: readonly Container[],
  options: KernelVtepOptions,
): Promise<void> {
  await addKernelAddresses(host);
  await startKernelVtep(host, containers, options);
}

/** Waits until one container reaches another: peers that come up at once may lose the first packets to each other. */
export async function reaches(from: Container, to: { readonly ip: string; readonly ip6: string }): Promise<void> {
  for (const address of [to.ip, to.ip6]) await eventually(`${address} to be reached`, () => pings(from, address));
}

/** Captures a host's VXLAN packets in the underlay. @param direction `in`: what it sends */
export function watchUnderlay(
  t: ExecutionContext,
  underlay: Underlay,
  host: OverlayHost,
  direction: 'in' | 'out' | 'inout' = 'inout',
  filter = 'udp port 4789',
): Promise<Tcpdump> {
  return tcpdump(t, underlay.namespace, { device: host.wire, direction, filter });
}

export interface Decoded {
  readonly packets: number;
  /** Of them, those that tshark takes for VXLAN with the right VNI. */
  readonly vxlan: number;
  /** Of them, those about which it warns, or whose checksums, outer or inner, are wrong. */
  readonly warnings: number;
  readonly badChecksums: number;
  /** Those with an outer UDP checksum of zero. */
  readonly unsummed: number;
}

/** Of tshark: warnings and errors alone (epan/proto.h: PI_WARN), but not that a receiver says what came twice; nor what BAD_CHECKSUM lets be. */
const WARNINGS = '_ws.expert.severity >= 0x600000 && !tcp.options.sack.dsack && !(tcp.checksum == 0xffff)';

/**
 * Settings of tshark for what it reads: the port; payload, which is random, is of no protocol; IPv6 may go without a checksum (RFC 6935);
 * and how a TCP peer behaves is not asked.
 */
export function vxlanSettings(port: number): string[] {
  const payload = ['tcp.port==1-65535,data', `udp.port==${DATAGRAM_PORT},data`];
  const rules = port === 4789 ? payload : [...payload, `udp.port==${port},vxlan`];
  const preferences = ['udp.ignore_ipv6_zero_checksum:TRUE', 'tcp.analyze_sequence_numbers:FALSE'];
  return [...rules.flatMap((rule) => ['-d', rule]), ...preferences.flatMap((preference) => ['-o', preference])];
}

/** What it is that tshark objects to: frame, protocols and its words. */
export function objections(path: string, port = 4789): Promise<string[][]> {
  const fields = [
    'frame.number',
    'frame.protocols',
    '_ws.expert.message',
    'tcp.checksum.status',
    'udp.checksum.status',
  ];
  return tshark(path, fields, `(${WARNINGS}) || ${BAD_CHECKSUM}`, vxlanSettings(port));
}

/** What tshark makes of a capture that has ended. */
export async function decode(path: string, port = 4789): Promise<Decoded> {
  const filters = [
    'frame',
    `vxlan.vni == ${VNI}`,
    WARNINGS,
    BAD_CHECKSUM,
    `udp.checksum == 0 && udp.dstport == ${port}`,
  ];
  const [packets = 0, vxlan = 0, warnings = 0, badChecksums = 0, unsummed = 0] = await tsharkCounts(
    path,
    filters,
    vxlanSettings(port),
  );
  return { packets, vxlan, warnings, badChecksums, unsummed };
}

/** What `show vxlan` says of the network `blue`. */
export async function overlayOf(tapline: Tapline): Promise<OverlayView> {
  const views = (await send(tapline.socket, 'GET', '/v1/vxlan')) as OverlayView[];
  const view = views.find(({ network }) => network === 'blue');
  if (view === undefined) throw new Error(`no overlay of network blue: ${JSON.stringify(views)}`);
  return view;
}

export async function vtepOf(tapline: Tapline, address: string): Promise<VtepView> {
  const { vteps } = await overlayOf(tapline);
  const found = vteps.find((each) => each.address === address);
  if (found === undefined) throw new Error(`no VTEP ${address}: ${JSON.stringify(vteps)}`);
  return found;
}

/** The name of a VTEP's port. */
export function vtepPort(address: string, network = 'blue'): string {
  return `vxlan:${network}:${address}`;
}

/** Bytes of the MTU that a container's interface has. */
export async function mtuOf(container: Container): Promise<number> {
  const [link] = JSON.parse(await must(['ip', '-n', container.name, '-json', 'link', 'show', 'eth0'])) as [
    { mtu: number },
  ];
  return link.mtu;
}
