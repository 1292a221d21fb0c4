import { once } from 'node:events';
import { linkSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { ApiClient } from '../../cli/client.js';
import { buildApi, startApi } from '../../control/api.js';
import { claimSocket } from '../../control/socket.js';
import { config, eventually, type Fixture, makeFixture, NETWORKS } from './support/fixture.js';

const SILENT = pino({ level: 'silent' });

// biome-ignore lint/suspicious/noExplicitAny: answers are compared as they are, whatever their shape.
type Answer = [status: number, body: any];
type Method = 'GET' | 'POST' | 'DELETE';

async function makeApi(
  t: ExecutionContext,
): Promise<Fixture & { ask: (method: Method, url: string, body?: unknown) => Promise<Answer> }> {
  const fixture = makeFixture();
  await fixture.daemon.apply(config(NETWORKS));
  fixture.system.addNamespace('/ns/a');
  fixture.system.addNamespace('/ns/b');
  const { app } = buildApi(fixture.daemon, SILENT, '/test.sock');
  t.teardown(async () => {
    await app.close();
    await fixture.daemon.stop();
  });
  const ask = async (method: Method, url: string, body?: unknown): Promise<Answer> => {
    const response = await app.inject({ method, url, ...(body === undefined ? {} : { payload: body as object }) });
    return [response.statusCode, response.payload === '' ? null : response.json()];
  };
  return { ...fixture, ask };
}

function temporaryDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-api-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test('networks: create, list, inspect, remove', async (t) => {
  const { ask } = await makeApi(t);
  const created = {
    name: 'green',
    state: 'up',
    subnets: ['10.9.0.0/24'],
    gateways: ['10.9.0.1'],
    gateway_mac: '02:42:0a:09:00:01',
    range: [],
    vrf: 'default',
    host: false,
    source_validation: false,
    proxy: [],
    router_advertisements: {
      enabled: false,
      interval: 200,
      lifetime: 1800,
      autonomous: true,
      managed: false,
      other: false,
    },
    mtu: 1400,
    internal: false,
    isolated: false,
    masquerade: true,
    policy: 'accept',
    ageing: 300,
    fdb_limit: 16384,
    fdb_full: 'flood',
    vlan_filtering: false,
    vlan_protocol: null,
    multicast: { snooping: true, querier: true, unregistered: 'flood' },
    storm_control: { broadcast: 10_000, multicast: 'off', unknown_unicast: 10_000 },
    loop_protection: { enabled: true, moves: 20, quarantine: 30 },
    vxlan: null,
    uplink: null,
    endpoints: [],
  };
  t.deepEqual(await ask('POST', '/v1/networks', { name: 'green', subnets: ['10.9.0.0/24'], mtu: 1400 }), [
    201,
    created,
  ]);
  t.deepEqual(await ask('GET', '/v1/networks/green'), [200, created]);
  const [, all] = await ask('GET', '/v1/networks');
  t.deepEqual(
    all.map(({ name }: { name: string }) => name),
    ['blue', 'red', 'green'],
  );
  t.deepEqual(await ask('DELETE', '/v1/networks/green'), [204, null]);
  t.deepEqual(await ask('GET', '/v1/networks/green'), [404, { error: 'no network green' }]);
});

test('endpoints: connect, list, inspect, disconnect', async (t) => {
  const { ask } = await makeApi(t);
  const view = {
    name: 'a',
    state: 'up',
    network: 'blue',
    netns: '/ns/a',
    pid: null,
    container: null,
    interface: 'eth0',
    addresses: ['172.30.0.2/24', 'fd00:30::2/64'],
    mac: '02:42:ac:1e:00:02',
    security: 'strict',
    allowed_addresses: [],
    macs: [],
    mac_limit: 1,
    isolated: false,
    isolation_group: null,
    vlan: null,
    trunk: null,
    gateway_priority: 0,
    publish: [],
  };
  t.deepEqual(await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/a' }), [201, view]);
  t.deepEqual(await ask('GET', '/v1/endpoints'), [200, [view]]);
  t.deepEqual(await ask('GET', '/v1/endpoints/a'), [200, view]);
  t.like((await ask('GET', '/v1/networks/blue'))[1], { endpoints: ['a'] });
  const kept = 'network blue still has endpoints a; disconnect them first, or use --force';
  t.deepEqual(await ask('DELETE', '/v1/networks/blue'), [409, { error: kept }]);
  t.deepEqual(await ask('DELETE', '/v1/endpoints/a'), [204, null]);
  t.deepEqual(await ask('DELETE', '/v1/endpoints/a'), [404, { error: 'no endpoint a' }]);
});

test("an endpoint without a name gets its target's, and with the network behind it where that is taken", async (t) => {
  const { ask, system } = await makeApi(t);
  system.addContainer('c1', 70);
  system.addProcess(71);
  const nameOf = async (body: object): Promise<string> => (await ask('POST', '/v1/endpoints', body))[1].name;
  t.is(await nameOf({ network: 'blue', container: 'c1' }), 'c1');
  t.is(await nameOf({ network: 'red', container: 'c1', interface: 'eth1' }), 'c1.red');
  t.is(await nameOf({ network: 'blue', pid: 71 }), 'pid-71');
  t.is(await nameOf({ network: 'blue', netns: '/ns/a' }), 'a');
  t.deepEqual(await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/a' }), [
    409,
    { error: 'name: endpoint a already exists' },
  ]);
  t.deepEqual(await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/' }), [
    400,
    { error: 'name: cannot be derived from ""; give one' },
  ]);
});

/** Request, status, error line: the same lines as in a file. */
const REFUSED: readonly (readonly [Method, string, unknown, number, string])[] = [
  ['POST', '/v1/networks', { name: 'x' }, 400, 'subnets: missing; expected a list of subnets'],
  [
    'POST',
    '/v1/networks',
    { name: 'x', subnets: ['10.0.0.0/24'], foo: 1 },
    400,
    'foo: unknown key; expected one of subnets, gateways, gateway_mac, range, vrf, mtu, internal, isolated, masquerade, nat66, nptv6, policy, host, source_validation, proxy, router_advertisements, ageing, fdb_limit, fdb_full, vlan_filtering, vlan_protocol, multicast, storm_control, loop_protection, vxlan',
  ],
  [
    'POST',
    '/v1/networks',
    { name: 'x', subnets: ['10.0.0.0/24'], mtu: 1 },
    400,
    'mtu: expected an integer from 68 to 65521, got 1',
  ],
  [
    'POST',
    '/v1/networks',
    { name: 'x', subnets: ['10.0.0.0/24'], vxlan: { vni: 1, local: '10.9.0.1', remotes: [] } },
    400,
    'vxlan: needs an uplink of mode own, shared or routed; there is none',
  ],
  [
    'POST',
    '/v1/networks',
    { name: 'x', subnets: ['172.30.0.0/16'] },
    409,
    'subnets[0]: 172.30.0.0/16 overlaps 172.30.0.0/24 of network blue',
  ],
  ['POST', '/v1/networks', { name: 'blue', subnets: ['10.0.0.0/24'] }, 409, 'network blue already exists'],
  ['POST', '/v1/networks', [], 400, 'expected a JSON object as the body of the request'],
  [
    'POST',
    '/v1/endpoints',
    { network: 'blue' },
    400,
    'expected exactly one of netns, pid, container, got none of them',
  ],
  [
    'POST',
    '/v1/endpoints',
    { network: 'grey', netns: '/ns/a' },
    404,
    'network: expected the name of a network, got "grey"',
  ],
  [
    'POST',
    '/v1/endpoints',
    { network: 'blue', netns: '/ns/a', addresses: ['1.2.3'] },
    400,
    'addresses[0]: expected an IPv4 or IPv6 address, got "1.2.3"',
  ],
  [
    'POST',
    '/v1/endpoints',
    { network: 'blue', netns: '/ns/x' },
    404,
    'netns: expected an existing network namespace, got /ns/x, which is none',
  ],
  ['DELETE', '/v1/networks/grey', undefined, 404, 'no network grey'],
  ['DELETE', '/v1/networks/blue?force=maybe', undefined, 400, 'force: expected true or false, got "maybe"'],
  ['GET', '/v1/endpoints/x', undefined, 404, 'no endpoint x'],
  ['GET', '/v1/fdb?network=grey', undefined, 404, 'no network grey'],
  ['GET', '/v1/capture', undefined, 400, 'target: missing; expected the name of an endpoint or a network, or uplink'],
  ['GET', '/v1/capture?target=x', undefined, 404, 'target: no endpoint or network x'],
  ['GET', '/v1/capture?target=endpoint:blue', undefined, 404, 'target: no endpoint blue'],
  ['GET', '/v1/capture?target=uplink', undefined, 404, 'target: no uplink is configured'],
  [
    'GET',
    '/v1/capture?target=blue&snaplen=-1',
    undefined,
    400,
    'snaplen: expected an integer from 0 to 65535, got "-1"',
  ],
  [
    'GET',
    '/v1/capture?target=blue&count=x',
    undefined,
    400,
    'count: expected an integer from 0 to 1000000000, got "x"',
  ],
  ['DELETE', '/v1/capture/7', undefined, 404, 'no capture 7'],
  ['GET', '/v1/mdb?network=grey', undefined, 404, 'no network grey'],
  ['GET', '/v1/vlan?network=grey', undefined, 404, 'no network grey'],
  ['GET', '/v1/security?network=grey', undefined, 404, 'no network grey'],
  ['POST', '/v1/fdb', undefined, 400, 'missing; expected a JSON object with mac, network, and port or vtep'],
  [
    'POST',
    '/v1/fdb',
    { mac: 'x', network: 'blue', port: 'a' },
    400,
    'mac: expected a MAC address such as 02:42:ac:1e:00:02, got "x"',
  ],
  [
    'POST',
    '/v1/fdb',
    { mac: '02:00:00:00:00:99', network: 'blue', port: 'a', vlan: 4095 },
    400,
    'vlan: VLAN out of range: 4095 is reserved; expected an integer from 1 to 4094, got 4095',
  ],
  ['POST', '/v1/fdb', { mac: '02:00:00:00:00:99', network: 'blue', port: 'a' }, 404, 'port: no endpoint a'],
  ['DELETE', '/v1/fdb?network=blue', undefined, 400, 'mac: missing; expected a MAC address such as 02:42:ac:1e:00:02'],
  [
    'DELETE',
    '/v1/fdb?mac=02:00:00:00:00:99&network=blue',
    undefined,
    404,
    'no entry of 02:00:00:00:00:99 in network blue',
  ],
  [
    'DELETE',
    '/v1/fdb?mac=02:00:00:00:00:99&network=blue&vlan=red',
    undefined,
    400,
    'vlan: expected a VLAN, an integer from 1 to 4094, got "red"',
  ],
  ['POST', '/v1/fdb/flush', { network: 'grey' }, 404, 'no network grey'],
  [
    'POST',
    '/v1/fdb',
    { mac: '02:00:00:00:00:99', network: 'blue', port: 'a', vtep: '10.77.0.2' },
    400,
    'port: unknown key; expected one of mac, network, vtep, vlan',
  ],
  [
    'POST',
    '/v1/fdb',
    { mac: '02:00:00:00:00:99', network: 'blue', vtep: '10.77.0.2' },
    409,
    'network: network blue has no vxlan: it is on this host alone',
  ],
  ['GET', '/v1/vxlan?network=grey', undefined, 404, 'no network grey'],
  ['GET', '/v1/vxlan?vni=42', undefined, 400, 'vni: unknown key; expected one of network'],
  ['POST', '/v1/vxlan/probe', { network: 'grey' }, 404, 'no network grey'],
  ['POST', '/v1/vxlan/probe', [], 400, 'expected a JSON object with network where wanted, got an empty list'],
  ['POST', '/v1/networks/blue/vteps', undefined, 400, 'missing; expected a JSON object with address'],
  ['POST', '/v1/networks/grey/vteps', { address: '10.77.0.2' }, 404, 'no network grey'],
  [
    'POST',
    '/v1/networks/blue/vteps',
    { address: '10.77.0.2', floods: 'no' },
    400,
    'floods: expected true or false, got "no"',
  ],
  ['DELETE', '/v1/networks/blue/vteps/x', undefined, 400, 'address: expected an IPv4 or IPv6 address, got "x"'],
  ['POST', '/v1/neighbors', undefined, 400, 'missing; expected a JSON object with network, address and mac'],
  ['DELETE', '/v1/neighbors?network=blue', undefined, 400, 'address: missing; expected an IPv4 or IPv6 address'],
  ['POST', '/v1/fdb/flush', { mac: 'x' }, 400, 'mac: unknown key; expected one of network, port, vlan'],
  [
    'POST',
    '/v1/mirrors',
    { name: 'm', to: 'a' },
    400,
    'from: missing; expected a mapping with one of network, endpoint, uplink',
  ],
  [
    'POST',
    '/v1/mirrors',
    { name: 'm', from: { endpoint: 'a' }, to: 'b' },
    404,
    'from.endpoint: expected the name of an endpoint, got "a"',
  ],
  ['GET', '/v1/mirrors/m', undefined, 404, 'no mirror m'],
  ['DELETE', '/v1/mirrors/m', undefined, 404, 'no mirror m'],
  ['GET', '/v1/events?follow=perhaps', undefined, 400, 'follow: expected true or false, got "perhaps"'],
  ['GET', '/v1/nothing', undefined, 404, 'no such request: GET /v1/nothing'],
];

for (const [method, url, body, status, error] of REFUSED) {
  test(`refused: ${method} ${url} ${body === undefined ? '' : JSON.stringify(body)}`, async (t) => {
    const { ask } = await makeApi(t);
    t.deepEqual(await ask(method, url, body), [status, { error }]);
  });
}

test('a failing dataplane is 500 with its line', async (t) => {
  const { ask, dataplane } = await makeApi(t);
  dataplane.failing.add('addPort a');
  t.deepEqual(await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/a' }), [
    500,
    { error: 'EIO addPort a told to fail' },
  ]);
});

test('broken JSON is 400', async (t) => {
  const { daemon } = await makeApi(t);
  const { app } = buildApi(daemon, SILENT, '/test.sock');
  const response = await app.inject({
    method: 'POST',
    url: '/v1/networks',
    headers: { 'content-type': 'application/json' },
    payload: '{',
  });
  t.is(response.statusCode, 400);
  t.deepEqual(Object.keys(response.json()), ['error']);
  const text = await app.inject({
    method: 'POST',
    url: '/v1/networks',
    headers: { 'content-type': 'text/plain' },
    payload: 'x',
  });
  t.is(text.statusCode, 400);
  await app.close();
});

test('a body is JSON whatever its content type, and nothing slips past the schema', async (t) => {
  const { daemon, ask } = await makeApi(t);
  const { app } = buildApi(daemon, SILENT, '/test.sock');
  const post = async (payload: string, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await app.inject({ method: 'POST', url: '/v1/networks', headers, payload });
    return [response.statusCode, response.json()];
  };
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  t.is((await post('{"name":"x","subnets":["10.0.0.0/24"]}', form))[0], 201);
  t.is((await post('{"name":"y","subnets":["10.0.1.0/24"]}'))[0], 201);
  t.deepEqual(await post('', form), [400, { error: 'expected a JSON object as the body of the request' }]);
  const [status, { error }] = await post('{"name":"z","subnets":["10.0.2.0/24"],"__proto__":{"mtu":1400}}');
  t.is(status, 400);
  t.regex(error, /^__proto__: unknown key/);
  t.deepEqual(await post(`"${'x'.repeat(1024 * 1024)}"`, form), [400, { error: 'Request body is too large' }]);
  t.deepEqual(await ask('GET', '/v1/networks/z'), [404, { error: 'no network z' }]);
  await app.close();
});

test('the longest name can be asked for and removed; other odd URLs are answered in the same shape', async (t) => {
  const { ask } = await makeApi(t);
  const name = 'n'.repeat(128);
  t.is((await ask('POST', '/v1/networks', { name, subnets: ['10.0.0.0/24'] }))[0], 201);
  t.like((await ask('GET', `/v1/networks/${name}`))[1], { name });
  t.is((await ask('POST', '/v1/endpoints', { name, network: name, netns: '/ns/a' }))[0], 201);
  t.deepEqual(await ask('DELETE', `/v1/endpoints/${name}`), [204, null]);
  t.deepEqual(await ask('DELETE', `/v1/networks/${name}`), [204, null]);
  for (const url of ['/v1/networks/%zz', `/v1/networks/${'n'.repeat(5000)}`]) {
    const [status, body] = await ask('GET', url);
    t.true(status === 400 || status === 404);
    t.deepEqual(Object.keys(body), ['error']);
  }
  t.deepEqual(await ask('GET', '/v1/status?x=1'), [400, { error: 'x: unknown key; expected none' }]);
});

test('tables speak of names', async (t) => {
  const { ask, dataplane } = await makeApi(t);
  await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/a' });
  const network = [...dataplane.networks].find(([, { name }]) => name === 'blue')?.[0] ?? -1;
  dataplane.fdbEntries.push({
    mac: '02:42:ac:1e:00:02',
    network,
    vlan: 0,
    port: dataplane.portNamed('a'),
    ageSeconds: 3,
    static: false,
  });
  dataplane.rxDrops = { runt: 2, no_destination: 5 };
  dataplane.txDrops = { tx_queue_full: 1 };
  t.like((await ask('GET', '/v1/ports'))[1][0], { name: 'a', kind: 'tap', network: 'blue', rxPackets: 10 });
  const where = { network: 'blue', vlan: null, port: 'a', vtep: null };
  const entry = { mac: '02:42:ac:1e:00:02', ...where, ageSeconds: 3, static: false };
  t.deepEqual(await ask('GET', '/v1/fdb'), [200, [entry]]);
  t.deepEqual(await ask('GET', '/v1/fdb?network=red'), [200, []]);
  const drops = [
    { reason: 'runt', text: 'frame shorter than an Ethernet header', rx: 2, tx: 0 },
    { reason: 'no_destination', text: 'no other port in the network', rx: 5, tx: 0 },
    { reason: 'tx_queue_full', text: 'the port took no more frames', rx: 0, tx: 1 },
  ];
  t.deepEqual(await ask('GET', '/v1/drops'), [
    200,
    {
      received: 20,
      originated: 1,
      copies: 3,
      local: 2,
      delivered: 15,
      drops,
      ports: [{ port: 'a', network: 'blue', drops }],
    },
  ]);
  t.like((await ask('GET', '/v1/status'))[1], {
    engine: 'epoll',
    engineReason: 'a double',
    socket: '/test.sock',
    networks: 2,
    endpoints: 1,
    uplink: null,
    captures: [],
  });
});

test('FDB entries and flushes', async (t) => {
  const { ask, dataplane } = await makeApi(t);
  await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/a' });
  const entry = { mac: '02:00:00:00:00:99', network: 'blue', port: 'a' };
  t.deepEqual(await ask('POST', '/v1/fdb', entry), [201, { ...entry, vlan: null }]);
  t.deepEqual(await ask('GET', '/v1/fdb'), [200, [{ ...entry, vlan: null, vtep: null, ageSeconds: 0, static: true }]]);
  t.deepEqual(await ask('DELETE', '/v1/fdb?mac=02:00:00:00:00:99&network=blue'), [204, null]);
  t.deepEqual(await ask('GET', '/v1/fdb'), [200, []]);
  t.deepEqual(await ask('POST', '/v1/fdb/flush', { port: 'a' }), [204, null]);
  t.deepEqual(await ask('POST', '/v1/fdb/flush'), [204, null]);
  t.deepEqual(dataplane.flushes, [
    { network: null, port: dataplane.portNamed('a'), vlan: null },
    { network: null, port: null, vlan: null },
  ]);
});

test('mirrors: create, list, remove', async (t) => {
  const { ask } = await makeApi(t);
  for (const name of ['a', 'b']) await ask('POST', '/v1/endpoints', { network: 'blue', netns: `/ns/${name}` });
  const view = { name: 'm', from: { endpoint: 'a' }, to: 'b', direction: 'in', state: 'active', reason: '' };
  const body = { name: 'm', from: { endpoint: 'a' }, to: 'b', direction: 'in' };
  t.deepEqual(await ask('POST', '/v1/mirrors', body), [201, view]);
  t.deepEqual(await ask('POST', '/v1/mirrors', body), [409, { error: 'mirror m already exists' }]);
  t.deepEqual(await ask('GET', '/v1/mirrors'), [200, [view]]);
  t.deepEqual(await ask('GET', '/v1/mirrors/m'), [200, view]);
  t.like((await ask('GET', '/v1/status'))[1], { mirrors: [view] });
  t.deepEqual(await ask('DELETE', '/v1/mirrors/m'), [204, null]);
  t.deepEqual(await ask('GET', '/v1/mirrors'), [200, []]);
});

test('VLANs, groups and security speak of names', async (t) => {
  const { ask, daemon, dataplane, system } = await makeApi(t);
  for (const name of ['c', 'd']) system.addNamespace(`/ns/${name}`);
  await ask('POST', '/v1/networks', { name: 'lan', subnets: ['10.0.0.0/24'], vlan_filtering: true });
  await ask('POST', '/v1/endpoints', { network: 'lan', netns: '/ns/a', vlan: 10 });
  await ask('POST', '/v1/endpoints', {
    network: 'lan',
    netns: '/ns/b',
    trunk: { native: 3, allowed: ['3-6', 10, '20-30'] },
  });
  const shop = { isolation_group: 'shop', macs: ['02:00:00:00:00:05'], allowed_addresses: ['10.9.0.0/16'] };
  await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/c', ...shop });
  await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/d', security: 'off' });
  const vlans = [
    { network: 'lan', vlan: '3', untagged: ['b'], tagged: [] },
    { network: 'lan', vlan: '4-6', untagged: [], tagged: ['b'] },
    { network: 'lan', vlan: '10', untagged: ['a'], tagged: ['b'] },
    { network: 'lan', vlan: '20-30', untagged: [], tagged: ['b'] },
  ];
  t.deepEqual(await ask('GET', '/v1/vlan'), [200, vlans]);
  t.deepEqual(await ask('GET', '/v1/vlan?network=blue'), [200, []]);
  const ports = (await ask('GET', '/v1/ports'))[1];
  t.deepEqual(
    ports.map(({ vlan }: { vlan: unknown }) => vlan),
    [{ native: 10, tagged: '' }, { native: 3, tagged: '4-6,10,20-30' }, null, null],
  );
  t.like(ports[2], { security: 'strict', isolated: true, isolation_group: 'shop', state: 'forwarding' });
  t.like(ports[3], { security: 'off', isolated: false, isolation_group: null });
  t.like((await ask('GET', '/v1/endpoints/b'))[1], { vlan: null, trunk: { native: 3, allowed: ['3-6', 10, '20-30'] } });
  t.like((await ask('GET', '/v1/endpoints/a'))[1], { vlan: 10, trunk: null });
  t.like((await ask('GET', '/v1/networks/lan'))[1], { vlan_filtering: true, vlan_protocol: '802.1q' });

  dataplane.rxDrops = { runt: 5, source_mac: 3, dhcp_server: 1 };
  t.deepEqual((await ask('GET', '/v1/security?network=blue'))[1][0], {
    endpoint: 'c',
    network: 'blue',
    level: 'strict',
    isolated: true,
    isolation_group: 'shop',
    macs: ['02:42:ac:1e:00:02', '02:00:00:00:00:05'],
    addresses: ['172.30.0.2', 'fd00:30::2', '10.9.0.0/16'],
    mac_limit: 2,
    learnedMacs: 1,
    violations: { source_mac: 3, dhcp_server: 1 },
  });

  const lan = daemon.network('lan').id;
  const a = dataplane.portNamed('a');
  dataplane.mdbEntries.push(
    { network: lan, vlan: 10, group: '239.1.2.3', ports: [{ port: a, expires: 12.5 }] },
    { network: daemon.network('blue').id, vlan: 0, group: 'router', ports: [{ port: 999, expires: null }] },
  );
  const groups = [
    { network: 'lan', vlan: 10, group: '239.1.2.3', ports: [{ port: 'a', expires: 12.5 }] },
    { network: 'blue', vlan: null, group: 'router', ports: [{ port: 'port 999', expires: null }] },
  ];
  t.deepEqual(await ask('GET', '/v1/mdb'), [200, groups]);
  t.deepEqual(await ask('GET', '/v1/mdb?network=lan'), [200, groups.slice(0, 1)]);
});

test('a network that is one VLAN of its wire shows it', async (t) => {
  const fixture = makeFixture();
  fixture.system.devices.add('up0');
  fixture.system.addNamespace('/ns/a');
  await fixture.daemon.apply(
    config(`${NETWORKS}uplink: { device: up0, mode: bridged, network: blue, vlan: 7 }
endpoints: { a: { network: blue, netns: /ns/a } }`),
  );
  const { app } = buildApi(fixture.daemon, SILENT, '/test.sock');
  const response = await app.inject({ method: 'GET', url: '/v1/vlan' });
  t.deepEqual(response.json(), [{ network: 'blue', vlan: '7', untagged: ['a'], tagged: ['uplink'] }]);
  await app.close();
  await fixture.daemon.stop();
});

test('status names quarantined ports and what happened to them', async (t) => {
  const { ask, dataplane, daemon } = await makeApi(t);
  await ask('POST', '/v1/endpoints', { network: 'blue', netns: '/ns/a' });
  const port = dataplane.portNamed('a');
  dataplane.quarantined.push(port);
  t.deepEqual((await ask('GET', '/v1/status'))[1].quarantined, [{ port: 'a', text: '' }]);
  const network = daemon.network('blue').id;
  dataplane.happen({ kind: 'port-quarantined', network, port, mac: '02:00:00:00:00:05', count: 30 });
  const text =
    'port a is quarantined for 30 seconds in network blue: MAC 02:00:00:00:00:05 came back on it; look for a loop behind it';
  t.like((await ask('GET', '/v1/status'))[1], { quarantined: [{ port: 'a', text }], fdbMoves: 4 });
  const [status, events] = await ask('GET', '/v1/events');
  t.is(status, 200);
  t.like(events[0], { id: 1, kind: 'port-quarantined', port: 'a', network: 'blue', text });
});

test('the socket is private, and is gone after the end', async (t) => {
  const directory = temporaryDirectory(t);
  const socket = join(directory, 'run', 'deep', 'tapline.sock');
  const { daemon } = makeFixture();
  await claimSocket(socket);
  const api = await startApi(daemon, SILENT, socket);
  t.is(statSync(socket).mode & 0o777, 0o600);
  t.deepEqual(readdirSync(join(directory, 'run', 'deep')), ['tapline.sock']);
  t.deepEqual(await new ApiClient(socket).get('/v1/networks'), []);
  await t.throwsAsync(claimSocket(socket), {
    message: `another tapline daemon answers on ${socket}; stop it, or choose another --socket`,
  });
  await api.close();
  t.is(statSync(socket, { throwIfNoEntry: false }), undefined);
  await daemon.stop();
});

test('a stale socket is replaced; another kind of file is not; a long path is refused', async (t) => {
  const directory = temporaryDirectory(t);
  const stale = join(directory, 'stale.sock');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${stale}.live`, resolve));
  linkSync(`${stale}.live`, stale);
  await new Promise((resolve) => server.close(resolve));
  t.true(statSync(stale).isSocket());
  await claimSocket(stale);
  t.is(statSync(stale, { throwIfNoEntry: false }), undefined);
  const file = join(directory, 'file');
  writeFileSync(file, 'x');
  await t.throwsAsync(claimSocket(file), {
    message: `${file} exists and is not a socket; choose another with --socket`,
  });
  t.is(statSync(file).size, 1);
  // Node's own mkdir -p never comes back from here.
  await t.throwsAsync(claimSocket('/proc/tapline/t.sock'), {
    message: /^cannot make the directory of \/proc\/tapline\/t\.sock: ENOENT/,
  });
  await t.throwsAsync(claimSocket(`/${'x'.repeat(107)}`), { message: /^socket path too long, 107 bytes at most: / });
});

async function serve(t: ExecutionContext): Promise<Fixture & { client: ApiClient }> {
  const fixture = makeFixture();
  await fixture.daemon.apply(config(NETWORKS));
  fixture.system.addNamespace('/ns/a');
  const socket = join(temporaryDirectory(t), 'tapline.sock');
  const api = await startApi(fixture.daemon, SILENT, socket);
  t.teardown(async () => {
    await api.close();
    await fixture.daemon.stop();
  });
  const client = new ApiClient(socket);
  await client.post('/v1/endpoints', { network: 'blue', netns: '/ns/a' });
  return { ...fixture, client };
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Block types of a little-endian pcapng file (draft-ietf-opsawg-pcapng section 3). */
function blockTypes(file: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) types.push(file.readUInt32LE(at));
  return types;
}

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const PACKET = 6;

test('events are streamed until the reader goes, or the daemon', async (t) => {
  const { client, dataplane } = await serve(t);
  dataplane.happen({ mac: '02:00:00:00:00:05', port: dataplane.portNamed('a') });
  const first = await client.stream('/v1/events', { follow: true });
  const [chunk] = await once(first, 'data');
  t.like(JSON.parse(String(chunk)), { id: 1, kind: 'mac-moved', port: 'a' });
  first.destroy();
  const directory = temporaryDirectory(t);
  const { daemon } = makeFixture();
  const api = await startApi(daemon, SILENT, join(directory, 't.sock'));
  const second = await new ApiClient(join(directory, 't.sock')).stream('/v1/events', { follow: true });
  const started = Date.now();
  await Promise.all([readAll(second), api.close()]);
  t.true(second.complete && Date.now() - started < 900, 'ended, not cut off');
  await daemon.stop();
});

test('a capture ends at its count, as a whole file, and says what it has', async (t) => {
  const { client, dataplane } = await serve(t);
  const incoming = await client.stream('/v1/capture', { target: 'a', snaplen: 64, count: 2 });
  const capture = dataplane.captures[0]!;
  t.deepEqual(capture.filter, { port: dataplane.portNamed('a'), network: null, snapLength: 64 });
  for (let i = 0; i < 4; i++) capture.deliver(dataplane.portNamed('a'), new Uint8Array(60));
  t.deepEqual(blockTypes(await readAll(incoming)), [SECTION, INTERFACE, PACKET, PACKET]);
  t.is(incoming.trailers['x-tapline-frames'], '2');
  t.is(incoming.trailers['x-tapline-lost'], '0');
  t.true(capture.stopped);
});

test('a capture ends when it is asked to, with frames that come until then', async (t) => {
  const { client, dataplane } = await serve(t);
  const incoming = await client.stream('/v1/capture', { target: 'blue' });
  dataplane.captures[0]!.deliver(dataplane.portNamed('a'), new Uint8Array(60));
  t.like((await client.get<{ captures: object[] }>('/v1/status')).captures, [{ target: 'blue', frames: 1, lost: 0 }]);
  t.like(await client.delete(`/v1/capture/${incoming.headers['x-tapline-capture']}`), { frames: 1 });
  t.deepEqual(blockTypes(await readAll(incoming)), [SECTION, INTERFACE, PACKET]);
  t.like(await client.get('/v1/status'), { captures: [] });
});

test('a capture ends when its reader goes', async (t) => {
  const { client, dataplane } = await serve(t);
  const incoming = await client.stream('/v1/capture', { target: 'blue' });
  incoming.destroy();
  await eventually(() => dataplane.captures[0]!.stopped);
  t.deepEqual((await client.get<{ captures: object[] }>('/v1/status')).captures, []);
});

test('a capture ends when its endpoint does', async (t) => {
  const { client, dataplane } = await serve(t);
  const incoming = await client.stream('/v1/capture', { target: 'endpoint:a' });
  await client.delete('/v1/endpoints/a');
  t.deepEqual(blockTypes(await readAll(incoming)), [SECTION, INTERFACE]);
  t.true(dataplane.captures[0]!.stopped);
});

test('a slow reader loses frames, which are counted, and memory stays bounded', async (t) => {
  const { client, dataplane } = await serve(t);
  const incoming = await client.stream('/v1/capture', { target: 'blue' });
  incoming.pause();
  const capture = dataplane.captures[0]!;
  capture.lost = 3;
  const port = dataplane.portNamed('a');
  for (let i = 0; i < 4000; i++) {
    capture.deliver(port, new Uint8Array(4096));
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const { captures } = await client.get<{ captures: { frames: number; lost: number }[] }>('/v1/status');
  const { frames, lost } = captures[0]!;
  t.true(lost > 3);
  t.is(frames + lost - 3, 4000);
  await client.delete(`/v1/capture/${incoming.headers['x-tapline-capture']}`);
  const types = blockTypes(await readAll(incoming));
  t.is(types.filter((type) => type === PACKET).length, frames);
  t.is(incoming.trailers['x-tapline-lost'], String(lost));
});

test('routes: made, listed, removed; neighbors and VRFs', async (t) => {
  const { ask, daemon, dataplane } = await makeApi(t);
  const made = await ask('POST', '/v1/routes', { to: '10.9.0.0/16', via: ['172.30.0.2', '172.30.0.3'], metric: 7 });
  t.is(made[0], 201);
  t.deepEqual(made[1], {
    vrf: 'default',
    prefix: '10.9.0.0/16',
    kind: 'unicast',
    source: 'static',
    hops: [
      { interface: 'blue', via: '172.30.0.2', metric: 7 },
      { interface: 'blue', via: '172.30.0.3', metric: 7 },
    ],
    via: ['172.30.0.2', '172.30.0.3'],
    metric: 7,
    state: 'active',
    reason: '',
  });
  t.deepEqual((await ask('GET', '/v1/routes?network=blue'))[1].at(-2).prefix, 'fd00:30::1/128');
  t.is((await ask('GET', '/v1/routes?vrf=default'))[1].length, 7);
  dataplane.neighborEntries.push({
    interface: daemon.interfaces.get('red')?.number ?? 0,
    address: '172.31.0.2',
    mac: null,
    state: 'failed',
    ageSeconds: 2,
    router: false,
    waiting: 0,
  });
  t.like((await ask('GET', '/v1/neighbors?vrf=default'))[1], [{ interface: 'red', vrf: 'default', state: 'failed' }]);
  t.like((await ask('GET', '/v1/vrfs'))[1], [{ name: 'default', interfaces: ['blue', 'red'], routes: 1 }]);
  t.like((await ask('GET', '/v1/status'))[1], { router: { neighbors: 1, icmpErrors: 3 } });
  t.deepEqual(await ask('DELETE', '/v1/routes?prefix=10.9.0.0/16&metric=7'), [204, null]);
  t.is(dataplane.routes.size, 0);
});

for (const [method, url, body, status, error] of [
  ['POST', '/v1/routes', [], 400, 'expected a JSON object as the body of the request'],
  ['POST', '/v1/routes', { to: '10.9.0.0/16' }, 400, 'expected exactly one of via and type, got none of them'],
  ['POST', '/v1/routes', { to: '10.9.0.0/16', type: 'blackhole', vrf: 'a b' }, 400, /^vrf: expected a name of/],
  ['POST', '/v1/routes', { to: '10.9.0.0/16', type: 'blackhole', vrf: 'x' }, 404, 'vrf: no VRF x; there is default'],
  ['POST', '/v1/routes', { to: '172.30.0.0/24', type: 'blackhole' }, 409, /^to: 172.30.0.0\/24 is the subnet of/],
  [
    'POST',
    '/v1/routes',
    { to: '10.9.0.0/16', type: 'blackhole', dev: 1 },
    400,
    /^dev: unknown key; expected one of to, via/,
  ],
  ['DELETE', '/v1/routes', undefined, 400, 'prefix: missing; expected a prefix such as 10.9.0.0/16, or an address'],
  ['DELETE', '/v1/routes?prefix=10.9.0.0/16', undefined, 404, 'no route to 10.9.0.0/16 in VRF default'],
  ['DELETE', '/v1/routes?prefix=10.9.0.0/16&metric=x', undefined, 400, /^metric: expected an integer from 0 to/],
  ['GET', '/v1/neighbors?network=grey', undefined, 404, 'no network grey'],
  ['GET', '/v1/vrfs/x', undefined, 404, 'no such request: GET /v1/vrfs/x'],
] as const) {
  test(`refused: ${method} ${url} ${JSON.stringify(body) ?? ''}`, async (t) => {
    const { ask } = await makeApi(t);
    const answer = await ask(method, url, body);
    t.is(answer[0], status);
    if (typeof error === 'string') t.is(answer[1].error, error);
    else t.regex(answer[1].error, error);
  });
}
