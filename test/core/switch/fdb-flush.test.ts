/** The FDB's life beyond learning: limits, flushes, generations that come round again, static entries, events. */

import test from 'ava';
import { EVENT_FDB_FULL, EVENT_MAC_MOVED } from '../../../core/events.js';
import { LEARN_KNOWN, LEARN_LIMIT, LEARN_NEW } from '../../../core/switch/fdb.js';
import { BROADCAST, frame, Harness, mac, numberedMac } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const HIGH = 0x0200;

/** Port behind 02-00 and a number, or 0. */
function behind(h: Harness, number: number, fid = 1): number {
  return h.dataplane.fdb.search((fid << 16) | HIGH, number);
}

function sweep(h: Harness): void {
  h.dataplane.fdb.sweep(h.dataplane.fdb.table.places, h.dataplane.now);
}

/** Entries that a listing shows. */
function listed(h: Harness): number {
  let count = 0;
  h.dataplane.fdb.forEach(() => {
    count++;
  }, h.dataplane.now);
  return count;
}

// --- static entries

test('a static entry survives the flush of its port, its VLAN and its network, and ends with the port', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10]);
  h.addPorts({ vlan: { native: 10, tagged: [] } }, { vlan: { native: 10, tagged: [] } });
  h.topology.addStatic(1, 10, HIGH, 0x0a, 1);
  h.receive(1, frame(BROADCAST, numberedMac(77)));
  for (const flush of [
    () => h.topology.flush(0, -1, 1),
    () => h.topology.flush(1, 10, 0),
    () => h.topology.flush(1, -1, 0),
    () => h.topology.flush(0, -1, 0),
  ]) {
    flush();
    t.is(behind(h, 0x0a, 1010), 1);
    t.is(behind(h, 77, 1010), 0);
    sweep(h);
    t.is(behind(h, 0x0a, 1010), 1);
    t.is(h.dataplane.fdb.table.count, 1);
    h.receive(1, frame(BROADCAST, numberedMac(77)));
    t.is(behind(h, 77, 1010), 1);
  }
  h.topology.removePort(1);
  t.is(behind(h, 0x0a, 1010), 0);
  t.is(listed(h), 0);
  h.topology.addPort(1, 1, { vlan: { native: 10, tagged: [] } });
  t.is(behind(h, 0x0a, 1010), 0, 'the next port of that number inherits nothing');
  sweep(h);
  t.is(h.dataplane.fdb.table.count, 0);
  t.is(h.topology.network(1).fdbCount, 0);
});

test('a static entry takes the place of a learned one, and gives the port’s count back', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  t.is(h.dataplane.ports[1].macCount, 1);
  t.deepEqual(h.receivePorts(3, frame(A, B)), [1]);
  h.topology.addStatic(1, 0, HIGH, 0x0a, 2);
  t.is(h.dataplane.ports[1].macCount, 0);
  t.is(h.dataplane.ports[2].macCount, 0, 'static entries are not learned ones');
  t.deepEqual(h.receivePorts(3, frame(A, B)), [2], 'also for whom has just asked');
  t.deepEqual(
    h.changes(() => h.receive(1, frame(B, A))),
    { 1: { rx: 1, 'drop static_mac': 1 } },
  );
  h.topology.addStatic(1, 0, HIGH, 0x0a, 3);
  t.is(behind(h, 0x0a), 3, 'the last word counts');
  t.is(h.topology.network(1).fdbCount, 2);
});

test('a removed static entry’s MAC is learned like any other', (t) => {
  const h = new Harness(2);
  h.topology.addStatic(1, 0, HIGH, 0x0a, 1);
  t.true(h.dataplane.fdb.remove(1, HIGH, 0x0a));
  t.false(h.dataplane.fdb.remove(1, HIGH, 0x0a));
  h.receive(2, frame(BROADCAST, A));
  t.is(behind(h, 0x0a), 2);
});

test('static entries have places that no flood can take', (t) => {
  const h = new Harness(2, { fdbCapacity: 32, fdbReserve: 8 });
  for (let i = 0; i < 100; i++) h.receive(1, frame(BROADCAST, numberedMac(1000 + i)));
  t.is(h.dataplane.fdb.table.count, 24);
  for (let i = 0; i < 8; i++) h.topology.addStatic(1, 0, HIGH, i + 1, 2);
  t.throws(() => h.topology.addStatic(1, 0, HIGH, 99, 2), { message: 'the FDB is full' });
  t.is(behind(h, 8), 2);
  t.is(h.dataplane.fdb.table.count, 32);
});

test('a static entry must be of a port that is in the network and the VLAN', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20]);
  h.addPorts({ vlan: { native: 10, tagged: [] } });
  t.throws(() => h.topology.addStatic(1, 20, HIGH, 1, 1), { message: 'the port is no member of VLAN 20' });
  t.throws(() => h.topology.addStatic(1, 30, HIGH, 1, 1), { message: 'the port is no member of VLAN 30' });
  t.throws(() => h.topology.addStatic(1, 0, HIGH, 1, 1), { message: 'the port is not in that network' });
  t.throws(() => h.topology.addStatic(1, 10, HIGH, 1, 2), { message: 'the port is no member of VLAN 10' });
  t.throws(() => h.topology.addStatic(9, 0, HIGH, 1, 1), { message: 'no network number 9' });
  t.is(h.dataplane.fdb.table.count, 0);
});

// --- limits

test('a full network floods what it cannot learn, or drops it, as it was told', (t) => {
  for (const dropWhenFull of [false, true]) {
    const h = new Harness(2, { fdbLimit: 3, network: { dropWhenFull } });
    for (let i = 1; i <= 3; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
    t.deepEqual(
      h.changes(() => h.receive(1, frame(BROADCAST, numberedMac(4)))),
      dropWhenFull ? { 1: { rx: 1, 'drop fdb_full': 1 } } : { 1: { rx: 1 }, 2: { tx: 1 } },
    );
    t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(2))), [2], 'who is known goes on');
    t.is(h.topology.network(1).fdbCount, 3);
    t.true(h.isWhole);
  }
});

test('one network’s limit is not another’s', (t) => {
  const h = new Harness(1, { fdbLimit: 1, network: { dropWhenFull: true } });
  h.topology.addNetwork(2, 300, 2);
  h.topology.addPort(2, 2);
  h.receive(1, frame(BROADCAST, numberedMac(1)));
  h.receive(1, frame(BROADCAST, numberedMac(2)));
  h.receive(2, frame(BROADCAST, numberedMac(1)));
  h.receive(2, frame(BROADCAST, numberedMac(2)));
  t.deepEqual(h.rxDrops(1), { no_destination: 1, fdb_full: 1 });
  t.deepEqual(h.rxDrops(2), { no_destination: 2 });
});

test('a port’s limit: flooded, or dropped in a network that drops what it cannot learn', (t) => {
  for (const dropWhenFull of [false, true]) {
    const h = new Harness(0);
    h.topology.addNetwork(1, 300, 100, { dropWhenFull });
    h.addPorts({ macLimit: 2 }, {});
    for (let i = 1; i <= 2; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
    t.deepEqual(
      h.changes(() => h.receive(1, frame(BROADCAST, numberedMac(3)))),
      dropWhenFull ? { 1: { rx: 1, 'drop mac_limit': 1 } } : { 1: { rx: 1 }, 2: { tx: 1 } },
    );
    t.is(behind(h, 3), 0);
    t.is(h.dataplane.ports[1].macCount, 2);
  }
});

test('a MAC that leaves a port makes room there, and a port at its limit does not take one over', (t) => {
  const h = new Harness(0);
  h.topology.addNetwork(1, 300, 100);
  h.addPorts({ macLimit: 1 }, { macLimit: 1 });
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(BROADCAST, B));
  h.receive(2, frame(BROADCAST, A));
  t.is(behind(h, 0x0a), 1, 'no move to a port that is at its limit');
  t.true(h.dataplane.fdb.remove(1, HIGH, 0x0b));
  h.receive(2, frame(BROADCAST, A));
  t.is(behind(h, 0x0a), 2);
  t.deepEqual([h.dataplane.ports[1].macCount, h.dataplane.ports[2].macCount], [0, 1]);
});

test('after a flush of its VLAN a port at its limit learns the same MACs again at once', (t) => {
  const h = new Harness(0);
  h.topology.addNetwork(1, 300, 100);
  h.addPorts({ macLimit: 2 }, {});
  const learn = (number: number): number =>
    h.dataplane.fdb.learn(h.topology.network(1).domain, HIGH, number, h.dataplane.ports[1], h.dataplane.now);
  t.deepEqual([learn(1), learn(2), learn(3)], [LEARN_NEW, LEARN_NEW, LEARN_LIMIT]);
  h.topology.flush(1, -1, 0);
  t.deepEqual([learn(1), learn(2), learn(1), learn(3)], [LEARN_NEW, LEARN_NEW, LEARN_KNOWN, LEARN_LIMIT]);
  t.is(h.dataplane.ports[1].macCount, 2);
});

// --- flushes

test('a flush concerns its port, its VLAN or its network, and nothing else', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20]);
  const trunk = { vlan: { native: 0, tagged: [10, 20] } };
  h.addPorts(trunk, trunk);
  h.topology.addNetwork(2, 300, 100);
  h.topology.addPort(3, 2);
  const { fdb, ports } = h.dataplane;
  const fill = (): void => {
    for (const [vid, number, port] of [
      [10, 1, 1],
      [20, 1, 1],
      [10, 2, 2],
      [20, 2, 2],
    ]) {
      const domain = h.topology.domain(1, vid);
      if (domain !== null) fdb.learn(domain, HIGH, number, ports[port], 0);
    }
    fdb.learn(h.topology.network(2).domain, HIGH, 1, ports[3], 0);
  };
  const seen = (): number[] => [
    behind(h, 1, 1010),
    behind(h, 1, 1020),
    behind(h, 2, 1010),
    behind(h, 2, 1020),
    behind(h, 1, 2),
  ];
  fill();
  t.deepEqual(seen(), [1, 1, 2, 2, 3]);
  h.topology.flush(0, -1, 2);
  t.deepEqual(seen(), [1, 1, 0, 0, 3], 'port 2');
  fill();
  h.topology.flush(1, 20, 0);
  t.deepEqual(seen(), [1, 0, 2, 0, 3], 'VLAN 20');
  fill();
  h.topology.flush(1, -1, 0);
  t.deepEqual(seen(), [0, 0, 0, 0, 3], 'network 1');
  fill();
  h.topology.flush(0, 10, 0);
  t.deepEqual(seen(), [0, 1, 0, 2, 3], 'VLAN 10 wherever it is');
  h.topology.flush(0, -1, 0);
  t.deepEqual(seen(), [0, 0, 0, 0, 0], 'all');
  t.throws(() => h.topology.flush(7, -1, 0), { message: 'no network number 7' });
});

test('what a port remembers of its last conversation is flushed as well', (t) => {
  const h = new Harness(3);
  h.receive(2, frame(BROADCAST, B));
  t.deepEqual(h.receivePorts(1, frame(B, A)), [2]);
  h.topology.flush(1, -1, 0);
  t.deepEqual(h.receivePorts(1, frame(B, A)), [2, 3]);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1], 'and that frame was learned from');
});

test('a flush of a full network makes room at once', (t) => {
  for (const flush of [
    (h: Harness) => h.topology.flush(0, -1, 1),
    (h: Harness) => h.topology.flush(1, -1, 0),
    (h: Harness) => h.topology.flush(0, -1, 0),
  ]) {
    const h = new Harness(2, { fdbLimit: 3, network: { dropWhenFull: true } });
    for (let i = 1; i <= 4; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
    t.deepEqual(h.rxDrops(1), { fdb_full: 1 });
    flush(h);
    for (let i = 5; i <= 7; i++) t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(i))), [2]);
    t.is(h.topology.network(1).fdbCount, 3);
  }
});

/** Learned before, then flushed `times` times, with entries of a few generations left in the table. */
function flushOften(flush: (h: Harness) => void, times: number): { old: number; wrong: number; h: Harness } {
  const h = new Harness(2, { fdbCapacity: 4096 });
  const { fdb, ports } = h.dataplane;
  const { domain } = h.topology.network(1);
  let old = 0;
  let wrong = 0;
  for (let round = 0; round < times; round++) {
    // Not every generation learns the same: what comes back would be of one of those before.
    if (round % 3 === 0 || round % 511 < 3) fdb.learn(domain, HIGH, 10_000 + (round % 1500), ports[1], 0);
    fdb.learn(domain, HIGH, 5, ports[2], 0);
    flush(h);
    for (let number = 10_000; number < 11_500; number++) {
      if (behind(h, number) === 1) old++;
    }
    if (ports[1].macCount < 0 || h.topology.network(1).fdbCount !== fdb.table.count) wrong++;
  }
  return { old, wrong, h };
}

test('a port flushed 3,000 times: nothing old comes back, and counts stay exact', (t) => {
  const { old, wrong, h } = flushOften((each) => each.topology.flush(0, -1, 1), 3000);
  t.is(old, 0);
  t.is(wrong, 0);
  t.is(behind(h, 5), 2, 'the other port was not flushed');
  t.is(h.dataplane.ports[1].macCount, 0);
  t.is(h.dataplane.ports[2].macCount, 1);
  sweep(h);
  t.is(h.dataplane.fdb.table.count, 1);
  t.is(h.topology.network(1).fdbCount, 1);
});

test('a domain flushed 2,000 times: the same', (t) => {
  const { old, wrong, h } = flushOften((each) => each.topology.flush(1, -1, 0), 2000);
  t.is(old, 0);
  t.is(wrong, 0);
  t.is(behind(h, 5), 0);
  sweep(h);
  t.is(h.dataplane.fdb.table.count, 0);
  t.deepEqual([h.dataplane.ports[1].macCount, h.dataplane.ports[2].macCount], [0, 0]);
});

test('a port number used by 2,500 ports: no static entry of an earlier one comes back', (t) => {
  const h = new Harness(2, { fdbCapacity: 4096 });
  let old = 0;
  for (let life = 0; life < 2500; life++) {
    h.topology.addStatic(1, 0, HIGH, 100 + life, 1);
    h.topology.removePort(1);
    h.topology.addPort(1, 1);
    for (let number = 100; number <= 100 + life; number++) if (behind(h, number) !== 0) old++;
  }
  t.is(old, 0);
  sweep(h);
  t.is(h.dataplane.fdb.table.count, 0);
  t.is(h.topology.network(1).fdbCount, 0);
});

test('a recount finds what was counted, void entries among them', (t) => {
  const h = new Harness(3);
  for (let i = 0; i < 30; i++) h.receive(1 + (i % 3), frame(BROADCAST, numberedMac(i)));
  h.topology.addStatic(1, 0, HIGH, 900, 3);
  h.topology.flush(0, -1, 2);
  const counts = (): number[] => [
    h.topology.network(1).fdbCount,
    ...[1, 2, 3].map((id) => h.dataplane.ports[id].macCount),
  ];
  const before = counts();
  t.deepEqual(before, [31, 10, 0, 10]);
  for (const port of h.dataplane.ports) port.macCount = 55;
  h.dataplane.fdb.recount();
  t.deepEqual(counts(), before);
  sweep(h);
  t.deepEqual(counts(), [21, 10, 0, 10]);
  t.is(listed(h), 21);
});

test('ageing gives the counts back', (t) => {
  const h = new Harness(2, { ageing: 10 });
  for (let i = 0; i < 5; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
  h.passTo(9);
  t.is(h.dataplane.ports[1].macCount, 5);
  h.receive(1, frame(BROADCAST, numberedMac(0)));
  h.passTo(10);
  t.is(h.dataplane.ports[1].macCount, 1);
  t.is(h.topology.network(1).fdbCount, 1);
});

// --- events

test('a move is an event, with both ports', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  t.deepEqual(h.events(), [], 'what is new is none');
  h.receive(3, frame(BROADCAST, A));
  t.deepEqual(h.events(), [{ kind: EVENT_MAC_MOVED, domain: 1, port: 3, before: 1, high: HIGH, low: 0x0a, number: 0 }]);
  h.topology.flush(0, -1, 3);
  h.receive(1, frame(BROADCAST, A));
  t.deepEqual(h.events(), [], 'what was forgotten did not move');
});

test('a full FDB is an event once a minute and network', (t) => {
  const h = new Harness(2, { fdbLimit: 2 });
  const flood = (): number => {
    for (let i = 0; i < 20; i++) h.receive(1, frame(BROADCAST, numberedMac(100 + i)));
    return h.events().filter((event) => event.kind === EVENT_FDB_FULL).length;
  };
  for (let i = 0; i < 3; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
  t.deepEqual(h.events(), [{ kind: EVENT_FDB_FULL, domain: 1, port: 1, before: 0, high: HIGH, low: 2, number: 2 }]);
  h.dataplane.now = 59;
  t.is(flood(), 0);
  h.dataplane.now = 60;
  t.is(flood(), 1);
  h.dataplane.now = 119;
  t.is(flood(), 0);
});

test('events that nobody fetches are counted, not kept', (t) => {
  const h = new Harness(2);
  for (let i = 0; i < 201; i++) h.receive(1 + (i & 1), frame(BROADCAST, A));
  t.is(h.dataplane.events.count, 128);
  t.is(h.dataplane.events.lost, 72);
  h.dataplane.events.clear();
  t.is(h.dataplane.events.lost, 0);
});

test('what was flushed keeps nobody out: in a full network the next ones are learned at once', (t) => {
  const h = new Harness(3, { fdbLimit: 10 });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 10; i++) h.receive(1, frame(BROADCAST, numberedMac(100 * round + i)));
    t.is(listed(h), 10);
    t.is(h.dataplane.fdb.fullCount, 0);
    h.topology.flush(1, -1, 0);
  }
  h.topology.flush(0, -1, 1);
  t.is(listed(h), 0);
});
