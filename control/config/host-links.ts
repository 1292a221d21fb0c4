/** The links between the router and the host, whose addresses no network can have. */

import { overlaps, parseSubnet } from './address.js';
import { listensAtUplink } from './listen.js';
import { conflict, type Problem } from './problems.js';
import type { Configuration } from './schema.js';

/** Link-local addresses of the routers at the host's TAPs: 169.254.42.1 and on. */
export const HOST_LINKS = '169.254.42.0/24';

/** A host port is there for networks that the host reaches, and for what is published at addresses of the host. */
function hasHostPort({ networks, uplink, endpoints, services }: Configuration): boolean {
  if ([...networks.values()].some(({ host }) => host)) return true;
  if (uplink?.mode !== 'shared') return false;
  if ([...endpoints.values()].some(({ publish }) => publish.length > 0)) return true;
  return [...services.values()].some((service) => listensAtUplink(service, networks.get(service.network)));
}

/** Only where there is a host port, which is for all VRFs the same on the host's side. */
export function checkHostLinks(config: Configuration): Problem[] {
  if (!hasHostPort(config)) return [];
  const links = parseSubnet(HOST_LINKS);
  return [...config.networks].flatMap(([name, { subnets }]) =>
    subnets.flatMap((text, index) => {
      if (!overlaps(parseSubnet(text), links)) return [];
      const what = `${text} overlaps ${HOST_LINKS}, the links to the host`;
      return [conflict(['networks', name, 'subnets', index], `${what}; choose another`)];
    }),
  );
}
