/**
 * What a container with root and CAP_NET_RAW may try against its neighbours, as data. Each attack is one frame, a scapy packet as
 * a Python expression over the names in `attackValues`, and the drop reason that counts it at an endpoint with `security: strict`.
 */

import type { Host } from './lab.js';

export interface Attack {
  readonly name: string;
  readonly packet: string;
  readonly reason: string;
  /** No bridge forwards it, whatever the security of the port: then `security: off` does not deliver it either. */
  readonly never?: true;
}

const BROADCAST = "'ff:ff:ff:ff:ff:ff'";
const TO_VICTIM = 'Ether(src=AMAC, dst=VMAC)';
const TO_ALL = `Ether(src=AMAC, dst=${BROADCAST})`;
const TO_NODES = "Ether(src=AMAC, dst='33:33:00:00:00:01')";
const IP_SPOOF = 'IP(src=PIP, dst=VIP)/UDP(sport=7, dport=9)';
const IP6_SPOOF = 'IPv6(src=PIP6, dst=VIP6)/UDP(sport=7, dport=9)';
const ARP_SPOOF = 'ARP(op=2, hwsrc=AMAC, psrc=PIP, hwdst=VMAC, pdst=VIP)';
const OWN_ND = 'IPv6(src=ALL, dst=VIP6, hlim=255)';
const NA_SPOOF = `${OWN_ND}/ICMPv6ND_NA(R=0, S=1, O=1, tgt=PIP6)/ICMPv6NDOptDstLLAddr(lladdr=AMAC)`;
const DAD = "Ether(src=AMAC, dst=VSOLMAC)/IPv6(src='::', dst=VSOL, hlim=255)/ICMPv6ND_NS(tgt=VIP6)";
const RA_BODY =
  "ICMPv6ND_RA(routerlifetime=1800)/ICMPv6NDOptSrcLLAddr(lladdr=AMAC)/ICMPv6NDOptPrefixInfo(prefix='fd66::', prefixlen=64)";
const RA_HEADER = "src=ALL, dst='ff02::1', hlim=255";
const RA = `IPv6(${RA_HEADER})/${RA_BODY}`;
const OFFER =
  "BOOTP(op=2, yiaddr='172.30.0.66', siaddr=AIP, chaddr=mac2str(VMAC))/DHCP(options=[('message-type', 'offer'), ('server_id', AIP), ('router', AIP), 'end'])";
const BPDU = 'LLC(dsap=0x42, ssap=0x42, ctrl=3)/STP(rootid=0, bridgeid=0)';
const LLDP =
  "LLDPDUChassisID(subtype=4, id=b'attack')/LLDPDUPortID(subtype=3, id=b'attack')/LLDPDUTimeToLive(ttl=120)/LLDPDUEndOfLLDPDU()";

/** An ARP packet with the headers of 802.2 SNAP in front, as RFC 1042 has it for IEEE 802 networks. */
const SNAP_ARP = 'LLC(dsap=0xaa, ssap=0xaa, ctrl=3)/SNAP(OUI=0, code=0x0806)';

export const ATTACKS: readonly Attack[] = [
  // Another MAC than one's own.
  {
    name: 'foreign source MAC',
    packet: "Ether(src='02:00:00:00:66:66', dst=VMAC)/IP(src=AIP, dst=VIP)/UDP(sport=7, dport=9)",
    reason: 'source_mac',
  },
  {
    name: "victim's source MAC",
    packet: `Ether(src=VMAC, dst=${BROADCAST}, type=0x88b5)`,
    reason: 'source_mac',
    never: true,
  },
  {
    name: "peer's source MAC and address",
    packet: `Ether(src=PMAC, dst=VMAC)/${IP_SPOOF}`,
    reason: 'source_mac',
    never: true,
  },
  {
    name: "victim's MAC on a loopback frame (0x9000)",
    packet: 'Ether(src=VMAC, dst=PMAC, type=0x9000)',
    reason: 'source_mac',
    never: true,
  },
  // Another address than one's own.
  { name: "peer's IPv4 source", packet: `${TO_VICTIM}/${IP_SPOOF}`, reason: 'source_address' },
  {
    name: "ICMP redirect from the gateway's address",
    packet: `${TO_VICTIM}/IP(src=GW, dst=VIP)/ICMP(type=5, code=1, gw=AIP)`,
    reason: 'router_advertisement',
  },
  {
    name: 'IPv4 source 0.0.0.0, not DHCP',
    packet: `${TO_VICTIM}/IP(src='0.0.0.0', dst=VIP)/UDP(sport=7, dport=9)`,
    reason: 'source_address',
  },
  {
    name: 'IPv4 source 127.0.0.1',
    packet: `${TO_VICTIM}/IP(src='127.0.0.1', dst=VIP)/UDP(sport=7, dport=9)`,
    reason: 'source_address',
  },
  {
    name: "victim's own IPv4 address as source",
    packet: `${TO_VICTIM}/IP(src=VIP, dst=VIP)/TCP(sport=7, dport=7, flags='S')`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv4 source, with options",
    packet: `${TO_VICTIM}/IP(src=PIP, dst=VIP, options=IPOption(b'\\x94\\x04\\x00\\x00'))/UDP(sport=7, dport=9)`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv4 source, a fragment",
    packet: `${TO_VICTIM}/IP(src=PIP, dst=VIP, proto=17, flags='MF', frag=3)/Raw(b'x' * 32)`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv4 source, TCP RST",
    packet: `${TO_VICTIM}/IP(src=PIP, dst=VIP)/TCP(sport=5201, dport=5201, flags='R')`,
    reason: 'source_address',
  },
  { name: "peer's IPv6 source", packet: `${TO_VICTIM}/${IP6_SPOOF}`, reason: 'source_address' },
  {
    name: "peer's link-local source",
    packet: `${TO_VICTIM}/IPv6(src=PLL, dst=VLL)/ICMPv6EchoRequest()`,
    reason: 'source_address',
  },
  {
    name: 'IPv6 source ::, an echo request',
    packet: `${TO_NODES}/IPv6(src='::', dst='ff02::1')/ICMPv6EchoRequest()`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv6 source behind destination options",
    packet: `${TO_VICTIM}/IPv6(src=PIP6, dst=VIP6)/IPv6ExtHdrDestOpt(nh=17)/UDP(sport=7, dport=9)`,
    reason: 'source_address',
  },
  // ARP.
  { name: 'ARP reply for the peer', packet: `${TO_VICTIM}/${ARP_SPOOF}`, reason: 'arp_sender' },
  {
    name: 'ARP reply for the gateway',
    packet: `${TO_VICTIM}/ARP(op=2, hwsrc=AMAC, psrc=GW, hwdst=VMAC, pdst=VIP)`,
    reason: 'arp_sender',
  },
  {
    name: "gratuitous ARP for the victim's address",
    packet: `${TO_ALL}/ARP(op=1, hwsrc=AMAC, psrc=VIP, pdst=VIP)`,
    reason: 'arp_sender',
  },
  {
    name: "gratuitous ARP reply for the peer's address",
    packet: `${TO_ALL}/ARP(op=2, hwsrc=AMAC, psrc=PIP, hwdst=${BROADCAST}, pdst=PIP)`,
    reason: 'arp_sender',
  },
  {
    name: "ARP probe for the victim's address",
    packet: `${TO_ALL}/ARP(op=1, hwsrc=AMAC, psrc='0.0.0.0', pdst=VIP)`,
    reason: 'arp_sender',
  },
  {
    name: "ARP request with the peer's address",
    packet: `${TO_ALL}/ARP(op=1, hwsrc=AMAC, psrc=PIP, pdst=VIP)`,
    reason: 'arp_sender',
  },
  {
    name: 'ARP with own Ethernet source, foreign sender MAC',
    packet: `${TO_VICTIM}/ARP(op=2, hwsrc=PMAC, psrc=AIP, hwdst=VMAC, pdst=VIP)`,
    reason: 'arp_sender',
  },
  {
    name: 'ARP reply for the peer with addresses of odd lengths',
    packet: `${TO_VICTIM}/ARP(op=2, hwlen=8, plen=4, hwsrc=AMAC, psrc=PIP, hwdst=VMAC, pdst=VIP)`,
    reason: 'unverifiable',
  },
  // Neighbor discovery.
  { name: 'NA for the peer, solicited and override', packet: `${TO_VICTIM}/${NA_SPOOF}`, reason: 'nd_target' },
  {
    name: 'NA for the peer to all nodes',
    packet: `${TO_NODES}/IPv6(src=ALL, dst='ff02::1', hlim=255)/ICMPv6ND_NA(R=1, S=0, O=1, tgt=PIP6)/ICMPv6NDOptDstLLAddr(lladdr=AMAC)`,
    reason: 'nd_target',
  },
  {
    name: 'NA for an own address with a foreign MAC',
    packet: `${TO_VICTIM}/${OWN_ND}/ICMPv6ND_NA(S=1, O=1, tgt=AIP6)/ICMPv6NDOptDstLLAddr(lladdr=PMAC)`,
    reason: 'nd_target',
  },
  { name: "NS from :: for the victim's address (DAD)", packet: DAD, reason: 'nd_target' },
  {
    name: 'NS with a foreign MAC as source option',
    packet: `${TO_VICTIM}/${OWN_ND}/ICMPv6ND_NS(tgt=VIP6)/ICMPv6NDOptSrcLLAddr(lladdr=PMAC)`,
    reason: 'nd_target',
  },
  {
    name: 'NA for the peer behind hop-by-hop options',
    packet: `${TO_VICTIM}/${OWN_ND}/IPv6ExtHdrHopByHop(nh=58)/ICMPv6ND_NA(S=1, O=1, tgt=PIP6)/ICMPv6NDOptDstLLAddr(lladdr=AMAC)`,
    reason: 'nd_target',
  },
  // Routers.
  { name: 'router advertisement', packet: `${TO_NODES}/${RA}`, reason: 'router_advertisement' },
  {
    name: 'router advertisement to the victim alone',
    packet: `${TO_VICTIM}/IPv6(src=ALL, dst=VLL, hlim=255)/${RA_BODY}`,
    reason: 'router_advertisement',
  },
  {
    name: 'router advertisement behind hop-by-hop options',
    packet: `${TO_NODES}/IPv6(${RA_HEADER})/IPv6ExtHdrHopByHop(nh=58)/${RA_BODY}`,
    reason: 'router_advertisement',
  },
  {
    name: 'router advertisement behind destination options',
    packet: `${TO_NODES}/IPv6(${RA_HEADER})/IPv6ExtHdrDestOpt(nh=58)/${RA_BODY}`,
    reason: 'router_advertisement',
  },
  {
    name: 'router advertisement in an atomic fragment',
    packet: `${TO_NODES}/IPv6(${RA_HEADER})/IPv6ExtHdrFragment(nh=58, id=7)/${RA_BODY}`,
    reason: 'router_advertisement',
  },
  {
    name: 'router advertisement, first of two fragments',
    packet: `${TO_NODES}/IPv6(${RA_HEADER}, nh=44)/IPv6ExtHdrFragment(nh=58, id=7, m=1)/Raw(bytes(${RA})[40:64])`,
    reason: 'router_advertisement',
  },
  {
    name: 'router advertisement hidden in the second fragment',
    packet: `${TO_NODES}/IPv6(${RA_HEADER}, nh=44)/IPv6ExtHdrFragment(nh=60, id=7, m=1)/Raw(b'\\x3a\\x00\\x01\\x04\\x00\\x00\\x00\\x00')`,
    reason: 'unverifiable',
  },
  {
    name: 'redirect',
    packet: `${TO_VICTIM}/${OWN_ND}/ICMPv6ND_Redirect(tgt=ALL, dst=PIP6)`,
    reason: 'router_advertisement',
  },
  // DHCP servers.
  {
    name: 'DHCP offer',
    packet: `${TO_ALL}/IP(src=AIP, dst='255.255.255.255')/UDP(sport=67, dport=68)/${OFFER}`,
    reason: 'dhcp_server',
  },
  {
    name: 'DHCP offer to the victim alone',
    packet: `${TO_VICTIM}/IP(src=AIP, dst=VIP)/UDP(sport=67, dport=68)/${OFFER}`,
    reason: 'dhcp_server',
  },
  {
    name: 'DHCPv6 advertise',
    packet: `${TO_VICTIM}/IPv6(src=ALL, dst=VLL)/UDP(sport=547, dport=546)/DHCP6_Advertise()`,
    reason: 'dhcp_server',
  },
  // What bridges say to each other.
  {
    name: 'STP BPDU',
    packet: `Dot3(src=AMAC, dst='01:80:c2:00:00:00')/${BPDU}`,
    reason: 'reserved_multicast',
    never: true,
  },
  { name: 'STP BPDU to everybody', packet: `Dot3(src=AMAC, dst=${BROADCAST})/${BPDU}`, reason: 'link_protocol' },
  {
    name: 'LLDP',
    packet: `Ether(src=AMAC, dst='01:80:c2:00:00:0e', type=0x88cc)/${LLDP}`,
    reason: 'reserved_multicast',
    never: true,
  },
  {
    name: 'LLDP to everybody',
    packet: `Ether(src=AMAC, dst=${BROADCAST}, type=0x88cc)/${LLDP}`,
    reason: 'link_protocol',
  },
  {
    name: 'CDP',
    packet:
      "Dot3(src=AMAC, dst='01:00:0c:cc:cc:cc')/LLC(dsap=0xaa, ssap=0xaa, ctrl=3)/SNAP(OUI=0xc, code=0x2000)/CDPv2_HDR()",
    reason: 'link_protocol',
  },
  {
    name: 'PVST+ BPDU',
    packet: `Dot3(src=AMAC, dst='01:00:0c:cc:cc:cd')/LLC(dsap=0xaa, ssap=0xaa, ctrl=3)/SNAP(OUI=0xc, code=0x010b)/STP(rootid=0)`,
    reason: 'link_protocol',
  },
  // Multicast routers.
  {
    name: 'IGMP general query',
    packet: "Ether(src=AMAC, dst='01:00:5e:00:00:01')/IP(src=AIP, dst='224.0.0.1', ttl=1)/IGMP(type=0x11, mrcode=100)",
    reason: 'multicast_router',
  },
  {
    name: 'MLD general query',
    packet: `${TO_NODES}/IPv6(src=ALL, dst='ff02::1', hlim=1)/IPv6ExtHdrHopByHop(nh=58, options=[RouterAlert()])/ICMPv6MLQuery()`,
    reason: 'multicast_router',
  },
  {
    name: 'PIM hello',
    packet:
      "Ether(src=AMAC, dst='01:00:5e:00:00:0d')/IP(src=AIP, dst='224.0.0.13', ttl=1)/PIMv2Hdr(type=0)/PIMv2Hello()",
    reason: 'multicast_router',
  },
  // The same behind VLAN tags and other headers.
  {
    name: "peer's IPv4 source behind a VLAN tag",
    packet: `${TO_VICTIM}/Dot1Q(vlan=1)/${IP_SPOOF}`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv4 source behind a priority tag",
    packet: `${TO_VICTIM}/Dot1Q(vlan=0, prio=7)/${IP_SPOOF}`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv4 source behind two VLAN tags",
    packet: `${TO_VICTIM}/Dot1Q(vlan=1)/Dot1Q(vlan=0)/${IP_SPOOF}`,
    reason: 'source_address',
  },
  {
    name: "peer's IPv6 source behind an 802.1ad and an 802.1Q tag",
    packet: `${TO_VICTIM}/Dot1AD(vlan=1)/Dot1Q(vlan=1)/${IP6_SPOOF}`,
    reason: 'source_address',
  },
  {
    name: 'ARP reply for the peer behind a VLAN tag',
    packet: `${TO_VICTIM}/Dot1Q(vlan=0)/${ARP_SPOOF}`,
    reason: 'arp_sender',
  },
  {
    name: 'ARP reply for the peer behind two VLAN tags',
    packet: `${TO_VICTIM}/Dot1Q(vlan=1)/Dot1Q(vlan=1)/${ARP_SPOOF}`,
    reason: 'arp_sender',
  },
  {
    name: 'ARP reply for the peer behind three VLAN tags',
    packet: `${TO_VICTIM}/Dot1Q(vlan=0)/Dot1Q(vlan=0)/Dot1Q(vlan=0)/${ARP_SPOOF}`,
    reason: 'unverifiable',
  },
  { name: 'NA for the peer behind a VLAN tag', packet: `${TO_VICTIM}/Dot1Q(vlan=0)/${NA_SPOOF}`, reason: 'nd_target' },
  {
    name: 'router advertisement behind a VLAN tag',
    packet: `${TO_NODES}/Dot1Q(vlan=0)/${RA}`,
    reason: 'router_advertisement',
  },
  {
    name: 'DHCP offer behind a VLAN tag',
    packet: `${TO_ALL}/Dot1Q(vlan=0)/IP(src=AIP, dst='255.255.255.255')/UDP(sport=67, dport=68)/${OFFER}`,
    reason: 'dhcp_server',
  },
  {
    name: 'ARP reply for the peer in 802.2 SNAP',
    packet: `Dot3(src=AMAC, dst=VMAC)/${SNAP_ARP}/${ARP_SPOOF}`,
    reason: 'unverifiable',
  },
  // Headers that do not hold together.
  {
    name: 'IPv4 longer than its frame',
    packet: `${TO_VICTIM}/IP(len=600, src=PIP, dst=VIP)/UDP(sport=7, dport=9)`,
    reason: 'unverifiable',
  },
  {
    name: 'IPv4 with a header length of 4 words',
    packet: `${TO_VICTIM}/IP(ihl=4, src=PIP, dst=VIP)/UDP(sport=7, dport=9)`,
    reason: 'unverifiable',
  },
  {
    name: 'IPv6 in an IPv4 EtherType',
    packet: `Ether(src=AMAC, dst=VMAC, type=0x0800)/${IP6_SPOOF}`,
    reason: 'unverifiable',
  },
];

/** ff02::1:ffXX:XXXX of an address, and its MAC (RFC 4291, 2.7.1; RFC 2464, 7), for the addresses of the lab: fd00:30::N, N < 256. */
function solicitedNode(ip6: string): { address: string; mac: string } {
  const last = ip6.slice(ip6.lastIndexOf(':') + 1).padStart(2, '0');
  return { address: `ff02::1:ff00:${last}`, mac: `33:33:ff:00:00:${last}` };
}

/** The link-local address of a MAC (RFC 4291, appendix A). */
export function linkLocal(mac: string): string {
  const [a, b, c, d, e, f] = mac.split(':').map((byte) => Number.parseInt(byte, 16)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const group = (high: number, low: number): string => ((high << 8) | low).toString(16);
  return `fe80::${group(a ^ 2, b)}:${group(c, 0xff)}:${group(0xfe, d)}:${group(e, f)}`;
}

/** What the names in the attacks stand for: MAC, IPv4, IPv6 and link-local address of attacker, victim and peer; the gateway. */
export function attackValues(attacker: Host, victim: Host, peer: Host): Record<string, string> {
  const solicited = solicitedNode(victim.ip6);
  const values: Record<string, string> = { GW: '172.30.0.1', VSOL: solicited.address, VSOLMAC: solicited.mac };
  for (const [letter, host] of [
    ['A', attacker],
    ['V', victim],
    ['P', peer],
  ] as const) {
    values[`${letter}MAC`] = host.mac;
    values[`${letter}IP`] = host.ip;
    values[`${letter}IP6`] = host.ip6;
    values[`${letter}LL`] = linkLocal(host.mac);
  }
  return values;
}
