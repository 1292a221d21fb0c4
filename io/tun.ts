/** The driver of TAP devices (linux/if_tun.h): a descriptor, the device behind it, and what that takes over from who writes to it. */

import { ifreq } from './interface.js';
import { errno, ioctl, ioctlValue, open, SystemError } from './libc.js';

const O_RDWR_CLOEXEC = 0o2000002;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFNAME_LENGTH = 16;
const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const EBUSY = 16;

/** TUN_F_CSUM, TSO4, TSO6, TSO_ECN: checksums, and segmentation of TCP. */
export const TUN_OFFLOADS = 0x1 | 0x2 | 0x4 | 0x8;
/** TUN_F_USO4 and USO6: segmentation of UDP, since Linux 6.2; the two only together. */
export const TUN_UDP_SEGMENTS = 0x20 | 0x40;
/** TUN_F_UDP_TUNNEL_GSO and UDP_TUNNEL_GSO_CSUM: both inside UDP tunnels, since Linux 6.17. */
export const TUN_UDP_TUNNELS = 0x80 | 0x100;

/** Opens the driver; devices belong to the namespace that this is called in. @throws SystemError */
export function openTun(): number {
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC);
  if (fd < 0) throw new SystemError(errno(), 'opening /dev/net/tun', openRemedy(errno()));
  return fd;
}

/**
 * Makes a TAP with virtio-net headers, or takes one that is left.
 *
 * @param name a `%d` in it stands for the first free number
 * @param what it is, for the error: "creating ..."
 * @returns its name
 * @throws SystemError
 */
export function makeTap(fd: number, name: string, what: string): string {
  const request = ifreq(name);
  new DataView(request.buffer).setUint16(IFNAME_LENGTH, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
  if (ioctl(fd, TUNSETIFF, request) < 0) throw new SystemError(errno(), `creating ${what}`, createRemedy(errno()));
  const made = new TextDecoder().decode(request.subarray(0, IFNAME_LENGTH));
  return made.slice(0, made.indexOf('\0'));
}

/** What may be left to the device by who writes to it, and to who reads by the device. @returns false where the kernel does not know all of it */
export function setOffloads(fd: number, offloads: number): boolean {
  return ioctlValue(fd, TUNSETOFFLOAD, offloads) >= 0;
}

function openRemedy(error: number): string {
  if (error === ENOENT) return 'load the tun module (modprobe tun), or give this container the device';
  return error === EPERM || error === EACCES ? 'needs CAP_NET_ADMIN' : '';
}

function createRemedy(error: number): string {
  if (error === EPERM) return 'needs CAP_NET_ADMIN';
  return error === EBUSY ? 'another process holds the device' : '';
}
