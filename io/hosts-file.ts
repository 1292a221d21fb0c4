/** Lines of a hosts(5) file in another process's root, each with a mark that says whose it is. */

import { closeSync, fstatSync, ftruncateSync, readSync, statSync, writeSync } from 'node:fs';
import { openInRoot } from './root.js';

const HOSTS = '/etc/hosts';
/** Bytes; what is longer is no such file. */
const MAX_LENGTH = 1 << 20;

/**
 * Adds a line, in the place of one with the same mark. The file is written in place: where a container engine has mounted it, it
 * could not be replaced.
 *
 * @param mark text after `# `, which tells our lines from others
 * @returns false where the file is our own, which is left alone
 * @throws SystemError; Error where it is no plain file
 */
export function addHostsLine(pid: number, line: string, mark: string): boolean {
  return rewrite(pid, mark, (text) => `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${line} # ${mark}\n`);
}

/** Takes it back. @throws as `addHostsLine` */
export function removeHostsLine(pid: number, mark: string): boolean {
  return rewrite(pid, mark, (text) => text);
}

function rewrite(pid: number, mark: string, change: (text: string) => string): boolean {
  const fd = openInRoot(pid, HOSTS);
  try {
    const { dev, ino, size } = requirePlain(fd);
    const own = statSync(HOSTS, { throwIfNoEntry: false });
    if (own?.dev === dev && own.ino === ino) return false;
    const before = readWhole(fd, size);
    const after = change(without(before, mark));
    if (after !== before) writeWhole(fd, after);
    return true;
  } finally {
    closeSync(fd);
  }
}

function requirePlain(fd: number): { dev: number; ino: number; size: number } {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new Error(`${HOSTS} is no plain file`);
  if (stat.size > MAX_LENGTH) throw new Error(`${HOSTS} is longer than ${MAX_LENGTH} bytes`);
  return stat;
}

/** Lines of ours end with the mark and nothing else. */
function without(text: string, mark: string): string {
  return text
    .split(/(?<=\n)/)
    .filter((line) => !line.trimEnd().endsWith(` # ${mark}`))
    .join('');
}

/** Latin-1 keeps every byte as it is. */
function readWhole(fd: number, size: number): string {
  const bytes = Buffer.alloc(size);
  let length = 0;
  for (let got = -1; got !== 0 && length < size; length += got)
    got = readSync(fd, bytes, length, size - length, length);
  return bytes.toString('latin1', 0, length);
}

/** Cut last: a reader in between sees too much rather than nothing. */
function writeWhole(fd: number, text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
  ftruncateSync(fd, bytes.length);
}
