/**
 * Drop reasons, each declared once: the enum, the counters' index, the CLI's table and the metrics all come from
 * DROP_REASONS. A reason's number is its place in the list and is part of the counter layout, so new ones go to the end.
 */

export interface DropReason {
  /** The name that users see, in snake case. */
  readonly name: string;
  /** One sentence of what happened, for a person. */
  readonly text: string;
}

export const DROP_REASONS: readonly DropReason[] = [
  { name: 'none', text: 'not dropped' },
  { name: 'runt', text: 'frame shorter than an Ethernet header' },
  { name: 'oversized', text: 'frame longer than a slot' },
  { name: 'vnet_header', text: 'virtio-net header that contradicts its frame' },
  { name: 'source_multicast', text: 'source MAC is a group address' },
  { name: 'reserved_multicast', text: 'destination 01-80-C2-00-00-00 to -0F, which a bridge never forwards' },
  { name: 'no_destination', text: 'no other port in the network' },
  { name: 'hairpin', text: 'destination is behind the port that the frame came from' },
  { name: 'port_unbound', text: 'frame from a port that belongs to no network' },
  { name: 'port_gone', text: 'port was detached while the frame was on its way' },
  { name: 'tx_queue_full', text: 'the port took no more frames' },
  { name: 'tx_too_big', text: 'frame exceeds the MTU of the port' },
  { name: 'tx_port_down', text: 'the interface behind the port is down' },
  { name: 'tx_rejected', text: 'the kernel refused the frame as malformed' },
  { name: 'tx_error', text: 'the kernel failed to send the frame' },
  { name: 'internal_error', text: 'a stage threw on the frame; please report it' },
  { name: 'rx_rejected', text: 'the kernel has no virtio-net form for the segmentation of this frame' },
  { name: 'source_mac', text: 'source MAC is not one of the endpoint' },
  { name: 'mac_limit', text: 'port speaks from more MACs than it may' },
  { name: 'static_mac', text: 'source MAC is bound to another port' },
  { name: 'source_address', text: 'source IPv4 or IPv6 address is not one of the endpoint' },
  { name: 'arp_sender', text: 'ARP sender is not the endpoint: foreign MAC or IPv4 address' },
  { name: 'nd_target', text: 'neighbor discovery for an address or a MAC that is not the endpoint' },
  { name: 'dhcp_server', text: 'DHCP server message from an endpoint' },
  { name: 'router_advertisement', text: 'router advertisement or redirect from an endpoint' },
  { name: 'multicast_router', text: 'IGMP or MLD query, or PIM, from an endpoint' },
  { name: 'link_protocol', text: 'STP, LLDP or another protocol between bridges from an endpoint' },
  { name: 'unverifiable', text: 'headers too malformed or too deep to check their addresses' },
  { name: 'isolated', text: 'destination is an isolated endpoint, as is the source' },
  { name: 'vlan_reserved', text: 'VLAN identifier 4095, which no frame may carry' },
  { name: 'vlan_not_allowed', text: 'VLAN that the port is no member of' },
  { name: 'vlan_untagged', text: 'untagged frame on a port without a native VLAN' },
  { name: 'storm_broadcast', text: 'more broadcast frames than the port may send' },
  { name: 'storm_multicast', text: 'more multicast frames than the port may send' },
  { name: 'storm_unknown_unicast', text: 'more frames to unknown MACs than the port may send' },
  { name: 'quarantined', text: 'port is quarantined after a loop' },
  { name: 'fdb_full', text: 'source MAC not learned: no room, and the network drops what it cannot learn' },
  { name: 'unregistered_multicast', text: 'nobody has joined the multicast group' },
  { name: 'snooped', text: 'membership message, taken in by snooping, with no multicast router to hand it on to' },
  { name: 'no_slot', text: 'no free slot for a copy of the frame' },
];

/** Room for reasons in every port's counter block; larger than DROP_REASONS so that the layout outlives new ones. */
export const DROP_REASON_SLOTS = 64;

export const DROP_NONE = 0;
export const DROP_RUNT = 1;
export const DROP_OVERSIZED = 2;
export const DROP_VNET_HEADER = 3;
export const DROP_SOURCE_MULTICAST = 4;
export const DROP_RESERVED_MULTICAST = 5;
export const DROP_NO_DESTINATION = 6;
export const DROP_HAIRPIN = 7;
export const DROP_PORT_UNBOUND = 8;
export const DROP_PORT_GONE = 9;
export const DROP_TX_QUEUE_FULL = 10;
export const DROP_TX_TOO_BIG = 11;
export const DROP_TX_PORT_DOWN = 12;
export const DROP_TX_REJECTED = 13;
export const DROP_TX_ERROR = 14;
export const DROP_INTERNAL_ERROR = 15;
export const DROP_RX_REJECTED = 16;
export const DROP_SOURCE_MAC = 17;
export const DROP_MAC_LIMIT = 18;
export const DROP_STATIC_MAC = 19;
export const DROP_SOURCE_ADDRESS = 20;
export const DROP_ARP_SENDER = 21;
export const DROP_ND_TARGET = 22;
export const DROP_DHCP_SERVER = 23;
export const DROP_ROUTER_ADVERTISEMENT = 24;
export const DROP_MULTICAST_ROUTER = 25;
export const DROP_LINK_PROTOCOL = 26;
export const DROP_UNVERIFIABLE = 27;
export const DROP_ISOLATED = 28;
export const DROP_VLAN_RESERVED = 29;
export const DROP_VLAN_NOT_ALLOWED = 30;
export const DROP_VLAN_UNTAGGED = 31;
export const DROP_STORM_BROADCAST = 32;
export const DROP_STORM_MULTICAST = 33;
export const DROP_STORM_UNKNOWN_UNICAST = 34;
export const DROP_QUARANTINED = 35;
export const DROP_FDB_FULL = 36;
export const DROP_UNREGISTERED_MULTICAST = 37;
export const DROP_SNOOPED = 38;
export const DROP_NO_SLOT = 39;
