/** Neighbors that are told by command. They outlive the process as they were asked for. */

import { checkNeighbors } from '../config/vxlan.js';
import type { Daemon } from '../daemon.js';
import type { DataplaneLogger } from '../dataplane.js';
import { TaplineError } from '../errors.js';
import { restoreObjects } from '../restore.js';

export interface ToldNeighbor {
  readonly network: string;
  readonly address: string;
  readonly mac: string;
}

/** As it is written down; a `mac` of null: the file has one that a command has taken back. */
interface KeptNeighbor extends Omit<ToldNeighbor, 'mac'> {
  readonly mac: string | null;
}

const KIND = 'neighbor';

/** Told again, it has the new MAC. @throws TaplineError `missing`; `invalid` with key `address`; `conflict` for a network that is bridged */
export async function tellNeighbor(daemon: Daemon, told: ToldNeighbor): Promise<ToldNeighbor> {
  const { network, address, mac } = told;
  const { config } = daemon.network(network);
  const [problem] = checkNeighbors([], network, config, { neighbors: [{ address, mac }] });
  if (problem !== undefined) throw new TaplineError(problem.kind, problem.message, 'address');
  if (daemon.interfaces.get(network) === undefined)
    throw new TaplineError('conflict', `network ${network} has no gateway that could be told`, 'network');
  await daemon.neighbors.tell(network, address, mac);
  daemon.kept.setObject(KIND, `${network} ${address}`, { network, address, mac } satisfies KeptNeighbor);
  return told;
}

/** @throws TaplineError `missing` */
export async function forgetNeighbor(daemon: Daemon, network: string, address: string): Promise<void> {
  const { config } = daemon.network(network);
  if (!(await daemon.neighbors.forget(network, address)))
    throw new TaplineError('missing', `nothing was told of ${address} in network ${network}`, 'address');
  const isInFile = config.vxlan?.neighbors.some((neighbor) => neighbor.address === address) === true;
  const key = `${network} ${address}`;
  if (isInFile) daemon.kept.setObject(KIND, key, { network, address, mac: null } satisfies KeptNeighbor);
  else daemon.kept.removeObject(KIND, key);
}

/** What commands of an earlier process have told. */
export async function restoreNeighbors(daemon: Daemon, logger: DataplaneLogger): Promise<void> {
  await restoreObjects(daemon.kept, KIND, logger, async (_, object) => {
    const { network, address, mac } = object as KeptNeighbor;
    daemon.network(network);
    if (mac === null) await daemon.neighbors.forget(network, address);
    else await daemon.neighbors.tell(network, address, mac);
  });
}

/** With the network goes what was told of it. */
export function forgetNeighborsOf({ kept }: Daemon, network: string): void {
  for (const [key, object] of kept.objects(KIND))
    if ((object as KeptNeighbor).network === network) kept.removeObject(KIND, key);
}
