/** New connections: wrk asks with `Connection: close`, so that each request costs a handshake and a teardown. */

import { join } from 'node:path';
import type { Context } from '../context.js';
import { inNamespace } from '../namespaces.js';
import { askedAt, type Site } from '../peers/peer.js';
import { run, startDaemon } from '../processes.js';
import type { Scope } from '../scope.js';
import type { Goal, Measurement, Scenario } from './scenario.js';

export const HTTP_PORT = '8080';
/** Connections open at once. */
const CONNECTIONS = '32';

export function newHttpConnections(goal: Goal & Pick<Scenario, 'peers'>): Scenario {
  return {
    name: 'http',
    title: 'new HTTP connections',
    unit: '/s',
    better: 'higher',
    ...goal,
    tools: ['wrk'],
    prepare: serve,
    measure: ask,
  };
}

/**
 * Thousands of connections a second use up the client's ports within seconds: a closed one waits 60 s in TIME_WAIT, and
 * a client that has to search for a free port would be the bottleneck. Holds in the client's namespace alone.
 */
const ENOUGH_PORTS = 'cd /proc/sys/net/ipv4 && echo 1024 65535 > ip_local_port_range && echo 1 > tcp_tw_reuse';

async function serve(context: Context, site: Site, scope: Scope): Promise<void> {
  await run(inNamespace(site.client.netns, ['sh', '-c', ENOUGH_PORTS]), context);
  const { netns, address } = site.server;
  await startDaemon(inNamespace(netns, [join(context.binaries, 'httpd'), address, HTTP_PORT]), scope, {
    interrupt: context.interrupt,
    readyLine: 'ready',
    timeoutMs: 5000,
  });
}

async function ask(context: Context, site: Site, seconds: number): Promise<Measurement> {
  const load = ['-t', '1', '-c', CONNECTIONS, '-d', `${seconds}s`, '-H', 'Connection: close'];
  const argv = ['wrk', ...load, `http://${askedAt(site.server)}:${HTTP_PORT}/`];
  return parseWrk(await run(inNamespace(site.client.netns, argv), context));
}

/** Requests per second and failed ones from wrk's report. Throws when wrk reports none answered. */
export function parseWrk(text: string): Measurement {
  const rate = Number(/^Requests\/sec:\s+([\d.]+)$/m.exec(text)?.[1]);
  if (!(rate > 0)) throw new Error(`wrk: no request was answered: ${text.trimEnd().split('\n').at(-1)}`);
  const errors = /^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$/m.exec(text);
  const failed = errors === null ? 0 : errors.slice(1).reduce((sum, count) => sum + Number(count), 0);
  return { value: rate, details: { failed } };
}
