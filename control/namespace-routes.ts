/**
 * Routes of a namespace that has endpoints in several networks. One of them has the default route; a packet from an address of
 * another leaves by that other, where the request came in: a rule for each address leads to a table with that network alone.
 * Rules and tables are known by their numbers, so that what an earlier process has left is found and put right.
 */

import type { Logger } from 'pino';
import { KeyedLock } from './concurrency.js';
import { formatSubnet, parseSubnet, withoutLength } from './config/address.js';
import { firstLine } from './errors.js';
import type { System } from './system.js';

/** Before `main` (32766), behind `local` (0). */
const RULE_PRIORITY = 7420;
const FIRST_TABLE = 742_000;
const TABLES = 1000;
/** Of the endpoint with the highest priority; the next has one more. */
const FIRST_METRIC = 100;

type Family = 4 | 6;
const FAMILIES: readonly Family[] = [4, 6];
/** What the kernel takes for a route of which nothing is said (IP6_RT_PRIO_USER of net/ip6_route.h). */
const PLAIN_METRIC: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 };
const EVERYWHERE: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' };

export interface Member {
  /** Of the endpoint. */
  readonly name: string;
  readonly network: string;
  readonly interface: string;
  /** The highest has the default route. */
  readonly priority: number;
  /** With prefix length. */
  readonly addresses: readonly string[];
  /** One of each family at most; none where nothing leads out. */
  readonly gateways: readonly string[];
}

interface State {
  readonly path: string;
  readonly member: Member;
  /** Of its rules. */
  readonly table: number;
  up: boolean;
}

/** What `ip -json rule show` prints. */
interface Rule {
  readonly priority?: number;
  readonly src?: string;
  readonly table?: string;
}

/** What `ip -json route show table all` prints. */
interface Route {
  readonly dst?: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly table?: string;
  readonly metric?: number;
}

interface Observed {
  /** Null where the kernel has none. */
  readonly rules: readonly Rule[] | null;
  readonly routes: readonly Route[];
}

function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

function gatewayOf({ gateways }: Member, family: Family): string | undefined {
  return gateways.find((gateway) => familyOf(gateway) === family);
}

/** The highest priority first; among equals, the first network by name, as Docker does. */
function byRank(a: Member, b: Member): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.network !== b.network) return a.network < b.network ? -1 : 1;
  return a.interface < b.interface ? -1 : 1;
}

function isOurTable(table: string | undefined): boolean {
  const number = Number(table ?? -1);
  return number >= FIRST_TABLE && number < FIRST_TABLE + TABLES;
}

function via(gateway: string | undefined): string {
  return gateway === undefined ? '' : ` via ${gateway}`;
}

/** Default routes in `main` as they should be: with a metric only where there are several endpoints. */
function wantedDefaults(states: readonly State[], family: Family): Map<string, string> {
  const ranked = states
    .filter(({ member }) => gatewayOf(member, family) !== undefined)
    .sort((a, b) => byRank(a.member, b.member));
  const wanted = new Map<string, string>();
  ranked.forEach(({ member, up }, rank) => {
    if (!up) return;
    const metric = states.length > 1 ? FIRST_METRIC + rank : PLAIN_METRIC[family];
    const words = `${EVERYWHERE[family]}${via(gatewayOf(member, family))} dev ${member.interface}`;
    const line = states.length > 1 ? `${words} metric ${metric}` : words;
    wanted.set(`${member.interface} ${gatewayOf(member, family)} ${metric}`, line);
  });
  return wanted;
}

/** Default routes of ours that stand in `main`: by a gateway of ours, out of the interface that leads there. */
function standingDefaults(states: readonly State[], routes: readonly Route[], family: Family): Map<string, string> {
  const standing = new Map<string, string>();
  for (const { dst, gateway, dev, table, metric = 0 } of routes) {
    if (dst !== 'default' || gateway === undefined || (table ?? 'main') !== 'main') continue;
    const isOurs = states.some(({ member }) => member.interface === dev && gatewayOf(member, family) === gateway);
    if (!isOurs) continue;
    const words = `${EVERYWHERE[family]}${via(gateway)} dev ${dev}`;
    standing.set(`${dev} ${gateway} ${metric}`, metric === 0 ? words : `${words} metric ${metric}`);
  }
  return standing;
}

/** Rules are wanted where the source decides: for several endpoints, of which this one leads out. */
function ruled(states: readonly State[], family: Family): State[] {
  if (states.length < 2) return [];
  return states.filter(({ member, up }) => up && gatewayOf(member, family) !== undefined);
}

/** @param states those with rules */
function wantedRules(states: readonly State[], family: Family): Set<string> {
  const rules = states.flatMap(({ member, table }) =>
    member.addresses
      .filter((address) => familyOf(address) === family)
      .map((address) => `from ${withoutLength(address)} lookup ${table} priority ${RULE_PRIORITY}`),
  );
  return new Set(rules);
}

function standingRules(rules: readonly Rule[]): Set<string> {
  const ours = rules.filter(({ priority, table }) => priority === RULE_PRIORITY && isOurTable(table));
  return new Set(ours.map(({ src, table }) => `from ${src} lookup ${table} priority ${RULE_PRIORITY}`));
}

/** The connected route first: the gateway is reached by it. @param states those with rules */
function wantedTables(states: readonly State[], family: Family): Set<string> {
  const routes = new Set<string>();
  for (const { member, table } of states) {
    for (const address of member.addresses)
      if (familyOf(address) === family)
        routes.add(`${formatSubnet(parseSubnet(address))} dev ${member.interface} table ${table}`);
    routes.add(`${EVERYWHERE[family]}${via(gatewayOf(member, family))} dev ${member.interface} table ${table}`);
  }
  return routes;
}

function standingTables(routes: readonly Route[], family: Family): Set<string> {
  const ours = routes.filter(({ table }) => isOurTable(table));
  return new Set(
    ours.map(({ dst, gateway, dev, table }) => {
      const to = dst === 'default' ? EVERYWHERE[family] : dst;
      return `${to}${via(gateway)} dev ${dev} table ${table}`;
    }),
  );
}

function notIn(others: { has(key: string): boolean }, keys: Iterable<string>): string[] {
  return [...keys].filter((key) => !others.has(key));
}

/** Lines that lead from what stands to what is wanted; first what is in the way goes. */
function planFor(states: readonly State[], { rules, routes }: Observed, family: Family): string[] {
  const defaults = { wanted: wantedDefaults(states, family), standing: standingDefaults(states, routes, family) };
  const several = rules === null ? [] : ruled(states, family);
  const tables = { wanted: wantedTables(several, family), standing: standingTables(routes, family) };
  const lookups = { wanted: wantedRules(several, family), standing: standingRules(rules ?? []) };
  const line = (of: ReadonlyMap<string, string>, verb: string) => (key: string) => `route ${verb} ${of.get(key)}`;
  return [
    ...notIn(lookups.wanted, lookups.standing).map((rule) => `rule del ${rule}`),
    ...notIn(tables.wanted, tables.standing).map((route) => `route del ${route}`),
    ...notIn(defaults.wanted, defaults.standing.keys()).map(line(defaults.standing, 'del')),
    ...notIn(defaults.standing, defaults.wanted.keys()).map(line(defaults.wanted, 'add')),
    ...notIn(tables.standing, tables.wanted).map((route) => `route add ${route}`),
    ...notIn(lookups.standing, lookups.wanted).map((rule) => `rule add ${rule}`),
  ];
}

export class NamespaceRoutes {
  readonly #system: System;
  readonly #logger: Logger;
  readonly #lock = new KeyedLock();
  /** By identity of the namespace, then by name of the endpoint. */
  readonly #namespaces = new Map<string, Map<string, State>>();
  /** Namespaces that rules were put into. */
  readonly #ruled = new Set<string>();
  readonly #withoutRules = new Set<Family>();
  /** Arrangements that have not begun, by identity: they will see all that has happened until then. */
  readonly #queued = new Map<string, Promise<void>>();

  constructor(system: System, logger: Logger) {
    this.#system = system;
    this.#logger = logger;
  }

  /**
   * An endpoint will be in the namespace; before its interface is made. Synchronous, so nobody comes between.
   *
   * @param left table of one whose interface an earlier process left, with routes that hold until it is taken over; null: it is new
   * @returns its table
   */
  join(identity: string, path: string, member: Member, left: number | null = null): number {
    const states = this.#namespaces.get(identity) ?? new Map<string, State>();
    this.#namespaces.set(identity, states);
    const taken = new Set([...states.values()].map((state) => state.table));
    let table = left !== null && !taken.has(left) ? left : FIRST_TABLE;
    while (taken.has(table)) table++;
    states.set(member.name, { path, member, table, up: left !== null });
    return table;
  }

  /** True while no other endpoint is in the namespace: then its default routes are those of its interface, and need no plan. */
  isAlone(identity: string): boolean {
    return (this.#namespaces.get(identity)?.size ?? 0) < 2;
  }

  /**
   * Its interface is there.
   *
   * @param settled it has its default routes, and nothing of an earlier process can be there
   */
  async arrived(identity: string, name: string, settled: boolean): Promise<void> {
    const state = this.#namespaces.get(identity)?.get(name);
    if (state === undefined) return;
    state.up = true;
    if (settled && this.isAlone(identity) && !this.#ruled.has(identity)) return;
    await this.#arrange(identity, state.path);
  }

  /** Its interface is about to go: nothing leads there any more. */
  depart(identity: string, name: string): void {
    const state = this.#namespaces.get(identity)?.get(name);
    if (state !== undefined) state.up = false;
  }

  /** All interfaces are about to go. */
  departAll(): void {
    for (const states of this.#namespaces.values()) for (const state of states.values()) state.up = false;
  }

  /** Its interface is gone. */
  async leave(identity: string, name: string): Promise<void> {
    const states = this.#namespaces.get(identity);
    const state = states?.get(name);
    if (states === undefined || state === undefined) return;
    states.delete(name);
    if (states.size === 0) this.#namespaces.delete(identity);
    // While all others are on their way in or out, the last of them puts in order what is left.
    const isLast = states.size === 0 || [...states.values()].some(({ up }) => up);
    if (this.#ruled.has(identity) && isLast) await this.#arrange(identity, state.path);
    if (states.size === 0) this.#ruled.delete(identity);
  }

  /** What an earlier process left is to go where no endpoint is any more. */
  async tidy(identity: string, path: string): Promise<void> {
    await this.#arrange(identity, path);
  }

  #arrange(identity: string, path: string): Promise<void> {
    const queued = this.#queued.get(identity);
    if (queued !== undefined) return queued;
    const work = this.#lock.run(identity, async () => {
      this.#queued.delete(identity);
      for (const family of FAMILIES) {
        const states = [...(this.#namespaces.get(identity)?.values() ?? [])];
        // The process of one who left may have ended; another way in leads to the same namespace.
        const inside = states[0]?.path ?? path;
        const there = states.filter(({ up }) => up);
        // An interface that went between the look and the change is not there at the second look.
        await this.#arrangeFamily(identity, inside, states, family)
          .catch(() => this.#arrangeFamily(identity, inside, states, family))
          .catch((error: unknown) => this.#failed(there, inside, error));
      }
    });
    this.#queued.set(identity, work);
    return work;
  }

  async #arrangeFamily(identity: string, path: string, states: readonly State[], family: Family): Promise<void> {
    const routes = await this.#system.readIpInside<Route>(path, `-${family}`, 'route', 'show', 'table', 'all');
    const rules = await this.#rules(path, states, family);
    const lines = planFor(states, { rules, routes }, family);
    if (states.length > 1) this.#ruled.add(identity);
    if (lines.length > 0) await this.#system.runIpInside(path, lines, family);
  }

  /** Null where the kernel has none; said once. */
  async #rules(path: string, states: readonly State[], family: Family): Promise<Rule[] | null> {
    try {
      return await this.#system.readIpInside<Rule>(path, `-${family}`, 'rule', 'show');
    } catch (error) {
      if (ruled(states, family).length === 0) return null;
      if (this.#withoutRules.has(family)) return null;
      this.#withoutRules.add(family);
      const what = `no policy routing for IPv${family} (${firstLine(error)})`;
      this.#logger.warn(
        `${what}: replies of endpoints in several networks may leave by another than the request came in`,
      );
      return null;
    }
  }

  /**
   * Nobody misses the routes of a namespace that has gone; and when an endpoint leaves in the middle, its leave puts in order what
   * is left.
   *
   * @param there the endpoints whose interfaces were there before
   */
  #failed(there: readonly State[], path: string, error: unknown): void {
    const expected = there.length === 0 || there.some(({ up }) => !up) || this.#system.namespaceIdentity(path) === null;
    const names = there.map(({ member }) => member.name).join(', ');
    this.#logger[expected ? 'debug' : 'warn'](
      `routes of the namespace of endpoints ${names} not set: ${firstLine(error)}`,
    );
  }
}
