/**
 * The host port: a TAP in the host's own namespace, by which its processes reach the endpoints of networks with `host: true`, and
 * those reach it. The host has the networks' gateway addresses there, and routes to their subnets; the router has the other end.
 * Published ports lead through it too where the host's processes find them at the host's own addresses: then both ends have an address.
 */

import type { Tap } from '../../io/tap.js';
import { HOST_LINKS } from '../config/host-links.js';
import { firstLine, TaplineError } from '../errors.js';
import type { Interfaces } from '../interfaces.js';
import { stableMac } from '../mac.js';
import { linkLocalAddress } from '../slaac.js';
import { OWN_NAMESPACE, type System } from '../system.js';
import type { Dataplane } from '../types.js';
import { hiddenNetwork } from './hidden-network.js';
import type { HostLink } from './host-publishing.js';
import { hostMark } from './leftovers.js';

export interface HostPortParts {
  readonly system: System;
  readonly dataplane: Dataplane;
  readonly interfaces: Interfaces;
  /** What tells this Tapline from another on the machine: its control socket. */
  readonly instance: string;
  /** What was watched or captured there ends. */
  portRemoved(port: number): void;
}

/** A subnet of a network with `host: true`. */
export interface HostSubnet {
  readonly subnet: string;
  readonly gateway: string;
  /** The network's, bytes. */
  readonly mtu: number;
}

/** Devices `tapline0` to `tapline63`. */
const MAX_DEVICES = 64;
/** Octets of the link-local addresses of the routers at the TAPs. Nobody else sees them. */
const LINK_PREFIX = HOST_LINKS.split('.', 3).join('.');
const LEAST_MTU = 1280;
/** Of a link that has no network's subnets. */
const LINK_MTU = 1500;
/** Last octets of the host's own ends, behind those of the routers. */
const HOST_ENDS = 129;

/** linux/rtnetlink.h: RT_TABLE_MAIN, RTPROT_KERNEL, RTPROT_RA. */
const MAIN_TABLE = 254;
const BY_KERNEL = 2;
const BY_ADVERTISEMENT = 9;

/** The host port of one VRF; made with the first subnet, gone with the last. */
export class HostPort {
  readonly vrf: string;
  /** Of port and interface. */
  readonly name: string;
  readonly #parts: HostPortParts;
  readonly #alias: string;
  #tap: Tap | null = null;
  #tapNumber = 0;
  #networkId = -1;
  #port = -1;
  #mtu = 0;
  /** Both ends have an address. */
  #linked = false;
  /** Lines for `ip` by what they make: how to make it, how to take it back. */
  #made = new Map<string, string>();
  /** What an earlier process left on the device, by what it is: how to take it back. */
  #left = new Map<string, string>();

  constructor(vrf: string, isDefault: boolean, parts: HostPortParts) {
    this.vrf = vrf;
    // No network or endpoint can have a name with a colon.
    this.name = isDefault ? 'host' : `host:${vrf}`;
    this.#parts = parts;
    this.#alias = `${hostMark(parts.instance)}${isDefault ? '' : `:${vrf}`}`;
  }

  /** The TAP's name; null while there is none. */
  get device(): string | null {
    return this.#tap?.interface ?? null;
  }

  get port(): number {
    return this.#port;
  }

  get #routerMac(): string {
    return stableMac(`${this.#alias} router`);
  }

  get #routerAddress(): string {
    return `${LINK_PREFIX}.${this.#tapNumber + 1}`;
  }

  /** The addresses of both ends; null while they have none. */
  get link(): HostLink | null {
    if (this.#tap === null || !this.#linked) return null;
    return { router: this.#routerAddress, host: `${LINK_PREFIX}.${this.#tapNumber + HOST_ENDS}` };
  }

  /**
   * Makes what is wanted and is not there, removes what is there and is not wanted.
   *
   * @param linked published ports lead through it
   * @throws TaplineError; what there was stays
   */
  async update(subnets: readonly HostSubnet[], linked = false): Promise<void> {
    if (subnets.length === 0 && !linked) return this.close();
    const mtu = Math.max(linked ? LINK_MTU : LEAST_MTU, ...subnets.map((subnet) => subnet.mtu));
    const fresh = this.#tap === null;
    const wasLinked = this.#linked;
    this.#linked = linked;
    try {
      if (fresh) await this.#open(mtu);
      else if (mtu !== this.#mtu) await this.#setMtu(mtu);
      else if (linked !== wasLinked) await this.#parts.interfaces.set(this.name, this.#request());
      await this.#address(subnets);
    } catch (error) {
      if (fresh) await this.close().catch(() => undefined);
      throw error;
    }
  }

  async #open(mtu: number): Promise<void> {
    const { system, dataplane, interfaces } = this.#parts;
    const device = this.#chooseDevice();
    this.#networkId = await dataplane.addNetwork(hiddenNetwork(this.name));
    this.#mtu = mtu;
    this.#tap = await system.attachTap({
      netns: OWN_NAMESPACE,
      interface: device,
      mac: stableMac(`${this.#alias} host`),
      mtu,
      addresses: [],
      alias: this.#alias,
      othersStay: true,
    });
    if (this.#tap.tookOver) this.#left = this.#standing(device);
    this.#port = await dataplane.addPort({
      kind: 'host',
      name: this.name,
      network: this.#networkId,
      fd: this.#tap.fd,
      routed: true,
    });
    await interfaces.add(this.name, this.#request());
  }

  /** That of a killed process, else a name that is free. */
  #chooseDevice(): string {
    const devices = this.#parts.system.deviceAliases();
    const left = devices.find(({ name, alias }) => alias === this.#alias && numberOf(name) !== null);
    if (left !== undefined) {
      this.#tapNumber = numberOf(left.name) ?? 0;
      return left.name;
    }
    const taken = new Set(devices.filter(({ alias }) => alias !== this.#alias).map(({ name }) => name));
    for (let number = 0; number < MAX_DEVICES; number++) {
      this.#tapNumber = number;
      if (!taken.has(`tapline${number}`)) return `tapline${number}`;
    }
    throw new TaplineError('conflict', `the names tapline0 to tapline${MAX_DEVICES - 1} are all taken`, 'host');
  }

  #request(): Parameters<Interfaces['add']>[1] {
    return {
      kind: 'host',
      vrf: this.vrf,
      network: this.#networkId,
      vlan: 0,
      port: this.#port,
      mac: this.#routerMac,
      mtu: this.#mtu,
      // The router finds the host's end on the link.
      addresses: [`${this.#routerAddress}/${this.#linked ? 24 : 32}`],
      up: true,
      internal: false,
      hostAccess: true,
      shared: false,
      validateSource: false,
      proxies: [],
      advertisement: null,
    };
  }

  async #setMtu(mtu: number): Promise<void> {
    await this.#parts.system.runIp([`link set dev ${this.device} mtu ${mtu}`]);
    this.#mtu = mtu;
    await this.#parts.interfaces.set(this.name, this.#request());
  }

  /** What the host needs, each with its opposite, in the order in which it is to be made. */
  #wanted(subnets: readonly HostSubnet[]): Map<string, string> {
    const device = this.device;
    const mac = this.#routerMac;
    const lines = new Map<string, string>();
    const via4 = this.#routerAddress;
    const via6 = linkLocalAddress(mac);
    for (const [six, via] of [
      [false, via4],
      [true, via6],
    ] as const) {
      const own = subnets.filter(({ subnet }) => subnet.includes(':') === six);
      const { link } = this;
      if (own.length === 0 && (six || link === null)) continue;
      if (!six && link !== null)
        lines.set(`address add ${link.host}/32 dev ${device}`, `address del ${link.host}/32 dev ${device}`);
      // The router is known without being asked for; the route to it keeps the host's reverse path filter content.
      if (!six) lines.set(`route add ${via}/32 dev ${device} scope link`, `route del ${via}/32 dev ${device}`);
      lines.set(
        `neighbor replace ${via} lladdr ${mac} dev ${device} nud permanent`,
        `neighbor del ${via} dev ${device}`,
      );
      for (const { subnet, gateway, mtu } of own) {
        const address = six ? `${gateway}/128 dev ${device} nodad noprefixroute` : `${gateway}/32 dev ${device}`;
        lines.set(`address add ${address}`, `address del ${gateway}/${six ? 128 : 32} dev ${device}`);
        const route = `${subnet} via ${via} dev ${device} src ${gateway}`;
        lines.set(`route add ${route} mtu ${mtu}`, `route del ${route}`);
      }
    }
    return lines;
  }

  async #address(subnets: readonly HostSubnet[]): Promise<void> {
    const wanted = this.#wanted(subnets);
    const removals = [...this.#made].filter(([make]) => !wanted.has(make)).reverse();
    for (const [make, remove] of removals) {
      // One by one: what the kernel has removed with something else must not hold up the rest.
      await this.#parts.system.runIp([remove]).catch(() => undefined);
      this.#made.delete(make);
    }
    await this.#takeOver(wanted);
    const added: string[] = [];
    for (const [make, remove] of wanted) {
      if (this.#made.has(make)) continue;
      try {
        await this.#parts.system.runIp([make]);
      } catch (error) {
        for (const one of added.reverse()) await this.#takeBack(one);
        throw hostRefused(make, error);
      }
      this.#made.set(make, remove);
      added.push(make);
    }
  }

  /** What an earlier process left as it is wanted today: the host's connections through it notice nothing. */
  async #takeOver(wanted: ReadonlyMap<string, string>): Promise<void> {
    const there = [...wanted].filter(([make]) => this.#left.has(thingOf(make)));
    // What is said of a route besides where it leads may have changed; replacing it does so in one step.
    const lines = there.flatMap(([make]) => (make.startsWith('route add ') ? make.replace('add', 'replace') : []));
    if (lines.length > 0) await this.#parts.system.runIp(lines);
    for (const [make, remove] of there) {
      this.#left.delete(thingOf(make));
      this.#made.set(make, remove);
    }
  }

  /** Addresses and routes on a device that an earlier process left. The kernel's own routes are not among them. */
  #standing(device: string): Map<string, string> {
    const { addresses = [], routes = [] } = this.#parts.system.deviceState(device) ?? {};
    const standing = new Map<string, string>();
    for (const { to, via, table, protocol } of routes) {
      if (table !== MAIN_TABLE || protocol === BY_KERNEL || protocol === BY_ADVERTISEMENT) continue;
      standing.set(routeThing(to, via), `route del ${to}${via === null ? '' : ` via ${via}`} dev ${device}`);
    }
    for (const address of addresses) standing.set(`address ${address}`, `address del ${address} dev ${device}`);
    return standing;
  }

  /** All networks are there: what is left of an earlier process and wanted by none of them goes. */
  async settle(): Promise<void> {
    const removals = [...this.#left.values()];
    this.#left.clear();
    for (const remove of removals) await this.#parts.system.runIp([remove]).catch(() => undefined);
  }

  async #takeBack(make: string): Promise<void> {
    await this.#parts.system.runIp([this.#made.get(make) as string]).catch(() => undefined);
    this.#made.delete(make);
  }

  /** Removes port and TAP; addresses and routes go with the TAP. */
  async close(): Promise<void> {
    const { interfaces, dataplane } = this.#parts;
    const [tap, port, network] = [this.#tap, this.#port, this.#networkId];
    this.#tap = null;
    this.#port = -1;
    this.#networkId = -1;
    this.#linked = false;
    this.#made.clear();
    this.#left.clear();
    try {
      await interfaces.remove(this.name);
      if (port >= 0) {
        this.#parts.portRemoved(port);
        await dataplane.removePort(port);
      }
      if (network >= 0) await dataplane.removeNetwork(network);
    } finally {
      await tap?.detach();
    }
  }
}

/** Number of a device `tapline0` to `tapline63`; null for any other. */
function numberOf(device: string): number | null {
  const number = Number(/^tapline(0|[1-9]\d?)$/.exec(device)?.[1] ?? -1);
  return number >= 0 && number < MAX_DEVICES ? number : null;
}

function routeThing(to: string, via: string | null): string {
  return `route ${to} ${via ?? 'link'}`;
}

/** What a line of `#wanted` makes, in the words of `#standing`; empty for a neighbor, which is always told anew. */
function thingOf(line: string): string {
  const [what, , first = '', word, second = ''] = line.split(' ');
  if (what === 'address') return `address ${first}`;
  return what === 'route' ? routeThing(first, word === 'via' ? second : null) : '';
}

/** A route that the host has already is the one thing that users run into. */
function hostRefused(line: string, error: unknown): TaplineError {
  const subnet = /^route add (\S+)/.exec(line)?.[1];
  const text = firstLine(error);
  if (subnet === undefined || !/File exists/.test(text)) return new TaplineError('failure', text, 'host');
  return new TaplineError('conflict', `the host has another route to ${subnet}; choose another subnet`, 'host');
}
