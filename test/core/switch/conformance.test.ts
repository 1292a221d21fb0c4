/**
 * What a learning bridge must do (IEEE 802.1D-2004 and IEEE 802.1Q-2022), one test a requirement, under its own words. Without a
 * kernel: the same lines are tried with real namespaces in test/e2e.
 */

import test from 'ava';
import type { PortOptions } from '../../../core/topology.js';
import { corpusNote, loadCorpus } from '../../support/corpus.js';
import { BROADCAST, frame, Harness, mac, numberedMac, tagged } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const C = mac('02:00:00:00:00:0c');
const HIGH = 0x0200;

const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
const trunk = (native: number, ...vids: number[]): PortOptions => ({ vlan: { native, tagged: vids } });

function vlans(ports: readonly PortOptions[], protocol = 0x8100): Harness {
  const h = new Harness();
  h.addVlanNetwork([10, 20], protocol);
  h.addPorts(...ports);
  return h;
}

test('learns the source MAC per (VLAN, port)', (t) => {
  const h = vlans([access(10), access(20), trunk(0, 10, 20)]);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(BROADCAST, A));
  t.is(h.dataplane.fdb.search((1010 << 16) | HIGH, 0x0a), 1);
  t.is(h.dataplane.fdb.search((1020 << 16) | HIGH, 0x0a), 2);
  t.deepEqual(h.receivePorts(3, tagged(frame(A, B), 10)), [1]);
  t.deepEqual(h.receivePorts(3, tagged(frame(A, B), 20)), [2]);
});

test('an unknown destination is flooded to all ports but the one it came from', (t) => {
  const h = new Harness(4);
  for (let port = 1; port <= 4; port++) {
    t.deepEqual(
      h.receivePorts(port, frame(numberedMac(99), numberedMac(port))),
      [1, 2, 3, 4].filter((other) => other !== port),
    );
  }
  t.true(h.isWhole);
});

test('a known destination is unicast: a third host sees nothing', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(A, B));
  for (let i = 0; i < 100; i++) {
    t.deepEqual(h.receivePorts(1, frame(B, A)), [2]);
    t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  }
  t.is(h.counter(3, 2), 1, 'only the broadcast');
});

test('a broadcast or multicast source is never learned', (t) => {
  const h = new Harness(3);
  for (const from of [BROADCAST, mac('01:00:5e:00:00:01'), mac('33:33:00:00:00:01'), mac('03:00:00:00:00:0a')]) {
    t.deepEqual(h.receivePorts(1, frame(B, from)), []);
  }
  t.is(h.dataplane.fdb.table.count, 0);
  t.deepEqual(h.rxDrops(1), { source_multicast: 4 });
});

test('a move is followed at once', (t) => {
  const h = new Harness(3);
  h.receive(3, frame(BROADCAST, B));
  for (let i = 0; i < 10; i++) {
    const port = 1 + (i % 2);
    h.receive(port, frame(BROADCAST, A));
    t.deepEqual(h.receivePorts(3, frame(A, B)), [port]);
  }
});

test('ageing after 300 s, counted from the last frame', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(BROADCAST, B));
  h.passTo(200);
  h.receive(1, frame(BROADCAST, A));
  h.passTo(299);
  t.deepEqual(h.receivePorts(3, frame(B, C)), [2]);
  h.passTo(300);
  t.deepEqual(h.receivePorts(3, frame(B, C)), [1, 2]);
  h.passTo(499);
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1]);
  h.passTo(500);
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1, 2]);
});

test('01-80-C2-00-00-00 to -0F are not forwarded, the next address is', (t) => {
  const h = new Harness(3);
  for (let last = 0; last <= 15; last++) {
    t.deepEqual(h.receivePorts(1, frame([0x01, 0x80, 0xc2, 0, 0, last], A)), [], `-0${last.toString(16)}`);
    t.deepEqual(h.receivePorts(1, tagged(frame([0x01, 0x80, 0xc2, 0, 0, last], A), 10)), [], 'behind a tag neither');
  }
  t.deepEqual(h.rxDrops(1), { reserved_multicast: 32 });
  for (const next of [
    [0x01, 0x80, 0xc2, 0, 0, 0x10],
    [0x01, 0x80, 0xc2, 0, 1, 0],
    [0x01, 0x80, 0xc3, 0, 0, 0],
  ]) {
    t.deepEqual(h.receivePorts(1, frame(next, A)), [2, 3]);
  }
});

test('frames are otherwise byte-identical: no TTL, no checksum changes', async (t) => {
  const note = corpusNote();
  if (note !== null) t.log(note);
  const h = new Harness(3, { fdbCapacity: 100_000 });
  let forwarded = 0;
  for (const sent of await loadCorpus()) {
    for (const copy of h.receive(1, sent)) {
      forwarded++;
      if (Buffer.compare(copy.frame, sent) !== 0 || copy.vnet.some((byte) => byte !== 0)) {
        t.fail(`changed on its way: ${Buffer.from(sent).toString('hex')}`);
        return;
      }
    }
  }
  // Of generated frames alone there are fewer.
  t.true(forwarded > (note === null ? 100 : 0));
  t.true(h.isWhole);
});

test('VLAN access: untagged in, untagged out, and only within the VLAN', (t) => {
  const h = vlans([access(10), access(10), access(20)]);
  const [copy, ...more] = h.receive(1, frame(BROADCAST, A));
  t.deepEqual([copy.port, more.length], [2, 0]);
  t.deepEqual(copy.frame, frame(BROADCAST, A));
  t.deepEqual(h.receivePorts(1, tagged(frame(BROADCAST, A), 10)), []);
});

test('VLAN trunk: tagged in, tagged out, allowed VLANs only', (t) => {
  const h = vlans([trunk(0, 10), trunk(0, 10, 20)]);
  t.deepEqual(h.receive(1, tagged(frame(BROADCAST, A), 10, 3))[0].frame, tagged(frame(BROADCAST, A), 10, 3));
  t.deepEqual(h.receivePorts(2, tagged(frame(BROADCAST, B), 20)), []);
  t.deepEqual(h.receivePorts(1, tagged(frame(BROADCAST, A), 20)), []);
  t.deepEqual([h.rxDrops(1), h.rxDrops(2)], [{ vlan_not_allowed: 1 }, { no_destination: 1 }]);
});

test('VLAN native: untagged frames of a trunk belong to it, in both directions', (t) => {
  const h = vlans([trunk(10, 20), access(10), access(20)]);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
  t.deepEqual(h.receive(2, frame(BROADCAST, B))[0].frame, frame(BROADCAST, B));
  t.deepEqual(h.receive(3, frame(BROADCAST, C))[0].frame, tagged(frame(BROADCAST, C), 20));
});

test('802.1ad: service tags with customer tags inside', (t) => {
  const h = vlans([access(10), trunk(0, 10, 20)], 0x88a8);
  const customer = tagged(frame(BROADCAST, A), 77, 6);
  t.deepEqual(h.receive(1, customer)[0].frame, tagged(customer, 10, 0, 0x88a8));
  t.deepEqual(h.receive(2, tagged(customer, 10, 2, 0x88a8))[0].frame, customer);
});

test('a priority tag, VID 0, is no VLAN: the frame is in the native one', (t) => {
  const h = vlans([access(10), access(10), trunk(20, 10)]);
  const sent = h.receive(1, tagged(frame(BROADCAST, A), 0, 5));
  t.deepEqual(sent.map((copy) => [copy.port, Buffer.from(copy.frame).toString('hex')]).sort(), [
    [2, Buffer.from(frame(BROADCAST, A)).toString('hex')],
    [3, Buffer.from(tagged(frame(BROADCAST, A), 10, 5)).toString('hex')],
  ]);
  const plain = new Harness(2);
  t.deepEqual(plain.receive(1, tagged(frame(BROADCAST, A), 0, 5))[0].frame, tagged(frame(BROADCAST, A), 0, 5));
});

test('VID 4095 is dropped', (t) => {
  for (const h of [new Harness(2), vlans([access(10), access(10)]), vlans([trunk(10, 20), trunk(10, 20)])]) {
    t.deepEqual(h.receivePorts(1, tagged(frame(BROADCAST, A), 4095)), []);
    t.deepEqual(h.rxDrops(1), { vlan_reserved: 1 });
  }
});

test('the FDB is bounded: a flood of 1,000,000 MACs keeps old flows unicast', (t) => {
  const h = new Harness(4, { fdbCapacity: 4096 });
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(A, B));
  h.recorder.keep = false;
  const from = frame(BROADCAST, A);
  for (let i = 0; i < 1_000_000; i++) {
    from.set(numberedMac(Math.imul(i, 0x9e3779b1)), 6);
    h.dataplane.process(h.load(3, from));
  }
  h.recorder.keep = true;
  t.is(h.dataplane.fdb.table.count, 4096);
  t.deepEqual(h.receivePorts(1, frame(B, A)), [2]);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  t.true(h.isWhole);
});
