/** `tapline vxlan`, `tapline show vxlan`, `tapline neigh`, entries of the FDB that name a VTEP, and their requests. */

import test, { type ExecutionContext } from 'ava';
import { ApiClient } from '../../cli/client.js';
import type { ProbeResult, VtepProbe } from '../../control/types.js';
import { type Lab, makeLab, watch } from './support/lab.js';

const FILE = `version: 1
uplink: { device: up0, mode: own, addresses: [10.77.0.1/24], gateway: 10.77.0.254 }
networks:
  blue:
    subnets: [172.30.0.0/24]
    vxlan: { vni: 42, local: 10.77.0.1, remotes: [10.77.0.2, 10.77.0.3] }
  red: { subnets: [172.31.0.0/30] }
`;

const NO_VXLAN = 'tapline: network: network red has no vxlan: it is on this host alone\n';

const MAC = '02:42:ac:1e:00:09';
const OTHER = '02:42:ac:1e:00:0a';
const ALL = '00:00:00:00:00:00';

interface VxlanLab extends Lab {
  readonly api: ApiClient;
  /** Number of the port that stands for a VTEP of blue; -1: there is none. */
  readonly vtep: (address: string) => number;
}

async function makeVxlan(t: ExecutionContext, yaml = FILE): Promise<VxlanLab> {
  const lab = await makeLab(t, yaml, ['up0']);
  const api = new ApiClient(lab.env.TAPLINE_SOCKET ?? '');
  return {
    ...lab,
    api,
    vtep: (address) => {
      const name = `vxlan:blue:${address}`;
      return [...lab.dataplane.livePorts].find(([, port]) => port.name === name)?.[0] ?? -1;
    },
  };
}

function answered(milliseconds: number): ProbeResult {
  return { outcome: 'answered', milliseconds };
}

const LOST: ProbeResult = { outcome: 'lost', milliseconds: null };
const DAMAGED: ProbeResult = { outcome: 'wrong-checksum', milliseconds: null };

function probe(port: number, udp: ProbeResult, tcp: ProbeResult, fullSize: ProbeResult): VtepProbe {
  return { port, udp, tcp, fullSize };
}

test('show vxlan: a network and a VTEP a row, with what passed and why it is not up', async (t) => {
  const { run, dataplane, vtep } = await makeVxlan(t);
  dataplane.vxlan.current = [
    { port: vtep('10.77.0.2'), state: 'up', heardSeconds: 4, mtu: 1450, gbp: null },
    { port: vtep('10.77.0.3'), state: 'unreachable', heardSeconds: null, mtu: 0, gbp: null },
  ];
  dataplane.rxDrops = { vxlan_ecn: 2 };
  const { out, err } = await run('show', 'vxlan');
  t.is(err, '');
  const [head, titles, first, second, end] = out.split('\n');
  t.is(head, 'blue: VNI 42, 10.77.0.1 port 4789, MTU 1450, up');
  t.is(
    titles,
    'VTEP       KIND    FLOODS  STATE        HEARD  MTU   FDB  PACKETS-IN  BYTES-IN  PACKETS-OUT  BYTES-OUT  DROPS  WHY',
  );
  t.is(
    first,
    '10.77.0.2  remote  yes     up           4 s    1450    1          10      1000            8        800      2  -',
  );
  t.regex(second, /^10\.77\.0\.3 {2}remote {2}yes {5}unreachable {2}never {2}- {5}.* \S+ .*$/);
  t.notRegex(second, / -$/, 'it says why');
  t.is(end, '');
  t.is((await run('show', 'vxlan', '--network', 'blue')).out, out);
  t.like(await run('show', 'vxlan', '--network', 'red'), { code: 1, err: NO_VXLAN });
  t.like(await run('show', 'vxlan', '--network', 'grey'), { code: 1, err: 'tapline: no network grey\n' });
});

test('show vxlan --json: what the table has, and more', async (t) => {
  const { run, dataplane, vtep, env } = await makeVxlan(t);
  dataplane.vxlan.current = [{ port: vtep('10.77.0.2'), state: 'up', heardSeconds: 4, mtu: 1450, gbp: 100 }];
  const [blue] = JSON.parse((await run('show', 'vxlan', '--json')).out);
  const { vteps, ...own } = blue;
  t.deepEqual(own, {
    network: 'blue',
    vni: 42,
    local: '10.77.0.1',
    port: 4789,
    group: null,
    state: 'up',
    why: '',
    mtu: 1450,
    learning: true,
    open: false,
  });
  t.deepEqual(vteps[0], {
    network: 'blue',
    address: '10.77.0.2',
    kind: 'remote',
    floods: true,
    state: 'up',
    why: '',
    heardSeconds: 4,
    mtu: 1450,
    gbp: 100,
    rxPackets: 10,
    rxBytes: 1000,
    txPackets: 8,
    txBytes: 800,
    drops: {},
    fdbEntries: 1,
  });
  const lines = await watch(t, env, ['show', 'vxlan', '--json', '--watch', '0.1']);
  for (const line of lines) t.is(JSON.parse(line)[0].network, 'blue');
});

test('a VTEP comes and goes', async (t) => {
  const { run, dataplane, vtep } = await makeVxlan(t);
  t.like(await run('vxlan', 'add', 'blue', '10.77.0.4'), { code: 0, out: '10.77.0.4\n', err: '' });
  t.true(dataplane.livePorts.get(vtep('10.77.0.4'))?.vtep?.floods);
  const quiet = await run('vxlan', 'add', 'blue', '10.77.0.5', '--no-flood', '--json');
  t.like(JSON.parse(quiet.out), { network: 'blue', address: '10.77.0.5', kind: 'remote', floods: false });
  t.false(dataplane.livePorts.get(vtep('10.77.0.5'))?.vtep?.floods);
  t.like(await run('vxlan', 'rm', 'blue', '10.77.0.4'), { code: 0, out: '10.77.0.4\n' });
  t.is(vtep('10.77.0.4'), -1);
  t.is((await run('vxlan', 'rm', 'blue', '10.77.0.5', '--json')).out.includes('"10.77.0.5"'), true);
});

test('what cannot be a VTEP is refused in one line', async (t) => {
  const { run } = await makeVxlan(t);
  const refused = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run(...args);
    t.not(code, 0, args.join(' '));
    t.is(out, '');
    return err;
  };
  t.regex(await refused('vxlan', 'add', 'blue', '10.77.0.1'), /^tapline: address: 10\.77\.0\.1 .*\n$/);
  t.regex(await refused('vxlan', 'add', 'blue', 'fd00::1'), /^tapline: address: .*fd00::1\n$/);
  t.regex(await refused('vxlan', 'add', 'blue', '239.1.1.1'), /^tapline: address: expected .*"239\.1\.1\.1"\n$/);
  t.regex(await refused('vxlan', 'add', 'blue', 'x'), /^tapline: address: expected .*"x"\n$/);
  t.is(await refused('vxlan', 'add', 'red', '10.77.0.4'), NO_VXLAN);
  t.regex(await refused('vxlan', 'add', 'grey', '10.77.0.4'), /^tapline: no network grey\n$/);
  t.regex(await refused('vxlan', 'rm', 'blue', '10.77.0.9'), /^tapline: .*10\.77\.0\.9.*\n$/);
  t.is(await refused('vxlan', 'probe', 'red'), NO_VXLAN);
  t.regex(await refused('vxlan', 'probe', 'grey'), /^tapline: no network grey\n$/);
});

test('probe: what passes, and what it means; exit code 1 where something does not', async (t) => {
  const { run, dataplane, vtep } = await makeVxlan(t);
  const [good, bad] = [vtep('10.77.0.2'), vtep('10.77.0.3')];
  dataplane.vxlan.current = [good, bad].map((port) => ({ port, state: 'up', heardSeconds: 1, mtu: 1450, gbp: null }));
  const fine = probe(good, answered(0.4), answered(0.5), answered(0.6));
  dataplane.vxlan.probes = [fine, probe(bad, answered(12), answered(1), answered(1))];
  t.deepEqual(await run('vxlan', 'probe').then(({ code, out, err }) => [code, out, err]), [
    0,
    `NETWORK  VTEP       UDP  TCP  FULL-SIZE  MS  WHAT
blue     10.77.0.2  ok   ok   ok (1450)  <1  all passes
blue     10.77.0.3  ok   ok   ok (1450)  12  all passes
`,
    '',
  ]);
  for (const [results, row] of [
    [
      [LOST, LOST, LOST],
      'no answer  no answer       no answer (1450)       -     no answer: no Tapline there, or packets are lost',
    ],
    [
      [answered(1), DAMAGED, answered(1)],
      'ok         wrong checksum  ok (1450)              1     damaged on the way: somebody computes checksums wrong',
    ],
    [
      [answered(1), answered(1), LOST],
      'ok         ok              no answer (1450)       1     packets of 1450 bytes do not pass: the wire takes less than the MTU says',
    ],
    [[LOST, answered(1), answered(1)], 'no answer  ok              ok (1450)              -     some are lost'],
  ] as const) {
    dataplane.vxlan.probes = [fine, probe(bad, ...results)];
    const { code, out } = await run('vxlan', 'probe', 'blue');
    t.is(code, 1);
    const words = out.split('\n')[2].split(/ {2,}/);
    t.deepEqual(words, ['blue', '10.77.0.3', ...row.split(/ {2,}/)]);
  }
  const json = await run('vxlan', 'probe', '--json');
  t.is(json.code, 1, 'the exit code says it as well');
  t.like(JSON.parse(json.out)[0], { network: 'blue', address: '10.77.0.2', mtu: 1450, udp: answered(0.4) });
});

test('entries of the FDB that lead to a VTEP: added, shown, moved, removed', async (t) => {
  const { run, dataplane, vtep } = await makeVxlan(t);
  const add = (mac: string, address: string) => run('fdb', 'add', mac, '--network', 'blue', '--vtep', address);
  t.like(await add(MAC, '10.77.0.2'), { code: 0, out: `${MAC}\n`, err: '' });
  t.is(
    (await run('show', 'fdb', '--network', 'blue')).out,
    `MAC                NETWORK  VLAN  PORT            AGE\n${MAC}  blue     -     vtep 10.77.0.2  static\n`,
  );
  const [entry] = JSON.parse((await run('show', 'fdb', '--json')).out);
  t.like(entry, { mac: MAC, port: 'vxlan:blue:10.77.0.2', vtep: '10.77.0.2', static: true });
  t.like(await add(MAC, '10.77.0.9'), { code: 0, out: `${MAC}\n` });
  t.not(vtep('10.77.0.9'), -1, 'a VTEP that nobody had named');
  t.regex((await run('show', 'fdb')).out, /vtep 10\.77\.0\.9 +static\n$/);
  t.like(JSON.parse((await run('show', 'vxlan', '--json')).out)[0].vteps[2], {
    address: '10.77.0.9',
    kind: 'static',
    floods: false,
    fdbEntries: 2,
  });
  t.like(await run('fdb', 'add', ALL, '--network', 'blue', '--vtep', '10.77.0.9', '--json'), { code: 0 });
  t.true(JSON.parse((await run('show', 'vxlan', '--json')).out)[0].vteps[2].floods);
  t.like(await run('fdb', 'rm', ALL, '--network', 'blue', '--vtep', '10.77.0.9'), { code: 0, out: `${ALL}\n` });
  t.like(await run('fdb', 'rm', MAC, '--network', 'blue'), { code: 0, out: `${MAC}\n` });
  t.is(vtep('10.77.0.9'), -1, 'it goes with its last entry');
  t.deepEqual(dataplane.fdbEntries, []);
  t.is((await run('fdb', 'rm', MAC, '--network', 'blue')).err, `tapline: no entry of ${MAC} in network blue\n`);
});

test('entries that cannot be: one line that names what is wrong', async (t) => {
  const { run } = await makeVxlan(t);
  t.is((await run('connect', 'blue', '--netns', '/ns/a')).err, '');
  const add = async (...args: string[]): Promise<string> => (await run('fdb', 'add', ...args)).err;
  t.regex(await add(MAC, '--network', 'blue', '--vtep', '10.77.0.1'), /^tapline: vtep: 10\.77\.0\.1 .*\n$/);
  t.regex(await add(MAC, '--network', 'blue', '--vtep', 'x'), /^tapline: vtep: expected .*"x"\n$/);
  t.regex(await add(MAC, '--network', 'red', '--vtep', '10.77.0.2'), /^tapline: .*network red has no vxlan.*\n$/);
  t.regex(await add('01:00:5e:00:00:01', '--network', 'blue', '--vtep', '10.77.0.2'), /^tapline: mac: expected .*\n$/);
  t.regex(await add(ALL, '--network', 'blue', '--port', 'a'), /^tapline: mac: expected a unicast MAC.*\n$/);
  t.regex(
    await add('02:42:ac:1e:00:02', '--network', 'blue', '--vtep', '10.77.0.2'),
    /^tapline: mac: 02:42:ac:1e:00:02 is already the MAC of endpoint a\n$/,
  );
  t.regex(
    await add(MAC, '--network', 'blue', '--vtep', '10.77.0.2', '--vlan', '4'),
    /^tapline: vlan: network blue tells no VLANs apart; leave it out\n$/,
  );
});

test('many changes at once, in their order', async (t) => {
  const { api, dataplane } = await makeVxlan(t);
  const add = (mac: string, vtep: string): object => ({ op: 'add', mac, vtep });
  const path = '/v1/networks/blue/fdb';
  const changes = [
    add(MAC, '10.77.0.2'),
    add(OTHER, '10.77.0.2'),
    add(MAC, '10.77.0.3'),
    { op: 'remove', mac: OTHER, vtep: '10.77.0.2' },
    { op: 'remove', mac: MAC, vtep: '10.77.0.2' },
  ];
  t.deepEqual(await api.post(path, changes), { added: 2, moved: 1, removed: 1, unchanged: 0, missing: 1 });
  t.deepEqual(
    dataplane.fdbEntries.map(({ mac, port }) => [mac, dataplane.portName(port)]),
    [[MAC, 'vxlan:blue:10.77.0.3']],
  );
  t.deepEqual(await api.post(path, []), { added: 0, moved: 0, removed: 0, unchanged: 0, missing: 0 });
  const mac = (i: number): string => `02:00:00:00:00:${(i % 100).toString(16).padStart(2, '0')}`;
  const many = Array.from({ length: 20_000 }, (_, i) => add(mac(i), '10.77.0.2'));
  t.like(await api.post<object>(path, many), { added: 100, unchanged: 19_900 }, 'more than a megabyte');
  const refused = (body: unknown, network = 'blue'): Promise<unknown> =>
    t.throwsAsync(api.post(`/v1/networks/${network}/fdb`, body)).then((error) => error?.message);
  t.is(await refused({}), 'expected a list of changes with op, mac and vtep, got a mapping');
  t.is(await refused([{ op: 'move', mac: MAC, vtep: '10.77.0.2' }]), '[0].op: expected one of add, remove, got "move"');
  t.is(await refused([{ op: 'add', mac: MAC }]), '[0].vtep: missing; expected an IPv4 or IPv6 address');
  t.is(await refused([{ op: 'remove', mac: ALL }]), '[0].vtep: missing; expected an IPv4 or IPv6 address');
  t.regex(String(await refused([add(MAC, '10.77.0.1')])), /^\[0\]\.vtep: 10\.77\.0\.1 /);
  t.regex(String(await refused([add(MAC, '10.77.0.2')], 'red')), /network red has no vxlan/);
  t.is(await refused([], 'grey'), 'no network grey');
});

test('neighbors that are told: added, shown, removed', async (t) => {
  const { run, daemon, dataplane, api } = await makeVxlan(t);
  const iface = daemon.interfaces.get('blue')?.number ?? -1;
  const words = ['--network', 'blue'];
  t.like(await run('neigh', 'add', '172.30.0.9', MAC, ...words), { code: 0, out: '172.30.0.9\n', err: '' });
  t.is(dataplane.vxlan.neighbors.get(`${iface} 172.30.0.9`), MAC);
  const json = await run('neigh', 'add', '172.30.0.9', OTHER, ...words, '--json');
  t.deepEqual(JSON.parse(json.out), { network: 'blue', address: '172.30.0.9', mac: OTHER });
  t.is(dataplane.vxlan.neighbors.get(`${iface} 172.30.0.9`), OTHER, 'told again, it is the other one');
  const refused = async (...args: string[]): Promise<string> => (await run('neigh', ...args)).err;
  t.regex(await refused('add', '172.31.9.9', MAC, ...words), /^tapline: address: .*172\.31\.9\.9.*\n$/);
  t.regex(await refused('add', '172.30.0.1', MAC, ...words), /^tapline: address: 172\.30\.0\.1 is the gateway.*\n$/);
  t.regex(await refused('add', '172.30.0.9', ALL, ...words), /^tapline: mac: expected a unicast MAC.*\n$/);
  t.is(await refused('add', '172.30.0.9', MAC, '--network', 'grey'), 'tapline: no network grey\n');
  t.like(await run('neigh', 'rm', '172.30.0.9', ...words), { code: 0, out: '172.30.0.9\n' });
  t.is(dataplane.vxlan.neighbors.size, 0);
  t.regex(await refused('rm', '172.30.0.9', ...words), /^tapline: .*172\.30\.0\.9.*\n$/);
  await t.throwsAsync(api.delete('/v1/neighbors', { network: 'blue' }), { message: /^address: missing; / });
});

test('network create: options become the overlay; inspect and status say what it is', async (t) => {
  const { run, dataplane, daemon } = await makeVxlan(t);
  const words =
    '--subnet 172.26.0.0/24 --vni 43 --vxlan-local 10.77.0.1 --vxlan-remote 10.77.0.2 --vxlan-remote 10.77.0.3';
  const more = '--vxlan-group 239.1.1.1 --vxlan-port 8472';
  t.like(await run('network', 'create', 'wide', ...words.split(' '), ...more.split(' ')), { code: 0, err: '' });
  t.like(dataplane.vxlan.locals.get(daemon.network('wide').id), { vni: 43, local: '10.77.0.1', udpPort: 8472 });
  t.regex(
    (await run('network', 'inspect', 'wide')).out,
    /^vxlan: +VNI 43, 10\.77\.0\.1 port 8472, to 10\.77\.0\.2 10\.77\.0\.3, group 239\.1\.1\.1$/m,
  );
  t.regex((await run('network', 'inspect', 'red')).out, /^vxlan: +-$/m);
  t.regex((await run('show', 'vxlan', '--network', 'wide')).out, /^wide: .*, group 239\.1\.1\.1, MTU 1450, open, up\n/);
  t.regex((await run('status')).out, /^overlays: +blue up \(0 of 2 VTEPs\), wide up \(0 of 3 VTEPs\)$/m);
  const without = await run('network', 'create', 'x', '--subnet', '172.25.0.0/24', '--vni', '44');
  t.like(without, { code: 2 });
  t.regex(without.err, /^tapline: vxlan\.local: missing; .*\n$/);
});

test('status without overlays has nothing to say of them', async (t) => {
  const { run } = await makeLab(t);
  t.regex((await run('status')).out, /^overlays: +-$/m);
  t.is((await run('show', 'vxlan')).out, 'no network has vxlan\n');
  t.like(await run('vxlan', 'probe'), { code: 0, out: 'no VTEPs\n' });
});

test('an overlay that is down says why', async (t) => {
  const { run, system, daemon } = await makeVxlan(t, FILE);
  system.devices.delete('up0');
  await daemon.uplink?.lost();
  t.regex((await run('show', 'vxlan')).out, /^blue: .*, down: uplink up0 is down.*\n/);
  t.regex((await run('status')).out, /^overlays: +blue down \(uplink up0 is down.*\)$/m);
});

test('a VTEP can be captured, and is a port among ports', async (t) => {
  const { run, dataplane, vtep } = await makeVxlan(t);
  const capture = run('capture', 'vxlan:blue:10.77.0.2', '--count', '1');
  while (dataplane.captures.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.is(dataplane.captures[0].filter.port, vtep('10.77.0.2'));
  dataplane.captures[0].deliver(vtep('10.77.0.2'), new Uint8Array(60));
  t.is((await capture).code, 0);
  t.is(
    (await run('capture', 'vxlan:blue:10.77.0.9')).err,
    'tapline: target: no VTEP blue:10.77.0.9; expected NETWORK:ADDRESS\n',
  );
  t.regex((await run('show', 'ports')).out, /^vxlan:blue:10\.77\.0\.2 +vxlan +blue +forwarding +- /m);
});

test('a network with VLANs says which of them spans hosts', async (t) => {
  const yaml = FILE.replace('vxlan: {', 'vlan_filtering: true\n    vxlan: { vlan: 10,');
  const { run } = await makeVxlan(t, yaml);
  t.regex((await run('show', 'vlan')).out, /^blue +10 +vxlan +-$/m);
  t.regex((await run('show', 'ports')).out, /^vxlan:blue:10\.77\.0\.2 +vxlan +blue +forwarding +10 /m);
});

// Completion waits half a second for the daemon, no longer: nothing else runs meanwhile.
test.serial('completion knows VTEPs and neighbors that are told', async (t) => {
  const { run, dataplane, daemon } = await makeVxlan(t);
  const iface = daemon.interfaces.get('blue')?.number ?? -1;
  const common = { interface: iface, ageSeconds: 0, router: false, waiting: 0 };
  dataplane.neighborEntries.push(
    { ...common, address: '172.30.0.8', mac: MAC, state: 'reachable' },
    { ...common, address: '172.30.0.9', mac: MAC, state: 'permanent' },
  );
  const complete = async (...words: string[]): Promise<string> => (await run('__complete', ...words)).out;
  t.is(await complete('vxlan', ''), 'probe\nadd\nrm\n');
  t.is(await complete('vxlan', 'probe', ''), 'blue\nred\n');
  t.is(await complete('vxlan', 'rm', 'blue', ''), '10.77.0.2\n10.77.0.3\n');
  t.is(await complete('fdb', 'add', MAC, '--vtep', ''), '10.77.0.2\n10.77.0.3\n');
  t.is(await complete('neigh', 'rm', ''), '172.30.0.9\n');
  t.is(await complete('show', 'vx'), 'vxlan\n');
  t.is(
    await complete('network', 'create', 'x', '--vx'),
    '--vxlan-local\n--vxlan-remote\n--vxlan-group\n--vxlan-port\n',
  );
});
