/** A capture as the main thread has it: the reading end of the ring that the worker fills. */

import { CaptureReader } from './capture-ring.js';
import type { Capture, CapturedFrame } from './types.js';
import type { WorkerCapture } from './worker-protocol.js';

/** Captured frames handed on before the rest of the main thread gets its turn: about a millisecond. */
const DRAIN_LIMIT = 512;

export class CaptureSession implements Capture {
  readonly capture: WorkerCapture;
  private readonly reader: CaptureReader;
  private readonly end: () => Promise<void>;
  private callback: ((frame: CapturedFrame) => void) | null = null;
  /** The rest of the ring will be read in a turn to come. */
  private draining = false;

  constructor(capture: WorkerCapture, end: () => Promise<void>) {
    this.capture = capture;
    this.reader = new CaptureReader(capture.ring);
    this.end = end;
  }

  get lost(): number {
    return this.reader.lost;
  }

  onFrame(callback: (frame: CapturedFrame) => void): void {
    this.callback = callback;
    this.drain();
  }

  /** A part of what is there, and the rest after others had their turn. Leaves the frames in the ring until somebody listens. */
  drain(): void {
    if (this.callback === null || this.draining) return;
    this.draining = this.reader.drain(this.callback, DRAIN_LIMIT);
    if (this.draining) setImmediate(() => this.drainOn());
  }

  /** All that is left, once nobody writes any more. */
  finish(): void {
    if (this.callback !== null) while (this.reader.drain(this.callback, DRAIN_LIMIT));
  }

  private drainOn(): void {
    this.draining = false;
    this.drain();
  }

  stop(): Promise<void> {
    return this.end();
  }
}
