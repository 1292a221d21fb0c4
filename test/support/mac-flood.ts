/**
 * Floods a dataplane from one port while two others talk, and prints what came of it as JSON. A process of its own, since it
 * measures the heap; needs --expose-gc. The argument is a mode's number.
 */

import { PortSecurity, SECURITY_STRICT } from '../../core/switch/port-security.js';
import type { PortOptions } from '../../core/topology.js';
import { BROADCAST, frame, Harness, numberedMac } from './harness.js';

const FRAMES = 1_000_000;
/** The others say something every so many frames. */
const EVERY = 100;
const LIMIT = 3000;
const HIGH = 0x0200;
const FLOODER = 3;

const strict = (): PortOptions => ({
  security: new PortSecurity(SECURITY_STRICT, HIGH, FLOODER, 1, new Int32Array(0), new Int32Array(0)),
  macs: [[HIGH, FLOODER]],
});

const MODES: readonly { readonly port: PortOptions; readonly dropWhenFull?: boolean }[] = [
  { port: { macLimit: 1024 } },
  { port: {} },
  { port: {}, dropWhenFull: true },
  { port: strict() },
];

function makeFlood(mode: number) {
  const { port, dropWhenFull = false } = MODES[mode];
  const h = new Harness(0, { fdbCapacity: 4096 });
  h.topology.addNetwork(1, 300, LIMIT, { dropWhenFull });
  h.addPorts({}, {}, port, {}, { macs: [[HIGH, 5]] });
  for (const talker of [1, 2, 4]) h.receive(talker, frame(BROADCAST, numberedMac(talker)));
  h.recorder.keep = false;
  return h;
}

/** All different, in no order, and none of those who talk. */
const numbers = new Int32Array(FRAMES);
for (let i = 0; i < FRAMES; i++) numbers[i] = Math.imul(i, 0x9e3779b1);

const h = makeFlood(Number(process.argv[2]));
const slot = h.load(FLOODER, frame(BROADCAST, numberedMac(FLOODER)));
const talk = [h.load(1, frame(numberedMac(2), numberedMac(1))), h.load(2, frame(numberedMac(1), numberedMac(2)))];
const { arena, dataplane } = h;
/** Last four octets of the source; the first two tell it from those who talk. */
const at = arena.packets[slot].start + 8;
arena.view.setUint16(at - 2, 0x0206);
let astray = 0;
let peak = 0;

function flood(from: number, to: number): void {
  for (let i = from; i < to; i++) {
    arena.view.setInt32(at, numbers[i]);
    arena.retain(slot, 1);
    dataplane.process(slot);
    if (i % EVERY !== 0) continue;
    peak = Math.max(peak, dataplane.fdb.table.count);
    for (const each of talk) {
      const before = h.recorder.count;
      arena.retain(each, 1);
      dataplane.process(each);
      if (h.recorder.count !== before + 1) astray++;
    }
  }
}

// The first part warms up what is measured in the second.
flood(0, FRAMES / 2);
globalThis.gc?.();
const before = process.memoryUsage().heapUsed;
flood(FRAMES / 2, FRAMES);
const heap = process.memoryUsage().heapUsed - before;

for (const each of [slot, ...talk]) arena.release(each);
process.stdout.write(
  JSON.stringify({
    heap,
    entries: dataplane.fdb.table.count,
    peak,
    flooded: FRAMES - Object.values(h.rxDrops(FLOODER)).reduce((a, b) => a + b, 0),
    astray: astray + h.counter(1, 4) + h.counter(2, 4) - 6,
    events: dataplane.events.count,
    whole: h.isWhole,
    drops: h.rxDrops(FLOODER),
  }),
);
