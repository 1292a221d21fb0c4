/** Setting interfaces up inside a network namespace: addresses, routes, MAC, MTU, by the host's own `ip`. */

import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { close, errno, ioctl, SystemError, socket } from './libc.js';
import { withNamespace } from './netns.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SIOCGIFINDEX = 0x8933;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const IFREQ_LENGTH = 40;
const IFNAME_LENGTH = 16;

/** struct ifreq (linux/if.h) with the name filled in. */
export function ifreq(name: string): Uint8Array {
  const request = new Uint8Array(IFREQ_LENGTH);
  request.set(new TextEncoder().encode(name).subarray(0, IFNAME_LENGTH - 1));
  return request;
}

/** One ioctl on an interface of the current namespace; null where there is no such interface. */
function interfaceRequest(name: string, command: number): DataView | null {
  const fd = socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) throw new SystemError(errno(), 'opening a control socket');
  try {
    const request = ifreq(name);
    return ioctl(fd, command, request) < 0 ? null : new DataView(request.buffer);
  } finally {
    close(fd);
  }
}

/** Interface index in the current namespace, or -1. */
export function interfaceIndex(name: string): number {
  return interfaceRequest(name, SIOCGIFINDEX)?.getInt32(IFNAME_LENGTH, true) ?? -1;
}

export function interfaceMtu(name: string): number {
  return interfaceRequest(name, SIOCGIFMTU)?.getInt32(IFNAME_LENGTH, true) ?? -1;
}

/** "02:42:ac:1e:00:02", or '' where there is no such interface. */
export function interfaceMac(name: string): string {
  const request = interfaceRequest(name, SIOCGIFHWADDR);
  if (request === null) return '';
  const octets = [];
  for (let i = 0; i < 6; i++)
    octets.push(
      request
        .getUint8(IFNAME_LENGTH + 2 + i)
        .toString(16)
        .padStart(2, '0'),
    );
  return octets.join(':');
}

/** Lets an interface have IPv6 addresses where the namespace's default forbids it (Docker's does). Current namespace. */
export function enableIpv6(name: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '0');
  } catch {
    // No IPv6 in this kernel, or /proc is read-only: `ip` will say so, by name, when an IPv6 address is added.
  }
}

/**
 * Runs `ip` with lines for its batch mode inside a namespace. Creating the process takes the namespace along (a child inherits
 * it from the thread that forks), so only the fork happens inside.
 * @throws Error with `ip`'s own words and the line that failed
 */
export async function runIpBatch(netns: string, lines: readonly string[]): Promise<void> {
  const child = withNamespace(netns, () => spawn('ip', ['-batch', '-'], { stdio: ['pipe', 'ignore', 'pipe'] }));
  child.stdin?.on('error', () => {});
  child.stdin?.end(`${lines.join('\n')}\n`);
  const { code, stderr } = await finish(child);
  if (code !== 0) throw new Error(describeFailure(stderr, lines));
}

/** The ifalias of an interface in a namespace, or ''. */
export async function interfaceAlias(netns: string, name: string): Promise<string> {
  const child = withNamespace(netns, () =>
    spawn('ip', ['-json', 'link', 'show', 'dev', name], { stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  const { code, stdout } = await finish(child);
  if (code !== 0) return '';
  const links = JSON.parse(stdout) as { ifalias?: string }[];
  return links[0]?.ifalias ?? '';
}

async function finish(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? new Error('ip not found: install iproute2') : error),
    );
    child.once('close', resolve);
  });
  return { code, stdout, stderr };
}

function describeFailure(stderr: string, lines: readonly string[]): string {
  const number = /Command failed -:(\d+)/.exec(stderr)?.[1];
  const words = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Command failed'));
  const what = number === undefined ? 'ip' : `ip ${lines[Number(number) - 1]}`;
  return `${what}: ${words.join('; ') || 'failed'}`;
}
