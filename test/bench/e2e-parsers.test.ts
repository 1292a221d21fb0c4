import test from 'ava';
import { parseStat } from '../../bench/e2e/cpu.js';
import { parseOptions, UsageError } from '../../bench/e2e/options.js';
import { streamModuleLine } from '../../bench/e2e/peers/nginx-modules.js';
import {
  askedAt,
  askedAt6,
  type Host,
  onIpv6Underlay,
  type Site,
  serversOf,
  swapped,
} from '../../bench/e2e/peers/peer.js';
import { type Figure, reaches, summarise, verdictOf } from '../../bench/e2e/runner.js';
import { leastSharePercent, parseAccepted, parseWrk } from '../../bench/e2e/scenarios/http.js';
import { parsePing } from '../../bench/e2e/scenarios/ping.js';
import { reversed, type Scenario } from '../../bench/e2e/scenarios/scenario.js';
import { parseIperf } from '../../bench/e2e/scenarios/tcp.js';
import { parseUdpPing } from '../../bench/e2e/scenarios/udp-ping.js';
import { SUITES } from '../../bench/e2e/suites/all.js';
import type { Suite } from '../../bench/e2e/suites/suite.js';
import { PEER_TOOLS, requireTools, withAdministration } from '../../bench/e2e/tools.js';
import { median } from '../../bench/statistics.js';

test('median: odd, even, unsorted, none', (t) => {
  t.is(median([9, 1, 10]), 9);
  t.is(median([4, 1, 2, 100]), 3);
  t.throws(() => median([]), { message: 'median of no values' });
});

test('iperf3: what arrived, not what was sent; its own error is passed on', (t) => {
  const end = { sum_sent: { bits_per_second: 9e9, retransmits: 7 }, sum_received: { bits_per_second: 8.5e9 } };
  t.deepEqual(parseIperf(JSON.stringify({ end })), { value: 8.5, details: { retransmits: 7 } });
  t.throws(() => parseIperf('{"error":"unable to connect to server"}'), {
    message: 'iperf3: unable to connect to server',
  });
  t.throws(() => parseIperf('{"end":{}}'), { message: /no sums/ });
});

test('wrk: rate and failed requests', (t) => {
  const report =
    '  28660 requests in 2.00s, 1.67MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\nRequests/sec:  14290.17\n';
  t.deepEqual(parseWrk(report), { value: 14290.17, details: { failed: 10 } });
  t.is(parseWrk('Requests/sec:  5.00\n').details.failed, 0);
  t.throws(() => parseWrk('unable to connect to 10.0.0.1:80\n'), { message: /unable to connect/ });
  t.throws(() => parseWrk('Requests/sec:      0.00\n'), { message: /no request was answered/ });
});

test('ping: median and mean of the lines, loss from the summary', (t) => {
  const lines = [0.02, 0.03, 0.1].map((ms, i) => `64 bytes from 10.0.0.1: icmp_seq=${i} ttl=64 time=${ms} ms`);
  const text = `${lines.join('\n')}\n\n4 packets transmitted, 3 received, 25% packet loss, time 6ms\n`;
  const { value, details } = parsePing(text);
  t.is(value, 0.03);
  t.is(details.mean?.toFixed(3), '0.050');
  t.is(details.lostPercent, 25);
  t.throws(() => parsePing('3 packets transmitted, 0 received, 100% packet loss\n'), { message: /no answer.*100%/ });
});

test('udp-ping: median and mean of the lines, loss in percent of those sent', (t) => {
  const { value, details } = parseUdpPing('time=0.0200\ntime=0.1000\ntime=0.0300\nlost 1\n');
  t.is(value, 0.03);
  t.is(details.mean?.toFixed(3), '0.050');
  t.is(details.lostPercent, 25);
  t.throws(() => parseUdpPing('lost 500\n'), { message: 'udp-ping: no answer: lost 500' });
});

test('a server is asked for at its own addresses, or where its ports are published', (t) => {
  const host = { netns: 'n', address: '10.1.0.2', address6: 'fd00:1::2' };
  t.deepEqual([askedAt(host), askedAt6(host)], ['10.1.0.2', 'fd00:1::2']);
  const behind = { ...host, published: { address: '10.3.0.1', address6: 'fd00:3::1' } };
  t.deepEqual([askedAt(behind), askedAt6(behind)], ['10.3.0.1', 'fd00:3::1']);
  t.is(askedAt6({ netns: 'n', address: '10.1.0.2' }), undefined);
});

test('processor time of the machine: what is neither idle, nor waiting, nor stolen, and guests once', (t) => {
  t.is(parseStat('cpu  1 2 4 1000 2000 8 16 4000 1 2\ncpu0 9 9 9 9 9 9 9 9 9 9\n'), 31 * 1e7);
  t.throws(() => parseStat('cpu0 1 2 3 4 5 6 7 8\n'), { message: /no line of all processors/ });
  t.throws(() => parseStat('cpu  1 2 3 4\n'), { message: /no line of all processors/ });
});

test('verdict: which side of bar and aim a ratio lies on depends on the direction', (t) => {
  const higher = { better: 'higher', bar: 0.85, aim: 1 } as const;
  t.deepEqual(
    [0.84, 0.85, 0.99, 1].map((ratio) => verdictOf(higher, ratio)),
    ['missed', 'bar', 'bar', 'aim'],
  );
  const lower = { better: 'lower', bar: 1.2, aim: 0.9 } as const;
  t.deepEqual(
    [1.21, 1.2, 0.91, 0.9].map((ratio) => verdictOf(lower, ratio)),
    ['missed', 'bar', 'bar', 'aim'],
  );
  t.is(verdictOf({ better: 'higher', bar: null, aim: null }, 0.1), null, 'shown, and held to nothing');
});

test('ratios are taken within a round, and their median is the result', (t) => {
  const figure = (value: number): Figure => ({ value, details: {}, switchCpuPercent: 50, machineCpuPercent: 150 });
  const rounds = [
    { kernel: figure(10), tapline: figure(9) },
    { tapline: figure(20), kernel: figure(10) },
    { kernel: figure(4), tapline: figure(4) },
  ];
  const result = summarise(scenarioOf(SUITES.l2, 'tcp-1'), rounds);
  t.deepEqual(result.ratios, [0.9, 2, 1]);
  t.is(result.ratio, 1);
  t.is(result.verdict, 'aim');
  t.deepEqual(result.medians, { kernel: 10, tapline: 9 });
});

test('processor time per Gbit: of the machine for every peer, of the switch where it is a process', (t) => {
  const figures = (value: number, machineCpuPercent: number) => ({ value, details: {}, machineCpuPercent });
  const rounds = [
    {
      kernel: { ...figures(10, 100), switchCpuPercent: null },
      tapline: { ...figures(5, 200), switchCpuPercent: 80 },
    },
  ];
  const { cpuPerGbit } = summarise(scenarioOf(SUITES.route, 'tcp-1'), rounds);
  t.deepEqual(cpuPerGbit, { machine: { kernel: 100, tapline: 400 }, switch: { tapline: 160 }, ratio: 4 });
  t.is(summarise(scenarioOf(SUITES.route, 'ping'), rounds).cpuPerGbit, null, 'no Gbit');
});

test('a scenario in the other direction sees client and server exchanged', async (t) => {
  const seen: string[] = [];
  const original = scenarioOf(SUITES.uplink, 'tcp-out');
  const recording: Scenario = {
    ...original,
    prepare: async (_context, site) => void seen.push(`serve in ${site.server.netns}`),
    measure: async (_context, site) => {
      seen.push(`ask from ${site.client.netns}`);
      return { value: 1, details: {} };
    },
  };
  const [client, server] = ['inside', 'outside'].map((netns) => ({ netns, address: '' }));
  const site = { peer: 'kernel', client, server, switchPid: null, engine: null } as Site;
  const other = reversed(recording, { name: 'back', title: 'back' });
  const nothing = {} as Parameters<Scenario['prepare']>[0];
  await other.prepare(nothing, site, {} as Parameters<Scenario['prepare']>[2]);
  await other.measure(nothing, site, 1);
  t.deepEqual(seen, ['serve in inside', 'ask from outside']);
  t.deepEqual([other.name, other.bar, other.reference], ['back', original.bar, original.reference]);
});

test("the issues' bars: 0.85 of the kernel for one stream, 0.6 in a tunnel, in every suite and direction", (t) => {
  const held = Object.values(SUITES).flatMap(({ name, scenarios }) =>
    scenarios
      .filter(({ reference, unit, bar }) => reference === 'kernel' && unit === 'Gbit/s' && bar !== null)
      .map(({ name: own, bar, aim }) => `${name} ${own} ${bar} ${aim}`),
  );
  t.deepEqual(held, [
    'l2 tcp-1 0.85 1',
    'route tcp-1 0.85 1',
    'route tcp6-1 0.85 1',
    'uplink tcp-out 0.85 1',
    'uplink tcp-in 0.85 1',
    'uplink tcp6-out 0.85 1',
    'uplink tcp6-in 0.85 1',
    'nat tcp-1 0.85 1',
    'publish tcp-1 0.85 1',
    'vxlan tcp-1 0.6 1',
    'vxlan mixed-out 0.6 null',
    'vxlan mixed-in 0.6 null',
  ]);
});

test('tunnels: new connections are held to the kernel; with the kernel at one end, that peer is what is compared', (t) => {
  t.like(scenarioOf(SUITES.vxlan, 'http'), { reference: 'kernel', bar: 0.9, peers: ['kernel', 'tapline'] });
  const figure = (value: number): Figure => ({ value, details: {}, switchCpuPercent: 50, machineCpuPercent: 150 });
  const rounds = [{ kernel: figure(10), tapline: figure(1), 'tapline-kernel': figure(7) }];
  for (const [name, ratio, verdict] of [
    ['mixed-out', 0.7, 'bar'],
    ['mixed-in', 0.7, 'bar'],
    ['tcp-1', 0.1, 'missed'],
  ] as const) {
    const result = summarise(scenarioOf(SUITES.vxlan, name), rounds);
    t.deepEqual([result.ratio, result.verdict], [ratio, verdict], name);
    t.is(result.cpuPerGbit?.ratio, 1 / ratio, `${name}: as much processor time for less`);
  }
});

test('over an IPv6 underlay: the same hosts at their other addresses; none is an error', (t) => {
  const hosts = ['near', 'far'].map((netns, index) => ({
    netns,
    address: `10.1.0.${index}`,
    onIpv6Underlay: { address: `10.2.0.${index}`, address6: `fd00:2::${index}` },
  }));
  const [client, server] = hosts as [Host, Host];
  const site: Site = { peer: 'kernel', client, server, switchPid: null, engine: null };
  const moved = onIpv6Underlay(site);
  t.deepEqual(moved.client, { netns: 'near', address: '10.2.0.0', address6: 'fd00:2::0' });
  t.deepEqual(moved.server, { netns: 'far', address: '10.2.0.1', address6: 'fd00:2::1' });
  t.throws(() => onIpv6Underlay(moved), { message: 'kernel has no network with an IPv6 underlay' });
});

test('address translation: four streams are held to the relay that does none, new connections to the kernel, both directions', (t) => {
  for (const suite of [SUITES.nat, SUITES.publish]) {
    t.like(scenarioOf(suite, 'tcp-4'), { reference: 'c-relay', bar: 0.9, aim: 1 });
    t.like(scenarioOf(suite, 'http'), { reference: 'kernel', bar: 1.1, aim: 1.4 });
  }
});

test('load balancing: new connections are held to the kernel, and set beside haproxy and nginx', (t) => {
  const { reference, bar, aim, beside } = scenarioOf(SUITES.lb, 'http');
  t.deepEqual([reference, bar, aim], ['kernel', 1.1, 1.5]);
  t.deepEqual(beside, [
    { peer: 'haproxy', aim: 2 },
    { peer: 'haproxy-2', aim: 2 },
    { peer: 'nginx', aim: 2 },
  ]);
});

test('beside further peers: a ratio for each that took part, of its own rounds', (t) => {
  const figure = (value: number): Figure => ({ value, details: {}, switchCpuPercent: 50, machineCpuPercent: 150 });
  const rounds = [
    { kernel: figure(10), haproxy: figure(5), tapline: figure(20) },
    { tapline: figure(9), haproxy: figure(3), kernel: figure(10) },
    { kernel: figure(10), haproxy: figure(10), tapline: figure(10) },
  ];
  const { beside } = summarise(scenarioOf(SUITES.lb, 'http'), rounds);
  t.deepEqual(beside, [{ peer: 'haproxy', aim: 2, ratios: [4, 3, 1], ratio: 3 }]);
  t.deepEqual(summarise(scenarioOf(SUITES.publish, 'http'), rounds).beside, [], 'it has none');
  t.deepEqual(
    [1.99, 2].map((ratio) => reaches({ better: 'higher' }, 2, ratio)),
    [false, true],
  );
});

test('every server behind a service answers; the other way round, the client alone', (t) => {
  const [client, server, further] = ['c', 's0', 's1'].map((netns) => ({ netns, address: '' })) as [Host, Host, Host];
  const site: Site = { peer: 'kernel', client, server, furtherServers: [further], switchPid: null, engine: null };
  t.deepEqual(serversOf(site), [server, further]);
  t.deepEqual(serversOf(swapped(site)), [client]);
});

test('shares of servers: what each has accepted, by the kernel, and the least of them', (t) => {
  const snmp = 'Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens PassiveOpens EstabResets\nTcp: 200 3 41 5\n';
  t.is(parseAccepted(snmp), 41);
  t.throws(() => parseAccepted('Tcp: RtoMin\nTcp: 200\n'), { message: /no PassiveOpens/ });
  t.throws(() => parseAccepted(''), { message: /no PassiveOpens/ });
  t.is(leastSharePercent([75, 25]), 25);
  t.is(leastSharePercent([10, 0]), 0);
  t.throws(() => leastSharePercent([0, 0]), { message: /no server/ });
});

test("nginx's stream module: built in, a file, or not there", (t) => {
  const dynamic = 'nginx version: nginx/1.22\nconfigure arguments: --modules-path=/m --with-stream=dynamic';
  t.is(
    streamModuleLine(dynamic, (path) => path === '/m/ngx_stream_module.so'),
    'load_module /m/ngx_stream_module.so;',
  );
  t.is(
    streamModuleLine('configure arguments: --with-stream --with-stream_ssl_module', () => false),
    '',
  );
  t.throws(() => streamModuleLine(dynamic, () => false), {
    message: 'nginx has no module stream (/m/ngx_stream_module.so); on Debian: apt-get install libnginx-mod-stream',
  });
});

test('without Tapline or without its reference there is no ratio and no verdict', (t) => {
  const kernel: Figure = { value: 10, details: {}, switchCpuPercent: null, machineCpuPercent: 100 };
  const result = summarise(scenarioOf(SUITES.l2, 'http'), [{ kernel }]);
  t.deepEqual([result.ratios, result.ratio, result.verdict], [[], null, null]);
  t.deepEqual(result.switchCpuPercent, {});
});

function scenarioOf(suite: Suite, name: string): Scenario {
  return suite.scenarios.find((scenario) => scenario.name === name) as Scenario;
}

test('command line: defaults, order of peers, several suites, mistakes', (t) => {
  const names = {
    l2: ['tcp-1', 'ping'],
    route: ['tcp-1', 'tcp6-1'],
    uplink: ['tcp-out'],
    nat: [],
    publish: [],
    lb: [],
    vxlan: [],
  };
  const defaults = parseOptions(['l2'], names);
  t.like(defaults, { rounds: 5, seconds: 3, engine: undefined, endpoints: 500, json: false });
  t.deepEqual(defaults?.peers, ['kernel', 'c-relay', 'haproxy', 'haproxy-2', 'nginx', 'tapline', 'tapline-kernel']);
  t.deepEqual(parseOptions(['l2', '--peer', 'tapline', '--peer', 'kernel'], names)?.peers, ['kernel', 'tapline']);
  t.deepEqual(parseOptions(['l2', '--guards'], names)?.peers, ['tapline-open', 'tapline-guarded']);
  t.is(parseOptions(['--help'], names), null);
  const both = parseOptions(['uplink', 'route', '--rounds', '2', 'uplink', '--only', 'tcp6-1'], names);
  t.like(both, { suites: ['uplink', 'route'], rounds: 2, only: ['tcp6-1'] });
  const mistakes: [string[], RegExp][] = [
    [[], /expected a suite or several, of l2, route, uplink, nat, publish, lb, vxlan; got none/],
    [['l3'], /suite: expected one of l2, route, uplink, nat, publish, lb, vxlan; got "l3"/],
    [['route', '--guards'], /--guards: expected the suite l2/],
    [['route', '--endpoints', '5'], /--endpoints: expected the suite l2/],
    [['route', 'uplink', '--only', 'ping'], /--only: expected one of tcp-1, tcp6-1, tcp-out; got "ping"/],
    [['l2', '--rounds', '0'], /--rounds: expected a whole number from 1 to 1000, got "0"/],
    [['l2', '--seconds', '1.5'], /--seconds: expected a whole number/],
    [['l2', '--engine', 'dpdk'], /--engine: expected one of uring, epoll; got "dpdk"/],
    [['l2', '--only', 'udp'], /--only: expected one of tcp-1, ping; got "udp"/],
    [
      ['l2', '--peer', 'ovs'],
      /--peer: expected one of kernel, c-relay, haproxy, haproxy-2, nginx, tapline, tapline-kernel, tapline-open, tapline-guarded; got "ovs"/,
    ],
    [['l2', '--fast'], /--fast/],
  ];
  for (const [argv, message] of mistakes) {
    t.throws(() => parseOptions(argv, names), { instanceOf: UsageError, message }, argv.join(' '));
  }
});

test('missing tools are named with their Debian packages', (t) => {
  t.throws(() => requireTools(['iperf3', 'ping'], '/nonexistent'), {
    message: 'missing: iperf3, ping; on Debian: apt-get install iperf3 iputils-ping',
  });
  t.notThrows(() => requireTools(['sh'], '/usr/bin:/bin'));
  t.deepEqual(Object.keys(PEER_TOOLS), ['haproxy', 'haproxy-2', 'nginx']);
  t.throws(() => requireTools(['nginx'], '/nonexistent'), {
    message: /apt-get install nginx-light libnginx-mod-stream$/,
  });
  t.is(withAdministration('/usr/bin'), '/usr/bin:/usr/local/sbin:/usr/sbin:/sbin');
  t.is(withAdministration(undefined), '/usr/local/sbin:/usr/sbin:/sbin');
});
