/** Services in front of endpoints, as packets see them. */

import test from 'ava';
import { COUNT_ACTIVE, COUNT_FLOWS, COUNT_INACTIVE } from '../../../core/lb/service.js';
import { A, A2, B, B2, EXTERNAL, OUTSIDE } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { tcp, udp } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { ServiceLab } from './lab.js';

const WEB = { protocol: TCP, at: `${EXTERNAL}:8080` };
const ONE = { number: 1, addresses: ['10.2.0.13'], port: 80 };
const TWO = { number: 2, addresses: ['10.2.0.14'], port: 81 };

test('clients get one backend after the other, and are answered from the address that they asked', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, [WEB], { backends: [ONE, TWO] });
  const ask = (port: number): string => lab.say(OUTSIDE, tcp(`198.51.100.1:${port}`, `${EXTERNAL}:8080`));
  t.deepEqual([1001, 1002, 1003].map(ask), [
    `${B.port} tcp S 198.51.100.1:1001 > 10.2.0.13:80`,
    `${B2.port} tcp S 198.51.100.1:1002 > 10.2.0.14:81`,
    `${B.port} tcp S 198.51.100.1:1003 > 10.2.0.13:80`,
  ]);
  t.is(
    lab.say(B2, tcp('10.2.0.14:81', '198.51.100.1:1002', { flags: 'SA' })),
    `${OUTSIDE.port} tcp SA ${EXTERNAL}:8080 > 198.51.100.1:1002`,
  );
  t.deepEqual([lab.count(1, COUNT_FLOWS), lab.count(1, COUNT_INACTIVE), lab.count(1, COUNT_ACTIVE)], [2, 2, 0]);
  expectWhole(t, lab);
});

test('without a backend the client is told at once', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, [WEB, { protocol: UDP, at: `${EXTERNAL}:53` }], { backends: [] });
  t.regex(lab.say(OUTSIDE, tcp('198.51.100.1:1001', `${EXTERNAL}:8080`)), /tcp .*8080 > .*1001 .*dropped no_backend/);
  t.regex(lab.say(OUTSIDE, udp('198.51.100.1:1001', `${EXTERNAL}:53`)), /icmp .*dropped no_backend/);
});

test('in one subnet answers come back by the gateway', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, [WEB], { backends: [{ number: 1, addresses: ['10.1.0.12'], port: 80 }] });
  const seen = lab.say(A, tcp('10.1.0.11:5001', `${EXTERNAL}:8080`));
  t.is(seen, `${A2.port} tcp S 10.1.0.1:5001 > 10.1.0.12:80`);
  t.is(
    lab.say(A2, tcp('10.1.0.12:80', '10.1.0.1:5001', { flags: 'SA' })),
    `${A.port} tcp SA ${EXTERNAL}:8080 > 10.1.0.11:5001`,
  );
});

test('when a backend goes, both ends of its connections are told by RST with the numbers that they expect', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, [WEB], { backends: [ONE] });
  const client = '198.51.100.1:5001';
  const syn = lab.pass(OUTSIDE, tcp(client, `${EXTERNAL}:8080`, { sequence: 1000 }));
  t.is(syn.destination, '10.2.0.13');
  lab.pass(B, tcp('10.2.0.13:80', client, { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
  lab.pass(OUTSIDE, tcp(client, `${EXTERNAL}:8080`, { flags: 'A', sequence: 1001, acknowledgment: 9001 }));
  t.deepEqual([lab.count(1, COUNT_INACTIVE), lab.count(1, COUNT_ACTIVE)], [0, 1]);
  lab.serve(1, [WEB], { backends: [TWO] });
  t.is(lab.end(1), `${OUTSIDE.port} tcp RA ${EXTERNAL}:8080 > ${client} | ${B.port} tcp RA ${client} > 10.2.0.13:80`);
  t.deepEqual([lab.count(1, COUNT_INACTIVE), lab.count(1, COUNT_ACTIVE), lab.flows.table.count], [0, 0, 0]);
  expectWhole(t, lab);
});
