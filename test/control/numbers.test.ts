import test from 'ava';
import { NumberRegister, Numbers } from '../../control/numbers.js';

test('a name has the number that it had, others have others', (t) => {
  const register = new NumberRegister({ a: 1, b: 2 });
  const choose = (): number => {
    for (let number = 1; ; number++) if (!register.isTaken(number)) return number;
  };
  t.is(register.take('c', choose), 3, 'those of an earlier process are kept for it');
  t.is(register.take('b', choose), 2);
  t.deepEqual(register.list(), { a: 1, b: 2, c: 3 });
  register.settle();
  t.deepEqual(register.list(), { b: 2, c: 3 });
  t.is(register.take('d', choose), 1, 'who has not come back has lost it');
});

test('a name that comes twice in one process has the old number once', (t) => {
  const register = new NumberRegister({ uplink: 7 });
  t.is(
    register.take('uplink', () => 1),
    7,
  );
  register.release(7);
  t.is(
    register.take('uplink', () => 8),
    8,
    'what came back as another is another',
  );
  t.is(register.highest, 7);
});

test('nonsense in what was written down is passed over', (t) => {
  const register = new NumberRegister({ a: -1, b: 0, c: 'x' as unknown as number, d: 1.5, e: 4 });
  t.deepEqual(register.list(), { e: 4 });
});

test('what is written down is what is needed to go on, of all kinds', async (t) => {
  const written: unknown[] = [];
  const numbers: Numbers = new Numbers({ ports: { a: 3 } }, async () => {
    written.push(numbers.list());
  });
  numbers.domains.take('blue', () => 1);
  await numbers.saved();
  t.deepEqual(written, [
    { domains: { blue: 1 }, ports: { a: 3 }, vrfs: {}, interfaces: {}, services: {}, backends: {} },
  ]);
});
