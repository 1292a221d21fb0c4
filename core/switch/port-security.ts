/**
 * Port security: what a port may say about who it is. Here is the second half, for SECURITY_STRICT; that the source MAC is one
 * that the port may use has been checked before.
 *
 * Senders are taken to be hostile: they write whole frames, and the virtio-net header too. So the addresses are looked for
 * wherever a receiver would find them (behind tags and extension headers, in fragments), and a frame that hides them is dropped.
 * What a frame claims to be is judged before whose address it uses: a forged router advertisement counts as such, whatever its
 * source.
 *
 * The common path is TCP or UDP from the port's first address: it costs one compare of the EtherType, one of the protocol, one of
 * the source address and one look at the checksum offload, 1.5 ns in all (IPv6 3). Its conditions stand in `inspect` itself:
 * as predicates of their own they take 1 ns more.
 */

import {
  DROP_ARP_SENDER,
  DROP_DHCP_SERVER,
  DROP_LINK_PROTOCOL,
  DROP_MULTICAST_ROUTER,
  DROP_ND_TARGET,
  DROP_NONE,
  DROP_ROUTER_ADVERTISEMENT,
  DROP_SOURCE_ADDRESS,
  DROP_UNVERIFIABLE,
} from '../drop.js';
import { PACKET_FRAGMENT, PACKET_L3_MALFORMED, PACKET_L4_MALFORMED, type Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import {
  ARP_HARDWARE_ETHERNET,
  ARP_HARDWARE_TYPE,
  ARP_LENGTH,
  ARP_REQUEST,
  ARP_SENDER_MAC,
  ARP_TARGET_MAC,
  arpOperation,
  arpSender,
  arpTarget,
  RARP_REQUEST,
} from '../wire/arp.js';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DHCPV6_CLIENT_PORT, DHCPV6_SERVER_PORT } from '../wire/dhcp.js';
import {
  ETHERNET_HEADER_LENGTH,
  ETHERTYPE_ARP,
  ETHERTYPE_CFM,
  ETHERTYPE_EAPOL,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_LLDP,
  ETHERTYPE_MAC_CONTROL,
  ETHERTYPE_MEDIA_REDUNDANCY,
  ETHERTYPE_MINIMUM,
  ETHERTYPE_MMRP,
  ETHERTYPE_MSRP,
  ETHERTYPE_MVRP,
  ETHERTYPE_RARP,
  ETHERTYPE_SLOW_PROTOCOLS,
  macHigh,
  macLow,
} from '../wire/ethernet.js';
import { ICMP_CHECKSUM, ICMP_REDIRECT, ICMP_ROUTER_ADVERTISEMENT, icmpType } from '../wire/icmp.js';
import {
  ICMPV6_MLD_DONE,
  ICMPV6_MLD_REPORT,
  ICMPV6_MLD2_REPORT,
  icmpv6Type,
  ND_NEIGHBOR_ADVERTISEMENT,
  ND_NEIGHBOR_LENGTH,
  ND_NEIGHBOR_SOLICITATION,
  ND_OPTION_LENGTH,
  ND_OPTION_SOURCE_LINK_ADDRESS,
  ND_OPTION_TARGET_LINK_ADDRESS,
  ND_OPTION_UNIT,
  ND_OPTION_VALUE,
  ND_REDIRECT,
  ND_ROUTER_ADVERTISEMENT,
  ND_ROUTER_SOLICITATION,
  ND_ROUTER_SOLICITATION_LENGTH,
  ND_TARGET,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import { IPV4_SOURCE, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_SOURCE, linkLocalOf } from '../wire/ipv6.js';
import {
  LLC_DSAP,
  LLC_LENGTH,
  LLC_SAP_BRIDGE,
  LLC_SAP_IP,
  LLC_SAP_MASK,
  LLC_SAP_SNAP,
  SNAP_CONTROL_OUI,
  SNAP_LENGTH,
  SNAP_OUI_BRIDGE_TUNNEL,
  SNAP_OUI_CISCO,
  SNAP_OUI_ETHERNET,
  SNAP_OUI_EXTREME,
  SNAP_OUI_FOUNDRY,
  SNAP_OUI_MASK,
  SNAP_OUI_NORTEL,
  SNAP_TYPE,
} from '../wire/llc.js';
import { isIgmpFromRouter, isMldFromRouter, PROTOCOL_IGMP, PROTOCOL_PIM } from '../wire/multicast-router.js';
import { isVlanType, VLAN_TAG_LENGTH } from '../wire/vlan.js';

/** Only the source MAC is checked: the endpoint may route. */
export const SECURITY_MAC = 1;
/** All of this file, too. */
export const SECURITY_STRICT = 2;

/** A solicitation has two or three options; with SEND (RFC 3971) six. More are a way to waste our time. */
export const MAX_ND_OPTIONS = 16;

/** A whole address as a mask of 32 bits. */
const WHOLE = -1;
const WORDS_PER_MAC = 2;
const WORDS_PER_PREFIX4 = 2;
const WORDS_PER_PREFIX6 = 8;

/** What a port may send: made when the port is configured, read per packet. */
export class PortSecurity {
  /** SECURITY_MAC or SECURITY_STRICT. */
  readonly level: number;
  /** The endpoint's own MAC: first two octets (16 bits), last four (int32). */
  readonly macHigh: number;
  readonly macLow: number;
  /** MACs that the port may speak from, its own included and `further` not; where it is more than 1, others are learned. */
  readonly macLimit: number;
  /** Further MACs that it may speak from: pairs like the two above. */
  readonly further: Int32Array;

  /** The first whole IPv4 address, or 0 where there is none. */
  readonly first4: number;
  /** The first whole IPv6 address, which is the link-local one where no other is: its four words. */
  readonly first6a: number;
  readonly first6b: number;
  readonly first6c: number;
  readonly first6d: number;

  /** Pairs of address and mask; host bits are 0. */
  readonly prefixes4: Int32Array;
  /** Eight words each: address and mask; host bits are 0. The link-local address of the own MAC comes last. */
  readonly prefixes6: Int32Array;

  /**
   * @param prefixes4 address and mask, int32, for each prefix
   * @param prefixes6 four words of address and four of mask, int32, for each prefix; without the link-local address
   * @param further first two octets and last four of each further MAC
   * @throws RangeError where a list's length is not a multiple of 2 or 8
   */
  constructor(
    level: number,
    high: number,
    low: number,
    macLimit: number,
    prefixes4: Int32Array,
    prefixes6: Int32Array,
    further: Int32Array = new Int32Array(0),
  ) {
    if (prefixes4.length % WORDS_PER_PREFIX4 !== 0) throw new RangeError('port security: cut list of IPv4 prefixes');
    if (prefixes6.length % WORDS_PER_PREFIX6 !== 0) throw new RangeError('port security: cut list of IPv6 prefixes');
    this.level = level;
    this.macHigh = high;
    this.macLow = low;
    this.macLimit = macLimit;
    this.further = further;
    this.prefixes4 = withoutHostBits(prefixes4, 1);
    this.prefixes6 = withoutHostBits(withLinkLocal(prefixes6, high, low), 4);
    this.first4 = firstWhole4(this.prefixes4);
    const at = firstWhole6(this.prefixes6);
    this.first6a = this.prefixes6[at];
    this.first6b = this.prefixes6[at + 1];
    this.first6c = this.prefixes6[at + 2];
    this.first6d = this.prefixes6[at + 3];
  }

  /** Whether a MAC is one of the further ones that the port may speak from. */
  hasFurther(high: number, low: number): boolean {
    for (let at = 0; at < this.further.length; at += WORDS_PER_MAC) {
      if (this.further[at] === high && this.further[at + 1] === low) return true;
    }
    return false;
  }
}

/**
 * Whether a frame says only what its port may say. The source MAC (`packet.srcHigh`, `packet.srcLow`) must have been found to be
 * one that the port may use, and the frame parsed without a drop reason.
 *
 * @returns DROP_NONE where the frame may pass, or DROP_ARP_SENDER, DROP_DHCP_SERVER, DROP_LINK_PROTOCOL, DROP_MULTICAST_ROUTER,
 *   DROP_ND_TARGET, DROP_ROUTER_ADVERTISEMENT, DROP_SOURCE_ADDRESS or DROP_UNVERIFIABLE
 */
export function inspect(view: DataView, security: PortSecurity, packet: Packet): number {
  if (packet.etherType === ETHERTYPE_IPV4) {
    if (
      (packet.protocol === PROTOCOL_TCP || isOrdinaryUdp4(packet)) &&
      ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0 || isChecksumBehindPorts(packet)) &&
      view.getInt32(packet.l3 + IPV4_SOURCE) === security.first4 &&
      security.first4 !== 0
    )
      return DROP_NONE;
    return inspectIpv4(view, security, packet);
  }
  if (packet.etherType === ETHERTYPE_IPV6) {
    if (
      (packet.protocol === PROTOCOL_TCP || isOrdinaryUdp6(packet)) &&
      ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0 || isChecksumBehindPorts(packet)) &&
      view.getInt32(packet.l3 + (IPV6_SOURCE + 12)) === security.first6d &&
      isFirst6(view, security, packet)
    )
      return DROP_NONE;
    return inspectIpv6(view, security, packet);
  }
  return inspectOther(view, security, packet);
}

/** UDP that is not malformed and comes from no DHCP server. */
function isOrdinaryUdp4(packet: Packet): boolean {
  return (
    packet.protocol === PROTOCOL_UDP &&
    packet.srcPort !== DHCP_SERVER_PORT &&
    packet.dstPort !== DHCP_CLIENT_PORT &&
    (packet.flags & PACKET_L4_MALFORMED) === 0
  );
}

function isOrdinaryUdp6(packet: Packet): boolean {
  return (
    packet.protocol === PROTOCOL_UDP &&
    packet.srcPort !== DHCPV6_SERVER_PORT &&
    packet.dstPort !== DHCPV6_CLIENT_PORT &&
    (packet.flags & PACKET_L4_MALFORMED) === 0
  );
}

/** The upper three words of the source; the lowest, which differs most, has been compared. */
function isFirst6(view: DataView, security: PortSecurity, packet: Packet): boolean {
  const at = packet.l3 + IPV6_SOURCE;
  return (
    view.getInt32(at + 8) === security.first6c &&
    view.getInt32(at + 4) === security.first6b &&
    view.getInt32(at) === security.first6a
  );
}

// --- checksum offload

/**
 * A sender that asks for a checksum (VNET_F_NEEDS_CSUM) names any two bytes of the frame, and whoever completes the checksum
 * later overwrites them with a value that the sender can choose: an address or a port, after all the checks. So the field must
 * lie behind what is checked.
 */
export function checksumField(packet: Packet): number {
  return packet.start + packet.checksumStart + packet.checksumOffset;
}

/** For TCP and UDP; containers' own tunnels put the field farther behind. */
function isChecksumBehindPorts(packet: Packet): boolean {
  return packet.l4 !== -1 && checksumField(packet) >= packet.l4 + 4;
}

/** For an IPv4 or IPv6 packet. Nobody asks for one in a later fragment, where l4 is -1. */
export function isChecksumSafe(packet: Packet): boolean {
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) return true;
  if (packet.l4 === -1) return false;
  const protocol = packet.protocol;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) return isChecksumBehindPorts(packet);
  // ICMP, ICMPv6 and IGMP have type, code and checksum in the same places.
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 || protocol === PROTOCOL_IGMP)
    return checksumField(packet) === packet.l4 + ICMP_CHECKSUM;
  return checksumField(packet) >= packet.l4;
}

// --- IPv4

function inspectIpv4(view: DataView, security: PortSecurity, packet: Packet): number {
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0 || !isChecksumSafe(packet)) return DROP_UNVERIFIABLE;
  const reason = inspectIpv4Payload(view, packet);
  if (reason !== DROP_NONE) return reason;
  const source = view.getInt32(packet.l3 + IPV4_SOURCE);
  const allowed = source === 0 ? isDhcpRequest(packet) : isOwn4(security, source);
  return allowed ? DROP_NONE : DROP_SOURCE_ADDRESS;
}

/** Later fragments pass: what they belong to shows in the first one. */
function inspectIpv4Payload(view: DataView, packet: Packet): number {
  const protocol = packet.protocol;
  if (protocol === PROTOCOL_PIM) return DROP_MULTICAST_ROUTER;
  if (protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_IGMP) return DROP_NONE;
  if ((packet.flags & PACKET_L4_MALFORMED) !== 0) return DROP_UNVERIFIABLE;
  if (packet.l4 === -1) return DROP_NONE;
  if (protocol === PROTOCOL_UDP) return inspectUdp(packet, DHCP_SERVER_PORT, DHCP_CLIENT_PORT);
  if (protocol === PROTOCOL_ICMP) return inspectIcmp(view, packet);
  return inspectIgmp(view, packet);
}

/**
 * Whatever goes to the client's port counts, and not only what says to be a reply (op 2): clients that read raw frames look at
 * the port alone.
 */
function inspectUdp(packet: Packet, serverPort: number, clientPort: number): number {
  return packet.srcPort === serverPort || packet.dstPort === clientPort ? DROP_DHCP_SERVER : DROP_NONE;
}

function inspectIcmp(view: DataView, packet: Packet): number {
  const type = icmpType(view, packet.l4);
  return type === ICMP_REDIRECT || type === ICMP_ROUTER_ADVERTISEMENT ? DROP_ROUTER_ADVERTISEMENT : DROP_NONE;
}

/** The parse does not prove any of IGMP to be there. */
function inspectIgmp(view: DataView, packet: Packet): number {
  if (packet.l4 >= packet.l3End) return DROP_UNVERIFIABLE;
  return isIgmpFromRouter(view.getUint8(packet.l4)) ? DROP_MULTICAST_ROUTER : DROP_NONE;
}

/** Who may have no address yet: a DHCP client (RFC 2131, 4.1). Its messages are never fragments. */
function isDhcpRequest(packet: Packet): boolean {
  return (
    packet.protocol === PROTOCOL_UDP &&
    (packet.flags & PACKET_FRAGMENT) === 0 &&
    packet.srcPort === DHCP_CLIENT_PORT &&
    packet.dstPort === DHCP_SERVER_PORT
  );
}

/** Whether an IPv4 address, not 0, is the port's. */
function isOwn4(security: PortSecurity, address: number): boolean {
  const prefixes = security.prefixes4;
  for (let i = 0; i < prefixes.length; i += WORDS_PER_PREFIX4) {
    const mask = prefixes[i + 1];
    if ((address & mask) === prefixes[i] && (mask === WHOLE || !isMartian4(address))) return true;
  }
  return false;
}

/** No host has these, whatever the prefix that holds them: 0/8, 127/8, 224/4, 240/4 (RFC 6890, 2.2.2). */
function isMartian4(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || first >= 224;
}

// --- IPv6

function inspectIpv6(view: DataView, security: PortSecurity, packet: Packet): number {
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0 || !isChecksumSafe(packet)) return DROP_UNVERIFIABLE;
  const reason = inspectIpv6Payload(view, security, packet);
  if (reason !== DROP_NONE) return reason;
  const source = packet.l3 + IPV6_SOURCE;
  const allowed = isUnspecified6(view, source) ? isSourceless(view, packet) : isOwn6(view, security, source);
  return allowed ? DROP_NONE : DROP_SOURCE_ADDRESS;
}

/**
 * Later fragments pass, since a first one whose chain of headers is not whole (RFC 7112) is malformed to the parse, and so is
 * one without its transport header.
 */
function inspectIpv6Payload(view: DataView, security: PortSecurity, packet: Packet): number {
  const protocol = packet.protocol;
  if (protocol === PROTOCOL_PIM) return DROP_MULTICAST_ROUTER;
  if (protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_ICMPV6) return DROP_NONE;
  if ((packet.flags & PACKET_L4_MALFORMED) !== 0) return DROP_UNVERIFIABLE;
  if (packet.l4 === -1) return DROP_NONE;
  if (protocol === PROTOCOL_UDP) return inspectUdp(packet, DHCPV6_SERVER_PORT, DHCPV6_CLIENT_PORT);
  return inspectIcmpv6(view, security, packet);
}

function inspectIcmpv6(view: DataView, security: PortSecurity, packet: Packet): number {
  const type = icmpv6Type(view, packet.l4);
  if (isMldFromRouter(type)) return DROP_MULTICAST_ROUTER;
  if (type === ND_ROUTER_ADVERTISEMENT || type === ND_REDIRECT) return DROP_ROUTER_ADVERTISEMENT;
  if (type === ND_ROUTER_SOLICITATION) return inspectOptions(view, packet, ND_ROUTER_SOLICITATION_LENGTH);
  if (type === ND_NEIGHBOR_SOLICITATION || type === ND_NEIGHBOR_ADVERTISEMENT)
    return inspectNeighbor(view, security, packet, type);
  return DROP_NONE;
}

/**
 * An advertisement speaks for its target. So does a solicitation without a source (duplicate address detection): it takes the
 * address away from who is about to use it (RFC 4862, 5.4.3).
 */
function inspectNeighbor(view: DataView, security: PortSecurity, packet: Packet, type: number): number {
  if (packet.l4 + ND_NEIGHBOR_LENGTH > packet.l3End) return DROP_UNVERIFIABLE;
  const speaksForTarget = type === ND_NEIGHBOR_ADVERTISEMENT || isUnspecified6(view, packet.l3 + IPV6_SOURCE);
  if (speaksForTarget && !isOwn6(view, security, packet.l4 + ND_TARGET)) return DROP_ND_TARGET;
  return inspectOptions(view, packet, ND_NEIGHBOR_LENGTH);
}

/**
 * Every link-layer address in the options must be the frame's source: receivers differ in which of several they take.
 * Fragments are refused as receivers do (RFC 6980, 5): the rest of the options would come in the next.
 *
 * @param offset of the options in the message
 */
function inspectOptions(view: DataView, packet: Packet, offset: number): number {
  if ((packet.flags & PACKET_FRAGMENT) !== 0) return DROP_UNVERIFIABLE;
  const end = packet.l3End;
  let at = packet.l4 + offset;
  for (let count = 0; at < end; count++) {
    if (count === MAX_ND_OPTIONS || at + ND_OPTION_UNIT > end) return DROP_UNVERIFIABLE;
    const length = view.getUint8(at + ND_OPTION_LENGTH) * ND_OPTION_UNIT;
    if (length === 0 || at + length > end) return DROP_UNVERIFIABLE;
    if (isForeignLinkAddress(view, packet, at, length)) return DROP_ND_TARGET;
    at += length;
  }
  return DROP_NONE;
}

/** Over Ethernet the option is one unit long (RFC 2464, 6). */
function isForeignLinkAddress(view: DataView, packet: Packet, at: number, length: number): boolean {
  const kind = view.getUint8(at);
  if (kind !== ND_OPTION_SOURCE_LINK_ADDRESS && kind !== ND_OPTION_TARGET_LINK_ADDRESS) return false;
  return length !== ND_OPTION_UNIT || !isSourceMac(view, packet, at + ND_OPTION_VALUE);
}

/**
 * What comes from :: by the standards: solicitations before there is an address (RFC 4861, 4.1 and 4.3; the target has been
 * checked) and multicast reports (RFC 3810, 5.2.13; RFC 3590).
 */
function isSourceless(view: DataView, packet: Packet): boolean {
  if (packet.protocol !== PROTOCOL_ICMPV6 || packet.l4 === -1 || (packet.flags & PACKET_FRAGMENT) !== 0) return false;
  const type = icmpv6Type(view, packet.l4);
  return (
    type === ND_ROUTER_SOLICITATION ||
    type === ND_NEIGHBOR_SOLICITATION ||
    type === ICMPV6_MLD_REPORT ||
    type === ICMPV6_MLD_DONE ||
    type === ICMPV6_MLD2_REPORT
  );
}

function isUnspecified6(view: DataView, at: number): boolean {
  return (view.getInt32(at) | view.getInt32(at + 4) | view.getInt32(at + 8) | view.getInt32(at + 12)) === 0;
}

/** Whether the IPv6 address at `at` is the port's. */
function isOwn6(view: DataView, security: PortSecurity, at: number): boolean {
  const a = view.getInt32(at);
  const b = view.getInt32(at + 4);
  const c = view.getInt32(at + 8);
  const d = view.getInt32(at + 12);
  const prefixes = security.prefixes6;
  for (let i = 0; i < prefixes.length; i += WORDS_PER_PREFIX6) {
    if (
      (d & prefixes[i + 7]) === prefixes[i + 3] &&
      (c & prefixes[i + 6]) === prefixes[i + 2] &&
      (b & prefixes[i + 5]) === prefixes[i + 1] &&
      (a & prefixes[i + 4]) === prefixes[i] &&
      (prefixes[i + 7] === WHOLE || !isMartian6(a, b, c, d))
    )
      return true;
  }
  return false;
}

/** No host has these, whatever the prefix that holds them: ::, ::1 and multicast (RFC 4291, 2.5.2, 2.5.3 and 2.7). */
function isMartian6(a: number, b: number, c: number, d: number): boolean {
  return a >>> 24 === 0xff || ((a | b | c) === 0 && d >>> 1 === 0);
}

// --- all else

function inspectOther(view: DataView, security: PortSecurity, packet: Packet): number {
  const etherType = packet.etherType;
  if (etherType === ETHERTYPE_ARP) return inspectArp(view, security, packet);
  if (etherType < 0) return DROP_UNVERIFIABLE;
  if (!isChecksumBehindHeader(packet)) return DROP_UNVERIFIABLE;
  if (etherType === ETHERTYPE_RARP) return inspectRarp(view, security, packet);
  if (etherType < ETHERTYPE_MINIMUM) return inspectLlc(view, packet);
  if (isVlanType(etherType) || isVendorVlanType(etherType)) return DROP_UNVERIFIABLE;
  return isLinkProtocol(etherType) ? DROP_LINK_PROTOCOL : DROP_NONE;
}

/** Nothing of a frame without EtherType, and of RARP, is left to a checksum. */
function isChecksumBehindHeader(packet: Packet): boolean {
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0) return true;
  if (packet.etherType < ETHERTYPE_MINIMUM || packet.etherType === ETHERTYPE_RARP) return false;
  return checksumField(packet) >= payloadStart(packet);
}

/** TPIDs that vendors used before 802.1ad: other bridges may look behind such a tag, where the parse does not. */
function isVendorVlanType(etherType: number): boolean {
  return etherType === 0x9100 || etherType === 0x9200 || etherType === 0x9300;
}

function isLinkProtocol(etherType: number): boolean {
  return (
    etherType === ETHERTYPE_LLDP ||
    etherType === ETHERTYPE_EAPOL ||
    etherType === ETHERTYPE_SLOW_PROTOCOLS ||
    etherType === ETHERTYPE_MAC_CONTROL ||
    etherType === ETHERTYPE_MVRP ||
    etherType === ETHERTYPE_MMRP ||
    etherType === ETHERTYPE_MSRP ||
    etherType === ETHERTYPE_MEDIA_REDUNDANCY ||
    etherType === ETHERTYPE_CFM
  );
}

/** Where the payload begins, behind up to two tags. */
function payloadStart(packet: Packet): number {
  const outer = packet.vlan === -1 ? 0 : VLAN_TAG_LENGTH;
  const inner = packet.innerVlan === -1 ? 0 : VLAN_TAG_LENGTH;
  return packet.start + ETHERNET_HEADER_LENGTH + outer + inner;
}

// --- ARP

/** Every operation: receivers learn from requests as from replies. A probe (RFC 5227, 2.1.1) has no sender and claims its target. */
function inspectArp(view: DataView, security: PortSecurity, packet: Packet): number {
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0) return DROP_UNVERIFIABLE;
  if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0) return DROP_UNVERIFIABLE;
  if (!isSourceMac(view, packet, packet.l3 + ARP_SENDER_MAC)) return DROP_ARP_SENDER;
  const sender = arpSender(view, packet.l3);
  if (sender !== 0) return isOwn4(security, sender) ? DROP_NONE : DROP_ARP_SENDER;
  const isProbe = arpOperation(view, packet.l3) === ARP_REQUEST && isOwn4(security, arpTarget(view, packet.l3));
  return isProbe ? DROP_NONE : DROP_ARP_SENDER;
}

/** Only the question for the own address, by which virtual machines announce themselves; an answer would hand out addresses. */
function inspectRarp(view: DataView, security: PortSecurity, packet: Packet): number {
  const at = payloadStart(packet);
  if (at + ARP_LENGTH > packet.start + packet.length) return DROP_UNVERIFIABLE;
  if (view.getUint16(at + ARP_HARDWARE_TYPE) !== ARP_HARDWARE_ETHERNET) return DROP_UNVERIFIABLE;
  if (arpOperation(view, at) !== RARP_REQUEST) return DROP_ARP_SENDER;
  if (!isSourceMac(view, packet, at + ARP_SENDER_MAC)) return DROP_ARP_SENDER;
  if (!isSourceMac(view, packet, at + ARP_TARGET_MAC)) return DROP_ARP_SENDER;
  const sender = arpSender(view, at);
  return sender === 0 || isOwn4(security, sender) ? DROP_NONE : DROP_ARP_SENDER;
}

function isSourceMac(view: DataView, packet: Packet, at: number): boolean {
  return macHigh(view, at) === packet.srcHigh && macLow(view, at) === packet.srcLow;
}

// --- LLC

/**
 * Linux takes no IP out of LLC or SNAP, but other systems do, and access points and old bridges turn such frames into Ethernet
 * ones. The length field is not looked at: receivers differ in whether they do.
 */
function inspectLlc(view: DataView, packet: Packet): number {
  const at = payloadStart(packet);
  const end = packet.start + packet.length;
  if (at + LLC_LENGTH > end) return DROP_UNVERIFIABLE;
  const sap = view.getUint8(at + LLC_DSAP) & LLC_SAP_MASK;
  if (sap === LLC_SAP_BRIDGE) return DROP_LINK_PROTOCOL;
  if (sap === LLC_SAP_IP) return DROP_UNVERIFIABLE;
  if (sap !== LLC_SAP_SNAP) return DROP_NONE;
  if (at + SNAP_LENGTH > end) return DROP_UNVERIFIABLE;
  return inspectSnap(view.getInt32(at + SNAP_CONTROL_OUI) & SNAP_OUI_MASK, view.getUint16(at + SNAP_TYPE));
}

function inspectSnap(oui: number, type: number): number {
  if (oui === SNAP_OUI_ETHERNET || oui === SNAP_OUI_BRIDGE_TUNNEL) {
    if (isLinkProtocol(type)) return DROP_LINK_PROTOCOL;
    return hasAddresses(type) ? DROP_UNVERIFIABLE : DROP_NONE;
  }
  if (oui === SNAP_OUI_CISCO || oui === SNAP_OUI_EXTREME || oui === SNAP_OUI_FOUNDRY || oui === SNAP_OUI_NORTEL)
    return DROP_LINK_PROTOCOL;
  return DROP_NONE;
}

/** EtherTypes whose payload this file would have to check. */
function hasAddresses(etherType: number): boolean {
  return (
    etherType === ETHERTYPE_IPV4 ||
    etherType === ETHERTYPE_IPV6 ||
    etherType === ETHERTYPE_ARP ||
    etherType === ETHERTYPE_RARP ||
    isVlanType(etherType) ||
    isVendorVlanType(etherType)
  );
}

// --- making of PortSecurity

/** Copy of a list of prefixes whose addresses and masks have `words` words each. */
function withoutHostBits(prefixes: Int32Array, words: number): Int32Array {
  const copy = Int32Array.from(prefixes);
  for (let i = 0; i < copy.length; i++) {
    if (i % (2 * words) < words) copy[i] &= copy[i + words];
  }
  return copy;
}

/** With fe80::/64 and the modified EUI-64 of the MAC (RFC 4291, appendix A) at its end. */
function withLinkLocal(prefixes: Int32Array, high: number, low: number): Int32Array {
  const list = new Int32Array(prefixes.length + WORDS_PER_PREFIX6);
  list.set(prefixes);
  list.set([...linkLocalOf(high, low), WHOLE, WHOLE, WHOLE, WHOLE], prefixes.length);
  return list;
}

function firstWhole4(prefixes: Int32Array): number {
  for (let i = 0; i < prefixes.length; i += WORDS_PER_PREFIX4) if (prefixes[i + 1] === WHOLE) return prefixes[i];
  return 0;
}

/** Index of the first whole address. A mask has no holes, so its last word says whether it is one. */
function firstWhole6(prefixes: Int32Array): number {
  let at = 0;
  while (prefixes[at + 7] !== WHOLE) at += WORDS_PER_PREFIX6;
  return at;
}
