/**
 * A ring of captured frames in shared memory: the worker writes, the main thread reads, neither waits for the other. When the
 * reader is slow, frames are counted as lost.
 *
 *   words 0..3   head (bytes written, mod 2^32) · tail (bytes read) · frames lost · reader notified
 *   record       length of the record, port << 1 | out, original length, captured length, checksum start, checksum offset (or -1),
 *                seconds, nanoseconds: int32 each; then the bytes, padded to 4
 */

import { completeChecksumIn } from '../core/packet/checksum.js';
import { completeOuterChecksumIn } from '../core/packet/outer-checksum.js';
import type { CapturedFrame } from './types.js';

const HEAD = 0;
const TAIL = 1;
const LOST = 2;
const NOTIFIED = 3;
const CONTROL_WORDS = 16;
const RECORD_WORDS = 8;
const RECORD_BYTES = RECORD_WORDS * 4;
/** A record's first word when the rest of the ring is skipped. */
const WRAP = -1;

/** @param size bytes for records, a power of two */
export function makeCaptureRing(size: number): SharedArrayBuffer {
  return new SharedArrayBuffer(CONTROL_WORDS * 4 + size);
}

class Ring {
  protected readonly words: Int32Array;
  protected readonly data: Uint8Array;
  protected readonly records: Int32Array;
  protected readonly size: number;

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, CONTROL_WORDS);
    this.data = new Uint8Array(memory, CONTROL_WORDS * 4);
    this.records = new Int32Array(memory, CONTROL_WORDS * 4);
    this.size = this.data.length;
  }
}

export interface FrameSource {
  readonly port: number;
  readonly out: boolean;
  readonly start: number;
  readonly length: number;
  /** From the virtio-net header; offset -1 where the checksum is complete. */
  readonly checksumStart: number;
  readonly checksumOffset: number;
  /** Nothing of it is final yet that its segments will have each for themselves: a checksum around the one to come neither. */
  readonly isSuperPacket: boolean;
}

/** Beside the place of the checksum, which has 16 bits. */
const SUPER_PACKET = 0x10000;

export class CaptureWriter extends Ring {
  /**
   * Copies a frame in.
   * @param bytes memory that `frame.start` indexes
   * @param wall seconds and nanoseconds since the epoch
   * @returns true where the reader sleeps and must be told
   */
  write(bytes: Uint8Array, frame: FrameSource, snapLength: number, wall: Int32Array): boolean {
    const captured = snapLength === 0 ? frame.length : Math.min(frame.length, snapLength);
    const total = RECORD_BYTES + ((captured + 3) & ~3);
    const at = this.reserve(total);
    if (at < 0) {
      Atomics.add(this.words, LOST, 1);
      return this.needsNotice();
    }
    const records = this.records;
    const word = at >> 2;
    records[word] = total;
    records[word + 1] = (frame.port << 1) | (frame.out ? 1 : 0);
    records[word + 2] = frame.length;
    records[word + 3] = captured;
    records[word + 4] = frame.checksumStart | (frame.isSuperPacket ? SUPER_PACKET : 0);
    records[word + 5] = frame.checksumOffset;
    records[word + 6] = wall[0];
    records[word + 7] = wall[1];
    this.data.set(bytes.subarray(frame.start, frame.start + captured), at + RECORD_BYTES);
    Atomics.add(this.words, HEAD, total);
    return this.needsNotice();
  }

  /** Offset of `total` contiguous free bytes, or -1. Skips the rest of the ring where the record would not fit before its end. */
  private reserve(total: number): number {
    const head = Atomics.load(this.words, HEAD);
    const free = this.size - ((head - Atomics.load(this.words, TAIL)) >>> 0);
    const at = (head >>> 0) & (this.size - 1);
    const left = this.size - at;
    if (total <= left) return total <= free ? at : -1;
    if (left + total > free) return -1;
    this.records[at >> 2] = WRAP;
    Atomics.add(this.words, HEAD, left);
    return 0;
  }

  private needsNotice(): boolean {
    return Atomics.exchange(this.words, NOTIFIED, 1) === 0;
  }
}

export class CaptureReader extends Ring {
  get lost(): number {
    return Atomics.load(this.words, LOST) >>> 0;
  }

  /**
   * Calls back for the frames that are there. Each has bytes of its own.
   * @param limit frames at most: a writer may fill the ring as fast as it is read
   * @returns true where the limit was met and more may be there
   */
  drain(visit: (frame: CapturedFrame) => void, limit: number): boolean {
    Atomics.store(this.words, NOTIFIED, 0);
    for (let frames = 0; frames < limit; ) {
      const tail = Atomics.load(this.words, TAIL);
      if (tail === Atomics.load(this.words, HEAD)) return false;
      const at = (tail >>> 0) & (this.size - 1);
      const total = this.records[at >> 2];
      if (total === WRAP) {
        Atomics.add(this.words, TAIL, this.size - at);
        continue;
      }
      const frame = this.readRecord(at);
      Atomics.add(this.words, TAIL, total);
      frames++;
      visit(frame);
    }
    return true;
  }

  private readRecord(at: number): CapturedFrame {
    const records = this.records;
    const word = at >> 2;
    const captured = records[word + 3];
    const data = this.data.slice(at + RECORD_BYTES, at + RECORD_BYTES + captured);
    const whole = captured === records[word + 2];
    if (whole && records[word + 5] >= 0) complete(data, records[word + 4], records[word + 5]);
    return {
      port: records[word + 1] >> 1,
      direction: (records[word + 1] & 1) === 1 ? 'out' : 'in',
      time: BigInt(records[word + 6] >>> 0) * 1000000000n + BigInt(records[word + 7]),
      originalLength: records[word + 2],
      data,
    };
  }
}

/** A checksum that was to come, and, around a super-packet in a tunnel, the outer one. @param start with SUPER_PACKET */
function complete(frame: Uint8Array, start: number, checksumOffset: number): void {
  const checksumStart = start & ~SUPER_PACKET;
  if (!completeChecksumIn(frame, checksumStart, checksumOffset)) return;
  if ((start & SUPER_PACKET) !== 0) completeOuterChecksumIn(frame, checksumStart);
}
