/** A coalescer whose packets are taken down, and frames to give it. */

import { Coalescer, type CoalescerSink } from '../../../core/offload/coalesce.js';
import { Segmenter, segmentIntoSlots } from '../../../core/offload/segment.js';
import { Splitter } from '../../../core/offload/split.js';
import { type Arena, SLOT_STRIDE } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { readVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';
import { bytesOf, load, makeArena, NO_OFFLOAD, type VnetSpec, vnetOf } from './packets.js';

/** A packet as the sink got it: bytes in hexadecimal, so that they compare and print. */
export interface Taken {
  bytes: string;
  vnet: VnetSpec;
  port: number;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function taken(bytes: Uint8Array, vnet: VnetSpec = NO_OFFLOAD, port = 1): Taken {
  return { bytes: hex(bytes), vnet, port };
}

/** What stands before each frame of a bundle. */
const PREFIX = 8;

export class Lab implements CoalescerSink {
  readonly arena: Arena;
  readonly coalescer: Coalescer;
  readonly splitter: Splitter;
  readonly got: Taken[] = [];
  /** Called with each packet before its slot is given back. */
  onPacket: ((packet: Packet) => void) | null = null;
  private readonly segmenter: Segmenter;

  constructor(slots = 300) {
    this.arena = makeArena(slots);
    this.coalescer = new Coalescer(this.arena, this);
    this.splitter = new Splitter(this.arena, this.coalescer);
    this.segmenter = new Segmenter(this.arena);
  }

  coalesced(packet: Packet): void {
    const { arena } = this;
    if (arena.referenceCount(packet.slot) !== 1) throw new Error(`slot ${packet.slot} has not one reference`);
    if (packet.start + packet.length > (packet.slot + 1) * SLOT_STRIDE) throw new Error('longer than its slot');
    const said = vnetOf(packet);
    readVnetHeader(arena, packet);
    if (JSON.stringify(said) !== JSON.stringify(vnetOf(packet))) throw new Error('handle and memory disagree');
    this.got.push(taken(bytesOf(arena, packet), said, packet.port));
    this.onPacket?.(packet);
    arena.release(packet.slot);
  }

  give(frame: Uint8Array, what: number, vnet: VnetSpec = NO_OFFLOAD, port = 1): void {
    this.coalescer.add(load(this.arena, frame, vnet, port), what);
  }

  /** Gives the frames in one slot, in a row; all but the last are as long as the first. */
  giveBundle(frames: readonly Uint8Array[], what: number, port = 1): number {
    const parts = frames.flatMap((frame) => [new Uint8Array(PREFIX).fill(0x5a), frame]);
    const packet = load(this.arena, Buffer.concat(parts), NO_OFFLOAD, port);
    const stride = PREFIX + frames[0].length;
    const end = packet.start + packet.length;
    return this.splitter.split(packet, packet.start + PREFIX, stride, PREFIX, end, what);
  }

  /** What has come out since the last time, all that is held included; every slot is free again. */
  flush(): Taken[] {
    this.coalescer.flush();
    if (this.coalescer.held !== 0) throw new Error(`${this.coalescer.held} packets are still held`);
    const { available, slotCount } = this.arena;
    if (available !== slotCount) throw new Error(`${slotCount - available} slots are lost`);
    return this.got.splice(0);
  }

  /** The segments of a GSO packet. */
  cut(frame: Uint8Array, vnet: VnetSpec): Uint8Array[] {
    const { arena } = this;
    const packet = load(arena, frame, vnet);
    parse(arena, packet);
    const slots = new Int32Array(arena.slotCount);
    const count = segmentIntoSlots(arena, this.segmenter, packet, slots);
    if (count < 0) throw new Error('the packet cannot be cut');
    arena.release(packet.slot);
    return Array.from(slots.subarray(0, count), (slot) => {
      arena.release(slot);
      return bytesOf(arena, arena.packets[slot]);
    });
  }
}
