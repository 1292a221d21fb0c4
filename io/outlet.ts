/**
 * The outlet of an uplink: a TAP whose frames the kernel sends on by the uplink's device (tc, mirred). A TAP takes what AF_PACKET does not: a
 * TCP super-packet inside a UDP tunnel, uncut and without its checksums (linux/virtio_net.h, virtio_net_hdr_v1_hash_tunnel; Linux 6.17). The
 * device cuts it, or the kernel for it; to a container of the same machine it goes whole.
 *
 * It has no carrier, no address and no IPv6, so that nobody on the host takes it for a way to anywhere. It ends with its descriptor.
 */

import { execFile } from 'node:child_process';
import { close as closeAsync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { TUNNEL_HEADER_LENGTH } from '../core/packet/vnet.js';
import { ifreq, runIpBatch } from './interface.js';
import { close, errno, ioctl, ioctlValue, open, SystemError } from './libc.js';

const run = promisify(execFile);

const O_RDWR_CLOEXEC = 0o2000002;
// linux/if_tun.h
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETCARRIER = 0x400454e2;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** TUN_F_CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6, and UDP_TUNNEL_GSO with UDP_TUNNEL_GSO_CSUM. */
const OFFLOADS = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100;

const OWN_NAMESPACE = '/proc/self/ns/net';
/** The kernel puts the first free number in. */
const NAME = 'tapline-out%d';

const NO_TC = 'install iproute2 (iproute-tc on Fedora and its like)';
/** What the kernel says of a qdisc, a classifier and an action that it neither has nor can load. */
const LACKS_MODULE = /qdisc (kind is unknown|not found)|classifier not found|load TC action|No such file or directory/;
const NO_MODULE = 'load the kernel modules sch_ingress, cls_u32 and act_mirred (modprobe)';

export interface Outlet {
  /** Each write is a header of TUNNEL_HEADER_LENGTH bytes and a frame. Nothing is to be read. */
  readonly fd: number;
  /** Of our own namespace. */
  readonly device: string;
  /** Off this thread: the kernel takes 20 ms for a device that it unregisters. */
  close(): void;
}

/**
 * Makes the outlet of a device of our own namespace. On failure nothing is left behind.
 * @throws SystemError or Error, one line: a kernel before 6.17, no right, no tc, what `tc` refused
 */
export async function openOutlet(uplink: string): Promise<Outlet> {
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC);
  if (fd < 0) throw new SystemError(errno(), 'opening /dev/net/tun');
  try {
    const device = createDevice(fd);
    prepare(fd);
    await lead(device, uplink);
    return { fd, device, close: () => closeAsync(fd, () => undefined) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** @returns its name */
function createDevice(fd: number): string {
  const request = ifreq(NAME);
  new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
  if (ioctl(fd, TUNSETIFF, request) < 0) throw new SystemError(errno(), 'creating a TAP', 'needs CAP_NET_ADMIN');
  const name = new TextDecoder().decode(request.subarray(0, 16));
  return name.slice(0, name.indexOf('\0'));
}

function prepare(fd: number): void {
  if (ioctl(fd, TUNSETVNETHDRSZ, word(TUNNEL_HEADER_LENGTH)) < 0 || ioctlValue(fd, TUNSETOFFLOAD, OFFLOADS) < 0)
    throw new SystemError(errno(), 'asking for segmentation inside UDP tunnels', 'needs Linux 6.17 or later');
  if (ioctl(fd, TUNSETCARRIER, word(0)) < 0) throw new SystemError(errno(), 'taking the carrier off a TAP');
}

function word(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

/** Frames that come out of the TAP go to the uplink, before anything else on the host sees them. */
async function lead(device: string, uplink: string): Promise<void> {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, '1');
  } catch {
    // No IPv6 in this kernel, or /proc is read-only: without carrier it gets no address either.
  }
  steerNowhere(device);
  await tc('qdisc', 'add', 'dev', device, 'clsact');
  const all = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0'];
  await tc('filter', 'add', 'dev', device, 'ingress', ...all, 'action', 'mirred', 'egress', 'redirect', 'dev', uplink);
  await runIpBatch(OWN_NAMESPACE, [`link set dev ${device} alias tapline:outlet:${uplink} up`]);
}

/**
 * Where the host spreads what new devices receive over processors (net.core.rps_default_mask), frames would wait in another one's queue, and be
 * overtaken by those that leave by the uplink's own socket (Documentation/networking/scaling.rst, RPS).
 */
function steerNowhere(device: string): void {
  try {
    writeFileSync(`/sys/class/net/${device}/queues/rx-0/rps_cpus`, '0');
  } catch {
    // A kernel without RPS, or /sys is read-only or another namespace's: most hosts have no such mask.
  }
}

async function tc(...words: string[]): Promise<void> {
  try {
    await run('tc', words);
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if ((code as unknown) === 'ENOENT') throw new Error(`tc not found: ${NO_TC}`);
    const lines = (stderr ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('We have an error'));
    const why = lines.join('; ') || 'failed';
    const remedy = LACKS_MODULE.test(why) ? `: ${NO_MODULE}` : '';
    throw new Error(`tc ${words.slice(0, 2).join(' ')}: ${why}${remedy}`);
  }
}
