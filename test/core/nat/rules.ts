/** Rules as tests write them, and as records of the policy. */

import {
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
} from '../../../core/nat/policy.js';
import { word4, words6 } from '../router/lab.js';

export interface Side {
  readonly iface: number;
  readonly family: number;
  readonly words: readonly number[];
  readonly length: number;
}

export interface Rule {
  readonly number: number;
  readonly action: number;
  readonly from: Side;
  readonly to: Side;
  readonly protocol: number;
  readonly ports: readonly [number, number];
}

export const ANY: Side = { iface: 0, family: 0, words: [0, 0, 0, 0], length: 0 };

/** An address with prefix length, behind an interface. */
export function at(text: string, iface = 0): Side {
  const [address, length] = text.split('/');
  const isIpv6 = address.includes(':');
  const words = isIpv6 ? [...words6(address)] : [0, 0, 0, word4(address)];
  return { iface, family: isIpv6 ? 6 : 4, words, length: Number(length) };
}

export function rule(number: number, action: number, part: Partial<Rule> = {}): Rule {
  return { number, action, from: ANY, to: ANY, protocol: 0, ports: [0, 65_535], ...part };
}

export function records(rules: readonly Rule[]): Int32Array {
  const words = new Int32Array(rules.length * RULE_RECORD);
  rules.forEach(({ number, action, from, to, protocol, ports }, index) => {
    const record = words.subarray(index * RULE_RECORD);
    record[RULE_NUMBER] = number;
    record[RULE_ACTION] = action;
    record[RULE_FROM_IFACE] = from.iface;
    record[RULE_TO_IFACE] = to.iface;
    record[RULE_FROM_FAMILY] = from.family;
    record.set([...from.words, from.length], RULE_FROM);
    record[RULE_TO_FAMILY] = to.family;
    record.set([...to.words, to.length], RULE_TO);
    record[RULE_PROTOCOL] = protocol;
    record[RULE_FIRST_PORT] = ports[0];
    record[RULE_LAST_PORT] = ports[1];
  });
  return words;
}
