/** dist/: compiled when a source is not the one that it was made from; files of sources that are gone are removed. */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { step } from './step.mjs';

/** Holds `fingerprint()` of the sources that dist/ was made from. */
const STAMP = 'dist/.tapline-stamp';
/** What tsc makes of one source. */
const OUTPUT = /\.(?:js|js\.map|d\.ts)$/;

export function ensureBuild(root) {
  const folders = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')).include;
  const sources = fingerprint(root, folders);
  if (readStamp(root) === sources) return;
  rmSync(join(root, STAMP), { force: true });
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  step('build', [process.execPath, compiler, '-p', 'tsconfig.json'], { cwd: root });
  step('bundle', [process.execPath, 'scripts/bundle.mjs'], { cwd: root });
  for (const folder of folders) removeOrphans(root, folder);
  writeFileSync(join(root, STAMP), sources);
}

/** Paths, sizes and times of all sources in one string: reading none of them keeps the check to some milliseconds. */
function fingerprint(root, folders) {
  const paths = folders.flatMap((folder) => walk(root, folder)).filter((path) => path.endsWith('.ts'));
  const hash = createHash('sha256');
  for (const path of [
    'tsconfig.json',
    'scripts/bundle.mjs',
    'scripts/constants.mjs',
    'bin/load.js',
    'package-lock.json',
    ...paths.sort(),
  ]) {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Files below `folder`, as paths from `root`; none where there is no such folder. */
function walk(root, folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? walk(root, path) : [path];
  });
}

/** A test whose source was removed or renamed would otherwise be run for ever. */
function removeOrphans(root, folder) {
  for (const path of walk(join(root, 'dist'), folder)) {
    if (OUTPUT.test(path) && !existsSync(join(root, path.replace(OUTPUT, '.ts')))) rmSync(join(root, 'dist', path));
  }
}

function readStamp(root) {
  try {
    return readFileSync(join(root, STAMP), 'utf8');
  } catch {
    return null;
  }
}
