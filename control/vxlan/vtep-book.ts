/**
 * Which VTEPs a network has, and why: those of the configuration, those that commands name, those that FDB entries lead to, and those
 * that were heard. A VTEP stays as long as one of these names it. Books only: nothing here reaches the dataplane.
 */

import { ALL_MACS } from '../config/fields.js';
import type { VxlanConfig } from '../config/schema.js';
import type { VtepView } from './views.js';

/** What a VTEP is to a network, as things are. */
export interface WantedVtep {
  readonly kind: VtepView['kind'];
  readonly floods: boolean;
}

/** A change of an FDB entry; of the all-zero MAC, of the list of those that get what is flooded. */
export interface EntryChange {
  readonly op: 'add' | 'remove';
  readonly mac: string;
  /** Undefined where an entry is to go wherever it leads; never with the all-zero MAC. */
  readonly vtep?: string | undefined;
}

/** What some changes come to, once all are made. */
export interface BookChanges {
  /** MACs that are elsewhere than before: the VTEP, and the one before; null: none. */
  readonly entries: ReadonlyMap<string, { readonly before: string | null; readonly after: string | null }>;
  /** VTEPs that are, or are no more, on the flood list by an all-zero entry. */
  readonly flooded: ReadonlyMap<string, boolean>;
  /** Of each sort, one by one: `unchanged` were so already, `missing` were to go and are not there. */
  readonly added: number;
  readonly moved: number;
  readonly removed: number;
  readonly unchanged: number;
  readonly missing: number;
}

export class VtepBook {
  readonly group: string | null;
  /** Of the configuration and by command, and whether they get what is flooded. */
  readonly #remotes: Map<string, boolean>;
  readonly #flooded = new Set<string>();
  /** VTEP by MAC. */
  readonly #entries = new Map<string, string>();
  /** Entries by VTEP. */
  readonly #counts = new Map<string, number>();
  readonly #heard = new Set<string>();

  constructor({ group, remotes, fdb }: Pick<VxlanConfig, 'group' | 'remotes' | 'fdb'>) {
    this.group = group ?? null;
    this.#remotes = new Map(remotes.map((address) => [address, true]));
    this.make(this.changes(fdb.map(({ mac, vtep }) => ({ op: 'add', mac, vtep }))));
  }

  /** All that are wanted. */
  addresses(): Set<string> {
    const group = this.group === null ? [] : [this.group];
    return new Set([...group, ...this.#remotes.keys(), ...this.#flooded, ...this.#counts.keys(), ...this.#heard]);
  }

  /** Null where nobody names it. */
  wanted(address: string): WantedVtep | null {
    if (address === this.group) return { kind: 'group', floods: true };
    const floods = this.#flooded.has(address);
    const remote = this.#remotes.get(address);
    if (remote !== undefined) return { kind: 'remote', floods: remote || floods };
    if (floods || this.#counts.has(address)) return { kind: 'static', floods };
    return this.#heard.has(address) ? { kind: 'heard', floods: false } : null;
  }

  /** Undefined where neither configuration nor a command names it. */
  remote(address: string): boolean | undefined {
    return this.#remotes.get(address);
  }

  setRemote(address: string, floods: boolean): void {
    this.#remotes.set(address, floods);
  }

  /** False where there is none. */
  removeRemote(address: string): boolean {
    return this.#remotes.delete(address);
  }

  /** VTEP that a static entry leads to; null: there is no such entry. */
  at(mac: string): string | null {
    return this.#entries.get(mac) ?? null;
  }

  /** MAC and VTEP of each static entry. */
  entries(): IterableIterator<[mac: string, vtep: string]> {
    return this.#entries.entries();
  }

  /** Static entries that lead to a VTEP. */
  entryCount(address: string): number {
    return this.#counts.get(address) ?? 0;
  }

  get heard(): ReadonlySet<string> {
    return this.#heard;
  }

  hear(address: string): void {
    this.#heard.add(address);
  }

  forgetHeard(address: string): void {
    this.#heard.delete(address);
  }

  /**
   * What changes come to when they are made in this order; nothing changes yet. A MAC has one place: added elsewhere, it moves there. A
   * removal that names a VTEP takes nothing away that leads to another: it is late.
   */
  changes(changes: readonly EntryChange[]): BookChanges {
    const entries = new Map<string, { before: string | null; after: string | null }>();
    const flooded = new Map<string, boolean>();
    const counts = { added: 0, moved: 0, removed: 0, unchanged: 0, missing: 0 };
    for (const { op, mac, vtep } of changes) {
      if (mac === ALL_MACS) {
        const address = vtep as string;
        const isThere = flooded.get(address) ?? this.#flooded.has(address);
        if (op === 'add') counts[isThere ? 'unchanged' : 'added']++;
        else counts[isThere ? 'removed' : 'missing']++;
        flooded.set(address, op === 'add');
        continue;
      }
      const entry = entries.get(mac) ?? { before: this.at(mac), after: this.at(mac) };
      if (op === 'add') {
        counts[entry.after === null ? 'added' : entry.after === vtep ? 'unchanged' : 'moved']++;
        entries.set(mac, { ...entry, after: vtep as string });
      } else if (entry.after === null || (vtep !== undefined && entry.after !== vtep)) counts.missing++;
      else {
        counts.removed++;
        entries.set(mac, { ...entry, after: null });
      }
    }
    return { entries: onlyChanged(entries), flooded: this.#onlyChanged(flooded), ...counts };
  }

  #onlyChanged(flooded: ReadonlyMap<string, boolean>): Map<string, boolean> {
    return new Map([...flooded].filter(([address, isThere]) => isThere !== this.#flooded.has(address)));
  }

  /** Makes what `changes` found. */
  make({ entries, flooded }: BookChanges): void {
    for (const [address, isThere] of flooded) {
      if (isThere) this.#flooded.add(address);
      else this.#flooded.delete(address);
    }
    for (const [mac, { before, after }] of entries) {
      if (before !== null) this.#count(before, -1);
      if (after === null) this.#entries.delete(mac);
      else {
        this.#entries.set(mac, after);
        this.#count(after, 1);
      }
    }
  }

  #count(address: string, by: number): void {
    const count = this.entryCount(address) + by;
    if (count === 0) this.#counts.delete(address);
    else this.#counts.set(address, count);
  }
}

function onlyChanged<T extends { before: string | null; after: string | null }>(
  entries: ReadonlyMap<string, T>,
): Map<string, T> {
  return new Map([...entries].filter(([, { before, after }]) => before !== after));
}

/** The changes that take others back. */
export function inverse({ entries, flooded, ...counts }: BookChanges): BookChanges {
  const back = [...entries].map(([mac, { before, after }]) => [mac, { before: after, after: before }] as const);
  return {
    ...counts,
    entries: new Map(back),
    flooded: new Map([...flooded].map(([vtep, isThere]) => [vtep, !isThere])),
  };
}

/** VTEPs that changes concern. */
export function concerned({ entries, flooded }: BookChanges): Set<string> {
  const vteps = new Set(flooded.keys());
  for (const { before, after } of entries.values())
    for (const vtep of [before, after]) if (vtep !== null) vteps.add(vtep);
  return vteps;
}
