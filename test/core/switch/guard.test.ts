/** Port security as it is wired into the path: who may use which source MAC, and what becomes of the others. */

import test from 'ava';
import { PortSecurity, SECURITY_MAC, SECURITY_STRICT } from '../../../core/switch/port-security.js';
import type { PortOptions } from '../../../core/topology.js';
import { BROADCAST, frame, Harness, mac, numberedMac, tagged } from '../../support/harness.js';
import { ethernet, ipv4, tcp } from '../wire/build.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const C = mac('02:00:00:00:00:0c');
const HIGH = 0x0200;
const NONE = new Int32Array(0);

/** An endpoint with the MAC 02-00 and a number, and further bound MACs. */
function endpoint(
  low: number,
  options: { level?: number; limit?: number; also?: number[] } & PortOptions = {},
): PortOptions {
  const { level = SECURITY_MAC, also = [], limit = 1 + also.length, ...rest } = options;
  return {
    security: new PortSecurity(level, HIGH, low, limit, NONE, NONE),
    macs: [low, ...also].map((number) => [HIGH, number] as const),
    macLimit: Math.max(limit - 1 - also.length, 0),
    ...rest,
  };
}

/** Network 1 with these ports. */
function make(...ports: PortOptions[]): Harness {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  h.addPorts(...ports);
  return h;
}

test('an endpoint speaks from its own MAC only, which is bound to it before it speaks', (t) => {
  const h = make(endpoint(0x0a), endpoint(0x0b), {});
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1], 'not flooded');
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 3]);
  t.deepEqual(
    h.changes(() => h.receive(1, frame(BROADCAST, C))),
    { 1: { rx: 1, 'drop source_mac': 1 } },
  );
  t.deepEqual(
    h.changes(() => h.receive(1, frame(A, B))),
    { 1: { rx: 1, 'drop source_mac': 1 } },
    'nor from a neighbor’s',
  );
  t.is(h.dataplane.fdb.table.count, 3, 'nothing is learned from it');
  t.true(h.isWhole);
});

test('nobody takes the MAC of an endpoint, from a port without security either', (t) => {
  const h = make(endpoint(0x0a), {}, {});
  t.deepEqual(
    h.changes(() => h.receive(2, frame(BROADCAST, A))),
    { 2: { rx: 1, 'drop static_mac': 1 } },
  );
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1]);
  h.topology.removePort(1);
  t.deepEqual(h.receivePorts(2, frame(BROADCAST, A)), [3], 'once it is gone, the MAC is free');
});

test('further MACs of an endpoint are bound as its own is', (t) => {
  const h = make(endpoint(0x0a, { also: [0x0c] }), endpoint(0x0b));
  t.deepEqual(h.receivePorts(1, frame(B, A)), [2]);
  t.deepEqual(h.receivePorts(1, frame(B, C)), [2]);
  t.deepEqual(h.receivePorts(2, frame(C, B)), [1]);
  h.receive(1, frame(B, numberedMac(99)));
  t.is(h.dataplane.fdb.search((1 << 16) | HIGH, 99), 0);
  t.is(h.imbalance(), 0);
  t.deepEqual(Object.values(h.rxDrops(1)), [1]);
});

test('a limit of several MACs: the first that speak are learned, the next are dropped', (t) => {
  const h = make(endpoint(0x0a, { limit: 3 }), {});
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(1))), [2]);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(2))), [2]);
  t.deepEqual(
    h.changes(() => h.receive(1, frame(BROADCAST, numberedMac(3)))),
    { 1: { rx: 1, 'drop mac_limit': 1 } },
  );
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(1))), [2], 'those who are known go on');
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
  h.passTo(301);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, numberedMac(3))), [2], 'places become free with age');
  t.is(h.dataplane.ports[1].macCount, 1);
});

test('a limit of several MACs does not let a port take those that are bound to others', (t) => {
  const h = make(endpoint(0x0a, { limit: 3 }), endpoint(0x0b), {});
  h.receive(1, frame(BROADCAST, B));
  t.deepEqual(h.rxDrops(1), { static_mac: 1 });
  t.deepEqual(h.receivePorts(3, frame(B, C)), [2]);
});

test('on a trunk an endpoint’s MAC is learned VLAN by VLAN, and it has no other', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20]);
  const vlan = { native: 10, tagged: [20] };
  h.addPorts(endpoint(0x0a, { vlan, macLimit: 2 }), { vlan }, { vlan: { native: 20, tagged: [] } });
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
  t.deepEqual(h.receivePorts(1, tagged(frame(BROADCAST, A), 20)), [2, 3]);
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1]);
  for (const sent of [frame(BROADCAST, C), tagged(frame(BROADCAST, C), 20)]) t.deepEqual(h.receivePorts(1, sent), []);
  t.deepEqual(h.rxDrops(1), { source_mac: 2 });
  t.is(h.dataplane.ports[1].macCount, 2);
});

test('an access port’s MAC is bound in its own VLAN, where tags are told apart', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20]);
  const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
  h.addPorts(endpoint(0x0a, access(10)), access(20), access(10));
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1]);
  h.receive(3, frame(B, A));
  t.deepEqual(h.rxDrops(3), { static_mac: 1 });
  h.receive(2, frame(B, A));
  t.deepEqual(h.rxDrops(2), { no_destination: 1 }, 'in VLAN 20 it is another’s');
});

test('the level `mac` lets through what `strict` looks into; both look at the MAC first', (t) => {
  const foreign = ethernet(0x0800, ipv4({ protocol: 6 }, tcp({ srcPort: 1, dstPort: 2 })));
  foreign.set(A, 6);
  for (const level of [SECURITY_MAC, SECURITY_STRICT]) {
    const h = make(endpoint(0x0a, { level }), {});
    t.deepEqual(h.receivePorts(1, foreign), level === SECURITY_MAC ? [2] : []);
    t.deepEqual(h.rxDrops(1), level === SECURITY_MAC ? {} : { source_address: 1 });
    const both = foreign.slice();
    both.set(C, 6);
    h.receive(1, both);
    t.is(h.rxDrops(1).source_mac, 1);
    t.true(h.isWhole);
  }
});

test('a frame that strict security refuses teaches nothing', (t) => {
  const foreign = ethernet(0x0800, ipv4({ protocol: 6 }, tcp({ srcPort: 1, dstPort: 2 })));
  foreign.set(numberedMac(5), 6);
  const h = make(endpoint(0x0a, { level: SECURITY_STRICT, limit: 5 }), {});
  h.receive(1, foreign);
  t.deepEqual(h.rxDrops(1), { source_address: 1 });
  t.is(h.dataplane.fdb.search((1 << 16) | HIGH, 5), 0);
});

test('a trunk with a further MAC speaks from that and its own in every VLAN, and from no other', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20]);
  const security = new PortSecurity(SECURITY_MAC, HIGH, 0x0a, 1, NONE, NONE, Int32Array.of(HIGH, 0x0b));
  const vlan = { native: 0, tagged: [10, 20] };
  h.addPorts({ security, macs: [[HIGH, 0x0a]], macLimit: 4, vlan }, { vlan });
  for (const vid of [10, 20]) {
    for (const source of [A, B]) t.deepEqual(h.receivePorts(1, tagged(frame(BROADCAST, source), vid)), [2]);
    t.deepEqual(
      h.changes(() => h.receive(1, tagged(frame(BROADCAST, C), vid))),
      { 1: { rx: 1, 'drop source_mac': 1 } },
    );
  }
  t.true(h.isWhole);
});
