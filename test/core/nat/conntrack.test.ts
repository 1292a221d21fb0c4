/** Connections as the router keeps them: zones, limits, eviction, ends, policy, successors; and every reason for which a packet is dropped. */

import test from 'ava';
import { DROP_NO_FLOW, DROP_REASONS, DROP_UNSOLICITED } from '../../../core/drop.js';
import { EVENT_FLOW_LIMIT, EVENT_FLOWS_ALARM, EVENT_FLOWS_FULL } from '../../../core/events.js';
import {
  FLOW_REPLY_SOURCE,
  FLOW_WORDS,
  STATE_ESTABLISHED,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../../../core/nat/flow.js';
import { POLICY_ACCEPT, POLICY_DROP, POLICY_REJECT } from '../../../core/nat/policy.js';
import { FILTERING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { INTERFACE_NETWORK, INTERFACE_UPLINK } from '../../../core/router/interface.js';
import { LEARN_CREATE, LEARN_OVERRIDE, LEARN_SOLICITED } from '../../../core/router/neighbors.js';
import { Hop, ROUTE_UNICAST } from '../../../core/router/vrf.js';
import { BROADCAST, frame } from '../../support/harness.js';
import { expectWhole, gatewayMac, prefix, word4 } from '../router/lab.js';
import { authentication } from '../wire/build.js';
import { Connection } from './connection.js';
import { A, A2, B, C, EXTERNAL, EXTERNAL6, MASQUERADE_BOTH, NatLab, OUTSIDE, SERVER, SERVER2, SERVER6 } from './lab.js';
import { slowPseudoSum, TCP, UDP } from './packets.js';
import { describe, echo, filler, framed, gre, ipOf, packetWithout, readQuote, tcp, udp } from './wire.js';

const INSIDE = '10.1.0.11:5000';
const FIRST = `${SERVER}:53`;

test('the same addresses and ports in two VRFs are two connections', (t) => {
  const lab = new NatLab();
  const { router, topology } = lab.dataplane;
  const other = { vrf: 2, mtu: 1500, macHigh: 0x0200 };
  router.addVrf(2, { interconnect: false, recordRoute: false, timestamp: false, tracking: true });
  topology.addNetwork(6, 300, 64);
  topology.addNetwork(7, 300, 64);
  topology.addPort(10, 6, {});
  topology.addPort(11, 7, { routed: true });
  router.addInterface(6, {
    ...other,
    kind: INTERFACE_NETWORK,
    fid: 6,
    port: 0,
    macLow: 0xfe06,
    addresses4: Int32Array.of(word4('10.1.0.1'), 0xffffff00 | 0),
    addresses6: new Int32Array(0),
    translation: MASQUERADE_BOTH,
  });
  router.addInterface(7, {
    ...other,
    kind: INTERFACE_UPLINK,
    fid: 7,
    port: 11,
    macLow: 0xfe07,
    addresses4: Int32Array.of(word4(EXTERNAL), 0xffffff00 | 0),
    addresses6: new Int32Array(0),
  });
  router.setRoute(2, prefix('0.0.0.0/0'), ROUTE_UNICAST, [new Hop(7, [0, 0, 0xffff, word4('203.0.113.254')], 0)]);
  const macs: Record<number, number[]> = { 10: [2, 0, 0, 0, 0, 10], 11: [2, 0, 0, 0, 0, 11] };
  lab.receive(10, frame(BROADCAST, macs[10]));
  for (const [iface, address, port] of [
    [6, '10.1.0.11', 10],
    [7, '203.0.113.254', 11],
  ] as const) {
    for (const how of [LEARN_CREATE, LEARN_SOLICITED | LEARN_OVERRIDE])
      router.neighbors.learn(router.interface(iface), 0, 0, 0xffff, word4(address), 0x0200, port, how, port);
  }
  const there = (bytes: Uint8Array, port: number): number[] =>
    lab.receive(port, framed(bytes, gatewayMac(port === 10 ? 6 : 7), macs[port])).map((sent) => sent.port);
  t.is(lab.say(A, udp(INSIDE, FIRST)), `6 udp ${EXTERNAL}:5000 > ${FIRST}`);
  t.deepEqual(there(udp(INSIDE, FIRST), 10), [11]);
  t.is(lab.flows.table.count, 2);
  t.is(lab.flows.mappings.count, 2, 'both at the same port, of an address each');
  t.is(lab.say(OUTSIDE, udp(FIRST, `${EXTERNAL}:5000`)), `1 udp ${FIRST} > ${INSIDE}`);
  t.deepEqual(there(udp(FIRST, `${EXTERNAL}:5000`), 11), [10]);
  t.is(lab.dataplane.lastError, null);
});

test('an endpoint may have so many connections, and others are not concerned', (t) => {
  const lab = new NatLab({ nat: { flowsPerEndpoint: 10 } });
  for (let i = 0; i < 10; i++) t.regex(lab.say(A, udp(`10.1.0.11:${5000 + i}`, FIRST)), /^6 udp/);
  t.regex(lab.say(A, udp('10.1.0.11:6000', FIRST)), /^1 icmp 3\/13 .* \| dropped flow_limit$/);
  t.regex(lab.say(A, udp('10.1.0.11:6001', FIRST)), /dropped flow_limit$/);
  t.regex(lab.say(A2, udp('10.1.0.12:6000', FIRST)), /^6 udp/);
  t.regex(lab.say(A, udp('10.1.0.11:5009', FIRST)), /^6 udp/, 'those that it has go on');
  const events = lab.events().filter(({ kind }) => kind === EVENT_FLOW_LIMIT);
  t.deepEqual(
    events.map(({ port, number }) => [port, number]),
    [[A.port, 10]],
    'told once',
  );
  lab.wait(301);
  t.regex(lab.say(A, udp('10.1.0.11:6000', FIRST)), /^6 udp/);
  expectWhole(t, lab);
});

test('a full table: half-open connections go first, established ones never, and it is told', (t) => {
  const lab = new NatLab({ capacity: 50, slots: 64 });
  const kept: Connection[] = [];
  for (let i = 0; i < 30; i++) {
    const end = { station: A, end: `10.1.0.11:${6000 + i}`, seen: `${EXTERNAL}:${6000 + i}`, port: 1 };
    const connection = new Connection(lab, end, `${SERVER}:80`);
    connection.open();
    kept.push(connection);
  }
  t.deepEqual(
    lab.events().map(({ kind }) => kind),
    [],
  );
  for (let i = 0; i < 500; i++)
    t.regex(lab.say(A2, tcp(`10.1.0.12:${1024 + i}`, `${SERVER}:80`)), /^6 tcp S/, 'a flood');
  t.deepEqual(
    lab.events().map(({ kind, number }) => [kind, number]),
    [
      [EVENT_FLOWS_ALARM, 80],
      [EVENT_FLOWS_FULL, 50],
    ],
  );
  t.is(lab.flows.table.count, 50);
  t.is(lab.flows.table.evicted, 480);
  t.is(lab.flows.mappings.count, 50, 'and what they held is free');
  for (const connection of kept) {
    connection.in({ data: 10 });
    connection.out({});
    t.is(connection.state, STATE_ESTABLISHED);
  }
  for (let i = 0; i < 20; i++) {
    const end = { station: B, end: `10.2.0.13:${7000 + i}`, seen: `${EXTERNAL}:${7000 + i}`, port: 3 };
    new Connection(lab, end, `${SERVER}:80`).open();
  }
  t.regex(
    lab.say(A2, tcp('10.1.0.12:9000', `${SERVER}:80`)),
    /^2 icmp 3\/13 .* \| dropped flows_full$/,
    'all are established',
  );
  t.regex(lab.say(A, udp('10.1.0.11:9000', FIRST)), /dropped flows_full$/, 'and nothing leaves untranslated');
  lab.wait(61);
  t.regex(lab.say(A2, tcp('10.1.0.12:9000', `${SERVER}:80`)), /dropped flows_full$/);
  t.true(
    lab.events().some(({ kind }) => kind === EVENT_FLOWS_FULL),
    'told again after a minute',
  );
  expectWhole(t, lab);
});

test('connections end with the port of the endpoint that began them, and give back what they held', (t) => {
  const lab = new NatLab();
  lab.say(A, udp(INSIDE, FIRST));
  lab.say(A, tcp(INSIDE, `${SERVER}:80`));
  lab.say(A2, udp('10.1.0.12:5000', FIRST));
  lab.detach(A);
  t.is(lab.flows.table.count, 1);
  t.is(lab.flows.mappings.count, 1);
  t.is(lab.flows.permissions.count, 1);
  t.is(lab.flows.table.ownerCount(A.port), 0);
  t.regex(lab.say(OUTSIDE, udp(FIRST, `${EXTERNAL}:5000`)), /dropped not_listening$/);
  expectWhole(t, lab);
});

test('a stream to a published port follows the endpoint to another address, once the old connections are flushed', (t) => {
  const lab = new NatLab();
  const publish = (to: string): void => lab.publish({ protocol: UDP, at: '0.0.0.0:8053', to, station: A });
  const datagram = udp('198.51.100.1:4000', `${EXTERNAL}:8053`);
  publish('10.1.0.11:53');
  for (let i = 0; i < 3; i++) t.is(lab.say(OUTSIDE, datagram), '1 udp 198.51.100.1:4000 > 10.1.0.11:53');
  t.is(lab.say(A, udp('10.1.0.11:53', '198.51.100.1:4000')), `6 udp ${EXTERNAL}:8053 > 198.51.100.1:4000`);
  publish('10.1.0.12:5353');
  const old = word4('10.1.0.11');
  const flushed = lab.flows.table.removeWhere({
    matches: (words, _, flow) => words[flow * FLOW_WORDS + FLOW_REPLY_SOURCE] === old,
  });
  t.is(flushed, 1);
  t.is(lab.say(OUTSIDE, datagram), '2 udp 198.51.100.1:4000 > 10.1.0.12:5353');
  t.is(lab.say(A2, udp('10.1.0.12:5353', '198.51.100.1:4000')), `6 udp ${EXTERNAL}:8053 > 198.51.100.1:4000`);
  expectWhole(t, lab);
});

test('the policy is asked once a connection, and again after it has changed', (t) => {
  const lab = new NatLab({ vrf: { interconnect: true } });
  const out = udp('10.3.0.15:5000', FIRST);
  const back = udp(FIRST, '10.3.0.15:5000');
  lab.rules({ action: POLICY_ACCEPT, fromIface: 3 });
  for (let i = 0; i < 5; i++) t.is(lab.say(C, out), `6 udp 10.3.0.15:5000 > ${FIRST}`);
  t.is(lab.flows.policy.hits[0], 1, 'once');
  lab.rules({ action: POLICY_DROP, from: '10.3.0.0/24', port: 53 });
  t.is(lab.say(C, out), 'dropped policy');
  t.is(lab.say(OUTSIDE, back), 'dropped policy', 'both ways');
  lab.rules({ action: POLICY_REJECT, from: '10.3.0.0/24', protocol: UDP });
  t.is(lab.say(C, out), `5 icmp 3/13 10.3.0.1 > 10.3.0.15 [udp 10.3.0.15:5000 > ${FIRST}] | dropped policy`);
  lab.rules({ action: POLICY_DROP, to: '10.3.0.0/24' });
  t.is(lab.say(OUTSIDE, back), `5 udp ${FIRST} > 10.3.0.15:5000`, 'answers are part of their connection');
  t.is(lab.say(OUTSIDE, udp(FIRST, '10.3.0.15:5001')), 'dropped policy', 'others are not');
  lab.rules();
  t.is(lab.say(C, out), `6 udp 10.3.0.15:5000 > ${FIRST}`);
  expectWhole(t, lab);
});

test('a rule may be about a published port as others know it, or as the endpoint does', (t) => {
  for (const rule of [
    { action: POLICY_REJECT, to: `${EXTERNAL}/32`, port: 8080 },
    { action: POLICY_REJECT, to: '10.1.0.11/32', port: 80 },
    { action: POLICY_REJECT, toIface: 1 },
  ]) {
    const lab = new NatLab();
    lab.publish({ protocol: TCP, at: '0.0.0.0:8080', to: '10.1.0.11:80', station: A });
    t.is(lab.say(OUTSIDE, tcp(`${SERVER}:4000`, `${EXTERNAL}:8080`)), `1 tcp S ${SERVER}:4000 > 10.1.0.11:80`);
    lab.rules(rule);
    const refused = `6 tcp RA ${EXTERNAL}:8080 > ${SERVER}:4001 | dropped policy`;
    t.is(lab.say(OUTSIDE, tcp(`${SERVER}:4001`, `${EXTERNAL}:8080`)), refused);
    t.regex(lab.say(OUTSIDE, tcp(`${SERVER}:4000`, `${EXTERNAL}:8080`)), /dropped policy$/, 'of one that there is too');
    expectWhole(t, lab);
  }
});

test('a segment outside the window is dropped and never answered', (t) => {
  const lab = new NatLab();
  const end = { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 };
  const connection = new Connection(lab, end, `${SERVER}:80`);
  connection.open();
  connection.out({ data: 100 });
  for (const direction of ['out', 'in'] as const) {
    for (const from of [-200_000, 200_000, 0x7000_0000]) {
      for (const flags of ['A', 'FA', 'R', 'PA'])
        t.is(connection.tell(direction, { flags, from, data: 1 }), 'dropped tcp_window');
    }
  }
  connection.in({ data: 100 });
  connection.out({});
  t.is(connection.state, STATE_ESTABLISHED);
  expectWhole(t, lab);
});

test('a connection that is not known is refused at once: by RST from whom the segment was for', (t) => {
  const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
  const segment = { flags: 'A', sequence: 7, acknowledgment: 9 };
  t.is(lab.say(A, tcp(INSIDE, `${SERVER}:80`, segment)), `1 tcp R ${SERVER}:80 > ${INSIDE} | dropped no_flow`);
  t.is(
    lab.say(A, tcp('[fd00:1::11]:5000', `[${SERVER6}]:80`, segment)),
    `1 tcp R [${SERVER6}]:80 > [fd00:1::11]:5000 | dropped no_flow`,
  );
  t.is(
    lab.say(OUTSIDE, tcp(`${SERVER}:80`, `${EXTERNAL}:5000`, segment)),
    `6 tcp R ${EXTERNAL}:5000 > ${SERVER}:80 | dropped no_flow`,
  );
  t.is(
    lab.say(OUTSIDE, tcp(`[${SERVER6}]:80`, `[${EXTERNAL6}]:5000`, segment)),
    `6 tcp R [${EXTERNAL6}]:5000 > [${SERVER6}]:80 | dropped no_flow`,
  );
  lab.publish({ protocol: TCP, at: '0.0.0.0:8080', to: '10.1.0.11:80', station: A });
  t.is(
    lab.say(OUTSIDE, tcp(`${SERVER}:80`, `${EXTERNAL}:8080`, segment)),
    `6 tcp R ${EXTERNAL}:8080 > ${SERVER}:80 | dropped no_flow`,
  );
  for (const station of [A, OUTSIDE] as const) {
    const [from, to] = station === A ? [INSIDE, `${SERVER}:80`] : [`${SERVER}:80`, `${EXTERNAL}:5000`];
    t.is(lab.say(station, tcp(from, to, { ...segment, flags: 'R' })), 'dropped no_flow', 'an RST is not answered');
  }
  expectWhole(t, lab);
});

test('where nothing is translated a connection is taken up in the middle', (t) => {
  const lab = new NatLab();
  const out = tcp('10.3.0.15:5000', `${SERVER}:80`, { flags: 'A', sequence: 7, acknowledgment: 900, data: filler(10) });
  t.is(lab.say(C, out), `6 tcp A 10.3.0.15:5000 > ${SERVER}:80`);
  const back = tcp(`${SERVER}:80`, '10.3.0.15:5000', { flags: 'A', sequence: 900, acknowledgment: 17 });
  t.is(lab.say(OUTSIDE, back), `5 tcp A ${SERVER}:80 > 10.3.0.15:5000`);
  t.is(lab.flows.table.count, 1);
  expectWhole(t, lab);
});

test('every reason for which a connection is refused', (t) => {
  const lab = new NatLab({ capacity: 24, nat: { firstPort: 4000, lastPort: 4009, flowsPerEndpoint: 12 } });
  const met = new Set<string>();
  const meet = (line: string): void => {
    const reason = /dropped (\w+)$/.exec(line)?.[1];
    t.not(reason, undefined, line);
    met.add(reason ?? '');
  };
  meet(lab.say(A, tcp(INSIDE, `${SERVER}:80`, { flags: 'A' })));
  const end = { station: A, end: '10.1.0.11:4000', seen: `${EXTERNAL}:4000`, port: 1 };
  const connection = new Connection(lab, end, `${SERVER}:80`);
  connection.open();
  meet(connection.tell('in', { from: 900_000, data: 1 }));
  meet(connection.tell('in', { flags: 'SF', from: 0 }));
  meet(lab.say(OUTSIDE, udp(FIRST, INSIDE)));
  lab.rules({ action: POLICY_DROP, port: 99 });
  meet(lab.say(A, udp(INSIDE, `${SERVER}:99`)));
  meet(lab.say(OUTSIDE, tcp(`${SERVER2}:9`, `${EXTERNAL}:4000`)));
  meet(lab.say(A, packetWithout(51, '10.1.0.11', SERVER, authentication(59))));
  t.is(lab.say(OUTSIDE, tcp(`${SERVER2}:9`, `${EXTERNAL}:4444`)), 'held');
  meet(lab.sayUntil(7));
  for (let i = 0; i < 10; i++) lab.say(A, udp(`10.1.0.11:${5000 + i}`, FIRST));
  meet(lab.say(A, udp('10.1.0.11:5010', FIRST)));
  lab.say(A, gre('10.1.0.11', SERVER));
  meet(lab.say(A, gre('10.1.0.11', SERVER2)));
  for (let i = 0; i < 24; i++) {
    lab.say(C, udp(`10.3.0.15:${5000 + i}`, FIRST));
    lab.say(OUTSIDE, udp(FIRST, `10.3.0.15:${5000 + i}`));
  }
  for (let i = 0; i < 12; i++) {
    lab.say(B, udp(`10.2.0.13:${5000 + i}`, `10.2.0.1:${5000 + i}`));
    lab.say(OUTSIDE, udp(FIRST, `10.3.0.15:${6000 + i}`));
    lab.say(C, udp(`10.3.0.15:${6000 + i}`, FIRST));
  }
  meet(lab.say(OUTSIDE, udp(FIRST, '10.3.0.15:7777')));
  const reasons = DROP_REASONS.slice(DROP_NO_FLOW, DROP_UNSOLICITED + 1).map(({ name }) => name);
  t.deepEqual([...met].sort(), [...reasons].sort());
  expectWhole(t, lab);
});

test('a successor on the same memory goes on: mappings, filters, numbers, the inside of mappings, time', (t) => {
  const options = {
    nat: { filtering: FILTERING_ENDPOINT_INDEPENDENT, firstPort: 4000, lastPort: 4100 },
    translation: { 1: MASQUERADE_BOTH },
    timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 },
  };
  const lab = new NatLab(options);
  const end = { station: A, end: INSIDE, seen: '', port: 1 };
  const mapped = lab.pass(A, tcp(INSIDE, `${SERVER}:80`, { sequence: 1000 })).sourcePort;
  const seen = `${EXTERNAL}:${mapped}`;
  const connection = new Connection(lab, { ...end, seen }, `${SERVER}:80`);
  connection.open();
  const datagrams = lab.pass(A, udp('10.1.0.11:9', FIRST)).sourcePort;
  lab.say(A, udp('[fd00:1::11]:4000', `[${SERVER6}]:53`));
  lab.say(OUTSIDE, udp(`${SERVER2}:77`, `${EXTERNAL}:${datagrams}`));
  lab.say(A, udp('10.1.0.11:9', `${SERVER2}:77`));
  lab.publish({ protocol: UDP, at: '0.0.0.0:8053', to: '10.1.0.12:53', station: A2 });
  lab.say(OUTSIDE, udp('198.51.100.9:1', `${EXTERNAL}:8053`));
  const before = {
    flows: lab.flows.table.count,
    mappings: lab.flows.mappings.count,
    permissions: lab.flows.permissions.count,
  };

  const heir = new NatLab({ ...options, flows: lab.memory, now: 5 });
  const { flows } = heir;
  t.is(flows.table.recovered, before.flows);
  t.deepEqual(
    { flows: flows.table.count, mappings: flows.mappings.count, permissions: flows.permissions.count },
    before,
  );
  t.is(
    heir.say(
      OUTSIDE,
      tcp(`${SERVER}:80`, seen, { flags: 'A', sequence: 9001, acknowledgment: 1001, data: filler(10) }),
    ),
    `1 tcp A ${SERVER}:80 > ${INSIDE}`,
  );
  t.is(
    heir.say(OUTSIDE, tcp(`${SERVER}:80`, seen, { flags: 'A', sequence: 9_000_000, acknowledgment: 1001 })),
    'dropped tcp_window',
  );
  t.is(
    heir.say(OUTSIDE, udp('198.51.100.9:1', `${EXTERNAL}:8053`)),
    '2 udp 198.51.100.9:1 > 10.1.0.12:53',
    'before it knows what is published',
  );
  t.is(
    heir.say(OUTSIDE, udp('192.0.2.44:5', `${EXTERNAL}:${datagrams}`)),
    '1 udp 192.0.2.44:5 > 10.1.0.11:9',
    'by the mapping',
  );
  t.is(heir.pass(A, udp('10.1.0.11:9', `${SERVER}:1`)).sourcePort, datagrams);
  t.is(heir.say(OUTSIDE, udp(`[${SERVER6}]:53`, `[${EXTERNAL6}]:4000`)), `1 udp [${SERVER6}]:53 > [fd00:1::11]:4000`);
  const other = heir.pass(A2, tcp('10.1.0.12:5000', `${SERVER}:80`)).sourcePort;
  t.not(other, mapped, 'nobody else gets a port that is taken');
  heir.wait(7200);
  t.is(flows.table.count, 1, 'only the established one');
  t.is(flows.mappings.count, 1);
  t.is(
    heir.say(A, tcp(INSIDE, `${SERVER}:80`, { flags: 'A', sequence: 1001, acknowledgment: 9001 })),
    `6 tcp A ${seen} > ${SERVER}:80`,
  );
  heir.wait(86_401);
  t.is(flows.table.count, 0);
  t.is(flows.mappings.count, 0);
  t.is(flows.permissions.count, 0);
  expectWhole(t, heir);
});

test('a successor in whose VRF nothing is as it was drops what does not fit, and does not fail', (t) => {
  const lab = new NatLab();
  for (let i = 0; i < 20; i++) lab.say(A, udp(`10.1.0.11:${5000 + i}`, FIRST));
  const heir = new NatLab({ flows: lab.memory, nat: { firstPort: 60_000, lastPort: 60_001 } });
  t.is(heir.flows.table.count, 20);
  t.regex(heir.say(A, udp('10.1.0.11:5003', FIRST)), /^6 udp/, 'a connection keeps its port');
  t.regex(
    heir.say(A, udp('10.1.0.11:5003', `${SERVER}:99`)),
    new RegExp(`^6 udp ${EXTERNAL}:6000[01] `),
    'a new one gets one of the range',
  );
  expectWhole(t, heir);
});

test('segments that the kernel has not cut yet are translated as they are, and so are sums that it has not finished', (t) => {
  const lab = new NatLab();
  const end = { station: A, end: INSIDE, seen: `${EXTERNAL}:5000`, port: 1 };
  new Connection(lab, end, `${SERVER}:80`).open();
  const whole = tcp(INSIDE, `${SERVER}:80`, { flags: 'A', sequence: 1001, acknowledgment: 9001, data: filler(8000) });
  const given = framed(whole, gatewayMac(1), A.mac);
  const vnet = { flags: 1, gsoType: 1, gsoSize: 1448, headerLength: 54, checksumStart: 34, checksumOffset: 16 };
  new DataView(given.buffer).setUint16(50, slowPseudoSum(given.slice(26, 34), TCP, 8020));
  const sent = lab.receive(A.port, given, vnet);
  t.is(sent.length, 1);
  const left = sent[0].frame;
  t.is(describe(readQuote(ipOf(left))), `tcp A ${EXTERNAL}:5000 > ${SERVER}:80`);
  t.is(
    new DataView(left.buffer).getUint16(50),
    slowPseudoSum(left.slice(26, 34), TCP, 8020),
    'the sum of the new pseudo-header',
  );
  t.deepEqual([...sent[0].vnet.slice(0, 8)], [1, 1, 54, 0, 1448 & 255, 1448 >> 8, 34, 0]);
  t.deepEqual(left.slice(54), given.slice(54));
  expectWhole(t, lab);
});

test('echo requests to the router itself are its own affair', (t) => {
  const lab = new NatLab();
  t.is(lab.say(A, echo('10.1.0.11', '10.1.0.1', 7)), '1 icmp 0 10.1.0.1:7 > 10.1.0.11:7 | local');
  t.is(lab.say(OUTSIDE, echo(SERVER, EXTERNAL, 7)), `6 icmp 0 ${EXTERNAL}:7 > ${SERVER}:7 | local`);
  t.is(lab.flows.table.count, 0);
  expectWhole(t, lab);
});
