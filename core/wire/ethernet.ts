/**
 * Ethernet header (IEEE 802.3-2022, 3.2): destination 6 octets, source 6, EtherType or length 2. No preamble, no FCS: the
 * kernel gives frames without them.
 *
 * A MAC address is kept as two integers: `high`, the first two octets (unsigned, 16 bits), and `low`, the last four (int32).
 */

export const ETHERNET_DESTINATION = 0;
export const ETHERNET_SOURCE = 6;
export const ETHERNET_TYPE = 12;
export const ETHERNET_HEADER_LENGTH = 14;

/** Smallest EtherType; a value below is the length of an 802.3 frame (IEEE 802.3-2022, 3.2.6). */
export const ETHERTYPE_MINIMUM = 0x0600;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

/** Offset of the last four octets in a MAC address. */
export const MAC_LOW = 2;

/** First two octets of the MAC address at `at`. */
export function macHigh(view: DataView, at: number): number {
  return view.getUint16(at);
}

/** Last four octets of the MAC address at `at`, as int32. */
export function macLow(view: DataView, at: number): number {
  return view.getInt32(at + MAC_LOW);
}

/** Writes a MAC address at `at`. */
export function setMac(view: DataView, at: number, high: number, low: number): void {
  view.setUint16(at, high);
  view.setInt32(at + MAC_LOW, low);
}
