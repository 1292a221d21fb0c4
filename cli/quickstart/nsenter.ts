/** Short commands inside a container of the quickstart or the host outside, as a person would run them there. */

import { execFile } from 'node:child_process';
import { insideProgram } from './paths.js';

const TIMEOUT_MS = 10_000;

/** Somebody with a network namespace: an endpoint, for one. */
export interface Inhabitant {
  /** A process there. */
  readonly pid: number | null;
}

/**
 * Runs a command in the network namespace.
 *
 * @returns its stdout
 * @throws Error, one line: the command's last words, or how it ended
 */
export function runIn({ pid }: Inhabitant, argv: readonly string[], signal: AbortSignal): Promise<string> {
  const all = [`--net=/proc/${pid}/ns/net`, '--', ...argv];
  return new Promise((resolve, reject) => {
    execFile('nsenter', all, { timeout: TIMEOUT_MS, signal }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (signal.aborted) reject(signal.reason);
      else reject(new Error(failureLine(argv[0] ?? '', error, stdout, stderr)));
    });
  });
}

function failureLine(
  program: string,
  error: { code?: unknown; killed?: boolean },
  stdout: string,
  stderr: string,
): string {
  if (error.killed === true) return `${program} did not end within ${TIMEOUT_MS / 1000} s`;
  const words = (stderr.trim() === '' ? stdout : stderr).trim().split('\n').at(-1) ?? '';
  return words === '' ? `${program}: exit code ${String(error.code)}` : words;
}

/** Runs a program of `inside/` with Node. */
export function runProgramIn(
  where: Inhabitant,
  name: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  return runIn(where, [process.execPath, insideProgram(name), ...args], signal);
}
