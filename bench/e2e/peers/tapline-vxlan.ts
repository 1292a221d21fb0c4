/** Tapline's overlay, as users have it: a network with `vxlan`, and an uplink of mode `own`; and Tapline on one machine only, the kernel on the other. */

import type { Context } from '../context.js';
import { configure } from '../namespaces.js';
import { endpointOf, startTapline } from './instance.js';
import { kernelEnd } from './kernel-vxlan.js';
import { type End, type EndProcess, OVERLAYS, overlaySite } from './overlay.js';
import type { Addresses, Site } from './peer.js';
import { withPrefixLength } from './segment.js';

/** Container → network → tunnel → the wire → tunnel → network → container, a Tapline on each machine. */
export function taplineVxlan(context: Context): Promise<Site> {
  return overlaySite(context, 'tapline', taplineEnd, taplineEnd);
}

/** Container → network → tunnel → the wire → the kernel's vxlan device → bridge → container. */
export function taplineKernelVxlan(context: Context): Promise<Site> {
  return overlaySite(context, 'tapline-kernel', taplineEnd, kernelEnd);
}

/** Tapline runs in the namespace that stands for the machine. The networks' MTU is the one that it derives from the wire's. */
async function taplineEnd(
  context: Context,
  { name, machine, container, local, remote, addresses }: End,
): Promise<EndProcess> {
  await configure(context, machine, ['link set up0 up']);
  const networks = OVERLAYS.map(({ segment, vni, underlay }) => {
    const vxlan = { vni, local: local[underlay], remotes: [remote[underlay]] };
    return [segment.name, { subnets: segment.subnets, vxlan }];
  });
  const endpoints = OVERLAYS.map(({ segment, device }, index) => {
    const host = { netns: container.netns, ...(addresses[index] as Addresses) };
    return [`${name}-${segment.name}`, endpointOf(host, segment.name, { interface: device })];
  });
  const { pid, engine } = await startTapline(
    context,
    name,
    {
      version: 1,
      uplink: { device: 'up0', mode: 'own', addresses: withPrefixLength(local) },
      networks: Object.fromEntries(networks),
      endpoints: Object.fromEntries(endpoints),
    },
    machine,
  );
  return { switchPid: pid, engine };
}
