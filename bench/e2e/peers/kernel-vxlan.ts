/** The kernel's own overlay, as Docker builds it: for each network a bridge with a vxlan device and the container's veth pair on it. */

import type { Context } from '../context.js';
import { configure, enableIpv6 } from '../namespaces.js';
import { type End, type EndProcess, OVERLAYS, overlaySite } from './overlay.js';
import type { Addresses, Site } from './peer.js';
import { interfaceLines } from './segment.js';

/** Container → bridge → vxlan device → the wire → vxlan device → bridge → container. */
export function kernelVxlan(context: Context): Promise<Site> {
  return overlaySite(context, 'kernel', kernelEnd, kernelEnd);
}

/** Offloads as they come; MACs are learned from what arrives, and what is not known is sent to the other machine. */
export async function kernelEnd(
  context: Context,
  { machine, container, local, remote, addresses }: End,
): Promise<EndProcess> {
  await enableIpv6(context, [machine]);
  await configure(context, machine, interfaceLines('up0', local));
  for (const [index, { segment, vni, device, underlay, mtu }] of OVERLAYS.entries()) {
    const [bridge, tunnel, port] = [`br-${segment.name}`, `vx-${segment.name}`, `port-${segment.name}`];
    const ends = `local ${local[underlay]} remote ${remote[underlay]}`;
    await configure(context, machine, [
      `link add ${bridge} type bridge`,
      `link add ${tunnel} mtu ${mtu} type vxlan id ${vni} ${ends} dev up0 dstport 4789`,
      `link add ${port} mtu ${mtu} type veth peer name ${device} mtu ${mtu} netns ${container.netns}`,
      ...[tunnel, port].map((each) => `link set ${each} master ${bridge} up`),
      `link set ${bridge} up`,
    ]);
    await configure(context, container.netns, interfaceLines(device, addresses[index] as Addresses));
  }
  return { switchPid: null, engine: null };
}
