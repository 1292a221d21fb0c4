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
