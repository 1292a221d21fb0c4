/** `tapline mirror`: copies of what passes on a port, a network or the uplink, sent to an endpoint. */

import { type Command, Option } from 'commander';
import type { MirrorView } from '../control/mirrors.js';
import { type Context, clientOf, usageError, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatTable, printJson, removeEach } from './output.js';

interface CreateOptions {
  readonly from?: string;
  readonly fromNetwork?: string;
  readonly fromUplink?: boolean;
  readonly to: string;
  readonly direction?: string;
}

export const MIRRORS: readonly Column<MirrorView>[] = [
  { title: 'MIRROR', value: ({ name }) => name },
  { title: 'FROM', value: sourceText },
  { title: 'TO', value: ({ to }) => to },
  { title: 'DIRECTION', value: ({ direction }) => direction },
  { title: 'STATE', value: ({ state, reason }) => (reason === '' ? state : `${state}: ${reason}`) },
];

function sourceText({ from }: MirrorView): string {
  if (from.endpoint !== undefined) return from.endpoint;
  return from.network === undefined ? 'uplink' : `network ${from.network}`;
}

/** @throws ExitError unless exactly one source is given */
function sourceOf({ from, fromNetwork, fromUplink }: CreateOptions): MirrorView['from'] {
  const sources = [
    ...(from === undefined ? [] : [{ endpoint: from }]),
    ...(fromNetwork === undefined ? [] : [{ network: fromNetwork }]),
    ...(fromUplink === true ? [{ uplink: true as const }] : []),
  ];
  const [source] = sources;
  if (source === undefined || sources.length > 1)
    throw usageError('expected exactly one of --from, --from-network, --from-uplink');
  return source;
}

const EXAMPLES = `
"in" are frames that come from the source, "out" those that go to it. A mirror of a network has each frame of it; what the
target itself sends is never sent back to it. A mirror waits while one of its sides is away.

Examples:
  tapline mirror create spy --from c1 --to ids
  tapline mirror create all --from-network blue --to ids --direction in
  tapline run --network blue --name ids -- tcpdump -ni eth0`;

function registerCreate(mirror: Command, context: Context): void {
  withJson(withSocket(mirror.command('create')))
    .argument('<name>')
    .description('make a mirror')
    .option('--from <endpoint>', 'endpoint whose frames are copied')
    .option('--from-network <network>', 'network whose frames are copied')
    .option('--from-uplink', 'copy what passes on the uplink')
    .requiredOption('--to <endpoint>', 'endpoint that gets the copies')
    .addOption(new Option('--direction <direction>', 'which frames (default: both)').choices(['in', 'out', 'both']))
    .addHelpText('after', EXAMPLES)
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const { to, direction } = options;
      const body = { name, from: sourceOf(options), to, ...(direction === undefined ? {} : { direction }) };
      const created = await clientOf(command, context).post<MirrorView>('/v1/mirrors', body);
      if (wantsJson(command)) printJson(context, created);
      else context.stdout.write(`${created.name}\n`);
    });
}

function registerList(mirror: Command, context: Context): void {
  withJson(withSocket(mirror.command('ls')))
    .alias('list')
    .description('list mirrors')
    .action(async (_options: unknown, command: Command) => {
      const mirrors = await clientOf(command, context).get<MirrorView[]>('/v1/mirrors');
      if (wantsJson(command)) printJson(context, mirrors);
      else context.stdout.write(formatTable(MIRRORS, mirrors));
    });
}

function registerRemove(mirror: Command, context: Context): void {
  withJson(withSocket(mirror.command('rm')))
    .alias('remove')
    .argument('<mirror...>')
    .description('remove mirrors')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const client = clientOf(command, context);
      const remove = (name: string): Promise<void> => client.delete(`/v1/mirrors/${encodeURIComponent(name)}`);
      await removeEach(names, remove, wantsJson(command), context);
    });
}

export function registerMirror(program: Command, context: Context): void {
  const mirror = program.command('mirror').description('create, list and remove mirrors');
  for (const register of [registerCreate, registerList, registerRemove]) register(mirror, context);
}
