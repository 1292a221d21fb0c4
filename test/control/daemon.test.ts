import test from 'ava';
import type { z } from 'zod';
import { type EndpointConfig, endpointSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { config, eventually, leftovers, makeFixture, NETWORKS } from './support/fixture.js';

const endpoint = (part: Omit<z.input<typeof endpointSchema>, 'network'> & { network?: string }): EndpointConfig =>
  endpointSchema.parse({ network: 'blue', ...part });

const TWO = `${NETWORKS}
endpoints:
  a: { network: blue, netns: /run/netns/a }
  b: { network: blue, netns: /run/netns/b, addresses: [172.30.0.2] }
`;

test('a file comes up: explicit addresses first, the rest around them', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  system.addNamespace('/run/netns/a');
  system.addNamespace('/run/netns/b');
  await daemon.apply(config(TWO));
  t.deepEqual(daemon.endpoint('a').addresses, ['172.30.0.3/24', 'fd00:30::2/64']);
  t.deepEqual(daemon.endpoint('b').addresses, ['172.30.0.2/24', 'fd00:30::3/64']);
  t.deepEqual(
    [...dataplane.networks.values()].map(({ name, ageingSeconds }) => [name, ageingSeconds]),
    [
      ['blue', 300],
      ['red', 300],
    ],
  );
  t.deepEqual(
    [...dataplane.livePorts.values()].map(({ name, kind }) => [name, kind]),
    [
      ['a', 'tap'],
      ['b', 'tap'],
    ],
  );
  t.like(system.taps.get('/run/netns/b eth0'), { mac: '02:42:ac:1e:00:02', mtu: 1500, alias: 'tapline:b' });
  t.deepEqual(system.taps.get('/run/netns/b eth0')?.routes, [
    { to: '0.0.0.0/0', via: '172.30.0.1' },
    { to: '::/0', via: 'fd00:30::1' },
  ]);
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
  t.is(dataplane.networks.size, 0);
});

test('a missing namespace is named with its key path, and nothing is left', async (t) => {
  const fixture = makeFixture();
  fixture.system.addNamespace('/run/netns/a');
  const error = await t.throwsAsync(fixture.daemon.apply(config(TWO)), { instanceOf: TaplineError });
  t.is(error.message, 'endpoints.b.netns: expected an existing network namespace, got /run/netns/b, which is none');
  t.is(error.kind, 'missing');
  t.deepEqual(leftovers(fixture), []);
  t.is(fixture.dataplane.networks.size, 0);
});

test('one endpoint that fails takes the others back and is the one named', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  let yaml = `${NETWORKS}endpoints:\n`;
  for (let i = 0; i < 40; i++) {
    system.addNamespace(`/ns/${i}`);
    yaml += `  e${i}: { network: blue, netns: /ns/${i} }\n`;
  }
  system.tapErrors.set('tapline:e20', 'EEXIST creating interface eth0: the name is taken in /ns/20');
  const error = await t.throwsAsync(daemon.apply(config(yaml)), { instanceOf: TaplineError });
  t.is(error.message, 'endpoints.e20.interface: EEXIST creating interface eth0: the name is taken in /ns/20');
  t.is(error.kind, 'conflict');
  t.deepEqual(leftovers(fixture), []);
  t.is(dataplane.networks.size, 0);
  t.true(system.mostAtOnce > 1 && system.mostAtOnce <= 6);
});

for (const [what, arrange] of [
  ['the TAP', (f) => f.system.tapErrors.set('tapline:a', 'EPERM opening /dev/net/tun: needs CAP_NET_ADMIN')],
  ['the port', (f) => f.dataplane.failing.add('addPort a')],
  ['the process', (f) => (f.system.whileAttaching = () => f.system.endProcess(70))],
] as [string, (fixture: ReturnType<typeof makeFixture>) => void][]) {
  test(`connect that fails at ${what} leaves nothing, and works the next time`, async (t) => {
    const fixture = makeFixture();
    const { daemon, system, dataplane } = fixture;
    await daemon.apply(config(NETWORKS));
    system.addProcess(70);
    arrange(fixture);
    await t.throwsAsync(daemon.connect('a', endpoint({ pid: 70, addresses: ['172.30.0.7'] })));
    t.deepEqual(leftovers(fixture), []);
    system.tapErrors.clear();
    dataplane.failing.clear();
    system.whileAttaching = () => {};
    system.addProcess(70);
    const again = await daemon.connect('a', endpoint({ pid: 70, addresses: ['172.30.0.7'] }));
    t.deepEqual(again.addresses, ['172.30.0.7/24', 'fd00:30::2/64']);
  });
}

test('a process that ends while it is attached is noticed by its pidfd', async (t) => {
  const { daemon, system } = makeFixture();
  await daemon.apply(config(NETWORKS));
  system.addProcess(70);
  system.whileAttaching = () => system.endProcess(70);
  await t.throwsAsync(daemon.connect('a', endpoint({ pid: 70 })), {
    message: 'pid: process 70 ended while it was being attached',
  });
});

test('errors of connect say which key and what kind', async (t) => {
  const { daemon, system } = makeFixture();
  await daemon.apply(config(NETWORKS));
  system.addNamespace('/ns/a', 'same');
  system.addNamespace('/ns/alias', 'same');
  await daemon.connect('a', endpoint({ netns: '/ns/a', mac: '02:00:00:00:00:01' }));
  const cases: [string, Parameters<typeof endpoint>[0], string, string][] = [
    ['a', { netns: '/ns/x' }, 'conflict', 'name: endpoint a already exists'],
    ['b', { netns: '/ns/x' }, 'missing', 'netns: expected an existing network namespace, got /ns/x, which is none'],
    [
      'b',
      { netns: '/ns/alias' },
      'conflict',
      'interface: eth0 in /ns/alias already belongs to endpoint a; choose another interface name',
    ],
    ['b', { network: 'grey', netns: '/ns/a' }, 'missing', 'network: expected the name of a network, got "grey"'],
    [
      'b',
      { netns: '/ns/b', addresses: ['172.30.0.2'] },
      'conflict',
      'addresses[0]: 172.30.0.2 is already an address of endpoint a',
    ],
    [
      'b',
      { netns: '/ns/b', addresses: ['10.0.0.1'] },
      'invalid',
      'addresses[0]: expected an address in 172.30.0.0/24 or fd00:30::/64 of network blue, got 10.0.0.1',
    ],
    [
      'b',
      { netns: '/ns/b', mac: '02:00:00:00:00:01' },
      'conflict',
      'mac: 02:00:00:00:00:01 is already the MAC of endpoint a',
    ],
    [
      'b',
      { netns: '/ns/b', publish: ['80:80'] },
      'invalid',
      'publish: needs an uplink of mode own, shared or routed; there is none',
    ],
    ['b', { pid: 99 }, 'missing', 'pid: expected a running process, got 99 (ESRCH opening pidfd of 99)'],
    ['b', { container: 'c1' }, 'missing', 'container: no container c1 (asked a double)'],
  ];
  for (const [name, part, kind, message] of cases) {
    const error = await t.throwsAsync(daemon.connect(name, endpoint(part)), { instanceOf: TaplineError });
    t.deepEqual([error.kind, error.message], [kind, message]);
  }
  t.deepEqual([...daemon.endpoints.keys()], ['a']);
});

test('networks: duplicates and overlaps are conflicts', async (t) => {
  const { daemon } = makeFixture();
  await daemon.apply(config(NETWORKS));
  const make = (yaml: string) => [...config(`version: 1\nnetworks: { x: { ${yaml} } }`).networks.values()][0]!;
  await t.throwsAsync(daemon.createNetwork('blue', make('subnets: [10.0.0.0/24]')), {
    message: 'network blue already exists',
  });
  await t.throwsAsync(daemon.createNetwork('x', make('subnets: [10.0.0.0/24, 172.30.0.128/25]')), {
    message: 'subnets[1]: 172.30.0.128/25 overlaps 172.30.0.0/24 of network blue',
  });
  await daemon.createNetwork('x', make('subnets: [10.0.0.0/24]'));
  await daemon.removeNetwork('x', false);
  await daemon.createNetwork('y', make('subnets: [10.0.0.0/24]'));
  t.deepEqual([...daemon.networks.keys()], ['blue', 'red', 'y']);
});

test('a network that fails to be made is not there, and its name is free', async (t) => {
  const { daemon, dataplane } = makeFixture();
  dataplane.failing.add('addNetwork blue');
  await t.throwsAsync(daemon.apply(config(NETWORKS)), { message: 'networks.blue: EIO addNetwork blue told to fail' });
  dataplane.failing.clear();
  await daemon.apply(config(NETWORKS));
  t.is(daemon.network('blue').phase, 'up');
});

test('a network with endpoints is kept, and goes with --force', async (t) => {
  const fixture = makeFixture();
  const { daemon, system } = fixture;
  await daemon.apply(config(NETWORKS));
  for (let i = 0; i < 7; i++) {
    system.addNamespace(`/ns/${i}`);
    await daemon.connect(`e${i}`, endpoint({ netns: `/ns/${i}` }));
  }
  await t.throwsAsync(daemon.removeNetwork('blue', false), {
    message: 'network blue still has endpoints e0, e1, e2, e3, e4 and 2 more; disconnect them first, or use --force',
  });
  await daemon.removeNetwork('blue', true);
  t.deepEqual(leftovers(fixture), []);
  t.deepEqual([...daemon.networks.keys()], ['red']);
  await t.throwsAsync(daemon.removeNetwork('blue', true), { message: 'no network blue' });
});

test('a container that ends takes its endpoint along; started again, it connects again', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system, logs } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addContainer('c1', 70);
  await daemon.connect('c1', endpoint({ container: 'c1' }));
  t.is(daemon.endpoint('c1').place?.path, '/proc/70/ns/net');
  const [watch] = dataplane.watched.values();
  system.endProcess(70);
  watch?.();
  await eventually(() => daemon.endpoints.size === 0);
  t.deepEqual(leftovers(fixture), []);
  t.true(logs.includes('info endpoint c1 ended: its process ended'));
  system.addContainer('c1', 71);
  const again = await daemon.connect('c1', endpoint({ container: 'c1' }));
  t.deepEqual(again.addresses, ['172.30.0.2/24', 'fd00:30::2/64']);
});

test('a container that restarts between the two questions is refused', async (t) => {
  const fixture = makeFixture();
  const { daemon, system } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addContainer('c1', 70);
  const first = system.findContainer.bind(system);
  let asked = 0;
  system.findContainer = async (name) => {
    if (asked++ === 1) system.addContainer('c1', 71);
    return first(name);
  };
  await t.throwsAsync(daemon.connect('c1', endpoint({ container: 'c1' })), {
    message: 'container: container c1 restarted while it was being attached; try again',
  });
  t.deepEqual(leftovers(fixture), []);
});

test('a container with a network of its own is attached with a warning', async (t) => {
  const { daemon, system, logs } = makeFixture();
  await daemon.apply(config(NETWORKS));
  system.addContainer('c1', 70, 'bridge');
  await daemon.connect('c1', endpoint({ container: 'c1', interface: 'eth1' }));
  t.true(logs.includes('warn endpoint c1: its container also has network mode bridge; start it with --network none'));
});

test('an interface that is taken away ends its endpoint', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system, logs } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addNamespace('/ns/a');
  await daemon.connect('a', endpoint({ netns: '/ns/a' }));
  dataplane.portDown(dataplane.portNamed('a'), 'EBADFD');
  await eventually(() => daemon.endpoints.size === 0);
  t.deepEqual(leftovers(fixture), []);
  t.true(logs.includes('warn endpoint a ended: its interface was taken away (EBADFD)'));
});

test('an interface that is taken away before the port has a number ends its endpoint too', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addNamespace('/ns/a');
  dataplane.beforeAnswer = (port) => dataplane.portDown(port, 'EBADFD');
  await daemon.connect('a', endpoint({ netns: '/ns/a' }));
  await eventually(() => daemon.endpoints.size === 0);
  t.deepEqual(leftovers(fixture), []);
});

test('a namespace file that goes, or leads elsewhere, ends its endpoint', async (t) => {
  const fixture = makeFixture();
  const { daemon, system, logs } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addNamespace('/ns/a', '4:100');
  system.addNamespace('/ns/b', '4:101');
  await daemon.connect('a', endpoint({ netns: '/ns/a' }));
  await daemon.connect('b', endpoint({ netns: '/ns/b' }));
  system.namespaces.delete('/ns/a');
  system.addNamespace('/ns/b', '4:102');
  await eventually(() => daemon.endpoints.size === 0);
  t.deepEqual(leftovers(fixture), []);
  t.true(logs.includes('warn endpoint b ended: network namespace /ns/b went away'));
  await daemon.stop();
});

test('an uplink is a port of its network, goes with its device and comes back with it', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system, logs } = fixture;
  system.devices.add('up0');
  await daemon.apply(config(`${NETWORKS}uplink: { device: up0, mode: bridged, network: blue }\n`));
  t.is(dataplane.livePorts.get(dataplane.portNamed('uplink'))?.kind, 'uplink');
  await t.throwsAsync(daemon.removeNetwork('blue', false), {
    message: 'network blue still has the uplink up0; use --force',
  });
  system.devices.delete('up0');
  const removed: number[] = [];
  daemon.events.on('port-removed', (number: number) => removed.push(number));
  const port = dataplane.portNamed('uplink');
  dataplane.portDown(port, 'ENODEV');
  t.deepEqual(removed, [port], 'whoever captures there is told');
  await eventually(() => system.openUplinks.size === 0);
  t.is(daemon.uplink?.port, -1);
  system.devices.add('up0');
  await eventually(() => (daemon.uplink?.port ?? -1) >= 0);
  t.true(logs.includes('info uplink up0 is back'));
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
  t.is(system.openUplinks.size, 0);
});

test('a missing uplink device is named with its key path', async (t) => {
  const fixture = makeFixture();
  const error = await t.throwsAsync(
    fixture.daemon.apply(config(`${NETWORKS}uplink: { device: up0, mode: bridged, network: blue }`)),
    {
      instanceOf: TaplineError,
    },
  );
  t.is(
    error.message,
    'uplink.device: expected an existing network device, got up0 (ENODEV opening uplink up0: no such device)',
  );
  t.is(error.kind, 'missing');
  t.is(fixture.dataplane.networks.size, 0);
});

test('on a bridged network the gateways of the user become default routes', async (t) => {
  const { daemon, system } = makeFixture();
  system.devices.add('up0');
  system.addNamespace('/ns/a');
  await daemon.apply(
    config(`version: 1
uplink: { device: up0, mode: bridged, network: lan }
networks: { lan: { subnets: [10.0.0.0/24, "fd00::/64"], gateways: [10.0.0.254] } }
endpoints: { a: { network: lan, netns: /ns/a } }`),
  );
  t.deepEqual(system.taps.get('/ns/a eth0')?.routes, [{ to: '0.0.0.0/0', via: '10.0.0.254' }]);
  await daemon.stop();
});

test('work on one endpoint waits its turn: connect, disconnect, connect', async (t) => {
  const fixture = makeFixture();
  const { daemon, system } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addNamespace('/ns/a');
  const results = await Promise.allSettled([
    daemon.connect('a', endpoint({ netns: '/ns/a' })),
    daemon.connect('a', endpoint({ netns: '/ns/a' })),
    daemon.disconnect('a'),
    daemon.connect('a', endpoint({ netns: '/ns/a' })),
    daemon.disconnect('a'),
  ]);
  t.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
  );
  t.deepEqual(leftovers(fixture), []);
});

test('a network that is being removed takes no new endpoint, and waits for one under way', async (t) => {
  const fixture = makeFixture();
  const { daemon, system } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addNamespace('/ns/a');
  system.addNamespace('/ns/b');
  let open: () => void = () => {};
  system.whileAttaching = () => new Promise((resolve) => (open = resolve));
  const first = daemon.connect('a', endpoint({ netns: '/ns/a' }));
  await eventually(() => daemon.endpoints.size === 1);
  const removed = daemon.removeNetwork('blue', true);
  await new Promise((resolve) => setImmediate(resolve));
  await t.throwsAsync(daemon.connect('b', endpoint({ netns: '/ns/b' })), {
    message: 'network: network blue is stopping; try again',
  });
  open();
  await first;
  await removed;
  t.deepEqual(leftovers(fixture), []);
  t.deepEqual([...daemon.networks.keys()], ['red']);
});

test('stop in the middle of bringing up ends what is under way and removes all', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  let yaml = `${NETWORKS}endpoints:\n`;
  for (let i = 0; i < 30; i++) {
    system.addNamespace(`/ns/${i}`);
    yaml += `  e${i}: { network: blue, netns: /ns/${i} }\n`;
  }
  const applied = t.throwsAsync(daemon.apply(config(yaml)), { message: 'stopped before everything was up' });
  await eventually(() => system.taps.size > 3);
  await daemon.stop();
  await applied;
  t.deepEqual(leftovers(fixture), []);
  t.is(dataplane.networks.size, 0);
  await t.throwsAsync(daemon.connect('x', endpoint({ netns: '/ns/0' })), { message: 'the daemon is stopping' });
});

test('a step of taking down that fails does not keep the others from being taken', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  await daemon.apply(config(NETWORKS));
  system.addProcess(70);
  await daemon.connect('a', endpoint({ pid: 70 }));
  dataplane.removePort = async (port) => {
    dataplane.livePorts.delete(port);
    throw new Error('EIO');
  };
  await daemon.disconnect('a');
  t.deepEqual(leftovers(fixture), []);
});
