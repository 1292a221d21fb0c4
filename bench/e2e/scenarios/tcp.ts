/** Bulk TCP from client to server with iperf3. */

import type { Context } from '../context.js';
import { inNamespace } from '../namespaces.js';
import { askedAt, askedAt6, type Host, type Site, serversOf } from '../peers/peer.js';
import { run, startDaemon } from '../processes.js';
import type { Scope } from '../scope.js';
import type { Goal, Measurement, Scenario } from './scenario.js';

export const IPERF_PORT = '5201';
/** Unit of figures that processor time can be divided by. */
export const GIGABITS = 'Gbit/s';

export interface TcpOptions extends Goal, Pick<Scenario, 'name' | 'title' | 'peers'> {
  readonly streams: number;
  /** Over IPv6; the hosts must have an address of it. */
  readonly ipv6?: boolean;
}

export function tcp({ streams, ipv6 = false, ...rest }: TcpOptions): Scenario {
  return {
    ...rest,
    unit: GIGABITS,
    better: 'higher',
    tools: ['iperf3'],
    prepare: (context, site, scope) => serve(context, site, scope, ipv6),
    measure: (context, site, seconds) => send(context, site, seconds, streams, ipv6),
  };
}

/** Of an address each family, the one that is wanted. */
function choose({ netns }: Host, ipv4: string, ipv6: string | undefined, wantsIpv6: boolean): string {
  if (!wantsIpv6) return ipv4;
  if (ipv6 === undefined) throw new Error(`${netns} has no IPv6 address`);
  return ipv6;
}

async function serve(context: Context, site: Site, scope: Scope, ipv6: boolean): Promise<void> {
  for (const server of serversOf(site)) {
    const address = choose(server, server.address, server.address6, ipv6);
    const argv = ['iperf3', '-s', '-p', IPERF_PORT, '-B', address, '--forceflush'];
    await startDaemon(inNamespace(server.netns, argv), scope, {
      interrupt: context.interrupt,
      readyLine: /^Server listening/,
      timeoutMs: 5000,
    });
  }
}

async function send(
  context: Context,
  site: Site,
  seconds: number,
  streams: number,
  ipv6: boolean,
): Promise<Measurement> {
  const { client, server } = site;
  const target = choose(server, askedAt(server), askedAt6(server), ipv6);
  const counts = ['-t', String(seconds), '-P', String(streams)];
  const argv = ['iperf3', '-c', target, '-p', IPERF_PORT, ...counts, '--json'];
  return parseIperf(await run(inNamespace(client.netns, argv), context));
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
