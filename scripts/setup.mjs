/**
 * `node scripts/setup.mjs run|test|bench`: makes a fresh clone ready for one purpose: Debian packages, npm packages, build.
 * Each step looks first and does nothing when there is nothing to do; what it does takes one line, and the full output
 * of a command is shown only when it fails. Plain JavaScript without dependencies, since it runs before they are there.
 */

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureBuild } from './setup/build.mjs';
import { ensureDependencies } from './setup/dependencies.mjs';
import { ensurePackages, PURPOSES } from './setup/packages.mjs';
import { StepError } from './setup/step.mjs';

const MINIMUM_NODE = [20, 20];

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return;
  throw new StepError(`Tapline needs Node ${MINIMUM_NODE.join('.')} or newer; this is ${process.version}`);
}

function main() {
  const [purpose, ...rest] = process.argv.slice(2);
  if (!PURPOSES.includes(purpose) || rest.length > 0) {
    console.error(`usage: node scripts/setup.mjs ${PURPOSES.join('|')}`);
    return 2;
  }
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  try {
    checkNode();
    ensurePackages(purpose);
    ensureDependencies(root);
    ensureBuild(root);
    return 0;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    console.error(error.message);
    return 1;
  }
}

process.exitCode = main();
