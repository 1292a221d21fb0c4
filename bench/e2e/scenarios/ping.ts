/** Round trip of a lone packet: 500 echo requests a second, the median of their times. */

import { median } from '../../statistics.js';
import type { Context } from '../context.js';
import { inNamespace } from '../namespaces.js';
import { askedAt, type Site } from '../peers/peer.js';
import { run } from '../processes.js';
import type { Goal, Measurement, Scenario } from './scenario.js';

/** Seconds between requests; at 2 ms each finds the switch asleep. */
const INTERVAL = 0.002;

export function pingRoundTrip(goal: Goal & Pick<Scenario, 'peers'>): Scenario {
  return {
    name: 'ping',
    title: 'ping round trip',
    unit: 'ms',
    better: 'lower',
    ...goal,
    tools: ['ping'],
    prepare: async () => {}, // the kernel answers
    measure: ask,
  };
}

async function ask(context: Context, site: Site, seconds: number): Promise<Measurement> {
  const count = String(Math.round(seconds / INTERVAL));
  const argv = ['ping', '-n', '-i', String(INTERVAL), '-c', count, askedAt(site.server)];
  return parsePing(await run(inNamespace(site.client.netns, argv), context));
}

/** Median round trip in ms from the lines of ping (iputils), with the mean and the loss. Throws when none came back. */
export function parsePing(text: string): Measurement {
  const times = [...text.matchAll(/ time=([\d.]+) ms$/gm)].map((match) => Number(match[1]));
  if (times.length === 0) throw new Error(`ping: no answer: ${text.trimEnd().split('\n').at(-1)}`);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const lostPercent = Number(/([\d.]+)% packet loss/.exec(text)?.[1] ?? Number.NaN);
  return { value: median(times), details: { mean, lostPercent } };
}
