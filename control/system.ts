/** What the daemon asks of the kernel and of container engines, behind one interface so that tests can stand in for it. */

import { readFileSync, statfsSync, statSync } from 'node:fs';
import { closeFd, openPidfd } from '../io/pidfd.js';
import { attachTap, type Tap, type TapOptions } from '../io/tap.js';
import { openUplink, type Uplink } from '../io/uplink.js';
import { type ContainerInfo, containerEngines, findContainer } from './containers.js';

export interface System {
  attachTap(options: TapOptions): Promise<Tap>;
  openUplink(options: { device: string }): Uplink;
  openPidfd(pid: number): number;
  closeFd(fd: number): void;
  /** The process behind a pidfd, or -1 when it has been reaped: its number may belong to another by now. */
  pidOf(pidfd: number): number;
  findContainer(name: string): Promise<ContainerInfo>;
  /** Device and inode of the file at a path, equal for equal namespaces; null when there is none. Cheap enough to poll. */
  namespaceIdentity(path: string): string | null;
  /** False for a file that is no namespace: an empty one that a namespace was once mounted on, say. */
  isNamespace(path: string): boolean;
}

/** The line `Pid:` of a pidfd's fdinfo (proc(5)); -1 once the process is gone. */
function pidOf(pidfd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8');
  return Number(/^Pid:\s*(-?\d+)$/m.exec(text)?.[1] ?? -1);
}

/** NSFS_MAGIC of linux/magic.h: the file system that namespace files live on. */
const NSFS_MAGIC = 0x6e736673;

function namespaceIdentity(path: string): string | null {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
  } catch {
    // A namespace of a process that ends between lookup and stat answers ESRCH or EACCES: it is gone all the same.
    return null;
  }
}

function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    // Gone meanwhile: no namespace either.
    return false;
  }
}

export const realSystem: System = {
  attachTap,
  openUplink,
  openPidfd,
  closeFd,
  pidOf,
  findContainer: (name) => findContainer(name, containerEngines(process.env)),
  namespaceIdentity,
  isNamespace,
};
