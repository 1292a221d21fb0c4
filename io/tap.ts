/** TAP ports: a TAP device created (or taken over) inside a container's namespace, its descriptor held here. */

import { close as closeAsync } from 'node:fs';
import { enableIpv6, ifreq, interfaceAlias, interfaceIndex, runIpBatch } from './interface.js';
import { close, errno, ioctl, ioctlValue, open, SystemError } from './libc.js';
import { withNamespace } from './netns.js';

const O_RDWR_CLOEXEC = 0o2000002;
// linux/if_tun.h
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;
const TUN_F_TSO_ECN = 8;
const EPERM = 1;
const EBUSY = 16;
const EEXIST = 17;
const ENOENT = 2;

/** Frames the kernel queues for us before it drops; the driver's default of 500 overflows with bursts of small frames. */
const TX_QUEUE_LENGTH = 1000;

export interface TapRoute {
  readonly to: string;
  readonly via?: string;
}

export interface TapOptions {
  /** Path of the network namespace; /proc/self/ns/net for our own. */
  readonly netns: string;
  /** Name of the device inside. */
  readonly interface: string;
  readonly mac: string;
  readonly mtu: number;
  /** CIDR: address with prefix length. */
  readonly addresses: readonly string[];
  readonly routes?: readonly TapRoute[];
  /** Stored as the device's alias; a device that carries it is ours and is taken over instead of refused. */
  readonly alias: string;
}

export interface Tap {
  readonly fd: number;
  readonly interface: string;
  /** The device was there already, left by an earlier process of ours. */
  readonly tookOver: boolean;
  /** Removes the device and closes the descriptor. Off this thread: the kernel takes 20 ms for each device it unregisters. */
  detach(): Promise<void>;
  /** Closes the descriptor; the device stays, without carrier, for the next process. */
  release(): void;
}

/**
 * Makes a TAP with virtio-net headers and offloads inside a namespace and configures it; it is up when this resolves.
 * On failure nothing is left behind.
 * @throws SystemError or Error, one line: namespace missing, name taken, no right, no /dev/net/tun, what `ip` refused
 */
export async function attachTap(options: TapOptions): Promise<Tap> {
  const exists = withNamespace(options.netns, () => interfaceIndex(options.interface)) >= 0;
  if (exists) await requireOurs(options);
  const fd = withNamespace(options.netns, () => openTap(options));
  try {
    await configure(options, exists);
  } catch (error) {
    if (!exists) ioctlValue(fd, TUNSETPERSIST, 0);
    close(fd);
    throw error;
  }
  return new OpenTap(fd, options.interface, exists);
}

class OpenTap implements Tap {
  readonly fd: number;
  readonly interface: string;
  readonly tookOver: boolean;
  private open = true;

  constructor(fd: number, name: string, tookOver: boolean) {
    this.fd = fd;
    this.interface = name;
    this.tookOver = tookOver;
  }

  async detach(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    ioctlValue(this.fd, TUNSETPERSIST, 0);
    await new Promise<void>((resolve) => closeAsync(this.fd, () => resolve()));
  }

  release(): void {
    if (!this.open) return;
    this.open = false;
    close(this.fd);
  }
}

async function requireOurs(options: TapOptions): Promise<void> {
  const alias = await interfaceAlias(options.netns, options.interface);
  if (alias === options.alias) return;
  const holder = alias.startsWith('tapline:') ? ` (endpoint ${alias.slice('tapline:'.length)} of another Tapline)` : '';
  throw new SystemError(
    EEXIST,
    `creating interface ${options.interface}`,
    `the name is taken in ${options.netns}${holder}; choose another with interface`,
  );
}

/** In the namespace: the device belongs to the namespace that /dev/net/tun was opened in. */
function openTap(options: TapOptions): number {
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC);
  if (fd < 0) throw new SystemError(errno(), 'opening /dev/net/tun', openRemedy(errno()));
  try {
    createDevice(fd, options);
    return fd;
  } catch (error) {
    ioctlValue(fd, TUNSETPERSIST, 0);
    close(fd);
    throw error;
  }
}

function createDevice(fd: number, options: TapOptions): void {
  const request = ifreq(options.interface);
  new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
  if (ioctl(fd, TUNSETIFF, request) < 0) {
    throw new SystemError(
      errno(),
      `creating interface ${options.interface} in ${options.netns}`,
      createRemedy(errno()),
    );
  }
  const offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctlValue(fd, TUNSETOFFLOAD, offloads) < 0) throw new SystemError(errno(), 'setting TAP offloads');
  if (ioctlValue(fd, TUNSETPERSIST, 1) < 0) throw new SystemError(errno(), 'making the TAP persistent');
}

function openRemedy(error: number): string {
  if (error === ENOENT) return 'load the tun module (modprobe tun), or give this container the device';
  if (error === EPERM || error === 13) return 'needs CAP_NET_ADMIN';
  return '';
}

function createRemedy(error: number): string {
  if (error === EPERM) return 'needs CAP_NET_ADMIN';
  if (error === EBUSY) return 'another process holds the device';
  return '';
}

async function configure(options: TapOptions, takenOver: boolean): Promise<void> {
  const device = options.interface;
  const hasIpv6 = options.addresses.some((address) => address.includes(':'));
  if (hasIpv6) withNamespace(options.netns, () => enableIpv6(device));
  const lines = [
    `link set dev ${device} address ${options.mac} mtu ${options.mtu} txqueuelen ${TX_QUEUE_LENGTH}`,
    `link set dev ${device} alias ${options.alias}`,
  ];
  if (takenOver) lines.push(`address flush dev ${device} scope global`);
  for (const address of options.addresses) lines.push(addressLine(device, address));
  lines.push(`link set dev ${device} up`);
  for (const route of options.routes ?? []) lines.push(routeLine(device, route));
  await runIpBatch(options.netns, lines);
}

/** Addresses are unique by configuration; without `nodad` an IPv6 one would be unusable for its first second or two. */
function addressLine(device: string, address: string): string {
  return address.includes(':')
    ? `address replace ${address} dev ${device} nodad`
    : `address replace ${address} dev ${device} broadcast +`;
}

function routeLine(device: string, route: TapRoute): string {
  return `route replace ${route.to}${route.via === undefined ? '' : ` via ${route.via}`} dev ${device}`;
}
