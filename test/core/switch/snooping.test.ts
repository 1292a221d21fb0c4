/** Where multicast goes: reports, queries and data in, ports out. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { MAX_GROUPS } from '../../../core/switch/mdb.js';
import {
  LEARNING_TIME,
  MAX_PORT_GROUPS,
  ROUTER_ALWAYS,
  ROUTER_AUTO,
  ROUTER_NEVER,
} from '../../../core/switch/snooping.js';
import {
  data,
  ether,
  type Record as GroupRecord,
  groupMac,
  igmp,
  ip4,
  ip6,
  joins,
  leaves,
  mld,
  mld1Done,
  mld1Query,
  mld1Report,
  mld2Query,
  mld2Report,
  type Outcome,
  pimHello,
  pimHello6,
  TestDomain,
  tagged,
  v1Report,
  v2Leave,
  v2Query,
  v2Report,
  v3Query,
  v3Report,
} from './multicast.js';

const G4 = '239.1.1.1';
const G6 = 'ff15::7';
const BOTH = [G4, G6];

test('a group with members goes to them, each once, never back; others to everybody', (t) => {
  for (const group of BOTH) {
    const domain = new TestDomain(5);
    t.is(domain.receive(1, data(group)), 'flood');
    t.is(domain.receive(4, joins(group)), 'snooped');
    t.is(domain.receive(2, joins(group)), 'snooped');
    t.deepEqual(domain.receive(1, data(group)), [2, 4]);
    t.deepEqual(domain.receive(2, data(group)), [4]);
    t.is(domain.receive(1, data('239.1.1.2')), 'flood');
    t.is(domain.receive(1, data('ff15::8')), 'flood');
    t.deepEqual(domain.list(), [`${group} 2 260`, `${group} 4 260`]);
    t.is(domain.snooping.groups, 1);
    t.is(domain.snooping.reports, 2);
  }
});

test('a sender that is the only member: nobody else has joined', (t) => {
  for (const group of BOTH) {
    const domain = new TestDomain(3);
    domain.receive(2, joins(group));
    t.is(domain.receive(2, data(group)), 'unregistered_multicast');
  }
});

test('with dropUnregistered, groups without members go to router ports only', (t) => {
  for (const group of BOTH) {
    const domain = new TestDomain(4, { dropUnregistered: true });
    t.is(domain.receive(1, data(group)), 'unregistered_multicast');
    domain.snooping.addPort(9, ROUTER_ALWAYS, false);
    t.deepEqual(domain.receive(1, data(group)), [9]);
    t.is(domain.receive(9, data(group)), 'unregistered_multicast');
    domain.receive(2, joins(group));
    t.deepEqual(domain.receive(1, data(group)), [2, 9]);
  }
});

test('what nobody reports reliably, or what is no multicast of IP, is always flooded', (t) => {
  const domain = new TestDomain(3, { dropUnregistered: true });
  const udp = [0x13, 0x88, 0x13, 0x89, 0, 12, 0, 0, 1, 2, 3, 4];
  const cases: Record<string, Uint8Array> = {
    mdns: data('224.0.0.251'),
    'all hosts': data('224.0.0.1'),
    'end of 224.0.0.0/24': data('224.0.0.255'),
    'ff02::/16': data('ff02::fb'),
    'solicited node': data('ff02::1:ff00:7'),
    'ff01::': data('ff01::1'),
    'ff11::': data('ff11::1'),
    'ff00::': data('ff00::1'),
    'no IP': ether([1, 0, 0x5e, 1, 1, 1], 0x88b5, [1, 2, 3]),
    LLC: ether([1, 0, 0x0c, 0xcc, 0xcc, 0xcd], 8, [0xaa, 0xaa, 3, 0, 0, 0, 1, 0]),
    'unicast IPv4 in a group frame': data('172.30.0.2', { mac: [1, 0, 0x5e, 30, 0, 2] }),
    "another group's MAC": data(G4, { mac: [1, 0, 0x5e, 1, 1, 2] }),
    'MAC of no IPv4 group': data(G4, { mac: [1, 0, 0x5e, 0x81, 1, 1] }),
    'broadcast address in a group frame': data('255.255.255.255', { mac: [1, 0, 0x5e, 127, 255, 255] }),
    'IPv4 in an IPv6 MAC': data(G4, { mac: [0x33, 0x33, 1, 1, 1, 1] }),
    'cut IPv4 header': ether([1, 0, 0x5e, 1, 1, 1], 0x0800, [0x45, 0, 0, 200]),
    'cut IPv6 header': ether([0x33, 0x33, 0, 0, 0, 7], 0x86dd, [0x60, 0, 0, 0, 1, 0]),
    'unicast IPv6 in a group frame': ((): Uint8Array => {
      const frame = data(G6);
      frame.set(ip6('fd00:30::7'), 14 + 24);
      return frame;
    })(),
    "another IPv6 group's MAC": ((): Uint8Array => {
      const frame = data(G6);
      frame[5] ^= 1;
      return frame;
    })(),
    'ARP to a group': ether([1, 0, 0x5e, 1, 1, 1], 0x0806, udp),
  };
  for (const [name, frame] of Object.entries(cases)) t.is(domain.receive(1, frame), 'flood', name);
  t.is(domain.receive(1, data('224.0.1.0')), 'unregistered_multicast', 'the next address is an ordinary group');
  t.is(domain.receive(1, data('ff12::1')), 'unregistered_multicast', 'transient groups of the link are reported');
  t.is(domain.snooping.malformed, 0);
});

test('groups that share a MAC are told apart by their addresses', (t) => {
  const domain = new TestDomain(4);
  domain.receive(2, joins('224.1.1.1'));
  domain.receive(3, joins('225.1.1.1'));
  domain.receive(2, joins('ff15::aa:7'));
  domain.receive(3, joins('ff15::bb:0:aa:7'));
  t.deepEqual(groupMac(ip4('224.1.1.1')), groupMac(ip4('225.1.1.1')));
  t.deepEqual(domain.receive(1, data('224.1.1.1')), [2]);
  t.deepEqual(domain.receive(1, data('225.1.1.1')), [3]);
  t.is(domain.receive(1, data('226.1.1.1')), 'flood');
  t.deepEqual(domain.receive(1, data('ff15::aa:7')), [2]);
  t.deepEqual(domain.receive(1, data('ff15::bb:0:aa:7')), [3]);
  t.is(domain.receive(1, data('ff15::cc:aa:7')), 'flood');
});

test('fragments of data go where the rest goes', (t) => {
  const domain = new TestDomain(3);
  domain.receive(2, joins(G4));
  t.deepEqual(domain.receive(1, data(G4, { fragment: 0x2000 })), [2]);
  t.deepEqual(domain.receive(1, data(G4, { fragment: 0x0007 })), [2]);
});

test('reports of every version join, and are heard by router ports only', (t) => {
  const sources = ['10.0.0.1', '10.0.0.2'];
  const sources6 = ['fd00::1', 'fd00::2'];
  const cases: Record<string, [string, Uint8Array]> = {
    'IGMPv1 report': [G4, v1Report(G4)],
    'IGMPv2 report': [G4, v2Report(G4)],
    'IGMPv2 report without Router Alert': [G4, igmp(G4, [0x16, 0, 0, 0, ...ip4(G4)], { options: [] })],
    'IGMPv2 report with more behind': [G4, igmp(G4, [0x16, 0, 0, 0, ...ip4(G4), 1, 2, 3])],
    'IGMPv2 report from 0.0.0.0': [G4, igmp(G4, [0x16, 0, 0, 0, ...ip4(G4)], { from: '0.0.0.0' })],
    IS_EX: [G4, v3Report({ type: 2, group: G4 })],
    'IS_EX with sources': [G4, v3Report({ type: 2, group: G4, sources })],
    TO_EX: [G4, v3Report({ type: 4, group: G4 })],
    'IS_IN with sources': [G4, v3Report({ type: 1, group: G4, sources })],
    'TO_IN with sources': [G4, v3Report({ type: 3, group: G4, sources })],
    ALLOW: [G4, v3Report({ type: 5, group: G4, sources })],
    'the third record': [
      G4,
      v3Report({ type: 6, group: G4, sources, auxiliary: 3 }, { type: 77, group: G4 }, { type: 4, group: G4 }),
    ],
    'MLDv1 report': [G6, mld1Report(G6)],
    'MLDv1 report from ::': [G6, mld(G6, [131, 0, 0, 0, 0, 0, 0, 0, ...ip6(G6)], { from: '::' })],
    'MLDv1 report with more behind': [G6, mld(G6, [131, 0, 0, 0, 0, 0, 0, 0, ...ip6(G6), 9])],
    'MLD IS_EX': [G6, mld2Report({ type: 2, group: G6 })],
    'MLD TO_EX with sources': [G6, mld2Report({ type: 4, group: G6, sources: sources6 })],
    'MLD IS_IN with sources': [G6, mld2Report({ type: 1, group: G6, sources: sources6 })],
    'MLD TO_IN with sources': [G6, mld2Report({ type: 3, group: G6, sources: sources6 })],
    'MLD ALLOW': [G6, mld2Report({ type: 5, group: G6, sources: sources6 })],
    'MLD, the second record': [
      G6,
      mld2Report({ type: 6, group: 'ff15::9', sources: sources6, auxiliary: 1 }, { type: 2, group: G6 }),
    ],
    'MLD, Router Alert behind other options': [
      G6,
      mld(G6, [131, 0, 0, 0, 0, 0, 0, 0, ...ip6(G6)], { hopByHop: [1, 0, 1, 2, 0, 0, 0x1e, 1, 7, 5, 2, 0, 0, 0, 0] }),
    ],
  };
  for (const [name, [group, report]] of Object.entries(cases)) {
    const domain = new TestDomain(4);
    t.is(domain.receive(2, report), 'snooped', name);
    t.deepEqual(domain.list(), [`${group} 2 260`], name);
    t.deepEqual(domain.receive(1, data(group)), [2], name);
    t.is(domain.snooping.reports, 1, name);
    t.is(domain.snooping.malformed, 0, name);
    domain.snooping.addPort(9, ROUTER_ALWAYS, false);
    t.deepEqual(domain.receive(3, report), [9], name);
    t.deepEqual(domain.receive(1, data(group)), [2, 3, 9], name);
  }
});

test('records that are no join leave nothing behind', (t) => {
  const records: GroupRecord[] = [
    { type: 1, group: G4 },
    { type: 3, group: G4 },
    { type: 5, group: G4 },
    { type: 6, group: G4, sources: ['10.0.0.1'] },
    { type: 0, group: G4 },
    { type: 7, group: G4 },
    { type: 4, group: '10.1.1.1' },
    { type: 4, group: '224.0.0.251' },
    { type: 4, group: '0.0.0.0' },
  ];
  const records6: GroupRecord[] = [
    { type: 1, group: G6 },
    { type: 3, group: G6 },
    { type: 5, group: G6 },
    { type: 7, group: G6 },
    { type: 4, group: 'fd00::1' },
    { type: 4, group: 'ff02::fb' },
    { type: 4, group: 'ff01::1' },
    { type: 4, group: '::' },
  ];
  const domain = new TestDomain(3);
  for (const record of records) t.is(domain.receive(2, v3Report(record)), 'snooped');
  for (const record of records6) t.is(domain.receive(2, mld2Report(record)), 'snooped');
  for (const frame of [v3Report(...records), mld2Report(...records6), v3Report(), mld2Report()]) {
    t.is(domain.receive(2, frame), 'snooped');
  }
  for (const frame of [v2Report('224.0.0.251'), mld1Report('ff02::1:ff00:7'), v2Leave('224.0.0.251')]) {
    t.is(domain.receive(2, frame), 'snooped');
  }
  t.deepEqual(domain.list(), []);
  t.is(domain.snooping.malformed, 0);
  t.is(domain.snooping.full, 0);
});

const LEAVES: Record<string, [string, Uint8Array]> = {
  'IGMPv2 leave': [G4, v2Leave(G4)],
  'IGMPv3 TO_IN': [G4, v3Report({ type: 3, group: G4 })],
  'IGMPv3 IS_IN': [G4, v3Report({ type: 1, group: G4 })],
  'MLDv1 done': [G6, mld1Done(G6)],
  'MLDv2 TO_IN': [G6, mld2Report({ type: 3, group: G6 })],
};

test('fast leave: the port is out at once, others stay', (t) => {
  for (const [name, [group, leave]] of Object.entries(LEAVES)) {
    const domain = new TestDomain(4, { fastLeave: true });
    domain.receive(2, joins(group));
    domain.receive(3, joins(group));
    t.is(domain.receive(2, leave), 'snooped', name);
    t.deepEqual(domain.receive(1, data(group)), [3], name);
    t.is(domain.receive(2, leave), 'snooped', 'again');
    t.is(domain.receive(4, leave), 'snooped', 'from one that never joined');
    domain.receive(3, leave);
    t.is(domain.snooping.groups, 0, name);
    t.is(domain.receive(1, data(group)), 'flood', name);
  }
});

test('without fast leave the port goes when nobody behind it answers two queries', (t) => {
  for (const [name, [group, leave]] of Object.entries(LEAVES)) {
    const domain = new TestDomain(4);
    domain.pass(40);
    domain.receive(2, joins(group));
    domain.receive(3, joins(group));
    t.is(domain.receive(2, leave), 'snooped', name);
    const heard = [1, 2, 3].map(() => {
      domain.pass(1);
      return domain.receive(1, data(group));
    });
    t.deepEqual(heard, [[2, 3], [2, 3], [3]], name);
    t.deepEqual(domain.list(), [`${group} 3 257`], name);
  }
});

test('a member that answers stays; only the port that was left is asked', (t) => {
  for (const [name, [group, leave]] of Object.entries(LEAVES)) {
    const domain = new TestDomain(4);
    domain.pass(40);
    domain.receive(2, joins(group));
    domain.receive(3, joins(group));
    domain.receive(2, leave);
    t.deepEqual(
      domain.pass(1).map(({ port }) => port),
      [2],
      name,
    );
    t.deepEqual(domain.list(), [`${group} 2 2`, `${group} 3 259`], name);
    domain.receive(2, joins(group));
    t.deepEqual(domain.pass(5), [], 'no second query');
    t.deepEqual(domain.receive(1, data(group)), [2, 3], name);
  }
});

test('who blocks his last source is asked, with fast leave too, and goes if he does not answer', (t) => {
  for (const [group, block] of [
    [G4, v3Report({ type: 6, group: G4, sources: ['10.0.0.1'] })],
    [G6, mld2Report({ type: 6, group: G6, sources: ['fd00::1'] })],
  ] as const) {
    const domain = new TestDomain(3, { fastLeave: true });
    domain.pass(40);
    domain.receive(2, joins(group));
    domain.receive(2, block);
    t.deepEqual(domain.receive(1, data(group)), [2]);
    t.deepEqual(
      domain.pass(3).map(({ port }) => port),
      [2, 2],
    );
    t.is(domain.receive(1, data(group)), 'flood');
  }
});

test('a leave for which no slot is free ends the membership all the same, once the query is out', (t) => {
  const domain = new TestDomain(3);
  domain.pass(40);
  domain.receive(2, joins(G4));
  domain.receive(2, leaves(G4));
  domain.starve = 3;
  t.deepEqual(domain.pass(3), []);
  t.deepEqual(domain.receive(1, data(G4)), [2], 'never asked, so not forgotten');
  t.is(domain.pass(3).length, 2);
  t.is(domain.receive(1, data(G4)), 'flood');
});

test('memberships end after 260 s, or begin anew with a report', (t) => {
  for (const group of BOTH) {
    const domain = new TestDomain(4);
    domain.receive(2, joins(group));
    domain.pass(100);
    domain.receive(3, joins(group));
    domain.pass(159);
    t.deepEqual(domain.receive(1, data(group)), [2, 3]);
    domain.pass(1);
    t.deepEqual(domain.receive(1, data(group)), [3]);
    domain.receive(3, joins(group));
    domain.pass(259);
    t.deepEqual(domain.list(), [`${group} 3 1`]);
    domain.pass(1);
    t.deepEqual(domain.list(), []);
    t.is(domain.snooping.groups, 0);
  }
});

test("another querier's specific query shortens what nobody answers, on every port", (t) => {
  const cases: Record<string, [string, Uint8Array, boolean]> = {
    IGMPv2: [G4, v2Query({ group: G4, response: 10 }), true],
    IGMPv3: [G4, v3Query({ group: G4, response: 10 }), true],
    'IGMPv3 from 0.0.0.0': [G4, v3Query({ group: G4, response: 10, from: '0.0.0.0' }), true],
    'IGMPv3 with the S flag': [G4, v3Query({ group: G4, response: 10, flags: 10 }), false],
    'IGMPv3 with sources': [G4, v3Query({ group: G4, response: 10, sources: ['10.0.0.1'] }), false],
    'IGMPv3, another group': [G4, v3Query({ group: '239.9.9.9', response: 10 }), false],
    'IGMPv3 general': [G4, v3Query(), false],
    MLDv1: [G6, mld1Query({ group: G6, response: 1000 }), true],
    MLDv2: [G6, mld2Query({ group: G6, response: 1000 }), true],
    'MLDv2 with the S flag': [G6, mld2Query({ group: G6, response: 1000, flags: 10 }), false],
    'MLDv2 with sources': [G6, mld2Query({ group: G6, response: 1000, sources: ['fd00::1'] }), false],
    'MLDv2 general': [G6, mld2Query(), false],
  };
  for (const [name, [group, query, shortens]] of Object.entries(cases)) {
    const domain = new TestDomain(4);
    domain.receive(2, joins(group));
    domain.receive(3, joins(group));
    t.is(domain.receive(4, query), 'flood', name);
    domain.receive(3, joins(group));
    domain.pass(2);
    const members = domain.list().filter((line) => line.startsWith(group));
    t.deepEqual(
      members.map((line) => line.split(' ')[1]),
      shortens ? ['3'] : ['2', '3'],
      name,
    );
    t.is(domain.snooping.queries, 1, name);
  }
});

test('routers are found by their queries, PIM hellos and advertisements, for 255 s', (t) => {
  const advertisement = igmp('224.0.0.106', [0x30, 20, 0, 0, 0, 125, 0, 2]);
  const cases: Record<string, Uint8Array> = {
    'IGMPv1 query': v2Query({ response: 0 }),
    'IGMPv2 query': v2Query(),
    'IGMPv3 query': v3Query(),
    'specific query': v3Query({ group: '239.9.9.9' }),
    'MLDv1 query': mld1Query(),
    'MLDv2 query': mld2Query(),
    'PIM hello': pimHello(),
    'PIM hello, IPv6': pimHello6(),
    'router advertisement': advertisement,
    'router advertisement, IPv6': mld('ff02::6a', [151, 20, 0, 0, 0, 125, 0, 2]),
  };
  for (const [name, frame] of Object.entries(cases)) {
    for (const group of BOTH) {
      const domain = new TestDomain(4, { dropUnregistered: true });
      t.is(domain.receive(3, frame), 'flood', name);
      t.deepEqual(domain.list(), ['router 3 255'], name);
      t.deepEqual(domain.receive(2, joins(group)), [3], name);
      t.deepEqual(domain.receive(1, data(group)), [2, 3], name);
      t.deepEqual(domain.receive(1, data('239.9.9.8')), [3], name);
      t.is(domain.receive(3, joins(group)), 'snooped', 'not back to the router itself');
      domain.receive(3, leaves(group));
      domain.pass(254);
      t.deepEqual(domain.receive(1, data('239.9.9.8')), [3], name);
      domain.pass(1);
      t.is(domain.receive(1, data('239.9.9.8')), 'unregistered_multicast', name);
    }
  }
});

test('what only looks like a router makes none', (t) => {
  const broken = pimHello();
  broken[14 + 24 + 5] ^= 1;
  const broken6 = pimHello6();
  broken6[14 + 40 + 5] ^= 1;
  const joinPrune = pimHello();
  joinPrune[14 + 24] = 0x23;
  const domain = new TestDomain(3);
  for (const frame of [broken, broken6, joinPrune]) t.is(domain.receive(2, frame), 'flood');
  for (const type of [0x13, 0x14, 0x31, 0x32, 0x99]) {
    t.is(
      domain.receive(2, igmp('224.0.0.106', [type, 0, 0, 0, 0, 0, 0, 0])),
      'flood',
      `unknown type ${type} is flooded`,
    );
  }
  t.deepEqual(domain.list(), []);
  t.is(domain.snooping.malformed, 0);
});

test('a query from 0.0.0.0 makes no router port, but that switch is told of members', (t) => {
  const domain = new TestDomain(4, { dropUnregistered: true });
  t.is(domain.receive(3, v3Query({ from: '0.0.0.0' })), 'flood');
  t.deepEqual(domain.list(), []);
  t.deepEqual(domain.receive(2, joins(G4)), [3]);
  t.deepEqual(domain.receive(2, joins(G6)), [3]);
  t.deepEqual(domain.receive(1, data(G4)), [2]);
  t.is(domain.receive(1, data('239.9.9.9')), 'unregistered_multicast');
  domain.pass(255);
  t.is(domain.receive(2, joins(G4)), 'snooped');
});

test('ROUTER_ALWAYS and ROUTER_NEVER stand whatever is heard', (t) => {
  const domain = new TestDomain(0, { dropUnregistered: true });
  domain.snooping.addPort(1, ROUTER_AUTO, false);
  domain.snooping.addPort(2, ROUTER_NEVER, false);
  domain.snooping.addPort(3, ROUTER_ALWAYS, false);
  for (const frame of [v3Query(), v3Query({ from: '0.0.0.0' }), pimHello(), mld2Query()]) {
    domain.receive(2, frame);
    domain.receive(3, frame);
  }
  t.deepEqual(domain.list(), ['router 3 -1']);
  t.deepEqual(domain.receive(1, joins(G4)), [3]);
  domain.pass(1000);
  t.deepEqual(domain.receive(1, data(G6)), [3]);
});

test('a port that goes takes all it learned with it; the same number begins anew', (t) => {
  const domain = new TestDomain(4);
  for (const group of BOTH) {
    domain.receive(2, joins(group));
    domain.receive(3, joins(group));
  }
  domain.receive(2, v3Query());
  domain.snooping.removePort(2);
  t.deepEqual(domain.list(), [`${G4} 3 260`, `${G6} 3 260`]);
  for (const group of BOTH) t.deepEqual(domain.receive(1, data(group)), [3]);
  domain.snooping.removePort(3);
  domain.snooping.removePort(3);
  domain.snooping.removePort(77);
  t.is(domain.snooping.groups, 0);
  domain.snooping.addPort(2, ROUTER_AUTO, false);
  t.deepEqual(domain.list(), []);
  domain.receive(2, joins(G4));
  domain.snooping.addPort(2, ROUTER_ALWAYS, false);
  t.deepEqual(domain.list(), ['router 2 -1'], 'adding a port that is there begins anew, too');
  t.is(domain.receive(99, joins(G4)), 'flood', 'a port outside the domain is not listened to');
  t.deepEqual(domain.list(), ['router 2 -1']);
});

test('hundreds of ports: every member once, in the lists that grew', (t) => {
  const domain = new TestDomain(300);
  const expected: number[] = [];
  for (let port = 300; port > 1; port -= 3) {
    domain.receive(port, joins(G4));
    expected.unshift(port);
  }
  for (const port of [150, 151, 7]) domain.receive(port, pimHello());
  const all = [...new Set([...expected, 150, 151, 7])].sort((a, b) => a - b);
  t.deepEqual(domain.receive(1, data(G4)), all);
  t.deepEqual(
    domain.receive(150, data(G4)),
    all.filter((port) => port !== 150),
  );
});

test('while learning everything is flooded, registered or not, but reports', (t) => {
  const domain = new TestDomain(4, { dropUnregistered: true });
  domain.pass(10);
  domain.snooping.startLearning(domain.now);
  for (const group of BOTH) domain.receive(2, joins(group));
  for (let second = 1; second < LEARNING_TIME; second++) {
    const sent = domain.pass(1);
    if (second === 1) t.is(sent.filter(({ port }) => port === 0).length, 2, 'a general query of each kind');
    if (second === 2)
      t.deepEqual(
        sent.map(({ port }) => port),
        [1, 1, 2, 2, 3, 3, 4, 4],
        'and one for each port',
      );
    for (const group of [...BOTH, '239.9.9.9', 'ff15::9']) t.is(domain.receive(1, data(group)), 'flood');
  }
  t.is(domain.receive(3, joins(G4)), 'snooped');
  domain.pass(1);
  t.deepEqual(domain.receive(1, data(G4)), [2, 3]);
  t.deepEqual(domain.receive(1, data(G6)), [2]);
  t.is(domain.receive(1, data('239.9.9.9')), 'unregistered_multicast');
});

test('while nobody asks for reports everything is flooded; a querier is trusted once its hosts had time to answer', (t) => {
  const cases: [string, Uint8Array, Uint8Array][] = [
    [G4, v3Query(), data(G6)],
    [G4, v3Query({ from: '0.0.0.0' }), data(G6)],
    [G4, v2Query(), data(G6)],
    [G6, mld2Query(), data(G4)],
    [G6, mld1Query(), data(G4)],
  ];
  for (const [group, query, otherFamily] of cases) {
    const domain = new TestDomain(4, { querier: false, dropUnregistered: true });
    domain.receive(2, joins(group));
    t.is(domain.receive(1, data(group)), 'flood');
    domain.receive(4, query);
    domain.pass(10);
    t.is(domain.receive(1, data(group)), 'flood');
    domain.pass(1);
    t.not(domain.receive(1, data(group)), 'flood');
    t.is(domain.receive(1, otherFamily), 'flood', 'the other family has no querier');
    domain.pass(243);
    t.not(domain.receive(1, data(group)), 'flood');
    domain.pass(2);
    t.is(domain.receive(1, data(group)), 'flood', 'the querier fell silent');
  }
});

test('a specific query is no sign that all are asked', (t) => {
  const domain = new TestDomain(3, { querier: false });
  domain.receive(3, v3Query({ group: G4 }));
  domain.receive(3, mld2Query({ group: G6 }));
  domain.pass(30);
  domain.receive(2, joins(G4));
  t.is(domain.receive(1, data(G4)), 'flood');
});

test('an absurd response time does not put off trust for hours', (t) => {
  const domain = new TestDomain(3, { querier: false });
  domain.receive(3, mld2Query({ response: 0xffff }));
  domain.receive(2, joins(G6));
  domain.pass(126);
  t.deepEqual(domain.receive(1, data(G6)), [2, 3]);
});

test('a port of which a join finds no room gets all multicast instead, until it would have expired', (t) => {
  const domain = new TestDomain(4, { dropUnregistered: true });
  for (let i = 0; i < MAX_PORT_GROUPS; i++) domain.receive(2, joins(`239.2.0.${i}`));
  t.is(domain.snooping.full, 0);
  t.is(domain.receive(1, data(G6)), 'unregistered_multicast');
  domain.receive(3, joins('239.3.0.1'));
  t.is(domain.receive(2, joins('239.3.0.1')), 'snooped', 'a port in overflow is told of no reports');
  domain.receive(2, joins('239.2.0.7'));
  t.is(domain.snooping.full, 1, 'a refresh needs no room');
  t.deepEqual(domain.receive(1, data('239.3.0.1')), [2, 3]);
  t.deepEqual(domain.receive(1, data(G6)), [2]);
  t.false(domain.list().some((line) => line.startsWith('router')));
  domain.pass(100);
  domain.receive(2, joins('239.3.0.1'));
  t.is(domain.snooping.full, 2);
  domain.pass(160);
  t.is(domain.receive(2, joins('239.3.0.1')), 'snooped');
  t.is(domain.snooping.full, 2, 'its memberships are over: there is room');
  domain.pass(99);
  t.deepEqual(domain.receive(1, data(G6)), [2]);
  domain.pass(1);
  t.is(domain.receive(1, data(G6)), 'unregistered_multicast');
});

test('a domain holds MAX_GROUPS; who comes later gets all multicast', (t) => {
  const domain = new TestDomain(8, { dropUnregistered: true });
  const group = (i: number) => (i % 2 === 0 ? `239.4.${i >> 8}.${i & 255}` : `ff15::4:${i.toString(16)}`);
  for (let i = 0; i < MAX_GROUPS; i++) domain.receive(1 + (i >> 8), joins(group(i)));
  t.is(domain.snooping.groups, MAX_GROUPS);
  t.is(domain.snooping.full, 0);
  for (let i = MAX_GROUPS; i < MAX_GROUPS + 2000; i++) domain.receive(7, joins(group(i)));
  t.is(domain.snooping.groups, MAX_GROUPS);
  t.is(domain.snooping.full, 2000);
  t.deepEqual(domain.receive(8, data(group(5000))), [7]);
  t.deepEqual(domain.receive(8, data(group(0))), [1, 7]);
  t.deepEqual(domain.receive(8, data(group(MAX_GROUPS - 1))), [4, 7]);
  domain.receive(8, joins(group(0)));
  t.deepEqual(domain.receive(7, data(group(0))), [1, 8], 'a group that is there takes members');
  domain.snooping.removePort(7);
  t.is(domain.receive(8, data(group(5000))), 'unregistered_multicast');
});

const MESSAGES: Record<string, Uint8Array> = {
  'IGMPv1 report': v1Report(G4),
  'IGMPv2 report': v2Report(G4),
  'IGMPv2 leave': v2Leave(G4),
  'IGMPv3 report': v3Report(
    { type: 2, group: '239.8.8.8', auxiliary: 1 },
    { type: 4, group: G4, sources: ['10.0.0.1'] },
  ),
  'IGMPv2 query': v2Query(),
  'IGMPv3 query': v3Query({ sources: ['10.0.0.1', '10.0.0.2'], group: G4 }),
  'router advertisement': igmp('224.0.0.106', [0x30, 20, 0, 0, 0, 125, 0, 2]),
  'MLDv1 report': mld1Report(G6),
  'MLDv1 done': mld1Done(G6),
  'MLDv2 report': mld2Report({ type: 2, group: 'ff15::8', auxiliary: 1 }, { type: 4, group: G6, sources: ['fd00::1'] }),
  'MLDv1 query': mld1Query(),
  'MLDv2 query': mld2Query({ sources: ['fd00::1', 'fd00::2'], group: G6 }),
};

/** Length of the IP packet inside. */
function packetLength(frame: Uint8Array): number {
  const view = new DataView(frame.buffer);
  return frame[12] === 0x08 ? view.getUint16(16) : 40 + view.getUint16(18);
}

/** What the domain knows besides counters. */
function known(domain: TestDomain): string {
  return JSON.stringify([domain.list(), domain.receive(1, joins('239.7.7.7')), domain.pass(3).length]);
}

/** The message in an IP packet that is `cut` bytes shorter, with right checksums. */
function shortened(frame: Uint8Array, length: number): Uint8Array {
  const isV4 = frame[12] === 0x08;
  const at = 14 + (isV4 ? (frame[14] & 15) * 4 : 48);
  const body = [...frame.subarray(at, at + length)];
  if (length > 3) body.fill(0, 2, 4);
  const text = (bytes: Uint8Array) => [...bytes].join('.');
  if (isV4) {
    const options = [...frame.subarray(34, at)];
    const fields = { from: text(frame.subarray(26, 30)), options, mac: [...frame.subarray(0, 6)] };
    return igmp(text(frame.subarray(30, 34)), body, fields);
  }
  const words = (bytes: Uint8Array) =>
    [0, 2, 4, 6, 8, 10, 12, 14].map((i) => ((bytes[i] << 8) | bytes[i + 1]).toString(16)).join(':');
  return mld(words(frame.subarray(38, 54)), body, { from: words(frame.subarray(22, 38)) });
}

/** Lengths at which a cut message is a whole one of another version. */
const WHOLE: Record<string, number[]> = { 'IGMPv3 query': [8], 'MLDv2 query': [24] };

test('a message cut at any length, its checksums right, is counted and not trusted; nothing behind it is read', (t) => {
  for (const [name, frame] of Object.entries(MESSAGES)) {
    const header = frame[12] === 0x08 ? (frame[14] & 15) * 4 : 48;
    const full = packetLength(frame) - header;
    const isV4 = frame[12] === 0x08;
    for (let length = isV4 ? 4 : 8; length < full; length++) {
      if (WHOLE[name]?.includes(length)) continue;
      if (name === 'router advertisement') continue; // its first eight bytes are all of it
      const domain = new TestDomain(3);
      const before = known(domain);
      const compared = new TestDomain(3);
      t.is(compared.receive(2, shortened(frame, length)), 'snooped', `${name}, ${length} bytes`);
      t.is(compared.snooping.malformed, 1, `${name}, ${length} bytes`);
      t.is(compared.snooping.reports + compared.snooping.queries, 0);
      t.is(known(compared), before, `${name}, ${length} bytes`);
    }
    const whole = new TestDomain(3);
    whole.receive(2, shortened(frame, full));
    t.is(whole.snooping.malformed, 0, name);
  }
});

test('a message in a frame cut at any length changes nothing', (t) => {
  for (const [name, frame] of Object.entries(MESSAGES)) {
    const end = 14 + packetLength(frame);
    for (let length = 14; length < end; length++) {
      const domain = new TestDomain(3);
      const outcome: Outcome = domain.receive(2, frame.subarray(0, length));
      t.is(outcome, 'flood', `${name}, ${length} bytes`);
      t.is(domain.snooping.reports + domain.snooping.queries, 0);
      t.deepEqual(domain.list(), []);
    }
  }
});

test('one wrong bit anywhere in the message, or in the header of IPv4, is counted and not trusted', (t) => {
  for (const [name, frame] of Object.entries(MESSAGES)) {
    const isV4 = frame[12] === 0x08;
    const end = 14 + packetLength(frame);
    for (let at = isV4 ? 14 : 62; at < end; at++) {
      const bad = frame.slice();
      bad[at] ^= 0x10;
      // A bit of lengths, protocol, fragment field or addresses makes another packet of it, or none.
      const isOther = isV4 ? at < 18 || at === 20 || at === 23 || (at >= 30 && at < 34) : at === 62;
      const domain = new TestDomain(3);
      const outcome = domain.receive(2, bad);
      t.deepEqual(domain.list(), [], `${name}, byte ${at}`);
      t.is(domain.snooping.reports + domain.snooping.queries, 0, `${name}, byte ${at}`);
      if (isOther) continue;
      t.is(outcome, 'snooped', `${name}, byte ${at}`);
      t.is(domain.snooping.malformed, 1, `${name}, byte ${at}`);
    }
  }
});

test('what no sender may send is counted and not trusted, and only routers get it', (t) => {
  const report = [131, 0, 0, 0, 0, 0, 0, 0, ...ip6(G6)];
  const query = [130, 0, 0, 0, 39, 16, 0, 0, ...ip6('::')];
  const cases: Record<string, Uint8Array> = {
    'IGMPv2 report for a unicast address': v2Report4('10.1.1.1'),
    'IGMPv2 leave for 0.0.0.0': v2Leave('0.0.0.0'),
    'IGMP query for a unicast address': igmp('224.0.0.1', [0x11, 10, 0, 0, 10, 1, 1, 1]),
    'IGMPv3 query with more sources than bytes': igmp('224.0.0.1', [0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 1, 1, 2, 3]),
    'IGMPv3 report with more records than bytes': igmp('224.0.0.22', [0x22, 0, 0, 0, 0, 0, 255, 255]),
    'IGMPv3 record with more sources than bytes': igmp('224.0.0.22', [
      0x22,
      0,
      0,
      0,
      0,
      0,
      0,
      1,
      4,
      0,
      255,
      255,
      ...ip4(G4),
    ]),
    'IGMPv3 record with more auxiliary data than bytes': igmp('224.0.0.22', [
      0x22,
      0,
      0,
      0,
      0,
      0,
      0,
      1,
      4,
      255,
      0,
      0,
      ...ip4(G4),
    ]),
    'first fragment of IGMP': igmp(G4, [0x16, 0, 0, 0, ...ip4(G4)], { fragment: 0x2000 }),
    'later fragment of IGMP': igmp(G4, [0x16, 0, 0, 0, ...ip4(G4)], { fragment: 1 }),
    'MLD from a global address': mld(G6, report, { from: 'fd00::5' }),
    'MLD query from ::': mld('ff02::1', query, { from: '::' }),
    'MLD done from ::': mld('ff02::2', [132, ...report.slice(1)], { from: '::' }),
    'MLD query from a global address': mld('ff02::1', query, { from: 'fd00::1' }),
    'MLD with hop limit 2': mld(G6, report, { hopLimit: 2 }),
    'MLD with hop limit 255': mld(G6, report, { hopLimit: 255 }),
    'MLD without Router Alert': mld(G6, report, { hopByHop: [0, 1, 4, 0, 0, 0, 0] }),
    'MLD with a Router Alert for something else': mld(G6, report, { hopByHop: [0, 5, 2, 0, 1, 1, 0] }),
    'MLD with a Router Alert of another length': mld(G6, report, { hopByHop: [0, 5, 4, 0, 0, 0, 0] }),
    'MLD with an option over the end': mld(G6, report, { hopByHop: [0, 1, 200, 5, 2, 0, 0] }),
    'MLD with an option cut at its length': mld(G6, report, { hopByHop: [0, 0, 0, 0, 0, 0, 5] }),
    'MLD for a unicast address': mld(G6, [131, 0, 0, 0, 0, 0, 0, 0, ...ip6('fd00::1')]),
    'MLD query for a unicast address': mld('ff02::1', [...query.slice(0, 8), ...ip6('fd00::1')]),
    'MLD report with more records than bytes': mld('ff02::16', [143, 0, 0, 0, 0, 0, 255, 255]),
  };
  for (const [name, frame] of Object.entries(cases)) {
    const domain = new TestDomain(3);
    t.is(domain.receive(2, frame), 'snooped', name);
    t.is(domain.snooping.malformed, 1, name);
    t.deepEqual(domain.list(), [], name);
    domain.snooping.addPort(9, ROUTER_ALWAYS, false);
    t.deepEqual(domain.receive(2, frame), [9], name);
  }
  const none = new TestDomain(3);
  t.is(none.receive(2, noHopByHop(report)), 'snooped');
  t.is(none.snooping.malformed, 1);
});

/** A report whose packet goes to a group that it does not name. */
function v2Report4(group: string): Uint8Array {
  return igmp(G4, [0x16, 0, 0, 0, ...ip4(group)]);
}

/** An MLD message in a packet without the header that Router Alert stands in. */
function noHopByHop(body: number[]): Uint8Array {
  const whole = mld(G6, body);
  const frame = [...whole.subarray(0, 54), ...whole.subarray(62)];
  frame[19] -= 8;
  frame[20] = 58;
  return Uint8Array.from(frame);
}

test('a checksum that the sender left to us is not checked', (t) => {
  const domain = new TestDomain(3);
  for (const [frame, start] of [
    [v2Report(G4), 38],
    [mld1Report(G6), 62],
  ] as const) {
    const left = frame.slice();
    left[start + 2] ^= 0xff;
    const packet = domain.load(2, left);
    packet.vnetFlags = 1;
    t.is(domain.snooping.receive(domain.arena.view, packet, domain.now), 3);
    domain.arena.release(packet.slot);
  }
  t.is(domain.snooping.malformed, 0);
  t.is(domain.snooping.groups, 2);
});

test('tags: frames of the domain are read, those of VLANs inside it are flooded unread', (t) => {
  const none = 0;
  const vlan = 1;
  const priority = 2;
  const cases: [Uint8Array, number, Outcome][] = [
    [tagged(data(G4), 10), vlan, [2]],
    [tagged(data(G6), 0x600a), vlan, [2]],
    [tagged(data(G4), 0x6000), priority, [2]],
    [tagged(data(G4), 0x6000), none, [2]],
    [tagged(data(G4), 10), none, 'flood'],
    [tagged(tagged(data(G4), 20), 10, 0x88a8), vlan, 'flood'],
    [tagged(tagged(data(G4), 20), 10, 0x88a8), none, 'flood'],
  ];
  const domain = new TestDomain(3);
  for (const group of BOTH) domain.receive(2, joins(group));
  for (const [frame, tag, expected] of cases) t.deepEqual(domain.receive(1, frame, tag), expected);
  t.is(domain.receive(3, tagged(joins(G4), 10), vlan), 'snooped');
  t.is(domain.receive(1, tagged(joins(G6), 10), none), 'flood');
  t.deepEqual(domain.list(), [`${G4} 2 260`, `${G4} 3 260`, `${G6} 2 260`]);
});

test('the data path allocates nothing: a million frames', (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const domain = new TestDomain(40, { dropUnregistered: true });
  for (let port = 2; port < 30; port++) {
    domain.receive(port, joins(G4));
    domain.receive(port, joins(G6));
  }
  domain.receive(35, pimHello());
  const packets = [data(G4), data(G6), data('239.9.9.9'), data('ff15::9')].map((frame) => domain.load(1, frame));
  const { snooping, arena, now } = domain;
  const run = (rounds: number): number => {
    let targets = 0;
    for (let i = 0; i < rounds; i++) {
      for (const packet of packets) {
        snooping.receive(arena.view, packet, now);
        targets += snooping.targetCount;
      }
    }
    return targets;
  };
  // What allocates does so in every round, eight bytes a time at least; compiling and the test runner, in some.
  const grown: number[] = [];
  for (let round = 0; round < 5; round++) {
    collect();
    const before = process.memoryUsage().heapUsed;
    t.is(run(250_000), 250_000 * (29 + 29 + 1 + 1));
    grown.push(process.memoryUsage().heapUsed - before);
  }
  t.true(Math.min(...grown) < 500_000, `${grown.join(', ')} bytes for a million frames each`);
});

test('reports by the hundred thousand do not make memory grow', (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const domain = new TestDomain(10, { fastLeave: true });
  const flood = (rounds: number): void => {
    const packet = domain.load(2, joins(G4));
    const at = packet.l4 + 6;
    for (let i = 0; i < rounds; i++) {
      packet.port = 1 + (i % 10);
      domain.arena.view.setUint16(at, i & 0xffff);
      // The group's change in the checksum, by hand: the IP destination stays.
      packet.vnetFlags = 1;
      domain.snooping.receive(domain.arena.view, packet, domain.now);
    }
    domain.arena.release(packet.slot);
  };
  flood(100_000);
  collect();
  const before = process.memoryUsage().heapUsed;
  flood(400_000);
  collect();
  const grown = process.memoryUsage().heapUsed - before;
  t.is(domain.snooping.groups, MAX_GROUPS);
  t.is(domain.snooping.malformed, 0);
  t.true(grown < 200_000, `${grown} bytes`);
});
