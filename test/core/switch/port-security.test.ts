/**
 * What an endpoint under `security: strict` may send. Tables of attacks and of honest traffic, each frame with what must come of
 * it, and a slow reference that reads the frame itself. That the source MAC is the endpoint's own is taken for granted here.
 */

import test from 'ava';
import fc from 'fast-check';
import {
  DROP_ARP_SENDER,
  DROP_DHCP_SERVER,
  DROP_LINK_PROTOCOL,
  DROP_MULTICAST_ROUTER,
  DROP_ND_TARGET,
  DROP_NONE,
  DROP_REASONS,
  DROP_ROUTER_ADVERTISEMENT,
  DROP_SOURCE_ADDRESS,
  DROP_UNVERIFIABLE,
  DROP_VNET_HEADER,
} from '../../../core/drop.js';
import {
  inspect,
  MAX_ND_OPTIONS,
  PortSecurity,
  SECURITY_MAC,
  SECURITY_STRICT,
} from '../../../core/switch/port-security.js';
import { createRandom, mutate, rerunLine, seedOfRun } from '../../support/corpus.js';
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
  SOURCE,
  tcp,
  udp,
  vlan,
} from '../wire/build.js';
import { ParseBench, type VnetFields } from '../wire/parsed.js';

// --- the endpoint: 02:42:ac:1e:00:03, 172.30.0.3, 10.9.0.0/16, fd00:30::3, fd00:99::/32

const VICTIM_MAC = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x02];
const OWN4 = [172, 30, 0, 3];
const VICTIM4 = [172, 30, 0, 2];
const ALLOWED4 = [10, 9, 200, 1];
const address6 = (...groups: number[]): number[] => groups.flatMap((group) => [group >> 8, group & 255]);
const OWN6 = address6(0xfd00, 0x30, 0, 0, 0, 0, 0, 3);
const VICTIM6 = address6(0xfd00, 0x30, 0, 0, 0, 0, 0, 2);
const ALLOWED6 = address6(0xfd00, 0x99, 1, 2, 3, 4, 5, 6);
const LINK_LOCAL = address6(0xfe80, 0, 0, 0, 0x0042, 0xacff, 0xfe1e, 0x0003);
const VICTIM_LINK_LOCAL = address6(0xfe80, 0, 0, 0, 0x0042, 0xacff, 0xfe1e, 0x0002);
const ANY6 = address6(0, 0, 0, 0, 0, 0, 0, 0);

const word = (bytes: readonly number[], at = 0): number => new DataView(Uint8Array.from(bytes).buffer).getInt32(at);
const words = (bytes: readonly number[]): number[] => [word(bytes, 0), word(bytes, 4), word(bytes, 8), word(bytes, 12)];

/** An address and the length of its prefix. */
type Prefix = readonly [address: readonly number[], length: number];

const maskOf = (length: number, octets: number): number[] =>
  Array.from({ length: octets }, (_, i) => 256 - 2 ** (8 - Math.max(0, Math.min(8, length - 8 * i)))).map(
    (o) => o & 255,
  );

function makeSecurity(prefixes: readonly Prefix[]): PortSecurity {
  const four = prefixes.filter(([address]) => address.length === 4);
  const six = prefixes.filter(([address]) => address.length === 16);
  return new PortSecurity(
    SECURITY_STRICT,
    0x0242,
    word(SOURCE, 2),
    1,
    Int32Array.from(four.flatMap(([address, length]) => [word(address), word(maskOf(length, 4))])),
    Int32Array.from(six.flatMap(([address, length]) => [...words(address), ...words(maskOf(length, 16))])),
  );
}

const OWN: readonly Prefix[] = [
  [OWN4, 32],
  [[10, 9, 0, 7], 16], // with host bits
  [OWN6, 128],
  [address6(0xfd00, 0x99, 0, 0, 0, 0, 0, 1), 32],
];
const endpoint = makeSecurity(OWN);
const bench = new ParseBench();

/** The verdict: the parse's where it drops the frame, else that of the inspection, asked for twice with other bytes around it. */
function verdict(frame: Uint8Array, vnet: VnetFields = {}, security = endpoint): number {
  const ask = (): number => inspect(bench.arena.view, security, bench.packet);
  const dropped = bench.parse(frame, 0x00, vnet).verdict;
  if (dropped !== DROP_NONE) return dropped;
  const first = ask();
  bench.parse(frame, 0xff, vnet);
  if (ask() !== first) throw new Error('the verdict depends on bytes outside the frame');
  return first;
}

const nameOf = (reason: number): string => DROP_REASONS[reason].name;

// --- builders: of build.ts, with other addresses

function patched(bytes: Uint8Array, at: number, value: readonly number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(value, at);
  return copy;
}

const ip4 = (source: number[], protocol: number, ...payload: Uint8Array[]): Uint8Array =>
  ethernet(0x0800, patched(ipv4({ protocol }, ...payload), 12, source));

function fragment4(
  source: number[],
  protocol: number,
  offset: number,
  more: boolean,
  ...payload: Uint8Array[]
): Uint8Array {
  return ethernet(0x0800, patched(ipv4({ protocol, offset, more }, ...payload), 12, source));
}

const ip6 = (source: number[], nextHeader: number, ...payload: Uint8Array[]): Uint8Array =>
  ethernet(0x86dd, patched(ipv6({ nextHeader }, ...payload), 8, source));

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const PAYLOAD = new Uint8Array(32);

interface ArpClaim {
  mac?: number[];
  sender?: number[];
  target?: number[];
  operation?: number;
  hardwareType?: number;
}

function arpBody(claim: ArpClaim): Uint8Array {
  const body = arp({ operation: claim.operation ?? 1, hardwareType: claim.hardwareType ?? 1 });
  body.set(claim.mac ?? SOURCE, 8);
  body.set(claim.sender ?? OWN4, 14);
  body.set(claim.target ?? VICTIM4, 24);
  return body;
}

const arpFrame = (claim: ArpClaim): Uint8Array => ethernet(0x0806, arpBody(claim));

function rarpFrame(operation: number, sender: number[], target: number[]): Uint8Array {
  const body = arpBody({ operation, mac: sender, sender: [0, 0, 0, 0], target: [0, 0, 0, 0] });
  body.set(target, 18);
  return ethernet(0x8035, body);
}

/** An option of neighbor discovery; its length in units follows from the value unless given. */
const option = (type: number, value: number[], units = (value.length + 2) / 8): Uint8Array =>
  bytes(type, units, ...value);
const sourceLink = (mac: number[]): Uint8Array => option(1, mac);
const targetLink = (mac: number[]): Uint8Array => option(2, mac);

const neighbor = (type: number, target: number[], ...options: Uint8Array[]): Uint8Array =>
  icmpv6(type, bytes(0x60, 0, 0, 0, ...target), ...options);
const solicitation = (target: number[], ...options: Uint8Array[]): Uint8Array => neighbor(135, target, ...options);
const advertisement = (target: number[], ...options: Uint8Array[]): Uint8Array => neighbor(136, target, ...options);
const routerSolicitation = (...options: Uint8Array[]): Uint8Array => icmpv6(133, new Uint8Array(4), ...options);
const routerAdvertisement = (): Uint8Array => icmpv6(134, new Uint8Array(12), sourceLink(SOURCE));
const dhcp = (srcPort: number, dstPort: number, op: number): Uint8Array =>
  udp({ srcPort, dstPort }, bytes(op), new Uint8Array(240));
const mld2Report = (): Uint8Array =>
  icmpv6(143, bytes(0, 0, 0, 1, 4, 0, 0, 0), bytes(...address6(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)));
const igmp = (type: number): Uint8Array => bytes(type, 0, 0, 0, 239, 1, 2, 3);
/** Hop-by-hop with a router alert (RFC 2711), in front of `nextHeader`. */
const routerAlert = (nextHeader: number): Uint8Array => bytes(nextHeader, 0, 5, 2, 0, 0, 1, 0);
const llc = (...values: number[]): Uint8Array => ethernet(46, bytes(...values), PAYLOAD);
const snap = (oui: number[], type: number, ...payload: Uint8Array[]): Uint8Array =>
  ethernet(100, bytes(0xaa, 0xaa, 0x03, ...oui, type >> 8, type & 255), ...payload, PAYLOAD);
const spoofed = ipv4({ protocol: 17 }, udp({ srcPort: 1, dstPort: 2 }));
const ETHERNET_OUI = [0, 0, 0];
const NEEDS_CSUM = 1;

type Line = readonly [what: string, frame: Uint8Array, reason: number, vnet?: VnetFields | undefined];

const ATTACKS: readonly Line[] = [
  // IPv4 source
  ['UDP from the victim', ip4(VICTIM4, 17, udp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  ['TCP from the victim', ip4(VICTIM4, 6, tcp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  ['echo request from the victim', ip4(VICTIM4, 1, icmp(8, PAYLOAD)), DROP_SOURCE_ADDRESS],
  ['just outside the allowed prefix', ip4([10, 8, 255, 255], 6, tcp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  ['from 0.0.0.0, not DHCP', ip4([0, 0, 0, 0], 17, udp({ srcPort: 68, dstPort: 53 })), DROP_SOURCE_ADDRESS],
  ['TCP from 0.0.0.0', ip4([0, 0, 0, 0], 6, tcp({ srcPort: 68, dstPort: 67 })), DROP_SOURCE_ADDRESS],
  ['fragment of DHCP from 0.0.0.0', fragment4([0, 0, 0, 0], 17, 0, true, dhcp(68, 67, 1)), DROP_SOURCE_ADDRESS],
  ['later fragment from 0.0.0.0', fragment4([0, 0, 0, 0], 17, 3, false, PAYLOAD), DROP_SOURCE_ADDRESS],
  ['later fragment from the victim', fragment4(VICTIM4, 17, 3, false, PAYLOAD), DROP_SOURCE_ADDRESS],
  ['from a multicast address', ip4([239, 1, 2, 3], 17, udp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  ['from loopback', ip4([127, 0, 0, 1], 17, udp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  ['from broadcast', ip4([255, 255, 255, 255], 17, udp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  ['unknown protocol from the victim', ip4(VICTIM4, 253, PAYLOAD), DROP_SOURCE_ADDRESS],
  ['spoofed behind a tag', ethernet(0x8100, vlan(5, 0x0800, patched(spoofed, 12, VICTIM4))), DROP_SOURCE_ADDRESS],
  [
    'spoofed behind a priority tag',
    ethernet(0x8100, vlan(0, 0x0800, patched(spoofed, 12, VICTIM4))),
    DROP_SOURCE_ADDRESS,
  ],
  [
    'spoofed behind two tags',
    ethernet(0x88a8, vlan(5, 0x8100, vlan(6, 0x0800, patched(spoofed, 12, VICTIM4)))),
    DROP_SOURCE_ADDRESS,
  ],

  // IPv6 source
  ['UDP from the victim, IPv6', ip6(VICTIM6, 17, udp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  [
    "TCP from the victim's link-local address",
    ip6(VICTIM_LINK_LOCAL, 6, tcp({ srcPort: 1, dstPort: 2 })),
    DROP_SOURCE_ADDRESS,
  ],
  [
    'same lowest word, other prefix',
    ip6(address6(0xfd00, 0x31, 0, 0, 0, 0, 0, 3), 6, tcp({ srcPort: 1, dstPort: 2 })),
    DROP_SOURCE_ADDRESS,
  ],
  [
    'same lowest word, other third word',
    ip6(address6(0xfd00, 0x30, 0, 0, 0, 1, 0, 3), 6, tcp({ srcPort: 1, dstPort: 2 })),
    DROP_SOURCE_ADDRESS,
  ],
  [
    'same lowest word, other second word',
    ip6(address6(0xfd00, 0x30, 0, 1, 0, 0, 0, 3), 6, tcp({ srcPort: 1, dstPort: 2 })),
    DROP_SOURCE_ADDRESS,
  ],
  ['from ::, UDP', ip6(ANY6, 17, udp({ srcPort: 546, dstPort: 547 })), DROP_SOURCE_ADDRESS],
  ['from ::, echo request', ip6(ANY6, 58, icmpv6(128, PAYLOAD)), DROP_SOURCE_ADDRESS],
  ['from ::, advertisement for the own address', ip6(ANY6, 58, advertisement(OWN6)), DROP_SOURCE_ADDRESS],
  [
    'from ::, report in a fragment',
    ip6(ANY6, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: true }), mld2Report()),
    DROP_SOURCE_ADDRESS,
  ],
  [
    'from a multicast address, IPv6',
    ip6(address6(0xff02, 0, 0, 0, 0, 0, 0, 1), 17, udp({ srcPort: 1, dstPort: 2 })),
    DROP_SOURCE_ADDRESS,
  ],
  ['from ::1', ip6(address6(0, 0, 0, 0, 0, 0, 0, 1), 17, udp({ srcPort: 1, dstPort: 2 })), DROP_SOURCE_ADDRESS],
  [
    'later fragment from the victim, IPv6',
    ip6(VICTIM6, 44, fragmentHeader({ nextHeader: 17, offset: 4, more: false }), PAYLOAD),
    DROP_SOURCE_ADDRESS,
  ],
  ['no next header, from the victim', ip6(VICTIM6, 59), DROP_SOURCE_ADDRESS],

  // ARP
  ['ARP request as the victim', arpFrame({ sender: VICTIM4 }), DROP_ARP_SENDER],
  ['ARP reply as the victim', arpFrame({ operation: 2, sender: VICTIM4 }), DROP_ARP_SENDER],
  ['gratuitous ARP for the victim', arpFrame({ sender: VICTIM4, target: VICTIM4 }), DROP_ARP_SENDER],
  ["ARP reply with the victim's MAC inside", arpFrame({ operation: 2, mac: VICTIM_MAC }), DROP_ARP_SENDER],
  ['ARP reply with both forged', arpFrame({ operation: 2, mac: VICTIM_MAC, sender: VICTIM4 }), DROP_ARP_SENDER],
  ['ARP with MACs equal in the last four octets', arpFrame({ mac: [0x06, 0x42, ...SOURCE.slice(2)] }), DROP_ARP_SENDER],
  ["ARP probe for the victim's address", arpFrame({ sender: [0, 0, 0, 0], target: VICTIM4 }), DROP_ARP_SENDER],
  ['ARP reply from 0.0.0.0', arpFrame({ operation: 2, sender: [0, 0, 0, 0], target: OWN4 }), DROP_ARP_SENDER],
  ['ARP with hardware type 6', arpFrame({ hardwareType: 6, sender: VICTIM4 }), DROP_ARP_SENDER],
  ['inverse ARP reply as the victim', arpFrame({ operation: 9, sender: VICTIM4 }), DROP_ARP_SENDER],
  ['ARP from broadcast', arpFrame({ sender: [255, 255, 255, 255] }), DROP_ARP_SENDER],
  ['ARP with hardware type 15', arpFrame({ hardwareType: 15 }), DROP_UNVERIFIABLE],
  ['ARP cut short', ethernet(0x0806, arpBody({}).subarray(0, 27)), DROP_UNVERIFIABLE],
  ['forged ARP behind a tag', ethernet(0x8100, vlan(5, 0x0806, arpBody({ sender: VICTIM4 }))), DROP_ARP_SENDER],
  ['RARP reply', rarpFrame(4, SOURCE, VICTIM_MAC), DROP_ARP_SENDER],
  ['RARP request for the victim', rarpFrame(3, SOURCE, VICTIM_MAC), DROP_ARP_SENDER],
  ['RARP request as the victim', rarpFrame(3, VICTIM_MAC, SOURCE), DROP_ARP_SENDER],
  [
    "RARP request with the victim's address",
    ethernet(0x8035, patched(arpBody({ operation: 3, sender: VICTIM4 }), 18, SOURCE)),
    DROP_ARP_SENDER,
  ],
  ['RARP cut short', ethernet(0x8035, arpBody({ operation: 3 }).subarray(0, 27)), DROP_UNVERIFIABLE],
  ['RARP for other hardware', ethernet(0x8035, arpBody({ operation: 3, hardwareType: 15 })), DROP_UNVERIFIABLE],

  // neighbor discovery
  ['advertisement for the victim', ip6(LINK_LOCAL, 58, advertisement(VICTIM6, targetLink(SOURCE))), DROP_ND_TARGET],
  [
    'advertisement for the victim, from the victim',
    ip6(VICTIM6, 58, advertisement(VICTIM6, targetLink(SOURCE))),
    DROP_ND_TARGET,
  ],
  [
    "advertisement for the victim's link-local address",
    ip6(OWN6, 58, advertisement(VICTIM_LINK_LOCAL)),
    DROP_ND_TARGET,
  ],
  [
    "own advertisement with the victim's MAC",
    ip6(OWN6, 58, advertisement(OWN6, targetLink(VICTIM_MAC))),
    DROP_ND_TARGET,
  ],
  [
    'own advertisement, second option forged',
    ip6(OWN6, 58, advertisement(OWN6, targetLink(SOURCE), targetLink(VICTIM_MAC))),
    DROP_ND_TARGET,
  ],
  ["solicitation with the victim's MAC", ip6(OWN6, 58, solicitation(VICTIM6, sourceLink(VICTIM_MAC))), DROP_ND_TARGET],
  [
    'solicitation, forged option behind others',
    ip6(
      OWN6,
      58,
      solicitation(VICTIM6, option(14, [1, 2, 3, 4, 5, 6]), option(99, new Array(14).fill(0)), sourceLink(VICTIM_MAC)),
    ),
    DROP_ND_TARGET,
  ],
  [
    'solicitation with a long link-layer option',
    ip6(OWN6, 58, solicitation(VICTIM6, option(1, [...SOURCE, 0, 0, 0, 0, 0, 0, 0, 0]))),
    DROP_ND_TARGET,
  ],
  ['solicitation as the victim', ip6(VICTIM6, 58, solicitation(OWN6, sourceLink(SOURCE))), DROP_SOURCE_ADDRESS],
  ['duplicate address detection for the victim', ip6(ANY6, 58, solicitation(VICTIM6)), DROP_ND_TARGET],
  [
    "router solicitation with the victim's MAC",
    ip6(LINK_LOCAL, 58, routerSolicitation(sourceLink(VICTIM_MAC))),
    DROP_ND_TARGET,
  ],
  [
    'option of length 0',
    ip6(OWN6, 58, solicitation(VICTIM6, option(1, SOURCE, 0), sourceLink(VICTIM_MAC))),
    DROP_UNVERIFIABLE,
  ],
  ['option longer than the packet', ip6(OWN6, 58, advertisement(OWN6, option(2, SOURCE, 2))), DROP_UNVERIFIABLE],
  ['option cut short', ip6(OWN6, 58, solicitation(VICTIM6, sourceLink(SOURCE).subarray(0, 7))), DROP_UNVERIFIABLE],
  ['one octet of an option', ip6(OWN6, 58, solicitation(VICTIM6, bytes(1))), DROP_UNVERIFIABLE],
  [
    'too many options',
    ip6(OWN6, 58, solicitation(VICTIM6, ...new Array(MAX_ND_OPTIONS + 1).fill(sourceLink(SOURCE)))),
    DROP_UNVERIFIABLE,
  ],
  ['advertisement cut in its target', ip6(OWN6, 58, advertisement(OWN6).subarray(0, 23)), DROP_UNVERIFIABLE],
  ['router solicitation of 7 octets', ip6(LINK_LOCAL, 58, routerSolicitation().subarray(0, 7)), DROP_UNVERIFIABLE],
  [
    'forged advertisement behind extension headers',
    ip6(OWN6, 0, extension(43), extension(51, 24), authentication(58), advertisement(VICTIM6)),
    DROP_ND_TARGET,
  ],
  [
    'forged advertisement behind a tag',
    ethernet(0x8100, vlan(5, 0x86dd, patched(ipv6({ nextHeader: 58 }, advertisement(VICTIM6)), 8, OWN6))),
    DROP_ND_TARGET,
  ],
  [
    'forged advertisement in an atomic fragment',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: false }), advertisement(VICTIM6)),
    DROP_ND_TARGET,
  ],
  [
    'solicitation in a fragment',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: true }), solicitation(VICTIM6)),
    DROP_UNVERIFIABLE,
  ],
  [
    'advertisement in a fragment, cut before its target',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: true }), advertisement(OWN6).subarray(0, 8)),
    DROP_UNVERIFIABLE,
  ],
  [
    'fragment that ends before ICMPv6',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: true })),
    DROP_UNVERIFIABLE,
  ],
  [
    'fragment that ends in its extension headers',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 60, offset: 0, more: true }), extension(58)),
    DROP_UNVERIFIABLE,
  ],
  [
    'fragment whose extension header is longer than it',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 60, offset: 0, more: true }), extension(58, 8, 7)),
    DROP_UNVERIFIABLE,
  ],
  [
    'nine extension headers',
    ip6(OWN6, 0, ...new Array(8).fill(extension(60)), extension(58), advertisement(OWN6)),
    DROP_UNVERIFIABLE,
  ],

  // routers
  ['router advertisement', ip6(LINK_LOCAL, 58, routerAdvertisement()), DROP_ROUTER_ADVERTISEMENT],
  [
    'router advertisement from a forged address',
    ip6(VICTIM_LINK_LOCAL, 58, routerAdvertisement()),
    DROP_ROUTER_ADVERTISEMENT,
  ],
  [
    'router advertisement behind hop-by-hop',
    ip6(LINK_LOCAL, 0, extension(58), routerAdvertisement()),
    DROP_ROUTER_ADVERTISEMENT,
  ],
  [
    'router advertisement behind destination options',
    ip6(LINK_LOCAL, 60, extension(58, 64), routerAdvertisement()),
    DROP_ROUTER_ADVERTISEMENT,
  ],
  [
    'router advertisement in a fragment',
    ip6(LINK_LOCAL, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: true }), routerAdvertisement()),
    DROP_ROUTER_ADVERTISEMENT,
  ],
  [
    'router advertisement, fragment and options',
    ip6(
      LINK_LOCAL,
      44,
      fragmentHeader({ nextHeader: 60, offset: 0, more: true }),
      extension(58),
      routerAdvertisement(),
    ),
    DROP_ROUTER_ADVERTISEMENT,
  ],
  [
    'router advertisement behind two tags',
    ethernet(0x8100, vlan(0, 0x8100, vlan(0, 0x86dd, ipv6({ nextHeader: 58 }, routerAdvertisement())))),
    DROP_ROUTER_ADVERTISEMENT,
  ],
  ['ICMPv6 redirect', ip6(LINK_LOCAL, 58, icmpv6(137, new Uint8Array(36))), DROP_ROUTER_ADVERTISEMENT],
  ['ICMP redirect', ip4(OWN4, 1, icmp(5, PAYLOAD)), DROP_ROUTER_ADVERTISEMENT],
  ['ICMP router advertisement', ip4(OWN4, 1, icmp(9, PAYLOAD)), DROP_ROUTER_ADVERTISEMENT],

  // DHCP servers
  ['DHCP offer', ip4(OWN4, 17, dhcp(67, 68, 2)), DROP_DHCP_SERVER],
  ["DHCP offer from the gateway's address", ip4([172, 30, 0, 1], 17, dhcp(67, 68, 2)), DROP_DHCP_SERVER],
  ['DHCP offer from another port', ip4(OWN4, 17, dhcp(1067, 68, 2)), DROP_DHCP_SERVER],
  ['DHCP offer that says to be a request', ip4(OWN4, 17, dhcp(1067, 68, 1)), DROP_DHCP_SERVER],
  ['relayed DHCP', ip4(OWN4, 17, dhcp(67, 67, 1)), DROP_DHCP_SERVER],
  ['DHCP offer, first fragment', fragment4(OWN4, 17, 0, true, dhcp(67, 68, 2)), DROP_DHCP_SERVER],
  [
    'DHCP offer behind IPv4 options',
    ethernet(0x0800, ipv4({ protocol: 17, options: 40 }, dhcp(67, 68, 2))),
    DROP_DHCP_SERVER,
  ],
  [
    'DHCP offer with a false length',
    ip4(OWN4, 17, udp({ srcPort: 67, dstPort: 68, length: 4 }, PAYLOAD)),
    DROP_UNVERIFIABLE,
  ],
  ['UDP header cut by the first fragment', fragment4(OWN4, 17, 0, true, new Uint8Array(7)), DROP_UNVERIFIABLE],
  ['DHCPv6 advertise', ip6(LINK_LOCAL, 17, dhcp(547, 546, 2)), DROP_DHCP_SERVER],
  ['DHCPv6 from another port', ip6(LINK_LOCAL, 17, dhcp(1547, 546, 2)), DROP_DHCP_SERVER],
  ['DHCPv6 from another port and the first address', ip6(OWN6, 17, dhcp(1547, 546, 2)), DROP_DHCP_SERVER],
  ['DHCPv6 relay', ip6(OWN6, 17, dhcp(547, 547, 12)), DROP_DHCP_SERVER],
  [
    'DHCPv6 in a fragment',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 17, offset: 0, more: true }), dhcp(547, 546, 2)),
    DROP_DHCP_SERVER,
  ],
  [
    'UDP header cut by the first fragment, IPv6',
    ip6(OWN6, 44, fragmentHeader({ nextHeader: 17, offset: 0, more: true })),
    DROP_UNVERIFIABLE,
  ],

  // multicast routers
  ['IGMP query', ip4(OWN4, 2, igmp(0x11)), DROP_MULTICAST_ROUTER],
  [
    'IGMP query with a router alert',
    ethernet(0x0800, ipv4({ protocol: 2, options: 4 }, igmp(0x11))),
    DROP_MULTICAST_ROUTER,
  ],
  ['IGMP query from 0.0.0.0', ip4([0, 0, 0, 0], 2, igmp(0x11)), DROP_MULTICAST_ROUTER],
  ['DVMRP', ip4(OWN4, 2, igmp(0x13)), DROP_MULTICAST_ROUTER],
  ['PIM version 1', ip4(OWN4, 2, igmp(0x14)), DROP_MULTICAST_ROUTER],
  ['multicast router advertisement', ip4(OWN4, 2, igmp(0x30)), DROP_MULTICAST_ROUTER],
  ['multicast router termination', ip4(OWN4, 2, igmp(0x32)), DROP_MULTICAST_ROUTER],
  ['IGMP without a type', ip4(OWN4, 2), DROP_UNVERIFIABLE],
  ['PIM', ip4(OWN4, 103, PAYLOAD), DROP_MULTICAST_ROUTER],
  ['PIM over IPv6', ip6(LINK_LOCAL, 103, PAYLOAD), DROP_MULTICAST_ROUTER],
  ['MLD query', ip6(LINK_LOCAL, 0, routerAlert(58), icmpv6(130, new Uint8Array(20))), DROP_MULTICAST_ROUTER],
  ['multicast router advertisement, IPv6', ip6(LINK_LOCAL, 58, icmpv6(151, new Uint8Array(4))), DROP_MULTICAST_ROUTER],
  ['multicast router termination, IPv6', ip6(LINK_LOCAL, 58, icmpv6(153, new Uint8Array(4))), DROP_MULTICAST_ROUTER],

  // between bridges
  ['STP', llc(0x42, 0x42, 0x03, 0, 0, 0, 0), DROP_LINK_PROTOCOL],
  ['STP to a group SAP', llc(0x43, 0x42, 0x03, 0, 0, 0, 0), DROP_LINK_PROTOCOL],
  ['STP behind a tag', ethernet(0x8100, vlan(1, 38, bytes(0x42, 0x42, 0x03), PAYLOAD)), DROP_LINK_PROTOCOL],
  [
    'STP behind two tags',
    ethernet(0x88a8, vlan(1, 0x8100, vlan(1, 38, bytes(0x42, 0x42, 0x03), PAYLOAD))),
    DROP_LINK_PROTOCOL,
  ],
  ['LLDP', ethernet(0x88cc, PAYLOAD), DROP_LINK_PROTOCOL],
  ['LLDP behind a tag', ethernet(0x8100, vlan(0, 0x88cc, PAYLOAD)), DROP_LINK_PROTOCOL],
  ['LLDP in SNAP', snap(ETHERNET_OUI, 0x88cc), DROP_LINK_PROTOCOL],
  ['EAPOL', ethernet(0x888e, PAYLOAD), DROP_LINK_PROTOCOL],
  ['LACP', ethernet(0x8809, PAYLOAD), DROP_LINK_PROTOCOL],
  ['PAUSE', ethernet(0x8808, PAYLOAD), DROP_LINK_PROTOCOL],
  ['MVRP', ethernet(0x88f5, PAYLOAD), DROP_LINK_PROTOCOL],
  ['MMRP', ethernet(0x88f6, PAYLOAD), DROP_LINK_PROTOCOL],
  ['MSRP', ethernet(0x22ea, PAYLOAD), DROP_LINK_PROTOCOL],
  ['media redundancy', ethernet(0x88e3, PAYLOAD), DROP_LINK_PROTOCOL],
  ['ring protection', ethernet(0x8902, PAYLOAD), DROP_LINK_PROTOCOL],
  ['CDP', snap([0, 0, 0x0c], 0x2000), DROP_LINK_PROTOCOL],
  ['PVST+', snap([0, 0, 0x0c], 0x010b), DROP_LINK_PROTOCOL],
  ['EDP', snap([0, 0xe0, 0x2b], 0x00bb), DROP_LINK_PROTOCOL],
  ['FDP', snap([0, 0xe0, 0x52], 0x2000), DROP_LINK_PROTOCOL],
  ['SONMP', snap([0, 0, 0x81], 0x01a2), DROP_LINK_PROTOCOL],

  // hidden from the parse
  ['three tags', ethernet(0x8100, vlan(1, 0x8100, vlan(2, 0x8100, vlan(3, 0x0800, spoofed)))), DROP_UNVERIFIABLE],
  [
    'three tags, service tag innermost',
    ethernet(0x8100, vlan(1, 0x8100, vlan(2, 0x88a8, vlan(3, 0x0800, spoofed)))),
    DROP_UNVERIFIABLE,
  ],
  ["a vendor's tag", ethernet(0x9100, vlan(3, 0x0800, spoofed)), DROP_UNVERIFIABLE],
  ['a tag cut by the end', ethernet(0x8100, bytes(0, 1, 8)), DROP_UNVERIFIABLE],
  ['IPv4 in SNAP', snap(ETHERNET_OUI, 0x0800, spoofed), DROP_UNVERIFIABLE],
  ['IPv6 in SNAP', snap(ETHERNET_OUI, 0x86dd, ipv6({ nextHeader: 58 }, routerAdvertisement())), DROP_UNVERIFIABLE],
  ['ARP in SNAP', snap(ETHERNET_OUI, 0x0806, arpBody({ sender: VICTIM4 })), DROP_UNVERIFIABLE],
  ['RARP in SNAP', snap(ETHERNET_OUI, 0x8035, arpBody({ operation: 4 })), DROP_UNVERIFIABLE],
  ['a tag in SNAP', snap(ETHERNET_OUI, 0x8100, vlan(1, 0x0800, spoofed)), DROP_UNVERIFIABLE],
  ['ARP in SNAP, bridge tunnel', snap([0, 0, 0xf8], 0x0806, arpBody({ sender: VICTIM4 })), DROP_UNVERIFIABLE],
  [
    'ARP in SNAP behind a tag',
    ethernet(0x8100, vlan(0, 60, bytes(0xaa, 0xaa, 3, 0, 0, 0, 8, 6), arpBody({ sender: VICTIM4 }))),
    DROP_UNVERIFIABLE,
  ],
  ['IPv4 on LLC', llc(0x06, 0x06, 0x03, ...spoofed), DROP_UNVERIFIABLE],
  ['SNAP cut by the end', ethernet(7, bytes(0xaa, 0xaa, 3, 0, 0, 0, 8)), DROP_UNVERIFIABLE],
  ['LLC cut by the end', ethernet(2, bytes(0x42, 0x42)), DROP_UNVERIFIABLE],
  ['IPv4 header cut short', ethernet(0x0800, spoofed.subarray(0, 15)), DROP_UNVERIFIABLE],
  [
    'IPv4 that is longer than its frame',
    ethernet(0x0800, ipv4({ protocol: 17, totalLength: 500 }, udp({ srcPort: 1, dstPort: 2 }))),
    DROP_UNVERIFIABLE,
  ],
  [
    'IPv4 of version 5',
    ethernet(0x0800, ipv4({ protocol: 17, version: 5 }, udp({ srcPort: 1, dstPort: 2 }))),
    DROP_UNVERIFIABLE,
  ],
  ['IPv6 header cut short', ethernet(0x86dd, ipv6({ nextHeader: 6 }).subarray(0, 39)), DROP_UNVERIFIABLE],
  [
    'IPv6 that is longer than its frame',
    ethernet(0x86dd, ipv6({ nextHeader: 6, payloadLength: 100 }, tcp({ srcPort: 1, dstPort: 2 }))),
    DROP_UNVERIFIABLE,
  ],

  // the checksum offload as a way to rewrite the frame after the checks: 14 Ethernet, 20 or 40 IP
  [
    'checksum into the IPv4 source',
    ip4(OWN4, 6, tcp({ srcPort: 1, dstPort: 2 })),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 20, checksumOffset: 8 },
  ],
  [
    'checksum into the source MAC',
    ip4(OWN4, 17, udp({ srcPort: 1, dstPort: 2 })),
    DROP_VNET_HEADER,
    { vnetFlags: NEEDS_CSUM, checksumStart: 0, checksumOffset: 10 },
  ],
  [
    'checksum into the UDP ports',
    ip4(OWN4, 17, udp({ srcPort: 1, dstPort: 2 })),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 34, checksumOffset: 2 },
  ],
  [
    'checksum into the UDP ports, IPv6',
    ip6(OWN6, 17, udp({ srcPort: 1, dstPort: 2 })),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 54, checksumOffset: 3 },
  ],
  [
    'checksum into the IPv6 source',
    ip6(OWN6, 6, tcp({ srcPort: 1, dstPort: 2 })),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 14, checksumOffset: 8 },
  ],
  [
    'checksum into the type of ICMPv6',
    ip6(OWN6, 58, icmpv6(128, PAYLOAD)),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 54, checksumOffset: 0 },
  ],
  [
    'checksum into the target of an advertisement',
    ip6(OWN6, 58, advertisement(OWN6)),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 54, checksumOffset: 20 },
  ],
  [
    'checksum into the type of IGMP',
    ip4(OWN4, 2, igmp(0x16)),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 34, checksumOffset: 0 },
  ],
  [
    'checksum into the header of an unknown protocol',
    ip4(OWN4, 253, PAYLOAD),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 14, checksumOffset: 9 },
  ],
  [
    'checksum in a later fragment',
    fragment4(OWN4, 6, 3, false, PAYLOAD),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 26, checksumOffset: 0 },
  ],
  [
    'checksum in a cut TCP header',
    ip4(OWN4, 6, new Uint8Array(12)),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 26, checksumOffset: 0 },
  ],
  [
    'checksum into an ARP sender',
    arpFrame({}),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 14, checksumOffset: 14 },
  ],
  [
    'checksum into a RARP sender',
    rarpFrame(3, SOURCE, SOURCE),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 14, checksumOffset: 8 },
  ],
  [
    'checksum into the EtherType',
    ethernet(0x88b5, PAYLOAD),
    DROP_VNET_HEADER,
    { vnetFlags: NEEDS_CSUM, checksumStart: 12, checksumOffset: 0 },
  ],
  [
    'checksum into the EtherType behind a tag',
    ethernet(0x8100, vlan(1, 0x88b5, PAYLOAD)),
    DROP_VNET_HEADER,
    { vnetFlags: NEEDS_CSUM, checksumStart: 14, checksumOffset: 2 },
  ],
  [
    'checksum into the SAP',
    llc(0xe0, 0xe0, 0x03),
    DROP_UNVERIFIABLE,
    { vnetFlags: NEEDS_CSUM, checksumStart: 14, checksumOffset: 0 },
  ],
];

const partial = (checksumStart: number, checksumOffset: number): VnetFields => ({
  vnetFlags: NEEDS_CSUM,
  checksumStart,
  checksumOffset,
});

const HONEST: readonly Line[] = (
  [
    ['TCP', ip4(OWN4, 6, tcp({ srcPort: 40000, dstPort: 443 }))],
    ['UDP', ip4(OWN4, 17, udp({ srcPort: 5353, dstPort: 5353 }, PAYLOAD))],
    ['UDP between DHCPv6 ports over IPv4', ip4(OWN4, 17, dhcp(547, 546, 2))],
    ['echo', ip4(OWN4, 1, icmp(8, PAYLOAD))],
    ['unreachable', ip4(OWN4, 1, icmp(3, PAYLOAD))],
    ['TCP with a checksum to complete', ip4(OWN4, 6, tcp({ srcPort: 1, dstPort: 2 })), partial(34, 16)],
    ['UDP with a checksum to complete', ip4(OWN4, 17, udp({ srcPort: 1, dstPort: 2 })), partial(34, 6)],
    [
      'tunnel with a checksum to complete inside',
      ip4(OWN4, 17, udp({ srcPort: 1, dstPort: 4789 }, new Uint8Array(80))),
      partial(92, 16),
    ],
    ['SCTP with a checksum to complete', ip4(OWN4, 132, PAYLOAD), partial(34, 8)],
    ['echo with a checksum to complete', ip4(OWN4, 1, icmp(8, PAYLOAD)), partial(34, 2)],
    [
      'TCP super-packet',
      ip4(OWN4, 6, tcp({ srcPort: 1, dstPort: 2 }, new Uint8Array(60_000))),
      { ...partial(34, 16), gsoType: 1, gsoSize: 1448, headerLength: 54 },
    ],
    [
      'TCP super-packet, IPv6',
      ip6(OWN6, 6, tcp({ srcPort: 1, dstPort: 2 }, new Uint8Array(60_000))),
      { ...partial(54, 16), gsoType: 4, gsoSize: 1428, headerLength: 74 },
    ],
    [
      'UDP super-packet',
      ip4(OWN4, 17, udp({ srcPort: 1, dstPort: 2 }, new Uint8Array(9000))),
      { ...partial(34, 6), gsoType: 5, gsoSize: 1000, headerLength: 42 },
    ],
    ['from an allowed prefix', ip4(ALLOWED4, 6, tcp({ srcPort: 1, dstPort: 2 }))],
    ['UDP from an allowed prefix', ip4(ALLOWED4, 17, udp({ srcPort: 1, dstPort: 2 }))],
    ['TCP cut short', ip4(OWN4, 6, new Uint8Array(12))],
    ['first fragment', fragment4(OWN4, 17, 0, true, udp({ srcPort: 1, dstPort: 2, length: 4000 }, PAYLOAD))],
    ['later fragment', fragment4(OWN4, 17, 5, true, PAYLOAD)],
    ['last fragment', fragment4(OWN4, 1, 50, false, PAYLOAD)],
    ['later fragment of IGMP', fragment4(OWN4, 2, 50, false, igmp(0x11))],
    ['GRE', ip4(OWN4, 47, PAYLOAD)],
    ['behind a tag', ethernet(0x8100, vlan(5, 0x0800, spoofed))],
    ['behind two tags', ethernet(0x88a8, vlan(5, 0x8100, vlan(6, 0x0800, spoofed)))],
    ['DHCP discover', ip4([0, 0, 0, 0], 17, dhcp(68, 67, 1))],
    ['DHCP renewal', ip4(OWN4, 17, dhcp(68, 67, 1))],
    ['IGMPv1 report', ip4(OWN4, 2, igmp(0x12))],
    ['IGMPv2 report', ethernet(0x0800, ipv4({ protocol: 2, options: 4 }, igmp(0x16)))],
    ['IGMPv2 leave', ip4(OWN4, 2, igmp(0x17))],
    ['IGMPv3 report', ip4(OWN4, 2, igmp(0x22))],

    ['ARP request', arpFrame({})],
    ['ARP reply', arpFrame({ operation: 2 })],
    ['ARP with hardware type 6', arpFrame({ hardwareType: 6 })],
    ['ARP probe', arpFrame({ sender: [0, 0, 0, 0], target: OWN4 })],
    ['ARP announcement', arpFrame({ sender: OWN4, target: OWN4 })],
    ['ARP for an allowed prefix', arpFrame({ operation: 2, sender: ALLOWED4 })],
    ['ARP behind a tag', ethernet(0x8100, vlan(0, 0x0806, arpBody({})))],
    ['ARP with padding', ethernet(0x0806, arpBody({}), new Uint8Array(18))],
    ['RARP announcement', rarpFrame(3, SOURCE, SOURCE)],

    ['TCP over IPv6', ip6(OWN6, 6, tcp({ srcPort: 40000, dstPort: 443 }))],
    ['UDP over IPv6', ip6(OWN6, 17, udp({ srcPort: 5353, dstPort: 5353 }))],
    ['UDP between DHCP ports over IPv6', ip6(OWN6, 17, dhcp(67, 68, 2))],
    ['TCP over IPv6 with a checksum to complete', ip6(OWN6, 6, tcp({ srcPort: 1, dstPort: 2 })), partial(54, 16)],
    ['from the link-local address', ip6(LINK_LOCAL, 17, udp({ srcPort: 5353, dstPort: 5353 }))],
    ['from an allowed prefix, IPv6', ip6(ALLOWED6, 6, tcp({ srcPort: 1, dstPort: 2 }))],
    ['echo, IPv6', ip6(OWN6, 58, icmpv6(128, PAYLOAD))],
    [
      'echo, IPv6, in a fragment',
      ip6(OWN6, 44, fragmentHeader({ nextHeader: 58, offset: 0, more: true }), icmpv6(128, PAYLOAD)),
    ],
    ['later fragment, IPv6', ip6(OWN6, 44, fragmentHeader({ nextHeader: 17, offset: 9, more: false }), PAYLOAD)],
    [
      'first fragment, IPv6',
      ip6(
        OWN6,
        44,
        fragmentHeader({ nextHeader: 17, offset: 0, more: true }),
        udp({ srcPort: 1, dstPort: 2, length: 4000 }, PAYLOAD),
      ),
    ],
    ['DHCPv6 solicit', ip6(LINK_LOCAL, 17, dhcp(546, 547, 1))],
    ['IPv6 without next header', ip6(OWN6, 59)],
    ['ESP', ip6(OWN6, 50, PAYLOAD)],
    ['solicitation', ip6(OWN6, 58, solicitation(VICTIM6, sourceLink(SOURCE)))],
    [
      'solicitation from the link-local address',
      ip6(LINK_LOCAL, 58, solicitation(VICTIM_LINK_LOCAL, sourceLink(SOURCE), option(14, [1, 2, 3, 4, 5, 6]))),
    ],
    [
      'as many options as there may be',
      ip6(OWN6, 58, solicitation(VICTIM6, ...new Array(MAX_ND_OPTIONS).fill(sourceLink(SOURCE)))),
    ],
    ['advertisement', ip6(OWN6, 58, advertisement(OWN6, targetLink(SOURCE)))],
    ['advertisement without option', ip6(LINK_LOCAL, 58, advertisement(OWN6))],
    ['advertisement for an allowed prefix', ip6(LINK_LOCAL, 58, advertisement(ALLOWED6, targetLink(SOURCE)))],
    ['advertisement for the link-local address', ip6(LINK_LOCAL, 58, advertisement(LINK_LOCAL, targetLink(SOURCE)))],
    ['duplicate address detection', ip6(ANY6, 58, solicitation(OWN6, option(14, [1, 2, 3, 4, 5, 6])))],
    ['duplicate address detection, link-local', ip6(ANY6, 58, solicitation(LINK_LOCAL))],
    ['router solicitation', ip6(LINK_LOCAL, 58, routerSolicitation(sourceLink(SOURCE)))],
    ['router solicitation from ::', ip6(ANY6, 58, routerSolicitation())],
    ['MLDv1 report', ip6(LINK_LOCAL, 0, routerAlert(58), icmpv6(131, new Uint8Array(20)))],
    ['MLDv1 report from ::', ip6(ANY6, 0, routerAlert(58), icmpv6(131, new Uint8Array(20)))],
    ['MLDv1 done', ip6(LINK_LOCAL, 0, routerAlert(58), icmpv6(132, new Uint8Array(20)))],
    ['MLDv2 report', ip6(LINK_LOCAL, 0, routerAlert(58), mld2Report())],
    ['MLDv2 report from ::', ip6(ANY6, 0, routerAlert(58), mld2Report())],

    ['an experimental EtherType', ethernet(0x88b5, PAYLOAD)],
    ['an experimental EtherType behind a tag', ethernet(0x8100, vlan(7, 0x88b5, PAYLOAD))],
    ['MPLS with a checksum to complete inside', ethernet(0x8847, new Uint8Array(80)), partial(38, 16)],
    ['NetBEUI', llc(0xf0, 0xf0, 0x03)],
    ['raw IPX', llc(0xff, 0xff, 0x00)],
    ['AppleTalk in SNAP', snap([0x08, 0x00, 0x07], 0x809b)],
    ['AARP in SNAP', snap(ETHERNET_OUI, 0x80f3)],
  ] as readonly (readonly [what: string, frame: Uint8Array, vnet?: VnetFields])[]
).map(([what, frame, vnet]): Line => [what, frame, DROP_NONE, vnet]);

test('attacks: each under its reason', (t) => {
  for (const [what, frame, reason, vnet] of ATTACKS) t.is(nameOf(verdict(frame, vnet)), nameOf(reason), what);
});

test('honest traffic passes', (t) => {
  for (const [what, frame, , vnet] of HONEST) t.is(nameOf(verdict(frame, vnet)), 'none', what);
});

test('nothing is read behind a frame that ends the memory', (t) => {
  for (const [what, frame, reason, vnet] of [...ATTACKS, ...HONEST]) {
    const { verdict: dropped } = bench.parseAtEdge(frame, vnet);
    const found = dropped === DROP_NONE ? inspect(bench.arena.view, endpoint, bench.packet) : dropped;
    t.is(nameOf(found), nameOf(reason), what);
  }
});

test('every frame that passes is caught once the endpoint owns other addresses', (t) => {
  const other = makeSecurity([
    [[192, 0, 2, 1], 32],
    [address6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 128],
  ]);
  t.is(verdict(ip4(OWN4, 6, tcp({ srcPort: 1, dstPort: 2 })), {}, other), DROP_SOURCE_ADDRESS);
  t.is(verdict(ip6(OWN6, 6, tcp({ srcPort: 1, dstPort: 2 })), {}, other), DROP_SOURCE_ADDRESS);
  t.is(verdict(arpFrame({}), {}, other), DROP_ARP_SENDER);
  t.is(verdict(ip6(LINK_LOCAL, 58, advertisement(OWN6)), {}, other), DROP_ND_TARGET);
});

test('without addresses: the link-local one and DHCP only', (t) => {
  const none = makeSecurity([]);
  t.is(verdict(ip6(LINK_LOCAL, 6, tcp({ srcPort: 1, dstPort: 2 })), {}, none), DROP_NONE);
  t.is(verdict(ip4([0, 0, 0, 0], 17, dhcp(68, 67, 1)), {}, none), DROP_NONE);
  t.is(verdict(ip4([0, 0, 0, 0], 6, tcp({ srcPort: 1, dstPort: 2 })), {}, none), DROP_SOURCE_ADDRESS);
  t.is(verdict(ip4(OWN4, 6, tcp({ srcPort: 1, dstPort: 2 })), {}, none), DROP_SOURCE_ADDRESS);
  t.is(verdict(arpFrame({ sender: [0, 0, 0, 0], target: [0, 0, 0, 0] }), {}, none), DROP_ARP_SENDER);
});

test('prefixes of length 0: any address that a host can have', (t) => {
  const all = makeSecurity([
    [[0, 0, 0, 0], 0],
    [ANY6, 0],
    [[240, 0, 0, 9], 32],
  ]);
  const from4 = (source: number[]): number => verdict(ip4(source, 6, tcp({ srcPort: 1, dstPort: 2 })), {}, all);
  const from6 = (source: number[]): number => verdict(ip6(source, 6, tcp({ srcPort: 1, dstPort: 2 })), {}, all);
  t.is(from4(VICTIM4), DROP_NONE);
  t.is(from6(VICTIM6), DROP_NONE);
  t.is(from4([240, 0, 0, 9]), DROP_NONE);
  t.is(verdict(ip4([240, 0, 0, 9], 1, icmp(8, PAYLOAD)), {}, all), DROP_NONE);
  for (const source of [
    [0, 0, 0, 0],
    [0, 1, 2, 3],
    [127, 0, 0, 1],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
  ])
    t.is(from4(source), DROP_SOURCE_ADDRESS, source.join('.'));
  t.is(from6(ANY6), DROP_SOURCE_ADDRESS);
  t.is(from6(address6(0, 0, 0, 0, 0, 0, 0, 1)), DROP_SOURCE_ADDRESS);
  t.is(from6(address6(0xff02, 0, 0, 0, 0, 0, 0, 1)), DROP_SOURCE_ADDRESS);
  t.is(from6(address6(0, 0, 0, 0, 0, 0, 0, 2)), DROP_NONE);
});

test('the fields that the source check of MACs reads, and lists that make no sense', (t) => {
  const security = new PortSecurity(SECURITY_MAC, 0x0242, word(SOURCE, 2), 4, new Int32Array(0), new Int32Array(0));
  t.is(security.level, SECURITY_MAC);
  t.is(security.macHigh, 0x0242);
  t.is(security.macLow, word(SOURCE, 2));
  t.is(security.macLimit, 4);
  const make = (four: number, six: number) => () =>
    new PortSecurity(SECURITY_STRICT, 0, 0, 1, new Int32Array(four), new Int32Array(six));
  t.throws(make(3, 0), { instanceOf: RangeError, message: /IPv4/ });
  t.throws(make(0, 12), { instanceOf: RangeError, message: /IPv6/ });
});

// --- a slow reference: reads the frame itself, and compares addresses as text

const hex = (frame: Uint8Array, at: number, length: number): string =>
  Buffer.from(frame.subarray(at, at + length)).toString('hex');
const bits = (octets: readonly number[]): string => octets.map((octet) => octet.toString(2).padStart(8, '0')).join('');

function isOwn(prefixes: readonly Prefix[], address: readonly number[]): boolean {
  const linkLocal: Prefix = [LINK_LOCAL, 128];
  return [...prefixes, linkLocal].some(([prefix, length]) => {
    if (prefix.length !== address.length || !bits(address).startsWith(bits(prefix).slice(0, length))) return false;
    return length === 8 * prefix.length || !isMartian(address);
  });
}

function isMartian(address: readonly number[]): boolean {
  if (address.length === 4) return address[0] === 0 || address[0] === 127 || address[0] >= 224;
  return address[0] === 255 || bits(address).lastIndexOf('1', 126) === -1;
}

const isZero = (address: readonly number[]): boolean => address.every((octet) => octet === 0);

interface Transport {
  protocol: number;
  at: number;
  end: number;
  fragment: boolean;
  later: boolean;
}

/** Where the transport header is, or null where the packet is malformed. */
function transport4(frame: Uint8Array, at: number): Transport | null {
  if (at + 20 > frame.length || frame[at] >> 4 !== 4) return null;
  const header = (frame[at] & 15) * 4;
  const total = frame[at + 2] * 256 + frame[at + 3];
  if (header < 20 || total < header || at + total > frame.length) return null;
  const offset = (frame[at + 6] & 0x1f) * 256 + frame[at + 7];
  const fragment = offset > 0 || (frame[at + 6] & 0x20) !== 0;
  return { protocol: frame[at + 9], at: at + header, end: at + total, fragment, later: offset > 0 };
}

function transport6(frame: Uint8Array, start: number): Transport | null {
  if (start + 40 > frame.length || frame[start] >> 4 !== 6) return null;
  const end = start + 40 + frame[start + 4] * 256 + frame[start + 5];
  if (end > frame.length) return null;
  const found = { protocol: frame[start + 6], at: start + 40, end, fragment: false, later: false };
  for (let count = 0; [0, 43, 44, 51, 60].includes(found.protocol) && !found.later; count++) {
    const { at, protocol } = found;
    if (count === 8 || at + 8 > end) return null;
    const length = protocol === 44 ? 8 : protocol === 51 ? (frame[at + 1] + 2) * 4 : (frame[at + 1] + 1) * 8;
    if (at + length > end) return null;
    if (protocol === 44) {
      const field = frame[at + 2] * 256 + frame[at + 3];
      found.later = field >> 3 > 0;
      found.fragment ||= found.later || (field & 1) === 1;
    }
    found.protocol = frame[at];
    found.at = at + length;
  }
  return found;
}

/** Whether the transport header is whole: of protocols that need no look inside, always. */
function isWhole(frame: Uint8Array, found: Transport, family: 4 | 6): boolean {
  const { protocol, at, end } = found;
  if (protocol === 1 || protocol === 58) return at + 8 <= end;
  if (protocol === 6) return at + 20 <= end && frame[at + 12] >> 4 >= 5 && at + (frame[at + 12] >> 4) * 4 <= end;
  if (protocol !== 17) return true;
  if (at + 8 > end) return false;
  const length = frame[at + 4] * 256 + frame[at + 5];
  if (length === 0) return family === 6;
  return length >= 8 && (found.fragment || at + length <= end);
}

/** The byte that a checksum is to be written to, or -1. */
const fieldOf = (vnet: VnetFields): number =>
  (vnet.vnetFlags ?? 0) & 1 ? (vnet.checksumStart ?? 0) + (vnet.checksumOffset ?? 0) : -1;

function referenceIp(
  frame: Uint8Array,
  start: number,
  family: 4 | 6,
  prefixes: readonly Prefix[],
  vnet: VnetFields,
): number {
  const found = family === 4 ? transport4(frame, start) : transport6(frame, start);
  if (found === null) return DROP_UNVERIFIABLE;
  const whole = isWhole(frame, found, family);
  const { protocol, at, end } = found;
  const field = fieldOf(vnet);
  if (field !== -1) {
    if (found.later || !whole || protocol === 59) return DROP_UNVERIFIABLE;
    if ([1, 2, 58].includes(protocol) ? field !== at + 2 : field < at + ([6, 17].includes(protocol) ? 4 : 0))
      return DROP_UNVERIFIABLE;
  }
  const source = [...(family === 4 ? frame.subarray(start + 12, start + 16) : frame.subarray(start + 8, start + 24))];
  const ports = [frame[at] * 256 + frame[at + 1], frame[at + 2] * 256 + frame[at + 3]];
  const type = frame[at];
  const looksInside = family === 4 ? [1, 2, 17].includes(protocol) : [17, 58].includes(protocol);
  if (protocol === 103) return DROP_MULTICAST_ROUTER;
  if (looksInside && !found.later) {
    if (!whole) return DROP_UNVERIFIABLE;
    const [server, client] = family === 4 ? [67, 68] : [547, 546];
    if (protocol === 17 && (ports[0] === server || ports[1] === client)) return DROP_DHCP_SERVER;
    if (protocol === 1 && (type === 5 || type === 9)) return DROP_ROUTER_ADVERTISEMENT;
    if (protocol === 2 && at >= end) return DROP_UNVERIFIABLE;
    if (protocol === 2 && [0x11, 0x13, 0x14, 0x30, 0x32].includes(type)) return DROP_MULTICAST_ROUTER;
    if (protocol === 58) {
      const reason = referenceIcmpv6(frame, found, isZero(source), prefixes);
      if (reason !== DROP_NONE) return reason;
    }
  }
  if (!isZero(source)) return isOwn(prefixes, source) ? DROP_NONE : DROP_SOURCE_ADDRESS;
  if (found.fragment || !whole) return DROP_SOURCE_ADDRESS;
  const sourceless =
    family === 4
      ? protocol === 17 && ports[0] === 68 && ports[1] === 67
      : protocol === 58 && [131, 132, 133, 135, 143].includes(type);
  return sourceless ? DROP_NONE : DROP_SOURCE_ADDRESS;
}

function referenceIcmpv6(
  frame: Uint8Array,
  found: Transport,
  fromNobody: boolean,
  prefixes: readonly Prefix[],
): number {
  const { at, end } = found;
  const type = frame[at];
  if ([130, 151, 153].includes(type)) return DROP_MULTICAST_ROUTER;
  if (type === 134 || type === 137) return DROP_ROUTER_ADVERTISEMENT;
  if (type !== 133 && type !== 135 && type !== 136) return DROP_NONE;
  let next = at + (type === 133 ? 8 : 24);
  if (next > end) return DROP_UNVERIFIABLE;
  const claims = type === 136 || (type === 135 && fromNobody);
  if (claims && !isOwn(prefixes, [...frame.subarray(at + 8, at + 24)])) return DROP_ND_TARGET;
  if (found.fragment) return DROP_UNVERIFIABLE;
  for (let count = 1; next < end; count++) {
    const length = frame[next + 1] * 8;
    if (count > 16 || next + 8 > end || length === 0 || next + length > end) return DROP_UNVERIFIABLE;
    const isLink = frame[next] === 1 || frame[next] === 2;
    if (isLink && (length !== 8 || hex(frame, next + 2, 6) !== hex(frame, 6, 6))) return DROP_ND_TARGET;
    next += length;
  }
  return DROP_NONE;
}

function referenceArp(frame: Uint8Array, at: number, prefixes: readonly Prefix[], vnet: VnetFields): number {
  const proven = ['000108000604', '000608000604'].includes(hex(frame, at, 6));
  if (at + 28 > frame.length || !proven || fieldOf(vnet) !== -1) return DROP_UNVERIFIABLE;
  const sender = [...frame.subarray(at + 14, at + 18)];
  const target = [...frame.subarray(at + 24, at + 28)];
  if (hex(frame, at + 8, 6) !== hex(frame, 6, 6)) return DROP_ARP_SENDER;
  const probe = isZero(sender) && hex(frame, at + 6, 2) === '0001' && isOwn(prefixes, target);
  return probe || isOwn(prefixes, sender) ? DROP_NONE : DROP_ARP_SENDER;
}

const HIDING = ['8100', '88a8', '9100', '9200', '9300'];
const LINK = ['22ea', '8808', '8809', '888e', '88cc', '88e3', '88f5', '88f6', '8902'];

function referenceOther(
  frame: Uint8Array,
  type: string,
  at: number,
  prefixes: readonly Prefix[],
  vnet: VnetFields,
): number {
  const isLength = type < '0600';
  const field = fieldOf(vnet);
  if (field !== -1 && (isLength || type === '8035' || field < at)) return DROP_UNVERIFIABLE;
  if (type === '8035') {
    if (at + 28 > frame.length || hex(frame, at, 2) !== '0001') return DROP_UNVERIFIABLE;
    const macs = [hex(frame, at + 8, 6), hex(frame, at + 18, 6)];
    const sender = [...frame.subarray(at + 14, at + 18)];
    const honest = hex(frame, at + 6, 2) === '0003' && macs.every((mac) => mac === hex(frame, 6, 6));
    return honest && (isZero(sender) || isOwn(prefixes, sender)) ? DROP_NONE : DROP_ARP_SENDER;
  }
  if (HIDING.includes(type)) return DROP_UNVERIFIABLE;
  if (!isLength) return LINK.includes(type) ? DROP_LINK_PROTOCOL : DROP_NONE;
  if (at + 3 > frame.length) return DROP_UNVERIFIABLE;
  const sap = frame[at] - (frame[at] % 2);
  if (sap === 0x42) return DROP_LINK_PROTOCOL;
  if (sap === 0x06) return DROP_UNVERIFIABLE;
  if (sap !== 0xaa) return DROP_NONE;
  if (at + 8 > frame.length) return DROP_UNVERIFIABLE;
  const oui = hex(frame, at + 3, 3);
  const inner = hex(frame, at + 6, 2);
  if (['00000c', '00e02b', '00e052', '000081'].includes(oui)) return DROP_LINK_PROTOCOL;
  if (oui !== '000000' && oui !== '0000f8') return DROP_NONE;
  if (LINK.includes(inner)) return DROP_LINK_PROTOCOL;
  return ['0800', '0806', '86dd', '8035', ...HIDING].includes(inner) ? DROP_UNVERIFIABLE : DROP_NONE;
}

function reference(frame: Uint8Array, prefixes: readonly Prefix[], vnet: VnetFields): number {
  let at = 14;
  const isTag = (): boolean => ['8100', '88a8'].includes(hex(frame, at - 2, 2));
  for (let tags = 0; tags < 2 && isTag() && at + 4 <= frame.length; tags++) at += 4;
  if (fieldOf(vnet) !== -1 && (vnet.checksumStart ?? 0) < at) return DROP_VNET_HEADER;
  if (isTag() && at < 22 && at + 4 > frame.length) return DROP_UNVERIFIABLE;
  const type = hex(frame, at - 2, 2);
  if (type === '0800') return referenceIp(frame, at, 4, prefixes, vnet);
  if (type === '86dd') return referenceIp(frame, at, 6, prefixes, vnet);
  if (type === '0806') return referenceArp(frame, at, prefixes, vnet);
  return referenceOther(frame, type, at, prefixes, vnet);
}

const seed = seedOfRun();
const RERUN = rerunLine(seed, 'dist/test/core/switch/port-security.test.js');

test('the reference says of both tables what they say', (t) => {
  for (const [what, frame, reason, vnet] of [...ATTACKS, ...HONEST])
    t.is(nameOf(reference(frame, OWN, vnet ?? {})), nameOf(reason), what);
});

test('mutated frames of both tables: as the reference says', (t) => {
  const random = createRandom(seed);
  const lines = [...ATTACKS, ...HONEST].filter(([, frame]) => frame.length < 1500);
  const seen = new Map<number, number>();
  for (let i = 0; i < 60_000; i++) {
    const [what, original, , fields] = lines[i % lines.length];
    const frame = mutate(original, random);
    if (frame.length < 14) continue;
    const vnet = fields ?? (random(8) === 0 ? partial(random(frame.length), random(20)) : {});
    if (fieldOf(vnet) + 2 > frame.length) continue;
    const expected = reference(frame, OWN, vnet);
    seen.set(expected, (seen.get(expected) ?? 0) + 1);
    const got = verdict(frame, vnet);
    if (got !== expected) {
      t.fail(
        `${what}, mutated to ${Buffer.from(frame).toString('hex')}, ${JSON.stringify(vnet)}: ${nameOf(got)}, not ${nameOf(expected)}; ${RERUN}`,
      );
      return;
    }
  }
  for (const reason of new Set([...ATTACKS, ...HONEST].map((line) => line[2])))
    t.true((seen.get(reason) ?? 0) > 100, `${nameOf(reason)} came up ${seen.get(reason)} times; ${RERUN}`);
});

/** Addresses near those that prefixes are made of, so that both answers come up. */
const near = (base: readonly number[]) =>
  fc
    .tuple(fc.nat(base.length * 8), fc.uint8Array({ minLength: base.length, maxLength: base.length }))
    .map(([kept, noise]) => {
      const mask = maskOf(kept, base.length);
      return base.map((octet, i) => (octet & mask[i]) | (noise[i] & ~mask[i]));
    });
const address = (length: 4 | 16) => {
  const own = length === 4 ? OWN4 : OWN6;
  const special =
    length === 4
      ? [
          [0, 0, 0, 0],
          [127, 0, 0, 1],
          [224, 0, 0, 251],
        ]
      : [ANY6, LINK_LOCAL, address6(0xff02, 0, 0, 0, 0, 0, 0, 1)];
  return fc.oneof({ weight: 6, arbitrary: near(own) }, fc.constantFrom(...special));
};
const prefix = (length: 4 | 16) => fc.tuple(address(length), fc.oneof(fc.constant(length * 8), fc.nat(length * 8)));

test('any prefixes and addresses: as the reference says', (t) => {
  let passed = 0;
  let refused = 0;
  const lists = fc.tuple(fc.array(prefix(4), { maxLength: 4 }), fc.array(prefix(16), { maxLength: 4 }));
  fc.assert(
    fc.property(lists, address(4), address(16), fc.boolean(), ([four, six], source4, source6, taken) => {
      // 0.0.0.0 and :: as whole addresses are no addresses; the configuration refuses them.
      const prefixes = [...four, ...six].filter(([value, length]) => !isZero(value) || length < 8 * value.length);
      const from4 = taken && four.length > 0 ? four[0][0] : source4;
      const from6 = taken && six.length > 0 ? six[0][0] : source6;
      const security = makeSecurity(prefixes);
      const frames = [
        ip4(from4, 6, tcp({ srcPort: 1, dstPort: 2 })),
        ip4(from4, 17, dhcp(68, 67, 1)),
        ip4(from4, 1, icmp(8, PAYLOAD)),
        arpFrame({ sender: from4, target: source4 }),
        arpFrame({ sender: [0, 0, 0, 0], target: from4 }),
        ip6(from6, 6, tcp({ srcPort: 1, dstPort: 2 })),
        ip6(from6, 58, solicitation(source6)),
        ip6(from6, 58, advertisement(from6)),
      ];
      for (const frame of frames) {
        const expected = reference(frame, prefixes, {});
        if (expected === DROP_NONE) passed++;
        else refused++;
        t.is(nameOf(verdict(frame, {}, security)), nameOf(expected), `${Buffer.from(frame).toString('hex')}; ${RERUN}`);
      }
    }),
    { seed, numRuns: 1500 },
  );
  t.true(passed > 1000 && refused > 1000, `${passed} passed, ${refused} refused; ${RERUN}`);
});
