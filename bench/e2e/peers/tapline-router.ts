/** Tapline as a router: between two networks of one VRF, and between a network and the wire behind an uplink of its own. */

import type { Context } from '../context.js';
import { addNamespaces, configure, enableIpv6, netnsName } from '../namespaces.js';
import { endpointOf, startTapline } from './instance.js';
import type { Host, Site } from './peer.js';
import { BLUE, interfaceLines, RED, routeLines, type Segment, WIRE, withPrefixLength } from './segment.js';

/** Container → network red → router → network blue → container. */
export async function taplineRoute(context: Context): Promise<Site> {
  const client = container('route', RED);
  const server = container('route', BLUE);
  await addHosts(context, [client.netns, server.netns]);
  const { pid, engine } = await startTapline(context, 'route', {
    version: 1,
    vrfs: { bench: { interconnect: true } },
    networks: { red: networkOf(RED, { vrf: 'bench' }), blue: networkOf(BLUE, { vrf: 'bench' }) },
    endpoints: { client: endpointOf(client, 'red'), server: endpointOf(server, 'blue') },
  });
  return { peer: 'tapline', client, server, switchPid: pid, engine };
}

/**
 * Container → network red → router → the wire → the host outside. Tapline runs in a namespace that stands for the machine: one end
 * of the wire (a veth pair) is the device that it opens, without an address there; the other is the outside host's.
 */
export async function taplineUplink(context: Context): Promise<Site> {
  const client = container('uplink', RED);
  const machine = netnsName('uplink', 'tapline', 'machine');
  const outside: Host = { netns: netnsName('uplink', 'tapline', 'outside'), ...WIRE.host };
  await addHosts(context, [client.netns, outside.netns]);
  await addNamespaces(context, [machine]);
  await configure(context, machine, [
    `link add up0 type veth peer name eth0 netns ${outside.netns}`,
    'link set up0 up',
  ]);
  await configure(context, outside.netns, [...interfaceLines('eth0', WIRE.host), ...routeLines(RED, WIRE.router)]);
  const configuration = {
    version: 1,
    uplink: { device: 'up0', mode: 'own', addresses: withPrefixLength(WIRE.router) },
    networks: { red: networkOf(RED, { masquerade: false }) },
    endpoints: { client: endpointOf(client, 'red') },
  };
  const { pid, engine } = await startTapline(context, 'uplink', configuration, machine);
  return { peer: 'tapline', client, server: outside, switchPid: pid, engine };
}

function container(suite: string, segment: Segment): Host {
  return { netns: netnsName(suite, 'tapline', segment.name), ...segment.host };
}

async function addHosts(context: Context, names: readonly string[]): Promise<void> {
  await addNamespaces(context, names);
  await enableIpv6(context, names);
}

/** Its gateways are the first addresses of its subnets, as a segment's router is. */
function networkOf(segment: Segment, more: object): object {
  return { subnets: segment.subnets, ...more };
}
