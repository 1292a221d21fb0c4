/** TCP header (RFC 9293, 3.1). Offsets count from the header. */

export const TCP_SOURCE_PORT = 0;
export const TCP_DESTINATION_PORT = 2;
export const TCP_SEQUENCE = 4;
export const TCP_ACKNOWLEDGMENT = 8;
export const TCP_DATA_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;
/** Header without options. */
export const TCP_HEADER_LENGTH = 20;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;
/** Congestion window reduced (RFC 3168, 6.1). */
export const TCP_CWR = 0x80;

/** Length of the header with its options, in bytes, as the segment says. */
export function tcpHeaderLength(view: DataView, at: number): number {
  return (view.getUint8(at + TCP_DATA_OFFSET) >> 4) << 2;
}

export function tcpFlags(view: DataView, at: number): number {
  return view.getUint8(at + TCP_FLAGS);
}

const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_WINDOW_SCALE = 3;
const OPTION_WINDOW_SCALE_LENGTH = 3;
/** Largest there is; what is above counts as this (RFC 7323, 2.3). */
const WINDOW_SCALE_MAXIMUM = 14;

/** The scale that a SYN offers (RFC 7323, 2.2), or -1. Precondition: the header with its options is inside the frame. */
export function tcpWindowScale(view: DataView, at: number): number {
  const end = at + tcpHeaderLength(view, at);
  let option = at + TCP_HEADER_LENGTH;
  while (option < end) {
    const kind = view.getUint8(option);
    if (kind === OPTION_END) return -1;
    if (kind === OPTION_NOTHING) {
      option++;
      continue;
    }
    const length = option + 1 < end ? view.getUint8(option + 1) : 0;
    if (length < 2 || option + length > end) return -1;
    if (kind === OPTION_WINDOW_SCALE && length === OPTION_WINDOW_SCALE_LENGTH) {
      return Math.min(WINDOW_SCALE_MAXIMUM, view.getUint8(option + 2));
    }
    option += length;
  }
  return -1;
}
