/** What a routed uplink is at the moment: its device's state, and the addresses and gateways that are its own or the host's. */

import type { LinkFacts } from '../../io/interface.js';
import type { FilterPorts, FilterPrefix, FilterProgram } from '../../io/packet-filter.js';
import { sharedFilter, stationFilter } from '../../io/packet-filter.js';
import { formatSubnet, hostMask, parseSubnet, type Subnet, withoutLength } from '../config/address.js';
import type { BridgedUplinkConfig, UplinkConfig } from '../config/schema.js';
import { TaplineError } from '../errors.js';
import { macWords, stableMac } from '../mac.js';
import type { System } from '../system.js';

export type RoutedUplinkConfig = Exclude<UplinkConfig, BridgedUplinkConfig>;

export interface UplinkFacts {
  /** The device's; see LinkFacts. */
  readonly index: number;
  readonly mtu: number;
  readonly mac: string;
  readonly addresses: readonly string[];
  /** IPv6 where the host has one that does not follow from the MAC. */
  readonly linkLocal: string | null;
  readonly defaults: readonly UplinkRoute[];
  /** Those of the host's that are no default routes, where it is shared. */
  readonly routes: readonly UplinkRoute[];
  /** Why nothing can be sent; empty: it can. */
  readonly why: string;
}

/** A route by the uplink. */
export interface UplinkRoute {
  /** CIDR, host bits zero. */
  readonly prefix: string;
  /** Null: everybody is on the link. */
  readonly via: string | null;
}

function defaultRoute(six: boolean, via: string | null): UplinkRoute {
  return { prefix: six ? '::/0' : '0.0.0.0/0', via };
}

function whyDown(device: string, { enabled, carrier }: LinkFacts): string {
  if (!enabled) return `${device} is set down`;
  return carrier ? '' : `${device} has no carrier`;
}

/** What was known before, with what its device says at once: addresses and routes take longer to read. */
export function withLink(before: UplinkFacts, device: string, link: LinkFacts): UplinkFacts {
  const why = whyDown(device, link);
  const noAddress = why === '' && before.addresses.length === 0;
  return { ...before, mtu: link.mtu, why: noAddress ? before.why : why };
}

/** @returns null where there is no such device */
export async function uplinkFacts(config: RoutedUplinkConfig, system: System): Promise<UplinkFacts | null> {
  const { device } = config;
  const link = system.linkFacts(device);
  if (link === null) return null;
  const { index, mtu } = link;
  const why = whyDown(device, link);
  if (config.mode !== 'shared') {
    const gateways = config.gateway === undefined ? config.gateways : [config.gateway, ...config.gateways];
    const defaults = gateways.map((gateway) => defaultRoute(gateway.includes(':'), gateway));
    const mac = config.mac ?? stableMac(`uplink ${link.mac}`);
    return { index, mtu, mac, addresses: config.addresses, linkLocal: null, defaults, routes: [], why };
  }
  const host = await system.hostFacts(device).catch((error: unknown) => {
    if (system.linkFacts(device) === null) return null;
    throw error;
  });
  if (host === null) return null;
  const { addresses, linkLocal } = host;
  const routes = host.routes.map(({ prefix, via }) => ({ prefix: formatSubnet(parseSubnet(prefix)), via }));
  const defaults = host.defaults.map(({ family, via }) => defaultRoute(family === 6, via));
  const whyNot = why === '' && addresses.length === 0 ? `the host has no address on ${device}` : why;
  return { index, mtu, mac: link.mac, addresses, linkLocal, defaults, routes, why: whyNot };
}

function filterPrefix(subnet: Subnet): FilterPrefix {
  const { family, base, prefix } = subnet;
  const count = family === 4 ? 1 : 4;
  const word = (index: number): number => Number((base >> BigInt(32 * (count - 1 - index))) & hostMask(4, 0));
  return { family, length: prefix, words: Array.from({ length: count }, (_, index) => word(index)) };
}

/** On a wire it is whoever tries what is published there: refused, and counted. */
const LOOPBACK = ['127.0.0.0/8', '::1/128'];

/**
 * Which frames of the wire concern us.
 *
 * @param subnets those of the networks that are reached by this uplink
 * @param ports ours, of the host's addresses
 */
export function uplinkFilter(
  shared: boolean,
  mac: string,
  subnets: readonly string[],
  ports: readonly FilterPorts[] = [],
): FilterProgram {
  if (!shared) return stationFilter(...macWords(mac));
  return sharedFilter([...subnets, ...LOOPBACK].map(parseSubnet).map(filterPrefix), ports);
}

const REMEDY = 'choose another, or mode: shared';

/**
 * Two who answer for one MAC or address would take each other's packets, and the host's own frames tell us nothing: they are not
 * received.
 *
 * @throws TaplineError `conflict` with the key at fault
 */
export async function refuseTheHosts(
  config: Exclude<RoutedUplinkConfig, { mode: 'shared' }>,
  system: System,
): Promise<void> {
  const { device, mac } = config;
  if (mac !== undefined && system.linkFacts(device)?.mac === mac) {
    throw new TaplineError('conflict', `${mac} is the MAC of the host's ${device}; ${REMEDY}`, 'mac');
  }
  const host = await system.hostFacts(device);
  const taken = new Set(host.addresses.map(withoutLength));
  config.addresses.forEach((text, index) => {
    const address = withoutLength(text);
    if (!taken.has(address)) return;
    throw new TaplineError(
      'conflict',
      `${address} is an address of the host's ${device}; ${REMEDY}`,
      `addresses[${index}]`,
    );
  });
}
