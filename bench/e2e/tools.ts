/** The programs that a run needs: the host's tools, and our own C programs, compiled when their source is newer. */

import { accessSync, constants, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { PeerName } from './context.js';
import { run } from './processes.js';

/** Debian package of each tool. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  iperf3: 'iperf3',
  wrk: 'wrk',
  ping: 'iputils-ping',
  gcc: 'gcc libc6-dev',
  haproxy: 'haproxy',
  nginx: 'nginx-light libnginx-mod-stream',
  ss: 'iproute2',
};

/** Programs of the host that a peer is made of; the others need none but those of every run. */
export const PEER_TOOLS: Readonly<Partial<Record<PeerName, readonly string[]>>> = {
  haproxy: ['haproxy', 'ss'],
  'haproxy-2': ['haproxy', 'ss'],
  nginx: ['nginx', 'ss'],
};

/** The search path with the folders of administration tools behind it, which a user's may lack. */
export function withAdministration(path: string | undefined): string {
  return [path ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].filter((folder) => folder !== '').join(delimiter);
}

/** Throws one line that names every missing tool and the packages that bring them. */
export function requireTools(tools: readonly string[], path: string | undefined): void {
  const missing = tools.filter((tool) => !isOnPath(tool, path ?? ''));
  if (missing.length === 0) return;
  const packages = missing.map((tool) => PACKAGES[tool] ?? tool).join(' ');
  throw new Error(`missing: ${missing.join(', ')}; on Debian: apt-get install ${packages}`);
}

function isOnPath(tool: string, path: string): boolean {
  return path.split(delimiter).some((folder) => isExecutable(join(folder, tool)));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Compiles every C file of `sources` into `binaries`, each to a program of its own. */
export async function compile(sources: string, binaries: string, interrupt: AbortSignal): Promise<void> {
  mkdirSync(binaries, { recursive: true });
  for (const file of readdirSync(sources).filter((name) => name.endsWith('.c'))) {
    const source = join(sources, file);
    const binary = join(binaries, file.slice(0, -2));
    if (isNewer(binary, source)) continue;
    const fresh = `${binary}.${process.pid}`; // renamed when whole: another run may be starting the old one
    await run(['gcc', '-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-o', fresh, source], { interrupt });
    renameSync(fresh, binary);
  }
}

function isNewer(binary: string, source: string): boolean {
  const made = statSync(binary, { throwIfNoEntry: false });
  return made !== undefined && made.mtimeMs > statSync(source).mtimeMs;
}
