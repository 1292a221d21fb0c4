/** `npm run bench:e2e`: Tapline beside the kernel's bridge, router and tunnels, a C relay, haproxy and nginx, between network namespaces of its own. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Context, type Options, type PeerName, SUITE_NAMES, type SuiteName } from './context.js';
import { parseOptions, USAGE, UsageError } from './options.js';
import { type Report, readEnvironment, type SuiteReport, toJson, toText } from './report.js';
import { inScope, runScenarios } from './runner.js';
import { measureEndpoints } from './scenarios/endpoints.js';
import type { Scenario } from './scenarios/scenario.js';
import { Scope } from './scope.js';
import { ENDPOINTS, partsOf, SUITES } from './suites/all.js';
import { type Suite, takesPart } from './suites/suite.js';
import { compile, PEER_TOOLS, requireTools, withAdministration } from './tools.js';

/** From dist/bench/e2e/ to the project's folder. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

async function main(argv: readonly string[]): Promise<number> {
  const parts = Object.fromEntries(SUITE_NAMES.map((name) => [name, partsOf(SUITES[name])]));
  const options = parseOptions(argv, parts as Record<SuiteName, string[]>);
  if (options === null) {
    console.log(USAGE);
    return 0;
  }
  const interrupt = interruptOnSignals();
  try {
    const report = await benchmark(options, interrupt);
    console.log(options.json ? toJson(report) : toText(report));
    return 0;
  } catch (error) {
    if (!interrupt.aborted) throw error;
    say('interrupted; everything it made is removed');
    return 130;
  }
}

async function benchmark(options: Options, interrupt: AbortSignal): Promise<Report> {
  const plans = options.suites.map((name) => planOf(SUITES[name], options));
  if (plans.every(isEmpty)) throw new UsageError(plans.flatMap((plan) => plan.leftOut).join('; '));
  expectRoot();
  process.env.PATH = withAdministration(process.env.PATH);
  requireTools(
    [...new Set(['ip', 'gcc', 'ping', ...plans.flatMap((plan) => toolsOf(plan, options))])],
    process.env.PATH,
  );
  const environment = readEnvironment();
  const scope = new Scope(say);
  try {
    const directory = mkdtempSync(join(tmpdir(), 'tapline-bench-'));
    scope.defer(`removing ${directory}`, () => rmSync(directory, { recursive: true }));
    const binaries = join(ROOT, 'dist/bench/peers');
    const context: Context = { scope, interrupt, root: ROOT, directory, binaries, options, say };
    await compile(join(ROOT, 'bench/peers'), binaries, interrupt);
    const suites: SuiteReport[] = [];
    for (const plan of plans) {
      const named = (line: string) => say(`${plan.suite.name}: ${line}`);
      suites.push(await runSuite({ ...context, say: named }, plan));
    }
    return { environment, options, suites };
  } finally {
    await scope.close();
  }
}

async function runSuite(context: Context, plan: Plan): Promise<SuiteReport> {
  const { suite, leftOut } = plan;
  const { scenarios, engine } = await runScenarios(context, suite, plan.scenarios);
  const endpoints = plan.endpoints ? await inScope(context, measureEndpoints) : null;
  return {
    suite: suite.name,
    title: suite.title,
    peers: Object.keys(suite.peers) as PeerName[],
    engine: engine ?? endpoints?.engine ?? null,
    scenarios,
    endpoints,
    leftOut,
  };
}

/** What a suite is to run. */
interface Plan {
  readonly suite: Suite;
  readonly scenarios: readonly Scenario[];
  readonly endpoints: boolean;
  readonly leftOut: readonly string[];
}

/** What of --only a suite has and the peers of --peer can give. */
function planOf(suite: Suite, options: Options): Plan {
  const asked = (name: string) => options.only.length === 0 || options.only.includes(name);
  const leftOut: string[] = [];
  if (!partsOf(suite).some(asked)) leftOut.push(`left out: ${suite.name} has no ${options.only.join(', ')}`);
  const scenarios = suite.scenarios.filter((scenario) => {
    const possible = options.peers.some((peer) => takesPart(suite, peer, scenario));
    if (asked(scenario.name) && !possible)
      leftOut.push(`left out: ${scenario.name} needs ${scenario.peers.join(' or ')}`);
    return asked(scenario.name) && possible;
  });
  const wantsEndpoints = suite.endpoints && asked(ENDPOINTS);
  const endpoints = wantsEndpoints && options.peers.includes('tapline');
  if (wantsEndpoints && !endpoints) leftOut.push(`left out: ${ENDPOINTS} needs tapline`);
  return { suite, scenarios, endpoints, leftOut };
}

/** Of its scenarios, and of the peers that take part in one. */
function toolsOf({ suite, scenarios }: Plan, { peers }: Options): string[] {
  const taking = peers.filter((peer) => scenarios.some((scenario) => takesPart(suite, peer, scenario)));
  return [...scenarios.flatMap(({ tools }) => tools), ...taking.flatMap((peer) => PEER_TOOLS[peer] ?? [])];
}

function isEmpty({ scenarios, endpoints }: Plan): boolean {
  return scenarios.length === 0 && !endpoints;
}

function expectRoot(): void {
  if (process.getuid?.() !== 0) throw new Error('bench:e2e makes network namespaces and needs root: use sudo');
}

/** The children get a terminal's Ctrl-C as well; what they make of it no longer matters once the signal is aborted. */
function interruptOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => controller.abort(new Error(`interrupted by ${signal}`)));
  }
  return controller.signal;
}

function say(line: string): void {
  console.error(line);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof UsageError;
  console.error(`bench:e2e: ${(error as Error).message}`);
  if (usage) console.error('see npm run bench:e2e -- --help');
  process.exitCode = usage ? 2 : 1;
}
