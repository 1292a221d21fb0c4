/** TCP segments for tests of the tracker, and a flow that they run through. */

import { DROP_REASONS } from '../../../core/drop.js';
import {
  FLOW_LIVE,
  FLOW_LOOSE,
  FLOW_REPLIED,
  FLOW_STATE,
  FLOW_TCP,
  FLOW_WORDS,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_MASK,
  STATE_RESET,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
} from '../../../core/nat/flow.js';
import { openTcp, TCP_REOPEN, trackTcp } from '../../../core/nat/tcp.js';
import { Packet } from '../../../core/packet/packet.js';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;

export interface Segment {
  readonly flags: number;
  /** Taken modulo 2^32. */
  readonly seq: number;
  readonly ack?: number;
  /** As in the header. */
  readonly win?: number;
  /** Bytes of data. */
  readonly len?: number;
  /** Window scale option. */
  readonly scale?: number;
  /** Whole options, padded to four bytes by the caller. */
  readonly options?: readonly number[];
}

const NAMES: Readonly<Record<number, string>> = {
  [STATE_SYN_SENT]: 'syn_sent',
  [STATE_SYN_RECEIVED]: 'syn_received',
  [STATE_ESTABLISHED]: 'established',
  [STATE_FIN]: 'fin',
  [STATE_CLOSING]: 'closing',
  [STATE_RESET]: 'reset',
};

/** Where the header stands in the buffer: not at 0, so that an offset that was forgotten shows. */
const L4 = 54;

/** One flow; what its caller does with what the tracker returns. */
export class TcpFlow {
  /** Two flows stand before this one. */
  readonly at = 2 * FLOW_WORDS;
  readonly words = new Int32Array(3 * FLOW_WORDS);
  readonly view = new DataView(new ArrayBuffer(L4 + 60));
  readonly packet = new Packet(0);

  get state(): number {
    return this.words[this.at + FLOW_STATE];
  }

  get stage(): string {
    return NAMES[this.state & STATE_MASK] ?? `${this.state & STATE_MASK}`;
  }

  get isReplied(): boolean {
    return (this.state & FLOW_REPLIED) !== 0;
  }

  get isLoose(): boolean {
    return (this.state & FLOW_LOOSE) !== 0;
  }

  /** The five words of tcp.ts. */
  get numbers(): number[] {
    return [...this.words.subarray(this.at + FLOW_TCP, this.at + FLOW_TCP + 5)];
  }

  /** @returns name of the stage, or of the drop reason */
  open(segment: Segment): string {
    this.load(segment);
    return this.start(this.view, this.packet);
  }

  /** As `open`, with a packet from elsewhere. */
  start(view: DataView, packet: Packet): string {
    const bits = openTcp(this.words, this.at, view, packet);
    if (bits < 0) return DROP_REASONS[-bits].name;
    this.words[this.at + FLOW_STATE] = bits | FLOW_LIVE;
    return this.stage;
  }

  /** @returns name of the stage, "reopen", or the name of the drop reason */
  from(direction: number, segment: Segment): string {
    this.load(segment);
    return this.follow(direction, this.view, this.packet);
  }

  /** As `from`, with a packet from elsewhere. */
  follow(direction: number, view: DataView, packet: Packet): string {
    const result = trackTcp(this.words, this.at, direction, view, packet);
    if (result === TCP_REOPEN) return 'reopen';
    if (result < 0) return DROP_REASONS[-result].name;
    if ((result & FLOW_LIVE) === 0) throw new Error(`no state of a flow: ${result}`);
    this.words[this.at + FLOW_STATE] = result;
    return this.stage;
  }

  private load(segment: Segment): void {
    const { view, packet } = this;
    const scale = segment.scale === undefined ? [] : [1, 3, 3, segment.scale];
    const options = [...(segment.options ?? []), ...scale];
    const header = 20 + options.length;
    view.setInt32(L4 + 4, segment.seq);
    view.setInt32(L4 + 8, segment.ack ?? 0);
    view.setUint8(L4 + 12, (header >> 2) << 4);
    view.setUint8(L4 + 13, segment.flags);
    view.setUint16(L4 + 14, segment.win ?? 0xffff);
    options.forEach((byte, index) => {
      view.setUint8(L4 + 20 + index, byte);
    });
    packet.protocol = 6;
    packet.l4 = L4;
    packet.l3End = L4 + header + (segment.len ?? 0);
  }
}
