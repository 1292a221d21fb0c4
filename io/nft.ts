/** nftables through the host's own `nft`, in the current namespace. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** An `nft` that is not there. */
export class NftMissing extends Error {
  constructor() {
    super('nft not found: install nftables');
    this.name = 'NftMissing';
  }
}

/** Where administration tools are, also for a user whose PATH lacks them. */
const TOOL_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * The host's own `nft`. Packages of Node's world have a program of that name too, which `npm run` puts before the host's.
 * @throws NftMissing
 */
export function nftProgram(path = process.env.PATH ?? ''): string {
  const folders = path.split(':').filter((folder) => folder !== '' && !folder.includes('node_modules'));
  const found = [...folders, ...TOOL_FOLDERS].map((folder) => join(folder, 'nft')).find((file) => existsSync(file));
  if (found === undefined) throw new NftMissing();
  return found;
}

/**
 * Carries out a script as one transaction: all of it or nothing.
 * @throws NftMissing; Error with the first line of `nft`'s own words
 */
export async function runNft(script: string): Promise<void> {
  const { code, stderr } = await nft(['-f', '-'], script);
  if (code !== 0) throw new Error(`nft: ${firstWords(stderr)}`);
}

/** The text of a table without its counters' values; null where there is none. @throws NftMissing; Error */
export async function listNftTable(family: string, name: string): Promise<string | null> {
  const { code, stdout, stderr } = await nft(['-s', 'list', 'table', family, name], '');
  if (code === 0) return stdout;
  if (/No such file or directory/.test(stderr)) return null;
  throw new Error(`nft: ${firstWords(stderr)}`);
}

/** Names of all tables of a family. @throws NftMissing; Error */
export async function listNftTables(family: string): Promise<string[]> {
  const { code, stdout, stderr } = await nft(['list', 'tables', family], '');
  if (code !== 0) throw new Error(`nft: ${firstWords(stderr)}`);
  return [...stdout.matchAll(/^table \S+ (\S+)$/gm)].map(([, name]) => name as string);
}

function firstWords(stderr: string): string {
  return stderr.split('\n', 1)[0]?.replace(/^.*?Error: /, '') || 'failed';
}

function nft(
  words: readonly string[],
  input: string,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(nftProgram(), words, { stdio: 'pipe' });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'ENOENT' ? new NftMissing() : error));
    child.once('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
