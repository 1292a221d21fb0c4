/** RFC 5382, address translation of TCP, requirement by requirement. */

import test from 'ava';
import { STATE_CLOSING, STATE_ESTABLISHED, STATE_FIN, STATE_SYN_SENT } from '../../../core/nat/flow.js';
import { DEFAULT_TIMEOUTS } from '../../../core/nat/flow-table.js';
import {
  FILTERING_ADDRESS_AND_PORT_DEPENDENT,
  FILTERING_ADDRESS_DEPENDENT,
  FILTERING_ENDPOINT_INDEPENDENT,
} from '../../../core/nat/settings.js';
import { expectWhole } from '../router/lab.js';
import { Connection } from './connection.js';
import { A, A2, B, EXTERNAL, EXTERNAL6, MASQUERADE_BOTH, NatLab, OUTSIDE, SERVER, SERVER2, SERVER6 } from './lab.js';
import { TCP } from './packets.js';
import { describe, icmp, type Seen, tcp } from './wire.js';

const INSIDE = '10.1.0.11:5000';
const INSIDE2 = '10.1.0.12:5000';
const FIRST = `${SERVER}:80`;

function mappedBy(lab: NatLab, from: string, to: string, station = A): string {
  const seen = lab.pass(station, tcp(from, to));
  return seen.family === 4 ? `${seen.source}:${seen.sourcePort}` : `[${seen.source}]:${seen.sourcePort}`;
}

test('RFC 5382 REQ-1: one internal address and port has one mapping, whatever it connects to', (t) => {
  const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
  const servers = [FIRST, `${SERVER}:81`, `${SERVER2}:80`, `${SERVER2}:81`];
  t.deepEqual([...new Set(servers.map((server) => mappedBy(lab, INSIDE, server)))], [`${EXTERNAL}:5000`]);
  const collided = new Set(servers.map((server) => mappedBy(lab, INSIDE2, server, A2)));
  t.is(collided.size, 1);
  t.false(collided.has(`${EXTERNAL}:5000`));
  t.is(mappedBy(lab, '[fd00:1::11]:5000', `[${SERVER6}]:80`), `[${EXTERNAL6}]:5000`);
  expectWhole(t, lab);
});

for (const family of [4, 6]) {
  const client = family === 4 ? INSIDE : '[fd00:1::11]:5000';
  const server = family === 4 ? FIRST : `[${SERVER6}]:80`;
  const mapped = family === 4 ? `${EXTERNAL}:5000` : `[${EXTERNAL6}]:5000`;
  const begin = (): { lab: NatLab; connection: Connection } => {
    const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
    return { lab, connection: new Connection(lab, { station: A, end: client, seen: mapped, port: 1 }, server) };
  };

  test(`RFC 5382 REQ-2: a connection from beginning to end, IPv${family}`, (t) => {
    const { lab, connection } = begin();
    connection.open();
    t.is(connection.state, STATE_ESTABLISHED);
    for (let i = 0; i < 10; i++) {
      connection.out({ data: 100 });
      connection.in({ data: 1000 });
    }
    connection.out({ flags: 'FA' });
    t.is(connection.state, STATE_FIN);
    connection.in({ data: 500 }, 'half closed: the other side goes on');
    connection.in({ flags: 'FA' });
    connection.out({});
    t.is(connection.state, STATE_CLOSING);
    connection.again('in', 'a FIN that is repeated');
    expectWhole(t, lab);
  });

  test(`RFC 5382 REQ-2: both open at once, IPv${family}`, (t) => {
    const { lab, connection } = begin();
    connection.out({ flags: 'S' });
    connection.in({ flags: 'S', acknowledges: false });
    connection.out({ flags: 'SA', again: true });
    connection.in({ flags: 'SA', again: true });
    connection.out({});
    connection.in({});
    t.is(connection.state, STATE_ESTABLISHED);
    connection.out({ data: 10 });
    connection.in({ data: 10 });
    expectWhole(t, lab);
  });

  test(`RFC 5382 REQ-2: segments that are repeated, out of order, or keep the connection alive, IPv${family}`, (t) => {
    const { lab, connection } = begin();
    connection.out({ flags: 'S' });
    connection.again('out', 'SYN');
    connection.in({ flags: 'SA' });
    connection.again('in', 'SYN-ACK');
    connection.out({});
    connection.out({ data: 1000 });
    connection.again('out', 'data');
    connection.out({ data: 1000, from: 1000 }, 'behind a gap');
    connection.out({ data: 1000 }, 'into the gap');
    connection.in({});
    connection.out({ data: 1, from: -1 }, 'keepalive');
    connection.in({}, 'and its answer');
    t.is(connection.state, STATE_ESTABLISHED);
    expectWhole(t, lab);
  });
}

for (const [mode, name, otherPort, otherAddress] of [
  [FILTERING_ENDPOINT_INDEPENDENT, 'endpoint-independent', true, true],
  [FILTERING_ADDRESS_DEPENDENT, 'address-dependent', true, false],
  [FILTERING_ADDRESS_AND_PORT_DEPENDENT, 'address-and-port-dependent', false, false],
] as const) {
  test(`RFC 5382 REQ-3: ${name} filtering of connections to a mapping`, (t) => {
    const lab = new NatLab({ nat: { filtering: mode } });
    const mapped = mappedBy(lab, INSIDE, FIRST);
    const heard = (from: string, isHeard: boolean): void => {
      t.is(lab.say(OUTSIDE, tcp(from, mapped)), isHeard ? `1 tcp S ${from} > ${INSIDE}` : 'dropped filtered', from);
    };
    heard(`${SERVER}:4444`, otherPort);
    heard(`${SERVER2}:4444`, otherAddress);
    expectWhole(t, lab);
  });
}

for (const [name, from, to, port, error] of [
  ['IPv4', `${SERVER}:80`, `${EXTERNAL}:5000`, '3/3', EXTERNAL],
  ['IPv6', `[${SERVER6}]:80`, `[${EXTERNAL6}]:5000`, '1/4', EXTERNAL6],
] as const) {
  test(`RFC 5382 REQ-4: a SYN that nobody waits for is not answered for six seconds, ${name}`, (t) => {
    const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
    t.is(lab.say(OUTSIDE, tcp(from, to)), 'held');
    for (let second = 1; second < 6; second++) t.is(lab.sayUntil(second), 'held');
    t.regex(lab.sayUntil(6), new RegExp(`^6 icmp ${port} ${error} > .* \\[tcp S .*\\] \\| dropped unsolicited$`));
    expectWhole(t, lab);
  });

  test(`RFC 5382 REQ-4: nor ever, if the inside sends a SYN of its own meanwhile, ${name}`, (t) => {
    const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
    t.is(lab.say(OUTSIDE, tcp(from, to)), 'held');
    t.is(lab.sayUntil(3), 'held');
    const inside = name === 'IPv4' ? INSIDE : '[fd00:1::11]:5000';
    t.is(lab.say(A, tcp(inside, from)), `6 tcp S ${to} > ${from}`);
    t.is(lab.sayUntil(7), 'dropped unsolicited');
    t.is(lab.say(OUTSIDE, tcp(from, to)), `1 tcp S ${from} > ${inside}`, 'repeated, it completes the connection');
    expectWhole(t, lab);
  });
}

test('RFC 5382 REQ-4: a flood of SYNs takes a bounded number of slots', (t) => {
  const lab = new NatLab({ slots: 512 });
  for (let i = 0; i < 1000; i++) lab.give(OUTSIDE, tcp(`${SERVER}:${2000 + i}`, `${EXTERNAL}:5000`));
  t.is(lab.flows.unsolicited.held, 128);
  t.is(lab.held, 128);
  lab.wait(7);
  t.is(lab.held, 0);
  t.is(lab.say(OUTSIDE, tcp(FIRST, `${EXTERNAL}:5000`)), 'held', 'and there is room again');
  lab.wait(7);
  expectWhole(t, lab);
});

test('RFC 5382 REQ-5: an established connection may be silent for more than two hours and four minutes', (t) => {
  t.true(DEFAULT_TIMEOUTS[STATE_ESTABLISHED] >= 7440);
  t.true(DEFAULT_TIMEOUTS[STATE_SYN_SENT] >= 240);
  t.true(DEFAULT_TIMEOUTS[STATE_FIN] >= 240);
  const lab = new NatLab();
  const connection = new Connection(lab, { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 }, FIRST);
  connection.open();
  for (const silence of [899, 901, 7440, 7500]) {
    lab.wait(silence);
    connection.in({ data: 100 }, `after ${silence} seconds`);
    connection.out({});
  }
  expectWhole(t, lab);
});

test('RFC 5382 REQ-5: half-open and closing connections end after four minutes, and established ones in their time', (t) => {
  const lab = new NatLab({ timeouts: { [STATE_ESTABLISHED]: 7440 } });
  const open = new Connection(lab, { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 }, FIRST);
  open.open();
  lab.say(A, tcp('10.1.0.11:5001', FIRST));
  lab.wait(239);
  t.is(lab.flows.table.count, 2);
  lab.wait(2);
  t.is(lab.flows.table.count, 1, 'half open');
  lab.wait(7440 - 242);
  t.is(lab.flows.table.count, 1);
  lab.wait(3);
  t.is(lab.flows.table.count, 0);
  t.is(
    open.tell('out', {}),
    `1 tcp R ${FIRST} > ${INSIDE} | dropped no_flow`,
    'the inside learns at once that it is over',
  );
  t.is(open.tell('in', {}), `6 tcp R ${EXTERNAL}:5000 > ${FIRST} | dropped no_flow`, 'and so does the outside');
  expectWhole(t, lab);
});

test('RFC 5382 REQ-6: no gateway looks into a connection unless asked for', (t) => {
  const lab = new NatLab();
  const connection = new Connection(
    lab,
    { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 },
    `${SERVER}:21`,
  );
  connection.open();
  const command = Uint8Array.from(Buffer.from('PORT 10,1,0,11,19,137\r\n'));
  const seen = lab.pass(
    A,
    tcp(INSIDE, `${SERVER}:21`, { flags: 'PA', sequence: 1001, acknowledgment: 9001, data: command }),
  );
  t.deepEqual(seen.payload, command);
  t.is(lab.say(OUTSIDE, tcp(`${SERVER}:20`, `${EXTERNAL}:5001`)), 'held', 'nothing is expected');
  lab.wait(7);
  expectWhole(t, lab);
});

test("RFC 5382 REQ-7: no port is two endpoints' at a time", (t) => {
  const lab = new NatLab({ capacity: 1024 });
  const mapped = new Set<string>();
  for (let host = 11; host < 211; host++) mapped.add(mappedBy(lab, `10.1.0.${host}:5000`, FIRST));
  t.is(mapped.size, 200);
  expectWhole(t, lab);
});

test('RFC 5382 REQ-8: endpoints connect to each other by published ports and mappings, and see external addresses', (t) => {
  const lab = new NatLab();
  lab.publish({ protocol: TCP, at: `${EXTERNAL}:8080`, to: '10.2.0.13:80', station: B });
  const connection = new Connection(
    lab,
    { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 },
    `${EXTERNAL}:8080`,
    { station: B, end: '10.2.0.13:80', seen: `${EXTERNAL}:8080`, port: 3 },
  );
  connection.open();
  connection.out({ data: 100 });
  connection.in({ data: 100 });
  const own = new Connection(
    lab,
    { station: B, end: '10.2.0.13:6000', seen: `${EXTERNAL}:6000`, port: 3 },
    `${EXTERNAL}:8080`,
    { station: B, end: '10.2.0.13:80', seen: `${EXTERNAL}:8080`, port: 3 },
  );
  own.open();
  own.in({ data: 1 }, 'to itself');
  const mapped = mappedBy(lab, '10.2.0.13:7000', FIRST, B);
  t.is(lab.say(A, tcp(INSIDE, mapped)), `3 tcp S ${EXTERNAL}:5000 > 10.2.0.13:7000`, 'to a mapping');
  expectWhole(t, lab);
});

test('RFC 5382 REQ-9: ICMP unreachable comes through, with what it quotes as it was sent', (t) => {
  const lab = new NatLab();
  const connection = new Connection(lab, { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 }, FIRST);
  connection.open();
  const sent: Seen = connection.out({ data: 1200 });
  const error = icmp('192.0.2.1', EXTERNAL, 3, 4, 1300, sent.bytes.slice(0, 28));
  const seen = lab.pass(OUTSIDE, error);
  t.is(describe(seen), `icmp 3/4 192.0.2.1 > 10.1.0.11 [tcp ${INSIDE} > ${FIRST}]`);
  t.is(new DataView(seen.bytes.buffer, seen.bytes.byteOffset).getUint16(26), 1300);
  connection.out({ data: 100 });
  expectWhole(t, lab);
});

test('RFC 5382 REQ-10: no ICMP error ends a connection', (t) => {
  const lab = new NatLab();
  const connection = new Connection(lab, { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 }, FIRST);
  connection.open();
  for (const [type, codes] of [
    [3, 16],
    [11, 2],
    [12, 3],
  ]) {
    for (let code = 0; code < codes; code++) {
      const sent = connection.out({ data: 10 });
      lab.say(OUTSIDE, icmp(SERVER, EXTERNAL, type, code, 0, sent.bytes.slice(0, 28)));
      connection.in({ data: 10 }, `after ${type}/${code}`);
      t.is(connection.state, STATE_ESTABLISHED);
    }
  }
  expectWhole(t, lab);
});
