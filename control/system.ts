/** What the daemon asks of the kernel and of container engines, behind one interface so that tests can stand in for it. */

import { readFileSync, statfsSync, statSync } from 'node:fs';
import { type HeldNft, openHeldNft } from '../io/held-nft.js';
import { type HostFacts, hostFacts } from '../io/host-facts.js';
import { openRelay, type Relay, type RelayRequest } from '../io/host-relay.js';
import { addHostsLine, removeHostsLine } from '../io/hosts-file.js';
import { type LinkFacts, linkFacts, readIpInside, runIpBatch } from '../io/interface.js';
import { type ChangeSocket, watchLinks, watchRules } from '../io/netlink.js';
import { listNftTable, listNftTables, runNft } from '../io/nft.js';
import { type Outlet, openOutlet } from '../io/outlet.js';
import { closeFd, openPidfd } from '../io/pidfd.js';
import { type PortHolder, socketHolder, type UsedPort, usedPorts } from '../io/port-holders.js';
import { readLocalPorts, readReservedPorts, writeReservedPorts } from '../io/reserved-ports.js';
import { type DeviceState, deviceAliases, deviceState } from '../io/rtnetlink.js';
import { attachTap, removeTap, resizeTap, type Tap, type TapOptions, type TapPlace } from '../io/tap.js';
import { openUplink, type Uplink, type UplinkOptions } from '../io/uplink.js';
import { type ContainerInfo, containerEngines, findContainer } from './containers.js';
import { type CheckThread, type CheckThreadListener, startCheckThread } from './health/check-thread.js';

export interface System {
  attachTap(options: TapOptions): Promise<Tap>;
  /** Removes one that an earlier process left. False where there is none with that alias. */
  removeTap(netns: string, device: string, alias: string): Promise<boolean>;
  /** Gives one another MTU, and another size of super-packets (TapOptions.gsoMaxSize). */
  resizeTap(place: TapPlace, mtu: number, gsoMaxSize?: number): Promise<void>;
  /** What a device of our own namespace has; null where there is none. */
  deviceState(device: string): DeviceState | null;
  openUplink(options: UplinkOptions): Uplink;
  /** Of a device of our own namespace. @throws Error, one line, where there can be none */
  openOutlet(uplink: string): Promise<Outlet>;
  /** Of a device of our own namespace; null where there is none. Cheap enough to poll. */
  linkFacts(device: string): LinkFacts | null;
  /** What the host knows of such a device. */
  hostFacts(device: string): Promise<HostFacts>;
  /** Tells of changes of links; with `addresses` also of addresses and routes. */
  watchLinks(addresses: boolean): ChangeSocket;
  watchRules(): ChangeSocket;
  /** Devices of our own namespace with their aliases, '' where they have none. */
  deviceAliases(): { name: string; alias: string }[];
  /** Lines for `ip -batch` in our own namespace. */
  runIp(lines: readonly string[]): Promise<void>;
  /** The same in another namespace; rules need the family said. */
  runIpInside(netns: string, lines: readonly string[], family: 4 | 6): Promise<void>;
  /** What `ip -json` prints about another namespace. */
  readIpInside<T>(netns: string, ...words: string[]): Promise<T[]>;
  /** A script for `nft -f`, in our own namespace. @throws NftMissing where there is no nft */
  runNft(script: string): Promise<void>;
  /** A socket that holds tables, which nobody else changes and which end with it. @throws NftMissing; Error, one line */
  openHeldNft(): HeldNft;
  /** Null where there is no such table. */
  listNftTable(family: string, name: string): Promise<string | null>;
  /** Names of all tables of a family. */
  listNftTables(family: string): Promise<string[]>;
  /** A socket of our own namespace that leads elsewhere. @throws NodeJS.ErrnoException */
  openRelay(request: RelayRequest): Promise<Relay>;
  /** Ports of all sockets there. */
  usedPorts(): Promise<UsedPort[]>;
  /** Whose a socket is; null: nobody's that we can see. */
  socketHolder(inode: number): Promise<PortHolder | null>;
  /** net.ipv4.ip_local_reserved_ports. */
  readReservedPorts(): Promise<string>;
  writeReservedPorts(text: string): Promise<void>;
  /** net.ipv4.ip_local_port_range. */
  readLocalPorts(): Promise<string>;
  /** In the /etc/hosts that a process sees. False where that is our own, which is left alone. */
  addHostsLine(pid: number, line: string, mark: string): boolean;
  removeHostsLine(pid: number, mark: string): boolean;
  openPidfd(pid: number): number;
  closeFd(fd: number): void;
  /** The process behind a pidfd, or -1 when it has been reaped: its number may belong to another by now. */
  pidOf(pidfd: number): number;
  findContainer(name: string): Promise<ContainerInfo>;
  /** Device and inode of the file at a path, equal for equal namespaces; null when there is none. Cheap enough to poll. */
  namespaceIdentity(path: string): string | null;
  /** False for a file that is no namespace: an empty one that a namespace was once mounted on, say. */
  isNamespace(path: string): boolean;
  /** A thread that checks servers, in a namespace of its own. @throws Error, one line */
  startCheckThread(listener: CheckThreadListener): Promise<CheckThread>;
}

/** The line `Pid:` of a pidfd's fdinfo (proc(5)); -1 once the process is gone. */
function pidOf(pidfd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8');
  return Number(/^Pid:\s*(-?\d+)$/m.exec(text)?.[1] ?? -1);
}

/** NSFS_MAGIC of linux/magic.h: the file system that namespace files live on. */
const NSFS_MAGIC = 0x6e736673;

function namespaceIdentity(path: string): string | null {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
  } catch {
    // A namespace of a process that ends between lookup and stat answers ESRCH or EACCES: it is gone all the same.
    return null;
  }
}

function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    // Gone meanwhile: no namespace either.
    return false;
  }
}

/** Path of the namespace that this process is in. */
export const OWN_NAMESPACE = '/proc/self/ns/net';

export const realSystem: System = {
  attachTap,
  removeTap,
  resizeTap,
  deviceState,
  openUplink,
  openOutlet,
  linkFacts,
  hostFacts,
  watchLinks,
  watchRules,
  deviceAliases,
  runIp: (lines) => runIpBatch(OWN_NAMESPACE, lines),
  runIpInside: runIpBatch,
  readIpInside,
  runNft,
  openHeldNft,
  listNftTable,
  listNftTables,
  openRelay,
  usedPorts,
  socketHolder,
  readReservedPorts,
  writeReservedPorts,
  readLocalPorts,
  addHostsLine,
  removeHostsLine,
  openPidfd,
  closeFd,
  pidOf,
  findContainer: (name) => findContainer(name, containerEngines(process.env)),
  namespaceIdentity,
  isNamespace,
  startCheckThread,
};
