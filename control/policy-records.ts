/** From the policy's words to the records that core/nat/policy.ts decides by: names become interfaces and addresses. */

import {
  POLICY_ACCEPT,
  POLICY_DROP,
  POLICY_REJECT,
  RULE_ACTION,
  RULE_FIRST_PORT,
  RULE_FROM,
  RULE_FROM_FAMILY,
  RULE_FROM_IFACE,
  RULE_LAST_PORT,
  RULE_NUMBER,
  RULE_PROTOCOL,
  RULE_RECORD,
  RULE_TO,
  RULE_TO_FAMILY,
  RULE_TO_IFACE,
} from '../core/nat/policy.js';
import { words } from './address-words.js';
import { overlaps, parseSubnet } from './config/address.js';
import { parsePortRange } from './config/fields.js';
import type { PolicyRule } from './config/schema.js';

export type PolicyAction = PolicyRule['action'];
type Match = NonNullable<PolicyRule['from']>;

/** A network that is up. */
export interface PolicyNetwork {
  readonly name: string;
  /** The dataplane's number. */
  readonly number: number;
  /** Number of the router's interface in it; where its gateway is outside, its own number, negative. */
  readonly place: number;
  readonly subnets: readonly string[];
  /** Of connections to its endpoints that no rule decides on. */
  readonly action: PolicyAction;
  /** Others may be in it than endpoints that keep to their addresses. */
  readonly isOpen: boolean;
}

/** An endpoint that has its addresses. */
export interface PolicyEndpoint {
  readonly name: string;
  readonly network: string;
  /** CIDR: all that it may speak from. */
  readonly prefixes: readonly string[];
}

/** What health checks in a network come from. */
export interface PolicyChecks {
  readonly network: string;
  /** CIDR. */
  readonly prefixes: readonly string[];
}

export interface PolicyObjects {
  readonly networks: readonly PolicyNetwork[];
  readonly endpoints: readonly PolicyEndpoint[];
  readonly checks: readonly PolicyChecks[];
}

/** A rule with the number under which its hits are counted. */
export interface NumberedRule {
  readonly number: number;
  readonly config: PolicyRule;
}

export interface PolicyRecords {
  /** RULE_RECORD words each. */
  readonly records: Int32Array;
  /** Networks whose frames from endpoint to endpoint are judged: pairs of the network's number and its place. */
  readonly filtered: Int32Array;
}

const ACTIONS: Readonly<Record<PolicyAction, number>> = {
  accept: POLICY_ACCEPT,
  drop: POLICY_DROP,
  reject: POLICY_REJECT,
};

/** IANA protocol numbers; 0: any. */
const PROTOCOLS: Readonly<Record<NonNullable<PolicyRule['proto']>, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
};

/** One thing that a side of a rule fits. */
interface Side {
  /** 0: anywhere. */
  readonly place: number;
  /** 0: any address. */
  readonly family: 0 | 4 | 6;
  /** Four words of the prefix and its length. */
  readonly prefix: readonly number[];
}

const ANY_ADDRESS = { family: 0, prefix: [0, 0, 0, 0, 0] } as const;

function prefixSide(place: number, text: string): Side {
  const { family, base, prefix } = parseSubnet(text);
  return { place, family, prefix: [...words(base, 4), prefix] };
}

/** All that a side fits; nothing while what it names is away. */
function sidesOf(match: Match | undefined, { networks, endpoints }: PolicyObjects): Side[] {
  if (match === undefined) return [{ place: 0, ...ANY_ADDRESS }];
  if (match.cidr !== undefined) return [prefixSide(0, match.cidr)];
  const endpoint = endpoints.find(({ name }) => name === match.endpoint);
  const network = networks.find(({ name }) => name === (match.network ?? endpoint?.network));
  if (network === undefined) return [];
  if (match.network !== undefined) return [{ place: network.place, ...ANY_ADDRESS }];
  return (endpoint?.prefixes ?? []).map((prefix) => prefixSide(network.place, prefix));
}

/** First and last, as numbers. */
function portsOf({ ports }: PolicyRule): [number, number][] {
  if (ports.length === 0) return [[0, 65_535]];
  return ports.map((port) => {
    const range = parsePortRange(String(port));
    if (range === null) throw new Error(`not a port: ${port}`);
    return [range.first, range.last];
  });
}

function record(
  number: number,
  action: PolicyAction,
  from: Side,
  to: Side,
  protocol = 0,
  ports = [0, 65_535],
): number[] {
  const list = new Array<number>(RULE_RECORD).fill(0);
  list[RULE_NUMBER] = number;
  list[RULE_ACTION] = ACTIONS[action];
  list[RULE_FROM_IFACE] = from.place;
  list[RULE_TO_IFACE] = to.place;
  list[RULE_FROM_FAMILY] = from.family;
  list.splice(RULE_FROM, from.prefix.length, ...from.prefix);
  list[RULE_TO_FAMILY] = to.family;
  list.splice(RULE_TO, to.prefix.length, ...to.prefix);
  list[RULE_PROTOCOL] = protocol;
  list[RULE_FIRST_PORT] = ports[0] ?? 0;
  list[RULE_LAST_PORT] = ports[1] ?? 0;
  return list;
}

function ruleRecords({ number, config }: NumberedRule, objects: PolicyObjects): number[][] {
  const records: number[][] = [];
  const protocol = config.proto === undefined ? 0 : PROTOCOLS[config.proto];
  const only = config.proto === 'icmp' ? 4 : config.proto === 'icmpv6' ? 6 : 0;
  const targets = sidesOf(config.to, objects);
  for (const from of sidesOf(config.from, objects)) {
    for (const to of targets) {
      if (new Set([from.family, to.family, only].filter((family) => family !== 0)).size > 1) continue;
      for (const ports of portsOf(config)) records.push(record(number, config.action, from, to, protocol, ports));
    }
  }
  return records;
}

/** Whether somebody in the network may be what a side fits. */
function fitsInside(match: Match | undefined, network: PolicyNetwork, { endpoints }: PolicyObjects): boolean {
  if (match === undefined) return true;
  if (match.network !== undefined) return match.network === network.name;
  const inside = endpoints.filter((endpoint) => endpoint.network === network.name);
  if (match.endpoint !== undefined) return inside.some(({ name }) => name === match.endpoint);
  if (match.cidr === undefined || network.isOpen) return true;
  const cidr = parseSubnet(match.cidr);
  return [...network.subnets, ...inside.flatMap(({ prefixes }) => prefixes)].some((text) =>
    overlaps(cidr, parseSubnet(text)),
  );
}

/** Frames from endpoint to endpoint are looked at only where something may be refused. */
function isFiltered(network: PolicyNetwork, rules: readonly NumberedRule[], objects: PolicyObjects): boolean {
  if (network.action !== 'accept') return true;
  return rules.some(
    ({ config: { action, from, to } }) =>
      action !== 'accept' && fitsInside(from, network, objects) && fitsInside(to, network, objects),
  );
}

/** Health checks reach whom they look after, whatever the rules say of others. */
function checkRecords(number: number, network: PolicyNetwork, { checks }: PolicyObjects): number[][] {
  const prefixes = checks.filter((one) => one.network === network.name).flatMap((one) => one.prefixes);
  const inside: Side = { place: network.place, ...ANY_ADDRESS };
  return prefixes.map((prefix) => record(number, 'accept', prefixSide(network.place, prefix), inside));
}

/**
 * @param rules in the order in which they decide
 * @param defaults numbers of the networks' own actions, by name, for those that do not accept: they come after all rules
 * @param checking number of what lets health checks through, before all rules
 */
export function policyRecords(
  rules: readonly NumberedRule[],
  defaults: ReadonlyMap<string, number>,
  objects: PolicyObjects,
  checking: number | null = null,
): PolicyRecords {
  const records = rules.flatMap((rule) => ruleRecords(rule, objects));
  const filtered: number[] = [];
  for (const network of objects.networks) {
    // Elsewhere nobody asks.
    if (checking !== null && isFiltered(network, rules, objects))
      records.unshift(...checkRecords(checking, network, objects));
    const number = defaults.get(network.name);
    const anybody: Side = { place: 0, ...ANY_ADDRESS };
    if (number !== undefined)
      records.push(record(number, network.action, anybody, { ...anybody, place: network.place }));
    if (isFiltered(network, rules, objects)) filtered.push(network.number, network.place);
  }
  return { records: Int32Array.from(records.flat()), filtered: Int32Array.from(filtered) };
}

/** What a rule waits for; empty where it names nothing that is away. */
export function missingObject({ from, to }: PolicyRule, { networks, endpoints }: PolicyObjects): string {
  for (const match of [from, to]) {
    const { network, endpoint } = match ?? {};
    if (network !== undefined && !networks.some(({ name }) => name === network)) return `network ${network} is not up`;
    if (endpoint !== undefined && !endpoints.some(({ name }) => name === endpoint))
      return `endpoint ${endpoint} is not up`;
  }
  return '';
}
