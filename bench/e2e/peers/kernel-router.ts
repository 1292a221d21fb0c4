/**
 * The kernel's own router: a namespace that forwards between two veth pairs, offloads as they come. With a container on each it
 * is what Docker has between two of its networks, less the rules; with the host outside on one, its way out without NAT.
 */

import type { Context } from '../context.js';
import { addNamespaces, configure, enableForwarding, enableIpv6, netnsName } from '../namespaces.js';
import type { Host, Site } from './peer.js';
import { BLUE, defaultRouteLines, interfaceLines, RED, routeLines, type Segment, WIRE } from './segment.js';

/** Container → network red → router → network blue → container. */
export function kernelRoute(context: Context): Promise<Site> {
  return join(context, 'route', RED, BLUE, defaultRouteLines(BLUE.router));
}

/** Container → network red → router → the wire → the host outside, which has a route back. */
export function kernelUplink(context: Context): Promise<Site> {
  return join(context, 'uplink', RED, WIRE, routeLines(RED, WIRE.router));
}

/** @param wayBack lines for `ip -batch` that give the far host its route to the near one */
async function join(
  context: Context,
  suite: string,
  near: Segment,
  far: Segment,
  wayBack: readonly string[],
): Promise<Site> {
  const router = netnsName(suite, 'kernel', 'router');
  const client: Host = { netns: netnsName(suite, 'kernel', near.name), ...near.host };
  const server: Host = { netns: netnsName(suite, 'kernel', far.name), ...far.host };
  const all = [router, client.netns, server.netns];
  await addNamespaces(context, all);
  await enableIpv6(context, all);
  await enableForwarding(context, [router]);
  await attach(context, router, near, client.netns, defaultRouteLines(near.router));
  await attach(context, router, far, server.netns, wayBack);
  return { peer: 'kernel', client, server, switchPid: null, engine: null };
}

/** The segment between router and host: one veth pair, named after it at the router's end. */
async function attach(
  context: Context,
  router: string,
  segment: Segment,
  netns: string,
  routes: readonly string[],
): Promise<void> {
  await configure(context, router, [
    `link add ${segment.name} type veth peer name eth0 netns ${netns}`,
    ...interfaceLines(segment.name, segment.router),
  ]);
  await configure(context, netns, [...interfaceLines('eth0', segment.host), ...routes]);
}
