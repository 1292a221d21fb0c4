/**
 * Two TCP hosts with a tracker between them, for property tests: each sends a random amount of data and FIN, over links that lose,
 * duplicate and reorder, before the tracker and behind it. Hosts count from 0, their SYN; segments carry real sequence numbers.
 */

import type { Random } from '../../support/corpus.js';
import { ACK, FIN, type Segment, SYN, TcpFlow } from './segments.js';

export interface HostOptions {
  readonly iss: number;
  readonly scale: number | undefined;
  /** Receive buffer, bytes. */
  readonly buffer: number;
  /** Bytes to send, before FIN. */
  readonly total: number;
  /** Largest segment: above an MTU, super-packets. */
  readonly largest: number;
}

/** A segment in the host's own counting. */
interface Sent {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly win: number;
  readonly len: number;
}

function endOf(segment: Sent): number {
  return segment.seq + segment.len + (segment.flags & FIN);
}

export class Host {
  readonly options: HostOptions;
  isOpen = false;
  /** Shift of its own windows, once it is agreed upon; and of the other's. */
  shift = 0;
  peerShift = 0;
  unacknowledged = 0;
  next = 0;
  /** How far the other allows, by the newest acknowledgment; and the largest window that it ever had. */
  limit = 1;
  largestWindow = 0;
  /** Next byte that is due of the other. */
  due = 0;
  /** As far as it has ever allowed the other; RFC 9293, 3.8.6.2: it takes nothing back but by rounding. */
  edge = 0;
  unread = 0;
  hasFinished = false;
  private peerFin = -1;
  private readonly early = new Map<number, number>();
  private readonly random: Random;

  constructor(options: HostOptions, random: Random) {
    this.options = options;
    this.random = random;
  }

  get finAt(): number {
    return this.options.total + 1;
  }

  /** All sent, acknowledged and received. */
  get isDone(): boolean {
    return this.unacknowledged === this.finAt + 1 && this.hasFinished;
  }

  syn(flags: number): Sent {
    this.next = Math.max(this.next, 1);
    const win = Math.min(0xffff, this.options.buffer);
    this.edge = Math.max(this.edge, this.due + win);
    return { flags, seq: 0, ack: this.due, win, len: 0 };
  }

  ack(seq = this.next, len = 0, flags = 0): Sent {
    const free = Math.max(0, this.options.buffer - this.unread);
    const win = Math.min(0xffff, free >> this.shift);
    this.edge = Math.max(this.edge, this.due + (win << this.shift));
    return { flags: ACK | flags, seq, ack: this.due, win, len };
  }

  /** New data, FIN, a probe of a closed window or a keepalive; null where there is nothing to say. */
  send(): Sent | null {
    const left = this.finAt - this.next;
    const allowed = this.limit - this.next;
    if (left < 0) return this.random(4) === 0 ? this.ack(this.next - 1, 0) : null;
    if (allowed <= 0) {
      if (this.unacknowledged < this.next || left === 0) return null;
      this.next++; // zero window probe
      return this.ack(this.next - 1, 1);
    }
    if (left === 0) {
      this.next++;
      return this.ack(this.next - 1, 0, FIN);
    }
    const len = Math.min(left, allowed, 1 + this.random(this.options.largest));
    const seq = this.next;
    this.next += len;
    if (len === left && len < allowed && this.random(2) === 0) {
      this.next++;
      return this.ack(seq, len, FIN);
    }
    return this.ack(seq, len);
  }

  /** From the first byte that is not acknowledged. */
  repeat(): Sent | null {
    if (this.unacknowledged >= this.next) return null;
    const seq = Math.max(1, this.unacknowledged);
    const data = Math.min(this.next, this.finAt) - seq;
    const len = Math.min(Math.max(0, data), 1 + this.random(this.options.largest));
    const hasFin = this.next > this.finAt && seq + len === this.finAt;
    return this.ack(seq, len, hasFin ? FIN : 0);
  }

  read(): void {
    this.unread -= this.random(this.unread + 1);
  }

  /** @returns whether it answers at once */
  receive(segment: Sent): boolean {
    if (endOf(segment) < this.due) return true; // not acceptable: not even its acknowledgment counts (RFC 9293, 3.10.7.4)
    if (segment.ack > this.next) return true;
    if (segment.ack < this.unacknowledged - this.largestWindow) return true; // RFC 5961, 5.2
    if (segment.ack >= this.unacknowledged) {
      this.unacknowledged = segment.ack;
      const window = segment.win << ((segment.flags & SYN) !== 0 ? 0 : this.peerShift);
      this.limit = segment.ack + window;
      this.largestWindow = Math.max(this.largestWindow, window);
    }
    if ((segment.flags & FIN) !== 0) this.peerFin = segment.seq + segment.len;
    this.take(segment.seq, Math.min(segment.seq + segment.len, this.edge));
    return segment.len > 0 || (segment.flags & FIN) !== 0 || segment.seq < this.due;
  }

  private take(from: number, to: number): void {
    if (to > from) this.early.set(from, Math.max(to, this.early.get(from) ?? 0));
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (const [start, end] of this.early) {
        if (start > this.due) continue;
        this.early.delete(start);
        if (end <= this.due) continue;
        this.unread += end - this.due;
        this.due = end;
        isMoving = true;
      }
    }
    if (this.due === this.peerFin) {
      this.due++;
      this.hasFinished = true;
    }
  }
}

export interface LinkOptions {
  /** In thousandths. */
  readonly loss: number;
  readonly duplication: number;
  /** How many segments another may overtake, at most; 0: they keep their order. */
  readonly reordering: number;
}

class Link {
  readonly queue: Sent[] = [];
  private readonly options: LinkOptions;
  private readonly random: Random;

  constructor(options: LinkOptions, random: Random) {
    this.options = options;
    this.random = random;
  }

  push(segment: Sent): void {
    if (this.random(1000) < this.options.loss) return;
    this.queue.push(segment);
    if (this.random(1000) < this.options.duplication) this.queue.push(segment);
  }

  pull(): Sent | null {
    if (this.queue.length === 0) return null;
    const at = this.random(Math.min(this.options.reordering + 1, this.queue.length));
    return this.queue.splice(at, 1)[0];
  }
}

/** What a segment was that the tracker dropped though its sender is one of the two. */
export interface Refusal {
  readonly segment: Sent;
  /** Whether the receiver, as it is now, could learn anything from it. */
  readonly isUseful: boolean;
}

export class Conversation {
  readonly flow = new TcpFlow();
  readonly hosts: [Host, Host];
  readonly refused: Refusal[] = [];
  tracked = 0;
  private readonly before: [Link, Link];
  private readonly behind: [Link, Link];
  private readonly random: Random;
  private isBegun = false;

  constructor(options: [HostOptions, HostOptions], before: LinkOptions, behind: LinkOptions, random: Random) {
    this.random = random;
    this.hosts = [new Host(options[0], random), new Host(options[1], random)];
    this.before = [new Link(before, random), new Link(before, random)];
    this.behind = [new Link(behind, random), new Link(behind, random)];
  }

  get isDone(): boolean {
    return this.hosts[0].isDone && this.hosts[1].isDone;
  }

  get areOpen(): boolean {
    return this.hosts[0].isOpen && this.hosts[1].isOpen;
  }

  /** One thing happens. */
  step(): void {
    const direction = this.random(2) as 0 | 1;
    switch (this.random(8)) {
      case 0:
        this.say(direction, this.random(3) === 0 ? this.repeat(direction) : null);
        return;
      case 1:
        if (this.hosts[direction].isOpen) this.say(direction, this.hosts[direction].send());
        return;
      case 2:
        this.hosts[direction].read();
        if (this.hosts[direction].isOpen && this.random(4) === 0) this.say(direction, this.hosts[direction].ack());
        return;
      case 3:
      case 4:
      case 5:
        this.track(direction);
        return;
      default:
        this.deliver(direction);
    }
  }

  private say(direction: 0 | 1, segment: Sent | null): void {
    if (segment !== null) this.before[direction].push(segment);
  }

  private repeat(direction: 0 | 1): Sent | null {
    const host = this.hosts[direction];
    if (host.isOpen) return host.repeat();
    if (direction === 0) return host.syn(SYN);
    return host.next === 0 ? null : host.syn(SYN | ACK);
  }

  private track(direction: 0 | 1): void {
    const segment = this.before[direction].pull();
    if (segment === null) return;
    this.tracked++;
    const result = this.isBegun
      ? this.flow.from(direction, this.real(direction, segment))
      : this.flow.open(this.real(direction, segment));
    this.isBegun = true;
    if (result.startsWith('tcp_') || result === 'reopen') {
      this.refused.push({ segment, isUseful: this.isUseful(direction, segment) });
    } else this.behind[direction].push(segment);
  }

  private isUseful(direction: 0 | 1, segment: Sent): boolean {
    const receiver = this.hosts[direction ^ 1];
    if ((segment.flags & SYN) !== 0) return !receiver.isOpen;
    const isStale = segment.ack < receiver.unacknowledged - receiver.largestWindow;
    const end = endOf(segment);
    if (isStale || end < receiver.due) return false;
    return (end > receiver.due && end > segment.seq) || segment.ack > receiver.unacknowledged;
  }

  private deliver(direction: 0 | 1): void {
    const segment = this.behind[direction].pull();
    if (segment === null) return;
    const receiver = this.hosts[direction ^ 1];
    const reply = (direction ^ 1) as 0 | 1;
    if ((segment.flags & SYN) !== 0 && receiver.due === 0) this.shake(receiver, segment, reply);
    else if ((segment.flags & SYN) !== 0) this.say(reply, receiver.isOpen ? receiver.ack() : receiver.syn(SYN | ACK));
    else {
      if (segment.ack >= 1) receiver.isOpen = true;
      if (receiver.receive(segment) || this.random(4) === 0) this.say(reply, receiver.ack());
    }
  }

  /** The first SYN that a host gets. */
  private shake(receiver: Host, segment: Sent, reply: 0 | 1): void {
    const sender = this.hosts[reply ^ 1];
    receiver.due = 1;
    const isScaled = receiver.options.scale !== undefined && sender.options.scale !== undefined;
    receiver.shift = isScaled ? (receiver.options.scale as number) : 0;
    receiver.peerShift = isScaled ? (sender.options.scale as number) : 0;
    receiver.limit = 1 + segment.win;
    receiver.largestWindow = segment.win;
    if ((segment.flags & ACK) === 0) {
      this.say(reply, receiver.syn(SYN | ACK));
      return;
    }
    receiver.isOpen = true;
    receiver.unacknowledged = segment.ack;
    this.say(reply, receiver.ack());
  }

  /** As it is on the wire. */
  real(direction: 0 | 1, segment: Sent): Segment {
    const own = this.hosts[direction].options;
    const peer = this.hosts[direction ^ 1].options;
    const isSyn = (segment.flags & SYN) !== 0;
    return {
      flags: segment.flags,
      seq: (own.iss + segment.seq) | 0,
      ack: (segment.flags & ACK) !== 0 ? (peer.iss + segment.ack) | 0 : 0,
      win: segment.win,
      len: segment.len,
      ...(isSyn && own.scale !== undefined ? { scale: own.scale } : {}),
    };
  }
}
