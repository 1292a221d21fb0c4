#!/usr/bin/env node
/** Launches the compiled command. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadBundle } from './load.js';

const bundle = fileURLToPath(new URL('../dist/bundle/tapline.cjs', import.meta.url));
if (existsSync(bundle)) {
  await loadBundle(bundle).exports.main();
} else {
  const directory = fileURLToPath(new URL('..', import.meta.url));
  process.stderr.write(`tapline: not built yet; run "npm install && npm run build" in ${directory}\n`);
  process.exitCode = 1;
}
