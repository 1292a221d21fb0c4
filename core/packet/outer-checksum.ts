/**
 * The checksum around a tunnel. A super-packet that has not been cut yet has two to come: the inner one, which its virtio-net header tells of, and
 * that of the outer UDP header, whose field holds the sum of the pseudo-header until then (Documentation/networking/segmentation-offloads.rst).
 */

import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { ipv4HeaderLength, ipv4Protocol, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_HEADER_LENGTH, ipv6NextHeader } from '../wire/ipv6.js';
import { UDP_CHECKSUM, UDP_HEADER_LENGTH, udpLength } from '../wire/udp.js';
import { isVlanType, VLAN_TAG_LENGTH } from '../wire/vlan.js';
import { finishChecksum, nonZeroChecksum, pseudoHeaderSum4, pseudoHeaderSum6, sumBytes } from './checksum.js';

/** Bytes of an EtherType, which stands right before what it tells of. */
const TYPE_LENGTH = 2;

/**
 * Completes the outer UDP checksum in a copy of a whole frame, for captures. Does nothing where there is no UDP header in front of `inner`, or
 * it has no checksum.
 *
 * @param inner where the checksum begins that the virtio-net header told of, and that is complete now; counted from the frame's first byte
 */
export function completeOuterChecksumIn(frame: Uint8Array, inner: number): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const l3 = networkAt(view);
  const type = view.getUint16(l3 - TYPE_LENGTH);
  const l4 = udpAt(view, type, l3);
  if (l4 < 0 || l4 + UDP_HEADER_LENGTH > inner || view.getUint16(l4 + UDP_CHECKSUM) === 0) return;
  const length = udpLength(view, l4);
  if (l4 + length > frame.byteLength) return;
  view.setUint16(l4 + UDP_CHECKSUM, 0);
  const pseudo = type === ETHERTYPE_IPV4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  const sum = pseudo(view, l3, PROTOCOL_UDP, length) + sumBytes(view, l4, length);
  view.setUint16(l4 + UDP_CHECKSUM, nonZeroChecksum(finishChecksum(sum)));
}

/** Where the frame's own network header begins, behind whatever tags. */
function networkAt(view: DataView): number {
  let l3 = ETHERNET_HEADER_LENGTH;
  while (l3 + VLAN_TAG_LENGTH <= view.byteLength && isVlanType(view.getUint16(l3 - TYPE_LENGTH))) l3 += VLAN_TAG_LENGTH;
  return l3;
}

/** Where the UDP header behind it begins; -1: there is none. No tunnel of ours has extension headers. */
function udpAt(view: DataView, type: number, l3: number): number {
  if (l3 + IPV6_HEADER_LENGTH + UDP_HEADER_LENGTH > view.byteLength) return -1;
  if (type === ETHERTYPE_IPV4 && ipv4Protocol(view, l3) === PROTOCOL_UDP) return l3 + ipv4HeaderLength(view, l3);
  if (type === ETHERTYPE_IPV6 && ipv6NextHeader(view, l3) === PROTOCOL_UDP) return l3 + IPV6_HEADER_LENGTH;
  return -1;
}
