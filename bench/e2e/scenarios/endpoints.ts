/** Many endpoints on one switch: how long until all are attached, and what they cost while nothing is sent. Tapline alone. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.js';
import { processCpuNs, residentMiB } from '../cpu.js';
import { addNamespaces, inNamespace, netnsName } from '../namespaces.js';
import { oneNetwork, startTapline } from '../peers/instance.js';
import type { Host } from '../peers/peer.js';
import { run } from '../processes.js';

const SUBNET = '10.98.0.0/16';
/** Addresses from .0.2 to .255.254. */
export const ENDPOINTS_MAX = 65_533;
/** Let what attaching set off (announcements, compilation) pass before the idle time is measured. */
const SETTLE_MS = 5000;
const IDLE_MS = 10_000;

/** Bars of the issue, for any number of endpoints. */
export const ENDPOINT_BARS = { readySeconds: 30, idleCpuPercent: 2, residentMiB: 300 } as const;

export interface EndpointsResult {
  readonly endpoints: number;
  readonly engine: string;
  /** From the start of the process to its line `ready`. */
  readonly readySeconds: number;
  /** Of one processor, over IDLE_MS. */
  readonly idleCpuPercent: number;
  readonly residentMiB: number;
}

export async function measureEndpoints(context: Context): Promise<EndpointsResult> {
  const count = context.options.endpoints;
  const hosts = Array.from({ length: count }, (_, index) => hostOf(index));
  context.say(`endpoints: making ${count} namespaces`);
  await addNamespaces(
    context,
    hosts.map((host) => host.netns),
  );
  const { pid, engine, readySeconds } = await startTapline(context, 'many', oneNetwork(SUBNET, hosts));
  context.say(`endpoints: ready after ${readySeconds.toFixed(1)} s; measuring idle CPU`);
  await pingBetween(context, hosts[0] as Host, hosts[count - 1] as Host);
  await sleep(SETTLE_MS, undefined, { signal: context.interrupt });
  const idleCpuPercent = await idleCpu(context, pid);
  return { endpoints: count, engine, readySeconds, idleCpuPercent, residentMiB: residentMiB(pid) };
}

function hostOf(index: number): Host {
  const number = index + 2; // .0.1 is left to the gateway
  return { netns: netnsName('many', String(index)), address: `10.98.${number >> 8}.${number & 255}` };
}

/** Shows that the first and the last are attached: a switch that is idle since it does not work would look good. */
async function pingBetween(context: Context, from: Host, to: Host): Promise<void> {
  await run(inNamespace(from.netns, ['ping', '-n', '-q', '-c', '3', '-i', '0.2', '-W', '2', to.address]), context);
}

async function idleCpu(context: Context, pid: number): Promise<number> {
  const cpu = processCpuNs(pid);
  const started = performance.now();
  await sleep(IDLE_MS, undefined, { signal: context.interrupt });
  const elapsedNs = (performance.now() - started) * 1e6;
  return (100 * (processCpuNs(pid) - cpu)) / elapsedNs;
}
