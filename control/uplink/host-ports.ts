/** The host ports of all VRFs, kept in step with the networks that have `host: true`, and with what is published to the host. */

import { Turns } from '../concurrency.js';
import { formatAddress } from '../config/address.js';
import { DEFAULT_VRF } from '../config/schema.js';
import { gatewaysOf } from '../config/subnets.js';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import type { NetworkState } from '../state.js';
import { HostPort, type HostPortParts, type HostSubnet } from './host-port.js';
import type { HostLink } from './host-publishing.js';
import { hostMark, removeHostPorts } from './leftovers.js';

/** A network, and its MTU as things are. */
type HostNetwork = Pick<NetworkState, 'config' | 'mtu'>;

export interface HostPortsParts extends HostPortParts {
  readonly logger: DataplaneLogger;
  /** One was made anew, with other addresses perhaps. */
  remade(): void;
}

export class HostPorts {
  readonly #parts: HostPortsParts;
  readonly #networks: () => readonly HostNetwork[];
  readonly #linked: () => ReadonlySet<string>;
  readonly #ports = new Map<string, HostPort>();
  readonly #turns = new Turns();

  /**
   * @param networks all there are at the moment
   * @param linked VRFs whose published ports the host's processes reach by it
   */
  constructor(parts: HostPortsParts, networks: () => readonly HostNetwork[], linked: () => ReadonlySet<string>) {
    this.#parts = parts;
    this.#networks = networks;
    this.#linked = linked;
  }

  /** @throws TaplineError where the host refuses; whoever added the network takes it out again */
  update(): Promise<void> {
    return this.#turns.run(async () => {
      const wanted = subnetsByVrf(this.#networks());
      const linked = this.#linked();
      for (const vrf of new Set([...this.#ports.keys(), ...wanted.keys(), ...linked])) {
        await this.#updateOne(vrf, wanted.get(vrf) ?? [], linked.has(vrf));
      }
    });
  }

  /** Ends of the host port of a VRF; null while there is none, or nothing is published by it. */
  link(vrf: string): HostLink | null {
    return this.#ports.get(vrf)?.link ?? null;
  }

  async #updateOne(vrf: string, subnets: readonly HostSubnet[], linked: boolean): Promise<void> {
    const port = this.#ports.get(vrf) ?? new HostPort(vrf, vrf === DEFAULT_VRF, this.#parts);
    await port.update(subnets, linked);
    if (subnets.length === 0 && !linked) this.#ports.delete(vrf);
    else this.#ports.set(vrf, port);
  }

  /** Removes the devices of an earlier process that nobody has taken over, and what it left on the others. @returns what was removed */
  async removeLeft(): Promise<string[]> {
    let removed: string[] = [];
    await this.#turns.run(async () => {
      for (const port of this.#ports.values()) await port.settle();
      const used = new Set([...this.#ports.values()].flatMap(({ device }) => device ?? []));
      removed = await removeHostPorts(hostMark(this.#parts.instance), used, this.#parts.system);
    });
    return removed;
  }

  /** Somebody deleted a TAP: it is made anew. @returns whether it was one of ours */
  lost(number: number, error: string): boolean {
    const port = [...this.#ports.values()].find((one) => one.port === number);
    if (port === undefined) return false;
    const { logger } = this.#parts;
    logger.warn(`the host's interface ${port.device} was taken away (${error}); making it anew`);
    this.#turns
      .run(() => port.close())
      .then(() => this.update())
      .then(() => this.#parts.remade())
      .catch((cause: unknown) => logger.error(`the host port cannot be made anew: ${firstLine(cause)}`));
    return true;
  }
}

function subnetsByVrf(networks: readonly HostNetwork[]): Map<string, HostSubnet[]> {
  const wanted = new Map<string, HostSubnet[]>();
  for (const { config: network, mtu } of networks) {
    if (!network.host) continue;
    const gateways = gatewaysOf(network).map(formatAddress);
    const subnets = network.subnets.map((subnet, index): HostSubnet => {
      return { subnet, gateway: gateways[index] as string, mtu };
    });
    wanted.set(network.vrf, [...(wanted.get(network.vrf) ?? []), ...subnets]);
  }
  return wanted;
}
