/** Who gets how many flows: 10,000 of them through the router, for each scheduler. */

import test from 'ava';
import {
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
} from '../../../core/lb/service.js';
import { POLICY_DROP } from '../../../core/nat/policy.js';
import { createRandom, rerunLine, seedOfRun } from '../../support/corpus.js';
import { B, EXTERNAL, EXTERNAL6, OUTSIDE } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { ipOf, read, tcp, udp, unreachable } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { type BackendSpec, ServiceLab, type ServiceSpec } from './lab.js';

const FLOWS = 10_000;
const LISTEN = { protocol: TCP, at: `${EXTERNAL}:8080` };
const LISTEN6 = { protocol: TCP, at: `[${EXTERNAL6}]:8080` };
const LISTEN_UDP = { protocol: UDP, at: `${EXTERNAL}:8080` };
const CLIENT = '198.51.100.1';

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/lb/distribution.test.js');

/** Backends 1, 2 … at ports 1001, 1002 … of one endpoint. */
function backends(...weights: number[]): BackendSpec[] {
  return weights.map((weight, i) => ({
    number: i + 1,
    addresses: ['10.2.0.13', 'fd00:2::13'],
    port: 1001 + i,
    weight,
  }));
}

function labWith(spec: ServiceSpec): ServiceLab {
  const lab = new ServiceLab({ capacity: 16_384 });
  lab.serve(1, [LISTEN, LISTEN6, LISTEN_UDP], spec);
  return lab;
}

/** Number of the backend that a new connection gets; 0: none. */
function chosen(lab: ServiceLab, from: string, to = `${EXTERNAL}:8080`): number {
  const sent = lab.give(OUTSIDE, tcp(from, to)).filter(({ port }) => port === B.port);
  return sent.length === 0 ? 0 : read(ipOf(sent[0].frame)).destinationPort - 1000;
}

function chosenFrom(lab: ServiceLab, count: number, client: (i: number) => string, to?: string): number[] {
  return Array.from({ length: count }, (_, i) => chosen(lab, client(i), to));
}

/** Flow by flow from another port of one client. */
const byPort = (i: number): string => `${CLIENT}:${1024 + i}`;
/** From another client each. */
const byClient = (i: number): string => `198.${18 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}:5000`;
const byPort6 = (i: number): string => `[2001:db8:1::1]:${1024 + i}`;

/** How often each of the numbers 1 to `most` is there. */
function tally(numbers: readonly number[], most: number): number[] {
  const counts = new Array<number>(most).fill(0);
  for (const number of numbers) counts[number - 1]++;
  return counts;
}

/**
 * Whether counts are such as chance brings from these shares, by chi-square: exceeded once in a million times (Wilson and Hilferty's
 * approximation of the distribution, 4.75 standard deviations).
 */
function isByChance(counts: readonly number[], shares: readonly number[]): boolean {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const whole = shares.reduce((sum, share) => sum + share, 0);
  const sum = counts.reduce((chi, count, i) => {
    const due = (total * shares[i]) / whole;
    return chi + (count - due) ** 2 / due;
  }, 0);
  const freedom = counts.length - 1;
  const part = 2 / (9 * freedom);
  return sum <= freedom * (1 - part + 4.75 * Math.sqrt(part)) ** 3;
}

test('rr gives one after the other, to the flow', (t) => {
  const lab = labWith({ backends: backends(1, 1, 1, 1, 1, 1, 1) });
  const numbers = chosenFrom(lab, FLOWS, byPort);
  t.deepEqual(
    numbers,
    numbers.map((_, i) => (i % 7) + 1),
  );
  for (let number = 1; number <= 7; number++) {
    t.deepEqual(lab.flowCounts(number), [tally(numbers, 7)[number - 1], 0, tally(numbers, 7)[number - 1]]);
  }
  expectWhole(t, lab);
});

test('rr over IPv6 the same, and both families take their turns in one service', (t) => {
  const lab = labWith({ backends: backends(1, 1, 1) });
  const numbers = Array.from({ length: 300 }, (_, i) =>
    i % 2 === 0 ? chosen(lab, byPort(i)) : chosen(lab, byPort6(i), `[${EXTERNAL6}]:8080`),
  );
  t.deepEqual(
    numbers,
    numbers.map((_, i) => (i % 3) + 1),
  );
  expectWhole(t, lab);
});

test('rr knows no weights but 0, and passes by what is down', (t) => {
  const spec = backends(7, 0, 1, 30, 2);
  const lab = labWith({ backends: [...spec.slice(0, 4), { ...spec[4], isDown: true }] });
  t.deepEqual(chosenFrom(lab, 9, byPort), [1, 3, 4, 1, 3, 4, 1, 3, 4]);
});

for (const weights of [
  [5, 1, 1],
  [3, 2, 0, 4],
  [1, 100],
  [10, 10],
]) {
  test(`wrr gives each its weight in every cycle: ${weights.join(', ')}`, (t) => {
    const lab = labWith({ scheduler: SCHEDULER_WRR, backends: backends(...weights) });
    const cycle = weights.reduce((sum, weight) => sum + weight, 0);
    const numbers = chosenFrom(lab, FLOWS, byPort);
    for (let at = 0; at + cycle <= FLOWS; at += cycle) {
      t.deepEqual(tally(numbers.slice(at, at + cycle), weights.length), weights, `flow ${at}`);
    }
    expectWhole(t, lab);
  });
}

test('wrr spreads a large weight over the cycle', (t) => {
  const lab = labWith({ scheduler: SCHEDULER_WRR, backends: backends(5, 1, 1) });
  t.deepEqual(chosenFrom(lab, 7, byPort), [1, 1, 2, 1, 3, 1, 1]);
});

test('wrr with other weights begins anew: what was due by the old ones is owed to nobody', (t) => {
  const lab = labWith({ scheduler: SCHEDULER_WRR, backends: backends(1000, 1) });
  chosenFrom(lab, 400, byPort);
  lab.serve(1, [LISTEN], { scheduler: SCHEDULER_WRR, backends: backends(1, 1) });
  const numbers = chosenFrom(lab, 100, (i) => byPort(1000 + i));
  for (let at = 0; at < 100; at += 2) t.deepEqual(tally(numbers.slice(at, at + 2), 2), [1, 1], `flow ${at}`);
});

test('wrr without one of its backends keeps the proportion of the others', (t) => {
  const spec = backends(3, 2, 1);
  const lab = labWith({ scheduler: SCHEDULER_WRR, backends: spec });
  chosenFrom(lab, 100, byPort);
  lab.serve(1, [LISTEN], { scheduler: SCHEDULER_WRR, backends: [{ ...spec[0], isDown: true }, spec[1], spec[2]] });
  const numbers = chosenFrom(lab, 300, (i) => byPort(200 + i));
  for (let at = 0; at < 300; at += 3) t.deepEqual(tally(numbers.slice(at, at + 3), 3), [0, 2, 1], `flow ${at}`);
});

/** The least loaded as its definition says: 256 a flow that is established, 1 any other; among equals the next in turn. */
class LeastConnections {
  readonly active: number[];
  readonly inactive: number[];
  private readonly weights: readonly number[];
  private next = 0;

  constructor(weights: readonly number[]) {
    this.weights = weights;
    this.active = weights.map(() => 0);
    this.inactive = weights.map(() => 0);
  }

  choose(): number {
    const { weights, active, inactive } = this;
    const load = (i: number): number => (active[i] * 256 + inactive[i]) / weights[i];
    const order = weights.map((_, i) => (this.next + i) % weights.length).filter((i) => weights[i] > 0);
    const best = order.reduce((least, i) => (load(i) < load(least) ? i : least), order[0]);
    this.next = (best + 1) % weights.length;
    inactive[best]++;
    return best + 1;
  }
}

for (const [name, scheduler, weights] of [
  ['lc', SCHEDULER_LC, [1, 1, 1, 1]],
  ['lc, for which weights do not count', SCHEDULER_LC, [4, 1, 1]],
  ['wlc', SCHEDULER_WLC, [3, 1, 2]],
] as const) {
  test(`the least loaded gets the next, as reckoned by hand: ${name}`, (t) => {
    const random = createRandom(seed);
    const lab = labWith({ scheduler, backends: backends(...weights) });
    const model = new LeastConnections(scheduler === SCHEDULER_LC ? weights.map(() => 1) : weights);
    for (let i = 0; i < FLOWS; i++) {
      const expected = model.choose();
      const number = chosen(lab, byPort(i));
      if (number !== expected) return t.fail(`flow ${i} went to ${number}, not ${expected}; ${rerun}`);
      // Some are answered, others refused, others left as they are.
      const ends = [`10.2.0.13:${1000 + number}`, byPort(i)] as const;
      const fate = random(4);
      if (fate < 2) {
        lab.give(B, tcp(...ends, { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
        lab.give(OUTSIDE, tcp(byPort(i), `${EXTERNAL}:8080`, { flags: 'A', sequence: 1001, acknowledgment: 9001 }));
        model.inactive[number - 1]--;
        model.active[number - 1]++;
      }
      if (fate === 0) {
        lab.give(B, tcp(...ends, { flags: 'R', sequence: 9001 }));
        model.active[number - 1]--;
        model.inactive[number - 1]++;
      }
    }
    weights.forEach((_, i) => {
      t.deepEqual(lab.flowCounts(i + 1).slice(1), [model.active[i], model.inactive[i]], rerun);
    });
    expectWhole(t, lab);
  });
}

for (const [name, scheduler, client] of [
  ['maglev by port', SCHEDULER_MAGLEV, byPort],
  ['maglev by client', SCHEDULER_MAGLEV, byClient],
  ['maglev, IPv6', SCHEDULER_MAGLEV, byPort6],
  ['sh by client', SCHEDULER_SH, byClient],
] as const) {
  test(`hashing spreads flows by weight as chance does, and the same way again: ${name}`, (t) => {
    const weights = [1, 2, 1, 4, 0];
    const to = name.endsWith('IPv6') ? `[${EXTERNAL6}]:8080` : `${EXTERNAL}:8080`;
    const spec: ServiceSpec = { scheduler, backends: backends(...weights), tableSize: 65_537, seed: seed & 0xffff };
    const numbers = chosenFrom(labWith(spec), FLOWS, client, to);
    const counts = tally(numbers, weights.length);
    t.is(counts[4], 0);
    t.true(isByChance(counts.slice(0, 4), weights.slice(0, 4)), `${counts}; ${rerun}`);
    t.deepEqual(chosenFrom(labWith(spec), FLOWS, client, to), numbers, 'another process');
    const others = chosenFrom(labWith({ ...spec, seed: (seed & 0xffff) + 1 }), FLOWS, client, to);
    const same = others.filter((number, i) => number === numbers[i]).length;
    // By chance (1 + 4 + 1 + 16) / 64 of them.
    t.true(same > FLOWS * 0.3 && same < FLOWS * 0.39, `${same} with another seed; ${rerun}`);
  });
}

test('sh looks at the address alone: all ports of a client have one backend, TCP and UDP', (t) => {
  const lab = labWith({ scheduler: SCHEDULER_SH, backends: backends(1, 1, 1) });
  for (const client of ['198.51.100.1', '198.51.100.2', '198.51.100.77', '192.0.2.9']) {
    const numbers = chosenFrom(lab, 20, (i) => `${client}:${2000 + i}`);
    t.is(new Set(numbers).size, 1);
    const datagram = lab.pass(OUTSIDE, udp(`${client}:2000`, `${EXTERNAL}:8080`));
    t.is(datagram.destinationPort - 1000, numbers[0]);
  }
});

for (const [name, scheduler] of [
  ['maglev', SCHEDULER_MAGLEV],
  ['sh', SCHEDULER_SH],
] as const) {
  test(`${name}: while a backend is down its clients alone go elsewhere, spread over the others, and come back`, (t) => {
    const spec = backends(1, 1, 1, 1, 1);
    const serve = (isDown: boolean): ServiceLab => {
      return labWith({ scheduler, tableSize: 4099, backends: [{ ...spec[0], isDown }, ...spec.slice(1)] });
    };
    const before = chosenFrom(serve(false), 5000, byClient);
    const lab = serve(true);
    const during = chosenFrom(lab, 5000, byClient);
    t.deepEqual(
      during.filter((_, i) => before[i] !== 1),
      before.filter((number) => number !== 1),
    );
    const moved = tally(
      during.filter((_, i) => before[i] === 1),
      5,
    );
    t.is(moved[0], 0);
    t.true(isByChance(moved.slice(1), [1, 1, 1, 1]), `${moved}`);
    lab.serve(1, [LISTEN], { scheduler, tableSize: 4099, backends: spec });
    t.deepEqual(
      chosenFrom(lab, 5000, byClient),
      during,
      'connections that wait for an answer stay where they were sent',
    );
    lab.wait(241);
    t.deepEqual(chosenFrom(lab, 5000, byClient), before, 'and come back');
  });
}

const ALL: readonly (readonly [string, number])[] = [
  ['rr', SCHEDULER_RR],
  ['wrr', SCHEDULER_WRR],
  ['lc', SCHEDULER_LC],
  ['wlc', SCHEDULER_WLC],
  ['sh', SCHEDULER_SH],
  ['maglev', SCHEDULER_MAGLEV],
];

for (const [name, scheduler] of ALL) {
  test(`${name} passes by what is down, has no weight, or lacks the family`, (t) => {
    const [one, two, three, four] = backends(1, 0, 1, 1);
    const lab = labWith({
      scheduler,
      backends: [{ ...one, isDown: true }, two, { ...three, addresses: ['10.2.0.13'] }, four],
    });
    t.deepEqual([...new Set(chosenFrom(lab, 200, byClient))].sort(), [3, 4]);
    t.deepEqual([...new Set(chosenFrom(lab, 200, byPort6, `[${EXTERNAL6}]:8080`))], [4]);
    lab.serve(1, [LISTEN, LISTEN6], { scheduler, backends: [{ ...one, isDown: true }, two] });
    t.is(chosen(lab, '192.0.2.1:9'), 0);
    t.is(chosen(lab, '[2001:db8:9::1]:9', `[${EXTERNAL6}]:8080`), 0);
    expectWhole(t, lab);
  });

  test(`${name} passes by suspects, until there are only such`, (t) => {
    const lab = labWith({ scheduler, backends: backends(1, 1, 1), failures: 1, suspectTime: 1000 });
    const suspects: number[] = [];
    for (let i = 0; suspects.length < 3; i++) {
      const number = chosen(lab, byClient(i));
      t.false(suspects.includes(number), `${number} is suspect`);
      lab.give(B, tcp(`10.2.0.13:${1000 + number}`, byClient(i), { flags: 'RA', acknowledgment: 1001 }));
      suspects.push(number);
    }
    t.deepEqual(
      lab.news(),
      suspects.map((number) => `suspect ${number}`),
    );
    t.deepEqual([...new Set(chosenFrom(lab, 300, (i) => byClient(1000 + i)))].sort(), [1, 2, 3]);
    expectWhole(t, lab);
  });
}

test('a backend that says that nobody listens has refused: ICMP is heard like RST', (t) => {
  const lab = labWith({ backends: backends(1, 1), failures: 1 });
  const first = lab.pass(OUTSIDE, udp(byPort(0), `${EXTERNAL}:8080`));
  lab.give(B, unreachable('10.2.0.13', CLIENT, first.bytes));
  t.deepEqual(lab.news(), ['suspect 1']);
  t.deepEqual(
    chosenFrom(lab, 3, (i) => byPort(10 + i)),
    [2, 2, 2],
  );
});

for (const [name, scheduler] of [
  ['rr', SCHEDULER_RR],
  ['wrr', SCHEDULER_WRR],
] as const) {
  test(`${name}: whoever is refused takes nobody's turn`, (t) => {
    const lab = labWith({ backends: backends(1, 1), scheduler });
    lab.rules({ action: POLICY_DROP, from: '198.51.100.9/32' });
    const numbers: number[] = [];
    for (let i = 0; i < 100; i++) {
      t.is(chosen(lab, `198.51.100.9:${1024 + i}`), 0);
      numbers.push(chosen(lab, byPort(i)));
    }
    t.deepEqual(tally(numbers, 2), [50, 50], rerun);
  });
}
