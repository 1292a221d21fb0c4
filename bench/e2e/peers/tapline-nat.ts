/**
 * Tapline's address translation, as users have it: a network that masquerades, and ports published by its endpoint. Tapline runs in a
 * namespace that stands for the machine; one end of the wire (a veth pair) is its uplink of mode `own`, the other the outside host's.
 */

import type { Context, SuiteName } from '../context.js';
import { addNamespaces, configure, enableIpv6, netnsName } from '../namespaces.js';
import { endpointOf, type Instance, startTapline } from './instance.js';
import { type Addresses, type Host, ipv4Only, type Site } from './peer.js';
import { PUBLISHED_PORTS } from './published.js';
import { interfaceLines, RED, WIRE, withPrefixLength } from './segment.js';

/** Container → network red → router that masquerades → the wire → the host outside, which knows nothing of the container's subnet. */
export async function taplineNat(context: Context): Promise<Site> {
  const { containers, outside, pid, engine } = await taplineMachine(context, 'nat', [RED.host]);
  const client = containers[0] as Host;
  return { peer: 'tapline', client, server: ipv4Only(outside), switchPid: pid, engine };
}

/** The host outside → the wire → published port → container. */
export async function taplinePublish(context: Context): Promise<Site> {
  const publish = PUBLISHED_PORTS.map(({ protocol, port }) => `${port}:${port}/${protocol}`);
  const { containers, outside, pid, engine } = await taplineMachine(context, 'publish', [RED.host], { publish });
  const server = { ...(containers[0] as Host), published: WIRE.router };
  return { peer: 'tapline', client: outside, server, switchPid: pid, engine };
}

/** A running Tapline with its containers and the host outside. */
export interface TaplineMachine extends Instance {
  /** In network red, as endpoints container0, container1, … */
  readonly containers: readonly Host[];
  readonly outside: Host;
}

/**
 * @param addresses of the containers, on RED
 * @param endpoint further keys of each endpoint
 * @param more further keys of the file
 */
export async function taplineMachine(
  context: Context,
  suite: SuiteName,
  addresses: readonly Addresses[],
  endpoint: object = {},
  more: object = {},
): Promise<TaplineMachine> {
  const machine = netnsName(suite, 'tapline', 'machine');
  const containers = addresses.map((each, index) => ({
    netns: netnsName(suite, 'tapline', `container${index}`),
    ...each,
  }));
  const outside: Host = { netns: netnsName(suite, 'tapline', 'outside'), ...WIRE.host };
  const hosts = [...containers, outside].map(({ netns }) => netns);
  await addNamespaces(context, [machine, ...hosts]);
  await enableIpv6(context, hosts);
  await configure(context, machine, [
    `link add up0 type veth peer name eth0 netns ${outside.netns}`,
    'link set up0 up',
  ]);
  await configure(context, outside.netns, interfaceLines('eth0', WIRE.host));
  const endpoints = containers.map((host, index) => [`container${index}`, endpointOf(host, 'red', endpoint)]);
  const configuration = {
    version: 1,
    uplink: { device: 'up0', mode: 'own', addresses: withPrefixLength(WIRE.router) },
    networks: { red: { subnets: RED.subnets, masquerade: true } },
    endpoints: Object.fromEntries(endpoints),
    ...more,
  };
  const instance = await startTapline(context, suite, configuration, machine);
  return { ...instance, containers, outside };
}
