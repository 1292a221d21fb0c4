/** A finished run as tables for the terminal, or as one JSON object. */

import { cpus, loadavg, release } from 'node:os';
import { median } from '../statistics.js';
import { DEFAULT_PEERS, GUARD_PEERS, type Options, PEER_NAMES, type PeerName, type SuiteName } from './context.js';
import { reaches, type ScenarioResult, type Verdict } from './runner.js';
import { ENDPOINT_BARS, type EndpointsResult } from './scenarios/endpoints.js';

export interface Report {
  readonly environment: Environment;
  readonly options: Options;
  readonly suites: readonly SuiteReport[];
}

export interface SuiteReport {
  readonly suite: SuiteName;
  /** Which way the packets went. */
  readonly title: string;
  /** Peers that the suite knows. */
  readonly peers: readonly PeerName[];
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
  return JSON.stringify(report, null, 2);
}

export function toText(report: Report): string {
  const { rounds, seconds } = report.options;
  const parts = [environmentLine(report)];
  if (report.suites.some((suite) => suite.scenarios.length > 0))
    parts.push(
      `medians of ${rounds} rounds of ${seconds} s; ratio: Tapline to the peer named, median of the rounds' own`,
    );
  for (const suite of report.suites) parts.push('', ...suiteParts(suite, report.options));
  return parts.join('\n');
}

function suiteParts(suite: SuiteReport, options: Options): string[] {
  const { scenarios } = suite;
  const parts = [`${suite.suite}: ${suite.title}`];
  if (scenarios.length > 0) {
    parts.push('', table(figureRows(suite, options)));
    if (scenarios.some((each) => each.guardRatios.length > 0)) parts.push('', table(guardRows(scenarios)));
    if (scenarios.some((each) => each.beside.length > 0)) parts.push('', table(besideRows(scenarios)));
    if (scenarios.some((each) => Object.keys(each.switchCpuPercent).length > 0))
      parts.push('', `CPU of the ${SUBJECTS[suite.suite]}, percent of one processor`, table(cpuRows(scenarios)));
    if (scenarios.some((each) => each.cpuPerGbit !== null))
      parts.push('', PER_GBIT_TITLE, table(perGbitRows(scenarios, SUBJECTS[suite.suite])));
  }
  if (suite.endpoints !== null) parts.push('', table(endpointRows(suite.endpoints)));
  for (const line of suite.leftOut) parts.push('', line);
  return parts;
}

/** What stands between the hosts. */
const SUBJECTS: Readonly<Record<SuiteName, string>> = {
  l2: 'switch',
  route: 'router',
  uplink: 'router',
  nat: 'router',
  publish: 'router',
  lb: 'balancer',
  vxlan: 'switches',
};
const PER_GBIT_TITLE =
  'processor time per Gbit, ms; machine: hosts, kernel and all else that ran included; ratio: of the machine';

function environmentLine({ environment, suites }: Report): string {
  const { cpus, cpuModel, kernel, node, loadBefore } = environment;
  const engine = suites.find((suite) => suite.engine !== null)?.engine ?? null;
  const runsOn = engine === null ? 'without Tapline' : `engine ${engine}`;
  return `${cpus} × ${cpuModel}, Linux ${kernel}, Node ${node}, ${runsOn}, load before ${loadBefore.toFixed(2)}`;
}

/** The suite's usual peers, whether they took part or not; or those chosen, where the guards are measured. */
function columnsOf(suite: SuiteReport, { peers }: Options): readonly PeerName[] {
  const shown = peers.some((peer) => GUARD_PEERS.includes(peer)) ? peers : DEFAULT_PEERS;
  return shown.filter((peer) => suite.peers.includes(peer));
}

function figureRows(suite: SuiteReport, options: Options): string[][] {
  const { scenarios } = suite;
  const columns = columnsOf(suite, options);
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
      return [
        scenario.title,
        `${ratio.toFixed(3)}×`,
        rangeOf(guardRatios),
        loss <= GUARD_BAR ? 'bar reached' : 'MISSED',
      ];
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
    ratio === null ? '–' : rangeOf(ratios),
    scenario.bar === null ? '–' : `${sign} ${scenario.bar.toFixed(2)}×`,
    scenario.aim === null ? '–' : `${scenario.aim.toFixed(2)}×`,
    verdict === null ? '–' : VERDICTS[verdict],
  ];
}

/** Tapline to the peers that are no bar, a row each. */
function besideRows(results: readonly ScenarioResult[]): string[][] {
  const rows = results.flatMap(({ scenario, beside }) =>
    beside.map(({ peer, aim, ratios, ratio }) => [
      `${scenario.title}: tapline to ${peer}`,
      `${ratio.toFixed(2)}×`,
      rangeOf(ratios),
      aim === null ? '–' : `${aim.toFixed(2)}×`,
      aim === null ? '–' : reaches(scenario, aim, ratio) ? 'aim reached' : 'aim missed',
    ]),
  );
  return [['beside', 'ratio', 'of rounds', 'aim', 'verdict'], ...rows];
}

/** The smallest and the largest: "0.97–1.02". */
function rangeOf(ratios: readonly number[]): string {
  return `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
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

/** Of the scenarios that have it: the machine's time for every peer, then that of the switches that are processes. */
function perGbitRows(results: readonly ScenarioResult[], subject: string): string[][] {
  const rows = results.flatMap(({ scenario, cpuPerGbit }) => (cpuPerGbit === null ? [] : [{ scenario, cpuPerGbit }]));
  const peersOf = (whose: 'machine' | 'switch') =>
    PEER_NAMES.filter((peer) => rows.some(({ cpuPerGbit }) => peer in cpuPerGbit[whose]));
  const [machines, switches] = [peersOf('machine'), peersOf('switch')];
  const header = [
    'what',
    ...machines.map((peer) => `${peer}: machine`),
    ...switches.map((peer) => `${peer}: ${subject}`),
    'ratio',
  ];
  return [
    header,
    ...rows.map(({ scenario, cpuPerGbit }) => [
      scenario.title,
      ...machines.map((peer) => significant(cpuPerGbit.machine[peer])),
      ...switches.map((peer) => significant(cpuPerGbit.switch[peer])),
      cpuPerGbit.ratio === null ? '–' : `${cpuPerGbit.ratio.toFixed(2)}× ${scenario.reference}`,
    ]),
  ];
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
