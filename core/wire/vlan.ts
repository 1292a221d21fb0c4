/**
 * VLAN tags (IEEE 802.1Q-2022, 9.3 to 9.6). A tag takes the place of the EtherType: TPID 2 octets, TCI 2, and the next
 * EtherType follows. TCI: priority 3 bits, drop eligible 1, VLAN identifier 12.
 */

/** Customer tag (802.1Q). */
export const VLAN_TPID_CUSTOMER = 0x8100;
/** Service tag (802.1ad, the outer one of QinQ). */
export const VLAN_TPID_SERVICE = 0x88a8;
/** Offsets from the TCI: the EtherType that the tag put off, and what follows it. */
export const VLAN_NEXT_TYPE = 2;
export const VLAN_TAG_LENGTH = 4;
export const VLAN_ID_MASK = 0x0fff;
/** Identifiers that name no VLAN: a tag for the priority only, and one that no frame may carry (IEEE 802.1Q-2022, table 9-2). */
export const VLAN_ID_PRIORITY = 0;
export const VLAN_ID_RESERVED = 0x0fff;
/** Identifiers are below this. */
export const VLAN_IDS = 4096;

/** Whether an EtherType opens a VLAN tag. The TPIDs that vendors used before 802.1ad (0x9100 and the like) do not count. */
export function isVlanType(etherType: number): boolean {
  return etherType === VLAN_TPID_CUSTOMER || etherType === VLAN_TPID_SERVICE;
}
