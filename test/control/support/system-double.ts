/** A kernel and a container engine for the daemon: namespaces, processes and devices that exist because a test says so. */

import type { ContainerInfo } from '../../../control/containers.js';
import { TaplineError } from '../../../control/errors.js';
import type { System } from '../../../control/system.js';
import type { Tap, TapOptions } from '../../../io/tap.js';
import type { Uplink } from '../../../io/uplink.js';

export class SystemDouble implements System {
  /** Path to identity. */
  readonly namespaces = new Map<string, string>();
  readonly processes = new Set<number>();
  readonly containers = new Map<string, ContainerInfo>();
  readonly devices = new Set<string>();
  /** Live TAPs: `path interface`. */
  readonly taps = new Map<string, TapOptions>();
  readonly openFds = new Set<number>();
  readonly openUplinks = new Set<string>();
  /** Errors by interface alias: what attachTap rejects with. */
  readonly tapErrors = new Map<string, string>();
  /** Most attachTap calls that were ever under way at once. */
  mostAtOnce = 0;
  /** Runs in the middle of each attachTap. */
  whileAttaching: (options: TapOptions) => Promise<void> | void = () => {};
  readonly #pids = new Map<number, number>();
  #attaching = 0;
  #nextFd = 100;

  #open(): number {
    const fd = this.#nextFd++;
    this.openFds.add(fd);
    return fd;
  }

  addNamespace(path: string, identity = path): void {
    this.namespaces.set(path, identity);
  }

  addProcess(pid: number): void {
    this.processes.add(pid);
    this.addNamespace(`/proc/${pid}/ns/net`);
  }

  endProcess(pid: number): void {
    this.processes.delete(pid);
    this.namespaces.delete(`/proc/${pid}/ns/net`);
  }

  addContainer(name: string, pid: number, networkMode = 'none'): void {
    this.addProcess(pid);
    this.containers.set(name, { engine: 'docker', id: `id-${name}`, pid, networkMode });
  }

  async attachTap(options: TapOptions): Promise<Tap> {
    this.#attaching++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#attaching);
    try {
      await new Promise((resolve) => setImmediate(resolve));
      await this.whileAttaching(options);
      const error = this.tapErrors.get(options.alias);
      if (error !== undefined) throw new Error(error);
    } finally {
      this.#attaching--;
    }
    const key = `${options.netns} ${options.interface}`;
    const fd = this.#open();
    this.taps.set(key, options);
    const release = (): void => {
      this.openFds.delete(fd);
    };
    const detach = async (): Promise<void> => {
      this.taps.delete(key);
      release();
    };
    return { fd, interface: options.interface, tookOver: false, detach, release };
  }

  openUplink({ device }: { device: string }): Uplink {
    if (!this.devices.has(device)) throw new Error(`ENODEV opening uplink ${device}: no such device`);
    const fd = this.#open();
    this.openUplinks.add(device);
    const close = (): void => {
      this.openFds.delete(fd);
      this.openUplinks.delete(device);
    };
    return { fd, device, mac: '02:00:00:00:00:01', mtu: 1500, close };
  }

  openPidfd(pid: number): number {
    if (!this.processes.has(pid)) throw new Error(`ESRCH opening pidfd of ${pid}`);
    const fd = this.#open();
    this.#pids.set(fd, pid);
    return fd;
  }

  closeFd(fd: number): void {
    if (!this.openFds.delete(fd)) throw new Error(`EBADF closing ${fd}`);
  }

  pidOf(pidfd: number): number {
    const pid = this.#pids.get(pidfd) ?? -1;
    return this.processes.has(pid) ? pid : -1;
  }

  async findContainer(name: string): Promise<ContainerInfo> {
    const container = this.containers.get(name);
    if (container === undefined)
      throw new TaplineError('missing', `no container ${name} (asked a double)`, 'container');
    return container;
  }

  namespaceIdentity(path: string): string | null {
    return this.namespaces.get(path) ?? null;
  }

  isNamespace(path: string): boolean {
    return this.namespaces.has(path);
  }
}
