/** What a small packet costs the switch: UDP in 64-byte frames at a fixed rate, processor time divided by packets delivered. */

import { join } from 'node:path';
import type { Context } from '../context.js';
import { processCpuNs } from '../cpu.js';
import { inNamespace } from '../namespaces.js';
import type { Host, Site } from '../peers/peer.js';
import { run, startDaemon } from '../processes.js';
import type { Scope } from '../scope.js';
import type { Goal, Measurement, Scenario } from './scenario.js';

const PORT = '9000';

/** @param rate packets a second: at a low one the switch wakes for few packets at a time, at a high one it finds batches */
export function packetCpu(rate: number, goal: Goal & Pick<Scenario, 'peers'>): Scenario {
  return {
    name: `cpu-${rate / 1000}k`,
    title: `switch CPU per 64-byte packet, ${rate / 1000} k/s`,
    unit: 'ns',
    better: 'lower',
    ...goal,
    tools: [],
    prepare: sink,
    measure: (context, site, seconds) => send(context, site, seconds, rate),
  };
}

async function sink(context: Context, site: Site, scope: Scope): Promise<void> {
  const { netns, address } = site.server;
  await startDaemon(inNamespace(netns, [join(context.binaries, 'sink'), address, PORT]), scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: 5000,
  });
}

async function send(context: Context, site: Site, seconds: number, rate: number): Promise<Measurement> {
  if (site.switchPid === null) throw new Error(`${site.peer} has no process whose time could be read`);
  const argv = [join(context.binaries, 'sender'), site.server.address, PORT, String(rate), String(seconds)];
  const packets = await receivedPackets(context, site.server);
  const cpu = processCpuNs(site.switchPid);
  const sent = Number(await run(inNamespace(site.client.netns, argv), context));
  const spent = processCpuNs(site.switchPid) - cpu;
  const delivered = (await receivedPackets(context, site.server)) - packets;
  if (!(delivered > 0)) throw new Error(`none of ${sent} packets arrived at ${site.server.address}`);
  const lostPercent = Math.max(0, (100 * (sent - delivered)) / sent);
  return { value: spent / delivered, details: { deliveredPerSecond: delivered / seconds, lostPercent } };
}

/** Packets that a host's eth0 has received so far. */
async function receivedPackets(context: Context, host: Host): Promise<number> {
  const text = await run(['ip', '-n', host.netns, '-json', '-statistics', 'link', 'show', 'eth0'], context);
  return JSON.parse(text)[0].stats64.rx.packets;
}
