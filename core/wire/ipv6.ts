/**
 * IPv6 header and extension headers (RFC 8200, 3 and 4). Offsets count from the header. An address is read as four int32
 * words at IPV6_SOURCE or IPV6_DESTINATION.
 */

export const IPV6_VERSION = 0;
export const IPV6_PAYLOAD_LENGTH = 4;
export const IPV6_NEXT_HEADER = 6;
export const IPV6_HOP_LIMIT = 7;
export const IPV6_SOURCE = 8;
export const IPV6_DESTINATION = 24;
export const IPV6_HEADER_LENGTH = 40;

/** Next-header numbers of extension headers that a parse walks past (RFC 8200, 4.1; RFC 4302 for AH). */
export const IPV6_HOP_BY_HOP = 0;
export const IPV6_ROUTING = 43;
export const IPV6_FRAGMENT = 44;
export const IPV6_AUTHENTICATION = 51;
export const IPV6_NO_NEXT_HEADER = 59;
export const IPV6_DESTINATION_OPTIONS = 60;

/** Every extension header is at least this long and begins with the next header's number; most have their length behind it. */
export const IPV6_EXTENSION_UNIT = 8;
/** Offsets inside a fragment header (RFC 8200, 4.5): offset in 8 octets in the upper 13 bits, M flag in the lowest. */
export const IPV6_FRAGMENT_FIELD = 2;
export const IPV6_FRAGMENT_IDENTIFICATION = 4;
export const IPV6_FRAGMENT_OFFSET_MASK = 0xfff8;
export const IPV6_FRAGMENT_MORE = 1;

export function ipv6Version(view: DataView, at: number): number {
  return view.getUint8(at + IPV6_VERSION) >> 4;
}

/** Length of all behind the fixed header, in bytes, as the packet says. */
export function ipv6PayloadLength(view: DataView, at: number): number {
  return view.getUint16(at + IPV6_PAYLOAD_LENGTH);
}

export function ipv6NextHeader(view: DataView, at: number): number {
  return view.getUint8(at + IPV6_NEXT_HEADER);
}

export function ipv6HopLimit(view: DataView, at: number): number {
  return view.getUint8(at + IPV6_HOP_LIMIT);
}

/** Whether a next-header number is one of the extension headers above; ESP hides what follows it, so it is not. */
export function isIpv6Extension(nextHeader: number): boolean {
  return (
    nextHeader === IPV6_HOP_BY_HOP ||
    nextHeader === IPV6_ROUTING ||
    nextHeader === IPV6_FRAGMENT ||
    nextHeader === IPV6_AUTHENTICATION ||
    nextHeader === IPV6_DESTINATION_OPTIONS
  );
}

/**
 * Length in bytes of the extension header of kind `kind` at `at`, as it says itself. Eight octets at `at` must be readable.
 * A fragment header has no length field; AH counts in 4 octets less two (RFC 4302, 2.2), the rest in 8 less one.
 */
export function ipv6ExtensionLength(view: DataView, at: number, kind: number): number {
  if (kind === IPV6_FRAGMENT) return IPV6_EXTENSION_UNIT;
  const length = view.getUint8(at + 1);
  return kind === IPV6_AUTHENTICATION ? (length + 2) << 2 : (length + 1) << 3;
}

/** Offset and M flag of the fragment header at `at`: see the masks above. */
export function ipv6FragmentField(view: DataView, at: number): number {
  return view.getUint16(at + IPV6_FRAGMENT_FIELD);
}

/** Writes an address at `at`, as four int32 words. */
export function setIpv6Address(view: DataView, at: number, a: number, b: number, c: number, d: number): void {
  view.setInt32(at, a);
  view.setInt32(at + 4, b);
  view.setInt32(at + 8, c);
  view.setInt32(at + 12, d);
}

/** First word of fe80::/64, the only link-local prefix in use (RFC 4291, 2.5.6). */
export const LINK_LOCAL = 0xfe800000 | 0;

/** The link-local address that follows from a MAC: four words, fe80::/64 and the modified EUI-64 (RFC 4291, appendix A). */
export function linkLocalOf(macHigh: number, macLow: number): Int32Array {
  return Int32Array.of(LINK_LOCAL, 0, identifierUpper(macHigh, macLow), identifierLower(macLow));
}

/** The two words of the modified EUI-64. */
export function identifierUpper(macHigh: number, macLow: number): number {
  return ((macHigh ^ 0x0200) << 16) | ((macLow >>> 16) & 0xff00) | 0xff;
}

export function identifierLower(macLow: number): number {
  return (0xfe << 24) | (macLow & 0x00ffffff);
}
