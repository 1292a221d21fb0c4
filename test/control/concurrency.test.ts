import test from 'ava';
import fc from 'fast-check';
import { KeyedLock, Semaphore } from '../../control/concurrency.js';
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
