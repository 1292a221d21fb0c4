/** What is configured comes and goes: networks, VLANs, ports, and what each leaves behind. */

import test from 'ava';
import { LEARNING_TIME } from '../../../core/switch/snooping.js';
import { StormControl } from '../../../core/switch/storm.js';
import { BROADCAST, frame, Harness, mac, numberedMac, tagged } from '../../support/harness.js';
import { igmp, v4 } from './multicast.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const HIGH = 0x0200;

test('numbers out of range or taken are refused in one line, and nothing changes', (t) => {
  const h = new Harness(2);
  for (const id of [0, 65_536, -1]) {
    t.throws(() => h.topology.addNetwork(id, 300, 10), { message: `network number ${id} out of range` });
  }
  t.throws(() => h.topology.addNetwork(1, 300, 10), { message: 'network number 1 is taken' });
  t.throws(() => h.topology.addPort(1, 1), { message: 'port number 1 is out of range or taken' });
  t.throws(() => h.topology.addPort(0, 1), { message: 'port number 0 is out of range or taken' });
  t.throws(() => h.topology.addPort(3, 9), { message: 'no network number 9' });
  t.throws(() => h.topology.addVlan(9, 10, 1010), { message: 'no network number 9' });
  t.throws(() => h.topology.addVlan(1, 10, 1), { message: 'network number 1 is taken' });
  t.is(h.topology.network(1).portCount, 2);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
});

test('a network goes when its last port has gone, with all that was learned in it and its VLANs', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20]);
  h.addPorts({ vlan: { native: 10, tagged: [20] } }, { vlan: { native: 10, tagged: [20] } });
  h.topology.addNetwork(2, 300, 100);
  h.topology.addPort(3, 2);
  h.receive(1, frame(BROADCAST, A));
  h.receive(1, tagged(frame(BROADCAST, A), 20));
  h.receive(3, frame(BROADCAST, A));
  t.throws(() => h.topology.removeNetwork(1), { message: 'network number 1 still has ports' });
  h.topology.removePort(1);
  h.topology.removePort(2);
  h.topology.removeNetwork(1);
  t.is(h.dataplane.fdb.table.count, 1, 'the other network’s');
  t.is(h.topology.domainOf(1010), null);
  t.notThrows(() => h.topology.removeNetwork(1), 'what is gone is gone');
  h.addVlanNetwork([10], 0x88a8);
  h.addPorts({ vlan: { native: 10, tagged: [] } }, { vlan: { native: 10, tagged: [] } });
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  t.is(h.topology.network(1).fdbCount, 1);
});

test('a port takes nothing of its number’s former life along', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  h.addPorts(
    { isolation: 1, storm: new StormControl(1, 1, 1), macLimit: 1, macs: [[HIGH, 0x0a]] },
    { isolation: 1 },
    {},
  );
  h.topology.removePort(1);
  t.deepEqual(h.receivePorts(3, frame(A, B)), [2], 'its MAC is unknown');
  h.topology.addPort(1, 1);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 3], 'neither isolated');
  for (let i = 0; i < 100; i++) t.is(h.receivePorts(1, frame(BROADCAST, numberedMac(50 + i))).length, 2, 'nor limited');
  t.is(h.dataplane.ports[1].macCount, 101);
  t.true(h.isWhole);
});

test('a removed port is removed once, and its frames and those to it are counted', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  h.topology.removePort(1);
  h.topology.removePort(1);
  t.is(h.topology.network(1).portCount, 2);
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(1, frame(B, A)))),
    { 1: { rx: 1, 'drop port_unbound': 1 } },
  );
  t.true(h.isWhole);
});

test('a port that never was: its frames are unbound, a malformed one says so first', (t) => {
  const h = new Harness(1);
  h.receive(77, frame(BROADCAST, A));
  h.receive(77, frame(BROADCAST, A).subarray(0, 10));
  t.deepEqual(h.rxDrops(77), { port_unbound: 1, runt: 1 });
});

test('membership of a multicast group ends with the port, and is no other’s', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 100, { multicast: { querier: true, dropUnregistered: true } });
  h.addPorts({}, {}, {});
  h.passTo(LEARNING_TIME + 1);
  h.receive(2, igmp('239.1.1.1', [0x16, 0, 0, 0, 239, 1, 1, 1]));
  const sent = v4({ to: '239.1.1.1', protocol: 17, options: [] }, new Array(16).fill(1));
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(1, sent))),
    { 1: { rx: 1 }, 2: { tx: 1 } },
  );
  h.topology.removePort(2);
  h.topology.addPort(2, 1);
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(1, sent))),
    { 1: { rx: 1, 'drop unregistered_multicast': 1 } },
  );
  t.true(h.isWhole);
});

test('quarantine ends a membership, as the port’s members cannot be heard of', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 100, { multicast: { querier: true, dropUnregistered: true } });
  h.addPorts({}, {}, {});
  h.passTo(LEARNING_TIME + 1);
  h.receive(2, igmp('239.1.1.1', [0x16, 0, 0, 0, 239, 1, 1, 1]));
  h.topology.quarantine(h.dataplane.ports[2], 5);
  const sent = v4({ to: '239.1.1.1', protocol: 17, options: [] }, new Array(16).fill(1));
  t.deepEqual(h.receivePorts(1, sent), []);
  h.passTo(LEARNING_TIME + 6);
  h.receive(2, igmp('239.1.1.1', [0x16, 0, 0, 0, 239, 1, 1, 1]));
  t.deepEqual(h.receivePorts(1, sent), [2]);
});

test('more ports than the first list of members holds', (t) => {
  const h = new Harness(100);
  t.is(h.receive(50, frame(BROADCAST, A)).length, 99);
  for (let port = 1; port <= 100; port += 3) h.topology.removePort(port);
  const left = Array.from({ length: 100 }, (_, i) => i + 1).filter((port) => port % 3 !== 1);
  t.deepEqual(
    h.receivePorts(50, frame(BROADCAST, A)),
    left.filter((port) => port !== 50),
  );
  t.true(h.isWhole);
});
