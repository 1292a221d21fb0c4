/** HTTP requests by wrk: each on a new connection, which costs a handshake and a teardown; or one after the other on open ones. */

import { join } from 'node:path';
import type { Context } from '../context.js';
import { enoughPorts, inNamespace } from '../namespaces.js';
import { askedAt, type Host, type Site, serversOf } from '../peers/peer.js';
import { run, startDaemon } from '../processes.js';
import type { Scope } from '../scope.js';
import type { Goal, Measurement, Scenario } from './scenario.js';

export const HTTP_PORT = '8080';
/** Connections open at once. */
const CONNECTIONS = '32';

export function newHttpConnections(goal: Goal & Pick<Scenario, 'peers'>): Scenario {
  return { name: 'http', title: 'new HTTP connections', ...HTTP, ...goal, ...load(false) };
}

export function httpOnOpenConnections(goal: Goal & Pick<Scenario, 'peers'>): Scenario {
  return { name: 'http-open', title: 'HTTP on open connections', ...HTTP, ...goal, ...load(true) };
}

const HTTP = { unit: '/s', better: 'higher', tools: ['wrk'] } as const;

function load(keepAlive: boolean): Pick<Scenario, 'prepare' | 'measure'> {
  return {
    prepare: (context, site, scope) => serve(context, site, scope, keepAlive),
    measure: (context, site, seconds) => ask(context, site, seconds, keepAlive),
  };
}

async function serve(context: Context, site: Site, scope: Scope, keepAlive: boolean): Promise<void> {
  await enoughPorts(context, site.client.netns);
  for (const { netns, address } of serversOf(site)) {
    const argv = [join(context.binaries, 'httpd'), address, HTTP_PORT, ...(keepAlive ? ['keep-alive'] : [])];
    await startDaemon(inNamespace(netns, argv), scope, {
      interrupt: context.interrupt,
      readyLine: 'ready',
      timeoutMs: 5000,
    });
  }
}

async function ask(context: Context, site: Site, seconds: number, keepAlive: boolean): Promise<Measurement> {
  const options = [
    '-t',
    '1',
    '-c',
    CONNECTIONS,
    '-d',
    `${seconds}s`,
    ...(keepAlive ? [] : ['-H', 'Connection: close']),
  ];
  const argv = ['wrk', ...options, `http://${askedAt(site.server)}:${HTTP_PORT}/`];
  const servers = serversOf(site);
  if (servers.length === 1) return parseWrk(await run(inNamespace(site.client.netns, argv), context));
  const before = await acceptedByEach(context, servers);
  const { value, details } = parseWrk(await run(inNamespace(site.client.netns, argv), context));
  const after = await acceptedByEach(context, servers);
  const shares = after.map((count, index) => count - (before[index] as number));
  return { value, details: { ...details, leastSharePercent: leastSharePercent(shares) } };
}

/** What the host with the fewest has of the whole: 50 where two have as many. Throws when none has any. */
export function leastSharePercent(counts: readonly number[]): number {
  const sum = counts.reduce((total, count) => total + count, 0);
  if (sum === 0) throw new Error('no server has accepted a connection');
  return (100 * Math.min(...counts)) / sum;
}

async function acceptedByEach(context: Context, servers: readonly Host[]): Promise<number[]> {
  const counts: number[] = [];
  for (const { netns } of servers)
    counts.push(parseAccepted(await run(inNamespace(netns, ['cat', '/proc/net/snmp']), context)));
  return counts;
}

/** TCP connections that a namespace has accepted so far: PassiveOpens of /proc/net/snmp (RFC 4022, tcpPassiveOpens). */
export function parseAccepted(text: string): number {
  const [names, values] = [...text.matchAll(/^Tcp: (.*)$/gm)].map((match) => (match[1] as string).split(' '));
  const count = Number(values?.[names?.indexOf('PassiveOpens') ?? -1]);
  if (!Number.isInteger(count)) throw new Error('/proc/net/snmp has no PassiveOpens');
  return count;
}

/** Requests per second and failed ones from wrk's report. Throws when wrk reports none answered. */
export function parseWrk(text: string): Measurement {
  const rate = Number(/^Requests\/sec:\s+([\d.]+)$/m.exec(text)?.[1]);
  if (!(rate > 0)) throw new Error(`wrk: no request was answered: ${text.trimEnd().split('\n').at(-1)}`);
  const errors = /^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$/m.exec(text);
  const failed = errors === null ? 0 : errors.slice(1).reduce((sum, count) => sum + Number(count), 0);
  return { value: rate, details: { failed } };
}
