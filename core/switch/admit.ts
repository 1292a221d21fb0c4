/** First stage of the bridge: frames that no bridge forwards (IEEE 802.1D-2004, 7.8 and 7.12.6; IEEE 802.1Q-2022, table 9-2). */

import { DROP_RESERVED_MULTICAST, DROP_SOURCE_MULTICAST, DROP_VLAN_RESERVED } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import { CONTINUE, DROP } from '../verdict.js';
import { VLAN_ID_MASK, VLAN_ID_RESERVED } from '../wire/vlan.js';

/** First two octets of a MAC, 16 bits: the group bit is the lowest of the first octet. */
const GROUP_BIT = 0x0100;
/** 01-80-C2-00-00-00 to -0F: reserved for protocols between neighbors on one link. */
const RESERVED_HIGH = 0x0180;
const RESERVED_LOW = 0xc2000000 | 0;

export function admit(packet: Packet): number {
  if ((packet.srcHigh & GROUP_BIT) !== 0) {
    packet.reason = DROP_SOURCE_MULTICAST;
    return DROP;
  }
  if (packet.dstHigh === RESERVED_HIGH && (packet.dstLow & ~0x0f) === RESERVED_LOW) {
    packet.reason = DROP_RESERVED_MULTICAST;
    return DROP;
  }
  if ((packet.vlan & VLAN_ID_MASK) === VLAN_ID_RESERVED && packet.vlan !== -1) {
    packet.reason = DROP_VLAN_RESERVED;
    return DROP;
  }
  return CONTINUE;
}

/** Whether the destination is a group address, broadcast included. */
export function isGroupDestination(packet: Packet): boolean {
  return (packet.dstHigh & GROUP_BIT) !== 0;
}

export function isBroadcast(packet: Packet): boolean {
  return packet.dstLow === -1 && packet.dstHigh === 0xffff;
}
