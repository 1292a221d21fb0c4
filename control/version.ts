/** The version out of package.json, so that it is written down once. */

import { readFileSync } from 'node:fs';

function readVersion(): string {
  // Two levels up from dist/control/.
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}

export const VERSION = readVersion();
