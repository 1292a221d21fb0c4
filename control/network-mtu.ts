/** How large packets of a network may be: as configured, and with an overlay no larger than the underlay carries whole. */

import type { NetworkConfig } from './config/schema.js';
import { knownAddress } from './config/subnets.js';
import { carriesIpv6, IPV6_MIN_MTU, vxlanOverhead } from './config/vxlan.js';
import { TaplineError } from './errors.js';

/** Of a network, and of an underlay that is not known (yet). */
export const DEFAULT_MTU = 1500;
/** RFC 791 section 3.2: the least that every module must forward. */
const IPV4_MIN_MTU = 68;
/** Of an outer packet, whose length is a field of 16 bits. */
const LONGEST_PACKET = 65_535;

/** The device that tunnels leave by. */
export interface Underlay {
  readonly device: string;
  /** Bytes of IP packet; 0: not known. */
  readonly mtu: number;
}

/** What an underlay leaves of its MTU, bytes; null: the network has no overlay. */
function overlayLimit({ vxlan }: NetworkConfig, underlay: number): number | null {
  const whole = underlay > 0 ? Math.min(underlay, LONGEST_PACKET) : DEFAULT_MTU;
  return vxlan === undefined ? null : whole - vxlanOverhead(vxlan.local);
}

/** The least that a network can do with, and what needs it. */
function leastMtu(config: NetworkConfig): { mtu: number; family: 'IPv4' | 'IPv6' } {
  return carriesIpv6(config) ? { mtu: IPV6_MIN_MTU, family: 'IPv6' } : { mtu: IPV4_MIN_MTU, family: 'IPv4' };
}

/**
 * The MTU that counts: the configured one, but no more than fits; and no less than the network's subnets need.
 *
 * @param underlay MTU of the uplink; 0: not known
 */
export function networkMtu(config: NetworkConfig, underlay: number): number {
  const limit = overlayLimit(config, underlay);
  if (limit === null) return config.mtu ?? DEFAULT_MTU;
  return Math.max(leastMtu(config).mtu, Math.min(config.mtu ?? limit, limit));
}

/** Why the underlay carries too little for a network's subnets, in one line; null: it does not. */
export function tooSmall(config: NetworkConfig, { device, mtu }: Underlay): string | null {
  const limit = overlayLimit(config, mtu);
  const least = leastMtu(config);
  if (limit === null || limit >= least.mtu) return null;
  const left = `uplink ${device} has MTU ${mtu}, of which VXLAN leaves ${limit}`;
  return `${left}; ${least.family} needs ${least.mtu}: raise the MTU of ${device} to ${mtu + least.mtu - limit} or more`;
}

/** @throws TaplineError `invalid` where a network that is to be made asks for more than its underlay carries, or needs more */
export function requireMtu(config: NetworkConfig, underlay: Underlay): void {
  const { mtu, vxlan } = config;
  const limit = overlayLimit(config, underlay.mtu);
  if (vxlan === undefined || limit === null || underlay.mtu === 0) return;
  const small = tooSmall(config, underlay);
  if (small !== null) throw new TaplineError('invalid', small, 'vxlan');
  if (mtu === undefined || mtu <= limit) return;
  const { family } = knownAddress(vxlan.local);
  const takes = `VXLAN over IPv${family} takes ${vxlanOverhead(vxlan.local)}`;
  const why = `uplink ${underlay.device} has MTU ${underlay.mtu}, ${takes}`;
  throw new TaplineError('invalid', `expected at most ${limit} (${why})`, 'mtu');
}

/** UDP_MAX_SEGMENTS of linux/udp.h: datagrams in one super-packet of the underlay. */
const MAX_SEGMENTS = 128;
/** VXLAN header and inner Ethernet header, of each segment; outer UDP header, of all. */
const SEGMENT_HEADERS = 8 + 14;
const UDP_HEADER = 8;
const IP_HEADER: Readonly<Record<4 | 6, number>> = { 4: 20, 6: 40 };
/** IPv4 and TCP header with timestamps, of each segment. */
const TCP_HEADERS = 20 + 20 + 12;
/** What the kernel takes off a device's gso_max_size for headers: MAX_TCP_HEADER + 1 of net/tcp.h. */
const KERNEL_HEADERS = 321;

/**
 * The gso_max_size of an endpoint's interface by which a TCP super-packet of its kernel, cut and encapsulated, is one super-packet of the
 * underlay: the kernel's default makes two, the second of a segment or two.
 *
 * @param mtu of the network
 * @returns undefined: the default will do
 */
export function superPacketSize({ vxlan }: NetworkConfig, mtu: number): number | undefined {
  if (vxlan === undefined || !vxlan.checksum) return undefined;
  const room = LONGEST_PACKET - UDP_HEADER - IP_HEADER[knownAddress(vxlan.local).family];
  const segments = Math.min(MAX_SEGMENTS, Math.floor(room / (mtu + SEGMENT_HEADERS)));
  return segments < 2 ? undefined : Math.min(65_535, segments * (mtu - TCP_HEADERS) + KERNEL_HEADERS);
}
