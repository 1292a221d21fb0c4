/** `npm run bench:e2e`: Tapline beside the kernel's bridge and beside a C relay, between network namespaces of its own. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context, Options } from './context.js';
import { parseOptions, USAGE, UsageError } from './options.js';
import { type Report, readEnvironment, toJson, toText } from './report.js';
import { inScope, runScenarios, takesPart } from './runner.js';
import { measureEndpoints } from './scenarios/endpoints.js';
import { newHttpConnections } from './scenarios/http.js';
import { packetCpuFast, packetCpuSlow } from './scenarios/packet-cpu.js';
import { pingRoundTrip } from './scenarios/ping.js';
import type { Scenario } from './scenarios/scenario.js';
import { tcpFourStreams, tcpOneStream } from './scenarios/tcp.js';
import { Scope } from './scope.js';
import { compile, requireTools } from './tools.js';

const SCENARIOS: readonly Scenario[] = [
  tcpOneStream,
  tcpFourStreams,
  newHttpConnections,
  packetCpuSlow,
  packetCpuFast,
  pingRoundTrip,
];
/** Not a ratio, hence not a Scenario. */
const ENDPOINTS = 'endpoints';

/** From dist/bench/e2e/ to the project's folder. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv, [...SCENARIOS.map((scenario) => scenario.name), ENDPOINTS]);
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
  const plan = planOf(options);
  expectRoot();
  requireTools(
    ['ip', 'gcc', 'ping', ...new Set(plan.scenarios.flatMap((scenario) => scenario.tools))],
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
    const { scenarios, engine } = await runScenarios(context, plan.scenarios);
    const endpoints = plan.endpoints ? await inScope(context, measureEndpoints) : null;
    return {
      environment,
      options,
      engine: engine ?? endpoints?.engine ?? null,
      scenarios,
      endpoints,
      leftOut: plan.leftOut,
    };
  } finally {
    await scope.close();
  }
}

interface Plan {
  readonly scenarios: readonly Scenario[];
  readonly endpoints: boolean;
  readonly leftOut: readonly string[];
}

/** What of --only the peers of --peer can give. Throws a UsageError when that is nothing. */
function planOf(options: Options): Plan {
  const asked = (name: string) => options.only.length === 0 || options.only.includes(name);
  const leftOut: string[] = [];
  const scenarios = SCENARIOS.filter((scenario) => {
    const possible = options.peers.some((peer) => takesPart(peer, scenario));
    if (asked(scenario.name) && !possible)
      leftOut.push(`left out: ${scenario.name} needs ${scenario.peers.join(' or ')}`);
    return asked(scenario.name) && possible;
  });
  const endpoints = asked(ENDPOINTS) && options.peers.includes('tapline');
  if (asked(ENDPOINTS) && !endpoints) leftOut.push(`left out: ${ENDPOINTS} needs tapline`);
  if (scenarios.length === 0 && !endpoints) throw new UsageError(leftOut.join('; '));
  return { scenarios, endpoints, leftOut };
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
