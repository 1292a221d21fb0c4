/** Endpoints of several networks in one namespace: who has the default route, and that replies leave where requests came in. */

import { execFileSync, spawnSync } from 'node:child_process';
import test from 'ava';
import { pino } from 'pino';
import { type EndpointConfig, endpointSchema } from '../../control/config/schema.js';
import { NamespaceRoutes } from '../../control/namespace-routes.js';
import { realSystem } from '../../control/system.js';
import { attachTap, type Tap, type TapRoute } from '../../io/tap.js';
import { config, eventually, type Fixture, leftovers, makeFixture, NETWORKS } from './support/fixture.js';

const endpoint = (network: string, part: Record<string, unknown> = {}): EndpointConfig =>
  endpointSchema.parse({ network, netns: '/ns/a', ...part });

/** What is inside the namespace by plan, besides what attachTap made. */
const inside = ({ system }: Fixture, family = 4): string[] => [...(system.inside.get(`/ns/a -${family}`) ?? [])].sort();
const routesOf = ({ system }: Fixture, device: string): string[] =>
  (system.taps.get(`/ns/a ${device}`)?.routes ?? []).map(({ via }) => via ?? '');

async function makeDaemon(): Promise<Fixture> {
  const fixture = makeFixture();
  fixture.system.addNamespace('/ns/a');
  await fixture.daemon.apply(config(NETWORKS));
  return fixture;
}

const BOTH_IPV4 = [
  'route 0.0.0.0/0 via 172.30.0.1 dev eth0 metric 100',
  'route 0.0.0.0/0 via 172.30.0.1 dev eth0 table 742000',
  'route 0.0.0.0/0 via 172.31.0.1 dev eth1 metric 101',
  'route 0.0.0.0/0 via 172.31.0.1 dev eth1 table 742001',
  'route 172.30.0.0/24 dev eth0 table 742000',
  'route 172.31.0.0/30 dev eth1 table 742001',
  'rule from 172.30.0.2 lookup 742000 priority 7420',
  'rule from 172.31.0.2 lookup 742001 priority 7420',
];

/** What attachTap has put into the namespace stands there for `ip` too. */
function settle({ system }: Fixture, ...lines: string[]): void {
  system.inside.set('/ns/a -4', new Set([...(system.inside.get('/ns/a -4') ?? []), ...lines]));
}

/** The kernel takes the routes of an interface along. */
function taken({ system }: Fixture, device: string): void {
  for (const [key, lines] of system.inside) {
    system.inside.set(key, new Set([...lines].filter((line) => !line.includes(` dev ${device}`))));
  }
}

test('one endpoint needs no plan: its default routes are plain', async (t) => {
  const fixture = await makeDaemon();
  await fixture.daemon.connect('a', endpoint('blue'));
  t.deepEqual(routesOf(fixture, 'eth0'), ['172.30.0.1', 'fd00:30::1']);
  t.is(fixture.system.inside.size, 0);
  await fixture.daemon.stop();
});

test('two endpoints: one default route comes first, each address has its way back; undone when one leaves', async (t) => {
  const fixture = await makeDaemon();
  const { daemon } = fixture;
  await daemon.connect('a', endpoint('blue'));
  settle(fixture, 'route 0.0.0.0/0 via 172.30.0.1 dev eth0');
  await daemon.connect('b', endpoint('red', { interface: 'eth1' }));
  t.deepEqual(routesOf(fixture, 'eth1'), [], 'its routes are made together with the others');
  t.deepEqual(inside(fixture), BOTH_IPV4);
  t.deepEqual(inside(fixture, 6), [
    'route ::/0 via fd00:30::1 dev eth0 metric 100',
    'route ::/0 via fd00:30::1 dev eth0 table 742000',
    'route fd00:30::/64 dev eth0 table 742000',
    'rule from fd00:30::2 lookup 742000 priority 7420',
  ]);
  taken(fixture, 'eth0');
  await daemon.disconnect('a');
  t.deepEqual(inside(fixture), ['route 0.0.0.0/0 via 172.31.0.1 dev eth1']);
  t.deepEqual(inside(fixture, 6), []);
  taken(fixture, 'eth1');
  await daemon.disconnect('b');
  t.deepEqual(inside(fixture), []);
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

for (const [what, first, second, gateway] of [
  ['the highest priority', { gateway_priority: 1 }, { gateway_priority: 2 }, '172.31.0.1'],
  ['among equals the first network by name', { gateway_priority: 3 }, { gateway_priority: 3 }, '172.30.0.1'],
  ['a priority below zero is lower than none', { gateway_priority: -1 }, {}, '172.31.0.1'],
] as const) {
  test(`the default route: ${what}`, async (t) => {
    const fixture = await makeDaemon();
    await fixture.daemon.connect('a', endpoint('blue', first));
    await fixture.daemon.connect('b', endpoint('red', { interface: 'eth1', ...second }));
    t.deepEqual(
      inside(fixture)
        .filter((line) => line.includes('metric 100'))
        .map((line) => line.split(' ')[3]),
      [gateway],
    );
    await fixture.daemon.stop();
  });
}

test('endpoints that come at once have the same routes as those that come one by one', async (t) => {
  const fixture = makeFixture();
  fixture.system.addNamespace('/ns/a');
  await fixture.daemon.apply(
    config(`${NETWORKS}endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: red, netns: /ns/a, interface: eth1 }
`),
  );
  t.deepEqual(inside(fixture), BOTH_IPV4);
  await fixture.daemon.stop();
});

test('an internal network leads nowhere: no default route, no rule', async (t) => {
  const fixture = makeFixture();
  fixture.system.addNamespace('/ns/a');
  await fixture.daemon.apply(
    config(`version: 1
networks: { blue: { subnets: [172.30.0.0/24], internal: true }, red: { subnets: [172.31.0.0/30] } }
endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: red, netns: /ns/a, interface: eth1 }
`),
  );
  t.deepEqual(inside(fixture), [
    'route 0.0.0.0/0 via 172.31.0.1 dev eth1 metric 100',
    'route 0.0.0.0/0 via 172.31.0.1 dev eth1 table 742001',
    'route 172.31.0.0/30 dev eth1 table 742001',
    'rule from 172.31.0.2 lookup 742001 priority 7420',
  ]);
  await fixture.daemon.stop();
});

test('what an earlier process has left is put right, and what is not ours stays', async (t) => {
  const fixture = await makeDaemon();
  settle(
    fixture,
    'rule from 172.31.0.2 lookup 742007 priority 7420',
    'rule from 172.31.0.2 lookup 100 priority 7420',
    'rule from 10.0.0.1 lookup 742007 priority 500',
    'route 0.0.0.0/0 via 172.31.0.1 dev eth1 table 742007',
    'route 0.0.0.0/0 via 172.30.0.9 dev eth0 metric 5',
    'route 10.0.0.0/8 via 172.30.0.9 dev eth0 table 100',
  );
  await fixture.daemon.connect('a', endpoint('blue'));
  await fixture.daemon.connect('b', endpoint('red', { interface: 'eth1' }));
  t.deepEqual(
    inside(fixture),
    [
      ...BOTH_IPV4,
      'rule from 172.31.0.2 lookup 100 priority 7420',
      'rule from 10.0.0.1 lookup 742007 priority 500',
      'route 0.0.0.0/0 via 172.30.0.9 dev eth0 metric 5',
      'route 10.0.0.0/8 via 172.30.0.9 dev eth0 table 100',
    ].sort(),
  );
  await fixture.daemon.stop();
});

test('a kernel without policy routing: metrics only, said once a family', async (t) => {
  const fixture = await makeDaemon();
  fixture.system.withoutRules = true;
  await fixture.daemon.connect('a', endpoint('blue'));
  await fixture.daemon.connect('b', endpoint('red', { interface: 'eth1' }));
  t.deepEqual(inside(fixture), [
    'route 0.0.0.0/0 via 172.30.0.1 dev eth0 metric 100',
    'route 0.0.0.0/0 via 172.31.0.1 dev eth1 metric 101',
  ]);
  await fixture.daemon.connect('c', endpoint('blue', { interface: 'eth2' }));
  t.deepEqual(
    fixture.logs.filter((line) => line.includes('policy routing')),
    [4, 6].map(
      (family) =>
        `warn no policy routing for IPv${family} (ip -4 rule show: RTNETLINK answers: Operation not supported): replies of endpoints in several networks may leave by another than the request came in`,
    ),
  );
  await fixture.daemon.stop();
});

test('endpoints that leave at once do not wait for each other', async (t) => {
  const fixture = await makeDaemon();
  const { daemon, system, logs } = fixture;
  const attach = system.attachTap.bind(system);
  system.attachTap = async (options) => {
    const tap = await attach(options);
    // The kernel takes its time: the device of one has gone, and that endpoint has not yet heard of it, when the other leaves.
    const pause = options.interface === 'eth1' ? 50 : 0;
    const detach = async (): Promise<void> => {
      await tap.detach();
      await new Promise((resolve) => setTimeout(resolve, pause));
    };
    return { ...tap, detach };
  };
  await daemon.connect('a', endpoint('blue'));
  await daemon.connect('b', endpoint('red', { interface: 'eth1' }));
  const run = system.runIpInside.bind(system);
  system.runIpInside = (netns, lines, family) => {
    const gone = lines.find(
      (line) => line.includes(' add ') && !system.taps.has(`/ns/a ${/dev (\S+)/.exec(line)?.[1]}`),
    );
    return gone === undefined ? run(netns, lines, family) : Promise.reject(new Error(`ip ${gone}: Cannot find device`));
  };
  await daemon.stop();
  t.deepEqual(
    logs.filter((line) => line.startsWith('warn')),
    [],
  );
  t.deepEqual(leftovers(fixture), []);
});

test('routes that cannot be set are said', async (t) => {
  const fixture = await makeDaemon();
  const { daemon, system, logs } = fixture;
  await daemon.connect('a', endpoint('blue'));
  system.runIpInside = () => Promise.reject(new Error('ip route add: no such thing'));
  await daemon.connect('b', endpoint('red', { interface: 'eth1' }));
  t.deepEqual(
    logs.filter((line) => line.startsWith('warn')),
    new Array(2).fill('warn routes of the namespace of endpoints a, b not set: ip route add: no such thing'),
  );
  await daemon.stop();
});

test('a namespace that went away is not waited for', async (t) => {
  const fixture = await makeDaemon();
  const { daemon, system, logs } = fixture;
  await daemon.connect('a', endpoint('blue'));
  await daemon.connect('b', endpoint('red', { interface: 'eth1' }));
  system.namespaces.delete('/ns/a');
  await eventually(() => daemon.endpoints.size === 0);
  t.deepEqual(
    logs.filter((line) => line.startsWith('warn routes of')),
    [],
  );
  t.deepEqual(leftovers(fixture), []);
  await daemon.stop();
});

test.serial('in a real namespace: replies leave where the request came in, and nothing is left', async (t) => {
  const name = `tl-nsr-${process.pid}`;
  const netns = `/run/netns/${name}`;
  execFileSync('ip', ['netns', 'add', name]);
  t.teardown(() => void spawnSync('ip', ['netns', 'del', name]));
  const ip = (...words: string[]): string => execFileSync('ip', ['-n', name, ...words], { encoding: 'utf8' });
  const make = (device: string, mac: string, addresses: string[], routes: TapRoute[]): Promise<Tap> =>
    attachTap({ netns, interface: device, mac, mtu: 1500, addresses, routes, alias: `tapline:${device}` });
  const routes = new NamespaceRoutes(realSystem, pino({ level: 'silent' }));
  const members = [
    {
      device: 'eth0',
      network: 'blue',
      addresses: ['172.30.0.2/24', 'fd30::2/64'],
      gateways: ['172.30.0.1', 'fd30::1'],
    },
    { device: 'eth1', network: 'red', addresses: ['172.31.0.2/24', 'fd31::2/64'], gateways: ['172.31.0.1', 'fd31::1'] },
  ];
  const taps: Tap[] = [];
  for (const [at, { device, network, addresses, gateways }] of members.entries()) {
    routes.join('id', netns, { name: device, network, interface: device, priority: at, addresses, gateways });
    const alone = routes.isAlone('id');
    const plain = alone ? gateways.map((via) => ({ to: via.includes(':') ? '::/0' : '0.0.0.0/0', via })) : [];
    taps.push(await make(device, `02:00:00:00:00:0${at + 1}`, addresses, plain));
    await routes.arrived('id', device, alone);
  }
  const wayOf = (...words: string[]): string => /via (\S+) dev (\S+)/.exec(ip('route', 'get', ...words))?.[0] ?? '';
  t.is(wayOf('10.1.1.1'), 'via 172.31.0.1 dev eth1', 'the higher priority has the default route');
  t.is(ip('route', 'get', '10.1.1.1', 'from', '172.30.0.2').includes('via 172.30.0.1 dev eth0'), true);
  t.is(ip('-6', 'route', 'get', '2001:db8::1', 'from', 'fd30::2').includes('via fd30::1 dev eth0'), true);
  t.is(ip('-6', 'route', 'get', '2001:db8::1', 'from', 'fd31::2').includes('via fd31::1 dev eth1'), true);
  // Who finds its own work done has nothing to do.
  await routes.arrived('id', 'eth1', false);
  await taps[1]?.detach();
  await routes.leave('id', 'eth1');
  t.is(wayOf('10.1.1.1'), 'via 172.30.0.1 dev eth0');
  t.is(ip('rule', 'show').split('\n').length, 4, 'three rules of the kernel, and none of ours');
  t.false(ip('-6', 'rule', 'show').includes('7420'));
  await taps[0]?.detach();
  await routes.leave('id', 'eth0');
  t.is(ip('route', 'show', 'table', 'all').includes('742'), false);
});
