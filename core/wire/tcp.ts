/** TCP header (RFC 9293, 3.1). Offsets count from the header. */

export const TCP_SOURCE_PORT = 0;
export const TCP_DESTINATION_PORT = 2;
export const TCP_SEQUENCE = 4;
export const TCP_ACKNOWLEDGMENT = 8;
export const TCP_DATA_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_CHECKSUM = 16;
/** Header without options. */
export const TCP_HEADER_LENGTH = 20;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;

/** Length of the header with its options, in bytes, as the segment says. */
export function tcpHeaderLength(view: DataView, at: number): number {
  return (view.getUint8(at + TCP_DATA_OFFSET) >> 4) << 2;
}

export function tcpFlags(view: DataView, at: number): number {
  return view.getUint8(at + TCP_FLAGS);
}
