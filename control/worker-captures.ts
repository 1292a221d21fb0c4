/** The worker's side of captures: an observer of the dataplane that copies the frames each capture asked for into its ring. */

import type { Observer } from '../core/dataplane.js';
import type { Arena } from '../core/packet/arena.js';
import type { Packet } from '../core/packet/packet.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_NONE } from '../core/packet/vnet.js';
import { CaptureWriter, type FrameSource } from './capture-ring.js';
import type { WorkerCapture } from './worker-protocol.js';

interface Session {
  readonly capture: WorkerCapture;
  readonly writer: CaptureWriter;
}

export class Captures implements Observer {
  /** Wall time of the current batch: seconds, nanoseconds. */
  readonly wall = new Int32Array(2);
  private readonly arena: Arena;
  private readonly notify: () => void;
  private readonly sessions: Session[] = [];

  /** @param notify tells the reader's thread that there are frames; called at most once until it has read them */
  constructor(arena: Arena, notify: () => void) {
    this.arena = arena;
    this.notify = notify;
  }

  get active(): boolean {
    return this.sessions.length > 0;
  }

  add(capture: WorkerCapture): void {
    this.sessions.push({ capture, writer: new CaptureWriter(capture.ring) });
  }

  remove(id: number): void {
    const at = this.sessions.findIndex((session) => session.capture.id === id);
    if (at >= 0) this.sessions.splice(at, 1);
  }

  received(packet: Packet): void {
    for (const session of this.sessions) {
      const { port, network } = session.capture;
      if (port !== 0 ? port === packet.port : network === packet.network)
        this.record(session, packet, packet.port, false);
    }
  }

  transmitted(port: number, packet: Packet): void {
    for (const session of this.sessions) {
      if (session.capture.port === port) this.record(session, packet, port, true);
    }
  }

  private record(session: Session, packet: Packet, port: number, out: boolean): void {
    const partial = (packet.vnetFlags & VNET_F_NEEDS_CSUM) !== 0;
    const frame: FrameSource = {
      port,
      out,
      start: packet.start,
      length: packet.length,
      checksumStart: packet.checksumStart,
      checksumOffset: partial ? packet.checksumOffset : -1,
      isSuperPacket: packet.gsoType !== VNET_GSO_NONE,
    };
    if (session.writer.write(this.arena.bytes, frame, session.capture.snapLength, this.wall)) this.notify();
  }
}
