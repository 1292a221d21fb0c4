/**
 * The order of a run. All peers stand side by side and idle; within a round they are measured one after the other, and the
 * next round goes through them the other way round, so that a machine that slows down or speeds up meets each alike. What is
 * compared is the ratio within a round, and what is reported is the median of these ratios.
 */

import { median } from '../statistics.js';
import { type Context, PEER_NAMES, type PeerName } from './context.js';
import { machineCpuNs, processCpuNs } from './cpu.js';
import { inNamespace } from './namespaces.js';
import { askedAt, askedAt6, type Peer, type Site } from './peers/peer.js';
import { run } from './processes.js';
import type { Beside, Measurement, Scenario } from './scenarios/scenario.js';
import { GIGABITS } from './scenarios/tcp.js';
import { Scope } from './scope.js';
import { type Suite, takesPart } from './suites/suite.js';

/** Seconds of load before the first round: compilation, address resolution, caches. Not reported. */
const WARM_UP_SECONDS = 1;

export interface Figure extends Measurement {
  /** Processor time of the switch in percent of one processor; null where it is the kernel. */
  readonly switchCpuPercent: number | null;
  /** Processor time of the whole machine, both hosts and all else included, in percent of one processor. */
  readonly machineCpuPercent: number;
}

/** The figures of one round, in the order in which they were taken. */
export type Round = Readonly<Partial<Record<PeerName, Figure>>>;

export type Verdict = 'aim' | 'bar' | 'missed';

export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly rounds: readonly Round[];
  readonly medians: Readonly<Partial<Record<PeerName, number>>>;
  readonly switchCpuPercent: Readonly<Partial<Record<PeerName, number>>>;
  readonly cpuPerGbit: CpuPerGbit | null;
  /** The subject's figure to the reference's, a round each; empty unless both took part. */
  readonly ratios: readonly number[];
  readonly ratio: number | null;
  /** Of the peers that Tapline took part with. */
  readonly beside: readonly BesideResult[];
  /** Every guard on to all off, a round each; empty unless both took part. */
  readonly guardRatios: readonly number[];
  readonly verdict: Verdict | null;
}

/** Tapline's figure to that of a further peer. */
export interface BesideResult extends Beside {
  /** A round each. */
  readonly ratios: readonly number[];
  readonly ratio: number;
}

/** Milliseconds of one processor per Gbit that arrived: medians. Null where the figure is none of Gbit/s. */
export interface CpuPerGbit {
  readonly machine: Readonly<Partial<Record<PeerName, number>>>;
  readonly switch: Readonly<Partial<Record<PeerName, number>>>;
  /** The subject's of the machine to the reference's, median of the rounds' own; null unless both took part. */
  readonly ratio: number | null;
}

export interface SuiteResult {
  readonly scenarios: readonly ScenarioResult[];
  /** The engine that Tapline ran on; null when it took no part. */
  readonly engine: string | null;
}

/** Sets the chosen peers up once and runs these scenarios of the suite over them. */
export async function runScenarios(
  context: Context,
  suite: Suite,
  scenarios: readonly Scenario[],
): Promise<SuiteResult> {
  return await inScope(context, async (inner) => {
    const sites: Site[] = [];
    const needed = inner.options.peers.filter((peer) => scenarios.some((each) => takesPart(suite, peer, each)));
    for (const peer of needed) {
      inner.say(`setting up ${peer}`);
      const site = await (suite.peers[peer] as Peer)(inner);
      await expectConnected(inner, site);
      sites.push(site);
    }
    const results: ScenarioResult[] = [];
    for (const scenario of scenarios) {
      const taking = sites.filter((site) => takesPart(suite, site.peer, scenario));
      results.push(await runScenario(inner, scenario, taking));
    }
    return { scenarios: results, engine: sites.find((site) => site.engine !== null)?.engine ?? null };
  });
}

/** Runs `work` with a scope of its own, closed however it ends. */
export async function inScope<T>(context: Context, work: (inner: Context) => Promise<T>): Promise<T> {
  const scope = new Scope((line) => context.say(line));
  try {
    return await work({ ...context, scope });
  } finally {
    await scope.close();
  }
}

/** A TAP passes nothing for a moment after it came up, hence several attempts. */
async function expectConnected(context: Context, site: Site): Promise<void> {
  const { server } = site;
  const { address, address6 } = server.onIpv6Underlay ?? {};
  for (const each of [askedAt(server), askedAt6(server), address, address6])
    if (each !== undefined) await expectAnswer(context, site, each);
}

async function expectAnswer(context: Context, site: Site, address: string): Promise<void> {
  const ping = ['ping', '-n', '-c', '1', '-W', '1', address];
  for (let attempt = 1; ; attempt++) {
    try {
      await run(inNamespace(site.client.netns, ping), context);
      return;
    } catch (error) {
      if (attempt === 5 || context.interrupt.aborted)
        throw new Error(`${site.peer} does not connect its two hosts: ${(error as Error).message}`);
    }
  }
}

async function runScenario(context: Context, scenario: Scenario, sites: readonly Site[]): Promise<ScenarioResult> {
  return await inScope(context, async (inner) => {
    for (const site of sites) {
      await scenario.prepare(inner, site, inner.scope);
      await measure(inner, scenario, site, WARM_UP_SECONDS, 'warm-up');
    }
    const rounds: Round[] = [];
    for (let number = 1; number <= inner.options.rounds; number++) {
      const order = number % 2 === 1 ? sites : sites.toReversed();
      const round: Partial<Record<PeerName, Figure>> = {};
      for (const site of order) {
        const figure = await measure(inner, scenario, site, inner.options.seconds, `round ${number}`);
        round[site.peer] = figure;
        inner.say(
          `${scenario.name} round ${number}/${inner.options.rounds} ${site.peer}: ${progress(scenario, figure)}`,
        );
      }
      rounds.push(round);
    }
    return summarise(scenario, rounds);
  });
}

/** One figure of one peer, with the processor time that its switch spent meanwhile. */
async function measure(
  context: Context,
  scenario: Scenario,
  site: Site,
  seconds: number,
  when: string,
): Promise<Figure> {
  const started = performance.now();
  const cpu = switchCpuNs(site);
  const machineCpu = machineCpuNs();
  let measurement: Measurement;
  try {
    measurement = await scenario.measure(context, site, seconds);
  } catch (error) {
    throw new Error(`${scenario.name}, ${site.peer}, ${when}: ${(error as Error).message}`);
  }
  const elapsedNs = (performance.now() - started) * 1e6;
  const switchCpuPercent = site.switchPid === null ? null : (100 * (switchCpuNs(site) - cpu)) / elapsedNs;
  const machineCpuPercent = (100 * (machineCpuNs() - machineCpu)) / elapsedNs;
  return { ...measurement, switchCpuPercent, machineCpuPercent };
}

/** Of all its processes; 0 where the kernel is the switch. */
function switchCpuNs({ switchPid, workerPids = [] }: Site): number {
  const pids = switchPid === null ? [] : [switchPid, ...workerPids];
  return pids.reduce((sum, pid) => sum + processCpuNs(pid), 0);
}

function progress(scenario: Scenario, figure: Figure): string {
  const cpu = figure.switchCpuPercent === null ? '' : `, switch ${figure.switchCpuPercent.toFixed(0)} % CPU`;
  const details = Object.entries(figure.details).map(([name, value]) => `, ${name} ${Number(value.toPrecision(4))}`);
  return `${Number(figure.value.toPrecision(4))} ${scenario.unit}${cpu}${details.join('')}`;
}

/** Medians and ratios of a scenario's rounds. */
export function summarise(scenario: Scenario, rounds: readonly Round[]): ScenarioResult {
  const ratios = ratiosOf(rounds, subjectOf(scenario), scenario.reference);
  const ratio = ratios.length === 0 ? null : median(ratios);
  return {
    scenario,
    rounds,
    medians: mediansOf(rounds, (figure) => figure.value),
    switchCpuPercent: mediansOf(rounds, (figure) => figure.switchCpuPercent),
    cpuPerGbit: scenario.unit === GIGABITS ? cpuPerGbitOf(rounds, scenario) : null,
    ratios,
    ratio,
    beside: besideOf(rounds, scenario),
    guardRatios: ratiosOf(rounds, 'tapline-guarded', 'tapline-open'),
    verdict: ratio === null ? null : verdictOf(scenario, ratio),
  };
}

/** Whose ratios these are. */
function subjectOf({ subject = 'tapline' }: Scenario): PeerName {
  return subject;
}

function besideOf(rounds: readonly Round[], scenario: Scenario): BesideResult[] {
  return (scenario.beside ?? []).flatMap((each) => {
    const ratios = ratiosOf(rounds, subjectOf(scenario), each.peer);
    return ratios.length === 0 ? [] : [{ ...each, ratios, ratio: median(ratios) }];
  });
}

function cpuPerGbitOf(rounds: readonly Round[], scenario: Scenario): CpuPerGbit {
  const machine = (figure: Figure) => perGbit(figure.machineCpuPercent, figure);
  const ratios = ratiosOf(rounds, subjectOf(scenario), scenario.reference, machine);
  return {
    machine: mediansOf(rounds, machine),
    switch: mediansOf(rounds, (figure) =>
      figure.switchCpuPercent === null ? null : perGbit(figure.switchCpuPercent, figure),
    ),
    ratio: ratios.length === 0 ? null : median(ratios),
  };
}

/** A hundredth of a second a second is a percent, so a percent a Gbit/s is 10 ms a Gbit. */
function perGbit(percent: number, figure: Figure): number {
  return (10 * percent) / figure.value;
}

function ratiosOf(
  rounds: readonly Round[],
  peer: PeerName,
  reference: PeerName,
  field: (figure: Figure) => number = (figure) => figure.value,
): number[] {
  const ratios: number[] = [];
  for (const round of rounds) {
    const [own, other] = [round[peer], round[reference]];
    if (own !== undefined && other !== undefined) ratios.push(field(own) / field(other));
  }
  return ratios;
}

function mediansOf(
  rounds: readonly Round[],
  field: (figure: Figure) => number | null,
): Partial<Record<PeerName, number>> {
  const medians: Partial<Record<PeerName, number>> = {};
  for (const peer of PEER_NAMES) {
    const values = rounds.map((round) => round[peer]).map((figure) => (figure === undefined ? null : field(figure)));
    const present = values.filter((value) => value !== null);
    if (present.length > 0) medians[peer] = median(present);
  }
  return medians;
}

/** Null for a goal without a bar. */
export function verdictOf(goal: Pick<Scenario, 'better' | 'bar' | 'aim'>, ratio: number): Verdict | null {
  if (goal.bar === null) return null;
  if (goal.aim !== null && reaches(goal, goal.aim, ratio)) return 'aim';
  return reaches(goal, goal.bar, ratio) ? 'bar' : 'missed';
}

/** Whether a ratio is at a limit or on its better side. */
export function reaches({ better }: Pick<Scenario, 'better'>, limit: number, ratio: number): boolean {
  return better === 'higher' ? ratio >= limit : ratio <= limit;
}
