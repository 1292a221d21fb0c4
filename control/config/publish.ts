/** Published ports against the uplink, their endpoint's network and each other. */

import { type Address, formatAddress, isUnspecified, withoutLength } from './address.js';
import { AT_UPLINK, type Claim, overlapProblems } from './claims.js';
import { type PublishSpec, readPublish } from './fields.js';
import { invalid, type Problem } from './problems.js';
import type { Configuration, NetworkConfig, UplinkConfig } from './schema.js';
import { vxlanClaims } from './vxlan.js';

export { isUnspecified } from './address.js';

type Objects = Pick<Configuration, 'uplink' | 'networks' | 'endpoints'>;
type Families = readonly (4 | 6)[];
/** An uplink whose addresses are configured. */
type WireUplink = Extract<UplinkConfig, { addresses: string[] }>;

/** A published port as the configuration has it. Throws on text that has not been validated before. */
export function publishSpec(text: string): PublishSpec {
  const read = readPublish(text);
  if (!('value' in read)) throw new Error(`not a published port: ${text}`);
  return read.value;
}

/** True for 127.0.0.0/8 and ::1. */
export function isLoopback({ family, value }: Address): boolean {
  return family === 4 ? value >> 24n === 127n : value === 1n;
}

/** Families in which it is there, for an endpoint that has these. */
export function publishFamilies({ address }: PublishSpec, families: Families): Families {
  return families.filter((family) => address === null || address.family === family);
}

/** Families of which a network has a subnet. */
export function networkFamilies({ subnets }: NetworkConfig): Families {
  return ([4, 6] as const).filter((family) => subnets.some((subnet) => subnet.includes(':') === (family === 6)));
}

/** Addresses that the router has on the wire: the uplink's, and those that networks leave from. */
export function wireAddresses(uplink: WireUplink, { networks }: Pick<Objects, 'networks'>): string[] {
  const own = uplink.addresses.map(withoutLength);
  const pools = [...networks.values()].flatMap(({ vrf, masquerade }) =>
    vrf === uplink.vrf && Array.isArray(masquerade) ? masquerade : [],
  );
  return [...new Set([...own, ...pools])];
}

/** Why nothing of a network can be reached at the uplink's addresses, and what would help. */
export interface Unpublishable {
  readonly why: string;
  /** '': nothing but to do without. */
  readonly remedy: string;
}

export function unpublishable(name: string, network: NetworkConfig, uplink: UplinkConfig | null): Unpublishable | null {
  const needs = 'needs an uplink of mode own, shared or routed';
  if (uplink === null) return { why: `${needs}; there is none`, remedy: '' };
  if (uplink.mode === 'bridged') return { why: `${needs}, got bridged`, remedy: '' };
  if (network.internal)
    return { why: `network ${name} is internal: nothing of it is published`, remedy: 'leave out internal' };
  if (network.vrf === uplink.vrf) return null;
  const where = `network ${name} is in VRF ${network.vrf}, the uplink in VRF ${uplink.vrf}`;
  return { why: `${where}; nothing is published across VRFs`, remedy: '' };
}

/** What is wrong with the address that it is bound to; or null. */
function addressMistake(
  { address }: PublishSpec,
  name: string,
  network: NetworkConfig,
  config: Objects,
): string | null {
  const { uplink } = config;
  if (address === null) return null;
  if (!networkFamilies(network).includes(address.family)) return `network ${name} has no IPv${address.family} subnet`;
  // Which addresses the host has shows when it is made.
  if (isUnspecified(address) || uplink === null || !('addresses' in uplink)) return null;
  const there = wireAddresses(uplink, config);
  if (there.includes(formatAddress(address))) return null;
  return `expected an address of the uplink, ${there.join(' or ')}, to publish on, got ${formatAddress(address)}`;
}

interface PublishedClaims {
  readonly claims: readonly Claim[];
  /** Of those that are no claims. */
  readonly problems: readonly Problem[];
}

/** What endpoints have published; those with unknown networks have their problems elsewhere. */
export function publishedClaims(config: Objects): PublishedClaims {
  const problems: Problem[] = [];
  const claims: Claim[] = [];
  for (const [owner, { network: name, publish }] of config.endpoints) {
    const network = config.networks.get(name);
    if (network === undefined || publish.length === 0) continue;
    const reason = unpublishable(name, network, config.uplink);
    if (reason !== null) {
      const line = reason.remedy === '' ? reason.why : `${reason.why}; ${reason.remedy}, or this`;
      problems.push(invalid(['endpoints', owner, 'publish'], line));
      continue;
    }
    publish.forEach((text, index) => {
      const spec = publishSpec(text);
      const path = ['endpoints', owner, 'publish', index];
      const mistake = addressMistake(spec, name, network, config);
      if (mistake !== null) problems.push(invalid(path, mistake));
      else claims.push({ ...spec, place: AT_UPLINK, text, kind: 'endpoint', owner, path });
    });
  }
  return { claims, problems };
}

/** @returns the problems of all endpoints' published ports */
export function checkPublished(config: Objects): Problem[] {
  const { claims, problems } = publishedClaims(config);
  const overlays = vxlanClaims(config);
  return [...problems, ...overlapProblems([...overlays, ...claims], overlays.length)];
}
