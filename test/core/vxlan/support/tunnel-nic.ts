/**
 * What Linux makes of a super-packet inside a UDP tunnel that is written into a TAP: takes it or not (include/linux/virtio_net.h,
 * virtio_net_hdr_tnl_to_skb; here all is refused that it leaves open as well), and cuts it (net/ipv4/udp_offload.c, __skb_udp_tunnel_segment).
 * Shares nothing with core/.
 */

import {
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  readVirtio,
  requirePseudoSum,
  segmentsAt,
  setLengths,
  setTransportChecksum,
  type VirtioHeader,
} from './nic.js';

/** struct virtio_net_hdr_v1_hash_tunnel. */
export const TUNNEL_HEADER = 24;
export const GSO_TUNNEL4 = 0x20;
export const GSO_TUNNEL6 = 0x40;
const DATA_VALID = 2;
export const TUNNEL_CSUM = 8;
const UDP = 17;
const UDP_HEADER = 8;
const VXLAN_HEADER = 8;
/** What the kernel means by another way of cutting (GSO_BY_FRAGS). */
const BY_FRAGMENTS = 0xffff;
/** gso_max_size, unless somebody has set a device's: what reaches it is cut before the device. */
const LONGEST = 65_536;

export interface TunnelHeader extends VirtioHeader {
  /** Type of the inner packet: without tunnel and ECN. */
  readonly type: number;
  readonly isOuterIpv6: boolean;
  readonly hasOuterChecksum: boolean;
  readonly outerL4: number;
  readonly innerL3: number;
}

/** @throws where there are none or both of the tunnel's bits, or what means nothing is not 0 */
function readTunnel(vnet: Uint8Array): TunnelHeader {
  if (vnet.length !== TUNNEL_HEADER) throw new Error(`a header of ${vnet.length} octets`);
  if (vnet.subarray(10, 20).some((octet) => octet !== 0)) throw new Error('number of buffers or hash is not 0');
  const header = readVirtio(vnet);
  const tunnel = header.type & (GSO_TUNNEL4 | GSO_TUNNEL6);
  if (tunnel === 0 || tunnel === (GSO_TUNNEL4 | GSO_TUNNEL6))
    throw new Error(`type ${header.type}: over neither, or both`);
  return {
    ...header,
    type: header.type - tunnel,
    isOuterIpv6: tunnel === GSO_TUNNEL6,
    hasOuterChecksum: (header.flags & TUNNEL_CSUM) !== 0,
    outerL4: vnet[20] + vnet[21] * 256,
    innerL3: vnet[22] + vnet[23] * 256,
  };
}

/** @throws where the kernel would refuse the frame, or could cut it wrongly */
function requireTunnel(frame: Uint8Array, header: TunnelHeader): void {
  const { type, flags, size, headerLength, start, offset, outerL4, innerL3 } = header;
  if (![GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4].includes(type)) throw new Error(`type ${type} inside`);
  if (header.isEcn && type === GSO_UDP_L4) throw new Error('CWR is of TCP');
  if ((flags & DATA_VALID) !== 0) throw new Error('verified, and yet to come');
  if (size === BY_FRAGMENTS) throw new Error('a size that stands for something else');
  if (headerLength > frame.length) throw new Error(`headers of ${headerLength} octets in ${frame.length}`);
  if (frame.length >= LONGEST) throw new Error(`${frame.length} octets are too many`);
  const isIpv6 = frame[12] === 0x86 && frame[13] === 0xdd;
  if (isIpv6 !== header.isOuterIpv6) throw new Error('the outer packet is of the other family');
  const outerHeaders = isIpv6 ? 54 : 34;
  if (outerL4 !== outerHeaders) throw new Error(`the outer UDP header is said to be at ${outerL4}`);
  if (frame[isIpv6 ? 20 : 23] !== UDP) throw new Error('the outer packet is not UDP');
  requireInnerAt(frame, innerL3, outerL4 + UDP_HEADER + VXLAN_HEADER);
  if (start < innerL3 + (frame[innerL3] >> 4 === 6 ? 40 : 20))
    throw new Error('the checksum begins in the inner IP header');
  const transport = type === GSO_UDP_L4 ? UDP_HEADER : 20;
  if (start + Math.max(transport, offset + 2) > frame.length)
    throw new Error('the transport header is behind the frame');
  requireOuterLengths(frame, outerL4, isIpv6);
  const field = frame[outerL4 + 6] * 256 + frame[outerL4 + 7];
  if (header.hasOuterChecksum) requirePseudoSum(frame, 14, outerL4, UDP, { start: outerL4, offset: 6 });
  else if (field !== 0) throw new Error(`an outer checksum of ${field} that nobody completes`);
}

/** The inner IP header is right behind an Ethernet header with whatever tags, which begins at `from`. */
function requireInnerAt(frame: Uint8Array, innerL3: number, from: number): void {
  let at = from + 12;
  while (frame[at] === 0x81 || frame[at] === 0x88) at += 4;
  const type = frame[at] * 256 + frame[at + 1];
  if (innerL3 !== at + 2) throw new Error(`the inner IP header is said to be at ${innerL3}, and is at ${at + 2}`);
  if (type !== (frame[innerL3] >> 4 === 6 ? 0x86dd : 0x0800)) throw new Error(`EtherType ${type.toString(16)} inside`);
}

/** They are those of the whole: whoever gets it uncut reads them. */
function requireOuterLengths(frame: Uint8Array, outerL4: number, isIpv6: boolean): void {
  const word = (at: number): number => frame[at] * 256 + frame[at + 1];
  const expected = isIpv6 ? frame.length - 54 : frame.length - 14;
  if (word(isIpv6 ? 18 : 16) !== expected) throw new Error('the outer IP length is not that of the whole');
  if (word(outerL4 + 4) !== frame.length - outerL4) throw new Error('the outer UDP length is not that of the whole');
}

/** Frames of the wire: each segment behind the outer headers. @throws where the kernel would refuse the frame, or could cut it wrongly */
export function tunnelFrames({ frame, vnet }: { readonly frame: Uint8Array; readonly vnet: Uint8Array }): Uint8Array[] {
  const header = readTunnel(vnet);
  requireTunnel(frame, header);
  const segments = segmentsAt(frame, header, header.innerL3);
  if (segments.length < 2) throw new Error('what is in one piece already needs no cutting');
  for (const [i, segment] of segments.entries()) {
    setLengths(segment, frame, 14, header.outerL4, false, i);
    if (header.hasOuterChecksum) setTransportChecksum(segment, 14, header.outerL4, UDP);
  }
  return segments;
}

/**
 * As AF_PACKET hands it over where it arrives uncut: its header has no words for tunnels (net/packet/af_packet.c, packet_rcv_vnet).
 * @throws as `tunnelFrames`
 */
export function handedOver({ frame, vnet }: { readonly frame: Uint8Array; readonly vnet: Uint8Array }): Uint8Array {
  tunnelFrames({ frame, vnet });
  const bytes = vnet.slice(0, 10);
  bytes[0] &= ~TUNNEL_CSUM;
  bytes[1] &= ~(GSO_TUNNEL4 | GSO_TUNNEL6);
  return bytes;
}
