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
  { name: 'isolated', text: 'destination is an isolated endpoint, or another host of the network, as is the source' },
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
  { name: 'other_host', text: 'frame on the wire of a routed uplink that is not for Tapline' },
  { name: 'ip_malformed', text: 'IPv4 or IPv6 header that contradicts itself or its frame' },
  { name: 'ip_checksum', text: 'wrong IPv4 header checksum' },
  { name: 'martian_source', text: 'source address that no packet on a wire may have' },
  { name: 'martian_destination', text: 'destination address that no router forwards to' },
  { name: 'source_validation', text: 'the route to the source does not lead where the packet came from' },
  {
    name: 'link_broadcast',
    text: 'unicast packet in a broadcast or multicast frame, or the reverse, which no router forwards',
  },
  { name: 'directed_broadcast', text: 'broadcast to a subnet from outside it' },
  { name: 'no_route', text: 'no route to the destination' },
  { name: 'blackhole', text: 'route says blackhole' },
  { name: 'unreachable', text: 'route says unreachable' },
  { name: 'prohibited', text: 'networks that do not reach each other: their VRF does not interconnect them' },
  { name: 'internal', text: 'network is internal: no way in or out' },
  { name: 'host_access', text: 'network has no access to the host, or the host none to it' },
  { name: 'ttl_exceeded', text: 'TTL or hop limit ran out' },
  { name: 'too_big', text: 'larger than the next MTU, and not to be fragmented' },
  { name: 'ip_options', text: 'IPv4 options or IPv6 extension headers that the router refuses' },
  { name: 'neighbor_failed', text: 'next hop does not answer ARP or neighbor discovery' },
  { name: 'neighbor_queue', text: 'too many packets wait for the MAC of a next hop' },
  { name: 'neighbor_full', text: 'no room for another neighbor' },
  { name: 'neighbor_rate', text: 'more ARP or neighbor discovery than a port may send to the router, or cause' },
  { name: 'neighbor_invalid', text: 'ARP or neighbor discovery that the router must not believe' },
  { name: 'fragment_invalid', text: 'fragment that overlaps others, or does not fit into a datagram' },
  { name: 'fragment_timeout', text: 'the rest of the datagram did not arrive in time' },
  { name: 'fragment_limit', text: 'too many datagrams wait for their rest' },
  { name: 'icmp_invalid', text: 'ICMP to the router with a wrong checksum, or of a kind that it does not take' },
  { name: 'not_listening', text: 'nothing at the address of the router takes this protocol or port' },
  { name: 'interface_down', text: 'the interface to the next hop is down' },
  { name: 'host_owned', text: 'frame on a shared uplink that belongs to the host' },
  { name: 'no_flow', text: 'belongs to no connection that is known, and cannot begin one' },
  { name: 'tcp_window', text: 'TCP segment outside the window of its connection' },
  { name: 'tcp_state', text: 'TCP flags that the connection cannot have now, or that no segment may have' },
  {
    name: 'not_published',
    text: 'from the wire to an endpoint behind address translation, and not by a published port',
  },
  { name: 'policy', text: 'a rule of the policy, or the default of the network, says drop or reject' },
  { name: 'flows_full', text: 'no room for another connection' },
  { name: 'flow_limit', text: 'the endpoint has as many connections as it may have' },
  { name: 'ports_exhausted', text: 'no address and port are left to translate the connection to' },
  { name: 'filtered', text: 'not from whom the filter of an address translation lets in' },
  { name: 'untranslatable', text: 'protocol or packet that address translation cannot carry' },
  { name: 'unsolicited', text: 'connection from outside that nobody waits for' },
  { name: 'no_backend', text: 'the service has no backend that takes connections' },
  { name: 'vxlan_malformed', text: 'VXLAN packet cut short, or without the flag that says that its VNI is valid' },
  { name: 'vxlan_vni', text: 'VXLAN packet of a VNI that no network has' },
  { name: 'vxlan_vtep', text: 'VXLAN packet from a VTEP that its network does not know' },
  { name: 'vxlan_gpe', text: 'VXLAN-GPE, which is not supported' },
  { name: 'vxlan_checksum', text: 'VXLAN packet whose outer checksum is wrong' },
  { name: 'vxlan_fragment', text: 'fragment of a VXLAN packet' },
  { name: 'vxlan_ecn', text: 'congestion was marked on the way, and the inner packet cannot say so' },
  { name: 'vxlan_vlan', text: 'VLAN tag inside a VXLAN packet, in a network without VLANs' },
  { name: 'host_gateway', text: 'announcement of the gateway, which every host of the network has itself' },
];

/** Room for reasons in every port's counter block; larger than DROP_REASONS so that the layout outlives new ones. */
export const DROP_REASON_SLOTS = 128;

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
export const DROP_OTHER_HOST = 40;
export const DROP_IP_MALFORMED = 41;
export const DROP_IP_CHECKSUM = 42;
export const DROP_MARTIAN_SOURCE = 43;
export const DROP_MARTIAN_DESTINATION = 44;
export const DROP_SOURCE_VALIDATION = 45;
export const DROP_LINK_BROADCAST = 46;
export const DROP_DIRECTED_BROADCAST = 47;
export const DROP_NO_ROUTE = 48;
export const DROP_BLACKHOLE = 49;
export const DROP_UNREACHABLE = 50;
export const DROP_PROHIBITED = 51;
export const DROP_INTERNAL = 52;
export const DROP_HOST_ACCESS = 53;
export const DROP_TTL_EXCEEDED = 54;
export const DROP_TOO_BIG = 55;
export const DROP_IP_OPTIONS = 56;
export const DROP_NEIGHBOR_FAILED = 57;
export const DROP_NEIGHBOR_QUEUE = 58;
export const DROP_NEIGHBOR_FULL = 59;
export const DROP_NEIGHBOR_RATE = 60;
export const DROP_NEIGHBOR_INVALID = 61;
export const DROP_FRAGMENT_INVALID = 62;
export const DROP_FRAGMENT_TIMEOUT = 63;
export const DROP_FRAGMENT_LIMIT = 64;
export const DROP_ICMP_INVALID = 65;
export const DROP_NOT_LISTENING = 66;
export const DROP_INTERFACE_DOWN = 67;
export const DROP_HOST_OWNED = 68;
export const DROP_NO_FLOW = 69;
export const DROP_TCP_WINDOW = 70;
export const DROP_TCP_STATE = 71;
export const DROP_NOT_PUBLISHED = 72;
export const DROP_POLICY = 73;
export const DROP_FLOWS_FULL = 74;
export const DROP_FLOW_LIMIT = 75;
export const DROP_PORTS_EXHAUSTED = 76;
export const DROP_FILTERED = 77;
export const DROP_UNTRANSLATABLE = 78;
export const DROP_UNSOLICITED = 79;
export const DROP_NO_BACKEND = 80;
export const DROP_VXLAN_MALFORMED = 81;
export const DROP_VXLAN_VNI = 82;
export const DROP_VXLAN_VTEP = 83;
export const DROP_VXLAN_GPE = 84;
export const DROP_VXLAN_CHECKSUM = 85;
export const DROP_VXLAN_FRAGMENT = 86;
export const DROP_VXLAN_ECN = 87;
export const DROP_VXLAN_VLAN = 88;
export const DROP_HOST_GATEWAY = 89;
