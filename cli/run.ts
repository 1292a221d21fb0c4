/**
 * `tapline run`: a command in a fresh network and mount namespace, attached to a network for as long as it runs.
 *
 * `unshare` makes the namespaces and becomes a small shell script, which prepares the inside, says so on descriptor 3,
 * waits there until we have attached the endpoint, and then becomes the command. Descriptor 3 is a socket pair: when we
 * die before the word is given, the script reads the end of file and leaves.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Command } from 'commander';
import { firstLine, TaplineError } from '../control/errors.js';
import type { EndpointView } from '../control/views.js';
import type { ApiClient } from './client.js';
import { type ConnectOptions, endpointBody, withEndpointOptions } from './connect.js';
import { type Context, clientOf, collect, ExitError, usageError, withSocket } from './context.js';
import { endpointPath } from './disconnect.js';

interface RunOptions extends ConnectOptions {
  readonly network: string;
  readonly hostname?: string;
  readonly dns?: string[];
}

const EXAMPLES = `
The command has its own network namespace with "lo" and the endpoint's interface, /etc/resolv.conf and /etc/hosts; all else is the host's. Its exit code is ours (128 and the signal's number when
a signal ended it).

Examples:
  tapline run --network blue -- bash
  tapline run --network blue --name web --address 172.30.0.80 -- python3 -m http.server 80`;

/** Exit code of docker run and of shells for what went wrong before the command began. */
const SETUP_FAILED = 125;

const RESOLV_CONF = '/etc/resolv.conf';
const HOSTS = '/etc/hosts';

/** Runs inside, as root of the new namespaces. Arguments: files to bind in place of those in /etc or "", host name or "", the command. */
const INSIDE = `
resolv=$1; hosts=$2; host=$3; shift 3
if [ -n "$host" ]; then echo "$host" > /proc/sys/kernel/hostname || exit ${SETUP_FAILED}; fi
if [ -n "$resolv" ]; then mount --bind "$resolv" /etc/resolv.conf || exit ${SETUP_FAILED}; fi
if [ -n "$hosts" ]; then mount --bind "$hosts" /etc/hosts || exit ${SETUP_FAILED}; fi
ip link set dev lo up || exit ${SETUP_FAILED}
echo prepared >&3
read -r word <&3 || exit ${SETUP_FAILED}
[ "$word" = go ] || exit ${SETUP_FAILED}
exec 3>&-
exec "$@"
`;

/** Signals that go on to the command. The terminal sends SIGINT and SIGQUIT to the whole foreground group by itself. */
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;

/**
 * The text of the command's resolv.conf: the name servers asked for, else the host's own without those on loopback,
 * which from the new namespace would be somebody else.
 */
export function resolvConf(host: string, servers: readonly string[]): string {
  const lines = host.split('\n').filter((line) => line.trim() !== '' && !/^\s*[#;]/.test(line));
  const isServer = (line: string): boolean => /^\s*nameserver\s/.test(line);
  const isLoopback = (line: string): boolean => /^\s*nameserver\s+(127\.|::1\b)/.test(line);
  const kept =
    servers.length > 0
      ? [...servers.map((server) => `nameserver ${server}`), ...lines.filter((line) => !isServer(line))]
      : lines.filter((line) => !isLoopback(line));
  return ['# Made by tapline run.', ...kept, ''].join('\n');
}

/** Labels of letters, digits, `-` and `_`; 64 characters are all that the kernel keeps (__NEW_UTS_LEN, linux/utsname.h). */
const HOSTNAME = /^(?=.{1,64}$)[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$/i;

/** What the daemon does not get to see, and could not refuse. @throws ExitError */
function checkOptions({ dns = [], hostname }: RunOptions): void {
  const wrong = dns.find((server) => isIP(server) === 0);
  if (wrong !== undefined) throw usageError(`--dns: expected an IPv4 or IPv6 address, got ${JSON.stringify(wrong)}`);
  if (hostname !== undefined && !HOSTNAME.test(hostname)) {
    const expected = 'expected a host name of letters, digits, "-" and ".", 64 characters at most';
    throw usageError(`--hostname: ${expected}, got ${JSON.stringify(hostname)}`);
  }
}

function readHostFile(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // A host without the file: there is nothing to put ours over.
    return null;
  }
}

/** What became of the child: it said `prepared`, or it ended first. */
async function prepared(child: ChildProcess, link: Duplex): Promise<boolean> {
  const said = once(link, 'data').then(() => true);
  const ended = once(child, 'close').then(() => false);
  said.catch(() => undefined);
  ended.catch(() => undefined);
  return Promise.race([said, ended]);
}

function spawnInside(args: readonly string[], command: readonly string[]): ChildProcess {
  const all = ['--net', '--mount', ...args, ...command];
  return spawn('unshare', all, { stdio: ['inherit', 'inherit', 'inherit', 'pipe'] });
}

function passSignals(child: ChildProcess): () => void {
  const forward = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  const ignore = (): void => {};
  const fromTerminal = process.stdin.isTTY ? ignore : forward;
  for (const signal of FORWARDED) process.on(signal, forward);
  for (const signal of FROM_TERMINAL) process.on(signal, fromTerminal);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
    for (const signal of FROM_TERMINAL) process.off(signal, fromTerminal);
  };
}

/** The shell's rule: the code, or 128 and the number of the signal. */
function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  if (code !== null) return code;
  return 128 + (signal === null ? 0 : constants.signals[signal]);
}

/** Makes the namespaces; the child then waits on `link`. @throws TaplineError when it could not be prepared */
async function start(
  options: RunOptions,
  command: readonly string[],
  context: Context,
): Promise<{ child: ChildProcess; link: Duplex }> {
  const host = readHostFile(RESOLV_CONF);
  const names = readHostFile(HOSTS);
  if (host === null)
    context.stderr.write('tapline: no /etc/resolv.conf on this host, so the command has none either\n');
  const directory = mkdtempSync(join(tmpdir(), 'tapline-run-'));
  try {
    const file = join(directory, 'resolv.conf');
    writeFileSync(file, resolvConf(host ?? '', options.dns ?? []), { mode: 0o644 });
    const uts = options.hostname === undefined ? [] : ['--uts'];
    // A file of its own, in which the daemon may name the host (host.tapline.internal).
    const hosts = join(directory, 'hosts');
    writeFileSync(hosts, names ?? '', { mode: 0o644 });
    const files = [host === null ? '' : file, names === null ? '' : hosts];
    const script = ['sh', '-c', INSIDE, 'tapline-run', ...files, options.hostname ?? ''];
    const child = spawnInside([...uts, '--', ...script], command);
    const link = child.stdio[3] as Duplex;
    // The command that ends resets the pair; what counts is the child's end.
    link.on('error', () => {});
    const spawned = await Promise.race([
      once(child, 'spawn').then(() => null),
      once(child, 'error').then(([error]) => error as Error),
    ]);
    if (spawned !== null)
      throw new TaplineError('failure', `cannot run unshare: ${firstLine(spawned)}; install util-linux`);
    if (!(await prepared(child, link))) {
      throw new TaplineError('failure', 'the namespaces could not be made (the reason is above); run as root');
    }
    return { child, link };
  } finally {
    // The bind mounts keep the files; their names are no longer needed.
    rmSync(directory, { recursive: true, force: true });
  }
}

async function disconnect(client: ApiClient, name: string, context: Context): Promise<void> {
  try {
    await client.delete(endpointPath(name));
  } catch (error) {
    // The daemon sees the process end by itself and is often first.
    if (error instanceof TaplineError && error.kind === 'missing') return;
    context.stderr.write(`tapline: endpoint ${name} may still be attached: ${firstLine(error)}\n`);
  }
}

async function run(
  command: readonly string[],
  options: RunOptions,
  client: ApiClient,
  context: Context,
): Promise<void> {
  checkOptions(options);
  // Asked first, so that no namespace is made for a network that does not exist.
  await client.get(`/v1/networks/${encodeURIComponent(options.network)}`);
  const { child, link } = await start(options, command, context);
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const stopPassing = passSignals(child);
  try {
    const body = endpointBody(options.network, undefined, {
      name: `run-${child.pid}`,
      ...options,
      pid: String(child.pid),
    });
    let endpoint: EndpointView;
    try {
      endpoint = await client.post<EndpointView>('/v1/endpoints', body);
    } catch (error) {
      link.end();
      await closed;
      throw error;
    }
    link.end('go\n');
    const [code, signal] = await closed;
    await disconnect(client, endpoint.name, context);
    context.exitCode = exitCodeOf(code, signal);
  } finally {
    stopPassing();
  }
}

export function registerRun(program: Command, context: Context): void {
  withEndpointOptions(withSocket(program.command('run')))
    .argument('<command...>')
    .description('run a command in a fresh namespace attached to a network')
    .requiredOption('--network <network>', 'network to attach it to')
    .option('--hostname <name>', 'host name that the command sees')
    .option('--dns <address>', "name server in its resolv.conf; the host's unless given (repeatable)", collect)
    .passThroughOptions()
    .addHelpText('after', EXAMPLES)
    .action(async (args: string[], options: RunOptions, command: Command) => {
      try {
        await run(args, options, clientOf(command, context), context);
      } catch (error) {
        // The command has not run, so its own exit codes cannot be mistaken for this.
        if (!(error instanceof TaplineError)) throw error;
        throw new ExitError(error.kind === 'invalid' ? 2 : 1, error.message);
      }
    });
}
