/** A network's port to the thread that checks its backends: a TAP in the thread's namespace, attached as an endpoint's is. */

import { withoutLength } from '../config/address.js';
import { DEFAULT_VLAN } from '../config/vlan.js';
import { firstLine } from '../errors.js';
import { stableMac } from '../mac.js';
import { linkLocalAddress } from '../slaac.js';
import type { NetworkState } from '../state.js';
import type { System } from '../system.js';
import type { Dataplane, PortSpec } from '../types.js';
import { UndoStack } from '../undo.js';

/** No endpoint can have a name with a colon. */
export function healthPortName(network: string): string {
  return `health:${network}`;
}

export interface HealthPortParts {
  readonly system: System;
  readonly dataplane: Dataplane;
  debug(line: string): void;
  /** Its addresses are others now: what the policy says of them follows. */
  addressed(): Promise<void>;
  /** What was watched or captured there ends. */
  portRemoved(port: number): void;
  /** It has given its addresses to an endpoint, and is of no use any more. */
  lost(): void;
}

export class HealthPort {
  readonly network: NetworkState;
  readonly #parts: HealthPortParts;
  readonly #undo = new UndoStack();
  #addresses: readonly string[] = [];
  #port = -1;
  #isLost = false;

  constructor(network: NetworkState, parts: HealthPortParts) {
    this.network = network;
    this.#parts = parts;
  }

  /** With prefix length: one of each subnet. Empty while it has none. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** All that it speaks from, as prefixes. */
  get prefixes(): string[] {
    if (this.#addresses.length === 0) return [];
    const own = this.#addresses.map(withoutLength);
    return [...own, linkLocalAddress(this.#mac)].map((text) => `${text}/${text.includes(':') ? 128 : 32}`);
  }

  /** The dataplane's number; -1 while there is none. */
  get port(): number {
    return this.#port;
  }

  /** Its TAP has gone, or its addresses have. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get #mac(): string {
    return stableMac(healthPortName(this.network.name));
  }

  /**
   * @param netns path of the thread's namespace
   * @throws what refused it; then nothing is left
   */
  async open(netns: string): Promise<void> {
    try {
      await this.#open(netns);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #open(netns: string): Promise<void> {
    const { system, dataplane, addressed } = this.#parts;
    const { id, ipam, mtu } = this.network;
    const name = healthPortName(this.network.name);
    const loan = ipam.lend(name, this.#mac, () => this.lose());
    this.#undo.push('giving the addresses back', () => loan.end());
    this.#addresses = loan.addresses;
    await addressed();
    const tap = await system.attachTap({
      netns,
      interface: `health${id}`,
      mac: this.#mac,
      mtu,
      addresses: loan.addresses,
      alias: `tapline:${name}`,
    });
    this.#undo.push('removing the TAP', () => tap.detach());
    if (this.#isLost) throw new Error('an endpoint has the address by now');
    this.#port = await dataplane.addPort({ ...this.#portSpec(), kind: 'tap', name, network: id, fd: tap.fd });
    this.#undo.push('removing the port', () => this.#removePort());
    if (this.#isLost) throw new Error('an endpoint has the address by now');
  }

  /** Of a port that reaches everybody, whatever the network's isolation; in a network with VLANs, in that of untagged frames. */
  #portSpec(): Omit<PortSpec, 'kind' | 'name' | 'network' | 'fd'> {
    const { vlan_filtering: hasVlans } = this.network.config;
    const prefixes = this.prefixes;
    return {
      security: { level: 'strict', mac: this.#mac, macs: [], prefixes, macLimit: 1 },
      isolation: 0,
      ...(hasVlans ? { vlan: { native: DEFAULT_VLAN, tagged: [] } } : {}),
      announce: this.#addresses.map(withoutLength),
    };
  }

  /** Whoever takes its place at an address comes after this: the port is asked to go at once. */
  lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    if (this.#port >= 0) this.#removePort().catch((error: unknown) => this.#failed('removing the port', error));
    this.#parts.lost();
  }

  async #removePort(): Promise<void> {
    const port = this.#port;
    if (port < 0) return;
    this.#parts.portRemoved(port);
    await this.#parts.dataplane.removePort(port);
    this.#port = -1;
  }

  /** Nothing of it is left; never rejects. */
  async close(): Promise<void> {
    this.#isLost = true;
    await this.#undo.unwind((what, error) => this.#failed(what, error));
    if (this.#addresses.length === 0) return;
    this.#addresses = [];
    await this.#parts.addressed();
  }

  #failed(what: string, error: unknown): void {
    this.#parts.debug(`health checks in network ${this.network.name}: ${what} failed: ${firstLine(error)}`);
  }
}
