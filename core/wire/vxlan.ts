/** VXLAN header (RFC 7348, 5; group policy: draft-smith-vxlan-group-policy, 2.1; GPE: draft-ietf-nvo3-vxlan-gpe, 3). Offsets count from it. */

/** First word: flags in the first octet, group policy tag in the last two. */
export const VXLAN_FLAGS = 0;
/** Second word: VNI in the first three octets, the last one is reserved. */
export const VXLAN_VNI = 4;
export const VXLAN_HEADER_LENGTH = 8;
/** Port that IANA assigned. */
export const VXLAN_PORT = 4789;
export const MAX_VNI = 0xffffff;

/** Flags, in the first word. */
export const VXLAN_FLAG_VNI = 0x08000000;
/** G: the last two octets are a group policy tag. */
export const VXLAN_FLAG_GBP = 0x80000000 | 0;

/** Of GPE: version 0 (its two bits), and P, which says that the first word's last octet is the number of the next protocol. */
const GPE_FLAGS = 0x3c;
const GPE_NEXT_PROTOCOL = 0x0c;
/** IPv4, IPv6, Ethernet, NSH, and MPLS. */
const GPE_LAST_PROTOCOL = 5;

/**
 * Whether the first word is one of VXLAN-GPE: version 0, VNI and next protocol there, the reserved octets zero, and a protocol that there is.
 * Any of these bits alone is to be ignored (RFC 7348, 5), so nothing less will do.
 */
export function isGpe(first: number): boolean {
  const protocol = first & 0xff;
  if (((first >>> 24) & GPE_FLAGS) !== GPE_NEXT_PROTOCOL || (first & 0xffff00) !== 0) return false;
  return protocol >= 1 && protocol <= GPE_LAST_PROTOCOL;
}
