/**
 * Runs one compiled test file under ava, in a process group of its own: a suite that hangs, loops or crashes takes no
 * other with it, is named, and leaves no process behind.
 */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { TapReader } from './tap.mjs';

/** Ids of the process groups that are running. */
const groups = new Set();

/** Lines of ava's stderr that are kept for the case that it fails without saying so in its results. */
const KEPT_LINES = 50;

/**
 * @param {string} root
 * @param {import('./select.mjs').Suite} suite
 * @param {import('./report.mjs').Report} report
 * @param {number} idleMilliseconds how long the suite may say nothing before it is ended as hung
 */
export async function runSuite(root, suite, report, idleMilliseconds) {
  const ava = join(root, 'node_modules/ava/entrypoints/cli.mjs');
  // ava's own guard against idling makes its TAP reporter crash; ours names the suite.
  const child = spawn(process.execPath, [ava, '--tap', '--timeout=1h', suite.path], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  groups.add(child.pid);

  let results = 0;
  let failures = 0;
  const start = Date.now();
  const reader = new TapReader(({ title, outcome, details, reason }) => {
    const name = `${suite.name}: ${title}`;
    results++;
    if (outcome === 'passed') report.passed(name);
    else if (outcome === 'skipped') report.skipped(name, reason);
    else {
      failures++;
      report.failed(name, `${details}\nagain: npm test -- ${suite.path.replace('dist/', '').replace(/js$/, 'ts')}`);
    }
  });

  let hung = false;
  const hang = () => {
    hung = true;
    endGroup(child.pid, 'SIGKILL');
  };
  let guard = setTimeout(hang, idleMilliseconds);
  let errors = [];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    clearTimeout(guard);
    guard = setTimeout(hang, idleMilliseconds);
    reader.push(text);
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = [...errors, ...text.split('\n')].slice(-KEPT_LINES);
  });

  const ending = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code === 0 ? null : (signal ?? `exit code ${code}`)));
  });
  clearTimeout(guard);
  reader.end();
  endGroup(child.pid, 'SIGKILL'); // what a test started and forgot
  groups.delete(child.pid);

  if (hung) report.failed(suite.name, `hung: said nothing for ${idleMilliseconds / 1000} s after ${results} results`);
  else if (ending !== null && failures === 0) report.failed(suite.name, `ended by ${ending}\n${errors.join('\n')}`);
  else if (results === 0) report.failed(suite.name, 'ran no test');
  report.note(`${suite.name}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
}

/** Ends what is running, when the run itself is being ended. */
export function endAllSuites() {
  for (const group of groups) endGroup(group, 'SIGKILL');
}

function endGroup(group, signal) {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error; // none is left: that is what was wanted
  }
}
