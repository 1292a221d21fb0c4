/** `tapline show conntrack|nat` and `tapline conntrack flush`. */

import test, { type ExecutionContext } from 'ava';
import { ApiClient } from '../../cli/client.js';
import type { FlowsView } from '../../control/flow-views.js';
import {
  FLOW_BACKEND_SHIFT,
  FLOW_BALANCED,
  FLOW_BRIDGED,
  FLOW_DNAT,
  FLOW_LOOSE,
  FLOW_REPLIED,
  FLOW_SNAT,
  STATE_ESTABLISHED,
  STATE_ICMP_REPLIED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../../core/nat/flow.js';
import { addFlow, ports } from '../control/support/flows.js';
import { type Lab, makeLab, watch } from './support/lab.js';

const TCP = 6;
const UDP = 17;

interface Filled extends Lab {
  /** `show conntrack` with these words, as JSON: where each flow goes to. */
  readonly shown: (...words: string[]) => Promise<string[]>;
}

/** Endpoints a and b on blue, one on red, and connections of all kinds. */
async function makeFilled(t: ExecutionContext): Promise<Filled> {
  const lab = await makeLab(t);
  const { daemon, dataplane, run, system } = lab;
  system.addNamespace('/ns/c');
  for (const [name, network] of [
    ['a', 'blue'],
    ['b', 'blue'],
    ['c', 'red'],
  ] as const)
    t.is((await run('connect', network, '--name', name, '--netns', `/ns/${name}`)).err, '');
  const vrf = daemon.interfaces.vrfs.numberOf('default') ?? 0;
  const port = (name: string): number => daemon.endpoint(name).port;
  const { table } = dataplane.nat.tables;
  table.now = 1000;
  addFlow(table, {
    zone: vrf,
    protocol: TCP,
    state: STATE_ESTABLISHED | FLOW_REPLIED | FLOW_SNAT,
    owner: port('a'),
    original: ['172.30.0.2', '192.0.2.1', ports(40_000, 443)],
    reply: ['192.0.2.1', '10.77.0.1', ports(443, 40_000)],
  });
  addFlow(table, {
    zone: vrf,
    protocol: TCP,
    state: STATE_SYN_SENT | FLOW_DNAT,
    original: ['198.51.100.7', '10.77.0.1', ports(1234, 8080)],
    reply: ['172.30.0.3', '198.51.100.7', ports(80, 1234)],
  });
  addFlow(table, {
    zone: vrf,
    protocol: UDP,
    state: STATE_UDP_STREAM | FLOW_REPLIED,
    owner: port('b'),
    original: ['fd00:30::3', '2001:db8::1', ports(50_000, 53)],
    rule: 0,
  });
  addFlow(table, {
    zone: vrf,
    protocol: 1,
    state: STATE_ICMP_REPLIED | FLOW_REPLIED,
    owner: port('c'),
    original: ['172.31.0.2', '192.0.2.9', ports(77, 77)],
  });
  addFlow(table, {
    zone: daemon.network('blue').id,
    bridged: true,
    protocol: UDP,
    state: STATE_UDP_UNREPLIED | FLOW_BRIDGED | FLOW_LOOSE,
    owner: port('a'),
    original: ['172.30.0.2', '172.30.0.3', ports(5000, 6000)],
  });
  // The same addresses elsewhere: none of blue's.
  addFlow(table, {
    zone: vrf + 1,
    protocol: 47,
    state: STATE_ICMP_REPLIED,
    original: ['172.30.0.3', '192.0.2.77', 0],
  });
  const shown = async (...words: string[]): Promise<string[]> => {
    const { out, err } = await run('show', 'conntrack', '--json', ...words);
    t.is(err, '');
    return (JSON.parse(out) as FlowsView).flows.map(({ original }) => original.destination);
  };
  return { ...lab, shown };
}

test('show conntrack: a table for people, with names, what is translated, and the rule that let it pass', async (t) => {
  const { run, daemon } = await makeFilled(t);
  await daemon.addRule({ ports: [53], proto: 'udp', action: 'accept' }, null);
  t.is(
    (await run('show', 'conntrack')).out,
    `PROTO  STATE        FROM    ORIGINAL                                REPLY                               EXPIRES  FLAGS              RULE  SERVICE
tcp    established  a       172.30.0.2:40000 -> 192.0.2.1:443       192.0.2.1:443 -> 10.77.0.1:40000    86400 s  snat replied       -     -
tcp    syn_sent     router  198.51.100.7:1234 -> 10.77.0.1:8080     172.30.0.3:80 -> 198.51.100.7:1234  240 s    dnat               -     -
udp    stream       b       [fd00:30::3]:50000 -> [2001:db8::1]:53  -                                   300 s    replied            1     -
icmp   replied      c       172.31.0.2 -> 192.0.2.9 id 77           -                                   60 s     replied            -     -
udp    unreplied    a       172.30.0.2:5000 -> 172.30.0.3:6000      -                                   300 s    bridged picked_up  -     -
gre    replied      router  172.30.0.3 -> 192.0.2.77                -                                   60 s     -                  -     -
`,
  );
});

test('show conntrack: JSON has every field', async (t) => {
  const { run } = await makeFilled(t);
  const { flows, more } = JSON.parse((await run('show', 'conntrack', '--nat', '--json')).out);
  t.false(more);
  t.deepEqual(flows[0], {
    proto: 'tcp',
    state: 'established',
    vrf: 'default',
    network: null,
    from: 'a',
    original: { source: '172.30.0.2', destination: '192.0.2.1', sourcePort: 40_000, destinationPort: 443, id: null },
    reply: { source: '192.0.2.1', destination: '10.77.0.1', sourcePort: 443, destinationPort: 40_000, id: null },
    translated: true,
    expiresSeconds: flows[0].expiresSeconds,
    flags: ['snat', 'replied'],
    rule: null,
    service: null,
    backend: null,
  });
  t.true(flows[0].expiresSeconds > 7000);
});

for (const [what, words, found] of [
  ['all', [], ['192.0.2.1', '10.77.0.1', '2001:db8::1', '192.0.2.9', '172.30.0.3', '192.0.2.77']],
  ['a protocol by name', ['--proto', 'icmp'], ['192.0.2.9']],
  ['a protocol by number', ['--proto', '47'], ['192.0.2.77']],
  ['a state of several protocols', ['--state', 'unreplied'], ['172.30.0.3']],
  ['a state', ['--state', 'established'], ['192.0.2.1']],
  ['a source', ['--src', '172.30.0.2'], ['192.0.2.1', '172.30.0.3']],
  ['a prefix of sources', ['--src', '172.30.0.0/15'], ['192.0.2.1', '192.0.2.9', '172.30.0.3', '192.0.2.77']],
  ['all of IPv4, and none of IPv6', ['--src', '0.0.0.0/0', '--proto', 'udp'], ['172.30.0.3']],
  ['all of IPv6', ['--dst', '::/0'], ['2001:db8::1']],
  ['a prefix of IPv6', ['--dst', '2001:db8::/32'], ['2001:db8::1']],
  ['a destination as it was asked for', ['--dst', '10.77.0.1'], ['10.77.0.1']],
  ['a destination behind the translation', ['--dst', '172.30.0.3'], ['10.77.0.1', '172.30.0.3']],
  ['a port before the translation', ['--port', '8080'], ['10.77.0.1']],
  ['a port behind it', ['--port', '80'], ['10.77.0.1']],
  ['an identifier', ['--port', '77'], ['192.0.2.9']],
  ['what is translated', ['--nat'], ['192.0.2.1', '10.77.0.1']],
  ['an endpoint that began them', ['--endpoint', 'a'], ['192.0.2.1', '172.30.0.3']],
  ['an endpoint that has been asked', ['--endpoint', 'b'], ['10.77.0.1', '2001:db8::1', '172.30.0.3']],
  ['a network', ['--network', 'blue'], ['192.0.2.1', '10.77.0.1', '2001:db8::1', '172.30.0.3']],
  ['another network', ['--network', 'red'], ['192.0.2.9']],
  ['endpoint and network', ['--network', 'blue', '--endpoint', 'b', '--proto', 'tcp'], ['10.77.0.1']],
  ['nothing', ['--proto', 'sctp'], []],
] as const) {
  test(`show conntrack: ${what}`, async (t) => {
    const { shown } = await makeFilled(t);
    t.deepEqual(await shown(...words), [...found]);
  });
}

test('show conntrack: what is beyond the limit is said, and pages are put together', async (t) => {
  const { run, dataplane } = await makeLab(t);
  for (let i = 0; i < 9000; i++)
    addFlow(dataplane.nat.tables.table, {
      zone: 1,
      protocol: UDP,
      state: STATE_UDP_UNREPLIED,
      original: ['10.0.0.1', '10.0.0.2', ports(1 + i, 53)],
    });
  const { out } = await run('show', 'conntrack', '--limit', '2');
  t.is(out.split('\n').length, 5, out);
  t.regex(out, /\n2 connections shown, there are more: --limit shows up to 100000\n$/);
  const all = JSON.parse((await run('show', 'conntrack', '--limit', '100000', '--json')).out) as FlowsView;
  t.false(all.more);
  t.deepEqual(
    all.flows.map(({ original }) => original.sourcePort),
    Array.from({ length: 9000 }, (_, i) => i + 1),
  );
  const exact = JSON.parse((await run('show', 'conntrack', '--limit', '9000', '--json')).out) as FlowsView;
  t.deepEqual([exact.flows.length, exact.more], [9000, false]);
});

for (const [words, line] of [
  [['--proto', 'tpc'], 'proto: expected a protocol: its name, such as tcp, or a number from 1 to 255, got "tpc"'],
  [['--proto', '256'], 'proto: expected a protocol: its name, such as tcp, or a number from 1 to 255, got "256"'],
  [['--src', '10.0.0.256'], 'src: expected an address or a prefix such as 10.0.0.0/8, got "10.0.0.256"'],
  [['--dst', '10.0.0.1/8'], 'dst: expected 10.0.0.0/8, the prefix without host bits, got "10.0.0.1/8"'],
  [['--port', '0'], 'port: expected an integer from 1 to 65535, got "0"'],
  [['--limit', '0'], 'limit: expected an integer from 1 to 100000, got "0"'],
  [['--endpoint', 'a', '--network', 'red'], 'endpoint: a is on network blue, not on red'],
  [['--watch', 'often'], '--watch: expected seconds from 0.1 to 3600, got "often"'],
] as const) {
  test(`show conntrack ${words.join(' ')}: one line and exit code 2`, async (t) => {
    const { run } = await makeFilled(t);
    t.like(await run('show', 'conntrack', ...words), { code: 2, out: '', err: `tapline: ${line}\n` });
  });
}

test('show conntrack: an unknown state lists the known ones, an unknown endpoint is missing', async (t) => {
  const { run } = await makeFilled(t);
  const { code, err } = await run('show', 'conntrack', '--state', 'open');
  t.is(code, 2);
  t.regex(err, /syn_sent, syn_received, opening, established, fin, closing, reset, unreplied, stream, replied/);
  t.like(await run('show', 'conntrack', '--endpoint', 'x'), { code: 1, out: '' });
});

test('conntrack flush: what fits goes, all else stays, and how many it were is said', async (t) => {
  const { run, shown } = await makeFilled(t);
  t.like(await run('conntrack', 'flush', '--endpoint', 'b', '--proto', 'tcp'), {
    code: 0,
    out: '1 connection forgotten\n',
  });
  t.deepEqual(await shown(), ['192.0.2.1', '2001:db8::1', '192.0.2.9', '172.30.0.3', '192.0.2.77']);
  t.deepEqual(JSON.parse((await run('conntrack', 'flush', '--proto', 'sctp', '--json')).out), { flushed: 0 });
  t.is((await run('conntrack', 'flush', '--port', '53')).out, '1 connection forgotten\n');
  t.is((await run('conntrack', 'flush', '--all')).out, '4 connections forgotten\n');
  t.deepEqual(await shown(), []);
});

test('conntrack flush: everything only with --all, by the command and by the API', async (t) => {
  const { run, shown, env } = await makeFilled(t);
  t.like(await run('conntrack', 'flush'), {
    code: 2,
    err: 'tapline: expected which connections to forget, such as --endpoint a, or --all\n',
  });
  t.like(await run('conntrack', 'flush', '--all', '--nat'), {
    code: 2,
    err: 'tapline: --all: expected no other options that choose connections\n',
  });
  const client = new ApiClient(env.TAPLINE_SOCKET ?? '');
  await t.throwsAsync(client.post('/v1/conntrack/flush', {}), { message: /^all: expected which connections/ });
  await t.throwsAsync(client.post('/v1/conntrack/flush', { nat: false }), { message: /^all: expected which/ });
  await t.throwsAsync(client.post('/v1/conntrack/flush', { all: true, port: 5 }), { message: /^all: expected no/ });
  await t.throwsAsync(client.post('/v1/conntrack/flush', { prot: 'tcp' }), { message: /^prot: / });
  t.is((await shown()).length, 6, 'nothing has gone');
});

test('show conntrack --watch: again and again until the reader goes', async (t) => {
  const { env } = await makeFilled(t);
  const lines = await watch(t, env, ['show', 'conntrack', '--watch', '0.1', '--json', '--proto', 'icmp']);
  for (const line of lines) t.is(JSON.parse(line).flows[0].original.id, 77);
});

test('show nat: settings, what is used, and whose connections there are', async (t) => {
  const { run, daemon, dataplane } = await makeFilled(t);
  const { mappings } = dataplane.nat.tables;
  const zone = daemon.interfaces.vrfs.numberOf('default') ?? 0;
  const external = mappings.external(zone, 0, 0, 0xffff, (10 << 24) | (77 << 16) | 1);
  mappings.adopt(
    external,
    TCP,
    40_000,
    Int32Array.of(0, 0, 0xffff, (172 << 24) | (30 << 16) | 2),
    50_000,
    daemon.endpoint('a').port,
  );
  t.is(
    (await run('show', 'nat')).out,
    `mapping:         endpoint_independent
filtering:       address_dependent
ports:           1-65535
port block:      none
alg:             -
connections:     6 of 10000, 131072 an endpoint
table full:      0 times, 0 connections made room
ports exhausted: 0 connections refused

EXTERNAL   VRF      PROTO  USED   FREE  PUBLISHED  BLOCKS
10.77.0.1  default  tcp       1  64511          0       0

FROM    CONNECTIONS
router            2
a                 2
b                 1
c                 1
`,
  );
  t.is(
    (await run('show', 'nat', '--mappings')).out,
    `PROTO  INTERNAL          EXTERNAL         VRF      FROM  CONNECTIONS  SHARED
tcp    172.30.0.2:50000  10.77.0.1:40000  default  a               1  no
`,
  );
  const { mappings: views, more } = JSON.parse((await run('show', 'nat', '--mappings', '--json')).out);
  t.false(more);
  t.like(views[0], { internalPort: 50_000, externalPort: 40_000, flows: 1, exclusive: true });
  t.like(await run('show', 'nat', '--limit', '5'), { code: 2, err: 'tapline: --limit: expected with --mappings\n' });
});

test('show nat: the file says how, and JSON has it all', async (t) => {
  const { run } = await makeLab(t);
  const { out } = await run('show', 'nat', '--json');
  t.like(JSON.parse(out), {
    mapping: 'endpoint_independent',
    filtering: 'address_dependent',
    ports: '1-65535',
    port_block: 0,
    exhausted: 0,
    externals: [],
    endpoints: [],
  });
});

test('connections through a service: which service and backend, and these alone', async (t) => {
  const { run, dataplane, daemon } = await makeFilled(t);
  const create = [
    'service',
    'create',
    'web',
    '--network',
    'blue',
    '--listen',
    '172.30.0.100:80',
    '--backend',
    'b:8080',
  ];
  t.is((await run(...create)).err, '');
  const [backend] = daemon.services.get('web').backends;
  addFlow(dataplane.nat.tables.table, {
    zone: daemon.interfaces.vrfs.numberOf('default') ?? 0,
    protocol: TCP,
    state: STATE_ESTABLISHED | FLOW_REPLIED | FLOW_DNAT | FLOW_BALANCED,
    owner: daemon.endpoint('a').port | ((backend?.number ?? 0) << FLOW_BACKEND_SHIFT),
    original: ['172.30.0.2', '172.30.0.100', ports(41_000, 80)],
    reply: ['172.30.0.3', '172.30.0.2', ports(8080, 41_000)],
  });
  const { flows } = JSON.parse((await run('show', 'conntrack', '--service', 'web', '--json')).out) as FlowsView;
  t.is(flows.length, 1);
  t.like(flows[0], { from: 'a', service: 'web', backend: 'b:8080' });
  t.regex((await run('show', 'conntrack', '--service', 'web')).out, / web b:8080\n$/);
  t.like(await run('show', 'conntrack', '--service', 'no'), { code: 1, err: 'tapline: no service no\n' });
  t.is((await run('conntrack', 'flush', '--service', 'web')).out, '1 connection forgotten\n');
  t.is((await run('conntrack', 'flush', '--service', 'web')).out, '0 connections forgotten\n');
  t.is((await run('service', 'update', 'web', '--backend-rm', 'b:8080')).err, '');
  t.is((await run('conntrack', 'flush', '--service', 'web')).out, '0 connections forgotten\n', 'without backends none');
});
