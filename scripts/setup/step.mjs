/** One step of the set-up: a command, one line on the terminal, all of its output when it fails. */

import { spawnSync } from 'node:child_process';

/** A step that failed; the message is for the user as it is. */
export class StepError extends Error {}

/**
 * Runs a command and says so in one line with its duration.
 *
 * @param {string} title what is being done, for the terminal
 * @param {string[]} argv
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @throws {StepError} with the command and all it printed, where it fails
 */
export function step(title, argv, options = {}) {
  process.stderr.write(`setup: ${title} ...`);
  const start = Date.now();
  const [command, ...rest] = argv;
  const run = spawnSync(command, rest, {
    ...options,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.stderr.write(` ${run.status === 0 ? `${((Date.now() - start) / 1000).toFixed(1)} s` : 'failed'}\n`);
  if (run.status === 0) return;
  const ending = run.error ? run.error.message : run.signal ? `ended by ${run.signal}` : `exit code ${run.status}`;
  throw new StepError([run.stdout, run.stderr, `setup: ${argv.join(' ')}: ${ending}`].filter(Boolean).join('\n'));
}
