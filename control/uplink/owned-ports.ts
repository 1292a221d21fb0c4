/** Ports of the host's addresses that are Tapline's where the uplink shares these: published ones, and those of address translation. */

import type { UsedPort } from '../../io/port-holders.js';
import { withoutLength } from '../config/address.js';
import { mergeRanges, type PortRange, subtractRanges } from '../port-ranges.js';
import type { GuardedPorts } from './guard.js';

export interface OwnedPorts {
  readonly family: 4 | 6;
  /** Null: each address of the family that the uplink has. */
  readonly address: string | null;
  /** Number of the IP protocol. Of ICMP, ICMPv6 and IGMP the ports mean nothing: echo replies and queries, which the host sees as well. */
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
  /** What a socket of the host has already is left to it. */
  readonly yields: boolean;
}

const ICMP = 1;
const IGMP = 2;
const ICMPV6 = 58;
/** Protocols with ports, as address translation knows them: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const TRANSLATED = [6, 17, 33, 132, 136];
const NUMBERS = { tcp: 6, udp: 17 };

/** Ports that translated connections of a family leave from. */
export function translationPorts(family: 4 | 6, { first, last }: PortRange): OwnedPorts[] {
  const common = { family, address: null, first, last, yields: true };
  return [...TRANSLATED, family === 4 ? ICMP : ICMPV6].map((protocol) => ({ ...common, protocol }));
}

/** Ports that Tapline would have, and that sockets of the host have already. */
export interface KeptPort {
  readonly protocol: number;
  readonly port: number;
}

/** @param used all sockets of the host */
export function keptPorts(owned: readonly OwnedPorts[], used: readonly UsedPort[]): KeptPort[] {
  const ours = (protocol: number, port: number, yields: boolean): boolean =>
    owned.some((one) => one.protocol === protocol && one.yields === yields && one.first <= port && port <= one.last);
  const found = new Map<string, KeptPort>();
  for (const { protocol: name, port, address } of used) {
    const protocol = NUMBERS[name];
    // Sockets of the loopback are in nobody's way. Those that hold published ports are our own.
    if (address.startsWith('127.') || !ours(protocol, port, true) || ours(protocol, port, false)) continue;
    found.set(`${protocol} ${port}`, { protocol, port });
  }
  return [...found.values()];
}

/** The same without what the host keeps. */
export function withoutKept(owned: readonly OwnedPorts[], kept: readonly KeptPort[]): OwnedPorts[] {
  return owned.flatMap((one) => {
    if (!one.yields) return [one];
    const others = kept.filter(({ protocol }) => protocol === one.protocol);
    const left = subtractRanges(
      [one],
      others.map(({ port }) => ({ first: port, last: port })),
    );
    return left.map((range) => ({ ...one, ...range }));
  });
}

/** What the guard keeps from the host's stack. @param addresses of the host on the uplink, with prefix lengths */
export function guardedPorts(owned: readonly OwnedPorts[], addresses: readonly string[]): GuardedPorts[] {
  const bare = addresses.map(withoutLength);
  return owned.filter(hasPorts).flatMap(({ family, address, protocol, first, last }) => {
    const own = address === null ? bare.filter((text) => text.includes(':') === (family === 6)) : [address];
    return own.map((one) => ({ address: one, protocol, first, last }));
  });
}

/** Ports that the host should not choose for connections of its own. */
export function reservedRanges(owned: readonly OwnedPorts[]): PortRange[] {
  return mergeRanges(owned.filter(hasPorts));
}

function hasPorts({ protocol }: OwnedPorts): boolean {
  return protocol !== ICMP && protocol !== ICMPV6 && protocol !== IGMP;
}
