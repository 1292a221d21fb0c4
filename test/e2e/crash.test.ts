/**
 * What outlives the daemon's process: it is killed, told to keep everything, or replaced by another build, in the middle of traffic; the
 * next process goes on with addresses, numbers, connections and what commands made. TAPLINE_REPORT names a file for the gaps.
 */

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { StatusView } from '../../control/api.js';
import { type IperfResult, iperfServer } from './support/iperf.js';
import { createHosts, type Host, labConfig } from './support/lab.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { type Background, describe, must, run, start } from './support/process.js';
import { startReport, tableRow } from './support/report.js';
import { PYTHON } from './support/scapy.js';
import { OUTSIDE, UPLINK } from './support/site.js';
import { PROGRAM, type Prepared, prepare } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';
import { createVeth } from './support/wire.js';

const report = startReport('Gaps in traffic while the daemon is replaced');
report(tableRow(['what', 'longest gap between answers to pings every 5 ms']));
report(tableRow(['---', '---']));

/** Milliseconds without an answer that are too many; the aim is 200. A machine with other work may take longer once, not each time. */
const LONGEST_GAP = 1000;
const LONGEST_GAP_EVER = 5000;
const CONNECTIONS = 1000;
/** Answers to pings after which they are taken to go on. */
const ANSWERS = 20;

/** Echoes whatever it is sent, on all connections at once. */
const SERVER = `
import selectors, socket, sys
listener = socket.create_server(('', int(sys.argv[1])), backlog=4096)
listener.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
print('listening', flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            connection, _ = listener.accept()
            selector.register(connection, selectors.EVENT_READ)
            continue
        try:
            data = key.fileobj.recv(4096)
        except OSError:
            data = b''
        if data:
            key.fileobj.sendall(data)
        else:
            selector.unregister(key.fileobj)
            key.fileobj.close()
`;

/** Opens connections, says so, and with each line on standard input asks on all of them; says how many have answered. */
const CLIENT = `
import resource, signal, socket, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connections = [socket.create_connection((address, port), timeout=30) for _ in range(count)]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print('open', len(connections), flush=True)
while True:
    signal.sigwait([signal.SIGUSR1])
    alive, why = 0, ''
    for connection in connections:
        try:
            connection.sendall(b'there?')
        except OSError as error:
            why = str(error)
    for connection in connections:
        try:
            alive += connection.recv(16) == b'there?'
        except OSError as error:
            why = str(error)
    print('alive', alive, 'of', count, why, flush=True)
`;

/** One place for one daemon after the other. */
interface Stage extends Prepared {
  /** Starts a daemon and waits until it is ready. @returns milliseconds that this took */
  up(options?: { keep?: boolean; program?: string }): Promise<number>;
  /** The daemon that runs now. */
  daemon(): Background;
  ok(...argv: string[]): Promise<string>;
  status(): Promise<StatusView>;
  /** Puts another configuration in the place of the file's. */
  write(config: object): void;
}

function createStage(t: ExecutionContext, config: object, netns?: Namespace): Stage {
  const prepared = prepare(t, config, netns === undefined ? {} : { netns });
  let current: Background | null = null;
  const daemon = (): Background => {
    if (current === null) throw new Error('no daemon has been started');
    return current;
  };
  const ok = (...argv: string[]): Promise<string> =>
    must([process.execPath, PROGRAM, '--socket', prepared.socket, ...argv]);
  t.teardown(async () => {
    if (current?.running() === true) await current.stop('SIGTERM');
  });
  return {
    ...prepared,
    daemon,
    ok,
    status: async () => JSON.parse(await ok('status', '--json')) as StatusView,
    write: (next) => writeFileSync(prepared.file, JSON.stringify(next)),
    up: async ({ keep = false, program = PROGRAM } = {}) => {
      const argv = prepared.argv.map((word) => (word === PROGRAM ? program : word));
      const began = performance.now();
      current = start(t, keep ? [...argv, '--keep'] : argv);
      await current.said(/^ready$/m, 30_000);
      return performance.now() - began;
    },
  };
}

/** Pings every 5 ms. @returns ends it and tells the longest time between two answers, in milliseconds */
async function watchGap(from: Namespace, address: string): Promise<() => Promise<number>> {
  const ping = from.start('ping', '-n', '-D', '-i', '0.005', address);
  await ping.said(/ bytes from /);
  const times = (): number[] =>
    [...ping.stdout().matchAll(/^\[(\d+\.\d+)\] \d+ bytes from /gm)].map(([, seconds]) => Number(seconds) * 1000);
  return async () => {
    const before = times().length;
    await eventually('answers to pings', () => times().length >= before + ANSWERS);
    await ping.stop('SIGINT');
    const all = times();
    return Math.max(...all.slice(1).map((time, at) => time - all[at]!));
  };
}

/** Milliseconds that a Node process takes that does nothing. */
async function bareStart(): Promise<number> {
  const began = performance.now();
  await must([process.execPath, '--eval', '0']);
  return performance.now() - began;
}

const gaps: number[] = [];

async function note(t: ExecutionContext, what: string, gap: number, started: number): Promise<void> {
  const bare = await bareStart();
  const took = `start to ready ${started.toFixed(0)} ms, of a bare Node process ${bare.toFixed(0)} ms`;
  t.log(`${what}: gap ${gap.toFixed(0)} ms; ${took}`);
  report(tableRow([what, `${gap.toFixed(0)} ms (${took})`]));
  t.true(gap <= LONGEST_GAP_EVER, `${what}: ${gap.toFixed(0)} ms without an answer`);
  gaps.push(gap);
}

/** An iperf3 client whose connection must live through what happens meanwhile. */
function transfer(from: Namespace, address: string, seconds: number): { finished(): Promise<IperfResult> } {
  const client = from.start('iperf3', '--client', address, '--json', '--time', String(seconds), '--interval', '0.5');
  return {
    finished: async () => {
      const result = await client.ended;
      if (result.code !== 0) throw new Error(`iperf3: ${describe(result)}`);
      return JSON.parse(result.stdout) as IperfResult;
    },
  };
}

/** Data went on flowing after the change: in each of the last intervals. */
function flowsOn(t: ExecutionContext, { intervals }: IperfResult): void {
  const last = intervals.slice(-3).map(({ sum }) => sum.bytes);
  t.true(
    last.every((bytes) => bytes > 0),
    `bytes in the last intervals: ${last}`,
  );
}

/** Idle connections of a container to a server. */
interface Connections {
  /** How many still answer. */
  alive(): Promise<string>;
}

async function openConnections(from: Namespace, to: Namespace, address: string, port: number): Promise<Connections> {
  await to
    .start('sh', '-c', 'ulimit -n 8192; exec "$@"', 'sh', PYTHON, '-c', SERVER, String(port))
    .said(/^listening$/m);
  const words = [PYTHON, '-c', CLIENT, address, String(port), String(CONNECTIONS)];
  const client = from.start('sh', '-c', 'ulimit -n 8192; exec "$@"', 'sh', ...words);
  await client.said(new RegExp(`^open ${CONNECTIONS}$`, 'm'), 60_000);
  let asked = 0;
  return {
    alive: async () => {
      const said = (): string[] => client.stdout().match(/^alive .*$/gm) ?? [];
      process.kill(client.pid, 'SIGUSR1');
      asked++;
      await eventually('the connections to be asked', () => said().length === asked, 60_000);
      return said().at(-1)!.trim();
    },
  };
}

const ALL_ALIVE = `alive ${CONNECTIONS} of ${CONNECTIONS}`;

/** A container behind the uplink's address, and the world outside. */
interface Nat {
  readonly stage: Stage;
  readonly config: object;
  readonly a: Host;
  readonly outside: Namespace;
}

async function createNat(t: ExecutionContext): Promise<Nat> {
  const host = await createNamespace(t);
  const outside = await createNamespace(t);
  await createVeth(host, 'up0', outside, 'out0');
  await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip}/24`, 'dev', 'out0');
  const [a] = (await createHosts(t, 1)) as [Host];
  const config = {
    ...labConfig([a], { masquerade: true }),
    uplink: { device: 'up0', mode: 'own', addresses: [`${UPLINK.ip}/24`], gateway: OUTSIDE.ip },
  };
  return { stage: createStage(t, config, host), config, a, outside };
}

test.serial('kill -9 in the middle of a transfer between two endpoints: it goes on', async (t) => {
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const stage = createStage(t, labConfig([a, b]));
  await stage.up();
  const links = async (): Promise<string> =>
    `${await a.exec('ip', '-o', 'address')}${await b.exec('ip', '-o', 'address')}`.replaceAll(' tentative', '');
  const before = await links();
  await iperfServer(b);
  const client = transfer(a, b.ip, 6);
  const gap = await watchGap(a, b.ip);
  await sleep(1500);
  await stage.daemon().stop('SIGKILL');
  const took = await stage.up();
  await sleep(500);
  await note(t, 'kill -9, two endpoints', await gap(), took);
  flowsOn(t, await client.finished());
  t.is(await links(), before);
});

test.serial('kill -9 in the middle of a translated transfer, with 1,000 idle connections: none breaks', async (t) => {
  const { stage, a, outside } = await createNat(t);
  await stage.up();
  const connections = await openConnections(a, outside, OUTSIDE.ip, 7001);
  t.is(await connections.alive(), ALL_ALIVE);
  await iperfServer(outside);
  const client = transfer(a, OUTSIDE.ip, 6);
  const gap = await watchGap(a, OUTSIDE.ip);
  await sleep(1500);
  await stage.daemon().stop('SIGKILL');
  const took = await stage.up();
  await sleep(500);
  await note(t, `kill -9, ${CONNECTIONS} idle translated connections`, await gap(), took);
  flowsOn(t, await client.finished());
  t.is(await connections.alive(), ALL_ALIVE);
  t.regex(stage.daemon().stderr(), /going on with the tables of an earlier process/);
});

test.serial('SIGTERM with --keep leaves everything in place, and the next one goes on', async (t) => {
  const { stage, a, outside } = await createNat(t);
  await stage.up({ keep: true });
  const connections = await openConnections(a, outside, OUTSIDE.ip, 7001);
  const gap = await watchGap(a, OUTSIDE.ip);
  const ended = await stage.daemon().stop('SIGTERM');
  t.is(ended.code, 0, ended.stderr);
  t.regex(await a.exec('ip', 'address', 'show', 'eth0'), /172\.30\.0\.2/);
  t.false(existsSync(stage.socket));
  const took = await stage.up();
  await sleep(300);
  await note(t, 'SIGTERM with --keep', await gap(), took);
  t.is(await connections.alive(), ALL_ALIVE);
});

/** A copy of what is installed, with another version. */
function otherBuild(t: ExecutionContext): string {
  const root = resolve('.');
  const copy = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(copy, { recursive: true, force: true }));
  for (const part of ['bin', 'dist/bundle']) cpSync(join(root, part), join(copy, part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as object;
  writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, version: '99.0.0' }));
  return join(copy, 'bin/tapline.js');
}

test.serial('another build goes on with the connections of the one before', async (t) => {
  const { stage, a, outside } = await createNat(t);
  await stage.up({ keep: true });
  const program = otherBuild(t);
  const connections = await openConnections(a, outside, OUTSIDE.ip, 7001);
  const gap = await watchGap(a, OUTSIDE.ip);
  await stage.daemon().stop('SIGTERM');
  const took = await stage.up({ program });
  await sleep(300);
  await note(t, 'another build', await gap(), took);
  t.is((await stage.status()).version, '99.0.0');
  t.is(await connections.alive(), ALL_ALIVE);
});

test.serial('the gap is a second at most', (t) => {
  t.true(gaps.length >= 4 && Math.min(...gaps) <= LONGEST_GAP, `gaps of ${gaps.map(Math.round)} ms`);
});

test.serial('tables of another layout: the next one starts clean, and says so', async (t) => {
  const { stage, config, a } = await createNat(t);
  await stage.up();
  await a.exec('ping', '-c', '1', '-W', '5', OUTSIDE.ip);
  await stage.daemon().stop('SIGKILL');
  stage.write({ ...config, nat: { max_flows: 4096 } });
  await stage.up();
  t.regex(stage.daemon().stderr(), /warn the tables of an earlier process have another layout: starting clean/);
  await a.exec('ping', '-c', '1', '-W', '5', OUTSIDE.ip);
});

test.serial('what commands made is made again; what has gone meanwhile is said and left', async (t) => {
  const [a, b, c] = (await createHosts(t, 3)) as [Host, Host, Host];
  const stage = createStage(t, labConfig([a]));
  await stage.up();
  await stage.ok('network', 'create', 'green', '--subnet', '172.31.0.0/24');
  await stage.ok('connect', 'green', '--netns', b.path, '--name', 'b');
  await stage.ok('connect', 'green', '--netns', c.path, '--name', 'c');
  await stage.ok('route', 'add', '10.99.0.0/16', '--via', '172.31.0.9');
  await stage.ok('mirror', 'create', 'watch', '--from', 'b', '--to', 'a');
  await stage.ok('fdb', 'add', '02:00:00:00:00:99', '--network', 'green', '--port', 'c');
  await stage.ok('policy', 'add', 'drop', '--from', 'a', '--to', 'b', '--proto', 'tcp', '--port', '22');
  const policy = await stage.ok('policy', 'ls');
  const view = async (): Promise<unknown> => JSON.parse(await stage.ok('network', 'inspect', 'green', '--json'));
  const before = await view();
  const ports = (await stage.ok('show', 'ports', '--json')).match(/"id": ?\d+/g);
  await stage.daemon().stop('SIGKILL');
  await stage.up();
  t.deepEqual(await view(), before);
  t.deepEqual((await stage.ok('show', 'ports', '--json')).match(/"id": ?\d+/g), ports);
  t.regex(await stage.ok('show', 'route'), /10\.99\.0\.0\/16/);
  t.regex(await stage.ok('mirror', 'ls'), /watch/);
  t.regex(await stage.ok('show', 'fdb'), /02:00:00:00:00:99/);
  t.is(await stage.ok('policy', 'ls'), policy);
  await b.exec('ping', '-c', '1', '-W', '5', '172.31.0.3');

  await stage.daemon().stop('SIGKILL');
  await c.remove();
  await stage.up();
  t.regex(
    stage.daemon().stderr(),
    /warn endpoint c, made by command before the restart, is not there any more: .* went away/,
  );
  await b.exec('ping', '-c', '1', '-W', '5', '172.31.0.1');

  await stage.ok('disconnect', 'b');
  await stage.daemon().stop('SIGKILL');
  await stage.up();
  t.notRegex(await stage.ok('show', 'ports'), /\bb\b/, 'what was removed does not come back');
});

test.serial('what commands published of an endpoint of the file is published again', async (t) => {
  const { stage, a } = await createNat(t);
  await stage.up();
  await stage.ok('publish', a.endpoint, '8080:80');
  await stage.daemon().stop('SIGKILL');
  await stage.up();
  t.regex(await stage.ok('publish'), /8080:80\/tcp/);
  t.notRegex(stage.daemon().stderr(), / warn /);
});

test.serial('a TAP that nobody names any more is removed at the next start', async (t) => {
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const stage = createStage(t, labConfig([a, b]));
  await stage.up();
  await stage.daemon().stop('SIGKILL');
  t.is((await b.run(['ip', 'link', 'show', 'eth0'])).code, 0);
  stage.write(labConfig([a]));
  await stage.up();
  t.regex(stage.daemon().stderr(), /removed what an earlier process left: interface eth0 of endpoint b/);
  t.not((await b.run(['ip', 'link', 'show', 'eth0'])).code, 0);
});

/** Where a daemon keeps what is to outlive it: beside its socket, or in shared memory. */
function states({ socket }: Stage): string[] {
  const shared = readdirSync('/dev/shm').map((name) => join('/dev/shm', name));
  return [`${socket}.state`, ...shared].filter((path) => {
    try {
      return readFileSync(join(path, 'lock'), 'utf8').includes(`${socket}\n`);
    } catch {
      // No such directory, or another's, which may go meanwhile.
      return false;
    }
  });
}

test.serial(
  'killed again and again, also in the middle of starting, it comes up; a clean end leaves nothing',
  async (t) => {
    const [a, b] = (await createHosts(t, 2)) as [Host, Host];
    const stage = createStage(t, labConfig([a, b]));
    for (const pause of [50, 150, 250, 350, 450, 600, 800]) {
      const daemon = start(t, stage.argv);
      await sleep(pause);
      await daemon.stop('SIGKILL');
    }
    await stage.up();
    t.is(states(stage).length, 1);
    const ping = await run(a.argv('ping', '-c', '1', '-W', '5', b.ip));
    t.is(ping.code, 0, ping.stdout);
    t.is((await stage.daemon().stop('SIGTERM')).code, 0);
    t.not((await a.run(['ip', 'link', 'show', 'eth0'])).code, 0);
    t.deepEqual(states(stage), []);
  },
);

test.serial('two daemons cannot share what outlives them', async (t) => {
  const [a] = (await createHosts(t, 1)) as [Host];
  const stage = createStage(t, labConfig([a]));
  await stage.up();
  // Somebody removes the socket, by which the second would have found the first.
  rmSync(stage.socket);
  const second = await run(stage.argv, { timeout: 20_000 });
  t.is(second.code, 1, second.stderr);
  t.regex(second.stderr, /tapline: another tapline process \(pid \d+\) holds \S+; stop it, or choose another --socket/);
});
