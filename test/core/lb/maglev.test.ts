import test from 'ava';
import fc from 'fast-check';
import { hashKey, isPrime, maglevTable } from '../../../core/lb/maglev.js';

const SIZE = 65_537;
const SMALL = 251;

function names(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `web-${from + i}:80`);
}

function equal(keys: readonly string[]): number[] {
  return keys.map(() => 1);
}

/** Entries by backend. */
function shares(table: Uint16Array, backends: number): number[] {
  const counts = new Array<number>(backends).fill(0);
  for (const backend of table) counts[backend]++;
  return counts;
}

/** What changed between two tables over the same keys, in parts of the entries of the backends that are in both. */
function disturbed(
  before: Uint16Array,
  after: Uint16Array,
  isCounted: (before: number, after: number) => boolean,
): number {
  let counted = 0;
  let changed = 0;
  before.forEach((backend, entry) => {
    if (!isCounted(backend, after[entry])) return;
    counted++;
    if (backend !== after[entry]) changed++;
  });
  return changed / counted;
}

/** The paper's pseudocode 1 (3.4), name for name. */
function populate(permutation: readonly (readonly number[])[], m: number): number[] {
  const n = permutation.length;
  const next = new Array<number>(n).fill(0);
  const entry = new Array<number>(m).fill(-1);
  let filled = 0;
  for (;;) {
    for (let i = 0; i < n; i++) {
      let c = permutation[i][next[i]];
      while (entry[c] >= 0) {
        next[i]++;
        c = permutation[i][next[i]];
      }
      entry[c] = i;
      next[i]++;
      filled++;
      if (filled === m) return entry;
    }
  }
}

/** The paper's permutations, its two hashes being ours. */
function permutations(keys: readonly string[], m: number): number[][] {
  return keys.map((key) => {
    const offset = (hashKey(key, 0x0ff5e7) >>> 0) % m;
    const skip = ((hashKey(key, 0x05c1b) >>> 0) % (m - 1)) + 1;
    return Array.from({ length: m }, (_, j) => (offset + j * skip) % m);
  });
}

interface Backend {
  readonly key: string;
  readonly weight: bigint;
  readonly index: number;
  turn: bigint;
}

/** Who is before whom: by the time of the next turn, in whole numbers; then the heavier one, then by name. */
function isBefore(a: Backend, b: Backend): boolean {
  const time = (of: Backend): bigint => (of.turn === 0n ? 0n : 2n * of.turn + 1n);
  const order = time(a) * b.weight - time(b) * a.weight;
  if (order !== 0n) return order < 0n;
  return a.weight !== b.weight ? a.weight > b.weight : a.key < b.key;
}

/** The slow way with weights: looks at all backends for each entry, and at each entry of a permutation from its begin. */
function weighted(size: number, keys: readonly string[], weights: readonly number[]): number[] {
  const orders = permutations(keys, size);
  const all = keys.map((key, index): Backend => ({ key, weight: BigInt(weights[index]), index, turn: 0n }));
  const backends = all.filter(({ weight }) => weight > 0n);
  const table = new Array<number>(backends.length === 0 ? 0 : size).fill(-1);
  for (let left = table.length; left > 0; left--) {
    const first = backends.reduce((best, backend) => (isBefore(backend, best) ? backend : best));
    const entry = orders[first.index].find((place) => table[place] < 0) as number;
    table[entry] = first.index;
    first.turn++;
  }
  return table;
}

const primes = fc.constantFrom(3, 5, 7, 13, 31, 101, SMALL);
const keySet = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 20 });
const weight = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 0xffff }));
const backendSet = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 12 }), weight), {
  selector: ([key]) => key,
  minLength: 1,
  maxLength: 20,
});

test("the slow reference gives the paper's table 1, before and after B1 is removed", (t) => {
  const b0 = [3, 0, 4, 1, 5, 2, 6];
  const b1 = [0, 2, 4, 6, 1, 3, 5];
  const b2 = [3, 4, 5, 6, 0, 1, 2];
  t.deepEqual(populate([b0, b1, b2], 7), [1, 0, 1, 0, 2, 2, 0]);
  t.deepEqual(populate([b0, b2], 7), [0, 0, 0, 0, 1, 1, 1]);
});

test('equal weights give the table of the pseudocode', (t) => {
  fc.assert(
    fc.property(keySet, primes, fc.integer({ min: 1, max: 0xffff }), (keys, size, each) => {
      const sorted = keys.toSorted((a, b) => (a < b ? -1 : 1));
      const table = maglevTable(
        size,
        sorted,
        sorted.map(() => each),
      );
      t.deepEqual([...table], populate(permutations(sorted, size), size));
    }),
  );
});

test('so it does at full size', (t) => {
  const keys = names(100).sort();
  t.deepEqual([...maglevTable(SIZE, keys, equal(keys))], populate(permutations(keys, SIZE), SIZE));
});

test('any weights give the table of the slow reference', (t) => {
  fc.assert(
    fc.property(backendSet, primes, (backends, size) => {
      const keys = backends.map(([key]) => key);
      const weights = backends.map(([, each]) => each);
      t.deepEqual([...maglevTable(size, keys, weights)], weighted(size, keys, weights));
    }),
  );
});

test('the same backends in another order have the same entries', (t) => {
  const shuffled = backendSet.chain((backends) =>
    fc.tuple(
      fc.constant(backends),
      fc.shuffledSubarray(backends, { minLength: backends.length, maxLength: backends.length }),
    ),
  );
  const named = (size: number, backends: [string, number][]): string[] => {
    const keys = backends.map(([key]) => key);
    const weights = backends.map(([, each]) => each);
    return Array.from(maglevTable(size, keys, weights), (backend) => keys[backend]);
  };
  fc.assert(
    fc.property(shuffled, primes, ([backends, other], size) => {
      t.deepEqual(named(size, backends), named(size, other));
    }),
  );
});

test('nothing but names and proportions counts: no state, no scale', (t) => {
  const keys = names(50);
  const weights = keys.map((_, i) => i % 7);
  const table = maglevTable(SIZE, keys, weights);
  t.deepEqual(maglevTable(SIZE, keys, weights), table);
  const thousandfold = weights.map((each) => each * 1000);
  t.deepEqual(maglevTable(SIZE, keys, thousandfold), table);
});

test('a backend without weight is as one that is not there', (t) => {
  const keys = names(10);
  const table = maglevTable(SIZE, keys, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
  t.deepEqual(table, maglevTable(SIZE, keys.slice(0, 5), [1, 1, 1, 1, 1]));
});

test('without a backend, or without a weight, there is no table', (t) => {
  t.is(maglevTable(SIZE, [], []).length, 0);
  t.is(maglevTable(SIZE, names(3), [0, 0, 0]).length, 0);
});

test('shares of equal backends differ by one entry, so by 1 % at a hundred entries each (3.4)', (t) => {
  for (const count of [1, 2, 3, 10, 100, 655, 1000, SIZE - 1]) {
    const each = shares(maglevTable(SIZE, names(count), equal(names(count))), count);
    t.is(Math.min(...each), Math.floor(SIZE / count), `${count} backends`);
    t.is(Math.max(...each), Math.ceil(SIZE / count), `${count} backends`);
  }
});

test('shares follow weights', (t) => {
  const keys = names(4);
  t.deepEqual(shares(maglevTable(SIZE, keys, [1, 2, 3, 4]), 4), [6554, 13_107, 19_661, 26_215]);
});

test('whatever the weights, each backend has an entry, and its share to one entry and one in a hundred', (t) => {
  const weights = fc.array(fc.integer({ min: 1, max: 0xffff }), { minLength: 1, maxLength: 655 });
  fc.assert(
    fc.property(weights, (list) => {
      const total = list.reduce((sum, each) => sum + each, 0);
      const counts = shares(maglevTable(SIZE, names(list.length), list), list.length);
      list.forEach((each, backend) => {
        const due = (SIZE * each) / total;
        const off = Math.abs(counts[backend] - due);
        t.true(counts[backend] > 0 && off <= 1 + due / 100, `${counts[backend]} entries for ${due} due`);
      });
    }),
    { numRuns: 25 },
  );
});

test('a canary beside a thousand times its weight has an entry of the smallest table', (t) => {
  t.deepEqual(shares(maglevTable(SMALL, names(2), [0xffff, 1]), 2), [SMALL - 1, 1]);
});

test('of more backends than entries the heaviest have one', (t) => {
  const keys = names(10);
  const weights = [1, 1, 1, 1, 1, 9, 1, 1, 1, 1];
  const each = shares(maglevTable(7, keys, weights), 10);
  t.is(each[5], 1);
  t.is(Math.max(...each), 1);
});

test('a backend that goes leaves the others all but 1 % of their entries, and those that it leaves are shared evenly', (t) => {
  for (const count of [2, 3, 10, 100, 655]) {
    const keys = names(count);
    const before = maglevTable(SIZE, keys, equal(keys));
    const isGone = Math.floor(count / 2);
    const after = maglevTable(
      SIZE,
      keys,
      keys.map((_, i) => (i === isGone ? 0 : 1)),
    );
    const others = disturbed(before, after, (was) => was !== isGone);
    t.true(others < 0.01, `${count} backends: ${(others * 100).toFixed(2)} % of the others' entries changed`);
    const all = disturbed(before, after, () => true);
    t.true(all >= Math.floor(SIZE / count) / SIZE && all < 1 / count + 0.01);
  }
});

test('a backend that comes takes its share, and moves less than 1 % between the others', (t) => {
  for (const count of [1, 2, 9, 99, 654]) {
    const keys = names(count + 1);
    const before = maglevTable(SIZE, keys.slice(0, count), equal(keys.slice(0, count)));
    const after = maglevTable(SIZE, keys, equal(keys));
    const others = disturbed(before, after, (_, is) => is !== count);
    t.true(others < 0.01, `${count} backends: ${(others * 100).toFixed(2)} % of the others' entries changed`);
  }
});

test('the larger the table, the less changes when many of a thousand backends fail at once (5.3)', (t) => {
  const keys = names(1000);
  const changedOf = (size: number, failed: number): number => {
    const isUp = (backend: number): boolean => backend % (1000 / failed) !== 0;
    const before = maglevTable(size, keys, equal(keys));
    const after = maglevTable(
      size,
      keys,
      keys.map((_, i) => (isUp(i) ? 1 : 0)),
    );
    return disturbed(before, after, isUp);
  };
  for (const failed of [1, 10, 50]) {
    const small = changedOf(SIZE, failed);
    const large = changedOf(655_373, failed);
    t.true(small < 0.04 && large < 0.01 && large < small, `${failed} failed: ${small} and ${large} changed`);
  }
});

test('a weight that changes moves what it gains or loses, and little else, also where it is the largest', (t) => {
  const keys = names(10);
  const before = maglevTable(SIZE, keys, equal(keys));
  for (const changed of [2, 10, 100]) {
    const after = maglevTable(
      SIZE,
      keys,
      keys.map((_, i) => (i === 4 ? changed : 1)),
    );
    const others = disturbed(before, after, (was, is) => was !== 4 && is !== 4);
    t.true(others < 0.03, `weight ${changed}: ${(others * 100).toFixed(2)} % of the others' entries changed`);
    t.true(before.every((was, entry) => was !== 4 || after[entry] === 4));
  }
});

test('all that is no table is refused, with what is wrong', (t) => {
  const message = (size: number, keys: string[], weights: number[]): string =>
    t.throws(() => maglevTable(size, keys, weights), { instanceOf: RangeError })?.message ?? '';
  for (const size of [0, 1, 2, 4, 65_536, 7.5, -7, Number.NaN, 1_048_583])
    t.is(message(size, ['a'], [1]), `Maglev table: size ${size} is not an odd prime below 1048576`);
  t.is(message(7, ['a', 'b'], [1]), 'Maglev table: 2 backends, but 1 weights');
  for (const wrong of [-1, 1.5, 65_536, Number.NaN, Number.POSITIVE_INFINITY])
    t.is(message(7, ['a', 'b:80'], [1, wrong]), `Maglev table: weight ${wrong} of b:80 is not 0 to 65535`);
  const many = names(65_537);
  t.is(message(7, many, equal(many)), 'Maglev table: 65537 backends are more than 65536');
});

test('primes are those of the sieve', (t) => {
  const isComposite = new Uint8Array(10_000);
  for (let number = 2; number < isComposite.length; number++) {
    t.is(isPrime(number), isComposite[number] === 0, `${number}`);
    for (let multiple = number * 2; multiple < isComposite.length; multiple += number) isComposite[multiple] = 1;
  }
  for (const other of [-3, 0, 1, 2.5, Number.NaN, Number.POSITIVE_INFINITY]) t.false(isPrime(other));
});

test('hashes of names: FNV-1a as published, and finished as MurmurHash3 does it', (t) => {
  const unfinished = (h: number): number => {
    // The finaliser is a permutation: this is the way back.
    h = Math.imul(h ^ (h >>> 16), 0x7ed1b41d);
    h = Math.imul(h ^ (h >>> 13) ^ (h >>> 26), 0xa5cb9243 | 0);
    return (h ^ (h >>> 16)) >>> 0;
  };
  // Of the test vectors of RFC 9923.
  t.is(unfinished(hashKey('')), 0x811c9dc5);
  t.is(unfinished(hashKey('a')), 0xe40c292c);
  t.is(unfinished(hashKey('foobar')), 0xbf9cf968);
});

test('hashes of names that differ little are spread as chance would have it', (t) => {
  const buckets = new Array<number>(64).fill(0);
  for (const name of names(64_000)) buckets[(hashKey(name) >>> 0) % 64]++;
  const chi = buckets.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  // 63 degrees of freedom: one in a thousand draws is above 103.4; the names are always the same.
  t.true(chi < 103.4, `χ² is ${chi}`);
  t.not(hashKey('web', 1), hashKey('web', 2));
});
