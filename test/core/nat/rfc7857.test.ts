/** RFC 7857, which brings 4787, 5382 and 5508 up to date, section by section. */

import test from 'ava';
import {
  FLOW_EXPIRES,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_RESET,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../../../core/nat/flow.js';
import { DEFAULT_TIMEOUTS } from '../../../core/nat/flow-table.js';
import { FILTERING_ENDPOINT_INDEPENDENT, MAPPING_ADDRESS_AND_PORT_DEPENDENT } from '../../../core/nat/settings.js';
import { expectWhole, word4 } from '../router/lab.js';
import { Connection } from './connection.js';
import { A, A2, EXTERNAL, NatLab, type NatOptions, OUTSIDE, pool, SERVER, SERVER2, UPLINK } from './lab.js';
import { echo, filler, fragments4, tcp, udp, unreachable } from './wire.js';

const INSIDE = '10.1.0.11:5000';
const MAPPED = `${EXTERNAL}:5000`;
const FIRST = `${SERVER}:80`;

function begin(options: NatOptions = {}): { lab: NatLab; connection: Connection } {
  const lab = new NatLab(options);
  return { lab, connection: new Connection(lab, { station: A, end: INSIDE, seen: MAPPED, port: 1 }, FIRST) };
}

test('RFC 7857 s2: the stages of a connection, every edge', (t) => {
  const { lab, connection } = begin();
  const is = (state: number, what: string): void => {
    t.is(connection.state, state, what);
  };
  connection.out({ flags: 'S' });
  is(STATE_SYN_SENT, 'CLOSED to INIT');
  connection.in({ flags: 'SA' });
  is(STATE_SYN_RECEIVED, 'INIT, both SYNs');
  connection.out({});
  is(STATE_ESTABLISHED, 'INIT to ESTABLISHED');
  connection.out({ data: 5 });
  is(STATE_ESTABLISHED, 'data');
  connection.in({ flags: 'FA' });
  is(STATE_FIN, 'FIN RCV');
  connection.out({});
  is(STATE_FIN, 'and its acknowledgment');
  connection.out({ flags: 'FA' });
  is(STATE_CLOSING, 'TRANS');
  connection.in({});
  is(STATE_CLOSING, 'the last ACK');
  lab.wait(DEFAULT_TIMEOUTS[STATE_CLOSING] + 1);
  t.is(lab.flows.table.count, 0, 'TRANS to CLOSED');
  expectWhole(t, lab);
});

test('RFC 7857 s2: a connection that is over makes room for the next one of the same ends', (t) => {
  const { lab, connection } = begin();
  connection.open();
  connection.out({ flags: 'FA' });
  connection.in({ flags: 'FA' });
  connection.out({});
  connection.out({ flags: 'S' });
  t.is(connection.state, STATE_SYN_SENT);
  t.is(lab.flows.table.count, 1);
  expectWhole(t, lab);
});

test('RFC 7857 s2.1: timeouts of opening and of closing are set apart, four minutes unless given', (t) => {
  t.is(DEFAULT_TIMEOUTS[STATE_SYN_SENT], 240);
  t.is(DEFAULT_TIMEOUTS[STATE_CLOSING], 240);
  const { lab, connection } = begin({ timeouts: { [STATE_SYN_SENT]: 300, [STATE_CLOSING]: 260 } });
  lab.say(A, tcp('10.1.0.11:6000', FIRST));
  connection.open();
  connection.out({ flags: 'FA' });
  connection.in({ flags: 'FA' });
  lab.wait(261);
  t.is(lab.flows.table.count, 1, 'closing first');
  lab.wait(40);
  t.is(lab.flows.table.count, 0);
  expectWhole(t, lab);
});

test('RFC 7857 s2.2: an RST is translated, and the connection stays for four minutes', (t) => {
  for (const direction of ['out', 'in'] as const) {
    const { lab, connection } = begin();
    connection.open();
    if (direction === 'out') connection.out({ flags: 'R' });
    else connection.in({ flags: 'R' });
    t.is(connection.state, STATE_RESET);
    lab.wait(239);
    t.is(lab.flows.table.count, 1);
    lab.wait(2);
    t.is(lab.flows.table.count, 0);
    expectWhole(t, lab);
  }
});

test('RFC 7857 s2.2: an RST that is out of the window is dropped, and nothing comes of it', (t) => {
  const { lab, connection } = begin();
  connection.open();
  for (const from of [-100_000, 10_000_000]) {
    for (const direction of ['out', 'in'] as const) {
      t.is(connection.tell(direction, { flags: 'R', from }), 'dropped tcp_window');
      t.is(connection.state, STATE_ESTABLISHED);
    }
  }
  connection.in({ data: 10 });
  connection.out({});
  expectWhole(t, lab);
});

test('RFC 7857 s3: ports serve several endpoints where mapping depends on the destination', (t) => {
  const lab = new NatLab({
    nat: { mapping: MAPPING_ADDRESS_AND_PORT_DEPENDENT, firstPort: 4000, lastPort: 4009 },
    capacity: 4096,
  });
  for (let server = 0; server < 100; server++) {
    for (let client = 0; client < 10; client++) {
      const seen = lab.pass(A, udp(`10.1.0.11:${6000 + client}`, `198.18.0.${server}:53`));
      t.true(seen.sourcePort >= 4000 && seen.sourcePort <= 4009);
      const answer = lab.pass(OUTSIDE, udp(`198.18.0.${server}:53`, `${EXTERNAL}:${seen.sourcePort}`));
      t.is(answer.destinationPort, 6000 + client);
    }
  }
  t.is(lab.flows.table.count, 1000, 'of ten ports');
  expectWhole(t, lab);
});

test('RFC 7857 s4: an endpoint whose address of a pool has no port left does not get another address', (t) => {
  const addresses = [EXTERNAL, '203.0.113.2', '203.0.113.3'].flatMap((text) => [word4(text), 0xffffff00 | 0]);
  const lab = new NatLab({
    nat: { firstPort: 4000, lastPort: 4003 },
    translation: { 1: pool('203.0.113.2', '203.0.113.3') },
    interfaces: { [UPLINK]: { addresses4: Int32Array.from(addresses) } },
  });
  const used = new Set<string>();
  for (let i = 0; i < 4; i++) used.add(lab.pass(A, udp(`10.1.0.11:${5000 + i}`, FIRST)).source);
  t.is(used.size, 1);
  t.regex(lab.say(A, udp('10.1.0.11:5004', FIRST)), /dropped ports_exhausted$/);
  expectWhole(t, lab);
});

test('RFC 7857 s5: a mapping is of one protocol', (t) => {
  const { lab, connection } = begin();
  connection.open();
  t.is(lab.pass(A2, udp('10.1.0.12:5000', FIRST)).sourcePort, 5000, 'of UDP the port is free');
  t.is(lab.say(OUTSIDE, udp(FIRST, MAPPED)), `2 udp ${FIRST} > 10.1.0.12:5000`);
  expectWhole(t, lab);
});

test('RFC 7857 s6: what a mapping lets in is of its protocol', (t) => {
  const { lab, connection } = begin({ nat: { filtering: FILTERING_ENDPOINT_INDEPENDENT } });
  connection.open();
  t.regex(lab.say(OUTSIDE, udp(`${SERVER2}:9`, MAPPED)), /dropped not_listening$/);
  t.is(lab.say(OUTSIDE, tcp(`${SERVER2}:9`, MAPPED)), `1 tcp S ${SERVER2}:9 > ${INSIDE}`);
  expectWhole(t, lab);
});

test('RFC 7857 s7: what a filter drops keeps no mapping from ending', (t) => {
  const { lab } = begin({ timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 } });
  lab.say(A, udp(INSIDE, FIRST));
  for (let second = 0; second < 120; second += 30) {
    t.is(lab.say(OUTSIDE, udp(`${SERVER2}:9`, MAPPED)), 'dropped filtered');
    lab.wait(30);
  }
  lab.wait(1);
  t.is(lab.flows.mappings.count, 0);
  expectWhole(t, lab);
});

test('RFC 7857 s7.1: nor do RST and ICMP errors with which the inside refuses what came in', (t) => {
  const { lab } = begin({
    nat: { filtering: FILTERING_ENDPOINT_INDEPENDENT },
    timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 },
  });
  lab.say(A, udp(INSIDE, FIRST));
  const expires = lab.flows.table.words[FLOW_EXPIRES];
  for (let i = 0; i < 3; i++) {
    lab.wait(30);
    const stranger = `${SERVER2}:${900 + i}`;
    const arrived = lab.pass(OUTSIDE, udp(stranger, MAPPED));
    t.regex(lab.say(A, unreachable('10.1.0.11', SERVER2, arrived.bytes, 28)), /^6 icmp 3\/3/);
    t.is(lab.flows.table.words[FLOW_EXPIRES], expires);
  }
  lab.wait(31);
  t.is(lab.flows.mappings.count, 0, 'UDP');

  lab.say(A, tcp('10.1.0.11:7000', FIRST));
  for (let i = 0; i < 8; i++) {
    const stranger = `${SERVER2}:${900 + i}`;
    const line = lab.say(OUTSIDE, tcp(stranger, `${EXTERNAL}:7000`));
    t.is(line, `1 tcp S ${stranger} > 10.1.0.11:7000`);
    t.regex(
      lab.say(A, tcp('10.1.0.11:7000', stranger, { flags: 'RA', sequence: 0, acknowledgment: 1001 })),
      /^6 tcp RA/,
    );
    lab.wait(30);
  }
  lab.wait(1);
  t.is(lab.flows.mappings.count, 0, 'TCP');
  expectWhole(t, lab);
});

test('RFC 7857 s9: a port that is changed is not to be guessed', (t) => {
  const lab = new NatLab({ capacity: 4096 });
  lab.say(A, udp(INSIDE, FIRST));
  const ports: number[] = [];
  for (let i = 0; i < 1000; i++) {
    const host = `10.1.${i >> 8}.${i & 255}`;
    if (host !== '10.1.0.11') ports.push(lab.pass(A, udp(`${host}:5000`, FIRST)).sourcePort);
  }
  t.is(new Set(ports).size, ports.length);
  // Sixteen equal parts of the range, each with about a sixteenth of the ports: 62 of a thousand, give or take five deviations.
  const parts = new Array(16).fill(0);
  for (const port of ports) parts[Math.floor(((port - 1024) * 16) / 64_512)]++;
  t.true(Math.min(...parts) > 24 && Math.max(...parts) < 101, parts.join());
  const steps = ports.slice(1).filter((port, i) => Math.abs(port - ports[i]) <= 4);
  t.true(steps.length < 20, `${steps.length} ports next to the one before`);
  expectWhole(t, lab);
});

test('RFC 7857 s10: identifications of fragments stay apart', (t) => {
  const lab = new NatLab({ slots: 256, interfaces: { [UPLINK]: { mtu: 600 } } });
  const seen = new Set<string>();
  for (let i = 0; i < 50; i++) {
    for (const [station, end] of [
      [A, INSIDE],
      [A2, '10.1.0.12:5000'],
    ] as const) {
      const whole = udp(end, FIRST, filler(1000));
      new DataView(whole.buffer).setUint16(4, 0x4000 + i);
      const sent = fragments4(whole, 400).flatMap((piece) => lab.give(station, piece));
      const identifications = sent.map(({ frame }) => (frame[18] << 8) | frame[19]);
      t.is(new Set(identifications).size, 1, 'all of a datagram have the same');
      seen.add(`${identifications[0]}`);
    }
  }
  t.is(seen.size, 100, 'and no two of one address have, though their senders do');
  expectWhole(t, lab);
});

test('RFC 7857 s11: the mapping of queries ends with the last of them', (t) => {
  const lab = new NatLab();
  lab.say(A, echo('10.1.0.11', SERVER, 7));
  lab.wait(30);
  lab.say(A, echo('10.1.0.11', SERVER2, 7));
  lab.wait(31);
  t.is(lab.flows.mappings.count, 1);
  t.is(lab.flows.table.count, 1);
  lab.wait(30);
  t.is(lab.flows.mappings.count, 0);
  expectWhole(t, lab);
});
