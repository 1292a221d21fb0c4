/** IPv4 header (RFC 791, 3.1). Offsets count from the header; addresses are int32 in host arithmetic. */

export const IPV4_VERSION_IHL = 0;
export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_IDENTIFICATION = 4;
export const IPV4_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SOURCE = 12;
export const IPV4_DESTINATION = 16;
/** Header without options. */
export const IPV4_HEADER_LENGTH = 20;
/** Header with as many options as its length field can count. */
export const IPV4_HEADER_LENGTH_MAXIMUM = 60;

/** Masks for the 16 bits at IPV4_FRAGMENT. The offset counts 8 octets. */
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;
export const IPV4_OFFSET_UNIT = 8;
/** What the total length counts to; a datagram is no longer whole than a fragment may be. */
export const IPV4_MAX_LENGTH = 65535;

/** Options (3.1): type, then, but for the first two, the length of the whole option. */
export const IPV4_OPTION_END = 0;
export const IPV4_OPTION_NO_OPERATION = 1;
export const IPV4_OPTION_RECORD_ROUTE = 7;
export const IPV4_OPTION_TIMESTAMP = 68;
export const IPV4_OPTION_LOOSE_SOURCE_ROUTE = 131;
export const IPV4_OPTION_STRICT_SOURCE_ROUTE = 137;
/** Flag in the type: the option goes into every fragment, and not into the first alone. */
export const IPV4_OPTION_COPIED = 0x80;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

/** IPv4's version in the upper half of the octet, header length in 32-bit words in the lower. */
export function ipv4VersionIhl(view: DataView, at: number): number {
  return view.getUint8(at + IPV4_VERSION_IHL);
}

/** Length of the header with its options, in bytes, as the packet says. */
export function ipv4HeaderLength(view: DataView, at: number): number {
  return (ipv4VersionIhl(view, at) & 0x0f) << 2;
}

/** Length of header and payload in bytes, as the packet says. */
export function ipv4TotalLength(view: DataView, at: number): number {
  return view.getUint16(at + IPV4_TOTAL_LENGTH);
}

/** Flags and fragment offset: see the masks above. */
export function ipv4Fragment(view: DataView, at: number): number {
  return view.getUint16(at + IPV4_FRAGMENT);
}

export function ipv4Ttl(view: DataView, at: number): number {
  return view.getUint8(at + IPV4_TTL);
}

export function ipv4Protocol(view: DataView, at: number): number {
  return view.getUint8(at + IPV4_PROTOCOL);
}

export function ipv4Source(view: DataView, at: number): number {
  return view.getInt32(at + IPV4_SOURCE);
}

export function ipv4Destination(view: DataView, at: number): number {
  return view.getInt32(at + IPV4_DESTINATION);
}

/** The word of TTL, protocol and checksum for a TTL of one less: the checksum grows by as much, end around (RFC 1624, 3). */
export function oneHopLess(word: number): number {
  const checksum = (word & 0xffff) + 0x0100;
  return ((word & (0xffff0000 | 0)) - 0x01000000) | ((checksum + (checksum >= 0xffff ? 1 : 0)) & 0xffff);
}
