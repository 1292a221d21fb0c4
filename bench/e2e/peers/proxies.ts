/**
 * Load balancers that are programs of the host: haproxy in TCP mode and nginx's stream module, on a machine with the kernel's bridge.
 * They end each connection and open another one, so backends see the machine's address, not the client's. Set up as who is after
 * throughput sets them up: no log, no health checks, room for many connections, and all ports for those to backends.
 */

import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Context, PeerName } from '../context.js';
import { childrenOf } from '../cpu.js';
import { enoughPorts, inNamespace } from '../namespaces.js';
import { run, startDaemon } from '../processes.js';
import { balancedSite, HTTP_SERVICE, SAME_BACKEND_SERVICE, type Service } from './balanced.js';
import { type BridgeMachine, bridgeMachine } from './bridge-machine.js';
import { expectStreamModule } from './nginx-modules.js';
import type { Site } from './peer.js';
import { BACKENDS, WIRE } from './segment.js';

/** Connections at once, twice that of descriptors: far more than any scenario has. */
const MAX_CONNECTIONS = 4096;
/** Connections that wait to be accepted. */
const BACKLOG = 4096;
/** What is read from a socket at once. */
const BUFFER_BYTES = 65_536;

/** One thread: the most that it makes of one processor's time. */
export function haproxy(context: Context): Promise<Site> {
  return startHaproxy(context, 'haproxy', 1);
}

/** Two threads, each with a listening socket of its own. */
export function haproxyTwoThreads(context: Context): Promise<Site> {
  return startHaproxy(context, 'haproxy-2', 2);
}

async function startHaproxy(context: Context, peer: PeerName, threads: number): Promise<Site> {
  const built = await buildMachine(context, peer);
  const file = join(context.directory, `${peer}.cfg`);
  writeFileSync(file, haproxyConfiguration(threads));
  // -db: in the foreground.
  const switchPid = await startProxy(context, built.machine, ['haproxy', '-db', '-f', file]);
  return balancedSite(peer, built, { switchPid, engine: null });
}

/**
 * smart-*: no acknowledgement of its own where data follows at once. Buffers of 64 KiB move bulk in fewer calls, and cost less a byte than
 * splicing from socket to socket (option splice-auto) does here.
 */
function haproxyConfiguration(threads: number): string {
  const service = ({ name, port }: Service, balance: string) => [
    `listen ${name}`,
    `  bind ${WIRE.router.address}:${port} backlog ${BACKLOG} shards by-thread`,
    `  balance ${balance}`,
    ...BACKENDS.map(({ address }, index) => `  server backend${index} ${address}:${port}`),
  ];
  return [
    'global',
    `  nbthread ${threads}`,
    `  maxconn ${MAX_CONNECTIONS}`,
    `  tune.bufsize ${BUFFER_BYTES}`,
    'defaults',
    '  mode tcp',
    '  option tcp-smart-accept',
    '  option tcp-smart-connect',
    '  timeout connect 5s',
    '  timeout client 60s',
    '  timeout server 60s',
    ...service(HTTP_SERVICE, 'roundrobin'),
    ...service(SAME_BACKEND_SERVICE, 'source'),
    '',
  ].join('\n');
}

/** As many workers as there are processors, which is what Debian's configuration has. */
export async function nginx(context: Context): Promise<Site> {
  const built = await buildMachine(context, 'nginx');
  const workers = availableParallelism();
  const file = join(context.directory, 'nginx.conf');
  writeFileSync(
    file,
    nginxConfiguration(workers, join(context.directory, 'nginx.pid'), await expectStreamModule(context)),
  );
  // -e: not into the host's own log.
  const argv = ['nginx', '-p', context.directory, '-e', 'stderr', '-c', file];
  const hasWorkers = (pid: number) => childrenOf(pid).length === workers;
  const switchPid = await startProxy(context, built.machine, argv, hasWorkers);
  return balancedSite('nginx', built, { switchPid, workerPids: childrenOf(switchPid), engine: null });
}

/** `zone`: workers share the turn, so that backends are asked exactly in turn. @param module line that loads it, or nothing */
function nginxConfiguration(workers: number, pidFile: string, module: string): string {
  const service = ({ name, port }: Service, balance: readonly string[]) => [
    `upstream ${name} {`,
    ...balance,
    ...BACKENDS.map(({ address }) => `server ${address}:${port} max_fails=0;`),
    '}',
    `server { listen ${WIRE.router.address}:${port} reuseport backlog=${BACKLOG}; proxy_pass ${name}; }`,
  ];
  return [
    module,
    'daemon off;',
    `pid ${pidFile};`,
    'error_log stderr error;',
    `worker_processes ${workers};`,
    `worker_rlimit_nofile ${2 * MAX_CONNECTIONS};`,
    `events { worker_connections ${MAX_CONNECTIONS}; }`,
    'stream {',
    `proxy_buffer_size ${BUFFER_BYTES};`,
    ...service(HTTP_SERVICE, ['zone web 64k;']),
    ...service(SAME_BACKEND_SERVICE, ['hash $remote_addr;']),
    '}',
    '',
  ].join('\n');
}

async function buildMachine(context: Context, peer: PeerName): Promise<BridgeMachine> {
  const built = await bridgeMachine(context, 'lb', peer, BACKENDS);
  await enoughPorts(context, built.machine);
  return built;
}

/** Starts a balancer that says nothing of being ready: it is once it listens for both services, and `more` holds. */
function startProxy(
  context: Context,
  netns: string,
  argv: readonly string[],
  more: (pid: number) => boolean = () => true,
): Promise<number> {
  const isReady = async (pid: number) => (await listensForAll(context, netns)) && more(pid);
  return startDaemon(inNamespace(netns, argv), context.scope, {
    interrupt: context.interrupt,
    isReady,
    timeoutMs: 10_000,
  });
}

async function listensForAll(context: Context, netns: string): Promise<boolean> {
  const sockets = await run(inNamespace(netns, ['ss', '-Hltn']), context);
  return [HTTP_SERVICE, SAME_BACKEND_SERVICE].every(({ port }) => sockets.includes(`${WIRE.router.address}:${port} `));
}
