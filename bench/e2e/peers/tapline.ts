/** Tapline as users run it: `tapline up` with a configuration file, endpoints by namespace path. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Context } from '../context.js';
import { addNamespaces, netnsName, netnsPath } from '../namespaces.js';
import { startDaemon } from '../processes.js';
import { CLIENT_ADDRESS, type Host, SERVER_ADDRESS, type Site, SUBNET } from './peer.js';

/** Enough for 1,000 endpoints at the bar of 30 s for 500, doubled. */
const READY_TIMEOUT = 120_000;

export async function tapline(context: Context): Promise<Site> {
  const client = { netns: netnsName('tapline', 'client'), address: CLIENT_ADDRESS };
  const server = { netns: netnsName('tapline', 'server'), address: SERVER_ADDRESS };
  await addNamespaces(context, [client.netns, server.netns]);
  const switchPid = await startTapline(context, 'pair', SUBNET, [client, server]);
  return { peer: 'tapline', client, server, switchPid };
}

/** Starts Tapline with one network of these hosts, waits until it is ready, and gives its pid. `name` keeps instances apart. */
export async function startTapline(
  context: Context,
  name: string,
  subnet: string,
  hosts: readonly Host[],
): Promise<number> {
  const file = join(context.directory, `${name}.yaml`);
  writeFileSync(file, stringify(configuration(subnet, hosts)));
  const engine = context.options.engine === undefined ? [] : ['--engine', context.options.engine];
  const argv = [process.execPath, join(context.root, 'bin/tapline.js'), 'up', '-f', file];
  return await startDaemon([...argv, '--socket', join(context.directory, `${name}.sock`), ...engine], context.scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: READY_TIMEOUT,
  });
}

function configuration(subnet: string, hosts: readonly Host[]): object {
  const endpoints = hosts.map((host, index) => [
    `host${index}`,
    { network: 'bench', netns: netnsPath(host.netns), interface: 'eth0', addresses: [host.address] },
  ]);
  return { version: 1, networks: { bench: { subnets: [subnet] } }, endpoints: Object.fromEntries(endpoints) };
}
