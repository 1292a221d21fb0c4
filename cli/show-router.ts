/** `tapline show route|neigh|vrf`: what the router knows. */

import type { Command } from 'commander';
import type { NeighborView, RouteView, VrfView } from '../control/router-views.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatTable, list, printJson, yesNo } from './output.js';

interface Filter {
  readonly vrf?: string;
  readonly network?: string;
  readonly all?: boolean;
}

const ROUTES: readonly Column<RouteView>[] = [
  { title: 'VRF', value: ({ vrf }) => vrf },
  { title: 'PREFIX', value: ({ prefix }) => prefix },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'VIA', value: viaText },
  { title: 'INTERFACE', value: ({ hops }) => list([...new Set(hops.map((hop) => hop.interface))]) },
  { title: 'METRIC', value: ({ metric }) => metric ?? '-' },
  { title: 'SOURCE', value: ({ source }) => source },
  { title: 'STATE', value: ({ state, reason }) => (reason === '' ? state : `${state}: ${reason}`) },
];

/** The next hops that are in use; of an inactive route, those that it waits for. */
function viaText({ hops, via }: RouteView): string {
  const used = hops.flatMap((hop) => hop.via ?? []);
  return list(used.length > 0 ? used : via);
}

const NEIGHBORS: readonly Column<NeighborView>[] = [
  { title: 'ADDRESS', value: ({ address }) => address },
  { title: 'INTERFACE', value: (neighbor) => neighbor.interface },
  { title: 'VRF', value: ({ vrf }) => vrf },
  { title: 'MAC', value: ({ mac }) => mac ?? '-' },
  { title: 'STATE', value: ({ state, router }) => (router ? `${state}, router` : state) },
  { title: 'AGE', value: ({ ageSeconds }) => `${Math.floor(ageSeconds)} s` },
  { title: 'WAITING', value: ({ waiting }) => waiting },
];

const VRFS: readonly Column<VrfView>[] = [
  { title: 'VRF', value: ({ name }) => name },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'INTERCONNECT', value: ({ interconnect }) => yesNo(interconnect) },
  { title: 'ROUTES', value: ({ routes }) => routes },
  { title: 'PREFIXES', value: ({ prefixes }) => prefixes },
  { title: 'INTERFACES', value: ({ interfaces }) => list(interfaces) },
];

/** Own addresses and broadcast addresses are many and say little; `ip route` leaves them out as well. */
function routeTable(routes: readonly RouteView[], { all }: Filter): string {
  return formatTable(ROUTES, all === true ? routes : routes.filter(({ source }) => source !== 'local'));
}

interface Table<T> {
  readonly name: string;
  readonly path: string;
  readonly what: string;
  readonly format: (rows: readonly T[], filter: Filter) => string;
}

function register<T>(show: Command, context: Context, { name, path, what, format }: Table<T>): Command {
  return withJson(withSocket(show.command(name)))
    .description(what)
    .action(async (filter: Filter, command: Command) => {
      const { vrf, network } = filter;
      const rows = await clientOf(command, context).get<T[]>(path, { vrf, network });
      if (wantsJson(command)) printJson(context, rows);
      else context.stdout.write(format(rows, filter));
    });
}

function withFilter(command: Command): Command {
  return command
    .option('--vrf <vrf>', 'only of this VRF')
    .option('--network <network>', 'only of the gateway of this network');
}

export function registerShowRouter(show: Command, context: Context): void {
  const route: Table<RouteView> = {
    name: 'route',
    path: '/v1/routes',
    what: 'routes, and why some are inactive',
    format: routeTable,
  };
  const neighbors = (rows: readonly NeighborView[]): string => formatTable(NEIGHBORS, rows);
  const neigh: Table<NeighborView> = {
    name: 'neigh',
    path: '/v1/neighbors',
    what: 'which address has which MAC',
    format: neighbors,
  };
  const vrfs = (rows: readonly VrfView[]): string => formatTable(VRFS, rows);
  const vrf: Table<VrfView> = { name: 'vrf', path: '/v1/vrfs', what: 'VRFs with their interfaces', format: vrfs };
  withFilter(register(show, context, route)).option('--all', 'also own addresses and broadcast addresses');
  withFilter(register(show, context, neigh));
  register(show, context, vrf);
}
