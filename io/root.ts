/** Files of another process as it sees them: under its own root, in its own mount namespace. */

import { check, close, errno, open, SystemError, syscall } from './libc.js';
import { mapRegion, unmapRegion } from './memory.js';

const SYS_OPENAT2 = 437;
const O_PATH_CLOEXEC = 0o12000000;
const O_RDWR = 0o2;
const O_NOCTTY = 0o400;
/** So that a pipe in place of a file cannot hold us up. */
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
/** linux/openat2.h: absolute paths, `..` and links stay below the directory; links of /proc lead nowhere. */
const RESOLVE_IN_ROOT = 0x10;
const RESOLVE_NO_MAGICLINKS = 0x02;

/**
 * Opens a file of a process for reading and writing, wherever links inside lead, but never outside its root.
 * @param path absolute, as the process names it
 * @returns a descriptor, the caller's to close
 * @throws SystemError
 */
export function openInRoot(pid: number, path: string): number {
  const root = check(open(`/proc/${pid}/root`, O_PATH_CLOEXEC), `opening the root of process ${pid}`);
  const text = new TextEncoder().encode(`${path}\0`);
  const region = mapRegion(24 + text.length);
  try {
    // struct open_how: u64 flags, u64 mode, u64 resolve; the path behind it.
    const how = new Uint32Array(region.buffer, 0, 6);
    how[0] = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
    how[4] = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    new Uint8Array(region.buffer).set(text, 24);
    const fd = syscall(SYS_OPENAT2, root, region.address + 24, region.address, 24, 0, 0);
    if (fd < 0) throw new SystemError(errno(), `opening ${path} of process ${pid}`);
    return fd;
  } finally {
    unmapRegion(region);
    close(root);
  }
}
