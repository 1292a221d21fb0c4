/** Child processes of a benchmark: run to the end, or started as daemons and ended by their own pid. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { Scope } from './scope.js';

/** Milliseconds that a daemon has between SIGTERM and SIGKILL; the kernel alone takes 20 ms to remove one TAP. */
const STOP_TIMEOUT = 60_000;

export interface RunOptions {
  readonly interrupt: AbortSignal;
  /** Text for its standard input. */
  readonly input?: string;
}

/**
 * Runs a command to its end and gives its standard output. Throws with the command and the last line of its standard error
 * when it cannot be started, fails, or is interrupted (it is then ended with SIGTERM).
 */
export async function run(argv: readonly string[], options: RunOptions): Promise<string> {
  options.interrupt.throwIfAborted();
  const child = launch(argv, options.input === undefined ? 'ignore' : 'pipe');
  const stop = () => child.kill('SIGTERM');
  options.interrupt.addEventListener('abort', stop, { once: true });
  if (child.stdin !== null) {
    child.stdin.on('error', () => {}); // the exit status tells why it closed its input early
    child.stdin.end(options.input);
  }
  try {
    const [output, errors, ending] = await Promise.all([textOf(child.stdout), textOf(child.stderr), endingOf(child)]);
    options.interrupt.throwIfAborted();
    if (ending !== 'exit 0') throw new Error(`${argv.join(' ')}: ${ending}: ${lastLine(errors) || lastLine(output)}`);
    return output;
  } finally {
    options.interrupt.removeEventListener('abort', stop);
  }
}

export type DaemonOptions = {
  readonly interrupt: AbortSignal;
  readonly timeoutMs: number;
} & (SaysReady | FoundReady);

interface SaysReady {
  /** It stands once it prints this line on its standard output. */
  readonly readyLine: string | RegExp;
}

/** For those that say nothing of it. */
interface FoundReady {
  /** It stands once this gives true, asked every READY_INTERVAL. */
  readonly isReady: (pid: number) => Promise<boolean>;
}

/** Milliseconds. */
const READY_INTERVAL = 50;

/**
 * Starts a command that stays, waits until it is ready, and gives its pid. `scope` ends it. Throws with the last
 * line of its standard error when it ends before it is ready, or with the time it had.
 */
export async function startDaemon(argv: readonly string[], scope: Scope, options: DaemonOptions): Promise<number> {
  options.interrupt.throwIfAborted();
  const child = launch(argv, 'ignore');
  const ending = endingOf(child);
  ending.catch(() => {}); // reported below, while somebody waits for it
  scope.defer(`ending ${argv.join(' ')}`, () => stop(child, ending));
  const errors = keepLastLine(child.stderr);
  const timer = new AbortController();
  const ready =
    'readyLine' in options ? readyLineOf(child, options.readyLine) : foundReady(child, options, timer.signal);
  try {
    await Promise.race([
      ready,
      ending.then((how) => {
        throw new Error(`${argv.join(' ')}: ended before it was ready, ${how}: ${errors()}`);
      }),
      rejectAfter(
        options.timeoutMs,
        timer.signal,
        () => `${argv.join(' ')}: not ready after ${options.timeoutMs / 1000} s: ${errors()}`,
      ),
      rejectOn(options.interrupt, timer.signal),
    ]);
  } finally {
    timer.abort();
  }
  return child.pid as number;
}

function launch(argv: readonly string[], stdin: 'ignore' | 'pipe'): ChildProcess {
  return spawn(argv[0] as string, argv.slice(1), { stdio: [stdin, 'pipe', 'pipe'] });
}

/** "exit 0", "exit 1", "ended by SIGTERM". Rejects when the command cannot be started. */
function endingOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal === null ? `exit ${code}` : `ended by ${signal}`));
  });
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = '';
  if (stream !== null) for await (const chunk of stream) text += chunk;
  return text;
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

/** Keeps reading, so that the child never blocks on a full pipe; the function gives the last line so far. */
function keepLastLine(stream: NodeJS.ReadableStream | null): () => string {
  let last = 'it said nothing on stderr';
  if (stream !== null) createInterface({ input: stream }).on('line', (line) => (last = line || last));
  return () => last;
}

function readyLineOf(child: ChildProcess, wanted: string | RegExp): Promise<void> {
  const matches = (line: string) => (typeof wanted === 'string' ? line.trim() === wanted : wanted.test(line));
  return new Promise((resolve) => {
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (matches(line)) resolve();
    });
  });
}

/** Reads its standard output away, as nobody else does. A command that could not be started is never ready. */
async function foundReady(child: ChildProcess, { isReady }: FoundReady, cancelled: AbortSignal): Promise<void> {
  child.stdout?.resume();
  while (child.pid === undefined || !(await isReady(child.pid))) {
    if (cancelled.aborted) return;
    await pause(READY_INTERVAL);
  }
}

function rejectAfter(ms: number, cancelled: AbortSignal, message: () => string): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Error(message())), ms);
    cancelled.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}

function rejectOn(signal: AbortSignal, cancelled: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: cancelled });
  });
}

async function stop(child: ChildProcess, ending: Promise<string>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
  const how = await ending;
  clearTimeout(timer);
  if (how === 'ended by SIGKILL')
    throw new Error(`did not end within ${STOP_TIMEOUT / 1000} s of SIGTERM and was killed`);
}
