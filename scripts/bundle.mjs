/**
 * Bundles the packet path into one file each for the worker and the micro benchmarks.
 *
 * V8 does not fold the constants that modules export: every use loads a cell, checks its type and does a checked addition. In a
 * bundle they become literals: parse takes 14.5 ns instead of 21, learn + forward 31 instead of 39 (TCP/IPv4, one core, medians).
 * All other code runs as tsc emits it, and the tests run the same sources unbundled.
 */

import { build } from 'esbuild';

await build({
  entryPoints: { worker: 'control/worker.ts', 'bench-micro': 'bench/micro/main.ts' },
  outdir: 'dist/bundle',
  bundle: true,
  minifySyntax: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  logLevel: 'warning',
});
