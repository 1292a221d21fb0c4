import test from 'ava';
import { parseOptions, UsageError } from '../../bench/e2e/options.js';
import { type Figure, summarise, verdictOf } from '../../bench/e2e/runner.js';
import { newHttpConnections, parseWrk } from '../../bench/e2e/scenarios/http.js';
import { parsePing } from '../../bench/e2e/scenarios/ping.js';
import { parseIperf, tcpOneStream } from '../../bench/e2e/scenarios/tcp.js';
import { median } from '../../bench/e2e/statistics.js';
import { requireTools } from '../../bench/e2e/tools.js';

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
});

test('ratios are taken within a round, and their median is the result', (t) => {
  const figure = (value: number): Figure => ({ value, details: {}, switchCpuPercent: 50 });
  const rounds = [
    { kernel: figure(10), tapline: figure(9) },
    { tapline: figure(20), kernel: figure(10) },
    { kernel: figure(4), tapline: figure(4) },
  ];
  const result = summarise(tcpOneStream, rounds);
  t.deepEqual(result.ratios, [0.9, 2, 1]);
  t.is(result.ratio, 1);
  t.is(result.verdict, 'aim');
  t.deepEqual(result.medians, { kernel: 10, tapline: 9 });
});

test('without Tapline or without its reference there is no ratio and no verdict', (t) => {
  const kernel: Figure = { value: 10, details: {}, switchCpuPercent: null };
  const result = summarise(newHttpConnections, [{ kernel }]);
  t.deepEqual([result.ratios, result.ratio, result.verdict], [[], null, null]);
  t.deepEqual(result.switchCpuPercent, {});
});

test('command line: defaults, order of peers, mistakes', (t) => {
  const names = ['tcp-1', 'ping'];
  const defaults = parseOptions(['l2'], names);
  t.like(defaults, { rounds: 5, seconds: 3, engine: undefined, endpoints: 500, json: false });
  t.deepEqual(defaults?.peers, ['kernel', 'c-relay', 'tapline']);
  t.deepEqual(parseOptions(['l2', '--peer', 'tapline', '--peer', 'kernel'], names)?.peers, ['kernel', 'tapline']);
  t.deepEqual(parseOptions(['l2', '--guards'], names)?.peers, ['tapline-open', 'tapline-guarded']);
  t.is(parseOptions(['--help'], names), null);
  const mistakes: [string[], RegExp][] = [
    [[], /expected the suite "l2", got none/],
    [['l3'], /got "l3"/],
    [['l2', '--rounds', '0'], /--rounds: expected a whole number from 1 to 1000, got "0"/],
    [['l2', '--seconds', '1.5'], /--seconds: expected a whole number/],
    [['l2', '--engine', 'dpdk'], /--engine: expected one of uring, epoll; got "dpdk"/],
    [['l2', '--only', 'udp'], /--only: expected one of tcp-1, ping; got "udp"/],
    [
      ['l2', '--peer', 'ovs'],
      /--peer: expected one of kernel, c-relay, tapline, tapline-open, tapline-guarded; got "ovs"/,
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
});
