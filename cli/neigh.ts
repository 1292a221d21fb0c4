/** `tapline neigh add|rm`: neighbors that are told, so that nobody has to ask for them. */

import type { Command } from 'commander';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { printJson } from './output.js';

/** A neighbor as the API takes and gives it. */
interface ToldNeighbor {
  readonly network: string;
  readonly address: string;
  readonly mac: string;
}

const ADD_HELP = `
The gateway of the network then knows the MAC without asking, and answers ARP and neighbor discovery of endpoints for it where the
network has vxlan. It stays until it is removed; told again with another MAC, it has that one.

Example:
  tapline neigh add 172.30.0.9 02:42:ac:1e:00:09 --network blue`;

function registerAdd(neigh: Command, context: Context): void {
  withJson(withSocket(neigh.command('add')))
    .argument('<address>')
    .argument('<mac>')
    .description('tell which MAC an address has')
    .requiredOption('--network <network>', 'network that the address is in')
    .addHelpText('after', ADD_HELP)
    .action(async (address: string, mac: string, { network }: { network: string }, command: Command) => {
      const told = await clientOf(command, context).post<ToldNeighbor>('/v1/neighbors', { network, address, mac });
      if (wantsJson(command)) printJson(context, told);
      else context.stdout.write(`${told.address}\n`);
    });
}

function registerRemove(neigh: Command, context: Context): void {
  withJson(withSocket(neigh.command('rm')))
    .alias('remove')
    .argument('<told-neighbor>')
    .description('take back what was told of an address')
    .requiredOption('--network <network>', 'network that the address is in')
    .action(async (address: string, { network }: { network: string }, command: Command) => {
      await clientOf(command, context).delete('/v1/neighbors', { network, address });
      if (wantsJson(command)) printJson(context, { network, address });
      else context.stdout.write(`${address}\n`);
    });
}

export function registerNeigh(program: Command, context: Context): void {
  const neigh = program.command('neigh').description('tell the router neighbors; show neigh lists what it knows');
  for (const register of [registerAdd, registerRemove]) register(neigh, context);
}
