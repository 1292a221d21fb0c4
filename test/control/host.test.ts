/** Uplinks and host port on a real host (a namespace): what they do to it, how they follow it, and that they leave it as it was. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import type { InterfaceSpec } from '../../control/types.js';
import { withNamespace } from '../../io/netns.js';
import { nftProgram } from '../../io/nft.js';

const LAB = new URL('support/host-lab.js', import.meta.url).pathname;

/** Long, since the machine may be busy; what has a limit is measured. */
const PATIENCE = 10_000;

interface Host {
  readonly name: string;
  ip(...words: string[]): string;
  nft(...words: string[]): string;
  /** All that we might have changed: links, addresses, routes, rules, neighbors that stay, nftables, settings. */
  snapshot(): string;
}

let count = 0;

function makeHost(t: ExecutionContext): Host {
  const name = `tl-host-${process.pid}-${++count}`;
  execFileSync('ip', ['netns', 'add', name]);
  t.teardown(() => {
    spawnSync('ip', ['netns', 'del', name]);
  });
  const inside = (program: string, words: readonly string[]): string =>
    withNamespace(`/run/netns/${name}`, () => execFileSync(program, words, { encoding: 'utf8' }));
  const ip = (...words: string[]): string => inside('ip', words);
  const nft = (...words: string[]): string => inside(nftProgram(), words);
  ip('link', 'set', 'lo', 'up');
  addUplink(ip, 1500);
  const snapshot = (): string =>
    [
      ip('-o', 'address').replace(/valid_lft.*/g, ''),
      ip('-o', 'link'),
      ip('-o', '-4', 'route', 'show', 'table', 'all'),
      ip('-o', '-6', 'route', 'show', 'table', 'all'),
      ip('rule'),
      ip('-o', 'neighbor', 'show', 'nud', 'permanent'),
      nft('list', 'ruleset'),
      inside('sysctl', ['-a', '--pattern', '^net\\.ipv[46]\\.(conf|ip_forward|ip_local)']),
    ].join('\n');
  return { name, ip, nft, snapshot };
}

function addUplink(ip: Host['ip'], mtu: number): void {
  ip('link', 'add', 'up0', 'mtu', `${mtu}`, 'type', 'veth', 'peer', 'name', 'out0');
  for (const device of ['up0', 'out0']) ip('link', 'set', device, 'addrgenmode', 'none', 'up');
  ip('address', 'add', 'fe80::77/64', 'dev', 'up0', 'nodad');
  ip('address', 'add', '10.77.0.1/24', 'dev', 'up0');
  ip('address', 'add', 'fd00:77::1/64', 'dev', 'up0', 'nodad');
  ip('route', 'add', 'default', 'via', '10.77.0.254');
}

interface Told {
  readonly interfaces: readonly InterfaceSpec[];
  readonly routes: readonly string[];
}

interface Lab {
  /** Waits for what the router is told. Resolves to the milliseconds that it took since the call. */
  told(what: string, condition: (told: Told) => boolean): Promise<number>;
  readonly errors: () => string;
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

async function startLab(t: ExecutionContext, host: Host, yaml: string): Promise<Lab> {
  const child: ChildProcess = withNamespace(`/run/netns/${host.name}`, () =>
    spawn(process.execPath, [LAB, yaml], { stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  t.teardown(() => {
    child.kill('SIGKILL');
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let [errors, rest, isReady] = ['', '', false];
  let last: Told = { interfaces: [], routes: [] };
  let wake = (): void => {};
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === 'ready') isReady = true;
      else last = JSON.parse(line) as Told;
    }
    wake();
  });
  const until = async (what: string, condition: () => boolean): Promise<number> => {
    const start = performance.now();
    while (!condition()) {
      if (performance.now() - start > PATIENCE)
        throw new Error(`in vain for ${what}: ${JSON.stringify(last)} ${errors}`);
      await Promise.race([
        new Promise<void>((resolve) => (wake = resolve)),
        new Promise((resolve) => setTimeout(resolve, 5)),
      ]);
    }
    return performance.now() - start;
  };
  await until('ready', () => isReady);
  return {
    told: (what, condition) => until(what, () => condition(last)),
    errors: () => errors,
    end: async (signal) => {
      child.kill(signal);
      await ended;
    },
  };
}

const uplinkOf = ({ interfaces }: Told): InterfaceSpec | undefined => interfaces.find(({ kind }) => kind === 'uplink');

const NETWORKS = `version: 1
networks:
  blue: { subnets: [172.30.0.0/24, "fd00:30::/64"], host: true }
  red: { subnets: [172.31.0.0/24] }
`;
const SHARED = `${NETWORKS}uplink: { device: up0, mode: shared }\n`;
const OWN = `${NETWORKS}uplink: { device: up0, mode: own, addresses: [10.77.0.9/24], gateway: 10.77.0.254 }\n`;

for (const [mode, yaml, other] of [
  ['shared', SHARED, OWN],
  ['own', OWN, SHARED],
] as const) {
  test(`${mode}: at its end the host is as it was, also after kill -9 and another start, in either mode`, async (t) => {
    const host = makeHost(t);
    host.nft('add', 'table', 'inet', 'others');
    const before = host.snapshot();
    await (await startLab(t, host, yaml)).end('SIGTERM');
    t.is(host.snapshot(), before);
    await (await startLab(t, host, yaml)).end('SIGKILL');
    t.not(host.snapshot(), before);
    const again = await startLab(t, host, other);
    t.is(host.nft('list', 'ruleset').includes('tapline_up0'), mode === 'own');
    t.is(
      host
        .ip('-o', 'link')
        .split('\n')
        .filter((line) => /: tapline\d+:/.test(line)).length,
      1,
    );
    await again.end('SIGTERM');
    t.is(host.snapshot(), before);
  });
}

const NEITHER = 'version: 1\nnetworks: { red: { subnets: [172.31.0.0/24] } }\n';

test('what a killed process left is gone once another is up, also where that has neither uplink nor host port', async (t) => {
  const host = makeHost(t);
  // Of another Tapline, which may be alive.
  host.ip('tuntap', 'add', 'tapline7', 'mode', 'tap');
  host.ip('link', 'set', 'tapline7', 'alias', 'tapline:host:00000000');
  host.nft('add', 'table', 'netdev', 'tapline_up7');
  const before = host.snapshot();
  await (await startLab(t, host, SHARED)).end('SIGKILL');
  t.true(host.nft('list', 'ruleset').includes('tapline_up0'));
  t.true(host.ip('link').includes('tapline0'));
  const next = await startLab(t, host, NEITHER);
  t.is(host.snapshot(), before);
  t.regex(next.errors(), /removed what an earlier process left: .*guard tapline_up0/);
  t.regex(next.errors(), /removed what an earlier process left: .*interface tapline0/);
  await next.end('SIGTERM');
  t.is(host.snapshot(), before);
});

test('shared: addresses, gateway, MTU and carrier of the host are followed at once', async (t) => {
  const host = makeHost(t);
  const lab = await startLab(t, host, SHARED);
  await lab.told('the first facts', (told) => {
    const uplink = uplinkOf(told);
    return uplink?.up === true && uplink.linkLocal === 'fe80::77' && told.routes.includes('0.0.0.0/0 via 10.77.0.254');
  });
  const steps: [string, () => void, (told: Told) => boolean][] = [
    ['MTU', () => host.ip('link', 'set', 'up0', 'mtu', '1400'), (told) => uplinkOf(told)?.mtu === 1400],
    ['carrier lost', () => host.ip('link', 'set', 'out0', 'down'), (told) => uplinkOf(told)?.up === false],
    ['carrier back', () => host.ip('link', 'set', 'out0', 'up'), (told) => uplinkOf(told)?.up === true],
    ['set down', () => host.ip('link', 'set', 'up0', 'down'), (told) => uplinkOf(told)?.up === false],
    ['set up', () => host.ip('link', 'set', 'up0', 'up'), (told) => uplinkOf(told)?.up === true],
    [
      'gateway',
      () => host.ip('route', 'replace', 'default', 'via', '10.77.0.253'),
      ({ routes }) => routes.includes('0.0.0.0/0 via 10.77.0.253'),
    ],
    [
      'address',
      () => host.ip('address', 'add', '10.88.0.1/16', 'dev', 'up0'),
      (told) => uplinkOf(told)?.addresses.includes('10.88.0.1/16') === true,
    ],
    [
      'MAC',
      () => host.ip('link', 'set', 'up0', 'address', '02:00:00:00:88:01'),
      (told) => uplinkOf(told)?.mac === '02:00:00:00:88:01',
    ],
  ];
  const delays: number[] = [];
  for (const [what, change, condition] of steps) {
    change();
    delays.push(await lab.told(what, condition));
  }
  // 30 to 90 ms on a machine that has nothing else to do; beside other tests it has.
  const typical = delays.sort((a, b) => a - b)[delays.length >> 1] ?? 0;
  t.true(typical < 500, `${delays.map(Math.round).join(' ')} ms`);
  await lab.end('SIGTERM');
});

for (const [mode, yaml] of [
  ['shared', SHARED],
  ['own', OWN],
] as const) {
  test(`${mode}: a device that is deleted and made again is taken up again`, async (t) => {
    const host = makeHost(t);
    const lab = await startLab(t, host, yaml);
    await lab.told('up', (told) => uplinkOf(told)?.up === true);
    host.ip('link', 'del', 'up0');
    await lab.told('down', (told) => uplinkOf(told)?.up === false && uplinkOf(told)?.port === null);
    addUplink(host.ip, 1420);
    await lab.told('up', (told) => uplinkOf(told)?.up === true && uplinkOf(told)?.mtu === 1420);
    t.is(host.nft('list', 'ruleset').includes('drop'), mode === 'shared');
    await lab.end('SIGTERM');
    t.is(host.nft('list', 'ruleset').includes('drop'), false);
  });
}

test('shared: the guard is back within a second after the rules were flushed, each time', async (t) => {
  const host = makeHost(t);
  const lab = await startLab(t, host, SHARED);
  const whole = host.nft('list', 'ruleset');
  t.regex(whole, /ip daddr @subnets4 drop/);
  for (let i = 0; i < 5; i++) {
    host.nft('flush', 'ruleset');
    const start = performance.now();
    while (host.nft('list', 'ruleset') !== whole) {
      if (performance.now() - start > PATIENCE) throw new Error(`the guard stays away: ${lab.errors()}`);
    }
    t.true(performance.now() - start < 1000);
  }
  await lab.end('SIGTERM');
  t.is(lab.errors().split('was gone from nftables').length, 1 + 5);
});

test('host port: the host has gateway addresses and routes of networks with host: true only', async (t) => {
  const host = makeHost(t);
  const lab = await startLab(t, host, NETWORKS);
  t.regex(host.ip('-o', 'address', 'show', 'dev', 'tapline0'), /inet 172\.30\.0\.1\/32 /);
  t.regex(host.ip('-o', 'address', 'show', 'dev', 'tapline0'), /inet6 fd00:30::1\/128 /);
  t.regex(host.ip('route', 'get', '172.30.0.7'), /^172\.30\.0\.7 via 169\.254\.42\.1 dev tapline0 src 172\.30\.0\.1 /);
  t.regex(host.ip('route', 'get', 'fd00:30::7'), /^fd00:30::7 from :: via fe80::\S+ dev tapline0 .*src fd00:30::1 /);
  t.notRegex(host.ip('route', 'get', '172.31.0.7'), /tapline0/);
  await lab.end('SIGTERM');
  t.notRegex(host.ip('-o', 'link'), /tapline/);
});
