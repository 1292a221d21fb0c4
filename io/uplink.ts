/** The uplink: an AF_PACKET socket on a device of our own namespace (linux/if_packet.h, packet(7)). */

import { interfaceIndex, interfaceMac, interfaceMtu } from './interface.js';
import { bind, check, close, errno, getsockname, SystemError, setsockopt, socket } from './libc.js';
import { mapRegion, unmapRegion } from './memory.js';
import { encodeFilter, type FilterProgram } from './packet-filter.js';

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC = 0o2000003;
const ETH_P_ALL = 3;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_AUXDATA = 8;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const EPERM = 1;

/** Bytes that may wait in the socket, each way: 32 MiB hold 256 super-packets with the kernel's own overhead. */
const SOCKET_BUFFER = 32 << 20;

export interface UplinkOptions {
  readonly device: string;
  /** Which frames are received; all unless given. */
  readonly filter?: FilterProgram;
}

export interface Uplink {
  readonly fd: number;
  readonly device: string;
  readonly mac: string;
  readonly mtu: number;
  /** Of the device; another that gets its name has another. */
  readonly index: number;
  /** Replaces the filter, between two frames. */
  setFilter(filter: FilterProgram): void;
  close(): void;
}

/**
 * Opens a device: promiscuous, with virtio-net headers both ways, VLAN tags reported beside the frame, own frames not echoed.
 * @throws SystemError where there is no such device or no right
 */
export function openUplink(options: UplinkOptions): Uplink {
  const { device, filter } = options;
  const index = interfaceIndex(device);
  if (index < 0) throw new SystemError(errno(), `opening uplink ${device}`, 'no such device in this network namespace');
  // Protocol 0 receives nothing until the bind below names device and protocol together.
  const fd = socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0);
  if (fd < 0)
    throw new SystemError(errno(), 'opening an AF_PACKET socket', errno() === EPERM ? 'needs CAP_NET_RAW' : '');
  try {
    if (filter !== undefined) attachFilter(fd, filter);
    prepare(fd, device, index);
  } catch (error) {
    close(fd);
    throw error;
  }
  return {
    fd,
    device,
    mac: interfaceMac(device),
    mtu: interfaceMtu(device),
    index,
    setFilter: (program) => attachFilter(fd, program),
    close: () => void close(fd),
  };
}

/** The kernel copies the program, so its memory is needed for the call only. */
function attachFilter(fd: number, program: FilterProgram): void {
  const bytes = encodeFilter(program);
  const region = mapRegion(bytes.length);
  try {
    new Uint8Array(region.buffer).set(bytes);
    // struct sock_fprog: u16 length in instructions, padding, pointer.
    const fprog = new Uint8Array(16);
    const view = new DataView(fprog.buffer);
    view.setUint16(0, program.length, true);
    view.setUint32(8, region.address, true);
    check(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, fprog, fprog.length), 'setting the filter of the uplink');
  } finally {
    unmapRegion(region);
  }
}

/**
 * Whether the device behind an uplink's socket was deleted. The socket itself says nothing, or no more than that the network is
 * down, which a device that comes up again ends; but it is bound to no device then (net/packet/af_packet.c, packet_notifier).
 */
export function isUplinkGone(fd: number): boolean {
  const address = new Uint8Array(20);
  if (getsockname(fd, address, new Int32Array([address.length])) < 0) return true;
  return new DataView(address.buffer).getInt32(4, true) < 0;
}

function prepare(fd: number, device: string, index: number): void {
  setOption(fd, SOL_PACKET, PACKET_VNET_HDR, [1], 'asking for virtio-net headers');
  setOption(fd, SOL_PACKET, PACKET_AUXDATA, [1], 'asking for VLAN tags');
  setOption(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, [1], 'keeping own frames out');
  setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, [SOCKET_BUFFER], 'sizing the receive buffer');
  setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, [SOCKET_BUFFER], 'sizing the send buffer');
  check(bind(fd, linkAddress(index), 20), `binding to ${device}`);
  // struct packet_mreq: int index, u16 type, u16 address length, 8 bytes of address.
  setOption(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, [index, PACKET_MR_PROMISC, 0, 0], `making ${device} promiscuous`);
}

function setOption(fd: number, level: number, option: number, words: number[], what: string): void {
  const value = new Uint8Array(new Int32Array(words).buffer);
  check(setsockopt(fd, level, option, value, value.length), what);
}

/** struct sockaddr_ll: u16 family, be16 protocol, int index, then fields that only a send without a header needs. */
function linkAddress(index: number): Uint8Array {
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_ALL, false);
  view.setInt32(4, index, true);
  return address;
}
