/** Short commands inside a container of the quickstart, as a person would run them there. */

import { execFile } from 'node:child_process';
import type { EndpointView } from '../../control/views.js';
import { insideProgram } from './paths.js';

const TIMEOUT_MS = 10_000;

/**
 * Runs a command in the endpoint's network namespace.
 *
 * @returns its stdout
 * @throws Error, one line: the command's last words, or how it ended
 */
export function runIn(endpoint: EndpointView, argv: readonly string[], signal: AbortSignal): Promise<string> {
  const all = [`--net=/proc/${endpoint.pid}/ns/net`, '--', ...argv];
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
  endpoint: EndpointView,
  name: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  return runIn(endpoint, [process.execPath, insideProgram(name), ...args], signal);
}
