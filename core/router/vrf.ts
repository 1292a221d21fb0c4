/**
 * A VRF: the routes that some interfaces share. The FIB maps prefixes to small numbers, and those to routes: a million prefixes behind
 * few next hops are few routes.
 */

import { FULL, NO_MATCH } from '../tables/lpm.js';
import { Lpm4 } from '../tables/lpm4.js';
import { Lpm6 } from '../tables/lpm6.js';
import { isMapped, mask4, mask6 } from './address.js';
import type { Neighbor } from './neighbors.js';

/** Kinds of routes. None is what the FIB has for all else. */
export const ROUTE_NONE = 0;
/** What packets are forwarded by. */
export const ROUTE_UNICAST = 1;
/** An address of the router. */
export const ROUTE_LOCAL = 2;
/** All ones of a connected IPv4 subnet, or all zeros (RFC 1812, 5.3.5.2 and 4.2.3.1). */
export const ROUTE_BROADCAST = 3;
/** Dropped in silence; answered with "host unreachable"; answered with "prohibited". */
export const ROUTE_BLACKHOLE = 4;
export const ROUTE_UNREACHABLE = 5;
export const ROUTE_PROHIBIT = 6;

/** Prefixes that one VRF may hold, of each family. */
export const MAX_PREFIXES = 1 << 21;

export class Hop {
  /** Number of the interface. */
  readonly iface: number;
  /** Destinations are neighbors themselves. */
  readonly onLink: boolean;
  /** The next hop; a mapped address for IPv4. Zeros where destinations are on the link. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly metric: number;
  /** Its route has no other: every packet goes this way. The link to the host is in no route: not all for an own address goes there. */
  isSole = false;
  /** The next hop's entry as found last. It may have been given to another since: whoever uses it compares. */
  neighbor: Neighbor | null = null;

  /** @param via four words, or null: on the link */
  constructor(iface: number, via: readonly number[] | null, metric: number) {
    this.iface = iface;
    this.onLink = via === null;
    this.a = via === null ? 0 : via[0];
    this.b = via === null ? 0 : via[1];
    this.c = via === null ? 0 : via[2];
    this.d = via === null ? 0 : via[3];
    this.metric = metric;
  }
}

export class Route {
  readonly kind: number;
  /** By ascending metric. Of a local or broadcast one, the interface that has the address. */
  readonly hops: Hop[];
  /** Its number in the VRF. */
  readonly value: number;
  /** It follows from an interface: nobody can replace it. */
  readonly isConnected: boolean;
  /** Prefixes that lead here. */
  references = 0;

  constructor(kind: number, hops: Hop[], value: number, isConnected: boolean) {
    this.kind = kind;
    this.hops = hops;
    this.value = value;
    this.isConnected = isConnected;
    for (const hop of hops) hop.isSole = hops.length === 1;
  }
}

/** A prefix of either family: a mapped address and 96 to 128 bits for IPv4. */
export interface Prefix {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly length: number;
}

/** An IPv4 prefix, host bits cleared. */
export function prefix4(address: number, length: number): Prefix {
  return { a: 0, b: 0, c: 0xffff, d: address & mask4(length), length: 96 + length };
}

/** An IPv6 prefix, host bits cleared. */
export function prefix6(a: number, b: number, c: number, d: number, length: number): Prefix {
  const { 0: first, 1: second, 2: third, 3: fourth } = [a, b, c, d].map((word, at) => word & mask6(length, at));
  return { a: first, b: second, c: third, d: fourth, length };
}

export class Vrf {
  readonly number: number;
  /** Its networks reach each other. */
  interconnect = false;
  /** IPv4 options that are processed in transit; packets with them are dropped otherwise. */
  recordRoute = false;
  timestamp = false;
  /** Its packets are looked up in the flow table. */
  tracking = false;
  /** The link to the host; null: there is none. */
  host: Hop | null = null;
  readonly fib4 = new Lpm4(MAX_PREFIXES);
  readonly fib6 = new Lpm6(MAX_PREFIXES);
  /** By the FIB's values; the first is for NO_MATCH. */
  readonly routes: Route[] = [new Route(ROUTE_NONE, [], 0, false)];
  prefixes = 0;
  private readonly byContent = new Map<string, Route>();
  private readonly free: number[] = [];

  constructor(number: number) {
    this.number = number;
  }

  /**
   * Adds a prefix or gives it another route.
   * @throws RangeError, one line: the FIB is full, or the prefix is an interface's own and the route is not
   */
  set(prefix: Prefix, kind: number, hops: readonly Hop[], isConnected: boolean): void {
    const before = this.get(prefix);
    if (before?.isConnected === true && !isConnected) throw new RangeError('the prefix is one of an interface');
    const route = this.intern(kind, hops, isConnected);
    // Before the old one is given up: it may be the same.
    route.references++;
    if (this.insert(prefix, route.value) === FULL) {
      this.dereference(route);
      throw new RangeError(`the FIB is full: ${MAX_PREFIXES} prefixes`);
    }
    if (before === null) this.prefixes++;
    else this.dereference(before);
  }

  /** @returns false where there is no such prefix */
  remove(prefix: Prefix): boolean {
    const route = this.get(prefix);
    if (route === null) return false;
    if (isIpv4(prefix)) this.fib4.remove(prefix.d, prefix.length - 96);
    else this.fib6.remove(prefix.a, prefix.b, prefix.c, prefix.d, prefix.length);
    this.prefixes--;
    this.dereference(route);
    return true;
  }

  /** The route of exactly this prefix. */
  get(prefix: Prefix): Route | null {
    const value = isIpv4(prefix)
      ? this.fib4.get(prefix.d, prefix.length - 96)
      : this.fib6.get(prefix.a, prefix.b, prefix.c, prefix.d, prefix.length);
    return value === NO_MATCH ? null : this.routes[value];
  }

  forEach(visitor: (prefix: Prefix, route: Route) => void): void {
    this.fib4.forEach((address, length, value) => {
      visitor(prefix4(address, length), this.routes[value]);
    });
    this.fib6.forEach((a, b, c, d, length, value) => {
      visitor({ a, b, c, d, length }, this.routes[value]);
    });
  }

  private insert(prefix: Prefix, value: number): number {
    if (isIpv4(prefix)) return this.fib4.insert(prefix.d, prefix.length - 96, value);
    return this.fib6.insert(prefix.a, prefix.b, prefix.c, prefix.d, prefix.length, value);
  }

  /** One route for all prefixes that say the same. */
  private intern(kind: number, hops: readonly Hop[], isConnected: boolean): Route {
    const sorted = [...hops].sort((one, other) => one.metric - other.metric);
    const content = contentOf(kind, sorted, isConnected);
    const known = this.byContent.get(content);
    if (known !== undefined) return known;
    const route = new Route(kind, sorted, this.free.pop() ?? this.routes.length, isConnected);
    this.routes[route.value] = route;
    this.byContent.set(content, route);
    return route;
  }

  private dereference(route: Route): void {
    route.references--;
    if (route.references > 0) return;
    this.byContent.delete(contentOf(route.kind, route.hops, route.isConnected));
    this.routes[route.value] = this.routes[0];
    this.free.push(route.value);
  }
}

function isIpv4({ a, b, c, length }: Prefix): boolean {
  return length >= 96 && isMapped(a, b, c);
}

function contentOf(kind: number, hops: readonly Hop[], isConnected: boolean): string {
  const parts = hops.map(({ iface, onLink, a, b, c, d, metric }) => `${iface} ${onLink} ${a} ${b} ${c} ${d} ${metric}`);
  return `${kind} ${isConnected} ${parts.join()}`;
}
