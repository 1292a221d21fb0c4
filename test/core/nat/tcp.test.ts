/**
 * The stages of a TCP connection and its windows, edge by edge. C is the side that began (original), S the other (reply); sequence
 * numbers are written as what is added to the initial one.
 */

import test from 'ava';
import * as flow from '../../../core/nat/flow.js';
import * as own from '../../../core/nat/tcp-words.js';
import { TCP_ACK } from '../../../core/wire/tcp.js';
import { ACK, FIN, PSH, RST, type Segment, SYN, TcpFlow, URG } from './segments.js';

const C = flow.DIRECTION_ORIGINAL;
const S = flow.DIRECTION_REPLY;
/** Near the end of their space: every connection here wraps soon. */
const ISS = [0xffff_fff0, 0x7fff_fff8];
const WINDOW = 0xffff;

/** A flow whose numbers count from each side's initial one. */
class Connection extends TcpFlow {
  /** @param c initial number of the side that begins */
  readonly iss: number[];

  constructor(iss: readonly number[] = ISS) {
    super();
    this.iss = [...iss];
  }

  c(segment: Segment): string {
    return this.from(C, this.counted(C, segment));
  }

  s(segment: Segment): string {
    return this.from(S, this.counted(S, segment));
  }

  begin(segment: Segment): string {
    return this.open(this.counted(C, segment));
  }

  counted(direction: number, segment: Segment): Segment {
    const seq = (segment.seq + this.iss[direction]) | 0;
    if (segment.ack === undefined) return { ...segment, seq };
    return { ...segment, seq, ack: (segment.ack + this.iss[direction ^ 1]) | 0 };
  }
}

function syn(options: Partial<Segment> = {}): Segment {
  return { flags: SYN, seq: 0, ...options };
}

function synAck(options: Partial<Segment> = {}): Segment {
  return { flags: SYN | ACK, seq: 0, ack: 1, ...options };
}

function ack(seq: number, acknowledgment: number, options: Partial<Segment> = {}): Segment {
  return { flags: ACK, seq, ack: acknowledgment, ...options };
}

function fin(seq: number, acknowledgment: number, options: Partial<Segment> = {}): Segment {
  return { flags: FIN | ACK, seq, ack: acknowledgment, ...options };
}

function rst(seq: number, options: Partial<Segment> = {}): Segment {
  return { flags: RST, seq, ...options };
}

/** @param scale of both sides */
function established(scale?: number, window = WINDOW): Connection {
  const connection = new Connection();
  const offer = scale === undefined ? {} : { scale };
  connection.begin(syn({ ...offer, win: window }));
  connection.s(synAck({ ...offer, win: window }));
  connection.c(ack(1, 1, { win: window }));
  return connection;
}

/** Both sides have said FIN at 1. */
function closing(): Connection {
  const connection = established();
  connection.c(fin(1, 1));
  connection.s(fin(1, 2));
  return connection;
}

test('the numbers of tcp-words.ts are those that the layout of a flow and the header give', (t) => {
  t.is(own.TCP_END, flow.FLOW_TCP);
  t.is(own.TCP_LIMIT, own.TCP_END + own.SIDES);
  t.is(own.TCP_WINDOWS, own.TCP_LIMIT + own.SIDES);
  t.true(own.TCP_WINDOWS < flow.FLOW_WORDS);
  t.is(own.SCALE_BITS, flow.FLOW_SCALE_REPLY_SHIFT - flow.FLOW_SCALE_SHIFT);
  t.is(own.SCALES, 0xff << flow.FLOW_SCALE_SHIFT);
  t.is(own.FINISHED, 1 << flow.FLOW_TCP_FLAGS_SHIFT);
  t.is(own.CONTROL_MASK, (FIN | SYN | RST | ACK) << 16);
  t.is(own.CONTROL_ACK, TCP_ACK << 16);
  const flags = [own.FINISHED_BOTH, own.ACKNOWLEDGED_BOTH, own.ASKED_BOTH];
  const all = flags.reduce((a, b) => a | b);
  t.is(all, 0x3f << flow.FLOW_TCP_FLAGS_SHIFT, 'three pairs, none twice');
  t.is(all & flow.FLOW_LIVE, 0);
});

// --- the stages, edge by edge (RFC 7857, 2; RFC 6146, 3.5.2)

test('RFC 7857 s2: three-way handshake', (t) => {
  const connection = new Connection();
  t.is(connection.begin(syn()), 'syn_sent');
  t.false(connection.isReplied);
  t.is(connection.s(synAck()), 'syn_received');
  t.true(connection.isReplied);
  t.is(connection.c(ack(1, 1)), 'established');
  t.false(connection.isLoose);
});

test('handshake: data in the third segment, or FIN', (t) => {
  const data = new Connection();
  data.begin(syn());
  data.s(synAck());
  t.is(data.c({ flags: ACK | PSH, seq: 1, ack: 1, len: 100 }), 'established');
  t.is(data.s(ack(1, 101)), 'established');
  const short = new Connection();
  short.begin(syn());
  short.s(synAck());
  t.is(short.c(fin(1, 1)), 'fin');
});

test('the answer to the SYN alone establishes nothing: a flood of SYNs leaves embryonic flows', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  connection.s(synAck());
  t.is(connection.s(synAck()), 'syn_received');
  t.is(connection.c(syn()), 'syn_received');
  t.is(connection.c(ack(1, 0)), 'tcp_window', 'acknowledges the number before the SYN');
  t.is(connection.c(ack(1, 2)), 'tcp_window', 'acknowledges what was not sent');
  t.is(connection.c(ack(1, -60000)), 'tcp_window', 'no tolerance before the first acknowledgment');
  t.is(connection.stage, 'syn_received');
});

test('RFC 5382 REQ-2: SYN and SYN-ACK are repeated', (t) => {
  const connection = new Connection();
  t.is(connection.begin(syn({ scale: 7 })), 'syn_sent');
  t.is(connection.c(syn({ scale: 7 })), 'syn_sent');
  t.is(connection.s(synAck({ scale: 7 })), 'syn_received');
  t.is(connection.c(syn({ scale: 7 })), 'syn_received');
  t.is(connection.s(synAck({ scale: 7 })), 'syn_received');
  t.is(connection.c(ack(1, 1, { win: 1000 })), 'established');
  t.is(connection.s(synAck({ scale: 7 })), 'established', 'the third segment was lost behind here');
  t.is(connection.c(ack(1, 1, { win: 1000 })), 'established');
  t.is(connection.c(syn()), 'established', 'an old duplicate');
  t.is(connection.s(ack(1, 1, { len: 1000 * 128 })), 'established', 'the scale is the one that was agreed upon');
});

test('a SYN with another number in SYN_SENT begins another connection', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  t.is(connection.c(syn({ seq: 5000 })), 'syn_sent');
  t.is(connection.s(synAck({ ack: 5001 })), 'syn_received');
  t.is(connection.c(ack(5001, 1)), 'established');
});

test('a SYN that is repeated without its options: the other side may have taken either', (t) => {
  const connection = new Connection();
  connection.begin(syn({ scale: 5 }));
  connection.c(syn({ win: 1000 }));
  t.is(connection.s(synAck({ scale: 2 })), 'syn_received');
  t.is(connection.c(ack(1, 1, { win: 1000 })), 'established');
  t.is(connection.s(ack(1, 1, { len: 32_000 })), 'established');
  t.is(connection.s(ack(32_001, 1)), 'established', 'at the limit of 1000 << 5');
});

test('SYN cookies: a repeated SYN-ACK may have another number', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  connection.s(synAck());
  t.is(connection.s(synAck({ seq: -900_000 })), 'syn_received');
  t.is(connection.c(ack(1, 1)), 'tcp_window', 'the first is not the one any more');
  t.is(connection.c(ack(1, -899_999)), 'established');
  t.is(connection.s(ack(-899_999, 1, { len: 100 })), 'established');
  t.is(connection.s(synAck({ seq: 5_000_000 })), 'tcp_window', 'only until it is acknowledged');
});

test('RFC 5382 REQ-2: simultaneous open', (t) => {
  const connection = new Connection();
  connection.begin(syn({ scale: 3 }));
  t.is(connection.s(syn({ scale: 4 })), 'syn_received');
  t.true(connection.isReplied);
  t.is(connection.c(synAck({ scale: 3 })), 'syn_received');
  t.is(connection.s(synAck({ scale: 4 })), 'established');
  t.is(connection.c(ack(1, 1, { win: 8000, len: 500 })), 'established');
  t.is(connection.s(ack(1, 501, { len: 64_000 })), 'established', '8000 << 3');
  t.is(connection.s(ack(WINDOW + 3, 501)), 'tcp_window');
});

test('simultaneous open: the second SYN-ACK is lost, an ACK stands for it', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  connection.s(syn());
  t.is(connection.s(synAck({ ack: 2 })), 'tcp_window', 'acknowledges what was not sent');
  t.is(connection.s(synAck()), 'syn_received');
  t.is(connection.c(ack(1, 1)), 'established');
});

test('RFC 5382 REQ-2: half close, data goes on the other way', (t) => {
  const connection = established();
  t.is(connection.c(fin(1, 1)), 'fin');
  t.is(connection.s(ack(1, 2)), 'fin');
  t.is(connection.s(ack(1, 2, { len: 1000 })), 'fin');
  t.is(connection.c(ack(2, 1001)), 'fin');
  t.is(connection.c(fin(1, 1001)), 'fin', 'the FIN again');
  t.is(connection.s(fin(1001, 2)), 'closing');
  t.is(connection.c(ack(2, 1002)), 'closing');
});

test('FIN of the other side first, and both at once', (t) => {
  const other = established();
  t.is(other.s(fin(1, 1)), 'fin');
  t.is(other.c(fin(1, 2)), 'closing');
  t.is(other.s(ack(2, 2)), 'closing');
  const both = established();
  t.is(both.c(fin(1, 1)), 'fin');
  t.is(both.s(fin(1, 1)), 'closing');
  t.is(both.c(fin(1, 2)), 'closing', 'repeated');
  t.is(both.s(fin(1, 2)), 'closing');
});

test('FIN that overtakes data', (t) => {
  const connection = established();
  t.is(connection.c(fin(2001, 1)), 'fin');
  t.is(connection.c(ack(1, 1, { len: 1000 })), 'fin');
  t.is(connection.c(ack(1001, 1, { len: 1000 })), 'fin');
  t.is(connection.s(ack(1, 2002)), 'fin');
});

test('FIN out of the window ends nothing', (t) => {
  const connection = established();
  t.is(connection.c(fin(100_000, 1)), 'tcp_window');
  t.is(connection.stage, 'established');
});

// --- reset (RFC 7857, 2.2; RFC 5961, 3)

test('RFC 7857 s2.2: RST in the window passes, out of it not', (t) => {
  const connection = established();
  connection.c(ack(1, 1, { len: 1000 }));
  for (const seq of [-70_000, 1 + WINDOW + 2, 0x4000_0000, -0x4000_0000]) {
    t.is(connection.c(rst(seq)), 'tcp_window', `${seq}`);
    t.is(connection.s(rst(seq)), 'tcp_window', `${seq}`);
  }
  t.is(connection.stage, 'established');
  t.is(connection.c(rst(1001)), 'reset');
});

test('an exact RST is the end: nothing that was under way revives the connection', (t) => {
  for (const flags of [RST, RST | ACK]) {
    const connection = established();
    t.is(connection.c({ flags, seq: 1, ack: 0 }), 'reset', 'some hosts acknowledge 0');
    t.is(connection.s(ack(1, 1, { len: 1000 })), 'reset');
    t.is(connection.c(rst(1)), 'reset');
    t.is(connection.s(ack(1001, 1)), 'reset');
    t.is(connection.s(rst(500)), 'reset');
    t.is(connection.s(ack(1001, 1)), 'reset', 'a doubtful one later makes it no less certain');
    t.is(connection.s(ack(200_000, 1)), 'tcp_window');
  }
});

test('challenge ACK after a doubtful RST leads back (RFC 5961, 3.2; RFC 6146, 3.5.2.2)', (t) => {
  const connection = established();
  t.is(connection.c(rst(200)), 'reset');
  t.is(connection.s(ack(1, 1)), 'established');
  t.is(connection.c(rst(1)), 'reset');
  t.is(connection.s(ack(1, 1)), 'reset');
});

test('a doubtful RST leads back to where the connection was', (t) => {
  const half = established();
  half.c(fin(1, 1));
  t.is(half.s(rst(200)), 'reset');
  t.is(half.c(ack(2, 1)), 'fin');
  const both = closing();
  t.is(both.s(rst(200)), 'reset');
  t.is(both.c(ack(2, 2)), 'closing');
  const opening = new Connection();
  opening.begin(syn());
  opening.s(synAck());
  t.is(opening.s(rst(200)), 'reset');
  t.is(opening.c(ack(1, 1)), 'established');
});

test('connection refused: RST of SYN_SENT must acknowledge the SYN', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  t.is(connection.s({ flags: RST | ACK, seq: -ISS[S], ack: 0 }), 'tcp_window');
  t.is(connection.s({ flags: RST | ACK, seq: -ISS[S], ack: 2 }), 'tcp_window');
  t.is(connection.s(rst(0)), 'tcp_window', 'without ACK it is no answer to a SYN');
  t.is(connection.s({ flags: RST | ACK, seq: -ISS[S], ack: 1 }), 'reset');
  t.is(connection.c(syn({ seq: 77 })), 'reopen');
});

test('the side that began gives up in SYN_SENT, or refuses the SYN-ACK', (t) => {
  const early = new Connection();
  early.begin(syn());
  t.is(early.c(rst(-1)), 'tcp_window');
  t.is(early.c(rst(2)), 'tcp_window');
  t.is(early.c(rst(1)), 'reset');
  const late = new Connection();
  late.begin(syn());
  late.s(synAck());
  t.is(late.c(rst(1)), 'reset');
  t.is(late.s(synAck()), 'reset', 'it was under way');
});

// --- hosts that have lost a connection, or still have one (RFC 9293, 3.5.1)

test('challenge ACK of an old connection in SYN_SENT, and the RST that it asks for', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  t.is(connection.c(rst(-3_000_000)), 'tcp_window', 'nobody has asked');
  t.is(connection.s(ack(123_456, -3_000_000)), 'syn_sent');
  t.false(connection.isReplied);
  t.is(connection.c(rst(-3_000_001)), 'tcp_window');
  t.is(connection.c(rst(-3_000_000)), 'syn_sent');
  t.is(connection.c(syn()), 'syn_sent');
  t.is(connection.s(synAck()), 'syn_received');
  t.is(connection.c(ack(1, 1)), 'established');
});

test('SYN-ACK to an old duplicate of a SYN (RFC 9293, figure 9)', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  t.is(connection.s(synAck({ seq: 900, ack: -500 })), 'syn_sent');
  t.is(connection.c(rst(-500)), 'syn_sent');
  t.is(connection.s(synAck()), 'syn_received');
});

test('RFC 5961 s4: a SYN in an established connection passes and changes nothing', (t) => {
  for (const seq of [-100_000, 50, 100_000, 0x7000_0000]) {
    const connection = established();
    const numbers = connection.numbers;
    t.is(connection.c(syn({ seq })), 'established');
    t.deepEqual(connection.numbers, numbers);
    t.is(connection.s(ack(1, 1)), 'established', 'the challenge ACK');
    t.deepEqual(connection.numbers, numbers);
    t.is(connection.s(synAck({ seq: 3_000_000, ack: seq + 1 })), 'tcp_window', 'the other side is there');
    t.is(connection.s(ack(1, 1, { len: 10 })), 'established');
  }
});

test('a host that has restarted: SYN, challenge ACK, RST, SYN', (t) => {
  const connection = established();
  connection.s(ack(1, 1, { len: 5000 }));
  t.is(connection.c(syn({ seq: 700_000 })), 'established');
  t.is(connection.s(ack(5001, 1)), 'established');
  t.is(connection.c(rst(1)), 'reset');
  t.is(connection.c(syn({ seq: 700_000 })), 'reopen');
});

test('both hosts have restarted: the flow goes on as one that was picked up', (t) => {
  const connection = established();
  t.is(connection.s(synAck({ seq: 900_000, ack: 700_001 })), 'tcp_window', 'nobody has asked');
  t.is(connection.c(syn({ seq: 700_000, scale: 9 })), 'established');
  t.is(connection.c(synAck({ seq: 900_000, ack: 700_001 })), 'tcp_window', 'not from the side that asked');
  t.is(connection.s(synAck({ seq: 900_000, ack: 700_001, scale: 9 })), 'syn_received');
  t.true(connection.isLoose);
  t.is(connection.c(ack(700_001, 900_001)), 'established');
  t.is(connection.s(ack(900_001, 700_001, { len: 60_000 })), 'established');
  t.is(connection.s(rst(0x4000_0000)), 'tcp_window');
  t.is(connection.s(rst(960_001)), 'reset');
});

test('TIME_WAIT: a new SYN of either side begins another connection', (t) => {
  t.is(closing().c(syn({ seq: 100 })), 'reopen');
  t.is(closing().c(syn({ seq: -100_000 })), 'reopen', 'by its timestamp (RFC 6191)');
  t.is(closing().s(syn({ seq: 100 })), 'reopen');
  const half = established();
  half.c(fin(1, 1));
  t.is(half.c(syn({ seq: 100_000 })), 'fin', 'one side is still open');
});

// --- windows

test('data up to the limit, and one byte behind it', (t) => {
  const connection = established(undefined, 1000);
  t.is(connection.c(ack(1, 1, { len: 1000, win: 1000 })), 'established');
  t.is(connection.c(ack(1001, 1, { len: 1, win: 1000 })), 'established', 'zero window probe (RFC 9293, 3.8.6.1)');
  t.is(connection.c(ack(1002, 1, { len: 1, win: 1000 })), 'established');
  t.is(connection.c(ack(1003, 1, { win: 1000 })), 'tcp_window');
  t.is(connection.s(ack(1, 1002, { win: 1000 })), 'established');
  t.is(connection.c(ack(1003, 1, { win: 1000 })), 'established');
});

test('zero window: probes with and without data, then the window opens', (t) => {
  const connection = established(undefined, 1000);
  connection.c(ack(1, 1, { len: 1000, win: 1000 }));
  t.is(connection.s(ack(1, 1001, { win: 0 })), 'established');
  for (let probe = 0; probe < 3; probe++) {
    t.is(connection.c(ack(1000, 1)), 'established', 'as Linux probes');
    t.is(connection.c(ack(1001, 1, { len: 1 })), 'established');
    t.is(connection.s(ack(1, 1001, { win: 0 })), 'established');
  }
  t.is(connection.c(ack(1500, 1, { len: 100 })), 'tcp_window');
  t.is(connection.s(ack(1, 1001, { win: 1000 })), 'established');
  t.is(connection.c(ack(1500, 1, { len: 100 })), 'established');
});

test('a SYN-ACK with window 0, and one that opens later', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  t.is(connection.s(synAck({ win: 0 })), 'syn_received');
  t.is(connection.c(ack(1, 1)), 'established');
  t.is(connection.c(ack(0, 1)), 'established', 'a keepalive, with no window at all');
  t.is(connection.c(ack(1, 1, { len: 1 })), 'established');
  t.is(connection.c(ack(3, 1, { len: 1 })), 'tcp_window');
  t.is(connection.s(ack(1, 1, { win: 500 })), 'established');
  t.is(connection.c(ack(3, 1, { len: 1 })), 'established');
});

test('keepalive: the byte before, with and without it (RFC 9293, 3.8.4)', (t) => {
  const connection = established();
  connection.c(ack(1, 1, { len: 3000 }));
  connection.s(ack(1, 3001));
  for (const len of [0, 1]) {
    t.is(connection.c(ack(3000, 1, { len })), 'established');
    t.is(connection.s(ack(0, 3001, { len })), 'established');
    t.is(connection.c(ack(3001, 1)), 'established');
  }
});

test('retransmission and reordering inside a window, an old duplicate behind it', (t) => {
  const connection = established(undefined, 10_000);
  connection.c(ack(1, 1, { len: 10_000 }));
  connection.s(ack(1, 10_001, { win: 10_000 }));
  connection.c(ack(10_001, 1, { len: 10_000 }));
  t.is(connection.c(ack(9_001, 1, { len: 1000 })), 'established', 'ends a window before');
  t.is(connection.c(ack(9_000, 1, { len: 1000 })), 'established', 'with the one to spare');
  t.is(connection.c(ack(8_999, 1, { len: 1000 })), 'tcp_window');
  t.is(connection.c(ack(1, 1, { len: 1000 })), 'tcp_window');
  t.is(connection.c(ack(8_000, 1, { len: 2500 })), 'established', 'reaches into it');
});

test('an acknowledgment of what was not sent, and one that is too old', (t) => {
  const win = 30_000;
  const connection = established(undefined, win);
  t.is(connection.s(ack(1, 2, { win })), 'tcp_window');
  for (let at = 1; at < 120_001; at += 30_000) {
    connection.c(ack(at, 1, { len: 30_000, win }));
    connection.s(ack(1, at + 30_000, { win }));
  }
  t.is(connection.s(ack(1, 120_001 - 66_000, { win })), 'established');
  t.is(connection.s(ack(1, 120_001 - 66_001, { win })), 'tcp_window');
  t.is(connection.s(ack(1, 120_002, { win })), 'tcp_window');
});

test('RFC 5961 s5.2: an acknowledgment may be two of the largest windows old', (t) => {
  const connection = established(7);
  for (let at = 1; at < 800_001; at += 100_000) {
    connection.c(ack(at, 1, { len: 100_000, win: 2000 }));
    connection.s(ack(1, at + 100_000, { win: 2000 }));
  }
  t.is(connection.s(ack(1, 800_001 - 512_002, { win: 2000 })), 'established', '2 * (2000 << 7), and two to spare');
  t.is(connection.s(ack(1, 800_001 - 512_003, { win: 2000 })), 'tcp_window');
});

test('window scale: as offered by both, else by none', (t) => {
  const cases = [
    { c: 7, s: 3, limit: 100 << 3 },
    { c: 0, s: 14, limit: 100 << 14 },
    { c: 7, s: 0, limit: 100 },
    { c: undefined, s: 7, limit: 100 },
    { c: 7, s: undefined, limit: 100 },
    { c: 2, s: 255, limit: 100 << 14 },
  ];
  for (const { c, s, limit } of cases) {
    const connection = new Connection();
    connection.begin(syn({ win: 10, ...(c === undefined ? {} : { scale: c }) }));
    connection.s(synAck({ win: 10, ...(s === undefined ? {} : { scale: s }) }));
    connection.c(ack(1, 1));
    t.is(connection.c(ack(13, 1)), 'tcp_window', 'the window of a SYN is not scaled');
    connection.s(ack(1, 1, { win: 100 }));
    t.is(connection.c(ack(1 + limit + 2, 1)), 'tcp_window', `${c} ${s}`);
    t.is(connection.c(ack(1 + limit, 1)), 'established', `${c} ${s}`);
  }
});

test('options: the scale is found behind others, and not in what is broken', (t) => {
  const offers: [number[], number][] = [
    [[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 2], 400],
    [[1, 1, 1, 0], 100],
    [[3, 0, 2, 0], 100],
    [[1, 1, 1, 3], 100],
    [[1, 1, 3, 3], 100],
    [[0, 3, 3, 2], 100],
    [[1, 3, 2, 2], 100],
    [[34, 0, 3, 3, 2, 0, 0, 0], 100],
  ];
  for (const [options, limit] of offers) {
    const connection = new Connection();
    connection.begin(syn({ scale: 0 }));
    connection.s(synAck({ options, win: 10 }));
    connection.c(ack(1, 1));
    connection.s(ack(1, 1, { win: 100 }));
    t.is(connection.c(ack(1 + limit + 2, 1)), 'tcp_window', `${options}`);
    t.is(connection.c(ack(1 + limit + 1, 1)), 'established', `${options}`);
  }
});

test('a window that shrinks takes nothing back', (t) => {
  const connection = established(undefined, 5000);
  t.is(connection.s(ack(1, 1, { win: 100 })), 'established');
  t.is(connection.c(ack(4001, 1, { len: 1000 })), 'established');
});

test('SACK and timestamps: options change nothing', (t) => {
  const connection = established(7);
  const options = [1, 1, 5, 10, 0, 0, 0x20, 0, 0, 0, 0x30, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];
  t.is(connection.c(ack(1, 1, { len: 1000, options })), 'established');
  t.is(connection.c(ack(2001, 1, { len: 1000 })), 'established');
  t.is(connection.s(ack(1, 1001, { options })), 'established');
  t.is(connection.c(ack(1001, 1, { len: 1000 })), 'established');
  t.is(connection.s(ack(1, 3001, { options })), 'established', 'its length counts no options');
});

test('TCP fast open: data in SYN and SYN-ACK, all or part of it acknowledged (RFC 7413)', (t) => {
  const all = new Connection();
  t.is(all.begin(syn({ len: 500 })), 'syn_sent');
  t.is(all.s(synAck({ ack: 501, len: 300 })), 'syn_received');
  t.is(all.s(ack(301, 501, { len: 1000 })), 'syn_received', 'the server need not wait');
  t.is(all.c(ack(501, 1301)), 'established');
  const none = new Connection();
  none.begin(syn({ len: 500 }));
  t.is(none.s(synAck({ ack: 1 })), 'syn_received', 'the data was not taken');
  t.is(none.c(ack(1, 1, { len: 500 })), 'established');
  t.is(none.s(ack(1, 501)), 'established');
  const without = new Connection();
  without.begin(syn({ len: 500 }));
  t.is(without.c(syn()), 'syn_sent', 'repeated without the data');
  t.is(without.s(synAck({ ack: 502 })), 'syn_sent', 'fits nothing');
  t.is(without.s(synAck({ ack: 501 })), 'syn_received');
});

test('super-packets: one of 64 KiB counts as its segments', (t) => {
  const connection = established(7, 0xffff);
  t.is(connection.c(ack(1, 1, { len: 65_160, win: 512 })), 'established');
  t.is(connection.c(ack(65_161, 1, { len: 65_160, win: 512 })), 'established');
  t.is(connection.s(ack(1, 130_321, { win: 512 })), 'established');
  t.is(connection.s(ack(1, 130_322, { win: 512 })), 'tcp_window');
});

test('sequence numbers wrap, both ways and often', (t) => {
  const connection = established(10);
  let sent = 1;
  for (let segment = 0; segment < 100_000; segment++) {
    if (connection.c(ack(sent, 1, { len: 60_000 })) !== 'established') t.fail(`at ${sent}`);
    sent += 60_000;
    if (connection.s(ack(1, sent)) !== 'established') t.fail(`at ${sent}`);
  }
  t.true(sent > 2 ** 32);
  t.is(connection.s(ack(1, sent + 1)), 'tcp_window');
});

// --- flags

test('flags that no segment may have', (t) => {
  const legal = new Set([SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK]);
  for (let flags = 0; flags < 256; flags++) {
    const isLegal = legal.has(flags & (FIN | SYN | RST | ACK));
    const results = [
      new Connection().begin({ flags, seq: 0, ack: 1 }),
      established().c({ flags, seq: 1, ack: 1 }),
      established().s({ flags, seq: 1, ack: 1 }),
      closing().s({ flags, seq: 2, ack: 2 }),
    ];
    for (const result of results) t.is(result === 'tcp_state', !isLegal, `${flags}: ${result}`);
  }
});

test('null, xmas, SYN+FIN', (t) => {
  const connection = established();
  for (const flags of [0, FIN | PSH | URG, SYN | FIN, 0xff, URG, PSH, FIN]) {
    t.is(connection.c({ flags, seq: 1, ack: 1 }), 'tcp_state');
    t.is(connection.stage, 'established');
  }
});

test('in SYN_SENT its side may say SYN again, nothing else', (t) => {
  const connection = new Connection();
  connection.begin(syn());
  for (const segment of [ack(1, 1), ack(1, 1, { len: 10 }), fin(1, 1), synAck()]) {
    t.is(connection.c(segment), 'tcp_state');
  }
  t.is(connection.s(ack(1, 1)), 'syn_sent', 'an ACK alone is no answer to a SYN');
  t.is(connection.s(fin(1, 1)), 'syn_sent');
});

// --- picked up

test('mid-stream: established once the other side answers; no window is enforced', (t) => {
  const connection = new Connection();
  t.is(connection.begin(ack(5000, 9000, { len: 100, win: 200 })), 'syn_received');
  t.true(connection.isLoose);
  t.is(connection.c(ack(5100, 9000)), 'syn_received');
  t.false(connection.isReplied);
  t.is(connection.s(ack(9000, 5100, { len: 40_000 })), 'established');
  t.true(connection.isReplied);
  t.is(connection.c(ack(5100, 2_000_000)), 'established', 'its scale is not known');
  t.is(connection.c(fin(5100, 49_000)), 'fin');
  t.is(connection.s(fin(49_000, 5101)), 'closing');
  t.is(connection.c(syn({ seq: 1 })), 'reopen');
});

test('mid-stream: an RST counts only near what was sent', (t) => {
  const connection = new Connection();
  connection.begin(ack(5000, 9000));
  connection.s(ack(9000, 5000));
  t.is(connection.s(rst(9000 + (1 << 24) + 1)), 'tcp_window');
  t.is(connection.s(rst(9000 - (1 << 24) - 1)), 'tcp_window');
  t.is(connection.s(rst(9500)), 'reset');
  t.is(connection.c(ack(5000, 9000)), 'established', 'it was doubtful');
  t.is(connection.s(rst(9000)), 'reset');
  t.is(connection.c(ack(5000, 9000)), 'reset');
});

test('mid-stream: what a flow may be picked up by', (t) => {
  t.is(new Connection().begin(synAck()), 'syn_received');
  t.is(new Connection().begin(fin(1, 1)), 'syn_received');
  t.is(new Connection().begin(rst(1)), 'no_flow');
  t.is(new Connection().begin({ flags: RST | ACK, seq: 1, ack: 1 }), 'no_flow');
  const ending = new Connection();
  ending.begin(fin(1, 1));
  t.is(ending.s(ack(1, 2)), 'fin');
});
