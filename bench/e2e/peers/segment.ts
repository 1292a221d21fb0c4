/** Segments that a router joins, each with a host or two on it. What every peer of the suites other than `l2` uses. */

import type { Addresses } from './peer.js';

/** One segment. The router has the first address of each prefix, the hosts those that follow. */
export interface Segment {
  readonly name: string;
  /** With prefix length. */
  readonly subnets: readonly [ipv4: string, ipv6: string];
  readonly router: Addresses;
  readonly host: Addresses;
  /** Where there are two. */
  readonly secondHost: Addresses;
}

const PREFIX_LENGTH = 24;
const PREFIX_LENGTH6 = 64;

/** Networks of containers. */
export const RED = segment('red', 1);
export const BLUE = segment('blue', 2);
/** The containers that a service has behind it, on RED. */
export const BACKENDS: readonly Addresses[] = [RED.host, RED.secondHost];
/** The wire behind the uplink, with the host outside. */
export const WIRE = segment('wire', 3);

function segment(name: string, number: number): Segment {
  return {
    name,
    subnets: [`10.99.${number}.0/${PREFIX_LENGTH}`, `fd00:99:${number}::/${PREFIX_LENGTH6}`],
    router: addressesOf(number, 1),
    host: addressesOf(number, 2),
    secondHost: addressesOf(number, 3),
  };
}

/** @param segment its number @param host its number on it, 1 to 9 */
function addressesOf(segment: number, host: number): Addresses {
  return { address: `10.99.${segment}.${host}`, address6: `fd00:99:${segment}::${host}` };
}

/** Both addresses with the prefix length of their segment, as `ip address add` and an uplink's `addresses` want them. */
export function withPrefixLength({ address, address6 }: Addresses): [ipv4: string, ipv6: string] {
  return [`${address}/${PREFIX_LENGTH}`, `${address6}/${PREFIX_LENGTH6}`];
}

/** Lines for `ip -batch` that bring `device` up with these addresses. */
export function interfaceLines(device: string, addresses: Addresses): string[] {
  const [ipv4, ipv6] = withPrefixLength(addresses);
  return [`address add ${ipv4} dev ${device}`, `address add ${ipv6} dev ${device}`, `link set ${device} up`];
}

/** Lines for `ip -batch`: default routes of both families. */
export function defaultRouteLines({ address, address6 }: Addresses): string[] {
  return [`route add default via ${address}`, `route add ::/0 via ${address6}`];
}

/** Lines for `ip -batch`: the way to a segment by way of a router. */
export function routeLines({ subnets: [ipv4, ipv6] }: Segment, { address, address6 }: Addresses): string[] {
  return [`route add ${ipv4} via ${address}`, `route add ${ipv6} via ${address6}`];
}
