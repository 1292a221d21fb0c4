/** A network stretched over hosts with a Tapline each: all of it inside, the gateway at every host, and what others must not get in. */

import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ProbeView } from '../../control/vxlan/views.js';
import { nftProgram } from '../../io/nft.js';
import { BAD_CHECKSUM, sendFrames, tcpdump, temporaryDirectory, tsharkCounts } from './support/frames.js';
import { type Outdoors, pingCount, snapshot } from './support/host.js';
import { type IperfResult, iperf, iperfServer } from './support/iperf.js';
import type { Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { start } from './support/process.js';
import { fetchFrom, post, send, serve } from './support/published.js';
import { buildFrames } from './support/scapy.js';
import { accounted, newDrops } from './support/site.js';
import { type Engine, failTapline, startTapline, type Tapline } from './support/tapline.js';
import { plainTransfer, transfer } from './support/transfer.js';
import {
  addKernelAddresses,
  type Container,
  createUnderlay,
  type OverlayHost,
  withoutOffloads,
} from './support/underlay.js';
import {
  createStretched,
  decode,
  type Family,
  GATEWAY,
  mtuOf,
  overlayConfig,
  overlayOf,
  reaches,
  remotesOf,
  type Stretched,
  type StretchedOptions,
  startKernelVtep,
  VNI,
  vtepOf,
  vtepPort,
  watchUnderlay,
} from './support/vxlan.js';
import { eventually, settled, sleep } from './support/wait.js';

interface Two extends Stretched {
  readonly one: Tapline;
  readonly two: Tapline;
  readonly hosts: readonly [OverlayHost, OverlayHost];
  readonly a: Container;
  readonly b: Container;
}

/** Two hosts with a container each that reach each other. */
async function createTwo(t: ExecutionContext, options: StretchedOptions = {}): Promise<Two> {
  const stretched = await createStretched(t, options);
  const [first, second] = stretched.sites as [Stretched['sites'][number], Stretched['sites'][number]];
  const [a, b] = [first.containers[0] as Container, second.containers[0] as Container];
  await reaches(a, b);
  return { ...stretched, one: first.tapline, two: second.tapline, hosts: [first.host, second.host], a, b };
}

/** Instead of addresses of its own. */
const SHARED = { uplink: { mode: 'shared', addresses: undefined } };

/** Somebody else in the underlay. */
async function createOutside({ underlay }: Stretched): Promise<OverlayHost> {
  const outside = await underlay.addHost(254);
  await addKernelAddresses(outside);
  return outside;
}

function lostOf({ end }: IperfResult): number {
  return end.sum?.lost_packets ?? Number.NaN;
}

for (const [engine, family] of [
  ['uring', 4],
  ['uring', 6],
  ['epoll', 4],
] as [Engine, Family][]) {
  test.serial(
    `${engine}, IPv${family} underlay: pings, TCP and UDP in both families, and what is said of it`,
    async (t) => {
      const { underlay, one, two, hosts, a, b } = await createTwo(t, { family, overlay: { engine } });
      const [local, remote] = family === 4 ? [hosts[0].ip, hosts[1].ip] : [hosts[0].ip6, hosts[1].ip6];
      const mtu = family === 4 ? 1450 : 1430;
      for (const container of [a, b]) t.is(await mtuOf(container), mtu);

      for (const { namespace } of hosts) await withoutOffloads(namespace, 'up0');
      const capture = await watchUnderlay(t, underlay, hosts[0]);
      let port = 5310;
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const)
        for (const address of [to.ip, to.ip6]) {
          const { sent, received, duplicates, text } = await pingCount(from, address, ...burst(5));
          t.deepEqual([sent, received, duplicates], [5, 5, 0], text);
          t.is(await plainTransfer(t, from, to, address, 16, port++), 16 << 20);
        }
      await capture.frames();
      const { packets, vxlan, warnings, badChecksums, unsummed } = await decode(capture.path);
      t.true(packets > 20_000);
      t.deepEqual([vxlan, warnings, badChecksums, unsummed], [packets, 0, 0, 0]);
      await iperfServer(b);
      // Slow enough for a receiver that a busy machine does not run for half a second.
      for (const address of [b.ip, b.ip6])
        t.is(lostOf(await iperf(a, address, '--udp', '--bitrate', '2M', '--time', '1')), 0);

      t.like(await overlayOf(one), { vni: VNI, local, port: 4789, state: 'up', mtu, learning: true, open: false });
      const vtep = await vtepOf(one, remote);
      t.like(vtep, { kind: 'remote', floods: true, state: 'up', mtu });
      t.true(vtep.rxPackets > 1000 && vtep.txPackets > 1000 && vtep.fdbEntries >= 1, JSON.stringify(vtep));
      t.true((vtep.heardSeconds ?? 99) <= 5);
      t.is(await one.fdbPort(b.mac), vtepPort(remote));
      t.is(await two.fdbPort(a.mac), vtepPort(local));
      const text = await one.ok('show', 'vxlan');
      t.regex(text, new RegExp(`VNI ${VNI}, ${local} port 4789, MTU ${mtu}, up`));
      t.regex(text, new RegExp(`^${remote} +remote +yes +up `, 'm'));
      t.regex(await one.ok('show', 'fdb'), new RegExp(`${b.mac}.*${remote}`));
    },
  );
}

test.serial('probes say what passes, and what does not', async (t) => {
  const { underlay, one, hosts } = await createTwo(t);
  const probe = async (): Promise<ProbeView> => {
    const [found] = (await post(one.socket, '/v1/vxlan/probe', {})) as [ProbeView];
    return found;
  };
  const whole = await probe();
  t.like(whole, { network: 'blue', address: hosts[1].ip, mtu: 1450, why: '' });
  for (const { outcome, milliseconds } of [whole.udp, whole.tcp, whole.fullSize]) {
    t.is(outcome, 'answered');
    t.true((milliseconds ?? 9999) < 1000);
  }
  const said = await one.cli('vxlan', 'probe', 'blue');
  t.is(said.code, 0, said.stdout);
  t.regex(said.stdout, /ok +ok +ok \(1450\)/);
  // A wire that takes less than it says.
  const narrow = 'chain narrow { type filter hook forward priority 0; meta length > 1400 counter drop; }';
  await underlay.namespace.exec(nftProgram(), `table bridge narrow { ${narrow}; }`);
  const narrowed = await probe();
  t.deepEqual(
    [narrowed.udp.outcome, narrowed.tcp.outcome, narrowed.fullSize.outcome],
    ['answered', 'answered', 'lost'],
  );
  // One that loses all.
  await underlay.namespace.exec('ip', 'link', 'set', 'p2', 'down');
  const { code, stdout } = await one.cli('vxlan', 'probe');
  t.is(code, 1);
  t.regex(stdout, /no answer/);
});

test.serial('every host is the gateway of its own containers: nothing of it crosses', async (t) => {
  const publish = ['8080:80'];
  const scene = await createTwo(t, { overlay: { endpoints: { a1: { publish }, b1: { publish } } } });
  const { underlay, hosts, a, b } = scene;
  const outside = (await createOutside(scene)).namespace;
  const capture = await tcpdump(t, underlay.namespace, { device: 'p1', filter: 'udp port 4789' });
  await serve(t, a, 'a', [80]);
  await serve(t, b, 'b', [80]);
  await serve(t, outside, 'outside', [80]);
  for (const [container, host, name] of [
    [a, hosts[0], 'a'],
    [b, hosts[1], 'b'],
  ] as const) {
    await outside.exec('ip', 'route', 'add', `${container.ip6}/128`, 'via', host.ip6);
    for (const [gateway, far, own] of [
      [GATEWAY.ip, '10.77.0.254', host.ip],
      // IPv6 is not translated.
      [GATEWAY.ip6, 'fd00:77::254', container.ip6],
    ] as const) {
      const { sent, received, duplicates, text } = await pingCount(container, gateway, ...burst(5));
      t.deepEqual([sent, received, duplicates], [5, 5, 0], text);
      t.like(await fetchFrom(container, far, 80), { name: 'outside', peer: own });
    }
    t.like(await fetchFrom(outside, host.ip, 8080), { name, peer: '10.77.0.254' });
    t.like(await fetchFrom(container, a === container ? b.ip : a.ip, 80), { peer: container.ip });
    t.regex(await container.exec('ip', 'neighbor', 'show', 'to', GATEWAY.ip), new RegExp(GATEWAY.mac));
  }
  await capture.frames();
  const mac = GATEWAY.mac;
  const [vxlan = 0, gateways, asked] = await tsharkCounts(capture.path, [
    'vxlan',
    `vxlan && (eth.addr == ${mac} || arp.src.hw_mac == ${mac} || icmpv6.opt.linkaddr == ${mac})`,
    `vxlan && arp.dst.proto_ipv4 == ${GATEWAY.ip} && arp.opcode == 2`,
  ]);
  t.true(vxlan > 10);
  t.deepEqual([gateways, asked], [0, 0]);
});

test.serial('a gateway finds an endpoint at another host, whose own gateway answers for it', async (t) => {
  const routed = { masquerade: false };
  const scene = await createTwo(t, { overlay: { network: routed } });
  const { one, hosts, a, b } = scene;
  const outside = (await createOutside(scene)).namespace;
  // There by host 1, back by host 2.
  for (const [subnet, via] of [
    ['172.30.0.0/24', hosts[0].ip],
    ['fd00:30::/64', hosts[0].ip6],
  ] as const)
    await outside.exec('ip', 'route', 'add', subnet, 'via', via);
  for (const address of [b.ip, b.ip6, a.ip]) {
    const { received, duplicates, text } = await pingCount(outside, address, ...burst(5));
    t.true(received >= 4, text);
    t.is(duplicates, 0, text);
  }
  const neighbors = JSON.parse(await one.ok('show', 'neigh', '--json')) as { address: string; mac: string }[];
  for (const address of [b.ip, b.ip6]) t.is(neighbors.find((each) => each.address === address)?.mac, b.mac);
  t.is(await plainTransfer(t, outside, b, b.ip, 16, 5321), 16 << 20);
  t.is(await plainTransfer(t, b, outside, '10.77.0.254', 16, 5322), 16 << 20);
  // Nobody takes the one gateway for the other.
  t.regex(await b.exec('ip', 'neighbor', 'show', 'to', GATEWAY.ip), new RegExp(GATEWAY.mac));
  t.true((await pingCount(a, b.ip, ...burst(2))).received === 2);
});

test.serial('a VTEP can be looked into as any port: what is in the tunnel, and at the uplink the tunnel', async (t) => {
  const { one, hosts, a, b } = await createTwo(t);
  const [inner, outer] = [join(temporaryDirectory(t), 'inner'), join(temporaryDirectory(t), 'outer')];
  const captures = [
    start(t, one.argv('capture', vtepPort(hosts[1].ip), '-w', inner)),
    start(t, one.argv('capture', 'uplink', '-w', outer)),
  ];
  await eventually('two captures', async () => (await one.status()).captures.length === 2);
  await a.exec('ping', '-n', '-c', '5', '-i', '0.05', '-W', '5', '-s', '64', b.ip);
  await one.quiet();
  for (const capture of captures) t.is((await capture.stop('SIGINT')).code, 0);
  const echoes = `icmp && ip.addr == ${a.ip} && ip.addr == ${b.ip}`;
  t.deepEqual(await tsharkCounts(inner, ['vxlan', echoes, BAD_CHECKSUM]), [0, 10, 0]);
  t.deepEqual(await tsharkCounts(outer, [`vxlan.vni == ${VNI} && ${echoes}`, BAD_CHECKSUM]), [10, 0]);
});

test.serial('a VLAN of the network is what the tunnel carries, without its tag', async (t) => {
  const endpoints = { a1: { vlan: 10 }, a2: { vlan: 20 }, b1: { vlan: 10 }, b2: { vlan: 20 } };
  const { sites } = await createStretched(t, {
    containers: 2,
    vxlan: { vlan: 10 },
    overlay: { network: { vlan_filtering: true }, endpoints },
  });
  const [[a1, a2], [b1, b2]] = sites.map(({ containers }) => containers) as [
    [Container, Container],
    [Container, Container],
  ];
  const [one] = sites as [Stretched['sites'][number]];
  await reaches(a1, b1);
  for (const [from, to] of [
    [a2, b2],
    [a2, b1],
    [a1, b2],
  ] as const)
    t.is((await pingCount(from, to.ip, '-c', '1', '-W', '1')).received, 0, `${from.endpoint} to ${to.endpoint}`);
  t.is((await one.tapline.fdb()).find(({ mac }) => mac === b1.mac)?.vlan, 10);
  t.is(await one.tapline.fdbPort(b2.mac), undefined);
});

/** Milliseconds of the longest time between two answers to pings every 10 ms. */
async function watchGap(from: Namespace, address: string): Promise<() => Promise<number>> {
  const ping = from.start('ping', '-n', '-D', '-i', '0.01', address);
  await ping.said(/ bytes from /);
  const times = (): number[] =>
    [...ping.stdout().matchAll(/^\[(\d+\.\d+)\] \d+ bytes from /gm)].map(([, seconds]) => Number(seconds) * 1000);
  return async () => {
    const before = times().length;
    await eventually('answers to pings', () => times().length >= before + 20);
    await ping.stop('SIGINT');
    const all = times();
    return Math.max(...all.slice(1).map((time, at) => time - all[at]!));
  };
}

/** Milliseconds without an answer after a move that are too many; it takes as long as an endpoint takes to be attached. */
const LONGEST_MOVE = 10_000;

test.serial('an endpoint moves from host to host in the middle of a transfer, and is found again', async (t) => {
  const { sites } = await createStretched(t, { hosts: 3 });
  const [one, two, three] = sites as [
    Stretched['sites'][number],
    Stretched['sites'][number],
    Stretched['sites'][number],
  ];
  const [a, , c] = sites.map(({ containers }) => containers[0] as Container) as [Container, Container, Container];
  await reaches(c, a);
  const gap = await watchGap(c, a.ip);
  const move = async (from: Tapline, to: Tapline): Promise<void> => {
    await send(from.socket, 'DELETE', `/v1/endpoints/${a.endpoint}`);
    const body = { name: a.endpoint, network: 'blue', netns: a.path, addresses: [a.ip, a.ip6] };
    await post(to.socket, '/v1/endpoints', body);
  };
  const where = async (port: string): Promise<void> =>
    eventually(`${a.mac} behind ${port}`, async () => (await three.tapline.fdbPort(a.mac)) === port);
  await transfer(t, {
    from: a,
    to: c,
    address: c.ip,
    stage: 32,
    change: [() => move(one.tapline, two.tapline), () => move(two.tapline, one.tapline)],
    after: async (stage) => where(vtepPort((stage === 0 ? two : one).host.ip)),
  });
  const longest = await gap();
  t.log(`longest time without an answer: ${longest.toFixed(0)} ms`);
  t.true(longest < LONGEST_MOVE, `${longest.toFixed(0)} ms without an answer`);
  const moves = (await three.tapline.events()).filter(({ kind, mac }) => kind === 'mac-moved' && mac === a.mac);
  t.true(moves.length >= 2);
});

/** Frames of somebody in the underlay for a container behind host 1. */
const OUTER = 'Ether(src=MMAC, dst=UMAC)/IP(src=SRC, dst=DST)/UDP(sport=50000, dport=4789)';
const INNER = "Ether(src='02:00:00:00:66:66', dst=AMAC)/IP(src='172.30.0.66', dst=AIP)/ICMP()/Raw(b'vxlan-intruder')";

async function macOfUplink(tapline: Tapline): Promise<string> {
  return (await tapline.status()).uplink?.mac ?? '';
}

interface Attack {
  readonly packet: string;
  /** Why it is dropped; null: it arrives. */
  readonly reason: string | null;
}

const HEADER = (flags: number, vni = VNI, last = 0): string => `Raw(bytes([${flags}, 0, 0, 0, 0, 0, ${vni}, ${last}]))`;

const ATTACKS: Readonly<Record<string, Attack>> = {
  'as the peer sends it': { packet: `${OUTER}/${HEADER(8)}/${INNER}`, reason: null },
  'all reserved bits set': {
    packet: `${OUTER}/Raw(bytes([0x7b, 0xff, 0xff, 0xff, 0, 0, ${VNI}, 0xff]))/${INNER}`,
    reason: null,
  },
  'no checksum': {
    packet: `${OUTER.replace('dport=4789', 'dport=4789, chksum=0')}/${HEADER(8)}/${INNER}`,
    reason: null,
  },
  'from an unknown address': { packet: `${OUTER.replace('SRC', 'OTHER')}/${HEADER(8)}/${INNER}`, reason: 'vxlan_vtep' },
  'of an unknown VNI': { packet: `${OUTER}/${HEADER(8, 43)}/${INNER}`, reason: 'vxlan_vni' },
  'without the flag of the VNI': { packet: `${OUTER}/${HEADER(0)}/${INNER}`, reason: 'vxlan_malformed' },
  'VXLAN-GPE': { packet: `${OUTER}/Raw(bytes([0x0c, 0, 0, 1, 0, 0, ${VNI}, 0]))/${INNER}`, reason: 'vxlan_gpe' },
  'a wrong outer checksum': {
    packet: `${OUTER.replace('dport=4789', 'dport=4789, chksum=0x1234')}/${HEADER(8)}/${INNER}`,
    reason: 'vxlan_checksum',
  },
  'a fragment': {
    packet: `Ether(src=MMAC, dst=UMAC)/IP(src=SRC, dst=DST, flags='MF')/UDP(sport=50000, dport=4789, chksum=0)/${HEADER(8)}/${INNER}`,
    reason: 'vxlan_fragment',
  },
  'a VLAN tag inside': {
    packet: `${OUTER}/${HEADER(8)}/${INNER.replace(')/IP', ')/Dot1Q(vlan=7)/IP')}`,
    reason: 'vxlan_vlan',
  },
};

test.serial('what is not from a peer, or not as it should be, is refused and counted; what is, comes in', async (t) => {
  const { underlay, one, hosts, a, b } = await createTwo(t);
  const intruder = (await underlay.addHost(99)).namespace;
  const values = {
    MMAC: '02:00:00:00:00:99',
    UMAC: await macOfUplink(one),
    SRC: hosts[1].ip,
    DST: hosts[0].ip,
    OTHER: '10.77.0.99',
    AMAC: a.mac,
    AIP: a.ip,
  };
  const names = Object.keys(ATTACKS);
  const frames = await buildFrames(
    Object.fromEntries(Object.entries(ATTACKS).map(([name, { packet }]) => [name, packet])),
    values,
  );
  const seen = await tcpdump(t, a, { direction: 'in', filter: 'icmp' });
  const told = await tcpdump(t, intruder, { device: 'up0', direction: 'in', filter: 'icmp' });
  for (const name of names) {
    const { rxDrops: before } = await one.port('uplink');
    const from = (await one.port(vtepPort(hosts[1].ip))).rxDrops;
    await sendFrames(intruder, [frames[name]!], 'up0');
    const { reason } = ATTACKS[name]!;
    if (reason === null) continue;
    await eventually(`${name} to be counted as ${reason}`, async () => {
      const at = { ...(await newDrops(one, 'uplink', before)), ...(await newDrops(one, vtepPort(hosts[1].ip), from)) };
      return at[reason] === 1;
    });
  }
  const wanted = names.filter((name) => ATTACKS[name]?.reason === null).length;
  const arrived = (all: Buffer[]): number => all.filter((frame) => frame.includes('vxlan-intruder')).length;
  const soFar = (): number => readFileSync(seen.path, 'latin1').split('vxlan-intruder').length - 1;
  await eventually('what is wanted to arrive', () => soFar() >= wanted);
  await sleep(300); // and what is not
  t.is(arrived(await seen.frames()), wanted);
  t.deepEqual(await told.frames(), [], 'nobody is told why');
  t.true((await pingCount(b, a.ip, ...burst(2))).received === 2);
});

test.serial('packets cut short at each length end as drops with a reason', async (t) => {
  const { underlay, one, hosts, a, b } = await createTwo(t);
  const intruder = (await underlay.addHost(99)).namespace;
  const whole = `bytes([8, 0, 0, 0, 0, 0, ${VNI}, 0]) + raw(${INNER})`;
  const lengths = Array.from({ length: 65 }, (_, length) => length);
  const frames = await buildFrames(
    Object.fromEntries(lengths.map((length) => [`${length}`, `${OUTER}/Raw((${whole})[:${length}])`])),
    {
      MMAC: '02:00:00:00:00:99',
      UMAC: await macOfUplink(one),
      SRC: hosts[1].ip,
      DST: hosts[0].ip,
      AMAC: a.mac,
      AIP: a.ip,
    },
  );
  const vtep = vtepPort(hosts[1].ip);
  const before = { uplink: (await one.port('uplink')).rxDrops, vtep: (await one.port(vtep)).rxDrops };
  await sendFrames(intruder, Object.values(frames), 'up0');
  const dropped = async (): Promise<Record<string, number>> => ({
    ...(await newDrops(one, 'uplink', before.uplink)),
    ...(await newDrops(one, vtep, before.vtep)),
  });
  const counts = await settled('the drops', dropped);
  // Shorter ones hold no whole Ethernet header behind that of VXLAN. What follows it is for the receiver to judge.
  t.is(counts.vxlan_malformed, 8 + 14, JSON.stringify(counts));
  t.falsy(counts.internal_error);
  t.is((await one.status()).workerRestarts, 0);
  t.true((await pingCount(b, a.ip, ...burst(2))).received === 2);
});

/** Of IPv4 without options, up to where the outer UDP header ends. */
const OUTER_LENGTH = 14 + 20 + 8;
const MUTANTS = 3000;

/** The frame cut short, its outer headers as long as it is: else the first bridge on the way would drop it. */
function cut(frame: Buffer, length: number): Buffer {
  const short = Buffer.from(frame.subarray(0, length));
  short.writeUInt16BE(length - 14, 14 + 2);
  short.writeUInt16BE(length - 14 - 20, 14 + 20 + 4);
  short.writeUInt16BE(0, 14 + 10);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += short.readUInt16BE(at);
  short.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 14 + 10);
  return short;
}

test.serial(`${MUTANTS} packets of a peer with random octets: none brings anything down`, async (t) => {
  const { underlay, one, hosts, a, b } = await createTwo(t);
  const intruder = (await underlay.addHost(99)).namespace;
  const outer = `${OUTER.replace('dport=4789', 'dport=4789, chksum=0')}/${HEADER(8)}`;
  const ends = "Ether(src='02:00:00:00:66:66', dst=AMAC)";
  const seeds = await buildFrames(
    {
      tcp: `${outer}/${ends}/IP(src='172.30.0.66', dst=AIP)/TCP(sport=7, dport=9, flags='PA', options=[('Timestamp', (1, 2))])/Raw(b'x' * 64)`,
      udp: `${outer}/${ends}/IP(src='172.30.0.66', dst=AIP)/UDP(sport=7, dport=9)/Raw(b'x' * 64)`,
      tcp6: `${outer}/${ends}/IPv6(src='fd00:30::66', dst='fd00:30::11')/TCP(sport=7, dport=9, flags='A')/Raw(b'x' * 64)`,
      arp: `${outer}/Ether(src='02:00:00:00:66:66', dst='ff:ff:ff:ff:ff:ff')/ARP(op=1, psrc='172.30.0.66', pdst=AIP)`,
      mld: `${outer}/${ends}/IPv6(src='fe80::66', dst='ff02::16', hlim=1)/IPv6ExtHdrHopByHop(options=[RouterAlert()])/ICMPv6MLReport2()`,
      tagged: `${outer}/${ends}/Dot1Q(vlan=7)/IP(src='172.30.0.66', dst=AIP)/ICMP()`,
    },
    {
      MMAC: '02:00:00:00:00:99',
      UMAC: await macOfUplink(one),
      SRC: hosts[1].ip,
      DST: hosts[0].ip,
      AMAC: a.mac,
      AIP: a.ip,
    },
  );
  const all = Object.values(seeds);
  const mutants = Array.from({ length: MUTANTS }, (_, i) => {
    const mutant = Buffer.from(all[i % all.length]!);
    for (let flips = 1 + (i % 4); flips > 0; flips--)
      mutant[OUTER_LENGTH + randomInt(mutant.length - OUTER_LENGTH)] = randomInt(256);
    return i % 3 === 0 ? cut(mutant, OUTER_LENGTH + randomInt(mutant.length - OUTER_LENGTH)) : mutant;
  });
  // So many at a time as the queues of the kernel on the way take.
  for (let at = 0; at < MUTANTS; at += 250) {
    const { rxPackets } = await one.port('uplink');
    const some = mutants.slice(at, at + 250);
    await sendFrames(intruder, some, 'up0');
    await eventually('all to come in', async () => (await one.port('uplink')).rxPackets - rxPackets >= some.length);
  }
  await accounted(one);
  t.is((await one.status()).workerRestarts, 0);
  t.is(
    (await one.drops()).drops.find(({ reason }) => reason === 'internal_error'),
    undefined,
  );
  // The MACs may have been moved to the peer for a moment.
  await reaches(b, a);
});

test.serial('an open network takes frames from whoever sends them, and answers him', async (t) => {
  const { sites } = await createStretched(t, {
    hosts: 2,
    vxlan: ({ number }) => (number === 1 ? { remotes: [], open: true } : {}),
  });
  const [one, two] = sites as [Stretched['sites'][number], Stretched['sites'][number]];
  const [a, b] = [one.containers[0] as Container, two.containers[0] as Container];
  await reaches(b, a);
  t.like(await vtepOf(one.tapline, two.host.ip), { kind: 'heard', floods: false });
  t.true((await pingCount(a, b.ip, ...burst(3))).received === 3);
  t.true((await one.tapline.events()).some(({ kind }) => kind === 'vtep-heard'));
});

test.serial('a shared uplink: the host’s own address is the VTEP, and the host notices nothing', async (t) => {
  let before = '';
  const scene = await createStretched(t, {
    overlay: ({ number }) => (number === 1 ? SHARED : {}),
    prepare: async (host) => {
      if (host.number !== 1) return;
      await addKernelAddresses(host);
      before = await snapshot(outdoorsOf(host));
    },
  });
  const [one, two] = scene.sites as [Stretched['sites'][number], Stretched['sites'][number]];
  const [a, b] = [one.containers[0] as Container, two.containers[0] as Container];
  const errors = await tcpdump(t, scene.underlay.namespace, {
    device: 'p1',
    direction: 'in',
    filter: 'icmp[0] == 3 or icmp6[0] == 1',
  });
  await reaches(a, b);
  const outside = await createOutside(scene);
  for (const [from, to] of [
    [one.host.namespace, '10.77.0.254'],
    [one.host.namespace, 'fd00:77::254'],
    [outside.namespace, one.host.ip],
    [one.host.namespace, two.host.ip],
  ] as const) {
    const { sent, received, duplicates, text } = await pingCount(from, to, ...burst(3));
    t.deepEqual([sent, received, duplicates], [3, 3, 0], text);
  }
  t.is(await plainTransfer(t, a, b, b.ip, 32, 5331), 32 << 20);
  t.is(await plainTransfer(t, b, a, a.ip6, 32, 5332), 32 << 20);
  // UDP of the host itself, at other ports.
  await serve(t, one.host.namespace, 'host', [4790]);
  t.like(await fetchFrom(outside.namespace, one.host.ip, 4790), { name: 'host' });
  t.deepEqual(await errors.frames(), [], 'the host has told nobody that the port is closed');
  t.like(await overlayOf(one.tapline), { state: 'up', local: one.host.ip });
  t.notRegex(one.tapline.process.stderr(), /warn/, 'nothing that is only so for a moment is warned of');
  await one.tapline.stop();
  t.is(await snapshot(outdoorsOf(one.host)), before, 'and leaves nothing there');
});

/** For a look at what may have been changed on a host. */
function outdoorsOf({ namespace }: OverlayHost): Outdoors {
  return { host: namespace, outside: namespace, nft: (...words) => namespace.exec(nftProgram(), ...words) };
}

/** A host whose kernel has its addresses, and a configuration of Tapline that shares them. */
async function createLone(t: ExecutionContext): Promise<{ host: OverlayHost; config: object }> {
  const underlay = await createUnderlay(t);
  const host = await underlay.addHost(1);
  await addKernelAddresses(host);
  const config = overlayConfig(host, [], remotesOf(host, [{ ...host, number: 2, ip: '10.77.0.2' }]), SHARED);
  return { host, config };
}

test.serial('a shared uplink: who has the port already is named', async (t) => {
  const { host, config } = await createLone(t);
  const holder = host.namespace.start('socat', '-u', 'UDP4-RECV:4789', 'OPEN:/dev/null');
  await eventually('the socket', async () => (await host.namespace.exec('ss', '-Hlun')).includes(':4789 '));
  const taken = await failTapline(t, config, { netns: host.namespace });
  t.is(taken.code, 2, taken.stderr);
  t.regex(taken.stderr, /^[^\n]*UDP port 4789 of 10\.77\.0\.1 is held by socat \(pid \d+\)[^\n]*\n$/);
  await holder.stop();
  await startKernelVtep(host, [], { local: host.ip });
  const other = await failTapline(t, config, { netns: host.namespace });
  t.is(other.code, 2, other.stderr);
  t.regex(other.stderr, /^[^\n]*UDP port 4789 of 10\.77\.0\.1 is held by the host's vxlan device vx1[^\n]*\n$/);
  await host.namespace.exec('ip', 'link', 'delete', 'vx1');
  const tapline = await startTapline(t, config, { netns: host.namespace });
  t.like(await overlayOf(tapline), { state: 'up' });
});
