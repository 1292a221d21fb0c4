/** `tapline network create|ls|inspect|rm`. */

import type { Command } from 'commander';
import type { NetworkView } from '../control/views.js';
import { type Context, clientOf, collect, numeric, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatRecord, formatTable, list, printJson, removeEach, yesNo } from './output.js';

interface CreateOptions {
  readonly subnet?: string[];
  readonly gateway?: string[];
  readonly mtu?: string;
  readonly internal?: boolean;
  readonly isolated?: boolean;
  readonly masquerade: boolean;
  readonly ageing?: string;
  readonly fdbLimit?: string;
}

const COLUMNS: readonly Column<NetworkView>[] = [
  { title: 'NAME', value: ({ name }) => name },
  { title: 'SUBNETS', value: ({ subnets }) => list(subnets) },
  { title: 'MTU', value: ({ mtu }) => mtu },
  { title: 'INTERNAL', value: ({ internal }) => yesNo(internal) },
  { title: 'UPLINK', value: ({ uplink }) => uplink ?? '-' },
  { title: 'ENDPOINTS', value: ({ endpoints }) => endpoints.length },
];

/** The body of POST /v1/networks: only what the user gave, so that defaults stay in one place. */
function networkBody(name: string, options: CreateOptions): Record<string, unknown> {
  return {
    name,
    subnets: options.subnet ?? [],
    ...(options.gateway === undefined ? {} : { gateways: options.gateway }),
    ...(options.mtu === undefined ? {} : { mtu: numeric(options.mtu) }),
    ...(options.internal === true ? { internal: true } : {}),
    ...(options.isolated === true ? { isolated: true } : {}),
    ...(options.masquerade ? {} : { masquerade: false }),
    ...(options.ageing === undefined ? {} : { ageing: numeric(options.ageing) }),
    ...(options.fdbLimit === undefined ? {} : { fdb_limit: numeric(options.fdbLimit) }),
  };
}

export function networkPath(name: string): string {
  return `/v1/networks/${encodeURIComponent(name)}`;
}

function registerCreate(network: Command, context: Context): void {
  withJson(withSocket(network.command('create')))
    .argument('<name>')
    .description('make a network')
    .requiredOption('--subnet <subnet>', 'subnet, such as 172.30.0.0/24 or fd00:30::/64 (repeatable)', collect)
    .option('--gateway <address>', "the router's address in a subnet; the first unless given (repeatable)", collect)
    .option('--mtu <bytes>', 'MTU of its endpoints (default: 1500)')
    .option('--internal', 'no way out')
    .option('--isolated', 'endpoints reach the gateway, not each other')
    .option('--no-masquerade', 'leave the source addresses of what goes out as they are')
    .option('--ageing <seconds>', 'how long an idle MAC is remembered (default: 300)')
    .option('--fdb-limit <entries>', 'MACs it may learn (default: 16384)')
    .addHelpText('after', '\nExample:\n  tapline network create blue --subnet 172.30.0.0/24 --subnet fd00:30::/64')
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const created = await clientOf(command, context).post<NetworkView>('/v1/networks', networkBody(name, options));
      if (wantsJson(command)) printJson(context, created);
      else context.stdout.write(`${created.name}\n`);
    });
}

function registerList(network: Command, context: Context): void {
  withJson(withSocket(network.command('ls')))
    .alias('list')
    .description('list networks')
    .action(async (_options: unknown, command: Command) => {
      const networks = await clientOf(command, context).get<NetworkView[]>('/v1/networks');
      if (wantsJson(command)) printJson(context, networks);
      else context.stdout.write(formatTable(COLUMNS, networks));
    });
}

function registerInspect(network: Command, context: Context): void {
  withJson(withSocket(network.command('inspect')))
    .argument('<network>')
    .description('show one network')
    .action(async (name: string, _options: unknown, command: Command) => {
      const view = await clientOf(command, context).get<NetworkView>(networkPath(name));
      if (wantsJson(command)) printJson(context, view);
      else context.stdout.write(formatNetwork(view));
    });
}

function formatNetwork(view: NetworkView): string {
  return formatRecord({
    name: view.name,
    state: view.state,
    subnets: list(view.subnets),
    gateways: list(view.gateways),
    mtu: view.mtu,
    internal: yesNo(view.internal),
    isolated: yesNo(view.isolated),
    masquerade: yesNo(view.masquerade),
    ageing: `${view.ageing} s`,
    'fdb limit': view.fdb_limit,
    uplink: view.uplink ?? '-',
    endpoints: list(view.endpoints),
  });
}

function registerRemove(network: Command, context: Context): void {
  withJson(withSocket(network.command('rm')))
    .alias('remove')
    .argument('<network...>')
    .description('remove networks')
    .option('--force', 'also disconnect the endpoints that are still attached')
    .action(async (names: string[], options: { force?: boolean }, command: Command) => {
      const client = clientOf(command, context);
      const query = options.force === true ? { force: true } : {};
      await removeEach(names, (name) => client.delete(networkPath(name), query), wantsJson(command), context);
    });
}

export function registerNetwork(program: Command, context: Context): void {
  const network = program.command('network').description('create, list, inspect and remove networks');
  for (const register of [registerCreate, registerList, registerInspect, registerRemove]) register(network, context);
}
