/**
 * Hearing that something changed: a netlink socket that the kernel tells of links, addresses and routes (rtnetlink(7)), or of
 * nftables' rules (linux/netfilter/nfnetlink.h). What changed is read anew by whoever wants to know; a message is only the call.
 */

import { bind, check, close, EAGAIN, EINTR, ENOBUFS, errno, recv, socket } from './libc.js';

const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK_CLOEXEC = 0o2004003;
const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;

// linux/rtnetlink.h: bits of the groups.
const RTMGRP_LINK = 0x1;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV4_ROUTE = 0x40;
const RTMGRP_IPV6_IFADDR = 0x100;
const RTMGRP_IPV6_ROUTE = 0x400;
/** NFNLGRP_NFTABLES is group 7. */
const NFTABLES_BIT = 0x40;

/** Messages taken at once: a flood of them is met with one reading all the same. */
const DRAIN_LIMIT = 4096;

export interface ChangeSocket {
  /** Readable when something changed. */
  readonly fd: number;
  /** Takes what waits. @returns whether something changed since the last call */
  drain(): boolean;
  close(): void;
}

/** Links of the current namespace; with `addresses` also addresses and routes. @throws SystemError */
export function watchLinks(addresses: boolean): ChangeSocket {
  const more = RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;
  return openSocket(NETLINK_ROUTE, addresses ? RTMGRP_LINK | more : RTMGRP_LINK, 'listening for changes of links');
}

/** nftables' rules in the current namespace. @throws SystemError */
export function watchRules(): ChangeSocket {
  return openSocket(NETLINK_NETFILTER, NFTABLES_BIT, 'listening for changes of nftables');
}

function openSocket(protocol: number, groups: number, what: string): ChangeSocket {
  const fd = check(socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, protocol), what);
  // struct sockaddr_nl: u16 family, u16 padding, u32 port (0: the kernel chooses), u32 groups.
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, groups, true);
  try {
    check(bind(fd, address, address.length), what);
  } catch (error) {
    close(fd);
    throw error;
  }
  return { fd, drain: () => drain(fd), close: () => void close(fd) };
}

function drain(fd: number): boolean {
  // Messages that are longer are cut, which does not matter here.
  const buffer = new Uint8Array(16);
  let changed = false;
  for (let i = 0; i < DRAIN_LIMIT; i++) {
    if (recv(fd, buffer, buffer.length, 0) < 0) {
      const error = errno();
      if (error === EAGAIN) return changed;
      // ENOBUFS: more changed than the socket could hold.
      if (error !== EINTR && error !== ENOBUFS) return changed;
    }
    changed = true;
  }
  return changed;
}
