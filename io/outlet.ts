/**
 * The outlet of an uplink: a TAP whose frames the kernel sends on by the uplink's device (redirect.ts). A TAP takes what AF_PACKET does not: a
 * TCP super-packet inside a UDP tunnel, uncut and without its checksums (linux/virtio_net.h, virtio_net_hdr_v1_hash_tunnel; Linux 6.17). The
 * device cuts it, or the kernel for it; to a container of the same machine it goes whole.
 *
 * It has no carrier, no address and no IPv6, so that nobody on the host takes it for a way to anywhere. It ends with its descriptor.
 */

import { close as closeAsync, writeFileSync } from 'node:fs';
import { TUNNEL_HEADER_LENGTH } from '../core/packet/vnet.js';
import { interfaceIndex, runIpBatch } from './interface.js';
import { close, errno, ioctl, SystemError } from './libc.js';
import { redirectAll } from './redirect.js';
import { makeTap, openTun, setOffloads, TUN_OFFLOADS, TUN_UDP_SEGMENTS, TUN_UDP_TUNNELS } from './tun.js';

// linux/if_tun.h
const TUNSETSNDBUF = 0x400454d4;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETCARRIER = 0x400454e2;
const OFFLOADS = TUN_OFFLOADS | TUN_UDP_SEGMENTS | TUN_UDP_TUNNELS;

/** Bytes that may wait at the uplink's device, as for its AF_PACKET socket; a TAP's own limit is none. Beyond, a write is EAGAIN, and counted. */
const SEND_BUFFER = 32 << 20;

const OWN_NAMESPACE = '/proc/self/ns/net';
/** The kernel puts the first free number in. */
const NAME = 'tapline-out%d';

export interface Outlet {
  /** Each write is a header of TUNNEL_HEADER_LENGTH bytes and a frame. Nothing is to be read. */
  readonly fd: number;
  /** Of our own namespace. */
  readonly device: string;
  readonly index: number;
  /** Once. Off this thread: the kernel takes 20 ms for a device that it unregisters. */
  close(): void;
}

/**
 * Makes the outlet of a device of our own namespace. On failure nothing is left behind.
 * @throws SystemError or Error, one line: a kernel before 6.17 or without BPF, no right, no such device
 */
export async function openOutlet(uplink: string): Promise<Outlet> {
  const fd = openTun();
  try {
    const device = makeTap(fd, NAME, 'a TAP');
    const index = interfaceIndex(device);
    prepare(fd);
    const redirection = await lead(device, index, uplink);
    const closeBoth = (): void => {
      // What is still in the TAP must not come up on the host: the redirection is the last.
      closeAsync(fd, () => void close(redirection));
    };
    return { fd, device, index, close: closeBoth };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function prepare(fd: number): void {
  if (ioctl(fd, TUNSETVNETHDRSZ, word(TUNNEL_HEADER_LENGTH)) < 0 || !setOffloads(fd, OFFLOADS))
    throw new SystemError(errno(), 'asking for segmentation inside UDP tunnels', 'needs Linux 6.17 or later');
  if (ioctl(fd, TUNSETSNDBUF, word(SEND_BUFFER)) < 0) throw new SystemError(errno(), 'sizing the send buffer of a TAP');
  if (ioctl(fd, TUNSETCARRIER, word(0)) < 0) throw new SystemError(errno(), 'taking the carrier off a TAP');
}

function word(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

/** Bring it up, and lead what comes out of it to the uplink, before anything else on the host sees it. @returns the redirection's descriptor */
async function lead(device: string, index: number, uplink: string): Promise<number> {
  const to = interfaceIndex(uplink);
  if (to < 0) throw new SystemError(errno(), `leading to ${uplink}`, 'no such device in this network namespace');
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, '1');
  } catch {
    // No IPv6 in this kernel, or /proc is read-only: without carrier it gets no address either.
  }
  steerNowhere(device);
  const redirection = redirectAll(index, to);
  try {
    await runIpBatch(OWN_NAMESPACE, [`link set dev ${device} alias tapline:outlet:${uplink} up`]);
    return redirection;
  } catch (error) {
    close(redirection);
    throw error;
  }
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
