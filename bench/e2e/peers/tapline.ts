/** Tapline as users run it: `tapline up` with a configuration file, endpoints by namespace path. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Context } from '../context.js';
import { addNamespaces, netnsName, netnsPath } from '../namespaces.js';
import { run, startDaemon } from '../processes.js';
import { CLIENT_ADDRESS, type Host, SERVER_ADDRESS, type Site, SUBNET } from './peer.js';

/** Enough for 1,000 endpoints at the bar of 30 s for 500, doubled. */
const READY_TIMEOUT = 120_000;

export async function tapline(context: Context): Promise<Site> {
  const client = { netns: netnsName('tapline', 'client'), address: CLIENT_ADDRESS };
  const server = { netns: netnsName('tapline', 'server'), address: SERVER_ADDRESS };
  await addNamespaces(context, [client.netns, server.netns]);
  const { pid, engine } = await startTapline(context, 'pair', SUBNET, [client, server]);
  return { peer: 'tapline', client, server, switchPid: pid, engine };
}

/** A Tapline that is ready. */
export interface Instance {
  readonly pid: number;
  /** As its status says. */
  readonly engine: string;
  /** From the start of the process to its line `ready`. */
  readonly readySeconds: number;
}

/** Starts Tapline with one network of these hosts and waits until it is ready. `name` keeps instances apart. */
export async function startTapline(
  context: Context,
  name: string,
  subnet: string,
  hosts: readonly Host[],
): Promise<Instance> {
  const file = join(context.directory, `${name}.yaml`);
  writeFileSync(file, stringify(configuration(subnet, hosts)));
  const command = [process.execPath, join(context.root, 'bin/tapline.js')];
  const socket = join(context.directory, `${name}.sock`);
  const engine = context.options.engine === undefined ? [] : ['--engine', context.options.engine];
  const started = performance.now();
  const pid = await startDaemon([...command, 'up', '-f', file, '--socket', socket, ...engine], context.scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: READY_TIMEOUT,
  });
  const readySeconds = (performance.now() - started) / 1000;
  const status = JSON.parse(await run([...command, 'status', '--json', '--socket', socket], context));
  return { pid, engine: status.engine, readySeconds };
}

function configuration(subnet: string, hosts: readonly Host[]): object {
  const endpoints = hosts.map((host, index) => [
    `host${index}`,
    { network: 'bench', netns: netnsPath(host.netns), interface: 'eth0', addresses: [host.address] },
  ]);
  return { version: 1, networks: { bench: { subnets: [subnet] } }, endpoints: Object.fromEntries(endpoints) };
}
