/** A TCP connection through a router that translates: two hosts that speak by RFC 9293, as far as tests of the way between them need it. */

import { FLOW_STATE, FLOW_WORDS, STATE_MASK } from '../../../core/nat/flow.js';
import { type NatLab, OUTSIDE, type Station } from './lab.js';
import { ACK, endOf, FIN, filler, RST, type Seen, SYN, type Tcp, tcp, textOf } from './wire.js';

export interface Host {
  readonly station: Station;
  /** Address and port as it has them itself. */
  readonly end: string;
  /** And as the other has them. */
  readonly seen: string;
  /** Of the router: where it is. */
  readonly port: number;
}

export interface Send {
  /** ACK unless given. */
  readonly flags?: string;
  /** Octets. */
  readonly data?: number;
  /** Where they begin, counted from what is due; what is out of order moves nothing. */
  readonly from?: number;
  /** With the number of the last segment. */
  readonly again?: boolean;
  readonly acknowledges?: boolean;
}

interface Side {
  readonly host: Host;
  next: number;
  last: number;
}

type Direction = 'out' | 'in';

/** Beginning numbers of both sides. */
export const FIRST_OUT = 1000;
export const FIRST_IN = 9000;

export class Connection {
  private readonly lab: NatLab;
  private readonly client: Side;
  private readonly server: Side;
  /** What the client connects to. */
  private readonly target: string;
  private readonly sent: { out: Tcp; in: Tcp } = { out: {}, in: {} };
  private flow = -1;

  /** @param target what the client sends to; the server is that host outside unless another is given */
  constructor(lab: NatLab, client: Host, target: string, server: Host | null = null) {
    const outside = { station: OUTSIDE, end: target, seen: target, port: OUTSIDE.port };
    this.lab = lab;
    this.target = target;
    this.client = { host: client, next: FIRST_OUT, last: FIRST_OUT };
    this.server = { host: server ?? outside, next: FIRST_IN, last: FIRST_IN };
  }

  /** By three segments. */
  open(): void {
    this.out({ flags: 'S' });
    this.in({ flags: 'SA' });
    this.out({});
  }

  /** A segment of the client that arrives. @throws where it does not, or not as it should */
  out(send: Send, what = ''): Seen {
    return this.pass('out', this.build('out', send), what);
  }

  in(send: Send, what = ''): Seen {
    return this.pass('in', this.build('in', send), what);
  }

  /** The last segment of one side once more. */
  again(direction: Direction, what = ''): Seen {
    return this.pass(direction, this.sent[direction], what);
  }

  /** What becomes of a segment, in one line. */
  tell(direction: Direction, send: Send): string {
    const { from, to, station } = this.ends(direction);
    return this.lab.say(station, tcp(from, to, this.build(direction, send)));
  }

  /** STATE_ of its flow. */
  get state(): number {
    return this.word(FLOW_STATE) & STATE_MASK;
  }

  word(index: number): number {
    return this.lab.flows.table.words[this.flow * FLOW_WORDS + index];
  }

  private ends(direction: Direction): { from: string; to: string; station: Station } {
    const { client, server } = this;
    if (direction === 'out') return { from: client.host.end, to: this.target, station: client.host.station };
    return { from: server.host.end, to: client.host.seen, station: server.host.station };
  }

  private build(direction: Direction, send: Send): Tcp {
    const [mine, theirs] = direction === 'out' ? [this.client, this.server] : [this.server, this.client];
    const flags = send.flags ?? 'A';
    const length = send.data ?? 0;
    const sequence = (send.again === true ? mine.last : mine.next) + (send.from ?? 0);
    if (send.from === undefined && send.again !== true) {
      mine.last = mine.next;
      mine.next += length + (/[SF]/.test(flags) ? 1 : 0);
    }
    const isAck = flags.includes('A') && send.acknowledges !== false;
    const fields = { flags, sequence, acknowledgment: isAck ? theirs.next : 0, data: filler(length) };
    this.sent[direction] = fields;
    return fields;
  }

  private pass(direction: Direction, fields: Tcp, what: string): Seen {
    const { from, to, station } = this.ends(direction);
    const seen = this.lab.pass(station, tcp(from, to, fields));
    const [mine, theirs] = direction === 'out' ? [this.client, this.server] : [this.server, this.client];
    const arrived = `${textOf(seen.source, seen.sourcePort)} > ${textOf(seen.destination, seen.destinationPort)}`;
    const due = `${mine.host.seen} > ${theirs.host.end}`;
    const isSame =
      seen.sequence === fields.sequence &&
      seen.acknowledgment === fields.acknowledgment &&
      seen.flags === flagsOf(fields.flags ?? '') &&
      Buffer.compare(seen.payload, fields.data ?? new Uint8Array(0)) === 0;
    if (arrived !== due || seen.port !== theirs.host.port || !isSame)
      throw new Error(`${what || direction}: arrived as ${arrived} at port ${seen.port}, expected ${due}`);
    this.flow = this.findFlow();
    return seen;
  }

  /** By the client's own end: the flow that it has begun. */
  private findFlow(): number {
    const { port } = endOf(this.client.host.end);
    const { table } = this.lab.flows;
    let found = -1;
    table.forEach((flow) => {
      const ports = table.words[flow * FLOW_WORDS + 2];
      if (ports >>> 16 === port && (ports & 0xffff) === endOf(this.target).port) found = flow;
    });
    return found;
  }
}

function flagsOf(letters: string): number {
  const bits: [string, number][] = [
    ['F', FIN],
    ['S', SYN],
    ['R', RST],
    ['A', ACK],
  ];
  return bits.reduce((sum, [letter, bit]) => (letters.includes(letter) ? sum | bit : sum), 0);
}
