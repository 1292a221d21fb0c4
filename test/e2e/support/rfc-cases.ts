/**
 * What RFC 1812, 8200, 4443, 4861 and 4291 require of a router for single packets, each with a packet as scapy builds it. The packets
 * come from an endpoint without port security to the MAC of its gateway; `outside` is behind a wire of 1,400 bytes without a default
 * route. TAG marks the packet wherever it turns up.
 *
 * Names in expressions: AMAC, AIP, AIP6, ALL (link-local) are the sender's, BIP that of another endpoint of its network, CIP and CIP6 of
 * one in another; GMAC, GIP, GIP6, GLL are the gateway's; OIP, OIP6 those of `outside`.
 */

export interface Case {
  /** The requirement. */
  readonly name: string;
  /** Python expression of the frame. */
  readonly packet: string;
  /** What reaches `outside`: the packet with one hop less (`hop`), or nothing. */
  readonly out?: 'hop';
  /** ICMP from the gateway to the sender that bears the tag, `type/code`, and its second word. */
  readonly answer?: string;
  readonly word?: number;
  /** Why it was dropped; none: it was not. */
  readonly reason?: string;
}

/** Bytes of IP packet on the wire to `outside`. */
export const WIRE_MTU = 1400;

const TO = 'Ether(src=AMAC, dst=GMAC)';
const UDP = 'UDP(sport=1000, dport=9)/TAG';
const P4 = `${TO}/IP(src=AIP, dst=OIP, id=77)`;
const P6 = `${TO}/IPv6(src=AIP6, dst=OIP6)`;
const ECHO4 = 'ICMP(id=5, seq=6)/TAG';
const ECHO6 = 'ICMPv6EchoRequest(id=5, seq=6)/TAG';
/** A packet that somebody else's error would quote. */
const QUOTE4 = 'IP(src=OIP, dst=AIP)/UDP(sport=9, dport=1000)/TAG';
const QUOTE6 = 'IPv6(src=OIP6, dst=AIP6)/UDP(sport=9, dport=1000)/TAG';

const options4 = (hex: string): string => `options=[IPOption(bytes.fromhex('${hex}'))]`;
const from4 = (address: string): string => `${TO}/IP(src='${address}', dst=OIP, id=77)/${UDP}`;
const to4 = (address: string): string => `${TO}/IP(src=AIP, dst='${address}', id=77)/${UDP}`;
const from6 = (address: string): string => `${TO}/IPv6(src='${address}', dst=OIP6)/${UDP}`;
const to6 = (address: string): string => `${TO}/IPv6(src=AIP6, dst='${address}')/${UDP}`;

const IPV4: readonly Case[] = [
  { name: 'RFC 1812 5.2.1: a packet is forwarded with one hop less', packet: `${P4}/${UDP}`, out: 'hop' },
  {
    name: 'RFC 1812 5.2.2: a bad header checksum: dropped in silence',
    packet: `${TO}/IP(src=AIP, dst=OIP, chksum=0x1234)/${UDP}`,
    reason: 'ip_checksum',
  },
  {
    name: 'RFC 1812 5.2.2: a version that is not 4: dropped in silence',
    packet: `Ether(src=AMAC, dst=GMAC, type=0x800)/IP(version=5, src=AIP, dst=OIP)/${UDP}`,
    reason: 'ip_malformed',
  },
  {
    name: 'RFC 1812 5.2.2: a header of less than 20 bytes: dropped in silence',
    packet: `${TO}/IP(ihl=4, src=AIP, dst=OIP)/${UDP}`,
    reason: 'ip_malformed',
  },
  {
    name: 'RFC 1812 5.2.2: a total length shorter than the header: dropped in silence',
    packet: `${TO}/IP(len=19, src=AIP, dst=OIP)/${UDP}`,
    reason: 'ip_malformed',
  },
  {
    name: 'RFC 1812 5.2.2: a total length longer than the frame: dropped in silence',
    packet: `${TO}/IP(len=600, src=AIP, dst=OIP)/${UDP}`,
    reason: 'ip_malformed',
  },
  {
    name: 'RFC 1812 5.2.2: what the link has padded is forwarded without the padding',
    packet: `${P4}/${UDP}/Padding(b'\\xee' * 40)`,
    out: 'hop',
  },
  {
    name: 'RFC 1812 5.3.1: TTL 0: 11/0',
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=0)/${UDP}`,
    answer: '11/0',
    reason: 'ttl_exceeded',
  },
  {
    name: 'RFC 1812 5.3.1: TTL 1: 11/0',
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=1)/${UDP}`,
    answer: '11/0',
    reason: 'ttl_exceeded',
  },
  { name: 'RFC 1812 5.3.1: TTL 2 leaves as 1', packet: `${TO}/IP(src=AIP, dst=OIP, ttl=2)/${UDP}`, out: 'hop' },
  {
    name: 'RFC 1812 5.3.1: TTL 1 is enough for the router itself',
    packet: `${TO}/IP(src=AIP, dst=GIP, ttl=1)/${ECHO4}`,
    answer: '0/0',
  },
  ...['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '169.254.1.1'].map((address) => ({
    name: `RFC 1812 5.3.7, RFC 6890: source ${address}: dropped in silence`,
    packet: from4(address),
    reason: 'martian_source',
  })),
  ...['0.0.0.0', '127.0.0.1', '240.0.0.1', '255.255.255.255', '169.254.1.1'].map((address) => ({
    name: `RFC 1812 5.3.7, 5.3.5.1, RFC 3927 2.7: destination ${address}: dropped in silence`,
    packet: to4(address),
    reason: 'martian_destination',
  })),
  {
    name: 'RFC 1812 5.3.4: unicast IP in a broadcast frame is not forwarded',
    packet: `Ether(src=AMAC, dst='ff:ff:ff:ff:ff:ff')/IP(src=AIP, dst=OIP)/${UDP}`,
  },
  {
    name: 'RFC 1812 5.3.4: unicast IP in a multicast frame is not forwarded, nor answered',
    packet: `Ether(src=AMAC, dst='01:00:5e:00:00:09')/IP(src=AIP, dst=OIP, ttl=1)/${UDP}`,
  },
  {
    name: 'RFC 1812 5.3.1, 4.3.2.7: a multicast packet is not forwarded, and its TTL not answered',
    packet: `${TO}/IP(src=AIP, dst='224.1.2.3', ttl=1)/${UDP}`,
    reason: 'link_broadcast',
  },
  ...['10.77.0.255', '172.31.0.255', '172.31.0.0'].map((address) => ({
    name: `RFC 1812 5.3.5.2, RFC 2644: a broadcast to the subnet at ${address} is not forwarded, nor answered`,
    packet: to4(address),
    reason: 'directed_broadcast',
  })),
  { name: 'RFC 1812 4.3.3.1: no route: 3/0', packet: to4('203.0.113.1'), answer: '3/0', reason: 'no_route' },
  {
    name: 'RFC 1812 5.2.7.1: a route that says unreachable: 3/1',
    packet: to4('10.8.1.1'),
    answer: '3/1',
    reason: 'unreachable',
  },
  {
    name: 'RFC 1812 5.2.7.1: a route that says prohibit: 3/13',
    packet: to4('10.9.1.1'),
    answer: '3/13',
    reason: 'prohibited',
  },
  { name: 'a route that says blackhole: silence', packet: to4('10.10.1.1'), reason: 'blackhole' },
  {
    name: 'RFC 1191 4: too long and DF: 3/4 with the next MTU',
    packet: `${TO}/IP(src=AIP, dst=OIP, flags='DF')/${UDP}/Raw(b'x' * 1372)`,
    answer: '3/4',
    word: WIRE_MTU,
    reason: 'too_big',
  },
  {
    name: 'RFC 1812 5.2.6: just long enough and DF: forwarded',
    packet: `${TO}/IP(src=AIP, dst=OIP, flags='DF')/UDP(sport=1000, dport=9)/TAG/Raw(b'x' * ${WIRE_MTU - 28 - 9})`,
    out: 'hop',
  },
  {
    name: 'RFC 1812 5.3.13.1: an unknown option passes as it is',
    packet: `${TO}/IP(src=AIP, dst=OIP, ${options4('9e04abcd')})/${UDP}`,
    out: 'hop',
  },
  {
    name: 'RFC 1812 5.3.13.1: no operation and end of options pass as they are',
    packet: `${TO}/IP(src=AIP, dst=OIP, ${options4('01010100')})/${UDP}`,
    out: 'hop',
  },
  {
    name: 'RFC 2113: router alert passes as it is',
    packet: `${TO}/IP(src=AIP, dst=OIP, ${options4('94040000')})/${UDP}`,
    out: 'hop',
  },
  ...Object.entries({
    'record route': '0707040000000000',
    timestamp: '440805000000000000000000',
    'loose source route': '8307040a4d00fe00',
    'strict source route': '8907040a4d00fe00',
  }).map(([name, hex]) => ({
    name: `RFC 7126 4.3 to 4.7: ${name}: dropped in silence, unless allowed`,
    packet: `${TO}/IP(src=AIP, dst=OIP, ${options4(hex)})/${UDP}`,
    reason: 'ip_options',
  })),
  ...(
    [
      ['length 0', '9e00abcd', 21],
      ['length 1', '9e01abcd', 21],
      ['a length behind the header', '9e08abcd', 21],
    ] as const
  ).map(([name, hex, pointer]) => ({
    name: `RFC 1812 4.3.3.5: an option of ${name}: 12/0 that points at it`,
    packet: `${TO}/IP(src=AIP, dst=OIP, ${options4(hex)})/${UDP}`,
    answer: '12/0',
    word: pointer << 24,
    reason: 'ip_options',
  })),
  {
    name: 'RFC 1812 5.2.5: the reserved flag passes as it is',
    packet: `${TO}/IP(src=AIP, dst=OIP, flags='evil')/${UDP}`,
    out: 'hop',
  },
  {
    name: 'RFC 1812 5.2.6: a later fragment in transit passes as it is',
    packet: `${TO}/IP(src=AIP, dst=OIP, proto=17, flags='MF', frag=100)/TAG/Raw(b'z' * 15)`,
    out: 'hop',
  },
  { name: 'an unknown protocol passes as it is', packet: `${TO}/IP(src=AIP, dst=OIP, proto=253)/TAG`, out: 'hop' },
  {
    name: 'RFC 792: an echo request that expires is answered',
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=1)/${ECHO4}`,
    answer: '11/0',
    reason: 'ttl_exceeded',
  },
  ...Object.entries({
    'destination unreachable': 'ICMP(type=3, code=3)',
    'source quench': 'ICMP(type=4)',
    redirect: 'ICMP(type=5, code=1)',
    'time exceeded': 'ICMP(type=11)',
    'parameter problem': 'ICMP(type=12)',
    'an unknown type': 'ICMP(type=200)',
  }).map(([name, message]) => ({
    name: `RFC 1812 4.3.2.7: no error about ICMP ${name}`,
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=1)/${message}/${QUOTE4}`,
    reason: 'ttl_exceeded',
  })),
  {
    name: 'RFC 1812 4.3.2.7: no error about a fragment that is not the first',
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=1, proto=17, frag=5)/TAG`,
    reason: 'ttl_exceeded',
  },
  {
    name: 'RFC 1812 4.3.2.7: the first fragment is answered',
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=1, flags='MF')/UDP(sport=1000, dport=9, len=100)/TAG/Raw(b'z' * 15)`,
    answer: '11/0',
    reason: 'ttl_exceeded',
  },
  {
    name: 'RFC 1812 4.3.2.3: an error quotes as much as 576 bytes hold',
    packet: `${TO}/IP(src=AIP, dst=OIP, ttl=1)/${UDP}/Raw(b'q' * 1300)`,
    answer: '11/0',
    reason: 'ttl_exceeded',
  },
  {
    name: 'RFC 1812 4.3.3.1: a port of the router: 3/3',
    packet: `${TO}/IP(src=AIP, dst=GIP)/${UDP}`,
    answer: '3/3',
    reason: 'not_listening',
  },
  {
    name: 'RFC 1812 4.3.3.1: a protocol that the router has not: 3/2',
    packet: `${TO}/IP(src=AIP, dst=GIP, proto=253)/TAG`,
    answer: '3/2',
    reason: 'not_listening',
  },
  {
    name: 'RFC 792: an echo request with a wrong checksum: silence',
    packet: `${TO}/IP(src=AIP, dst=GIP)/ICMP(chksum=0x1234)/TAG`,
    reason: 'icmp_invalid',
  },
  ...Object.entries({
    'of an unknown type': 'ICMP(type=200)/TAG',
    'information request, which is historic (RFC 6918)': 'ICMP(type=15)/TAG',
    'address mask request, which is historic (RFC 6918)': 'ICMP(type=17)/TAG',
    redirect: `ICMP(type=5, code=1, gw=OIP)/${QUOTE4}`,
  }).map(([name, message]) => ({
    name: `RFC 1812 4.3.2.1: ICMP to the router, ${name}: dropped in silence`,
    packet: `${TO}/IP(src=AIP, dst=GIP)/${message}`,
    reason: 'icmp_invalid',
  })),
];

const OPTION = (hex: string): string => `IPv6ExtHdrHopByHop(bytes.fromhex('3a00${hex}'))`;
const DESTINATION_OPTION = (hex: string): string => `IPv6ExtHdrDestOpt(bytes.fromhex('3a00${hex}'))`;
const RH0 = "IPv6ExtHdrRouting(type=0, segleft=1, addresses=['fd00:31::2'])";

const IPV6: readonly Case[] = [
  { name: 'RFC 8200 3: a packet is forwarded with one hop less', packet: `${P6}/${UDP}`, out: 'hop' },
  {
    name: 'RFC 8200 3: a payload length longer than the frame: dropped in silence',
    packet: `${TO}/IPv6(src=AIP6, dst=OIP6, plen=600)/${UDP}`,
    reason: 'ip_malformed',
  },
  {
    name: 'RFC 8200 3: a version that is not 6: dropped in silence',
    packet: `Ether(src=AMAC, dst=GMAC, type=0x86dd)/IPv6(version=5, src=AIP6, dst=OIP6)/${UDP}`,
    reason: 'ip_malformed',
  },
  {
    name: 'RFC 8200 3: hop limit 0: 3/0',
    packet: `${TO}/IPv6(src=AIP6, dst=OIP6, hlim=0)/${UDP}`,
    answer: '3/0',
    reason: 'ttl_exceeded',
  },
  {
    name: 'RFC 8200 3: hop limit 1: 3/0',
    packet: `${TO}/IPv6(src=AIP6, dst=OIP6, hlim=1)/${UDP}`,
    answer: '3/0',
    reason: 'ttl_exceeded',
  },
  { name: 'RFC 8200 3: hop limit 2 leaves as 1', packet: `${TO}/IPv6(src=AIP6, dst=OIP6, hlim=2)/${UDP}`, out: 'hop' },
  {
    name: 'RFC 8200 3: hop limit 1 is enough for the router itself',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6, hlim=1)/${ECHO6}`,
    answer: '129/0',
  },
  ...Object.entries({
    'an unknown next header': 'TAG',
    'destination options with an option that would be discarded': `IPv6ExtHdrDestOpt(bytes.fromhex('1100'+'42040000'+'0000'))/${UDP}`,
    'hop-by-hop options with an unknown option': `IPv6ExtHdrHopByHop(bytes.fromhex('1100'+'c2040000'+'0000'))/${UDP}`,
    ESP: "Raw(bytes.fromhex('0000000100000002'))/TAG",
    AH: "Raw(bytes.fromhex('1104000000000001000000020000000000000000000000000000'))/TAG",
    'a routing header of type 0': `${RH0}/${UDP}`,
    'a fragment': `IPv6ExtHdrFragment(nh=17, offset=3, m=1, id=9)/TAG/Raw(b'z' * 15)`,
  }).map(([name, rest]) => {
    const next: Record<string, number> = { 'an unknown next header': 253, ESP: 50, AH: 51 };
    const header = next[name] === undefined ? 'IPv6(src=AIP6, dst=OIP6)' : `IPv6(src=AIP6, dst=OIP6, nh=${next[name]})`;
    return {
      name: `RFC 8200 4: ${name} in transit passes as it is`,
      packet: `${TO}/${header}/${rest}`,
      out: 'hop' as const,
    };
  }),
  ...['::', '::1', 'ff02::1', '::ffff:10.0.0.1'].map((address) => ({
    name: `RFC 4291 2.5.2, 2.5.3, 2.7: source ${address}: dropped in silence`,
    packet: from6(address),
    reason: 'martian_source',
  })),
  ...['::', '::1', '::ffff:10.0.0.1', 'fe80::1'].map((address) => ({
    name: `RFC 4291 2.5.2, 2.5.3, 2.5.6: destination ${address}: not forwarded, in silence`,
    packet: to6(address),
    reason: 'martian_destination',
  })),
  {
    name: 'RFC 4443 3.1: a link-local source leaves its link: 1/2',
    packet: `${TO}/IPv6(src=ALL, dst=OIP6)/${UDP}`,
    answer: '1/2',
    reason: 'martian_destination',
  },
  { name: 'RFC 4443 3.1: no route: 1/0', packet: to6('2001:db8::1'), answer: '1/0', reason: 'no_route' },
  {
    name: 'RFC 4443 3.1: a route that says unreachable: 1/3',
    packet: to6('fd08::1'),
    answer: '1/3',
    reason: 'unreachable',
  },
  {
    name: 'RFC 4443 3.1: a route that says prohibit: 1/1',
    packet: to6('fd09::1'),
    answer: '1/1',
    reason: 'prohibited',
  },
  { name: 'a route that says blackhole: silence (IPv6)', packet: to6('fd10::1'), reason: 'blackhole' },
  {
    name: 'RFC 4443 3.2: too long: 2/0 with the next MTU, quoting as much as 1280 bytes hold; never cut in transit',
    packet: `${P6}/${UDP}/Raw(b'x' * 1380)`,
    answer: '2/0',
    word: WIRE_MTU,
    reason: 'too_big',
  },
  ...Object.entries({
    'destination unreachable': 'ICMPv6DestUnreach(code=4)',
    'packet too big': 'ICMPv6PacketTooBig(mtu=1280)',
    'time exceeded': 'ICMPv6TimeExceeded()',
    'an unknown error type': 'ICMPv6Unknown(type=99)',
    redirect: 'ICMPv6ND_Redirect(tgt=OIP6, dst=OIP6)',
  }).map(([name, message]) => ({
    name: `RFC 4443 2.4(e): no error about ICMPv6 ${name}`,
    packet: `${TO}/IPv6(src=AIP6, dst=OIP6, hlim=1)/${message}/${QUOTE6}`,
    reason: 'ttl_exceeded',
  })),
  {
    name: 'RFC 4443 2.4(e.3): no error about a packet to a group',
    packet: `${TO}/IPv6(src=AIP6, dst='ff0e::1', hlim=1)/${UDP}`,
    reason: 'link_broadcast',
  },
  {
    name: 'RFC 4443 2.4(e.4): no error about unicast IPv6 in a multicast frame',
    packet: `Ether(src=AMAC, dst='33:33:00:00:00:99')/IPv6(src=AIP6, dst=OIP6, hlim=1)/${UDP}`,
  },
  {
    name: 'RFC 4443 3.1, 2.2(a): a port of the router: 1/4, from the address that was asked',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6)/${UDP}`,
    answer: '1/4',
    reason: 'not_listening',
  },
  {
    name: 'RFC 8200 4: a next header that the router does not know: 4/1 that points at it',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6, nh=253)/TAG`,
    answer: '4/1',
    word: 6,
    reason: 'not_listening',
  },
  {
    name: 'RFC 4443 4.1: an echo request with a wrong checksum: silence',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6)/ICMPv6EchoRequest(cksum=0x1234)/TAG`,
    reason: 'icmp_invalid',
  },
  {
    name: 'RFC 5095 3: a routing header of type 0 with segments left, for the router: 4/0 that points at its type',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6)/${RH0}/${ECHO6}`,
    answer: '4/0',
    word: 42,
    reason: 'ip_options',
  },
  {
    name: 'RFC 5095 3: a routing header without segments left is walked past',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6)/IPv6ExtHdrRouting(type=0, segleft=0, addresses=['fd00:31::2'])/${ECHO6}`,
    answer: '129/0',
  },
  ...(['HopByHop', 'DestOpt'] as const).flatMap((kind) => {
    const header = kind === 'HopByHop' ? OPTION : DESTINATION_OPTION;
    const name = kind === 'HopByHop' ? 'hop-by-hop' : 'destination';
    const packet = (type: string): string => `${TO}/IPv6(src=AIP6, dst=GIP6)/${header(`${type}0400000000`)}/${ECHO6}`;
    return [
      { name: `RFC 8200 4.2: unknown ${name} option 00: skipped`, packet: packet('1e'), answer: '129/0' },
      {
        name: `RFC 8200 4.2: unknown ${name} option 01: discarded in silence`,
        packet: packet('5e'),
        reason: 'ip_options',
      },
      {
        name: `RFC 8200 4.2: unknown ${name} option 10: 4/2`,
        packet: packet('9e'),
        answer: '4/2',
        word: 42,
        reason: 'ip_options',
      },
      {
        name: `RFC 8200 4.2: unknown ${name} option 11: 4/2`,
        packet: packet('de'),
        answer: '4/2',
        word: 42,
        reason: 'ip_options',
      },
    ];
  }),
  {
    name: 'RFC 6946: an atomic fragment for the router is whole',
    packet: `${TO}/IPv6(src=AIP6, dst=GIP6)/IPv6ExtHdrFragment(nh=58, id=7)/${ECHO6}`,
    answer: '129/0',
  },
];

export const CASES: readonly Case[] = [...IPV4, ...IPV6];
