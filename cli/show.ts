/** `tapline show ports|endpoints|fdb|route|neigh|vrf|services|vxlan|vlan|mdb|security|mirrors|drops`: what the daemon and its dataplane hold. */

import type { Command } from 'commander';
import type { MirrorView } from '../control/mirrors.js';
import type { DropsView, DropView, EndpointView, FdbView, MdbView, PortView, SecurityView } from '../control/views.js';
import type { VlanView } from '../control/vlan-views.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { MIRRORS } from './mirror.js';
import { type Column, formatTable, list, printJson, sum } from './output.js';
import { registerShowNat } from './show-nat.js';
import { registerShowRouter } from './show-router.js';
import { registerShowServices } from './show-services.js';
import { registerShowVxlan } from './show-vxlan.js';

const PORTS: readonly Column<PortView>[] = [
  { title: 'PORT', value: ({ name }) => name },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'VLAN', value: ({ vlan }) => (vlan === null ? '-' : vlan.tagged === '' ? String(vlan.native) : 'trunk') },
  { title: 'SECURITY', value: ({ security }) => security ?? '-' },
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

const VLANS: readonly Column<VlanView>[] = [
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'VLAN', value: ({ vlan }) => vlan },
  { title: 'UNTAGGED', value: ({ untagged }) => list(untagged) },
  { title: 'TAGGED', value: ({ tagged }) => list(tagged) },
];

const MDB: readonly Column<MdbView>[] = [
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'VLAN', value: ({ vlan }) => vlan ?? '-' },
  { title: 'GROUP', value: ({ group }) => group },
  { title: 'PORTS', value: ({ ports }) => list(ports.map(memberText)) },
];

function memberText({ port, expires }: MdbView['ports'][number]): string {
  return expires === null ? port : `${port} (${Math.ceil(expires)} s)`;
}

const SECURITY: readonly Column<SecurityView>[] = [
  { title: 'ENDPOINT', value: ({ endpoint }) => endpoint },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'SECURITY', value: ({ level }) => level },
  { title: 'ISOLATION', value: isolationText },
  { title: 'MACS', value: ({ macs }) => list(macs) },
  { title: 'LEARNED', value: ({ learnedMacs, mac_limit }) => `${learnedMacs} of ${mac_limit}` },
  { title: 'ADDRESSES', value: ({ addresses }) => list(addresses) },
  { title: 'VIOLATIONS', value: ({ violations }) => violationText(violations) },
];

function isolationText({ isolated, isolation_group }: SecurityView): string {
  return isolation_group === null ? (isolated ? 'isolated' : '-') : `group ${isolation_group}`;
}

function violationText(violations: Readonly<Record<string, number>>): string {
  return list(Object.entries(violations).map(([reason, count]) => `${reason}:${count}`));
}

const FDB: readonly Column<FdbView>[] = [
  { title: 'MAC', value: ({ mac }) => mac },
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'VLAN', value: ({ vlan }) => vlan ?? '-' },
  { title: 'PORT', value: ({ port, vtep }) => (vtep === null ? port : `vtep ${vtep}`) },
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
  const { received, originated, copies, local, delivered } = view;
  const head = `received ${received}, made here ${originated}, copied by flooding ${copies}, delivered ${delivered}, taken in ${local}\n`;
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

/** A table whose rows belong to networks. */
function registerTable<T>(
  show: Command,
  context: Context,
  name: string,
  what: string,
  columns: readonly Column<T>[],
): void {
  register<T[]>(show, context, name, what, (rows) => formatTable(columns, rows)).option(
    '--network <network>',
    'only of this network',
  );
}

export function registerShow(program: Command, context: Context): void {
  const show = program
    .command('show')
    .description(
      'show ports, endpoints, learned MACs, routes, neighbors, connections, services, tunnels, VLANs, groups and drops',
    );
  register<PortView[]>(show, context, 'ports', 'ports with their counters', (ports) => formatTable(PORTS, ports));
  register<EndpointView[]>(show, context, 'endpoints', 'endpoints with their addresses', (rows) =>
    formatTable(ENDPOINTS, rows),
  );
  registerTable<FdbView>(show, context, 'fdb', 'which MAC is behind which port', FDB);
  registerShowRouter(show, context);
  registerShowNat(show, context);
  registerShowServices(show, context);
  registerShowVxlan(show, context);
  registerTable<VlanView>(show, context, 'vlan', 'which port is in which VLAN', VLANS);
  registerTable<MdbView>(show, context, 'mdb', 'which ports have joined which multicast group', MDB);
  registerTable<SecurityView>(show, context, 'security', 'what endpoints may send, and what they tried', SECURITY);
  register<MirrorView[]>(show, context, 'mirrors', 'mirrors and whether they run', (rows) =>
    formatTable(MIRRORS, rows),
  );
  register<DropsView>(show, context, 'drops', 'dropped frames by reason, in total and by port', formatDrops);
}
