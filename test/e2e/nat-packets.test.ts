/**
 * Every kind of packet that is translated, as others read it: captured on the wire with tcpdump, and by Tapline at the uplink and at
 * containers; tshark verifies each checksum of each packet.
 */

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { PLAIN_PAYLOAD, type Tcpdump, tcpdump, temporaryDirectory, tshark, tsharkCounts } from './support/frames.js';
import { iperf, iperfServer } from './support/iperf.js';
import type { Namespace } from './support/namespace.js';
import { createFar, FAR, reflect, startMirror, watchPrivate } from './support/nat.js';
import { start } from './support/process.js';
import { ask, serve } from './support/published.js';
import { PYTHON } from './support/scapy.js';
import { accounted, BLUE, createSite, OUTSIDE, type Site, UPLINK } from './support/site.js';
import { ENGINES, type Engine } from './support/tapline.js';
import { eventually } from './support/wait.js';

const MIRROR_PORT = 9000;

/** Linux sends 0xffff where a TCP checksum comes out as 0, which tshark alone calls wrong (see BAD_CHECKSUM). */
const WRONG = [
  'ip.checksum.status == 0',
  '(tcp.checksum.status == 0 && tcp.checksum != 0xffff)',
  'udp.checksum.status == 0',
  'icmp.checksum.status == 0',
  'icmpv6.checksum.status == 0',
  'sctp.checksum.status == 0',
  '_ws.malformed',
].join(' || ');

/** Nothing is left to whoever sends and receives: what is captured is what has been on the wire. */
const OFF = ['tx', 'off', 'rx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off', 'sg', 'off'];

interface Scene extends Site {
  readonly far: Namespace;
  /** What leaves by the uplink, as the outside gets it; what Tapline says of its uplink and of two containers. */
  readonly wire: Tcpdump;
  captures(): Promise<Record<string, string>>;
}

/** Container `a` leaves all it can to offloads, `b` nothing. */
async function createScene(t: ExecutionContext, engine: Engine): Promise<Scene> {
  const site = await createSite(t, {
    engine,
    blue: { nat66: true },
    endpoint: { b: { publish: ['5201:5201', '5300:5301/udp', '9000:9000/udp', '7000:7000/sctp'] } },
  });
  const { tapline, host, outside, b } = site;
  const far = await createFar(t, outside);
  for (const [namespace, device] of [
    [host, 'up0'],
    [outside, 'out0'],
    [b, 'eth0'],
  ] as const)
    await namespace.exec('ethtool', '-K', device, ...OFF);
  const directory = temporaryDirectory(t);
  const ports = ['uplink', 'a', 'b'];
  const files = Object.fromEntries(ports.map((port) => [port, join(directory, `${port}.pcapng`)]));
  const running = ports.map((port) => start(t, tapline.argv('capture', port, '-w', files[port] as string)));
  await eventually('three captures', async () => (await tapline.status()).captures.length === 3);
  const wire = await tcpdump(t, outside, { device: 'out0', direction: 'in' });
  const captures = async (): Promise<Record<string, string>> => {
    await tapline.quiet();
    for (const capture of running) await capture.stop('SIGINT');
    await wire.frames();
    return { ...files, wire: wire.path };
  };
  return { ...site, far, wire, captures };
}

/** Sends packets without a socket; `mac` is the next hop's. */
const RAW = `
import json, sys
from scapy.all import *
device, mac, expressions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

def udplite(ip, sport, dport, data):
    """Covers all of it (RFC 3828, 3.1)."""
    head = struct.pack('!HHHH', sport, dport, 0, 0)
    sum4 = in4_chksum if ip.version == 4 else in6_chksum
    return ip / Raw(head[:6] + struct.pack('!H', sum4(136, ip, head + data)) + data)

sendp([Ether(src=get_if_hwaddr(device), dst=mac) / eval(each) for each in expressions], iface=device, verbose=False)
`;

async function sendRaw(from: Namespace, device: string, mac: string, packets: readonly string[]): Promise<void> {
  await from.exec(PYTHON, '-c', RAW, device, mac, JSON.stringify(packets));
}

const INIT = `SCTPChunkInit(init_tag=7,a_rwnd=65536,n_out_streams=1,n_in_streams=1,init_tsn=1)`;

/** Of protocols and shapes that sockets do not make. */
function oddPackets(source: string, destination: string): string[] {
  const isIpv6 = destination.includes(':');
  const ip = (protocol: number): string =>
    isIpv6
      ? `IPv6(src='${source}',dst='${destination}',nh=${protocol})`
      : `IP(src='${source}',dst='${destination}',proto=${protocol})`;
  return [
    `${ip(132)}/SCTP(sport=4000,dport=7000,tag=0)/${INIT}`,
    `udplite(${ip(136)}, 4001, 7001, b'some text')`,
    `udplite(${ip(136)}, 4001, 7001, b'an odd number')`,
    // Without a checksum, which IPv4 alone allows.
    ...(isIpv6 ? [] : [`${ip(17)}/UDP(sport=4002,dport=${MIRROR_PORT},chksum=0)/Raw(b'unsummed')`]),
  ];
}

async function macOf(outside: Namespace): Promise<string> {
  const text = await outside.exec('ip', 'neighbor', 'show', 'to', UPLINK.ip, 'dev', 'out0');
  return / lladdr (\S+)/.exec(text)?.[1] ?? '';
}

/** What must have been seen in each capture, so that not one kind has been verified by its absence: display filter by name. */
const KINDS: Readonly<Record<'wire' | 'uplink' | 'a' | 'b', Readonly<Record<string, string>>>> = {
  wire: {
    TCP: 'ip && tcp.checksum.status == 1 && tcp.len > 1000',
    'TCP over IPv6': 'ipv6 && tcp.checksum.status == 1 && tcp.len > 1000',
    UDP: 'ip && udp.checksum.status == 1',
    'UDP over IPv6': 'ipv6 && udp.checksum.status == 1',
    'UDP without checksum': 'udp.checksum == 0',
    'ICMP echo': 'icmp.type == 8 && icmp.checksum.status == 1',
    'ICMPv6 echo': 'icmpv6.type == 128 && icmpv6.checksum.status == 1',
    SCTP: 'ip && sctp.checksum.status == 1',
    'SCTP over IPv6': 'ipv6 && sctp.checksum.status == 1',
    'UDP-Lite': 'ip && udplite && udp.checksum.status == 1',
    'UDP-Lite over IPv6': 'ipv6 && udplite && udp.checksum.status == 1',
    fragments: 'ip.flags.mf == 1',
    'fragments over IPv6': 'ipv6.fraghdr.more == 1',
    'reassembled ones': 'ip.reassembled_in || ip.fragments',
    'errors of the inside': 'icmp.type == 3 && icmp.code == 3 && icmp.checksum.status == 1',
    'errors of the inside over IPv6': 'icmpv6.type == 1 && icmpv6.code == 4 && icmpv6.checksum.status == 1',
  },
  uplink: {
    'both directions of TCP': `ip.src == ${OUTSIDE.ip} && tcp.checksum.status == 1`,
    'super-packets as they are cut': 'tcp.len > 1000 && frame.len <= 1514',
  },
  a: {
    TCP: 'tcp.checksum.status == 1',
    'errors of the outside': 'icmp.type == 3 && icmp.code == 3 && icmp.checksum.status == 1',
    'errors of the outside over IPv6': 'icmpv6.type == 1 && icmpv6.checksum.status == 1',
    'too big': 'icmp.type == 3 && icmp.code == 4',
    'too big over IPv6': 'icmpv6.type == 2 && icmpv6.checksum.status == 1',
    'time exceeded': 'icmp.type == 11',
    'protocol unreachable': 'icmp.type == 3 && icmp.code == 2',
  },
  b: {
    TCP: 'ip && tcp.checksum.status == 1 && tcp.len > 1000',
    SCTP: 'sctp.checksum.status == 1',
    fragments: 'ip.flags.mf == 1',
  },
};

for (const engine of ENGINES) {
  test.serial(`${engine}: every kind of translated packet has right checksums, wherever it is looked at`, async (t) => {
    const scene = await createScene(t, engine);
    const { a, b, outside, far, tapline } = scene;
    const hidden = await watchPrivate(t, outside);
    for (const where of [outside, b]) await startMirror(t, where, MIRROR_PORT);
    await serve(t, far, 'far', [80]);
    await iperfServer(outside);
    await iperfServer(b);
    for (const to of [OUTSIDE.ip, OUTSIDE.ip6]) {
      for (const from of [a, b]) {
        for (const direction of [[], ['--reverse']]) await iperf(from, to, '--bytes', '200K', ...direction);
        for (const bytes of [1, 16, 1001, 5000]) {
          t.like((await reflect(from, to, MIRROR_PORT, { size: bytes }))[0], { same: true }, `${to} ${bytes}`);
        }
        await from.exec('ping', '-n', '-c', '2', '-i', '0.2', '-s', '3000', to);
        t.deepEqual(await reflect(from, to, 5300), [{ error: 'ECONNREFUSED' }]);
      }
    }
    for (const to of [UPLINK.ip, UPLINK.ip6]) {
      await iperf(outside, to, '--bytes', '200K');
      t.like((await reflect(outside, to, MIRROR_PORT, { size: 5000 }))[0], { same: true });
      t.deepEqual(await reflect(outside, to, 5300), [{ error: 'ECONNREFUSED' }]);
    }
    for (const to of [FAR.ip, FAR.ip6]) {
      await a.run(['ping', '-n', '-M', 'do', '-s', '1400', '-c', '1', '-W', '1', to]);
      await a.run(['ping', '-n', '-t', '2', '-c', '1', '-W', '1', to]);
      t.like(await ask(t, a, to, 80), { name: 'far' });
    }
    for (const [source, to] of [
      [a.ip, OUTSIDE.ip],
      [a.ip6, OUTSIDE.ip6],
    ] as const)
      await sendRaw(a, 'eth0', BLUE.mac, oddPackets(source, to));
    await sendRaw(outside, 'out0', await macOf(outside), [
      `IP(src='${OUTSIDE.ip}',dst='${UPLINK.ip}')/SCTP(sport=4000,dport=7000,tag=0)/${INIT}`,
      `IPv6(src='${OUTSIDE.ip6}',dst='${UPLINK.ip6}')/SCTP(sport=4000,dport=7000,tag=0)/${INIT}`,
    ]);

    const files = await scene.captures();
    for (const [place, file] of Object.entries(files)) {
      const fields = ['frame.number', 'frame.protocols', 'ip.src', 'ip.dst', '_ws.col.Info'];
      t.deepEqual(await tshark(file, fields, WRONG, PLAIN_PAYLOAD), [], place);
      const kinds = KINDS[place as keyof typeof KINDS];
      const counts = await tsharkCounts(file, Object.values(kinds));
      const missing = Object.keys(kinds).filter((_, index) => counts[index] === 0);
      t.deepEqual(missing, [], `${place}: not one of these`);
    }
    t.deepEqual(await hidden.frames(), [], 'private addresses on the wire');
    await accounted(tapline);
  });
}
