/**
 * A command as a child process, most often `tapline`. It has a session of its own, so that Ctrl-C reaches the quickstart alone, which
 * then ends its children in the right order; and the kernel sends it SIGTERM when the quickstart is killed.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { TaplineError } from '../../control/errors.js';
import { COMMAND } from './paths.js';

/** Characters of its stderr that are kept, for the error line. */
const TAIL_LENGTH = 4096;
/** Removing some endpoints takes a moment; a child that needs longer than this hangs. */
const PATIENCE_MS = 15_000;

/** The command line of `tapline` with these arguments. */
export function taplineCommand(...args: readonly string[]): string[] {
  return [process.execPath, COMMAND, ...args];
}

export class Child {
  /** What it is, for error lines: "the container web". */
  readonly what: string;
  /** Resolves with how it ended: "exit code 1", "SIGTERM". Never rejects. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  #tail = '';
  #running = true;

  constructor(what: string, command: readonly string[], socket: string) {
    this.what = what;
    this.#process = spawn('setpriv', ['--pdeathsig', 'TERM', '--', ...command], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TAPLINE_SOCKET: socket },
    });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#tail = (this.#tail + text).slice(-TAIL_LENGTH);
    });
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#running = false;
        resolve(how);
      };
      this.#process.once('error', (error) => end(error.message));
      this.#process.once('close', (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  /** Its process. @throws Error where it could not be started */
  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Error(`${this.what} could not be started`);
    return pid;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Its stdout; what nobody reads must be resumed, or it fills up. */
  get stdout(): Readable {
    return this.#process.stdout;
  }

  /**
   * Waits for the line `word` on stdout; what follows on stdout is thrown away.
   *
   * @throws TaplineError when the child ends first; the signal's reason when it is aborted
   */
  async says(word: string, signal: AbortSignal): Promise<void> {
    let text = '';
    const said = new Promise<void>((resolve) => {
      this.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text = (text + chunk).slice(-TAIL_LENGTH);
        if (text.split('\n').includes(word)) resolve();
      });
    });
    await this.orEnd(said, signal);
  }

  /** The result of `work`, unless this child ends first. @throws TaplineError when it does */
  async orEnd<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    return untilAborted(Promise.race([work, this.failAtEnd()]), signal);
  }

  /** Rejects with the line about its end, once it has ended. */
  async failAtEnd(): Promise<never> {
    const how = await this.ended;
    throw new TaplineError('failure', this.endLine(how));
  }

  /** How it ended, once it has. @throws the signal's reason when that is aborted first */
  orAborted(signal: AbortSignal): Promise<string> {
    return untilAborted(this.ended, signal);
  }

  /** One line on an end that nobody asked for, with the child's own last words. */
  endLine(how: string): string {
    const words = this.#tail.trim().split('\n').at(-1) ?? '';
    return `${this.what} ended (${how})${words === '' ? '' : `: ${words.replace(/^tapline: /, '')}`}`;
  }

  /** SIGTERM, and SIGKILL to all of its session when that was not enough. @throws TaplineError then, once it is gone */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#process.kill('SIGTERM');
    this.stdout.resume();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), PATIENCE_MS);
    });
    const outcome = await Promise.race([this.ended, late]);
    clearTimeout(timer);
    if (outcome !== 'late') return;
    this.#killSession();
    await this.ended;
    throw new TaplineError('failure', `${this.what} did not end within ${PATIENCE_MS / 1000} s and was killed`);
  }

  /** What `kill -9` does, and waits until it has ended. */
  async kill(): Promise<void> {
    this.#killSession();
    await this.ended;
  }

  #killSession(): void {
    const { pid } = this.#process;
    if (pid === undefined) return;
    try {
      // It leads a process group of its own, hence the minus.
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
}

/** The result of `work`, or the signal's reason as soon as that is aborted. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const settled = new AbortController();
  const aborted = once(signal, 'abort', { signal: settled.signal }).then((): never => {
    throw signal.reason;
  });
  aborted.catch(() => undefined);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    settled.abort();
  }
}
