/** What the router's parts need of the whole; router.ts provides it. */

import type { EventList } from '../events.js';
import type { Arena } from '../packet/arena.js';
import type { Packet } from '../packet/packet.js';
import type { RouterInterface } from './interface.js';

export interface RouterContext {
  readonly arena: Arena;
  readonly events: EventList;
  /** Seconds and milliseconds (int32, wraps), read once a batch. */
  readonly now: number;
  readonly milliseconds: number;
  /** A slot's handle with `start` set behind the headroom, to fill with an untagged frame of the router's own; null: no slot is free. */
  begin(): Packet | null;
  /** Sends such a frame, Ethernet header included and `length` set, out of an interface. Takes over the slot, counts it as originated. */
  sendFrame(packet: Packet, iface: RouterInterface): void;
  /** Routes a packet anew that has waited, unchanged, for its next hop's MAC. Takes over the slot. */
  resume(packet: Packet): void;
  /** Gives up a packet that has waited: answers with ICMP where that is due, counts the reason, releases the slot. */
  giveUp(packet: Packet, reason: number): void;
}
