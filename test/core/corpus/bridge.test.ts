/** Every capture, and a million mutated frames, through the whole dataplane: no exception, nothing lost, every slot back. */

import test from 'ava';
import {
  corpusNote,
  createRandom,
  loadCorpus,
  mutate,
  type Random,
  rerunLine,
  seedOfRun,
} from '../../support/corpus.js';
import { Harness, type VnetFields } from '../../support/harness.js';

const PORTS = 6;
const MUTATIONS = 1_000_000;
/** Longest frame that a port can deliver: the rest of a slot behind the virtio-net header. */
const LONGEST = 65_558;

function check(h: Harness): string {
  if (h.dataplane.lastError !== null) return `a stage threw: ${(h.dataplane.lastError as Error).stack}`;
  if (h.imbalance() !== 0) return `received + copies - delivered - dropped = ${h.imbalance()}`;
  if (h.arena.available !== h.arena.slotCount) return `${h.arena.slotCount - h.arena.available} slots lost`;
  return 'ok';
}

/** Mostly sane, now and then hostile. */
function randomVnet(random: Random): VnetFields | null {
  if (random(4) > 0) return null;
  return {
    flags: random(256),
    gsoType: random(8) === 0 ? random(256) : 0,
    headerLength: random(65536),
    gsoSize: random(65536),
    checksumStart: random(2) === 0 ? random(100) : random(65536),
    checksumOffset: random(2) === 0 ? random(30) : random(65536),
  };
}

test('every frame of the corpus', async (t) => {
  const note = corpusNote();
  if (note !== null) t.log(note);
  const frames = await loadCorpus();
  const h = new Harness(PORTS, { fdbCapacity: 100_000 });
  h.recorder.keep = false;
  frames.forEach((frame, at) => {
    h.dataplane.process(h.load(1 + (at % PORTS), frame));
  });
  t.true(frames.length > 0);
  t.true(h.recorder.count > frames.length / 2, 'most are forwarded');
  t.is(check(h), 'ok');
});

test('a million mutated frames with hostile virtio-net headers, while networks and ports come and go', async (t) => {
  t.timeout(120_000);
  const seed = seedOfRun();
  const random = createRandom(seed);
  const frames = await loadCorpus();
  const h = new Harness(PORTS, { fdbCapacity: 5000, ageing: 20 });
  h.recorder.keep = false;
  for (let at = 0; at < MUTATIONS; at++) {
    const frame = mutate(frames[random(frames.length)], random).subarray(0, LONGEST);
    h.dataplane.process(h.load(1 + random(PORTS), frame, randomVnet(random)));
    if (at % 1000 === 0) disturb(h, random);
    if (at % 50_000 === 0) t.is(check(h), 'ok', rerunLine(seed, 'core/corpus/bridge.test.js'));
  }
  t.is(check(h), 'ok', rerunLine(seed, 'core/corpus/bridge.test.js'));
  t.true(h.recorder.count > MUTATIONS / 4);
  const drops = Object.keys(h.rxDrops(1));
  for (const reason of ['runt', 'vnet_header', 'source_multicast']) t.true(drops.includes(reason), reason);
});

function disturb(h: Harness, random: Random): void {
  const port = 1 + random(PORTS);
  h.topology.removePort(port);
  h.topology.addPort(port, 1);
  h.dataplane.now += random(10);
  h.dataplane.fdb.sweep(1000, h.dataplane.now);
}
