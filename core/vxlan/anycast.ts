/**
 * The gateway of a network that spans hosts: each of them has it, with the same addresses and the same MAC (an anycast gateway; RFC 9135,
 * 4.1, has it like that). Seen through a tunnel they would be one station in many places: every switch on the way would find that its MAC
 * moves, and neighbors would answer to whichever is nearest.
 *
 * So the gateway's MAC does not cross. What it sends into a tunnel bears the host's own MAC inside the network, and what comes for that
 * gets the gateway's MAC back. Where a message of ARP or neighbor discovery names the MAC, it is replaced there too; and where it would
 * tell others that the gateway's address is at this host, it names none, or does not cross at all.
 *
 *                         into a tunnel                                  out of one, to the host's MAC
 *   ARP request           a probe: from 0.0.0.0 (RFC 5227, 1.1)
 *   ARP reply             sender's MAC: the host's                       target's MAC: the gateway's
 *   solicitation          from the link-local address of the host's MAC
 *   advertisement         target's MAC: the host's                       to the gateway's link-local address
 *   announcements         not at all: of addresses, routers, redirects
 *   all else              source MAC: the host's                         destination MAC: the gateway's
 */

import { updateChecksum32, updatePartialSum32 } from '../packet/checksum.js';
import { PACKET_FRAGMENT, PACKET_L3_MALFORMED, type Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import type { RouterInterface } from '../router/interface.js';
import { isGroupDestination } from '../switch/admit.js';
import {
  ARP_REPLY,
  ARP_REQUEST,
  ARP_SENDER_ADDRESS,
  ARP_SENDER_MAC,
  ARP_TARGET_MAC,
  arpOperation,
  arpSender,
  arpTarget,
} from '../wire/arp.js';
import {
  ETHERNET_DESTINATION,
  ETHERNET_SOURCE,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  macHigh,
  macLow,
  setMac,
} from '../wire/ethernet.js';
import {
  hasNeighborTarget,
  ICMPV6_CHECKSUM,
  icmpv6Type,
  ND_NEIGHBOR_LENGTH,
  ND_NEIGHBOR_SOLICITATION,
  ND_OPTION_SOURCE_LINK_ADDRESS,
  ND_OPTION_TARGET_LINK_ADDRESS,
  ND_OPTION_VALUE,
  ND_REDIRECT,
  ND_ROUTER_SOLICITATION,
  ND_TARGET,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import {
  IPV6_DESTINATION,
  IPV6_SOURCE,
  identifierLower,
  identifierUpper,
  ipv6HopLimit,
  LINK_LOCAL,
} from '../wire/ipv6.js';
import { ND_HOP_LIMIT } from '../wire/nd-frame.js';
import { findLinkAddress } from '../wire/nd-options.js';

/**
 * Gives a frame of the gateway's, on its way into a tunnel, the host's MAC.
 *
 * Precondition: parsed, its source is the gateway's MAC, and nobody else holds the slot: it is changed in place.
 * @param high first two octets of the host's MAC; `low`: the last four
 * @returns false: it must not cross, and may have been changed in part
 */
export function leaveGateway(
  view: DataView,
  packet: Packet,
  gateway: RouterInterface,
  high: number,
  low: number,
): boolean {
  if (packet.etherType === ETHERTYPE_ARP) {
    if (!leaveArp(view, packet, gateway, high, low)) return false;
  } else if (isDiscovery(view, packet)) {
    if (!leaveDiscovery(view, packet, gateway, high, low)) return false;
  }
  setMac(view, packet.start + ETHERNET_SOURCE, high, low);
  packet.srcHigh = high;
  packet.srcLow = low;
  return true;
}

/**
 * Gives a frame to the host's MAC, out of a tunnel, the gateway's as its destination.
 *
 * Precondition: as above, but that the destination is the host's MAC.
 */
export function enterGateway(
  view: DataView,
  packet: Packet,
  gateway: RouterInterface,
  high: number,
  low: number,
): void {
  if (packet.etherType === ETHERTYPE_ARP) enterArp(view, packet, gateway, high, low);
  else if (isDiscovery(view, packet)) enterDiscovery(view, packet, gateway, high, low);
  setMac(view, packet.start + ETHERNET_DESTINATION, gateway.macHigh, gateway.macLow);
  packet.dstHigh = gateway.macHigh;
  packet.dstLow = gateway.macLow;
}

// --- ARP

/** Requests for an address that others may have, and replies to who has asked. */
function leaveArp(view: DataView, packet: Packet, gateway: RouterInterface, high: number, low: number): boolean {
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0) return false;
  const at = packet.l3;
  const operation = arpOperation(view, at);
  if (operation === ARP_REQUEST) {
    // An announcement, or a probe for an address that every host's gateway has.
    if (gateway.owns4(arpTarget(view, at)) || arpSender(view, at) === arpTarget(view, at)) return false;
    view.setInt32(at + ARP_SENDER_ADDRESS, 0);
  } else if (operation !== ARP_REPLY || isGroupDestination(packet)) {
    return false;
  }
  setMac(view, at + ARP_SENDER_MAC, high, low);
  return true;
}

function enterArp(view: DataView, packet: Packet, gateway: RouterInterface, high: number, low: number): void {
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0) return;
  const at = packet.l3 + ARP_TARGET_MAC;
  if (macHigh(view, at) === high && macLow(view, at) === low) setMac(view, at, gateway.macHigh, gateway.macLow);
}

// --- neighbor discovery

/** Not what was merely routed: the hop limit would be lower (RFC 4861, 3.1). */
function isDiscovery(view: DataView, packet: Packet): boolean {
  if (packet.etherType !== ETHERTYPE_IPV6 || packet.protocol !== PROTOCOL_ICMPV6 || packet.l4 === -1) return false;
  if ((packet.flags & PACKET_FRAGMENT) !== 0 || ipv6HopLimit(view, packet.l3) !== ND_HOP_LIMIT) return false;
  const type = icmpv6Type(view, packet.l4);
  return type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT;
}

function leaveDiscovery(view: DataView, packet: Packet, gateway: RouterInterface, high: number, low: number): boolean {
  const at = packet.l4;
  if (!hasNeighborTarget(view, at, packet.l3End - at)) return false;
  if (icmpv6Type(view, at) === ND_NEIGHBOR_SOLICITATION) {
    const source = packet.l3 + IPV6_SOURCE;
    // Asks whether an address is free that every host's gateway has.
    if (isUnspecified(view, source) || isOwn(view, at + ND_TARGET, gateway)) return false;
    setLinkLocal(view, packet, source, LINK_LOCAL, 0, identifierUpper(high, low), identifierLower(low));
    return replaceLinkAddress(view, packet, ND_OPTION_SOURCE_LINK_ADDRESS, high, low);
  }
  // To all nodes: an announcement.
  return !isGroupDestination(packet) && replaceLinkAddress(view, packet, ND_OPTION_TARGET_LINK_ADDRESS, high, low);
}

/** Answers go to the address that `leaveDiscovery` has asked from, and so do questions whether it is still there. */
function enterDiscovery(view: DataView, packet: Packet, gateway: RouterInterface, high: number, low: number): void {
  const { linkLocal } = gateway;
  const at = packet.l3 + IPV6_DESTINATION;
  if (!hasNeighborTarget(view, packet.l4, packet.l3End - packet.l4) || !isLinkLocalOf(view, at, high, low)) return;
  setLinkLocal(view, packet, at, linkLocal[0], linkLocal[1], linkLocal[2], linkLocal[3]);
}

/** Writes an address of the IPv6 header. */
function setLinkLocal(view: DataView, packet: Packet, at: number, a: number, b: number, c: number, d: number): void {
  setAddressWord(view, packet, at, a);
  setAddressWord(view, packet, at + 4, b);
  setAddressWord(view, packet, at + 8, c);
  setAddressWord(view, packet, at + 12, d);
}

/** A word of the pseudo-header, which a checksum that is still to come has in it already. */
function setAddressWord(view: DataView, packet: Packet, at: number, word: number): void {
  const field = packet.l4 + ICMPV6_CHECKSUM;
  const sum = view.getUint16(field);
  const before = view.getInt32(at);
  const isPartial = (packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0;
  view.setUint16(field, isPartial ? updatePartialSum32(sum, before, word) : updateChecksum32(sum, before, word));
  view.setInt32(at, word);
}

/** False where the options are malformed. Without the option there is nothing to replace. */
function replaceLinkAddress(view: DataView, packet: Packet, kind: number, high: number, low: number): boolean {
  const mac = findLinkAddress(view, packet.l4 + ND_NEIGHBOR_LENGTH, packet.l3End, kind);
  if (mac <= 0) return mac === 0;
  // The option's two words: its kind and length stand before the MAC.
  const at = mac - ND_OPTION_VALUE;
  setMessageWord(view, packet, at, (view.getUint16(at) << 16) | high);
  setMessageWord(view, packet, at + 4, low);
  return true;
}

/** A word of the message, which a checksum that is still to come does not have in it yet. */
function setMessageWord(view: DataView, packet: Packet, at: number, word: number): void {
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) {
    const field = packet.l4 + ICMPV6_CHECKSUM;
    view.setUint16(field, updateChecksum32(view.getUint16(field), view.getInt32(at), word));
  }
  view.setInt32(at, word);
}

function isUnspecified(view: DataView, at: number): boolean {
  return (view.getInt32(at) | view.getInt32(at + 4) | view.getInt32(at + 8) | view.getInt32(at + 12)) === 0;
}

function isOwn(view: DataView, at: number, gateway: RouterInterface): boolean {
  return gateway.owns6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
}

function isLinkLocalOf(view: DataView, at: number, high: number, low: number): boolean {
  if (view.getInt32(at) !== LINK_LOCAL || view.getInt32(at + 4) !== 0) return false;
  return view.getInt32(at + 8) === identifierUpper(high, low) && view.getInt32(at + 12) === identifierLower(low);
}
