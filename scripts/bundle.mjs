/**
 * Bundles what has to be fast. All other code runs as tsc emits it, and the tests run the same sources unbundled.
 *
 * The packet path, for the worker and the micro benchmarks: V8 does not fold the constants that modules export; every use loads a cell,
 * checks its type and does a checked addition. In a bundle they become literals, or constants that it folds: parse takes 14.5 ns instead of 21, learn + forward
 * 31 instead of 39 (TCP/IPv4, one core, medians).
 *
 * The thread of health checks, so that it is one file to load.
 *
 * The command, with its libraries: finding, reading, linking and compiling some 500 files takes longer than all else that a start does,
 * and while a daemon starts after a crash, packets wait. So it is one file, and what V8 compiles of it is kept beside it (bin/load.js).
 */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build } from 'esbuild';
import { cachePath, loadBundle } from '../bin/load.js';
import { withConstants } from './constants.mjs';

const OUT = 'dist/bundle';
const COMMAND = resolve(OUT, 'tapline.cjs');

const common = {
  outdir: OUT,
  bundle: true,
  minifySyntax: true,
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  logLevel: 'warning',
};

/** Modules find files by where they lie themselves; in the bundle they go on to mean their own place in dist/. */
const ownPlaces = {
  name: 'own places',
  setup({ onLoad }) {
    onLoad({ filter: /\/(control|cli|io|core)\/.*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes('import.meta.url')) return null;
      const place = relative(OUT, join('dist', relative('.', path.replace(/\.ts$/, '.js'))));
      const contents = text.replaceAll('import.meta.url', `new URL('${place}', bundleUrl).href`);
      return { contents, loader: 'ts' };
    });
  },
};

/** Messages in 48 languages, which nothing here asks for. */
const oneLanguage = {
  name: 'one language',
  setup({ onLoad }) {
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
  },
};

async function bundleThreads() {
  const entryPoints = {
    worker: 'control/worker.ts',
    health: 'control/health/thread.ts',
    'bench-micro': 'bench/micro/main.ts',
  };
  await build({
    ...common,
    entryPoints,
    format: 'esm',
    packages: 'external',
  });
  for (const name of Object.keys(entryPoints)) {
    const path = join(OUT, `${name}.js`);
    writeFileSync(path, withConstants(readFileSync(path, 'utf8')));
  }
}

/** Nobody may find the new file with what was compiled of the old one: V8 compares no more than their lengths. */
async function bundleCommand() {
  rmSync(cachePath(COMMAND), { force: true });
  await build({
    ...common,
    entryPoints: { tapline: 'cli/main.ts' },
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    charset: 'ascii',
    // Native code is found by its package.
    external: ['koffi'],
    plugins: [ownPlaces, oneLanguage],
    banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
  });
  const { exports, script } = loadBundle(COMMAND);
  await exports.warmUp();
  writeFileSync(cachePath(COMMAND), script.createCachedData());
}

await bundleThreads();
await bundleCommand();
