/** The host port: processes of the host and endpoints reach each other, where a network has `host: true`, and nobody else does. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startDocker } from './support/engines.js';
import { temporaryDirectory } from './support/frames.js';
import {
  answers,
  balance,
  createOutdoors,
  HOST,
  type Outdoors,
  pingCount,
  routeBack,
  SUBNETS,
  snapshot,
} from './support/host.js';
import { iperfServer, iperfWhole } from './support/iperf.js';
import { createHosts, type Host } from './support/lab.js';
import type { Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { type Background, must, type Result, start } from './support/process.js';
import { PYTHON } from './support/scapy.js';
import { ENGINES, failTapline, prepare, startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

const GATEWAY = { ip: '172.30.0.1', ip6: 'fd00:30::1' };
const NAME = 'host.tapline.internal';
const PORT = '7000';
/** What programs are told by ICMP's administratively prohibited. */
const PROHIBITED = /No route to host/;

/** `a` is in a network that the host takes part in, `b` in one that it does not. */
const config = ([a, b]: readonly Host[], uplink?: object): object => ({
  version: 1,
  ...(uplink === undefined ? {} : { uplink }),
  networks: {
    blue: { subnets: [SUBNETS.v4, SUBNETS.v6], host: true },
    red: { subnets: ['172.31.0.0/24', 'fd00:31::/64'] },
  },
  endpoints: {
    a: { network: 'blue', netns: a?.path, addresses: [a?.ip, a?.ip6] },
    b: { network: 'red', netns: b?.path, addresses: ['172.31.0.3', 'fd00:31::3'] },
  },
});

const CLIENT = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
s.sendall(b'hello')
print(s.recv(100).decode(), flush=True)
`;

/** Answers each connection with the address that it comes from, and then sends back what it gets. */
const SERVER = `
import socket, sys, threading
listener = socket.create_server(('::', int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print('listening', flush=True)
def serve(connection, peer):
    connection.recv(5)
    connection.sendall(peer[0].replace('::ffff:', '').encode())
    while data := connection.recv(65536):
        connection.sendall(data)
while True:
    threading.Thread(target=serve, args=listener.accept(), daemon=True).start()
`;

async function serve(namespace: Namespace): Promise<Background> {
  const server = namespace.start(PYTHON, '-c', SERVER, PORT);
  await server.said(/listening/);
  return server;
}

const connect = (from: Namespace, address: string): Promise<Result> => from.run([PYTHON, '-c', CLIENT, address, PORT]);

/** The address by which a server sees who connects; else why nobody does. */
async function seenAs(from: Namespace, address: string): Promise<string> {
  const { code, stdout, stderr } = await connect(from, address);
  return code === 0 ? stdout.trim() : (stderr.trim().split('\n').at(-1) ?? '');
}

const hasTap = async (host: Namespace): Promise<boolean> => /: tapline\d+:/.test(await host.exec('ip', '-o', 'link'));

interface Scene extends Outdoors {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  readonly before: string;
}

for (const engine of ENGINES) {
  test.serial(`${engine}: host and endpoints reach each other where the network says so`, async (t) => {
    const outdoors = await createOutdoors(t);
    const { host, outside } = outdoors;
    await routeBack(outside, HOST);
    const [a, b] = (await createHosts(t, 2)) as [Host, Host];
    const before = await snapshot(outdoors);
    const tapline = await startTapline(t, config([a, b], { device: 'up0', mode: 'shared' }), { engine, netns: host });
    const scene: Scene = { ...outdoors, tapline, a, b, before };
    for (const namespace of [host, a, b]) await serve(namespace);

    t.is(await seenAs(host, a.ip), GATEWAY.ip);
    t.is(await seenAs(host, a.ip6), GATEWAY.ip6);
    t.is(await seenAs(a, GATEWAY.ip), a.ip);
    t.is(await seenAs(a, GATEWAY.ip6), a.ip6);
    // Its gateway address is the router's own, and nothing listens there.
    t.regex(await seenAs(b, '172.31.0.1'), /Connection refused/);
    t.true(await answers(b, '172.31.0.1'));
    // Neither by the address of the other network, nor by the one on the wire, nor from the wire by that of a network.
    t.regex(await seenAs(b, GATEWAY.ip), PROHIBITED);
    t.regex(await seenAs(b, HOST.ip), PROHIBITED);
    t.regex(await seenAs(outside, GATEWAY.ip), PROHIBITED);
    t.notRegex(await host.exec('ip', 'route', 'get', '172.31.0.3'), /tapline/);
    t.is(await seenAs(outside, HOST.ip), '10.77.0.254', 'the host itself answers on the wire as ever');

    await iperfServer(a);
    await iperfServer(host);
    for (const [from, to] of [
      [host, a.ip],
      [a, GATEWAY.ip],
      [host, a.ip6],
      [a, GATEWAY.ip6],
    ] as const)
      await iperfWhole(from, to, 32);
    const { came, went } = await balance(tapline);
    t.is(came, went);
    t.true(await hasTap(host));
    await scene.tapline.stop();
    t.false(await hasTap(host));
    t.is(await snapshot(scene), before);
  });
}

/** Counts what comes back over one connection, which it keeps. */
const COUNTER = `
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b'hello')
s.recv(100)
count = 0
while True:
    s.sendall(b'x' * 100)
    got = 0
    while got < 100:
        data = s.recv(100 - got)
        if not data: sys.exit('closed')
        got += len(data)
    count += 1
    print(count, flush=True)
    time.sleep(0.05)
`;

const counted = (client: Background): number => Number(client.stdout().trimEnd().split('\n').at(-1) || 0);

test.serial('connections with the host outlive kill -9 and a restart, and a TAP that somebody deletes', async (t) => {
  const outdoors = await createOutdoors(t);
  const { host } = outdoors;
  const hosts = await createHosts(t, 2);
  const a = hosts[0] as Host;
  const before = await snapshot(outdoors);
  const { socket } = prepare(t, {});
  const up = (): Promise<Tapline> => startTapline(t, config(hosts), { netns: host, socket });
  const first = await up();
  await serve(a);
  await serve(host);
  const clients = [
    host.start(PYTHON, '-c', COUNTER, a.ip, PORT),
    a.start(PYTHON, '-c', COUNTER, GATEWAY.ip, PORT),
    a.start(PYTHON, '-c', COUNTER, GATEWAY.ip6, PORT),
  ];
  const goOn = async (what: string): Promise<void> => {
    const marks = clients.map(counted);
    await eventually(
      `connections to go on after ${what}`,
      () => clients.every((client, index) => counted(client) > (marks[index] as number) + 3),
      30_000,
    );
  };
  await goOn('the start');
  first.forget();
  await first.process.stop('SIGKILL');
  const second = await up();
  await goOn('kill -9 and a restart');
  t.is((await host.exec('ip', '-o', 'link')).match(/: tapline\d+:/g)?.length, 1);

  await host.exec('ip', 'link', 'delete', 'tapline0');
  await goOn('the loss of the TAP');
  t.regex(second.process.stderr(), /the host's interface tapline0 was taken away/);
  t.true(clients.every((client) => client.running()));
  await second.stop();
  t.is(await snapshot(outdoors), before);
});

test.serial(
  'two Taplines on one host have a TAP each; a subnet that the host reaches elsewhere is refused',
  async (t) => {
    const outdoors = await createOutdoors(t);
    const { host } = outdoors;
    const [a, b] = (await createHosts(t, 2)) as [Host, Host];
    const before = await snapshot(outdoors);
    const one = (name: string, subnet: string, { path }: Host, address: string): object => ({
      version: 1,
      networks: { [name]: { subnets: [subnet], host: true } },
      endpoints: { [name]: { network: name, netns: path, addresses: [address] } },
    });
    const first = await startTapline(t, one('blue', '172.30.0.0/24', a, '172.30.0.9'), { netns: host });
    const second = await startTapline(t, one('red', '172.31.0.0/24', b, '172.31.0.9'), { netns: host });
    for (const address of ['172.30.0.9', '172.31.0.9']) t.true(await answers(host, address));
    await first.stop();
    t.true(await answers(host, '172.31.0.9'));
    const { code, stderr, file } = await failTapline(t, one('rose', '172.31.0.0/24', a, '172.31.0.8'), { netns: host });
    t.is(code, 2);
    const line = `${file}: networks.rose.host: the host has another route to 172.31.0.0/24; choose another subnet`;
    t.is(stderr.trimEnd().split('\n').at(-1), `tapline: ${line}`);
    t.true(await answers(host, '172.31.0.9'), 'the other one has lost nothing');
    await second.stop();
    t.is(await snapshot(outdoors), before);
  },
);

interface Container {
  readonly pid: string;
  /** In its own namespaces. */
  exec(...argv: string[]): Promise<string>;
  hosts(): Promise<string>;
}

const OWN_HOSTS = '127.0.0.1 localhost\n10.9.9.9 database\n';

/** A process with a network namespace and an /etc/hosts of its own. */
async function createContainer(t: ExecutionContext): Promise<Container> {
  const file = join(temporaryDirectory(t), 'hosts');
  writeFileSync(file, OWN_HOSTS);
  const script = `mount --bind ${file} /etc/hosts && ip link set lo up && echo inside && exec sleep 600`;
  const child = start(t, ['unshare', '--net', '--mount', 'sh', '-c', script]);
  await child.said(/inside/);
  const exec = (...argv: string[]): Promise<string> =>
    must(['nsenter', '--target', `${child.pid}`, '--net', '--mount', '--', ...argv]);
  return { pid: `${child.pid}`, exec, hosts: () => exec('cat', '/etc/hosts') };
}

test.serial(`${NAME} leads containers to the host as long as they are attached`, async (t) => {
  const outdoors = await createOutdoors(t);
  const { host } = outdoors;
  const [c, d] = [await createContainer(t), await createContainer(t)];
  const tapline = await startTapline(
    t,
    {
      version: 1,
      networks: { blue: { subnets: [SUBNETS.v4], host: true }, red: { subnets: ['172.31.0.0/24'] } },
      endpoints: { c: { network: 'blue', pid: Number(c.pid) } },
    },
    { netns: host },
  );
  const line = `${GATEWAY.ip} ${NAME} # tapline:c\n`;
  t.is(await c.hosts(), `${OWN_HOSTS}${line}`);
  t.regex(await c.exec('getent', 'hosts', NAME), /^172\.30\.0\.1 +host\.tapline\.internal/);
  await serve(host);
  t.is((await c.exec(PYTHON, '-c', CLIENT, NAME, PORT)).trim(), '172.30.0.2');

  await tapline.ok('connect', 'red', '--pid', d.pid, '--name', 'd');
  t.is(await d.hosts(), OWN_HOSTS, 'its network has no host');
  await tapline.ok('connect', 'blue', '--pid', d.pid, '--name', 'e', '--interface', 'eth1');
  t.regex(await d.hosts(), /# tapline:e\n$/);
  await tapline.ok('disconnect', 'e');
  t.is(await d.hosts(), OWN_HOSTS);

  await tapline.ok('disconnect', 'c');
  t.is(await c.hosts(), OWN_HOSTS);
  await tapline.ok('connect', 'blue', '--pid', c.pid, '--name', 'c');
  t.is(await c.hosts(), `${OWN_HOSTS}${line}`);
  await tapline.stop();
  t.is(await c.hosts(), OWN_HOSTS);
});

test.serial(`a command of tapline run knows the host as ${NAME}; the host's own file stays as it is`, async (t) => {
  const { host } = await createOutdoors(t);
  const tapline = await startTapline(
    t,
    { version: 1, networks: { blue: { subnets: [SUBNETS.v4], host: true } } },
    { netns: host },
  );
  const before = readFileSync('/etc/hosts', 'utf8');
  const script = `getent hosts ${NAME} && ping -q -c 1 -W 5 ${NAME}`;
  const out = await tapline.ok('run', '--network', 'blue', '--', 'sh', '-c', script);
  t.regex(out, /^172\.30\.0\.1 +host\.tapline\.internal/);
  t.regex(out, /1 received/);
  t.is(readFileSync('/etc/hosts', 'utf8'), before);
});

test.serial(`docker: ${NAME} is known in a container, and gone with its endpoint`, async (t) => {
  const outdoors = await createOutdoors(t);
  const { host } = outdoors;
  const docker = await startDocker(t);
  await docker.create('c1');
  const before = await docker.exec('c1', 'cat', '/etc/hosts');
  const networks = { blue: { subnets: [SUBNETS.v4], host: true } };
  const tapline = await startTapline(t, { version: 1, networks }, { netns: host, env: docker.env });
  await tapline.ok('connect', 'blue', 'c1');
  t.true(
    (await docker.exec('c1', 'cat', '/etc/hosts')).endsWith(`\n${GATEWAY.ip} ${NAME} # tapline:c1`),
    await docker.exec('c1', 'cat', '/etc/hosts'),
  );
  t.regex(await docker.exec('c1', 'ping', '-c', '2', '-W', '5', NAME), /2 packets received/);
  t.true((await pingCount(host, '172.30.0.2', ...burst(2))).received === 2);
  await tapline.ok('disconnect', 'c1');
  t.is(await docker.exec('c1', 'cat', '/etc/hosts'), before);
});
