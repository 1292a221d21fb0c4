/** Puts a VLAN tag back that the kernel took out of a received frame and hands over beside it. */

import type { Arena } from '../core/packet/arena.js';
import type { Packet } from '../core/packet/packet.js';
import { insertTag } from '../core/packet/tag.js';

/** struct tpacket_auxdata (linux/if_packet.h): u32 status, len, snaplen; u16 mac, net, vlan_tci, vlan_tpid. */
export const AUXDATA_LENGTH = 20;
/** CMSG_SPACE(AUXDATA_LENGTH) on 64-bit machines: a 16-byte header, padded to 8. */
export const AUXDATA_SPACE = 40;
const CMSG_HEADER = 16;
const SOL_PACKET = 263;
const PACKET_AUXDATA = 8;
const STATUS_VLAN_VALID = 0x10;
const STATUS_VLAN_TPID_VALID = 0x40;
const TPID_8021Q = 0x8100;

/**
 * Inserts the tag that the control message at arena offset `control` names, if it names one. Moves the virtio-net header and the
 * two MAC addresses down into the headroom; the payload stays.
 * @param controlLength bytes of control data that the kernel wrote
 */
export function restoreVlanTag(arena: Arena, packet: Packet, control: number, controlLength: number): void {
  if (controlLength < CMSG_HEADER + AUXDATA_LENGTH || packet.length < 14) return;
  const view = arena.view;
  if (view.getInt32(control + 8, true) !== SOL_PACKET || view.getInt32(control + 12, true) !== PACKET_AUXDATA) return;
  const status = view.getInt32(control + CMSG_HEADER, true);
  if ((status & STATUS_VLAN_VALID) === 0) return;
  const tci = view.getUint16(control + CMSG_HEADER + 16, true);
  const tpid = (status & STATUS_VLAN_TPID_VALID) !== 0 ? view.getUint16(control + CMSG_HEADER + 18, true) : TPID_8021Q;
  insertTag(arena, packet, tpid, tci);
}
