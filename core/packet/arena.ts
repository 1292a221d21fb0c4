/**
 * The arena: one memory region cut into slots of equal size, and for each slot a reference count and a packet handle.
 *
 *   slot    0             RECEIVE_OFFSET   frame                                   SLOT_STRIDE
 *           | headroom    | [port header]  | virtio-net | Ethernet frame | tailroom |
 *
 * The kernel reads into `receiveAddress(slot)` and writes out of the same slot: user space copies no payload.
 *
 * Ownership: whoever holds a reference either passes it on (transmits) or releases it. A slot with no reference is on
 * the free list. The free list is LIFO, so a steady load keeps touching the same few pages.
 */

import { Packet } from './packet.js';

/** struct virtio_net_hdr without num_buffers (linux/virtio_net.h); what TAP and PACKET_VNET_HDR use by default. */
export const VNET_HEADER_LENGTH = 10;

/**
 * Where the kernel starts to fill a slot: a multiple of 8, and such that the IP header of an untagged frame (this + 10 + 14)
 * is 8-aligned. Everything before is headroom: VXLAN over IPv6 with two VLAN tags needs 14 + 8 + 40 + 8 + 8 = 78 bytes, plus
 * 24 for the longest virtio-net header in front.
 */
export const RECEIVE_OFFSET = 136;

/** Longest frame: a 65,535-byte IP packet behind an Ethernet header with two VLAN tags. */
export const MAX_FRAME_LENGTH = 65535 + 14 + 8;

/**
 * Bytes that the kernel may fill: a port's own header (io_uring's recvmsg prefix, at most 64), virtio-net header, frame.
 * One byte more than the longest frame, so that a longer one is seen as such.
 */
export const RECEIVE_LENGTH = 64 + VNET_HEADER_LENGTH + MAX_FRAME_LENGTH + 1;

/**
 * Bytes a slot. An odd multiple of 64: with a multiple of the page size the headers of all slots would fall into the same
 * few cache sets. Leaves about 1.8 KB of tailroom.
 */
export const SLOT_STRIDE = 1057 * 64;

export class Arena {
  /** The whole region; index with a packet's absolute offsets. */
  readonly bytes: Uint8Array;
  /** The same memory for big-endian 16- and 32-bit loads. */
  readonly view: DataView;
  /** One handle a slot. */
  readonly packets: Packet[];
  readonly slotCount: number;

  private readonly references: Int32Array;
  private readonly freeList: Int32Array;
  private freeCount = 0;

  /**
   * @param memory the region; its byteLength decides the number of slots (SLOT_STRIDE bytes each)
   * @throws RangeError where it is smaller than one slot
   */
  constructor(memory: ArrayBuffer) {
    this.slotCount = Math.floor(memory.byteLength / SLOT_STRIDE);
    if (this.slotCount < 1) throw new RangeError(`arena: ${memory.byteLength} bytes hold no slot of ${SLOT_STRIDE}`);
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.references = new Int32Array(this.slotCount);
    this.freeList = new Int32Array(this.slotCount);
    this.packets = [];
    for (let slot = 0; slot < this.slotCount; slot++) this.packets.push(new Packet(slot));
    for (let slot = this.slotCount - 1; slot >= 0; slot--) this.freeList[this.freeCount++] = slot;
  }

  /** Slots on the free list. Back at `slotCount` when nothing is held or in flight: tests assert it after each scenario. */
  get available(): number {
    return this.freeCount;
  }

  /** Takes a free slot with one reference, the caller's. Returns -1 where there is none. */
  allocate(): number {
    if (this.freeCount === 0) return -1;
    const slot = this.freeList[--this.freeCount];
    this.references[slot] = 1;
    return slot;
  }

  /** Adds `count` references: the same slot is about to be sent to that many more places. */
  retain(slot: number, count: number): void {
    this.references[slot] += count;
  }

  /** Gives one reference back; the last one frees the slot. */
  release(slot: number): void {
    const left = this.references[slot] - 1;
    this.references[slot] = left;
    if (left === 0) this.freeList[this.freeCount++] = slot;
    else if (left < 0) this.releasedTwice(slot);
  }

  /** References held on a slot: 0 where it is free. */
  referenceCount(slot: number): number {
    return this.references[slot];
  }

  /** Byte offset in the arena of the place the kernel fills. */
  receiveOffset(slot: number): number {
    return slot * SLOT_STRIDE + RECEIVE_OFFSET;
  }

  private releasedTwice(slot: number): never {
    this.references[slot] = 0;
    throw new Error(`arena: slot ${slot} released twice`);
  }
}
