/** An eventfd: one thread wakes another that sleeps in the kernel. */

import { check, close, eventfd, read, write } from './libc.js';
import { mapRegion, type Region, unmapRegion } from './memory.js';

const EFD_CLOEXEC_NONBLOCK = 0o2004000;

export class Wakeup {
  readonly fd: number;
  private readonly region: Region;

  /** @param fd an eventfd made by another instance, or -1 to make one */
  constructor(fd = -1) {
    this.fd = fd >= 0 ? fd : check(eventfd(0, EFD_CLOEXEC_NONBLOCK), 'creating an eventfd');
    this.region = mapRegion(16);
    new Int32Array(this.region.buffer)[0] = 1;
  }

  /** Makes the descriptor readable. */
  ring(): void {
    check(write(this.fd, this.region.address, 8), 'waking the dataplane');
  }

  /** Makes it unreadable until the next ring. */
  clear(): void {
    read(this.fd, this.region.address + 8, 8);
  }

  /** @param closeFd only the maker's instance closes the descriptor */
  close(closeFd: boolean): void {
    if (closeFd) close(this.fd);
    unmapRegion(this.region);
  }
}
