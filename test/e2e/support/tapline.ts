/** Tapline itself, as its users run it: `tapline up -f FILE` in the foreground, and commands beside it. */

import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { StatusView } from '../../../control/api.js';
import type { EventView } from '../../../control/events.js';
import type { DropsView, EndpointView, FdbView, MdbView, PortView } from '../../../control/views.js';
import type { Namespace } from './namespace.js';
import { type Background, describe, must, type Result, run, start } from './process.js';
import { eventually, settled } from './wait.js';

export const PROGRAM = resolve('bin/tapline.js');

export type Engine = 'uring' | 'epoll';
export const ENGINES: readonly Engine[] = ['uring', 'epoll'];

export interface StartOptions {
  readonly engine?: Engine | 'auto';
  /** Namespace that the daemon itself runs in, where its uplink is. */
  readonly netns?: Namespace;
  readonly env?: Readonly<Record<string, string>>;
  /** Put in front of the command: programs that take something away from the daemon. */
  readonly prefix?: readonly string[];
  readonly socket?: string;
}

export interface Tapline {
  readonly pid: number;
  readonly socket: string;
  readonly process: Background;
  /** Runs a command against this daemon, whatever its exit code. */
  cli(...argv: string[]): Promise<Result>;
  /** Runs a command that must succeed. */
  ok(...argv: string[]): Promise<string>;
  /** The command line of a command against this daemon. */
  argv(...argv: string[]): string[];
  ports(): Promise<PortView[]>;
  port(name: string): Promise<PortView>;
  endpoints(): Promise<EndpointView[]>;
  fdb(): Promise<FdbView[]>;
  /** Name of the port behind which a MAC is known, or undefined. */
  fdbPort(mac: string): Promise<string | undefined>;
  mdb(): Promise<MdbView[]>;
  /** The last things that happened, oldest first. */
  events(): Promise<EventView[]>;
  drops(): Promise<DropsView>;
  status(): Promise<StatusView>;
  /** What must be as before once all is over: descriptors, slots, ports and FDB entries. */
  holdings(): Promise<Holdings>;
  /** Totals once nothing is in flight any more. */
  quiet(): Promise<DropsView>;
  /** SIGTERM; rejects unless the exit code is 0. */
  stop(): Promise<void>;
  /** The test has ended it by other means; the end of the test does not ask how it fares. */
  forget(): void;
}

export interface Holdings {
  readonly descriptors: number;
  readonly freeSlots: number;
  readonly ports: readonly string[];
  readonly fdbEntries: number;
}

export interface Prepared {
  readonly argv: string[];
  readonly socket: string;
  readonly file: string;
  readonly directory: string;
}

/** A configuration (an object, or text as it stands in a file) in a file of its own, and the command that brings it up. */
export function prepare(t: ExecutionContext, config: object | string, options: StartOptions = {}): Prepared {
  const directory = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'tapline.yaml');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config)); // JSON is YAML
  const socket = options.socket ?? join(directory, 's');
  const command = [
    process.execPath,
    PROGRAM,
    'up',
    '-f',
    file,
    '--socket',
    socket,
    '--engine',
    options.engine ?? 'auto',
  ];
  const prefixed = [...(options.prefix ?? []), ...command];
  return { argv: options.netns === undefined ? prefixed : options.netns.argv(...prefixed), socket, file, directory };
}

/**
 * Brings a configuration up; resolves when it says `ready`. At the end of the test it must still run, unless the test has
 * stopped it, must never have restarted its worker nor dropped a frame by a mistake of its own, and must end well.
 */
export async function startTapline(
  t: ExecutionContext,
  config: object | string,
  options: StartOptions = {},
): Promise<Tapline> {
  const { argv, socket } = prepare(t, config, options);
  const daemon = start(t, argv, options.env);
  await daemon.said(/^ready$/m, 60_000);
  const tapline = handle(daemon, socket);
  let stopped = false;
  const stop = async (): Promise<void> => {
    stopped = true;
    await tapline.stop();
  };
  t.teardown(async () => {
    if (stopped) return;
    const { workerRestarts, totals } = await tapline.status();
    await stop();
    if (workerRestarts !== 0) throw new Error(`the worker restarted ${workerRestarts} times: ${daemon.stderr()}`);
    if (totals.rxDrops.internal_error !== undefined) throw new Error('frames were dropped as internal_error');
  });
  const forget = (): void => {
    stopped = true;
  };
  return { ...tapline, stop, forget };
}

/** Runs a configuration that cannot come up to its end, which must come by itself. */
export async function failTapline(
  t: ExecutionContext,
  config: object | string,
  options: StartOptions = {},
): Promise<Result & { readonly file: string; readonly socket: string }> {
  const { argv, file, socket } = prepare(t, config, options);
  const result = await run(argv, { ...(options.env === undefined ? {} : { env: options.env }) });
  return { ...result, file, socket };
}

/** Open descriptors of a process, leaving out its connections on `socket`: those of our own questions close when they like. */
function descriptors(pid: number, socket: string): number {
  const connections = readFileSync(`/proc/${pid}/net/unix`, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(` ${socket}`))
    .map((line) => `socket:[${line.trim().split(/\s+/)[6]}]`);
  const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return 'closed in between';
    }
  });
  return targets.filter((target) => !connections.includes(target)).length;
}

/** What the API answers. The commands print the same, but each takes the start of a Node process. */
function get<T>(socketPath: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, agent: false }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      incoming.on('error', reject);
      incoming.on('end', () => {
        if (incoming.statusCode === 200) resolve(JSON.parse(body) as T);
        else reject(new Error(`GET ${path}: ${incoming.statusCode} ${body}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

function handle(daemon: Background, socket: string): Tapline {
  const argv = (...rest: string[]): string[] => [process.execPath, PROGRAM, '--socket', socket, ...rest];
  const ok = (...rest: string[]): Promise<string> => must(argv(...rest));
  const ports = (): Promise<PortView[]> => get(socket, '/v1/ports');
  const fdb = (): Promise<FdbView[]> => get(socket, '/v1/fdb');
  const drops = (): Promise<DropsView> => get(socket, '/v1/drops');
  const status = (): Promise<StatusView> => get(socket, '/v1/status');
  return {
    pid: daemon.pid,
    socket,
    process: daemon,
    argv,
    cli: (...rest) => run(argv(...rest)),
    ok,
    ports,
    endpoints: () => get(socket, '/v1/endpoints'),
    fdb,
    mdb: () => get(socket, '/v1/mdb'),
    events: () => get(socket, '/v1/events'),
    drops,
    status,
    port: async (name) => {
      const port = (await ports()).find((each) => each.name === name);
      if (port === undefined) throw new Error(`no port ${name}`);
      return port;
    },
    fdbPort: async (mac) => (await fdb()).find((entry) => entry.mac === mac)?.port,
    holdings: async () => {
      const { freeSlots, fdbEntries } = await status();
      return {
        descriptors: descriptors(daemon.pid, socket),
        freeSlots,
        ports: (await ports()).map(({ name }) => name),
        fdbEntries,
      };
    },
    quiet: () => settled('the counters', drops),
    forget: () => {},
    stop: async () => {
      const result = await daemon.stop('SIGTERM');
      if (result.code !== 0) throw new Error(`tapline up: ${describe(result)}`);
    },
  };
}

/**
 * Waits until the daemon holds again what it held before. The message shows both when it does not.
 *
 * @param before without `fdbEntries` where they are another number now; void ones count until they are swept
 */
export async function backTo(
  tapline: Tapline,
  before: Omit<Holdings, 'fdbEntries'> & Partial<Holdings>,
): Promise<void> {
  let now = await tapline.holdings();
  try {
    await eventually('nothing to be left over', async () => {
      now = await tapline.holdings();
      return JSON.stringify(now) === JSON.stringify({ ...now, ...before });
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(before)} became ${JSON.stringify(now)}`);
  }
}
