/** Programs that a daemon finds, and such that it misses. */

import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { must } from './process.js';

/** What to put in front of a command so that it finds no programs but these. */
export async function findingOnly(t: ExecutionContext, ...programs: readonly string[]): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'tl-path-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  for (const program of programs)
    symlinkSync((await must(['sh', '-c', `command -v ${program}`])).trim(), join(directory, program));
  return ['env', `PATH=${directory}`];
}
