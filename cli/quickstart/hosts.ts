/** The containers of the quickstart: commands that need nothing but Node and ping, run by `tapline run`. */

import type { EndpointView } from '../../control/views.js';
import { insideProgram } from './paths.js';

export interface HostSpec {
  readonly name: string;
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

/** Started in this order; each has its network's next address. */
export const HOSTS: readonly HostSpec[] = [
  {
    name: SERVER,
    what: 'an HTTP server on port 80',
    command: () => [process.execPath, insideProgram('server')],
    saysReady: true,
  },
  {
    name: CLIENT,
    what: `fetches from ${SERVER} over IPv4 all the time`,
    command: (earlier) => [process.execPath, insideProgram('client'), addressOf(named(earlier, SERVER), 4)],
    saysReady: true,
  },
  {
    name: PINGER,
    what: `pings ${SERVER} over IPv6`,
    command: (earlier) => ['ping', '-q', '-i', '0.2', addressOf(named(earlier, SERVER), 6)],
    saysReady: false,
  },
];
