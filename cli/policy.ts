/** `tapline policy`: the rules that say which new connections may be, in order. */

import { type Command, Option } from 'commander';
import type { PolicyRuleView } from '../control/policy.js';
import { type Context, clientOf, collect, numeric, usageError, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatTable, printJson, removeEach } from './output.js';

interface AddOptions {
  readonly from?: string;
  readonly fromNetwork?: string;
  readonly fromCidr?: string;
  readonly to?: string;
  readonly toNetwork?: string;
  readonly toCidr?: string;
  readonly proto?: string;
  readonly port?: string[];
  readonly position?: string;
}

type Match = NonNullable<PolicyRuleView['from']>;

const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6'];

export const RULES: readonly Column<PolicyRuleView>[] = [
  { title: 'RULE', value: ({ number }) => number ?? 'default' },
  { title: 'FROM', value: ({ from }) => matchText(from) },
  { title: 'TO', value: ({ to }) => matchText(to) },
  { title: 'PROTO', value: ({ proto }) => proto ?? 'any' },
  { title: 'PORTS', value: ({ ports }) => (ports.length === 0 ? 'any' : ports.join(',')) },
  { title: 'ACTION', value: ({ action }) => action },
  { title: 'HITS', value: ({ hits }) => hits },
  { title: 'STATE', value: ({ state, reason }) => (reason === '' ? state : `${state}: ${reason}`) },
];

function matchText(match: PolicyRuleView['from']): string {
  if (match == null) return 'any';
  if (match.network !== undefined) return `network ${match.network}`;
  return match.endpoint ?? match.cidr ?? 'any';
}

/**
 * What a side of the rule fits; undefined: anything.
 *
 * @throws ExitError where several are given
 */
function matchOf(side: 'from' | 'to', endpoint?: string, network?: string, cidr?: string): Match | undefined {
  const given = Object.entries({ endpoint, network, cidr }).filter(([, value]) => value !== undefined);
  if (given.length > 1) throw usageError(`expected at most one of --${side}, --${side}-network, --${side}-cidr`);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/** The body of POST /v1/policy: only what the user gave. */
function ruleBody(action: string, options: AddOptions): Record<string, unknown> {
  const { proto, port, position } = options;
  const from = matchOf('from', options.from, options.fromNetwork, options.fromCidr);
  const to = matchOf('to', options.to, options.toNetwork, options.toCidr);
  const ports = port?.flatMap((list) => list.split(',')).map(numeric);
  return {
    action,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(proto === undefined ? {} : { proto }),
    ...(ports === undefined ? {} : { ports }),
    ...(position === undefined ? {} : { position: numeric(position) }),
  };
}

const ADD_HELP = `
The first rule that fits a new connection decides about it; where none does, the network that it goes to says ("policy" of a
network, accept unless given). Answers belong to their connection and need no rule. Running connections are judged again when
the rules change. An accept lets networks of one VRF reach each other that otherwise do not. Names of endpoints and networks mean
what connections reach in the end; a prefix and its ports may also be those of a published port.

Examples:
  tapline policy add drop --from-network blue --to-cidr 10.0.0.0/8 --proto tcp --port 22
  tapline policy add accept --from web --to db --proto tcp --port 5432 --position 1
  tapline policy add reject --to-network blue`;

function registerAdd(policy: Command, context: Context): void {
  const add = withJson(withSocket(policy.command('add')));
  add
    .addArgument(add.createArgument('<action>', 'what becomes of it').choices(['accept', 'drop', 'reject']))
    .description('add a rule')
    .option('--from <endpoint>', 'endpoint that begins the connection')
    .option('--from-network <network>', 'network that it comes from')
    .option('--from-cidr <prefix>', 'addresses that it comes from')
    .option('--to <endpoint>', 'endpoint that it goes to')
    .option('--to-network <network>', 'network that it goes to')
    .option('--to-cidr <prefix>', 'addresses that it goes to')
    .addOption(new Option('--proto <protocol>', 'protocol (default: any)').choices(PROTOCOLS))
    .option('--port <port>', 'port that it goes to, a range such as 6000-6010, or a list (repeatable)', collect)
    .option('--position <number>', 'place in the list (default: behind all others)')
    .addHelpText('after', ADD_HELP)
    .action(async (action: string, options: AddOptions, command: Command) => {
      const added = await clientOf(command, context).post<PolicyRuleView>('/v1/policy', ruleBody(action, options));
      if (wantsJson(command)) printJson(context, added);
      else context.stdout.write(`${added.number}\n`);
    });
}

function registerList(policy: Command, context: Context): void {
  withJson(withSocket(policy.command('ls')))
    .alias('list')
    .description('list the rules, in order, with how many connections each has decided')
    .action(async (_options: unknown, command: Command) => {
      const rules = await clientOf(command, context).get<PolicyRuleView[]>('/v1/policy');
      if (wantsJson(command)) printJson(context, rules);
      else context.stdout.write(formatTable(RULES, rules));
    });
}

/** Numbers from the highest down, so that each still means the same when its turn comes; what is no number comes first, to be refused. */
function highestFirst(numbers: readonly string[]): string[] {
  return [...new Set(numbers)].sort((a, b) => (Number(b) || Number.MAX_VALUE) - (Number(a) || Number.MAX_VALUE));
}

function registerRemove(policy: Command, context: Context): void {
  withJson(withSocket(policy.command('rm')))
    .alias('remove')
    .argument('<rule...>')
    .description('remove rules by their numbers')
    .action(async (numbers: string[], _options: unknown, command: Command) => {
      const client = clientOf(command, context);
      const remove = (number: string): Promise<void> => client.delete(`/v1/policy/${encodeURIComponent(number)}`);
      await removeEach(highestFirst(numbers), remove, wantsJson(command), context);
    });
}

export function registerPolicy(program: Command, context: Context): void {
  const policy = program.command('policy').description('add, list and remove rules that say who talks to whom');
  for (const register of [registerAdd, registerList, registerRemove]) register(policy, context);
}
