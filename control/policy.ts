/**
 * The policy as it is wanted: rules in order, and the networks' defaults behind them. The dataplane is told anew whenever rules,
 * networks, interfaces or endpoints change; it judges running connections by the new rules then.
 */

import type { Logger } from 'pino';
import { MAX_RULES } from '../core/nat/policy.js';
import { Turns } from './concurrency.js';
import type { PolicyRule } from './config/schema.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import {
  missingObject,
  type NumberedRule,
  type PolicyAction,
  type PolicyObjects,
  type PolicyRecords,
  policyRecords,
} from './policy-records.js';
import type { DataplaneNat } from './types.js';

export interface PolicyRuleView {
  /** Place in the list, from 1; null: the default of the network that `to` names. */
  readonly number: number | null;
  /** Null: anybody, anything. */
  readonly from: PolicyRule['from'] | null;
  readonly to: PolicyRule['to'] | null;
  readonly proto: PolicyRule['proto'] | null;
  readonly ports: readonly (number | string)[];
  readonly action: PolicyAction;
  /** Connections it has decided; a refused one counts with each try. */
  readonly hits: number;
  /** A rule waits while what it names is away. */
  readonly state: 'active' | 'waiting';
  /** What it waits for; empty for an active one. */
  readonly reason: string;
}

/** What is counted under a number of the dataplane's, and how far the count was when it took that over. */
interface Counted {
  readonly number: number;
  readonly before: number;
}

interface Rule extends NumberedRule, Counted {}

export class PolicyRules {
  readonly #nat: DataplaneNat;
  readonly #logger: Logger;
  readonly #objects: () => PolicyObjects;
  #rules: readonly Rule[] = [];
  /** By network; of those that do not accept. */
  #defaults: ReadonlyMap<string, Counted> = new Map();
  /** Of what lets health checks through; null where there are none. */
  #checking: Counted | null = null;
  /** Numbers under which somebody is counted, or was when the dataplane was told last. */
  #taken: ReadonlySet<number> = new Set();
  /** What the dataplane has; null: not known. */
  #sent: PolicyRecords | null = { records: new Int32Array(0), filtered: new Int32Array(0) };
  readonly #turns = new Turns();

  /** @param objects networks that are up, endpoints that have their addresses */
  constructor(nat: DataplaneNat, logger: Logger, objects: () => PolicyObjects) {
    this.#nat = nat;
    this.#logger = logger;
    this.#objects = objects;
  }

  /** As they are wanted, in order. */
  get configs(): PolicyRule[] {
    return this.#rules.map(({ config }) => config);
  }

  /** Takes the place of all rules; the dataplane follows with the next `update`. @throws TaplineError where they are too many */
  load(configs: readonly PolicyRule[]): void {
    this.#rules = configs.map((config) => ({ config, ...this.#take() }));
  }

  /**
   * @param position from 1; null: behind all others
   * @returns the place that it has
   * @throws TaplineError `invalid` for a position that is none; what the dataplane refuses it for
   */
  add(config: PolicyRule, position: number | null): Promise<number> {
    return this.#turns.run(async () => {
      const last = this.#rules.length + 1;
      const at = position ?? last;
      if (at > last) throw new TaplineError('invalid', `expected a position from 1 to ${last}, got ${at}`, 'position');
      const before = this.#rules;
      const rule: Rule = { config, ...this.#take() };
      await this.#replace([...before.slice(0, at - 1), rule, ...before.slice(at - 1)]);
      return at;
    });
  }

  /** @param number place in the list, from 1. @throws TaplineError `missing` */
  remove(number: number): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#rules[number - 1] === undefined) throw new TaplineError('missing', this.#noRule(number));
      await this.#replace(this.#rules.filter((_, index) => index !== number - 1));
    });
  }

  #noRule(number: number): string {
    const count = this.#rules.length;
    return `no rule ${number}; ${count === 0 ? 'there is none' : `expected a number from 1 to ${count}`}`;
  }

  async #replace(rules: readonly Rule[]): Promise<void> {
    const before = this.#rules;
    this.#rules = rules;
    try {
      await this.#send();
    } catch (error) {
      this.#rules = before;
      throw asTaplineError(error);
    }
  }

  #take(): Counted {
    for (let number = 0; number < MAX_RULES; number++) {
      if (this.#taken.has(number)) continue;
      this.#taken = new Set([...this.#taken, number]);
      return { number, before: this.#nat.policyHits[number] ?? 0 };
    }
    throw new TaplineError('conflict', `no more than ${MAX_RULES} rules, the defaults of networks included`);
  }

  /** Called whenever a name may mean something else; never rejects: what fails is tried again with the next change. */
  update(): Promise<void> {
    return this.#turns
      .run(() => this.#send())
      .catch((error: unknown) => {
        this.#logger.error(`the policy cannot be brought up to date: ${firstLine(error)}`);
      });
  }

  async #send(): Promise<void> {
    const objects = this.#objects();
    this.#defaults = this.#defaultsOf(objects);
    const numbers = new Map([...this.#defaults].map(([name, { number }]) => [name, number]));
    this.#checking = objects.checks.length === 0 ? null : (this.#checking ?? this.#take());
    const wanted = policyRecords(this.#rules, numbers, objects, this.#checking?.number ?? null);
    if (this.#sent === null || !isSame(wanted, this.#sent)) {
      this.#sent = null;
      await this.#nat.setPolicy(wanted.records, wanted.filtered);
      this.#sent = wanted;
    }
    const checking = this.#checking === null ? [] : [this.#checking];
    this.#taken = new Set([...this.#rules, ...this.#defaults.values(), ...checking].map(({ number }) => number));
  }

  #defaultsOf({ networks }: PolicyObjects): Map<string, Counted> {
    const refusing = networks.filter(({ action }) => action !== 'accept');
    return new Map(refusing.map(({ name }) => [name, this.#defaults.get(name) ?? this.#take()]));
  }

  #hits({ number, before }: Counted): number {
    return (this.#nat.policyHits[number] ?? 0) - before;
  }

  list(): PolicyRuleView[] {
    const objects = this.#objects();
    const rules = this.#rules.map((rule, index) => this.#view(rule, index + 1, objects));
    const defaults = objects.networks.flatMap(({ name, action }): PolicyRuleView[] => {
      const counted = this.#defaults.get(name);
      if (counted === undefined) return [];
      const anything = { from: null, proto: null, ports: [], state: 'active', reason: '' } as const;
      return [{ number: null, to: { network: name }, action, hits: this.#hits(counted), ...anything }];
    });
    return [...rules, ...defaults];
  }

  /** @param number that the dataplane has a rule under. @returns its place from 1; null: it is a network's default, or gone */
  placeOf(number: number): number | null {
    const index = this.#rules.findIndex((rule) => rule.number === number);
    return index < 0 ? null : index + 1;
  }

  /** @throws TaplineError `missing` */
  view(number: number): PolicyRuleView {
    const rule = this.#rules[number - 1];
    if (rule === undefined) throw new TaplineError('missing', this.#noRule(number));
    return this.#view(rule, number, this.#objects());
  }

  #view(rule: Rule, number: number, objects: PolicyObjects): PolicyRuleView {
    const { from = null, to = null, proto = null, ports, action } = rule.config;
    const reason = missingObject(rule.config, objects);
    const state = reason === '' ? 'active' : 'waiting';
    return { number, from, to, proto, ports, action, hits: this.#hits(rule), state, reason };
  }

  /** Forgets the rules; the networks' defaults go with their networks. */
  async clear(): Promise<void> {
    this.load([]);
    await this.update();
  }
}

function isSame(a: PolicyRecords, b: PolicyRecords): boolean {
  return isEqual(a.records, b.records) && isEqual(a.filtered, b.filtered);
}

function isEqual(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((word, index) => word === b[index]);
}
