/**
 * Tapline and the kernel's own vxlan device, one at each end of a network: data arrives as it was, both ways, and tshark has nothing to
 * object to in what was on the wire. TAPLINE_REPORT names a file for a table of it.
 */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { nftProgram } from '../../io/nft.js';
import { datagrams } from './support/datagrams.js';
import { sendScapy, type Tcpdump, tcpdump, tshark } from './support/frames.js';
import { type IperfResult, iperf, iperfServer } from './support/iperf.js';
import type { Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { startReport, tableRow } from './support/report.js';
import { plainTransfer } from './support/transfer.js';
import {
  type Container,
  createContainer,
  createUnderlay,
  type OverlayHost,
  type Underlay,
  withOffloads,
  withoutOffloads,
} from './support/underlay.js';
import {
  addressOf,
  createKernelHost,
  type Decoded,
  decode,
  type Family,
  type KernelVtepOptions,
  NOBODY,
  objections,
  reaches,
  startOverlay,
  VNI,
  vtepOf,
  vtepPort,
  watchUnderlay,
} from './support/vxlan.js';
import { eventually } from './support/wait.js';

const report = startReport("Tapline and the kernel's vxlan device");
const TITLES = ['a', 'b', 'how they find each other', 'underlay', 'UDP port', 'outer UDP checksum, a · b'];
const FIGURES = ['packets captured', 'VXLAN', 'tshark warns', 'wrong checksums', 'TCP a → b', 'TCP b → a'];
report(tableRow([...TITLES, ...FIGURES]));
report(tableRow([...TITLES, ...FIGURES].map(() => '---')));

/** MiB of each transfer that is captured. */
const STAGE = 16;
const DATAGRAM = 9000;
/** Few enough for the buffer of a socket that nobody reads yet. */
const DATAGRAMS = 6;

type Discovery = 'static FDB' | 'flood and learn' | 'multicast group';

interface Case {
  /** Who is at the first end; the other one is the kernel in any case. */
  readonly first: 'Tapline' | 'kernel';
  readonly family: Family;
  readonly port: number;
  readonly discovery: Discovery;
  /** Whether outer UDP checksums are sent by the first end, and by the kernel. */
  readonly sums: readonly [boolean, boolean];
  /** Tapline cuts super-packets itself, without an outlet. */
  readonly isCutHere?: true;
}

const CASES: readonly Case[] = [
  // What the others are compared with: the tools and the way of testing are at fault where this one fails.
  { first: 'kernel', family: 4, port: 4789, discovery: 'static FDB', sums: [true, true] },
  { first: 'Tapline', family: 4, port: 4789, discovery: 'static FDB', sums: [true, true] },
  { first: 'Tapline', family: 4, port: 4789, discovery: 'static FDB', sums: [true, true], isCutHere: true },
  { first: 'Tapline', family: 4, port: 8472, discovery: 'flood and learn', sums: [false, false] },
  { first: 'Tapline', family: 4, port: 4789, discovery: 'multicast group', sums: [true, false] },
  { first: 'Tapline', family: 6, port: 4789, discovery: 'static FDB', sums: [true, true] },
  { first: 'Tapline', family: 6, port: 8472, discovery: 'flood and learn', sums: [false, false] },
  { first: 'Tapline', family: 6, port: 4789, discovery: 'flood and learn', sums: [true, true], isCutHere: true },
  { first: 'Tapline', family: 6, port: 4789, discovery: 'multicast group', sums: [false, true] },
];

const groupOf = (family: Family): string => (family === 4 ? '239.1.1.1' : 'ff05::42');

/** What the kernel at one end is told of the other. */
function kernelOptions(
  { family, port, discovery, sums }: Case,
  end: 0 | 1,
  local: OverlayHost,
  peer: OverlayHost,
  other: Container,
): KernelVtepOptions {
  const address = addressOf(peer, family);
  const common = { local: addressOf(local, family), port, checksum: sums[end] };
  if (discovery === 'multicast group') return { ...common, group: groupOf(family) };
  const peers = { ...common, peers: [address] };
  return discovery === 'static FDB' ? { ...peers, fdb: { [other.mac]: address } } : peers;
}

/** The same for Tapline. */
function taplineOptions(
  { family, port, discovery, sums }: Case,
  local: OverlayHost,
  peer: OverlayHost,
  other: Container,
): object {
  const vtep = addressOf(peer, family);
  const common = { vni: VNI, local: addressOf(local, family), port, checksum: sums[0] };
  if (discovery === 'multicast group') return { ...common, group: groupOf(family) };
  if (discovery === 'flood and learn') return { ...common, remotes: [vtep] };
  const fdb = [
    { mac: NOBODY, vtep },
    { mac: other.mac, vtep },
  ];
  return { ...common, fdb };
}

interface Pair {
  readonly underlay: Underlay;
  readonly hosts: readonly [OverlayHost, OverlayHost];
  readonly a: Container;
  readonly b: Container;
}

async function createPair(t: ExecutionContext): Promise<Pair> {
  const underlay = await createUnderlay(t, { snooping: true });
  const hosts = [await underlay.addHost(1), await underlay.addHost(2)] as const;
  return { underlay, hosts, a: await createContainer(t, hosts[0]), b: await createContainer(t, hosts[1]) };
}

/** Everything that a container may say to another, one way and the other. */
async function talk(t: ExecutionContext, a: Container, b: Container): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const address of [to.ip, to.ip6]) {
      for (const size of ['56', '1300', '8000']) {
        const text = await from.exec('ping', '-n', ...burst(3), '-s', size, address);
        t.regex(text, / 3 received/);
        t.notRegex(text, /wrong data|DUP/);
      }
      const data = randomBytes(DATAGRAM * DATAGRAMS);
      t.true((await datagrams(t, from, to, address, data)).equals(data), `datagrams to ${address}`);
    }
  }
  t.is(await plainTransfer(t, a, b, b.ip, STAGE, 5301), STAGE << 20);
  t.is(await plainTransfer(t, b, a, a.ip, STAGE, 5302), STAGE << 20);
  t.is(await plainTransfer(t, a, b, b.ip6, STAGE, 5303), STAGE << 20);
  t.is(await plainTransfer(t, b, a, a.ip6, STAGE, 5304), STAGE << 20);
}

/** Gb/s of one second. */
function speed({ end }: IperfResult): string {
  return `${(((end.sum_received?.bytes ?? 0) * 8) / 1e9).toFixed(1)} Gb/s`;
}

/** What was on the wire is VXLAN and without fault, and has checksums where it should. */
async function wellFormed(
  t: ExecutionContext,
  { sums, port }: Case,
  paths: readonly string[],
): Promise<readonly [Decoded, Decoded]> {
  const sent = (await Promise.all(paths.map((path) => decode(path, port)))) as [Decoded, Decoded];
  for (const [end, decoded] of sent.entries()) {
    t.deepEqual(await objections(paths[end]!, port), []);
    t.true(decoded.packets > 2 * STAGE * 700, `${decoded.packets} packets were captured`);
    t.is(decoded.vxlan, decoded.packets, 'each is VXLAN');
    t.is(decoded.warnings, 0);
    t.is(decoded.badChecksums, 0);
    t.is(decoded.unsummed, sums[end] === true ? 0 : decoded.packets);
  }
  return sent;
}

for (const each of CASES) {
  const { first, family, port, discovery, sums, isCutHere = false } = each;
  const words = sums.map((sum) => (sum ? 'yes' : 'no')).join(' · ');
  const name = isCutHere ? 'Tapline without outlet' : first;
  test.serial(`${name} and kernel: ${discovery}, IPv${family}, port ${port}, checksums ${words}`, async (t) => {
    const { underlay, hosts, a, b } = await createPair(t);
    await createKernelHost(hosts[1], [b], kernelOptions(each, 1, hosts[1], hosts[0], a));
    if (first === 'kernel') await createKernelHost(hosts[0], [a], kernelOptions(each, 0, hosts[0], hosts[1], b));
    else {
      const more = { uplink: { outlet: !isCutHere } };
      const tapline = await startOverlay(t, hosts[0], [a], taplineOptions(each, hosts[0], hosts[1], b), more);
      t.is((await tapline.status()).uplink?.outlet === null, isCutHere);
      await eventually('the way to the peer', async () => {
        await a.run(['ping', '-n', '-c', '1', '-W', '1', b.ip]);
        const entry = (await tapline.fdb()).find(({ mac }) => mac === b.mac);
        return entry?.port === vtepPort(addressOf(hosts[1], family)) && entry.static === (discovery === 'static FDB');
      });
    }
    await reaches(a, b);
    for (const { namespace } of hosts) await withoutOffloads(namespace, 'up0');
    const captures = [];
    for (const host of hosts) captures.push(await watchUnderlay(t, underlay, host, 'in', `udp dst port ${port}`));
    await talk(t, a, b);
    for (const capture of captures) await capture.frames();
    const sent = await wellFormed(
      t,
      each,
      captures.map(({ path }) => path),
    );

    for (const { namespace } of hosts) await withOffloads(namespace, 'up0');
    await iperfServer(b);
    const there = speed(await iperf(a, b.ip, '--time', '1'));
    const back = speed(await iperf(a, b.ip, '--time', '1', '--reverse'));
    const sum = (key: keyof Decoded): string => `${sent[0][key] + sent[1][key]}`;
    const figures = [sum('packets'), sum('vxlan'), sum('warnings'), sum('badChecksums'), there, back];
    report(tableRow([name, 'kernel', discovery, `IPv${family}`, `${port}`, words, ...figures]));
    t.log(figures.join(' · '));
  });
}

test.serial(
  'a group policy tag is the mark that the kernel at the other end sees, and the other way round',
  async (t) => {
    const { hosts, a, b } = await createPair(t);
    const [one, two] = hosts;
    await createKernelHost(two, [b], { local: two.ip, peers: [one.ip], gbp: true });
    const seen = 'chain seen { type filter hook prerouting priority 0; iifname vx1 meta mark 100 counter; };';
    const said = 'chain said { type filter hook forward priority 0; oifname vx1 meta mark set 200; };';
    await two.namespace.exec(nftProgram(), `table bridge marks { ${seen} ${said} }`);
    const tapline = await startOverlay(t, one, [a], { vni: VNI, local: one.ip, remotes: [two.ip], gbp: 100 });
    await reaches(a, b);
    await a.exec('ping', '-n', '-c', '5', '-i', '0.1', '-W', '5', b.ip);
    const rules = await two.namespace.exec(nftProgram(), 'list', 'table', 'bridge', 'marks');
    t.true(Number(/counter packets (\d+)/.exec(rules)?.[1]) >= 5, rules);
    // What the bridge at the other end says by itself has another tag, or none.
    await eventually('the tag to be seen', async () => {
      await a.exec('ping', '-n', '-c', '1', '-W', '5', b.ip);
      return (await vtepOf(tapline, two.ip)).gbp === 200;
    });
  },
);

const CODEPOINTS = [0, 1, 2, 3];
/** Somebody in the underlay whom both ends take for a peer. */
const THIRD = '10.77.0.9';

/** Type of service of each packet that came in, by its text: `inner outer` as it was sent. Some may have come in as one super-packet. */
async function arrivedOf(capture: Tcpdump): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const frame of await capture.frames()) {
    const six = frame.readUInt16BE(12) === 0x86dd;
    const service = six ? (frame.readUInt16BE(14) >> 4) & 255 : frame.readUInt8(15);
    for (const [, text] of frame.toString('latin1').matchAll(/<(\d \d [46])>/g)) found[text!] = service;
  }
  return found;
}

/** What a packet of each inner mark in a tunnel's packet of each outer mark becomes. */
async function decapsulated(
  t: ExecutionContext,
  from: Namespace,
  host: OverlayHost,
  mac: string,
  to: Container,
): Promise<Record<string, number>> {
  const capture = await tcpdump(t, to, { direction: 'in', filter: 'udp port 9 or ip6 proto 17' });
  const packets: string[] = [];
  for (const inner of CODEPOINTS)
    for (const outer of CODEPOINTS)
      for (const [family, header] of [
        [4, `IP(src='172.30.0.99', dst='${to.ip}', tos=${0x28 | inner})`],
        [6, `IPv6(src='fd00:30::99', dst='${to.ip6}', tc=${0x28 | inner})`],
      ] as const) {
        const ends = `Ether(src='02:00:00:00:00:09', dst='${mac}')/IP(src='${THIRD}', dst='${host.ip}', tos=${outer})`;
        const inside = `Ether(src='02:00:00:00:00:99', dst='${to.mac}')/${header}/UDP(sport=9, dport=9)`;
        const vxlan = `UDP(sport=50000, dport=4789)/VXLAN(vni=${VNI}, flags=8)`;
        packets.push(`${ends}/${vxlan}/${inside}/Raw(b'<${inner} ${outer} ${family}>')`);
      }
  await sendScapy(from, packets, 'up0');
  await capture.has('<3 3 6>');
  return arrivedOf(capture);
}

/** Outer marks of pings with each inner type of service, by that. */
async function encapsulated(
  t: ExecutionContext,
  underlay: Underlay,
  host: OverlayHost,
  from: Container,
  to: Container,
): Promise<Record<number, number>> {
  const capture = await watchUnderlay(t, underlay, host, 'in');
  for (const address of [to.ip, to.ip6])
    for (const codepoint of CODEPOINTS)
      await from.exec('ping', '-n', '-c', '1', '-W', '5', '-Q', String(0x48 | codepoint), address);
  await capture.frames();
  const echo = ['ip.dsfield', 'ipv6.tclass'];
  const rows = [
    ...(await tshark(capture.path, echo, 'icmp.type == 8')).map(([four = '']) => four.split(',')),
    ...(await tshark(capture.path, echo, 'icmpv6.type == 128')).map(([four = '', six = '']) => [four, six]),
  ];
  t.is(rows.length, 2 * CODEPOINTS.length);
  const pairs = rows.map(([outer, inner]) => [Number(inner), Number(outer)] as const);
  const found = Object.fromEntries(pairs);
  for (const [inner, outer] of pairs) t.is(found[inner], outer, 'in both families alike');
  return found;
}

for (const [dscp, tos, bits] of [
  [0, '0', 0],
  [46, '0xb8', 0xb8],
  ['inherit', 'inherit', 0x48],
] as const) {
  test.serial(
    `RFC 6040: DSCP ${dscp}, each inner by each outer mark of congestion, as the kernel has it`,
    async (t) => {
      const { underlay, hosts, a, b } = await createPair(t);
      const [one, two] = hosts;
      const third = await underlay.addHost(9);
      await createKernelHost(two, [b], { local: two.ip, peers: [one.ip], tos });
      const tapline = await startOverlay(t, one, [a], { vni: VNI, local: one.ip, remotes: [two.ip, THIRD], dscp });
      await reaches(a, b);
      const [link] = JSON.parse(await two.namespace.exec('ip', '-json', 'link', 'show', 'up0')) as [
        { address: string },
      ];
      const uplink = (await tapline.status()).uplink?.mac ?? '';
      const ours = await decapsulated(t, third.namespace, one, uplink, a);
      const theirs = await decapsulated(t, third.namespace, two, link.address, b);
      t.deepEqual(ours, theirs);
      // Of the sixteen one is dropped in each family: congestion that the inner packet cannot tell of.
      t.is(Object.keys(ours).length, 30);
      t.false('0 3 4' in ours || '0 3 6' in ours);
      t.is((await tapline.drops()).drops.find(({ reason }) => reason === 'vxlan_ecn')?.rx, 2);

      const marks = (ce: number): Record<number, number> =>
        Object.fromEntries(
          CODEPOINTS.map((codepoint) => [0x48 | codepoint, bits | (codepoint === 3 ? ce : codepoint)]),
        );
      t.deepEqual(await encapsulated(t, underlay, one, a, b), marks(3), 'RFC 6040, 4.1: normal mode');
      t.deepEqual(await encapsulated(t, underlay, two, b, a), marks(2), 'the kernel: RFC 3168, 9.1.1');
    },
  );
}

test.serial('tshark sees what is wrong: what it has nothing to object to would be objected to', async (t) => {
  const { underlay, hosts } = await createPair(t);
  const outer = (more: string): string =>
    `Ether(src='02:00:00:00:00:01', dst='02:00:00:00:00:02')/IP(src='10.77.0.1', dst='10.77.0.2')/UDP(sport=50000, dport=4789${more})`;
  const inner = (sum: string): string =>
    `Ether(src='02:00:00:00:00:03', dst='02:00:00:00:00:04')/IP(src='172.30.0.17', dst='172.30.0.33')/TCP(sport=7, dport=9${sum})`;
  const capture = await watchUnderlay(t, underlay, hosts[0], 'in');
  await sendScapy(
    hosts[0].namespace,
    [
      `${outer('')}/VXLAN(vni=${VNI}, flags=8)/${inner('')}`,
      `${outer('')}/VXLAN(vni=${VNI}, flags=8)/${inner(', chksum=0x1234')}`,
      `${outer(', chksum=0x1234')}/VXLAN(vni=${VNI}, flags=8)/${inner('')}`,
      `${outer(', chksum=0')}/VXLAN(vni=43, flags=8)/${inner('')}`,
      `${outer('')}/VXLAN(vni=${VNI}, flags=8)/${inner(', options=[(2, b"x")]')}`,
    ],
    'up0',
  );
  await eventually('the frames', () => readFileSync(capture.path).length > 5 * 100);
  await capture.frames();
  const { packets, vxlan, warnings, badChecksums, unsummed } = await decode(capture.path);
  t.deepEqual({ packets, vxlan, badChecksums, unsummed }, { packets: 5, vxlan: 4, badChecksums: 2, unsummed: 1 });
  t.true(warnings >= 1);
});
