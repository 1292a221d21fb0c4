/** `tapline fdb`: static entries, and forgetting what was learned. */

import type { Command } from 'commander';
import type { StaticView } from '../control/fdb.js';
import { type Context, clientOf, numeric, usageError, wantsJson, withJson, withSocket } from './context.js';
import { printJson } from './output.js';

interface FdbOptions {
  readonly network?: string;
  readonly port?: string;
  readonly vtep?: string;
  readonly vlan?: string;
}

/** Only what the user gave. */
function given({ network, port, vtep, vlan }: FdbOptions): Record<string, string | number> {
  return {
    ...(network === undefined ? {} : { network }),
    ...(port === undefined ? {} : { port }),
    ...(vtep === undefined ? {} : { vtep }),
    ...(vlan === undefined ? {} : { vlan: numeric(vlan) }),
  };
}

const ADD_HELP = `
The entry lasts as long as the port, and the port may speak from that MAC. MACs of endpoints have such entries by themselves.

In a network with vxlan, --vtep says that the MAC is on another host. What is learned never takes its place; added again with another
VTEP, the MAC is behind that one. 00:00:00:00:00:00 stands for all that is flooded: each VTEP with such an entry gets it.

Examples:
  tapline fdb add 02:00:00:00:00:99 --network blue --port uplink
  tapline fdb add 02:42:ac:1e:00:09 --network blue --vtep 10.77.0.3
  tapline fdb add 00:00:00:00:00:00 --network blue --vtep 10.77.0.3`;

function registerAdd(fdb: Command, context: Context): void {
  withJson(withSocket(fdb.command('add')))
    .argument('<mac>')
    .description('bind a MAC to a port, or to a host of a network with vxlan')
    .requiredOption('--network <network>', 'network of the port')
    .option('--port <port>', 'endpoint, or uplink')
    .option('--vtep <vtep>', 'address of the VTEP that it is behind')
    .option('--vlan <vlan>', "VLAN; that of the port's untagged frames unless given")
    .addHelpText('after', ADD_HELP)
    .action(async (mac: string, options: FdbOptions, command: Command) => {
      if ((options.port === undefined) === (options.vtep === undefined))
        throw usageError('expected either --port or --vtep, to say where the MAC is');
      const entry = await clientOf(command, context).post<StaticView>('/v1/fdb', { mac, ...given(options) });
      if (wantsJson(command)) printJson(context, entry);
      else context.stdout.write(`${entry.mac}\n`);
    });
}

function registerRemove(fdb: Command, context: Context): void {
  withJson(withSocket(fdb.command('rm')))
    .alias('remove')
    .argument('<mac>')
    .description('remove an entry, static or learned')
    .requiredOption('--network <network>', 'network of the entry')
    .option('--vtep <vtep>', 'VTEP of the entry, for 00:00:00:00:00:00')
    .option('--vlan <vlan>', 'VLAN, where the MAC has entries in several')
    .action(async (mac: string, options: FdbOptions, command: Command) => {
      await clientOf(command, context).delete('/v1/fdb', { mac, ...given(options) });
      if (wantsJson(command)) printJson(context, { mac });
      else context.stdout.write(`${mac}\n`);
    });
}

function registerFlush(fdb: Command, context: Context): void {
  withJson(withSocket(fdb.command('flush')))
    .description('forget what was learned; static entries stay')
    .option('--network <network>', 'only of this network')
    .option('--port <port>', 'only of this endpoint, or of uplink')
    .option('--vlan <vlan>', 'only in this VLAN')
    .addHelpText('after', '\nExample:\n  tapline fdb flush --network blue --port uplink')
    .action(async (options: FdbOptions, command: Command) => {
      const what = given(options);
      await clientOf(command, context).post('/v1/fdb/flush', what);
      if (wantsJson(command)) printJson(context, { flushed: what });
    });
}

export function registerFdb(program: Command, context: Context): void {
  const fdb = program.command('fdb').description('add, remove and flush entries of the FDB');
  for (const register of [registerAdd, registerRemove, registerFlush]) register(fdb, context);
}
