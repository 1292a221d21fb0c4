/** PIM version 2 (RFC 7761, 4.9), as much of it as tells where a multicast router is. Offsets count from the PIM header. */

import { finishChecksum, pseudoHeaderSum6, sumBytes } from '../packet/checksum.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { ETHERTYPE_IPV6 } from './ethernet.js';
import { PROTOCOL_PIM } from './multicast-router.js';

/** Version 2 in the upper half of the octet, type 0 in the lower. */
const PIM_HELLO = 0x20;
const PIM_LENGTH = 4;

/**
 * Whether an IP packet of protocol PIM is a hello with a right checksum; over IPv6 that covers a pseudo-header.
 *
 * Precondition: packet.l3 and l3End are proven.
 */
export function isPimHello(view: DataView, packet: Packet): boolean {
  const at = packet.l4;
  const length = packet.l3End - at;
  if (at < 0 || length < PIM_LENGTH || (packet.flags & PACKET_FRAGMENT) !== 0) return false;
  if (view.getUint8(at) !== PIM_HELLO) return false;
  const sum = sumBytes(view, at, length);
  if (packet.etherType !== ETHERTYPE_IPV6) return finishChecksum(sum) === 0;
  return finishChecksum(sum + pseudoHeaderSum6(view, packet.l3, PROTOCOL_PIM, length)) === 0;
}
