import test from 'ava';
import fc from 'fast-check';
import {
  bridgedKind,
  FLOW_EXPIRES,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_OWNER,
  FLOW_PATH,
  FLOW_REPLIED,
  FLOW_REPLY_DESTINATION,
  FLOW_REST_WORDS,
  FLOW_RULE,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  kindOf,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_ICMP_UNREPLIED,
  STATE_MASK,
  STATE_RESET,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../../../core/nat/flow.js';
import {
  CLASS_CLOSING,
  CLASS_EMBRYONIC,
  CLASS_ESTABLISHED,
  classOf,
  DEFAULT_TIMEOUTS,
  FlowTable,
  flowTableBytes,
  LONGEST_TIMEOUT,
} from '../../../core/nat/flow-table.js';
import {
  add,
  fill,
  find,
  inconsistencies,
  makeTable,
  memoryFor,
  type Spec,
  specOf,
  type Tuple,
} from './flow-table-lab.js';

const TCP4 = kindOf(0, 6, false);
const TCP6 = kindOf(3, 6, true);

/** A TCP flow of a masqueraded host. @param port of the client */
function masqueraded(port: number, external = port): Spec {
  const server = 0x01020304;
  return {
    kind: TCP4,
    original: { source: [0xac1e0002 | 0], destination: [server], ports: (port << 16) | 443 },
    reply: { source: [server], destination: [0x0a4d0001], ports: (443 << 16) | external },
  };
}

function plain6(port: number): Spec {
  const source = [0xfd000030 | 0, 0, 0, port];
  const destination = [0x20010db8, -1, 0, 1];
  return {
    kind: TCP6,
    original: { source, destination, ports: (port << 16) | 80 },
    reply: { source: destination, destination: source, ports: (80 << 16) | port },
  };
}

test('a flow is found by both of its tuples, and by no other zone, protocol, family or bridge', (t) => {
  const table = makeTable(8);
  const four = add(table, masqueraded(1000, 50_000), STATE_SYN_SENT);
  const six = add(table, plain6(1000), STATE_SYN_SENT);
  t.is(find(table, TCP4, masqueraded(1000, 50_000).original), four * 2);
  t.is(find(table, TCP4, masqueraded(1000, 50_000).reply), four * 2 + 1);
  t.is(find(table, TCP6, plain6(1000).original), six * 2);
  t.is(find(table, TCP6, plain6(1000).reply), six * 2 + 1);
  const { original } = masqueraded(1000);
  for (const kind of [kindOf(1, 6, false), kindOf(0, 17, false), bridgedKind(0, 6, false)]) {
    t.is(find(table, kind, original), -1);
  }
  t.is(find(table, kindOf(0, 6, true), { ...original, source: [0, 0, 0, 1], destination: [0, 0, 0, 2] }), -1);
  t.is(find(table, TCP4, masqueraded(1000).reply), -1);
  t.deepEqual(inconsistencies(table), []);
});

test('a tuple that is taken, by either direction of another flow, makes no flow and costs no entry', (t) => {
  const table = makeTable(2);
  add(table, masqueraded(1000, 50_000), STATE_ESTABLISHED);
  t.is(add(table, masqueraded(1000, 50_001), STATE_SYN_SENT), -1, 'the original tuple');
  t.is(add(table, masqueraded(1001, 50_000), STATE_SYN_SENT), -1, 'the reply tuple');
  const { original, reply, kind } = masqueraded(1000, 50_000);
  t.is(add(table, { kind, original: reply, reply: original }, STATE_SYN_SENT), -1, 'both, the other way round');
  t.is(table.count, 1);
  t.deepEqual(inconsistencies(table), []);
  t.not(add(table, masqueraded(1001, 50_001), STATE_SYN_SENT), -1);
  t.is(table.evicted, 0);
});

test('a flow whose tuples are the same, of who talks to its own mapping, is found once and leaves nothing behind', (t) => {
  const table = makeTable(4);
  const same = { source: [0xac1e0002 | 0], destination: [0x0a4d0001], ports: (1000 << 16) | 50_000 };
  const spec = { kind: TCP4, original: same, reply: same };
  const flow = add(table, spec, STATE_SYN_SENT);
  t.is(find(table, TCP4, same), flow * 2);
  t.is(add(table, spec, STATE_SYN_SENT), -1, 'once more');
  t.deepEqual(inconsistencies(table), []);
  table.remove(flow);
  t.is(find(table, TCP4, same), -1);
  t.deepEqual(inconsistencies(table), []);
});

test('an aborted entry is no flow and is given out again', (t) => {
  const table = makeTable(1);
  const flow = table.begin();
  fill(table, flow, masqueraded(1));
  table.abort(flow);
  t.is(find(table, TCP4, masqueraded(1).original), -1);
  t.is(table.begin(), flow);
});

test('what the last flow of an entry knew is not there for the next one', (t) => {
  const table = makeTable(1);
  const flow = add(table, masqueraded(1), STATE_ESTABLISHED);
  table.words.fill(0x55, table.at(flow) + FLOW_PATH, table.at(flow) + FLOW_WORDS);
  table.words[table.restAt(flow) + FLOW_RULE] = 0x55;
  table.remove(flow);
  const next = table.begin();
  t.true(table.words.subarray(table.at(next) + FLOW_PATH, table.at(next) + FLOW_WORDS).every((word) => word === 0));
  t.is(table.words[table.restAt(next) + FLOW_RULE], 0);
});

test('onRemove is told of every end while the words still stand', (t) => {
  const table = makeTable(2);
  const ended: string[] = [];
  table.onRemove = {
    flowEnds: (flow) => {
      t.is(find(table, TCP4, specOf(table, flow).original), flow * 2);
      ended.push(`${specOf(table, flow).original.ports >>> 16}`);
    },
  };
  table.remove(add(table, masqueraded(1), STATE_ESTABLISHED));
  add(table, masqueraded(2), STATE_ESTABLISHED, 4);
  table.removeOwner(4);
  add(table, masqueraded(3), STATE_SYN_SENT);
  table.now += 240;
  table.tick(10);
  add(table, masqueraded(4), STATE_SYN_SENT);
  add(table, masqueraded(5), STATE_SYN_SENT);
  add(table, masqueraded(6), STATE_SYN_SENT);
  table.removeWhere({ matches: (_words, _addresses6, flow) => specOf(table, flow).original.ports >>> 16 === 6 });
  t.deepEqual(ended, ['1', '2', '3', '4', '6']);
});

// ---- Age

test('a flow ends in the second that its state says, and not before; a refresh puts it off', (t) => {
  const table = makeTable(4);
  const flow = add(table, masqueraded(1), STATE_UDP_STREAM);
  const other = add(table, masqueraded(2), STATE_ICMP_UNREPLIED);
  table.now = 1059;
  t.false(table.tick(10));
  t.is(table.count, 2);
  table.refresh(flow);
  table.now = 1060;
  table.tick(10);
  t.is(find(table, TCP4, masqueraded(2).original), -1, `flow ${other} has ended`);
  table.now = 1358;
  table.tick(10);
  t.is(table.count, 1);
  table.now = 1359;
  table.tick(10);
  t.is(table.count, 0);
  t.is(table.expired, 2);
});

test('an established connection that is idle for 900 s and more lives on, until its day is over', (t) => {
  const table = makeTable(4);
  const flow = add(table, masqueraded(1), STATE_SYN_SENT);
  table.setState(flow, FLOW_LIVE | FLOW_REPLIED | STATE_ESTABLISHED);
  for (const idle of [239, 901, 7441, 8192, 50_000, 86_399]) {
    table.now = 1000 + idle;
    t.false(table.tick(10));
    t.is(find(table, TCP4, masqueraded(1).original), flow * 2, `${idle} s`);
  }
  table.now = 1000 + 86_400;
  table.tick(10);
  t.is(table.count, 0);
});

test('another state begins its own timeout, sooner or later than the old one; flags alone change none', (t) => {
  const table = makeTable(4);
  const flow = add(table, masqueraded(1), STATE_ESTABLISHED);
  table.now = 1010;
  table.setState(flow, FLOW_LIVE | FLOW_REPLIED | STATE_ESTABLISHED);
  t.is(table.words[table.at(flow) + FLOW_EXPIRES], 1000 + 86_400);
  table.setState(flow, FLOW_LIVE | STATE_FIN);
  t.is(table.words[table.at(flow) + FLOW_EXPIRES], 1010 + 240);
  t.is(table.classCount(CLASS_ESTABLISHED), 1);
  table.now = 1020;
  table.setState(flow, FLOW_LIVE | STATE_CLOSING);
  t.is(table.classCount(CLASS_CLOSING), 1);
  table.now = 1259;
  table.tick(10);
  t.is(table.count, 1);
  table.now = 1260;
  table.tick(10);
  t.is(table.count, 0);
});

test('a timeout that is set shorter counts from the next packet on', (t) => {
  const table = makeTable(4);
  const flow = add(table, masqueraded(1), STATE_ESTABLISHED);
  const idle = add(table, masqueraded(2), STATE_ESTABLISHED);
  table.timeouts[STATE_ESTABLISHED] = 7440;
  table.now = 1001;
  table.refresh(flow);
  table.now = 1001 + 7440;
  table.tick(10);
  t.is(find(table, TCP4, masqueraded(1).original), -1);
  t.is(find(table, TCP4, masqueraded(2).original), idle * 2);
});

test('a tick looks at no more flows than its budget allows, and says that more is due', (t) => {
  const table = makeTable(64);
  for (let port = 1; port <= 10; port++) add(table, masqueraded(port), STATE_SYN_SENT);
  const spared = add(table, masqueraded(11), STATE_SYN_SENT);
  table.now = 1100;
  table.refresh(spared);
  table.now = 1240;
  t.true(table.tick(4));
  t.is(table.count, 7);
  add(table, masqueraded(12), STATE_SYN_SENT);
  t.true(table.tick(6));
  t.is(table.count, 2);
  t.false(table.tick(1), 'the spared one is moved on');
  t.is(table.count, 2);
  table.now = 1340;
  t.false(table.tick(1));
  t.is(table.count, 1);
  t.deepEqual(inconsistencies(table), []);
});

test('the default timeouts are not below what the RFCs ask for, and every state has a class', (t) => {
  t.true(DEFAULT_TIMEOUTS[STATE_ESTABLISHED] >= 7440, 'RFC 5382, REQ-5: 2 hours 4 minutes');
  for (const state of [STATE_SYN_SENT, STATE_SYN_RECEIVED, STATE_FIN, STATE_CLOSING]) {
    t.true(DEFAULT_TIMEOUTS[state] >= 240, 'RFC 5382, REQ-5: transitory 4 minutes');
  }
  t.true(DEFAULT_TIMEOUTS[STATE_UDP_STREAM] >= 120, 'RFC 4787, REQ-5');
  t.true(DEFAULT_TIMEOUTS[STATE_ICMP_UNREPLIED] >= 60, 'RFC 5508, REQ-2');
  t.deepEqual(
    [STATE_SYN_SENT, STATE_UDP_UNREPLIED, STATE_FIN, STATE_RESET].map((state) => classOf(FLOW_LIVE | state)),
    [CLASS_EMBRYONIC, CLASS_EMBRYONIC, CLASS_ESTABLISHED, CLASS_CLOSING],
  );
});

// ---- Full

test('a full table ends embryonic flows, soonest first and in their order, then closing ones, and never established ones', (t) => {
  const table = makeTable(6);
  const ended: number[] = [];
  table.onRemove = { flowEnds: (flow) => ended.push(specOf(table, flow).original.ports >>> 16) };
  add(table, masqueraded(1), STATE_CLOSING);
  add(table, masqueraded(2), STATE_ESTABLISHED);
  add(table, masqueraded(3), STATE_SYN_SENT);
  add(table, masqueraded(4), STATE_SYN_SENT);
  table.now++;
  add(table, masqueraded(5), STATE_ICMP_UNREPLIED);
  add(table, masqueraded(6), STATE_RESET);
  t.is(table.capacityReached, 0);
  for (let port = 7; port <= 11; port++) add(table, masqueraded(port), STATE_ESTABLISHED);
  t.deepEqual(ended, [5, 3, 4, 1, 6]);
  t.is(table.begin(), -1);
  t.is(table.evicted, 5);
  t.is(table.capacityReached, 6);
  t.deepEqual(inconsistencies(table), []);
});

test('what was refreshed is spared, but not for ever: a begin looks at a bounded number of flows', (t) => {
  const table = makeTable(64);
  const flows: number[] = [];
  for (let port = 0; port < 64; port++) flows.push(add(table, masqueraded(port), STATE_UDP_UNREPLIED));
  table.now++;
  for (const flow of flows.slice(0, 8)) table.refresh(flow);
  t.not(add(table, masqueraded(100), STATE_UDP_UNREPLIED), -1);
  t.is(find(table, TCP4, masqueraded(8).original), -1);
  t.is(find(table, TCP4, masqueraded(0).original), flows[0] * 2);
  table.now++;
  table.forEach((flow) => {
    table.refresh(flow);
  });
  t.not(add(table, masqueraded(101), STATE_UDP_UNREPLIED), -1);
  t.is(table.count, 64);
  t.deepEqual(inconsistencies(table), []);
});

test('a flood of a hundred thousand half-open connections takes no established one, and every new one finds room', (t) => {
  const table = makeTable(4096);
  for (let port = 0; port < 1000; port++) add(table, plain6(port), STATE_ESTABLISHED);
  for (let i = 0; i < 100_000; i++) {
    if (i % 1000 === 0) table.now++;
    const spec = masqueraded(i & 0xffff);
    const original = { ...spec.original, destination: [i] };
    if (add(table, { ...spec, original, reply: { ...spec.reply, source: [i] } }, STATE_SYN_SENT) < 0) t.fail();
  }
  t.is(table.count, 4096);
  t.is(table.classCount(CLASS_ESTABLISHED), 1000);
  t.deepEqual(inconsistencies(table), []);
});

// ---- Against a model

interface Model {
  readonly spec: Spec;
  state: number;
  readonly owner: number;
  expires: number;
}

const word = fc.constantFrom(0, 1, -1, 0x0a4d0001);
const tuple = (isIpv6: boolean): fc.Arbitrary<Tuple> => {
  const address = fc.array(word, { minLength: isIpv6 ? 4 : 1, maxLength: isIpv6 ? 4 : 1 });
  return fc.record({ source: address, destination: address, ports: fc.constantFrom(0, 1, 0xffff0050 | 0) });
};
const spec: fc.Arbitrary<Spec> = fc.boolean().chain((isIpv6) =>
  fc.record({
    kind: fc.constantFrom(kindOf(0, 6, isIpv6), kindOf(0xffff, 17, isIpv6), bridgedKind(1, 6, isIpv6)),
    original: tuple(isIpv6),
    reply: tuple(isIpv6),
  }),
);
const state = fc.integer({ min: 1, max: 14 });
const owner = fc.constantFrom(0, 1, 8191);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('add' as const), spec, state, owner }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('remove' as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('state' as const), pick: fc.nat(), state }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('refresh' as const), pick: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('sleep' as const),
      seconds: fc.constantFrom(1, 60, 299, 5000, 8192, 90_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('owner' as const), owner }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('where' as const), protocol: fc.constantFrom(6, 17) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), seed: fc.integer() }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const nameOf = (kind: number, { source, destination, ports }: Tuple): string =>
  `${kind} ${source} ${destination} ${ports}`;

/** The slow, obvious table: a Map of names of tuples. */
class Reference {
  readonly flows = new Map<number, Model>();

  has(kind: number, tuple: Tuple): boolean {
    const name = nameOf(kind, tuple);
    return [...this.flows.values()].some(({ spec }) =>
      [spec.original, spec.reply].some((own) => nameOf(spec.kind, own) === name),
    );
  }

  refuses({ kind, original, reply }: Spec): boolean {
    return this.has(kind, original) || this.has(kind, reply);
  }

  /** Seconds at which the first flow of the class that must make room would end; undefined: nothing can. */
  soonest(): { flowClass: number; expires: number } | undefined {
    for (const flowClass of [CLASS_EMBRYONIC, CLASS_CLOSING]) {
      const ends = [...this.flows.values()].filter((flow) => classOf(flow.state) === flowClass);
      if (ends.length > 0) return { flowClass, expires: Math.min(...ends.map(({ expires }) => expires)) };
    }
    return undefined;
  }
}

/** One walk through steps, in which table and reference must stay the same. */
class Walk {
  table: FlowTable;
  readonly reference = new Reference();
  private readonly memory;
  private readonly capacity: number;
  private removed: number[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.memory = memoryFor(capacity);
    this.table = this.open(7, 1000);
  }

  private open(seed: number, now: number): FlowTable {
    const table = makeTable(this.capacity, this.memory, now, seed);
    table.onRemove = { flowEnds: (flow) => this.removed.push(flow) };
    return table;
  }

  take(step: Step): void {
    this.removed = [];
    const expected = this.act(step);
    if (expected !== null && [...this.removed].sort().join() !== [...expected].sort().join()) {
      throw new Error(`${step.op}: ended ${this.removed}, expected ${expected}`);
    }
    for (const flow of this.removed) this.reference.flows.delete(flow);
    this.compare(step.op);
  }

  /** @returns the flows that must have ended by it; null where the step has looked itself */
  private act(step: Step): number[] | null {
    const { table, reference } = this;
    const { flows } = reference;
    const ids = [...flows.keys()];
    const where = (match: (flow: Model) => boolean): number[] => ids.filter((id) => match(flows.get(id)!));
    if (step.op === 'add') return this.add(step.spec, step.state, step.owner);
    if (step.op === 'owner') {
      const expected = where((flow) => flow.owner === step.owner);
      if (table.removeOwner(step.owner) !== expected.length) throw new Error('removeOwner: wrong number');
      return expected;
    }
    if (step.op === 'where') {
      const expected = where((flow) => (flow.spec.kind & 0xff) === step.protocol);
      const matches = (_words: Int32Array, _addresses6: Int32Array, flow: number) =>
        (flows.get(flow)!.spec.kind & 0xff) === step.protocol;
      if (table.removeWhere({ matches }) !== expected.length) throw new Error('removeWhere: wrong number');
      return expected;
    }
    if (step.op === 'sleep') {
      table.now += step.seconds;
      const expected = where((flow) => flow.expires <= table.now);
      if (table.tick(1000)) throw new Error('tick: not done');
      return expected;
    }
    if (step.op === 'restart') {
      this.table = this.open(step.seed, table.now);
      return [];
    }
    if (ids.length === 0) return [];
    const flow = ids[step.pick % ids.length];
    const model = flows.get(flow)!;
    if (step.op === 'remove') {
      table.remove(flow);
      return [flow];
    }
    if (step.op === 'refresh') {
      table.refresh(flow);
      model.expires = table.now + DEFAULT_TIMEOUTS[model.state];
      return [];
    }
    table.setState(flow, FLOW_LIVE | step.state);
    if (step.state !== model.state) model.expires = table.now + DEFAULT_TIMEOUTS[step.state];
    model.state = step.state;
    return [];
  }

  private add(spec: Spec, state: number, owner: number): null {
    const { table, reference } = this;
    const isFull = reference.flows.size === this.capacity;
    const soonest = isFull ? reference.soonest() : undefined;
    const flow = table.begin();
    if (flow < 0 !== (isFull && soonest === undefined)) throw new Error(`begin: ${flow}`);
    if (this.removed.length !== (soonest === undefined ? 0 : 1)) throw new Error('begin: ended the wrong number');
    for (const gone of this.removed) {
      const { state, expires } = reference.flows.get(gone)!;
      if (classOf(state) !== soonest!.flowClass || expires !== soonest!.expires)
        throw new Error('begin: ended another');
      reference.flows.delete(gone);
    }
    this.removed = [];
    if (flow < 0) return null;
    fill(table, flow, spec);
    const isNew = !reference.refuses(spec);
    if (table.commit(flow, FLOW_LIVE | state, owner) !== isNew) throw new Error(`commit: ${!isNew}`);
    if (isNew) reference.flows.set(flow, { spec, state, owner, expires: table.now + DEFAULT_TIMEOUTS[state] });
    return null;
  }

  private compare(op: string): void {
    const { table, reference } = this;
    const wrong = inconsistencies(table);
    if (wrong.length > 0) throw new Error(`${op}: ${wrong.join('; ')}`);
    if (table.count !== reference.flows.size) throw new Error(`${op}: ${table.count} of ${reference.flows.size} flows`);
    for (const [flow, { spec, state, owner, expires }] of reference.flows) {
      const at = table.at(flow);
      const there = [table.words[at + FLOW_STATE], table.ownerOf(flow), table.words[at + FLOW_EXPIRES]];
      if (there.join() !== [FLOW_LIVE | state, owner, expires].join()) throw new Error(`${op}: ${there}`);
      if (find(table, spec.kind, spec.original) !== flow * 2) throw new Error(`${op}: original tuple lost`);
      const reply = nameOf(spec.kind, spec.original) === nameOf(spec.kind, spec.reply) ? 0 : 1;
      if (find(table, spec.kind, spec.reply) !== flow * 2 + reply) throw new Error(`${op}: reply tuple lost`);
    }
  }
}

test('agrees with a Map after every step of any sequence', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), fc.integer({ min: 1, max: 12 }), (steps, capacity) => {
      const walk = new Walk(capacity);
      for (const step of steps) walk.take(step);
    }),
    { numRuns: 150 },
  );
  t.pass();
});

// ---- After a crash

class Killed extends Error {}

/** Memory that takes `stores` stores and then ends the process. */
function dying(memory: Int32Array, left: { stores: number }): Int32Array {
  return new Proxy(memory, {
    get: (target, key) => {
      const value = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, key, value) => {
      if (left.stores-- <= 0) throw new Killed();
      return Reflect.set(target, key, value);
    },
  });
}

test('killed before any store of any operation: all other flows go on, and the one in hand is whole or not there', (t) => {
  const kept = [masqueraded(1), plain6(1), masqueraded(2), plain6(2)];
  const operations: ((table: FlowTable) => void)[] = [
    (table) => void add(table, masqueraded(3), STATE_SYN_SENT),
    (table) => void add(table, plain6(3), STATE_SYN_SENT),
    (table) => table.remove(find(table, TCP6, plain6(9).original) >> 1),
    (table) => table.setState(find(table, TCP4, masqueraded(9).original) >> 1, FLOW_LIVE | STATE_CLOSING),
    (table) => table.refresh(find(table, TCP4, masqueraded(9).original) >> 1),
    (table) => {
      table.remove(find(table, TCP4, masqueraded(9).original) >> 1);
      add(table, masqueraded(3), STATE_ESTABLISHED);
    },
  ];
  operations.forEach((operate, index) => {
    let deaths = 0;
    for (let stores = 0; ; stores++) {
      const memory = memoryFor(16);
      const left = { stores: Number.POSITIVE_INFINITY };
      const victim = makeTable(16, { words: dying(memory.words, left), addresses6: dying(memory.addresses6, left) });
      for (const spec of [...kept, masqueraded(9), plain6(9)]) add(victim, spec, STATE_ESTABLISHED);
      left.stores = stores;
      victim.now += 5;
      const error = t.throws(() => {
        operate(victim);
        throw new Error('done');
      });
      const heir = makeTable(16, memory, 1006, 99);
      t.deepEqual(inconsistencies(heir), [], `operation ${index}, store ${stores}`);
      t.is(heir.discarded, 0);
      for (const { kind, original, reply } of kept) {
        t.true(find(heir, kind, original) >= 0 && (find(heir, kind, original) ^ find(heir, kind, reply)) === 1);
      }
      const known = [...kept, masqueraded(9), plain6(9), masqueraded(3), plain6(3)].map((spec) => JSON.stringify(spec));
      heir.forEach((flow) => {
        t.true(known.includes(JSON.stringify(specOf(heir, flow))));
      });
      if (!(error instanceof Killed)) break;
      deaths++;
    }
    t.true(deaths > 0, `operation ${index} stores nothing`);
  });
});

test('whatever stands in the memory, the table that is made of it is consistent and usable to its last entry', (t) => {
  const damage = fc.array(
    fc.tuple(fc.nat({ max: 8 * (FLOW_WORDS + FLOW_REST_WORDS) }), fc.oneof(fc.integer(), fc.nat({ max: 20 }))),
    {
      maxLength: 40,
      size: 'max',
    },
  );
  const damage6 = fc.array(fc.tuple(fc.nat({ max: 127 }), fc.integer()), { maxLength: 4 });
  /** Entries that are copied over others: duplicates. */
  const copies = fc.array(fc.tuple(fc.nat({ max: 7 }), fc.nat({ max: 7 })), { maxLength: 3 });
  fc.assert(
    fc.property(damage, damage6, copies, fc.nat({ max: 8 }), (words, words6, pairs, flows) => {
      const memory = memoryFor(8);
      const before = makeTable(8, memory);
      for (let i = 0; i < flows; i++) {
        add(before, i % 2 === 0 ? masqueraded(i) : plain6(i), i % 3 === 0 ? STATE_SYN_SENT : STATE_ESTABLISHED);
      }
      for (const [from, to] of pairs) {
        memory.words.copyWithin(to * FLOW_WORDS, from * FLOW_WORDS, (from + 1) * FLOW_WORDS);
        memory.addresses6.copyWithin(to * 16, from * 16, (from + 1) * 16);
      }
      for (const [at, value] of words) memory.words[at] = value;
      for (const [at, value] of words6) memory.addresses6[at] = value;
      const table = makeTable(8, memory, 1100, 3);
      const wrong = inconsistencies(table);
      if (wrong.length > 0) throw new Error(wrong.join('; '));
      table.now = 1100 + LONGEST_TIMEOUT;
      for (let i = 0; table.tick(100); i++) if (i > 100) throw new Error('tick: never done');
      if (table.count !== 0) throw new Error(`${table.count} flows never end`);
      for (let i = 0; i < 8; i++) if (add(table, plain6(100 + i), STATE_ESTABLISHED) < 0) throw new Error('no room');
      if (table.begin() >= 0 || inconsistencies(table).length > 0) throw new Error('an entry too many');
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('the heir keeps age, state and owner, forgets paths, and leaves out what is over or a duplicate', (t) => {
  const memory = memoryFor(8);
  const before = makeTable(8, memory);
  const long = add(before, masqueraded(1), STATE_ESTABLISHED, 9);
  before.words[before.at(long) + FLOW_PATH] = 123;
  add(before, masqueraded(2), STATE_ICMP_UNREPLIED);
  memory.words.copyWithin(5 * FLOW_WORDS, 0, FLOW_WORDS);
  const rest = 8 * FLOW_WORDS;
  memory.words.copyWithin(rest + 5 * FLOW_REST_WORDS, rest, rest + FLOW_REST_WORDS);
  memory.words[8 * (FLOW_WORDS + FLOW_REST_WORDS)] = 6;
  const table = makeTable(8, memory, 1100);
  t.is(table.recovered, 1);
  t.is(table.discarded, 2);
  t.is(table.ownerCount(9), 1);
  const found = find(table, TCP4, masqueraded(1).original);
  const at = table.at(found >> 1);
  t.is(table.words[at + FLOW_PATH], 0);
  t.is(table.words[at + FLOW_STATE] & STATE_MASK, STATE_ESTABLISHED);
  t.is(table.words[at + FLOW_EXPIRES], 1000 + 86_400);
});

test('an entry with nonsense in one word is not believed, and its neighbor is', (t) => {
  const nonsense: [string, number, number][] = [
    ['not live', FLOW_STATE, STATE_ESTABLISHED],
    ['negative', FLOW_STATE, (1 << 31) | FLOW_LIVE | STATE_ESTABLISHED],
    ['no state', FLOW_STATE, FLOW_LIVE],
    ['unknown state', FLOW_STATE, FLOW_LIVE | 15],
    ['over', FLOW_EXPIRES, 1001],
    ['too far ahead', FLOW_EXPIRES, 1002 + LONGEST_TIMEOUT],
    ['no owner', 4 * FLOW_WORDS + FLOW_OWNER, -1],
    ['a backend that nobody chose', 4 * FLOW_WORDS + FLOW_OWNER, 8192],
    ['no kind', FLOW_KIND, 1 << 26],
    ['address words that are not those of its addresses', FLOW_SOURCE, 77],
    ['the same, of the reply', FLOW_REPLY_DESTINATION, 77],
  ];
  for (const [name, word, value] of nonsense) {
    const memory = memoryFor(4);
    const before = makeTable(4, memory);
    add(before, plain6(1), STATE_ESTABLISHED);
    const neighbor = add(before, plain6(2), STATE_ESTABLISHED);
    memory.words[word] = value;
    const table = makeTable(4, memory, 1001);
    t.deepEqual([table.recovered, table.discarded], [1, 1], name);
    t.is(find(table, TCP6, plain6(2).reply), neighbor * 2 + 1, name);
    t.deepEqual(inconsistencies(table), [], name);
  }
});

test('memory that no flow has used is not touched, neither while flows come and go nor by the heir', (t) => {
  const memory = memoryFor(1000);
  const table = makeTable(1000, memory);
  memory.words.fill(0x5a5a5a5a, 3 * FLOW_WORDS, 1000 * FLOW_WORDS);
  for (let i = 0; i < 100; i++) table.remove(add(table, masqueraded(i), STATE_SYN_SENT));
  for (let i = 0; i < 3; i++) add(table, masqueraded(i), STATE_SYN_SENT);
  t.is(makeTable(1000, memory).recovered, 3);
  t.true(memory.words.subarray(3 * FLOW_WORDS, 1000 * FLOW_WORDS).every((value) => value === 0x5a5a5a5a));
});

test('nonsense sizes are refused by name', (t) => {
  const { words, addresses6 } = memoryFor(4);
  t.throws(() => makeTable(5, { words, addresses6 }), { message: /too small for 5 flows/ });
  for (const capacity of [0, -1, 1.5, Number.NaN, 1 << 25]) {
    t.throws(() => new FlowTable(words, addresses6, capacity, 1, 1), { message: /expected 1 to 16777216/ });
  }
  t.true(flowTableBytes(1 << 20) + 4 * 4 * 2 ** 20 <= 96 * 2 ** 20 + 4, '96 bytes an IPv4 flow, the index included');
});
