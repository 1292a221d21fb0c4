/** TCP connections of the capture corpus, segment by segment in the order of their files. */

import { DROP_NONE } from '../../../core/drop.js';
import { mirrorPorts } from '../../../core/nat/flow.js';
import { Arena, MAX_FRAME_LENGTH, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';
import { tcpFlags } from '../../../core/wire/tcp.js';
import type { Capture } from '../../support/corpus.js';
import { ACK, FIN, RST, SYN, TcpFlow } from './segments.js';

export interface Judged {
  readonly capture: string;
  /** Number of the packet in its file, from 1 as tshark counts. */
  readonly packet: number;
  /** Stage, or drop reason. */
  readonly result: string;
  /** The first that is dropped of its connection. */
  readonly isFirst: boolean;
  /** It acknowledges what was not captured before, or stands farther on than what was: something is missing. */
  readonly isGap: boolean;
}

/** A connection, and behind which number each side's captured segments end. */
interface Followed {
  readonly flow: TcpFlow;
  readonly ends: [number, number];
  isDropped: boolean;
}

export interface Replay {
  connections: number;
  segments: number;
  /** How often each stage was the result. */
  readonly stages: Map<string, number>;
  readonly dropped: Judged[];
  /** Last stage of each connection. */
  readonly ends: Map<string, number>;
}

/**
 * Runs every connection that begins with a SYN through a flow of its own. Frames that were cut when they were captured get zeros for what
 * is missing, and those that were captured before their segmentation, which say length 0, their length: neither was so on the wire.
 */
export class TcpReplay implements Replay {
  connections = 0;
  segments = 0;
  readonly stages = new Map<string, number>();
  readonly dropped: Judged[] = [];
  readonly ends = new Map<string, number>();
  private readonly arena = new Arena(new ArrayBuffer(2 * SLOT_STRIDE));
  private readonly packet: Packet = this.arena.packets[1];

  run(capture: Capture): void {
    const flows = new Map<string, Followed>();
    capture.frames.forEach((frame, index) => {
      if (this.load(frame)) this.segment(capture.name, index + 1, flows);
    });
    for (const { flow } of flows.values()) count(this.ends, flow.stage);
  }

  private load(frame: Uint8Array): boolean {
    const { arena, packet } = this;
    const { start, length } = repaired(arena, frame);
    packet.start = start;
    packet.length = length;
    clearVnetHeader(arena, packet);
    return parse(arena, packet) === DROP_NONE && packet.protocol === 6 && packet.l4 !== -1;
  }

  private segment(capture: string, number: number, flows: Map<string, Followed>): void {
    const { arena, packet } = this;
    const [key, mirrored] = this.keys();
    const known = flows.get(key) ?? flows.get(mirrored);
    const direction: 0 | 1 = flows.has(key) ? 0 : 1;
    if (known === undefined) {
      if ((tcpFlags(arena.view, packet.l4) & (FIN | SYN | RST | ACK)) === SYN) this.begin(key, flows);
      return;
    }
    this.segments++;
    const isGap = this.isGap(known, direction);
    const result = known.flow.follow(direction, arena.view, packet);
    if (result === 'reopen') {
      count(this.ends, known.flow.stage);
      flows.delete(direction === 0 ? key : mirrored);
      this.begin(key, flows);
      return;
    }
    count(this.stages, result);
    if (!result.startsWith('tcp_')) return;
    this.dropped.push({ capture, packet: number, result, isFirst: !known.isDropped, isGap });
    known.isDropped = true;
  }

  private begin(key: string, flows: Map<string, Followed>): void {
    const flow = new TcpFlow();
    this.connections++;
    this.segments++;
    count(this.stages, flow.start(this.arena.view, this.packet));
    flows.set(key, { flow, ends: [this.end(), 0], isDropped: false });
  }

  /** Plain numbers, of what was captured alone; notes where the segment ends. */
  private isGap(known: Followed, direction: 0 | 1): boolean {
    const { view } = this.arena;
    const end = this.end();
    const sequence = view.getUint32(this.packet.l4 + 4);
    const acknowledgment = view.getUint32(this.packet.l4 + 8);
    const isBegun = known.ends[direction] !== 0;
    const isUnknown = ((acknowledgment - known.ends[direction === 0 ? 1 : 0]) | 0) > 0;
    const isFarther = isBegun && ((sequence - known.ends[direction]) | 0) > 0;
    if (!isBegun || ((end - known.ends[direction]) | 0) > 0) known.ends[direction] = end;
    return isUnknown || isFarther;
  }

  private end(): number {
    const { view } = this.arena;
    const { l4, l3End } = this.packet;
    const flags = tcpFlags(view, l4);
    const length = l3End - l4 - (view.getUint8(l4 + 12) >> 4) * 4;
    return (view.getUint32(l4 + 4) + length + ((flags & (SYN | FIN)) !== 0 ? 1 : 0)) % 2 ** 32;
  }

  /** Addresses, ports and VLANs of the packet, and the same the other way round. */
  private keys(): [string, string] {
    const { arena, packet } = this;
    const isIpv6 = packet.etherType === 0x86dd;
    const [at, length] = isIpv6 ? [packet.l3 + 8, 16] : [packet.l3 + 12, 4];
    const source = Buffer.from(arena.bytes.subarray(at, at + length)).toString('hex');
    const destination = Buffer.from(arena.bytes.subarray(at + length, at + 2 * length)).toString('hex');
    const ports = arena.view.getInt32(packet.l4);
    const tags = `${packet.vlan & 0xfff},${packet.innerVlan & 0xfff}`;
    return [`${tags} ${source} ${destination} ${ports}`, `${tags} ${destination} ${source} ${mirrorPorts(ports)}`];
  }
}

function repaired(arena: Arena, frame: Uint8Array): { start: number; length: number } {
  const start = arena.receiveOffset(1) + VNET_HEADER_LENGTH;
  const bytes = frame.subarray(0, MAX_FRAME_LENGTH);
  arena.bytes.set(bytes, start);
  let at = start + 12;
  while (arena.view.getUint16(at) === 0x8100) at += 4;
  const type = arena.view.getUint16(at);
  if (type !== 0x0800 && type !== 0x86dd) return { start, length: bytes.length };
  const field = at + (type === 0x0800 ? 4 : 6);
  const counted = at + (type === 0x0800 ? 2 : 42);
  if (arena.view.getUint16(field) === 0) arena.view.setUint16(field, start + bytes.length - counted);
  const length = Math.min(MAX_FRAME_LENGTH, counted + arena.view.getUint16(field) - start);
  if (length <= bytes.length) return { start, length: bytes.length };
  arena.bytes.fill(0, start + bytes.length, start + length);
  return { start, length };
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
