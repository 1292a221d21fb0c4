/** Messages that only multicast routers send, and by which switches find out where they are (RFC 4541, 2.1.1). */

export const PROTOCOL_IGMP = 2;
/** PIM (RFC 7761, 4.9), over IPv4 and IPv6. */
export const PROTOCOL_PIM = 103;

/** IGMP (RFC 3376, 4; RFC 4286, 3 for the last two). The type is the first octet. */
const IGMP_QUERY = 0x11;
const IGMP_DVMRP = 0x13;
const IGMP_PIM_V1 = 0x14;
const IGMP_ROUTER_ADVERTISEMENT = 0x30;
const IGMP_ROUTER_TERMINATION = 0x32;

/** ICMPv6 types (RFC 3810, 5.1; RFC 4286, 3). */
const MLD_QUERY = 130;
const MRD_ADVERTISEMENT = 151;
const MRD_TERMINATION = 153;

/** Whether an IGMP type is a router's. */
export function isIgmpFromRouter(type: number): boolean {
  return (
    type === IGMP_QUERY ||
    type === IGMP_DVMRP ||
    type === IGMP_PIM_V1 ||
    type === IGMP_ROUTER_ADVERTISEMENT ||
    type === IGMP_ROUTER_TERMINATION
  );
}

/** Whether an ICMPv6 type is a multicast router's. */
export function isMldFromRouter(type: number): boolean {
  return type === MLD_QUERY || type === MRD_ADVERTISEMENT || type === MRD_TERMINATION;
}
