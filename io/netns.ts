/** Network namespaces: entering one on this thread and coming back; one of a thread's own. */

import { readlinkSync, writeFileSync } from 'node:fs';
import { check, close, errno, open, SystemError, setns, unshare } from './libc.js';

const O_RDONLY_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;
const OWN = '/proc/thread-self/ns/net';

/**
 * Runs `fn` with this thread in the network namespace at `path`, and comes back whatever happens. Sockets, TAPs and child
 * processes that `fn` makes belong to that namespace, though their descriptors go on working outside.
 *
 * `fn` must be synchronous: between enter and leave nothing else may run on the thread.
 *
 * @param path a namespace file: /run/netns/NAME, /proc/PID/ns/net
 * @throws SystemError where the namespace cannot be opened or entered; whatever `fn` throws
 */
export function withNamespace<T>(path: string, fn: () => T): T {
  const target = openNamespace(path);
  try {
    const home = check(open(OWN, O_RDONLY_CLOEXEC), `opening ${OWN}`);
    try {
      return runInside(path, target, home, fn);
    } finally {
      close(home);
    }
  } finally {
    close(target);
  }
}

function runInside<T>(path: string, target: number, home: number, fn: () => T): T {
  if (setns(target, CLONE_NEWNET) < 0) {
    const remedy = errno() === 22 ? 'not a network namespace' : 'needs CAP_SYS_ADMIN';
    throw new SystemError(errno(), `entering network namespace ${path}`, remedy);
  }
  try {
    return fn();
  } finally {
    comeBack(home);
  }
}

/** A thread left in a stranger's namespace would do harm with every later call, so failing here ends the process. */
function comeBack(home: number): void {
  if (setns(home, CLONE_NEWNET) === 0) return;
  process.stderr.write(`tapline: ${new SystemError(errno(), 'returning to the own network namespace').message}\n`);
  process.abort();
}

/**
 * Opens a namespace file; the descriptor pins the namespace until closed.
 * @throws SystemError ENOENT and the like
 */
export function openNamespace(path: string): number {
  const fd = open(path, O_RDONLY_CLOEXEC);
  if (fd < 0) throw new SystemError(errno(), `opening network namespace ${path}`, 'no such namespace, or it has ended');
  return fd;
}

/**
 * Moves this thread, and no other, into a network namespace of its own. Whatever sockets its event loop opens from now on are there. The
 * namespace, with all devices in it, ends with the thread, however that ends. For worker threads alone: what a main thread's children
 * inherit, and where /proc/self leads, would change.
 *
 * @returns a path by which the other threads of the process find the namespace
 * @throws SystemError
 */
export function enterOwnNamespace(): string {
  check(unshare(CLONE_NEWNET), 'making a network namespace', 'needs CAP_SYS_ADMIN');
  refuseAdvertisements();
  // "1234/task/1240"
  return `/proc/${readlinkSync('/proc/thread-self')}/ns/net`;
}

/** Its devices have the addresses that they are given, and no others: not those that a router has them make (RFC 4862). */
function refuseAdvertisements(): void {
  for (const devices of ['all', 'default']) {
    try {
      writeFileSync(`/proc/sys/net/ipv6/conf/${devices}/accept_ra`, '0');
    } catch {
      // No IPv6 in this kernel: nobody listens. Or /proc is read-only: an address of that kind gets no answers, and IPv4 goes on.
    }
  }
}
