/** FDB entries that lead to VTEPs, by command: one, or thousands at once. They outlive the process as they were asked for. */

import { ALL_MACS } from '../config/fields.js';
import type { Daemon } from '../daemon.js';
import { firstLine, TaplineError } from '../errors.js';
import type { Overlay } from './overlay.js';
import type { EntryChange } from './vtep-book.js';

/** A change as it is asked for: an entry of the all-zero MAC says that its VTEP gets what is flooded. */
export interface VtepEntryChange {
  readonly op: 'add' | 'remove';
  readonly mac: string;
  readonly vtep: string;
  /** The overlay's own, where it is said. */
  readonly vlan?: number | undefined;
}

/** What changes came to: `unchanged` were so already, `missing` were to go, and were not there. */
export interface EntryCounts {
  readonly added: number;
  readonly moved: number;
  readonly removed: number;
  readonly unchanged: number;
  readonly missing: number;
}

/**
 * Makes changes of one network's entries, in order and as one. An entry that is there already is none, one that is elsewhere moves, and one
 * that is to go and is not there is counted: what a store tells twice, or late, does no harm.
 *
 * @throws TaplineError with the place in the list: `invalid`, `conflict` for a MAC of an endpoint; `missing` for the network. Then nothing
 * has changed
 */
export async function applyEntries(
  daemon: Daemon,
  network: string,
  changes: readonly VtepEntryChange[],
): Promise<EntryCounts> {
  const overlay = daemon.overlays.get(network);
  checkVteps(daemon, overlay, changes);
  return change(daemon, overlay, changes);
}

/** Each VTEP once, at the first change that names it. */
function checkVteps(daemon: Daemon, overlay: Overlay, changes: readonly VtepEntryChange[]): void {
  const seen = new Set<string>();
  const first: number[] = [];
  changes.forEach(({ op, vtep, vlan }, index) => {
    if (vlan !== undefined) refuseOtherVlan(overlay, vlan, `[${index}].vlan`);
    if (op === 'remove' || seen.has(vtep)) return;
    seen.add(vtep);
    if (overlay.vtep(vtep) === null) first.push(index);
  });
  const fdb = first.map((index) => ({ mac: ALL_MACS, vtep: (changes[index] as VtepEntryChange).vtep }));
  const problem = daemon.overlayProblem(overlay.network.name, { fdb });
  if (problem === null) return;
  const at = first[Number(problem.path[4])];
  throw new TaplineError(problem.kind, problem.message, at === undefined ? '' : `[${at}].vtep`);
}

/** @throws TaplineError `invalid` */
function refuseOtherVlan({ network, vlan: own }: Overlay, vlan: number, key = 'vlan'): void {
  if (vlan === own) return;
  const what =
    own === 0
      ? `network ${network.name} tells no VLANs apart; leave it out`
      : `expected ${own}, the VLAN that the overlay of network ${network.name} carries, got ${vlan}`;
  throw new TaplineError('invalid', what, key);
}

async function change(daemon: Daemon, overlay: Overlay, changes: readonly EntryChange[]): Promise<EntryCounts> {
  const { added, moved, removed, unchanged, missing, entries, flooded } = await overlay.changeEntries(changes);
  const ofFile = new Set(overlay.config.fdb.map((entry) => (entry.mac === ALL_MACS ? entry.vtep : entry.mac)));
  for (const [mac, { after }] of entries) keep(daemon, overlay, mac, after, ofFile.has(mac));
  for (const [vtep, isThere] of flooded) keepFlooded(daemon, overlay, vtep, isThere, ofFile.has(vtep));
  return { added, moved, removed, unchanged, missing };
}

/** An entry as it is written down. */
interface KeptEntry {
  readonly network: string;
  readonly mac: string;
  /** Null: wherever it leads. */
  readonly vtep: string | null;
  /** False: a command has taken away what the file has. */
  readonly isThere: boolean;
}

const KIND = 'vtep-entry';

function keep({ kept }: Daemon, { network }: Overlay, mac: string, vtep: string | null, isOfFile: boolean): void {
  const key = `${network.name} ${mac}`;
  const entry: KeptEntry = { network: network.name, mac, vtep, isThere: vtep !== null };
  if (entry.isThere || isOfFile) kept.setObject(KIND, key, entry);
  else kept.removeObject(KIND, key);
}

function keepFlooded({ kept }: Daemon, { network }: Overlay, vtep: string, isThere: boolean, isOfFile: boolean): void {
  const key = `${network.name} ${ALL_MACS} ${vtep}`;
  const entry: KeptEntry = { network: network.name, mac: ALL_MACS, vtep, isThere };
  if (isThere === isOfFile) kept.removeObject(KIND, key);
  else kept.setObject(KIND, key, entry);
}

export interface VtepEntryRequest {
  readonly network: string;
  readonly mac: string;
  readonly vtep: string;
  readonly vlan?: number | undefined;
}

/** @throws TaplineError `missing`, `invalid`, `conflict`; then nothing has changed */
export async function addVtepEntry(daemon: Daemon, request: VtepEntryRequest): Promise<void> {
  const overlay = daemon.overlays.get(request.network);
  const { mac, vtep, vlan } = request;
  if (vlan !== undefined) refuseOtherVlan(overlay, vlan);
  if (overlay.vtep(vtep) === null) {
    const problem = daemon.overlayProblem(request.network, { fdb: [{ mac, vtep }] });
    if (problem !== null) throw new TaplineError(problem.kind, problem.message, 'vtep');
  }
  await change(daemon, overlay, [{ op: 'add', mac, vtep }]);
}

/** @param vtep undefined: wherever it leads; needed for the all-zero MAC @throws TaplineError `missing`, `invalid` */
export async function removeVtepEntry(
  daemon: Daemon,
  { network, mac, vtep, vlan }: Omit<VtepEntryRequest, 'vtep'> & { readonly vtep?: string | undefined },
): Promise<void> {
  const overlay = daemon.overlays.get(network);
  if (vlan !== undefined) refuseOtherVlan(overlay, vlan);
  if (mac === ALL_MACS && vtep === undefined)
    throw new TaplineError('invalid', `there may be several entries of ${ALL_MACS}; say which VTEP`, 'vtep');
  const elsewhere = overlay.entry(mac);
  const { missing } = await change(daemon, overlay, [{ op: 'remove', mac, vtep }]);
  if (missing === 0) return;
  const at = vtep === undefined ? '' : ` that leads to VTEP ${vtep}`;
  const where = elsewhere === null ? '' : `; it leads to VTEP ${elsewhere}`;
  throw new TaplineError('missing', `no entry of ${mac}${at} in network ${network}${where}`);
}

/** What commands of an earlier process have made of the entries; those that have lost their network are forgotten, in one line for all. */
export async function restoreEntries(daemon: Daemon, warn: (line: string) => void): Promise<void> {
  const kept = daemon.kept.objects(KIND) as [string, KeptEntry][];
  for (const network of new Set(kept.map(([, entry]) => entry.network))) {
    const entries = kept.filter(([, entry]) => entry.network === network);
    const changes = entries.map(([, { mac, vtep, isThere }]): EntryChange => {
      return { op: isThere ? 'add' : 'remove', mac, vtep: vtep ?? undefined };
    });
    try {
      await daemon.overlays.get(network).changeEntries(changes);
    } catch (error) {
      for (const [key] of entries) daemon.kept.removeObject(KIND, key);
      const what = `${entries.length} FDB entries of network ${network}, made by command before the restart, are gone`;
      warn(`${what}: ${firstLine(error)}`);
    }
  }
}

/** With the network goes what commands have said of it. */
export function forgetEntries({ kept }: Daemon, network: string): void {
  for (const [key, object] of kept.objects(KIND))
    if ((object as KeptEntry).network === network) kept.removeObject(KIND, key);
}
