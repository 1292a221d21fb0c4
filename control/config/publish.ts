/** Published ports against the uplink, their endpoint's network and each other. */

import { type Address, formatAddress } from './address.js';
import { formatPublish, type PublishSpec, readPublish } from './fields.js';
import { conflict, invalid, type KeyPath, type Problem } from './problems.js';
import type { Configuration, NetworkConfig, UplinkConfig } from './schema.js';

type Objects = Pick<Configuration, 'uplink' | 'networks' | 'endpoints'>;
type Families = readonly (4 | 6)[];

/** A published port as the configuration has it. Throws on text that has not been validated before. */
export function publishSpec(text: string): PublishSpec {
  const read = readPublish(text);
  if (!('value' in read)) throw new Error(`not a published port: ${text}`);
  return read.value;
}

/** True for 0.0.0.0 and ::, which stand for all addresses of their family. */
export function isUnspecified({ value }: Address): boolean {
  return value === 0n;
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
function wireAddresses(uplink: Extract<UplinkConfig, { addresses: string[] }>, { networks }: Objects): string[] {
  const own = uplink.addresses.map((text) => text.split('/', 1)[0] ?? text);
  const pools = [...networks.values()].flatMap(({ vrf, masquerade }) =>
    vrf === uplink.vrf && Array.isArray(masquerade) ? masquerade : [],
  );
  return [...new Set([...own, ...pools])];
}

/** Why an endpoint of the network can have no published ports at all; or null. */
function unpublishable(name: string, network: NetworkConfig, uplink: UplinkConfig | null): string | null {
  const modes = 'an uplink of mode own, shared or routed';
  if (uplink === null) return `needs ${modes}; there is none`;
  if (uplink.mode === 'bridged') return `needs ${modes}, got bridged`;
  if (network.internal) return `network ${name} is internal: nothing of it is published; leave out internal, or this`;
  if (network.vrf === uplink.vrf) return null;
  return `network ${name} is in VRF ${network.vrf}, the uplink in VRF ${uplink.vrf}; nothing is published across VRFs`;
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

/** A published port, and where it is said. */
interface Claim extends PublishSpec {
  readonly owner: string;
  readonly path: KeyPath;
  /** Its place among all, in the order of the file. */
  readonly order: number;
}

function isSameAddress(a: Address | null, b: Address | null): boolean {
  if (a === null || b === null) return true;
  return a.family === b.family && (a.value === b.value || isUnspecified(a) || isUnspecified(b));
}

function overlapProblem(a: Claim, b: Claim): Problem {
  const [before, after] = a.order < b.order ? [a, b] : [b, a];
  const whose = before.owner === after.owner ? 'this endpoint' : `endpoint ${before.owner}`;
  const what = `${formatPublish(after)} is taken by ${formatPublish(before)} of ${whose}`;
  return conflict(after.path, `${what}; choose other ports, or another address`);
}

/** By first port, each is compared with those before it that reach as far: seldom more than one. */
function checkOverlaps(claims: readonly Claim[]): Problem[] {
  const found: { problem: Problem; order: number }[] = [];
  let open: Claim[] = [];
  for (const claim of claims.toSorted((a, b) => a.first - b.first || a.order - b.order)) {
    open = open.filter(({ last }) => last >= claim.first);
    for (const other of open) {
      if (other.protocol !== claim.protocol || !isSameAddress(other.address, claim.address)) continue;
      found.push({ problem: overlapProblem(other, claim), order: Math.max(other.order, claim.order) });
    }
    open.push(claim);
  }
  return found.sort((a, b) => a.order - b.order).map(({ problem }) => problem);
}

/** @returns the problems of all endpoints' published ports; those with unknown networks have theirs elsewhere */
export function checkPublished(config: Objects): Problem[] {
  const problems: Problem[] = [];
  const claims: Claim[] = [];
  for (const [owner, { network: name, publish }] of config.endpoints) {
    const network = config.networks.get(name);
    if (network === undefined || publish.length === 0) continue;
    const why = unpublishable(name, network, config.uplink);
    if (why !== null) {
      problems.push(invalid(['endpoints', owner, 'publish'], why));
      continue;
    }
    publish.forEach((text, index) => {
      const spec = publishSpec(text);
      const path = ['endpoints', owner, 'publish', index];
      const mistake = addressMistake(spec, name, network, config);
      if (mistake !== null) problems.push(invalid(path, mistake));
      else claims.push({ ...spec, owner, path, order: claims.length });
    });
  }
  return [...problems, ...checkOverlaps(claims)];
}
