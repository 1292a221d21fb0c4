/** Ports without offload: what leaves by them is whole frames with finished checksums, and every one is counted. */

import test from 'ava';
import { Harness, type VnetFields } from '../../support/harness.js';
import {
  finishedFrame,
  gsoOf,
  layoutOf,
  NO_OFFLOAD,
  PLAIN,
  partialFrame,
  put16,
  slowSegments,
  type VnetSpec,
} from './packets.js';
import { fill } from './specs.js';

/** The same header in the harness's words. */
function words({ vnetFlags, ...rest }: VnetSpec): VnetFields {
  return { flags: vnetFlags, ...rest };
}

const PLAIN_VNET = words(NO_OFFLOAD);

/** Ports 1 to 4 of network 1; the third takes no offload. */
function make(): Harness {
  const h = new Harness(2);
  h.topology.addPort(3, 1, { offload: false });
  h.topology.addPort(4, 1);
  return h;
}

const SPEC = { ...PLAIN, payload: fill(10_000, 7) };

test('a super-packet leaves in segments by one port, and whole by the others', (t) => {
  const h = make();
  const out = h.receive(1, partialFrame(SPEC), words(gsoOf(SPEC, 1448)));
  const segments = slowSegments(SPEC, 1448);
  t.deepEqual(
    out.filter(({ port }) => port === 3).map(({ frame }) => frame),
    segments,
  );
  for (const { vnet } of out.filter(({ port }) => port === 3)) t.deepEqual([...vnet.subarray(0, 2)], [0, 0]);
  for (const port of [2, 4]) {
    const [whole] = out.filter((one) => one.port === port);
    t.deepEqual(whole.frame, partialFrame(SPEC));
    t.is(whole.vnet[4] + 256 * whole.vnet[5], 1448);
  }
  t.true(h.isWhole);
});

test('a checksum that is to come is finished; others get the same packet, finished or not', (t) => {
  const h = make();
  const spec = { ...PLAIN, payload: fill(1000, 3) };
  const { l4 } = layoutOf(spec);
  const vnet = { ...PLAIN_VNET, flags: 1, checksumStart: l4, checksumOffset: 16 };
  const out = h.receive(1, partialFrame(spec), vnet);
  const plain = out.find(({ port }) => port === 3);
  t.deepEqual(plain?.frame, finishedFrame(spec));
  t.deepEqual([...(plain?.vnet ?? []).slice(0, 2)], [0, 0]);
  t.is(out.length, 3);
  t.true(h.isWhole);
});

test('a super-packet that contradicts itself is a drop where it would have to be cut', (t) => {
  const h = make();
  const frame = partialFrame(SPEC);
  // Of a TCP header that ends behind the packet nobody can tell where the payload begins.
  put16(frame, layoutOf(SPEC).l4 + 12, 0x1010);
  const sent = h.changes(() => h.dataplane.process(h.load(1, frame, words(gsoOf(SPEC, 1448)))));
  t.deepEqual(sent[3], { 'lost vnet_header': 1 });
  t.true(h.isWhole);
});

test('without slots nothing is half sent', (t) => {
  const h = make();
  const held: number[] = [];
  while (h.arena.available > 3) held.push(h.arena.allocate());
  const sent = h.changes(() => h.dataplane.process(h.load(1, partialFrame(SPEC), words(gsoOf(SPEC, 1448)))));
  t.deepEqual(sent[3], { 'lost no_slot': 1 });
  for (const slot of held) h.arena.release(slot);
  t.true(h.isWhole);
});

test('a mirror there, of a packet that is dropped: it is, for its own reason', (t) => {
  for (const slots of [32, 1]) {
    const h = make();
    h.topology.addMirror({ id: 1, fromPort: 1, fromNetwork: 0, to: 3, incoming: true, outgoing: false });
    h.topology.quarantine(h.dataplane.ports[1], 60);
    const held: number[] = [];
    while (h.arena.available > slots) held.push(h.arena.allocate());
    const out = h.receive(1, partialFrame(SPEC), words(gsoOf(SPEC, 1448)));
    t.deepEqual(h.rxDrops(1), { quarantined: 1 });
    t.is(out.length, slots === 1 ? 0 : slowSegments(SPEC, 1448).length);
    t.deepEqual(h.txDrops(3), slots === 1 ? { no_slot: 1 } : {});
    for (const slot of held) h.arena.release(slot);
    t.true(h.isWhole);
  }
});
