/** ICMP (RFC 792). Offsets count from the ICMP header; every message has eight octets at least. */

export const ICMP_TYPE = 0;
export const ICMP_CODE = 1;
export const ICMP_CHECKSUM = 2;
export const ICMP_HEADER_LENGTH = 8;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO_REQUEST = 8;
/** RFC 1256. */
export const ICMP_ROUTER_ADVERTISEMENT = 9;
export const ICMP_TIME_EXCEEDED = 11;

export function icmpType(view: DataView, at: number): number {
  return view.getUint8(at + ICMP_TYPE);
}

export function icmpCode(view: DataView, at: number): number {
  return view.getUint8(at + ICMP_CODE);
}
