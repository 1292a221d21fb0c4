/** A JSON file that is always whole: what changes together is written together, in one step, and a kill leaves the old or the new. */

import { closeSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { firstLine } from './errors.js';

/** A file takes at most one part in so many of the main thread's time, however often its content changes. */
const SHARE = 10;

export interface KeptFileOptions {
  readonly path: string;
  /** Written into the file; what has another is not read. */
  readonly version: number;
  content(): unknown;
  /** Told once in a row of failures: nothing is written down now. */
  failed(line: string): void;
}

export class KeptFile {
  readonly #options: KeptFileOptions;
  #writing: Promise<void> | null = null;
  /** Milliseconds: when the last writing ended, and how long it took. */
  #ended = 0;
  #took = 0;
  #failing = false;
  #closed = false;

  constructor(options: KeptFileOptions) {
    this.#options = options;
  }

  /** The content will be written soon. @returns settles when it has been, or could not be; never rejects */
  changed(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#writing ??= new Promise((done) => {
      const write = (): void => {
        this.#writing = null;
        this.write();
        done();
      };
      const pause = this.#ended + this.#took * SHARE - performance.now();
      if (pause > 1) setTimeout(write, pause);
      else setImmediate(write);
    });
    return this.#writing;
  }

  /** At once. */
  write(): void {
    if (this.#closed) return;
    const { path, version, content, failed } = this.#options;
    const began = performance.now();
    try {
      writeWhole(path, JSON.stringify({ version, content: content() }));
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) failed(`${path} cannot be written: ${firstLine(error)}`);
      this.#failing = true;
    }
    this.#ended = performance.now();
    this.#took = this.#ended - began;
  }

  /** Nothing is written any more. */
  close(): void {
    this.#closed = true;
  }
}

function writeWhole(path: string, text: string): void {
  const bytes = Buffer.from(text);
  const fd = openSync(`${path}.new`, 'w', 0o600);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
}

/**
 * What a predecessor wrote.
 *
 * @returns null where there is no file
 * @throws Error, one line: not JSON, or of another version
 */
export function readKept(path: string, version: number): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const kept = JSON.parse(text) as { version?: unknown; content?: unknown } | null;
  if (kept?.version !== version) throw new Error(`${path} is of another version (${String(kept?.version)})`);
  return kept.content ?? null;
}
