/** Process descriptors: readable when the process ends, and proof against a reused pid. */

import { close, errno, SystemError, syscall } from './libc.js';

const SYS_PIDFD_OPEN = 434;
const ESRCH = 3;

/** @throws SystemError ESRCH where there is no such process */
export function openPidfd(pid: number): number {
  const fd = syscall(SYS_PIDFD_OPEN, pid, 0, 0, 0, 0, 0);
  if (fd < 0) throw new SystemError(errno(), `opening process ${pid}`, errno() === ESRCH ? 'no such process' : '');
  return fd;
}

export function closeFd(fd: number): void {
  close(fd);
}
