/** UDP header (RFC 768). Offsets count from the header. */

export const UDP_SOURCE_PORT = 0;
export const UDP_DESTINATION_PORT = 2;
export const UDP_LENGTH = 4;
/** 0 means "no checksum" (IPv4 only); a checksum that comes out as 0 is sent as 0xffff. */
export const UDP_CHECKSUM = 6;
export const UDP_HEADER_LENGTH = 8;

/** Length of header and payload in bytes, as the datagram says. 0 over IPv6: to the end of the packet (RFC 2675, 4). */
export function udpLength(view: DataView, at: number): number {
  return view.getUint16(at + UDP_LENGTH);
}
