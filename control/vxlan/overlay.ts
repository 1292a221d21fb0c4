/**
 * One network's overlay in the dataplane: its own VTEP, a port for each remote one, and the FDB entries that lead there. The dataplane
 * follows the book; what fails halfway is taken back whole.
 */

import { Turns } from '../concurrency.js';
import type { VxlanConfig } from '../config/schema.js';
import { knownAddress } from '../config/subnets.js';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import type { MacOwner } from '../ipam.js';
import { stableMac } from '../mac.js';
import type { NetworkState } from '../state.js';
import type { Dataplane, PortCounters, PortSpec, StaticChange, VtepStatus, VxlanSpec } from '../types.js';
import { type BookChanges, concerned, type EntryChange, inverse, VtepBook, type WantedVtep } from './vtep-book.js';

/** Ports that reach no other of their class: what comes from one host goes to none of the others. */
const ALONE = 1;
/** VTEPs of a network that are known only because they were heard. */
export const MAX_HEARD = 1024;

/** A network that spans hosts. */
export interface OverlayNetwork extends NetworkState {
  readonly config: NetworkState['config'] & { readonly vxlan: VxlanConfig };
}

export function hasOverlay(network: NetworkState): network is OverlayNetwork {
  return network.config.vxlan !== undefined;
}

export interface OverlayParts {
  readonly dataplane: Dataplane;
  readonly logger: DataplaneLogger;
  /** Captures there end. */
  portRemoved(port: number): void;
}

interface VtepPort {
  readonly number: number;
  readonly floods: boolean;
}

/** A VTEP, and the port that stands for it. */
export interface KnownVtep extends WantedVtep {
  readonly address: string;
  readonly port: number;
}

export class Overlay {
  readonly network: OverlayNetwork;
  readonly config: VxlanConfig;
  readonly #book: VtepBook;
  readonly #parts: OverlayParts;
  /** By address of the VTEP. */
  readonly #ports = new Map<string, VtepPort>();
  /** When VTEPs were let in that nobody has named; milliseconds of whoever tells the time. */
  readonly #heardAt = new Map<string, number>();
  #isOpen = false;
  readonly #turns = new Turns();

  constructor(network: OverlayNetwork, parts: OverlayParts) {
    this.network = network;
    this.config = network.config.vxlan;
    this.#book = new VtepBook(this.config);
    this.#parts = parts;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Makes it in the dataplane. @param vrf number of the uplink's @throws TaplineError, Error; nothing is left behind */
  open(vrf: number): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#isOpen) return;
      this.#reserve([...this.#book.entries()]);
      await this.#parts.dataplane.vxlan.set(this.network.id, this.#spec(vrf));
      this.#isOpen = true;
      try {
        await this.#addPorts(this.#book.addresses());
        await this.#tellEntries([...this.#book.entries()]);
      } catch (error) {
        await this.#takeDown();
        throw error;
      }
    });
  }

  #spec(vrf: number): VxlanSpec {
    const { vni, local, port, ttl, group_ttl, dscp, checksum, gbp = null, open, suppress } = this.config;
    const mac = stableMac(`vtep ${vni} ${local}`);
    return { vni, vrf, local, udpPort: port, ttl, groupTtl: group_ttl, dscp, checksum, gbp, open, suppress, mac };
  }

  /** Ports go before what they belong to. */
  close(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#isOpen) await this.#takeDown();
    });
  }

  async #takeDown(): Promise<void> {
    this.#isOpen = false;
    await Promise.all([...this.#ports.keys()].map((address) => this.#removePort(address)));
    await this.#parts.dataplane.vxlan
      .set(this.network.id, null)
      .catch((error: unknown) => this.#failed('removing its VTEP', error));
  }

  #failed(what: string, error: unknown): void {
    this.#parts.logger.warn(`overlay of network ${this.network.name}: ${what} failed: ${firstLine(error)}`);
  }

  // --- ports

  #portSpec(address: string, { floods }: WantedVtep): PortSpec {
    const { name, id } = this.network;
    const { vlan, learning } = this.config;
    return {
      kind: 'vxlan',
      name: `vxlan:${name}:${address}`,
      network: id,
      fd: -1,
      isolation: ALONE,
      // Memberships of other hosts are theirs to know: they hear of ours, and get all multicast.
      multicast: { router: 'always', fastLeave: false },
      vtep: { address, floods, learning },
      ...(vlan === undefined ? {} : { vlan: { native: vlan, tagged: [] } }),
    };
  }

  /** At once, since each alone would wait for its number to be written down. @throws Error the first of them; the others are there */
  async #addPorts(addresses: Iterable<string>): Promise<void> {
    const added = [...addresses].map(async (address) => {
      const wanted = this.#book.wanted(address);
      if (wanted === null || this.#ports.has(address)) return;
      const number = await this.#parts.dataplane.addPort(this.#portSpec(address, wanted));
      this.#ports.set(address, { number, floods: wanted.floods });
    });
    const failed = (await Promise.allSettled(added)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  /** Ports are as the book wants them. */
  async #follow(addresses: Iterable<string>): Promise<void> {
    for (const address of addresses) {
      const wanted = this.#book.wanted(address);
      const port = this.#ports.get(address);
      if (wanted === null) await this.#removePort(address);
      else if (port === undefined) await this.#addPorts([address]);
      else if (port.floods !== wanted.floods) {
        await this.#parts.dataplane.vxlan.setFloods(port.number, wanted.floods);
        this.#ports.set(address, { ...port, floods: wanted.floods });
      }
    }
  }

  async #removePort(address: string): Promise<void> {
    const port = this.#ports.get(address);
    if (port === undefined) return;
    this.#ports.delete(address);
    this.#parts.portRemoved(port.number);
    await this.#parts.dataplane
      .removePort(port.number)
      .catch((error: unknown) => this.#failed(`removing VTEP ${address}`, error));
  }

  /** All that have a port. */
  vteps(): KnownVtep[] {
    return [...this.#ports].flatMap(([address, { number }]) => {
      const wanted = this.#book.wanted(address);
      return wanted === null ? [] : [{ ...wanted, address, port: number }];
    });
  }

  /** Null where no VTEP of that address is known. */
  vtep(address: string): KnownVtep | null {
    const port = this.#ports.get(address);
    const wanted = this.#book.wanted(address);
    return port === undefined || wanted === null ? null : { ...wanted, address, port: port.number };
  }

  // --- remote ones, by command

  /** Names a VTEP, or says anew whether it gets what is flooded. @throws Error; then all is as before */
  addRemote(address: string, floods: boolean): Promise<void> {
    return this.#changeRemote(address, floods);
  }

  /** It stays where FDB entries lead there. @returns false where nobody has named it */
  async removeRemote(address: string): Promise<boolean> {
    if (this.#book.remote(address) === undefined) return false;
    await this.#changeRemote(address, null);
    return true;
  }

  #changeRemote(address: string, floods: boolean | null): Promise<void> {
    return this.#turns.run(async () => {
      const before = this.#book.remote(address) ?? null;
      this.#setRemote(address, floods);
      if (!this.#isOpen) return;
      try {
        await this.#follow([address]);
      } catch (error) {
        this.#setRemote(address, before);
        throw error;
      }
    });
  }

  #setRemote(address: string, floods: boolean | null): void {
    if (floods === null) this.#book.removeRemote(address);
    else this.#book.setRemote(address, floods);
  }

  // --- entries of the FDB

  /** VTEP that a static entry leads to; null: there is no such entry. */
  entry(mac: string): string | null {
    return this.#book.at(mac);
  }

  entryCount(address: string): number {
    return this.#book.entryCount(address);
  }

  /** The VLAN of its entries; 0 in a network without. */
  get vlan(): number {
    return this.config.vlan ?? 0;
  }

  /**
   * Makes changes in order, as one: those who look see all of them or none.
   *
   * @returns what they came to
   * @throws TaplineError `conflict` for a MAC of an endpoint, Error; then all is as before
   */
  changeEntries(changes: readonly EntryChange[]): Promise<BookChanges> {
    return this.#turns.run(async () => {
      const found = this.#book.changes(changes);
      this.#reserve(afterwards(found));
      this.#book.make(found);
      try {
        if (this.#isOpen) await this.#applyEntries(found);
      } catch (error) {
        await this.#takeBack(inverse(found));
        throw error;
      }
      this.#release(found);
      return found;
    });
  }

  async #applyEntries(found: BookChanges): Promise<void> {
    const vteps = concerned(found);
    await this.#addPorts(vteps);
    await this.#tellEntries(afterwards(found), gone(found));
    await this.#follow(vteps);
  }

  async #takeBack(back: BookChanges): Promise<void> {
    this.#release(back);
    this.#book.make(back);
    this.#reserve(afterwards(back));
    if (this.#isOpen) await this.#applyEntries(back).catch((error: unknown) => this.#failed('taking back', error));
  }

  async #tellEntries(entries: readonly (readonly [mac: string, vtep: string])[], without: readonly string[] = []) {
    const { id: network } = this.network;
    const { vlan } = this;
    const changes: StaticChange[] = [
      ...without.map((mac) => ({ network, vlan, mac, port: null })),
      ...entries.map(([mac, vtep]) => ({ network, vlan, mac, port: this.#ports.get(vtep)?.number ?? null })),
    ];
    if (changes.length > 0) await this.#parts.dataplane.changeStatics(changes);
  }

  /** Nobody else gets these MACs; those behind another VTEP move. @throws TaplineError `conflict` for others'; then nothing is reserved */
  #reserve(entries: readonly (readonly [mac: string, vtep: string])[]): void {
    const { ipam } = this.network;
    // Throws for the first that is somebody else's.
    for (const [mac, vtep] of entries) if (!this.#isFree(mac)) ipam.reserveStatic(vtepOwner(vtep), mac);
    for (const [mac, vtep] of entries) {
      ipam.releaseStatic(mac);
      ipam.reserveStatic(vtepOwner(vtep), mac);
    }
  }

  #isFree(mac: string): boolean {
    const owner = this.network.ipam.macOwner(mac);
    return owner === undefined || isVtepOwner(owner);
  }

  #release(found: BookChanges): void {
    for (const mac of gone(found)) this.network.ipam.releaseStatic(mac);
  }

  // --- heard ones

  get hasHeard(): boolean {
    return this.#book.heard.size > 0;
  }

  /**
   * A VTEP that nobody has named was heard, where the network is open: its answers need a port.
   *
   * @param now milliseconds
   * @returns false where there are too many of the kind
   */
  async hear(address: string, now: number): Promise<boolean> {
    if (!this.config.open || this.#book.wanted(address) !== null || !isRemote(address, this.config)) return true;
    if (this.#book.heard.size >= MAX_HEARD) return false;
    this.#book.hear(address);
    this.#heardAt.set(address, now);
    await this.#turns
      .run(async () => {
        if (this.#isOpen) await this.#follow([address]);
      })
      .catch((error: unknown) => {
        this.#book.forgetHeard(address);
        this.#heardAt.delete(address);
        this.#failed(`letting VTEP ${address} in`, error);
      });
    return true;
  }

  /** Those that were heard go when they are silent, and nothing is known behind them any more. @param now milliseconds */
  async forgetSilent(
    statuses: ReadonlyMap<number, VtepStatus>,
    counters: ReadonlyMap<number, PortCounters>,
    now: number,
  ): Promise<void> {
    const silent = [...this.#book.heard].filter((address) => {
      const port = this.#ports.get(address)?.number ?? -1;
      const since = (now - (this.#heardAt.get(address) ?? now)) / 1000;
      const silence = Math.min(statuses.get(port)?.heardSeconds ?? since, since);
      return silence >= this.network.config.ageing && (counters.get(port)?.learnedMacs ?? 0) === 0;
    });
    if (silent.length === 0) return;
    for (const address of silent) {
      this.#book.forgetHeard(address);
      this.#heardAt.delete(address);
    }
    await this.#turns.run(async () => {
      if (this.#isOpen) await this.#follow(silent);
    });
  }
}

/** Whose a MAC behind a VTEP is, where others ask for it. No name of a port has a space. */
const VTEP_OWNER = 'vtep ';

function vtepOwner(vtep: string): string {
  return `${VTEP_OWNER}${vtep}`;
}

/** Whether a MAC is behind a VTEP by a static entry. */
export function isVtepOwner({ owner, by }: MacOwner): boolean {
  return by === 'static entry' && owner.startsWith(VTEP_OWNER);
}

/** What is heard may say anything of where it comes from. */
function isRemote(address: string, { local }: VxlanConfig): boolean {
  return address !== local && knownAddress(address).family === knownAddress(local).family;
}

function afterwards({ entries }: BookChanges): [mac: string, vtep: string][] {
  return [...entries].flatMap(([mac, { after }]) => (after === null ? [] : [[mac, after]]));
}

function gone({ entries }: BookChanges): string[] {
  return [...entries].flatMap(([mac, { after }]) => (after === null ? [mac] : []));
}
