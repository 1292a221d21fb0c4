/**
 * Frames by which others learn at once that an address is at a MAC, and that a MAC is behind a port: gratuitous ARP (RFC 5227, 3: an
 * ARP announcement) and unsolicited neighbor advertisements (RFC 4861, 7.2.6).
 */

import { finishChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import {
  ARP_HARDWARE_ETHERNET,
  ARP_HARDWARE_TYPE,
  ARP_LENGTH,
  ARP_OPERATION,
  ARP_PROTOCOL_TYPE,
  ARP_REQUEST,
  ARP_SENDER_ADDRESS,
  ARP_SENDER_MAC,
  ARP_TARGET_ADDRESS,
  ARP_TARGET_MAC,
} from '../wire/arp.js';
import {
  ETHERNET_HEADER_LENGTH,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  setEthernetHeader,
  setMac,
} from '../wire/ethernet.js';
import {
  ICMPV6_CHECKSUM,
  ICMPV6_TYPE,
  ND_NEIGHBOR_ADVERTISEMENT,
  ND_NEIGHBOR_LENGTH,
  ND_TARGET,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_LENGTH,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  IPV6_VERSION,
  setIpv6Address,
} from '../wire/ipv6.js';

/** Shortest frame without FCS (IEEE 802.3-2022, 3.2.8). */
const MINIMUM_FRAME = 60;
/** Address lengths of ARP for Ethernet and IPv4, and operation, as they follow each other. */
const ARP_ADDRESS_LENGTHS = 0x0604;
const ARP_LENGTHS = 4;
/** Override flag of an advertisement (RFC 4861, 4.4). */
const ND_OVERRIDE = 0x20000000;
const ND_FLAGS = 4;
/** Target link-layer address option (RFC 4861, 4.6.1): type 2, length 1 in units of 8. */
const OPTION_TARGET_MAC = 0x0201;
const OPTION_LENGTH = 8;
/** 33-33-00-00-00-01 and ff02::1: all nodes. */
const ALL_NODES_HIGH = 0x3333;
const ALL_NODES_LOW = 1;
const ALL_NODES_FIRST = 0xff020000 | 0;

/** Writes the announcement of an IPv4 address at `packet.start` and sets the length. */
export function writeArpAnnouncement(view: DataView, packet: Packet, high: number, low: number, address: number): void {
  const at = packet.start;
  setEthernetHeader(view, at, 0xffff, -1, high, low, ETHERTYPE_ARP);
  const arp = at + ETHERNET_HEADER_LENGTH;
  view.setUint16(arp + ARP_HARDWARE_TYPE, ARP_HARDWARE_ETHERNET);
  view.setUint16(arp + ARP_PROTOCOL_TYPE, ETHERTYPE_IPV4);
  view.setUint16(arp + ARP_LENGTHS, ARP_ADDRESS_LENGTHS);
  view.setUint16(arp + ARP_OPERATION, ARP_REQUEST);
  setMac(view, arp + ARP_SENDER_MAC, high, low);
  view.setInt32(arp + ARP_SENDER_ADDRESS, address);
  setMac(view, arp + ARP_TARGET_MAC, 0, 0);
  view.setInt32(arp + ARP_TARGET_ADDRESS, address);
  for (let pad = arp + ARP_LENGTH; pad < at + MINIMUM_FRAME; pad++) view.setUint8(pad, 0);
  packet.length = MINIMUM_FRAME;
}

/** Writes the unsolicited advertisement of the IPv6 address in `words[from..from+3]` and sets the length. */
export function writeNeighborAdvertisement(
  view: DataView,
  packet: Packet,
  high: number,
  low: number,
  words: Int32Array,
  from: number,
): void {
  const at = packet.start;
  setEthernetHeader(view, at, ALL_NODES_HIGH, ALL_NODES_LOW, high, low, ETHERTYPE_IPV6);
  const ip = at + ETHERNET_HEADER_LENGTH;
  const length = ND_NEIGHBOR_LENGTH + OPTION_LENGTH;
  view.setInt32(ip + IPV6_VERSION, 0x60000000);
  view.setUint16(ip + IPV6_PAYLOAD_LENGTH, length);
  view.setUint8(ip + IPV6_NEXT_HEADER, PROTOCOL_ICMPV6);
  view.setUint8(ip + IPV6_HOP_LIMIT, 255);
  setIpv6Address(view, ip + IPV6_SOURCE, words[from], words[from + 1], words[from + 2], words[from + 3]);
  setIpv6Address(view, ip + IPV6_DESTINATION, ALL_NODES_FIRST, 0, 0, 1);
  const icmp = ip + IPV6_HEADER_LENGTH;
  view.setInt32(icmp + ICMPV6_TYPE, ND_NEIGHBOR_ADVERTISEMENT << 24);
  view.setInt32(icmp + ND_FLAGS, ND_OVERRIDE);
  setIpv6Address(view, icmp + ND_TARGET, words[from], words[from + 1], words[from + 2], words[from + 3]);
  view.setUint16(icmp + ND_NEIGHBOR_LENGTH, OPTION_TARGET_MAC);
  setMac(view, icmp + ND_NEIGHBOR_LENGTH + 2, high, low);
  const sum = sumBytes(view, icmp, length) + pseudoHeaderSum6(view, ip, PROTOCOL_ICMPV6, length);
  view.setUint16(icmp + ICMPV6_CHECKSUM, finishChecksum(sum));
  packet.length = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + length;
}
