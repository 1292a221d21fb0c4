/** Coalescing (GRO). */

import type { Arena } from '../packet/arena.js';
import type { Packet } from '../packet/packet.js';

export const COALESCE_NONE = 0;
export const COALESCE_TCP = 1;
export const COALESCE_ALL = 2;

export interface CoalescerSink {
  coalesced(packet: Packet): void;
}

export class Coalescer {
  held = 0;
  private readonly sink: CoalescerSink;

  constructor(_arena: Arena, sink: CoalescerSink) {
    this.sink = sink;
  }

  add(packet: Packet, _what: number): void {
    this.sink.coalesced(packet);
  }

  flush(): void {}
}
