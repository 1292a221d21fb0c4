/**
 * The outer UDP source port: the inner flow's hash, so that routers and network cards of the underlay spread flows over links and
 * queues, and keep each flow in order (RFC 7348, 5: from 49152 to 65535).
 */

import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { IPV4_DESTINATION, IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';

const FIRST_PORT = 49152;
const PORTS = 0x3fff;

/** Precondition: the packet is parsed. Fragments go by their addresses alone, as only the first has ports. */
export function sourcePort(view: DataView, packet: Packet): number {
  let hash = packet.protocol;
  const { l3 } = packet;
  if (l3 !== -1 && packet.etherType === ETHERTYPE_IPV4) {
    hash ^= view.getInt32(l3 + IPV4_SOURCE) ^ Math.imul(view.getInt32(l3 + IPV4_DESTINATION), 0x9e3779b1);
  } else if (l3 !== -1 && packet.etherType === ETHERTYPE_IPV6) {
    hash ^= fold6(view, l3 + IPV6_SOURCE) ^ Math.imul(fold6(view, l3 + IPV6_DESTINATION), 0x9e3779b1);
  } else {
    hash ^= view.getInt32(packet.start + 2) ^ Math.imul(view.getInt32(packet.start + 8), 0x9e3779b1);
  }
  if ((packet.flags & PACKET_FRAGMENT) === 0)
    hash ^= Math.imul((packet.srcPort << 16) | (packet.dstPort & 0xffff), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return FIRST_PORT + ((hash >>> 18) & PORTS);
}

function fold6(view: DataView, at: number): number {
  return (
    view.getInt32(at) ^ view.getInt32(at + 4) ^ Math.imul(view.getInt32(at + 8), 0xc2b2ae35) ^ view.getInt32(at + 12)
  );
}
