/** npm packages: `npm ci`, when node_modules is not what package-lock.json asks for. */

import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { step } from './step.mjs';

/** Holds the hash of the package-lock.json that node_modules was made from; lies in it, so both go together. */
const STAMP = 'node_modules/.tapline-stamp';
/** npm writes it when an installation has ended well. */
const NPM_STAMP = 'node_modules/.package-lock.json';

export function ensureDependencies(root) {
  const lock = join(root, 'package-lock.json');
  const hash = createHash('sha256').update(readFileSync(lock)).digest('hex');
  if (readStamp(root) === hash) return;
  // Somebody ran npm by hand: nothing to do again, unless the lock file has changed since.
  if (modified(join(root, NPM_STAMP)) < modified(lock)) {
    // No package needs its install script: native parts come prebuilt.
    step('npm packages', ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: root });
  }
  writeFileSync(join(root, STAMP), hash);
}

function readStamp(root) {
  try {
    return readFileSync(join(root, STAMP), 'utf8');
  } catch {
    return null;
  }
}

function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -1;
}
