/** `tapline show ports|endpoints|fdb|drops`: what the daemon and its dataplane hold. */

import type { Command } from 'commander';
import type { DropsView, DropView, EndpointView, FdbView, PortView } from '../control/views.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatTable, list, printJson } from './output.js';

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

const PORTS: readonly Column<PortView>[] = [
  { title: 'PORT', value: ({ name }) => name },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'RX-PACKETS', value: ({ rxPackets }) => rxPackets },
  { title: 'RX-BYTES', value: ({ rxBytes }) => rxBytes },
  { title: 'RX-DROPS', value: ({ rxDrops }) => sum(rxDrops) },
  { title: 'TX-PACKETS', value: ({ txPackets }) => txPackets },
  { title: 'TX-BYTES', value: ({ txBytes }) => txBytes },
  { title: 'TX-DROPS', value: ({ txDrops }) => sum(txDrops) },
];

const ENDPOINTS: readonly Column<EndpointView>[] = [
  { title: 'ENDPOINT', value: ({ name }) => name },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'INTERFACE', value: (endpoint) => endpoint.interface },
  { title: 'ADDRESSES', value: ({ addresses }) => list(addresses) },
  { title: 'MAC', value: ({ mac }) => mac },
  { title: 'TARGET', value: targetOf },
];

function targetOf({ container, netns, pid }: EndpointView): string {
  return container ?? netns ?? `pid ${pid}`;
}

const FDB: readonly Column<FdbView>[] = [
  { title: 'MAC', value: ({ mac }) => mac },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'PORT', value: ({ port }) => port },
  { title: 'AGE', value: (entry) => (entry.static ? 'static' : `${Math.floor(entry.ageSeconds)} s`) },
];

const DROPS: readonly Column<DropView>[] = [
  { title: 'REASON', value: ({ reason }) => reason },
  { title: 'RX', value: ({ rx }) => rx },
  { title: 'TX', value: ({ tx }) => tx },
  { title: 'MEANING', value: ({ text }) => text },
];

const PORT_DROPS: readonly Column<DropView & { port: string }>[] = [
  { title: 'PORT', value: ({ port }) => port },
  ...DROPS,
];

function formatDrops(view: DropsView): string {
  const { received, copies, delivered } = view;
  const head = `received ${received}, copied by flooding ${copies}, delivered ${delivered}\n`;
  if (view.drops.length === 0) return `${head}nothing dropped\n`;
  const rows = view.ports.flatMap(({ port, drops }) => drops.map((drop) => ({ ...drop, port })));
  const ports = rows.length === 0 ? '' : `\n${formatTable(PORT_DROPS, rows)}`;
  return `${head}\n${formatTable(DROPS, view.drops)}${ports}`;
}

function register<T>(
  show: Command,
  context: Context,
  name: string,
  what: string,
  format: (value: T) => string,
): Command {
  return withJson(withSocket(show.command(name)))
    .description(what)
    .action(async (options: { network?: string }, command: Command) => {
      const value = await clientOf(command, context).get<T>(`/v1/${name}`, { network: options.network });
      if (wantsJson(command)) printJson(context, value);
      else context.stdout.write(format(value));
    });
}

export function registerShow(program: Command, context: Context): void {
  const show = program.command('show').description('show ports, endpoints, learned MACs and drops');
  register<PortView[]>(show, context, 'ports', 'ports with their counters', (ports) => formatTable(PORTS, ports));
  register<EndpointView[]>(show, context, 'endpoints', 'endpoints with their addresses', (rows) =>
    formatTable(ENDPOINTS, rows),
  );
  register<FdbView[]>(show, context, 'fdb', 'which MAC is behind which port', (rows) => formatTable(FDB, rows)).option(
    '--network <network>',
    'only of this network',
  );
  register<DropsView>(show, context, 'drops', 'dropped frames by reason, in total and by port', formatDrops);
}
