/**
 * Memory shared with the kernel, mapped below 2 GiB so that every address in it is a small integer; and memory that is a file's, which
 * outlives the process.
 */

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import koffi from 'koffi';
import { check, errno, madvise, mmap, munmap, SystemError } from './libc.js';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FIXED_NOREPLACE = 0x100000;
const MADV_HUGEPAGE = 14;
const MAP_SHARED = 0x1;
const MAP_SHARED_POPULATE = 0x8001;

/** Places to try, in steps: above what a non-PIE binary and its heap use, below 2 GiB. */
const LOWEST = 0x40000000;
const HIGHEST = 0x7fff0000;
const STEP = 0x00200000;
const PAGE = 4096;

export interface Region {
  /** Where it starts in the address space; below 2^31. */
  readonly address: number;
  readonly length: number;
  readonly buffer: ArrayBuffer;
}

/**
 * Maps zeroed private memory. Pages cost nothing until touched.
 * @param length bytes, rounded up to pages
 * @param huge ask for transparent huge pages
 * @throws SystemError ENOMEM where no gap below 2 GiB is wide enough
 */
export function mapRegion(length: number, huge = false): Region {
  const size = Math.ceil(length / PAGE) * PAGE;
  let failure = 12;
  for (let address = LOWEST; address + size <= HIGHEST; address += STEP) {
    const got = mmap(address, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got === address) {
      if (huge) madvise(address, size, MADV_HUGEPAGE);
      return viewRegion(address, size);
    }
    failure = got < 0 ? errno() : failure;
    if (got > 0) munmap(got, size);
  }
  throw new SystemError(failure, `mapping ${size} bytes below 2 GiB`, 'free memory or use fewer slots');
}

/** The same region seen from another thread of this process. */
export function viewRegion(address: number, length: number): Region {
  return { address, length, buffer: koffi.view(address, length) };
}

export function unmapRegion(region: Region): void {
  check(munmap(region.address, region.length), 'unmapping memory');
}

/** Maps a part of a descriptor's memory (an io_uring ring); may lie anywhere. */
export function mapDescriptor(fd: number, offset: number, length: number): Region {
  const address = mmap(0, length, PROT_READ_WRITE, MAP_SHARED_POPULATE, fd, offset);
  if (address === -1) throw new SystemError(errno(), 'mapping an io_uring ring');
  return viewRegion(address, length);
}

/** What was found in a file: tables of an earlier process; nothing; or what cannot be gone on with, and has been thrown away. */
export type Found = 'kept' | 'nothing' | 'other layout' | 'other boot';

/** A file in memory. All that a process writes there is in the file at once: a process that is killed at any instant leaves it so. */
export interface FileRegion extends Region {
  readonly found: Found;
  unmap(): void;
}

// The file's header, int32 words. Its page is not part of the region.
const HEADER_MAGIC = 0;
const HEADER_LAYOUT = 1;
const HEADER_PAGES = 2;
/** Four words: which boot of the machine (seconds since boot mean nothing in another). */
const HEADER_BOOT = 4;
/** "TAPL" */
const MAGIC = 0x4c504154;

/** Four words that no other boot of a machine has. */
function bootWords(): Int32Array {
  const hex = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replace(/[^0-9a-f]/g, '');
  return Int32Array.from([0, 8, 16, 24], (at) => Number.parseInt(hex.slice(at, at + 8), 16) | 0);
}

/**
 * Maps a file whose pages are shared between processes, made where it is not there. What an earlier process left is kept only if it has
 * the same layout; else all is zero. Nobody else may have the file mapped: it would die when the file is cut.
 *
 * @param length bytes, rounded up to pages; the file takes memory only where it was written
 * @param layout a number that changes whenever the meaning of the bytes does
 * @throws Error, SystemError where the file cannot be opened or mapped
 */
export function mapFile(path: string, length: number, layout: number): FileRegion {
  const size = Math.ceil(length / PAGE) * PAGE;
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    const before = fstatSync(fd).size;
    if (before !== PAGE + size) clear(fd, size);
    const header = mapShared(fd, 0, PAGE, path);
    const found = before !== 0 && before !== PAGE + size ? 'other layout' : checkHeader(header, layout, size);
    if (found !== 'kept') startAnew(fd, header, layout, size);
    unmapRegion(header);
    const region = mapShared(fd, PAGE, size, path);
    return { ...region, found, unmap: () => unmapRegion(region) };
  } finally {
    closeSync(fd);
  }
}

function mapShared(fd: number, offset: number, length: number, path: string): Region {
  const address = mmap(0, length, PROT_READ_WRITE, MAP_SHARED, fd, offset);
  if (address === -1) throw new SystemError(errno(), `mapping ${path}`);
  return viewRegion(address, length);
}

/** To nothing first, so that what grows again is zero. Pages that are never touched cost nothing. */
function clear(fd: number, size: number): void {
  ftruncateSync(fd, 0);
  ftruncateSync(fd, PAGE + size);
}

function checkHeader({ buffer }: Region, layout: number, size: number): Found {
  const header = new Int32Array(buffer, 0, PAGE / 4);
  // Its process was killed before anything stood there.
  if (header[HEADER_MAGIC] === 0) return 'nothing';
  if (header[HEADER_MAGIC] !== MAGIC || header[HEADER_LAYOUT] !== layout || header[HEADER_PAGES] !== size / PAGE)
    return 'other layout';
  return bootWords().every((word, at) => word === header[HEADER_BOOT + at]) ? 'kept' : 'other boot';
}

function startAnew(fd: number, { buffer }: Region, layout: number, size: number): void {
  clear(fd, size);
  const header = new Int32Array(buffer, 0, PAGE / 4);
  header[HEADER_LAYOUT] = layout;
  header[HEADER_PAGES] = size / PAGE;
  header.set(bootWords(), HEADER_BOOT);
  // Last: a header without it is none.
  Atomics.store(header, HEADER_MAGIC, MAGIC);
}
