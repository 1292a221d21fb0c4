/**
 * The lookup table of Maglev hashing: D. E. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4.
 * Each backend has a permutation of the table's entries that follows from its name alone; backends take turns, and each takes the next
 * entry of its permutation that is free. Shares are as even as entries can be divided, and few entries change hands when backends
 * come and go, also between nodes that know nothing of each other.
 *
 * Made by the control plane, whenever backends or weights change; so it may sort, and allocate.
 *
 * Two things are ours. Backends have their turns in the order of their names, not of their places, so that an order that somebody
 * changed in a file moves nothing. And weights, of which the paper says no more than that turns may follow them: a backend has its turn
 * number k (from 0) at the time (2k + 1) / weight, as Webster and Sainte-Laguë give seats, which rounds shares to the nearest entry.
 * When a backend has its turns does not depend on any other, hence the others keep their order when a weight changes, were it the
 * largest. Only the first turn is everybody's at time 0, or a canary beside a thousand times its weight might have no entry.
 */

/** What entries can name: a Uint16 each. */
const MAX_KEYS = 1 << 16;
/** Up to these, times of turns are told apart exactly (see `take`). */
const MAX_WEIGHT = 0xffff;
const MAX_SIZE = 1 << 20;

/** Any two numbers: they make two hashes out of one. */
const OFFSET_SEED = 0x0ff5e7;
const SKIP_SEED = 0x05c1b;

/**
 * The table of a service.
 *
 * @param size entries: a prime, best a hundred times the number of backends or more, which keeps shares within 1 % (3.4)
 * @param keys names of the backends; what a table says depends on these, not on their order
 * @param weights 0 to 65535, one for each; 0: no entry
 * @returns `size` places in `keys`; empty where no backend has a weight. Where backends are more than entries, some have none.
 * @throws RangeError where arguments are not as described
 */
export function maglevTable(size: number, keys: readonly string[], weights: readonly number[]): Uint16Array {
  refuseInvalid(size, keys, weights);
  const turns = new Turns(keys, weights);
  if (turns.areNone) return new Uint16Array(0);
  const next = Int32Array.from(keys, (key) => (hashKey(key, OFFSET_SEED) >>> 0) % size);
  const skips = Int32Array.from(keys, (key) => ((hashKey(key, SKIP_SEED) >>> 0) % (size - 1)) + 1);
  const table = new Uint16Array(size);
  const isTaken = new Uint8Array(size);
  for (let left = size; left > 0; ) {
    const group = turns.take();
    // By index: an iterator makes the first table of a process, which V8 has not compiled yet, take half as long again.
    for (let i = 0; i < group.length && left > 0; i++, left--) {
      const backend = group[i];
      const skip = skips[backend];
      let entry = next[backend];
      while (isTaken[entry] !== 0) {
        entry += skip;
        if (entry >= size) entry -= size;
      }
      isTaken[entry] = 1;
      table[entry] = backend;
      // Its own, and so the next turn begins by leaving it.
      next[backend] = entry;
    }
  }
  return table;
}

/**
 * Hash of a name: FNV-1a (RFC 9923) over its UTF-16 code units, then the finaliser of MurmurHash3, since FNV alone leaves names that
 * differ in their last character close together. The same in every process and on every node; not meant to withstand somebody who
 * chooses names.
 *
 * @param seed any int32: another one makes another hash
 * @returns int32
 */
export function hashKey(key: string, seed = 0): number {
  let h = (0x811c9dc5 ^ seed) | 0;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b | 0);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35 | 0);
  return h ^ (h >>> 16);
}

/** Backends of one weight, which are always due at the same time, and when that is: a binary heap of them, the next one on top. */
class Turns {
  /** Places of backends by group, in the order of their names; heavy groups first. */
  private readonly groups: readonly Int32Array[];
  /** By group. */
  private readonly weights: Float64Array;
  private readonly due: Float64Array;
  private readonly turn: Int32Array;
  /** Numbers of groups. */
  private readonly heap: Int32Array;

  constructor(keys: readonly string[], weights: readonly number[]) {
    const byWeight = new Map<number, number[]>();
    for (const backend of byName(keys)) {
      const weight = weights[backend];
      const group = byWeight.get(weight);
      if (group !== undefined) group.push(backend);
      else if (weight > 0) byWeight.set(weight, [backend]);
    }
    const groups = [...byWeight].sort(([a], [b]) => b - a);
    this.groups = groups.map(([, backends]) => Int32Array.from(backends));
    this.weights = Float64Array.from(groups, ([weight]) => weight);
    this.due = new Float64Array(groups.length);
    this.turn = new Int32Array(groups.length);
    // A heap as it is: all are due at 0, and then numbers decide.
    this.heap = Int32Array.from(groups.keys());
  }

  get areNone(): boolean {
    return this.groups.length === 0;
  }

  /** The backends whose turn it is; their group goes on to its next. There must be one. */
  take(): Int32Array {
    const group = this.heap[0];
    // Exact enough: two times that differ do so by at least 2^-37 of them, and equal ones are rounded alike.
    this.due[group] = (2 * ++this.turn[group] + 1) / this.weights[group];
    this.sink(group);
    return this.groups[group];
  }

  /** Puts the group on top where it belongs: those that are due before it move up. */
  private sink(group: number): void {
    const { heap } = this;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.isBefore(heap[child + 1], heap[child])) child++;
      if (!this.isBefore(heap[child], group)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = group;
  }

  private isBefore(a: number, b: number): boolean {
    const { due } = this;
    return due[a] < due[b] || (due[a] === due[b] && a < b);
  }
}

/** Places of all keys, in the order of their code units, which no language setting changes. */
function byName(keys: readonly string[]): Int32Array {
  return Int32Array.from(keys.keys()).sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
}

/** Numbers that would leave holes in the table, or never fill it. */
function refuseInvalid(size: number, keys: readonly string[], weights: readonly number[]): void {
  if (!isPrime(size) || size === 2 || size > MAX_SIZE)
    throw new RangeError(`Maglev table: size ${size} is not an odd prime below ${MAX_SIZE}`);
  if (keys.length > MAX_KEYS) throw new RangeError(`Maglev table: ${keys.length} backends are more than ${MAX_KEYS}`);
  if (weights.length !== keys.length)
    throw new RangeError(`Maglev table: ${keys.length} backends, but ${weights.length} weights`);
  const wrong = weights.findIndex((weight) => !(Number.isInteger(weight) && weight >= 0 && weight <= MAX_WEIGHT));
  if (wrong >= 0)
    throw new RangeError(`Maglev table: weight ${weights[wrong]} of ${keys[wrong]} is not 0 to ${MAX_WEIGHT}`);
}

/** By trial: a thousand divisions for the largest table. */
export function isPrime(number: number): boolean {
  if (!Number.isInteger(number) || number < 2) return false;
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false;
  return true;
}
