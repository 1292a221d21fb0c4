/** What connections tell of their backends: who does not answer, or refuses, gets none for a while. */

import test from 'ava';
import { COUNT_FAILURES } from '../../../core/lb/service.js';
import { A, B, B2, EXTERNAL, EXTERNAL6, OUTSIDE } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { icmp, tcp, udp, unreachable } from '../nat/wire.js';
import { arpFrame, expectWhole } from '../router/lab.js';
import { ServiceLab, type ServiceSpec } from './lab.js';

const AT = `${EXTERNAL}:8080`;
const AT6 = `[${EXTERNAL6}]:8080`;
const LISTEN = [TCP, UDP].flatMap((protocol) => [
  { protocol, at: AT },
  { protocol, at: AT6 },
]);
const ONE = { number: 1, addresses: ['10.2.0.13', 'fd00:2::13'], port: 80 };
const TWO = { number: 2, addresses: ['10.2.0.14', 'fd00:2::14'], port: 80 };
const FIRST = '10.2.0.13:80';
const SECOND = '10.2.0.14:80';

function labWith(spec: Partial<ServiceSpec> = {}): ServiceLab {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, { backends: [ONE], failures: 2, suspectTime: 10, ...spec });
  return lab;
}

function client(i: number): string {
  return `198.51.100.1:${5000 + i}`;
}

function refuse(lab: ServiceLab, from: string, to: string, station = B): void {
  lab.give(station, tcp(from, to, { flags: 'RA', acknowledgment: 1001 }));
}

/** A connection that is made. */
function succeed(lab: ServiceLab, i: number, backend = FIRST, station = B): void {
  lab.give(OUTSIDE, tcp(client(i), AT));
  lab.give(station, tcp(backend, client(i), { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
  lab.give(OUTSIDE, tcp(client(i), AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 }));
}

test('RST in answer to SYN, as often as it says, makes a suspect; its time over, it is trusted', (t) => {
  const lab = labWith({ backends: [ONE, TWO] });
  t.is(lab.place(client(0), AT), FIRST);
  refuse(lab, FIRST, client(0));
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [1, []]);
  t.is(lab.place(client(1), AT), SECOND);
  t.is(lab.place(client(2), AT), FIRST);
  refuse(lab, FIRST, client(2));
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [2, ['suspect 1']]);
  for (let i = 3; i < 7; i++) t.is(lab.place(client(i), AT), SECOND);
  lab.wait(9);
  t.deepEqual(lab.news(), []);
  t.is(lab.place(client(7), AT), SECOND);
  lab.wait(1);
  t.deepEqual(lab.news(), ['trusted 1']);
  t.deepEqual([client(8), client(9)].map((one) => lab.place(one, AT)).sort(), [FIRST, SECOND]);
  expectWhole(t, lab);
});

test('a success in between begins the count anew', (t) => {
  const lab = labWith({ failures: 2 });
  for (let i = 0; i < 10; i += 2) {
    lab.place(client(i), AT);
    refuse(lab, FIRST, client(i));
    succeed(lab, i + 1);
  }
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [5, []]);
  expectWhole(t, lab);
});

test('one that answers while it is suspect is trusted at once', (t) => {
  const lab = labWith({ failures: 1 });
  lab.place(client(0), AT);
  refuse(lab, FIRST, client(0));
  t.deepEqual(lab.news(), ['suspect 1']);
  succeed(lab, 1);
  t.deepEqual(lab.news(), ['trusted 1']);
  lab.place(client(2), AT);
  refuse(lab, FIRST, client(2));
  t.deepEqual(lab.news(), ['suspect 1']);
  expectWhole(t, lab);
});

test('a connection of before that only goes on says nothing', (t) => {
  const lab = labWith({ failures: 1 });
  succeed(lab, 0);
  lab.place(client(1), AT);
  refuse(lab, FIRST, client(1));
  t.deepEqual(lab.news(), ['suspect 1']);
  lab.give(B, tcp(FIRST, client(0), { flags: 'A', sequence: 9001, acknowledgment: 1001, data: new Uint8Array(10) }));
  t.deepEqual(lab.news(), []);
});

test('a SYN that is repeated was not answered: of IPv4 and IPv6', (t) => {
  const lab = labWith({ failures: 3 });
  lab.place(client(0), AT);
  lab.wait(1);
  lab.place(client(0), AT);
  t.is(lab.count(1, COUNT_FAILURES), 1);
  lab.place('[2001:db8:1::1]:5000', AT6);
  lab.wait(1);
  lab.place('[2001:db8:1::1]:5000', AT6);
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [2, []]);
  lab.wait(2);
  lab.place(client(0), AT);
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [3, ['suspect 1']]);
  expectWhole(t, lab);
});

test('one answered SYN that is repeated all the same was heard: its answer got lost', (t) => {
  const lab = labWith({ failures: 1 });
  lab.place(client(0), AT);
  lab.give(B, tcp(FIRST, client(0), { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
  lab.wait(1);
  lab.place(client(0), AT);
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [0, []]);
});

test('a repeated SYN goes to another backend when its own is suspect, drained, down or gone', (t) => {
  for (const [name, backends] of [
    ['drained', [{ ...ONE, weight: 0 }, TWO]],
    ['down', [{ ...ONE, isDown: true }, TWO]],
    ['gone', [TWO]],
  ] as const) {
    const lab = labWith({ backends: [ONE, TWO] });
    t.is(lab.place(client(0), AT), FIRST);
    lab.serve(1, LISTEN, { backends });
    t.is(lab.place(client(0), AT), SECOND, name);
    t.is(lab.flows.table.count, 1, name);
    t.deepEqual(
      [lab.flowCounts(1).slice(1), lab.flowCounts(2).slice(1)],
      [
        [0, 0],
        [0, 1],
      ],
    );
    expectWhole(t, lab, name);
  }
  const lab = labWith({ backends: [ONE, TWO], failures: 1 });
  t.is(lab.place(client(0), AT), FIRST);
  lab.wait(1);
  t.is(lab.place(client(0), AT), SECOND, 'the repetition itself is what makes it suspect');
  t.deepEqual(lab.news(), ['suspect 1']);
});

test('the answer of a backend that was given up comes too late: it is told so, and the client hears nothing of it', (t) => {
  const lab = labWith({ backends: [ONE, TWO], failures: 1 });
  lab.place(client(0), AT);
  lab.wait(1);
  lab.place(client(0), AT);
  const late = lab.say(B, tcp(FIRST, client(0), { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
  t.is(late, `${B.port} tcp R ${client(0)} > ${FIRST} | dropped no_flow`);
  const answer = lab.say(B2, tcp(SECOND, client(0), { flags: 'SA', sequence: 1, acknowledgment: 1001 }));
  t.is(answer, `${OUTSIDE.port} tcp SA ${AT} > ${client(0)}`);
});

test('a SYN that has waited for the MAC of its backend is no repetition', (t) => {
  for (const seconds of [0, 1, 2]) {
    const lab = labWith({ backends: [{ number: 1, addresses: ['10.2.0.99'], port: 80 }], failures: 1 });
    t.is(lab.say(OUTSIDE, tcp(client(0), AT)), 'held');
    if (seconds > 0) lab.passTo(lab.dataplane.now + seconds);
    const station = { ...B, v4: '10.2.0.99' };
    const seen = lab.receive(B.port, arpFrame(station, 2, '10.2.0.1'));
    t.is(seen.length, 1, `it goes on after ${seconds} s`);
    t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [0, []], `after ${seconds} s`);
    expectWhole(t, lab);
  }
});

test('a backend without a MAC, to which SYN after SYN comes, is a suspect', (t) => {
  const lab = labWith({ backends: [{ number: 1, addresses: ['10.2.0.99'], port: 80 }, TWO], failures: 2 });
  lab.give(OUTSIDE, tcp(client(0), AT));
  lab.wait(1);
  lab.give(OUTSIDE, tcp(client(0), AT));
  lab.wait(2);
  lab.give(OUTSIDE, tcp(client(0), AT));
  t.deepEqual(lab.news(), ['suspect 1']);
  expectWhole(t, lab);
});

test('UDP that nobody answers makes no suspect; ICMP that nobody listens does', (t) => {
  const lab = labWith({ failures: 2 });
  for (let i = 0; i < 5; i++) {
    t.is(lab.place(client(0), AT, UDP), FIRST);
    lab.wait(1);
  }
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [0, []]);
  for (const [i, backend, from, to] of [
    [1, '10.2.0.13', client(1), AT],
    [2, 'fd00:2::13', '[2001:db8:1::1]:5002', AT6],
  ] as const) {
    const datagram = lab.pass(OUTSIDE, udp(from, to));
    const error = lab.say(B, unreachable(backend, datagram.source, datagram.bytes));
    t.true(error.startsWith(`${OUTSIDE.port} icmp`) && error.includes(`[udp ${from} > ${to}]`), error);
    t.is(lab.count(1, COUNT_FAILURES), i);
  }
  t.deepEqual(lab.news(), ['suspect 1']);
  expectWhole(t, lab);
});

test('an answer to UDP is a success', (t) => {
  const lab = labWith({ failures: 1 });
  const datagram = lab.pass(OUTSIDE, udp(client(0), AT));
  lab.give(B, unreachable('10.2.0.13', datagram.source, datagram.bytes));
  t.deepEqual(lab.news(), ['suspect 1']);
  lab.give(OUTSIDE, udp(client(1), AT));
  lab.give(B, udp(FIRST, client(1)));
  t.deepEqual(lab.news(), ['trusted 1']);
});

test('nobody but the backend makes it a suspect', (t) => {
  const lab = labWith({ failures: 1 });
  const syn = lab.pass(OUTSIDE, tcp(client(0), AT));
  t.is(syn.destination, '10.2.0.13');
  lab.give(OUTSIDE, tcp(client(0), AT, { flags: 'R', sequence: 1001 }));
  lab.place(client(1), AT);
  lab.give(OUTSIDE, unreachable('198.51.100.1', EXTERNAL, tcp(AT, client(1), { flags: 'SA' })));
  const datagram = lab.pass(OUTSIDE, udp(client(2), AT));
  lab.give(B, icmp('10.2.0.13', '198.51.100.1', 3, 4, 1400, datagram.bytes));
  lab.give(A, unreachable('10.1.0.11', '198.51.100.1', datagram.bytes));
  t.deepEqual(lab.news(), []);
});

test('RST with a number that does not fit is not from the backend', (t) => {
  const lab = labWith({ failures: 1 });
  lab.place(client(0), AT);
  lab.give(B, tcp(FIRST, client(0), { flags: 'RA', acknowledgment: 4711 }));
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [0, []]);
});

test('RST on an established connection is no failure', (t) => {
  const lab = labWith({ failures: 1 });
  succeed(lab, 0);
  lab.give(B, tcp(FIRST, client(0), { flags: 'RA', sequence: 9001, acknowledgment: 1001 }));
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [0, []]);
  t.deepEqual(lab.flowCounts(1), [1, 0, 1]);
});

test('with failures 0 nobody is ever a suspect, and they are counted all the same', (t) => {
  const lab = labWith({ failures: 0 });
  for (let i = 0; i < 20; i++) {
    lab.place(client(i), AT);
    refuse(lab, FIRST, client(i));
  }
  t.deepEqual([lab.count(1, COUNT_FAILURES), lab.news()], [20, []]);
});

test('a backend that was down and is up again has no past', (t) => {
  const lab = labWith({ failures: 1, suspectTime: 1000, backends: [ONE, TWO] });
  lab.place(client(0), AT);
  refuse(lab, FIRST, client(0));
  t.deepEqual(lab.news(), ['suspect 1']);
  const spec = { failures: 1, suspectTime: 1000 };
  lab.serve(1, LISTEN, { ...spec, backends: [ONE, { ...TWO, weight: 3 }] });
  t.deepEqual(lab.news(), [], 'a change of another says nothing');
  lab.serve(1, LISTEN, { ...spec, backends: [{ ...ONE, isDown: true }, TWO] });
  lab.serve(1, LISTEN, { ...spec, backends: [ONE, TWO] });
  t.deepEqual(lab.news(), ['trusted 1']);
});

test('UDP without answers stays with its backend when all are suspects', (t) => {
  const lab = labWith({ failures: 1, backends: [ONE, TWO] });
  for (const [i, backend, station] of [
    [0, FIRST, B],
    [1, SECOND, B2],
  ] as const) {
    t.is(lab.place(client(i), AT), backend);
    refuse(lab, backend, client(i), station);
  }
  t.deepEqual(lab.news(), ['suspect 1', 'suspect 2']);
  const places = Array.from({ length: 6 }, () => lab.place(client(9), AT, UDP));
  t.deepEqual([...new Set(places)].length, 1, places.join(' '));
  t.is(lab.flowCounts(1)[0] + lab.flowCounts(2)[0], 3);
});
