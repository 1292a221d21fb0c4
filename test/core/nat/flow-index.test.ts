import test from 'ava';
import fc from 'fast-check';
import {
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_SOURCE,
  FLOW_WORDS,
  kindOf,
} from '../../../core/nat/flow.js';
import { FlowIndex, flowIndexBytes } from '../../../core/nat/flow-index.js';

const KIND = kindOf(0, 17, false);
const FLOWS = 64;

function makePlaces(flows: number): Int32Array {
  return new Int32Array(flowIndexBytes(flows) / 4);
}

/** Flows 0 to FLOWS - 1, all different. */
function entries(): Int32Array {
  const words = new Int32Array(FLOWS * FLOW_WORDS);
  for (let flow = 0; flow < FLOWS; flow++) {
    const at = flow * FLOW_WORDS;
    words[at + FLOW_SOURCE] = flow;
    words[at + FLOW_DESTINATION] = -1;
    words[at + FLOW_PORTS] = 5;
    words[at + FLOW_REPLY_DESTINATION] = flow;
    words[at + FLOW_KIND] = KIND;
  }
  return words;
}

function isFound(index: FlowIndex, flow: number): boolean {
  const original = index.find4(KIND, flow, -1, 5);
  const reply = index.find4(KIND, 0, flow, 0);
  if (original >= 0 !== reply >= 0) throw new Error(`flow ${flow}: found by one tuple alone`);
  if (original >= 0 && (original !== flow * 2 || reply !== flow * 2 + 1)) throw new Error(`flow ${flow}: ${original}`);
  return original >= 0;
}

test('runs longer than a place can tell, at the end of the index and over it: nothing is lost, nothing is left', (t) => {
  const homes = fc.array(fc.constantFrom(0, 1 << 24, 254 << 24, 255 << 24), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(homes, fc.array(fc.nat({ max: FLOWS - 1 }), { maxLength: 300, size: 'max' }), (bad, toggles) => {
      const index = new FlowIndex(entries(), new Int32Array(FLOWS * 16), FLOWS, 1, makePlaces(FLOWS));
      // A hash that nobody would choose: a few homes for all, tags that say little.
      const hash4 = (_kind: number, source: number, destination: number): number =>
        bad[(source + destination) % bad.length] | (source & 1);
      Object.assign(index, { hash4: (...tuple: [number, number, number]) => hash4(...tuple) });
      const model = new Set<number>();
      for (const flow of toggles) {
        if (model.delete(flow)) index.remove(flow);
        else {
          if (!index.add(flow)) throw new Error(`flow ${flow}: refused`);
          model.add(flow);
        }
        for (let each = 0; each < FLOWS; each++)
          if (isFound(index, each) !== model.has(each)) throw new Error(`${each}`);
      }
      for (const flow of model) index.remove(flow);
      const { places } = index as unknown as { places: Int32Array };
      if (places.some((word) => word !== 0)) throw new Error('places are left');
    }),
    { numRuns: 30 },
  );
  t.pass();
});

test('tuples that differ in a few bits spread well, whatever the seed', (t) => {
  const flows = 1 << 14;
  for (const seed of [0, 1, -1, 0x12345678]) {
    const words = new Int32Array(flows * FLOW_WORDS);
    const index = new FlowIndex(words, new Int32Array(0), flows, seed, makePlaces(flows));
    for (let flow = 0; flow < flows; flow++) {
      const at = flow * FLOW_WORDS;
      // 64 hosts of a network, 256 ports each, to one server, masqueraded to ports in a row.
      words.set([0xac1e0000 | (flow & 63), 0x01010101, ((32768 + (flow >> 6)) << 16) | 443], at);
      words.set([0x01010101, 0x0a4d0001, (443 << 16) | (1024 + flow), KIND], at + 3);
      index.add(flow);
    }
    const { places } = index as unknown as { places: Int32Array };
    let run = 0;
    let longest = 0;
    for (const word of places) {
      run = word === 0 ? 0 : run + 1;
      longest = Math.max(longest, run);
    }
    // Random keys make runs of 60 or so in a half full table of this size.
    t.true(longest < 200, `seed ${seed}: ${longest}`);
  }
});
