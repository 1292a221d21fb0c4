/** Setting interfaces up inside a network namespace: addresses, routes, MAC, MTU, by the host's own `ip`. */

import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { close, errno, ioctl, SystemError, socket } from './libc.js';
import { withNamespace } from './netns.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFINDEX = 0x8933;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
/** net/if.h: set up by somebody; and the wire is there. */
const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
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

/** What of a device of the host may change while it is in use. */
export interface LinkFacts {
  /** A device that is deleted and made again has another. */
  readonly index: number;
  readonly mac: string;
  /** Bytes of IP packet. */
  readonly mtu: number;
  readonly enabled: boolean;
  /** It sees the other end of its wire. */
  readonly carrier: boolean;
}

/** Of a device in the current namespace; null where there is none, also when it goes while it is being read. Cheap. */
export function linkFacts(name: string): LinkFacts | null {
  const index = interfaceIndex(name);
  const flags = interfaceRequest(name, SIOCGIFFLAGS)?.getUint16(IFNAME_LENGTH, true) ?? -1;
  const [mac, mtu] = [interfaceMac(name), interfaceMtu(name)];
  if (index < 0 || flags < 0 || mac === '' || mtu < 0) return null;
  return { index, mac, mtu, enabled: (flags & IFF_UP) !== 0, carrier: (flags & IFF_RUNNING) !== 0 };
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
 * @param family of lines from which `ip` cannot tell it, such as those about rules
 * @throws Error with `ip`'s own words and the line that failed
 */
export async function runIpBatch(netns: string, lines: readonly string[], family?: 4 | 6): Promise<void> {
  const options = [...(family === undefined ? [] : [`-${family}`]), '-batch', '-'];
  const child = withNamespace(netns, () => spawn('ip', options, { stdio: ['pipe', 'ignore', 'pipe'] }));
  child.stdin?.on('error', () => {});
  child.stdin?.end(`${lines.join('\n')}\n`);
  const { code, stderr } = await finish(child);
  if (code !== 0) throw new Error(describeFailure(failedLine(stderr, lines), stderr));
}

/**
 * What `ip -json` prints about the current namespace.
 * @throws Error with `ip`'s own words
 */
export async function readIp<T>(...words: string[]): Promise<T[]> {
  return readIpOf(spawn('ip', ['-json', ...words], { stdio: ['ignore', 'pipe', 'pipe'] }), words);
}

/** The same about another namespace. */
export async function readIpInside<T>(netns: string, ...words: string[]): Promise<T[]> {
  const child = withNamespace(netns, () => spawn('ip', ['-json', ...words], { stdio: ['ignore', 'pipe', 'pipe'] }));
  return readIpOf(child, words);
}

async function readIpOf<T>(child: ChildProcess, words: readonly string[]): Promise<T[]> {
  const { code, stdout, stderr } = await finish(child);
  if (code !== 0) throw new Error(describeFailure(`ip ${words.join(' ')}`, stderr));
  // A dump of nothing prints nothing with some versions, an empty list with others.
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as T[]);
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

function failedLine(stderr: string, lines: readonly string[]): string {
  const number = /Command failed -:(\d+)/.exec(stderr)?.[1];
  return number === undefined ? 'ip' : `ip ${lines[Number(number) - 1]}`;
}

function describeFailure(what: string, stderr: string): string {
  const words = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Command failed'));
  return `${what}: ${words.join('; ') || 'failed'}`;
}
