/** The usual set-up: some namespaces in one network. Endpoint `a` has 172.30.0.2 and fd00:30::2, `b` the next, and so on. */

import type { ExecutionContext } from 'ava';
import { createNamespace, type Namespace } from './namespace.js';
import { type StartOptions, startTapline, type Tapline } from './tapline.js';

export const SUBNETS = ['172.30.0.0/24', 'fd00:30::/64'];
const NAMES = ['a', 'b', 'c', 'd'];

export interface Host extends Namespace {
  /** Of the endpoint. */
  readonly endpoint: string;
  readonly ip: string;
  readonly ip6: string;
  readonly mac: string;
}

export interface Lab {
  readonly tapline: Tapline;
  readonly hosts: readonly Host[];
}

export interface LabOptions extends StartOptions {
  readonly hosts?: number;
  /** More keys of the network `blue`. */
  readonly network?: object;
  /** More keys of endpoints, by name; `all` is for those that have none of their own. */
  readonly endpoints?: Readonly<Record<string, object>>;
}

export async function createHosts(t: ExecutionContext, count: number): Promise<Host[]> {
  const hosts: Host[] = [];
  for (let i = 0; i < count; i++) {
    const namespace = await createNamespace(t);
    const last = i + 2;
    const mac = `02:42:ac:1e:00:${last.toString(16).padStart(2, '0')}`;
    hosts.push({ ...namespace, endpoint: NAMES[i]!, ip: `172.30.0.${last}`, ip6: `fd00:30::${last}`, mac });
  }
  return hosts;
}

export function labConfig(
  hosts: readonly Host[],
  network: object = {},
  more: Readonly<Record<string, object>> = {},
): object {
  const endpoints = hosts.map(({ endpoint, path, ip, ip6 }) => [
    endpoint,
    { network: 'blue', netns: path, addresses: [ip, ip6], ...(more[endpoint] ?? more.all) },
  ]);
  return { version: 1, networks: { blue: { subnets: SUBNETS, ...network } }, endpoints: Object.fromEntries(endpoints) };
}

/** Namespaces attached to one network of a running Tapline. */
export async function createLab(t: ExecutionContext, options: LabOptions = {}): Promise<Lab> {
  const hosts = await createHosts(t, options.hosts ?? 2);
  const tapline = await startTapline(t, labConfig(hosts, options.network, options.endpoints), options);
  return { tapline, hosts };
}
