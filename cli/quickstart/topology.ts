/** The picture of the lab: its network and what is attached to it. */

import type { StatusView } from '../../control/api.js';
import type { EndpointView, NetworkView } from '../../control/views.js';
import { type FittingColumn, fitTable } from './fit.js';
import { HOSTS } from './hosts.js';

const COLUMNS: readonly FittingColumn<EndpointView>[] = [
  { title: 'port', value: ({ name }) => name, expendable: 0 },
  { title: 'interface', value: (endpoint) => endpoint.interface, expendable: 2 },
  { title: 'addresses', value: ({ addresses }) => addresses.join(' '), expendable: 1 },
  { title: 'MAC', value: ({ mac }) => mac, expendable: 3 },
  {
    title: 'container',
    value: ({ name }) => HOSTS.find((host) => host.name === name)?.what ?? '',
    expendable: 4,
  },
];

const STEM = '  |';
const BRANCH = '  +-- ';
const BLANK = '  |   ';

export function topology(
  status: StatusView,
  network: NetworkView,
  endpoints: readonly EndpointView[],
  width: number,
): string[] {
  const [titles = '', ...rows] = fitTable(COLUMNS, endpoints, width - BRANCH.length);
  return [
    `Tapline ${status.version}, engine ${status.engine} (${status.engineReason})`,
    '',
    `network ${network.name}  ${network.subnets.join(' ')}  MTU ${network.mtu}`,
    STEM,
    `${BLANK}${titles}`,
    ...rows.map((row) => `${BRANCH}${row}`),
    '',
  ];
}
