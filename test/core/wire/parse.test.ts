import test from 'ava';
import { DROP_NONE, DROP_OVERSIZED, DROP_RUNT, DROP_VNET_HEADER } from '../../../core/drop.js';
import { MAX_FRAME_LENGTH } from '../../../core/packet/arena.js';
import {
  PACKET_FRAGMENT,
  PACKET_IPV4_OPTIONS,
  PACKET_IPV6_EXTENSIONS,
  PACKET_L3_MALFORMED,
  PACKET_L4_MALFORMED,
  PACKET_LATER_FRAGMENT,
} from '../../../core/packet/packet.js';
import {
  VNET_F_NEEDS_CSUM,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP,
  VNET_GSO_UDP_L4,
} from '../../../core/packet/vnet.js';
import { MAX_IPV6_EXTENSIONS } from '../../../core/wire/parse.js';
import {
  arp,
  authentication,
  ethernet,
  extension,
  fragmentHeader,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  tcp,
  udp,
  vlan,
} from './build.js';
import { brokenRule, ParseBench, type Parsed } from './parsed.js';

const bench = new ParseBench();
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ARP = 0x0806;

const SEGMENT = tcp({ srcPort: 40000, dstPort: 80 }, new Uint8Array(10).fill(7));
const DATAGRAM = udp({ srcPort: 5353, dstPort: 53 }, new Uint8Array(10).fill(7));

/** What the parse says of a plain frame from the builders; a test adds what differs. */
const PLAIN: Parsed = {
  verdict: DROP_NONE,
  flags: 0,
  dstHigh: 0x0242,
  dstLow: 0xac1e0002 | 0,
  srcHigh: 0x0242,
  srcLow: 0xac1e0003 | 0,
  vlan: -1,
  vlanType: 0,
  innerVlan: -1,
  etherType: -1,
  l3: -1,
  l3End: 0,
  protocol: -1,
  l4: -1,
  srcPort: -1,
  dstPort: -1,
};

const TCP4: Parsed = { ...PLAIN, etherType: IPV4, l3: 14, l3End: 64, protocol: 6, l4: 34, srcPort: 40000, dstPort: 80 };
const UDP4: Parsed = { ...PLAIN, etherType: IPV4, l3: 14, l3End: 52, protocol: 17, l4: 34, srcPort: 5353, dstPort: 53 };
const TCP6: Parsed = { ...PLAIN, etherType: IPV6, l3: 14, l3End: 84, protocol: 6, l4: 54, srcPort: 40000, dstPort: 80 };
const UDP6: Parsed = { ...PLAIN, etherType: IPV6, l3: 14, l3End: 72, protocol: 17, l4: 54, srcPort: 5353, dstPort: 53 };

/** The network header is there and malformed: no field above it, and it ends with the frame. */
function malformedNetwork(etherType: number, frame: Uint8Array): Parsed {
  return { ...PLAIN, etherType, l3: 14, l3End: frame.length, flags: PACKET_L3_MALFORMED };
}

/** The transport header is malformed: the protocol is known, its place and ports are not. */
function malformedTransport(whole: Parsed, l3End = whole.l3End): Parsed {
  return { ...whole, l3End, l4: -1, srcPort: -1, dstPort: -1, flags: whole.flags | PACKET_L4_MALFORMED };
}

/** Both fills behind the frame, and no memory there at all, give the same; and the general rules hold. */
function parseFrame(frame: Uint8Array, vnet = {}): Parsed {
  const parsed = bench.parse(frame, 0xa5, vnet);
  const other = bench.parse(frame, 0x45, vnet);
  const edge = bench.parseAtEdge(frame, vnet);
  const same = JSON.stringify(parsed) === JSON.stringify(other) && JSON.stringify(parsed) === JSON.stringify(edge);
  if (!same) throw new Error('the parse read behind the frame');
  const broken = brokenRule(parsed, frame.length);
  if (broken !== null) throw new Error(`broken rule: ${broken}`);
  return parsed;
}

test('Ethernet: MAC addresses as two words, the lower one signed', (t) => {
  const frame = ethernet(0x88cc, new Uint8Array(46));
  frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0x01, 0x80, 0, 0, 1], 0);
  const expected = { dstHigh: 0xffff, dstLow: -1, srcHigh: 0x8001, srcLow: -0x7fffffff, etherType: 0x88cc };
  t.deepEqual(parseFrame(frame), { ...PLAIN, ...expected });
});

test('Ethernet: an 802.3 length stays in etherType', (t) => {
  t.deepEqual(parseFrame(ethernet(38, new Uint8Array(46))), { ...PLAIN, etherType: 38 });
  t.deepEqual(parseFrame(ethernet(0x05dc, new Uint8Array(1500))), { ...PLAIN, etherType: 0x05dc });
});

test('Ethernet: a header alone is a frame', (t) => {
  t.deepEqual(parseFrame(ethernet(0x88cc)), { ...PLAIN, etherType: 0x88cc });
});

test('a frame shorter than an Ethernet header is a runt and nothing of it is told', (t) => {
  const frame = ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT));
  for (let length = 0; length < 14; length++) {
    const expected = { ...PLAIN, verdict: DROP_RUNT, dstHigh: 0, dstLow: 0, srcHigh: 0, srcLow: 0 };
    t.deepEqual(parseFrame(frame.slice(0, length)), expected);
  }
});

test('a frame longer than a slot holds is oversized; the longest one is not', (t) => {
  const expected = { ...PLAIN, verdict: DROP_OVERSIZED, dstHigh: 0, dstLow: 0, srcHigh: 0, srcLow: 0 };
  t.deepEqual(bench.parse(ethernet(IPV4), 0, {}, MAX_FRAME_LENGTH + 1), expected);
  t.is(bench.parse(ethernet(0x88cc, new Uint8Array(MAX_FRAME_LENGTH - 14))).verdict, DROP_NONE);
});

test('a virtio-net header that contradicts its frame drops it', (t) => {
  const frame = ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT));
  const expected = { ...PLAIN, verdict: DROP_VNET_HEADER, dstHigh: 0, dstLow: 0, srcHigh: 0, srcLow: 0 };
  const outside = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: frame.length - 34 - 1 };
  t.deepEqual(parseFrame(frame, outside), expected);
  t.deepEqual(parseFrame(frame, { ...outside, checksumOffset: 16 }), TCP4);
  t.deepEqual(parseFrame(frame, { gsoType: 77, gsoSize: 1448 }), expected);
});

test('the virtio-net header is read into the handle', (t) => {
  const vnet = {
    vnetFlags: VNET_F_NEEDS_CSUM,
    gsoType: VNET_GSO_TCPV4,
    headerLength: 54,
    gsoSize: 1448,
    checksumStart: 34,
    checksumOffset: 16,
  };
  bench.parse(ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT)), 0xa5, vnet);
  for (const [field, value] of Object.entries(vnet)) t.is(bench.packet[field as keyof typeof vnet], value, field);
});

test('VLAN: one tag, 802.1Q or 802.1ad', (t) => {
  const inner = vlan(0xe064, IPV4, ipv4({ protocol: 6 }, SEGMENT));
  const expected = { ...TCP4, l3: 18, l3End: 68, l4: 38, vlan: 0xe064 };
  t.deepEqual(parseFrame(ethernet(0x8100, inner)), { ...expected, vlanType: 0x8100 });
  t.deepEqual(parseFrame(ethernet(0x88a8, inner)), { ...expected, vlanType: 0x88a8 });
});

test('VLAN: two tags', (t) => {
  const inner = vlan(7, 0x8100, vlan(100, IPV6, ipv6({ nextHeader: 17 }, DATAGRAM)));
  const expected = { ...UDP6, l3: 22, l3End: 80, l4: 62, vlan: 7, vlanType: 0x88a8, innerVlan: 100 };
  t.deepEqual(parseFrame(ethernet(0x88a8, inner)), expected);
});

test('VLAN: a third tag ends the parse at its TPID', (t) => {
  const inner = vlan(7, 0x8100, vlan(8, 0x8100, vlan(9, IPV4, ipv4({ protocol: 6 }, SEGMENT))));
  const expected = { ...PLAIN, etherType: 0x8100, vlan: 7, vlanType: 0x88a8, innerVlan: 8 };
  t.deepEqual(parseFrame(ethernet(0x88a8, inner)), expected);
});

test('VLAN: a tag that the frame cuts is no tag', (t) => {
  const frame = ethernet(0x88a8, vlan(7, 0x8100, vlan(8, ARP, arp({}))));
  for (let length = 14; length < 18; length++) t.deepEqual(parseFrame(frame.slice(0, length)), PLAIN);
  const outer = { ...PLAIN, vlan: 7, vlanType: 0x88a8 };
  for (let length = 18; length < 22; length++) t.deepEqual(parseFrame(frame.slice(0, length)), outer);
  t.is(parseFrame(frame.slice(0, 22)).etherType, ARP);
});

test('VLAN: the pre-standard TPID 0x9100 is a type like any other', (t) => {
  t.deepEqual(parseFrame(ethernet(0x9100, vlan(7, IPV4))), { ...PLAIN, etherType: 0x9100 });
});

test('ARP: for Ethernet and IPv4, with link padding behind it', (t) => {
  const expected = { ...PLAIN, etherType: ARP, l3: 14, l3End: 42 };
  t.deepEqual(parseFrame(ethernet(ARP, arp({}))), expected);
  t.deepEqual(parseFrame(ethernet(ARP, arp({ operation: 2 }), new Uint8Array(18))), expected);
  t.deepEqual(parseFrame(ethernet(ARP, arp({ hardwareType: 6 }))), expected, 'IEEE 802, as Linux takes it');
});

test('ARP: cut short at any length', (t) => {
  const frame = ethernet(ARP, arp({}));
  for (let length = 14; length < 42; length++) {
    const cut = frame.slice(0, length);
    t.deepEqual(parseFrame(cut), malformedNetwork(ARP, cut));
  }
});

test('ARP: any other kind is malformed', (t) => {
  for (const fields of [
    { hardwareType: 2 },
    { protocolType: IPV6 },
    { hardwareLength: 8 },
    { hardwareLength: 0 },
    { protocolLength: 16 },
    { protocolLength: 0 },
  ]) {
    const frame = ethernet(ARP, arp(fields), new Uint8Array(40));
    t.deepEqual(parseFrame(frame), malformedNetwork(ARP, frame), JSON.stringify(fields));
  }
});

test('IPv4: TCP, with and without link padding', (t) => {
  t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT))), TCP4);
  t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT), new Uint8Array(9))), TCP4);
  t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 6, dontFragment: true }, SEGMENT))), TCP4);
});

test('IPv4: options move the transport header', (t) => {
  for (const options of [4, 40]) {
    const expected = { ...TCP4, flags: PACKET_IPV4_OPTIONS, l3End: 64 + options, l4: 34 + options };
    t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 6, options }, SEGMENT))), expected);
  }
});

test('IPv4: a header cut short at any length', (t) => {
  const frame = ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT));
  for (let length = 14; length < 64; length++) {
    const cut = frame.slice(0, length);
    t.deepEqual(parseFrame(cut), malformedNetwork(IPV4, cut), 'total length says more');
  }
});

test('IPv4: version, header length and total length that contradict the frame', (t) => {
  const lies = [
    ...[0, 1, 3, 5, 6, 7, 8, 12, 15].map((version) => ({ version })),
    ...[0, 1, 4, 15].map((headerWords) => ({ headerWords })),
    ...[0, 1, 19, 51, 0xffff].map((totalLength) => ({ totalLength })),
    { headerWords: 6, totalLength: 23 },
  ];
  for (const lie of lies) {
    const frame = ethernet(IPV4, ipv4({ protocol: 6, ...lie }, SEGMENT));
    t.deepEqual(parseFrame(frame), malformedNetwork(IPV4, frame), JSON.stringify(lie));
  }
});

test('IPv4: a header with nothing behind it', (t) => {
  const frame = ethernet(IPV4, ipv4({ protocol: 47 }));
  t.deepEqual(parseFrame(frame), { ...PLAIN, etherType: IPV4, l3: 14, l3End: 34, protocol: 47, l4: 34 });
});

test('IPv4: first, middle and last fragment', (t) => {
  const first = ethernet(IPV4, ipv4({ protocol: 17, more: true }, DATAGRAM));
  t.deepEqual(parseFrame(first), { ...UDP4, flags: PACKET_FRAGMENT });
  for (const fields of [
    { offset: 1, more: true },
    { offset: 0x1fff, more: false },
  ]) {
    const later = { ...UDP4, flags: PACKET_FRAGMENT | PACKET_LATER_FRAGMENT, l4: -1, srcPort: -1, dstPort: -1 };
    t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 17, ...fields }, DATAGRAM))), later);
  }
});

test('IPv4: other protocols have a place and no ports', (t) => {
  for (const protocol of [0, 2, 41, 47, 50, 51, 132, 255]) {
    const expected = { ...PLAIN, etherType: IPV4, l3: 14, l3End: 38, protocol, l4: 34 };
    t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol }, new Uint8Array(4)))), expected);
  }
});

test('TCP: a header cut short by the packet, not by the frame', (t) => {
  for (let length = 0; length < 20; length++) {
    const frame = ethernet(IPV4, ipv4({ protocol: 6 }, SEGMENT.slice(0, length)), new Uint8Array(60));
    t.deepEqual(parseFrame(frame), malformedTransport(TCP4, 34 + length));
  }
});

test('TCP: options, and a data offset that lies', (t) => {
  const options = tcp({ srcPort: 40000, dstPort: 80, options: 40 });
  t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 6 }, options))), { ...TCP4, l3End: 94 });
  for (const headerWords of [0, 1, 4, 8, 15]) {
    const segment = tcp({ srcPort: 40000, dstPort: 80, headerWords }, new Uint8Array(10));
    t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 6 }, segment))), malformedTransport(TCP4));
  }
});

test('TCP: a first fragment that does not hold the header', (t) => {
  const tiny = ethernet(IPV4, ipv4({ protocol: 6, more: true }, SEGMENT.slice(0, 8)));
  t.deepEqual(parseFrame(tiny), malformedTransport({ ...TCP4, flags: PACKET_FRAGMENT }, 42));
});

test('UDP: a header cut short', (t) => {
  for (let length = 0; length < 8; length++) {
    const frame = ethernet(IPV4, ipv4({ protocol: 17 }, DATAGRAM.slice(0, length)), new Uint8Array(60));
    t.deepEqual(parseFrame(frame), malformedTransport(UDP4, 34 + length));
  }
});

test('UDP: a length that lies', (t) => {
  for (const length of [0, 1, 7, 19, 0xffff]) {
    const datagram = udp({ srcPort: 5353, dstPort: 53, length }, new Uint8Array(10));
    t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 17 }, datagram))), malformedTransport(UDP4), `${length}`);
  }
  const shorter = udp({ srcPort: 5353, dstPort: 53, length: 8 }, new Uint8Array(10));
  t.deepEqual(
    parseFrame(ethernet(IPV4, ipv4({ protocol: 17 }, shorter))),
    UDP4,
    'what follows the datagram is ignored',
  );
});

test('UDP: the length in a first fragment is that of the whole datagram', (t) => {
  const datagram = udp({ srcPort: 5353, dstPort: 53, length: 3000 }, new Uint8Array(10));
  const first = ethernet(IPV4, ipv4({ protocol: 17, more: true }, datagram));
  t.deepEqual(parseFrame(first), { ...UDP4, flags: PACKET_FRAGMENT });
});

test('UDP: length 0 means "to the end" over IPv6, and nothing over IPv4', (t) => {
  const datagram = udp({ srcPort: 5353, dstPort: 53, length: 0 }, new Uint8Array(10));
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 17 }, datagram))), UDP6);
  t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 17 }, datagram))), malformedTransport(UDP4));
});

test('ICMP and ICMPv6: eight octets at least', (t) => {
  const body = new Uint8Array(4);
  const four = { ...PLAIN, etherType: IPV4, l3: 14, l3End: 42, protocol: 1, l4: 34 };
  t.deepEqual(parseFrame(ethernet(IPV4, ipv4({ protocol: 1 }, icmp(8, body)))), four);
  t.deepEqual(
    parseFrame(ethernet(IPV4, ipv4({ protocol: 1 }, icmp(8, body.slice(1))))),
    malformedTransport({ ...four, l3End: 41 }),
  );
  const six = { ...PLAIN, etherType: IPV6, l3: 14, l3End: 62, protocol: 58, l4: 54 };
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 58 }, icmpv6(128, body)))), six);
  t.deepEqual(
    parseFrame(ethernet(IPV6, ipv6({ nextHeader: 58 }, icmpv6(128, body.slice(1))))),
    malformedTransport({ ...six, l3End: 61 }),
  );
});

test('IPv6: TCP and UDP, with and without link padding', (t) => {
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 6 }, SEGMENT))), TCP6);
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 17 }, DATAGRAM), new Uint8Array(5))), UDP6);
});

test('IPv6: cut short at any length', (t) => {
  const frame = ethernet(IPV6, ipv6({ nextHeader: 0 }, extension(6), SEGMENT));
  for (let length = 14; length < frame.length; length++) {
    const cut = frame.slice(0, length);
    t.deepEqual(parseFrame(cut), malformedNetwork(IPV6, cut));
  }
});

test('IPv6: version or payload length that contradicts the frame', (t) => {
  for (const lie of [
    { version: 4 },
    { version: 0 },
    { version: 15 },
    { payloadLength: 31 },
    { payloadLength: 0xffff },
  ]) {
    const frame = ethernet(IPV6, ipv6({ nextHeader: 6, ...lie }, SEGMENT));
    t.deepEqual(parseFrame(frame), malformedNetwork(IPV6, frame), JSON.stringify(lie));
  }
});

test('IPv6: payload length 0 leaves no room for a transport header', (t) => {
  const frame = ethernet(IPV6, ipv6({ nextHeader: 6, payloadLength: 0 }, SEGMENT));
  t.deepEqual(parseFrame(frame), malformedTransport(TCP6, 54));
});

test('IPv6: a jumbogram is malformed', (t) => {
  const jumbo = extension(6);
  jumbo.set([0xc2, 4, 0, 1, 0, 0], 2);
  const frame = ethernet(IPV6, ipv6({ nextHeader: 0, payloadLength: 0 }, jumbo, SEGMENT));
  t.deepEqual(parseFrame(frame), malformedNetwork(IPV6, frame));
});

test('IPv6: each extension header is walked past', (t) => {
  const cases: [number, Uint8Array][] = [
    [0, extension(17)],
    [0, extension(17, 24)],
    [43, extension(17, 40)],
    [44, fragmentHeader({ nextHeader: 17, offset: 0, more: false })],
    [51, authentication(17)],
    [51, authentication(17, 12)],
    [60, extension(17, 2048)],
  ];
  for (const [nextHeader, header] of cases) {
    const more = header.length;
    const expected = { ...UDP6, flags: PACKET_IPV6_EXTENSIONS, l3End: 72 + more, l4: 54 + more };
    t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader }, header, DATAGRAM))), expected, `${nextHeader}`);
  }
});

test('IPv6: a chain of several, in the order that RFC 8200 recommends', (t) => {
  const chain = [
    extension(60),
    extension(43),
    extension(44),
    fragmentHeader({ nextHeader: 51, offset: 0, more: false }),
  ];
  const rest = [authentication(60, 16), extension(6)];
  const expected = { ...TCP6, flags: PACKET_IPV6_EXTENSIONS, l3End: 84 + 56, l4: 54 + 56 };
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 0 }, ...chain, ...rest, SEGMENT))), expected);
});

test('IPv6: eight extension headers are followed, nine are not', (t) => {
  const chain = (count: number) => Array.from({ length: count }, (_, i) => extension(i === count - 1 ? 17 : 60));
  const most = ethernet(IPV6, ipv6({ nextHeader: 60 }, ...chain(MAX_IPV6_EXTENSIONS), DATAGRAM));
  t.deepEqual(parseFrame(most), { ...UDP6, flags: PACKET_IPV6_EXTENSIONS, l3End: 136, l4: 118 });
  const tooMany = ethernet(IPV6, ipv6({ nextHeader: 60 }, ...chain(MAX_IPV6_EXTENSIONS + 1), DATAGRAM));
  t.deepEqual(parseFrame(tooMany), malformedNetwork(IPV6, tooMany));
});

test('IPv6: an extension header that runs out of the packet', (t) => {
  for (const [nextHeader, header] of [
    [0, extension(17, 8, 255)],
    [43, extension(17, 8, 4)],
    [51, extension(17, 8, 5)],
    [60, extension(17).slice(0, 7)],
    [44, fragmentHeader({ nextHeader: 17, offset: 0, more: true }).slice(0, 7)],
    [0, new Uint8Array(0)],
  ] as [number, Uint8Array][]) {
    const packet = ipv6({ nextHeader }, header);
    const frame = ethernet(IPV6, packet, new Uint8Array(64));
    t.deepEqual(parseFrame(frame), malformedNetwork(IPV6, frame), `${nextHeader}`);
  }
});

test('IPv6: first and later fragments, and the atomic one that is none', (t) => {
  const parseFragment = (offset: number, more: boolean) =>
    parseFrame(ethernet(IPV6, ipv6({ nextHeader: 44 }, fragmentHeader({ nextHeader: 17, offset, more }), DATAGRAM)));
  const expected = { ...UDP6, l3End: 80, l4: 62 };
  t.deepEqual(parseFragment(0, false), { ...expected, flags: PACKET_IPV6_EXTENSIONS });
  t.deepEqual(parseFragment(0, true), { ...expected, flags: PACKET_IPV6_EXTENSIONS | PACKET_FRAGMENT });
  const flags = PACKET_IPV6_EXTENSIONS | PACKET_FRAGMENT | PACKET_LATER_FRAGMENT;
  for (const more of [false, true]) {
    t.deepEqual(parseFragment(1, more), { ...expected, flags, l4: -1, srcPort: -1, dstPort: -1 });
  }
});

test('IPv6: a later fragment names the header that its first one begins with', (t) => {
  const fragment = fragmentHeader({ nextHeader: 60, offset: 100, more: false });
  const frame = ethernet(IPV6, ipv6({ nextHeader: 44 }, fragment, new Uint8Array(16).fill(0xff)));
  const flags = PACKET_IPV6_EXTENSIONS | PACKET_FRAGMENT | PACKET_LATER_FRAGMENT;
  t.deepEqual(parseFrame(frame), { ...PLAIN, etherType: IPV6, l3: 14, l3End: 78, protocol: 60, flags });
});

test('IPv6: ESP hides what follows, "no next header" has nothing', (t) => {
  const expected = { ...PLAIN, etherType: IPV6, l3: 14, l3End: 70, l4: 54 };
  const payload = new Uint8Array(16).fill(0x3c);
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 50 }, payload))), { ...expected, protocol: 50 });
  t.deepEqual(parseFrame(ethernet(IPV6, ipv6({ nextHeader: 59 }, payload))), { ...expected, protocol: 59, l4: -1 });
});

test('GSO: super-packets of 64 KiB parse like any other', (t) => {
  const vnet = { vnetFlags: VNET_F_NEEDS_CSUM, headerLength: 54, gsoSize: 1448, checksumStart: 34, checksumOffset: 16 };
  const payload = new Uint8Array(65535 - 40);
  const four = ethernet(IPV4, ipv4({ protocol: 6 }, tcp({ srcPort: 40000, dstPort: 80 }, payload)));
  t.deepEqual(parseFrame(four, { ...vnet, gsoType: VNET_GSO_TCPV4 }), { ...TCP4, l3End: 14 + 65535 });
  const six = ethernet(IPV6, ipv6({ nextHeader: 6 }, tcp({ srcPort: 40000, dstPort: 80 }, payload.slice(20))));
  const vnet6 = { ...vnet, gsoType: VNET_GSO_TCPV6, checksumStart: 54 };
  t.deepEqual(parseFrame(six, vnet6), { ...TCP6, l3End: 14 + 65535 });
});

test('GSO: the UDP length of a super-packet counts all of it', (t) => {
  const vnet = { vnetFlags: VNET_F_NEEDS_CSUM, headerLength: 42, gsoSize: 1472, checksumStart: 34, checksumOffset: 6 };
  const frame = ethernet(IPV4, ipv4({ protocol: 17 }, udp({ srcPort: 5353, dstPort: 53 }, new Uint8Array(60000))));
  for (const gsoType of [VNET_GSO_UDP_L4, VNET_GSO_UDP]) {
    t.deepEqual(parseFrame(frame, { ...vnet, gsoType }), { ...UDP4, l3End: 14 + 20 + 8 + 60000 });
  }
});
