/**
 * Frames with a length instead of an EtherType (IEEE 802.3-2022, 3.2.6): LLC (IEEE 802.2) with DSAP, SSAP and control, one octet
 * each, and SNAP (IEEE 802-2014, 9.2) with an OUI of three octets and a protocol number of two. Offsets count from the DSAP.
 */

export const LLC_DSAP = 0;
export const LLC_LENGTH = 3;
/** The lowest bit of a SAP says group or response, not who it is. */
export const LLC_SAP_MASK = 0xfe;

/** Spanning tree, and GARP (GVRP, GMRP). */
export const LLC_SAP_BRIDGE = 0x42;
/** IPv4 straight on LLC (RFC 948). */
export const LLC_SAP_IP = 0x06;
export const LLC_SAP_SNAP = 0xaa;

/** The control octet and the OUI in one 32-bit load. */
export const SNAP_CONTROL_OUI = 2;
export const SNAP_OUI_MASK = 0x00ffffff;
export const SNAP_TYPE = 6;
export const SNAP_LENGTH = 8;

/** An EtherType follows (RFC 1042); the second is for those that a bridge tunnels (IEEE 802.1H). */
export const SNAP_OUI_ETHERNET = 0x000000;
export const SNAP_OUI_BRIDGE_TUNNEL = 0x0000f8;

/** Vendors whose SNAP numbers are discovery and spanning tree: CDP, VTP, DTP, UDLD, PVST+; EDP; FDP; SONMP. */
export const SNAP_OUI_CISCO = 0x00000c;
export const SNAP_OUI_EXTREME = 0x00e02b;
export const SNAP_OUI_FOUNDRY = 0x00e052;
export const SNAP_OUI_NORTEL = 0x000081;
