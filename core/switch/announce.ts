/**
 * Frames by which others learn at once that an address is at a MAC, and that a MAC is behind a port: gratuitous ARP (RFC 5227, 3: an
 * ARP announcement) and unsolicited neighbor advertisements (RFC 4861, 7.2.6).
 */

import type { Packet } from '../packet/packet.js';
import { writeArpBroadcast } from '../wire/arp-frame.js';
import {
  ALL_NODES_MAC_LOW,
  GROUP_MAC_HIGH,
  LINK_GROUP_FIRST,
  ND_OVERRIDE,
  setNdDestination,
  setNdSource,
  writeAdvertisement,
  writeNdHeaders,
} from '../wire/nd-frame.js';

/** Writes the announcement of an IPv4 address at `packet.start` and sets the length. */
export function writeArpAnnouncement(view: DataView, packet: Packet, high: number, low: number, address: number): void {
  writeArpBroadcast(view, packet, high, low, address, address);
}

/**
 * Writes the unsolicited advertisement of the IPv6 address in `words[from..from+3]` and sets the length.
 * @param flags ND_ROUTER where a router speaks; ND_OVERRIDE goes without saying
 */
export function writeNeighborAdvertisement(
  view: DataView,
  packet: Packet,
  high: number,
  low: number,
  words: Int32Array,
  from: number,
  flags = 0,
): void {
  const a = words[from];
  const b = words[from + 1];
  const c = words[from + 2];
  const d = words[from + 3];
  writeNdHeaders(view, packet, GROUP_MAC_HIGH, ALL_NODES_MAC_LOW, high, low);
  setNdSource(view, packet, a, b, c, d);
  setNdDestination(view, packet, LINK_GROUP_FIRST, 0, 0, 1);
  writeAdvertisement(view, packet, flags | ND_OVERRIDE, a, b, c, d, high, low);
}
