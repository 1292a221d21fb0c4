/**
 * UDP ports of the host's addresses that overlays take packets at, where the uplink shares these: held by sockets, so that neither a
 * process nor the kernel's own vxlan devices take them meanwhile. Nothing is received there: the guard keeps the packets from the host.
 */

import type { Relay } from '../../io/host-relay.js';
import type { UsedPort } from '../../io/port-holders.js';
import { firstLine, TaplineError } from '../errors.js';
import { OWN_NAMESPACE, type System } from '../system.js';

/** What `ip -details link show type vxlan` tells of a device. */
interface VxlanDevice {
  readonly ifname?: string;
  readonly linkinfo?: { readonly info_data?: { readonly port?: number } };
}

interface HeldPort {
  users: number;
  readonly relay: Promise<Relay>;
}

export class HostUdpPorts {
  readonly #system: System;
  readonly #held = new Map<string, HeldPort>();

  constructor(system: System) {
    this.#system = system;
  }

  /** Overlays that share a port share the socket. @throws TaplineError `conflict` that names who has it; `failure` */
  async hold(address: string, port: number): Promise<void> {
    const key = `${address} ${port}`;
    const known = this.#held.get(key);
    if (known !== undefined) {
      known.users++;
      await known.relay;
      return;
    }
    const relay = this.#open(address, port);
    this.#held.set(key, { users: 1, relay });
    await relay.catch((error: unknown) => {
      this.#held.delete(key);
      throw error;
    });
  }

  async #open(address: string, port: number): Promise<Relay> {
    try {
      return await this.#system.openRelay({ protocol: 'udp', address, port, target: () => null });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw await this.#conflict(address, port);
      throw new TaplineError(
        'failure',
        `UDP port ${port} of ${address} cannot be held: ${firstLine(error)}`,
        'vxlan.port',
      );
    }
  }

  async #conflict(address: string, port: number): Promise<TaplineError> {
    const used = (await this.#system.usedPorts()).find((one) => isInTheWay(one, address, port));
    const who = used === undefined ? 'another process' : await this.#holder(used);
    const remedy = 'remove it, or choose another port';
    return new TaplineError('conflict', `UDP port ${port} of ${address} is held by ${who}; ${remedy}`, 'vxlan.port');
  }

  /** A socket without a process is the kernel's own. */
  async #holder({ inode, port }: UsedPort): Promise<string> {
    const holder = inode === 0 ? null : await this.#system.socketHolder(inode);
    if (holder !== null) return `${holder.name} (pid ${holder.pid})`;
    const devices = await this.#system
      .readIpInside<VxlanDevice>(OWN_NAMESPACE, '-details', 'link', 'show', 'type', 'vxlan')
      .catch(() => []);
    const device = devices.find(({ linkinfo }) => linkinfo?.info_data?.port === port);
    return device?.ifname === undefined ? 'another process' : `the host's vxlan device ${device.ifname}`;
  }

  async release(address: string, port: number): Promise<void> {
    const key = `${address} ${port}`;
    const held = this.#held.get(key);
    if (held === undefined || --held.users > 0) return;
    this.#held.delete(key);
    await held.relay.then((relay) => relay.close());
  }

  /** For a process that leaves all else to the next: it would not end before them. */
  async close(): Promise<void> {
    const held = [...this.#held.values()];
    this.#held.clear();
    await Promise.all(held.map(({ relay }) => relay.then((one) => one.close())));
  }
}

/** Whether a socket keeps another from a port of an address. One of IPv6 without an address may have the IPv4 ones as well. */
function isInTheWay({ protocol, port: other, address: at, isIpv6 }: UsedPort, address: string, port: number): boolean {
  if (protocol !== 'udp' || other !== port) return false;
  if (isIpv6 !== address.includes(':')) return isIpv6 && at === '::';
  return at === address || at === '0.0.0.0' || at === '::';
}
