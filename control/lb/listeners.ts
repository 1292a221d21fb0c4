/** The listeners of a service as published ports: at addresses of the uplink, or at virtual ones of its network. */

import { NO_PORT } from '../../core/nat/published.js';
import { formatAddress } from '../config/address.js';
import { formatListen } from '../config/fields.js';
import { isVirtual, listenSpec, virtualAddresses } from '../config/listen.js';
import { networkFamilies } from '../config/publish.js';
import type { NetworkConfig, ServiceConfig } from '../config/schema.js';
import { anyPrefix, hostPrefix } from '../flow-parties.js';
import type { Publisher, Wanted } from '../publish.js';
import type { BackendState } from './backends.js';

/** All listeners of a service. @param network that it is in */
export function listenersOf({ listen }: ServiceConfig, network: NetworkConfig): Wanted[] {
  const has = networkFamilies(network);
  return listen.map((text, index): Wanted => {
    const spec = listenSpec(text);
    const { address, first } = spec;
    return {
      spec: { ...spec, inner: first },
      text: formatListen(spec),
      key: `listen[${index}]`,
      families: address === null ? has : [address.family],
      hasIpv4: has.includes(4),
      isVirtual: isVirtual(spec, network),
    };
  });
}

/** Addresses of its network that a service listens at, but for the gateway's own; and the keys where they are asked for. */
export function virtualClaims(service: ServiceConfig, network: NetworkConfig): { address: string; key: string }[] {
  const places = service.listen.map((text) => {
    const { address } = listenSpec(text);
    return address === null ? '' : formatAddress(address);
  });
  const networks = new Map([[service.network, network]]);
  return virtualAddresses(service, { networks }).map((address) => ({
    address,
    key: `listen[${places.indexOf(address)}]`,
  }));
}

/** Who listens. Backends may come and go; which ones there are is asked each time. */
export function servicePublisher(service: {
  readonly name: string;
  readonly number: number;
  readonly vrf: string;
  readonly backends: readonly BackendState[];
}): Publisher {
  return {
    owner: ownerOf(service.name),
    vrf: service.vrf,
    connections: (family, at) => ({
      destination: at === null ? anyPrefix(family) : hostPrefix(at),
      backends: service.backends.map(({ number }) => number),
    }),
    // Which backend, and at which port, is chosen for each connection.
    leadsTo: (_family, _inner, first) => [0, 0, 0, 0, first, NO_PORT, service.number],
  };
}

export function ownerOf(name: string): string {
  return `service ${name}`;
}
