/** What a switch costs while it runs: processor time and memory, from /proc. */

import { readdirSync, readFileSync } from 'node:fs';

/**
 * Processor time of all threads of a process so far, in nanoseconds: the first field of every
 * /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst). Includes the time in system calls, hence the
 * receiver's network stack where it runs inside the switch's write. Time of threads that have ended is not in it.
 */
export function processCpuNs(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const text = readUnlessGone(`/proc/${pid}/task/${thread}/schedstat`);
    total += Number(text.split(' ')[0]);
  }
  return total;
}

/** Resident memory in MiB (VmRSS of /proc/PID/status: heap, stacks, mapped files and shared memory that is in use). */
export function residentMiB(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match === null) throw new Error(`/proc/${pid}/status has no VmRSS: the process has ended`);
  return Number(match[1]) / 1024;
}

/** A thread may end between the listing and the reading. */
function readUnlessGone(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return '0';
    throw error;
  }
}
