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
  run(): void;
  /** After the runs: whether the work was really done. */
  check(): boolean;
}

export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly perSecond: number;
  readonly nanoseconds: number;
  /** Relative margin of error, percent. */
  readonly margin: number;
  readonly bar: number | null;
  readonly aim: number | null;
}

/** @throws Error where a case did not do its work */
export function runCase(item: Case): Result {
  const benchmark = new Benchmark(item.name, () => item.run(), { maxTime: 1 });
  benchmark.run({ async: false });
  const failure = (benchmark as unknown as { error?: Error }).error;
  if (failure !== undefined) throw failure;
  if (!item.check()) throw new Error(`${item.name}: the work was not done`);
  const perSecond = benchmark.hz * item.perCall;
  return {
    name: item.name,
    unit: item.unit,
    perSecond,
    nanoseconds: 1e9 / perSecond,
    margin: benchmark.stats.rme,
    bar: item.bar ?? null,
    aim: item.aim ?? null,
  };
}
