/** What a stage that decides returns. */

import type { Packet } from './packet/packet.js';

/** Undecided: the next stage goes on. */
export const CONTINUE = 0;
/** Send to `packet.outPort`. */
export const TO_PORT = 1;
/** Send to every other port of the network. */
export const FLOOD = 2;
/** Drop for `packet.reason`. */
export const DROP = 3;
/** Send to the ports that multicast snooping has listed (`Snooping.targets`). */
export const TO_GROUP = 4;
/** To the router: the frame is for its MAC. */
export const TO_ROUTER = 5;
/** Taken in: the dataplane itself was meant. The slot is given up, the packet counted as local. */
export const LOCAL = 6;
/** Somebody keeps the slot and will pass it on later. */
export const HELD = 7;
/** Routed, and nobody knows behind which port of the next network the MAC is. */
export const FLOOD_ROUTED = 8;

/** A VXLAN packet for a VTEP of ours: what is inside goes its way. */
export const TO_TUNNEL = 9;

/** The verdict that drops a packet for a reason. */
export function refuse(packet: Packet, reason: number): number {
  packet.reason = reason;
  return DROP;
}
