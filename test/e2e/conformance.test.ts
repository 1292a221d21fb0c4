/**
 * What the RFCs require of a router for single packets, on real wires: what comes out at the far end, what the sender is told, and what
 * is counted. The packets are scapy's, and tshark verifies the checksums of all that comes back.
 */

import test from 'ava';
import { nftProgram } from '../../io/nft.js';
import { linkLocal } from './support/attacks.js';
import { sendFrames, type Tcpdump, tcpdump, tshark } from './support/frames.js';
import type { Namespace } from './support/namespace.js';
import { CASES, type Case, WIRE_MTU } from './support/rfc-cases.js';
import { buildFrames } from './support/scapy.js';
import { accounted, BLUE, createRoutedSite, newDrops, OUTSIDE, type Site, type SiteOptions } from './support/site.js';
import { eventually } from './support/wait.js';

const ETHERNET = 14;
const PROTOCOL_ICMP = 1;
const PROTOCOL_ICMPV6 = 58;
/** Errors are this long at most (RFC 1812, 4.3.2.3; RFC 4443, 2.4(c)). */
const MAXIMUM4 = 576;
const MAXIMUM6 = 1280;

const ROUTES = [
  { to: '10.8.0.0/16', type: 'unreachable' },
  { to: '10.9.0.0/16', type: 'prohibit' },
  { to: '10.10.0.0/16', type: 'blackhole' },
  { to: 'fd08::/16', type: 'unreachable' },
  { to: 'fd09::/16', type: 'prohibit' },
  { to: 'fd10::/16', type: 'blackhole' },
];

/** The kernel says nothing but ARP and neighbor discovery. */
async function silence(namespace: Namespace): Promise<void> {
  const nd = 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;';
  const chains = ['input', 'output'].map(
    (hook) => `chain ${hook} { type filter hook ${hook} priority 0; policy drop; ${nd} };`,
  );
  await namespace.exec(nftProgram(), `table inet silent { ${chains.join(' ')} }`);
}

function values({ a, b, c }: Site): Record<string, string> {
  return {
    AMAC: a.mac,
    AIP: a.ip,
    AIP6: a.ip6,
    ALL: linkLocal(a.mac),
    BIP: b.ip,
    CIP: c.ip,
    CIP6: c.ip6,
    GMAC: BLUE.mac,
    GIP: BLUE.ip,
    GIP6: BLUE.ip6,
    GLL: linkLocal(BLUE.mac),
    OIP: OUTSIDE.ip,
    OIP6: OUTSIDE.ip6,
  };
}

const tagOf = (number: number): string => `case-${String(number).padStart(4, '0')}`;

/** The packets of a site in which everything but ours is silent, and the neighbors are known. */
async function createSilent(t: Parameters<typeof createRoutedSite>[0], options: SiteOptions = {}): Promise<Site> {
  const site = await createRoutedSite(t, {
    mtu: WIRE_MTU,
    endpoints: { security: 'off' },
    uplink: { gateways: [] },
    ...options,
    vrf: { routes: ROUTES, ...options.vrf },
  });
  const { a, b, c, outside } = site;
  for (const address of [OUTSIDE.ip, OUTSIDE.ip6, c.ip, c.ip6, b.ip]) {
    await a.exec('ping', '-n', '-c', '1', '-W', '5', address);
  }
  for (const namespace of [a, b, c, outside]) await silence(namespace);
  return site;
}

/** The IP packet in a frame, cut to its own length where the link may have padded it. */
function packetIn(frame: Buffer): Buffer {
  const is4 = frame.readUInt16BE(12) === 0x0800;
  const length = is4 ? frame.readUInt16BE(ETHERNET + 2) : 40 + frame.readUInt16BE(ETHERNET + 4);
  return frame.subarray(ETHERNET, ETHERNET + length);
}

/** The Internet checksum of a header whose own field is 0. */
function headerChecksum(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The packet as it leaves a router that does nothing but route it. */
function hopped(frame: Buffer): Buffer {
  const packet = Buffer.from(packetIn(frame));
  if (packet[0]! >> 4 === 6) {
    packet[7]!--;
    return packet;
  }
  packet[8]!--;
  packet.writeUInt16BE(0, 10);
  packet.writeUInt16BE(headerChecksum(packet.subarray(0, (packet[0]! & 15) * 4)), 10);
  return packet;
}

interface Message {
  /** `type/code`. */
  readonly kind: string;
  readonly word: number;
  readonly source: string;
  readonly length: number;
  readonly tos: number;
  readonly quote: Buffer;
  readonly isError: boolean;
}

/** The ICMP message in a frame, or null. */
function messageIn(frame: Buffer): Message | null {
  const packet = packetIn(frame);
  const is4 = packet[0]! >> 4 === 4;
  if ((is4 ? packet[9] : packet[6]) !== (is4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) return null;
  const header = is4 ? (packet[0]! & 15) * 4 : 40;
  const type = packet[header]!;
  return {
    kind: `${type}/${packet[header + 1]}`,
    word: packet.readUInt32BE(header + 4),
    source: packet.toString('hex', is4 ? 12 : 8, is4 ? 16 : 24),
    length: packet.length,
    tos: is4 ? packet[1]! : (packet[0]! << 4) & 0xff,
    quote: packet.subarray(header + 8),
    isError: is4 ? type === 3 || type === 11 || type === 12 : type < 128,
  };
}

const mac = (text: string): string => text.replaceAll(':', '');
const isFrom = (frame: Buffer, source: string): boolean => frame.toString('hex', 6, 12) === mac(source);

/** The gateway's: what errors come from (RFC 1812, 4.3.2.4), and where the sender has but a link-local address. */
const ADDRESS4 = 'ac1e0001';
const ADDRESS6 = 'fd000030000000000000000000000001';
const LINK_LOCAL = 'fe800000000000000042acfffe1e0001';

/** What is wrong with an error about `sent`; empty: nothing. */
function errorFault({ quote, length, source, tos }: Message, sent: Buffer): string {
  const original = packetIn(sent);
  const is4 = original[0]! >> 4 === 4;
  const room = is4 ? MAXIMUM4 - 28 : MAXIMUM6 - 48;
  const expected = original.subarray(0, Math.min(original.length, room));
  if (!quote.equals(expected)) return `quotes ${quote.toString('hex')} of ${original.toString('hex')}`;
  if (length > (is4 ? MAXIMUM4 : MAXIMUM6)) return `${length} bytes long`;
  const isLinkLocal = !is4 && original.toString('hex', 8, 10) === 'fe80';
  if (source !== (is4 ? ADDRESS4 : isLinkLocal ? LINK_LOCAL : ADDRESS6)) return `comes from ${source}`;
  // Internetwork control (RFC 1812, 4.3.2.5).
  if (is4 && tos !== 0xc0) return `TOS ${tos}`;
  return '';
}

/** What is wrong with what became of a case; empty: nothing. */
function fault(wanted: Case, tag: string, sent: Buffer, out: readonly Buffer[], back: readonly Buffer[]): string {
  const arrived = out.filter((frame) => frame.includes(tag));
  const expected = wanted.out === 'hop' ? [hopped(sent)] : [];
  if (arrived.length !== expected.length) return `${arrived.length} packets came out, not ${expected.length}`;
  if (expected[0] !== undefined && !arrived[0]!.subarray(ETHERNET).equals(expected[0])) {
    return `came out as ${arrived[0]!.toString('hex', ETHERNET)}, not ${expected[0].toString('hex')}`;
  }
  const messages = back.filter((frame) => frame.includes(tag) && isFrom(frame, BLUE.mac)).map(messageIn);
  const kinds = messages.map((message) => message?.kind ?? 'no ICMP').join();
  if (kinds !== (wanted.answer ?? '')) return `answered by '${kinds}', not '${wanted.answer ?? ''}'`;
  const [message] = messages;
  if (message === undefined || message === null) return '';
  if (wanted.word !== undefined && message.word !== wanted.word >>> 0)
    return `word ${message.word}, not ${wanted.word}`;
  return message.isError ? errorFault(message, sent) : '';
}

/** Ends captures. The caller has seen in each a frame that went the same way after all others. */
async function ended(captures: readonly Tcpdump[]): Promise<Buffer[][]> {
  return Promise.all(captures.map((capture) => capture.frames()));
}

const BAD_ICMP =
  'ip.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || udp.checksum.status == 0';

test.serial(
  'RFC 1812, 8200, 4443, 4291: each packet is forwarded, answered, dropped and counted as it must be',
  async (t) => {
    t.timeout(300_000);
    const site = await createSilent(t);
    const { tapline, a, outside } = site;
    const packets = Object.fromEntries(
      CASES.map(({ packet }, number) => [tagOf(number), packet.replaceAll('TAG', `Raw(b'${tagOf(number)}')`)]),
    );
    const last = `Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=OIP)/UDP(sport=1000, dport=9)/Raw(b'the-end')`;
    const lastEcho = `Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=GIP)/ICMP()/Raw(b'the-end')`;
    const frames: Record<string, Buffer> = await buildFrames({ ...packets, last, lastEcho }, values(site));
    const atOutside = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'ip or ip6' });
    const atSender = await tcpdump(t, a, { direction: 'in', filter: 'icmp or icmp6' });
    const faults: string[] = [];
    for (const [number, { name, reason }] of CASES.entries()) {
      const before = await tapline.port('a');
      await sendFrames(a, [frames[tagOf(number)]!]);
      await eventually(`${name} to arrive`, async () => (await tapline.port('a')).rxPackets > before.rxPackets);
      const drops = JSON.stringify(await newDrops(tapline, 'a', before.rxDrops));
      const expected = JSON.stringify(reason === undefined ? {} : { [reason]: 1 });
      if (drops !== expected) faults.push(`${name}: dropped ${drops}, not ${expected}`);
    }
    await sendFrames(a, [frames.last!, frames.lastEcho!]);
    await atOutside.has('the-end');
    await atSender.has('the-end');
    const [out, back] = (await ended([atOutside, atSender])) as [Buffer[], Buffer[]];
    for (const [number, wanted] of CASES.entries()) {
      const wrong = fault(wanted, tagOf(number), frames[tagOf(number)]!, out, back);
      if (wrong !== '') faults.push(`${wanted.name}: ${wrong}`);
    }
    t.deepEqual(faults, []);
    t.deepEqual(await tshark(atSender.path, ['frame.number', '_ws.col.Info'], BAD_ICMP), []);
    // No case took another's place: each is there that is to be.
    t.is(out.filter((frame) => frame.includes('case-')).length, CASES.filter(({ out: hop }) => hop === 'hop').length);
    await accounted(tapline);
  },
);

test.serial('RFC 1812 5.2.5, RFC 3168: all 256 values of TOS and traffic class pass as they are', async (t) => {
  const site = await createSilent(t);
  const { tapline, a, outside } = site;
  const [v4, v6] = await Promise.all(
    ['IP(src=AIP, dst=OIP, tos=n)', 'IPv6(src=AIP6, dst=OIP6, tc=n)'].map(async (header) => {
      const packets = Array.from({ length: 256 }, (_, n) => {
        const packet = `Ether(src=AMAC, dst=GMAC)/${header.replace('=n', `=${n}`)}/UDP(sport=1000, dport=9)/Raw(b'tos-x')`;
        return [`tos ${n}`, packet];
      });
      return Object.values(await buildFrames(Object.fromEntries(packets) as Record<string, string>, values(site)));
    }),
  );
  const capture = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'udp' });
  const end = await buildFrames(
    { end: "Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=OIP)/UDP(sport=1000, dport=9)/Raw(b'the-end')" },
    values(site),
  );
  await sendFrames(a, [...v4!, ...v6!, end.end]);
  await capture.has('the-end');
  const arrived = (await capture.frames()).filter((frame) => frame.includes('tos-x'));
  t.deepEqual(
    arrived.map((frame) => packetIn(frame).toString('hex')),
    [...v4!, ...v6!].map((frame) => hopped(frame).toString('hex')),
  );
  await accounted(tapline);
});

test.serial('RFC 1812 5.2.7.2: a packet that leaves where it came in is forwarded without a redirect', async (t) => {
  const site = await createSilent(t);
  const { tapline, a, b } = site;
  const frames = await buildFrames(
    {
      hairpin: "Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=BIP)/UDP(sport=1000, dport=9)/Raw(b'hairpin')",
      end: "Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=GIP)/ICMP()/Raw(b'the-end')",
    },
    values(site),
  );
  const atNeighbor = await tcpdump(t, b, { direction: 'in', filter: 'udp' });
  const atSender = await tcpdump(t, a, { direction: 'in', filter: 'icmp' });
  await sendFrames(a, [frames.hairpin, frames.end]);
  await atNeighbor.has('hairpin');
  await atSender.has('the-end');
  const [arrived, back] = (await ended([atNeighbor, atSender])) as [Buffer[], Buffer[]];
  t.is(arrived.length, 1);
  t.true(isFrom(arrived[0]!, BLUE.mac));
  t.true(packetIn(arrived[0]!).equals(hopped(frames.hairpin)));
  t.deepEqual(
    back.map((frame) => messageIn(frame)?.kind),
    ['0/0'],
  );
  await accounted(tapline);
});

test.serial(
  'RFC 1812 5.3.13.5, 5.3.13.6: record route and timestamp are filled in where the VRF allows them',
  async (t) => {
    const site = await createRoutedSite(t, { vrf: { ip_options: { record_route: true, timestamp: true } } });
    const { tapline, a } = site;
    const route = await a.exec('ping', '-n', '-R', '-c', '1', '-W', '5', OUTSIDE.ip);
    // Its own, the router's on the way out, the far end's, and the router's on the way back.
    const recorded = [...route.matchAll(/^(?:RR:)?\s+(\d+\.\d+\.\d+\.\d+)$/gm)].map(([, address]) => address);
    t.deepEqual(recorded, [a.ip, '10.77.0.1', OUTSIDE.ip, OUTSIDE.ip, BLUE.ip, a.ip].slice(0, recorded.length), route);
    t.true(recorded.length >= 5, route);
    const stamps = await a.exec('ping', '-n', '-T', 'tsandaddr', '-c', '1', '-W', '5', OUTSIDE.ip);
    t.regex(stamps, /TS:\s+172\.30\.0\.2\s/);
    t.regex(stamps, /10\.77\.0\.1\s/);
    // With neither allowed they are dropped, in silence: a case above.
    await accounted(tapline);
  },
);

test.serial('RFC 1812 5.2.6: fragments of fragments, each option as its copy bit says', async (t) => {
  const site = await createSilent(t);
  const { tapline, a, outside } = site;
  // A fragment from the middle of a datagram, with an option that is copied (0x9e) and one that is not (0x1e).
  const packet =
    "Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=OIP, id=0x4321, proto=17, flags='MF', frag=100, options=[IPOption(bytes.fromhex('9e04abcd')), IPOption(bytes.fromhex('1e041234'))])/Raw(bytes(i & 255 for i in range(1464)))";
  const { whole, end } = await buildFrames(
    { whole: packet, end: "Ether(src=AMAC, dst=GMAC)/IP(src=AIP, dst=OIP)/UDP(sport=1000, dport=9)/Raw(b'the-end')" },
    values(site),
  );
  const capture = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'ip' });
  await sendFrames(a, [whole, end]);
  await capture.has('the-end');
  const fragments = (await capture.frames()).map(packetIn).filter((each) => each.readUInt16BE(4) === 0x4321);
  t.is(fragments.length, 2);
  const [first, second] = fragments as [Buffer, Buffer];
  t.is(first.toString('hex', 20, (first[0]! & 15) * 4), '9e04abcd1e041234');
  t.is(second.toString('hex', 20, (second[0]! & 15) * 4), '9e04abcd');
  const payloads = fragments.map((each) => each.subarray((each[0]! & 15) * 4));
  t.true(Buffer.concat(payloads).equals(packetIn(whole).subarray(28)));
  t.is(first.readUInt16BE(6), 0x2000 | 100);
  t.is(second.readUInt16BE(6), 0x2000 | (100 + payloads[0]!.length / 8));
  for (const each of fragments) {
    t.true(each.length <= WIRE_MTU);
    t.is(each[8], 63);
    t.is(headerChecksum(each.subarray(0, (each[0]! & 15) * 4)), 0);
  }
  await accounted(tapline);
});

const OVERLAP = 'IPv6(src=AIP6, dst=GIP6)';

test.serial('RFC 8200 4.5: of overlapping fragments for the router nothing is taken, in silence', async (t) => {
  const site = await createSilent(t);
  const { tapline, a } = site;
  const ether = 'Ether(src=AMAC, dst=GMAC)';
  const echo = "bytes(IPv6(src=AIP6, dst=GIP6)/ICMPv6EchoRequest(id=5, seq=6, data=b'overlap-' + b'x' * 48))[40:]";
  const fragment = (offset: number, more: number, from: number, to: number, id: number): string =>
    `${ether}/${OVERLAP}/IPv6ExtHdrFragment(nh=58, offset=${offset}, m=${more}, id=${id})/Raw(${echo}[${from}:${to}])`;
  const frames = await buildFrames(
    {
      first: fragment(0, 1, 0, 32, 1),
      overlap: fragment(3, 1, 24, 40, 1),
      last: fragment(4, 0, 32, 64, 1),
      // The same without an overlap is answered.
      good: fragment(0, 1, 0, 32, 2),
      rest: fragment(4, 0, 32, 64, 2),
    },
    values(site),
  );
  const capture = await tcpdump(t, a, { direction: 'in', filter: 'icmp6' });
  const before = (await tapline.port('a')).rxDrops;
  await sendFrames(a, [frames.first, frames.overlap]);
  await sendFrames(a, [frames.good, frames.rest]);
  await capture.has('overlap-');
  const kinds = (await capture.frames())
    .filter((frame) => frame.includes('overlap-'))
    .map((frame) => messageIn(frame)?.kind);
  t.deepEqual(kinds, ['129/0']);
  t.deepEqual(await newDrops(tapline, 'a', before), { fragment_invalid: 2 });
  await accounted(tapline);
});

test.serial(
  'RFC 4861 7.1.1, 7.1.2, 7.2.4: discovery is believed only as it must be, and answered with the right flags',
  async (t) => {
    const site = await createSilent(t);
    const { tapline, a } = site;
    const group = "Ether(src=AMAC, dst='33:33:ff:00:00:01')/IPv6(src=AIP6, dst='ff02::1:ff00:1', hlim=H)";
    const ask = (hlim: number, message: string): string => `${group.replace('=H', `=${hlim}`)}/${message}`;
    const option = 'ICMPv6NDOptSrcLLAddr(lladdr=AMAC)';
    const wrong = {
      'hop limit 254': ask(254, `ICMPv6ND_NS(tgt=GIP6)/${option}`),
      'code 1': ask(255, `ICMPv6ND_NS(tgt=GIP6, code=1)/${option}`),
      'a wrong checksum': ask(255, `ICMPv6ND_NS(tgt=GIP6, cksum=0x1234)/${option}`),
      'an option of length 0': ask(255, 'ICMPv6ND_NS(tgt=GIP6)/ICMPv6NDOptSrcLLAddr(len=0, lladdr=AMAC)'),
      'a group as source': ask(255, `ICMPv6ND_NS(tgt=GIP6)/${option}`).replace('src=AIP6', "src='ff02::2'"),
      'a link-layer address from nowhere': ask(255, `ICMPv6ND_NS(tgt=GIP6)/${option}`).replace('src=AIP6', "src='::'"),
    };
    const good = { good: ask(255, `ICMPv6ND_NS(tgt=GIP6)/${option}`) };
    const frames = await buildFrames({ ...wrong, ...good }, values(site));
    const capture = await tcpdump(t, a, { direction: 'in', filter: 'icmp6 and ip6[40] == 136' });
    for (const name of Object.keys(wrong)) {
      const before = await tapline.port('a');
      await sendFrames(a, [frames[name as keyof typeof wrong]]);
      await eventually(
        `${name} to be counted`,
        async () => Object.keys(await newDrops(tapline, 'a', before.rxDrops)).length > 0,
      );
      const drops = Object.keys(await newDrops(tapline, 'a', before.rxDrops));
      t.deepEqual(drops, ['neighbor_invalid'], name);
    }
    await sendFrames(a, [frames.good]);
    const toUs = `eth.dst == ${a.mac}`;
    await eventually('the answer', async () => (await tshark(capture.path, ['frame.number'], toUs)).length > 0);
    await capture.frames();
    const fields = ['icmpv6.nd.na.flag', 'icmpv6.nd.na.target_address', 'icmpv6.opt.linkaddr', 'ipv6.hlim', 'ipv6.src'];
    // Router, solicited, override; once. What the router announces by itself, when it was made and a second later, goes to all.
    t.deepEqual(await tshark(capture.path, fields, `eth.src == ${BLUE.mac} && eth.dst != 33:33:00:00:00:01`), [
      ['0xe0000000', BLUE.ip6, BLUE.mac, '255', BLUE.ip6],
    ]);
    await accounted(tapline);
  },
);
