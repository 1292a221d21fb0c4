/** VTEPs by command. They outlive the process as they were asked for. */

import type { Daemon } from '../daemon.js';
import type { DataplaneLogger } from '../dataplane.js';
import { TaplineError } from '../errors.js';
import { restoreObjects } from '../restore.js';

/** As it is written down; `floods` null: the file has one that a command has taken away. */
interface KeptVtep {
  readonly network: string;
  readonly address: string;
  readonly floods: boolean | null;
}

const KIND = 'vtep';

/**
 * A host of the network besides those of the configuration, or one of these told anew.
 *
 * @param floods whether it gets what is flooded
 * @throws TaplineError `missing`; `invalid` with key `address`; `conflict`; then all is as before
 */
export async function addVtep(daemon: Daemon, network: string, address: string, floods = true): Promise<void> {
  const overlay = daemon.overlays.get(network);
  const problem = daemon.overlayProblem(network, { remotes: [address] });
  if (problem !== null) throw new TaplineError(problem.kind, problem.message, 'address');
  await overlay.addRemote(address, floods);
  const found = overlay.vtep(address);
  if (found !== null) daemon.overlays.probes.added(found, performance.now());
  daemon.kept.setObject(KIND, `${network} ${address}`, { network, address, floods } satisfies KeptVtep);
}

/** @throws TaplineError `missing`; `conflict` for one that is there for another reason */
export async function removeVtep(daemon: Daemon, network: string, address: string): Promise<void> {
  const overlay = daemon.overlays.get(network);
  const vtep = overlay.vtep(address);
  if (vtep?.kind === 'group')
    throw new TaplineError(
      'conflict',
      `${address} is the multicast group of network ${network}, which stays`,
      'address',
    );
  if (!(await overlay.removeRemote(address))) {
    if (vtep === null) throw new TaplineError('missing', `network ${network} has no VTEP ${address}`, 'address');
    const why =
      vtep.kind === 'heard' ? 'was heard, and goes when it is silent' : 'is there by FDB entries, and goes with them';
    throw new TaplineError('conflict', `VTEP ${address} of network ${network} ${why}`, 'address');
  }
  const key = `${network} ${address}`;
  if (overlay.config.remotes.includes(address))
    daemon.kept.setObject(KIND, key, { network, address, floods: null } satisfies KeptVtep);
  else daemon.kept.removeObject(KIND, key);
}

/** What commands of an earlier process have made of the VTEPs. */
export async function restoreVteps(daemon: Daemon, logger: DataplaneLogger): Promise<void> {
  await restoreObjects(daemon.kept, KIND, logger, async (_, object) => {
    const { network, address, floods } = object as KeptVtep;
    const overlay = daemon.overlays.get(network);
    if (floods === null) await overlay.removeRemote(address);
    else await overlay.addRemote(address, floods);
  });
}

/** With the network goes what commands have said of it. */
export function forgetVteps({ kept }: Daemon, network: string): void {
  for (const [key, object] of kept.objects(KIND))
    if ((object as KeptVtep).network === network) kept.removeObject(KIND, key);
}
