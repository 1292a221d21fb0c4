import test from 'ava';
import fc from 'fast-check';
import { type Domain, Network, Port } from '../../../core/ports.js';
import {
  Fdb,
  fdbWords,
  GENERATION_WORDS,
  LEARN_BOUND,
  LEARN_FULL,
  LEARN_KNOWN,
  LEARN_MOVED,
  LEARN_NEW,
  LEARNED_RECORD,
  learnedEntries,
} from '../../../core/switch/fdb.js';
import { HashTable } from '../../../core/tables/hash.js';

const PORTS = 4;

function make(capacity = 64, limit = capacity, ageing = 300) {
  const networks: (Domain | null)[] = [
    null,
    new Network(1, ageing, limit).domain,
    new Network(2, ageing, limit).domain,
  ];
  const ports = Array.from({ length: PORTS + 1 }, (_, id) => new Port(id));
  const table = new HashTable(new Int32Array(fdbWords(capacity)), capacity, 99);
  const generations = new Int32Array(GENERATION_WORDS);
  const fdb = new Fdb(table, generations, ports, networks);
  return { fdb, generations, networks, ports, table, blue: networks[1] as Domain, green: networks[2] as Domain };
}

/** Ports that ask a table again and again: what they remember must never differ from what is there. */
const askers = new WeakMap<Fdb, Port>();

function look(fdb: Fdb, network: number, mac: number): number {
  const from = askers.get(fdb) ?? new Port(1);
  askers.set(fdb, from);
  const found = fdb.search((network << 16) | 0x0200, mac);
  for (let again = 0; again < 2; again++) if (fdb.lookup(from, network, 0x0200, mac) !== found) return -1;
  return found;
}

test('learns, refreshes, moves', (t) => {
  const { fdb, ports, blue } = make();
  t.is(look(fdb, 1, 5), 0);
  t.is(fdb.learn(blue, 0x0200, 5, ports[1], 10), LEARN_NEW);
  t.is(fdb.learn(blue, 0x0200, 5, ports[1], 11), LEARN_KNOWN);
  t.is(look(fdb, 1, 5), 1);
  t.is(fdb.learn(blue, 0x0200, 5, ports[2], 12), LEARN_MOVED);
  t.is(look(fdb, 1, 5), 2);
  t.is(fdb.moveCount, 1);
});

test('the same MAC in two networks is two entries', (t) => {
  const { fdb, ports, blue, green } = make();
  fdb.learn(blue, 0x0200, 5, ports[1], 10);
  fdb.learn(green, 0x0200, 5, ports[2], 10);
  t.is(look(fdb, 1, 5), 1);
  t.is(look(fdb, 2, 5), 2);
});

test('an entry is forgotten at its network’s age, a refreshed one is not', (t) => {
  const { fdb, ports, blue, table } = make(64, 64, 30);
  fdb.learn(blue, 0x0200, 1, ports[1], 100);
  fdb.learn(blue, 0x0200, 2, ports[1], 100);
  fdb.learn(blue, 0x0200, 2, ports[1], 129);
  fdb.sweep(table.places, 129);
  t.is(table.count, 2);
  fdb.sweep(table.places, 130);
  t.is(table.count, 1);
  t.is(blue.network.fdbCount, 1);
  t.is(look(fdb, 1, 1), 0);
  t.is(look(fdb, 1, 2), 1);
});

test('a removed port’s entries are void at once, and their MACs may be learned again', (t) => {
  const { fdb, ports, blue, table } = make();
  fdb.learn(blue, 0x0200, 1, ports[1], 100);
  fdb.learn(blue, 0x0200, 2, ports[1], 100);
  fdb.flushPort(ports[1]);
  t.is(look(fdb, 1, 1), 0);
  t.is(fdb.learn(blue, 0x0200, 1, ports[2], 100), LEARN_NEW);
  t.is(fdb.moveCount, 0);
  fdb.sweep(table.places, 100);
  t.is(table.count, 1);
  t.is(look(fdb, 1, 1), 2);
});

test('a full table and a full network stop learning and count it', (t) => {
  const { fdb, ports, blue, green } = make(8, 3);
  for (let i = 0; i < 3; i++) t.is(fdb.learn(blue, 0x0200, i, ports[1], 1), LEARN_NEW);
  t.is(fdb.learn(blue, 0x0200, 3, ports[1], 1), LEARN_FULL);
  t.is(fdb.learn(green, 0x0200, 3, ports[1], 1), LEARN_NEW);
  t.is(fdb.fullCount, 1);
  const small = make(4, 100);
  for (let i = 0; i < 4; i++) small.fdb.learn(small.blue, 0x0200, i, small.ports[1], 1);
  t.is(small.fdb.learn(small.blue, 0x0200, 9, small.ports[1], 1), LEARN_FULL);
  t.is(small.fdb.learn(small.blue, 0x0200, 2, small.ports[2], 1), LEARN_MOVED, 'what is there still moves');
});

test('a static entry neither ages nor moves', (t) => {
  const { fdb, ports, blue, table } = make(64, 64, 10);
  t.true(fdb.setStatic(blue, 0x0200, 1, ports[3]));
  t.is(fdb.learn(blue, 0x0200, 1, ports[1], 5), LEARN_BOUND);
  fdb.sweep(table.places, 1_000_000);
  t.is(look(fdb, 1, 1), 3);
});

test('a removed network takes its entries along', (t) => {
  const { fdb, ports, blue, green, table } = make();
  for (let i = 0; i < 20; i++) fdb.learn(blue, 0x0200, i, ports[1], 1);
  for (let i = 0; i < 10; i++) fdb.learn(green, 0x0200, i, ports[1], 1);
  fdb.forgetDomains(new Set([blue.fid]));
  t.is(table.count, 10);
  t.is(blue.network.fdbCount, 0);
  fdb.recount();
  t.is(green.network.fdbCount, 10);
});

type Step = { op: 'learn' | 'wait' | 'sweep' | 'unplug'; network: 1 | 2; mac: number; port: number; seconds: number };
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom(
    'learn' as const,
    'learn' as const,
    'learn' as const,
    'wait' as const,
    'sweep' as const,
    'unplug' as const,
  ),
  network: fc.constantFrom(1 as const, 2 as const),
  mac: fc.integer({ min: 0, max: 20 }),
  port: fc.integer({ min: 1, max: PORTS }),
  seconds: fc.integer({ min: 0, max: 200 }),
});

test('agrees with a plain Map of (network, MAC) → port over any history', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const { fdb, ports, networks, table } = make();
      const model = new Map<string, { port: number; seen: number }>();
      let now = 1;
      for (const { op, network, mac, port, seconds } of steps) {
        if (op === 'learn') {
          fdb.learn(networks[network] as Domain, 0x0200, mac, ports[port], now);
          model.set(`${network}/${mac}`, { port, seen: now });
        } else if (op === 'unplug') {
          fdb.endPort(ports[port]);
          for (const [name, entry] of model) if (entry.port === port) model.delete(name);
        } else {
          if (op === 'wait') now += seconds;
          fdb.sweep(table.places, now);
          for (const [name, entry] of model) if (now - entry.seen >= 300) model.delete(name);
        }
        for (let n = 1; n <= 2; n++) {
          for (let m = 0; m <= 20; m++) {
            if (look(fdb, n, m) !== (model.get(`${n}/${m}`)?.port ?? 0)) return false;
          }
        }
      }
      fdb.sweep(table.places, now);
      return (
        table.count === model.size &&
        networks[1]?.network.fdbCount === [...model.keys()].filter((name) => name.startsWith('1/')).length
      );
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('what was learned is learned anew, port by port, in another table', (t) => {
  const before = make();
  before.fdb.learn(before.blue, 0x0200, 1, before.ports[1], 100);
  before.fdb.learn(before.blue, 0x0200, 2, before.ports[2], 101);
  before.fdb.learn(before.green, 0x0200, 3, before.ports[2], 102);
  before.fdb.learn(before.blue, 0x0200, 4, before.ports[3], 103);
  before.fdb.flushPort(before.ports[3]);
  before.fdb.setStatic(before.blue, 0x0200, 9, before.ports[1]);
  const left = learnedEntries(before.table, before.generations, 110);
  t.is(left.length, 3 * LEARNED_RECORD, 'neither what was flushed nor what is static');

  const after = make();
  after.ports[1].network = 1;
  after.ports[2].network = 1;
  after.fdb.inherit(after.ports[1], left);
  t.is(look(after.fdb, 1, 1), 1);
  t.is(look(after.fdb, 1, 2), 0, 'its port has yet to come');
  after.fdb.inherit(after.ports[2], left);
  t.is(look(after.fdb, 1, 2), 2);
  t.is(look(after.fdb, 2, 3), 0, 'the port is in that network no more');
  t.is(after.blue.network.fdbCount, 2);
  after.fdb.sweep(after.table.places, 100 + 300);
  t.is(look(after.fdb, 1, 1), 0, 'it is as old as it was');
  t.is(look(after.fdb, 1, 2), 2);
});

test('a table that was left at any instant, or is nonsense, gives entries that can be, or none', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 515 }), fc.integer()), { maxLength: 60 }), (torn) => {
      const { fdb, table, generations, ports, blue } = make();
      for (let mac = 1; mac < 20; mac++) fdb.learn(blue, 0x0200, mac, ports[1 + (mac % PORTS)], 100);
      for (const [at, word] of torn) if (at >= 4 && at < table.words.length) table.words[at] = word;
      const left = learnedEntries(table, generations, 200);
      const after = make();
      for (const port of after.ports.slice(1)) {
        port.network = 1;
        after.fdb.inherit(port, left);
      }
      return after.blue.network.fdbCount === after.table.count && after.table.count <= 64;
    }),
  );
  t.pass();
});
