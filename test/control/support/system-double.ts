/** A kernel and a container engine for the daemon: namespaces, processes and devices that exist because a test says so. */

import type { ContainerInfo } from '../../../control/containers.js';
import { TaplineError } from '../../../control/errors.js';
import type { CheckThread, CheckThreadListener } from '../../../control/health/check-thread.js';
import type { Order } from '../../../control/health/messages.js';
import { OWN_NAMESPACE, type System } from '../../../control/system.js';
import type { HeldNft } from '../../../io/held-nft.js';
import type { HostFacts } from '../../../io/host-facts.js';
import type { Relay, RelayRequest } from '../../../io/host-relay.js';
import type { LinkFacts } from '../../../io/interface.js';
import type { ChangeSocket } from '../../../io/netlink.js';
import type { Outlet } from '../../../io/outlet.js';
import type { FilterProgram } from '../../../io/packet-filter.js';
import type { PortHolder, UsedPort } from '../../../io/port-holders.js';
import type { DeviceState } from '../../../io/rtnetlink.js';
import type { Tap, TapOptions, TapPlace } from '../../../io/tap.js';
import type { Uplink, UplinkOptions } from '../../../io/uplink.js';

const LINK: LinkFacts = { index: 7, mac: '02:00:00:00:00:01', mtu: 1500, enabled: true, carrier: true };
const NO_FACTS: HostFacts = { addresses: [], linkLocal: null, defaults: [], routes: [] };

/** What an nft script makes of tables: those that it deletes go, and what it says behind the last of them is made. */
function change(tables: Map<string, string>, script: string): void {
  for (const [, table] of script.matchAll(/^delete table (\S+ \S+)$/gm)) tables.delete(table as string);
  const rest = script.slice(script.lastIndexOf('delete table'));
  const made = /^table (\S+ \S+) \{$/m.exec(rest)?.[1];
  if (made !== undefined) tables.set(made, script);
}

/** A line of `ip -batch` as `ip -json` would print what it made. */
function printed(line: string): Record<string, string | number> {
  const [what, first = '', ...rest] = line.split(' ');
  const words = what === 'rule' ? [first, ...rest] : rest;
  const found: Record<string, string | number> =
    what === 'rule' ? {} : { dst: first.replace(/^(0.0.0.0|::)\/0$/, 'default') };
  const names: Record<string, string> = { from: 'src', lookup: 'table', via: 'gateway' };
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [key = '', value = ''] = [words[i], words[i + 1]];
    found[names[key] ?? key] = key === 'metric' || key === 'priority' ? Number(value) : value;
  }
  if (what === 'route' && first === '::/0') found.metric ??= 1024;
  return found;
}

/** A thread of health checks that checks nothing: a test says what it finds. */
export class CheckThreadDouble implements CheckThread {
  readonly netns: string;
  readonly orders: Order[] = [];
  readonly listener: CheckThreadListener;
  isStopped = false;

  constructor(netns: string, listener: CheckThreadListener) {
    this.netns = netns;
    this.listener = listener;
  }

  order(order: Order): void {
    this.orders.push(order);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
  }
}

export class SystemDouble implements System {
  /** All threads of health checks that were started. */
  readonly checkThreads: CheckThreadDouble[] = [];
  checkThreadError: string | null = null;
  /** Path to identity. */
  readonly namespaces = new Map<string, string>();
  readonly processes = new Set<number>();
  readonly containers = new Map<string, ContainerInfo>();
  readonly devices = new Set<string>();
  /** Live TAPs: `path interface`. */
  readonly taps = new Map<string, TapOptions>();
  readonly openFds = new Set<number>();
  readonly openUplinks = new Set<string>();
  missingOutlet = '';
  /** What linkFacts says in place of the usual, by device. */
  readonly links = new Map<string, Partial<LinkFacts>>();
  /** What the host knows of a device, by device. */
  readonly hosts = new Map<string, HostFacts>();
  /** The filter of each open uplink, by device. */
  readonly filters = new Map<string, FilterProgram | undefined>();
  /** nftables' tables: `family name` to the script that made them. */
  readonly tables = new Map<string, string>();
  /** Those that are the process's own. */
  readonly heldTables = new Map<string, string>();
  /** Sockets that tell of changes, by descriptor: whether something waits. */
  readonly changes = new Map<number, boolean>();
  /** Lines given to `ip`, in order. */
  readonly ipLines: string[] = [];
  /** Error of a line for `ip` that begins so. */
  readonly ipErrors = new Map<string, string>();
  nftError: string | null = null;
  /** Sockets that lead into the host port: `tcp 0.0.0.0 8080`. */
  readonly relays = new Map<string, RelayRequest>();
  /** Sockets of the host's processes, and whose they are by inode. */
  readonly sockets: UsedPort[] = [];
  readonly holders = new Map<number, PortHolder>();
  /** Addresses that the host has not. */
  readonly foreign = new Set<string>();
  /** ip_local_reserved_ports. */
  reserved = '';
  /** Rules and routes inside namespaces, `route 0.0.0.0/0 via 172.30.0.1 dev eth0`, by path and `-4` or `-6`. */
  readonly inside = new Map<string, Set<string>>();
  /** The kernel has no policy routing. */
  withoutRules = false;
  /** Lines in the hosts file of a process: `pid mark` to line. */
  readonly hostsLines = new Map<string, string>();
  hostsError: string | null = null;
  /** Devices of the host with aliases, besides the TAPs. */
  readonly aliases: { name: string; alias: string }[] = [];
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

  async removeTap(netns: string, device: string, alias: string): Promise<boolean> {
    const key = `${netns} ${device}`;
    return this.taps.get(key)?.alias === alias && this.taps.delete(key);
  }

  async resizeTap(place: TapPlace, mtu: number, gsoMaxSize?: number): Promise<void> {
    const key = `${place.netns} ${place.interface}`;
    const tap = this.taps.get(key);
    if (tap === undefined) throw new Error(`Cannot find device "${place.interface}"`);
    for (const [start, error] of this.ipErrors)
      if (`link set dev ${place.interface} mtu ${mtu}`.startsWith(start)) throw new Error(error);
    const { gsoMaxSize: _, ...before } = tap;
    this.taps.set(key, { ...before, mtu, ...(gsoMaxSize === undefined ? {} : { gsoMaxSize }) });
  }

  deviceState(): DeviceState | null {
    return null;
  }

  openUplink({ device, filter }: UplinkOptions): Uplink {
    if (!this.devices.has(device)) throw new Error(`ENODEV opening uplink ${device}: no such device`);
    const fd = this.#open();
    this.openUplinks.add(device);
    this.filters.set(device, filter);
    const setFilter = (program: FilterProgram): void => {
      this.filters.set(device, program);
    };
    const close = (): void => {
      this.openFds.delete(fd);
      this.openUplinks.delete(device);
    };
    const { mac, mtu, index } = { ...LINK, ...this.links.get(device) };
    return { fd, device, mac, mtu, index, setFilter, close };
  }

  /** The outlet's device is `out-DEVICE`; `missingOutlet` is why there can be none. */
  async openOutlet(uplink: string): Promise<Outlet> {
    if (this.missingOutlet !== '') throw new Error(this.missingOutlet);
    if (!this.devices.has(uplink)) throw new Error(`Cannot find device "${uplink}"`);
    const fd = this.#open();
    const device = `out-${uplink}`;
    this.devices.add(device);
    const close = (): void => {
      this.openFds.delete(fd);
      this.devices.delete(device);
    };
    return { fd, device, index: LINK.index, close };
  }

  linkFacts(device: string): LinkFacts | null {
    return this.devices.has(device) ? { ...LINK, ...this.links.get(device) } : null;
  }

  async hostFacts(device: string): Promise<HostFacts> {
    if (!this.devices.has(device)) throw new Error(`Device "${device}" does not exist.`);
    return this.hosts.get(device) ?? NO_FACTS;
  }

  watchLinks(): ChangeSocket {
    return this.#changeSocket();
  }

  watchRules(): ChangeSocket {
    return this.#changeSocket();
  }

  #changeSocket(): ChangeSocket {
    const fd = this.#open();
    this.changes.set(fd, false);
    const drain = (): boolean => {
      const changed = this.changes.get(fd) === true;
      this.changes.set(fd, false);
      return changed;
    };
    const close = (): void => {
      this.openFds.delete(fd);
      this.changes.delete(fd);
    };
    return { fd, drain, close };
  }

  deviceAliases(): { name: string; alias: string }[] {
    const own = [...this.taps.values()].filter(({ netns }) => netns === OWN_NAMESPACE);
    return [...this.aliases, ...own.map((tap) => ({ name: tap.interface, alias: tap.alias }))];
  }

  async runIp(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      for (const [start, error] of this.ipErrors) if (line.startsWith(start)) throw new Error(error);
      this.ipLines.push(line);
    }
  }

  #inside(netns: string, family: string): Set<string> {
    const key = `${netns} ${family}`;
    const lines = this.inside.get(key) ?? new Set();
    this.inside.set(key, lines);
    return lines;
  }

  /** Keeps `rule` and `route` lines as they were added; the kernel's refusals are of those that are there, or not there. */
  async runIpInside(netns: string, lines: readonly string[], family: 4 | 6): Promise<void> {
    const there = this.#inside(netns, `-${family}`);
    for (const line of lines) {
      const [what, verb, ...rest] = line.split(' ');
      const words = `${what} ${rest.join(' ')}`;
      if (verb === 'add' && there.has(words)) throw new Error(`ip ${line}: RTNETLINK answers: File exists`);
      if (verb === 'del' && !there.has(words)) throw new Error(`ip ${line}: RTNETLINK answers: No such process`);
      if (verb === 'add') there.add(words);
      else there.delete(words);
    }
  }

  async readIpInside<T>(netns: string, ...words: string[]): Promise<T[]> {
    if (!this.namespaces.has(netns)) throw new Error(`ENOENT opening network namespace ${netns}`);
    const [family = '', what = ''] = words;
    if (what === 'rule' && this.withoutRules)
      throw new Error('ip -4 rule show: RTNETLINK answers: Operation not supported');
    const there = [...this.#inside(netns, family)].filter((line) => line.startsWith(`${what} `));
    return there.map((line) => printed(line) as T);
  }

  /** Understands what makes and what deletes a table. */
  async runNft(script: string): Promise<void> {
    if (this.nftError !== null) throw new Error(this.nftError);
    change(this.tables, script);
  }

  openHeldNft(): HeldNft {
    if (this.nftError !== null) throw new Error(this.nftError);
    return { run: (script) => change(this.heldTables, script), close: () => this.heldTables.clear() };
  }

  async listNftTable(family: string, name: string): Promise<string | null> {
    if (this.nftError !== null) throw new Error(this.nftError);
    return this.tables.get(`${family} ${name}`) ?? null;
  }

  async listNftTables(family: string): Promise<string[]> {
    if (this.nftError !== null) throw new Error(this.nftError);
    return [...this.tables.keys()]
      .filter((key) => key.startsWith(`${family} `))
      .map((key) => key.split(' ')[1] as string);
  }

  async openRelay(request: RelayRequest): Promise<Relay> {
    const { protocol, address, port } = request;
    const refuse = (code: string): never => {
      throw Object.assign(new Error(`bind ${code} ${address}:${port}`), { code });
    };
    if (this.foreign.has(address)) refuse('EADDRNOTAVAIL');
    const key = `${protocol} ${address} ${port}`;
    const isTaken = this.sockets.some(
      (one) => one.protocol === protocol && one.port === port && one.isIpv6 === address.includes(':'),
    );
    if (isTaken || this.relays.has(key)) refuse('EADDRINUSE');
    this.relays.set(key, request);
    const close = async (): Promise<void> => {
      this.relays.delete(key);
    };
    return { close };
  }

  async usedPorts(): Promise<UsedPort[]> {
    return this.sockets;
  }

  async socketHolder(inode: number): Promise<PortHolder | null> {
    return this.holders.get(inode) ?? null;
  }

  async readReservedPorts(): Promise<string> {
    return this.reserved;
  }

  async readLocalPorts(): Promise<string> {
    return '32768\t60999';
  }

  async writeReservedPorts(text: string): Promise<void> {
    this.reserved = text;
  }

  addHostsLine(pid: number, line: string, mark: string): boolean {
    if (this.hostsError !== null) throw new Error(this.hostsError);
    this.hostsLines.set(`${pid} ${mark}`, line);
    return true;
  }

  removeHostsLine(pid: number, mark: string): boolean {
    return this.hostsLines.delete(`${pid} ${mark}`);
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

  async startCheckThread(listener: CheckThreadListener): Promise<CheckThread> {
    if (this.checkThreadError !== null) throw new Error(this.checkThreadError);
    const thread = new CheckThreadDouble(`/health/${this.checkThreads.length}`, listener);
    this.checkThreads.push(thread);
    return thread;
  }
}
