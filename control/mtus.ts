/** The networks' MTUs as the uplink's changes: those of networks with an overlay follow, and all that has them. */

import { Turns } from './concurrency.js';
import type { NetworkConfig } from './config/schema.js';
import type { DataplaneLogger } from './dataplane.js';
import { firstLine } from './errors.js';
import { networkMtu, requireMtu, tooSmall, type Underlay } from './network-mtu.js';
import type { NetworkState } from './state.js';

export interface MtuParts {
  readonly logger: DataplaneLogger;
  networks(): Iterable<NetworkState>;
  /** Null: none that a tunnel could leave by. */
  underlay(): Underlay | null;
  /** Runs work while nobody else makes or removes the network. */
  exclusively(network: NetworkState, work: () => Promise<void>): Promise<void>;
  /** The router's interface in a network gets its MTU. */
  setGateway(network: NetworkState): Promise<void>;
  /** Its endpoints get it; what fails is said there. */
  setEndpoints(network: NetworkState): Promise<void>;
  /** The host's routes and interfaces get them all. */
  setHost(): Promise<void>;
}

export class Mtus {
  readonly #parts: MtuParts;
  readonly #turns = new Turns();

  constructor(parts: MtuParts) {
    this.#parts = parts;
  }

  /**
   * Of a network that is to be made.
   *
   * @param wasThere an earlier process had it: then it is no mistake of whoever starts this one that the uplink carries less by now
   * @throws TaplineError `invalid`, with the key at fault, where the uplink carries too little
   */
  first(config: NetworkConfig, wasThere: boolean): number {
    const underlay = this.#parts.underlay();
    if (underlay !== null && !wasThere) requireMtu(config, underlay);
    return networkMtu(config, underlay?.mtu ?? 0);
  }

  /** Looks at the uplink's MTU anew. While that is not known, all stays as it was. @returns when all has followed; never rejects */
  follow(): Promise<void> {
    return this.#turns.run(async () => {
      const underlay = this.#parts.underlay();
      if (underlay === null || underlay.mtu === 0) return;
      let hasChanged = false;
      for (const network of [...this.#parts.networks()]) {
        if (network.config.vxlan === undefined) continue;
        const changed = await this.#followOne(network, underlay).catch((error: unknown) =>
          this.#failed(network, error),
        );
        hasChanged ||= changed;
      }
      if (hasChanged)
        await this.#parts.setHost().catch((error: unknown) => {
          this.#parts.logger.warn(`the host's interface does not follow the MTU of the networks: ${firstLine(error)}`);
        });
    });
  }

  #failed({ name }: NetworkState, error: unknown): true {
    this.#parts.logger.warn(`network ${name}: its MTU is not everywhere the same: ${firstLine(error)}`);
    return true;
  }

  /** @returns whether it has another than before */
  async #followOne(network: NetworkState, underlay: Underlay): Promise<boolean> {
    const { logger, exclusively, setGateway, setEndpoints } = this.#parts;
    const { name, config } = network;
    const small = tooSmall(config, underlay);
    const mtu = networkMtu(config, underlay.mtu);
    if (small !== null) logger.warn(`network ${name}: its MTU stays ${mtu}, and large packets get lost: ${small}`);
    if (mtu === network.mtu) return false;
    await exclusively(network, async () => {
      if (network.phase !== 'up') return;
      logger.info(`network ${name}: MTU ${mtu}, before ${network.mtu}`);
      network.mtu = mtu;
      await setGateway(network);
      await setEndpoints(network);
    });
    return true;
  }
}
