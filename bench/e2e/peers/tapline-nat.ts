/**
 * Tapline's address translation, as users have it: a network that masquerades, and ports published by its endpoint. Tapline runs in a
 * namespace that stands for the machine; one end of the wire (a veth pair) is its uplink of mode `own`, the other the outside host's.
 */

import type { Context } from '../context.js';
import { addNamespaces, configure, enableIpv6, netnsName } from '../namespaces.js';
import { endpointOf, startTapline } from './instance.js';
import { type Host, ipv4Only, type Site } from './peer.js';
import { PUBLISHED_PORTS } from './published.js';
import { interfaceLines, RED, WIRE, withPrefixLength } from './segment.js';

/** Container → network red → router that masquerades → the wire → the host outside, which knows nothing of the container's subnet. */
export async function taplineNat(context: Context): Promise<Site> {
  const { container, outside, ...instance } = await build(context, 'nat', []);
  return { peer: 'tapline', client: container, server: ipv4Only(outside), ...instance };
}

/** The host outside → the wire → published port → container. */
export async function taplinePublish(context: Context): Promise<Site> {
  const publish = PUBLISHED_PORTS.map(({ protocol, port }) => `${port}:${port}/${protocol}`);
  const { container, outside, ...instance } = await build(context, 'publish', publish);
  return { peer: 'tapline', client: outside, server: { ...container, published: WIRE.router }, ...instance };
}

interface Built extends Pick<Site, 'switchPid' | 'engine'> {
  readonly container: Host;
  readonly outside: Host;
}

async function build(context: Context, suite: string, publish: readonly string[]): Promise<Built> {
  const machine = netnsName(suite, 'tapline', 'machine');
  const container: Host = { netns: netnsName(suite, 'tapline', 'container'), ...RED.host };
  const outside: Host = { netns: netnsName(suite, 'tapline', 'outside'), ...WIRE.host };
  await addNamespaces(context, [machine, container.netns, outside.netns]);
  await enableIpv6(context, [container.netns, outside.netns]);
  await configure(context, machine, [
    `link add up0 type veth peer name eth0 netns ${outside.netns}`,
    'link set up0 up',
  ]);
  await configure(context, outside.netns, interfaceLines('eth0', WIRE.host));
  const configuration = {
    version: 1,
    uplink: { device: 'up0', mode: 'own', addresses: withPrefixLength(WIRE.router) },
    networks: { red: { subnets: RED.subnets, masquerade: true } },
    endpoints: { container: endpointOf(container, 'red', publish.length === 0 ? {} : { publish }) },
  };
  const { pid, engine } = await startTapline(context, suite, configuration, machine);
  return { container, outside, switchPid: pid, engine };
}
