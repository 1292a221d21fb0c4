/** Addresses that an endpoint's kernel makes for itself from router advertisements (SLAAC, RFC 4862). */

import { formatAddress, parseSubnet } from './config/address.js';
import type { NetworkConfig } from './config/schema.js';

/** Modified EUI-64 interface identifier of a MAC (RFC 4291, appendix A). */
function interfaceIdentifier(mac: string): bigint {
  const octets = mac.split(':').map((octet) => BigInt(`0x${octet}`));
  const [first = 0n, ...rest] = octets;
  const all = [first ^ 2n, ...rest.slice(0, 2), 0xffn, 0xfen, ...rest.slice(2)];
  return all.reduce((value, octet) => (value << 8n) | octet, 0n);
}

/** fe80::/64 with it, without prefix length. */
export function linkLocalAddress(mac: string): string {
  return formatAddress({ family: 6, value: (0xfe80n << 112n) | interfaceIdentifier(mac) });
}

/**
 * One in each /64 (only there do identifiers fit, RFC 4862 section 5.5.3) that our gateway advertises for that.
 *
 * @param bridged whoever advertises there is outside, and not ours to know
 * @returns CIDR
 */
export function slaacAddresses(network: NetworkConfig, mac: string, bridged: boolean): string[] {
  const { enabled, autonomous } = network.router_advertisements;
  if (bridged || !enabled || !autonomous) return [];
  return network.subnets
    .map(parseSubnet)
    .filter(({ family, prefix }) => family === 6 && prefix === 64)
    .map(({ base }) => `${formatAddress({ family: 6, value: base | interfaceIdentifier(mac) })}/64`);
}
