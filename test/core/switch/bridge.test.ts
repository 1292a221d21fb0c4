/** Scenarios: configuration and frames in, frames out and exact counter deltas. */

import test from 'ava';
import fc from 'fast-check';
import {
  COUNTER_COPIES,
  COUNTER_RX_BYTES,
  COUNTER_RX_PACKETS,
  COUNTER_TX_BYTES,
  COUNTER_TX_PACKETS,
} from '../../../core/counters.js';
import { BROADCAST, frame, Harness, mac, numberedMac } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');

test('an unknown destination is flooded to every other port, a known one goes to its port alone', (t) => {
  const h = new Harness(3);
  t.deepEqual(h.receivePorts(1, frame(B, A)), [2, 3]);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  t.deepEqual(h.receivePorts(1, frame(B, A)), [2]);
  t.is(h.counter(1, COUNTER_RX_PACKETS), 2);
  t.is(h.counter(1, COUNTER_RX_BYTES), 120);
  t.is(h.counter(1, COUNTER_COPIES), 1);
  t.is(h.counter(2, COUNTER_TX_PACKETS), 2);
  t.is(h.counter(2, COUNTER_TX_BYTES), 120);
  t.is(h.counter(3, COUNTER_TX_PACKETS), 1);
  t.is(h.imbalance(), 0);
  t.is(h.arena.available, h.arena.slotCount);
});

test('broadcast and multicast reach all others once, out of one slot, byte for byte', (t) => {
  const h = new Harness(4);
  for (const to of [BROADCAST, mac('01:00:5e:00:00:fb'), mac('33:33:00:00:00:01')]) {
    const sent = frame(to, A, [1, 2, 3]);
    const out = h.receive(2, sent);
    t.deepEqual(out.map((copy) => copy.port).sort(), [1, 3, 4]);
    t.is(new Set(out.map((copy) => copy.slot)).size, 1, 'no copy of the payload');
    for (const copy of out) t.deepEqual(copy.frame, sent);
  }
  t.is(h.counter(2, COUNTER_COPIES), 6);
  t.is(h.imbalance(), 0);
  t.is(h.arena.available, h.arena.slotCount);
});

test('the virtio-net header passes unchanged', (t) => {
  const h = new Harness(2);
  const vnet = { flags: 1, gsoType: 1, headerLength: 54, gsoSize: 1448, checksumStart: 34, checksumOffset: 16 };
  const [copy] = h.receive(1, frame(B, A, new Array(3000).fill(7)), vnet);
  t.deepEqual([...copy.vnet], [1, 1, 54, 0, 0xa8, 0x05, 34, 0, 16, 0]);
});

test('a MAC that shows up elsewhere is followed at once', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(BROADCAST, B));
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  h.receive(3, frame(BROADCAST, A));
  t.deepEqual(h.receivePorts(2, frame(A, B)), [3]);
  t.is(h.dataplane.fdb.moveCount, 1);
});

test('nothing goes back out of the port it came from', (t) => {
  const h = new Harness(2);
  h.receive(1, frame(BROADCAST, A));
  h.receive(1, frame(BROADCAST, B));
  t.deepEqual(h.receivePorts(1, frame(A, B)), []);
  t.deepEqual(h.rxDrops(1), { hairpin: 1 });
  t.is(h.imbalance(), 0);
});

test('frames that no bridge forwards are dropped, each for its reason', (t) => {
  const h = new Harness(2);
  for (let last = 0; last < 16; last++) {
    t.deepEqual(h.receivePorts(1, frame(mac(`01:80:c2:00:00:0${last.toString(16)}`), A)), []);
  }
  t.deepEqual(h.receivePorts(1, frame(mac('01:80:c2:00:00:10'), A)), [2], 'the next address is an ordinary group');
  t.deepEqual(h.receivePorts(1, frame(B, BROADCAST)), []);
  t.deepEqual(h.receivePorts(1, frame(B, mac('01:00:5e:00:00:01'))), []);
  t.deepEqual(h.receivePorts(1, frame(B, A).subarray(0, 13)), []);
  t.deepEqual(h.receivePorts(1, new Uint8Array(0)), []);
  h.receive(1, frame(B, A), { flags: 1, checksumStart: 50, checksumOffset: 16 });
  h.receive(1, frame(B, A), { gsoType: 77, gsoSize: 1000 });
  t.deepEqual(h.rxDrops(1), { runt: 2, vnet_header: 2, source_multicast: 2, reserved_multicast: 16 });
  t.is(h.dataplane.fdb.search((1 << 16) | 0xffff, -1), 0, 'a group address is not learned');
  t.is(h.imbalance(), 0);
  t.is(h.arena.available, h.arena.slotCount);
});

test('a lone port’s frames have nowhere to go', (t) => {
  const h = new Harness(1);
  h.receive(1, frame(BROADCAST, A));
  t.deepEqual(h.rxDrops(1), { no_destination: 1 });
  t.is(h.arena.available, h.arena.slotCount);
});

test('networks do not see each other, though MACs are the same', (t) => {
  const h = new Harness(2);
  h.topology.addNetwork(2, 300, 100);
  h.topology.addPort(3, 2);
  h.topology.addPort(4, 2);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
  t.deepEqual(h.receivePorts(3, frame(BROADCAST, A)), [4]);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  t.deepEqual(h.receivePorts(4, frame(A, B)), [3]);
});

test('a removed port gets nothing, its MACs are flooded again, and its frames still under way are dropped', (t) => {
  const h = new Harness(3);
  h.receive(1, frame(BROADCAST, A));
  const late = h.load(1, frame(B, A));
  h.topology.removePort(1);
  h.dataplane.process(late);
  t.deepEqual(h.rxDrops(1), { port_unbound: 1 });
  t.deepEqual(h.receivePorts(2, frame(A, B)), [3]);
  h.dataplane.counters.retire(1);
  t.is(h.counter(1, COUNTER_RX_PACKETS), 0);
  t.is(h.counter(0, COUNTER_RX_PACKETS), 2, 'its counts live on in the totals');
  t.is(h.imbalance(), 0);
  h.topology.addPort(1, 1);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1, 3], 'the next port of that number inherits nothing');
});

test('forwarding goes on when the FDB is full', (t) => {
  const h = new Harness(3, { fdbCapacity: 4 });
  for (let i = 0; i < 10; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
  t.is(h.dataplane.fdb.fullCount, 6);
  t.deepEqual(h.receivePorts(2, frame(numberedMac(2), B)), [1], 'learned before');
  t.deepEqual(h.receivePorts(2, frame(numberedMac(9), B)), [1, 3], 'not learned: flooded');
  t.is(h.imbalance(), 0);
});

test('what the wire sends to the host’s own device is not flooded', (t) => {
  const h = new Harness(3);
  h.topology.addStatic(1, 0, 0x0200, 0x0b, 1);
  t.deepEqual(h.receivePorts(1, frame(B, A)), []);
  t.deepEqual(h.rxDrops(1), { hairpin: 1 });
  t.deepEqual(h.receivePorts(2, frame(B, A)), [1]);
  h.receive(3, frame(A, B));
  t.deepEqual(h.receivePorts(2, frame(B, A)), [1], 'and nobody else can claim it');
  h.topology.removePort(1);
  t.deepEqual(h.receivePorts(2, frame(B, A)), [3], 'it goes with its port');
});

test('a frame that the kernel could not hand over is received and dropped', (t) => {
  const h = new Harness(2);
  h.dataplane.receiveRejected(1);
  t.deepEqual(h.rxDrops(1), { rx_rejected: 1 });
  t.is(h.counter(1, COUNTER_RX_PACKETS), 1);
  t.is(h.imbalance(), 0);
});

test('an aged entry is flooded again', (t) => {
  const h = new Harness(3, { ageing: 10 });
  h.dataplane.now = 100;
  h.receive(1, frame(BROADCAST, A));
  h.dataplane.now = 109;
  h.dataplane.fdb.sweep(h.dataplane.fdb.table.places, 109);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1]);
  h.dataplane.fdb.sweep(h.dataplane.fdb.table.places, 110);
  t.deepEqual(h.receivePorts(2, frame(A, B)), [1, 3]);
});

test('a stage that throws costs one packet, counted', (t) => {
  const h = new Harness(2);
  const { fdb } = h.dataplane;
  fdb.lookup = () => {
    throw new Error('defect');
  };
  h.receive(1, frame(B, A));
  t.deepEqual(h.rxDrops(1), { internal_error: 1 });
  t.is((h.dataplane.lastError as Error).message, 'defect');
  t.is(h.arena.available, h.arena.slotCount);
});

/** The slow, obvious bridge: objects and strings. */
class ReferenceBridge {
  private readonly table = new Map<string, number>();
  private readonly ports: number;

  constructor(ports: number) {
    this.ports = ports;
  }

  receive(port: number, to: number[], from: number[]): number[] {
    if ((from[0] & 1) === 1) return [];
    this.table.set(from.join(), port);
    const known = (to[0] & 1) === 1 ? undefined : this.table.get(to.join());
    if (known !== undefined) return known === port ? [] : [known];
    return Array.from({ length: this.ports }, (_, i) => i + 1).filter((other) => other !== port);
  }
}

test('agrees with a reference bridge on any sequence of frames', (t) => {
  const address = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 8 }).map(numberedMac) },
    fc.constant(BROADCAST),
  );
  const step = fc.record({ port: fc.integer({ min: 1, max: 5 }), to: address, from: address });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const h = new Harness(5);
      const reference = new ReferenceBridge(5);
      for (const { port, to, from } of steps) {
        const expected = reference.receive(port, to, from);
        if (h.receivePorts(port, frame(to, from)).join() !== expected.join()) return false;
      }
      return h.imbalance() === 0 && h.arena.available === h.arena.slotCount;
    }),
  );
  t.pass();
});
