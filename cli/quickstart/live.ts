/** `tapline quickstart` on a terminal: the topology, what to try next, and the traffic, until Ctrl-C. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusView } from '../../control/api.js';
import type { ServiceView } from '../../control/service-views.js';
import type { DropsView, EndpointView, FdbView, NetworkView, PortView } from '../../control/views.js';
import type { Context } from '../context.js';
import { type FittingColumn, fitTable } from './fit.js';
import { hints } from './hints.js';
import { addressOf, DEPOT, SERVER } from './hosts.js';
import type { Lab } from './lab.js';
import { formatRate, rates, type Traffic } from './rates.js';
import { Screen } from './screen.js';
import type { Switch } from './switch.js';
import { type HostView, topology } from './topology.js';

const INTERVAL_MS = 1000;

interface Row extends Traffic {
  readonly addresses: string;
}

const COLUMNS: readonly FittingColumn<Row>[] = [
  { title: 'PORT', value: ({ port }) => port, expendable: 0 },
  { title: 'RX FRAMES/S', value: ({ rxFrames }) => formatRate(rxFrames).padStart(11), expendable: 0 },
  { title: 'RX BIT/S', value: ({ rxBits }) => formatRate(rxBits).padStart(8), expendable: 2 },
  { title: 'TX FRAMES/S', value: ({ txFrames }) => formatRate(txFrames).padStart(11), expendable: 0 },
  { title: 'TX BIT/S', value: ({ txBits }) => formatRate(txBits).padStart(8), expendable: 2 },
  { title: 'DROPS', value: ({ drops }) => drops, expendable: 1 },
  { title: 'ADDRESSES', value: ({ addresses }) => addresses, expendable: 3 },
];

/** A reading of everything that is shown, and when it was taken, in seconds of a clock that only goes forward. */
interface Reading {
  readonly seconds: number;
  readonly ports: readonly PortView[];
  readonly endpoints: readonly EndpointView[];
  readonly drops: DropsView;
  readonly fdb: readonly FdbView[];
}

async function read(lab: Lab): Promise<Reading> {
  const { client } = lab;
  const [ports, endpoints, drops, fdb] = await Promise.all([
    client.get<PortView[]>('/v1/ports'),
    client.get<EndpointView[]>('/v1/endpoints'),
    client.get<DropsView>('/v1/drops'),
    client.get<FdbView[]>('/v1/fdb'),
  ]);
  return { seconds: Number(process.hrtime.bigint()) / 1e9, ports, endpoints, drops, fdb };
}

function traffic(before: Reading, now: Reading, width: number): string[] {
  const addresses = new Map(now.endpoints.map((endpoint) => [endpoint.name, endpoint.addresses.join(' ')]));
  const rows = rates(before.ports, now.ports, now.seconds - before.seconds).map((row) => ({
    ...row,
    addresses: addresses.get(row.port) ?? '-',
  }));
  const { received, originated, copies, delivered, local, drops } = now.drops;
  const dropped = drops.reduce((total, { rx, tx }) => total + rx + tx, 0);
  const totals = `${received} frames received, ${originated} made here, ${copies} copied, ${delivered} delivered, ${local} taken in, ${dropped} dropped`;
  return [
    ...fitTable(COLUMNS, rows, width),
    '',
    `${totals}; ${now.fdb.length} MACs known`.slice(0, width),
    'Ctrl-C ends and removes everything'.slice(0, width),
  ];
}

async function showTraffic(lab: Lab, screen: Screen): Promise<never> {
  let before = await read(lab);
  for (;;) {
    await sleep(INTERVAL_MS, undefined, { signal: lab.signal });
    const now = await read(lab);
    screen.draw(traffic(before, now, screen.columns));
    before = now;
  }
}

async function viewOf({ client }: Switch): Promise<HostView> {
  const [status, networks, endpoints, services] = await Promise.all([
    client.get<StatusView>('/v1/status'),
    client.get<NetworkView[]>('/v1/networks'),
    client.get<EndpointView[]>('/v1/endpoints'),
    client.get<ServiceView[]>('/v1/services'),
  ]);
  return { status, networks, endpoints, services };
}

/** Starts the lab and shows it until the signal is aborted. @throws TaplineError when the daemon or a container ends by itself */
export async function runLive(lab: Lab, context: Context): Promise<void> {
  await lab.start();
  const screen = new Screen(context);
  const { first, second } = lab;
  screen.print(topology('first host', await viewOf(first), first.wire, screen.columns));
  screen.print(topology('second host', await viewOf(second), second.wire, screen.columns));
  const [server, depot] = [SERVER, DEPOT].map((name) => addressOf(lab.endpoint(name), 4)) as [string, string];
  screen.print(hints({ first: first.socket, second: second.socket }, { server, depot }, context.env));
  try {
    await lab.orEnd(showTraffic(lab, screen));
  } finally {
    screen.close();
  }
}
