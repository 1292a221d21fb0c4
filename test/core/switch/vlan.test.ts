/** VLANs: frames in, frames out with their exact bytes, counters. */

import test, { type ExecutionContext } from 'ava';
import { MAX_FRAME_LENGTH } from '../../../core/packet/arena.js';
import type { PortOptions } from '../../../core/topology.js';
import { BROADCAST, frame, Harness, mac, type SentFrame, tagged, type VnetFields } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const C = mac('02:00:00:00:00:0c');
const S_TAG = 0x88a8;

const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
const trunk = (native: number, ...vids: number[]): PortOptions => ({ vlan: { native, tagged: vids } });

/** Network 1 with VLANs 10 and 20 and these ports, from 1. */
function make(ports: readonly PortOptions[], options: { protocol?: number; deferred?: boolean; slots?: number } = {}) {
  const h = new Harness(0, options);
  h.addVlanNetwork([10, 20], options.protocol);
  h.addPorts(...ports);
  return h;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const byPort = (sent: readonly SentFrame[]): Record<number, string> =>
  Object.fromEntries(sent.map((copy) => [copy.port, hex(copy.frame)]));

/** The frame goes to exactly these ports, with exactly these bytes; and nothing is lost. */
function expectSent(
  t: ExecutionContext,
  h: Harness,
  port: number,
  bytes: Uint8Array,
  expected: Record<number, Uint8Array>,
  what?: string,
): void {
  const sent = h.receive(port, bytes);
  t.is(sent.length, Object.keys(expected).length, what);
  t.deepEqual(byPort(sent), Object.fromEntries(Object.entries(expected).map(([id, value]) => [id, hex(value)])), what);
  t.true(h.isWhole, what);
}

test('access ports of one VLAN hear each other, those of another do not, and nobody sees a tag', (t) => {
  const h = make([access(10), access(10), access(20), access(20)]);
  const sent = frame(BROADCAST, A, [1, 2, 3]);
  expectSent(t, h, 1, sent, { 2: sent });
  expectSent(t, h, 3, sent, { 4: sent });
  t.deepEqual(
    h.changes(() => h.receive(1, sent)),
    { 1: { rx: 1 }, 2: { tx: 1 } },
  );
});

test('an access port takes no tagged frame, not even one of its own VLAN', (t) => {
  const h = make([access(10), access(10)]);
  for (const vid of [1, 10, 20, 4094]) expectSent(t, h, 1, tagged(frame(BROADCAST, A), vid), {});
  t.deepEqual(h.rxDrops(1), { vlan_not_allowed: 4 });
  t.is(h.dataplane.fdb.table.count, 0, 'and learns nothing from it');
});

test('VID 4095 is dropped everywhere, also where tags are payload', (t) => {
  for (const options of [access(10), trunk(10, 20), {}]) {
    const h = make([options, options]);
    expectSent(t, h, 1, tagged(frame(BROADCAST, A), 4095), {});
    expectSent(t, h, 1, tagged(frame(BROADCAST, A), 4095, 7, S_TAG), {});
    t.deepEqual(h.rxDrops(1), { vlan_reserved: 2 });
  }
});

test('a trunk gives each VLAN its tag, its native VLAN none, and refuses the rest', (t) => {
  const h = make([access(10), access(20), trunk(10, 20)]);
  const sent = frame(BROADCAST, A, [9]);
  expectSent(t, h, 1, sent, { 3: sent }, 'VLAN 10 leaves untagged');
  expectSent(t, h, 2, sent, { 3: tagged(sent, 20) });
  expectSent(t, h, 3, sent, { 1: sent }, 'untagged is VLAN 10');
  expectSent(t, h, 3, tagged(sent, 20, 5), { 2: sent });
  expectSent(t, h, 3, tagged(sent, 10, 5), { 1: sent }, 'tagged frames of the native VLAN belong to it');
  expectSent(t, h, 3, tagged(sent, 30), {}, 'not allowed');
  t.deepEqual(h.rxDrops(3), { vlan_not_allowed: 1 });
});

test('a trunk without a native VLAN takes neither untagged nor priority-tagged frames', (t) => {
  const h = make([access(10), trunk(0, 10, 20)]);
  expectSent(t, h, 2, frame(BROADCAST, A), {});
  expectSent(t, h, 2, tagged(frame(BROADCAST, A), 0, 7), {});
  t.deepEqual(h.rxDrops(2), { vlan_untagged: 2 });
  expectSent(t, h, 1, frame(BROADCAST, A), { 2: tagged(frame(BROADCAST, A), 10) });
});

test('the list of allowed VLANs counts in both directions', (t) => {
  const h = make([access(20), trunk(0, 10), trunk(0, 20), trunk(0, 10, 20)]);
  const sent = frame(BROADCAST, A);
  expectSent(t, h, 1, sent, { 3: tagged(sent, 20), 4: tagged(sent, 20) });
  expectSent(t, h, 4, tagged(sent, 10), { 2: tagged(sent, 10) });
  expectSent(t, h, 2, tagged(sent, 20), {});
  t.deepEqual(h.rxDrops(2), { vlan_not_allowed: 1 });
});

test('between trunks a frame passes as it is, priority and drop eligibility included', (t) => {
  const h = make([trunk(0, 10, 20), trunk(0, 10, 20)]);
  const sent = tagged(frame(BROADCAST, A), 20 | 0x1000, 5);
  const [copy] = h.receive(1, sent);
  t.deepEqual(copy.frame, sent);
  t.deepEqual(
    h.changes(() => h.receive(1, sent)),
    { 1: { rx: 1 }, 2: { tx: 1 } },
  );
});

test('a priority tag counts as untagged; its priority stays where the frame gets a tag', (t) => {
  for (const deferred of [false, true]) {
    for (const order of [
      [access(10), trunk(0, 10)],
      [trunk(0, 10), access(10)],
    ]) {
      const h = make([access(10), ...order], { deferred });
      const sent = frame(BROADCAST, A, [4, 5]);
      const trunkPort = order[0] === undefined || (order[0].vlan?.tagged.length ?? 0) > 0 ? 2 : 3;
      const accessPort = 5 - trunkPort;
      for (const priority of [0, 6]) {
        const expected = { [accessPort]: sent, [trunkPort]: tagged(sent, 10, priority) };
        expectSent(t, h, 1, tagged(sent, 0, priority), expected, `deferred ${deferred}, trunk on ${trunkPort}`);
      }
    }
  }
});

test('a unicast frame changes its form on the way, both ways', (t) => {
  const h = make([access(10), trunk(0, 10, 20), trunk(10, 20)]);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, tagged(frame(BROADCAST, B), 10));
  h.receive(3, frame(BROADCAST, C));
  expectSent(t, h, 1, frame(B, A), { 2: tagged(frame(B, A), 10) });
  expectSent(t, h, 2, tagged(frame(A, B), 10, 3), { 1: frame(A, B) });
  expectSent(t, h, 1, frame(C, A), { 3: frame(C, A) });
  expectSent(t, h, 2, tagged(frame(C, B), 10, 3), { 3: frame(C, B) });
  expectSent(t, h, 3, tagged(frame(B, C), 10, 3), { 2: tagged(frame(B, C), 10, 3) });
  expectSent(t, h, 3, tagged(frame(B, C), 0, 3), { 2: tagged(frame(B, C), 10, 3) });
  t.is(h.counter(1, 4) + h.counter(2, 4) + h.counter(3, 4), 3, 'copies: of the three broadcasts only');
});

test('each VLAN learns for itself: one MAC may be behind two ports', (t) => {
  const h = make([access(10), access(20), trunk(0, 10, 20), access(10), access(20)]);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(BROADCAST, A));
  expectSent(t, h, 3, tagged(frame(A, B), 10), { 1: frame(A, B) });
  expectSent(t, h, 3, tagged(frame(A, B), 20), { 2: frame(A, B) });
  t.is(h.dataplane.fdb.moveCount, 0);
  t.is(h.dataplane.fdb.table.count, 4);
  t.deepEqual(h.receivePorts(1, frame(B, A)), [3]);
  t.deepEqual(h.receivePorts(4, frame(B, C)), [3]);
});

test('802.1ad: service tags tell VLANs apart, customer tags are payload', (t) => {
  const h = make([access(10), trunk(0, 10, 20), access(20), access(10)], { protocol: S_TAG });
  const customer = tagged(frame(BROADCAST, A, [7, 7]), 300, 2);
  expectSent(t, h, 1, customer, { 2: tagged(customer, 10, 0, S_TAG), 4: customer }, 'pushed');
  expectSent(t, h, 2, tagged(customer, 10, 4, S_TAG), { 1: customer, 4: customer }, 'popped');
  expectSent(t, h, 2, tagged(customer, 20, 4, S_TAG), { 3: customer });
  expectSent(t, h, 1, tagged(customer, 0, 4, S_TAG), { 2: tagged(customer, 10, 4, S_TAG), 4: customer });
  expectSent(t, h, 2, customer, {}, 'a customer tag is no service tag');
  expectSent(t, h, 1, tagged(customer, 10, 4, S_TAG), {});
  t.deepEqual([h.rxDrops(2), h.rxDrops(1)], [{ vlan_untagged: 1 }, { vlan_not_allowed: 1 }]);
});

test('802.1Q: a service tag is payload', (t) => {
  const h = make([access(10), trunk(0, 10)]);
  const sent = tagged(frame(BROADCAST, A), 20, 3, S_TAG);
  expectSent(t, h, 1, sent, { 2: tagged(sent, 10) });
});

test('two tags of one kind: the inner one is payload, and never comes out as the VLAN of a trunk', (t) => {
  const h = make([access(10), trunk(10, 20), trunk(0, 10, 20), access(20)]);
  const inner = tagged(frame(BROADCAST, A), 20);
  expectSent(
    t,
    h,
    1,
    tagged(inner, 0, 6),
    { 2: tagged(inner, 10, 6), 3: tagged(inner, 10, 6) },
    'untagged on port 2, it would be in VLAN 20 there',
  );
  expectSent(t, h, 3, tagged(inner, 10, 6), { 1: inner, 2: tagged(inner, 10, 6) });
  expectSent(t, h, 2, tagged(inner, 10, 6), { 1: inner, 3: tagged(inner, 10, 6) });
  const cut = inner.subarray(0, 16);
  expectSent(t, h, 3, tagged(cut, 10), { 1: cut, 2: tagged(cut, 10) }, 'an inner tag that padding would complete');
  const other = tagged(frame(BROADCAST, A), 20, 0, S_TAG);
  expectSent(t, h, 3, tagged(other, 10), { 1: other, 2: other }, 'of another kind: payload there, too');
});

test('a tag that the frame cuts says nothing about its VLAN: refused', (t) => {
  const h = make([access(10), trunk(10, 20), access(10)]);
  const whole = tagged(frame(BROADCAST, A), 20);
  for (let length = 14; length < 18; length++) expectSent(t, h, 1, whole.subarray(0, length), {});
  t.deepEqual(h.rxDrops(1), { vlan_not_allowed: 4 });
  expectSent(t, h, 2, whole.subarray(0, 18), {}, 'whole: VLAN 20, where nobody else is');
  t.deepEqual(h.rxDrops(2), { no_destination: 1 });
});

test('an uplink VLAN of a network without VLANs: the tag is put on and taken off on the wire only', (t) => {
  for (const deferred of [false, true]) {
    const h = new Harness(2, { deferred });
    h.topology.addPort(3, 1, trunk(0, 42));
    const sent = frame(BROADCAST, A, [1]);
    expectSent(t, h, 1, sent, { 2: sent, 3: tagged(sent, 42) });
    expectSent(t, h, 3, tagged(sent, 42, 5), { 1: sent, 2: sent });
    expectSent(t, h, 3, sent, {});
    expectSent(t, h, 3, tagged(sent, 43), {});
    expectSent(t, h, 3, tagged(sent, 0, 5), {});
    expectSent(t, h, 3, tagged(sent, 4095), {});
    t.deepEqual(h.rxDrops(3), { vlan_untagged: 2, vlan_not_allowed: 1, vlan_reserved: 1 });
    const payload = tagged(frame(BROADCAST, B), 7, 1);
    expectSent(t, h, 1, payload, { 2: payload, 3: tagged(payload, 42) }, 'an endpoint’s own tags are payload');
    h.receive(2, frame(BROADCAST, B));
    expectSent(t, h, 3, tagged(frame(B, C), 42), { 2: frame(B, C) });
    expectSent(t, h, 2, frame(C, B), { 3: tagged(frame(C, B), 42) });
  }
});

test('a flood to ports with and without tags: one copy for all of the other form', (t) => {
  for (const deferred of [false, true]) {
    const h = make([access(10), access(10), trunk(0, 10), access(10), trunk(0, 10), access(20)], { deferred });
    const sent = frame(BROADCAST, A, [1, 2, 3]);
    const copies = h.receive(1, sent);
    t.deepEqual(byPort(copies), {
      2: hex(sent),
      3: hex(tagged(sent, 10)),
      4: hex(sent),
      5: hex(tagged(sent, 10)),
    });
    t.is(
      new Set(copies.map((copy) => copy.slot)).size,
      deferred ? 2 : 1,
      'a slot for each form while one is in flight',
    );
    t.deepEqual(
      h.changes(() => h.dataplane.process(h.load(1, sent))),
      { 1: { rx: 1, copies: 3 }, 2: { tx: 1 }, 3: { tx: 1 }, 4: { tx: 1 }, 5: { tx: 1 } },
    );
    t.true(h.isWhole);
  }
});

test('no slot for the copy: those who want the other form lose the frame, counted', (t) => {
  const h = make([access(10), access(10), trunk(0, 10), trunk(0, 10)], { deferred: true, slots: 1 });
  const sent = frame(BROADCAST, A);
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(1, sent))),
    { 1: { rx: 1, copies: 2 }, 2: { tx: 1 }, 3: { 'lost no_slot': 1 }, 4: { 'lost no_slot': 1 } },
  );
  t.true(h.isWhole);
  const toTrunks = make([access(10), trunk(0, 10), trunk(0, 10)], { deferred: true, slots: 1 });
  expectSent(t, toTrunks, 1, sent, { 2: tagged(sent, 10), 3: tagged(sent, 10) }, 'one form needs no copy');
});

/** flags, gso_type, hdr_len, gso_size, csum_start, csum_offset. */
function fields(vnet: Uint8Array): number[] {
  const view = new DataView(vnet.buffer, vnet.byteOffset);
  return [vnet[0], vnet[1], ...[2, 4, 6, 8].map((at) => view.getUint16(at, true))];
}

const TSO: VnetFields = {
  flags: 1,
  gsoType: 1,
  headerLength: 66,
  gsoSize: 1448,
  checksumStart: 34,
  checksumOffset: 16,
};

test('a super-packet’s checksum start and header length move with the tag', (t) => {
  for (const deferred of [false, true]) {
    const h = make([access(10), access(10), trunk(0, 10)], { deferred });
    const big = frame(
      BROADCAST,
      A,
      Array.from({ length: 60_000 }, (_, i) => i & 255),
    );
    const sent = h.receive(1, big, TSO);
    const at = (port: number): SentFrame => sent.find((copy) => copy.port === port) as SentFrame;
    t.deepEqual(at(2).frame, big);
    t.deepEqual(fields(at(2).vnet), [1, 1, 66, 1448, 34, 16]);
    t.true(Buffer.from(at(3).frame).equals(Buffer.from(tagged(big, 10))));
    t.deepEqual(fields(at(3).vnet), [1, 1, 70, 1448, 38, 16]);
    const back = h.receive(3, tagged(big, 10, 2), { ...TSO, headerLength: 70, checksumStart: 38 });
    t.is(back.length, 2);
    for (const copy of back) {
      t.deepEqual(copy.frame, big);
      t.deepEqual(fields(copy.vnet), [1, 1, 66, 1448, 34, 16]);
    }
    t.true(h.isWhole);
  }
});

test('a checksum without segmentation, a header length of 0, and a plain frame', (t) => {
  const h = make([access(10), trunk(0, 10)]);
  const sent = frame(BROADCAST, A);
  const [partial] = h.receive(1, sent, { flags: 1, checksumStart: 34, checksumOffset: 6 });
  t.deepEqual(fields(partial.vnet), [1, 0, 0, 0, 38, 6]);
  const [plain] = h.receive(1, sent);
  t.deepEqual(fields(plain.vnet), [0, 0, 0, 0, 0, 0]);
  const [valid] = h.receive(1, sent, { flags: 2, checksumStart: 34, checksumOffset: 6 });
  t.deepEqual(fields(valid.vnet), [2, 0, 0, 0, 34, 6], 'nothing to complete: left alone');
});

test('a checksum start at the end of 64 KiB does not come out in front', (t) => {
  const h = make([access(10), trunk(0, 10)]);
  const big = frame(BROADCAST, A, new Array(MAX_FRAME_LENGTH - 14).fill(1));
  const [copy] = h.receive(1, big, { flags: 1, checksumStart: 65_535, checksumOffset: 0 });
  t.deepEqual(fields(copy.vnet), [1, 0, 0, 0, 65_535, 0]);
  t.is(copy.frame.length, MAX_FRAME_LENGTH + 4);
});

test('a checksum that would be written into a tag is refused before the tag is looked at', (t) => {
  const h = make([trunk(0, 10, 20), trunk(0, 10, 20), access(10)]);
  h.receive(1, tagged(frame(BROADCAST, A), 10), { flags: 1, checksumStart: 14, checksumOffset: 0 });
  t.deepEqual(h.rxDrops(1), { vnet_header: 1 });
  t.true(h.isWhole);
});

test('a VLAN without other members has no destination', (t) => {
  const h = make([access(10), access(20)]);
  expectSent(t, h, 1, frame(BROADCAST, A), {});
  expectSent(t, h, 1, frame(B, A), {});
  t.deepEqual(h.rxDrops(1), { no_destination: 2 });
});

test('a VLAN that the network does not have cannot be a port’s, and then nothing has changed', (t) => {
  const h = make([access(10)]);
  for (const options of [access(30), trunk(30), trunk(10, 20, 30)]) {
    t.throws(() => h.topology.addPort(9, 1, options), { message: 'network number 1 has no VLAN 30' });
    t.false(h.dataplane.ports[9].live);
  }
  t.is(h.topology.network(1).portCount, 1);
  h.topology.addVlan(1, 30, 1030);
  h.topology.addVlan(1, 30, 1030);
  h.topology.addPort(9, 1, trunk(10, 20, 30));
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [9]);
});
