/** What the address translation of networks asks of each other and of the uplink. */

import { contains, formatSubnet, overlaps, parseSubnet, type Subnet } from './address.js';
import { conflict, invalid, type Problem } from './problems.js';
import type { Configuration, NetworkConfig } from './schema.js';
import { knownAddress } from './subnets.js';

/** RFC 6296, 2: what is behind the 64th bit is the host's. */
const NPTV6_LONGEST = 64;

export function checkTranslation(config: Configuration): Problem[] {
  const outside: { name: string; subnet: Subnet }[] = [];
  const problems: Problem[] = [];
  for (const [name, network] of config.networks) {
    problems.push(...checkPool(name, network, config), ...checkIpv6(name, network));
    if (network.nptv6 === undefined) continue;
    const subnet = parseSubnet(network.nptv6);
    const other = outside.find((one) => overlaps(one.subnet, subnet));
    if (other !== undefined) {
      const what = `${network.nptv6} overlaps ${formatSubnet(other.subnet)} of network ${other.name}`;
      problems.push(conflict(['networks', name, 'nptv6'], what));
    }
    outside.push({ name, subnet });
  }
  return problems;
}

/** Addresses that packets leave from must be Tapline's on the wire. */
function checkPool(name: string, { masquerade }: NetworkConfig, { uplink, networks }: Configuration): Problem[] {
  if (!Array.isArray(masquerade)) return [];
  const path = ['networks', name, 'masquerade'];
  if (uplink === null || uplink.mode !== 'own') {
    const got = uplink === null ? 'there is none' : `its mode is ${uplink.mode}`;
    return [invalid(path, `addresses to leave from need an uplink of mode own; ${got}`)];
  }
  return masquerade.flatMap((text) => {
    const address = knownAddress(text);
    for (const [other, { subnets }] of networks) {
      const inside = subnets.map(parseSubnet).find((subnet) => contains(subnet, address));
      if (inside === undefined) continue;
      return [conflict(path, `${text} is in ${formatSubnet(inside)} of network ${other}, not on the wire`)];
    }
    return [];
  });
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
  if (prefixes[1]?.family !== 6) return [invalid(key, `expected an IPv6 prefix, got ${nptv6}`)];
  const long = prefixes.find(({ prefix }) => prefix > NPTV6_LONGEST);
  if (long === undefined) return [];
  return [invalid(key, `${formatSubnet(long)} is longer than 64 bits, which RFC 6296 does not translate`)];
}
