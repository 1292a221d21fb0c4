/** Uplinks of the router and the host port over doubles: what the dataplane and the host are told, and what is taken back. */

import test from 'ava';
import { TaplineError } from '../../control/errors.js';
import { translationPorts } from '../../control/uplink/owned-ports.js';
import { sharedFilter, stationFilter } from '../../io/packet-filter.js';
import { config, eventually, type Fixture, hostChanged, leftovers, makeFixture, NETWORKS } from './support/fixture.js';

const OWN = `${NETWORKS}uplink: { device: up0, mode: own, addresses: [10.77.0.1/24, "fd00:77::1/64"], gateways: [10.77.0.254, "fd00:77::fe"], mac: 02:00:00:00:77:01 }\n`;
const SHARED = `${NETWORKS}uplink: { device: up0, mode: shared }\n`;
const HOST_FACTS = {
  addresses: ['10.77.0.1/24', 'fd00:77::1/64'],
  linkLocal: 'fe80::77',
  defaults: [{ family: 4, via: '10.77.0.254' }] as const,
  routes: [],
};

function fixtureWithDevice(mode = 'own'): Fixture {
  const fixture = makeFixture();
  fixture.system.devices.add('up0');
  if (mode === 'shared') fixture.system.hosts.set('up0', HOST_FACTS);
  return fixture;
}

const uplinkOf = ({ dataplane }: Fixture) => dataplane.interfaceOf('uplink');

/** Prefix and next hop of the routes that the dataplane has. */
const routesOf = ({ dataplane }: Fixture): string[] =>
  [...dataplane.routes.values()].flatMap(({ prefix, hops }) => hops.map(({ via }) => `${prefix} via ${via}`)).sort();

test('own: a port of its own, an interface with address and MAC on the wire, default routes; nothing is left', async (t) => {
  const fixture = fixtureWithDevice();
  const { daemon, dataplane, system } = fixture;
  await daemon.apply(config(OWN));
  const port = [...dataplane.livePorts.values()][0];
  t.like(port, { kind: 'uplink', name: 'uplink', routed: true });
  t.is(dataplane.networks.get(port?.network ?? 0)?.name, 'uplink');
  t.like(uplinkOf(fixture), {
    kind: 'uplink',
    port: dataplane.portNamed('uplink'),
    mac: '02:00:00:00:77:01',
    mtu: 1500,
    addresses: ['10.77.0.1/24', 'fd00:77::1/64'],
    up: true,
    shared: false,
  });
  t.deepEqual(routesOf(fixture), ['0.0.0.0/0 via 10.77.0.254', '::/0 via fd00:77::fe']);
  t.deepEqual(system.filters.get('up0'), stationFilter(0x0200, 0x7701));
  t.like(daemon.uplink?.describe(), { mode: 'own', state: 'up', why: '', gateways: ['10.77.0.254', 'fd00:77::fe'] });
  t.is(system.tables.size, 0);
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
  t.is(dataplane.networks.size, 0);
  t.is(dataplane.interfaces.size, 0);
});

test('own: without mac it has one of its own, the same each time', async (t) => {
  const macs: string[] = [];
  for (let i = 0; i < 2; i++) {
    const fixture = fixtureWithDevice();
    await fixture.daemon.apply(config(OWN.replace(', mac: 02:00:00:00:77:01', '')));
    macs.push(uplinkOf(fixture).mac);
    await fixture.daemon.stop();
  }
  t.is(macs[0], macs[1]);
  t.not(macs[0], '02:00:00:00:00:01');
  t.is(Number.parseInt(macs[0] ?? '', 16) & 3, 2);
});

test('own: the host’s MAC and addresses are refused, with the key at fault', async (t) => {
  for (const [yaml, message] of [
    [
      OWN.replace('02:00:00:00:77:01', '02:00:00:00:00:01'),
      /^uplink\.mac: 02:00:00:00:00:01 is the MAC of the host's up0; /,
    ],
    [
      OWN.replace('10.77.0.1/24', '10.77.0.2/24'),
      /^uplink\.addresses\[1\]: fd00:77::1 is an address of the host's up0; /,
    ],
  ] as const) {
    const fixture = fixtureWithDevice();
    fixture.system.hosts.set('up0', HOST_FACTS);
    const error = await t.throwsAsync(fixture.daemon.apply(config(yaml)), { instanceOf: TaplineError });
    t.regex(error.message, message);
    t.deepEqual(leftovers(fixture), []);
  }
});

test('routed: it answers for the prefixes it is told', async (t) => {
  const fixture = fixtureWithDevice();
  const yaml = `${NETWORKS}uplink: { device: up0, mode: routed, addresses: [172.30.255.1/16], proxy: [172.30.0.0/24] }\n`;
  await fixture.daemon.apply(config(yaml));
  t.like(uplinkOf(fixture), { proxies: ['172.30.0.0/24'], shared: false });
  await fixture.daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

for (const [mode, yaml] of [
  ['own', OWN],
  ['shared', SHARED],
] as const) {
  test(`${mode}: a device that is not there is named, and nothing is left`, async (t) => {
    const fixture = makeFixture();
    const error = await t.throwsAsync(fixture.daemon.apply(config(yaml)), { instanceOf: TaplineError });
    t.regex(error.message, /^uplink\.device: expected an existing network device, got up0 \(/);
    t.is(error.kind, 'missing');
    t.deepEqual(leftovers(fixture), []);
    t.is(fixture.dataplane.networks.size, 0);
    t.is(fixture.system.tables.size, 0);
  });

  test(`${mode}: whatever fails while it opens, nothing is left`, async (t) => {
    for (const call of ['addNetwork uplink', 'addPort uplink', 'addInterface']) {
      const fixture = fixtureWithDevice(mode);
      fixture.dataplane.failing.add(call);
      await t.throwsAsync(fixture.daemon.apply(config(yaml)), undefined, call);
      t.deepEqual(leftovers(fixture), [], call);
      t.is(fixture.dataplane.networks.size, 0);
      t.is(fixture.system.tables.size, 0);
    }
  });

  test(`${mode}: it follows carrier and MTU`, async (t) => {
    const fixture = fixtureWithDevice(mode);
    const { daemon, system, logs } = fixture;
    await daemon.apply(config(yaml));
    const { port } = uplinkOf(fixture);
    system.links.set('up0', { carrier: false });
    hostChanged(fixture);
    await eventually(() => !uplinkOf(fixture).up);
    t.like(daemon.uplink?.describe(), { state: 'down', why: 'up0 has no carrier' });
    system.links.set('up0', { mtu: 1400 });
    hostChanged(fixture);
    await eventually(() => uplinkOf(fixture).up && uplinkOf(fixture).mtu === 1400);
    t.is(uplinkOf(fixture).port, port);
    await eventually(() => logs.includes('info uplink up0: MTU 1400, before 1500'));
    t.true(logs.includes('warn uplink up0 is down: up0 has no carrier; waiting'));
    t.true(logs.includes('info uplink up0 is back'));
    await daemon.stop();
    t.deepEqual(leftovers(fixture), []);
  });

  test(`${mode}: a device that is deleted and made again is taken up again, with its new MTU`, async (t) => {
    const fixture = fixtureWithDevice(mode);
    const { daemon, dataplane, system, logs } = fixture;
    const removed: number[] = [];
    daemon.events.on('port-removed', (port: number) => removed.push(port));
    await daemon.apply(config(yaml));
    const before = dataplane.portNamed('uplink');
    const { mac } = uplinkOf(fixture);
    system.devices.delete('up0');
    dataplane.portDown(before, 'ENODEV');
    await eventually(() => !uplinkOf(fixture).up && dataplane.livePorts.size === 0);
    t.is(uplinkOf(fixture).port, null);
    t.deepEqual(removed, [before]);
    t.like(daemon.uplink?.describe(), { state: 'down', why: 'its device is away' });
    system.devices.add('up0');
    system.links.set('up0', { index: 9, mtu: 1280 });
    hostChanged(fixture);
    await eventually(() => uplinkOf(fixture).up);
    t.like(uplinkOf(fixture), { port: dataplane.portNamed('uplink'), mtu: 1280, mac });
    t.not(dataplane.portNamed('uplink'), before);
    t.is(logs.filter((line) => line.includes('is down')).length, 1);
    t.true(routesOf(fixture).includes('0.0.0.0/0 via 10.77.0.254'));
    await daemon.stop();
    t.deepEqual(leftovers(fixture), []);
  });

  test(`${mode}: another device of the same name is noticed before its socket fails, and within a second without being told`, async (t) => {
    const fixture = fixtureWithDevice(mode);
    await fixture.daemon.apply(config(yaml));
    const before = uplinkOf(fixture).port;
    fixture.system.links.set('up0', { index: 9 });
    await eventually(() => uplinkOf(fixture).up && uplinkOf(fixture).port !== before);
    await fixture.daemon.stop();
    t.deepEqual(leftovers(fixture), []);
  });
}

test('shared: addresses, MAC, MTU and gateway are the host’s, and follow it', async (t) => {
  const fixture = fixtureWithDevice('shared');
  const { daemon, system, logs } = fixture;
  await daemon.apply(config(SHARED));
  t.like(uplinkOf(fixture), {
    mac: '02:00:00:00:00:01',
    addresses: HOST_FACTS.addresses,
    linkLocal: 'fe80::77',
    shared: true,
    up: true,
  });
  t.deepEqual(routesOf(fixture), ['0.0.0.0/0 via 10.77.0.254']);
  system.hosts.set('up0', {
    addresses: ['10.78.0.5/16'],
    linkLocal: null,
    defaults: [
      { family: 4, via: '10.78.0.1' },
      { family: 6, via: 'fe80::1' },
    ],
    routes: [],
  });
  hostChanged(fixture);
  await eventually(() => routesOf(fixture).length === 2);
  t.deepEqual(routesOf(fixture), ['0.0.0.0/0 via 10.78.0.1', '::/0 via fe80::1']);
  t.deepEqual(uplinkOf(fixture).addresses, ['10.78.0.5/16']);
  await eventually(() => logs.includes('info uplink up0: default route by 10.78.0.1 fe80::1'));
  system.hosts.set('up0', { addresses: [], linkLocal: null, defaults: [], routes: [] });
  hostChanged(fixture);
  await eventually(() => !uplinkOf(fixture).up);
  t.is(daemon.uplink?.describe().why, 'the host has no address on up0');
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

test('shared: guard and filter are for the networks that are reached by it, as they come and go', async (t) => {
  const fixture = fixtureWithDevice('shared');
  const { daemon, system } = fixture;
  await daemon.apply(config(SHARED));
  const script = (): string => system.tables.get('netdev tapline_up0') ?? '';
  const prefix = (words: number[], length: number) => ({
    family: words.length === 1 ? (4 as const) : (6 as const),
    words,
    length,
  });
  const blue = [prefix([0xac1e0000], 24), prefix([0xfd000030, 0, 0, 0], 64)];
  const red = prefix([0xac1f0000], 30);
  const loopback = [prefix([0x7f000000], 8), prefix([0, 0, 0, 1], 128)];
  t.regex(script(), /elements = \{ 172\.30\.0\.0\/24, 172\.31\.0\.0\/30 \}/);
  t.regex(script(), /elements = \{ fd00:30::\/64 \}/);
  const ports = translationPorts(4, { first: 49_152, last: 65_535 });
  t.deepEqual(system.filters.get('up0'), sharedFilter([...blue, red, ...loopback], ports));
  const inside = config('version: 1\nnetworks: { in: { subnets: [172.29.0.0/24], internal: true } }\n').networks.get(
    'in',
  );
  if (inside === undefined) throw new Error('no network');
  await daemon.createNetwork('inside', inside);
  t.notRegex(script(), /172\.29/);
  await daemon.removeNetwork('inside', false);
  await daemon.createNetwork('out', { ...inside, internal: false });
  t.regex(script(), /172\.29\.0\.0\/24/);
  await daemon.removeNetwork('out', false);
  await daemon.removeNetwork('red', false);
  t.notRegex(script(), /172\.29|172\.31/);
  t.deepEqual(system.filters.get('up0'), sharedFilter([...blue, ...loopback], ports));
  await daemon.stop();
  t.is(system.tables.size, 0);
  t.deepEqual(leftovers(fixture), []);
});

test('shared: the guard is put back when somebody flushes the rules', async (t) => {
  const fixture = fixtureWithDevice('shared');
  const { daemon, system, logs } = fixture;
  await daemon.apply(config(SHARED));
  system.tables.clear();
  hostChanged(fixture);
  await eventually(() => system.tables.size === 1);
  await eventually(() => logs.includes('warn the guard of uplink up0 was gone from nftables, and is back'));
  await daemon.stop();
  t.is(system.tables.size, 0);
});

test('shared: without nft it says what to install, and nothing is left', async (t) => {
  const fixture = fixtureWithDevice('shared');
  fixture.system.nftError = 'nft not found: install nftables';
  const error = await t.throwsAsync(fixture.daemon.apply(config(SHARED)), { instanceOf: TaplineError });
  t.is(error.message, 'uplink: nft not found: install nftables');
  t.deepEqual(leftovers(fixture), []);
});

for (const yaml of [OWN, `${NETWORKS}uplink: { device: up0, mode: bridged, network: red }\n`]) {
  test(`a guard that a killed process left is removed: ${/mode: \w+/.exec(yaml)?.[0]}`, async (t) => {
    const fixture = fixtureWithDevice();
    fixture.system.tables.set('netdev tapline_up0', 'left behind').set('inet other', 'not ours');
    await fixture.daemon.apply(config(yaml));
    t.deepEqual([...fixture.system.tables.keys()], ['inet other']);
    await fixture.daemon.stop();
    t.deepEqual([...fixture.system.tables.keys()], ['inet other']);
  });
}

const HOST = `version: 1
networks:
  blue: { subnets: [172.30.0.0/24, "fd00:30::/64"], host: true, mtu: 1400 }
  red: { subnets: [172.31.0.0/24] }
`;

/** The lines that are in force: made, and not taken back since. */
function inForce(lines: readonly string[]): string[] {
  const made = new Set<string>();
  for (const line of lines) {
    const [what, verb, ...rest] = line.split(' ');
    if (verb === 'del')
      for (const one of [...made]) if (one.startsWith(`${what} ${rest.slice(0, 1)}`)) made.delete(one);
    if (verb === 'add' || verb === 'replace') made.add(`${what} ${rest.join(' ')}`);
  }
  return [...made];
}

test('host port: the host gets gateway addresses and routes by a TAP; with the last network it goes', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  await daemon.apply(config(HOST));
  const [path, tap] = [...system.taps][0] ?? [];
  t.is(path, '/proc/self/ns/net tapline0');
  t.regex(tap?.alias ?? '', /^tapline:host:[0-9a-f]{8}$/);
  const host = dataplane.interfaceOf('host');
  t.like(host, { kind: 'host', port: dataplane.portNamed('host'), mtu: 1400, hostAccess: true, up: true });
  t.not(host.mac, tap?.mac);
  t.like(dataplane.livePorts.get(dataplane.portNamed('host')), { kind: 'host', routed: true });
  const router = host.mac.split(':').map((octet) => Number.parseInt(octet, 16));
  t.is((router[0] ?? 0) & 3, 2);
  const lines = inForce(system.ipLines);
  t.true(lines.includes('address 172.30.0.1/32 dev tapline0'));
  t.true(lines.includes('address fd00:30::1/128 dev tapline0 nodad noprefixroute'));
  t.true(lines.includes(`neighbor 169.254.42.1 lladdr ${host.mac} dev tapline0 nud permanent`));
  t.true(lines.includes('route 172.30.0.0/24 via 169.254.42.1 dev tapline0 src 172.30.0.1 mtu 1400'));
  t.is(
    lines.filter((line) => /^route fd00:30::\/64 via fe80::\S+ dev tapline0 src fd00:30::1 mtu 1400$/.test(line))
      .length,
    1,
  );
  t.false(lines.some((line) => line.includes('172.31')));
  const green = config(HOST.replace('172.30.0.0/24, "fd00:30::/64"', '172.29.0.0/24')).networks.get('blue');
  if (green === undefined) throw new Error('no network');
  await daemon.createNetwork('green', { ...green, mtu: 9000 });
  t.is(dataplane.interfaceOf('host').mtu, 9000);
  await daemon.removeNetwork('blue', false);
  t.deepEqual(
    inForce(system.ipLines)
      .filter((line) => line.startsWith('route'))
      .sort(),
    [
      'route 169.254.42.1/32 dev tapline0 scope link',
      'route 172.29.0.0/24 via 169.254.42.1 dev tapline0 src 172.29.0.1 mtu 9000',
    ],
  );
  await daemon.removeNetwork('green', false);
  t.deepEqual(leftovers(fixture), []);
  t.deepEqual(
    [...dataplane.interfaces.values()].map(({ kind }) => kind),
    ['network'],
  );
  await daemon.stop();
});

test('host port: names that others have are left to them; one that a killed process left is taken over, or removed', async (t) => {
  const fixture = makeFixture();
  const { daemon, system } = fixture;
  await daemon.apply(config(HOST));
  const alias = [...system.taps.values()][0]?.alias ?? '';
  await daemon.stop();
  const others = makeFixture();
  others.system.aliases.push({ name: 'tapline0', alias: 'tapline:host:00000000' });
  await others.daemon.apply(config(HOST));
  t.deepEqual([...others.system.taps.keys()], ['/proc/self/ns/net tapline1']);
  t.true(others.system.ipLines.some((line) => line.includes('169.254.42.2')));
  await others.daemon.stop();
  const next = makeFixture();
  next.system.aliases.push({ name: 'tapline5', alias });
  await next.daemon.apply(config(HOST));
  t.deepEqual([...next.system.taps.keys()], ['/proc/self/ns/net tapline5']);
  t.true(next.system.ipLines.some((line) => line.includes('169.254.42.6')));
  t.false(next.system.ipLines.some((line) => line.startsWith('link del')));
  await next.daemon.stop();
  const last = makeFixture();
  last.system.aliases.push({ name: 'tapline5', alias });
  await last.daemon.apply(config(NETWORKS));
  t.deepEqual(last.system.ipLines, ['link del dev tapline5']);
  await last.daemon.stop();
});

test('host port: a subnet that the host reaches elsewhere is refused, and the network with it', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  system.ipErrors.set('route add 172.30.0.0/24', 'ip route add 172.30.0.0/24: RTNETLINK answers: File exists');
  const error = await t.throwsAsync(daemon.apply(config(HOST)), { instanceOf: TaplineError });
  t.is(error.message, 'networks.blue.host: the host has another route to 172.30.0.0/24; choose another subnet');
  t.deepEqual(leftovers(fixture), []);
  t.is(dataplane.networks.size, 0);
});

test('host port: refused for one network, it stays for the others', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  const apply = config(HOST);
  await daemon.apply(apply);
  system.ipErrors.set('route add 172.28.0.0/24', 'ip route add 172.28.0.0/24: RTNETLINK answers: File exists');
  const blue = apply.networks.get('blue');
  if (blue === undefined) throw new Error('no network');
  const before = inForce(system.ipLines);
  await t.throwsAsync(daemon.createNetwork('green', { ...blue, subnets: ['172.28.0.0/24'] }), {
    instanceOf: TaplineError,
  });
  t.deepEqual(inForce(system.ipLines).sort(), before.sort());
  t.false(daemon.networks.has('green'));
  t.is(dataplane.interfaceOf('host').up, true);
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

test('host port: deleted by somebody, it is made anew', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, logs } = fixture;
  await daemon.apply(config(HOST));
  const before = dataplane.portNamed('host');
  dataplane.portDown(before, 'EBADFD');
  await eventually(() => [...dataplane.livePorts].some(([id, { name }]) => name === 'host' && id !== before));
  t.true(logs.some((line) => line.startsWith("warn the host's interface tapline0 was taken away")));
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

test('host port: VRFs have one each', async (t) => {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  await daemon.apply(
    config(HOST.replace('red: { subnets: [172.31.0.0/24]', 'red: { subnets: [172.31.0.0/24], host: true, vrf: lab')),
  );
  const names = [...dataplane.livePorts.values()].map(({ name }) => name);
  t.deepEqual(names.sort(), ['host', 'host:lab']);
  t.is(new Set([...system.taps.values()].map(({ alias }) => alias)).size, 2);
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

test('host.tapline.internal: containers of a network with host: true know it as long as they are attached', async (t) => {
  const fixture = makeFixture();
  const { daemon, system, logs } = fixture;
  await daemon.apply(config(HOST));
  for (const pid of [70, 71, 72]) system.addProcess(pid);
  const endpoint = config(`${HOST}endpoints: { a: { network: blue, pid: 70 } }\n`).endpoints.get('a');
  if (endpoint === undefined) throw new Error('no endpoint');
  await daemon.connect('a', endpoint);
  await daemon.connect('b', { ...endpoint, pid: 71, network: 'red' });
  t.deepEqual([...system.hostsLines], [['70 tapline:a', '172.30.0.1 host.tapline.internal']]);
  await daemon.disconnect('a');
  t.is(system.hostsLines.size, 0);
  system.hostsError = 'EROFS opening /etc/hosts of process 72';
  await daemon.connect('c', { ...endpoint, pid: 72 });
  t.true(
    logs.includes('warn endpoint c: host.tapline.internal is not known there: EROFS opening /etc/hosts of process 72'),
  );
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});
