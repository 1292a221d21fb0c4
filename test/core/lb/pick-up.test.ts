/** Connections whose flow was lost: by a restart without memory, a table that was full, another node in front of the same backends. */

import test from 'ava';
import {
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
} from '../../../core/lb/service.js';
import { FLOW_LOOSE, FLOW_STATE, FLOW_WORDS } from '../../../core/nat/flow.js';
import { Connection } from '../nat/connection.js';
import { A, B, EXTERNAL, EXTERNAL6, OUTSIDE } from '../nat/lab.js';
import { TCP } from '../nat/packets.js';
import { tcp, textOf } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { ServiceLab } from './lab.js';

const AT = `${EXTERNAL}:8080`;
const AT6 = `[${EXTERNAL6}]:8080`;
const LISTEN = [
  { protocol: TCP, at: AT },
  { protocol: TCP, at: AT6 },
];
/** All at one endpoint, so that one station answers. */
const BACKENDS = Array.from({ length: 8 }, (_, i) => ({
  number: i + 1,
  addresses: ['10.2.0.13', 'fd00:2::13'],
  port: 81 + i,
}));

function forgetAll(lab: ServiceLab): void {
  const { table } = lab.flows;
  table.forEach((flow) => {
    table.remove(flow);
  });
}

for (const [name, scheduler] of [
  ['maglev', SCHEDULER_MAGLEV],
  ['sh', SCHEDULER_SH],
] as const) {
  for (const [family, address, at] of [
    [4, '198.51.100.', AT],
    [6, '2001:db8:1::', AT6],
  ] as const) {
    test(`${name}: a connection outlives its flow, IPv${family}`, (t) => {
      const lab = new ServiceLab();
      lab.serve(1, LISTEN, { scheduler, backends: BACKENDS });
      for (let i = 1; i <= 20; i++) {
        const client = textOf(`${address}${i}`, 5000 + i);
        const backend = lab.place(client, at);
        forgetAll(lab);
        const connection = new Connection(
          lab,
          { station: OUTSIDE, end: client, seen: client, port: OUTSIDE.port },
          at,
          { station: B, end: backend, seen: at, port: B.port },
        );
        connection.open();
        connection.out({ data: 100 });
        forgetAll(lab);
        connection.out({ data: 100 }, 'the client goes on');
        t.is(connection.word(FLOW_STATE) & FLOW_LOOSE, FLOW_LOOSE);
        connection.in({ data: 50 });
        connection.in({ data: 50 });
        connection.out({});
        connection.out({ flags: 'FA' });
        connection.in({ flags: 'FA' });
        connection.out({});
        t.deepEqual(lab.countFlows(Number(backend.split(':').at(-1)) - 80), { active: 0, inactive: 1 });
        forgetAll(lab);
      }
      for (const { number } of BACKENDS) t.deepEqual(lab.flowCounts(number).slice(1), [0, 0]);
      expectWhole(t, lab);
    });
  }

  test(`${name}: RST of a connection without flow begins none`, (t) => {
    const lab = new ServiceLab();
    lab.serve(1, LISTEN, { scheduler, backends: BACKENDS });
    t.is(lab.say(OUTSIDE, tcp('198.51.100.1:5000', AT, { flags: 'R' })), 'dropped no_flow');
    t.is(lab.flows.table.count, 0);
  });

  test(`${name}: in one subnet, where the service spoke for the client, it cannot go on, and the client is told`, (t) => {
    const lab = new ServiceLab();
    lab.serve(1, LISTEN, { scheduler, backends: [{ number: 1, addresses: ['10.1.0.12'], port: 80 }] });
    const segment = tcp('10.1.0.11:5000', AT, { flags: 'A', sequence: 7, acknowledgment: 9 });
    t.is(lab.say(A, segment), `${A.port} tcp R ${AT} > 10.1.0.11:5000 | dropped no_flow`);
    t.is(lab.flows.table.count, 0);
    t.is(lab.flows.mappings.count, 0);
    expectWhole(t, lab);
  });

  test(`${name}: what a backend says of a connection without flow goes nowhere`, (t) => {
    const lab = new ServiceLab();
    lab.serve(1, LISTEN, { scheduler, backends: BACKENDS });
    const answer = tcp('10.2.0.13:81', '198.51.100.1:5000', { flags: 'A', sequence: 7, acknowledgment: 9 });
    t.is(lab.say(B, answer), `${B.port} tcp R 198.51.100.1:5000 > 10.2.0.13:81 | dropped no_flow`);
  });
}

for (const [name, scheduler] of [
  ['rr', SCHEDULER_RR],
  ['wrr', SCHEDULER_WRR],
  ['lc', SCHEDULER_LC],
  ['wlc', SCHEDULER_WLC],
] as const) {
  test(`${name}: nobody knows where a connection without flow belongs, and the client is told at once`, (t) => {
    const lab = new ServiceLab();
    lab.serve(1, LISTEN, { scheduler, backends: BACKENDS });
    for (const [client, at] of [
      ['198.51.100.1:5000', AT],
      ['[2001:db8:1::1]:5000', AT6],
    ] as const) {
      const segment = lab.say(OUTSIDE, tcp(client, at, { flags: 'PA', sequence: 7, acknowledgment: 9 }));
      t.is(segment, `${OUTSIDE.port} tcp R ${at} > ${client} | dropped no_flow`);
      t.regex(lab.say(OUTSIDE, tcp(client, at, { flags: 'FA', sequence: 7, acknowledgment: 9 })), /dropped no_flow$/);
    }
    t.is(lab.flows.table.count, 0);
    t.is(lab.place('198.51.100.1:5000', AT), '10.2.0.13:81', 'and nobody has lost a turn');
    expectWhole(t, lab);
  });
}

test('with affinity a client goes on at the backend that it keeps', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, { scheduler: SCHEDULER_MAGLEV, affinity: 100, backends: BACKENDS });
  const kept = lab.place('198.51.100.1:5000', AT);
  for (let port = 5001; port < 5010; port++) {
    t.is(lab.place(`198.51.100.1:${port}`, AT), kept);
    forgetAll(lab);
    const seen = lab.pass(OUTSIDE, tcp(`198.51.100.1:${port}`, AT, { flags: 'A', sequence: 1001, acknowledgment: 9 }));
    t.is(textOf(seen.destination, seen.destinationPort), kept);
  }
});

test('flows are lost one by one, and no other notices', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, { scheduler: SCHEDULER_MAGLEV, backends: BACKENDS });
  const places = Array.from({ length: 30 }, (_, i) => lab.place(`198.51.100.1:${5000 + i}`, AT));
  const { table } = lab.flows;
  table.forEach((flow) => {
    if (table.words[flow * FLOW_WORDS + 2] >>> 16 < 5010) table.remove(flow);
  });
  t.is(table.count, 20);
  const again = places.map((_, i) => {
    const flags = i < 10 ? 'A' : 'S';
    const seen = lab.pass(OUTSIDE, tcp(`198.51.100.1:${5000 + i}`, AT, { flags, acknowledgment: i < 10 ? 9 : 0 }));
    return textOf(seen.destination, seen.destinationPort);
  });
  t.deepEqual(again, places);
  expectWhole(t, lab);
});
