/**
 * `node scripts/test.mjs [--unit] [--e2e] [--idle=SECONDS] [FILE...]`: lint, types, unit suites two at a time, then the end-to-end suites
 * one at a time, since those measure time and count processes; but for those that mostly wait, which run two at a time. FILE is a test or a folder of tests, as source or compiled;
 * with FILEs only these run. The last line is `N passed, N failed`, with `, N skipped` where something was skipped; the
 * exit code is 0 where nothing failed. With CI=true in the environment a skipped test is a failed one.
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

const UNIT_CONCURRENCY = 2;
/** End-to-end suites that wait for tools and timers most of their time, and measure nothing that another would disturb. */
const WAITING = new Set(
  [
    ['attacks', 'announce', 'fdb', 'isolation', 'mirror', 'multicast', 'vlan'],
    ['bridged-dhcp', 'gateway', 'reachability', 'several-networks', 'slaac', 'static-routes'],
  ].flatMap((names) => names.map((name) => `e2e/${name}`)),
);
const WAITING_CONCURRENCY = 2;

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
  const waiting = suites.filter(({ name }) => WAITING.has(name));
  const others = suites.filter(({ name }) => !WAITING.has(name));
  await runAll(waiting, WAITING_CONCURRENCY, report, idleSeconds);
  await runAll(others, 1, report, idleSeconds);
}

async function main() {
  const wanted = parseArguments(process.argv.slice(2));
  const report = new Report({ skipsFail: process.env.CI === 'true' });
  if (wanted.files.length === 0) lint(report);
  if (build(report)) {
    const { unit, e2e } = findSuites(root, wanted);
    await runAll(unit, UNIT_CONCURRENCY, report, wanted.idleSeconds);
    if (process.getuid() === 0) await runEndToEnd(e2e, report, wanted.idleSeconds);
    else for (const suite of e2e) report.skipped(suite.name, 'network namespaces need root');
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
