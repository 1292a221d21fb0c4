/**
 * Loads the bundle of the command (scripts/bundle.mjs), with what V8 has compiled of it before: reading two megabytes of source anew takes as
 * long as all else of a start together, and Node 20 keeps nothing compiled by itself.
 */

import { readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { constants, Script } from 'node:vm';

/** Of a bundle. Made right after it; another version of V8, or other flags, do without. */
export const cachePath = (path) => `${path}.cache`;

function readCache(path) {
  try {
    return readFileSync(cachePath(path));
  } catch {
    return undefined;
  }
}

/**
 * @param {string} path of a CommonJS file of ASCII
 * @returns its exports, and the script that it has become
 */
export function loadBundle(path) {
  const source = readFileSync(path, 'latin1');
  const script = new Script(Module.wrap(source), {
    filename: path,
    cachedData: readCache(path),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(path), module, path, dirname(path));
  return { exports: module.exports, script };
}
