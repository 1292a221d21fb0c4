/** Gateways, VRFs and routes of a daemon over doubles: what the dataplane is told as networks and uplinks come and go. */

import test from 'ava';
import { type RouteConfig, routeSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { routeViews, vrfViews } from '../../control/router-views.js';
import { config, type Fixture, leftovers, makeFixture, NETWORKS } from './support/fixture.js';

const route = (part: unknown): RouteConfig => routeSchema.parse(part);

/** Every route that the dataplane has: `VRF prefix kind hop@metric`. */
function held({ daemon, dataplane }: Fixture): string[] {
  return [...dataplane.routes.values()].map(({ vrf, prefix, kind, hops }) => {
    const ways = hops.map((hop) => `${hop.via ?? 'link'}%${daemon.interfaces.nameOf(hop.interface)}@${hop.metric}`);
    return [dataplane.vrfs.get(vrf)?.name, prefix, kind, ...ways].join(' ');
  });
}

const stateOf = ({ daemon }: Fixture): string[] =>
  daemon.routes.list().map(({ prefix, metric, reason }) => `${prefix}@${metric} ${reason || 'active'}`);

async function makeDaemon(yaml = NETWORKS): Promise<Fixture> {
  const fixture = makeFixture();
  fixture.system.devices.add('up0');
  await fixture.daemon.apply(config(yaml));
  return fixture;
}

const LAB = `version: 1
vrfs:
  lab: { routes: [{ to: 10.9.0.0/16, via: 172.30.0.9 }], ip_options: { record_route: true } }
  empty: { interconnect: false }
networks:
  blue:
    subnets: [172.30.0.0/24, "fd00:30::/64"]
    gateways: [172.30.0.254]
    vrf: lab
    mtu: 1400
    host: false
    source_validation: true
    proxy: [172.31.0.0/24, 172.31.1.1]
    router_advertisements: { enabled: true, interval: 30, managed: true }
  red: { subnets: [172.30.0.0/24], internal: true, gateway_mac: 02:00:00:00:00:99, vlan_filtering: true }
`;

test('a gateway is as its network says', async (t) => {
  const { daemon, dataplane } = await makeDaemon(LAB);
  const [lab, standard] = [...dataplane.vrfs].map(([number, spec]) => ({ number, spec }));
  t.deepEqual(lab?.spec, { name: 'lab', interconnect: true, recordRoute: true, timestamp: false, tracking: false });
  t.deepEqual(standard?.spec, {
    name: 'default',
    interconnect: false,
    recordRoute: false,
    timestamp: false,
    tracking: false,
  });
  t.deepEqual(dataplane.interfaceOf('blue'), {
    kind: 'network',
    vrf: lab?.number ?? 0,
    network: daemon.network('blue').id,
    vlan: 0,
    port: null,
    mac: '02:42:ac:1e:00:fe',
    mtu: 1400,
    addresses: ['172.30.0.254/24', 'fd00:30::1/64'],
    up: true,
    internal: false,
    hostAccess: false,
    shared: false,
    validateSource: true,
    proxies: ['172.31.0.0/24', '172.31.1.1/32'],
    advertisement: { interval: 30, lifetime: 1800, autonomous: true, managed: true, other: false },
  });
  t.like(dataplane.interfaceOf('red'), { mac: '02:00:00:00:00:99', vlan: 1, internal: true, advertisement: null });
  await daemon.stop();
  t.deepEqual([dataplane.interfaces.size, dataplane.vrfs.size, dataplane.networks.size], [0, 0, 0]);
});

test('the network of a bridged uplink has no gateway of ours', async (t) => {
  const fixture = await makeDaemon(`${NETWORKS}uplink: { device: up0, mode: bridged, network: blue }\n`);
  const { daemon, dataplane } = fixture;
  t.deepEqual(
    [...dataplane.interfaces.values()].map(({ network }) => network),
    [daemon.network('red').id],
  );
  t.is(daemon.interfaces.get('blue'), undefined);
  await daemon.removeNetwork('blue', true);
  await daemon.createNetwork('blue', config(NETWORKS).networks.get('blue')!);
  t.is(daemon.interfaces.get('blue')?.request.mac, '02:42:ac:1e:00:01', 'without the uplink it is one like the others');
  await daemon.stop();
});

test('a gateway that fails to be made takes its network back', async (t) => {
  const fixture = makeFixture();
  fixture.dataplane.failing.add('addInterface');
  await t.throwsAsync(fixture.daemon.apply(config(NETWORKS)), {
    message: 'networks.blue: EIO addInterface told to fail',
  });
  const { dataplane } = fixture;
  t.deepEqual([dataplane.networks.size, dataplane.vrfs.size], [0, 0]);
});

test('nobody can have the MAC of the gateway', async (t) => {
  const { daemon, system } = await makeDaemon();
  system.addNamespace('/ns/a');
  const endpoints = config(
    `${NETWORKS}endpoints: { a: { network: blue, netns: /ns/a, mac: 02:42:ac:1e:00:01 } }`,
  ).endpoints;
  await t.throwsAsync(daemon.connect('a', endpoints.get('a')!), {
    message: 'mac: 02:42:ac:1e:00:01 is the MAC of the gateway of network blue',
  });
  await daemon.stop();
});

test('a VRF lives as long as something is in it', async (t) => {
  const { daemon, dataplane } = await makeDaemon();
  const names = (): string[] => [...dataplane.vrfs.values()].map(({ name }) => name);
  const lab = { ...config(NETWORKS).networks.get('red')!, vrf: 'lab' };
  await daemon.createNetwork('one', { ...lab, subnets: ['10.1.0.0/24'] });
  await daemon.createNetwork('two', { ...lab, subnets: ['10.2.0.0/24'] });
  t.deepEqual(names(), ['default', 'lab']);
  await daemon.removeNetwork('one', false);
  t.deepEqual(names(), ['default', 'lab']);
  await daemon.removeNetwork('two', false);
  t.deepEqual(names(), ['default']);
  await daemon.stop();
});

test('routes of one prefix are one entry, the lowest metric first', async (t) => {
  const fixture = await makeDaemon();
  const { daemon } = fixture;
  await daemon.addRoute('default', route({ to: '10.9.0.0/16', via: '172.31.0.2', metric: 200 }));
  await daemon.addRoute('default', route({ to: '10.9.0.0/16', via: ['172.30.0.2', '172.30.0.3'] }));
  await daemon.addRoute('default', route({ to: '10.9.0.0/16', type: 'blackhole', metric: 300 }));
  t.deepEqual(held(fixture), [
    'default 10.9.0.0/16 unicast 172.30.0.2%blue@100 172.30.0.3%blue@100 172.31.0.2%red@200',
  ]);
  t.deepEqual(stateOf(fixture), [
    '10.9.0.0/16@200 active',
    '10.9.0.0/16@100 active',
    '10.9.0.0/16@300 the route of kind unicast with metric 100 comes first',
  ]);
  await daemon.removeRoute('default', '10.9.0.0/16', 100);
  await daemon.removeRoute('default', '10.9.0.0/16', 200);
  t.deepEqual(held(fixture), ['default 10.9.0.0/16 blackhole']);
  await daemon.removeRoute('default', '10.9.0.0/16');
  t.deepEqual(held(fixture), []);
  await daemon.stop();
});

test('a route waits while its next hop is on no link, and comes back with it', async (t) => {
  const fixture = await makeDaemon();
  const { daemon } = fixture;
  await daemon.addRoute('default', route({ to: '10.9.0.0/16', via: ['172.31.0.2', '172.30.0.2'] }));
  await daemon.addRoute('default', route({ to: 'fd09::/48', via: 'fe80::1%red' }));
  t.deepEqual(held(fixture), [
    'default 10.9.0.0/16 unicast 172.31.0.2%red@100 172.30.0.2%blue@100',
    'default fd09::/48 unicast fe80::1%red@100',
  ]);
  await daemon.removeNetwork('red', false);
  t.deepEqual(held(fixture), ['default 10.9.0.0/16 unicast 172.30.0.2%blue@100']);
  t.deepEqual(stateOf(fixture), ['10.9.0.0/16@100 active', 'fd09::/48@100 no link of VRF default has fe80::1%red']);
  await daemon.createNetwork('red', config(NETWORKS).networks.get('red')!);
  t.deepEqual(held(fixture), [
    'default 10.9.0.0/16 unicast 172.31.0.2%red@100 172.30.0.2%blue@100',
    'default fd09::/48 unicast fe80::1%red@100',
  ]);
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

test('a VRF that goes with its last network takes its routes, and they come back with it', async (t) => {
  const fixture = await makeDaemon(LAB);
  const { daemon, dataplane } = fixture;
  t.deepEqual(held(fixture), ['lab 10.9.0.0/16 unicast 172.30.0.9%blue@100']);
  await daemon.addRoute('lab', route({ to: '10.66.0.0/16', type: 'prohibit' }));
  await daemon.removeNetwork('blue', false);
  t.deepEqual([held(fixture), dataplane.vrfs.size], [[], 1]);
  t.deepEqual(stateOf(fixture), [
    '10.9.0.0/16@100 no network or uplink is in VRF lab',
    '10.66.0.0/16@100 no network or uplink is in VRF lab',
  ]);
  await daemon.createNetwork('blue', config(LAB).networks.get('blue')!);
  t.deepEqual(held(fixture), ['lab 10.9.0.0/16 unicast 172.30.0.9%blue@100', 'lab 10.66.0.0/16 prohibit']);
  await daemon.stop();
});

test('a prefix that an interface takes for its own is no route any more, until it lets go', async (t) => {
  const fixture = await makeDaemon();
  const { daemon } = fixture;
  for (const to of ['10.9.0.1', '10.9.0.0/16', '10.9.255.255', '10.9.0.0/17'])
    await daemon.addRoute('default', route({ to, via: '172.30.0.2' }));
  const red = daemon.interfaces.get('red')!.request;
  await daemon.interfaces.set('red', { ...red, addresses: ['10.9.0.1/16'] });
  t.deepEqual(held(fixture), ['default 10.9.0.0/17 unicast 172.30.0.2%blue@100']);
  t.deepEqual(stateOf(fixture), [
    "10.9.0.1/32@100 10.9.0.1/32 is the router's own address in red",
    '10.9.0.0/16@100 10.9.0.0/16 is the subnet of red',
    '10.9.255.255/32@100 10.9.255.255/32 is a broadcast address of red',
    '10.9.0.0/17@100 active',
  ]);
  await daemon.interfaces.set('red', red);
  t.is(held(fixture).length, 4);
  await daemon.stop();
});

test('those who follow at the same time change an interface once, to what is wanted when their turn comes', async (t) => {
  const { daemon, dataplane } = await makeDaemon();
  const red = daemon.interfaces.get('red')!.request;
  let wanted = { ...red, mtu: 1400 };
  let changes = 0;
  daemon.interfaces.onChange(async () => {
    changes++;
  });
  const following = Array.from({ length: 5 }, () => daemon.interfaces.follow('red', () => wanted));
  wanted = { ...red, mtu: 1300 };
  await Promise.all(following);
  t.is(changes, 1);
  t.is(daemon.interfaces.get('red')!.request.mtu, 1300);
  t.is([...dataplane.interfaces.values()].filter(({ mtu }) => mtu === 1300).length, 1);
  await daemon.stop();
});

test('the routes of an interface are its own, also off its link, and go with it', async (t) => {
  const fixture = await makeDaemon();
  const { daemon } = fixture;
  await daemon.addRoute('default', route({ to: '0.0.0.0/0', via: '172.30.0.2' }));
  const wire = { vrf: 'default', to: '0.0.0.0/0', via: '192.0.2.1', metric: 1024 };
  await daemon.routes.setInterfaceRoutes('red', [wire, { ...wire, to: '10.0.0.0/8', via: null }]);
  t.deepEqual(held(fixture), [
    'default 0.0.0.0/0 unicast 172.30.0.2%blue@100 192.0.2.1%red@1024',
    'default 10.0.0.0/8 unicast link%red@1024',
  ]);
  const error = await t.throwsAsync(daemon.removeRoute('default', '10.0.0.0/8'), { instanceOf: TaplineError });
  t.deepEqual(
    [error.kind, error.message],
    ['conflict', 'prefix: the route to 10.0.0.0/8 belongs to interface red and goes with it'],
  );
  await daemon.routes.setInterfaceRoutes('red', []);
  t.deepEqual(held(fixture), ['default 0.0.0.0/0 unicast 172.30.0.2%blue@100']);
  await daemon.stop();
});

test('what cannot be a route is refused with its reason', async (t) => {
  const fixture = await makeDaemon();
  const { daemon, dataplane, logs } = fixture;
  await daemon.addRoute('default', route({ to: '10.9.0.0/16', via: '172.30.0.2' }));
  await daemon.addRoute('default', route({ to: '10.9.0.0/16', via: '172.30.0.3', metric: 7 }));
  dataplane.failing.add('setRoute 10.8.0.0/16');
  const cases: [() => Promise<unknown>, string, string][] = [
    [
      () => daemon.addRoute('default', route({ to: '10.9.0.0/16', type: 'blackhole' })),
      'conflict',
      'to: a route to 10.9.0.0/16 with metric 100 is already in VRF default; remove it, or choose another metric',
    ],
    [
      () => daemon.addRoute('grey', route({ to: '10.9.0.0/16', type: 'blackhole' })),
      'missing',
      'vrf: no VRF grey; there is default',
    ],
    [
      () => daemon.addRoute('default', route({ to: '10.7.0.0/16', via: '10.5.0.1' })),
      'invalid',
      'via: expected a next hop on a link of VRF default: in 172.30.0.0/24 (network blue), 172.31.0.0/30 (network red), got 10.5.0.1',
    ],
    [
      () => daemon.addRoute('default', route({ to: '172.31.0.0/30', type: 'blackhole' })),
      'conflict',
      'to: 172.31.0.0/30 is the subnet of network red; it needs no route',
    ],
    [
      () => daemon.addRoute('default', route({ to: '10.8.0.0/16', type: 'blackhole' })),
      'failure',
      'to: EIO setRoute 10.8.0.0/16 told to fail',
    ],
    [() => daemon.removeRoute('default', '10.1.0.0/16'), 'missing', 'no route to 10.1.0.0/16 in VRF default'],
    [
      () => daemon.removeRoute('default', '10.9.0.0/16', 8),
      'missing',
      'no route to 10.9.0.0/16 with metric 8 in VRF default',
    ],
    [
      () => daemon.removeRoute('default', '10.9.0.0/16'),
      'invalid',
      'metric: routes to 10.9.0.0/16 have metrics 7, 100; say which',
    ],
    [
      () => daemon.removeRoute('default', '172.30.0.0/24'),
      'conflict',
      'prefix: 172.30.0.0/24 is the subnet of blue, which stays',
    ],
    [
      () =>
        daemon.createNetwork('x', {
          ...config(NETWORKS).networks.get('red')!,
          subnets: ['10.1.0.0/24', '10.9.0.0/16'],
        }),
      'conflict',
      'subnets[1]: there is a route to 10.9.0.0/16 of VRF default; remove it first',
    ],
  ];
  for (const [ask, kind, message] of cases) {
    const error = await t.throwsAsync(ask(), { instanceOf: TaplineError });
    t.deepEqual([error.kind, error.message], [kind, message]);
  }
  t.deepEqual(held(fixture), ['default 10.9.0.0/16 unicast 172.30.0.3%blue@7 172.30.0.2%blue@100']);
  t.is(daemon.routes.list().length, 2);
  t.is(logs.filter((line) => line.startsWith('warn route to 10.8.0.0/16')).length, 1);
  await daemon.stop();
});

test('a file whose route the dataplane refuses names it', async (t) => {
  const fixture = makeFixture();
  fixture.dataplane.failing.add('setRoute 10.9.0.0/16');
  await t.throwsAsync(fixture.daemon.apply(config(LAB)), {
    message: 'vrfs.lab.routes[0].to: EIO setRoute 10.9.0.0/16 told to fail',
  });
  t.deepEqual([fixture.dataplane.networks.size, fixture.dataplane.vrfs.size], [0, 0]);
});

test('views: routes with names, source and state; VRFs with what is in them', async (t) => {
  const { daemon } = await makeDaemon(LAB);
  await daemon.addRoute('lab', route({ to: '10.9.0.0/16', type: 'unreachable', metric: 900 }));
  const all = await routeViews(daemon, { vrf: null, network: null });
  t.deepEqual(
    all.map(({ vrf, prefix, kind, source, state }) => [vrf, prefix, kind, source, state].join(' ')),
    [
      'default 172.30.0.1/32 local local active',
      'default 172.30.0.0/24 connected connected active',
      'lab 172.30.0.254/32 local local active',
      'lab 172.30.0.0/24 connected connected active',
      'lab 10.9.0.0/16 unicast static active',
      'lab 10.9.0.0/16 unreachable static inactive',
      'lab fd00:30::1/128 local local active',
      'lab fd00:30::/64 connected connected active',
    ],
  );
  t.deepEqual(all[4], {
    vrf: 'lab',
    prefix: '10.9.0.0/16',
    kind: 'unicast',
    source: 'static',
    hops: [{ interface: 'blue', via: '172.30.0.9', metric: 100 }],
    via: ['172.30.0.9'],
    metric: 100,
    state: 'active',
    reason: '',
  });
  t.is((await routeViews(daemon, { vrf: 'lab', network: null })).length, 6);
  t.is((await routeViews(daemon, { vrf: null, network: 'red' })).length, 2);
  await t.throwsAsync(routeViews(daemon, { vrf: 'grey', network: null }), {
    message: 'vrf: no VRF grey; there is default, lab, empty',
  });
  t.deepEqual(await vrfViews(daemon), [
    {
      name: 'default',
      state: 'up',
      interconnect: false,
      interfaces: ['red'],
      routes: 0,
      prefixes: 2,
      ip_options: { record_route: false, timestamp: false },
    },
    {
      name: 'lab',
      state: 'up',
      interconnect: true,
      interfaces: ['blue'],
      routes: 2,
      prefixes: 5,
      ip_options: { record_route: true, timestamp: false },
    },
    {
      name: 'empty',
      state: 'unused',
      interconnect: false,
      interfaces: [],
      routes: 0,
      prefixes: 0,
      ip_options: { record_route: false, timestamp: false },
    },
  ]);
  await daemon.stop();
});
