/** Storm control: the buckets' arithmetic, and what they are asked about. */

import test from 'ava';
import { Packet } from '../../../core/packet/packet.js';
import { StormControl } from '../../../core/switch/storm.js';
import { BROADCAST, frame, Harness, mac, numberedMac, type VnetFields } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const GROUP = mac('01:00:5e:01:01:01');

/** Broadcast frames that pass, of `count`. */
function passing(storm: StormControl, packet: Packet, milliseconds: number, count: number): number {
  let passed = 0;
  for (let i = 0; i < count; i++) if (storm.admit(packet, milliseconds) === 0) passed++;
  return passed;
}

function broadcast(): Packet {
  const packet = new Packet(0);
  packet.dstHigh = 0xffff;
  packet.dstLow = -1;
  packet.length = 60;
  return packet;
}

test('a bucket holds a tenth of a second, and fills with the rate', (t) => {
  const storm = new StormControl(1000, 0, 0);
  const packet = broadcast();
  t.is(passing(storm, packet, 0, 500), 100);
  t.is(passing(storm, packet, 0, 500), 0);
  t.is(passing(storm, packet, 1, 500), 1);
  t.is(passing(storm, packet, 8, 500), 7);
  t.is(passing(storm, packet, 58, 500), 50);
  t.is(passing(storm, packet, 900, 500), 100, 'not more than it holds');
  t.is(passing(storm, packet, 1_000_000, 500), 100);
});

test('low rates: a burst of 32, fractions are kept', (t) => {
  const storm = new StormControl(1, 0, 0);
  const packet = broadcast();
  t.is(passing(storm, packet, 0, 100), 32);
  t.is(passing(storm, packet, 999, 100), 0);
  t.is(passing(storm, packet, 1000, 100), 1);
  for (let at = 1000; at <= 2000; at += 125) if (at < 2000) t.is(passing(storm, packet, at, 10), 0);
  t.is(passing(storm, packet, 2000, 10), 1);
});

test('after a long pause the bucket is full, and no number overflows', (t) => {
  const storm = new StormControl(1_000_000, 0, 0);
  const packet = broadcast();
  t.is(passing(storm, packet, 0, 200_000), 100_000);
  t.is(passing(storm, packet, 999, 200_000), 100_000);
  t.is(passing(storm, packet, 0x7ffffff0, 200_000), 100_000);
});

test('over a long time the rate is the rate, whatever the steps', (t) => {
  for (const rate of [7, 333, 10_000]) {
    const storm = new StormControl(rate, 0, 0);
    const packet = broadcast();
    const burst = Math.max(Math.floor(rate / 10), 32);
    let passed = passing(storm, packet, 0, burst + 1) - burst;
    // Steps shorter than the time in which any of these buckets fills up, so that nothing runs over.
    const step = [3, 7, 90, 1, 49];
    let at = 0;
    for (let i = 0; at < 100_000; i++) {
      at += step[i % step.length];
      passed += passing(storm, packet, at, rate);
    }
    t.true(Math.abs(passed - (rate * at) / 1000) <= 1, `${rate}: ${passed} in ${at} ms`);
  }
});

test('the clock wraps from the highest int32 to the lowest', (t) => {
  const storm = new StormControl(1000, 0, 0);
  const packet = broadcast();
  passing(storm, packet, 0x7ffffffe, 500);
  t.is(passing(storm, packet, 0x7fffffff, 500), 1);
  t.is(passing(storm, packet, (0x7fffffff + 10) | 0, 500), 10);
  t.is(passing(storm, packet, -0x7ffffff0, 500), 7, 'int32 again');
  t.is(passing(storm, packet, 0, 500), 100);
});

const TSO: VnetFields = {
  flags: 1,
  gsoType: 1,
  headerLength: 54,
  gsoSize: 1000,
  checksumStart: 34,
  checksumOffset: 16,
};

/** A broadcast TCP segment of `payload` bytes, 54 of headers. */
function superPacket(payload: number): Uint8Array {
  const bytes = frame(BROADCAST, A, new Array(40 + payload).fill(0), 0x0800);
  const view = new DataView(bytes.buffer);
  view.setUint8(14, 0x45);
  view.setUint16(16, 40 + payload);
  view.setUint8(23, 6);
  view.setUint8(46, 0x50);
  return bytes;
}

/** Plain broadcasts that still pass after one packet; the bucket holds 100. */
function leftAfter(bytes: Uint8Array, vnet: VnetFields): number {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  h.addPorts({ storm: new StormControl(1000, 0, 0) }, {});
  if (h.receive(1, bytes, vnet).length !== 1) return -1;
  let left = 0;
  while (h.receive(1, frame(BROADCAST, A)).length > 0) left++;
  return left;
}

test('a super-packet counts as the frames it stands for', (t) => {
  t.is(leftAfter(superPacket(1000), TSO), 99);
  t.is(leftAfter(superPacket(1001), TSO), 98);
  t.is(leftAfter(superPacket(20_000), TSO), 80);
  t.is(leftAfter(superPacket(60_000), TSO), 40);
  t.is(leftAfter(superPacket(60_000), { ...TSO, gsoSize: 100 }), 0, 'more than is left: passes, and leaves a debt');
});

test('a sender cannot make a super-packet cheap with the header length that it claims', (t) => {
  t.true(leftAfter(superPacket(60_000), { ...TSO, headerLength: 60_054 }) <= 40);
  t.is(leftAfter(superPacket(60_000), { ...TSO, headerLength: 0 }), 39);
});

test('a debt is paid before anything passes', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  h.addPorts({ storm: new StormControl(1000, 0, 0) }, {});
  h.receive(1, superPacket(60_000), { ...TSO, gsoSize: 100 }); // 600 frames of 100
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), []);
  h.dataplane.milliseconds = 500;
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), []);
  h.dataplane.milliseconds = 501;
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2]);
});

/** Frames of a kind that get through, of 100. */
function through(h: Harness, to: number[]): number {
  let count = 0;
  for (let i = 0; i < 100; i++) if (h.receive(1, frame(to, A)).length > 0) count++;
  return count;
}

test('each kind has its own bucket and its own reason; what is not limited is not touched', (t) => {
  for (const limited of [0, 1, 2]) {
    const rates = [0, 0, 0];
    rates[limited] = 10;
    const h = new Harness();
    h.topology.addNetwork(1, 300, 1000);
    h.addPorts({ storm: new StormControl(rates[0], rates[1], rates[2]) }, {}, {});
    const counts = [through(h, BROADCAST), through(h, GROUP), through(h, B)];
    t.deepEqual(
      counts,
      [0, 1, 2].map((kind) => (kind === limited ? 32 : 100)),
    );
    const name = ['storm_broadcast', 'storm_multicast', 'storm_unknown_unicast'][limited];
    t.deepEqual(h.rxDrops(1), { [name]: 68 });
    t.true(h.isWhole);
  }
});

test('known unicast is never limited, and the same destination is once it is forgotten', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  h.addPorts({ storm: new StormControl(1, 1, 1) }, {}, {});
  h.receive(2, frame(BROADCAST, B));
  t.is(through(h, B), 100);
  t.is(through(h, B), 100);
  h.topology.flush(1, -1, 0);
  t.is(through(h, B), 32);
});

test('one port’s storm is not another’s', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  const storm = (): StormControl => new StormControl(1, 1, 1);
  h.addPorts({ storm: storm() }, { storm: storm() }, {});
  t.is(through(h, BROADCAST), 32);
  t.deepEqual(h.receivePorts(2, frame(BROADCAST, numberedMac(3))), [1, 3]);
});

test('a storm still teaches where its sender is', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000);
  h.addPorts({ storm: new StormControl(1, 0, 0) }, {}, {});
  for (let i = 0; i < 40; i++) h.receive(1, frame(BROADCAST, numberedMac(i)));
  t.deepEqual(h.receivePorts(2, frame(numberedMac(39), B)), [1]);
});
