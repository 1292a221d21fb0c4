/**
 * Sequence numbers of a TCP connection one side of which says more, or less, than the other hears, since text was replaced on the way.
 *
 * Each side goes on counting what it has sent itself. So the numbers of what follows a replaced text are shifted by as many bytes as it has
 * grown, and what the other side acknowledges is shifted back.
 */

import { changeOf, isPartial, updated } from '../nat/rewrite.js';
import type { Packet } from '../packet/packet.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGMENT,
  TCP_CHECKSUM,
  TCP_HEADER_LENGTH,
  TCP_SEQUENCE,
  tcpFlags,
  tcpHeaderLength,
} from '../wire/tcp.js';

/** Options (RFC 9293, 3.1; RFC 2018, 3). */
const OPTION_END = 0;
const OPTION_NO_OPERATION = 1;
const OPTION_SACK = 5;

/** The shift of one direction. Numbers are those of its sender, where nothing else is said. */
export class Shift {
  /** Where the text that was replaced last begins: what is behind is shifted by `after`, the rest by `before`. */
  private position = 0;
  private before: number;
  /** Bytes. */
  after: number;

  /** @param shift of all numbers, of a connection that is taken over */
  constructor(shift: number) {
    this.before = shift;
    this.after = shift;
  }

  /** The text that begins with this number has grown by so many bytes. Once a text, however often it is sent. */
  grow(sequence: number, bytes: number): void {
    this.position = sequence;
    this.before = this.after;
    this.after += bytes;
  }

  /** The number that the receiver knows. */
  forth(sequence: number): number {
    return (sequence + (isAfter(sequence, this.position) ? this.after : this.before)) | 0;
  }

  /** The sender's number for one that the receiver acknowledges. */
  back(acknowledgment: number): number {
    const original = (acknowledgment - this.before) | 0;
    return isAfter(original, this.position) ? (acknowledgment - this.after) | 0 : original;
  }

  get isNone(): boolean {
    return this.before === 0 && this.after === 0;
  }
}

/** Of sequence numbers (RFC 9293, 3.4). */
export function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/**
 * Gives a segment the numbers that its receiver knows.
 *
 * @param own shift of its direction
 * @param other shift of the other one, of which it acknowledges
 */
export function shiftSegment(view: DataView, packet: Packet, own: Shift, other: Shift): void {
  if (own.isNone && other.isNone) return;
  const { l4 } = packet;
  const sequence = view.getInt32(l4 + TCP_SEQUENCE);
  let change = put(view, l4, l4 + TCP_SEQUENCE, own.forth(sequence));
  if ((tcpFlags(view, l4) & TCP_ACK) !== 0) {
    change += put(view, l4, l4 + TCP_ACKNOWLEDGMENT, other.back(view.getInt32(l4 + TCP_ACKNOWLEDGMENT)));
    change += shiftSack(view, l4, other);
  }
  if (isPartial(packet, TCP_CHECKSUM)) return;
  view.setUint16(l4 + TCP_CHECKSUM, updated(view.getUint16(l4 + TCP_CHECKSUM), change));
}

/** Selective acknowledgments: pairs of numbers. @returns the change of the segment's sum */
function shiftSack(view: DataView, l4: number, other: Shift): number {
  const end = l4 + tcpHeaderLength(view, l4);
  let at = l4 + TCP_HEADER_LENGTH;
  let change = 0;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) break;
    if (kind === OPTION_NO_OPERATION) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) break;
    if (kind === OPTION_SACK) {
      for (let edge = at + 2; edge + 4 <= at + length; edge += 4) {
        change += put(view, l4, edge, other.back(view.getInt32(edge)));
      }
    }
    at += length;
  }
  return change;
}

/** Writes a word. At an odd distance from the header its octets count as if swapped, 256 times as much (RFC 1071, 2(B)). */
function put(view: DataView, l4: number, at: number, value: number): number {
  const change = changeOf(view.getInt32(at), value);
  view.setInt32(at, value);
  return ((at - l4) & 1) === 0 ? change : ((change % 0xffff) * 256) % 0xffff;
}
