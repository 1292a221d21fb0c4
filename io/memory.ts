/** Memory shared with the kernel, mapped below 2 GiB so that every address in it is a small integer. */

import koffi from 'koffi';
import { check, errno, madvise, mmap, munmap, SystemError } from './libc.js';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FIXED_NOREPLACE = 0x100000;
const MADV_HUGEPAGE = 14;
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
