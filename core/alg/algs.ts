/**
 * Application layer gateways: of protocols that tell inside of one connection where the next one will go to. Off unless they are asked for,
 * since whoever is let to send text of his choice to a server's port can open a port to himself: one of 1024 and above, for that server
 * alone.
 *
 * Flows have FLOW_ALG for it, and go the general way with every packet; they keep the shifts of their sequence numbers where others have
 * their path, so that those outlive the process.
 *
 * The one who tells is X, the other Y. Expected is a packet of Y as it will come in, to where Y knows X; it leaves to where X knows itself,
 * from where X knows Y.
 */

import {
  DIRECTION_ORIGINAL,
  FLOW_ALG,
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_PATH,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SOURCE,
  FLOW_WORDS,
  isIpv6Kind,
  protocolOfKind,
  zoneOfKind,
} from '../nat/flow.js';
import type { FlowTable } from '../nat/flow-table.js';
import type { Mappings } from '../nat/mappings.js';
import { ALG_FTP, ALG_TFTP } from '../nat/settings.js';
import type { Arena } from '../packet/arena.js';
import type { Packet } from '../packet/packet.js';
import { MAPPED } from '../router/address.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { TCP_ACK, TCP_ACKNOWLEDGMENT, TCP_SEQUENCE, tcpFlags } from '../wire/tcp.js';
import { ControlConnection, NOT_GIVEN, type Side } from './control-connection.js';
import {
  EXPECTED_DESTINATION,
  EXPECTED_EXTERNAL,
  EXPECTED_KIND,
  EXPECTED_PARENT,
  EXPECTED_PORT,
  EXPECTED_SOURCE,
  EXPECTED_SOURCE_AFTER,
  EXPECTED_TARGET,
  EXPECTED_TARGET_PORT,
  EXPECTED_UNTIL,
  type ExpectationEnd,
  Expectations,
  expectationRecord,
} from './expectations.js';
import { type Announcement, FTP_PORT, MAX_LINE, readCommand, readReply, writeAnnouncement } from './ftp.js';
import { isReplaceable, payloadOf, replaceText } from './payload.js';
import { isAfter, shiftSegment } from './sequence.js';
import { isTftpRequest, TFTP_PORT } from './tftp.js';

/** Expectations at once, of all together; each flow has two at most. */
const MAX_EXPECTATIONS = 1024;
/** Seconds that one waits for its connection. */
const PATIENCE = 300;
/** The services of a host below are nobody's data ports. */
const FIRST_DATA_PORT = 1024;
/** What a flow's word keeps of a shift. */
const SHIFT_BITS = 16;
const MAX_SHIFT = 0x7fff;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** Knows the router's own addresses. */
export interface AddressOwner {
  owns(zone: number, a: number, b: number, c: number, d: number): boolean;
}

export class Algs implements ExpectationEnd {
  /** ALG_FTP and ALG_TFTP of settings.ts, as many as are on. */
  enabled = 0;
  readonly expectations: Expectations;
  private readonly arena: Arena;
  private readonly view: DataView;
  private readonly table: FlowTable;
  private readonly mappings: Mappings;
  private readonly owner: AddressOwner;
  private readonly connections = new Map<number, ControlConnection>();
  private readonly record = expectationRecord();
  /** Source and destination, eight words: of packets of X; of packets of Y; of X and Y, where each is known to itself. */
  private readonly own = new Int32Array(8);
  private readonly other = new Int32Array(8);
  private readonly ends = new Int32Array(8);
  private acknowledgment = 0;
  private tickedAt = -1;

  /** @param seed any int32, from a random source */
  constructor(arena: Arena, table: FlowTable, mappings: Mappings, owner: AddressOwner, seed: number) {
    this.arena = arena;
    this.view = arena.view;
    this.table = table;
    this.mappings = mappings;
    this.owner = owner;
    this.expectations = new Expectations(MAX_EXPECTATIONS, seed, this);
  }

  get isExpecting(): boolean {
    return this.expectations.count > 0;
  }

  /** Once a turn; something to do once a second. */
  tick(now: number): void {
    if (now === this.tickedAt || this.expectations.count === 0) return;
    this.tickedAt = now;
    this.expectations.expire(now);
  }

  /** FLOW_ALG for a new flow that a gateway looks at, else 0. @param before destination port; `after`: the one behind a published port */
  flagsFor(protocol: number, before: number, after: number): number {
    const { enabled } = this;
    if (enabled === 0) return 0;
    if (protocol === PROTOCOL_TCP && (enabled & ALG_FTP) !== 0) {
      return before === FTP_PORT || after === FTP_PORT ? FLOW_ALG : 0;
    }
    if (protocol === PROTOCOL_UDP && (enabled & ALG_TFTP) !== 0) {
      return before === TFTP_PORT || after === TFTP_PORT ? FLOW_ALG : 0;
    }
    return 0;
  }

  /** A flow with FLOW_ALG ends. */
  flowEnds(flow: number): void {
    this.connections.delete(flow);
    this.expectations.removeOf(flow * 2);
    this.expectations.removeOf(flow * 2 + 1);
  }

  expectationEnds(external: number, kind: number, port: number): void {
    this.mappings.release(external, protocolOfKind(kind), port);
  }

  // --- sequence numbers

  /**
   * Has a TCP segment acknowledge what the other side itself has sent, as the state of the connection counts. `restoreAcknowledgment` undoes
   * it, as the packet may have to be quoted.
   */
  unshiftAcknowledgment(packet: Packet, found: number): void {
    if (packet.protocol !== PROTOCOL_TCP) return;
    const at = packet.l4 + TCP_ACKNOWLEDGMENT;
    const { shift } = this.connectionOf(found >> 1).sides[(found & 1) ^ 1];
    this.acknowledgment = this.view.getInt32(at);
    if ((tcpFlags(this.view, packet.l4) & TCP_ACK) !== 0) this.view.setInt32(at, shift.back(this.acknowledgment));
  }

  restoreAcknowledgment(packet: Packet): void {
    if (packet.protocol === PROTOCOL_TCP) this.view.setInt32(packet.l4 + TCP_ACKNOWLEDGMENT, this.acknowledgment);
  }

  private connectionOf(flow: number): ControlConnection {
    const known = this.connections.get(flow);
    if (known !== undefined) return known;
    const { words } = this.table;
    const at = flow * FLOW_WORDS + FLOW_PATH;
    const connection = new ControlConnection([words[at] >> SHIFT_BITS, words[at + 1] >> SHIFT_BITS]);
    this.connections.set(flow, connection);
    return connection;
  }

  // --- packets

  /**
   * Looks at a packet of a flow with FLOW_ALG that is about to leave and has the addresses and ports to leave with: expects what it
   * announces, and replaces what is announced by what the other side is to know.
   *
   * Precondition: nobody else holds the slot.
   */
  inspect(packet: Packet, found: number): void {
    if (packet.protocol === PROTOCOL_TCP) this.inspectFtp(packet, found);
    else this.inspectTftp(packet, found);
  }

  /** The answer comes from another port, to the one that the request came from. */
  private inspectTftp(packet: Packet, found: number): void {
    if ((this.enabled & ALG_TFTP) === 0 || (found & 1) !== DIRECTION_ORIGINAL) return;
    if (!isTftpRequest(this.view, packet)) return;
    const at = (found >> 1) * FLOW_WORDS;
    const { words } = this.table;
    this.readEnds(found);
    this.expect(found, words[at + FLOW_PORTS] >>> 16, words[at + FLOW_REPLY_PORTS] & 0xffff, 0);
  }

  private inspectFtp(packet: Packet, found: number): void {
    const { view } = this;
    const { sides } = this.connectionOf(found >> 1);
    const side = sides[found & 1];
    const sequence = view.getInt32(packet.l4 + TCP_SEQUENCE);
    shiftSegment(view, packet, side.shift, sides[(found & 1) ^ 1].shift);
    if ((this.enabled & ALG_FTP) === 0) return;
    const from = payloadOf(view, packet);
    if (from === packet.l3End || !isReplaceable(view, packet)) return;
    const next = (sequence + packet.l3End - from) | 0;
    const isLineEnd = view.getUint8(packet.l3End - 1) === LINE_FEED;
    const start = side.beginsLine(sequence) ? from : this.behindLine(from, packet.l3End);
    this.readLines(packet, found, side, start, (sequence + start - from) | 0);
    if (isLineEnd) side.endLine(sequence, next);
  }

  /** Behind the line that a segment begins in the middle of. */
  private behindLine(from: number, end: number): number {
    const feed = this.arena.bytes.subarray(from, end).indexOf(LINE_FEED);
    return feed < 0 ? end : from + feed + 1;
  }

  /** Follows the first line that tells an address. @param sequence number of the byte at `from` */
  private readLines(packet: Packet, found: number, side: Side, from: number, sequence: number): void {
    const { bytes } = this.arena;
    const end = packet.l3End;
    for (let at = from; at < end; ) {
      const feed = bytes.subarray(at, end).indexOf(LINE_FEED);
      if (feed < 0) return;
      const announcement = feed <= MAX_LINE ? this.readLine(at, feed, (found & 1) === DIRECTION_ORIGINAL) : null;
      if (announcement !== null) {
        this.follow(packet, found, side, announcement, at, (sequence + at - from) | 0);
        return;
      }
      at += feed + 1;
    }
  }

  private readLine(at: number, feed: number, isClient: boolean): Announcement | null {
    const { bytes } = this.arena;
    const length = feed > 0 && bytes[at + feed - 1] === CARRIAGE_RETURN ? feed - 1 : feed;
    const line = String.fromCharCode(...bytes.subarray(at, at + length));
    return isClient ? readCommand(line) : readReply(line);
  }

  /** @param line where the line begins; `sequence`: its number */
  private follow(
    packet: Packet,
    found: number,
    side: Side,
    announcement: Announcement,
    line: number,
    sequence: number,
  ): void {
    const isFirst = side.linePort === NOT_GIVEN || isAfter(sequence, side.lineSequence);
    // An older one, sent once more: what came later shows that the other side has it.
    if (!isFirst && sequence !== side.lineSequence) return;
    this.readEnds(found);
    if (announcement.address !== null && !isSame(announcement.address, 0, this.own, 0)) return;
    const port = isFirst ? this.announce(packet, found, announcement.port) : side.linePort;
    if (port === NOT_GIVEN) return;
    const from = line + announcement.from;
    const to = line + announcement.to;
    const text = writeAnnouncement(announcement, this.other.subarray(4, 8), port);
    const growth = text.length - (to - from);
    const after = isFirst ? side.shift.after + growth : side.shift.after;
    if (Math.abs(after) > MAX_SHIFT) return;
    const isHidden = !isSame(this.own, 0, this.other, 4);
    if (isHidden && !replaceText(this.arena, packet, from, to, text)) return;
    if (!isFirst) return;
    side.lineSequence = sequence;
    side.linePort = port;
    if (!isHidden) return;
    side.shift.grow(sequence, growth);
    this.table.words[(found >> 1) * FLOW_WORDS + FLOW_PATH + (found & 1)] = after << SHIFT_BITS;
  }

  /** Expects a connection to X's port. @returns the port that Y is to connect to; NOT_GIVEN: none is left, or to be opened */
  private announce(packet: Packet, found: number, port: number): number {
    if (port < FIRST_DATA_PORT) return NOT_GIVEN;
    const { own, other, ends, table, mappings } = this;
    const kind = table.words[(found >> 1) * FLOW_WORDS + FLOW_KIND];
    const zone = zoneOfKind(kind);
    // Another's address, or another prefix of its own: all ports there are X's.
    if (isSame(own, 0, other, 4) || !this.owner.owns(zone, other[4], other[5], other[6], other[7])) {
      this.expect(found, port, port, 0);
      return port;
    }
    const external = mappings.external(zone, other[4], other[5], other[6], other[7]);
    if (external === 0) return NOT_GIVEN;
    for (let i = 0; i < 4; i++) {
      ends[i] = own[i];
      ends[4 + i] = other[i];
    }
    const taken = mappings.take(external, protocolOfKind(kind), ends, port, packet.port, ends, 0, table, kind);
    if (taken < 0) return NOT_GIVEN;
    this.expect(found, port, taken, external);
    return taken;
  }

  /** @param port of X, as it knows it; `outer`: as Y does; `external`: where a reference is held for that, or 0 */
  private expect(found: number, port: number, outer: number, external: number): void {
    const { record, own, other, table } = this;
    record[EXPECTED_KIND] = table.words[(found >> 1) * FLOW_WORDS + FLOW_KIND];
    for (let i = 0; i < 4; i++) {
      record[EXPECTED_SOURCE + i] = other[i];
      record[EXPECTED_DESTINATION + i] = other[4 + i];
      record[EXPECTED_TARGET + i] = own[i];
      record[EXPECTED_SOURCE_AFTER + i] = own[4 + i];
    }
    record[EXPECTED_PORT] = outer;
    record[EXPECTED_TARGET_PORT] = port;
    record[EXPECTED_PARENT] = found;
    record[EXPECTED_UNTIL] = table.now + PATIENCE;
    record[EXPECTED_EXTERNAL] = external;
    this.expectations.add(record);
  }

  /** Reads who X and Y are, as packets of both come in. */
  private readEnds(found: number): void {
    this.readTuple(found, this.own);
    this.readTuple(found ^ 1, this.other);
  }

  private readTuple(found: number, tuple: Int32Array): void {
    const { words, addresses6 } = this.table;
    const flow = found >> 1;
    const at = flow * FLOW_WORDS;
    const isOriginal = (found & 1) === DIRECTION_ORIGINAL;
    if (isIpv6Kind(words[at + FLOW_KIND])) {
      const from = flow * 16 + (isOriginal ? 0 : 8);
      for (let i = 0; i < 8; i++) tuple[i] = addresses6[from + i];
      return;
    }
    tuple.fill(0);
    tuple[2] = MAPPED;
    tuple[3] = words[at + (isOriginal ? FLOW_SOURCE : FLOW_REPLY_SOURCE)];
    tuple[6] = MAPPED;
    tuple[7] = words[at + (isOriginal ? FLOW_DESTINATION : FLOW_REPLY_DESTINATION)];
  }
}

/** Whether four words are the same. */
function isSame(a: Int32Array, from: number, b: Int32Array, at: number): boolean {
  for (let i = 0; i < 4; i++) if (a[from + i] !== b[at + i]) return false;
  return true;
}
