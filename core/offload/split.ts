/**
 * Bundles taken apart: several whole Ethernet frames that came in one slot, as a tunnel's UDP super-packet brings them. Those that follow
 * each other in a flow are merged where they stand: the first stays in its place, and the payloads of the others move down to it.
 */

import { type Arena, MAX_FRAME_LENGTH, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../packet/arena.js';
import type { Packet } from '../packet/packet.js';
import { clearVnetHeader } from '../packet/vnet.js';
import { type Coalescer, FRAME_HELD, FRAME_MERGED } from './coalesce.js';

export class Splitter {
  private readonly arena: Arena;
  private readonly coalescer: Coalescer;

  constructor(arena: Arena, coalescer: Coalescer) {
    this.arena = arena;
    this.coalescer = coalescer;
  }

  /**
   * Takes over a slot with frames in a row, frame i at `first` + i * `stride`, and hands each to the coalescer, or in the end to its
   * sink, with `packet.port` and no offload of its own. All frames but the last are `stride` - `prefix` bytes long. The VNET_HEADER_LENGTH
   * bytes before a frame are overwritten.
   *
   * The first frame that is merged with none before it stays in the slot; every other one that does gets a slot of its own. Nothing is
   * handed on before all frames are read.
   *
   * @param first absolute offset, at least VNET_HEADER_LENGTH behind the slot's beginning
   * @param stride larger than `prefix`; else all is one lost frame
   * @param end absolute offset; where the last frame ends
   * @param what COALESCE_TCP and so on
   * @returns number of frames that found no slot, and were dropped
   */
  split(packet: Packet, first: number, stride: number, prefix: number, end: number, what: number): number {
    const { coalescer } = this;
    const { port, slot } = packet;
    const length = stride - prefix;
    if (length <= 0) {
      this.arena.release(slot);
      return 1;
    }
    let isSlotFree = true;
    let lost = 0;
    coalescer.beginSplit();
    for (let at = first; at < end; at += stride) {
      const frameEnd = at + length < end ? at + length : end;
      if (coalescer.isFull) {
        lost++;
        continue;
      }
      const verdict = coalescer.offer(at, frameEnd - at, port, 0, 0, 0, what);
      if (verdict === FRAME_MERGED) {
        coalescer.settle(verdict, null);
        continue;
      }
      const staysHere = isSlotFree && (verdict !== FRAME_HELD || hasRoom(slot, at));
      const frame = staysHere ? this.leave(packet, at, frameEnd - at) : this.copy(port, at, frameEnd - at);
      if (staysHere) isSlotFree = false;
      if (frame === null) lost++;
      coalescer.settle(verdict, frame);
    }
    if (isSlotFree) this.arena.release(slot);
    coalescer.endSplit();
    return lost;
  }

  /** Makes the frame that stands in the slot the slot's own. */
  private leave(packet: Packet, at: number, length: number): Packet {
    packet.start = at;
    packet.length = length;
    clearVnetHeader(this.arena, packet);
    return packet;
  }

  /** @returns null where no slot is free */
  private copy(port: number, at: number, length: number): Packet | null {
    const { arena } = this;
    const slot = arena.allocate();
    if (slot < 0) return null;
    const packet = arena.packets[slot];
    packet.start = arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
    packet.length = length;
    packet.port = port;
    arena.bytes.copyWithin(packet.start, at, at + length);
    clearVnetHeader(arena, packet);
    return packet;
  }
}

/** Whether a packet that begins here may grow to its full length. */
function hasRoom(slot: number, at: number): boolean {
  return at + MAX_FRAME_LENGTH <= (slot + 1) * SLOT_STRIDE;
}
