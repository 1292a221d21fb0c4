/** bench/peers/relay.c: two devices joined by read and write in C, the least that a switch in user space can do. */

import { join } from 'node:path';
import type { Context } from '../context.js';
import { addNamespaces, configure, enableIpv6, netnsName, netnsPath } from '../namespaces.js';
import { startDaemon } from '../processes.js';
import { CLIENT_ADDRESS, type Host, ipv4Only, PREFIX_LENGTH, SERVER_ADDRESS, type Site } from './peer.js';
import { interfaceLines, WIRE } from './segment.js';

/** Container → TAP → relay → TAP → container. */
export async function cRelay(context: Context): Promise<Site> {
  const client = { netns: netnsName('relay', 'client'), address: CLIENT_ADDRESS };
  const server = { netns: netnsName('relay', 'server'), address: SERVER_ADDRESS };
  await addNamespaces(context, [client.netns, server.netns]);
  const taps = [client, server].map((host) => `${netnsPath(host.netns)}:eth0`);
  const switchPid = await startRelay(context, taps);
  await bringUp(context, client);
  await bringUp(context, server);
  return { peer: 'c-relay', client, server, switchPid, engine: null };
}

/** Container → TAP → relay → AF_PACKET socket → the wire → the host outside, without any translation. */
export async function cRelayNat(context: Context): Promise<Site> {
  const { container, outside, switchPid } = await ontoWire(context, 'nat');
  return { peer: 'c-relay', client: container, server: ipv4Only(outside), switchPid, engine: null };
}

/** The same from the host outside, which asks the container at its own address. */
export async function cRelayPublish(context: Context): Promise<Site> {
  const { container, outside, switchPid } = await ontoWire(context, 'publish');
  return { peer: 'c-relay', client: outside, server: container, switchPid, engine: null };
}

/** The container has the address on the wire that a router has with the other peers: nothing is between the two. */
async function ontoWire(
  context: Context,
  suite: string,
): Promise<{ container: Host; outside: Host; switchPid: number }> {
  const machine = netnsName(suite, 'relay', 'machine');
  const container: Host = { netns: netnsName(suite, 'relay', 'container'), ...WIRE.router };
  const outside: Host = { netns: netnsName(suite, 'relay', 'outside'), ...WIRE.host };
  await addNamespaces(context, [machine, container.netns, outside.netns]);
  await enableIpv6(context, [container.netns, outside.netns]);
  await configure(context, machine, [
    `link add up0 type veth peer name eth0 netns ${outside.netns}`,
    'link set up0 up',
  ]);
  await configure(context, outside.netns, interfaceLines('eth0', WIRE.host));
  const devices = [`${netnsPath(container.netns)}:eth0`, `packet:${netnsPath(machine)}:up0`];
  const switchPid = await startRelay(context, devices);
  await configure(context, container.netns, interfaceLines('eth0', WIRE.router));
  return { container, outside, switchPid };
}

function startRelay(context: Context, devices: readonly string[]): Promise<number> {
  return startDaemon([join(context.binaries, 'relay'), ...devices], context.scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: 5000,
  });
}

async function bringUp(context: Context, host: Host): Promise<void> {
  await configure(context, host.netns, [`address add ${host.address}/${PREFIX_LENGTH} dev eth0`, 'link set eth0 up']);
}
