/** When servers are checked, and what turns them, by a clock that the test moves. */

import test from 'ava';
import type { Result, Target } from '../../../control/health/messages.js';
import { CHECKS_AT_ONCE, type Clock, Rounds } from '../../../control/health/rounds.js';

class FakeClock implements Clock {
  time = 0;
  chance = 0.25;
  readonly #timers = new Set<{ readonly at: number; readonly call: () => void }>();

  now(): number {
    return this.time;
  }

  random(): number {
    return this.chance;
  }

  after(milliseconds: number, call: () => void): () => void {
    const timer = { at: this.time + milliseconds, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get waiting(): number {
    return this.#timers.size;
  }

  /** Lets time pass, timer by timer, and what they begin come to its end. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.time + milliseconds;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    this.time = end;
  }
}

const TARGET: Target = {
  id: 1,
  address: '172.30.0.2',
  port: 80,
  http: null,
  interval: 2000,
  timeout: 1000,
  rise: 2,
  fall: 3,
  up: null,
};

class Bench {
  readonly clock = new FakeClock();
  /** When which server was checked: `time id`. */
  readonly checked: string[] = [];
  /** What was told: `time id up reason`. */
  readonly told: string[] = [];
  /** What the next checks find: empty where all is well. */
  failure = '';
  /** Milliseconds that a check takes. */
  takes = 0;
  readonly rounds = new Rounds({
    clock: this.clock,
    probe: async ({ id }) => {
      this.checked.push(`${this.clock.time} ${id}`);
      const { failure } = this;
      if (this.takes > 0) await new Promise<void>((resolve) => this.clock.after(this.takes, resolve));
      return failure;
    },
    report: ({ id, up, reason }: Result) =>
      this.told.push(`${this.clock.time} ${id} ${up ? 'up' : 'down'} ${reason}`.trim()),
  });

  check(...targets: Partial<Target>[]): void {
    this.rounds.obey({ op: 'check', targets: targets.map((target) => ({ ...TARGET, ...target })) });
  }
}

test('the first check comes at once, the second by chance, the others in the interval', async (t) => {
  const bench = new Bench();
  bench.check({});
  await bench.clock.pass(6600);
  t.deepEqual(bench.checked, ['0 1', '500 1', '2500 1', '4500 1', '6500 1']);
  t.deepEqual(bench.told, ['0 1 up']);
});

test('the first check decides; then it takes as many in a row as are wanted', async (t) => {
  const bench = new Bench();
  bench.failure = 'refused';
  bench.check({});
  await bench.clock.pass(100);
  t.deepEqual(bench.told, ['0 1 down refused']);
  bench.failure = '';
  await bench.clock.pass(500); // 500: one
  t.is(bench.told.length, 1);
  await bench.clock.pass(2000); // 2500: two
  t.deepEqual(bench.told.slice(1), ['2500 1 up']);
  bench.failure = 'silent';
  await bench.clock.pass(4000); // 4500, 6500
  t.is(bench.told.length, 2);
  await bench.clock.pass(2000); // 8500
  t.deepEqual(bench.told.slice(2), ['8500 1 down silent']);
});

test('a check that says otherwise begins the row anew', async (t) => {
  const bench = new Bench();
  bench.failure = 'x';
  bench.check({ up: true });
  await bench.clock.pass(100);
  for (const failure of ['x', '', 'x', 'x', '', 'x', 'x']) {
    bench.failure = failure;
    await bench.clock.pass(bench.checked.length === 1 ? 500 : 2000);
  }
  t.is(bench.checked.length, 8);
  t.deepEqual(bench.told, []);
});

test('what was known before counts: one failure does not turn it', async (t) => {
  const bench = new Bench();
  bench.failure = 'refused';
  bench.check({ up: true, fall: 2 });
  await bench.clock.pass(100);
  t.deepEqual(bench.told, []);
  await bench.clock.pass(400);
  t.deepEqual(bench.told, ['500 1 down refused']);
});

test('down for another reason than before is told, the same reason is not', async (t) => {
  const bench = new Bench();
  bench.failure = 'refused';
  bench.check({});
  await bench.clock.pass(600);
  bench.failure = 'HTTP 500';
  await bench.clock.pass(4000);
  t.deepEqual(bench.told, ['0 1 down refused', '2500 1 down HTTP 500']);
});

test('checks that take longer than the interval follow each other, and never overlap', async (t) => {
  const bench = new Bench();
  bench.takes = 3000;
  bench.check({});
  await bench.clock.pass(9700);
  t.deepEqual(bench.checked, ['0 1', '3500 1', '6500 1', '9500 1']);
});

test('at once: the next check comes before its time, and the interval begins there', async (t) => {
  const bench = new Bench();
  bench.check({});
  await bench.clock.pass(1000);
  bench.rounds.obey({ op: 'now', id: 1 });
  await bench.clock.pass(2100);
  t.deepEqual(bench.checked, ['0 1', '500 1', '1000 1', '3000 1']);
  t.is(bench.clock.waiting, 1);
});

test('at once in the middle of a check: another one right behind it', async (t) => {
  const bench = new Bench();
  bench.takes = 400;
  bench.check({});
  await bench.clock.pass(100);
  bench.rounds.obey({ op: 'now', id: 1 });
  bench.rounds.obey({ op: 'now', id: 1 });
  await bench.clock.pass(1000);
  t.deepEqual(bench.checked, ['0 1', '400 1']);
  await bench.clock.pass(1500);
  t.deepEqual(bench.checked, ['0 1', '400 1', '2400 1']);
});

test('what is forgotten is checked no more, and what its last check found is told nobody', async (t) => {
  const bench = new Bench();
  bench.takes = 400;
  bench.check({}, { id: 2 });
  await bench.clock.pass(100);
  bench.rounds.obey({ op: 'forget', ids: [1, 3] });
  bench.rounds.obey({ op: 'now', id: 1 });
  await bench.clock.pass(1000);
  t.deepEqual(bench.checked, ['0 1', '0 2', '900 2']);
  t.deepEqual(bench.told, ['400 2 up']);
});

test('no more checks at once than may be; the others wait, and one that is forgotten meanwhile is not made', async (t) => {
  const bench = new Bench();
  bench.takes = 1000;
  const ids = Array.from({ length: CHECKS_AT_ONCE + 2 }, (_, index) => index + 1);
  bench.check(...ids.map((id) => ({ id, interval: 60_000 })));
  await bench.clock.pass(500);
  t.is(bench.checked.length, CHECKS_AT_ONCE);
  bench.rounds.obey({ op: 'forget', ids: [CHECKS_AT_ONCE + 1] });
  await bench.clock.pass(600);
  t.deepEqual(bench.checked.slice(CHECKS_AT_ONCE), [`1000 ${CHECKS_AT_ONCE + 2}`]);
});
