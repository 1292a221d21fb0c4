/** Which VRFs track connections: those where something depends on it. All others forward each packet for itself. */

import type { Configuration, UplinkConfig } from './config/schema.js';
import { isBridged } from './config/subnets.js';

type Objects = Pick<Configuration, 'uplink' | 'networks' | 'endpoints' | 'services' | 'policy'>;

/** Whether connections through the router of a VRF are tracked: address translation, published ports, services or policy concern it. */
export function tracks(vrf: string, { uplink, networks, endpoints, services, policy }: Objects): boolean {
  const own = [...networks].filter(([name, network]) => network.vrf === vrf && !isBridged(name, uplink));
  if (own.length === 0) return false;
  if (policy.length > 0 || own.some(([, network]) => network.policy !== 'accept')) return true;
  const hasWire = translatesBy(uplink) && uplink?.mode !== 'bridged' && uplink?.vrf === vrf;
  const leaves = ([, network]: (typeof own)[number]): boolean =>
    !network.internal && (network.masquerade !== false || network.nat66 || network.nptv6 !== undefined);
  if (hasWire && own.some(leaves)) return true;
  const names = new Set(own.map(([name]) => name));
  if ([...services.values()].some(({ network }) => names.has(network))) return true;
  return [...endpoints.values()].some(({ network, publish }) => publish.length > 0 && names.has(network));
}

/** Whether packets that leave by an uplink may have another source address there. Who routes or bridges them out shows them as they are. */
export function translatesBy(uplink: UplinkConfig | null): boolean {
  return uplink?.mode === 'own' || uplink?.mode === 'shared';
}
