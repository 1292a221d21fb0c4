/** Bulk TCP from client to server with iperf3. */

import type { Context, PeerName } from '../context.js';
import { inNamespace } from '../namespaces.js';
import type { Site } from '../peers/peer.js';
import { run, startDaemon } from '../processes.js';
import type { Scope } from '../scope.js';
import type { Measurement, Scenario } from './scenario.js';

const PORT = '5201';

export const tcpOneStream = tcp('tcp-1', 'TCP one stream', 1, { reference: 'kernel', bar: 0.85, aim: 1.0 });
export const tcpFourStreams = tcp('tcp-4', 'TCP four streams', 4, { reference: 'c-relay', bar: 0.9, aim: 1.1 });

interface Goal {
  readonly reference: PeerName;
  readonly bar: number;
  readonly aim: number;
}

function tcp(name: string, title: string, streams: number, goal: Goal): Scenario {
  return {
    name,
    title,
    unit: 'Gbit/s',
    better: 'higher',
    ...goal,
    peers: ['kernel', 'c-relay', 'tapline'],
    tools: ['iperf3'],
    prepare: serve,
    measure: (context, site, seconds) => send(context, site, seconds, streams),
  };
}

async function serve(context: Context, site: Site, scope: Scope): Promise<void> {
  const { netns, address } = site.server;
  await startDaemon(inNamespace(netns, ['iperf3', '-s', '-p', PORT, '-B', address, '--forceflush']), scope, {
    interrupt: context.interrupt,
    readyLine: /^Server listening/,
    timeoutMs: 5000,
  });
}

async function send(context: Context, site: Site, seconds: number, streams: number): Promise<Measurement> {
  const { netns } = site.client;
  const counts = ['-t', String(seconds), '-P', String(streams)];
  const argv = ['iperf3', '-c', site.server.address, '-p', PORT, ...counts, '--json'];
  return parseIperf(await run(inNamespace(netns, argv), context));
}

/** What arrived, from iperf3's JSON report of a TCP test. Throws with iperf3's own error, or when the report has no sums. */
export function parseIperf(text: string): Measurement {
  const report = JSON.parse(text);
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  const bits = report.end?.sum_received?.bits_per_second;
  const retransmits = report.end?.sum_sent?.retransmits;
  if (typeof bits !== 'number' || typeof retransmits !== 'number') throw new Error('iperf3: its report has no sums');
  return { value: bits / 1e9, details: { retransmits } };
}
