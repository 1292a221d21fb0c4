/**
 * Tapline's load balancing, as users have it: services on the uplink's address over two endpoints. Tapline runs in a namespace that stands
 * for the machine; one end of the wire (a veth pair) is its uplink of mode `own`, the other the outside host's.
 */

import type { Context } from '../context.js';
import { balancedSite, HTTP_SERVICE, SAME_BACKEND_SERVICE, type Service } from './balanced.js';
import type { Site } from './peer.js';
import { BACKENDS, WIRE } from './segment.js';
import { taplineMachine } from './tapline-nat.js';

/** The host outside → the wire → service → one of the containers. */
export async function taplineBalanced(context: Context): Promise<Site> {
  const services = {
    [HTTP_SERVICE.name]: serviceOf(HTTP_SERVICE, 'rr'),
    [SAME_BACKEND_SERVICE.name]: serviceOf(SAME_BACKEND_SERVICE, 'sh'),
  };
  const { pid, engine, ...built } = await taplineMachine(context, 'lb', BACKENDS, {}, { services });
  return balancedSite('tapline', built, { switchPid: pid, engine });
}

/** As the file has it. */
function serviceOf({ port }: Service, scheduler: string): object {
  return {
    network: 'red',
    listen: [`${WIRE.router.address}:${port}/tcp`],
    scheduler,
    backends: BACKENDS.map((_, index) => ({ endpoint: `container${index}`, port: Number(port) })),
  };
}
