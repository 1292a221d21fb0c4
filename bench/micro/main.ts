/** `npm run bench:micro [-- FILTER] [--json]`: in-memory benchmarks of core/. Exit code 1 where a bar is missed. */

import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { applyV8Flags } from '../../control/v8-flags.js';
import { median } from '../statistics.js';
import { fibCases } from './fib.js';
import { flowTableCases } from './flow-table.js';
import { forwardingCases } from './forwarding.js';
import { HEAP_NAMES, type HeapResult, heapGrowth } from './heap.js';
import { comparedCases, lbCases } from './lb.js';
import { offloadCases } from './offload.js';
import { type Case, fastest, type Result, runCase } from './suite.js';
import { GUARDED, switchCases, UNGUARDED } from './switch.js';
import { translatedCases } from './translated.js';
import { vxlanCases } from './vxlan.js';
import { wireCases } from './wire.js';

/** Rounds of guards off and on, and of many services and one, in turn. */
const GUARD_ROUNDS = 9;
const SERVICE_ROUNDS = 5;

/** One group a process: V8 specialises the hot path for the kinds of objects it has met, and groups would spoil each other's. */
const GROUPS: Record<string, () => Case[]> = {
  wire: wireCases,
  switch: switchCases,
  fib: () => [...fibCases(), ...forwardingCases()],
  nat: () => [...translatedCases(), ...flowTableCases()],
  lb: lbCases,
  offload: offloadCases,
  vxlan: vxlanCases,
};

function main(): void {
  const words = process.argv.slice(2);
  const json = words.includes('--json');
  const wanted = words.filter((word) => !word.startsWith('--'));
  const at = words.indexOf('--case');
  applyV8Flags();
  if (at >= 0) {
    runOne(words[at + 1], Number(words[at + 2]));
    return;
  }
  const fast = words.indexOf('--fastest');
  if (fast >= 0) {
    process.stdout.write(JSON.stringify(fastest(GROUPS[words[fast + 1]]()[Number(words[fast + 2])])));
    return;
  }
  const heap = words.indexOf('--heap');
  if (heap >= 0) {
    process.stdout.write(JSON.stringify(heapGrowth(Number(words[heap + 1]))));
    return;
  }
  report(wanted, json);
}

/** Child process: one case, its result as JSON. */
function runOne(group: string, index: number): void {
  process.stdout.write(JSON.stringify(runCase(GROUPS[group]()[index])));
}

/** @param wanted parts of names of groups and cases; none: everything */
function report(wanted: readonly string[], json: boolean): void {
  const isWanted = (name: string): boolean =>
    wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part.toLowerCase()));
  const isAsked = (names: string): boolean => wanted.length === 0 || wanted.some((part) => names.includes(part));
  const results: Result[] = [];
  for (const [group, cases] of Object.entries(GROUPS)) {
    cases().forEach((item, index) => {
      if (!isWanted(`${group} ${item.name}`)) return;
      const result = child<Result>(['--case', group, String(index)]);
      results.push(result);
      if (!json) print(result);
    });
  }
  const heap = heapResults(isWanted);
  const guards = isAsked('switch guards') ? guardCosts() : [];
  const services = isAsked('lb many services') ? serviceCosts() : [];
  const costs = [...guards, ...services];
  const missed =
    results.filter((result) => result.bar !== null && result.perSecond < result.bar).length +
    costs.filter((cost) => cost.bar !== null && cost.ratio > cost.bar).length +
    heap.filter((result) => !result.ok).length;
  if (results.length + costs.length + heap.length === 0) throw new Error(`no benchmark matches ${wanted.join(' ')}`);
  process.exitCode = missed > 0 ? 1 : 0;
  if (json)
    console.log(
      JSON.stringify({ node: process.version, cpu: cpus()[0]?.model, results, guards, services, heap }, null, 2),
    );
  else printSummary(costs, heap);
}

function heapResults(isWanted: (name: string) => boolean): HeapResult[] {
  const runs = HEAP_NAMES.map((name, run) => ({ name: `heap ${name}`, run }));
  return runs.filter(({ name }) => isWanted(name)).map(({ run }) => child<HeapResult>(['--heap', String(run)]));
}

function printSummary(costs: readonly Cost[], heap: readonly HeapResult[]): void {
  for (const cost of costs) printCost(cost);
  for (const { name, packets, bytes, ok } of heap) {
    const verdict = ok ? 'ok (none but the measuring)' : 'MISSED';
    console.log(`heap growth over ${packets} packets, ${name}: ${bytes} bytes  ${verdict}`);
  }
}

interface Cost {
  readonly name: string;
  /** What it is compared with. */
  readonly base: string;
  /** Nanoseconds a packet: medians. */
  readonly off: number;
  readonly on: number;
  /** Median of the rounds' ratios on / off. */
  readonly ratio: number;
  readonly bar: number | null;
}

/** What the bridge's guards cost, measured in turn with the same without them. */
function guardCosts(): Cost[] {
  return GUARDED.map(({ index, bar }) => costOf('switch', index, UNGUARDED, bar, GUARD_ROUNDS, 'off'));
}

/** What it costs that a service is one of many, measured in turn with one alone. */
function serviceCosts(): Cost[] {
  const cases = lbCases();
  return comparedCases().map(({ index, base, bar }) =>
    costOf('lb', index, base, bar, SERVICE_ROUNDS, cases[base].name),
  );
}

/** @param at the case's number in its group; `from`, what it is compared with */
function costOf(group: string, at: number, from: number, bar: number | null, rounds: number, base: string): Cost {
  const off: number[] = [];
  const on: number[] = [];
  for (let round = 0; round < rounds; round++) {
    off.push(child<number>(['--fastest', group, String(from)]));
    on.push(child<number>(['--fastest', group, String(at)]));
  }
  const ratio = median(on.map((value, round) => value / off[round]));
  return { name: GROUPS[group]()[at].name, base, off: median(off), on: median(on), ratio, bar };
}

function printCost({ name, base, off, on, ratio, bar }: Cost): void {
  const verdict = bar === null ? '' : ratio > bar ? `bar ${bar}: MISSED` : `bar ${bar}: met`;
  console.log(
    `${`${name} / ${base}`.padEnd(60)} ${off.toFixed(1)} → ${on.toFixed(1)} ns  ${ratio.toFixed(3)}×  ${verdict}`.trimEnd(),
  );
}

function child<T>(words: string[]): T {
  const run = spawnSync(
    process.execPath,
    ['--expose-gc', '--max-semi-space-size=64', fileURLToPath(import.meta.url), ...words],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  if (run.status !== 0) throw new Error(`benchmark ${words.join(' ')} failed`);
  return JSON.parse(run.stdout) as T;
}

function print(result: Result): void {
  const isBytes = result.unit === 'bytes';
  const rate = `${shortRate(result, result.perSecond)}${isBytes ? 'B' : ` ${result.unit}`}/s`;
  const cost = isBytes ? '' : `${result.nanoseconds.toFixed(1)} ns`;
  const columns = [
    result.name.padEnd(56),
    rate.padStart(19),
    cost.padStart(10),
    `±${result.margin.toFixed(1)} %`.padStart(8),
    `fastest ${shortRate(result, 1e9 / result.fastest)}`.padEnd(17),
    [verdict(result), result.note].filter((part) => part !== '').join('; '),
  ];
  console.log(columns.join(' ').trimEnd());
}

/** In billions of bytes, or millions of anything else. */
function shortRate({ unit }: Result, perSecond: number): string {
  return unit === 'bytes' ? `${(perSecond / 1e9).toFixed(2)} G` : `${(perSecond / 1e6).toFixed(1)} M`;
}

function verdict(result: Result): string {
  if (result.bar === null) return '';
  const bar = `bar ${result.bar / 1e6} M`;
  if (result.perSecond < result.bar) return `${bar}: MISSED`;
  return result.aim !== null && result.perSecond >= result.aim
    ? `${bar}, aim ${result.aim / 1e6} M: both met`
    : `${bar}: met`;
}

main();
