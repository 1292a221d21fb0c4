/** What a switch, and the whole machine, spend meanwhile: processor time and memory, from /proc; and which processes a switch is. */

import { readdirSync, readFileSync } from 'node:fs';

/**
 * Processor time of all threads of a process so far, in nanoseconds: the first field of every
 * /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst). Includes the time in system calls, hence the
 * receiver's network stack where it runs inside the switch's write. Time of threads that have ended is not in it.
 */
export function processCpuNs(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const text = readUnlessGone(`/proc/${pid}/task/${thread}/schedstat`, '0');
    total += Number(text.split(' ')[0]);
  }
  return total;
}

/** Nanoseconds in a unit of /proc/stat: USER_HZ is 100 on every platform that Node runs on. */
const STAT_TICK_NS = 1e7;
/** Fields of the line `cpu` of /proc/stat that are no work: idle and iowait; and steal, which others had (proc_stat(5)). */
const NOT_BUSY = new Set([3, 4, 7]);
/** guest and guest_nice are in user and nice already. */
const BUSY_FIELDS = 8;

/** Processor time that the whole machine has spent so far, in nanoseconds, in steps of 10 ms. */
export function machineCpuNs(): number {
  return parseStat(readFileSync('/proc/stat', 'utf8'));
}

/** The same from the text of /proc/stat. Throws where its first line is not that of all processors. */
export function parseStat(text: string): number {
  const fields = /^cpu +(.*)$/m.exec(text)?.[1]?.split(' ').map(Number);
  if (fields === undefined || fields.length < BUSY_FIELDS) throw new Error('/proc/stat has no line of all processors');
  const busy = fields.slice(0, BUSY_FIELDS).filter((_, index) => !NOT_BUSY.has(index));
  return busy.reduce((sum, ticks) => sum + ticks, 0) * STAT_TICK_NS;
}

/** Resident memory in MiB (VmRSS of /proc/PID/status: heap, stacks, mapped files and shared memory that is in use). */
export function residentMiB(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match === null) throw new Error(`/proc/${pid}/status has no VmRSS: the process has ended`);
  return Number(match[1]) / 1024;
}

/** Processes that the main thread of a process has started and that still run; none of one that has ended. */
export function childrenOf(pid: number): number[] {
  const pids = readUnlessGone(`/proc/${pid}/task/${pid}/children`, '').trim();
  return pids === '' ? [] : pids.split(' ').map(Number);
}

/** A thread or process may end between the listing and the reading. */
function readUnlessGone(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return otherwise;
    throw error;
  }
}
