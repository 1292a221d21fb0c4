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
export const ETHERTYPE_RARP = 0x8035;
export const ETHERTYPE_IPV6 = 0x86dd;

/** Protocols between bridges, or between a bridge and its neighbor on the link. */
export const ETHERTYPE_MSRP = 0x22ea;
export const ETHERTYPE_MAC_CONTROL = 0x8808;
export const ETHERTYPE_SLOW_PROTOCOLS = 0x8809;
export const ETHERTYPE_EAPOL = 0x888e;
export const ETHERTYPE_LLDP = 0x88cc;
/** Media redundancy, rings (IEC 62439-2). */
export const ETHERTYPE_MEDIA_REDUNDANCY = 0x88e3;
export const ETHERTYPE_MVRP = 0x88f5;
export const ETHERTYPE_MMRP = 0x88f6;
/** Connectivity fault management and ring protection (IEEE 802.1Q-2022, 18; ITU-T G.8032). */
export const ETHERTYPE_CFM = 0x8902;

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

/** Writes an Ethernet header at `at`: destination, source, EtherType. */
export function setEthernetHeader(
  view: DataView,
  at: number,
  toHigh: number,
  toLow: number,
  fromHigh: number,
  fromLow: number,
  etherType: number,
): void {
  setMac(view, at + ETHERNET_DESTINATION, toHigh, toLow);
  setMac(view, at + ETHERNET_SOURCE, fromHigh, fromLow);
  view.setUint16(at + ETHERNET_TYPE, etherType);
}

/** Writes a MAC address at `at`. */
export function setMac(view: DataView, at: number, high: number, low: number): void {
  view.setUint16(at, high);
  view.setInt32(at + MAC_LOW, low);
}
