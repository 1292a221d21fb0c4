/** nginx passes TCP connections on by its module `stream`: part of it, or a file of its own as Debian has it, or not there. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../context.js';
import { run } from '../processes.js';

/** The line of nginx's configuration that loads the module; empty where it is built in. Throws one line where there is none. */
export async function expectStreamModule(context: Context): Promise<string> {
  const built = await run(['sh', '-c', 'nginx -V 2>&1'], context); // on standard error, for whatever reason
  return streamModuleLine(built, existsSync);
}

/** The same from the words of `nginx -V`. */
export function streamModuleLine(built: string, exists: (path: string) => boolean): string {
  const words = built.split(/\s+/);
  if (words.includes('--with-stream')) return '';
  const folder = words.find((word) => word.startsWith('--modules-path='))?.slice('--modules-path='.length);
  const file = join(folder ?? '/usr/lib/nginx/modules', 'ngx_stream_module.so');
  if (!exists(file))
    throw new Error(`nginx has no module stream (${file}); on Debian: apt-get install libnginx-mod-stream`);
  return `load_module ${file};`;
}
