/** `tapline route add|rm`: static routes of the router, as iproute2 says them. */

import type { Command } from 'commander';
import type { RouteView } from '../control/router-views.js';
import { type Context, clientOf, collect, numeric, usageError, wantsJson, withJson, withSocket } from './context.js';
import { printJson } from './output.js';

interface RouteOptions {
  readonly via?: string[];
  readonly vrf?: string;
  readonly metric?: string;
}

const TYPES: readonly string[] = ['blackhole', 'unreachable', 'prohibit'];
const TARGET = 'via ADDRESS, blackhole, unreachable or prohibit';

/** Only what the user gave. */
function given({ vrf, metric }: RouteOptions): Record<string, string | number> {
  return {
    ...(vrf === undefined ? {} : { vrf }),
    ...(metric === undefined ? {} : { metric: numeric(metric) }),
  };
}

/**
 * The words behind the prefix: `via ADDRESS`, once or several times, or a type.
 *
 * @throws ExitError
 */
function targetOf(words: readonly string[], more: readonly string[]): Record<string, unknown> {
  const [type = '', ...rest] = words;
  if (TYPES.includes(type)) {
    if (rest.length > 0 || more.length > 0) throw usageError(`nothing comes behind ${type}, got ${rest[0] ?? more[0]}`);
    return { type };
  }
  const hops: string[] = [];
  for (let i = 0; i < words.length; i += 2) {
    const hop = words[i + 1];
    if (words[i] !== 'via') throw usageError(`expected ${TARGET}, got ${words[i]}`);
    if (hop === undefined) throw usageError('expected an address behind via');
    hops.push(hop);
  }
  const via = [...hops, ...more];
  if (via.length === 0) throw usageError(`expected ${TARGET} behind the prefix`);
  return { via: via.length === 1 ? via[0] : via };
}

/** `default` is what leads everywhere, in the family of the next hop; without one, IPv4's, as `ip route` has it. */
function prefixOf(prefix: string, via?: unknown): string {
  if (prefix !== 'default') return prefix;
  return String(via).includes(':') ? '::/0' : '0.0.0.0/0';
}

const ADD_HELP = `
Of several next hops the flow decides; of several routes to one prefix, the lowest metric that works is taken. A route whose
next hop is on no link right now waits, inactive, until one comes. Link-local next hops say whose: fe80::1%uplink.

Examples:
  tapline route add 10.9.0.0/16 via 10.77.0.254
  tapline route add default via 10.77.0.254 --via 10.77.0.253
  tapline route add fd00:9::/48 via fe80::1%uplink --metric 50
  tapline route add 10.66.0.0/16 blackhole --vrf lab`;

function registerAdd(route: Command, context: Context): void {
  withJson(withSocket(route.command('add')))
    .argument('<prefix>')
    .argument('[target...]', TARGET)
    .description('add a route')
    .option('--via <address>', 'next hop; another way to say it (repeatable)', collect)
    .option('--vrf <vrf>', 'VRF of the route (default: default)')
    .option('--metric <metric>', 'the lowest is taken (default: 100)')
    .addHelpText('after', ADD_HELP)
    .action(async (prefix: string, words: string[], options: RouteOptions, command: Command) => {
      const target = targetOf(words, options.via ?? []);
      const body = { to: prefixOf(prefix, target.via), ...target, ...given(options) };
      const added = await clientOf(command, context).post<RouteView>('/v1/routes', body);
      if (wantsJson(command)) printJson(context, added);
      else context.stdout.write(`${added.prefix}${added.reason === '' ? '' : ` (inactive: ${added.reason})`}\n`);
    });
}

function registerRemove(route: Command, context: Context): void {
  withJson(withSocket(route.command('rm')))
    .alias('remove')
    .argument('<static-route>')
    .description('remove a static route')
    .option('--vrf <vrf>', 'VRF of the route (default: default)')
    .option('--metric <metric>', 'metric, where there are several routes to the prefix')
    .addHelpText('after', '\nExamples:\n  tapline route rm 10.9.0.0/16\n  tapline route rm default')
    .action(async (argument: string, options: RouteOptions, command: Command) => {
      const prefix = prefixOf(argument);
      await clientOf(command, context).delete('/v1/routes', { prefix, ...given(options) });
      if (wantsJson(command)) printJson(context, { prefix });
      else context.stdout.write(`${prefix}\n`);
    });
}

export function registerRoute(program: Command, context: Context): void {
  const route = program.command('route').description('add and remove routes of the router');
  for (const register of [registerAdd, registerRemove]) register(route, context);
}
