/** `tapline show conntrack|nat`: connections, and what address translation has used up. */

import type { Command } from 'commander';
import type { FlowsView, FlowView, TupleView } from '../control/flow-views.js';
import type { ExternalView, NatMappingsView, NatMappingView, NatView, OwnerView } from '../control/nat-views.js';
import type { ApiClient } from './client.js';
import { type Context, numeric, usageError, withJson, withSocket } from './context.js';
import { type FlowOptions, flowRequest, withFlowOptions } from './flow-options.js';
import { showListing, type WatchOptions, withWatch } from './listing.js';
import { type Column, formatRecord, formatTable, list } from './output.js';

const FLOWS: readonly Column<FlowView>[] = [
  { title: 'PROTO', value: ({ proto }) => proto },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'FROM', value: ({ from }) => from },
  { title: 'ORIGINAL', value: ({ original }) => tupleText(original) },
  { title: 'REPLY', value: ({ translated, reply }) => (translated ? tupleText(reply) : '-') },
  { title: 'EXPIRES', value: ({ expiresSeconds }) => `${expiresSeconds} s` },
  { title: 'FLAGS', value: ({ flags }) => list(flags) },
  { title: 'RULE', value: ({ rule }) => rule ?? '-' },
  { title: 'SERVICE', value: ({ service, backend }) => (backend === null ? '-' : `${service} ${backend}`) },
];

function tupleText({ source, destination, sourcePort, destinationPort, id }: TupleView): string {
  const ends = `${withPort(source, sourcePort)} -> ${withPort(destination, destinationPort)}`;
  return id === null ? ends : `${ends} id ${id}`;
}

function withPort(address: string, port: number | null): string {
  if (port === null) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

const EXTERNALS: readonly Column<ExternalView>[] = [
  { title: 'EXTERNAL', value: ({ address }) => address },
  { title: 'VRF', value: ({ vrf }) => vrf },
  { title: 'PROTO', value: ({ proto }) => proto },
  { title: 'USED', value: ({ used }) => used },
  { title: 'FREE', value: ({ free }) => free },
  { title: 'PUBLISHED', value: ({ reserved }) => reserved },
  { title: 'BLOCKS', value: ({ blocks }) => blocks },
];

const OWNERS: readonly Column<OwnerView>[] = [
  { title: 'FROM', value: ({ name }) => name },
  { title: 'CONNECTIONS', value: ({ flows }) => flows },
];

const MAPPINGS: readonly Column<NatMappingView>[] = [
  { title: 'PROTO', value: ({ proto }) => proto },
  { title: 'INTERNAL', value: ({ internal, internalPort }) => withPort(internal, internalPort) },
  { title: 'EXTERNAL', value: ({ external, externalPort }) => withPort(external, externalPort) },
  { title: 'VRF', value: ({ vrf }) => vrf },
  { title: 'FROM', value: ({ owner }) => owner },
  { title: 'CONNECTIONS', value: ({ flows }) => flows },
  { title: 'SHARED', value: ({ exclusive }) => (exclusive ? 'no' : 'yes') },
];

function natText(view: NatView): string {
  const { mapping, filtering, ports, port_block, alg, flows, flows_per_endpoint, exhausted, externals } = view;
  const head = formatRecord({
    mapping,
    filtering,
    ports,
    'port block': port_block === 0 ? 'none' : port_block,
    alg: list(alg),
    connections: `${flows.used} of ${flows.max}, ${flows_per_endpoint} an endpoint`,
    'table full': `${flows.full} times, ${flows.evicted} connections made room`,
    'ports exhausted': `${exhausted} connections refused`,
  });
  const used = externals.length === 0 ? '' : `\n${formatTable(EXTERNALS, externals)}`;
  const owners = view.endpoints.length === 0 ? '' : `\n${formatTable(OWNERS, view.endpoints)}`;
  return `${head}${used}${owners}`;
}

interface Listing extends WatchOptions {
  readonly limit?: string;
}

/** @param lines how many of them, with what they are: "1000 connections" */
function moreLine(more: boolean, lines: string): string {
  return more ? `${lines} shown, there are more: --limit shows up to 100000\n` : '';
}

function withListing(command: Command): Command {
  return withWatch(command.option('--limit <number>', 'show so many at most; 1000 unless given'));
}

function limitOf({ limit }: Listing): { limit?: string | number } {
  return limit === undefined ? {} : { limit: numeric(limit) };
}

const CONNTRACK_HELP = `
ORIGINAL is what the first packet had; REPLY, where something is translated, what answers have as they come in.

Examples:
  tapline show conntrack --endpoint a --state established
  tapline show conntrack --service web
  tapline show conntrack --proto udp --dst 10.0.0.0/8 --watch`;

function registerConntrack(show: Command, context: Context): void {
  const format = ({ flows, more }: FlowsView): string =>
    `${formatTable(FLOWS, flows)}${moreLine(more, `${flows.length} connections`)}`;
  withListing(withFlowOptions(withJson(withSocket(show.command('conntrack')))))
    .description('connections that are tracked')
    .addHelpText('after', CONNTRACK_HELP)
    .action(async (options: FlowOptions & Listing, command: Command) => {
      const query = { ...flowRequest(options), ...limitOf(options) };
      await showListing(command, context, options, (client) => client.get<FlowsView>('/v1/conntrack', query), format);
    });
}

function registerNat(show: Command, context: Context): void {
  const mappingsText = ({ mappings, more }: NatMappingsView): string =>
    `${formatTable(MAPPINGS, mappings)}${moreLine(more, `${mappings.length} mappings`)}`;
  withListing(withJson(withSocket(show.command('nat'))))
    .description('address translation: how it is set, ports and connections used')
    .option('--mappings', 'the mappings: which internal address and port has which external ones')
    .action(async (options: Listing & { mappings?: boolean }, command: Command) => {
      if (options.mappings === true) {
        const ask = (client: ApiClient) => client.get<NatMappingsView>('/v1/nat/mappings', limitOf(options));
        return showListing(command, context, options, ask, mappingsText);
      }
      if (options.limit !== undefined) throw usageError('--limit: expected with --mappings');
      await showListing(command, context, options, (client) => client.get<NatView>('/v1/nat'), natText);
    });
}

export function registerShowNat(show: Command, context: Context): void {
  registerConntrack(show, context);
  registerNat(show, context);
}
