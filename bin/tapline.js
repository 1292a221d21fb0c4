#!/usr/bin/env node
/** Launches the compiled command. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../dist/bundle/tapline.js', import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  const directory = fileURLToPath(new URL('..', import.meta.url));
  process.stderr.write(`tapline: not built yet; run "npm install && npm run build" in ${directory}\n`);
  process.exitCode = 1;
}
