/** Direct server return: backends take packets with the service's address, and answer clients on their own ways. */

import test from 'ava';
import {
  FLOW_STATE,
  FLOW_WORDS,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_MASK,
  STATE_RESET,
  STATE_SYN_SENT,
  STATE_UDP_UNREPLIED,
} from '../../../core/nat/flow.js';
import { POLICY_ACCEPT, POLICY_DROP } from '../../../core/nat/policy.js';
import { A, A2, B, B2, EXTERNAL, EXTERNAL6, OUTSIDE, type Station } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { ipOf, tcp, udp, unreachable, withHops } from '../nat/wire.js';
import { expectWhole, gatewayMac } from '../router/lab.js';
import { ServiceLab } from './lab.js';

const AT = `${EXTERNAL}:80`;
const AT6 = `[${EXTERNAL6}]:80`;
const LISTEN = [TCP, UDP].flatMap((protocol) => [
  { protocol, at: AT },
  { protocol, at: AT6 },
]);
const ONE = { number: 1, addresses: [B.v4, B.v6], port: 80 };
const TWO = { number: 2, addresses: [B2.v4, B2.v6], port: 80 };
const CLIENT = '198.51.100.1:5001';
const CLIENT6 = '[2001:db8:1::1]:5001';

function labWith(): ServiceLab {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, { direct: true, backends: [ONE, TWO] });
  return lab;
}

function stateOf(lab: ServiceLab): number {
  const { table } = lab.flows;
  const flow = table.nextFrom(0);
  return flow < 0 ? 0 : table.words[flow * FLOW_WORDS + FLOW_STATE] & STATE_MASK;
}

/** A packet reaches a station as it came, but for MACs and one hop less. */
function reaches(lab: ServiceLab, from: Station, bytes: Uint8Array, to: Station): boolean {
  const sent = lab.give(from, bytes);
  if (sent.length !== 1 || sent[0].port !== to.port) return false;
  const { frame } = sent[0];
  const macs = [...frame.subarray(0, 12)];
  const hops = bytes[bytes[0] >> 4 === 4 ? 8 : 7];
  const isSame = Buffer.compare(ipOf(frame), withHops(bytes, hops - 1)) === 0;
  return isSame && macs.join() === [...to.mac, ...gatewayMac(to.network)].join();
}

for (const [family, client, at] of [
  [4, CLIENT, AT],
  [6, CLIENT6, AT6],
] as const) {
  test(`packets reach their backend as they are, slowly at first and fast from then on, IPv${family}`, (t) => {
    const lab = labWith();
    t.true(reaches(lab, OUTSIDE, tcp(client, at), B));
    for (let i = 0; i < 4; i++) {
      const segment = {
        flags: 'A',
        sequence: 1001 + i * 100,
        acknowledgment: 9001 + i * 50_000,
        data: new Uint8Array(100),
      };
      t.true(reaches(lab, OUTSIDE, tcp(client, at, segment), B), `${i}`);
    }
    t.is(stateOf(lab), STATE_ESTABLISHED);
    t.deepEqual(
      [lab.flowCounts(1), lab.flowCounts(2)],
      [
        [1, 1, 0],
        [0, 0, 0],
      ],
    );
    const other = client.replace('5001', '5002');
    t.true(reaches(lab, OUTSIDE, tcp(other, at), B2));
    t.true(reaches(lab, OUTSIDE, udp(client, at), B));
    t.true(reaches(lab, OUTSIDE, udp(client, at), B));
    expectWhole(t, lab);
  });

  test(`the client's side alone says how far a connection has come, IPv${family}`, (t) => {
    const lab = labWith();
    lab.give(OUTSIDE, tcp(client, at));
    t.is(stateOf(lab), STATE_SYN_SENT);
    lab.give(OUTSIDE, tcp(client, at, { flags: 'A', sequence: 1001, acknowledgment: 9001 }));
    t.is(stateOf(lab), STATE_ESTABLISHED);
    lab.give(OUTSIDE, tcp(client, at, { flags: 'FA', sequence: 1001, acknowledgment: 9001 }));
    t.is(stateOf(lab), STATE_CLOSING);
    t.true(
      reaches(lab, OUTSIDE, tcp(client, at, { flags: 'A', sequence: 1002, acknowledgment: 9002 }), B),
      'the last word',
    );
    t.is(stateOf(lab), STATE_CLOSING);
    t.deepEqual(lab.flowCounts(1), [1, 0, 1]);
    t.true(reaches(lab, OUTSIDE, tcp(client, at), B2), 'another of the same port is balanced anew');
    t.is(stateOf(lab), STATE_SYN_SENT);
    lab.give(OUTSIDE, tcp(client, at, { flags: 'R', sequence: 1001 }));
    t.is(stateOf(lab), STATE_RESET);
    t.deepEqual(lab.flowCounts(2), [1, 0, 1]);
    lab.wait(241);
    t.is(lab.flows.table.count, 0);
    t.deepEqual(lab.flowCounts(2), [1, 0, 0]);
    expectWhole(t, lab);
  });
}

test('what the backend answers by the router passes as it is', (t) => {
  const lab = labWith();
  lab.give(OUTSIDE, tcp(CLIENT, AT));
  t.true(reaches(lab, B, tcp(AT, CLIENT, { flags: 'SA', sequence: 9000, acknowledgment: 1001 }), OUTSIDE));
  t.true(reaches(lab, OUTSIDE, tcp(CLIENT, AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 }), B));
  t.true(reaches(lab, B, tcp(AT, CLIENT, { flags: 'A', sequence: 9001, acknowledgment: 1001 }), OUTSIDE));
  t.is(lab.flows.table.count, 1);
  lab.give(OUTSIDE, udp(CLIENT6, AT6));
  t.true(reaches(lab, B2, udp(AT6, CLIENT6), OUTSIDE));
  expectWhole(t, lab);
});

test('in one subnet nothing is translated either', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, { direct: true, backends: [{ number: 1, addresses: [A2.v4, A2.v6], port: 80 }] });
  t.true(reaches(lab, A, tcp(`${A.v4}:5001`, AT), A2));
  t.true(reaches(lab, A, tcp(`[${A.v6}]:5001`, AT6), A2));
  t.is(lab.flows.mappings.count, 0);
  expectWhole(t, lab);
});

test('in one subnet whose packets the wire sees with another source, it goes on after its first segment', (t) => {
  const lab = labWith();
  const client = `${A.v4}:5001`;
  lab.serve(1, LISTEN, { direct: true, backends: [{ ...ONE, addresses: [A2.v4, A2.v6] }] });
  t.true(reaches(lab, A, tcp(client, AT), A2));
  t.true(reaches(lab, A, tcp(client, AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 }), A2));
  t.is(stateOf(lab), STATE_ESTABLISHED);
  expectWhole(t, lab);
});

test('the end of a backend is told nobody in advance, and the client with its next segment', (t) => {
  const lab = labWith();
  for (const [client, at] of [
    [CLIENT, AT],
    [CLIENT6, AT6],
  ] as const) {
    lab.serve(1, LISTEN, { direct: true, backends: [ONE] });
    lab.give(OUTSIDE, tcp(client, at));
    const segment = tcp(client, at, { flags: 'A', sequence: 1001, acknowledgment: 9001 });
    lab.give(OUTSIDE, segment);
    lab.serve(1, LISTEN, { direct: true, backends: [TWO] });
    t.is(lab.end(1), 'held');
    t.is(lab.flows.table.count, 0);
    t.is(lab.say(OUTSIDE, segment), `${OUTSIDE.port} tcp R ${at} > ${client} | dropped no_flow`);
  }
  t.true(reaches(lab, OUTSIDE, udp(CLIENT, AT), B2));
  expectWhole(t, lab);
});

test('between the change of a service and the end of its flows nothing reaches the wrong one', (t) => {
  const lab = labWith();
  lab.give(OUTSIDE, tcp(CLIENT, AT));
  const segment = tcp(CLIENT, AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 });
  t.true(reaches(lab, OUTSIDE, segment, B));
  lab.serve(1, LISTEN, { direct: true, backends: [TWO] });
  t.is(lab.say(OUTSIDE, segment), 'dropped no_backend');
  t.is(lab.flows.table.count, 1);
});

test('a SYN that is repeated makes a suspect of a backend that is silent, and goes to another', (t) => {
  const lab = labWith();
  lab.serve(1, LISTEN, { direct: true, failures: 1, backends: [ONE, TWO] });
  t.true(reaches(lab, OUTSIDE, tcp(CLIENT, AT), B));
  lab.wait(1);
  t.true(reaches(lab, OUTSIDE, tcp(CLIENT, AT), B2));
  t.deepEqual(lab.news(), ['suspect 1']);
});

test('UDP goes on with its backend, and lasts as long as the client speaks', (t) => {
  const lab = labWith();
  lab.serve(1, LISTEN, { direct: true, backends: [ONE, TWO] });
  for (let i = 0; i < 5; i++) {
    t.true(reaches(lab, OUTSIDE, udp(CLIENT, AT), B));
    lab.wait(200);
  }
  t.is(stateOf(lab), STATE_UDP_UNREPLIED);
  lab.wait(301);
  t.is(lab.flows.table.count, 0);
});

test('a range of ports is the same behind', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, [{ protocol: TCP, at: `${EXTERNAL}:7000`, last: 7009 }], {
    direct: true,
    backends: [{ ...ONE, port: 7000 }],
  });
  for (const port of [7000, 7005, 7009]) t.true(reaches(lab, OUTSIDE, tcp(CLIENT, `${EXTERNAL}:${port}`), B));
});

test('a flood does not change it: its flows are noted', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, [{ protocol: TCP, at: AT }], { direct: true, floodRate: 5, backends: [ONE] });
  for (let i = 0; i < 20; i++) t.true(reaches(lab, OUTSIDE, tcp(`198.51.100.1:${5000 + i}`, AT), B));
  t.is(lab.flows.table.count, 20);
});

test('ICMP errors find their flow, and the client', (t) => {
  const lab = labWith();
  lab.serve(1, LISTEN, { direct: true, failures: 1, backends: [ONE, TWO] });
  const datagram = udp(CLIENT, AT);
  t.true(reaches(lab, OUTSIDE, datagram, B));
  const told = lab.say(B, unreachable(EXTERNAL, '198.51.100.1', datagram));
  t.is(told, `${OUTSIDE.port} icmp 3/3 ${EXTERNAL} > 198.51.100.1 [udp ${CLIENT} > ${AT}]`);
  t.deepEqual(lab.news(), ['suspect 1']);
  expectWhole(t, lab);
});

test('the policy sees the network in which the backend is, now and after every change of rules', (t) => {
  for (const [client, at] of [
    [CLIENT, AT],
    [CLIENT6, AT6],
  ] as const) {
    const lab = labWith();
    lab.rules({ action: POLICY_ACCEPT, toIface: 2 }, { action: POLICY_DROP });
    t.true(reaches(lab, OUTSIDE, udp(client, at), B));
    lab.rules({ action: POLICY_ACCEPT, toIface: 2, protocol: UDP }, { action: POLICY_DROP });
    t.true(reaches(lab, OUTSIDE, udp(client, at), B), 'still accepted');
    lab.rules({ action: POLICY_DROP, toIface: 2 });
    t.is(lab.say(OUTSIDE, udp(client, at)), 'dropped policy');
    lab.rules();
    t.true(reaches(lab, OUTSIDE, udp(client, at), B));
    expectWhole(t, lab);
  }
});
