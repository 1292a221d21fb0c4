/**
 * All overlays: made when their network and the uplink are there, up as long as the uplink has their address. Once a second what may
 * have changed is looked at: the uplink, VTEPs that fell silent, probes that are due.
 */

import { Turns } from '../concurrency.js';
import { withoutLength } from '../config/address.js';
import { knownAddress } from '../config/subnets.js';
import { asTaplineError, firstLine, TaplineError } from '../errors.js';
import type { NetworkState } from '../state.js';
import type { System } from '../system.js';
import type { DataplaneEvent } from '../types.js';
import type { KeptPort, OwnedPorts } from '../uplink/owned-ports.js';
import type { RoutedUplink } from '../uplink/routed-uplink.js';
import { HostUdpPorts } from './host-udp-ports.js';
import { hasOverlay, MAX_HEARD, Overlay, type OverlayNetwork, type OverlayParts } from './overlay.js';
import { Probes } from './probes.js';

const IGMP = 2;
const UDP = 17;
/** VTEPs that nobody has named and that are let in within a second, in all networks. */
const HEARD_A_SECOND = 64;

export interface OverlaysParts extends OverlayParts {
  readonly system: System;
  /** Null while there is none; a bridged one has no addresses. */
  uplink(): RoutedUplink | null;
  /** The dataplane's; null while it has none. */
  vrfNumber(name: string): number | null;
  network(name: string): NetworkState;
  networkNumbered(number: number): NetworkState | undefined;
  /** The ports that overlays have at the uplink's addresses have changed: guard, filter and address translation follow. */
  ownedChanged(): Promise<void>;
}

interface OverlayState {
  readonly overlay: Overlay;
  /** A socket holds its port on the host. */
  isHeld: boolean;
  /** Why its port cannot be held; empty: it can. */
  refused: string;
  /** Why it could not be made when it was tried last; empty: it was made. */
  failed: string;
  /** As it was last said; null: not yet. */
  why: string | null;
  readonly turns: Turns;
}

export class Overlays {
  readonly #parts: OverlaysParts;
  readonly #all = new Map<string, OverlayState>();
  readonly #hostPorts: HostUdpPorts;
  readonly #probes: Probes;
  /** What the daemon begins with has been made, or said to be at fault: from now on what is not there is waited for. */
  #hasBegun = false;
  #looking = false;
  /** Nothing is made any more. */
  #closed = false;
  /** Second in which VTEPs were let in last, and how many. */
  #heardSecond = 0;
  #heardCount = 0;
  /** Networks with so many heard VTEPs that the log was told. */
  readonly #crowded = new Set<string>();

  constructor(parts: OverlaysParts) {
    this.#parts = parts;
    this.#hostPorts = new HostUdpPorts(parts.system);
    this.#probes = new Probes(parts.dataplane, parts.logger);
  }

  /** In the order in which they were made. */
  list(): Overlay[] {
    return [...this.#all.values()].map(({ overlay }) => overlay);
  }

  /** @throws TaplineError `missing`; `conflict` for a network that is on this host alone */
  get(name: string): Overlay {
    const state = this.#all.get(name);
    if (state !== undefined) return state.overlay;
    const { name: network } = this.#parts.network(name);
    throw new TaplineError('conflict', `network ${network} has no vxlan: it is on this host alone`, 'network');
  }

  /** Undefined where there is none. */
  find(name: string): Overlay | undefined {
    return this.#all.get(name)?.overlay;
  }

  // --- coming and going

  /** A network that has one; nothing happens for others. It is made at once where the uplink is there. @throws as `open` */
  async add(network: NetworkState): Promise<void> {
    if (!hasOverlay(network)) return;
    this.#all.set(network.name, this.#newState(network));
    if (this.#parts.uplink() !== null) await this.open(network.name);
  }

  #newState(network: OverlayNetwork): OverlayState {
    return {
      overlay: new Overlay(network, this.#parts),
      isHeld: false,
      refused: '',
      failed: '',
      why: null,
      turns: new Turns(),
    };
  }

  /**
   * Makes it, now that the uplink is there. Nothing happens where there is none, or it has been made.
   *
   * @throws TaplineError `conflict` where somebody on the host has the port; Error; it can be opened again
   */
  async open(name: string): Promise<void> {
    const state = this.#all.get(name);
    if (state !== undefined) await state.turns.run(() => this.#open(state));
  }

  async #open(state: OverlayState): Promise<void> {
    const uplink = this.#parts.uplink();
    const vrf = uplink === null ? null : this.#parts.vrfNumber(uplink.config.vrf);
    if (vrf === null) return;
    await this.#hold(state);
    if (state.refused !== '') throw new TaplineError('conflict', state.refused, 'vxlan.port');
    await state.overlay.open(vrf);
    this.#followUplink(state, performance.now());
  }

  /** Ports first, then what they belong to. Nothing happens where there is none. */
  async remove(name: string): Promise<void> {
    const state = this.#all.get(name);
    if (state === undefined) return;
    this.#all.delete(name);
    this.#crowded.delete(name);
    await this.#takeDown(state);
  }

  #takeDown(state: OverlayState): Promise<void> {
    return state.turns.run(async () => {
      const { local, port } = state.overlay.config;
      await state.overlay.close();
      if (!state.isHeld) return;
      state.isHeld = false;
      await this.#hostPorts.release(local, port);
    });
  }

  /** Before the uplink closes. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const state of this.#all.values()) await this.#takeDown(state);
  }

  /** Gives the host's ports back alone: all else is for the next process to go on with. */
  leave(): Promise<void> {
    this.#closed = true;
    return this.#hostPorts.close();
  }

  // --- the uplink

  /** Where the host's addresses are shared, and the host has this one. Who has the port instead is noted. */
  async #hold(state: OverlayState): Promise<void> {
    const uplink = this.#parts.uplink();
    const { local, port } = state.overlay.config;
    if (uplink?.config.mode !== 'shared' || state.isHeld || !hasAddress(uplink, local)) return;
    try {
      await this.#hostPorts.hold(local, port);
      state.isHeld = true;
      state.refused = '';
    } catch (error) {
      state.refused = asTaplineError(error).detail;
    }
  }

  /** Why nothing comes and goes; empty: it does. */
  why(name: string): string {
    const state = this.#all.get(name);
    return state === undefined ? 'it is gone' : this.#whyOf(state);
  }

  #whyOf({ overlay, refused, failed }: OverlayState): string {
    const uplink = this.#parts.uplink();
    if (uplink === null) return 'there is no uplink yet';
    const { state, why } = uplink.describe();
    if (state === 'down') return `uplink ${uplink.device} is down: ${why}`;
    const { local } = overlay.config;
    if (!hasAddress(uplink, local)) return `${local} is no address of uplink ${uplink.device}`;
    if (refused !== '') return refused;
    return overlay.isOpen ? '' : failed || 'it is being made';
  }

  /** Says what has become of it, and has it probed when it comes up. @param now milliseconds */
  #followUplink(state: OverlayState, now: number): void {
    const why = this.#whyOf(state);
    if (why === state.why) return;
    const { config, network } = state.overlay;
    const { logger } = this.#parts;
    state.why = why;
    if (why !== '') {
      logger.warn(`overlay of network ${network.name} is down: ${why}; waiting`);
      return;
    }
    logger.info(`overlay of network ${network.name} is up: VNI ${config.vni} at ${config.local}`);
    this.#probes.overlayUp(state.overlay, now);
  }

  /** UDP ports of the uplink's addresses that are not the host's, and IGMP where there are groups: queries, which the host hears as well. */
  owned(): OwnedPorts[] {
    const owned = new Map<string, OwnedPorts>();
    for (const { overlay, refused } of this.#all.values()) {
      const { local, port, group } = overlay.config;
      const { family } = knownAddress(local);
      const common = { family, address: local, yields: false };
      if (refused === '') owned.set(`${local} ${port}`, { ...common, protocol: UDP, first: port, last: port });
      if (group !== undefined && family === 4) owned.set('igmp', { ...common, protocol: IGMP, first: 0, last: 0 });
    }
    return [...owned.values()];
  }

  /** Ports that address translation must not give out. */
  kept(): KeptPort[] {
    return [...new Set(this.list().map(({ config }) => config.port))].map((port) => ({ protocol: UDP, port }));
  }

  // --- what the dataplane tells

  happened(event: DataplaneEvent): void {
    if (event.kind === 'vtep-heard') this.#heard(event);
    if (event.kind === 'vtep-reachable') this.#probes.reachable(event.port, performance.now());
  }

  #heard({ network: number, address }: DataplaneEvent): void {
    const network = this.#parts.networkNumbered(number);
    const overlay = this.#all.get(network?.name ?? '')?.overlay;
    const now = performance.now();
    if (overlay === undefined || !this.#mayHear(now)) return;
    void overlay.hear(address, now).then((hasRoom) => {
      if (!hasRoom) this.#sayCrowded(overlay.network.name);
    });
  }

  /** Whoever forges sources makes no more work than this. */
  #mayHear(now: number): boolean {
    const second = Math.floor(now / 1000);
    if (second !== this.#heardSecond) this.#heardCount = 0;
    this.#heardSecond = second;
    return this.#heardCount++ < HEARD_A_SECOND;
  }

  #sayCrowded(name: string): void {
    if (this.#crowded.has(name)) return;
    this.#crowded.add(name);
    const what = `network ${name} is open, and has let in ${MAX_HEARD} VTEPs that nobody named: others get no answer`;
    this.#parts.logger.warn(`${what}; name its VTEPs, and set open: false`);
  }

  // --- time

  /** The overlays that the daemon begins with have been opened; those that could not be are tried again. */
  begin(now: number): Promise<void> {
    this.#hasBegun = true;
    return this.look(now);
  }

  /** Once a second. @param now milliseconds. Does not reject */
  async look(now: number): Promise<void> {
    if (!this.#hasBegun || this.#looking || this.#all.size === 0) return;
    this.#looking = true;
    try {
      for (const state of [...this.#all.values()]) await state.turns.run(() => this.#lookAt(state, now));
      await this.#forgetSilent(now);
      await this.#probes.look(this.list(), now);
    } catch (error) {
      this.#parts.logger.warn(`looking after the overlays failed: ${firstLine(error)}`);
    } finally {
      this.#looking = false;
    }
  }

  /** What could not be made is tried again. */
  async #lookAt(state: OverlayState, now: number): Promise<void> {
    const { isHeld, refused } = state;
    if (this.#closed || this.#all.get(state.overlay.network.name) !== state) return;
    await this.#hold(state);
    if (!state.overlay.isOpen && state.refused === '') await this.#tryAgain(state);
    if (state.isHeld !== isHeld || state.refused !== refused) await this.#parts.ownedChanged();
    this.#followUplink(state, now);
  }

  async #tryAgain(state: OverlayState): Promise<void> {
    state.failed = '';
    await this.#open(state).catch((error: unknown) => {
      state.failed = firstLine(error);
    });
  }

  async #forgetSilent(now: number): Promise<void> {
    const open = this.list().filter(({ hasHeard }) => hasHeard);
    if (open.length === 0) return;
    const { dataplane } = this.#parts;
    const statuses = new Map((await dataplane.vxlan.status()).map((status) => [status.port, status]));
    const counters = new Map(dataplane.ports().map((port) => [port.id, port]));
    for (const overlay of open) {
      await overlay.forgetSilent(statuses, counters, now);
      if (!overlay.hasHeard) this.#crowded.delete(overlay.network.name);
    }
  }

  get probes(): Probes {
    return this.#probes;
  }
}

function hasAddress(uplink: RoutedUplink, address: string): boolean {
  return uplink.describe().addresses.some((text) => withoutLength(text) === address);
}
