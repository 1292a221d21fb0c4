/** What every peer of the suite `lb` balances: services on the machine's address of the wire, over two containers. */

import type { PeerName } from '../context.js';
import { HTTP_PORT } from '../scenarios/http.js';
import { IPERF_PORT } from '../scenarios/tcp.js';
import type { Host, Site } from './peer.js';
import { WIRE } from './segment.js';

/** TCP on this port of WIRE.router, and the same port of each backend. */
export interface Service {
  readonly name: string;
  readonly port: string;
}

/** Connections to the backends in turn. */
export const HTTP_SERVICE: Service = { name: 'web', port: HTTP_PORT };
/** By the client's address: a run of iperf3 is two connections and more, which have to meet the same server. */
export const SAME_BACKEND_SERVICE: Service = { name: 'bulk', port: IPERF_PORT };

/** The host outside asks at the machine's address, and the containers answer. */
export function balancedSite(
  peer: PeerName,
  { containers, outside }: { readonly containers: readonly Host[]; readonly outside: Host },
  balancer: Pick<Site, 'switchPid' | 'workerPids' | 'engine'>,
): Site {
  const [server, ...furtherServers] = containers.map((host) => ({ ...host, published: WIRE.router })) as [Host];
  return { peer, client: outside, server, furtherServers, ...balancer };
}
