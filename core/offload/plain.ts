/**
 * Frames for a port that takes no offload: super-packets are cut, and checksums finished, before they leave. It costs a crossing into the kernel
 * and a sum for each segment.
 */

import { DROP_NONE } from '../drop.js';
import type { Arena } from '../packet/arena.js';
import { completeChecksum } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { VNET_GSO_NONE } from '../packet/vnet.js';
import { parse } from '../wire/parse.js';
import { Segmenter, segmentIntoSlots } from './segment.js';

/** Segments that one super-packet can become: 65,535 bytes in pieces of 48. */
const MAX_SEGMENTS = 1400;

export class PlainFrames {
  /** After `make`: slots of the frames, each with one reference, the caller's. */
  readonly slots = new Int32Array(MAX_SEGMENTS);
  private readonly arena: Arena;
  private readonly segmenter: Segmenter;

  constructor(arena: Arena) {
    this.arena = arena;
    this.segmenter = new Segmenter(arena);
  }

  /**
   * Takes over the reference on the packet's slot, unless it fails. A checksum is finished in place: whoever else holds the slot sends the same
   * packet.
   * @returns how many frames; -1 with `packet.reason`
   */
  make(packet: Packet): number {
    packet.reason = DROP_NONE;
    if (packet.gsoType === VNET_GSO_NONE) {
      completeChecksum(this.arena, packet);
      this.slots[0] = packet.slot;
      return 1;
    }
    // Stages before have moved headers, or made the packet: of what was parsed nothing is sure.
    parse(this.arena, packet);
    const count = segmentIntoSlots(this.arena, this.segmenter, packet, this.slots);
    if (count >= 0) this.arena.release(packet.slot);
    return count;
  }
}
