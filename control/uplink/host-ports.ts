/** The host ports of all VRFs, kept in step with the networks that have `host: true`. */

import { formatAddress } from '../config/address.js';
import { DEFAULT_VRF, type NetworkConfig } from '../config/schema.js';
import { gatewaysOf } from '../config/subnets.js';
import { HostPort, type HostPortParts, type HostSubnet } from './host-port.js';

export class HostPorts {
  readonly #parts: HostPortParts;
  readonly #ports = new Map<string, HostPort>();
  /** One piece of work after the other; never rejects. */
  #work: Promise<void> = Promise.resolve();

  constructor(parts: HostPortParts) {
    this.#parts = parts;
  }

  /** In order of VRFs. */
  get all(): HostPort[] {
    return [...this.#ports.values()];
  }

  /**
   * @param networks all there are
   * @throws TaplineError where the host refuses; whoever added the network takes it out again
   */
  update(networks: Iterable<NetworkConfig>): Promise<void> {
    const wanted = subnetsByVrf(networks);
    return this.#inTurn(async () => {
      for (const vrf of new Set([...this.#ports.keys(), ...wanted.keys()])) {
        await this.#updateOne(vrf, wanted.get(vrf) ?? []);
      }
    });
  }

  async #updateOne(vrf: string, subnets: readonly HostSubnet[]): Promise<void> {
    const port = this.#ports.get(vrf) ?? new HostPort(vrf, vrf === DEFAULT_VRF, this.#parts);
    await port.update(subnets);
    if (subnets.length === 0) this.#ports.delete(vrf);
    else this.#ports.set(vrf, port);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }
}

function subnetsByVrf(networks: Iterable<NetworkConfig>): Map<string, HostSubnet[]> {
  const wanted = new Map<string, HostSubnet[]>();
  for (const network of networks) {
    if (!network.host) continue;
    const gateways = gatewaysOf(network).map(formatAddress);
    const subnets = network.subnets.map((subnet, index): HostSubnet => {
      return { subnet, gateway: gateways[index] as string, mtu: network.mtu };
    });
    wanted.set(network.vrf, [...(wanted.get(network.vrf) ?? []), ...subnets]);
  }
  return wanted;
}
