/** The bridged uplink: a device of the host as a port of a network. It comes back by itself when the device does. */

import type { Uplink } from '../../io/uplink.js';
import { UPLINK_PORT_NAME } from '../config/check.js';
import type { BridgedUplinkConfig, NetworkConfig } from '../config/schema.js';
import { uplinkPort } from '../port-spec.js';
import type { System } from '../system.js';
import type { Dataplane } from '../types.js';
import { missingDevice, type UplinkDescription } from './description.js';
import { removeStaleGuard } from './guard.js';

export class BridgedUplink {
  readonly config: BridgedUplinkConfig;
  readonly #networkConfig: NetworkConfig;
  readonly #networkId: number;
  readonly #system: System;
  readonly #dataplane: Dataplane;
  #socket: Uplink | null = null;
  #port = -1;
  /** Opening or closing that is under way; never rejects. */
  #pending: Promise<void> | null = null;
  #closed = false;

  constructor(
    config: BridgedUplinkConfig,
    network: NetworkConfig,
    networkId: number,
    system: System,
    dataplane: Dataplane,
  ) {
    this.config = config;
    this.#networkConfig = network;
    this.#networkId = networkId;
    this.#system = system;
    this.#dataplane = dataplane;
  }

  get device(): string {
    return this.config.device;
  }

  get network(): string {
    return this.config.network;
  }

  /** The dataplane's number of the port; -1 while the device is away. */
  get port(): number {
    return this.#port;
  }

  /** Bytes; 0 while the device is away. */
  get mtu(): number {
    return this.#socket?.mtu ?? 0;
  }

  get mac(): string {
    return this.#socket?.mac ?? '';
  }

  /** Whether a MAC of a network is that of the host's device, whose traffic it would take. */
  isHostMac(network: string, mac: string): boolean {
    return network === this.network && mac === this.mac;
  }

  describe(): UplinkDescription {
    const { device, network, mtu, mac } = this;
    const away = this.#socket === null;
    const state = away ? 'down' : 'up';
    const why = away ? 'its device is away' : '';
    return {
      device,
      mode: 'bridged',
      network,
      vrf: null,
      state,
      why,
      mtu,
      mac,
      addresses: [],
      gateways: [],
      outlet: null,
    };
  }

  /** @throws TaplineError `missing` with key `device` when there is no such device; `failure` */
  async open(): Promise<void> {
    await removeStaleGuard(this.device, this.#system);
    const socket = this.#openSocket();
    try {
      this.#port = await this.#dataplane.addPort({
        ...uplinkPort(this.config, this.#networkConfig),
        kind: 'uplink',
        name: UPLINK_PORT_NAME,
        network: this.#networkId,
        fd: socket.fd,
        hostMac: socket.mac,
        offload: this.config.offload,
      });
    } catch (error) {
      socket.close();
      throw error;
    }
    this.#socket = socket;
  }

  #openSocket(): Uplink {
    try {
      return this.#system.openUplink({ device: this.device });
    } catch (error) {
      throw missingDevice(this.device, error);
    }
  }

  /** The kernel took the device away: gives up the port, until `retry` finds the device again. */
  async lost(): Promise<void> {
    const socket = this.#socket;
    const port = this.#port;
    this.#socket = null;
    this.#port = -1;
    if (socket === null) return;
    await this.#exclusively(async () => {
      try {
        await this.#dataplane.removePort(port);
      } finally {
        socket.close();
      }
    });
  }

  /** Tries to open a lost device. @returns true when that brought it back */
  async retry(): Promise<boolean> {
    if (this.#socket !== null || this.#pending !== null || this.#closed) return false;
    try {
      await this.#exclusively(() => this.open());
      return true;
    } catch {
      // Still away; the next second tries again, and its loss has been logged once.
      return false;
    }
  }

  async #exclusively(work: () => Promise<void>): Promise<void> {
    const running = work();
    this.#pending = running.catch(() => undefined);
    try {
      await running;
    } finally {
      this.#pending = null;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pending;
    await this.lost();
  }
}
