/** Tapline as users run it: `tapline up` with a configuration file, endpoints by namespace path. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Context, PeerName } from '../context.js';
import { addNamespaces, netnsName, netnsPath } from '../namespaces.js';
import { run, startDaemon } from '../processes.js';
import { CLIENT_ADDRESS, type Host, SERVER_ADDRESS, type Site, SUBNET } from './peer.js';

/** Enough for 1,000 endpoints at the bar of 30 s for 500, doubled. */
const READY_TIMEOUT = 120_000;

/** As users run it: with the guards that are on by default. */
export function tapline(context: Context): Promise<Site> {
  return pair(context, 'tapline', {}, {});
}

/** Every guard of the bridge off. */
export function taplineOpen(context: Context): Promise<Site> {
  const network = {
    storm_control: { broadcast: 'off', multicast: 'off', unknown_unicast: 'off' },
    loop_protection: { enabled: false },
    multicast: { snooping: false },
  };
  return pair(context, 'tapline-open', network, { security: 'off' });
}

/** Every guard on: besides the default ones, VLANs, an isolation group and a limit for multicast. */
export function taplineGuarded(context: Context): Promise<Site> {
  const network = { vlan_filtering: true, isolated: true, fdb_full: 'drop', storm_control: { multicast: 10_000 } };
  return pair(context, 'tapline-guarded', network, { vlan: 10, isolation_group: 'pair' });
}

/** Two hosts on one network. @param network keys of the network, @param endpoint keys of each endpoint */
async function pair(context: Context, peer: PeerName, network: object, endpoint: object): Promise<Site> {
  const client = { netns: netnsName(peer, 'client'), address: CLIENT_ADDRESS };
  const server = { netns: netnsName(peer, 'server'), address: SERVER_ADDRESS };
  await addNamespaces(context, [client.netns, server.netns]);
  const { pid, engine } = await startTapline(context, peer, SUBNET, [client, server], network, endpoint);
  return { peer, client, server, switchPid: pid, engine };
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
  network: object = {},
  endpoint: object = {},
): Promise<Instance> {
  const file = join(context.directory, `${name}.yaml`);
  writeFileSync(file, stringify(configuration(subnet, hosts, network, endpoint)));
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

function configuration(subnet: string, hosts: readonly Host[], network: object, endpoint: object): object {
  const endpoints = hosts.map((host, index) => [
    `host${index}`,
    { network: 'bench', netns: netnsPath(host.netns), interface: 'eth0', addresses: [host.address], ...endpoint },
  ]);
  return {
    version: 1,
    networks: { bench: { subnets: [subnet], ...network } },
    endpoints: Object.fromEntries(endpoints),
  };
}
