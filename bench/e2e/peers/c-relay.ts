/** bench/peers/relay.c: two TAPs joined by read and write in C, the least that a switch in user space can do. */

import { join } from 'node:path';
import type { Context } from '../context.js';
import { addNamespaces, configure, netnsName, netnsPath } from '../namespaces.js';
import { startDaemon } from '../processes.js';
import { CLIENT_ADDRESS, type Host, PREFIX_LENGTH, SERVER_ADDRESS, type Site } from './peer.js';

export async function cRelay(context: Context): Promise<Site> {
  const client = { netns: netnsName('relay', 'client'), address: CLIENT_ADDRESS };
  const server = { netns: netnsName('relay', 'server'), address: SERVER_ADDRESS };
  await addNamespaces(context, [client.netns, server.netns]);
  const taps = [client, server].map((host) => `${netnsPath(host.netns)}:eth0`);
  const switchPid = await startDaemon([join(context.binaries, 'relay'), ...taps], context.scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: 5000,
  });
  await bringUp(context, client);
  await bringUp(context, server);
  return { peer: 'c-relay', client, server, switchPid, engine: null };
}

async function bringUp(context: Context, host: Host): Promise<void> {
  await configure(context, host.netns, [`address add ${host.address}/${PREFIX_LENGTH} dev eth0`, 'link set eth0 up']);
}
