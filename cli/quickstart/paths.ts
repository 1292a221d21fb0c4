/** Where the quickstart finds its files: it runs the command, the example and its little programs as they lie beside it. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** From dist/cli/quickstart/ to the package's folder. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Launcher of the `tapline` command. */
export const COMMAND = join(ROOT, 'bin/tapline.js');
/** What the two hosts bring up. */
export const CONFIGURATION = join(ROOT, 'examples/lab.yaml');
export const SECOND_CONFIGURATION = join(ROOT, 'examples/lab-second.yaml');

/** A program of `inside/`, to be run by Node within a container's network namespace. */
export function insideProgram(name: string): string {
  return fileURLToPath(new URL(`./inside/${name}.js`, import.meta.url));
}
