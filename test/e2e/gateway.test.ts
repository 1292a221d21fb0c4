/** What a network says of its gateway, its addresses and its MTU; and the gateway as no detour between those who are kept apart. */

import test from 'ava';
import { ping, startAgent } from './support/agent.js';
import { addressIn, createCity, FAMILIES, FAR, type Family, subnetsOf } from './support/city.js';
import { sendFrames, tcpdump, tshark } from './support/frames.js';
import { accounted, droppedFor } from './support/identity.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { buildFrames } from './support/scapy.js';
import { failTapline, startTapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

/** Frames of each family. */
const DETOURS = 100;

interface Link {
  readonly mtu: number;
  readonly address: string;
}

async function linkOf(namespace: Namespace, device = 'eth0'): Promise<Link> {
  return (JSON.parse(await namespace.exec('ip', '-json', 'link', 'show', 'dev', device)) as [Link])[0];
}

/** MAC that a namespace believes at an address; undefined: none. */
async function neighborOf(namespace: Namespace, address: string): Promise<string | undefined> {
  const text = await namespace.exec('ip', '-json', 'neigh', 'show', 'to', address);
  return (JSON.parse(text) as { lladdr?: string }[])[0]?.lladdr;
}

test.serial('isolated endpoints do not reach each other by a detour over the gateway either', async (t) => {
  const place = { network: 'lonely', subnet: 31, config: { isolated: true }, people: ['leo', 'lou'] };
  const { tapline, people } = await createCity(t, [place]);
  const [leo, lou] = [people.get('leo')!, people.get('lou')!];
  const gateway = addressIn(31, 1);
  // The gateway knows both, so that nothing but isolation keeps a packet back.
  for (const { namespace } of [leo, lou]) {
    for (const family of FAMILIES) t.is(await ping(namespace, gateway[family]), 'reply');
  }
  const leoMac = (await linkOf(leo.namespace)).address;
  const gatewayMac = (await neighborOf(leo.namespace, gateway[4]))!;
  const probe = (family: Family): string => {
    const header = `${family === 4 ? 'IP' : 'IPv6'}(src='${leo.addresses[family]}', dst='${lou.addresses[family]}')`;
    return `Ether(src=leo, dst=gateway)/${header}/UDP(sport=9, dport=9)/b'detour'`;
  };
  const frames = await buildFrames({ 4: probe(4), 6: probe(6) }, { leo: leoMac, gateway: gatewayMac });
  const heard = await tcpdump(t, lou.namespace, { direction: 'in', filter: 'udp port 9 or tcp or icmp[0] == 8' });
  const before = droppedFor(await tapline.quiet(), 'isolated');
  // Far more than there is of multicast that isolation stops meanwhile.
  await sendFrames(
    leo.namespace,
    Array.from({ length: 2 * DETOURS }, (_, i) => frames[i % 2 === 0 ? 4 : 6]),
  );
  const isolated = async (): Promise<number> => droppedFor(await tapline.drops(), 'isolated') - before;
  await eventually('all to be dropped', async () => (await isolated()) >= 2 * DETOURS);

  // The same with a route, as a kernel would do it.
  for (const family of FAMILIES) {
    const to = `${lou.addresses[family]}/${family === 4 ? 32 : 128}`;
    await leo.namespace.exec('ip', `-${family}`, 'route', 'add', to, 'via', gateway[family]);
  }
  const attempts = FAMILIES.flatMap((family) => [
    ping(leo.namespace, lou.addresses[family]),
    leo.agent.ask(lou.addresses[family]),
  ]);
  t.deepEqual(await Promise.all(attempts), ['silence', { error: 'ETIMEDOUT' }, 'silence', { error: 'ETIMEDOUT' }]);
  // What may come does come, and is heard.
  const { agent } = people.get('outside')!;
  t.like(await agent.ask(lou.addresses[4]), { name: 'lou' });
  await heard.frames();
  const sources = (await tshark(heard.path, ['ip.src', 'ipv6.src'])).map((values) => values.join(''));
  t.true(sources.length > 0);
  t.deepEqual(
    sources.filter((source) => source !== FAR[4]),
    [],
  );
  await accounted(t, tapline);
});

test.serial('gateway address and MAC, range, and MTU are what the network says', async (t) => {
  const [one, other, third] = [await createNamespace(t), await createNamespace(t), await createNamespace(t)];
  const gateway = { 4: '172.30.32.254', 6: 'fd00:32::fe' };
  const networks = {
    blue: {
      subnets: subnetsOf(32),
      gateways: Object.values(gateway),
      gateway_mac: '02:00:5e:00:53:01',
      range: ['172.30.32.128/30', 'fd00:32::8000/126'],
      mtu: 1400,
    },
    red: { subnets: subnetsOf(33), mtu: 9000 },
  };
  const endpoints = {
    one: { network: 'blue', netns: one.path },
    other: { network: 'blue', netns: other.path, addresses: ['172.30.32.9', 'fd00:32::9'] },
    third: { network: 'red', netns: third.path },
  };
  const vrfs = { default: { interconnect: true } };
  const tapline = await startTapline(t, { version: 1, vrfs, networks, endpoints });
  const view = (await tapline.endpoints()).find(({ name }) => name === 'one')!;
  t.deepEqual(view.addresses, ['172.30.32.128/24', 'fd00:32::8000/64'], 'the first free ones of the ranges');
  for (const family of FAMILIES) {
    const text = await one.exec('ip', '-json', `-${family}`, 'route', 'show', 'default');
    t.deepEqual(
      (JSON.parse(text) as { gateway: string }[]).map((route) => route.gateway),
      [gateway[family]],
    );
    t.is(await ping(one, gateway[family]), 'reply');
    t.is(await neighborOf(one, gateway[family]), '02:00:5e:00:53:01');
    t.is(await ping(third, addressIn(33, 1)[family]), 'reply', 'without options: the first address');
  }
  t.is(await neighborOf(third, '172.30.33.1'), '02:42:ac:1e:21:01', 'as Docker derives MACs');
  // Of the four in the range one is taken.
  for (const name of ['c', 'd', 'e']) {
    const namespace = await createNamespace(t);
    await tapline.ok('connect', 'blue', '--netns', namespace.path, '--name', name);
  }
  const full = await tapline.cli('connect', 'blue', '--netns', (await createNamespace(t)).path, '--name', 'f');
  t.not(full.code, 0);
  t.regex(full.stderr, /blue/);
  t.is(full.stderr.trim().split('\n').length, 1);

  t.is((await linkOf(one)).mtu, 1400);
  t.is((await linkOf(third)).mtu, 9000);
  const [address] = (await tapline.endpoints()).find(({ name }) => name === 'third')!.addresses;
  const size = async (from: Namespace, to: string, bytes: number): Promise<string> =>
    ping(from, to.split('/')[0]!, '-M', 'do', '-s', String(bytes - 28));
  t.is(await size(one, address!, 1400), 'reply', 'both may carry it');
  t.regex(
    (await third.run(['ping', '-n', '-c', '1', '-W', '5', '-M', 'do', '-s', '1373', '172.30.32.9'])).stdout,
    /mtu ?= ?1400/,
  );
  await accounted(t, tapline);
});

test.serial('a gateway answers ARP and neighbor discovery for proxied prefixes, and for nothing else', async (t) => {
  const [near, far] = [await createNamespace(t), await createNamespace(t)];
  const networks = {
    near: { subnets: ['172.30.0.0/16', 'fd00:30::/48'], proxy: ['172.31.5.0/24', 'fd00:31:0:5::/64'] },
    far: { subnets: ['172.31.5.0/24', 'fd00:31:0:5::/64'] },
  };
  const endpoints = {
    near: { network: 'near', netns: near.path, addresses: ['172.30.0.2', 'fd00:30::2'] },
    far: { network: 'far', netns: far.path, addresses: ['172.31.5.2', 'fd00:31:0:5::2'] },
  };
  const tapline = await startTapline(t, { version: 1, vrfs: { default: { interconnect: true } }, networks, endpoints });
  await startAgent(t, far, 'far');
  const agent = await startAgent(t, near, 'near');
  const there = { 4: '172.31.5.2', 6: 'fd00:31:0:5::2' };
  const elsewhere = { 4: '172.31.6.2', 6: 'fd00:31:0:6::2' };
  for (const family of FAMILIES) {
    // As from a host that believes all of it to be on its link, and knows no gateway.
    await near.exec('ip', `-${family}`, 'route', 'del', 'default');
    await near.exec('ip', `-${family}`, 'route', 'add', family === 4 ? '172.31.0.0/16' : 'fd00:31::/48', 'dev', 'eth0');
    t.is(await ping(near, there[family]), 'reply');
    t.deepEqual(await agent.ask(there[family]), { name: 'far', seenAs: family === 4 ? '172.30.0.2' : 'fd00:30::2' });
    t.is(await neighborOf(near, there[family]), '02:42:ac:1e:00:01', "the gateway's MAC");
    t.is(await ping(near, elsewhere[family]), 'host unreachable');
  }
  await accounted(t, tapline);
});

test.serial('what contradicts itself is refused in one line that names it', async (t) => {
  const refused = async (config: object, pattern: RegExp): Promise<void> => {
    const result = await failTapline(t, { version: 1, ...config });
    t.is(result.code, 2, result.stderr);
    t.is(result.stderr.trim().split('\n').length, 1, result.stderr);
    t.regex(result.stderr, pattern);
    t.true(result.stderr.includes(result.file), result.stderr);
  };
  const blue = { subnets: ['172.30.0.0/24', 'fd00:30::/64'] };
  await refused(
    { networks: { blue: { ...blue, gateways: ['172.31.0.1'] } } },
    /networks\.blue\.gateways\[0\].*172\.30\.0\.0\/24.*172\.31\.0\.1/,
  );
  await refused(
    { networks: { blue: { ...blue, gateways: ['fd00:31::1'] } } },
    /networks\.blue\.gateways\[0\].*fd00:31::1/,
  );
  await refused(
    { networks: { blue, red: { subnets: ['172.30.0.128/25'] } } },
    /networks\.red\.subnets\[0\].*overlaps 172\.30\.0\.0\/24 of network blue/,
  );
  await refused(
    { networks: { blue, red: { subnets: ['fd00::/16'] } } },
    /networks\.red\.subnets\[0\].*overlaps fd00:30::\/64/,
  );
  await refused({ networks: { blue: { ...blue, range: ['172.31.0.0/25'] } } }, /networks\.blue\.range\[0\]/);
});

test.serial('the same subnets are no conflict in another VRF, nor while running', async (t) => {
  const blue = { subnets: subnetsOf(34) };
  const tapline = await startTapline(t, { version: 1, networks: { blue, lab: { ...blue, vrf: 'lab' } } });
  const create = (name: string, ...more: string[]): ReturnType<typeof tapline.cli> =>
    tapline.cli('network', 'create', name, '--subnet', '172.30.34.64/26', ...more);
  const red = await create('red');
  t.not(red.code, 0);
  t.regex(red.stderr, /172\.30\.34\.64\/26 overlaps 172\.30\.34\.0\/24 of network blue/);
  t.is((await create('green', '--vrf', 'other')).code, 0);
  const outside = await tapline.cli(
    'network',
    'create',
    'odd',
    '--subnet',
    '172.30.35.0/24',
    '--gateway',
    '172.30.36.1',
  );
  t.not(outside.code, 0);
  t.regex(outside.stderr, /172\.30\.36\.1/);
});
