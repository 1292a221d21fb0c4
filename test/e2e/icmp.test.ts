/** What the router says for itself: echo replies of every size, the hop that traceroute sees, and errors within bounds. */

import test from 'ava';
import { iperf, iperfServer } from './support/iperf.js';
import type { Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { describe } from './support/process.js';
import { PYTHON } from './support/scapy.js';
import { accounted, BLUE, createRoutedSite, GREEN, OUTSIDE, UPLINK } from './support/site.js';
import { ENGINES } from './support/tapline.js';
import { eventually } from './support/wait.js';

/** Around the header lengths, the MTU, and the ends of 16 bits. ping compares what comes back with what it sent. */
const SIZES4 = [0, 1, 7, 8, 56, 1471, 1472, 1473, 1480, 2952, 2953, 9000, 32_768, 65_506, 65_507];
/** A datagram that is put together is at most 65,535 bytes long, its IPv6 header included. */
const SIZES6 = [0, 1, 7, 8, 56, 1451, 1452, 1453, 2896, 2897, 9000, 32_768, 65_486, 65_487];

/** Each request answered, from the address that was asked, with the data that was sent. */
async function echoes(from: Namespace, address: string, size: number): Promise<string> {
  const argv = ['ping', '-n', ...burst(2), '-s', String(size), address];
  const { code, stdout, stderr } = await from.run(argv);
  const isGood = code === 0 && !/wrong data|DIFFERENT|DUP|truncated/.test(stdout) && stdout.includes(' 0% packet loss');
  return isGood ? '' : `${argv.join(' ')}: ${stdout}${stderr}`;
}

for (const engine of ENGINES) {
  test.serial(
    `${engine}: RFC 1812 4.3.3.6, RFC 4443 4.2: gateways answer pings of every size, with their data`,
    async (t) => {
      const { tapline, a, c, outside } = await createRoutedSite(t, { engine });
      for (const size of SIZES4) t.is(await echoes(a, BLUE.ip, size), '');
      for (const size of SIZES6) t.is(await echoes(a, BLUE.ip6, size), '');
      // Also at the addresses that are not on the sender's own link.
      for (const size of [56, 65_487]) {
        for (const address of [GREEN.ip, GREEN.ip6, UPLINK.ip, UPLINK.ip6]) t.is(await echoes(a, address, size), '');
        for (const address of [UPLINK.ip, UPLINK.ip6]) t.is(await echoes(outside, address, size), '');
        for (const address of [OUTSIDE.ip, OUTSIDE.ip6]) t.is(await echoes(c, address, size), '');
        for (const address of [a.ip, a.ip6]) t.is(await echoes(c, address, size), '');
      }
      const { reassembled, fragmented } = (await tapline.status()).router;
      // Every request above the MTU twice: it was put together, and its reply was cut.
      t.true(reassembled >= 2 * 8 * 2, `${reassembled} reassembled`);
      t.true(fragmented >= 2 * 8 * 2, `${fragmented} fragmented`);
      await accounted(tapline);
    },
  );
}

test.serial(
  'RFC 4443 4.2: a ping to all nodes and to all routers is answered from an address of the gateway',
  async (t) => {
    const { tapline, a } = await createRoutedSite(t);
    await eventually(
      'duplicate address detection to end',
      async () => (await a.exec('ip', '-6', 'address', 'show', 'dev', 'eth0', 'tentative')) === '',
    );
    for (const group of ['ff02::1', 'ff02::2']) {
      const { stdout } = await a.run(['ping', '-6', '-n', '-c', '2', '-W', '3', '-I', a.ip6, `${group}%eth0`]);
      t.true(stdout.includes(`from ${BLUE.ip6}: `), stdout);
      const { stdout: fromLink } = await a.run(['ping', '-6', '-n', '-c', '2', '-W', '3', `${group}%eth0`]);
      t.true(fromLink.includes('from fe80::42:acff:fe1e:1%eth0: '), fromLink);
    }
    await accounted(tapline);
  },
);

test.serial('RFC 1812 5.3.1, RFC 8200 3: TTL and hop limit of 1 reach the gateway, and no further', async (t) => {
  const { tapline, a } = await createRoutedSite(t);
  for (const address of [BLUE.ip, BLUE.ip6, GREEN.ip, UPLINK.ip6]) {
    await a.exec('ping', '-n', '-t', '1', '-c', '2', '-i', '0.1', '-W', '5', address);
  }
  for (const [address, gateway, text] of [
    [OUTSIDE.ip, BLUE.ip, 'Time to live exceeded'],
    [OUTSIDE.ip6, BLUE.ip6, 'Time exceeded: Hop limit'],
  ] as const) {
    const { code, stdout } = await a.run(['ping', '-n', '-t', '1', '-c', '2', '-i', '0.1', '-W', '3', address]);
    t.is(code, 1);
    t.is(
      stdout.split('\n').filter((line) => line.startsWith(`From ${gateway}`) && line.includes(text)).length,
      2,
      stdout,
    );
    await a.exec('ping', '-n', '-t', '2', '-c', '2', '-i', '0.1', '-W', '5', address);
  }
  t.is((await tapline.port('a')).rxDrops.ttl_exceeded, 4);
  await accounted(tapline);
});

/** `address *hop` of each line of traceroute with an answer to each probe. */
function hops(output: string): string[] {
  return output
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => line.trim().split(/\s+/)[1] ?? '');
}

test.serial('traceroute shows the gateway as the first hop, by UDP, ICMP and TCP, in both families', async (t) => {
  const { tapline, a, c, outside } = await createRoutedSite(t);
  for (const mode of [[], ['-I'], ['-T', '-p', '9']]) {
    for (const [from, to, expected] of [
      [a, OUTSIDE.ip, [BLUE.ip, OUTSIDE.ip]],
      [a, OUTSIDE.ip6, [BLUE.ip6, OUTSIDE.ip6]],
      [a, c.ip, [BLUE.ip, c.ip]],
      [a, c.ip6, [BLUE.ip6, c.ip6]],
      [outside, c.ip, [UPLINK.ip, c.ip]],
      [outside, c.ip6, [UPLINK.ip6, c.ip6]],
      [a, GREEN.ip6, [GREEN.ip6]],
    ] as const) {
      const output = await from.exec('traceroute', '-n', '-q', '3', '-w', '5', '-m', '5', ...mode, to);
      t.deepEqual(hops(output), [...expected], `${mode.join(' ')} ${output}`);
      t.false(output.includes('*'), output);
    }
  }
  await accounted(tapline);
});

/** Sends frames that scapy has built, at a rate, for some seconds; prints how many. */
const FLOOD = `
import socket, sys, time
from scapy.all import *
device, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
frames = [raw(eval(expression)) for expression in sys.argv[4:]]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((device, 0))
start = time.monotonic()
sent = 0
while True:
    due = min(int((time.monotonic() - start) * rate), int(seconds * rate))
    while sent < due:
        s.send(frames[sent % len(frames)])
        sent += 1
    if sent >= int(seconds * rate):
        break
    time.sleep(0.001)
print(sent, time.monotonic() - start)
`;

test.serial(
  'RFC 1812 4.3.2.8, RFC 4443 2.4(f): 10,000 packets a second that expire get bounded errors, and hurt nobody',
  async (t) => {
    const { tapline, a, b, c, outside } = await createRoutedSite(t);
    await iperfServer(outside);
    // A full queue of the TAP would lose frames before Tapline sees them.
    await a.exec('ip', 'link', 'set', 'eth0', 'txqueuelen', '30000');
    const before = (await tapline.status()).router;
    const ether = `Ether(src='${a.mac}', dst='${BLUE.mac}')`;
    const ping = b.start('ping', '-n', '-i', '0.05', '-W', '10', OUTSIDE.ip);
    await ping.said(/icmp_seq=3 /);
    const flood = a.start(
      PYTHON,
      '-c',
      FLOOD,
      'eth0',
      '10000',
      '4',
      `${ether}/IP(src='${a.ip}', dst='${OUTSIDE.ip}', ttl=1)/UDP(dport=9)/Raw(b'x' * 20)`,
      `${ether}/IPv6(src='${a.ip6}', dst='${OUTSIDE.ip6}', hlim=1)/UDP(dport=9)/Raw(b'x' * 20)`,
    );
    const { end } = await iperf(c, OUTSIDE.ip, '--time', '4');
    // Another source has its own share of errors meanwhile.
    t.deepEqual(hops(await b.exec('traceroute', '-n', '-q', '3', '-w', '5', OUTSIDE.ip)), [BLUE.ip, OUTSIDE.ip]);
    const result = await flood.ended;
    t.is(result.code, 0, describe(result));
    const [sent, seconds] = result.stdout.trim().split(' ').map(Number) as [number, number];
    const answers = await ping.stop('SIGINT');
    t.regex(answers.stdout, / 0% packet loss| 0\.\d+% packet loss/);
    t.true((end.sum_received?.bytes ?? 0) > 20_000_000, `${end.sum_received?.bytes} bytes`);

    await accounted(tapline);
    t.true(((await tapline.port('a')).rxDrops.ttl_exceeded ?? 0) >= sent);
    const after = (await tapline.status()).router;
    const errors = after.icmpErrors - before.icmpErrors;
    // Of two sources, one a family: 50 at once, and 100 a second, on a clock that both may be a little late; and the traceroute's.
    const bound = 2 * (50 + 100 * (seconds + 1)) + 10;
    t.true(errors >= 2 * 50 && errors <= bound, `${errors} errors in ${seconds} s, at most ${bound} expected`);
    t.true(after.icmpSuppressed - before.icmpSuppressed >= sent - bound);
  },
);
