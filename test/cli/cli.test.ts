import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { formatTable } from '../../cli/output.js';
import { resolvConf } from '../../cli/run.js';
import { eventually } from '../control/support/fixture.js';
import { cli, makeLab } from './support/lab.js';

/** Wrong usage: exit code 2 and one line. */
const USAGE: readonly (readonly [string[], string])[] = [
  [['frobnicate'], "tapline: unknown command 'frobnicate'\n"],
  [['statsu'], "tapline: unknown command 'statsu' (Did you mean status?)\n"],
  [['status', '--jsn'], "tapline: unknown option '--jsn' (Did you mean --json?)\n"],
  [['status', 'extra'], "tapline: too many arguments for 'status'. Expected 0 arguments but got 1.\n"],
  [['connect'], "tapline: missing required argument 'network'\n"],
  [['network', 'create', 'x'], "tapline: required option '--subnet <subnet>' not specified\n"],
  [['status', '--socket', ''], 'tapline: expected a path with --socket, got nothing\n'],
  [
    ['run', '--network', 'blue', '--dns', 'nowhere', 'true'],
    'tapline: --dns: expected an IPv4 or IPv6 address, got "nowhere"\n',
  ],
  ...['a b', '-a', 'a..b', '', 'a'.repeat(65)].map((name): [string[], string] => [
    ['run', '--network', 'blue', '--hostname', name, 'true'],
    `tapline: --hostname: expected a host name of letters, digits, "-" and ".", 64 characters at most, got "${name}"\n`,
  ]),
  [
    ['connect', 'blue', 'c1', '--native', '4'],
    'tapline: --native needs --trunk, the VLANs that have tags; for one VLAN say --vlan\n',
  ],
  [
    ['connect', 'blue', 'c1', '--security', 'lax'],
    "tapline: option '--security <level>' argument 'lax' is invalid. Allowed choices are strict, mac, off.\n",
  ],
  [['mirror', 'create', 'm', '--to', 'a'], 'tapline: expected exactly one of --from, --from-network, --from-uplink\n'],
  [
    ['mirror', 'create', 'm', '--to', 'a', '--from', 'b', '--from-uplink'],
    'tapline: expected exactly one of --from, --from-network, --from-uplink\n',
  ],
  [
    ['fdb', 'add', '02:00:00:00:00:99', '--network', 'blue'],
    'tapline: expected either --port or --vtep, to say where the MAC is\n',
  ],
  [
    ['fdb', 'add', '02:00:00:00:00:99', '--network', 'blue', '--port', 'a', '--vtep', '10.77.0.2'],
    'tapline: expected either --port or --vtep, to say where the MAC is\n',
  ],
  [['neigh', 'add', '172.30.0.9', '--network', 'blue'], "tapline: missing required argument 'mac'\n"],
  [['neigh', 'rm', '172.30.0.9'], "tapline: required option '--network <network>' not specified\n"],
  [['vxlan', 'add', 'blue'], "tapline: missing required argument 'address'\n"],
  [['run', 'true'], "tapline: required option '--network <network>' not specified\n"],
  [
    ['up', '--engine', 'warp'],
    "tapline: option '--engine <engine>' argument 'warp' is invalid. Allowed choices are auto, uring, epoll.\n",
  ],
  [
    ['completion', 'tcsh'],
    "tapline: command-argument value 'tcsh' is invalid for argument 'shell'. Allowed choices are bash, zsh, fish.\n",
  ],
];

for (const [args, line] of USAGE) {
  test(`usage: tapline ${args.join(' ')}`, async (t) => {
    t.deepEqual(await cli(args), { code: 2, out: '', err: line, bytes: Buffer.alloc(0) });
  });
}

test('help and version are no errors; no command at all is', async (t) => {
  t.like(await cli(['--version']), { code: 0, err: '' });
  t.regex((await cli(['--version'])).out, /^\d+\.\d+\.\d+\n$/);
  for (const args of [['--help'], ['up', '--help'], ['network', 'create', '--help'], ['capture', '--help']]) {
    const { code, out, err } = await cli(args);
    t.deepEqual([code, err], [0, '']);
    t.regex(out, /Examples?/);
  }
  t.like(await cli([]), { code: 2, out: '' });
  t.like(await cli(['network']), { code: 2, out: '' });
});

test('without a daemon every command says so in one line', async (t) => {
  const line =
    'tapline: no tapline daemon answers on /nonexistent.sock; start one with "tapline up -f FILE", or name its socket with --socket or TAPLINE_SOCKET\n';
  const env = { TAPLINE_SOCKET: '/nonexistent.sock' };
  const commands = [
    'status',
    'network ls',
    'show fdb',
    'show services',
    'show vxlan',
    'vxlan probe',
    'neigh rm 172.30.0.9 --network blue',
    'service rm x',
    'service backends x add a:80',
    'disconnect x',
    'capture x',
    'connect blue c1',
    'run --network blue true',
  ];
  for (const command of commands) {
    t.deepEqual(await cli(command.split(' '), { env }), { code: 1, out: '', err: line, bytes: Buffer.alloc(0) });
  }
  t.is((await cli(['status', '--socket', '/nonexistent.sock'])).err, line);
  t.is((await cli(['--socket', '/nonexistent.sock', 'status'])).err, line);
  const both = await cli(['--socket', '/elsewhere.sock', 'status', '--socket', '/nonexistent.sock']);
  t.is(both.err, line, 'what stands behind the command wins');
});

test('up refuses a bad or absent file with 2 before anything else', async (t) => {
  t.like(await cli(['up', '-f', '/nonexistent.yaml']), {
    code: 2,
    out: '',
    err: 'tapline: /nonexistent.yaml: no such file\n',
  });
});

test('networks: tables and JSON', async (t) => {
  const { run } = await makeLab(t);
  t.like(
    await run(
      'network',
      'create',
      'green',
      '--subnet',
      '10.9.0.0/24',
      '--subnet',
      'fd09::/64',
      '--mtu',
      '9000',
      '--internal',
    ),
    {
      code: 0,
      out: 'green\n',
    },
  );
  t.is(
    (await run('network', 'ls')).out,
    [
      'NAME   SUBNETS                      MTU  INTERNAL  UPLINK  ENDPOINTS',
      'blue   172.30.0.0/24 fd00:30::/64  1500  no        -               0',
      'red    172.31.0.0/30               1500  no        -               0',
      'green  10.9.0.0/24 fd09::/64       9000  yes       -               0',
      '',
    ].join('\n'),
  );
  t.deepEqual(
    JSON.parse((await run('network', 'ls', '--json')).out).map(({ name }: { name: string }) => name),
    ['blue', 'red', 'green'],
  );
  t.like(JSON.parse((await run('network', 'inspect', 'green', '--json')).out), {
    mtu: 9000,
    internal: true,
    gateways: ['10.9.0.1', 'fd09::1'],
  });
  t.regex(
    (await run('network', 'inspect', 'green')).out,
    /^name: +green\nstate: +up\nsubnets: +10\.9\.0\.0\/24 fd09::\/64\n/,
  );
  t.like(await run('network', 'rm', 'green', 'red'), { code: 0, out: 'green\nred\n' });
  const removed = await run('network', 'rm', 'blue', 'red', '--json');
  t.like(removed, { code: 1, err: 'tapline: no network red\n' });
  t.deepEqual(JSON.parse(removed.out), [{ name: 'blue' }]);
});

test('the daemon refuses with its own line: 2 for what cannot be right, 1 for the rest', async (t) => {
  const { run } = await makeLab(t);
  const cases: [string, number, string][] = [
    [
      'network create x --subnet 10.0.0.1/24',
      2,
      'subnets[0]: expected 10.0.0.0/24, the subnet without host bits, got "10.0.0.1/24"',
    ],
    ['network create x --subnet 10.0.0.0/24 --mtu big', 2, 'mtu: expected an integer from 68 to 65521, got "big"'],
    ['network create x --subnet 10.0.0.0/24 --vlan-protocol 802.1ad', 2, 'vlan_protocol: needs vlan_filtering: true'],
    ['network create x --subnet 172.30.0.0/24', 1, 'subnets[0]: 172.30.0.0/24 overlaps 172.30.0.0/24 of network blue'],
    ['network inspect x', 1, 'no network x'],
    ['network rm x', 1, 'no network x'],
    ['connect blue', 2, 'expected exactly one of netns, pid, container, got none of them'],
    ['connect blue c1 --pid 7', 2, 'expected exactly one of netns, pid, container, got pid and container'],
    ['connect blue --pid x', 2, 'pid: expected an integer from 1 to 4194304, got "x"'],
    ['connect blue c1', 1, 'container: no container c1 (asked a double)'],
    ['connect blue --netns /ns/x', 1, 'netns: expected an existing network namespace, got /ns/x, which is none'],
    [
      'connect blue --netns /ns/a --ip 172.30.0.255',
      2,
      'addresses[0]: 172.30.0.255 is the broadcast address of network blue',
    ],
    ['disconnect x', 1, 'no endpoint x'],
    ['capture x', 1, 'target: no endpoint or network x'],
    ['capture blue --count x', 2, 'count: expected an integer from 0 to 1000000000, got "x"'],
    ['run --network x true', 1, 'no network x'],
  ];
  for (const [command, code, line] of cases) {
    t.deepEqual(
      await run(...command.split(' ')),
      { code, out: '', err: `tapline: ${line}\n`, bytes: Buffer.alloc(0) },
      command,
    );
  }
});

test('connect, show and disconnect', async (t) => {
  const { run, system, dataplane } = await makeLab(t);
  system.addContainer('c1', 70);
  t.is((await run('connect', 'blue', 'c1')).out, 'c1: eth0 172.30.0.2/24 fd00:30::2/64 02:42:ac:1e:00:02\n');
  const args = [
    '--netns',
    '/ns/a',
    '--name',
    'x',
    '--interface',
    'net0',
    '--ip',
    '172.30.0.9',
    '--ip6',
    'fd00:30::9',
    '--mac',
    '02:00:00:00:00:09',
  ];
  t.like(JSON.parse((await run('connect', 'blue', ...args, '--json')).out), {
    name: 'x',
    interface: 'net0',
    addresses: ['172.30.0.9/24', 'fd00:30::9/64'],
    mac: '02:00:00:00:00:09',
  });
  t.is(
    (await run('show', 'endpoints')).out,
    [
      'ENDPOINT  NETWORK  STATE  INTERFACE  ADDRESSES                    MAC                TARGET',
      'c1        blue     up     eth0       172.30.0.2/24 fd00:30::2/64  02:42:ac:1e:00:02  c1',
      'x         blue     up     net0       172.30.0.9/24 fd00:30::9/64  02:00:00:00:00:09  /ns/a',
      '',
    ].join('\n'),
  );
  const network = dataplane.livePorts.get(dataplane.portNamed('c1'))?.network ?? -1;
  dataplane.fdbEntries.push({
    mac: '02:42:ac:1e:00:02',
    network,
    vlan: 0,
    port: dataplane.portNamed('c1'),
    ageSeconds: 3.7,
    static: false,
  });
  t.is(
    (await run('show', 'fdb')).out,
    'MAC                NETWORK  VLAN  PORT  AGE\n02:42:ac:1e:00:02  blue     -     c1    3 s\n',
  );
  t.is((await run('show', 'fdb', '--network', 'red')).out, 'MAC  NETWORK  VLAN  PORT  AGE\n');
  t.is(
    (await run('show', 'drops')).out,
    'received 20, made here 1, copied by flooding 3, delivered 15, taken in 2\nnothing dropped\n',
  );
  dataplane.rxDrops = { runt: 2 };
  t.regex(
    (await run('show', 'drops')).out,
    /\nREASON +RX +TX +MEANING\nrunt +2 +0 +frame shorter than an Ethernet header\n\nPORT +REASON/,
  );
  const ports = (await run('show', 'ports')).out.split('\n');
  t.is(
    ports[0],
    'PORT  KIND  NETWORK  STATE       VLAN  SECURITY  RX-PACKETS  RX-BYTES  RX-DROPS  TX-PACKETS  TX-BYTES  TX-DROPS',
  );
  t.is(
    ports[1],
    'c1    tap   blue     forwarding  -     strict            10      1000         2           8       800         0',
  );
  for (const [what, key] of [
    ['ports', 'rxPackets'],
    ['endpoints', 'addresses'],
    ['fdb', 'ageSeconds'],
  ] as const) {
    t.true(key in JSON.parse((await run('show', what, '--json')).out)[0]);
  }
  t.is(JSON.parse((await run('show', 'drops', '--json')).out).received, 20);
  t.regex((await run('status')).out, /^engine: +epoll \(a double\)$/m);
  t.like(JSON.parse((await run('status', '--json')).out), { networks: 2, endpoints: 2 });
  t.like(await run('network', 'rm', 'blue'), {
    code: 1,
    err: 'tapline: network blue still has endpoints c1, x; disconnect them first, or use --force\n',
  });
  t.deepEqual(JSON.parse((await run('disconnect', 'c1', '--json')).out), [{ name: 'c1' }]);
  t.like(await run('disconnect', 'x'), { code: 0, out: 'x\n' });
});

/** Block types of a little-endian pcapng file. */
function blockTypes(file: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) types.push(file.readUInt32LE(at));
  return types;
}

test('a capture goes to stdout, to a file, not to a terminal', async (t) => {
  const { run, dataplane, env, directory } = await makeLab(t);
  await run('connect', 'blue', '--netns', '/ns/a');
  const port = dataplane.portNamed('a');
  const deliver = async (n: number, frames: number): Promise<void> => {
    await eventually(() => dataplane.captures.length === n);
    for (let i = 0; i < frames; i++) dataplane.captures[n - 1]?.deliver(port, new Uint8Array(60));
  };
  const [piped] = await Promise.all([run('capture', 'blue', '--count', '2'), deliver(1, 2)]);
  t.like(piped, { code: 0, err: '2 frames captured, 0 lost\n' });
  t.deepEqual(blockTypes(piped.bytes), [0x0a0d0d0a, 1, 6, 6]);

  const file = join(directory, 'a.pcapng');
  const [written] = await Promise.all([
    run('capture', 'a', '-w', file, '--count', '1', '--snaplen', '96', '--json'),
    deliver(2, 1),
  ]);
  t.deepEqual(JSON.parse(written.out), { target: 'a', file, frames: 1, lost: 0 });
  t.deepEqual(blockTypes(readFileSync(file)), [0x0a0d0d0a, 1, 6]);
  t.is(dataplane.captures[1]?.filter.snapLength, 96);

  t.like(await cli(['capture', 'blue'], { env, isTTY: true }), { code: 2, out: '' });
  const bad = await run('capture', 'blue', '-w', '/nonexistent/x.pcapng');
  t.regex(bad.err, /^tapline: cannot write \/nonexistent\/x\.pcapng: ENOENT.*\n$/);
  t.is(bad.code, 1);
  await eventually(() => dataplane.captures.every(({ stopped }) => stopped));
});

test('completion walks the command tree and asks the daemon for names', async (t) => {
  const { run } = await makeLab(t);
  await run('connect', 'blue', '--netns', '/ns/a');
  const complete = async (...words: string[]): Promise<string[]> =>
    (await run('__complete', ...words)).out.split('\n').slice(0, -1);
  t.deepEqual(await complete('c'), ['connect', 'conntrack', 'capture', 'completion']);
  t.deepEqual(await complete('network', ''), ['create', 'ls', 'inspect', 'rm']);
  t.deepEqual(await complete('network', 'rm', ''), ['blue', 'red']);
  t.deepEqual(await complete('network', 'rm', 'blue', ''), ['blue', 'red']);
  t.deepEqual(await complete('connect', ''), ['blue', 'red']);
  t.deepEqual(await complete('connect', 'blue', '--security', ''), ['strict', 'mac', 'off']);
  t.deepEqual(await complete('connect', 'blue', '--no-'), ['--no-isolated']);
  t.deepEqual(await complete('fdb', ''), ['add', 'rm', 'flush']);
  t.deepEqual(await complete('fdb', 'flush', '--port', ''), ['a', 'uplink']);
  t.deepEqual(await complete('fdb', 'flush', '--network', ''), ['blue', 'red']);
  t.deepEqual(await complete('show', 'conntrack', '--endpoint', ''), ['a']);
  t.deepEqual(await complete('show', 'conntrack', '--port', ''), []);
  t.deepEqual(await complete('conntrack', 'flush', '--state', 'syn'), ['syn_sent', 'syn_received']);
  t.deepEqual(await complete('mirror', 'create', 'm', '--from', ''), ['a']);
  t.deepEqual(await complete('mirror', 'create', 'm', '--from-network', 'b'), ['blue']);
  await run('mirror', 'create', 'm', '--from-network', 'red', '--to', 'a');
  t.deepEqual(await complete('mirror', 'rm', ''), ['m']);
  t.deepEqual(await complete('show', 'm'), ['mdb', 'mirrors']);
  t.deepEqual(await complete('disconnect', ''), ['a']);
  t.deepEqual(await complete('capture', ''), ['blue', 'red', 'a', 'uplink']);
  t.deepEqual(await complete('run', '--network', 'b'), ['blue']);
  t.deepEqual(await complete('run', '--network', 'blue', '--', ''), []);
  t.deepEqual(await complete('up', '--engine', ''), ['auto', 'uring', 'epoll']);
  t.deepEqual(await complete('completion', ''), ['bash', 'zsh', 'fish']);
  t.deepEqual(await complete('show', 'fdb', '--n'), ['--network']);
  t.deepEqual((await cli(['__complete', 'disconnect', ''], { env: { TAPLINE_SOCKET: '/nonexistent.sock' } })).out, '');
  t.deepEqual(await complete('--socket', '', 'network', ''), ['create', 'ls', 'inspect', 'rm']);
  t.regex(
    (await run('completion', 'fish')).out,
    /^complete -c tapline -n __tapline_ask -f /m,
    'no files among the names',
  );
  for (const shell of ['bash', 'zsh', 'fish']) t.regex((await run('completion', shell)).out, /tapline __complete/);
});

test("resolv.conf of a run: the servers asked for, else the host's without loopback", (t) => {
  const host =
    '# comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\nnameserver fd00::53\noptions edns0\n';
  t.is(
    resolvConf(host, []),
    '# Made by tapline run.\nsearch example.org\nnameserver 10.0.0.1\nnameserver fd00::53\noptions edns0\n',
  );
  t.is(
    resolvConf(host, ['9.9.9.9']),
    '# Made by tapline run.\nnameserver 9.9.9.9\nsearch example.org\noptions edns0\n',
  );
  t.is(resolvConf('', []), '# Made by tapline run.\n');
});

test('a table may have as many rows as the FDB', (t) => {
  const columns = [{ title: 'MAC', value: (row: number) => `mac-${row}` }];
  const rows = Array.from({ length: 131_072 }, (_, row) => row);
  t.is(formatTable(columns, rows).length, 'MAC\n'.length + rows.reduce((sum, row) => sum + `mac-${row}\n`.length, 0));
});
