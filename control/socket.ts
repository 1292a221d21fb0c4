/**
 * The control socket's file: refused while another daemon answers on it, replaced when its daemon is dead, and closed to
 * everybody but its owner from the moment it exists.
 */

import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { firstLine, TaplineError } from './errors.js';

export const DEFAULT_SOCKET = '/run/tapline/tapline.sock';

/** sizeof(sockaddr_un.sun_path) less its final zero. */
const SOCKET_PATH_BYTES = 107;
/** `/.XXXXXX/s` behind the directory: where listenPrivately binds. */
const PRIVATE_PATH_BYTES = 10;

/** `--socket`, else TAPLINE_SOCKET, else the default. */
export function socketPath(option: string | undefined, env: NodeJS.ProcessEnv): string {
  const fromEnvironment = env.TAPLINE_SOCKET ?? '';
  if (option === '') throw new TaplineError('invalid', 'expected a path with --socket, got nothing');
  return option ?? (fromEnvironment === '' ? DEFAULT_SOCKET : fromEnvironment);
}

/**
 * Like mkdir -p, one level at a time: Node's own recursive form spins for ever where mkdir answers ENOENT although the
 * parent exists, as /proc does.
 */
function makeDirectories(path: string): void {
  if (existsSync(path)) return;
  makeDirectories(dirname(path));
  try {
    mkdirSync(path, { mode: 0o755 });
  } catch (error) {
    // Another daemon that starts beside us may have been quicker.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function inodeOf(path: string): number | null {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  if (!stat.isSocket())
    throw new TaplineError('invalid', `${path} exists and is not a socket; choose another with --socket`);
  return stat.ino;
}

/** Whether anybody answers there. @throws TaplineError when we may not even ask */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(new TaplineError('failure', `cannot ask who holds ${path}: ${firstLine(error)}`));
    });
  });
}

/**
 * Makes the way free for `listenPrivately`: the directory exists, no daemon answers, a stale file is gone.
 *
 * @throws TaplineError `conflict` when another daemon answers; `invalid` for a path that cannot be a socket's
 */
export async function claimSocket(path: string): Promise<void> {
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(dirname(path)) + PRIVATE_PATH_BYTES);
  if (longest > SOCKET_PATH_BYTES) {
    throw new TaplineError('invalid', `socket path too long, ${SOCKET_PATH_BYTES} bytes at most: ${path}`);
  }
  try {
    makeDirectories(dirname(path));
  } catch (error) {
    throw new TaplineError('failure', `cannot make the directory of ${path}: ${firstLine(error)}`);
  }
  const inode = inodeOf(path);
  if (inode === null) return;
  if (await answers(path)) {
    throw new TaplineError(
      'conflict',
      `another tapline daemon answers on ${path}; stop it, or choose another --socket`,
    );
  }
  // Only the file that was found dead: another daemon may have put its own there meanwhile.
  if (inodeOf(path) === inode) unlinkSync(path);
}

/**
 * Listens with mode 0600 from the moment the path exists: the socket is bound inside a directory that only we can enter,
 * made private there, and then linked to its place, which also fails where another daemon was quicker. (A umask would do
 * for the mode, but it holds for the whole process.)
 *
 * @returns a function that removes the socket's file, to be called when the server has closed
 * @throws TaplineError `conflict` when the path was taken meanwhile, `failure` otherwise
 */
export async function listenPrivately(server: Server, path: string): Promise<() => void> {
  let directory = '';
  try {
    directory = mkdtempSync(`${dirname(path)}/.`);
    const bound = join(directory, 's');
    await listen(server, bound);
    chmodSync(bound, 0o600);
    linkSync(bound, path);
  } catch (error) {
    server.close();
    const taken = (error as NodeJS.ErrnoException).code === 'EEXIST';
    throw new TaplineError(taken ? 'conflict' : 'failure', `cannot listen on ${path}: ${firstLine(error)}`);
  } finally {
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  }
  const inode = inodeOf(path);
  return () => {
    if (inode !== null && inodeOf(path) === inode) unlinkSync(path);
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
