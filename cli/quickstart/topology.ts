/** The picture of the lab: its networks, what is attached to them, the wire, and services. */

import type { StatusView } from '../../control/api.js';
import type { ServiceView } from '../../control/service-views.js';
import type { EndpointView, NetworkView } from '../../control/views.js';
import { type FittingColumn, fitTable } from './fit.js';
import { HOSTS } from './hosts.js';
import { OUTSIDE } from './outside.js';

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

function networkLine({ name, subnets, gateways, mtu, internal }: NetworkView): string {
  const way = internal ? 'internal: no way in or out' : `gateway ${gateways.join(' ')}`;
  return `network ${name}  ${subnets.join(' ')}  ${way}  MTU ${mtu}`;
}

function uplinkLine({ uplink }: StatusView): string[] {
  if (uplink === null) return [];
  const { device, mode, addresses } = uplink;
  const host = `${OUTSIDE.ipv4} ${OUTSIDE.ipv6}`;
  return [`uplink ${device}, mode ${mode}  ${addresses.join(' ')}`, STEM, `${BRANCH}a host outside  ${host}`, ''];
}

function serviceLine({ name, listen, scheduler, backends }: ServiceView): string {
  return `service ${name}  ${listen.join(' ')}  ${scheduler}  ${backends.map((backend) => backend.name).join(' ')}`;
}

export function topology(
  status: StatusView,
  networks: readonly NetworkView[],
  endpoints: readonly EndpointView[],
  services: readonly ServiceView[],
  width: number,
): string[] {
  // One table for all, so that the columns of all networks line up.
  const [titles = '', ...rows] = fitTable(COLUMNS, endpoints, width - BRANCH.length);
  const rowsOf = (network: string): string[] => rows.filter((_, index) => endpoints[index]?.network === network);
  return [
    `Tapline ${status.version}, engine ${status.engine} (${status.engineReason})`,
    '',
    ...networks.flatMap((network) => [
      networkLine(network),
      STEM,
      `${BLANK}${titles}`,
      ...rowsOf(network.name).map((row) => `${BRANCH}${row}`),
      '',
    ]),
    ...uplinkLine(status),
    ...services.flatMap((service) => [serviceLine(service), '']),
  ];
}
