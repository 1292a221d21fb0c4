/** Round trip of a lone UDP datagram: 500 a second, the median of their times. Goes where ping cannot: to a published port. */

import { join } from 'node:path';
import { median } from '../../statistics.js';
import type { Context } from '../context.js';
import { inNamespace } from '../namespaces.js';
import { askedAt, type Site } from '../peers/peer.js';
import { run, startDaemon } from '../processes.js';
import type { Scope } from '../scope.js';
import type { Goal, Measurement, Scenario } from './scenario.js';

export const ECHO_PORT = '9007';
/** Between datagrams; at 2 ms each finds the switch asleep. */
const INTERVAL_US = 2000;

export function udpRoundTrip(goal: Goal & Pick<Scenario, 'peers'>): Scenario {
  return {
    name: 'udp-ping',
    title: 'UDP round trip',
    unit: 'ms',
    better: 'lower',
    ...goal,
    tools: [],
    prepare: echo,
    measure: ask,
  };
}

async function echo(context: Context, site: Site, scope: Scope): Promise<void> {
  const { netns, address } = site.server;
  await startDaemon(inNamespace(netns, [join(context.binaries, 'udp-echo'), address, ECHO_PORT]), scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: 5000,
  });
}

async function ask(context: Context, site: Site, seconds: number): Promise<Measurement> {
  const count = String(Math.round((seconds * 1e6) / INTERVAL_US));
  const argv = [join(context.binaries, 'udp-ping'), askedAt(site.server), ECHO_PORT, count, String(INTERVAL_US)];
  return parseUdpPing(await run(inNamespace(site.client.netns, argv), context));
}

/** Median round trip in ms from the lines of udp-ping, with the mean and the loss. Throws when none came back. */
export function parseUdpPing(text: string): Measurement {
  const times = [...text.matchAll(/^time=([\d.]+)$/gm)].map((match) => Number(match[1]));
  if (times.length === 0) throw new Error(`udp-ping: no answer: ${text.trimEnd().split('\n').at(-1)}`);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const lost = Number(/^lost (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  return { value: median(times), details: { mean, lostPercent: (100 * lost) / (times.length + lost) } };
}
