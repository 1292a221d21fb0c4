import test from 'ava';
import fc from 'fast-check';
import { KeyedLock, Semaphore, Turns } from '../../control/concurrency.js';
import { UndoStack } from '../../control/undo.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('property: a semaphore never runs more than its limit, and all run', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.boolean(), { maxLength: 20 }),
      async (limit, fails) => {
        const semaphore = new Semaphore(limit);
        let now = 0;
        let most = 0;
        const results = await Promise.allSettled(
          fails.map((fail) =>
            semaphore.run(async () => {
              most = Math.max(most, ++now);
              await turn();
              now--;
              if (fail) throw new Error('told to');
            }),
          ),
        );
        t.is(most, Math.min(limit, fails.length));
        t.deepEqual(
          results.map(({ status }) => status === 'rejected'),
          fails,
        );
      },
    ),
    { numRuns: 30 },
  );
});

test('property: turns run one after the other in order of arrival, whoever fails, and each caller gets its own end', async (t) => {
  const pieces = fc.array(fc.record({ steps: fc.nat({ max: 3 }), fails: fc.boolean() }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(pieces, async (works) => {
      const turns = new Turns();
      const log: string[] = [];
      const results = works.map(({ steps, fails }, index) =>
        turns.run(async () => {
          log.push(`${index} in`);
          for (let step = 0; step < steps; step++) await turn();
          log.push(`${index} out`);
          if (fails) throw new Error(`${index}`);
          return index;
        }),
      );
      t.deepEqual(log, [], 'work never begins within the call');
      const ends = await Promise.all(results.map((result) => result.catch((error: Error) => error.message)));
      t.deepEqual(
        log,
        works.flatMap((_, index) => [`${index} in`, `${index} out`]),
      );
      t.deepEqual(
        ends,
        works.map(({ fails }, index) => (fails ? `${index}` : index)),
      );
    }),
    { numRuns: 30 },
  );
});

test('turns: work that throws at once is a failure like any other', async (t) => {
  const turns = new Turns();
  const thrown = turns.run(() => {
    throw new Error('told to');
  });
  const next = turns.run(async () => 'next');
  await t.throwsAsync(thrown, { message: 'told to' });
  t.is(await next, 'next');
});

test('turns are idle when all that was given has ended, in failure too, and not before', async (t) => {
  const turns = new Turns();
  await turns.idle();
  const log: string[] = [];
  const first = turns.run(async () => {
    await turn();
    log.push('first');
  });
  const second = t.throwsAsync(
    turns.run(async () => {
      await turn();
      log.push('second');
      throw new Error('told to');
    }),
  );
  const idle = turns.idle().then(() => log.push('idle'));
  const third = turns.run(async () => {
    await turn();
    log.push('third');
  });
  await Promise.all([first, second, idle, third]);
  t.deepEqual(log, ['first', 'second', 'idle', 'third'], 'what is given later is not waited for');
});

test('a keyed lock keeps order within a key, not between keys, and survives failures', async (t) => {
  const lock = new KeyedLock();
  const log: string[] = [];
  const work = (name: string, turns: number) => async (): Promise<void> => {
    log.push(`${name} in`);
    for (let i = 0; i < turns; i++) await turn();
    log.push(`${name} out`);
    if (name === 'a1') throw new Error('told to');
  };
  const first = t.throwsAsync(lock.run('a', work('a1', 3)));
  const second = lock.run('a', work('a2', 0));
  await lock.run('b', work('b', 0));
  t.deepEqual(log, ['a1 in', 'b in', 'b out']);
  await lock.idle();
  await first;
  await second;
  t.deepEqual(log.slice(3), ['a1 out', 'a2 in', 'a2 out']);
});

test('an undo stack runs in reverse, all of it, once', async (t) => {
  const undo = new UndoStack();
  const log: string[] = [];
  for (const name of ['one', 'two', 'three']) {
    undo.push(name, () => {
      log.push(name);
      if (name === 'two') throw new Error('told to');
    });
  }
  await undo.unwind((what) => log.push(`${what} failed`));
  await undo.unwind(() => log.push('again'));
  t.deepEqual(log, ['three', 'two', 'two failed', 'one']);
});
