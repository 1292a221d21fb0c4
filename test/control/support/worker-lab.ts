/** The real worker with namespaces on its ports: 172.30.0.2, .3 and so on, all on one network. */

import { execFileSync, spawnSync } from 'node:child_process';
import type { Worker } from 'node:worker_threads';
import type { ExecutionContext } from 'ava';
import { startDataplane } from '../../../control/dataplane.js';
import type { Dataplane, NetworkSpec, PortSpec } from '../../../control/types.js';
import { attachTap, type Tap } from '../../../io/tap.js';

const PLAIN_NETWORK: NetworkSpec = {
  name: 'blue',
  ageingSeconds: 300,
  fdbLimit: 1000,
  fdbFull: 'flood',
  vlanProtocol: 0,
  multicast: { snooping: false, querier: false, unregistered: 'flood' },
  loop: { moves: 0, quarantine: 0 },
};

export const silent = { info: () => {}, warn: () => {}, error: () => {} };
let made = 0;

export interface Lab {
  readonly dataplane: Dataplane;
  readonly names: string[];
  readonly taps: Tap[];
  readonly network: number;
  readonly ports: number[];
}

export interface LabOptions {
  readonly hosts?: number;
  readonly network?: Partial<NetworkSpec>;
  /** More of a port. @param at from 0 */
  readonly port?: (at: number) => Partial<PortSpec>;
}

export function macOf(at: number): string {
  return `02:42:ac:1e:00:0${at + 2}`;
}

export function addressOf(at: number): string {
  return `172.30.0.${at + 2}`;
}

/** Namespaces on one switch; two where nothing else is said. */
export async function makeLab(
  t: ExecutionContext,
  engine: 'uring' | 'epoll',
  { hosts = 2, network: more = {}, port = () => ({}) }: LabOptions = {},
): Promise<Lab> {
  const names = Array.from({ length: hosts }, () => `tl-dp-${process.pid}-${++made}`);
  t.teardown(() => {
    for (const name of names) spawnSync('ip', ['netns', 'del', name]);
  });
  const dataplane = await startDataplane({ engine, logger: silent });
  t.teardown(() => dataplane.stop());
  const network = await dataplane.addNetwork({ ...PLAIN_NETWORK, ...more });
  const taps: Tap[] = [];
  const ports: number[] = [];
  for (const [at, name] of names.entries()) {
    execFileSync('ip', ['netns', 'add', name]);
    const tap = await attachTap({
      netns: `/run/netns/${name}`,
      interface: 'eth0',
      mac: macOf(at),
      mtu: 1500,
      addresses: [`${addressOf(at)}/24`],
      alias: `tapline:${name}`,
    });
    t.teardown(() => tap.detach());
    taps.push(tap);
    ports.push(await dataplane.addPort({ kind: 'tap', name, network, fd: tap.fd, ...port(at) }));
  }
  return { dataplane, names, taps, network, ports };
}

/** From the first host to the second. */
export function ping(lab: Lab): boolean {
  const command = ['ping', '-q', '-c', '3', '-i', '0.05', '-W', '1', addressOf(1)];
  return spawnSync('ip', ['netns', 'exec', lab.names[0], ...command]).status === 0;
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

/** Ends the worker as a crash would; resolves when the supervisor has noticed, and not yet replaced it. */
export async function kill(dataplane: Dataplane): Promise<void> {
  const { worker } = dataplane as unknown as { worker: Worker };
  await worker.terminate();
}

/** Waits for the worker that follows so many that died. */
export function restarted(dataplane: Dataplane, times: number): Promise<boolean> {
  return until(async () => (await dataplane.status().catch(() => null))?.workerRestarts === times);
}
