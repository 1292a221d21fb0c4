/** Connections that last: idle for hours, and through the end of the process that made them. */

import test from 'ava';
import { COUNT_FLOWS, SCHEDULER_MAGLEV } from '../../../core/lb/service.js';
import { STATE_ESTABLISHED } from '../../../core/nat/flow.js';
import { DEFAULT_TIMEOUTS } from '../../../core/nat/flow-table.js';
import { Connection, type Host } from '../nat/connection.js';
import { A, A2, B, B2, EXTERNAL, EXTERNAL6, OUTSIDE, type Station } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { tcp, textOf, udp } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { type BackendSpec, ServiceLab, type ServiceSpec } from './lab.js';

const AT = `${EXTERNAL}:8080`;
const AT6 = `[${EXTERNAL6}]:8080`;
const LISTEN = [TCP, UDP].flatMap((protocol) => [
  { protocol, at: AT },
  { protocol, at: AT6 },
]);
const ONE: BackendSpec = { number: 1, addresses: ['10.2.0.13', 'fd00:2::13'], port: 80 };
const TWO: BackendSpec = { number: 2, addresses: ['10.2.0.14', 'fd00:2::14'], port: 80 };
const SPEC: ServiceSpec = { backends: [ONE, TWO] };
const FAMILIES = [
  [4, AT, '198.51.100.1', B.v4],
  [6, AT6, '2001:db8:1::1', B.v6],
] as const;

function host(station: Station, end: string, seen = end): Host {
  return { station, end, seen, port: station.port };
}

for (const [family, at, client, backend] of FAMILIES) {
  for (const seconds of [901, 7200 + 300]) {
    test(`a connection that was idle for ${seconds} s goes on, from either side, IPv${family}`, (t) => {
      const lab = new ServiceLab();
      lab.serve(1, LISTEN, SPEC);
      const [first, second] = [5001, 5003].map((port) => {
        const one = new Connection(lab, host(OUTSIDE, textOf(client, port)), at, host(B, textOf(backend, 80), at));
        one.open();
        // The other backend's turn.
        lab.give(OUTSIDE, tcp(textOf(client, port + 1), at));
        return one;
      });
      lab.wait(seconds);
      first.out({ data: 100 }, 'the client speaks first');
      first.in({ data: 100 });
      second.in({ data: 100 }, 'the backend does');
      second.out({ data: 100 });
      t.is(first.state, STATE_ESTABLISHED);
      t.deepEqual(
        [lab.flowCounts(1), lab.flowCounts(2)],
        [
          [2, 2, 0],
          [2, 0, 0],
        ],
      );
      expectWhole(t, lab);
    });
  }
}

test('an established connection ends after its time, and the client is told with its next segment', (t) => {
  const lab = new ServiceLab({ timeouts: { [STATE_ESTABLISHED]: 8000 } });
  t.true(DEFAULT_TIMEOUTS[STATE_ESTABLISHED] > 8000);
  lab.serve(1, LISTEN, { backends: [ONE] });
  const one = new Connection(lab, host(OUTSIDE, '198.51.100.1:5001'), AT, host(B, '10.2.0.13:80', AT));
  one.open();
  lab.wait(8001);
  t.deepEqual(lab.flowCounts(1), [1, 0, 0]);
  t.regex(one.tell('out', { data: 1 }), /tcp R .*dropped no_flow/);
});

/** A lab in the place of another, with its memory. */
function successor(lab: ServiceLab): ServiceLab {
  return new ServiceLab({ flows: lab.memory, now: lab.dataplane.now, counters: lab.services.backends.counters });
}

for (const [family, at, client] of FAMILIES) {
  test(`connections of a predecessor are counted, and go on to their backends, before and behind their service, IPv${family}`, (t) => {
    const lab = new ServiceLab();
    lab.serve(1, LISTEN, SPEC);
    const clients = [5001, 5002, 5003].map((port) => textOf(client, port));
    const places = clients.map((from) => {
      const place = lab.place(from, at, UDP);
      const station = place.includes('.13:') || place.includes('::13]') ? B : B2;
      lab.pass(station, udp(place, from));
      return place;
    });
    t.deepEqual(
      [lab.flowCounts(1), lab.flowCounts(2)],
      [
        [2, 2, 0],
        [1, 1, 0],
      ],
    );
    lab.give(OUTSIDE, tcp(textOf(client, 6001), at));
    const next = successor(lab);
    t.deepEqual(
      [next.flowCounts(1), next.flowCounts(2)],
      [
        [2, 2, 0],
        [2, 1, 1],
      ],
    );
    t.deepEqual(
      clients.map((from) => next.place(from, at, UDP)),
      places,
      'nobody has told of the service yet',
    );
    next.serve(1, LISTEN, { ...SPEC, backends: [TWO, ONE] });
    t.deepEqual(
      clients.map((from) => next.place(from, at, UDP)),
      places,
    );
    for (const number of [1, 2]) {
      const { active, inactive } = next.countFlows(number);
      t.deepEqual(next.flowCounts(number), [2, active, inactive]);
    }
    t.is(next.place(textOf(client, 6001), at), textOf(family === 4 ? B2.v4 : B2.v6, 80), 'half-open');
    next.wait(301);
    t.deepEqual(
      [next.flowCounts(1), next.flowCounts(2)],
      [
        [2, 0, 0],
        [2, 0, 0],
      ],
    );
    expectWhole(t, next);
  });
}

test('a connection by way of the gateway keeps its port', (t) => {
  const lab = new ServiceLab();
  const near: ServiceSpec = { backends: [{ number: 3, addresses: [A2.v4], port: 80 }] };
  lab.serve(1, LISTEN, near);
  const syn = lab.pass(A, tcp('10.1.0.11:5001', AT));
  t.is(textOf(syn.source, syn.sourcePort), '10.1.0.1:5001');
  lab.pass(A2, tcp('10.1.0.12:80', '10.1.0.1:5001', { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
  lab.pass(A, tcp('10.1.0.11:5001', AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 }));
  const next = successor(lab);
  t.is(next.flows.mappings.count, 1);
  next.serve(1, LISTEN, near);
  const segment = { flags: 'A', sequence: 9001, acknowledgment: 1001, data: new Uint8Array(10) };
  t.is(next.say(A2, tcp('10.1.0.12:80', '10.1.0.1:5001', segment)), `${A.port} tcp A ${AT} > 10.1.0.11:5001`);
  t.deepEqual(next.flowCounts(3), [1, 1, 0]);
  t.regex(next.end(3), /RA .* \| .*RA/);
  t.is(next.flows.mappings.count, 0);
  expectWhole(t, next);
});

test('a direct connection waits for its service, and goes on then', (t) => {
  const lab = new ServiceLab();
  const direct: ServiceSpec = { direct: true, backends: [ONE, TWO] };
  lab.serve(1, LISTEN, direct);
  lab.give(OUTSIDE, tcp('198.51.100.1:5001', AT));
  const segment = tcp('198.51.100.1:5001', AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 });
  t.is(lab.say(OUTSIDE, segment), `${B.port} tcp A 198.51.100.1:5001 > ${AT}`);
  const next = successor(lab);
  t.is(next.say(OUTSIDE, segment), 'dropped no_backend');
  next.serve(1, LISTEN, direct);
  t.is(next.say(OUTSIDE, segment), `${B.port} tcp A 198.51.100.1:5001 > ${AT}`);
  t.deepEqual(next.flowCounts(1), [1, 1, 0]);
});

test('a backend that has gone meanwhile: its flows end by its number', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, SPEC);
  const one = new Connection(lab, host(OUTSIDE, '198.51.100.1:5001'), AT, host(B, '10.2.0.13:80', AT));
  one.open();
  const next = successor(lab);
  next.serve(1, LISTEN, { backends: [TWO] });
  t.is(next.end(1), `6 tcp RA ${AT} > 198.51.100.1:5001 | 3 tcp RA 198.51.100.1:5001 > 10.2.0.13:80`);
  t.deepEqual(next.flowCounts(1), [1, 0, 0]);
  expectWhole(t, next);
});

test('without the memory maglev has the same backends all the same', (t) => {
  const spec: ServiceSpec = { scheduler: SCHEDULER_MAGLEV, backends: [ONE, TWO] };
  const [lab, next] = [new ServiceLab(), new ServiceLab()];
  for (const one of [lab, next]) one.serve(1, LISTEN, spec);
  for (let port = 5000; port < 5050; port++) {
    const place = lab.place(`198.51.100.1:${port}`, AT);
    const fields = { flags: 'A', sequence: 1001, acknowledgment: 9001 };
    const seen = next.pass(OUTSIDE, tcp(`198.51.100.1:${port}`, AT, fields));
    t.is(textOf(seen.destination, seen.destinationPort), place);
  }
  t.is(next.count(1, COUNT_FLOWS) + next.count(2, COUNT_FLOWS), 50);
});
