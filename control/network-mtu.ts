/** How large packets of a network may be: as configured, and with an overlay no larger than the underlay carries whole. */

import type { NetworkConfig } from './config/schema.js';
import { carriesIpv6, IPV6_MIN_MTU, vxlanOverhead } from './config/vxlan.js';

/** Of a network, and of an underlay that is not known (yet). */
export const DEFAULT_MTU = 1500;
/** RFC 791 section 3.2: the least that every module must forward. */
const IPV4_MIN_MTU = 68;
/** Of an outer packet, whose length is a field of 16 bits. */
const LONGEST_PACKET = 65_535;

/** Least that a network can have. */
export function leastMtu(config: NetworkConfig): number {
  return carriesIpv6(config) ? IPV6_MIN_MTU : IPV4_MIN_MTU;
}

/** What an underlay leaves of its MTU, bytes; null: the network has no overlay. */
export function overlayLimit({ vxlan }: NetworkConfig, underlay: number): number | null {
  return vxlan === undefined ? null : Math.min(underlay, LONGEST_PACKET) - vxlanOverhead(vxlan.local);
}

/**
 * The MTU that counts: the configured one, but no more than fits; and no less than the network's subnets need.
 *
 * @param underlay MTU of the uplink; 0: not known
 */
export function networkMtu(config: NetworkConfig, underlay: number): number {
  const limit = overlayLimit(config, underlay > 0 ? underlay : DEFAULT_MTU);
  if (limit === null) return config.mtu ?? DEFAULT_MTU;
  return Math.max(leastMtu(config), Math.min(config.mtu ?? limit, limit));
}
