/**
 * Bundles what has to be fast. All other code runs as tsc emits it, and the tests run the same sources unbundled.
 *
 * The packet path, for the worker and the micro benchmarks: V8 does not fold the constants that modules export; every use loads a cell,
 * checks its type and does a checked addition. In a bundle they become literals: parse takes 14.5 ns instead of 21, learn + forward
 * 31 instead of 39 (TCP/IPv4, one core, medians).
 *
 * The command, with its libraries: finding, reading and linking some 500 files takes longer than all else that a start does, and while a
 * daemon starts after a crash, packets wait. The daemon is a chunk of its own that other commands do not load.
 */

import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { build } from 'esbuild';

const OUT = 'dist/bundle';
const CHUNK = 'tapline-part-';

const common = {
  outdir: OUT,
  bundle: true,
  minifySyntax: true,
  platform: 'node',
  format: 'esm',
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
      const contents = text.replaceAll('import.meta.url', `new URL('${place}', import.meta.url).href`);
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

async function bundlePacketPath() {
  await build({
    ...common,
    entryPoints: { worker: 'control/worker.ts', 'bench-micro': 'bench/micro/main.ts' },
    packages: 'external',
  });
}

async function bundleCommand() {
  const { metafile } = await build({
    ...common,
    entryPoints: { tapline: 'cli/main.ts' },
    splitting: true,
    chunkNames: `${CHUNK}[hash]`,
    // Native code is found by its package.
    external: ['koffi'],
    plugins: [ownPlaces, oneLanguage],
    // For libraries in CommonJS, which ask for Node's own modules.
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
    metafile: true,
  });
  const made = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
  for (const file of readdirSync(OUT)) if (file.startsWith(CHUNK) && !made.has(file)) rmSync(join(OUT, file));
}

await bundlePacketPath();
await bundleCommand();
