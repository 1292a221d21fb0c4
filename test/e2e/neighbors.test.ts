/** Neighbors of the router on real wires: they change their MAC, go, claim its addresses, and are asked for by the thousand. */

import test from 'ava';
import type { EventView } from '../../control/events.js';
import { sendScapy, tcpdump } from './support/frames.js';
import { iperf, iperfServer } from './support/iperf.js';

import { describe } from './support/process.js';
import { PYTHON } from './support/scapy.js';
import { accounted, BLUE, createRoutedSite, GREEN, neighbors, OUTSIDE, UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';
import { transfer } from './support/transfer.js';
import { eventually } from './support/wait.js';

async function macOf(tapline: Tapline, address: string): Promise<string | null | undefined> {
  return (await neighbors(tapline)).find((neighbor) => neighbor.address === address)?.mac;
}

test.serial(
  'RFC 4861 7.3.3, RFC 5227 3: a neighbor gets another MAC in the middle of a transfer, which goes on',
  async (t) => {
    t.timeout(240_000);
    const { tapline, a, outside } = await createRoutedSite(t);
    let last = 0x80;
    let port = 5600;
    for (const [from, to, address, neighbor, announced] of [
      [a, outside, OUTSIDE.ip, OUTSIDE.ip, true],
      [outside, a, a.ip, OUTSIDE.ip, false],
      [a, outside, OUTSIDE.ip6, OUTSIDE.ip6, true],
      [outside, a, a.ip6, OUTSIDE.ip6, false],
    ] as const) {
      const mac = `${OUTSIDE.mac.slice(0, -2)}${(last++).toString(16)}`;
      // The kernel announces the new MAC of its IPv6 addresses with this, and leaves IPv4 to arping.
      await outside.exec('sysctl', '-qw', `net.ipv6.conf.out0.ndisc_notify=${announced ? 1 : 0}`);
      const replace = async (): Promise<void> => {
        await outside.exec('ip', 'link', 'set', 'out0', 'address', mac);
        if (announced) await outside.exec('arping', '-q', '-U', '-c', '2', '-I', 'out0', OUTSIDE.ip);
      };
      t.is(
        await transfer(t, { from, to, address, port: port++, stage: 64, change: [replace, async () => {}] }),
        128 << 20,
      );
      t.is(await macOf(tapline, neighbor), mac);
    }
    await accounted(tapline);
  },
);

test.serial(
  'RFC 1812 5.2.7.1, RFC 4443 3.1: who does not answer is asked three times, a second apart, and then unreachable',
  async (t) => {
    const { tapline, a, c } = await createRoutedSite(t);
    const asked = await tcpdump(t, c, { direction: 'in', filter: 'arp or icmp6' });
    for (const [address, gateway, text] of [
      ['172.31.0.77', BLUE.ip, 'Destination Host Unreachable'],
      ['fd00:31::77', BLUE.ip6, 'Destination unreachable: Address unreachable'],
    ] as const) {
      const begin = Date.now();
      // Both requests wait for the same answer, and both are told.
      const { stdout, code } = await a.run(['ping', '-n', '-c', '2', '-i', '0.2', '-W', '20', address]);
      t.is(code, 1);
      const told = stdout.split('\n').filter((line) => line.startsWith(`From ${gateway} `) && line.includes(text));
      t.is(told.length, 2, stdout);
      const seconds = (Date.now() - begin) / 1000;
      t.true(seconds > 2 && seconds < 18, `${seconds} s`);
    }
    const frames = await asked.frames();
    const arp = frames.filter(
      (frame) => frame.readUInt16BE(12) === 0x0806 && frame.toString('hex', 38, 42) === 'ac1f004d',
    );
    const solicitations = frames.filter(
      (frame) =>
        frame.readUInt16BE(12) === 0x86dd && frame.toString('hex', 62, 78) === 'fd000031000000000000000000000077',
    );
    t.is(arp.length, 3);
    t.is(solicitations.length, 3);
    t.is((await tapline.port('a')).rxDrops.neighbor_failed, 4);
    await accounted(tapline);
  },
);

test.serial('an endpoint that is disconnected is soon unreachable, and reached again when it is back', async (t) => {
  const { tapline, a, c } = await createRoutedSite(t);
  for (const address of [c.ip, c.ip6]) await a.exec('ping', '-n', '-c', '1', '-W', '5', address);
  await tapline.ok('disconnect', 'c');
  for (const [address, text] of [
    [c.ip, 'Destination Host Unreachable'],
    [c.ip6, 'Address unreachable'],
  ] as const) {
    const begin = Date.now();
    const { stdout } = await a.run(['ping', '-n', '-c', '1', '-W', '20', address]);
    t.true(stdout.includes(text), stdout);
    t.true(Date.now() - begin < 18_000, stdout);
  }
  await tapline.ok('connect', 'green', '--name', 'c', '--netns', c.path, '--ip', c.ip, '--ip6', c.ip6);
  // That it did not answer is remembered for a second or two, and who sends meanwhile is told at once.
  for (const address of [c.ip, c.ip6]) {
    await eventually(`${address} to answer`, async () => {
      const { code, stdout } = await a.run(['ping', '-n', '-c', '1', '-W', '5', address]);
      t.true(code === 0 || /[Uu]nreachable/.test(stdout), stdout);
      return code === 0;
    });
  }
  await accounted(tapline);
});

const conflicts = async (tapline: Tapline, address: string): Promise<EventView[]> =>
  (await tapline.events()).filter((event) => event.kind === 'address-conflict' && event.address === address);

/** The event, the log and the command line tell of it. */
async function told(tapline: Tapline, address: string, port: string, mac: string): Promise<string> {
  await eventually(`the conflict about ${address}`, async () => (await conflicts(tapline, address)).length > 0);
  const [event] = await conflicts(tapline, address);
  const text = `MAC ${mac} on port ${port} uses ${address}, an address of the router`;
  const isSaid = event?.port === port && event.mac === mac && event.text.includes(text);
  const isLogged = tapline.process.stderr().includes(text);
  const isShown = (await tapline.ok('events')).includes(text);
  return isSaid && isLogged && isShown ? '' : `${JSON.stringify(event)}\n${tapline.process.stderr()}`;
}

test.serial('RFC 5227 2.4: another uses an address of the router on the wire: it is said, and defended', async (t) => {
  const { tapline, a, outside } = await createRoutedSite(t);
  await a.exec('ping', '-n', '-c', '1', '-W', '5', OUTSIDE.ip);
  const heard = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'arp' });
  await outside.exec('ip', 'address', 'add', `${UPLINK.ip}/32`, 'dev', 'out0');
  await outside.exec('arping', '-q', '-U', '-c', '3', '-I', 'out0', '-s', UPLINK.ip, UPLINK.ip);
  t.is(await told(tapline, UPLINK.ip, 'uplink', OUTSIDE.mac), '');
  await outside.exec('ip', 'address', 'del', `${UPLINK.ip}/32`, 'dev', 'out0');
  const announcements = (await heard.frames()).filter((frame) => frame.toString('hex', 28, 32) === '0a4d0001');
  t.true(announcements.some((frame) => frame.toString('hex', 38, 42) === '0a4d0001'));
  // One event, and one defence, in ten seconds, however often it is claimed.
  t.is((await conflicts(tapline, UPLINK.ip)).length, 1);
  // Nobody believed it: packets still go there.
  await outside.exec('ping', '-n', '-c', '1', '-W', '5', a.ip);

  const advertisement = `Ether(src='${OUTSIDE.mac}', dst='33:33:00:00:00:01')/IPv6(src='${UPLINK.ip6}', dst='ff02::1', hlim=255)`;
  const claim = `ICMPv6ND_NA(R=0, S=0, O=1, tgt='${UPLINK.ip6}')/ICMPv6NDOptDstLLAddr(lladdr='${OUTSIDE.mac}')`;
  await sendScapy(outside, Array(3).fill(`${advertisement}/${claim}`), 'out0');
  t.is(await told(tapline, UPLINK.ip6, 'uplink', OUTSIDE.mac), '');
  t.is((await conflicts(tapline, UPLINK.ip6)).length, 1);
  await outside.exec('ping', '-n', '-c', '1', '-W', '5', a.ip6);
  await accounted(tapline);
});

test.serial('RFC 5227 2.1, RFC 4862 5.4: who asks whether an address is free is told that it is not', async (t) => {
  const { tapline, a, b, outside } = await createRoutedSite(t, { endpoint: { a: { security: 'mac' } } });
  for (const [namespace, device, address] of [
    [outside, 'out0', UPLINK.ip],
    [a, 'eth0', BLUE.ip],
  ] as const) {
    // It ends with the first answer.
    const { code, stdout } = await namespace.run(['arping', '-D', '-c', '10', '-w', '15', '-I', device, address]);
    t.is(code, 1, stdout);
    t.regex(stdout, /Received 1 response|Unicast reply from/);
  }
  // A probe claims what it asks for: an endpoint that may speak for its own addresses alone is not heard.
  await b.run(['arping', '-D', '-c', '1', '-w', '3', '-I', 'eth0', BLUE.ip]);
  t.true(((await tapline.port('b')).rxDrops.arp_sender ?? 0) > 0);
  await outside.exec('sysctl', '-qw', 'net.ipv6.conf.out0.accept_dad=1');
  await outside.exec('ip', 'address', 'add', `${UPLINK.ip6}/128`, 'dev', 'out0');
  await eventually('the kernel to see the duplicate', async () =>
    (await outside.exec('ip', '-6', 'address', 'show', 'dev', 'out0')).includes('dadfailed'),
  );
  await outside.exec('ip', 'address', 'del', `${UPLINK.ip6}/128`, 'dev', 'out0');
  // Asking is no use of the address.
  t.deepEqual(await conflicts(tapline, UPLINK.ip), []);
  await accounted(tapline);
});

test.serial('addresses of the uplink that are taken when Tapline starts: it asks, is told, and says so', async (t) => {
  const { tapline, a } = await createRoutedSite(t, {
    prepare: async (outside) => {
      await outside.exec('ip', 'address', 'add', `${UPLINK.ip}/32`, 'dev', 'out0');
      await outside.exec('ip', 'address', 'add', `${UPLINK.ip6}/128`, 'dev', 'out0', 'nodad');
    },
  });
  t.is(await told(tapline, UPLINK.ip, 'uplink', OUTSIDE.mac), '');
  t.is(await told(tapline, UPLINK.ip6, 'uplink', OUTSIDE.mac), '');
  // Networks are no concern of the wire's.
  for (const address of [BLUE.ip, BLUE.ip6, GREEN.ip, GREEN.ip6]) {
    await a.exec('ping', '-n', '-c', '1', '-W', '5', address);
  }
  await accounted(tapline);
});

/**
 * Frames in which 16 bits run through all values, and 16 others make up for it in the checksum: argv is device, rate a second, seconds,
 * and for each kind of frame a scapy expression, the place of the bits, and that of their complement (0: none).
 */
const SCAN = `
import socket, sys, time
from scapy.all import *
device, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
kinds = []
for i in range(4, len(sys.argv), 3):
    kinds.append((bytearray(raw(eval(sys.argv[i]))), int(sys.argv[i + 1]), int(sys.argv[i + 2])))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((device, 0))
start, sent, total = time.monotonic(), 0, int(rate * seconds)
while sent < total:
    due = min(int((time.monotonic() - start) * rate), total)
    while sent < due:
        frame, at, complement = kinds[sent % len(kinds)]
        n = (sent // len(kinds) * 40503) & 0xffff
        frame[at:at + 2] = n.to_bytes(2, 'big')
        if complement:
            frame[complement:complement + 2] = (0xffff - n).to_bytes(2, 'big')
        s.send(frame)
        sent += 1
    time.sleep(0.001)
print(sent)
`;

test.serial(
  'scans of whole networks and floods of ARP and ND from one endpoint: others notice nothing, the table is bounded',
  async (t) => {
    t.timeout(180_000);
    const { tapline, a, b, c, outside } = await createRoutedSite(t, {
      blue: { subnets: ['172.30.0.0/16', 'fd00:30::/64'], storm_control: { broadcast: 'off', unknown_unicast: 'off' } },
      green: { subnets: ['172.31.0.0/16', 'fd00:31::/64'] },
      // Whoever is not bound to his addresses can claim any.
      endpoint: { b: { security: 'off' } },
    });
    await b.exec('ip', 'link', 'set', 'eth0', 'txqueuelen', '30000');
    await iperfServer(outside);
    const pings = await Promise.all(
      [c.ip, c.ip6, OUTSIDE.ip].map(async (address) => {
        const ping = a.start('ping', '-n', '-i', '0.05', '-W', '15', address);
        await ping.said(/icmp_seq=3 /);
        return ping;
      }),
    );
    const ether = `Ether(src='${b.mac}', dst='${BLUE.mac}')`;
    const all = `Ether(src='${b.mac}', dst='ff:ff:ff:ff:ff:ff')`;
    const scan = b.start(
      PYTHON,
      '-c',
      SCAN,
      'eth0',
      '20000',
      '6',
      // Every address of the other network, by the router. UDP checksum 0: none.
      `${ether}/IP(src='${b.ip}', dst='172.31.0.0', id=0xffff, flags='DF')/UDP(sport=9, dport=9, chksum=0)`,
      '32',
      '18',
      `${ether}/IPv6(src='${b.ip6}', dst='fd00:31::1:0')/UDP(sport=9, dport=9)`,
      '52',
      '0',
      // Every address of his own network, of everybody.
      `${all}/ARP(op=1, hwsrc='${b.mac}', psrc='${b.ip}', pdst='172.30.0.0')`,
      '40',
      '0',
      // As everybody of his own network, of the router.
      `${all}/ARP(op=1, hwsrc='${b.mac}', psrc='172.30.0.0', pdst='${BLUE.ip}')`,
      '30',
      '0',
      `${ether}/IPv6(src='fd00:30::1:0', dst='${BLUE.ip6}', hlim=255)/ICMPv6ND_NS(tgt='${BLUE.ip6}')/ICMPv6NDOptSrcLLAddr(lladdr='02:00:00:00:ff:ff')`,
      '36',
      '84',
    );
    const { end } = await iperf(c, OUTSIDE.ip, '--time', '4');
    const result = await scan.ended;
    t.is(result.code, 0, describe(result));
    t.is(Number(result.stdout), 120_000);
    for (const ping of pings) {
      const { stdout } = await ping.stop('SIGINT');
      const [, sent, received] = /^(\d+) packets transmitted, (\d+) received/m.exec(stdout) ?? [];
      // The last one may still be under way.
      t.true(Number(received) >= Number(sent) - 1 && Number(sent) > 20, stdout.slice(-400));
      t.notRegex(stdout, /unreachable|DUP/);
    }
    t.true((end.sum_received?.bytes ?? 0) > 10_000_000, `${end.sum_received?.bytes} bytes`);

    const { neighbors: known, neighborsMax, icmpErrors } = (await tapline.status()).router;
    t.true(known <= neighborsMax, `${known} of ${neighborsMax}`);
    const entries = await neighbors(tapline);
    t.is(entries.find(({ address }) => address === c.ip)?.mac, c.mac);
    const open = entries.filter(({ state }) => state === 'incomplete' || state === 'failed');
    t.true(open.length <= 64, `${open.length} unresolved`);
    await accounted(tapline);
    const { rxDrops } = await tapline.port('b');
    // More questions than he may cause or ask, and packets that waited for addresses which nobody has.
    for (const reason of ['neighbor_rate', 'neighbor_full'])
      t.true((rxDrops[reason] ?? 0) > 1000, JSON.stringify(rxDrops));
    for (const name of ['a', 'c', 'uplink']) {
      const drops = Object.keys((await tapline.port(name)).rxDrops).filter((reason) => reason.startsWith('neighbor'));
      t.deepEqual(drops, [], name);
    }
    t.true(icmpErrors < 2000);
  },
);
