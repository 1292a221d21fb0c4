/** The picture of one host of the lab: its networks, what is attached to them, the wire, and services. */

import type { StatusView } from '../../control/api.js';
import type { ServiceView } from '../../control/service-views.js';
import type { EndpointView, NetworkView } from '../../control/views.js';
import { type FittingColumn, fitTable } from './fit.js';
import { HOSTS } from './hosts.js';
import type { Wire } from './outside.js';

/** What the API of a host's switch says. */
export interface HostView {
  readonly status: StatusView;
  readonly networks: readonly NetworkView[];
  readonly endpoints: readonly EndpointView[];
  readonly services: readonly ServiceView[];
}

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

function networkLine({ name, subnets, gateways, mtu, internal, vxlan }: NetworkView): string {
  const way = internal ? 'internal: no way in or out' : `gateway ${gateways.join(' ')}`;
  const tunnel = vxlan === null ? '' : `  VNI ${vxlan.vni} with ${vxlan.remotes.join(' ')}`;
  return `network ${name}  ${subnets.join(' ')}  ${way}  MTU ${mtu}${tunnel}`;
}

function uplinkLine({ uplink }: StatusView, { outside }: Wire): string[] {
  if (uplink === null) return [];
  const { device, mode, addresses } = uplink;
  const host = `${outside.ipv4} ${outside.ipv6}`;
  return [`uplink ${device}, mode ${mode}  ${addresses.join(' ')}`, STEM, `${BRANCH}the host outside  ${host}`, ''];
}

function serviceLine({ name, listen, scheduler, backends }: ServiceView): string {
  return `service ${name}  ${listen.join(' ')}  ${scheduler}  ${backends.map((backend) => backend.name).join(' ')}`;
}

/** @param where which host it is, as the heading says it @param wire what its uplink leads to @param width columns of the terminal */
export function topology(where: string, view: HostView, wire: Wire, width: number): string[] {
  const { status, networks, endpoints, services } = view;
  // One table for all, so that the columns of all networks line up.
  const [titles = '', ...rows] = fitTable(COLUMNS, endpoints, width - BRANCH.length);
  const rowsOf = (network: string): string[] => rows.filter((_, index) => endpoints[index]?.network === network);
  return [
    `${where}: Tapline ${status.version}, engine ${status.engine} (${status.engineReason})`,
    '',
    ...networks.flatMap((network) => [
      networkLine(network),
      STEM,
      `${BLANK}${titles}`,
      ...rowsOf(network.name).map((row) => `${BRANCH}${row}`),
      '',
    ]),
    ...uplinkLine(status, wire),
    ...services.flatMap((service) => [serviceLine(service), '']),
  ];
}
