/** Which ports sockets of this network namespace have, and whose they are, out of /proc (proc(5)). */

import { readdir, readFile, readlink } from 'node:fs/promises';

export interface UsedPort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** Address of the socket; `0.0.0.0` and `::` where it has none. Of IPv6 in the kernel's own notation, 32 hex digits. */
  readonly address: string;
  readonly isIpv6: boolean;
  /** 0 where no process has it any more. */
  readonly inode: number;
}

export interface PortHolder {
  readonly pid: number;
  readonly name: string;
}

/** TCP_TIME_WAIT of net/tcp_states.h: nobody's any more, and in nobody's way. */
const TIME_WAIT = 0x06;
const FILES = ['tcp', 'tcp6', 'udp', 'udp6'] as const;

/** Lines of /proc/net/tcp and its like: `sl local rem st tx:rx tr:when retrnsmt uid timeout inode ...`. */
export function parseSockets(text: string, file: (typeof FILES)[number]): UsedPort[] {
  const protocol = file.startsWith('tcp') ? 'tcp' : 'udp';
  const isIpv6 = file.endsWith('6');
  const used: UsedPort[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    const [address, port] = local?.split(':') ?? [];
    if (address === undefined || port === undefined || state === undefined) continue;
    if (protocol === 'tcp' && Number.parseInt(state, 16) === TIME_WAIT) continue;
    used.push({
      protocol,
      port: Number.parseInt(port, 16),
      address: isIpv6 ? readable6(address) : readable4(address),
      isIpv6,
      inode: Number(inode),
    });
  }
  return used;
}

/** The kernel prints the word as the processor has it in memory: little-endian here. */
function readable4(hex: string): string {
  const octets = hex.match(/../g) ?? [];
  return octets
    .reverse()
    .map((octet) => Number.parseInt(octet, 16))
    .join('.');
}

function readable6(hex: string): string {
  return /^0+$/.test(hex) ? '::' : hex;
}

/** All sockets of this namespace that have a port, but those in TIME_WAIT. */
export async function usedPorts(): Promise<UsedPort[]> {
  const read = async (file: (typeof FILES)[number]): Promise<UsedPort[]> => {
    // Without IPv6 there are no such files.
    const text = await readFile(`/proc/self/net/${file}`, 'utf8').catch(() => '');
    return parseSockets(text, file);
  };
  return (await Promise.all(FILES.map(read))).flat();
}

/** The process that has a socket open; null: none that we can see. The first of several. */
export async function socketHolder(inode: number): Promise<PortHolder | null> {
  const link = `socket:[${inode}]`;
  const entries = await readdir('/proc');
  for (const pid of entries.filter((entry) => /^\d+$/.test(entry))) {
    if (!(await hasOpen(pid, link))) continue;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    return { pid: Number(pid), name: name.trim() };
  }
  return null;
}

/** False for a process that ended meanwhile. */
async function hasOpen(pid: string, link: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const descriptors = await readdir(folder).catch(() => []);
  for (const descriptor of descriptors) {
    if ((await readlink(`${folder}/${descriptor}`).catch(() => '')) === link) return true;
  }
  return false;
}
