/** Backends that drain or go, and what becomes of their connections. */

import test from 'ava';
import { SCHEDULER_MAGLEV } from '../../../core/lb/service.js';
import { STATE_ESTABLISHED } from '../../../core/nat/flow.js';
import { Connection, FIRST_IN, FIRST_OUT, type Host } from '../nat/connection.js';
import { A, A2, B, B2, EXTERNAL, EXTERNAL6, OUTSIDE, type Station, THE_HOST } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { ACK, ipOf, RST, read, type Seen, tcp, textOf, udp } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { ServiceLab } from './lab.js';

const WEB = { protocol: TCP, at: `${EXTERNAL}:8080` };
const WEB6 = { protocol: TCP, at: `[${EXTERNAL6}]:8080` };
const DNS = { protocol: UDP, at: `${EXTERNAL}:53` };
const ONE = { number: 1, addresses: ['10.2.0.13', 'fd00:2::13'], port: 80 };
const TWO = { number: 2, addresses: ['10.2.0.14', 'fd00:2::14'], port: 80 };
const CLIENT = '198.51.100.1:5001';
const CLIENT6 = '[2001:db8:1::1]:5001';

function host(station: Station, end: string, seen = end): Host {
  return { station, end, seen, port: station.port };
}

/** To the first backend. */
function fromOutside(lab: ServiceLab, client: string): Connection {
  return new Connection(lab, host(OUTSIDE, client), `${EXTERNAL}:8080`, host(B, '10.2.0.13:80', `${EXTERNAL}:8080`));
}

function labWith(): ServiceLab {
  const lab = new ServiceLab();
  lab.serve(1, [WEB, WEB6, DNS], { backends: [ONE, TWO] });
  return lab;
}

/** What leaves when a backend's flows end, packet by packet. */
function resetsOf(lab: ServiceLab, backend: number): (Seen & { port: number })[] {
  const sent = lab.sentBy(() => {
    for (let from = 0; from >= 0; ) from = lab.ending.end(backend, true, from, 3).next;
  });
  return sent.map(({ port, frame }) => ({ ...read(ipOf(frame)), port }));
}

function lineOf({
  port,
  source,
  sourcePort,
  destination,
  destinationPort,
  sequence,
  acknowledgment,
  flags,
}: Seen & {
  port: number;
}): string {
  if (flags !== (RST | ACK)) throw new Error(`flags ${flags}`);
  const ends = `${textOf(source, sourcePort)} > ${textOf(destination, destinationPort)}`;
  return `${port} ${ends} ${sequence} ${acknowledgment}`;
}

for (const [family, client, listen, backend] of [
  [4, CLIENT, `${EXTERNAL}:8080`, '10.2.0.13:80'],
  [6, CLIENT6, `[${EXTERNAL6}]:8080`, '[fd00:2::13]:80'],
] as const) {
  test(`both ends get the numbers that they expect, behind data of both, IPv${family}`, (t) => {
    const lab = labWith();
    const connection = new Connection(lab, host(OUTSIDE, client), listen, host(B, backend, listen));
    connection.open();
    connection.out({ data: 1000 });
    connection.in({ data: 500 });
    connection.in({ data: 100 });
    connection.out({ data: 7 });
    t.deepEqual(resetsOf(lab, 1).map(lineOf), [
      `${OUTSIDE.port} ${listen} > ${client} ${FIRST_IN + 601} ${FIRST_OUT + 1008}`,
      `${B.port} ${client} > ${backend} ${FIRST_OUT + 1008} ${FIRST_IN + 601}`,
    ]);
    t.is(lab.flows.table.count, 0);
    t.deepEqual(lab.flowCounts(1), [1, 0, 0]);
    expectWhole(t, lab);
  });
}

test('sequence numbers wrap, and windows are scaled', (t) => {
  const lab = labWith();
  const scale = [3, 3, 7, 0];
  lab.give(OUTSIDE, tcp(CLIENT, `${EXTERNAL}:8080`, { sequence: 0xfffffffe, options: scale }));
  lab.give(B, tcp('10.2.0.13:80', CLIENT, { flags: 'SA', sequence: 5, acknowledgment: 0xffffffff, options: scale }));
  const out = { flags: 'A', sequence: 0xffffffff, acknowledgment: 6, window: 0xffff };
  lab.give(OUTSIDE, tcp(CLIENT, `${EXTERNAL}:8080`, out));
  lab.give(OUTSIDE, tcp(CLIENT, `${EXTERNAL}:8080`, { ...out, data: new Uint8Array(1200) }));
  t.deepEqual(resetsOf(lab, 1).map(lineOf), [
    `${OUTSIDE.port} ${EXTERNAL}:8080 > ${CLIENT} 6 1199`,
    `${B.port} ${CLIENT} > 10.2.0.13:80 1199 6`,
  ]);
  expectWhole(t, lab);
});

test('one that is half closed is told too; one that is over, or has not been answered, is not', (t) => {
  const lab = labWith();
  lab.serve(1, [WEB], { backends: [ONE] });
  const open = (port: number): Connection => {
    const client = `198.51.100.1:${port}`;
    const connection = fromOutside(lab, client);
    connection.open();
    return connection;
  };
  open(1).out({ flags: 'FA' });
  const over = open(2);
  over.out({ flags: 'FA' });
  over.in({ flags: 'FA' });
  over.out({});
  lab.give(OUTSIDE, tcp('198.51.100.1:3', `${EXTERNAL}:8080`));
  t.deepEqual(resetsOf(lab, 1).map(lineOf), [
    `${OUTSIDE.port} ${EXTERNAL}:8080 > 198.51.100.1:1 9001 1002`,
    `${B.port} 198.51.100.1:1 > 10.2.0.13:80 1002 9001`,
  ]);
  t.is(lab.flows.table.count, 0);
  t.deepEqual(lab.flowCounts(1), [3, 0, 0]);
  expectWhole(t, lab);
});

test('in one subnet, where the service speaks for the client, both are told by its addresses', (t) => {
  const lab = labWith();
  lab.serve(1, [WEB], { backends: [{ number: 3, addresses: ['10.1.0.12'], port: 80 }] });
  const client = host(A, '10.1.0.11:5001', '10.1.0.1:5001');
  const connection = new Connection(lab, client, `${EXTERNAL}:8080`, host(A2, '10.1.0.12:80', `${EXTERNAL}:8080`));
  connection.open();
  connection.out({ data: 10 });
  t.deepEqual(resetsOf(lab, 3).map(lineOf), [
    `${A.port} ${EXTERNAL}:8080 > 10.1.0.11:5001 9001 1011`,
    `${A2.port} 10.1.0.1:5001 > 10.1.0.12:80 1011 9001`,
  ]);
  t.is(lab.flows.mappings.count, 0, 'the port is free');
  expectWhole(t, lab);
});

test('a client behind the host port is told, and so is its backend', (t) => {
  const lab = new ServiceLab({ interfaces: { 2: { hostAccess: true } } });
  lab.resolve(THE_HOST, '10.2.0.1');
  lab.serve(1, [WEB], { backends: [ONE] });
  const connection = new Connection(
    lab,
    host(THE_HOST, '10.2.0.1:5001'),
    `${EXTERNAL}:8080`,
    host(B, '10.2.0.13:80', `${EXTERNAL}:8080`),
  );
  connection.open();
  t.deepEqual(resetsOf(lab, 1).map(lineOf), [
    `${THE_HOST.port} ${EXTERNAL}:8080 > 10.2.0.1:5001 9001 1001`,
    `${B.port} 10.2.0.1:5001 > 10.2.0.13:80 1001 9001`,
  ]);
  expectWhole(t, lab);
});

test('UDP is forgotten without a word, and its next datagram is balanced anew', (t) => {
  const lab = labWith();
  t.is(lab.place(CLIENT, `${EXTERNAL}:53`, UDP), '10.2.0.13:80');
  lab.give(B, udp('10.2.0.13:80', CLIENT));
  t.is(lab.place(CLIENT, `${EXTERNAL}:53`, UDP), '10.2.0.13:80');
  lab.serve(1, [DNS], { backends: [TWO] });
  t.is(lab.place(CLIENT, `${EXTERNAL}:53`, UDP), '10.2.0.13:80', 'until its flows are ended');
  t.is(lab.end(1), 'held');
  t.is(lab.place(CLIENT, `${EXTERNAL}:53`, UDP), '10.2.0.14:80');
  t.deepEqual(
    [lab.flowCounts(1), lab.flowCounts(2)],
    [
      [1, 0, 0],
      [1, 0, 1],
    ],
  );
  expectWhole(t, lab);
});

test('without TCP only UDP ends; of other backends nothing does', (t) => {
  const lab = labWith();
  const connect = (port: number): Connection => {
    const client = `198.51.100.1:${port}`;
    const [station, end] = port % 2 === 1 ? ([B, '10.2.0.13:80'] as const) : ([B2, '10.2.0.14:80'] as const);
    return new Connection(lab, host(OUTSIDE, client), `${EXTERNAL}:8080`, host(station, end, `${EXTERNAL}:8080`));
  };
  const [first, second] = [connect(5001), connect(5002)];
  first.open();
  second.open();
  for (const port of [6001, 6002]) lab.give(OUTSIDE, udp(`198.51.100.1:${port}`, `${EXTERNAL}:53`));
  t.is(lab.flows.table.count, 4);
  t.is(lab.end(1, false), 'held');
  t.is(lab.flows.table.count, 3);
  first.out({ data: 10 });
  t.is(first.state, STATE_ESTABLISHED);
  t.regex(lab.end(1), /RA .* \| .*RA/);
  t.is(lab.flows.table.count, 2);
  second.in({ data: 10 });
  t.deepEqual(lab.flowCounts(2), [2, 1, 1]);
  expectWhole(t, lab);
});

test('it goes through the table in portions, and says how many have ended', (t) => {
  const lab = labWith();
  lab.serve(1, [WEB], { backends: [ONE] });
  for (let port = 1; port <= 10; port++) lab.give(OUTSIDE, tcp(`198.51.100.1:${port}`, `${EXTERNAL}:8080`));
  const first = lab.ending.end(1, true, 0, 4);
  t.is(first.removed, 4);
  const second = lab.ending.end(1, true, first.next, 4);
  t.is(second.removed, 4);
  t.deepEqual(lab.ending.end(1, true, second.next, 4), { removed: 2, next: -1 });
  t.deepEqual(lab.ending.end(1, true, 0, 4), { removed: 0, next: -1 });
});

test('weight 0 drains: connections go on, new ones go elsewhere', (t) => {
  const lab = labWith();
  const connection = fromOutside(lab, CLIENT);
  connection.open();
  lab.serve(1, [WEB], { backends: [{ ...ONE, weight: 0 }, TWO] });
  for (let i = 0; i < 5; i++) t.is(lab.place(`198.51.100.2:${1000 + i}`, `${EXTERNAL}:8080`), '10.2.0.14:80');
  connection.out({ data: 100 });
  connection.in({ data: 100 });
  t.deepEqual(lab.flowCounts(1), [1, 1, 0]);
  connection.out({ flags: 'FA' });
  t.deepEqual(lab.flowCounts(1), [1, 1, 0], 'half closed');
  connection.in({ flags: 'FA' });
  t.deepEqual(lab.flowCounts(1), [1, 0, 1], 'closed');
  lab.wait(241);
  t.deepEqual(lab.flowCounts(1), [1, 0, 0], 'forgotten');
  expectWhole(t, lab);
});

test('a connection goes on when its service is gone, until its backend is ended', (t) => {
  const lab = labWith();
  const connection = fromOutside(lab, CLIENT);
  connection.open();
  lab.unserve(1);
  connection.out({ data: 100 });
  t.is(resetsOf(lab, 1).length, 2);
  t.regex(connection.tell('out', { data: 1 }), /tcp R .*8080 > .*5001 \| dropped no_flow/);
  expectWhole(t, lab);
});

test('the port of a draining backend that was closed begins anew with another', (t) => {
  const lab = labWith();
  const connection = fromOutside(lab, CLIENT);
  connection.open();
  connection.in({ flags: 'RA' });
  lab.serve(1, [WEB], { backends: [{ ...ONE, weight: 0 }, TWO] });
  t.is(lab.place(CLIENT, `${EXTERNAL}:8080`), '10.2.0.14:80');
  t.deepEqual(
    [lab.flowCounts(1), lab.flowCounts(2)],
    [
      [1, 0, 0],
      [1, 0, 1],
    ],
  );
});

test('one that was picked up in the middle, of which only one side has been heard, ends by the numbers that it has said', (t) => {
  const lab = labWith();
  lab.serve(1, [WEB], { scheduler: SCHEDULER_MAGLEV, backends: [ONE] });
  lab.give(
    OUTSIDE,
    tcp(CLIENT, `${EXTERNAL}:8080`, { flags: 'A', sequence: 77, acknowledgment: 99, data: new Uint8Array(10) }),
  );
  t.is(lab.flows.table.count, 1);
  const resets = resetsOf(lab, 1);
  t.deepEqual(resets.map(lineOf), [
    `${OUTSIDE.port} ${EXTERNAL}:8080 > ${CLIENT} 99 87`,
    `${B.port} ${CLIENT} > 10.2.0.13:80 87 99`,
  ]);
  t.is(lab.flows.table.count, 0);
});
