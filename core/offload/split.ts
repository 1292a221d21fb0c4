/** Frames in a row taken apart. */

import { beginFrame } from '../originate.js';
import type { Arena } from '../packet/arena.js';
import type { Packet } from '../packet/packet.js';
import type { Coalescer, CoalescerSink } from './coalesce.js';

export class Splitter {
  private readonly arena: Arena;
  private readonly sink: CoalescerSink;

  constructor(arena: Arena, _coalescer: Coalescer, sink: CoalescerSink) {
    this.arena = arena;
    this.sink = sink;
  }

  split(packet: Packet, first: number, stride: number, prefix: number, end: number, _what: number): number {
    let lost = 0;
    for (let at = first; at < end; at += stride) {
      const length = Math.min(stride - prefix, end - at);
      const frame = beginFrame(this.arena, packet.port);
      if (frame === null) {
        lost++;
        continue;
      }
      this.arena.bytes.copyWithin(frame.start, at, at + length);
      frame.length = length;
      this.sink.coalesced(frame);
    }
    this.arena.release(packet.slot);
    return lost;
  }
}
