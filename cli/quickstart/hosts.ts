/** The containers of the quickstart: commands that need nothing but Node and ping, run by `tapline run`. */

import type { EndpointView } from '../../control/views.js';
import { OUTSIDE } from './outside.js';
import { insideProgram } from './paths.js';

export interface HostSpec {
  readonly name: string;
  /** Its network, by the name that examples/lab.yaml gives it. */
  readonly network: string;
  /** What it does, for the topology. */
  readonly what: string;
  /** The command that runs in it. @param earlier endpoints of the hosts that come before it in the list */
  readonly command: (earlier: readonly EndpointView[]) => readonly string[];
  /** Whether the command says `ready` on stdout. */
  readonly saysReady: boolean;
}

/** An endpoint's first address of a family, without its prefix length. @throws Error where it has none */
export function addressOf(endpoint: EndpointView, family: 4 | 6): string {
  const found = endpoint.addresses.find((address) => address.includes(':') === (family === 6));
  if (found === undefined) throw new Error(`endpoint ${endpoint.name} has no IPv${family} address`);
  return found.split('/', 1)[0] ?? found;
}

function named(endpoints: readonly EndpointView[], name: string): EndpointView {
  const found = endpoints.find((endpoint) => endpoint.name === name);
  if (found === undefined) throw new Error(`no endpoint ${name}`);
  return found;
}

export const SERVER = 'web';
export const CLIENT = 'client';
export const PINGER = 'pinger';
/** In the other network. */
export const TRAVELLER = 'traveller';
/** In the internal one. */
export const VAULT = 'vault';

/** The network of the first three. */
export const HOME = 'blue';

/** Started in this order; each has its network's next address. */
export const HOSTS: readonly HostSpec[] = [
  {
    name: SERVER,
    network: HOME,
    what: 'an HTTP server on port 80',
    command: () => [process.execPath, insideProgram('server')],
    saysReady: true,
  },
  {
    name: CLIENT,
    network: HOME,
    what: `fetches from ${SERVER} over IPv4 all the time`,
    command: (earlier) => [process.execPath, insideProgram('client'), addressOf(named(earlier, SERVER), 4)],
    saysReady: true,
  },
  {
    name: PINGER,
    network: HOME,
    what: `pings ${SERVER} over IPv6`,
    command: (earlier) => ['ping', '-q', '-i', '0.2', addressOf(named(earlier, SERVER), 6)],
    saysReady: false,
  },
  {
    name: TRAVELLER,
    network: 'green',
    what: `fetches from ${SERVER}, through the router, and from outside`,
    command: (earlier) => {
      const addresses = [addressOf(named(earlier, SERVER), 4), OUTSIDE.ipv4];
      return [process.execPath, insideProgram('client'), ...addresses];
    },
    saysReady: true,
  },
  {
    name: VAULT,
    network: 'sealed',
    what: 'an HTTP server that no other network reaches',
    command: () => [process.execPath, insideProgram('server')],
    saysReady: true,
  },
];
