/** A running Tapline: `tapline up` with a generated file. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Context } from '../context.js';
import { inNamespace, netnsPath } from '../namespaces.js';
import { run, startDaemon } from '../processes.js';
import type { Host } from './peer.js';

/** Enough for 1,000 endpoints at the bar of 30 s for 500, doubled. */
const READY_TIMEOUT = 120_000;

/** A Tapline that is ready. */
export interface Instance {
  readonly pid: number;
  /** As its status says. */
  readonly engine: string;
  /** From the start of the process to its line `ready`. */
  readonly readySeconds: number;
}

/**
 * Starts Tapline and waits until it is ready.
 * @param name keeps the files of instances apart
 * @param configuration what the file is to say
 * @param netns namespace that is Tapline's host; null: where the benchmark runs
 */
export async function startTapline(
  context: Context,
  name: string,
  configuration: object,
  netns: string | null = null,
): Promise<Instance> {
  const file = join(context.directory, `${name}.yaml`);
  writeFileSync(file, stringify(configuration));
  const command = [process.execPath, join(context.root, 'bin/tapline.js')];
  const socket = join(context.directory, `${name}.sock`);
  const engine = context.options.engine === undefined ? [] : ['--engine', context.options.engine];
  const up = [...command, 'up', '-f', file, '--socket', socket, ...engine];
  const started = performance.now();
  const pid = await startDaemon(netns === null ? up : inNamespace(netns, up), context.scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: READY_TIMEOUT,
  });
  const readySeconds = (performance.now() - started) / 1000;
  const status = JSON.parse(await run([...command, 'status', '--json', '--socket', socket], context));
  return { pid, engine: status.engine, readySeconds };
}

/** An endpoint of the file: the host's `eth0` in a network. @param more further keys */
export function endpointOf(host: Host, network: string, more: object = {}): object {
  const addresses = host.address6 === undefined ? [host.address] : [host.address, host.address6];
  return { network, netns: netnsPath(host.netns), interface: 'eth0', addresses, ...more };
}

/** A file with one network. @param network further keys of it, @param endpoint further keys of each endpoint */
export function oneNetwork(
  subnet: string,
  hosts: readonly Host[],
  network: object = {},
  endpoint: object = {},
): object {
  const endpoints = hosts.map((host, index) => [`host${index}`, endpointOf(host, 'bench', endpoint)]);
  return {
    version: 1,
    networks: { bench: { subnets: [subnet], ...network } },
    endpoints: Object.fromEntries(endpoints),
  };
}
