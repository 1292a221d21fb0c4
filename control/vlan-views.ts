/** What the API answers about VLANs: which port is in which. */

import { UPLINK_PORT_NAME } from './config/check.js';
import { formatVlans } from './config/vlan.js';
import type { Daemon } from './daemon.js';
import { endpointVlan, tunnelVlan, uplinkVlan } from './port-spec.js';
import type { NetworkState } from './state.js';
import type { PortVlanSpec } from './types.js';

/** VLANs with the same ports, next to each other in one range. */
export interface VlanView {
  readonly network: string;
  /** `10` or `10-20`. */
  readonly vlan: string;
  readonly untagged: readonly string[];
  readonly tagged: readonly string[];
}

/** Stands for all VTEPs of a network, which are in one VLAN. */
const TUNNELS = 'vxlan';

/** Members of each VLAN of one network, VLANs without members left out. */
function vlansOf(ports: readonly { name: string; vlan: PortVlanSpec }[]): Map<number, [string[], string[]]> {
  const members = new Map<number, [untagged: string[], tagged: string[]]>();
  const of = (vlan: number): [string[], string[]] => {
    const known = members.get(vlan) ?? [[], []];
    members.set(vlan, known);
    return known;
  };
  for (const { name, vlan } of ports) {
    if (vlan.native !== 0) of(vlan.native)[0].push(name);
    for (const tagged of vlan.tagged) of(tagged)[1].push(name);
  }
  return members;
}

/** In a network without filtering whose uplink is one VLAN of the wire, that VLAN is the whole network. */
function vlanPorts(daemon: Daemon, network: NetworkState): { name: string; vlan: PortVlanSpec }[] {
  const { uplink } = daemon;
  const wire = uplink?.network === network.name ? uplinkVlan(uplink.config, network.config) : undefined;
  if (!network.config.vlan_filtering && wire === undefined) return [];
  const ports = daemon.endpointsOf(network.name).map(({ name, config }) => {
    const inside = endpointVlan(config, network.config) ?? { native: wire?.tagged[0] ?? 0, tagged: [] };
    return { name, vlan: inside };
  });
  const tunnel = tunnelVlan(network.config);
  return [
    ...ports,
    ...(wire === undefined ? [] : [{ name: UPLINK_PORT_NAME, vlan: wire }]),
    ...(tunnel === undefined ? [] : [{ name: TUNNELS, vlan: tunnel }]),
  ];
}

function vlanRanges(network: string, members: ReadonlyMap<number, [string[], string[]]>): VlanView[] {
  const views: VlanView[] = [];
  let run: number[] = [];
  let key = '';
  const flush = (): void => {
    const [untagged, tagged] = members.get(run[0] ?? 0) ?? [[], []];
    if (run.length > 0) views.push({ network, vlan: formatVlans(run), untagged, tagged });
    run = [];
  };
  for (const vlan of [...members.keys()].sort((a, b) => a - b)) {
    const next = JSON.stringify(members.get(vlan));
    if (next !== key || run.at(-1) !== vlan - 1) flush();
    key = next;
    run.push(vlan);
  }
  flush();
  return views;
}

/** @param network only this one; null for all */
export function vlanViews(daemon: Daemon, network: string | null): VlanView[] {
  const networks = network === null ? [...daemon.networks.values()] : [daemon.network(network)];
  return networks.flatMap((one) => vlanRanges(one.name, vlansOf(vlanPorts(daemon, one))));
}
