/**
 * `node scripts/test.mjs [--unit] [--e2e] [--idle=SECONDS] [FILE...]`: lint, types, unit suites, then the end-to-end suites, three at a
 * time, since most wait for tools and timers; but for those that others would disturb, which run one at a time, last. FILE is a test or
 * a folder of tests, as source or compiled; with FILEs only these run. The last line is `N passed, N failed`, with `, N skipped` where
 * something was skipped; the exit code is 0 where nothing failed. With CI=true in the environment a skipped test is a failed one.
 *
 * In a whole run an end-to-end suite that fails is run again at the end, with nothing beside it, and that run counts: these suites
 * time real kernels and real programs on a machine that they share with each other and with strangers. The first failure stays in
 * the output, and its tests are named before the counts. Where more suites fail than a busy machine explains, none is run again.
 */

import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureBuild } from './setup/build.mjs';
import { StepError } from './setup/step.mjs';
import { Report } from './test/report.mjs';
import { endAllSuites, runSuite } from './test/run-suite.mjs';
import { findSuites, parseArguments, UsageError } from './test/select.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Of suites that run beside each other. More gain nothing on two processors. */
const CONCURRENCY = 3;
/**
 * End-to-end suites that others would disturb: they hold times, memory and what is lost under load to bounds. All others make
 * namespaces of their own, leave alone whatever they did not make, and allow for a machine that has other work.
 */
const ALONE = new Set(
  ['conntrack-load', 'crash', 'loop', 'order', 'publish', 'shared-nat', 'storm'].map((name) => `e2e/${name}`),
);
/** So many end-to-end suites of a run may fail and be run again. */
const MOST_AGAIN = 3;
/** They begin, so that none of them is the one that all wait for at the end. The longest first. */
const LONG = [
  'quickstart',
  'bench',
  'static-routes',
  'attacks',
  'conformance',
  'nat',
  'neighbors',
  'multicast',
  'vlan',
  'services-host',
  'services-schedulers',
].map((name) => `e2e/${name}`);

function lint(report) {
  const biome = join(root, 'node_modules/.bin/biome');
  const run = spawnSync(biome, ['check', '--error-on-warnings', '--colors=off', '.'], { cwd: root, encoding: 'utf8' });
  if (run.status === 0) report.passed('lint');
  else report.failed('lint', `${run.stdout ?? ''}${run.stderr ?? run.error}`);
}

/** Compiles, which checks the types. */
function build(report) {
  try {
    ensureBuild(root);
    report.passed('types');
    return true;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    report.failed('types', error.message);
    return false;
  }
}

async function runAll(suites, concurrency, report, idleSeconds) {
  const waiting = [...suites];
  const worker = async () => {
    for (let suite = waiting.shift(); suite !== undefined; suite = waiting.shift()) {
      await runSuite(root, suite, report, idleSeconds * 1000);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

async function runEndToEnd(suites, report, idleSeconds) {
  const long = LONG.flatMap((name) => suites.find((suite) => suite.name === name) ?? []);
  const beside = suites.filter((suite) => !ALONE.has(suite.name) && !long.includes(suite));
  const alone = suites.filter(({ name }) => ALONE.has(name));
  await runAll([...long, ...beside], CONCURRENCY, report, idleSeconds);
  await runAll(alone, 1, report, idleSeconds);
}

async function runFailedAgain(suites, report, idleSeconds) {
  const failed = suites.filter(({ name }) => report.hasFailed(name));
  if (failed.length > MOST_AGAIN) return;
  for (const suite of failed) {
    report.note(`${suite.name}: again, with nothing beside it`);
    await report.replace(suite.name, () => runAll([suite], 1, report, idleSeconds));
  }
}

async function main() {
  const wanted = parseArguments(process.argv.slice(2));
  const report = new Report({ skipsFail: process.env.CI === 'true' });
  if (wanted.files.length === 0) lint(report);
  if (build(report)) {
    const { unit, e2e } = findSuites(root, wanted);
    await runAll(unit, CONCURRENCY, report, wanted.idleSeconds);
    if (process.getuid() === 0) {
      await runEndToEnd(e2e, report, wanted.idleSeconds);
      if (wanted.files.length === 0) await runFailedAgain(e2e, report, wanted.idleSeconds);
    } else for (const suite of e2e) report.skipped(suite.name, 'network namespaces need root');
  }
  return report.finish();
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    endAllSuites();
    process.exit(1);
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
