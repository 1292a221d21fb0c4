/**
 * Where a Tapline keeps what is to outlive its process: a directory on a RAM file system, its owner's alone, and locked, so that two
 * processes never share tables. It lies beside the control socket where that is on such a file system (/run is, nearly everywhere),
 * else in /dev/shm: pages of a file on a disk would be written there again and again, and packets would wait for it.
 */

import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { flock } from '../io/libc.js';
import { firstLine, TaplineError } from './errors.js';

/** linux/magic.h: TMPFS_MAGIC, RAMFS_MAGIC. */
const RAM_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6]);
const LOCK_EXCLUSIVE_NOW = 2 | 4;
/** Milliseconds: a process that was killed a moment ago may still hold its files. */
const LOCK_PATIENCE = 3000;
const LOCK_INTERVAL = 10;
const LOCK_FILE = 'lock';
const SHARED_MEMORY = '/dev/shm';
const SHARED_PREFIX = 'tapline-';

export interface StateDirectory {
  readonly path: string;
  /** Nobody left anything there. */
  readonly isNew: boolean;
  /** Bytes that the file system has left. */
  free(): number;
  file(name: string): string;
  /** Lets the next process have it. */
  close(): void;
  /** The same, and nothing is left. */
  remove(): void;
}

function isRamFileSystem(path: string): boolean {
  try {
    return RAM_FILE_SYSTEMS.has(statfsSync(path).type);
  } catch {
    // No such directory: none on a RAM file system either.
    return false;
  }
}

/** @throws Error where there is no RAM file system */
function placeFor(socket: string, shared: string, isRam: (path: string) => boolean): string {
  const path = resolve(socket);
  if (isRam(dirname(path))) return `${path}.state`;
  if (!isRam(shared)) throw new Error(`neither ${dirname(path)} nor ${shared} is a tmpfs`);
  return join(shared, `${SHARED_PREFIX}${createHash('sha256').update(path).digest('hex').slice(0, 16)}`);
}

/** Ours, and nobody else may look inside; /dev/shm is everybody's, so what is there already may be a trap. @throws Error */
function makePrivate(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const stat = lstatSync(path);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
    throw new Error(`${path} is not a directory of this user alone; remove it`);
}

/**
 * @returns a descriptor that holds the lock as long as it is open, or -1 where another process holds it, or has removed the directory
 *   just now
 */
function tryLock(path: string): number {
  const file = join(path, LOCK_FILE);
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return -1;
    throw error;
  }
  // Whoever had it before may have removed the file that we have opened.
  if (flock(fd, LOCK_EXCLUSIVE_NOW) === 0 && statSync(file, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino)
    return fd;
  closeSync(fd);
  return -1;
}

/** Makes the directory too; a process that is about to end may remove it meanwhile. */
async function lock(path: string, patience: number): Promise<number> {
  const deadline = performance.now() + patience;
  for (;;) {
    makePrivate(path);
    const fd = tryLock(path);
    if (fd >= 0) return fd;
    if (performance.now() >= deadline) {
      const holder = holderOf(path);
      const what = `another tapline process (${holder}) holds ${path}`;
      throw new TaplineError('conflict', `${what}; stop it, or choose another --socket`);
    }
    await new Promise((done) => setTimeout(done, LOCK_INTERVAL));
  }
}

function holderOf(path: string): string {
  try {
    return readFileSync(join(path, LOCK_FILE), 'utf8').split('\n', 1)[0] || 'unknown';
  } catch {
    // It has just gone.
    return 'unknown';
  }
}

/** Removes directories of processes that were killed, and whose socket's directory is gone: nobody will ever go on with those. */
function removeForgotten(shared: string): void {
  for (const name of readdirSync(shared)) {
    const path = join(shared, name);
    if (!name.startsWith(SHARED_PREFIX)) continue;
    try {
      // First: what others have there may be anything, a pipe that nobody writes into, say.
      if (lstatSync(path).uid !== process.getuid?.()) continue;
      const socket = readFileSync(join(path, LOCK_FILE), 'utf8').split('\n')[1] ?? '';
      if (socket === '' || existsSync(dirname(socket))) continue;
      const fd = tryLock(path);
      if (fd < 0) continue;
      rmSync(path, { recursive: true, force: true });
      closeSync(fd);
    } catch {
      // Another's, or gone meanwhile: in nobody's way.
    }
  }
}

export interface StateDirectoryOptions {
  /** Stand-in for /dev/shm. */
  readonly shared?: string;
  /** Stand-in for asking the file system. */
  readonly isRam?: (path: string) => boolean;
  /** Milliseconds. */
  readonly patience?: number;
}

/**
 * @throws TaplineError: `conflict` while another process has it; `failure` where there can be none, which is no reason not to start
 */
export async function openStateDirectory(socket: string, options: StateDirectoryOptions = {}): Promise<StateDirectory> {
  const { shared = SHARED_MEMORY, isRam = isRamFileSystem, patience = LOCK_PATIENCE } = options;
  let path = '';
  let fd: number;
  try {
    path = placeFor(socket, shared, isRam);
    if (dirname(path) === shared) removeForgotten(shared);
    fd = await lock(path, patience);
  } catch (error) {
    if (error instanceof TaplineError) throw error;
    throw new TaplineError('failure', firstLine(error));
  }
  const isNew = readdirSync(path).length === 1;
  ftruncateSync(fd, 0);
  writeSync(fd, `pid ${process.pid}\n${resolve(socket)}\n`, 0);
  return {
    path,
    isNew,
    free: () => {
      const { bavail, bsize } = statfsSync(path);
      return bavail * bsize;
    },
    file: (name) => join(path, name),
    close: () => closeSync(fd),
    remove: () => {
      rmSync(path, { recursive: true, force: true });
      closeSync(fd);
    },
  };
}
