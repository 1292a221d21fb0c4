/** The containers of the quickstart: commands that need nothing but Node and ping, run by `tapline run`. */

import { withoutLength } from '../../control/config/address.js';
import type { EndpointView } from '../../control/views.js';
import { HTTP_PORT, WHO } from './inside/ports.js';
import { OUTSIDE, ROUTER } from './outside.js';
import { insideProgram } from './paths.js';

export interface HostSpec {
  readonly name: string;
  /** Its network, by the name that examples/lab.yaml gives it. */
  readonly network: string;
  /** What it does, for the topology. */
  readonly what: string;
  /** The command that runs in it. @param earlier endpoints of the same host that come before it in the list */
  readonly command: (earlier: readonly EndpointView[]) => readonly string[];
  /** It is a container of the second host. */
  readonly onSecond?: boolean;
  /** IPv4 address; by default the network's next one on its host. */
  readonly address?: string;
  /** Published ports. */
  readonly publish?: readonly string[];
  /** Whether the command says `ready` on stdout. */
  readonly saysReady: boolean;
}

/** An endpoint's first address of a family, without its prefix length. @throws Error where it has none */
export function addressOf(endpoint: EndpointView, family: 4 | 6): string {
  const found = endpoint.addresses.find((address) => address.includes(':') === (family === 6));
  if (found === undefined) throw new Error(`endpoint ${endpoint.name} has no IPv${family} address`);
  return withoutLength(found);
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
/** In the one behind address translation: who is published, and who is not. */
export const SHOP = 'shop';
export const HIDDEN = 'hidden';

/** In the one that spans two hosts: on the first, and on the second. */
export const COURIER = 'courier';
export const DEPOT = 'depot';
/** Given, since the two hosts are started at the same time. */
const DEPOT_ADDRESS = '172.27.0.200';

/** Port of the router's addresses on the wire that leads to SHOP's HTTP server. */
export const SHOP_PORT = 8080;

/** In the same one, the backends of the service STORE. */
export const STORES: readonly string[] = ['store1', 'store2', 'store3'];

export const STORE = 'store';
/** Port of the router's addresses on the wire that leads to one of STORES after the other. */
export const STORE_PORT = 8081;

/** Made by the API, since in a file its backends would have to be in that file too. */
export const STORE_SERVICE = {
  name: STORE,
  network: 'red',
  listen: [String(STORE_PORT)],
  backends: STORES.map((endpoint) => ({ endpoint, port: HTTP_PORT })),
  health: { type: 'http', path: WHO, interval: 1 },
};

/** The network of the first three. */
export const HOME = 'blue';

/** The network that spans two hosts. */
export const WIDE = 'wide';

/** Started in this order, those of the second host meanwhile. */
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
    name: SHOP,
    network: 'red',
    what: `an HTTP server, published on port ${SHOP_PORT} of the uplink`,
    command: () => [process.execPath, insideProgram('server')],
    publish: [`${SHOP_PORT}:${HTTP_PORT}`],
    saysReady: true,
  },
  {
    name: HIDDEN,
    network: 'red',
    what: "fetches from outside, with the uplink's address",
    command: () => [process.execPath, insideProgram('client'), OUTSIDE.ipv4],
    saysReady: true,
  },
  ...STORES.map(
    (name): HostSpec => ({
      name,
      network: STORE_SERVICE.network,
      what: `an HTTP server, one of those behind port ${STORE_PORT} of the uplink`,
      command: () => [process.execPath, insideProgram('server')],
      saysReady: true,
    }),
  ),
  {
    name: TRAVELLER,
    network: 'green',
    what: `fetches from ${SERVER}, from outside and from ${SHOP}`,
    command: (earlier) => {
      const addresses = [addressOf(named(earlier, SERVER), 4), OUTSIDE.ipv4, `${ROUTER.ipv4}:${SHOP_PORT}`];
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
  {
    name: DEPOT,
    network: WIDE,
    what: 'an HTTP server',
    command: () => [process.execPath, insideProgram('server')],
    onSecond: true,
    address: DEPOT_ADDRESS,
    saysReady: true,
  },
  {
    name: COURIER,
    network: WIDE,
    what: `fetches from ${DEPOT} on the second host`,
    command: () => [process.execPath, insideProgram('client'), DEPOT_ADDRESS],
    saysReady: true,
  },
];
