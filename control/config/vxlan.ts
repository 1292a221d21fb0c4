/** Overlays against the uplink, their network, published ports and each other. */

import { type Address, contains, formatAddress, parseSubnet, withoutLength } from './address.js';
import { AT_UPLINK, type Claim, overlapProblems } from './claims.js';
import { ALL_MACS } from './fields.js';
import { conflict, invalid, type KeyPath, type Problem } from './problems.js';
import type { Configuration, NetworkConfig, UplinkConfig, VxlanConfig } from './schema.js';
import { gatewaysOf, knownAddress, unusable } from './subnets.js';

type Objects = Pick<Configuration, 'uplink' | 'networks'>;

/** Least MTU of a link that carries IPv6 (RFC 8200 section 5). */
export const IPV6_MIN_MTU = 1280;

/** Outer IPv4 or IPv6 header, UDP and VXLAN headers, inner Ethernet header (RFC 7348 section 5); RFC 8200 section 3 for IPv6. */
const OVERHEAD: Readonly<Record<4 | 6, number>> = { 4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14 };

/** Bytes that a tunnel takes of the underlay's MTU. @param local address of the network's own VTEP */
export function vxlanOverhead(local: string): number {
  return OVERHEAD[knownAddress(local).family];
}

/** True for a network that has an IPv6 subnet, whose MTU can be no less than IPV6_MIN_MTU. */
export function carriesIpv6({ subnets }: NetworkConfig): boolean {
  return subnets.some((text) => parseSubnet(text).family === 6);
}

/** Addresses that cannot be a remote end here, and why, as the end of an error line; or null. */
function remoteMistake(text: string, { local }: VxlanConfig, config: Objects): string | null {
  const remote = knownAddress(text);
  if (text === local) return `${text} is the address of the VTEP itself`;
  const { family } = knownAddress(local);
  if (remote.family !== family) return `expected an address of the family of local ${local}, got ${text}`;
  return wireMistake(remote, config.uplink) ?? insideMistake(remote, config);
}

/** An address of the uplink's wire that no host has. */
function wireMistake(remote: Address, uplink: UplinkConfig | null): string | null {
  if (uplink === null || !('addresses' in uplink)) return null;
  const text = formatAddress(remote);
  if (uplink.addresses.some((own) => withoutLength(own) === text)) return `${text} is an address of this uplink`;
  for (const wire of uplink.addresses.map(parseSubnet)) {
    // Of two addresses, or one, none is set apart (RFC 3021).
    const why = wire.family === 4 && wire.prefix >= 31 ? null : unusable(wire, remote);
    if (why !== null) return `${text} is the ${why} of the uplink's wire`;
  }
  return null;
}

/** A tunnel that leads through a network of this host would lead through itself. */
function insideMistake(remote: Address, { uplink, networks }: Objects): string | null {
  if (uplink === null || uplink.mode === 'bridged') return null;
  for (const [name, { vrf, subnets }] of networks) {
    const subnet = subnets.find((text) => contains(parseSubnet(text), remote));
    if (subnet === undefined || vrf !== uplink.vrf) continue;
    return `expected an address outside, got ${formatAddress(remote)}, which is in ${subnet} of network ${name}`;
  }
  return null;
}

function checkRemotes(path: KeyPath, vxlan: VxlanConfig, config: Objects): Problem[] {
  const problems: Problem[] = [];
  vxlan.remotes.forEach((text, index) => {
    const at = [...path, 'remotes', index];
    const mistake = remoteMistake(text, vxlan, config);
    if (mistake !== null) problems.push(invalid(at, mistake));
    else if (vxlan.remotes.indexOf(text) !== index) problems.push(invalid(at, `${text} given twice`));
  });
  return problems;
}

function checkGroup(path: KeyPath, { group, local }: VxlanConfig): Problem[] {
  if (group === undefined || knownAddress(group).family === knownAddress(local).family) return [];
  return [invalid([...path, 'group'], `expected an address of the family of local ${local}, got ${group}`)];
}

/** A MAC is behind one VTEP; what is flooded may go to many. */
function checkEntries(path: KeyPath, vxlan: VxlanConfig, config: Objects): Problem[] {
  const problems: Problem[] = [];
  const seen = new Map<string, string>();
  vxlan.fdb.forEach(({ mac, vtep }, index) => {
    const at = [...path, 'fdb', index];
    const mistake = remoteMistake(vtep, vxlan, config);
    if (mistake !== null) problems.push(invalid([...at, 'vtep'], mistake));
    const key = mac === ALL_MACS ? `${mac} ${vtep}` : mac;
    const before = seen.get(key);
    if (before !== undefined) {
      const what = mac === ALL_MACS ? `${mac} at ${vtep} given twice` : `${mac} given twice, at ${before} and ${vtep}`;
      problems.push(invalid([...at, 'mac'], what));
    } else seen.set(key, vtep);
  });
  return problems;
}

export function checkNeighbors(
  path: KeyPath,
  name: string,
  network: NetworkConfig,
  { neighbors }: Pick<VxlanConfig, 'neighbors'>,
): Problem[] {
  const problems: Problem[] = [];
  const gateways = gatewaysOf(network).map(formatAddress);
  neighbors.forEach(({ address }, index) => {
    const at = [...path, 'neighbors', index, 'address'];
    const host = knownAddress(address);
    const subnet = network.subnets.map(parseSubnet).find((candidate) => contains(candidate, host));
    if (subnet === undefined) {
      const where = network.subnets.join(' or ');
      problems.push(invalid(at, `expected an address in ${where} of network ${name}, got ${address}`));
      return;
    }
    const why = unusable(subnet, host) ?? (gateways.includes(address) ? 'gateway address' : null);
    if (why !== null) problems.push(invalid(at, `${address} is the ${why} of network ${name}`));
    else if (neighbors.findIndex((other) => other.address === address) !== index)
      problems.push(invalid(at, `${address} given twice`));
  });
  return problems;
}

/** The addresses of a shared uplink are the host's, which show when it is there. */
function checkUplinkOf(path: KeyPath, { local }: VxlanConfig, { uplink }: Objects): Problem[] {
  const needs = 'needs an uplink of mode own, shared or routed';
  if (uplink === null) return [invalid(path, `${needs}; there is none`)];
  if (uplink.mode === 'bridged') return [invalid(path, `${needs}, got bridged`)];
  if (uplink.mode === 'shared') return [];
  const addresses = uplink.addresses.map(withoutLength);
  if (addresses.includes(local)) return [];
  return [invalid([...path, 'local'], `expected an address of the uplink, ${addresses.join(' or ')}, got ${local}`)];
}

/** VNIs that are taken, by UDP port, and whose they are. */
export type TakenVnis = Map<string, string>;

/** @param taken by networks before; its own are added */
export function checkVxlan(name: string, network: NetworkConfig, config: Objects, taken: TakenVnis): Problem[] {
  const { vxlan } = network;
  if (vxlan === undefined) return [];
  const path = ['networks', name, 'vxlan'];
  const problems: Problem[] = [];
  const key = `${vxlan.port} ${vxlan.vni}`;
  const owner = taken.get(key);
  if (owner === undefined) taken.set(key, name);
  else {
    const what = `${vxlan.vni} is the VNI of network ${owner} at UDP port ${vxlan.port}`;
    problems.push(conflict([...path, 'vni'], `${what}; choose another VNI, or another port`));
  }
  return [
    ...problems,
    ...checkUplinkOf(path, vxlan, config),
    ...checkRemotes(path, vxlan, config),
    ...checkGroup(path, vxlan),
    ...checkEntries(path, vxlan, config),
    ...checkNeighbors(path, name, network, vxlan),
  ];
}

/** The UDP port that an overlay takes packets at. */
function vxlanClaim(name: string, { local, port }: VxlanConfig): Claim {
  const address = knownAddress(local);
  const where = address.family === 4 ? local : `[${local}]`;
  const place = { place: AT_UPLINK, protocol: 'udp', address, first: port, last: port };
  return {
    ...place,
    text: `${where}:${port}/udp`,
    kind: 'network',
    owner: name,
    path: ['networks', name, 'vxlan', 'port'],
  };
}

/** Ports of the uplink that are the overlays', each once: many share one and are told apart by their VNIs. */
export function vxlanClaims({ networks }: Pick<Configuration, 'networks'>): Claim[] {
  const claims = new Map<string, Claim>();
  for (const [name, { vxlan }] of networks) {
    const claim = vxlan === undefined ? null : vxlanClaim(name, vxlan);
    if (claim !== null && !claims.has(claim.text)) claims.set(claim.text, claim);
  }
  return [...claims.values()];
}

/** What an overlay that is to come would take from those that are there. @param taken by published ports and services */
export function vxlanInTheWay(name: string, { vxlan }: NetworkConfig, taken: readonly Claim[]): Problem[] {
  return vxlan === undefined ? [] : overlapProblems([...taken, vxlanClaim(name, vxlan)], taken.length);
}
