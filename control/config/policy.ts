/** Checks of the policy's rules: what they name must exist, and some packet must fit. */

import { type Family, parseSubnet } from './address.js';
import { invalid, type KeyPath, type Problem } from './problems.js';
import type { Configuration, PolicyRule } from './schema.js';

type Objects = Pick<Configuration, 'networks' | 'endpoints'>;

const WITH_PORTS: readonly (string | undefined)[] = ['tcp', 'udp', 'sctp'];
/** Protocols of one family alone. */
const FAMILIES: Readonly<Record<string, Family>> = { icmp: 4, icmpv6: 6 };

function missing(path: KeyPath, what: string, name: string): Problem {
  return { path, kind: 'missing', message: `expected the name of ${what}, got ${JSON.stringify(name)}` };
}

function checkNames(path: KeyPath, rule: PolicyRule, { networks, endpoints }: Objects): Problem[] {
  const problems: Problem[] = [];
  for (const side of ['from', 'to'] as const) {
    const { network, endpoint } = rule[side] ?? {};
    if (network !== undefined && !networks.has(network))
      problems.push(missing([...path, side, 'network'], 'a network', network));
    if (endpoint !== undefined && !endpoints.has(endpoint))
      problems.push(missing([...path, side, 'endpoint'], 'an endpoint', endpoint));
  }
  return problems;
}

/** A rule that no packet can fit is a mistake. */
function checkFamilies(path: KeyPath, { from, to, proto }: PolicyRule): Problem[] {
  const familyOf = (cidr: string | undefined): Family | undefined =>
    cidr === undefined ? undefined : parseSubnet(cidr).family;
  const source = familyOf(from?.cidr);
  const destination = familyOf(to?.cidr);
  if (source !== undefined && destination !== undefined && source !== destination)
    return [invalid([...path, 'to', 'cidr'], `expected an IPv${source} prefix, as from has one, got ${to?.cidr}`)];
  const family = source ?? destination;
  const wanted = FAMILIES[proto ?? ''];
  if (family === undefined || wanted === undefined || family === wanted) return [];
  const right = family === 4 ? 'icmp' : 'icmpv6';
  return [invalid([...path, 'proto'], `expected ${right}, as the prefix is IPv${family}, got ${proto}`)];
}

/** One rule. @param path of it */
export function checkRule(path: KeyPath, rule: PolicyRule, config: Objects): Problem[] {
  const problems = [...checkNames(path, rule, config), ...checkFamilies(path, rule)];
  if (rule.ports.length > 0 && !WITH_PORTS.includes(rule.proto))
    problems.push(invalid([...path, 'ports'], 'ports need proto: tcp, proto: udp or proto: sctp'));
  return problems;
}

export function checkPolicy(config: Configuration): Problem[] {
  return config.policy.flatMap((rule, index) => checkRule(['policy', index], rule, config));
}
