/** `tapline route` and what `show` says of the router. */

import test from 'ava';
import { makeLab } from './support/lab.js';

test('a route comes and goes', async (t) => {
  const { run, dataplane } = await makeLab(t);
  t.like(await run('route', 'add', '10.9.0.0/16', 'via', '172.30.0.2'), { code: 0, out: '10.9.0.0/16\n' });
  t.like(await run('route', 'add', 'default', 'via', '172.30.0.2', '--via', '172.30.0.3', '--metric', '7'), {
    code: 0,
    out: '0.0.0.0/0\n',
  });
  t.like(await run('route', 'add', 'default', 'via', 'fe80::1%blue'), { code: 0, out: '::/0\n' });
  const made = await run('route', 'add', '10.66.6.6', 'blackhole', '--json');
  t.like(JSON.parse(made.out), { prefix: '10.66.6.6/32', kind: 'blackhole', hops: [], metric: 100, state: 'active' });
  t.is(
    (await run('show', 'route')).out,
    `VRF      PREFIX         KIND       VIA                    INTERFACE  METRIC  SOURCE     STATE
default  10.66.6.6/32   blackhole  -                      -          100     static     active
default  172.31.0.0/30  connected  -                      red        -       connected  active
default  172.30.0.0/24  connected  -                      blue       -       connected  active
default  10.9.0.0/16    unicast    172.30.0.2             blue       100     static     active
default  0.0.0.0/0      unicast    172.30.0.2 172.30.0.3  blue       7       static     active
default  fd00:30::/64   connected  -                      blue       -       connected  active
default  ::/0           unicast    fe80::1                blue       100     static     active
`,
  );
  t.regex((await run('show', 'route', '--all', '--network', 'red')).out, /^default +172\.31\.0\.1\/32 +local/m);
  t.is((await run('show', 'route', '--vrf', 'grey')).err, 'tapline: vrf: no VRF grey; there is default\n');
  t.like(await run('route', 'rm', '10.9.0.0/16'), { code: 0, out: '10.9.0.0/16\n' });
  t.like(await run('route', 'rm', '10.9.0.0/16'), {
    code: 1,
    err: 'tapline: no route to 10.9.0.0/16 in VRF default\n',
  });
  t.like(await run('route', 'rm', 'default', '--metric', '7', '--json'), {
    code: 0,
    out: '{\n  "prefix": "0.0.0.0/0"\n}\n',
  });
  t.deepEqual([...dataplane.routes.values()].map(({ prefix }) => prefix).sort(), ['10.66.6.6/32', '::/0']);
});

test('a route that waits says for what', async (t) => {
  const { run, daemon } = await makeLab(t);
  await run('route', 'add', '10.9.0.0/16', 'via', '172.31.0.2');
  await daemon.removeNetwork('red', true);
  t.regex(
    (await run('show', 'route')).out,
    /10\.9\.0\.0\/16 +unicast +172\.31\.0\.2 +- +100 +static +inactive: no link of VRF default has 172\.31\.0\.2\n/,
  );
});

for (const [words, line] of [
  [['10.9.0.0/16'], 'expected via ADDRESS, blackhole, unreachable or prohibit behind the prefix'],
  [['10.9.0.0/16', 'dev', 'eth0'], 'expected via ADDRESS, blackhole, unreachable or prohibit, got dev'],
  [['10.9.0.0/16', 'via'], 'expected an address behind via'],
  [['10.9.0.0/16', 'blackhole', 'via'], 'nothing comes behind blackhole, got via'],
  [['10.9.0.1/16', 'blackhole'], 'to: expected 10.9.0.0/16, the prefix without host bits, got "10.9.0.1/16"'],
  [['10.9.0.0/16', 'via', 'x'], 'via: expected the address of a next hop, got "x"'],
  [['10.9.0.0/16', 'blackhole', '--metric', 'x'], 'metric: expected an integer from 0 to 2147483647, got "x"'],
] as const) {
  test(`route add ${words.join(' ')}: one line and exit code 2`, async (t) => {
    const { run } = await makeLab(t);
    t.like(await run('route', 'add', ...words), { code: 2, out: '', err: `tapline: ${line}\n` });
  });
}

test('neighbors with names', async (t) => {
  const { run, daemon, dataplane } = await makeLab(t);
  const blue = daemon.interfaces.get('blue')?.number ?? 0;
  dataplane.neighborEntries.push(
    {
      interface: blue,
      address: '172.30.0.2',
      mac: '02:42:ac:1e:00:02',
      state: 'reachable',
      ageSeconds: 3.7,
      router: false,
      waiting: 0,
    },
    { interface: blue, address: 'fe80::9', mac: null, state: 'incomplete', ageSeconds: 1, router: true, waiting: 2 },
  );
  t.is(
    (await run('show', 'neigh')).out,
    `ADDRESS     INTERFACE  VRF      MAC                STATE               AGE  WAITING
172.30.0.2  blue       default  02:42:ac:1e:00:02  reachable           3 s        0
fe80::9     blue       default  -                  incomplete, router  1 s        2
`,
  );
  t.deepEqual(JSON.parse((await run('show', 'neigh', '--network', 'red', '--json')).out), []);
  t.is((await run('show', 'neigh', '--network', 'grey')).err, 'tapline: no network grey\n');
});

test('VRFs, and what the router counts', async (t) => {
  const { run } = await makeLab(t);
  t.is(
    (
      await run(
        'network',
        'create',
        'lab',
        '--subnet',
        '172.30.0.0/24',
        '--vrf',
        'lab',
        '--ip-range',
        '172.30.0.128/25',
      )
    ).code,
    0,
  );
  t.is(
    (await run('show', 'vrf')).out,
    `VRF      STATE  INTERCONNECT  ROUTES  PREFIXES  INTERFACES
default  up     no                 0         6  blue red
lab      up     yes                0         2  lab
`,
  );
  const { out } = await run('status');
  t.regex(out, /^router: +8 prefixes, 0 of 4096 neighbors, 3 ICMP errors \(1 more not sent\)$/m);
  t.regex(out, /^frames: +20 received, 1 made here, 3 copied, 15 delivered, 2 taken in, 0 dropped$/m);
});

test('options of a gateway arrive as they were given', async (t) => {
  const { run, daemon, dataplane } = await makeLab(t);
  const words =
    '--subnet 10.1.0.0/24 --subnet fd01::/64 --gateway-mac 02:00:00:00:00:77 --source-validation --proxy 10.2.0.0/16';
  t.is((await run('network', 'create', 'x', ...words.split(' '), '--router-advertisements')).code, 0);
  t.like(dataplane.interfaceOf('x'), {
    mac: '02:00:00:00:00:77',
    validateSource: true,
    proxies: ['10.2.0.0/16'],
    advertisement: { interval: 200 },
  });
  const { out } = await run('network', 'inspect', 'x');
  t.regex(out, /^gateway mac: +02:00:00:00:00:77$/m);
  t.regex(out, /^router advertisements: +every 200 s, lifetime 1800 s, autonomous$/m);
  await run('connect', 'x', '--netns', '/ns/a', '--name', 'a', '--gateway-priority', '5');
  t.is(daemon.endpoint('a').config.gateway_priority, 5);
});

test('completion knows VRFs and static routes', async (t) => {
  const { run } = await makeLab(t);
  await run('route', 'add', '10.9.0.0/16', 'via', '172.30.0.2');
  t.is((await run('__complete', 'route', 'rm', '')).out, '10.9.0.0/16\n');
  t.is((await run('__complete', 'show', 'route', '--vrf', '')).out, 'default\n');
  t.is((await run('__complete', 'show', 'n')).out, 'neigh\nnat\n');
  t.is((await run('__complete', 'route', '')).out, 'add\nrm\n');
});
