/** One port speaks from a million MACs: what the others notice of it. Heap is measured by a process of its own. */

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';

/** What test/support/mac-flood.ts prints. */
interface Outcome {
  readonly heap: number;
  readonly entries: number;
  readonly peak: number;
  readonly flooded: number;
  readonly astray: number;
  readonly events: number;
  readonly whole: boolean;
  readonly drops: Record<string, number>;
}

/** Bytes that compiling and measuring may cost; one allocated number a frame would be 8 MB in the half that is measured. */
const TOLERANCE = 1_000_000;

const MODES = {
  'security off, with a limit': { drops: {}, peak: 4 + 1024, forwarded: 1_000_000 },
  'security off, no limit but the network’s': { drops: {}, peak: 3000, forwarded: 1_000_000 },
  'security off, a network that drops what it cannot learn': {
    drops: { fdb_full: 1_000_000 - (3000 - 4) },
    peak: 3000,
    forwarded: 3000 - 4,
  },
  'security strict': { drops: { source_mac: 1_000_000 }, peak: 5, forwarded: 0 },
} as const;

Object.entries(MODES).forEach(([name, expected], mode) => {
  test(`1,000,000 random source MACs from one port, ${name}`, (t) => {
    t.timeout(60_000);
    const script = fileURLToPath(new URL('../../support/mac-flood.js', import.meta.url));
    const text = execFileSync(process.execPath, ['--expose-gc', '--max-semi-space-size=64', script, String(mode)], {
      encoding: 'utf8',
    });
    const outcome = JSON.parse(text) as Outcome;
    t.is(outcome.astray, 0, 'the others’ conversations stay unicast, and whole');
    t.is(outcome.peak, expected.peak);
    t.is(outcome.entries, expected.peak);
    t.deepEqual(outcome.drops, expected.drops);
    t.is(outcome.flooded, expected.forwarded, 'frames that went to others');
    t.true(outcome.heap <= TOLERANCE, `heap grew by ${outcome.heap} bytes`);
    t.true(outcome.events <= 1);
    t.true(outcome.whole);
  });
});
