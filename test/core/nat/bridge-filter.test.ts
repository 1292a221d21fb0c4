/** Policy between two endpoints of one network, whose frames the router never sees. */

import test, { type ExecutionContext } from 'ava';
import { FLOW_BRIDGED, FLOW_STATE, FLOW_WORDS } from '../../../core/nat/flow.js';
import { POLICY_ACCEPT, POLICY_DROP, POLICY_REJECT } from '../../../core/nat/policy.js';
import { BROADCAST } from '../../support/harness.js';
import { viewOf } from '../router/icmp-frames.js';
import {
  A,
  A2,
  arpFrame,
  B,
  B2,
  expectError,
  expectWhole,
  Lab,
  message,
  message4,
  out4,
  out6,
  outIcmp6,
  type Station,
} from '../router/lab.js';
import { fragmentHeader, tcp, udp } from '../wire/build.js';
import { ANY, at, type Rule, records, rule } from './rules.js';

const SYN = 2;
const RST = 4;
const ACK = 16;
const TCP = 6;
const UDP = 17;

const TO_NETWORK = { to: { ...ANY, iface: 1 } };

/** Two endpoints that the bridge knows, in a network whose rules are these. */
function makeLab(...rules: Rule[]): Lab {
  const lab = new Lab().know(A, A2, B, B2);
  setRules(lab, ...rules);
  lab.topology.filter(Int32Array.of(1, 1));
  return lab;
}

function setRules({ router }: Lab, ...rules: Rule[]): void {
  router.flows.policy.set(records(rules));
  router.flows.changed();
}

function hits({ router }: Lab, number: number): number {
  return router.flows.policy.hits[number];
}

/** A segment; the window is 65535. */
function segment(
  srcPort: number,
  dstPort: number,
  flags: number,
  sequence = 1000,
  acknowledgment = 0,
  length = 0,
): Uint8Array {
  const bytes = tcp({ srcPort, dstPort, flags }, new Uint8Array(length));
  viewOf(bytes).setUint32(4, sequence);
  viewOf(bytes).setUint32(8, acknowledgment);
  return bytes;
}

type Family = 4 | 6;

/** A frame from endpoint to endpoint. */
function direct(family: Family, from: Station, to: Station, protocol: number, payload: Uint8Array): Uint8Array {
  if (family === 4) return out4(from, to, { protocol, toMac: to.mac }, payload);
  return out6(from, to, { nextHeader: protocol, toMac: to.mac }, payload);
}

/** Whether a frame arrives where it is sent to, and nothing else happens. */
function passes(lab: Lab, to: Station, from: Station, bytes: Uint8Array): boolean {
  const sent = lab.receive(from.port, bytes);
  return sent.length === 1 && sent[0].port === to.port;
}

function send(lab: Lab, family: Family, from: Station, to: Station, protocol: number, payload: Uint8Array): boolean {
  return passes(lab, to, from, direct(family, from, to, protocol, payload));
}

function expectDrops(t: ExecutionContext, lab: Lab, drops: Record<string, number>): void {
  t.deepEqual(lab.dropped(), drops);
  expectWhole(t, lab);
}

for (const family of [4, 6] as const) {
  const here = family === 4 ? '10.1.0.12/32' : 'fd00:1::12/128';

  test(`IPv${family}: a rule for one port refuses that, and nothing else`, (t) => {
    const lab = makeLab(rule(3, POLICY_DROP, { to: at(here, 1), protocol: TCP, ports: [22, 22] }));
    t.false(send(lab, family, A, A2, TCP, segment(5000, 22, SYN)));
    t.true(send(lab, family, A, A2, TCP, segment(5000, 23, SYN)));
    t.true(send(lab, family, A2, A, TCP, segment(23, 5000, SYN | ACK, 7000, 1001)));
    t.true(send(lab, family, A, A2, UDP, udp({ srcPort: 5000, dstPort: 22 })));
    t.true(send(lab, family, A2, A, TCP, segment(5000, 22, SYN)));
    t.is(hits(lab, 3), 1);
    expectDrops(t, lab, { policy: 1 });
  });

  test(`IPv${family}: where the default refuses, a rule accepts one connection and its answers`, (t) => {
    const lab = makeLab(
      rule(0, POLICY_ACCEPT, { to: at(here, 1), protocol: TCP, ports: [80, 80] }),
      rule(1, POLICY_DROP, TO_NETWORK),
    );
    t.true(send(lab, family, A, A2, TCP, segment(5000, 80, SYN)));
    t.true(send(lab, family, A2, A, TCP, segment(80, 5000, SYN | ACK, 7000, 1001)));
    t.true(send(lab, family, A, A2, TCP, segment(5000, 80, ACK, 1001, 7001, 100)));
    t.true(send(lab, family, A2, A, TCP, segment(80, 5000, ACK, 7001, 1101, 1400)));
    t.false(send(lab, family, A2, A, TCP, segment(5001, 80, SYN)));
    t.false(send(lab, family, A2, A, UDP, udp({ srcPort: 80, dstPort: 5000 })));
    t.deepEqual([hits(lab, 0), hits(lab, 1)], [1, 2]);
    expectDrops(t, lab, { policy: 2 });
  });

  test(`IPv${family}: a rule that comes later holds for a connection that runs, from either end, and its end as well`, (t) => {
    const lab = makeLab(rule(9, POLICY_DROP, { protocol: UDP, ports: [9, 9] }));
    const deny = rule(2, POLICY_DROP, { to: at(here, 1), protocol: TCP, ports: [80, 80] });
    t.true(send(lab, family, A, A2, TCP, segment(5000, 80, SYN)));
    t.true(send(lab, family, A2, A, TCP, segment(80, 5000, SYN | ACK, 7000, 1001)));
    t.true(send(lab, family, A, A2, TCP, segment(5000, 80, ACK, 1001, 7001)));
    setRules(lab, deny);
    t.false(send(lab, family, A2, A, TCP, segment(80, 5000, ACK, 7001, 1001, 100)));
    t.false(send(lab, family, A2, A, TCP, segment(80, 5000, ACK, 7001, 1001, 100)));
    t.false(send(lab, family, A, A2, TCP, segment(5000, 80, ACK, 1001, 7001, 100)));
    t.is(hits(lab, 2), 3);
    setRules(lab, rule(9, POLICY_DROP, { protocol: UDP, ports: [9, 9] }));
    t.true(send(lab, family, A2, A, TCP, segment(80, 5000, ACK, 7001, 1001, 100)));
    expectDrops(t, lab, { policy: 3 });
  });

  test(`IPv${family}: a connection that began before anybody looked is judged in both directions`, (t) => {
    const answer = (): Uint8Array => segment(80, 5000, ACK, 7001, 1001, 100);
    const drop = rule(1, POLICY_DROP, TO_NETWORK);
    const web = { to: at(here, 1), protocol: TCP, ports: [80, 80] as const };
    t.true(send(makeLab(rule(0, POLICY_ACCEPT, web), drop), family, A2, A, TCP, answer()));
    t.false(send(makeLab(drop, rule(0, POLICY_ACCEPT, web)), family, A2, A, TCP, answer()));
    t.false(send(makeLab(rule(0, POLICY_DROP, web)), family, A2, A, TCP, answer()));
    const lab = makeLab(rule(0, POLICY_ACCEPT, web), drop);
    t.true(send(lab, family, A2, A, TCP, answer()));
    setRules(lab, rule(0, POLICY_DROP, web));
    t.false(send(lab, family, A2, A, TCP, segment(80, 5000, ACK, 7101, 1001, 100)));
  });

  test(`IPv${family}: reject answers TCP by a reset that the sender believes, all else by ICMP`, (t) => {
    const lab = makeLab(rule(0, POLICY_REJECT, TO_NETWORK));
    const [reset, ...more] = lab.receive(A.port, direct(family, A, A2, TCP, segment(5000, 80, SYN, 1000)));
    t.is(more.length, 0);
    t.is(reset.port, A.port);
    t.deepEqual([...reset.frame.subarray(0, 6)], A.mac);
    const view = viewOf(reset.frame.subarray(family === 4 ? 34 : 54));
    t.deepEqual(
      [view.getUint16(0), view.getUint16(2), view.getUint8(13), view.getUint32(8)],
      [80, 5000, RST | ACK, 1001],
    );
    const datagram = direct(family, A, A2, UDP, udp({ srcPort: 5000, dstPort: 53 }, new Uint8Array(20)));
    expectError(t, lab.receive(A.port, datagram), A, family === 4 ? '3/13' : '1/1');
    t.is(hits(lab, 0), 2);
    expectDrops(t, lab, { policy: 2 });
  });

  test(`IPv${family}: an ICMP error belongs to the connection that it is about`, (t) => {
    const lab = makeLab(rule(0, POLICY_ACCEPT, { to: at(here, 1) }), rule(1, POLICY_DROP, TO_NETWORK));
    const datagram = direct(family, A, A2, UDP, udp({ srcPort: 5000, dstPort: 53 }, new Uint8Array(20)));
    const error = (quoted: Uint8Array): Uint8Array =>
      family === 4
        ? direct(4, A2, A, 1, message4(3, 3, 0, quoted.slice(14)))
        : outIcmp6(A2, A, { toMac: A.mac }, message(1, 4, 0, quoted.slice(14)));
    t.false(passes(lab, A, A2, error(datagram)));
    t.true(passes(lab, A2, A, datagram));
    t.true(passes(lab, A, A2, error(datagram)));
    t.false(passes(lab, A, A2, error(direct(family, A, A2, UDP, udp({ srcPort: 5001, dstPort: 53 })))));
    expectDrops(t, lab, { policy: 2 });
  });

  test(`IPv${family}: fragments: the first is judged by its ports, the rest where nothing between the two may be`, (t) => {
    const whole = udp({ srcPort: 5000, dstPort: 53 }, new Uint8Array(64));
    const fragment = (from: Station, to: Station, offset: number): Uint8Array => {
      const part = whole.slice(offset, offset + 24);
      const more = offset === 0;
      if (family === 4) return out4(from, to, { toMac: to.mac, offset: offset / 8, more }, part);
      const header = fragmentHeader({ nextHeader: UDP, offset: offset / 8, more });
      return out6(from, to, { nextHeader: 44, toMac: to.mac }, header, part);
    };
    const dns = { to: at(here, 1), protocol: UDP, ports: [53, 53] as const };
    const lab = makeLab(rule(0, POLICY_ACCEPT, dns), rule(1, POLICY_DROP, TO_NETWORK));
    t.true(passes(lab, A2, A, fragment(A, A2, 0)));
    t.true(passes(lab, A2, A, fragment(A, A2, 24)));
    t.false(passes(lab, A, A2, fragment(A2, A, 0)));
    t.true(passes(lab, A, A2, fragment(A2, A, 24)), 'may be part of an answer');
    setRules(lab, rule(0, POLICY_DROP, dns));
    t.false(passes(lab, A2, A, fragment(A, A2, 0)));
    t.true(passes(lab, A2, A, fragment(A, A2, 24)), 'nothing without its first');
    setRules(lab, rule(1, POLICY_DROP, TO_NETWORK));
    t.false(passes(lab, A2, A, fragment(A, A2, 24)));
    expectDrops(t, lab, { policy: 3 });
  });

  test(`IPv${family}: a packet for one in a frame for all is judged, and begins no connection`, (t) => {
    const lab = makeLab(rule(0, POLICY_DROP, { to: at(here, 1), protocol: UDP, ports: [53, 53] }));
    const broadcast = (port: number): Uint8Array => {
      const bytes = direct(family, A, A2, UDP, udp({ srcPort: 5000, dstPort: port }));
      bytes.set(BROADCAST, 0);
      return bytes;
    };
    t.is(lab.receive(A.port, broadcast(53)).length, 0);
    t.is(hits(lab, 0), 1);
    t.is(lab.dropped().policy, 1);
    lab.receive(A.port, broadcast(54));
    t.is(lab.dropped().policy, 1);
    t.is(lab.router.flows.table.count, 0);
    expectWhole(t, lab);
  });

  test(`IPv${family}: headers that cannot be read are dropped, whatever the rules`, (t) => {
    const lab = makeLab(rule(0, POLICY_ACCEPT));
    t.false(send(lab, family, A, A2, TCP, segment(5000, 80, SYN).slice(0, 12)));
    const bytes = direct(family, A, A2, UDP, udp({ srcPort: 1, dstPort: 2 }));
    if (family === 4) bytes[14] = 0x43;
    else viewOf(bytes).setUint16(18, 2000);
    t.false(passes(lab, A2, A, bytes));
    expectDrops(t, lab, { unverifiable: 2 });
  });
}

test('what a link needs is nobody to judge: ARP, discovery, groups', (t) => {
  const lab = makeLab(rule(0, POLICY_DROP));
  const arp = arpFrame(A, 1, A2.v4);
  t.is(lab.receive(A.port, arp).length, 1);
  const solicited = 0x60000000;
  const target = direct(6, A2, A, 58, new Uint8Array(0)).slice(22, 38);
  t.true(passes(lab, A, A2, outIcmp6(A2, A, { toMac: A.mac }, message(136, 0, solicited, target))));
  for (const group of ['224.0.0.251', '255.255.255.255']) {
    const bytes = out4(A, group, { toMac: group === '224.0.0.251' ? [1, 0, 0x5e, 0, 0, 251] : BROADCAST });
    t.is(lab.receive(A.port, bytes).length, 1, group);
  }
  t.is(lab.receive(A.port, out6(A, 'ff02::fb', { toMac: [0x33, 0x33, 0, 0, 0, 0xfb] })).length, 1);
  t.is(hits(lab, 0), 0);
  t.is(lab.router.flows.table.count, 0);
  expectWhole(t, lab);
});

test('echo: the request is judged, its reply belongs to it, and one that nobody asked for does not pass', (t) => {
  const lab = makeLab(rule(0, POLICY_ACCEPT, { to: at('10.1.0.12/32', 1) }), rule(1, POLICY_DROP, TO_NETWORK));
  t.true(send(lab, 4, A, A2, 1, message4(8, 0, 0x00070001)));
  t.true(send(lab, 4, A2, A, 1, message4(0, 0, 0x00070001)));
  t.false(send(lab, 4, A2, A, 1, message4(0, 0, 0x00080001)));
  t.is(lab.router.flows.table.count, 1);
  expectDrops(t, lab, { policy: 1 });
});

test('flows of a bridge are its own: told apart from the router, ended with their port', (t) => {
  const lab = makeLab(rule(0, POLICY_DROP, { protocol: TCP, ports: [22, 22] }));
  t.true(send(lab, 4, A, A2, UDP, udp({ srcPort: 5000, dstPort: 53 })));
  const { table } = lab.router.flows;
  t.not(table.words[table.nextFrom(0) * FLOW_WORDS + FLOW_STATE] & FLOW_BRIDGED, 0);
  t.is(table.ownerCount(A.port), 1);
  lab.topology.removePort(A.port);
  t.is(table.count, 0);
});

test('a network that is not filtered pays nothing and keeps no flows, whatever the rules', (t) => {
  const lab = makeLab(rule(0, POLICY_DROP));
  t.true(send(lab, 4, B, B2, TCP, segment(5000, 22, SYN)));
  t.is(lab.router.flows.table.count, 0);
  lab.topology.filter(new Int32Array(0));
  t.true(send(lab, 4, A, A2, TCP, segment(5000, 22, SYN)));
  t.is(hits(lab, 0), 0);
  expectDrops(t, lab, {});
});

test('a segment outside the window of its connection is dropped', (t) => {
  const lab = makeLab(rule(0, POLICY_DROP, { protocol: UDP }));
  t.true(send(lab, 4, A, A2, TCP, segment(5000, 80, SYN)));
  t.true(send(lab, 4, A2, A, TCP, segment(80, 5000, SYN | ACK, 7000, 1001)));
  t.true(send(lab, 4, A, A2, TCP, segment(5000, 80, ACK, 1001, 7001)));
  t.false(send(lab, 4, A2, A, TCP, segment(80, 5000, ACK, 0x40000000, 1001, 10)));
  expectDrops(t, lab, { tcp_window: 1 });
});
