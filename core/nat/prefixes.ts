/**
 * Networks whose IPv6 prefix is another outside (RFC 6296): each address inside has one of its own there, so there is nothing to choose and
 * nobody's turn to begin. The addresses are translated as a flow's are, since rules, and ICMP errors, are to see both.
 */

import type { RouterInterface } from '../router/interface.js';
import { isInside, isOutside, makeNptv6, type Nptv6, translate } from './nptv6.js';

/** Words of a pair in `TranslationOptions.prefixes`: two times the prefix's four, and its length. */
const PAIR = 10;
const OUTSIDE = 5;
const LENGTH = 4;

interface Rule {
  readonly zone: number;
  /** Number of the network's interface. */
  readonly iface: number;
  readonly rule: Nptv6;
}

export class PrefixTranslation {
  private rules: readonly Rule[] = [];
  private readonly scratch = new DataView(new ArrayBuffer(16));

  /** The router's interfaces have changed. @throws RangeError for prefixes that cannot be translated */
  update(interfaces: readonly (RouterInterface | null)[]): void {
    this.rules = interfaces.flatMap((iface) => (iface === null ? [] : rulesOf(iface)));
  }

  /**
   * The address that a source has outside.
   * @param from address: four words at `at`
   * @returns false: it is in no such prefix, or has no counterpart; `to` is as it was
   */
  outward(iface: RouterInterface, from: Int32Array, to: Int32Array, at: number): boolean {
    for (const { iface: number, rule } of this.rules) {
      if (number === iface.number && isInside(rule, from[at], from[at + 1])) return this.move(rule, from, to, at, true);
    }
    return false;
  }

  /** Whether a source has an address outside, or would have one if it had a counterpart. */
  isInside({ number: iface }: RouterInterface, from: Int32Array, at: number): boolean {
    for (const { iface: own, rule } of this.rules)
      if (own === iface && isInside(rule, from[at], from[at + 1])) return true;
    return false;
  }

  /** The same for a destination. */
  isOutside(zone: number, from: Int32Array, at: number): boolean {
    for (const { zone: own, rule } of this.rules)
      if (own === zone && isOutside(rule, from[at], from[at + 1])) return true;
    return false;
  }

  /** The address inside that a destination stands for. */
  inward(zone: number, from: Int32Array, to: Int32Array, at: number): boolean {
    for (const { zone: own, rule } of this.rules) {
      if (own === zone && isOutside(rule, from[at], from[at + 1])) return this.move(rule, from, to, at, false);
    }
    return false;
  }

  private move(rule: Nptv6, from: Int32Array, to: Int32Array, at: number, outbound: boolean): boolean {
    const { scratch } = this;
    for (let i = 0; i < 4; i++) scratch.setInt32(i * 4, from[at + i]);
    if (!translate(scratch, 0, rule, outbound)) return false;
    for (let i = 0; i < 4; i++) to[at + i] = scratch.getInt32(i * 4);
    return true;
  }
}

function rulesOf({ number, vrf, translation }: RouterInterface): Rule[] {
  const words = translation?.prefixes ?? [];
  const rules: Rule[] = [];
  for (let i = 0; i + PAIR <= words.length; i += PAIR) {
    const inside = { a: words[i], b: words[i + 1], length: words[i + LENGTH] };
    const outside = { a: words[i + OUTSIDE], b: words[i + OUTSIDE + 1], length: words[i + OUTSIDE + LENGTH] };
    rules.push({ zone: vrf, iface: number, rule: makeNptv6(inside, outside) });
  }
  return rules;
}
