/** Whole ARP frames for IPv4 over Ethernet (RFC 826), untagged, as the dataplane itself sends them. */

import type { Packet } from '../packet/packet.js';
import {
  ARP_HARDWARE_ETHERNET,
  ARP_HARDWARE_LENGTH,
  ARP_HARDWARE_TYPE,
  ARP_LENGTH,
  ARP_OPERATION,
  ARP_PROTOCOL_TYPE,
  ARP_REQUEST,
  ARP_SENDER_ADDRESS,
  ARP_SENDER_MAC,
  ARP_TARGET_ADDRESS,
  ARP_TARGET_MAC,
} from './arp.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_ARP, ETHERTYPE_IPV4, setEthernetHeader, setMac } from './ethernet.js';

/** Shortest frame without FCS (IEEE 802.3-2022, 3.2.8). */
const MINIMUM_FRAME = 60;
/** Address lengths of ARP for Ethernet and IPv4, as they follow each other. */
const ARP_ADDRESS_LENGTHS = 0x0604;

/**
 * Writes an ARP message at `packet.start` and sets the length. The Ethernet header goes from the sender's MAC to `toHigh`, `toLow`.
 * @param sender IPv4 address; 0 in a probe (RFC 5227, 1.1)
 */
export function writeArp(
  view: DataView,
  packet: Packet,
  toHigh: number,
  toLow: number,
  operation: number,
  senderHigh: number,
  senderLow: number,
  sender: number,
  targetHigh: number,
  targetLow: number,
  target: number,
): void {
  const at = packet.start;
  setEthernetHeader(view, at, toHigh, toLow, senderHigh, senderLow, ETHERTYPE_ARP);
  const arp = at + ETHERNET_HEADER_LENGTH;
  view.setUint16(arp + ARP_HARDWARE_TYPE, ARP_HARDWARE_ETHERNET);
  view.setUint16(arp + ARP_PROTOCOL_TYPE, ETHERTYPE_IPV4);
  view.setUint16(arp + ARP_HARDWARE_LENGTH, ARP_ADDRESS_LENGTHS);
  view.setUint16(arp + ARP_OPERATION, operation);
  setMac(view, arp + ARP_SENDER_MAC, senderHigh, senderLow);
  view.setInt32(arp + ARP_SENDER_ADDRESS, sender);
  setMac(view, arp + ARP_TARGET_MAC, targetHigh, targetLow);
  view.setInt32(arp + ARP_TARGET_ADDRESS, target);
  for (let pad = arp + ARP_LENGTH; pad < at + MINIMUM_FRAME; pad++) view.setUint8(pad, 0);
  packet.length = MINIMUM_FRAME;
}

/** Writes the announcement of an address (RFC 5227, 1.1 and 3) or, where `sender` is 0, the probe for it. */
export function writeArpBroadcast(
  view: DataView,
  packet: Packet,
  high: number,
  low: number,
  sender: number,
  target: number,
): void {
  writeArp(view, packet, 0xffff, -1, ARP_REQUEST, high, low, sender, 0, 0, target);
}
