/** What the address translation of networks asks of each other and of the uplink. */

import { addressBits, contains, formatSubnet, overlaps, parseSubnet, type Subnet } from './address.js';
import { conflict, invalid, type Problem } from './problems.js';
import type { Configuration, NetworkConfig, OwnUplinkConfig } from './schema.js';
import { knownAddress, linksIn, unusable, uplinkGateways } from './subnets.js';

/** RFC 6296, 2: what is behind the 64th bit is the host's. */
const NPTV6_LONGEST = 64;

export function checkTranslation(config: Configuration): Problem[] {
  const outside: { owner: string; subnet: Subnet }[] = [];
  const problems: Problem[] = [];
  for (const [name, network] of config.networks) {
    problems.push(...checkPool(name, network, config), ...checkIpv6(name, network));
    if (network.nptv6 === undefined) continue;
    const subnet = parseSubnet(network.nptv6);
    const links = linksIn(network.vrf, config);
    const other = [...outside, ...links].find((one) => overlaps(one.subnet, subnet));
    if (other !== undefined) {
      const what = `${network.nptv6} overlaps ${formatSubnet(other.subnet)} of ${other.owner}; take another prefix`;
      problems.push(conflict(['networks', name, 'nptv6'], what));
    }
    outside.push({ owner: `network ${name}`, subnet });
  }
  return problems;
}

/** Addresses that packets leave from must be Tapline's on the wire. */
function checkPool(name: string, { masquerade, vrf }: NetworkConfig, config: Configuration): Problem[] {
  if (!Array.isArray(masquerade)) return [];
  const { uplink } = config;
  const path = ['networks', name, 'masquerade'];
  if (uplink === null || uplink.mode !== 'own') {
    const got = uplink === null ? 'there is none' : `its mode is ${uplink.mode}`;
    return [invalid(path, `addresses to leave from need an uplink of mode own; ${got}`)];
  }
  if (uplink.vrf !== vrf) {
    return [invalid(path, `the network is in VRF ${vrf}, the uplink in VRF ${uplink.vrf}: nothing leaves by it`)];
  }
  return masquerade.flatMap((text, index) => {
    if (masquerade.indexOf(text) !== index) return [invalid(path, `${text} given twice`)];
    const problem = whoseElse(text, config.networks) ?? notOnWire(text, uplink);
    return problem === null ? [] : [conflict(path, problem)];
  });
}

/** The network that has an address already, as the end of an error line; or null. */
function whoseElse(text: string, networks: Configuration['networks']): string | null {
  for (const [name, { subnets }] of networks) {
    const inside = subnets.map(parseSubnet).find((subnet) => contains(subnet, knownAddress(text)));
    if (inside !== undefined) return `${text} is in ${formatSubnet(inside)} of network ${name}, not on the wire`;
  }
  return null;
}

/** Why nobody can have an address on the wire, or somebody else has it; or null. */
function notOnWire(text: string, uplink: OwnUplinkConfig): string | null {
  if (uplinkGateways(uplink).includes(text)) return `${text} is the gateway of the uplink`;
  for (const wire of uplink.addresses.map(parseSubnet)) {
    const why = contains(wire, knownAddress(text)) ? unusable(wire, knownAddress(text)) : null;
    if (why !== null && wire.prefix < addressBits(wire.family) - 1) return `${text} is the ${why} of the wire`;
  }
  return null;
}

function checkIpv6(name: string, { subnets, nat66, nptv6, masquerade }: NetworkConfig): Problem[] {
  const path = ['networks', name];
  const six = subnets.filter((subnet) => subnet.includes(':'));
  const isHidden = nat66 || (Array.isArray(masquerade) && masquerade.some((address) => address.includes(':')));
  if (nat66 && six.length === 0) return [invalid([...path, 'nat66'], 'needs an IPv6 subnet')];
  if (nptv6 === undefined) return [];
  const key = [...path, 'nptv6'];
  if (isHidden) return [conflict(key, 'either translates prefixes, or addresses (nat66, masquerade): not both')];
  if (six.length !== 1) return [invalid(key, `needs exactly one IPv6 subnet, got ${six.length}`)];
  const prefixes = [parseSubnet(six[0] as string), parseSubnet(nptv6)];
  const long = prefixes.find(({ prefix }) => prefix > NPTV6_LONGEST);
  if (long === undefined) return [];
  return [invalid(key, `${formatSubnet(long)} is longer than 64 bits, which RFC 6296 does not translate`)];
}
