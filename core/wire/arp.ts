/**
 * ARP for IPv4 over Ethernet (RFC 826): hardware type 2 octets, protocol 2, hardware length 1, protocol length 1, operation 2,
 * then MAC and IPv4 address of the sender, MAC and IPv4 address of the target. Offsets count from the ARP header.
 */

export const ARP_HARDWARE_TYPE = 0;
export const ARP_PROTOCOL_TYPE = 2;
export const ARP_HARDWARE_LENGTH = 4;
export const ARP_PROTOCOL_LENGTH = 5;
export const ARP_OPERATION = 6;
export const ARP_SENDER_MAC = 8;
export const ARP_SENDER_ADDRESS = 14;
export const ARP_TARGET_MAC = 18;
export const ARP_TARGET_ADDRESS = 24;
/** Whole length for Ethernet and IPv4. */
export const ARP_LENGTH = 28;

export const ARP_HARDWARE_ETHERNET = 1;
/** IEEE 802 networks; Linux takes it on Ethernet for the same thing (net/ipv4/arp.c, arp_process; RFC 1042). */
export const ARP_HARDWARE_IEEE802 = 6;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;
/** "Who am I": RARP (RFC 903), the same layout under an EtherType of its own. */
export const RARP_REQUEST = 3;

export function arpOperation(view: DataView, at: number): number {
  return view.getUint16(at + ARP_OPERATION);
}

/** Sender's IPv4 address, as int32. */
export function arpSender(view: DataView, at: number): number {
  return view.getInt32(at + ARP_SENDER_ADDRESS);
}

/** Target's IPv4 address, as int32. */
export function arpTarget(view: DataView, at: number): number {
  return view.getInt32(at + ARP_TARGET_ADDRESS);
}
