/** Address translation with the host's own addresses: containers and the host's processes behind one address, and a stack that knows of neither. */

import { createHash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { nftProgram } from '../../io/nft.js';
import { sendScapy, type Tcpdump, tcpdump, tshark } from './support/frames.js';
import { balance, createOutdoors, HOST, OUTSIDE, type Outdoors, SUBNETS, snapshot } from './support/host.js';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import { createHosts, type Host } from './support/lab.js';
import type { Namespace } from './support/namespace.js';
import { watchPrivate } from './support/nat.js';
import { burst } from './support/ping.js';
import { ask, fetchFrom, serve } from './support/published.js';
import { PYTHON } from './support/scapy.js';
import { newDrops } from './support/site.js';
import { ENGINES, type Engine, startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

const GUARD = 'tapline_up0';
/** Ports of translated connections where the host keeps the others. */
const FIRST_PORT = 49_152;
/** Ports that the administrator has reserved, one of them among ours. */
const OTHERS_PORTS = '2000,50000';

interface Scene extends Outdoors {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  readonly before: string;
  /** What the wire has carried that must not be: private addresses. */
  readonly hidden: Tcpdump;
}

/** Others' rules: tables as nft makes them, and those of iptables. */
async function addOthersRules({ host, nft }: Outdoors): Promise<void> {
  await nft('add', 'table', 'inet', 'others');
  await nft('add', 'chain', 'inet', 'others', 'input', '{ type filter hook input priority 0; policy accept; }');
  await nft('add', 'rule', 'inet', 'others', 'input', 'tcp', 'dport', '22', 'counter', 'accept');
  await nft('add', 'table', 'netdev', 'others');
  await nft(
    'add',
    'chain',
    'netdev',
    'others',
    'in',
    '{ type filter hook ingress device up0 priority 0; policy accept; }',
  );
  await host.exec('iptables', '-A', 'FORWARD', '-s', '192.0.2.0/24', '-j', 'DROP');
}

async function createScene(
  t: ExecutionContext,
  options: { engine?: Engine; publish?: readonly string[] } = {},
): Promise<Scene> {
  const outdoors = await createOutdoors(t);
  await addOthersRules(outdoors);
  await outdoors.host.exec('sysctl', '-qw', `net.ipv4.ip_local_reserved_ports=${OTHERS_PORTS}`);
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const before = await snapshot(outdoors);
  const hidden = await watchPrivate(t, outdoors.outside);
  const endpoint = ({ path, ip, ip6 }: Host): object => ({ network: 'blue', netns: path, addresses: [ip, ip6] });
  const config = {
    version: 1,
    uplink: { device: 'up0', mode: 'shared' },
    networks: { blue: { subnets: [SUBNETS.v4, SUBNETS.v6], nat66: true } },
    endpoints: { a: endpoint(a), b: { ...endpoint(b), publish: options.publish ?? [] } },
  };
  const tapline = await startTapline(t, config, { netns: outdoors.host, engine: options.engine ?? 'auto' });
  return { ...outdoors, tapline, a, b, before, hidden };
}

/** As nft lists it; empty where there is none. */
const guard = async ({ host }: Outdoors): Promise<string> =>
  (await host.run([nftProgram(), '-s', 'list', 'table', 'netdev', GUARD])).stdout;

const reserved = async (host: Namespace): Promise<string> =>
  (await host.exec('sysctl', '-n', 'net.ipv4.ip_local_reserved_ports')).trim();

/** SHA-256 of all rules but those of the guard, at the ingress of the device. */
async function hashOfOthersRules({ nft }: Outdoors): Promise<string> {
  const rules = await nft('-s', 'list', 'ruleset');
  const others = rules.replace(new RegExp(`^table netdev ${GUARD}(_held)? \\{.*\n[^]*?^\\}\n`, 'gm'), '');
  return createHash('sha256').update(others).digest('hex');
}

/**
 * What the host's stack says of connections that it does not know, at ports that are Tapline's. What a container says has passed a router,
 * so that it has one hop less to go.
 */
const COMPLAINTS = [
  `((src portrange ${FIRST_PORT}-65535 or src port 8080) and ip[8] == 64 and tcp[13] & 4 != 0)`,
  `((src portrange ${FIRST_PORT}-65535 or src port 8080) and ip6[7] == 64 and ip6[6] == 6 and ip6[53] & 4 != 0)`,
  'icmp[0] == 3',
  '(ip6[6] == 58 and ip6[40] == 1)',
].join(' or ');

const watchHost = (t: ExecutionContext, { outside }: Outdoors): Promise<Tcpdump> =>
  tcpdump(t, outside, { device: 'out0', direction: 'in', filter: COMPLAINTS });

const syn = (mac: string, address: string, port: number): string => {
  const isIpv6 = address.includes(':');
  const ip = isIpv6 ? `IPv6(src='${OUTSIDE.ip6}',dst='${address}')` : `IP(src='${OUTSIDE.ip}',dst='${address}')`;
  return `Ether(dst='${mac}')/${ip}/TCP(sport=5000,dport=${port},flags='S')`;
};

async function macOf(host: Namespace): Promise<string> {
  const [link] = JSON.parse(await host.exec('ip', '-json', 'link', 'show', 'up0')) as [{ address: string }];
  return link.address;
}

test.serial('control: a stack that is not guarded does complain of what it does not know', async (t) => {
  const outdoors = await createOutdoors(t);
  const { host, outside } = outdoors;
  const complaints = await watchHost(t, outdoors);
  const mac = await macOf(host);
  await sendScapy(outside, [syn(mac, HOST.ip, 50_001), syn(mac, HOST.ip6, 50_001)], 'out0');
  const udp = `Ether(dst='${mac}')/IP(src='${OUTSIDE.ip}',dst='${HOST.ip}')/UDP(sport=5000,dport=50001)`;
  await sendScapy(outside, [udp], 'out0');
  await eventually('three complaints', async () => (await tshark(complaints.path, ['frame.number'])).length === 3);
  t.is((await complaints.frames()).length, 3);
});

/** Connections of the host's own, all at once. Prints their ports. */
const OWN_PORTS = `
import socket, sys
sockets = [socket.create_connection((sys.argv[1], 80), 5) for _ in range(300)]
print(*[s.getsockname()[1] for s in sockets])
`;

for (const engine of ENGINES) {
  test.serial(`${engine}: containers leave with the host's address, beside the host's own connections`, async (t) => {
    const scene = await createScene(t, { engine });
    const { tapline, a, b, host, outside, before, hidden } = scene;
    const complaints = await watchHost(t, scene);
    t.is(await reserved(host), `2000,${FIRST_PORT}-65535`);
    await serve(t, outside, 'outside', [80]);
    for (const [address, peer, own] of [
      [OUTSIDE.ip, HOST.ip, 40_002],
      [OUTSIDE.ip6, HOST.ip6, 40_006],
    ] as const) {
      // One port in all of them; outside it is the host's own.
      const askers = [a, b, host];
      const answers = [
        ...(await Promise.all(askers.map((from) => ask(t, from, address, 80, own)))),
        ...(await Promise.all(askers.map((from) => fetchFrom(from, address, 80, '--local-port', `${own + 2}`)))),
      ];
      for (const [i, answer] of answers.entries()) t.like(answer, { name: 'outside', peer }, `${address} ${i}`);
      t.deepEqual([answers[2]?.peerPort, answers[5]?.peerPort], [own, own + 2], 'the host has what it asked for');
      for (const i of [0, 1, 3, 4]) t.true((answers[i]?.peerPort ?? 0) >= FIRST_PORT, `${address} ${i}`);
      t.is(new Set(answers.map((answer) => answer?.peerPort)).size, 6);
      const pings = [a, b, host].map((from) => from.run(['ping', '-n', '-e', '77', ...burst(5), address]));
      for (const { stdout } of await Promise.all(pings)) t.regex(stdout, /5 packets transmitted, 5 received, 0%/);
    }
    const ports = (await host.exec(PYTHON, '-c', OWN_PORTS, OUTSIDE.ip)).trim().split(' ').map(Number);
    t.is(ports.length, 300);
    t.true(
      ports.every((port) => port < FIRST_PORT),
      'the host chooses none of ours',
    );

    for (const port of [5201, 5202, 5203]) await iperfServer(outside, port);
    for (const [address, ...options] of [
      [OUTSIDE.ip],
      [OUTSIDE.ip, '--reverse'],
      [OUTSIDE.ip6],
      [OUTSIDE.ip6, '--reverse'],
    ] as [string, ...string[]][]) {
      const runs = [a, b, host].map((from, i) => iperfWhole(from, address, 32, '-p', `520${i + 1}`, ...options));
      await Promise.all(runs);
    }
    t.deepEqual(await complaints.frames(), [], 'the stack of the host was asked nothing that is not its own');
    t.deepEqual(await hidden.frames(), [], 'private addresses on the wire');
    const { came, went } = await balance(tapline);
    t.is(came, went);
    await tapline.stop();
    t.is(await reserved(host), OTHERS_PORTS);
    t.is(await snapshot(scene), before);
  });
}

test.serial('the guard at the ingress of the device is all that there is in nftables', async (t) => {
  const scene = await createScene(t, { publish: ['8080:80'] });
  const { tapline, a, b, host, outside, nft } = scene;
  const hash = async (): Promise<string> => hashOfOthersRules(scene);
  const others = await hash();
  t.not(await guard(scene), '');
  t.not(
    createHash('sha256')
      .update(await nft('-s', 'list', 'ruleset'))
      .digest('hex'),
    others,
    'the guard is left out',
  );
  await serve(t, b, 'b', [80]);
  await serve(t, outside, 'outside', [80]);
  t.like(await fetchFrom(outside, HOST.ip, 8080), { name: 'b' });
  t.like(await fetchFrom(a, OUTSIDE.ip, 80), { name: 'outside' });
  t.is(await hash(), others);
  await tapline.ok('publish', 'b', '9090:80', '127.0.0.1:9091:80', '9000-9080:9000-9080/udp');
  t.like(await fetchFrom(host, '127.0.0.1', 9091), { name: 'b' });
  t.is(await hash(), others);
  await nft('delete', 'table', 'netdev', GUARD);
  await eventually('the guard to be back', async () => (await guard(scene)) !== '');
  t.is(await hash(), others);
  await tapline.stop();
  t.is(await hash(), others);
  t.notRegex(await nft('list', 'ruleset'), /tapline/);
});

test.serial('rules that are flushed in the middle of iperf3 cost no connection', async (t) => {
  const scene = await createScene(t, { publish: ['8080:5201'] });
  const { tapline, a, b, host, outside, nft, hidden } = scene;
  const complaints = await watchHost(t, scene);
  const whole = await guard(scene);
  for (const port of [5201, 5202, 5203, 5204]) await iperfServer(outside, port);
  await iperfServer(b);
  const time = ['--time', '9'];
  const runs = [
    ['upload', iperf(a, OUTSIDE.ip, ...time, '-p', '5201')],
    ['download', iperf(a, OUTSIDE.ip, ...time, '-p', '5202', '--reverse')],
    ['download over IPv6', iperf(a, OUTSIDE.ip6, ...time, '-p', '5203', '--reverse')],
    ['published', iperf(outside, HOST.ip, ...time, '-p', '8080')],
    ['the host’s own', iperf(host, OUTSIDE.ip, ...time, '-p', '5204', '--reverse')],
  ] as const;
  await sleep(1000);
  for (const [what, ...words] of [
    ['nft flush ruleset', nftProgram(), 'flush', 'ruleset'],
    ['iptables -F', 'iptables', '-F'],
    ['the table deleted', nftProgram(), 'delete', 'table', 'netdev', GUARD],
    ['nft flush ruleset', nftProgram(), 'flush', 'ruleset'],
    ['nft flush ruleset', nftProgram(), 'flush', 'ruleset'],
  ] as const) {
    await host.exec(...words);
    const start = performance.now();
    await eventually(`the guard to be back after ${what}`, async () => (await guard(scene)) === whole, 5000);
    const seconds = (performance.now() - start) / 1000;
    // Five iperf3 take what processors there are: how soon it is with less to do, shared.test.ts says.
    t.log(`${what}: guarded again after ${seconds.toFixed(3)} s`);
    await sleep(500);
  }
  for (const [what, run] of runs) {
    const { end, intervals } = await run;
    t.true((end.sum_received?.bytes ?? 0) > 1_000_000, what);
    t.true(
      intervals.every(({ sum }) => sum.bytes > 0),
      `${what}: ${intervals.map(({ sum }) => sum.bytes)}`,
    );
  }
  t.deepEqual(await complaints.frames(), [], 'the stack of the host reset none of them');
  t.deepEqual(await hidden.frames(), []);
  t.is((await nft('list', 'ruleset')).split('hook ingress').length, 3, 'a guard of two tables');
  const { came, went } = await balance(tapline);
  t.is(came, went);
});

/** A listener on the loopback is nobody's outside, also where the administrator lets the loopback's addresses be routed. */
test.serial('neighbors on the wire reach neither containers nor what is published on the loopback', async (t) => {
  const scene = await createScene(t, { publish: ['127.0.0.1:8081:80', '[::1]:8081:80', '9090:80'] });
  const { tapline, a, b, host, outside } = scene;
  for (const from of [a, b]) await serve(t, from, from.endpoint, [80]);
  const mac = await macOf(host);
  const wire = await tcpdump(t, outside, {
    device: 'out0',
    direction: 'in',
    filter: 'tcp or udp or icmp[0] == 0 or icmp[0] == 3 or (ip6[6] == 58 and (ip6[40] == 129 or ip6[40] == 1))',
  });
  for (const routed of ['0', '1']) {
    await host.exec('sysctl', '-qw', `net.ipv4.conf.all.route_localnet=${routed}`);
    const { rxDrops: before } = await tapline.port('uplink');
    const udp = (address: string): string => syn(mac, address, 80).replace(/TCP\(.*\)/, 'UDP(sport=5000,dport=80)');
    const ping = (address: string): string =>
      syn(mac, address, 80).replace(/TCP\(.*\)/, address.includes(':') ? 'ICMPv6EchoRequest()' : 'ICMP()');
    const toContainers = [a.ip, a.ip6, b.ip, b.ip6].flatMap((address) => [
      syn(mac, address, 80),
      udp(address),
      ping(address),
    ]);
    const toLoopback = ['127.0.0.1', '::1'].flatMap((address) => [syn(mac, address, 8081), syn(mac, address, 9090)]);
    await sendScapy(outside, [...toContainers, ...toLoopback], 'out0');
    await eventually('all to be dropped', async () => {
      const { not_published = 0, martian_destination = 0 } = await newDrops(tapline, 'uplink', before);
      return not_published === toContainers.length && martian_destination === toLoopback.length;
    });
    // Who does as the host's processes do is answered.
    for (const address of ['127.0.0.1', '::1']) t.like(await fetchFrom(host, address, 8081), { name: 'b', port: 80 });
  }
  await sleep(500);
  t.deepEqual(await wire.frames(), [], 'no reply');
});
