/** The quickstart as a newcomer runs it: all its checks pass, and whatever its end, nothing of it is left. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ApiClient } from '../../cli/client.js';
import { type AttackedLab, attack } from '../../cli/quickstart/checks/attack.js';
import { CHECKS } from '../../cli/quickstart/checks/list.js';
import { addressOf, CLIENT, HOSTS, PINGER, SERVER } from '../../cli/quickstart/hosts.js';
import { runIn } from '../../cli/quickstart/nsenter.js';
import type { EndpointView } from '../../control/views.js';
import { type Result, run, start } from './support/process.js';
import { ENGINES, PROGRAM, startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

const QUICKSTART = [process.execPath, PROGRAM, 'quickstart'];
/** Two daemons, the host outside, and for each container `tapline run` and its command. */
const CHILDREN = 3 + 2 * HOSTS.length;
/** The daemons', the outside's, the containers'. */
const NAMESPACES = 3 + HOSTS.length;
const UP_TIMEOUT = 30_000;
/** Checks that fail where ping does. */
const BY_PING = [
  'ping IPv4',
  'ping IPv6',
  'ARP',
  'routing IPv4',
  'routing IPv6',
  'hop by hop',
  'internal network',
  'masquerade',
  'overlay',
];

/** A folder for what the quickstart keeps in temporary files, so that leftovers show. */
function temporary(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tlq-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

interface Process {
  readonly pid: number;
  /** Clock ticks; tells a process from a later one of the same number (proc(5), field 22 of stat). */
  readonly started: string;
  readonly parent: number;
  readonly namespace: string;
}

function processOf(pid: number): Process | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const namespace = readlinkSync(`/proc/${pid}/ns/net`);
    return { pid, started: fields[19] ?? '', parent: Number(fields[1]), namespace };
  } catch {
    // It ended between the listing and the look.
    return null;
  }
}

function descendants(root: number): Process[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processOf(Number(name)))
    .filter((process) => process !== null);
  const found: Process[] = [];
  let generation = [root];
  while (generation.length > 0) {
    const children = all.filter(({ parent }) => generation.includes(parent));
    found.push(...children);
    generation = children.map(({ pid }) => pid);
  }
  return found;
}

/** Of these processes, those that still run. A namespace that no process is in and no file names is gone with them. */
function leftOf(processes: readonly Process[]): string[] {
  const running = processes.filter(({ pid, started }) => processOf(pid)?.started === started);
  return running.map(({ pid, namespace }) => `process ${pid} in ${namespace}`);
}

/** All are there, each in its own namespace but for `tapline run`. */
async function untilComplete(root: number): Promise<Process[]> {
  const own = readlinkSync('/proc/self/ns/net');
  let processes: Process[] = [];
  await eventually('the containers', () => {
    processes = descendants(root);
    const namespaces = new Set(processes.map(({ namespace }) => namespace).filter((namespace) => namespace !== own));
    return processes.length >= CHILDREN && namespaces.size === NAMESPACES;
  });
  return processes;
}

async function assertNothingLeft(t: ExecutionContext, processes: readonly Process[], directory: string): Promise<void> {
  await eventually('all processes to end', () => leftOf(processes).length === 0);
  t.deepEqual(readdirSync(directory), []);
}

/** Results by check, out of the table. */
function results(stdout: string): Map<string, string> {
  const names = CHECKS.map(({ name }) => name);
  const found = new Map<string, string>();
  for (const line of stdout.split('\n')) {
    const name = names.find((candidate) => line.startsWith(`${candidate}  `));
    if (name !== undefined) found.set(name, line.slice(name.length).trim().split(' ')[0] ?? '');
  }
  return found;
}

function expected(failed: readonly string[] = []): Map<string, string> {
  return new Map(
    CHECKS.map(({ name, information }) => [name, failed.includes(name) ? 'FAILED' : information ? 'info' : 'ok']),
  );
}

function quickstart(t: ExecutionContext, args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  return run([...QUICKSTART, ...args], { env: { TMPDIR: temporary(t), ...env } });
}

for (const engine of ENGINES) {
  test.serial(`--once passes all its checks on ${engine} and leaves no file`, async (t) => {
    const directory = temporary(t);
    const result = await quickstart(t, ['--once', '--engine', engine], { TMPDIR: directory });
    t.is(result.stderr, '');
    t.deepEqual(results(result.stdout), expected());
    t.regex(result.stdout, /\nall checks passed\n$/);
    t.is(result.code, 0);
    t.deepEqual(readdirSync(directory), []);
  });
}

/** A container that the attack is about, running `argv`. */
async function attach(
  t: ExecutionContext,
  tapline: Tapline,
  name: string,
  security: string,
  argv: readonly string[],
): Promise<EndpointView> {
  start(t, tapline.argv('run', '--network', 'blue', '--name', name, '--security', security, '--', ...argv));
  let found: EndpointView | undefined;
  await eventually(`the endpoint ${name}`, async () => {
    found = (await tapline.endpoints()).find((endpoint) => endpoint.name === name && endpoint.state === 'up');
    return found !== undefined;
  });
  return found as EndpointView;
}

/** The three containers of the quickstart, with an attacker of whom so much is checked. */
async function attackedLab(t: ExecutionContext, security: string): Promise<AttackedLab> {
  const tapline = await startTapline(t, readFileSync('examples/quickstart.yaml', 'utf8'));
  const server = await attach(t, tapline, SERVER, 'strict', ['sleep', '600']);
  const client = await attach(t, tapline, CLIENT, 'strict', ['ping', '-q', '-i', '0.05', addressOf(server, 4)]);
  const pinger = await attach(t, tapline, PINGER, security, ['sleep', '600']);
  const endpoints = [server, client, pinger];
  await eventually('the first pings', async () => (await tapline.port(SERVER)).txPackets > 5);
  // What would put right again what an attack has changed: the server asking the client whether it is still there, and our announcing
  // the server once more, a second after it came.
  const known = ['neigh', 'replace', addressOf(client, 4), 'lladdr', client.mac, 'dev', server.interface];
  await runIn(server, ['ip', ...known, 'nud', 'permanent'], new AbortController().signal);
  await sleep(2500);
  return {
    client: new ApiClient(tapline.socket),
    socket: tapline.socket,
    signal: new AbortController().signal,
    endpoint: (wanted) => endpoints.find(({ name }) => name === wanted) as EndpointView,
  };
}

test.serial('the attack is stopped, and none is stopped where nothing is checked: the check says so', async (t) => {
  const stopped = await attack(await attackedLab(t, 'strict'));
  t.regex(
    stopped,
    /^50 forged ARP replies sent, 0 delivered, 50 counted as arp_sender; client still has 172\.30\.0\.2 at /,
  );
  const open = await attackedLab(t, 'off');
  const { mac } = open.endpoint(PINGER);
  await t.throwsAsync(attack(open), {
    message: `50 forged ARP replies sent, 50 delivered, 0 counted as arp_sender; client has 172.30.0.2 at ${mac}`,
  });
});

test.serial('without a terminal it runs the checks; --json prints them for machines', async (t) => {
  const result = await quickstart(t, ['--json']);
  t.is(result.code, 0, result.stderr);
  const rows = JSON.parse(result.stdout) as { check: string; result: string; detail: string }[];
  t.deepEqual(new Map(rows.map(({ check, result }) => [check, result])), expected());
  t.true(rows.every(({ detail }) => detail !== ''));
});

/** A program that does what `script` says; `$real` is the real one. */
function fakeProgram(t: ExecutionContext, name: string, script: string): Record<string, string> {
  const directory = temporary(t);
  const real = (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
  writeFileSync(join(directory, name), `#!/bin/sh\nreal=${real}\n${script}\n`);
  chmodSync(join(directory, name), 0o755);
  return { PATH: `${directory}:${process.env.PATH}` };
}

test.serial('a check that fails is named, the others run, and the exit code is 1', async (t) => {
  const directory = temporary(t);
  const env = fakeProgram(
    t,
    'ping',
    'case " $* " in *" -q "*) exec "$real" "$@" ;; esac; echo "no luck today" >&2; exit 1',
  );
  const result = await quickstart(t, ['--once'], { ...env, TMPDIR: directory });
  t.deepEqual(results(result.stdout), expected(BY_PING));
  t.regex(result.stdout, /ping IPv4 +FAILED +no luck today\n/);
  t.true(result.stdout.endsWith(`\n${BY_PING.length} of ${CHECKS.length} checks failed\n`));
  t.is(result.code, 1);
  t.deepEqual(readdirSync(directory), []);
});

test.serial('a start that fails halfway says why and leaves nothing', async (t) => {
  const directory = temporary(t);
  const env = fakeProgram(t, 'unshare', 'case "$*" in *inside/client.js*) exit 3 ;; esac; exec "$real" "$@"');
  const result = await quickstart(t, ['--once'], { ...env, TMPDIR: directory });
  t.regex(result.stderr, /^tapline: the container client ended \(exit code 1\): .*\n$/);
  t.is(result.code, 1);
  t.deepEqual(readdirSync(directory), []);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test.serial(`${signal} ends the live view and removes everything`, async (t) => {
    const directory = temporary(t);
    const live = start(t, [...QUICKSTART, '--live'], { TMPDIR: directory });
    await live.said(/frames received/, UP_TIMEOUT);
    const processes = await untilComplete(live.pid);
    const result = await live.stop(signal);
    t.is(result.stderr, '');
    t.is(result.code, 0);
    t.true(result.stdout.endsWith('everything is removed\n'));
    await assertNothingLeft(t, processes, directory);
  });
}

test.serial('an interrupt in the middle of the checks removes everything and is no success', async (t) => {
  const directory = temporary(t);
  const checks = start(t, [...QUICKSTART, '--once'], { TMPDIR: directory });
  await checks.said(/^containers attached/m, UP_TIMEOUT);
  const processes = await untilComplete(checks.pid);
  const result = await checks.stop('SIGINT');
  t.is(result.stderr, 'tapline: interrupted by SIGINT; everything is removed\n');
  t.is(result.code, 1);
  await assertNothingLeft(t, processes, directory);
});

test.serial('an interrupt while it starts removes what was there already', async (t) => {
  const directory = temporary(t);
  const live = start(t, [...QUICKSTART, '--live'], { TMPDIR: directory });
  let processes: Process[] = [];
  await eventually('the daemon', () => {
    processes = descendants(live.pid);
    return processes.length > 0;
  });
  const result = await live.stop('SIGINT');
  t.is(result.code, 0, result.stderr);
  await assertNothingLeft(t, processes, directory);
});

test.serial('when it is killed, the switch and the containers end all the same', async (t) => {
  const live = start(t, [...QUICKSTART, '--live'], { TMPDIR: temporary(t) });
  await live.said(/frames received/, UP_TIMEOUT);
  const processes = await untilComplete(live.pid);
  await live.stop('SIGKILL');
  await t.notThrowsAsync(eventually('all processes to end', () => leftOf(processes).length === 0));
});

test.serial('when a container ends by itself, the live view says so and ends with 1', async (t) => {
  const directory = temporary(t);
  const live = start(t, [...QUICKSTART, '--live'], { TMPDIR: directory });
  await live.said(/frames received/, UP_TIMEOUT);
  const processes = await untilComplete(live.pid);
  const own = readlinkSync('/proc/self/ns/net');
  const pinger = processes.find(
    ({ pid, namespace }) => namespace !== own && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'ping\n',
  );
  if (pinger === undefined) throw new Error('no ping among the processes of the quickstart');
  process.kill(pinger.pid, 'SIGKILL');
  const result = await live.ended;
  t.is(result.stderr, 'tapline: the container pinger ended (exit code 137)\n');
  t.is(result.code, 1);
  await assertNothingLeft(t, processes, directory);
});

test.serial('on a terminal it draws the traffic in place, and Ctrl-C ends it', async (t) => {
  const directory = temporary(t);
  const command = `stty cols 60 rows 40; exec ${QUICKSTART.join(' ')}`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: directory, TERM: 'xterm', SHELL: '/bin/sh' },
  });
  t.teardown(() => terminal.kill('SIGKILL'));
  let screen = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
  });
  await eventually('a second drawing', () => screen.split('\x1b[J').length > 2, UP_TIMEOUT);
  if (terminal.pid === undefined) throw new Error('cannot run script (bsdutils)');
  const processes = await untilComplete(terminal.pid);
  const closed = once(terminal, 'close');
  terminal.stdin.write('\x03');
  const [code] = await closed;
  t.is(code, 0);
  t.true(screen.includes('A\r\x1b[J'), 'goes back up over the drawing before');
  t.true(screen.lastIndexOf('\x1b[?25h') > screen.lastIndexOf('\x1b[?25l'), 'the cursor is visible again');
  for (const drawing of screen.split('\x1b[J').slice(1)) {
    for (const line of drawing.split('\x1b', 1)[0]?.split('\r\n') ?? []) t.true(line.length <= 60, line);
  }
  await assertNothingLeft(t, processes, directory);
});

test.serial('says what the machine lacks before it makes anything', async (t) => {
  const directory = temporary(t);
  const env = { TMPDIR: directory };
  const unable = await run(['setpriv', '--bounding-set', '-net_admin', '--', ...QUICKSTART, '--once'], { env });
  t.is(
    unable.stderr,
    'tapline: the quickstart needs CAP_NET_ADMIN; in a container, start that one with --privileged\n',
  );
  t.is(unable.code, 1);
  const hide = 'mount -t tmpfs none /dev/net && exec "$@"';
  const tunless = await run(['unshare', '--mount', 'sh', '-c', hide, 'sh', ...QUICKSTART, '--once'], { env });
  t.regex(tunless.stderr, /^tapline: no \/dev\/net\/tun: load the tun module \(modprobe tun\), or .*\n$/);
  t.is(tunless.code, 1);
  t.deepEqual(readdirSync(directory), []);
});

test.serial('options that contradict each other are wrong usage', async (t) => {
  const result = await quickstart(t, ['--live', '--once']);
  t.is(result.stderr, 'tapline: --live shows traffic until Ctrl-C; leave out --once and --json, or --live\n');
  t.is(result.code, 2);
});
