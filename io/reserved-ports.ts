/** net.ipv4.ip_local_reserved_ports: ports that the host's kernel does not choose for connections that name none (ip-sysctl.rst). */

import { readFile, writeFile } from 'node:fs/promises';

const FILE = '/proc/sys/net/ipv4/ip_local_reserved_ports';

/** As the kernel prints it: `8080,9000-9010`, or nothing. Of the current network namespace. */
export async function readReservedPorts(): Promise<string> {
  return (await readFile(FILE, 'utf8')).trim();
}

/** Replaces all. @throws Error where /proc/sys is read-only */
export async function writeReservedPorts(text: string): Promise<void> {
  // An empty write changes nothing; a line end alone clears the list.
  await writeFile(FILE, `${text}\n`);
}

/** net.ipv4.ip_local_port_range: those that it does choose, `32768 60999`. Of the current network namespace. */
export async function readLocalPorts(): Promise<string> {
  return (await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')).trim();
}
