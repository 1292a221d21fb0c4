/**
 * What the dataplane's loop needs from the kernel: receive a batch into the arena's slots, send a batch out of them, sleep until
 * there is something to do. Two engines implement it, `uring` and `epoll`; both keep the order of packets within a port.
 *
 * One engine belongs to one thread. No method allocates per packet.
 */

import { close, munmap } from './libc.js';

export type EngineName = 'uring' | 'epoll';

/** A TAP: each read and write is virtio-net header + frame. */
export const PORT_TAP = 1;
/** An AF_PACKET socket with PACKET_VNET_HDR and PACKET_AUXDATA. */
export const PORT_PACKET = 2;

/** Events: what else the wait has noticed. `EVENT_WORDS` int32 each: kind, port or token, errno. */
export const EVENT_WORDS = 3;
/** The kernel took the port's device away, or it fails for good; nothing more will be received. Word 2 is the errno. */
export const EVENT_PORT_FAILED = 1;
/** removePort is complete: the engine no longer uses the descriptor. */
export const EVENT_PORT_REMOVED = 2;
/** The kernel could not hand a frame over, and it is gone; the port goes on. Word 2 is the errno. */
export const EVENT_FRAME_REJECTED = 4;
/** A watched descriptor is readable. Word 1 is its token. */
export const EVENT_READABLE = 3;

/** Frames that one wait returns at most. */
export const BATCH_LIMIT = 256;

/** What an engine holds of the process, beyond its thread: whoever outlives the thread can give it back (`releaseResources`). */
export interface EngineResources {
  readonly descriptors: readonly number[];
  readonly mappings: readonly { readonly address: number; readonly length: number }[];
}

/**
 * Gives back what an engine held. A ring lives as long as its descriptor or one of its mappings does, and goes on receiving into the
 * arena; so this must happen before another engine takes over the ports.
 */
export function releaseResources(resources: EngineResources): void {
  for (const { address, length } of resources.mappings) munmap(address, length);
  for (const fd of resources.descriptors) close(fd);
}

export interface Engine extends EngineReports {
  readonly name: EngineName;
  readonly resources: EngineResources;
  /** Slots of the frames that the last wait received: `start`, `length` and `port` of their handles are set. */
  readonly received: Int32Array;

  /** Starts receiving from `fd`. The port number is not in use. */
  addPort(port: number, fd: number, kind: number): void;
  /** Super-packets in a UDP tunnel (VNET_GSO_UDP_TUNNEL) leave by another descriptor, a TAP's with TUNNEL_HEADER_LENGTH; -1: by none. The port is live. */
  setOutlet(port: number, fd: number): void;
  /** Stops; EVENT_PORT_REMOVED follows in a later wait, also for a port that was never added. */
  removePort(port: number): void;
  /** Reports EVENT_READABLE with `token` whenever `fd` becomes readable: once each time, however long it then stays so. */
  watch(token: number, fd: number): void;
  unwatch(token: number): void;

  /** Queues a frame. Takes over one reference on the slot. The port is live (added, and not yet removed). */
  transmit(port: number, slot: number): void;
  /** Sends what is queued, without waiting; `transmit` does so itself when its queue is full. */
  flush(): void;

  /**
   * Sends what is queued, then waits for frames or events.
   * @param timeout milliseconds to wait at most; 0 returns at once
   * @returns number of frames received, 0..BATCH_LIMIT
   */
  wait(timeout: number): number;
  /** Gives everything back; the descriptors of the ports stay the caller's. */
  close(): void;
}

export const FAILURE_WORDS = 3;

/** What an engine has to tell besides frames. Bursts know no limit (a flood to a thousand ports that are down), so the lists grow. */
export class EngineReports {
  /** EVENT_WORDS int32 an event. */
  events: Int32Array = new Int32Array(EVENT_WORDS * 64);
  /** Events that nobody has read yet; the reader sets it to 0. */
  eventCount = 0;
  /** Frames that the kernel refused to send: port, errno, frame length; FAILURE_WORDS int32 each. */
  failures: Int32Array = new Int32Array(FAILURE_WORDS * 1024);
  /** Failures that nobody has read yet; the reader sets it to 0 after each wait. */
  failureCount = 0;

  protected addEvent(kind: number, subject: number, error: number): void {
    const at = this.eventCount * EVENT_WORDS;
    this.events = withRoom(this.events, at + EVENT_WORDS);
    this.events[at] = kind;
    this.events[at + 1] = subject;
    this.events[at + 2] = error;
    this.eventCount++;
  }

  protected addFailure(port: number, error: number, length: number): void {
    const at = this.failureCount * FAILURE_WORDS;
    this.failures = withRoom(this.failures, at + FAILURE_WORDS);
    this.failures[at] = port;
    this.failures[at + 1] = error;
    this.failures[at + 2] = length;
    this.failureCount++;
  }
}

/** The list itself, or a longer copy where `words` do not fit. */
function withRoom(list: Int32Array, words: number): Int32Array {
  if (words <= list.length) return list;
  const longer = new Int32Array(Math.max(words, list.length * 2));
  longer.set(list);
  return longer;
}
