/** `host.tapline.internal`: the name by which a container finds the host, in its own /etc/hosts. */

import type { Place } from './attach.js';
import type { System } from './system.js';

export const HOST_NAME = 'host.tapline.internal';

/** Marks a line as that of an endpoint. */
function markOf(endpoint: string): string {
  return `tapline:${endpoint}`;
}

/**
 * Gives a container the name, where it has an /etc/hosts that is not ours. A namespace without a process has no files.
 *
 * @param address the gateway of its network
 * @returns how to take it back; null where there was nothing to do
 * @throws Error, one line: the file is read-only, or none
 */
export function addHostName(place: Place, endpoint: string, address: string, system: System): (() => void) | null {
  const { process } = place;
  if (process === null) return null;
  if (!system.addHostsLine(process.pid, `${address} ${HOST_NAME}`, markOf(endpoint))) return null;
  return () => {
    // With the process its mounts are gone, and its number may be another's.
    if (system.pidOf(process.pidfd) === process.pid) system.removeHostsLine(process.pid, markOf(endpoint));
  };
}
