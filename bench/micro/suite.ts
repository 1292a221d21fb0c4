/** Runs cases under Benchmark.js and says what came out. */

import Benchmark from 'benchmark';

export interface Case {
  readonly name: string;
  readonly unit: string;
  /** Units in one call of `run`. */
  readonly perCall: number;
  /** Units a second that must be reached, and that we want. */
  readonly bar?: number;
  readonly aim?: number;
  /** Before the first run: what takes too long, or too much memory, to be made when cases are listed. */
  prepare?(): void;
  run(): void;
  /** After the runs: whether the work was really done. */
  check(): boolean;
  /** After the runs: a further figure. */
  note?(): string;
}

export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly perSecond: number;
  readonly nanoseconds: number;
  /** Nanoseconds a unit in the fastest of all calls. */
  readonly fastest: number;
  /** Relative margin of error, percent. */
  readonly margin: number;
  readonly bar: number | null;
  readonly aim: number | null;
  readonly note: string;
}

/** Seconds that the search for the fastest call warms up, and measures. */
const WARM_UP = 0.5;
const MEASURE = 1;

/**
 * Nanoseconds a unit in the fastest of thousands of calls of `run`, tens of microseconds each: what a busy machine disturbs least,
 * and so what ratios are taken of.
 * @throws Error where the case did not do its work
 */
export function fastest(item: Case): number {
  item.prepare?.();
  const best = fastestCall(item, WARM_UP);
  if (!item.check()) throw new Error(`${item.name}: the work was not done`);
  return best;
}

/** The same of a case that is prepared, without the check. @param warmUp seconds before */
function fastestCall(item: Case, warmUp: number): number {
  let best = Number.POSITIVE_INFINITY;
  const start = performance.now();
  for (;;) {
    const before = performance.now();
    if (before - start > (warmUp + MEASURE) * 1000) break;
    item.run();
    if (before - start > warmUp * 1000) best = Math.min(best, performance.now() - before);
  }
  return (best * 1e6) / item.perCall;
}

/** @throws Error where a case did not do its work */
export function runCase(item: Case): Result {
  item.prepare?.();
  // What is measured runs for days elsewhere: V8's compiling is not its price. Ten times as much code takes ten times as long.
  fastestCall(item, 0);
  const benchmark = new Benchmark(item.name, () => item.run(), { maxTime: 1 });
  benchmark.run({ async: false });
  const failure = (benchmark as unknown as { error?: Error }).error;
  if (failure !== undefined) throw failure;
  const best = fastestCall(item, 0);
  if (!item.check()) throw new Error(`${item.name}: the work was not done`);
  const perSecond = benchmark.hz * item.perCall;
  return {
    name: item.name,
    unit: item.unit,
    perSecond,
    nanoseconds: 1e9 / perSecond,
    fastest: best,
    margin: benchmark.stats.rme,
    bar: item.bar ?? null,
    aim: item.aim ?? null,
    note: item.note?.() ?? '',
  };
}
