/** Services of a daemon: what the dataplane is told of them, how backends follow their endpoints, and what commands change. */

import test from 'ava';
import { TaplineError } from '../../control/errors.js';
import { hostPrefix } from '../../control/flow-parties.js';
import { flowViews } from '../../control/flow-views.js';
import { BACKEND_COUNTERS, COUNT_ACTIVE, SCHEDULER_MAGLEV, SCHEDULER_RR } from '../../core/lb/service.js';
import { FLOW_BACKEND_SHIFT, FLOW_BALANCED, FLOW_DNAT, FLOW_REPLIED, STATE_ESTABLISHED } from '../../core/nat/flow.js';
import { eventually, leftovers } from './support/fixture.js';
import { addFlow, ports } from './support/flows.js';
import {
  backends,
  changed,
  connect,
  file,
  listeners,
  SHARED,
  service,
  serviceFixture,
  states,
  told,
  WEB,
  watch,
} from './support/services.js';

const INSIDE = '172.30.0.100/32';

test('a service of the file: backends with the addresses of their endpoints, listeners outside and inside', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  t.deepEqual(backends(made), ['1 172.30.0.2 fd00:30::2 80*1 up', '2 172.30.0.3 fd00:30::3 81*2 up']);
  t.deepEqual(listeners(made), ['6 0.0.0.0 8080-8080 -> 1', '6 :: 8080-8080 -> 1', '6 172.30.0.100 80-80 -> 1']);
  t.deepEqual(dataplane.interfaceOf('blue').addresses, ['172.30.0.1/24', 'fd00:30::1/64', INSIDE]);
  t.true([...dataplane.vrfs.values()][0]?.tracking);
  const options = dataplane.services.all.get(1);
  t.is(options?.scheduler, SCHEDULER_RR);
  t.is(options?.table.length, 0);
  t.not(options?.seed, 0);
  t.deepEqual(daemon.services.get('web').virtual, ['172.30.0.100']);
  t.deepEqual(states(made), ['a:80 up', 'b:81 up']);
  t.deepEqual(told(made), [], 'what is there from the start is no news');
  t.is(daemon.services.nameOf(1), 'web');
  t.is(daemon.services.backendName(2), 'web/b:81');
  t.is(daemon.services.backendName(3), null);
  t.true(made.logs.includes('warn service web: scheduler rr does not look at weights other than 0; wrr does'));
  await daemon.stop();
  t.is(dataplane.services.all.size, 0);
  t.deepEqual(leftovers(made), []);
});

test('a service that is removed leaves nothing: no address, no record, no tracking, no connection', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  const calls = watch(made);
  await daemon.removeService('web');
  t.deepEqual(
    calls,
    ['published', 'end 2', 'end 1', 'flush', 'published'],
    'reset first, while connections are tracked',
  );
  t.is(dataplane.services.all.size, 0);
  t.deepEqual(listeners(made), []);
  t.deepEqual(dataplane.interfaceOf('blue').addresses, ['172.30.0.1/24', 'fd00:30::1/64']);
  t.false([...dataplane.vrfs.values()][0]?.tracking);
  await t.throwsAsync(daemon.removeService('web'), { message: 'no service web' });
  await daemon.createService('other', service({ backends: [{ endpoint: 'a', port: 1 }] }));
  t.deepEqual(listeners(made), ['6 0.0.0.0 9090-9090 -> 2', '6 :: 9090-9090 -> 2'], 'numbers go round');
  await daemon.stop();
});

test('addresses of services are nobody else’s as long as somebody listens there', async (t) => {
  const made = serviceFixture();
  const { daemon } = made;
  const inside = 'network: blue, listen: ["172.30.0.4:80/tcp"]';
  await daemon.apply(file(`one: { ${inside} }, two: { ${inside.replace(':80/', ':81/')} }`));
  await connect(made, 'c');
  t.deepEqual(daemon.endpoint('c').addresses, ['172.30.0.5/24', 'fd00:30::4/64']);
  await daemon.removeService('one');
  await t.throwsAsync(connect(made, 'd', { addresses: ['172.30.0.4'] }), {
    message: 'addresses[0]: 172.30.0.4 is already an address of service two',
  });
  const late = service({ listen: ['9090/tcp', '172.30.0.5:80/tcp'] });
  await t.throwsAsync(daemon.createService('late', late), {
    message: /^listen\[1\]: 172\.30\.0\.5 is already an address of endpoint c/,
  });
  t.false(daemon.services.all.has('late'));
  await daemon.removeService('two');
  await connect(made, 'd', { addresses: ['172.30.0.4'] });
  t.deepEqual(daemon.endpoint('d').addresses[0], '172.30.0.4/24');
  await daemon.stop();
});

test('at the gateway’s own address: it has it once, and keeps it', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(
    file('dns: { network: blue, listen: ["172.30.0.1:53/udp"], backends: [{ endpoint: a, port: 53 }] }'),
  );
  t.deepEqual(listeners(made), ['17 172.30.0.1 53-53 -> 1']);
  await daemon.removeService('dns');
  t.deepEqual(dataplane.interfaceOf('blue').addresses, ['172.30.0.1/24', 'fd00:30::1/64']);
  await daemon.stop();
});

test('an endpoint that goes: no new connection, then a word to both sides, and only then is it taken apart', async (t) => {
  const made = serviceFixture();
  const { daemon } = made;
  await daemon.apply(file());
  const calls = watch(made);
  await daemon.disconnect('a');
  t.deepEqual(calls, ['set 1', 'end 1', 'flush', 'port']);
  t.deepEqual(backends(made), ['1 80*1 not up', '2 172.30.0.3 fd00:30::3 81*2 up']);
  t.deepEqual(states(made), ['a:80 absent: endpoint a is not there', 'b:81 up']);
  await connect(made, 'c');
  await connect(made, 'a', { addresses: ['172.30.0.77'] });
  t.deepEqual(
    backends(made)[0],
    '1 172.30.0.77 fd00:30::4 80*1 up',
    'it has another address, and no command was needed',
  );
  t.deepEqual(told(made), ['backend-gone web/a:80', 'backend-up web/a:80']);
  t.true(made.logs.includes('info backend web/a:80 is gone: endpoint a is not there'));
  await daemon.stop();
});

test('an endpoint that cannot be attached is no backend', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  await daemon.disconnect('a');
  const { watchPidfd } = dataplane;
  made.system.addProcess(4242);
  dataplane.watchPidfd = () => {
    throw new Error('EMFILE watching');
  };
  await t.throwsAsync(connect(made, 'a', { netns: undefined, pid: 4242 }), { message: /EMFILE/ });
  dataplane.watchPidfd = watchPidfd;
  t.deepEqual(states(made)[0], 'a:80 absent: endpoint a is not there');
  t.deepEqual(backends(made)[0], '1 80*1 not up');
  await daemon.stop();
});

test('changed live: backends that stay keep their numbers, those that go are reset, listeners come and go', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  const calls = watch(made);
  await daemon.changeService('web', () =>
    changed(made, 'web', {
      listen: ['172.30.0.101:80/tcp', '8080/tcp'],
      scheduler: 'wrr',
      backends: [
        { endpoint: 'a', port: 90 },
        { endpoint: 'b', port: 81, weight: 5 },
      ],
    }),
  );
  t.deepEqual(backends(made), ['3 172.30.0.2 fd00:30::2 90*1 up', '2 172.30.0.3 fd00:30::3 81*5 up']);
  t.deepEqual(listeners(made), ['6 172.30.0.101 80-80 -> 1', '6 0.0.0.0 8080-8080 -> 1', '6 :: 8080-8080 -> 1']);
  t.deepEqual(dataplane.interfaceOf('blue').addresses.slice(2), ['172.30.0.101/32']);
  t.deepEqual(
    calls.filter((call) => call !== 'flush'),
    ['set 1', 'published', 'end 1'],
  );
  t.deepEqual(told(made), ['backend-up web/a:90', 'backend-gone web/a:80']);
  t.is(daemon.services.backendName(1), null);
  await t.throwsAsync(
    daemon.changeService('web', () => changed(made, 'web', { network: 'red' })),
    { message: 'network: service web stays in network blue; remove it first' },
  );
  await t.throwsAsync(
    daemon.changeService('none', () => service({})),
    { message: 'no service none' },
  );
  await daemon.stop();
});

test('a change that fails leaves all as it was: the service, its addresses, ports, numbers', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  const [before, heard] = [backends(made), listeners(made)];
  const wanted = changed(made, 'web', {
    listen: ['172.30.0.101:80/tcp'],
    backends: [{ endpoint: 'b', port: 9 }],
  });
  const setInterface = dataplane.setInterface.bind(dataplane);
  for (const fail of ['set', 'interface']) {
    if (fail === 'set') dataplane.services.failing.add('set');
    else
      dataplane.setInterface = async () => {
        dataplane.setInterface = setInterface;
        throw new Error('EIO setInterface told to fail');
      };
    await t.throwsAsync(
      daemon.changeService('web', () => wanted),
      { message: /told to fail/ },
    );
    t.deepEqual(backends(made), before, fail);
    t.deepEqual(listeners(made), heard, fail);
    t.deepEqual(dataplane.interfaceOf('blue').addresses.slice(2), [INSIDE], fail);
    t.deepEqual(states(made), ['a:80 up', 'b:81 up'], fail);
  }
  t.deepEqual(dataplane.services.ended, []);
  await connect(made, 'c', { addresses: ['172.30.0.101'] });
  await daemon.stop();
});

test('a service that cannot be made leaves nothing', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file(''));
  dataplane.services.failing.add('set');
  const wanted = service({ listen: ['172.30.0.9:80/tcp'], backends: [{ endpoint: 'a', port: 80 }] });
  await t.throwsAsync(daemon.createService('web', wanted), { message: 'EIO set told to fail' });
  t.deepEqual(listeners(made), []);
  t.deepEqual(dataplane.interfaceOf('blue').addresses.slice(2), []);
  t.false([...dataplane.vrfs.values()][0]?.tracking);
  await daemon.createService('web', wanted);
  t.deepEqual(listeners(made), ['6 172.30.0.9 80-80 -> 2']);
  const taken = await t.throwsAsync(daemon.createService('web', wanted), { instanceOf: TaplineError });
  t.deepEqual([taken.kind, taken.message], ['conflict', 'name: service web already exists']);
  await daemon.stop();
});

test('what others ask for is looked at against services: published ports, and endpoints that they wait for', async (t) => {
  const made = serviceFixture();
  const { daemon } = made;
  await daemon.apply(file());
  await t.throwsAsync(daemon.publish('b', ['8080:80/tcp']), {
    message: /^publish\[0\]: 8080:80\/tcp is taken by 8080\/tcp of service web/,
  });
  await t.throwsAsync(connect(made, 'c', { publish: ['8080:80/tcp'] }), { message: /of service web/ });
  await daemon.publish('b', ['8081:80/tcp']);
  await t.throwsAsync(daemon.createService('late', service({ listen: ['8081/tcp'] })), {
    message: /^listen\[0\]: 8081\/tcp is taken by 8081:80\/tcp of endpoint b/,
  });
  await t.throwsAsync(daemon.createService('late', service({ backends: [{ endpoint: 'x', port: 80 }] })), {
    message: 'backends[0].endpoint: expected the name of an endpoint, got "x"',
  });
  await daemon.disconnect('a');
  await daemon.changeService('web', () => changed(made, 'web', { affinity: 9 }));
  t.is(states(made)[0], 'a:80 absent: endpoint a is not there', 'an endpoint that is away may stay a backend');
  await daemon.stop();
});

test('with a health check: nobody before the first is through; down by it, datagrams go to others', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file(`web: { ${WEB}, health: { type: tcp } }`));
  let changes = 0;
  daemon.services.onChange(() => void changes++);
  t.deepEqual(states(made), [
    'a:80 starting: its first check is not through',
    'b:81 starting: its first check is not through',
  ]);
  t.regex(backends(made)[0] ?? '', /not up/);
  daemon.services.setHealth('web', 'a:80', true, '');
  daemon.services.setHealth('web', 'b:81', false, 'HTTP 500, expected 200-399');
  await daemon.services.idle();
  t.deepEqual(states(made), ['a:80 up', 'b:81 down: HTTP 500, expected 200-399']);
  t.deepEqual(
    backends(made).map((line) => line.includes('not up')),
    [false, true],
  );
  t.deepEqual(dataplane.services.ended, [], 'it was not up before');
  daemon.services.setHealth('web', 'a:80', false, 'refused');
  await daemon.services.idle();
  t.deepEqual(dataplane.services.ended, [{ backend: 1, tcp: false }]);
  t.true(made.logs.includes('warn backend web/a:80 is down: refused'));
  t.deepEqual(told(made), ['backend-up web/a:80', 'backend-down web/b:81', 'backend-down web/a:80']);
  t.is(changes, 3);
  daemon.services.setHealth('web', 'a:80', false, 'refused');
  daemon.services.setHealth('web', 'x:80', true, '');
  daemon.services.setHealth('none', 'a:80', true, '');
  t.is(changes, 3, 'no news');
  daemon.services.setHealth('web', 'a:80', true, '');
  await daemon.disconnect('a');
  await connect(made, 'a');
  t.is(states(made)[0], 'a:80 starting: its first check is not through', 'what was known was of another container');
  await daemon.stop();
});

test('a check that begins on a live service takes nobody down before it says so; one that ends lets everybody in', async (t) => {
  const made = serviceFixture();
  const { daemon } = made;
  await daemon.apply(file());
  await daemon.changeService('web', () => changed(made, 'web', { health: { type: 'tcp' } }));
  t.deepEqual(states(made), ['a:80 up', 'b:81 up']);
  daemon.services.setHealth('web', 'a:80', false, 'refused');
  await daemon.changeService('web', () => changed(made, 'web', { health: { type: 'tcp', interval: 9 } }));
  t.deepEqual(states(made), ['a:80 down: refused', 'b:81 up']);
  await daemon.changeService('web', () => changed(made, 'web', { health: undefined }));
  t.deepEqual(states(made), ['a:80 up', 'b:81 up']);
  t.false(backends(made).some((line) => line.includes('not up')));
  await daemon.stop();
});

test('what connections say: a suspect is one until it is trusted again, or another', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  const suspects = (): boolean[] => daemon.services.get('web').backends.map(({ suspect }) => suspect);
  dataplane.happen({ kind: 'backend-suspect', count: 2 });
  t.deepEqual(suspects(), [false, true]);
  t.is(daemon.eventLog.list().at(-1)?.service, 'web/b:81');
  dataplane.happen({ kind: 'backend-trusted', count: 2 });
  t.deepEqual(suspects(), [false, false]);
  dataplane.happen({ kind: 'backend-suspect', count: 2 });
  await daemon.disconnect('b');
  t.deepEqual(suspects(), [false, false]);
  dataplane.happen({ kind: 'service-flood', count: 1 });
  t.is(daemon.eventLog.list().at(-1)?.service, 'web');
  await daemon.stop();
});

test('weight 0 drains: no new connections, and at the deadline no others', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  dataplane.services.counters[1 * BACKEND_COUNTERS + COUNT_ACTIVE] = 3;
  const drained = [
    { endpoint: 'a', port: 80, weight: 0 },
    { endpoint: 'b', port: 81 },
  ];
  await daemon.changeService('web', () => changed(made, 'web', { drain_timeout: 1, backends: drained }));
  const [a] = daemon.services.get('web').backends;
  t.is(a?.state, 'draining');
  t.true(Math.abs((a?.deadline ?? 0) - Date.now() - 1000) < 500);
  t.deepEqual(dataplane.services.ended, []);
  await eventually(() => dataplane.services.ended.length > 0);
  t.deepEqual(dataplane.services.ended, [{ backend: 1, tcp: true }]);
  t.deepEqual(told(made), ['backend-draining web/a:80', 'backend-drained web/a:80']);
  t.is(a?.deadline, null);
  t.true(made.logs.includes('info backend web/a:80 has drained: its time is over, and what it had left is ended'));
  await daemon.stop();
});

test('drained as soon as the last connection has ended; back as soon as it has a weight', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  const { counters } = dataplane.services;
  counters[1 * BACKEND_COUNTERS + COUNT_ACTIVE] = 1;
  counters[2 * BACKEND_COUNTERS + COUNT_ACTIVE] = 1;
  const weights = (one: number, other: number): unknown[] => [
    { endpoint: 'a', port: 80, weight: one },
    { endpoint: 'b', port: 81, weight: other },
  ];
  await daemon.changeService('web', () => changed(made, 'web', { drain_timeout: 60, backends: weights(0, 0) }));
  await daemon.changeService('web', () => changed(made, 'web', { backends: weights(0, 2) }));
  counters[1 * BACKEND_COUNTERS + COUNT_ACTIVE] = 0;
  await eventually(() => told(made).includes('backend-drained web/a:80'));
  t.deepEqual(told(made), [
    'backend-draining web/a:80',
    'backend-draining web/b:81',
    'backend-up web/b:81',
    'backend-drained web/a:80',
  ]);
  t.deepEqual(dataplane.services.ended, []);
  await daemon.stop();
});

test('a backend with weight 0 from the beginning has drained without a word; with connections of before, with one', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  const backend = (endpoint: string): string => `{ endpoint: ${endpoint}, port: 80, weight: 0 }`;
  const starting = daemon.apply(
    file(`web: { network: blue, drain_timeout: 2, listen: ["80/tcp"], backends: [${backend('a')}, ${backend('b')}] }`),
  );
  // Numbers are given out with counters at 0.
  await eventually(() => daemon.services.all.size > 0);
  dataplane.services.counters[2 * BACKEND_COUNTERS + COUNT_ACTIVE] = 1;
  await starting;
  await eventually(() => told(made).length > 0);
  t.deepEqual(told(made), ['backend-drained web/b:80']);
  t.deepEqual(
    daemon.services.get('web').backends.map(({ deadline }) => deadline),
    [null, null],
  );
  await daemon.stop();
});

test('a backend that gets a weight again at its last moment keeps its connections', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  dataplane.services.counters[1 * BACKEND_COUNTERS + COUNT_ACTIVE] = 3;
  const weights = (weight: number) => ({ drain_timeout: 1, backends: [{ endpoint: 'a', port: 80, weight }] });
  await daemon.changeService('web', () => changed(made, 'web', weights(0)));
  dataplane.services.ended.length = 0;
  let resolve = (): void => undefined;
  const isOver = new Promise<void>((done) => {
    resolve = done;
  });
  const set = dataplane.services.set.bind(dataplane.services);
  dataplane.services.set = async (...given) => {
    await isOver;
    await set(...given);
  };
  const update = daemon.changeService('web', () => changed(made, 'web', weights(5)));
  await eventually(() => told(made).includes('backend-drained web/a:80'));
  resolve();
  await update;
  await daemon.services.idle();
  t.deepEqual(states(made), ['a:80 up']);
  t.deepEqual(dataplane.services.ended, []);
  await daemon.stop();
});

test('the table of a hashing scheduler is made anew with backends and weights, and for nothing else', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file(`web: { ${WEB}, scheduler: maglev, table_size: 251 }`));
  const options = () => dataplane.services.all.get(1);
  const { table, seed } = options() ?? {};
  t.is(options()?.scheduler, SCHEDULER_MAGLEV);
  t.is(table?.length, 251);
  await daemon.disconnect('a');
  t.is(options()?.table, table);
  await daemon.changeService('web', () => changed(made, 'web', { affinity: 60 }));
  t.is(options()?.table, table);
  t.is(options()?.affinity, 60);
  await daemon.changeService('web', () => changed(made, 'web', { backends: [{ endpoint: 'b', port: 81, weight: 0 }] }));
  t.is(options()?.table.length, 0, 'nobody has a weight');
  t.is(options()?.seed, seed);
  await daemon.stop();
});

test('a network with services goes by force alone, and they with it', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file('web: { network: red, listen: ["8080/tcp"], backends: [{ endpoint: a, port: 80 }] }'));
  await t.throwsAsync(daemon.removeNetwork('red', false), {
    message: 'network red still has services web; remove them first, or use --force',
  });
  await daemon.removeNetwork('red', true);
  t.is(daemon.services.all.size, 0);
  t.is(dataplane.services.all.size, 0);
  t.deepEqual(dataplane.services.ended, [{ backend: 1, tcp: true }]);
  await daemon.stop();
});

test('shared: held on the host, guarded, led there from its own processes; given back with the service', async (t) => {
  const made = serviceFixture();
  const { daemon, system } = made;
  await daemon.apply(file('', { uplink: SHARED }));
  await daemon.createService(
    'web',
    service({ listen: ['8080/tcp', '172.30.0.100:80/tcp'], backends: [{ endpoint: 'a', port: 80 }] }),
  );
  t.deepEqual(
    [...system.relays.keys()].sort(),
    ['tcp 0.0.0.0 8080', 'tcp :: 8080'],
    'what is inside is no matter of the host',
  );
  t.deepEqual(listeners(made), [
    '6 0.0.0.0 8080-8080 -> 1',
    '6 :: 8080-8080 -> 1',
    '6 169.254.42.1 8080-8080 -> 1',
    '6 172.30.0.100 80-80 -> 1',
  ]);
  t.regex(system.tables.get('netdev tapline_up0') ?? '', /ports4 .* elements = \{ 10\.77\.0\.9 \. 6 \. 8080 \}/);
  t.is(system.reserved, '8080');
  system.sockets.push({ protocol: 'tcp', address: '0.0.0.0', port: 9090, isIpv6: false, inode: 7 });
  system.holders.set(7, { pid: 77, name: 'nginx' });
  await t.throwsAsync(daemon.createService('other', service({ listen: ['8081/tcp', '9090/tcp'] })), {
    message: 'listen[1]: port 9090/tcp is held by nginx (pid 77); end it, or choose another port',
  });
  t.is(system.relays.size, 2);
  await t.throwsAsync(
    daemon.changeService('web', () => changed(made, 'web', { listen: ['9090/tcp'] })),
    { message: /nginx/ },
  );
  t.is(system.relays.size, 2, 'it listens where it did');
  t.is(listeners(made).length, 4);
  await daemon.removeService('web');
  t.is(system.relays.size, 0);
  t.is(system.reserved, '');
  t.notRegex(system.tables.get('netdev tapline_up0') ?? '', /8080/);
  await daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('a listener that goes ends what came in by it', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file());
  await daemon.changeService('web', () => changed(made, 'web', { listen: ['8080/tcp'] }));
  t.is(dataplane.nat.flushed.length, 1, 'whatever the number of backends');
  const first = dataplane.nat.flushed.at(-1);
  t.like(first, { protocol: 6, reached: { first: 80, last: 80 }, backends: [1, 2], spared: [] });
  t.deepEqual(first?.destination, hostPrefix('172.30.0.100'));
  await daemon.stop();
});

test('of a listener at all addresses that goes, connections to one that stays are left alone', async (t) => {
  const made = serviceFixture();
  const { daemon, dataplane } = made;
  const { table } = dataplane.nat.tables;
  const state = STATE_ESTABLISHED | FLOW_REPLIED | FLOW_DNAT | FLOW_BALANCED;
  await daemon.apply(
    file('web: { network: blue, listen: ["80/tcp", "172.30.0.100:80/tcp"], backends: [{ endpoint: a, port: 80 }] }'),
  );
  const add = (source: string, destination: string, backend: number, port = 80): void => {
    const original = [source, destination, ports(40_000, port)] as const;
    const reply = ['172.30.0.2', source, ports(80, 40_000)] as const;
    addFlow(table, { zone: 1, protocol: 6, state, owner: backend << FLOW_BACKEND_SHIFT, original, reply });
  };
  add('198.51.100.1', '10.77.0.1', 1);
  add('198.51.100.2', '172.30.0.100', 1);
  add('198.51.100.3', '10.77.0.1', 2);
  add('198.51.100.4', '10.77.0.1', 1, 81);
  await daemon.changeService('web', () => changed(made, 'web', { listen: ['172.30.0.100:80/tcp'] }));
  const { flows } = await flowViews(daemon, {}, 10);
  t.deepEqual(
    flows.map(({ original, service: name, backend }) => [original.source, name, backend]),
    [
      ['198.51.100.2', 'web', 'a:80'],
      ['198.51.100.3', null, null],
      ['198.51.100.4', 'web', 'a:80'],
    ],
  );
  await daemon.stop();
});
