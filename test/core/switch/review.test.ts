/** What an attacker tries with patience: waiting out a limit, being taken for the owner, speaking where nobody hears him. */

import test from 'ava';
import { EVENT_MAC_FLAPPING, EVENT_MAC_MOVED, EVENT_QUARANTINED } from '../../../core/events.js';
import { Packet } from '../../../core/packet/packet.js';
import { FlapDetector } from '../../../core/switch/flaps.js';
import { ISOLATION_ALONE } from '../../../core/switch/isolation.js';
import { PortSecurity, SECURITY_MAC } from '../../../core/switch/port-security.js';
import { ROUTER_ALWAYS, ROUTER_NEVER } from '../../../core/switch/snooping.js';
import { StormControl } from '../../../core/switch/storm.js';
import { BROADCAST, frame, Harness, mac, numberedMac, tagged } from '../../support/harness.js';
import { data, mld1Query, mld1Report, v2Query, v2Report, v3Query } from './multicast.js';

const A = mac('02:00:00:00:00:0a');
const QUERIER = { multicast: { querier: true, dropUnregistered: true } };

function broadcast(length: number, gsoSize: number): Packet {
  const packet = new Packet(0);
  packet.dstHigh = 0xffff;
  packet.dstLow = -1;
  packet.length = length;
  packet.gsoSize = gsoSize;
  return packet;
}

/** Packets that pass of one each `every` milliseconds, after the bucket was emptied. */
function passing(storm: StormControl, packet: Packet, every: number, count: number): number {
  const one = broadcast(60, 0);
  while (storm.admit(one, 0) === 0);
  let passed = 0;
  for (let i = 1; i <= count; i++) if (storm.admit(packet, i * every) === 0) passed++;
  return passed;
}

test('storm control: who waits does not get more than the rate', (t) => {
  const storm = new StormControl(1, 0, 0);
  const packet = broadcast(60, 0);
  while (storm.admit(packet, 0) === 0);
  let passed = 0;
  for (let i = 0; i < 100; i++) if (storm.admit(packet, 1000) === 0) passed++;
  t.is(passed, 1, 'a second’s worth');
});

test('storm control: a debt is not forgiven by waiting a second', (t) => {
  // 1,000 frames each, at 100 a second: one in ten seconds.
  t.is(passing(new StormControl(100, 0, 0), broadcast(60_014, 60), 1000, 100), 10);
});

test('storm control: the longest debt is paid, and no number overflows', (t) => {
  const storm = new StormControl(1, 0, 0);
  t.is(storm.admit(broadcast(65_549, 1), 0), 0);
  t.not(storm.admit(broadcast(60, 0), 60_000_000), 0, '60,000 of 65,535 seconds');
  t.is(storm.admit(broadcast(60, 0), 66_000_000), 0);
  const fast = new StormControl(1_000_000, 0, 0);
  while (fast.admit(broadcast(60, 0), 0) === 0);
  t.is(fast.admit(broadcast(60, 0), 0x7fffffff), 0);
});

test('loop protection: who takes a MAC just before the count begins again is not its owner', (t) => {
  const flaps = new FlapDetector();
  const note = (from: number, to: number, now: number): number => flaps.note(0x10200, 0x0a, from, to, 6, now);
  t.is(note(1, 2, 100), 0, 'taken');
  t.is(note(2, 1, 101), 0);
  t.is(note(1, 2, 109), 0, 'taken again');
  let stopped = 0;
  for (let i = 0; stopped === 0 && i < 10; i++) stopped = i % 2 === 0 ? note(2, 1, 110) : note(1, 2, 110);
  t.is(stopped, 2);
  t.is(note(2, 1, 130), 0, 'after ten seconds of rest where it is, that is its place');
  for (let i = 0; i < 4; i++) t.is(i % 2 === 0 ? note(1, 2, 130) : note(2, 1, 130), 0);
  t.is(note(1, 2, 130), 1);
});

test('loop protection: moves are counted within ten seconds, whoever the owner is', (t) => {
  const flaps = new FlapDetector();
  for (let i = 0; i < 40; i++) {
    const [from, to] = i % 2 === 0 ? [1, 2] : [2, 1];
    t.is(flaps.note(0x10200, 0x0a, from, to, 6, 100 + 3 * i), 0, 'four in ten seconds');
  }
});

test('a query for which there is nobody is not made, and is no drop', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000, QUERIER);
  h.addPorts({ router: ROUTER_ALWAYS });
  t.deepEqual(
    h.changes(() => h.passTo(400)),
    {},
  );
  t.true(h.isWhole);
});

test('a query from an isolated port ends no membership of those who cannot hear it', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000, QUERIER);
  h.addPorts({ isolation: ISOLATION_ALONE }, { isolation: ISOLATION_ALONE }, {}, { router: ROUTER_NEVER });
  h.passTo(10);
  for (const group of ['239.1.1.1', 'ff15::7']) {
    h.receive(1, group.includes(':') ? mld1Report(group) : v2Report(group));
    t.deepEqual(h.receivePorts(3, data(group)), [1]);
  }
  const last = v2Query({ group: '239.1.1.1', response: 1, from: '10.0.0.1' });
  t.deepEqual(h.receivePorts(2, last), [3, 4]);
  h.receive(2, mld1Query({ group: 'ff15::7', response: 1, from: 'fe80::1' }));
  h.receive(2, mld1Query({ response: 1, from: 'fe80::1' }));
  h.receive(2, v3Query({ response: 1, interval: 255, from: '10.0.0.1' }));
  h.passTo(20);
  for (const group of ['239.1.1.1', 'ff15::7']) t.deepEqual(h.receivePorts(3, data(group)), [1], group);
  const asked = h.sentBy(() => h.passTo(300)).filter((sent) => sent.port === 1);
  t.true(asked.length > 0, 'and ours is still the one that asks');
  t.true(h.isWhole);
});

test('a loop of many MACs: their moves leave room for the event that says which port was stopped', (t) => {
  const h = new Harness(3, { slots: 8, network: { loopMoves: 20, quarantine: 30 } });
  for (let move = 0; move < 21; move++) {
    for (let i = 0; i < 50; i++) h.receive(1 + (move % 2), frame(BROADCAST, numberedMac(i)));
  }
  t.false(h.dataplane.ports[2].forwarding);
  t.true(h.dataplane.events.lost > 0);
  const kinds = h.events().map(({ kind }) => kind);
  t.true(kinds.includes(EVENT_MAC_MOVED));
  t.deepEqual(kinds.slice(-2), [EVENT_MAC_FLAPPING, EVENT_QUARANTINED]);
});

test('mirrors in both directions between two ports do not feed each other', (t) => {
  const h = new Harness(4, { deferred: true });
  const both = { fromNetwork: 0, incoming: true, outgoing: true };
  h.topology.addMirror({ id: 1, fromPort: 1, to: 2, ...both });
  h.topology.addMirror({ id: 2, fromPort: 2, to: 1, ...both });
  h.topology.addMirror({ id: 3, fromPort: 3, to: 1, ...both });
  t.deepEqual(h.receivePorts(3, frame(BROADCAST, A)), [1, 1, 2, 2, 1, 4].sort());
  t.true(h.isWhole);
});

test('a full FDB lifts no limit: a port that may learn two MACs speaks from no more', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 6);
  const none = new Int32Array(0);
  const security = new PortSecurity(SECURITY_MAC, 0x0200, 0x0a, 3, none, none);
  const trunk = { native: 0, tagged: [10, 20] };
  h.addPorts({ security, macs: [[0x0200, 0x0a]], macLimit: 2 }, {}, {});
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(1))), [2, 3]);
  for (let i = 0; i < 10; i++) h.receive(2, frame(BROADCAST, numberedMac(100 + i)));
  t.deepEqual(
    h.changes(() => h.receive(1, frame(BROADCAST, numberedMac(2)))),
    { 1: { rx: 1, 'drop fdb_full': 1 } },
  );
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 3], 'its own');
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(1))), [2, 3], 'and one that is known');
  const v = new Harness();
  v.topology.addNetwork(1, 300, 3, { vlanProtocol: 0x8100 });
  for (const vid of trunk.tagged) v.topology.addVlan(1, vid, vid + 1000);
  v.addPorts({ security: new PortSecurity(SECURITY_MAC, 0x0200, 0x0a, 1, none, none), vlan: trunk }, { vlan: trunk });
  for (let i = 0; i < 10; i++) v.receive(2, tagged(frame(BROADCAST, numberedMac(100 + i)), 10));
  t.deepEqual(v.receivePorts(1, tagged(frame(BROADCAST, A), 10)), [2], 'a trunk’s own MAC needs no room');
  t.true(h.isWhole && v.isWhole);
});
