/** TAP ports: a TAP device created (or taken over) inside a container's namespace, its descriptor held here. */

import { close as closeAsync } from 'node:fs';
import { enableIpv6, runIpBatch } from './interface.js';
import { close, errno, ioctlValue, SystemError } from './libc.js';
import { withNamespace } from './netns.js';
import { type DeviceState, deviceLink, deviceState } from './rtnetlink.js';
import { makeTap, openTun, setOffloads, TUN_OFFLOADS, TUN_UDP_SEGMENTS } from './tun.js';

/** linux/if_tun.h */
const TUNSETPERSIST = 0x400454cb;
const EBUSY = 16;
const EEXIST = 17;

/** Frames the kernel queues for us before it drops; the driver's default of 500 overflows with bursts of small frames. */
const TX_QUEUE_LENGTH = 1000;

/** gso_max_size of a device that nobody has told another: GSO_LEGACY_MAX_SIZE of linux/netdevice.h. */
const DEFAULT_GSO_SIZE = 65_536;

/** Milliseconds. */
const BUSY_PATIENCE = 2000;
const BUSY_INTERVAL = 2;
/** Main table; the one that holds what is the machine's own. */
const RT_TABLE_MAIN = 254;

export interface TapRoute {
  readonly to: string;
  readonly via?: string;
}

/** Where a TAP is. */
export interface TapPlace {
  /** Path of the network namespace; /proc/self/ns/net for our own. */
  readonly netns: string;
  /** Name of the device inside. */
  readonly interface: string;
}

export interface TapOptions extends TapPlace {
  readonly mac: string;
  readonly mtu: number;
  /** Bytes of the largest super-packet that its kernel makes, as `ip link` counts them; the kernel's default unless given. */
  readonly gsoMaxSize?: number;
  /** Addresses that a device has besides, left by an earlier process, stay. */
  readonly othersStay?: boolean;
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
  const before = withNamespace(options.netns, () => deviceState(options.interface));
  if (before !== null) requireOurs(options, before.link.alias);
  const fd = await openTapSoon(options, before !== null);
  try {
    await configure(options, before);
    // Only now that it carries our mark: one that is found without could not be known as ours.
    if (ioctlValue(fd, TUNSETPERSIST, 1) < 0) throw new SystemError(errno(), 'making the TAP persistent');
  } catch (error) {
    close(fd);
    throw error;
  }
  return new OpenTap(fd, options.interface, before !== null);
}

/**
 * Removes a TAP that an earlier process left.
 * @returns false where there is none with that alias (any more), or its namespace has gone
 * @throws SystemError
 */
export async function removeTap(netns: string, device: string, alias: string): Promise<boolean> {
  let fd: number;
  try {
    if (withNamespace(netns, () => deviceLink(device))?.alias !== alias) return false;
    fd = await openTapSoon({ netns, interface: device }, true);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENOENT') return false;
    throw error;
  }
  ioctlValue(fd, TUNSETPERSIST, 0);
  await new Promise<void>((resolve) => closeAsync(fd, () => resolve()));
  return true;
}

/**
 * Gives a TAP another MTU. The kernel takes IPv6 away below 1280 bytes, and does not give addresses back.
 * @throws Error, one line: namespace or device gone, what `ip` refused
 */
export async function resizeTap(place: TapPlace, mtu: number, gsoMaxSize: number = DEFAULT_GSO_SIZE): Promise<void> {
  await runIpBatch(place.netns, [`link set dev ${place.interface} mtu ${mtu}`]);
  await limitSuperPackets(place, gsoMaxSize);
}

/** Without it all works: super-packets are cut in two. Old kernels, and versions of `ip`, refuse. */
async function limitSuperPackets(place: TapPlace, bytes: number): Promise<void> {
  await runIpBatch(place.netns, [`link set dev ${place.interface} gso_max_size ${bytes}`]).catch(() => undefined);
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

function requireOurs(options: TapOptions, alias: string): void {
  if (alias === options.alias) return;
  const holder = alias.startsWith('tapline:') ? ` (endpoint ${alias.slice('tapline:'.length)} of another Tapline)` : '';
  throw new SystemError(
    EEXIST,
    `creating interface ${options.interface}`,
    `the name is taken in ${options.netns}${holder}; choose another with interface`,
  );
}

/** A process that was killed a moment ago may hold its devices still: the kernel takes its io_uring apart in the background. */
async function openTapSoon(options: TapPlace, isLeft: boolean): Promise<number> {
  const deadline = performance.now() + (isLeft ? BUSY_PATIENCE : 0);
  for (;;) {
    try {
      return withNamespace(options.netns, () => openTap(options));
    } catch (error) {
      const isBusy = error instanceof SystemError && error.errno === EBUSY;
      if (!isBusy || performance.now() >= deadline) throw error;
    }
    await new Promise((done) => setTimeout(done, BUSY_INTERVAL));
  }
}

/** In the namespace. */
function openTap(options: TapPlace): number {
  const fd = openTun();
  try {
    makeTap(fd, options.interface, `interface ${options.interface} in ${options.netns}`);
    if (!setOffloads(fd, TUN_OFFLOADS | TUN_UDP_SEGMENTS) && !setOffloads(fd, TUN_OFFLOADS))
      throw new SystemError(errno(), 'setting TAP offloads');
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Of a device that was there only what is not right is touched: whoever uses its addresses shall notice nothing. */
async function configure(options: TapOptions, before: DeviceState | null): Promise<void> {
  const lines = before === null ? freshLines(options) : missingLines(options, before);
  const hasIpv6 = options.addresses.some((address) => address.includes(':'));
  const gsoMaxSize = options.gsoMaxSize ?? DEFAULT_GSO_SIZE;
  if (gsoMaxSize !== (before?.link.gsoMaxSize ?? DEFAULT_GSO_SIZE)) await limitSuperPackets(options, gsoMaxSize);
  if (lines.length === 0) return;
  if (hasIpv6) withNamespace(options.netns, () => enableIpv6(options.interface));
  await runIpBatch(options.netns, lines);
}

function freshLines(options: TapOptions): string[] {
  const device = options.interface;
  return [
    `link set dev ${device} address ${options.mac} mtu ${options.mtu} txqueuelen ${TX_QUEUE_LENGTH}`,
    `link set dev ${device} alias ${options.alias}`,
    ...options.addresses.map((address) => addressLine(device, address)),
    `link set dev ${device} up`,
    ...(options.routes ?? []).map((route) => routeLine(device, route)),
  ];
}

function missingLines(options: TapOptions, { link, addresses, routes }: DeviceState): string[] {
  const device = options.interface;
  const lines: string[] = [];
  if (link.mac !== options.mac) lines.push(`link set dev ${device} address ${options.mac}`);
  if (link.mtu !== options.mtu) lines.push(`link set dev ${device} mtu ${options.mtu}`);
  if (link.txQueueLength !== TX_QUEUE_LENGTH) lines.push(`link set dev ${device} txqueuelen ${TX_QUEUE_LENGTH}`);
  for (const address of options.othersStay === true ? [] : addresses)
    if (!options.addresses.includes(address)) lines.push(`address del ${address} dev ${device}`);
  for (const address of options.addresses) if (!addresses.includes(address)) lines.push(addressLine(device, address));
  if (!link.up) lines.push(`link set dev ${device} up`);
  for (const route of options.routes ?? []) {
    const isThere = routes.some(({ to, via, table }) => {
      return table === RT_TABLE_MAIN && to === route.to && via === (route.via ?? null);
    });
    // An address that goes takes routes along.
    if (!isThere || lines.length > 0) lines.push(routeLine(device, route));
  }
  return lines;
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
