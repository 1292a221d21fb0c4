/** The examples that route, brought up as they are, but for the names of their namespaces; and what each says of itself. */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { createNamespace, type Namespace } from './support/namespace.js';
import { must } from './support/process.js';
import { type Answer, ask, fetchFrom, serve } from './support/published.js';
import { untilBackend } from './support/services.js';
import { startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

const PING = ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '3'];

interface Example {
  readonly tapline: Tapline;
  /** Where the daemon runs. */
  readonly host: Namespace;
  /** On the wire behind `up0`, at 10.77.0.254 and fd00:77::fe. */
  readonly outside: Namespace;
  /** By the names in the file. */
  readonly inside: Readonly<Record<string, Namespace>>;
}

/** @param prepare what the example asks for besides namespaces */
async function bringUp(
  t: ExecutionContext,
  name: string,
  prepare: (host: Namespace, outside: Namespace) => Promise<unknown> = async () => {},
): Promise<Example> {
  const host = await createNamespace(t);
  const outside = await createNamespace(t);
  const veth = ['up0', 'type', 'veth', 'peer', 'name', 'out0', 'netns', outside.name];
  await must(['ip', '-n', host.name, 'link', 'add', ...veth]);
  await host.exec('ip', 'link', 'set', 'up0', 'up');
  await outside.exec('ip', 'link', 'set', 'out0', 'up');
  await outside.exec('ip', 'address', 'add', '10.77.0.254/24', 'dev', 'out0');
  await outside.exec('ip', 'address', 'add', 'fd00:77::fe/64', 'dev', 'out0', 'nodad');
  await prepare(host, outside);
  let text = readFileSync(`examples/${name}.yaml`, 'utf8');
  const inside: Record<string, Namespace> = {};
  const names = [...text.matchAll(/netns: \/run\/netns\/(\w+)/g)].map(([, each]) => each as string);
  for (const each of new Set(names)) {
    const namespace = await createNamespace(t);
    inside[each] = namespace;
    text = text.replaceAll(new RegExp(`/run/netns/${each}\\b`, 'g'), namespace.path);
  }
  return { tapline: await startTapline(t, text, { netns: host }), host, outside, inside };
}

async function addressesOf({ tapline }: Example, name: string): Promise<string[]> {
  const endpoint = (await tapline.endpoints()).find((each) => each.name === name);
  return (endpoint?.addresses ?? []).map((address) => address.split('/', 1)[0] as string);
}

async function ping(from: Namespace | undefined, address: string): Promise<void> {
  await must(from?.argv(...PING, address) ?? []);
}

async function dropped({ tapline }: Example, reason: string): Promise<number> {
  return (await tapline.drops()).drops.find((drop) => drop.reason === reason)?.rx ?? 0;
}

test.serial('two-networks: two that reach each other, one that is internal, one with the host', async (t) => {
  const example = await bringUp(t, 'two-networks');
  const { a, b, c, d } = example.inside;
  const [own, own6 = ''] = await addressesOf(example, 'a');
  t.is(own, '172.30.0.128', 'the first of the range');
  await ping(a, '172.31.0.2');
  await ping(b, own6);
  await ping(d, '172.33.0.1');
  await ping(example.host, (await addressesOf(example, 'd'))[0] as string);
  t.regex((await c?.exec('ip', 'route', 'show', 'default')) ?? '', /^default via 172\.31\.0\.1 dev eth1 /);
  await eventually('an address by SLAAC', async () =>
    /inet6 fd00:30::[\da-f:]+ff:fe[\da-f:]+\/64 .*dynamic/.test((await a?.exec('ip', '-6', 'address')) ?? ''),
  );
  for (const [address = '', reason] of [
    [(await addressesOf(example, 'c-secret'))[0], 'internal'],
    ['10.66.0.1', 'blackhole'],
    ['172.33.0.2', 'no_route'],
  ] as const) {
    const before = await dropped(example, reason);
    const result = await a?.run([...PING.slice(0, -1), '1', address]);
    t.is(result?.code, 1, address);
    t.is(await dropped(example, reason), before + 2, reason);
  }
});

test.serial('own-uplink: to the wire and back, and the host has no address there', async (t) => {
  const example = await bringUp(t, 'own-uplink', (_host, outside) =>
    outside.exec('ip', 'route', 'add', '172.30.0.0/24', 'via', '10.77.0.1'),
  );
  await ping(example.inside.a, '10.77.0.254');
  await ping(example.outside, (await addressesOf(example, 'a'))[0] as string);
  t.is(await example.host.exec('ip', '-4', 'address', 'show', 'dev', 'up0'), '');
});

test.serial("shared-uplink: the same by the host's address", async (t) => {
  const example = await bringUp(t, 'shared-uplink', async (host, outside) => {
    await host.exec('ip', 'address', 'add', '10.77.0.1/24', 'dev', 'up0');
    await host.exec('ip', 'route', 'add', 'default', 'via', '10.77.0.254');
    await outside.exec('ip', 'route', 'add', '172.30.0.0/24', 'via', '10.77.0.1');
  });
  await ping(example.inside.a, '10.77.0.254');
  await ping(example.outside, (await addressesOf(example, 'a'))[0] as string);
  await ping(example.host, '10.77.0.254');
  await ping(example.outside, '10.77.0.1');
  await example.tapline.stop();
  t.is(await example.host.exec('/usr/sbin/nft', 'list', 'ruleset'), '');
});

test.serial('proxy-uplink: nobody outside needs a route', async (t) => {
  const example = await bringUp(t, 'proxy-uplink');
  for (const address of await addressesOf(example, 'a')) await ping(example.outside, address);
  for (const address of ['10.77.0.254', 'fd00:77::fe']) await ping(example.inside.a, address);
  const routes = (await example.outside.exec('ip', 'route')) + (await example.outside.exec('ip', '-6', 'route'));
  t.false(routes.includes(' via '), routes);
});

/** Whom an answer takes its client for, and who gave it. */
function seen(answer: Answer | null): string | null {
  return answer === null ? null : `${answer.name} saw ${answer.peer}`;
}

test.serial('nat: addresses outside, published ports and rules, each as the file says it', async (t) => {
  const example = await bringUp(t, 'nat', (_host, outside) =>
    outside.exec('ip', 'route', 'add', '2001:db8:77::/64', 'via', 'fd00:77::1'),
  );
  const { tapline, outside } = example;
  const { web, db, c } = example.inside as Record<'web' | 'db' | 'c', Namespace>;
  await serve(t, outside, 'outside', [25, 80]);
  await serve(t, web, 'web', [53, 80, 6003]);
  await serve(t, db, 'db', [80, 5432]);
  t.is(seen(await fetchFrom(web, '10.77.0.254', 80)), 'outside saw 10.77.0.1');
  t.is(seen(await fetchFrom(web, 'fd00:77::fe', 80)), 'outside saw fd00:77::1');
  t.regex(seen(await fetchFrom(db, '10.77.0.254', 80)) ?? '', /^outside saw 10\.77\.0\.1[01]$/);
  t.regex(seen(await fetchFrom(c, 'fd00:77::fe', 80)) ?? '', /^outside saw 2001:db8:77:/);
  t.is(seen(await fetchFrom(outside, '10.77.0.1', 8080)), 'web saw 10.77.0.254');
  t.is(seen(await fetchFrom(outside, 'fd00:77::1', 8080)), 'web saw fd00:77::fe');
  t.is(seen(await fetchFrom(outside, '10.77.0.1', 6003)), 'web saw 10.77.0.254');
  t.is(seen(await ask(t, outside, '10.77.0.1', 5353)), 'web saw 10.77.0.254');
  t.is(seen(await fetchFrom(web, '172.31.0.2', 5432)), 'db saw 172.30.0.2', 'a rule lets networks reach each other');
  t.is(await fetchFrom(web, '172.31.0.2', 80), null);
  t.is(await fetchFrom(web, '10.77.0.254', 25), null);
  const hits = JSON.parse(await tapline.ok('policy', 'ls', '--json')) as { number: number | null; hits: number }[];
  t.deepEqual(
    hits.filter(({ number }) => number !== null).map((rule) => rule.hits),
    [1, 1],
  );
});

test.serial("published-shared: ports of the host, from outside and at the host's 127.0.0.1", async (t) => {
  const example = await bringUp(t, 'published-shared', async (host) => {
    await host.exec('ip', 'address', 'add', '10.77.0.1/24', 'dev', 'up0');
    await host.exec('ip', 'link', 'set', 'lo', 'up');
  });
  const { host, outside } = example;
  const web = example.inside.web as Namespace;
  await serve(t, web, 'web', [80, 6003]);
  await serve(t, outside, 'outside', [80]);
  t.is(seen(await fetchFrom(web, '10.77.0.254', 80)), 'outside saw 10.77.0.1');
  t.is(seen(await fetchFrom(outside, '10.77.0.1', 8080)), 'web saw 10.77.0.254');
  t.is(seen(await ask(t, outside, '10.77.0.1', 6003)), 'web saw 10.77.0.254');
  for (const [address, port] of [
    ['127.0.0.1', 8080],
    ['10.77.0.1', 8080],
    ['127.0.0.1', 9090],
  ] as const)
    t.regex(seen(await fetchFrom(host, address, port)) ?? '', /^web saw /, `${address}:${port} on the host`);
  t.is(await fetchFrom(outside, '10.77.0.1', 9090), null, 'the host alone');
  await example.tapline.stop();
  t.is(await host.exec('/usr/sbin/nft', 'list', 'ruleset'), '');
});

test.serial(
  'services: from outside by weight, inside at an address of the network, and straight from the backends',
  async (t) => {
    const { tapline, outside, inside } = await bringUp(t, 'services');
    const { a, b, c } = inside as Record<'a' | 'b' | 'c', Namespace>;
    for (const [name, backend] of Object.entries({ a, b })) {
      await backend.exec('sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=1', 'net.ipv4.conf.all.arp_announce=2');
      await backend.exec('ip', 'link', 'set', 'lo', 'up');
      await backend.exec('ip', 'address', 'add', '172.30.0.101/32', 'dev', 'lo');
      await serve(t, backend, name, [80]);
    }
    for (const key of ['a:80', 'b:80']) await untilBackend(tapline, key, ({ state }) => state === 'up');
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(seen(await fetchFrom(outside, '10.77.0.1', 8080)));
    t.deepEqual(answers.sort(), [
      ...Array<string>(2).fill('a saw 10.77.0.254'),
      ...Array<string>(4).fill('b saw 10.77.0.254'),
    ]);
    t.regex(seen(await fetchFrom(outside, 'fd00:77::1', 8080)) ?? '', /^[ab] saw fd00:77::fe$/);
    t.regex(seen(await fetchFrom(c, '172.30.0.100', 80)) ?? '', /^[ab] saw 172\.30\.0\.1$/);
    t.regex(
      seen(await fetchFrom(a, '10.77.0.1', 8080)) ?? '',
      /^[ab] saw 172\.30\.0\.1$/,
      'a backend asks its own service',
    );
    t.regex(seen(await fetchFrom(c, 'fd00:30::100', 80)) ?? '', /^[ab] saw fd00:30::1$/);
    const direct = [seen(await fetchFrom(c, '172.30.0.101', 80)), seen(await fetchFrom(c, '172.30.0.101', 80))];
    const own = (await c.exec('ip', '-4', '-o', 'address', 'show', 'dev', 'eth0')).match(/inet ([\d.]+)/)?.[1];
    t.deepEqual(direct.sort(), [`a saw ${own}`, `b saw ${own}`]);
  },
);

/** What the second of two hosts has in place of what the first has, as the example says; by what stands in its file. */
const SECOND: readonly (readonly [from: string, to: string])[] = [
  ['10.77.0.1', '10.77.0.x'],
  ['10.77.0.2', '10.77.0.1'],
  ['10.77.0.x', '10.77.0.2'],
  ['range: [172.30.0.0/25, "fd00:30::/65"]', 'range: [172.30.0.128/25, "fd00:30:0:0:8000::/65"]'],
  ['range: [172.31.0.0/25]', 'range: [172.31.0.128/25]'],
  ['device: up0', 'device: out0'],
];

test.serial('vxlan: two hosts, by remotes and by a group', async (t) => {
  const first = await bringUp(t, 'vxlan');
  let text = readFileSync('examples/vxlan.yaml', 'utf8');
  for (const [from, to] of SECOND) {
    t.true(text.includes(from), from);
    text = text.replaceAll(from, to);
  }
  const inside: Record<string, Namespace> = {};
  for (const [name, was] of [
    ['c', 'a'],
    ['d', 'b'],
  ] as const) {
    inside[name] = await createNamespace(t);
    text = text
      .replace(`${was}: { network`, `${name}: { network`)
      .replace(`/run/netns/${was} `, `${inside[name].path} `);
  }
  const tapline = await startTapline(t, text, { netns: first.outside });
  const { a, b } = first.inside as Record<'a' | 'b', Namespace>;
  const second = { ...first, tapline, host: first.outside, inside };
  const [near = '', near6 = ''] = await addressesOf(first, 'a');
  const [far = '', far6 = ''] = await addressesOf(second, 'c');
  t.is(far, '172.30.0.128', 'what the file says to ping');
  for (const address of [far, far6]) await ping(a, address);
  for (const address of [near, near6]) await ping(inside.c, address);
  await ping(b, (await addressesOf(second, 'd'))[0] as string);
  t.regex(await a.exec('ip', 'link', 'show', 'eth0'), / mtu 1450 /);
});
