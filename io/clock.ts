/** Clocks read without allocation: into memory that the kernel and the dataplane share. */

import { clockGettime } from './libc.js';
import { mapRegion, type Region, unmapRegion } from './memory.js';

const CLOCK_REALTIME = 0;
/** Counts while the machine sleeps too, so ages are true. */
const CLOCK_BOOTTIME = 7;

export class Clock {
  /** Seconds since boot, after `read`. */
  seconds = 0;
  /** Milliseconds of the same clock as int32: wraps after 24 days, so only differences mean something. */
  milliseconds = 0;
  private readonly region: Region;
  private readonly words: Int32Array;

  constructor() {
    this.region = mapRegion(64);
    this.words = new Int32Array(this.region.buffer);
  }

  read(): void {
    clockGettime(CLOCK_BOOTTIME, this.region.address);
    this.seconds = this.words[0];
    this.milliseconds = (Math.imul(this.words[0], 1000) + ((this.words[2] / 1_000_000) | 0)) | 0;
  }

  /** Wall-clock time into `into[at]` (seconds, low word) and `into[at + 1]` (nanoseconds). */
  readWall(into: Int32Array, at: number): void {
    clockGettime(CLOCK_REALTIME, this.region.address + 16);
    into[at] = this.words[4];
    into[at + 1] = this.words[6];
  }

  close(): void {
    unmapRegion(this.region);
  }
}
