/**
 * The packet handle: one preallocated, mutable object a slot, filled by the receiving port and by the parse, read by
 * every stage after it. All fields hold int32 values (V8 keeps them unboxed); -1 means "not there".
 *
 * Offsets are absolute byte offsets into the arena, so that `arena.bytes[packet.l3 + 8]` is the TTL.
 */

/** `flags`: set by the parse. */
export const PACKET_FRAGMENT = 1; // an IP fragment, first or later (IPv4 MF or offset, IPv6 fragment header not atomic)
export const PACKET_LATER_FRAGMENT = 2; // a fragment with offset > 0: no transport header inside
export const PACKET_L3_MALFORMED = 4; // the network header contradicts itself or the frame; l3 is set, l4 is -1
export const PACKET_L4_MALFORMED = 8; // the transport header is cut short or contradicts itself; l4 is -1
export const PACKET_IPV4_OPTIONS = 16;
export const PACKET_IPV6_EXTENSIONS = 32;
export const PACKET_REASSEMBLED = 64; // came in fragments: may leave in fragments. Set by a stage, cleared by the next parse

/** `etherType` of a frame that has not been parsed, or whose tags run out of it. */
export const UNPARSED = -1;

/** `tag`: the frame has no tag of the domain's, one with its VID, or one with VID 0 that carries a priority only. */
export const TAG_NONE = 0;
export const TAG_VLAN = 1;
export const TAG_PRIORITY = 2;

export class Packet {
  /** This handle's slot in the arena; never changes. */
  readonly slot: number;

  // Set by the port that received it.
  /** First byte of the Ethernet header. The virtio-net header stands in the VNET_HEADER_LENGTH bytes before. */
  start = 0;
  /** Length of the frame in bytes, without the virtio-net header. */
  length = 0;
  /** Input port. */
  port = 0;

  // The virtio-net header (linux/virtio_net.h), decoded.
  vnetFlags = 0;
  gsoType = 0;
  headerLength = 0;
  /** Payload bytes a segment; 0 where gsoType is 0. */
  gsoSize = 0;
  /** Where the checksum starts, counted from `start`. */
  checksumStart = 0;
  /** Where the checksum stands, counted from checksumStart. */
  checksumOffset = 0;

  // Set by the parse.
  flags = 0;
  /** Destination MAC: first two octets in `dstHigh` (16 bits), last four in `dstLow` (int32, signed). */
  dstHigh = 0;
  dstLow = 0;
  srcHigh = 0;
  srcLow = 0;
  /** Outer VLAN tag's TCI (PCP, DEI, VID) or -1, and its TPID (0x8100 or 0x88a8) or 0. */
  vlan = -1;
  vlanType = 0;
  /** Second VLAN tag's TCI or -1. */
  innerVlan = -1;
  /** EtherType after all VLAN tags; below 1536 it is an 802.3 length. -1 where the tags run out of the frame. */
  etherType = -1;
  /** Network header, or -1: IPv4, IPv6 or ARP only. */
  l3 = -1;
  /** End of the network packet by its own length field (link padding lies behind); 0 where l3 is -1. */
  l3End = 0;
  /** Last header's protocol number (IPv4 protocol, IPv6 next header after extensions), or -1. */
  protocol = -1;
  /** Transport header, or -1. For TCP, UDP, ICMP and ICMPv6 the fixed header is proven to be inside the frame. */
  l4 = -1;
  /** TCP/UDP ports, host order; -1 where there is none. */
  srcPort = -1;
  dstPort = -1;

  // Set by the stages.
  /** Network the packet is in, or 0. */
  network = 0;
  /** Domain the packet is in: its network, or one VLAN of it. */
  domain = 0;
  /** What the outer tag is to the domain: TAG_NONE, TAG_VLAN or TAG_PRIORITY. Tags that are payload are TAG_NONE. */
  tag = 0;
  /** Output port, where the verdict is TO_PORT. */
  outPort = 0;
  /** Connection and direction, as `FlowTable.find4` returns them; -1: none. */
  flow = -1;
  /** Drop reason, where the verdict is DROP. */
  reason = 0;

  constructor(slot: number) {
    this.slot = slot;
  }
}
