/** A bridged uplink: the daemon in a namespace of its own with `up0`, whose other end is `out0` in the namespace `outside`. */

import type { ExecutionContext } from 'ava';
import { createHosts, type Host, SUBNETS } from './lab.js';
import { createNamespace, type Namespace } from './namespace.js';
import { must } from './process.js';
import { type StartOptions, startTapline, type Tapline } from './tapline.js';

export const OUTSIDE = { ip: '172.30.0.250', ip6: 'fd00:30::250', mac: '02:00:00:00:0d:01' };

export interface Wire {
  readonly tapline: Tapline;
  readonly hosts: readonly Host[];
  readonly outside: Namespace;
}

export interface WireOptions extends StartOptions {
  readonly hosts?: number;
  /** More keys of the network `blue`, of the uplink, and of endpoints by name. */
  readonly network?: object;
  readonly uplink?: object;
  readonly endpoints?: Readonly<Record<string, object>>;
  /** The outside end has no address, and says nothing by itself. */
  readonly mute?: boolean;
}

/** Two namespaces with a veth pair between them; no address on either end. */
export async function createVeth(from: Namespace, fromDevice: string, to: Namespace, toDevice: string): Promise<void> {
  const veth = [fromDevice, 'type', 'veth', 'peer', 'name', toDevice, 'netns', to.name];
  await must(['ip', '-n', from.name, 'link', 'add', ...veth]);
  for (const [namespace, device] of [
    [from, fromDevice],
    [to, toDevice],
  ] as const) {
    await namespace.exec('sysctl', '-qw', `net.ipv6.conf.${device}.accept_dad=0`);
    await namespace.exec('ip', 'link', 'set', device, 'up');
  }
}

/** Keys of endpoints for a configuration. */
export function endpointsOf(
  hosts: readonly Host[],
  more: Readonly<Record<string, object>> = {},
): Record<string, object> {
  return Object.fromEntries(
    hosts.map(({ endpoint, path, ip, ip6 }) => [
      endpoint,
      { network: 'blue', netns: path, addresses: [ip, ip6], ...(more[endpoint] ?? more.all) },
    ]),
  );
}

export async function createWire(t: ExecutionContext, options: WireOptions = {}): Promise<Wire> {
  const host = await createNamespace(t);
  const outside = await createNamespace(t);
  await createVeth(host, 'up0', outside, 'out0');
  await outside.exec('ip', 'link', 'set', 'out0', 'address', OUTSIDE.mac);
  if (options.mute === true) {
    await outside.exec('sysctl', '-qw', 'net.ipv6.conf.out0.disable_ipv6=1');
  } else {
    await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip}/24`, 'dev', 'out0');
    await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip6}/64`, 'dev', 'out0', 'nodad');
  }
  const hosts = await createHosts(t, options.hosts ?? 2);
  const config = {
    version: 1,
    uplink: { device: 'up0', mode: 'bridged', network: 'blue', ...options.uplink },
    networks: { blue: { subnets: SUBNETS, ...options.network } },
    endpoints: endpointsOf(hosts, options.endpoints),
  };
  const tapline = await startTapline(t, config, { ...options, netns: host });
  return { tapline, hosts, outside };
}

/** Whether a ping arrives and is answered within two seconds. */
export async function pings(from: Namespace, address: string): Promise<boolean> {
  return (await from.run(['ping', '-n', '-c', '2', '-i', '0.2', '-W', '2', address])).code === 0;
}
