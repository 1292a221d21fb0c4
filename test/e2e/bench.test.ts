/**
 * The end-to-end benchmark runs, reads its tools' output and cleans up after itself, also when it is interrupted. No figure is
 * held to a bar. Needs root, iproute2, iperf3, wrk, ping, nftables, haproxy, nginx and gcc.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Figure } from '../../bench/e2e/runner.js';

const MAIN = fileURLToPath(new URL('../../bench/e2e/main.js', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly pid: number;
}

test.serial('kernel and c-relay: every scenario gives figures of both, and nothing stays behind', async (t) => {
  t.timeout(180_000);
  const peers = ['--peer', 'kernel', '--peer', 'c-relay'];
  const ended = await finish(start(['l2', ...peers, '--rounds', '2', '--seconds', '1', '--json']));
  t.is(ended.code, 0, ended.stderr);
  const [report] = JSON.parse(ended.stdout).suites;
  const names = report.scenarios.map((each: { scenario: { name: string } }) => each.scenario.name);
  t.deepEqual(names, ['tcp-1', 'tcp-4', 'http', 'cpu-50k', 'cpu-150k', 'ping']);
  for (const { scenario, rounds, ratio } of report.scenarios) {
    t.is(ratio, null, 'no Tapline, no ratio');
    t.is(rounds.length, 2);
    for (const [index, round] of rounds.entries()) {
      const order = index % 2 === 0 ? scenario.peers : scenario.peers.toReversed();
      t.deepEqual(
        Object.keys(round),
        order.filter((peer: string) => peer !== 'tapline'),
        `${scenario.name}: order of the peers`,
      );
      for (const figure of Object.values(round) as { value: number }[]) t.true(figure.value > 0, scenario.name);
      t.true(round['c-relay'].switchCpuPercent > 0);
      if (round.kernel !== undefined) t.is(round.kernel.switchCpuPercent, null);
    }
  }
  t.deepEqual(report.leftOut, ['left out: endpoints needs tapline']);
  t.deepEqual(remainsOf(ended.pid), []);
});

test.serial('Tapline beside the relay: a ratio, a verdict and the engine; endpoints are counted', async (t) => {
  t.timeout(120_000);
  const only = ['--only', 'ping', '--only', 'endpoints', '--endpoints', '3'];
  const peers = ['--peer', 'c-relay', '--peer', 'tapline', '--engine', 'epoll'];
  const ended = await finish(start(['l2', ...only, ...peers, '--rounds', '1', '--seconds', '1', '--json']));
  t.is(ended.code, 0, ended.stderr);
  const [report] = JSON.parse(ended.stdout).suites;
  t.is(report.engine, 'epoll');
  const [ping] = report.scenarios;
  t.is(ping.ratio, ping.rounds[0].tapline.value / ping.rounds[0]['c-relay'].value);
  t.true(['aim', 'bar', 'missed'].includes(ping.verdict));
  t.like(report.endpoints, { endpoints: 3, engine: 'epoll' });
  for (const key of ['readySeconds', 'idleCpuPercent', 'residentMiB']) t.true(report.endpoints[key] > 0, key);
  t.deepEqual(remainsOf(ended.pid), []);
});

test.serial(
  "the kernel as a router: both suites give every figure in one run, with the machine's time per Gbit",
  async (t) => {
    t.timeout(180_000);
    const ended = await finish(
      start(['route', 'uplink', '--peer', 'kernel', '--rounds', '1', '--seconds', '1', '--json']),
    );
    t.is(ended.code, 0, ended.stderr);
    const { suites } = JSON.parse(ended.stdout);
    const figures = suites.map((each: { suite: string; scenarios: { scenario: { name: string } }[] }) => [
      each.suite,
      ...each.scenarios.map(({ scenario }) => scenario.name),
    ]);
    t.deepEqual(figures, [
      ['route', 'tcp-1', 'tcp6-1', 'tcp-4', 'http', 'ping'],
      ['uplink', 'tcp-out', 'tcp-in', 'tcp6-out', 'tcp6-in', 'http', 'ping'],
    ]);
    for (const { scenario, medians, cpuPerGbit } of suites.flatMap((each: { scenarios: object[] }) => each.scenarios)) {
      t.true(medians.kernel > 0, scenario.name);
      if (scenario.unit === 'Gbit/s') t.true(cpuPerGbit.machine.kernel > 0, scenario.name);
      else t.is(cpuPerGbit, null);
    }
    t.deepEqual(remainsOf(ended.pid), []);
  },
);

test.serial('Tapline routes beside the kernel: between networks, and to and from the wire', async (t) => {
  t.timeout(120_000);
  const only = ['--only', 'tcp-1', '--only', 'tcp6-in', '--only', 'ping'];
  const ended = await finish(start(['route', 'uplink', ...only, '--rounds', '1', '--seconds', '1', '--json']));
  t.is(ended.code, 0, ended.stderr);
  for (const { suite, engine, scenarios } of JSON.parse(ended.stdout).suites) {
    t.true(['uring', 'epoll'].includes(engine), suite);
    t.is(scenarios.length, 2, suite);
    for (const { scenario, ratio, verdict, cpuPerGbit } of scenarios) {
      t.true(ratio > 0, scenario.name);
      t.is(verdict === null, scenario.bar === null);
      if (cpuPerGbit !== null) t.true(cpuPerGbit.switch.tapline > 0 && cpuPerGbit.ratio > 0);
    }
  }
  t.deepEqual(remainsOf(ended.pid), []);
});

test.serial(
  'behind one address and to published ports: kernel and relay give every figure, and the relay needs no rule for it',
  async (t) => {
    t.timeout(180_000);
    const peers = ['--peer', 'kernel', '--peer', 'c-relay'];
    const ended = await finish(start(['nat', 'publish', ...peers, '--rounds', '1', '--seconds', '1', '--json']));
    t.is(ended.code, 0, ended.stderr);
    t.notRegex(ended.stderr, /MaxListenersExceeded/);
    const { suites } = JSON.parse(ended.stdout);
    const figures = suites.map((each: { suite: string; scenarios: { scenario: { name: string } }[] }) => [
      each.suite,
      ...each.scenarios.map(({ scenario }) => scenario.name),
    ]);
    t.deepEqual(figures, [
      ['nat', 'tcp-1', 'tcp-4', 'http', 'ping'],
      ['publish', 'tcp-1', 'tcp6-1', 'tcp-4', 'http', 'udp-ping'],
    ]);
    for (const { scenario, medians, rounds } of suites.flatMap((each: { scenarios: object[] }) => each.scenarios)) {
      t.true(medians.kernel > 0 && medians['c-relay'] > 0, scenario.name);
      if (scenario.name.endsWith('ping')) t.is(rounds[0].kernel.details.lostPercent, 0, scenario.name);
    }
    t.deepEqual(remainsOf(ended.pid), []);
  },
);

test.serial('Tapline masquerades and publishes beside the kernel: ratios, and nothing is lost', async (t) => {
  t.timeout(120_000);
  const only = ['--only', 'http', '--only', 'ping', '--only', 'udp-ping'];
  const peers = ['--peer', 'kernel', '--peer', 'tapline'];
  const ended = await finish(start(['nat', 'publish', ...only, ...peers, '--rounds', '1', '--seconds', '1', '--json']));
  t.is(ended.code, 0, ended.stderr);
  for (const { suite, scenarios } of JSON.parse(ended.stdout).suites) {
    t.is(scenarios.length, 2, suite);
    for (const { scenario, ratio, rounds } of scenarios) {
      t.true(ratio > 0, scenario.name);
      if (scenario.name === 'http') t.is(rounds[0].tapline.details.failed, 0);
      else t.is(rounds[0].tapline.details.lostPercent, 0);
    }
  }
  t.deepEqual(remainsOf(ended.pid), []);
});

test.serial(
  'a service over two backends: kernel, haproxy and nginx give every figure, and each backend has its half',
  async (t) => {
    t.timeout(180_000);
    const names = ['kernel', 'haproxy', 'haproxy-2', 'nginx'];
    const peers = names.flatMap((name) => ['--peer', name]);
    const ended = await finish(start(['lb', ...peers, '--rounds', '1', '--seconds', '1', '--json']));
    t.is(ended.code, 0, ended.stderr);
    const [{ scenarios }] = JSON.parse(ended.stdout).suites;
    t.deepEqual(
      scenarios.map(({ scenario }: { scenario: { name: string } }) => scenario.name),
      ['http', 'http-open', 'tcp-1', 'tcp-4'],
    );
    for (const { scenario, rounds, beside } of scenarios) {
      t.deepEqual(Object.keys(rounds[0]), names, scenario.name);
      t.deepEqual(beside, [], 'no Tapline, no ratios');
      for (const [peer, { value, details, switchCpuPercent }] of Object.entries<Figure>(rounds[0])) {
        t.true(value > 0, scenario.name);
        if (peer === 'kernel') t.is(switchCpuPercent, null);
        else t.true((switchCpuPercent as number) > 0, `${peer}: time of those that do the work`);
        if (scenario.name === 'http') t.is(details.leastSharePercent?.toFixed(0), '50', peer);
      }
    }
    t.deepEqual(remainsOf(ended.pid), []);
  },
);

test.serial(
  'Tapline balances beside the kernel and haproxy: ratios to both, exactly in turn, and nothing fails',
  async (t) => {
    t.timeout(120_000);
    const peers = ['--peer', 'kernel', '--peer', 'haproxy', '--peer', 'tapline'];
    const ended = await finish(start(['lb', ...peers, '--rounds', '1', '--seconds', '1', '--json']));
    t.is(ended.code, 0, ended.stderr);
    for (const { scenario, ratio, beside, rounds } of JSON.parse(ended.stdout).suites[0].scenarios) {
      t.true(ratio > 0, scenario.name);
      t.deepEqual(
        beside.map((each: { peer: string }) => each.peer),
        ['haproxy'],
      );
      if (scenario.name !== 'http') continue;
      t.is(rounds[0].tapline.details.failed, 0);
      t.is(rounds[0].tapline.details.leastSharePercent.toFixed(0), '50');
    }
    t.deepEqual(remainsOf(ended.pid), []);
  },
);

test.serial('the table names every row and leaves the ratio open where Tapline took no part', async (t) => {
  t.timeout(60_000);
  const ended = await finish(start(['l2', '--peer', 'c-relay', '--only', 'ping', '--rounds', '1', '--seconds', '1']));
  t.is(ended.code, 0, ended.stderr);
  t.regex(ended.stdout, /^ping round trip +– +[\d.]+ +– +ms +– +– +≤ 1\.50× +1\.10× +–$/m);
  t.regex(ended.stdout, /Linux \d+\.\d+.*Node v\d+/);
});

test.serial('interrupted in the middle of a measurement, it removes what it made and exits with 130', async (t) => {
  t.timeout(60_000);
  const child = start(['l2', '--peer', 'c-relay', '--only', 'ping', '--rounds', '1', '--seconds', '60']);
  const ending = finish(child);
  await until(() => childrenOf(child.pid as number).some((name) => name === 'ping'));
  t.not(remainsOf(child.pid as number).length, 0, 'there was something to remove');
  child.kill('SIGINT');
  const ended = await ending;
  t.is(ended.code, 130, ended.stderr);
  t.regex(ended.stderr, /interrupted/);
  t.deepEqual(remainsOf(ended.pid), []);
});

test.serial('a mistake in the command line is one line and exit code 2', async (t) => {
  const ended = await finish(start(['l2', '--only', 'nonsense']));
  t.is(ended.code, 2);
  t.regex(ended.stderr, /^bench:e2e: --only: expected one of tcp-1, .*; got "nonsense"$/m);
  const impossible = await finish(start(['l2', '--only', 'endpoints', '--peer', 'kernel']));
  t.is(impossible.code, 2);
  t.regex(impossible.stderr, /endpoints needs tapline/);
  const relay = await finish(start(['route', '--peer', 'c-relay']));
  t.is(relay.code, 2);
  t.regex(relay.stderr, /left out: tcp-1 needs kernel or tapline; /);
});

function start(argv: readonly string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function finish(child: ChildProcess): Promise<Ended> {
  const [stdout, stderr] = [linesOf(child.stdout), linesOf(child.stderr)];
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout: await stdout, stderr: await stderr, pid: child.pid as number };
}

async function linesOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  const lines: string[] = [];
  if (stream !== null) for await (const line of createInterface({ input: stream })) lines.push(line);
  return lines.join('\n');
}

/** Namespaces and processes of a run: namespaces carry its pid in their names, and relays have these in their arguments. */
function remainsOf(pid: number): string[] {
  const mark = `tlbench-${pid}-`;
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const processes = readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && textOf(`/proc/${name}/cmdline`).includes(mark),
  );
  return [...namespaces.filter((name) => name.startsWith(mark)), ...processes];
}

function childrenOf(pid: number): string[] {
  const pids = textOf(`/proc/${pid}/task/${pid}/children`).trim().split(' ');
  return pids.map((child) => textOf(`/proc/${child}/comm`).trim());
}

/** Empty for a process that has ended meanwhile. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('waited 30 s in vain');
}
