/**
 * A routed site: endpoints `a` and `b` in the network `blue`, `c` in `green`, which reach each other, and a wire with an own uplink,
 * at whose other end is the namespace `outside`.
 *
 *   a 172.30.0.2  b 172.30.0.3 ─ blue (172.30.0.1) ┐
 *   fd00:30::2       fd00:30::3                    ├ Tapline ─ 10.77.0.1 up0 ── out0 10.77.0.254 (outside)
 *   c 172.31.0.2 ────────────── green (172.31.0.1) ┘           fd00:77::1            fd00:77::254
 */

import type { ExecutionContext } from 'ava';
import type { NeighborView } from '../../../control/router-views.js';
import { createHosts, type Host } from './lab.js';
import { createNamespace, type Namespace } from './namespace.js';
import { must } from './process.js';
import { type StartOptions, startTapline, type Tapline } from './tapline.js';
import { eventually } from './wait.js';
import { createVeth } from './wire.js';

export const BLUE = { ip: '172.30.0.1', ip6: 'fd00:30::1', mac: '02:42:ac:1e:00:01' };
export const GREEN = { ip: '172.31.0.1', ip6: 'fd00:31::1', mac: '02:42:ac:1f:00:01' };
/** The router's on the wire. */
export const UPLINK = { ip: '10.77.0.1', ip6: 'fd00:77::1' };
export const OUTSIDE = { ip: '10.77.0.254', ip6: 'fd00:77::254', mac: '02:00:00:00:0d:01' };

/** As the configuration has it. */
export const OWN_UPLINK = {
  device: 'up0',
  mode: 'own',
  addresses: [`${UPLINK.ip}/24`, `${UPLINK.ip6}/64`],
  gateways: [OUTSIDE.ip, OUTSIDE.ip6],
};

export interface Site {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  readonly c: Host;
  /** Where the daemon runs; its `up0` is the uplink. */
  readonly host: Namespace;
  readonly outside: Namespace;
}

export interface SiteOptions extends StartOptions {
  /** More keys of the networks, of the VRF `default`, of the uplink, and of endpoints that have none of their own. */
  readonly blue?: object;
  readonly green?: object;
  readonly vrf?: object;
  readonly uplink?: object;
  readonly endpoints?: object;
  /** More keys of the file. */
  readonly file?: object;
  /** Bytes; of both ends of the wire. */
  readonly mtu?: number;
  /** Keys of endpoints by name. */
  readonly endpoint?: Readonly<Record<string, object>>;
  /** Done outside before Tapline starts. */
  readonly prepare?: (outside: Namespace) => Promise<void>;
}

export async function createSite(t: ExecutionContext, options: SiteOptions = {}): Promise<Site> {
  const host = await createNamespace(t);
  const outside = await createOutside(t, host);
  await options.prepare?.(outside);
  if (options.mtu !== undefined) await setWireMtu({ host, outside }, options.mtu);
  const [a, b, last] = (await createHosts(t, 3)) as [Host, Host, Host];
  const c: Host = { ...last, ip: '172.31.0.2', ip6: 'fd00:31::2', mac: '02:42:ac:1f:00:02' };
  const endpoint = (name: string, { path, ip, ip6 }: Host, network: string): object => ({
    network,
    netns: path,
    addresses: [ip, ip6],
    ...(options.endpoint?.[name] ?? options.endpoints),
  });
  const config = {
    version: 1,
    uplink: { ...OWN_UPLINK, ...options.uplink },
    vrfs: { default: { interconnect: true, ...options.vrf } },
    networks: {
      blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'], ...options.blue },
      green: { subnets: ['172.31.0.0/24', 'fd00:31::/64'], ...options.green },
    },
    endpoints: { a: endpoint('a', a, 'blue'), b: endpoint('b', b, 'blue'), c: endpoint('c', c, 'green') },
    ...options.file,
  };
  const tapline = await startTapline(t, config, { ...options, netns: host });
  return { tapline, a, b, c, host, outside };
}

/** A site whose networks are not translated: packets come and go with their own addresses, and no connection is tracked. */
export function createRoutedSite(t: ExecutionContext, options: SiteOptions = {}): Promise<Site> {
  const plain = { masquerade: false };
  return createSite(t, { ...options, blue: { ...plain, ...options.blue }, green: { ...plain, ...options.green } });
}

/** The far end of the wire, with routes back to the networks. */
export async function createOutside(t: ExecutionContext, host: Namespace): Promise<Namespace> {
  const outside = await createNamespace(t);
  await createVeth(host, 'up0', outside, 'out0');
  await outside.exec('ip', 'link', 'set', 'out0', 'address', OUTSIDE.mac);
  await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip}/24`, 'dev', 'out0');
  await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip6}/64`, 'dev', 'out0', 'nodad');
  await outside.exec('ip', 'route', 'add', '172.16.0.0/12', 'via', UPLINK.ip);
  await outside.exec('ip', 'route', 'add', 'fd00::/16', 'via', UPLINK.ip6);
  return outside;
}

/** Of both ends; the receiver's first where it grows, so that no frame is ever too long for it. */
export async function setWireMtu({ host, outside }: Pick<Site, 'host' | 'outside'>, mtu: number): Promise<void> {
  for (const [namespace, device] of [
    [host, 'up0'],
    [outside, 'out0'],
  ] as const) {
    await must(['ip', '-n', namespace.name, 'link', 'set', device, 'mtu', String(mtu)]);
  }
}

export async function neighbors(tapline: Tapline): Promise<NeighborView[]> {
  return JSON.parse(await tapline.ok('show', 'neigh', '--json')) as NeighborView[];
}

/**
 * Waits until each packet has come to exactly one end: received + made by the dataplane + copies = delivered + taken in + dropped. What
 * waits for a neighbor or for its other fragments is at none yet.
 */
export async function accounted(tapline: Tapline): Promise<void> {
  let last = '';
  try {
    await eventually('every packet to be accounted for', async () => {
      const { received, originated, copies, local, delivered, drops } = await tapline.drops();
      const { held } = (await tapline.status()).router;
      const dropped = drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0);
      last = JSON.stringify({ received, originated, copies, local, delivered, dropped, held });
      return held === 0 && received + originated + copies === delivered + local + dropped;
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${last}`);
  }
}

/** The reasons for which a port has dropped more since `before`, and how many. */
export async function newDrops(
  tapline: Tapline,
  port: string,
  before: Readonly<Record<string, number>>,
): Promise<Record<string, number>> {
  const { rxDrops } = await tapline.port(port);
  const entries = Object.entries(rxDrops).map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const);
  return Object.fromEntries(entries.filter(([, count]) => count !== 0));
}
