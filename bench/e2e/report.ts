/** A finished run as tables for the terminal, or as one JSON object. */

import { cpus, loadavg, release } from 'node:os';
import { DEFAULT_PEERS, GUARD_PEERS, type Options, PEER_NAMES, type PeerName } from './context.js';
import type { ScenarioResult, Verdict } from './runner.js';
import { ENDPOINT_BARS, type EndpointsResult } from './scenarios/endpoints.js';
import { median } from './statistics.js';

export interface Report {
  readonly environment: Environment;
  readonly options: Options;
  /** The engine that Tapline ran on; null when it took no part. */
  readonly engine: string | null;
  readonly scenarios: readonly ScenarioResult[];
  readonly endpoints: EndpointsResult | null;
  /** Parts that were asked for and cannot be had with the chosen peers. */
  readonly leftOut: readonly string[];
}

export interface Environment {
  readonly cpus: number;
  readonly cpuModel: string;
  readonly kernel: string;
  readonly node: string;
  /** Mean number of running processes over the minute before the run: what else the machine had to do. */
  readonly loadBefore: number;
}

export function readEnvironment(): Environment {
  return {
    cpus: cpus().length,
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    kernel: release(),
    node: process.version,
    loadBefore: loadavg()[0] as number,
  };
}

export function toJson(report: Report): string {
  return JSON.stringify({ suite: 'l2', ...report }, null, 2);
}

export function toText(report: Report): string {
  const parts = [environmentLine(report)];
  if (report.scenarios.length > 0) {
    const { rounds, seconds } = report.options;
    parts.push(
      `medians of ${rounds} rounds of ${seconds} s; ratio: Tapline to the peer named, median of the rounds' own`,
    );
    parts.push('', table(figureRows(report)));
    if (report.scenarios.some((each) => each.guardRatios.length > 0))
      parts.push('', table(guardRows(report.scenarios)));
    parts.push('', 'CPU of the switch, percent of one processor', table(cpuRows(report.scenarios)));
  }
  if (report.endpoints !== null) parts.push('', table(endpointRows(report.endpoints)));
  for (const line of report.leftOut) parts.push('', line);
  return parts.join('\n');
}

function environmentLine({ environment, engine }: Report): string {
  const { cpus, cpuModel, kernel, node, loadBefore } = environment;
  const runsOn = engine === null ? 'without Tapline' : `engine ${engine}`;
  return `${cpus} × ${cpuModel}, Linux ${kernel}, Node ${node}, ${runsOn}, load before ${loadBefore.toFixed(2)}`;
}

/** The usual peers, whether they took part or not; or those chosen, where the guards are measured. */
function columnsOf({ peers }: Options): readonly PeerName[] {
  return peers.some((peer) => GUARD_PEERS.includes(peer)) ? peers : DEFAULT_PEERS;
}

function figureRows({ scenarios, options }: Report): string[][] {
  const columns = columnsOf(options);
  const header = ['what', ...columns, 'unit', 'ratio', 'of rounds', 'bar', 'aim', 'verdict'];
  return [header, ...scenarios.map((result) => figureRow(result, columns))];
}

/** What the guards may cost of any figure: not measurable, with a margin for a machine that is shared. */
const GUARD_BAR = 0.03;

/** Every guard on to all off. */
function guardRows(results: readonly ScenarioResult[]): string[][] {
  const rows = results
    .filter(({ guardRatios }) => guardRatios.length > 0)
    .map(({ scenario, guardRatios }) => {
      const ratio = median(guardRatios);
      const loss = scenario.better === 'higher' ? 1 - ratio : ratio - 1;
      const range = `${Math.min(...guardRatios).toFixed(2)}–${Math.max(...guardRatios).toFixed(2)}`;
      return [scenario.title, `${ratio.toFixed(3)}×`, range, loss <= GUARD_BAR ? 'bar reached' : 'MISSED'];
    });
  return [[GUARD_PEERS.toReversed().join(' to '), 'ratio', 'of rounds', `loses ≤ ${GUARD_BAR * 100} %`], ...rows];
}

function figureRow(result: ScenarioResult, peers: readonly PeerName[]): string[] {
  const { scenario, medians, ratios, ratio, verdict } = result;
  const sign = scenario.better === 'higher' ? '≥' : '≤';
  return [
    scenario.title,
    ...peers.map((peer) => significant(medians[peer])),
    scenario.unit,
    ratio === null ? '–' : `${ratio.toFixed(2)}× ${scenario.reference}`,
    ratio === null ? '–' : `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
    `${sign} ${scenario.bar.toFixed(2)}×`,
    `${scenario.aim.toFixed(2)}×`,
    verdict === null ? '–' : VERDICTS[verdict],
  ];
}

const VERDICTS: Readonly<Record<Verdict, string>> = { aim: 'aim reached', bar: 'bar reached', missed: 'MISSED' };

function endpointRows(result: EndpointsResult): string[][] {
  const row = (what: string, value: number, unit: string, bar: number) => [
    `${result.endpoints} endpoints: ${what}`,
    significant(value),
    unit,
    `≤ ${bar}`,
    value <= bar ? 'bar reached' : 'MISSED',
  ];
  return [
    ['what', 'tapline', 'unit', 'bar', 'verdict'],
    row('all attached', result.readySeconds, 's', ENDPOINT_BARS.readySeconds),
    row('idle CPU', result.idleCpuPercent, '%', ENDPOINT_BARS.idleCpuPercent),
    row('RSS', result.residentMiB, 'MB', ENDPOINT_BARS.residentMiB),
  ];
}

function cpuRows(results: readonly ScenarioResult[]): string[][] {
  const measured: readonly PeerName[] = PEER_NAMES.filter((peer) =>
    results.some((each) => peer in each.switchCpuPercent),
  );
  const cell = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(0));
  const rows = results.map((each) => [
    each.scenario.title,
    ...measured.map((peer) => cell(each.switchCpuPercent[peer])),
  ]);
  return [['what', ...measured], ...rows];
}

function significant(value: number | undefined): string {
  if (value === undefined) return '–';
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** First column to the left, the others to the right. */
function table(rows: readonly string[][]): string {
  const columns = rows[0] as string[];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number);
  return rows.map((row) => row.map(pad).join('  ').trimEnd()).join('\n');
}
