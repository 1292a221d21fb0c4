/** The parts of the quickstart that need no switch: requirements, rates, tables that fit, the picture, the pcapng reader. */

import test from 'ava';
import { readPcapng } from '../../cli/quickstart/checks/pcapng.js';
import { type FittingColumn, fitTable } from '../../cli/quickstart/fit.js';
import { hints } from '../../cli/quickstart/hints.js';
import { HOSTS, WIDE } from '../../cli/quickstart/hosts.js';
import { SECOND_WIRE, WIRE, type Wire, wiredTo } from '../../cli/quickstart/outside.js';
import { CONFIGURATION, SECOND_CONFIGURATION } from '../../cli/quickstart/paths.js';
import { formatRate, rates } from '../../cli/quickstart/rates.js';
import { type Machine, missingRequirement } from '../../cli/quickstart/requirements.js';
import { topology } from '../../cli/quickstart/topology.js';
import type { StatusView } from '../../control/api.js';
import { overlaps, parseSubnet } from '../../control/config/address.js';
import { loadConfiguration } from '../../control/config/load.js';
import type { ServiceView } from '../../control/service-views.js';
import type { EndpointView, NetworkView, PortView } from '../../control/views.js';
import { PcapngWriter } from '../../io/pcapng.js';

const ABLE: Machine = { uid: 0, capabilities: (1n << 41n) - 1n, hasTun: true, hasProgram: () => true };
const NET_ADMIN = 1n << 12n;
const NET_RAW = 1n << 13n;
const SYS_ADMIN = 1n << 21n;

test('a machine that has all of it lacks nothing', (t) => {
  t.is(missingRequirement(ABLE), null);
});

const LACKS: readonly (readonly [string, Partial<Machine>, RegExp])[] = [
  ['root', { uid: 1000, capabilities: 0n }, /needs root; run it with sudo/],
  ['CAP_NET_ADMIN', { capabilities: SYS_ADMIN }, /needs CAP_NET_ADMIN; .*--privileged/],
  ['CAP_NET_RAW', { capabilities: NET_ADMIN | SYS_ADMIN }, /needs CAP_NET_RAW; .*--privileged/],
  ['CAP_SYS_ADMIN', { capabilities: NET_ADMIN | NET_RAW }, /needs CAP_SYS_ADMIN; .*--privileged/],
  ['/dev/net/tun', { hasTun: false }, /^no \/dev\/net\/tun: load the tun module \(modprobe tun\)/],
  ['ping', { hasProgram: (name) => name !== 'ping' }, /^no program ping; install iputils-ping$/],
  ['setpriv', { hasProgram: (name) => name !== 'setpriv' }, /^no program setpriv; install util-linux$/],
];

for (const [what, lack, line] of LACKS) {
  test(`a machine without ${what} is told so, in one line with the remedy`, (t) => {
    const said = missingRequirement({ ...ABLE, ...lack }) ?? '';
    t.regex(said, line);
    t.false(said.includes('\n'));
  });
}

test('rates have three digits and a prefix', (t) => {
  const cases: [number, string][] = [
    [0, '0'],
    [7.4, '7'],
    [999, '999'],
    [999.6, '1.00k'],
    [1050, '1.05k'],
    [12_340, '12.3k'],
    [123_400, '123k'],
    [999_600, '1.00M'],
    [5_460_000_000, '5.46G'],
    [1.5e16, '15000T'],
  ];
  for (const [value, text] of cases) t.is(formatRate(value), text);
});

function port(id: number, name: string, count: number): PortView {
  return {
    id,
    name,
    kind: 'tap',
    network: 'blue',
    rxPackets: count,
    rxBytes: count * 100,
    txPackets: count * 2,
    txBytes: count * 200,
    rxDrops: { runt: 1, hairpin: 2 },
    txDrops: { tx_queue_full: 3 },
    local: 0,
    learnedMacs: 1,
    state: 'forwarding',
    vlan: null,
    security: 'strict',
    isolated: false,
    isolation_group: null,
  };
}

test('rates are by the second; a port that is new, or new under an old name, has none yet', (t) => {
  const [a, b] = rates([port(1, 'a', 10), port(2, 'b', 50)], [port(1, 'a', 30), port(3, 'b', 7)], 2);
  t.deepEqual(a, { port: 'a', rxFrames: 10, rxBits: 8000, txFrames: 20, txBits: 16_000, drops: 6 });
  t.deepEqual(b, { port: 'b', rxFrames: 0, rxBits: 0, txFrames: 0, txBits: 0, drops: 6 });
});

const COLUMNS: readonly FittingColumn<string>[] = [
  { title: 'NAME', value: (name) => name, expendable: 0 },
  { title: 'SECOND', value: () => 'second', expendable: 2 },
  { title: 'THIRD', value: () => 'third', expendable: 1 },
];

test('a table loses its least important columns first, then the ends of its lines', (t) => {
  t.deepEqual(fitTable(COLUMNS, ['name'], 80), ['NAME  SECOND  THIRD', 'name  second  third']);
  t.deepEqual(fitTable(COLUMNS, ['name'], 19), ['NAME  SECOND  THIRD', 'name  second  third']);
  t.deepEqual(fitTable(COLUMNS, ['name'], 18), ['NAME  THIRD', 'name  third']);
  t.deepEqual(fitTable(COLUMNS, ['name'], 10), ['NAME', 'name']);
  t.deepEqual(fitTable(COLUMNS, ['name'], 3), ['NAM', 'nam']);
});

test('hints quote sockets that the shell would read otherwise', (t) => {
  const addresses = { server: '172.30.0.2', depot: '172.27.0.128' };
  const plain = hints({ first: '/tmp/a/sock', second: '/tmp/a/second' }, addresses, {});
  t.true(plain.includes('  export TAPLINE_SOCKET=/tmp/a/sock'));
  t.true(plain.includes('  tapline show fdb --socket /tmp/a/second'));
  const strange = hints({ first: "/tmp/it's me/sock", second: '/tmp/a b/second' }, addresses, {});
  t.true(strange.includes("  export TAPLINE_SOCKET='/tmp/it'\\''s me/sock'"));
  t.true(strange.includes("  tapline show fdb --socket '/tmp/a b/second'"));
});

function network(name: string, options: { internal?: boolean; vxlan?: object } = {}): NetworkView {
  const { internal = false, vxlan = null } = options;
  const view = { name, subnets: ['172.30.0.0/24'], gateways: ['172.30.0.1'], mtu: 1500, internal, vxlan };
  return view as unknown as NetworkView;
}

function endpoint(name: string, network: string, address: string): EndpointView {
  const view = { name, network, interface: 'eth0', addresses: [`${address}/24`], mac: '02:42:ac:1e:00:02' };
  return view as unknown as EndpointView;
}

test('the picture has each container under its own network, whatever their order, then the wire, then services', (t) => {
  const uplink = { device: 'up0', mode: 'own', addresses: ['203.0.113.2/24'] };
  const status = { version: '0.1.0', engine: 'uring', engineReason: 'Linux 6.7 or later', uplink };
  const endpoints = [
    endpoint('a', 'blue', '172.30.0.2'),
    endpoint('b', 'sealed', '172.29.0.2'),
    endpoint('c', 'blue', '172.30.0.3'),
  ];
  const vxlan = { vni: 27, remotes: ['198.51.100.2', '198.51.100.3'] };
  const networks = [network('blue', { vxlan }), network('sealed', { internal: true })];
  const backends = [{ name: 'a:80' }, { name: 'c:80' }];
  const services = [{ name: 'web', listen: ['8081/tcp'], scheduler: 'rr', backends }] as unknown as ServiceView[];
  const view = { status: status as unknown as StatusView, networks, endpoints, services };
  const drawn = topology('first host', view, WIRE, 200);
  const lines = drawn.map((line) => line.trimEnd());
  t.deepEqual(lines, [
    'first host: Tapline 0.1.0, engine uring (Linux 6.7 or later)',
    '',
    'network blue  172.30.0.0/24  gateway 172.30.0.1  MTU 1500  VNI 27 with 198.51.100.2 198.51.100.3',
    '  |',
    '  |   port  interface  addresses      MAC                container',
    '  +-- a     eth0       172.30.0.2/24  02:42:ac:1e:00:02',
    '  +-- c     eth0       172.30.0.3/24  02:42:ac:1e:00:02',
    '',
    'network sealed  172.30.0.0/24  internal: no way in or out  MTU 1500',
    '  |',
    '  |   port  interface  addresses      MAC                container',
    '  +-- b     eth0       172.29.0.2/24  02:42:ac:1e:00:02',
    '',
    'uplink up0, mode own  203.0.113.2/24',
    '  |',
    '  +-- the host outside  203.0.113.1 2001:db8:113::1',
    '',
    'service web  8081/tcp  rr  a:80 c:80',
    '',
  ]);
});

const HALVES: readonly (readonly [string, Wire, boolean])[] = [
  [CONFIGURATION, WIRE, false],
  [SECOND_CONFIGURATION, SECOND_WIRE, true],
];

for (const [file, wire, onSecond] of HALVES) {
  test(`what the lab says of its wire is what ${file.slice(file.indexOf('examples/'))} has`, async (t) => {
    const { uplink, networks } = await loadConfiguration(file);
    t.is(uplink?.mode, 'own');
    if (uplink?.mode !== 'own') return;
    const [, , , , , script = ''] = wiredTo(wire, 42, ['true']);
    t.true(script.includes(`ip link add ${uplink.device} type veth peer name ${wire.device} `));
    t.deepEqual([...uplink.gateways].sort(), Object.values(wire.outside).sort());
    t.deepEqual(uplink.addresses, [`${wire.router.ipv4}/24`, `${wire.router.ipv6}/64`]);
    for (const address of Object.values(wire.outside)) t.true(script.includes(`address add ${address}/`), address);
    for (const subnet of wire.subnets) {
      const via = subnet.includes(':') ? wire.router.ipv6 : wire.router.ipv4;
      t.true(script.includes(`route add ${subnet} via ${via}\n`), subnet);
    }
    const hosts = HOSTS.filter((host) => (host.onSecond ?? false) === onSecond);
    t.deepEqual([...new Set(hosts.map((host) => host.network))], [...networks.keys()]);
  });
}

test('the host outside has a way to every subnet of the first host', async (t) => {
  const { networks } = await loadConfiguration(CONFIGURATION);
  const subnets = [...networks.values()].flatMap((each) => each.subnets);
  t.deepEqual([...WIRE.subnets].sort(), subnets.sort());
});

test('the hosts have the same network in halves, and name each other', async (t) => {
  const [first, second] = await Promise.all(
    [CONFIGURATION, SECOND_CONFIGURATION].map((file) => loadConfiguration(file)),
  );
  const [one, other] = [first?.networks.get(WIDE), second?.networks.get(WIDE)];
  t.deepEqual(one?.subnets, other?.subnets);
  t.is(one?.vxlan?.vni, other?.vxlan?.vni);
  t.deepEqual([one?.vxlan?.local, one?.vxlan?.remotes], [WIRE.router.ipv4, [SECOND_WIRE.router.ipv4]]);
  t.deepEqual([other?.vxlan?.local, other?.vxlan?.remotes], [SECOND_WIRE.router.ipv4, [WIRE.router.ipv4]]);
  const [ranges = [], others = []] = [one?.range, other?.range];
  t.is(ranges.length, 2);
  t.is(others.length, 2);
  for (const range of ranges) {
    for (const another of others) t.false(overlaps(parseSubnet(range), parseSubnet(another)), `${range} ${another}`);
  }
});

function capture(frames: number): Buffer {
  const writer = new PcapngWriter();
  const header = writer.header();
  const { id, bytes } = writer.interface('a', 0);
  const blocks = [header, bytes];
  for (let i = 0; i < frames; i++) {
    const data = new Uint8Array(60 + i);
    blocks.push(writer.packet({ interfaceId: id, time: 0n, direction: 'in', data, originalLength: data.length }));
  }
  return Buffer.concat(blocks);
}

test('the pcapng reader counts the frames and interfaces of a whole file', (t) => {
  t.deepEqual(readPcapng(capture(5)), { interfaces: 1, frames: 5 });
});

test('the pcapng reader refuses every file that is cut inside a block', (t) => {
  const file = capture(3);
  const whole = new Set<number>();
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) whole.add(at);
  for (let length = 0; length < file.length; length++) {
    if (length > 0 && whole.has(length)) t.notThrows(() => readPcapng(file.subarray(0, length)));
    else t.throws(() => readPcapng(file.subarray(0, length)), { message: /^pcapng: / });
  }
});

test('the pcapng reader refuses a frame longer than its block', (t) => {
  const file = capture(1);
  let at = 0;
  while (file.readUInt32LE(at) !== 6) at += file.readUInt32LE(at + 4);
  file.writeUInt32LE(1000, at + 20);
  t.throws(() => readPcapng(file), { message: /contradicts its block/ });
});
