/**
 * The C library through koffi: the few calls Tapline makes into the kernel, synchronous, and errno as a named error.
 *
 * Addresses are plain numbers. Everything the packet path hands to the kernel lies in memory mapped below 2 GiB (memory.ts), so
 * that an address is a small integer and a call allocates nothing.
 */

import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

const library = koffi.load('libc.so.6');

export const open: (path: string, flags: number) => number = library.func('int open(const char *path, int flags)');
export const close: (fd: number) => number = library.func('int close(int fd)');
export const read: (fd: number, address: number, length: number) => number = library.func(
  'int64_t read(int fd, intptr_t address, size_t length)',
);
export const write: (fd: number, address: number, length: number) => number = library.func(
  'int64_t write(int fd, intptr_t address, size_t length)',
);
export const ioctl: (fd: number, request: number, argument: number | Uint8Array) => number = library.func(
  'int ioctl(int fd, unsigned long request, void *argument)',
);
export const ioctlValue: (fd: number, request: number, argument: number) => number = library.func(
  'int ioctl(int fd, unsigned long request, intptr_t argument)',
);
export const fcntl: (fd: number, command: number, argument: number) => number = library.func(
  'int fcntl(int fd, int command, intptr_t argument)',
);
export const setns: (fd: number, type: number) => number = library.func('int setns(int fd, int type)');
export const unshare: (flags: number) => number = library.func('int unshare(int flags)');
export const mmap: (
  a: number,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number = library.func(
  'intptr_t mmap(uintptr_t a, size_t length, int protection, int flags, int fd, int64_t offset)',
);
export const munmap: (address: number, length: number) => number = library.func(
  'int munmap(intptr_t address, size_t length)',
);
export const madvise: (address: number, length: number, advice: number) => number = library.func(
  'int madvise(intptr_t address, size_t length, int advice)',
);
export const flock: (fd: number, operation: number) => number = library.func('int flock(int fd, int operation)');
export const eventfd: (initial: number, flags: number) => number = library.func(
  'int eventfd(unsigned int initial, int flags)',
);
export const epollCreate: (flags: number) => number = library.func('int epoll_create1(int flags)');
export const epollControl: (epoll: number, operation: number, fd: number, event: number | Uint8Array) => number =
  library.func('int epoll_ctl(int epoll, int operation, int fd, void *event)');
export const epollWait: (epoll: number, events: number, maximum: number, timeout: number) => number = library.func(
  'int epoll_wait(int epoll, intptr_t events, int maximum, int timeout)',
);
export const socket: (domain: number, type: number, protocol: number) => number = library.func(
  'int socket(int domain, int type, int protocol)',
);
export const bind: (fd: number, address: Uint8Array, length: number) => number = library.func(
  'int bind(int fd, void *address, unsigned int length)',
);
export const getsockname: (fd: number, address: Uint8Array, length: Int32Array) => number = library.func(
  'int getsockname(int fd, void *address, void *length)',
);
export const setsockopt: (fd: number, level: number, option: number, value: Uint8Array, length: number) => number =
  library.func('int setsockopt(int fd, int level, int option, void *value, unsigned int length)');
export const recv: (fd: number, buffer: Uint8Array, length: number, flags: number) => number = library.func(
  'int64_t recv(int fd, void *buffer, size_t length, int flags)',
);
export const send: (fd: number, buffer: Uint8Array, length: number, flags: number) => number = library.func(
  'int64_t send(int fd, const void *buffer, size_t length, int flags)',
);
export const recvmsg: (fd: number, message: number, flags: number) => number = library.func(
  'int64_t recvmsg(int fd, intptr_t message, int flags)',
);
export const clockGettime: (clock: number, timespec: number) => number = library.func(
  'int clock_gettime(int clock, intptr_t timespec)',
);
/** Raw system calls, for those the C library has no function for: up to six integer arguments. */
export const syscall: (number: number, a: number, b: number, c: number, d: number, e: number, f: number) => number =
  library.func('int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)');

/** errno of the last failed call on this thread. */
export function errno(): number {
  return koffi.errno();
}

// Error numbers that the packet path tells apart (asm-generic/errno.h).
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EINVAL = 22;
export const ENETDOWN = 100;
export const EMSGSIZE = 90;
export const ENOBUFS = 105;
export const ENXIO = 6;
export const ENODEV = 19;
export const EBADFD = 77;
export const ETIME = 62;
export const ECANCELED = 125;

/** Names that Node's table lacks. */
const OTHER_NAMES: Readonly<Record<number, string>> = { [EBADFD]: 'EBADFD', [ETIME]: 'ETIME' };

/** "EPERM" for 1; "errno 4095" for what nobody named. */
export function errorName(number: number): string {
  const name = OTHER_NAMES[number] ?? getSystemErrorName(-number);
  return name.startsWith('Unknown') ? `errno ${number}` : name;
}

/** A failed system call: `code` is the errno's name, the message one line with what was tried and, where we know it, the remedy. */
export class SystemError extends Error {
  readonly code: string;
  readonly errno: number;

  constructor(number: number, what: string, remedy = '') {
    super(`${errorName(number)} ${what}${remedy === '' ? '' : `: ${remedy}`}`);
    this.name = 'SystemError';
    this.code = errorName(number);
    this.errno = number;
  }
}

/** Passes a call's result through; throws SystemError where it is negative. */
export function check(result: number, what: string, remedy = ''): number {
  if (result < 0) throw new SystemError(errno(), what, remedy);
  return result;
}
