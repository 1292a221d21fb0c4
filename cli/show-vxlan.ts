/** `tapline show vxlan`: the networks that span hosts, and what passes between this host and each of the others. */

import type { Command } from 'commander';
import type { OverlayView, VtepView } from '../control/vxlan/views.js';
import { type Context, withJson, withSocket } from './context.js';
import { showListing, type WatchOptions, withWatch } from './listing.js';
import { type Column, formatTable, sum } from './output.js';
import { duration } from './show-services.js';

const VTEPS: readonly Column<VtepView>[] = [
  { title: 'VTEP', value: ({ address }) => address },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'FLOODS', value: ({ floods }) => (floods ? 'yes' : 'no') },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'HEARD', value: ({ heardSeconds }) => (heardSeconds === null ? 'never' : duration(heardSeconds * 1000)) },
  { title: 'MTU', value: ({ mtu }) => (mtu === 0 ? '-' : mtu) },
  { title: 'FDB', value: ({ fdbEntries }) => fdbEntries },
  { title: 'PACKETS-IN', value: ({ rxPackets }) => rxPackets },
  { title: 'BYTES-IN', value: ({ rxBytes }) => rxBytes },
  { title: 'PACKETS-OUT', value: ({ txPackets }) => txPackets },
  { title: 'BYTES-OUT', value: ({ txBytes }) => txBytes },
  { title: 'DROPS', value: ({ drops }) => sum(drops) },
  { title: 'WHY', value: ({ why }) => (why === '' ? '-' : why) },
];

/** `up`, or `down: 10.77.0.1 is no address of uplink up0`. */
export function overlayState({ state, why }: Pick<OverlayView, 'state' | 'why'>): string {
  return why === '' ? state : `${state}: ${why}`;
}

/** What the network's own VTEP is: `VNI 42, 10.77.0.1 port 4789, group 239.1.1.1, MTU 1450`. */
export function overlayText({ vni, local, port, group, mtu, learning, open }: OverlayView): string {
  return [
    `VNI ${vni}`,
    `${local} port ${port}`,
    ...(group === null ? [] : [`group ${group}`]),
    `MTU ${mtu}`,
    ...(learning ? [] : ['not learning']),
    ...(open ? ['open'] : []),
  ].join(', ');
}

function networkText(view: OverlayView): string {
  const head = `${view.network}: ${overlayText(view)}, ${overlayState(view)}\n`;
  return `${head}${view.vteps.length === 0 ? 'no VTEPs\n' : formatTable(VTEPS, view.vteps)}`;
}

const HELP = `
A VTEP is the other end of a tunnel: one that floods gets what every member of the network is to get, one that does not only what is for
the MACs behind it. HEARD is how long ago the last packet came from there, MTU the largest packet of an endpoint that fits, FDB how many
MACs are behind it, WHY the reason of a state other than up.

Examples:
  tapline show vxlan
  tapline show vxlan --network blue --watch`;

export function registerShowVxlan(show: Command, context: Context): void {
  withWatch(withJson(withSocket(show.command('vxlan'))))
    .description('networks over several hosts: their VTEPs, how they are, what they get')
    .option('--network <network>', 'only this network')
    .addHelpText('after', HELP)
    .action(async ({ network, ...options }: WatchOptions & { network?: string }, command: Command) => {
      const format = (overlays: OverlayView[]): string =>
        overlays.length === 0 ? 'no network has vxlan\n' : overlays.map(networkText).join('\n');
      await showListing<OverlayView[]>(
        command,
        context,
        options,
        (client) => client.get('/v1/vxlan', { network }),
        format,
      );
    });
}
