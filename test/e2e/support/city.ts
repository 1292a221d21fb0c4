/**
 * Networks of every kind behind one router, somebody in each, the host that the daemon runs on, and somebody outside: who reaches
 * whom is what a test asks.
 */

import type { ExecutionContext } from 'ava';
import { type Agent, startAgent } from './agent.js';
import { createNamespace, type Namespace } from './namespace.js';
import { type StartOptions, startTapline, type Tapline } from './tapline.js';
import { createVeth } from './wire.js';

export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

/** An address of each family. */
export type Addresses = Readonly<Record<Family, string>>;

export interface Place {
  readonly network: string;
  /** Third group of 172.30.N.0/24 and fd00:N::/64. */
  readonly subnet: number;
  /** Keys of the network. */
  readonly config: object;
  /** Names of those who live there; they have the addresses from 2 on. */
  readonly people: readonly string[];
}

export interface Person {
  readonly agent: Agent;
  readonly namespace: Namespace;
  readonly addresses: Addresses;
}

export interface City {
  readonly tapline: Tapline;
  /** Where the daemon runs. */
  readonly host: Namespace;
  readonly outside: Namespace;
  readonly people: ReadonlyMap<string, Person>;
}

export const WIRE: Addresses = { 4: '10.77.0.1', 6: 'fd77::1' };
/** The router on the wire, behind which the outside host is. */
export const WIRE_ROUTER: Addresses = { 4: '10.77.0.254', 6: 'fd77::fe' };
/** An address outside that is not on the wire. */
export const FAR: Addresses = { 4: '198.51.100.9', 6: '2001:db8::9' };

export function addressIn(subnet: number, host: number): Addresses {
  return { 4: `172.30.${subnet}.${host}`, 6: `fd00:${subnet}::${host.toString(16)}` };
}

export function subnetsOf(subnet: number): string[] {
  return [`172.30.${subnet}.0/24`, `fd00:${subnet}::/64`];
}

/** Keys of an own uplink on `up0`, whose other end `createOutside` makes. */
export const OWN_UPLINK = {
  device: 'up0',
  mode: 'own',
  addresses: [`${WIRE[4]}/24`, `${WIRE[6]}/64`],
  gateways: [WIRE_ROUTER[4], WIRE_ROUTER[6]],
};

/** A router on the wire that is the outside host as well. @param subnets those that it reaches by Tapline */
export async function createOutside(
  t: ExecutionContext,
  host: Namespace,
  subnets: readonly string[],
): Promise<Namespace> {
  const outside = await createNamespace(t);
  await createVeth(host, 'up0', outside, 'out0');
  // A router that says at once what it has no route to, however often it is asked.
  const settings = [
    'ipv4.ip_forward=1',
    'ipv6.conf.all.forwarding=1',
    'ipv4.icmp_ratelimit=0',
    'ipv6.icmp.ratelimit=0',
  ];
  await outside.exec('sysctl', '-qw', ...settings.map((setting) => `net.${setting}`));
  for (const [address, device] of [
    [`${WIRE_ROUTER[4]}/24`, 'out0'],
    [`${WIRE_ROUTER[6]}/64`, 'out0'],
    [`${FAR[4]}/32`, 'lo'],
    [`${FAR[6]}/128`, 'lo'],
  ] as const) {
    await outside.exec('ip', 'address', 'add', address, 'dev', device);
  }
  for (const subnet of subnets) {
    const six = subnet.includes(':') ? 6 : 4;
    await outside.exec('ip', 'route', 'add', subnet, 'via', WIRE[six], 'src', FAR[six]);
  }
  return outside;
}

/**
 * Networks are not translated unless they say so: whoever is reached sees who asks, and the outside reaches all it has a route to.
 *
 * @param foreign networks that outside has no route to
 */
export async function createCity(
  t: ExecutionContext,
  places: readonly Place[],
  foreign: readonly string[] = [],
  options: StartOptions = {},
): Promise<City> {
  const host = await createNamespace(t);
  const known = places.filter(({ network }) => !foreign.includes(network));
  const outside = await createOutside(
    t,
    host,
    known.flatMap(({ subnet }) => subnetsOf(subnet)),
  );
  const people = new Map<string, Person>();
  const endpoints: Record<string, object> = {};
  for (const { network, subnet, people: names } of places) {
    for (const [i, name] of names.entries()) {
      const namespace = await createNamespace(t);
      const addresses = addressIn(subnet, i + 2);
      people.set(name, { namespace, addresses, agent: await startAgent(t, namespace, name) });
      endpoints[name] = { network, netns: namespace.path, addresses: Object.values(addresses) };
    }
  }
  people.set('outside', { namespace: outside, addresses: FAR, agent: await startAgent(t, outside, 'outside') });
  const networks = places.map(({ network, subnet, config }) => [
    network,
    { subnets: subnetsOf(subnet), masquerade: false, ...config },
  ]);
  const config = { version: 1, uplink: OWN_UPLINK, networks: Object.fromEntries(networks), endpoints };
  const tapline = await startTapline(t, config, { ...options, netns: host });
  return { tapline, host, outside, people };
}
