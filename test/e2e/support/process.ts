/** Programs that the tests run: to their end, or in the background until the test ends. */

import { type ChildProcess, spawn } from 'node:child_process';
import { eventually } from './wait.js';

export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds; the program is killed then, and the call rejects. */
  readonly timeout?: number;
}

const DEFAULT_TIMEOUT = 60_000;

/** Runs a program to its end, whatever its exit code. Rejects when it cannot be started or takes too long. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const { input, env, timeout = DEFAULT_TIMEOUT } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    const output = collect(child);
    const guard = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${argv.join(' ')}: still running after ${timeout} ms\n${output.stdout}${output.stderr}`));
    }, timeout);
    child.on('error', (error) => {
      clearTimeout(guard);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(guard);
      resolve({ code, signal, ...output });
    });
    child.stdin?.on('error', () => {}); // a program that does not read its input to the end
    child.stdin?.end(input);
  });
}

/** Runs a program that must succeed. Resolves to its standard output. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0) throw new Error(`${argv.join(' ')}: ${describe(result)}`);
  return result.stdout;
}

export function describe({ code, signal, stdout, stderr }: Result): string {
  return `${signal === null ? `exit code ${code}` : `ended by ${signal}`}\n${stdout}${stderr}`;
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  return output;
}

export interface Background {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** True until the program has ended. */
  readonly running: () => boolean;
  /** Resolves when the program has ended and all its output is there. */
  readonly ended: Promise<Result>;
  /** Waits for text in the program's output. Rejects, with all output, when it ends first or says nothing in time. */
  said(pattern: RegExp, timeout?: number): Promise<void>;
  /** Sends a signal and waits for the end; SIGKILL after 30 s. */
  stop(signal?: NodeJS.Signals): Promise<Result>;
}

/** Something at whose end things are cleared away, in the reverse order: a test, or a scope that tests share. */
export interface Scope {
  teardown(work: () => unknown): void;
}

/** Starts a program that is ended, at the latest, with the test. */
export function start(t: Scope, argv: readonly string[], env: Readonly<Record<string, string>> = {}): Background {
  const child = spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = collect(child);
  let running = true;
  const ended = new Promise<Result>((resolve) => {
    child.on('error', (error) => {
      running = false;
      resolve({ code: null, signal: null, stdout: output.stdout, stderr: `${output.stderr}${error.message}` });
    });
    child.on('exit', () => {
      running = false;
    });
    child.on('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<Result> => {
    if (running) child.kill(signal);
    const guard = setTimeout(() => child.kill('SIGKILL'), 30_000);
    const result = await ended;
    clearTimeout(guard);
    return result;
  };
  const said = async (pattern: RegExp, timeout?: number): Promise<void> => {
    const matches = (): boolean => pattern.test(output.stdout) || pattern.test(output.stderr);
    try {
      await eventually(`${argv.join(' ')} saying ${pattern}`, () => matches() || !running, timeout);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${output.stdout}${output.stderr}`);
    }
    if (!matches()) throw new Error(`${argv.join(' ')} did not say ${pattern}: ${describe(await ended)}`);
  };
  t.teardown(async () => {
    if (running) child.kill('SIGKILL');
    // Not its end alone: what it started may hold its output open.
    child.stdout?.destroy();
    child.stderr?.destroy();
    await ended;
  });
  return {
    pid: child.pid ?? -1,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    running: () => running,
    ended,
    said,
    stop,
  };
}
