import test from 'ava';
import fc from 'fast-check';
import { ANY_PORT, countFree, EVEN_PORTS, freePort, ODD_PORTS, PortSet } from '../../../core/tables/port-set.js';

/** Ports about the borders of words, so that ranges begin and end at them. */
const port = fc.oneof(fc.integer({ min: 0, max: 130 }), fc.integer({ min: 65_400, max: 65_535 }));
const range = fc.tuple(port, port).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const step = fc.record({ op: fc.constantFrom('add', 'remove', 'addRange', 'removeRange'), port, range });

function fill(
  steps: readonly { op: string; port: number; range: readonly [number, number] }[],
): [PortSet, Set<number>] {
  const set = new PortSet();
  const model = new Set<number>();
  for (const { op, port, range } of steps) {
    const [first, last] = op.endsWith('Range') ? range : [port, port];
    if (op === 'add') set.add(port);
    else if (op === 'remove') set.remove(port);
    else if (op === 'addRange') set.addRange(first, last);
    else set.removeRange(first, last);
    for (let one = first; one <= last; one++) {
      if (op.startsWith('add')) model.add(one);
      else model.delete(one);
    }
  }
  return [set, model];
}

test('agrees with a Set', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), range, (steps, [first, last]) => {
      const [set, model] = fill(steps);
      let count = 0;
      for (let one = first; one <= last; one++) {
        if (set.has(one) !== model.has(one)) return false;
        if (model.has(one)) count++;
      }
      return set.count(first, last) === count && set.isFree(first, last) === (count === 0);
    }),
    { numRuns: 200 },
  );
  t.pass();
});

test('free ports of two sets are found in order, from any port of the range on, of either parity', (t) => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 8 }),
      fc.array(step, { maxLength: 8 }),
      range,
      fc.nat(),
      (a, b, ends, at) => {
        const [first, last] = ends;
        const [one, inOne] = fill(a);
        const [other, inOther] = fill(b);
        const from = first + (at % (last - first + 1));
        const ports = Array.from(
          { length: last - first + 1 },
          (_, i) => first + ((from - first + i) % (last - first + 1)),
        );
        const free = ports.filter((port) => !inOne.has(port) && !inOther.has(port));
        const even = free.find((port) => port % 2 === 0) ?? -1;
        const odd = free.find((port) => port % 2 === 1) ?? -1;
        return (
          countFree(one, other, first, last) === free.length &&
          freePort(one, other, from, first, last, ANY_PORT) === (free[0] ?? -1) &&
          freePort(one, other, from, first, last, EVEN_PORTS) === even &&
          freePort(one, other, from, first, last, ODD_PORTS) === odd
        );
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});
