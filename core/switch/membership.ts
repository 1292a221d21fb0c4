/**
 * Who is a member of what in a domain: its ports, the groups with members behind them, and the ports that get more than they joined.
 * Changes with reports and once a second; the data path only reads.
 */

import { doubled, type Group, Mdb } from './mdb.js';
import { LAST_MEMBER_QUERIES, OTHER_QUERIER_PRESENT, type Querier } from './querier.js';

/** Whether a port is a router port: as it is heard, always, never. */
export const ROUTER_AUTO = 0;
export const ROUTER_ALWAYS = 1;
export const ROUTER_NEVER = 2;

/** Groups that one port may be a member of. */
export const MAX_PORT_GROUPS = 256;

/** Ticks until a new port is asked: the first comes any time within a second. */
const ASK_AFTER_TICKS = 2;
/** Later than any time. */
const NEVER = 0x7fffffff;

/** Sends a specific query for a group to the member at an index. Returns false where it cannot now. */
export interface MemberAsker {
  askMember(group: Group, index: number): boolean;
}

export class SnoopingPort {
  readonly id: number;
  readonly router: number;
  readonly fastLeave: boolean;
  /** A router was heard: it is one until this second. */
  routerUntil = 0;
  /** A query without a source was heard: a switch asks there, and is told until this second. */
  askerUntil = 0;
  /** A report found no room: it gets all multicast until this second. */
  overflowUntil = 0;
  groupCount = 0;
  /** Ticks until it is asked for its members; 0: done. */
  askIn = 0;

  constructor(id: number, router: number, fastLeave: boolean) {
    this.id = id;
    this.router = router;
    this.fastLeave = fastLeave;
    this.askSoon();
  }

  /** Has it asked for its members. Not where a router is said to be: that asks for itself, and the port gets everything anyway. */
  askSoon(): void {
    this.askIn = this.router === ROUTER_ALWAYS ? 0 : ASK_AFTER_TICKS;
  }

  isRouter(now: number): boolean {
    return this.router === ROUTER_ALWAYS || (this.router === ROUTER_AUTO && now < this.routerUntil);
  }

  isTold(now: number): boolean {
    return this.isRouter(now) || (this.router === ROUTER_AUTO && now < this.askerUntil);
  }
}

export class Membership {
  readonly mdb: Mdb;
  /** Ascending by number. */
  readonly ports: SnoopingPort[] = [];
  /** Ports that get all multicast: router ports, and those of which a report found no room. Ascending. */
  wanting = new Int32Array(16);
  wantingCount = 0;
  /** Ports that get reports: router ports, and those with a switch behind them that asks. Ascending. */
  told = new Int32Array(16);
  toldCount = 0;
  /** Joins that found no room. */
  full = 0;
  /** The latest second that anybody told; moves with reports and ticks. */
  private now = 0;

  constructor(seed: number) {
    this.mdb = new Mdb(seed);
  }

  /** A port that is there already begins anew. */
  addPort(id: number, router: number, fastLeave: boolean): void {
    this.removePort(id);
    if (this.ports.length === this.wanting.length) {
      this.wanting = doubled(this.wanting);
      this.told = doubled(this.told);
    }
    this.ports.splice(-1 - this.search(id), 0, new SnoopingPort(id, router, fastLeave));
    this.list();
  }

  removePort(id: number): void {
    const index = this.search(id);
    if (index < 0) return;
    for (let i = this.mdb.groups.length - 1; i >= 0; i--) {
      const group = this.mdb.groups[i];
      const member = group.search(id);
      if (member >= 0) this.remove(group, member);
    }
    this.ports.splice(index, 1);
    this.list();
  }

  port(id: number): SnoopingPort | null {
    const index = this.search(id);
    return index < 0 ? null : this.ports[index];
  }

  /** Where there is no room the port gets all multicast instead, until the membership would have ended. */
  join(querier: Querier, port: SnoopingPort, a: number, b: number, c: number, d: number, now: number): void {
    const until = now + querier.membershipInterval;
    let group = this.mdb.find(a, b, c, d);
    let index = group === null ? -1 : group.search(port.id);
    if (group === null || index < 0) {
      group = this.room(port, group, a, b, c, d, until);
      if (group === null) {
        this.refuse(port, now, until);
        return;
      }
      index = -1 - group.search(port.id);
      group.insert(index, port.id);
      port.groupCount++;
    }
    group.expires[index] = until;
    group.asks[index] = 0;
    if (until < group.checkAt) group.checkAt = until;
  }

  /** The group, made where it is not there yet; null where group or port are one too many. */
  private room(
    port: SnoopingPort,
    group: Group | null,
    a: number,
    b: number,
    c: number,
    d: number,
    until: number,
  ): Group | null {
    if (port.groupCount >= MAX_PORT_GROUPS) return null;
    if (group !== null) return group;
    const added = this.mdb.add(a, b, c, d);
    if (added !== null) added.checkAt = until;
    return added;
  }

  private refuse(port: SnoopingPort, now: number, until: number): void {
    this.full++;
    const isListed = now < port.overflowUntil;
    port.overflowUntil = Math.max(port.overflowUntil, until);
    if (!isListed) this.listAt(now);
  }

  /**
   * With fast leave the port is taken for one with a single host: its word is enough. Otherwise those who are left are asked, unless
   * the port gets everything anyway.
   */
  leave(querier: Querier, port: SnoopingPort, a: number, b: number, c: number, d: number, now: number): void {
    if (!port.fastLeave && port.router !== ROUTER_ALWAYS) {
      this.ask(querier, port, a, b, c, d, now);
      return;
    }
    const group = this.mdb.find(a, b, c, d);
    const index = group === null ? -1 : group.search(port.id);
    if (group !== null && index >= 0) this.remove(group, index);
  }

  /**
   * Has specific queries sent to a member with the next ticks. Where another is the querier, his will come, and shorten the timers.
   */
  ask(querier: Querier, port: SnoopingPort, a: number, b: number, c: number, d: number, now: number): void {
    if (!querier.acting || port.router === ROUTER_ALWAYS) return;
    const group = this.mdb.find(a, b, c, d);
    const index = group === null ? -1 : group.search(port.id);
    if (group === null || index < 0) return;
    group.asks[index] = LAST_MEMBER_QUERIES;
    group.checkAt = Math.min(group.checkAt, now);
  }

  /**
   * A specific query was heard: who does not answer within the last member query time is gone (RFC 2236, 3; RFC 3376, 6.6.1).
   * @param response seconds that the query gives
   */
  shorten(a: number, b: number, c: number, d: number, now: number, response: number): void {
    const group = this.mdb.find(a, b, c, d);
    if (group === null) return;
    const until = now + LAST_MEMBER_QUERIES * Math.max(1, response);
    for (let i = 0; i < group.count; i++) {
      if (until < group.expires[i]) group.expires[i] = until;
    }
    if (until < group.checkAt) group.checkAt = until;
  }

  /** @param hold seconds that it counts at least */
  hearRouter(port: SnoopingPort, now: number, hold: number): void {
    const wasRouter = port.isRouter(now);
    port.routerUntil = Math.max(port.routerUntil, now + Math.max(hold, OTHER_QUERIER_PRESENT));
    if (port.isRouter(now) !== wasRouter) this.listAt(now);
  }

  hearAsker(port: SnoopingPort, now: number): void {
    const wasTold = port.isTold(now);
    port.askerUntil = now + OTHER_QUERIER_PRESENT;
    if (port.isTold(now) !== wasTold) this.listAt(now);
  }

  /**
   * Once a second: ends what has expired, and has members asked who are to be.
   * @param budget most specific queries; the rest waits
   */
  tick(now: number, asker: MemberAsker, budget: number): void {
    this.listAt(now);
    // The last group takes the place of one that goes, hence backwards.
    for (let i = this.mdb.groups.length - 1; i >= 0; i--) {
      const group = this.mdb.groups[i];
      if (group.checkAt <= now) budget = this.tickGroup(group, now, asker, budget);
    }
  }

  /** @returns what is left of the budget */
  private tickGroup(group: Group, now: number, asker: MemberAsker, budget: number): number {
    let next = NEVER;
    for (let i = group.count - 1; i >= 0; i--) {
      if (group.expires[i] <= now) {
        this.remove(group, i);
        continue;
      }
      if (group.asks[i] > 0) {
        next = now;
        if (budget > 0 && asker.askMember(group, i)) {
          budget--;
          // The member has a second for this query, and one for each that follows.
          group.expires[i] = Math.min(group.expires[i], now + group.asks[i]);
          group.asks[i]--;
        } else {
          budget = 0;
        }
      }
      if (group.expires[i] < next) next = group.expires[i];
    }
    group.checkAt = next;
    return budget;
  }

  private remove(group: Group, index: number): void {
    this.ports[this.search(group.ports[index])].groupCount--;
    group.remove(index);
    if (group.count === 0) this.mdb.remove(group);
  }

  /** Index of a port, or -1 - the index at which it belongs. */
  private search(id: number): number {
    let low = 0;
    let high = this.ports.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ports[middle].id < id) low = middle + 1;
      else high = middle;
    }
    return low < this.ports.length && this.ports[low].id === id ? low : -1 - low;
  }

  private listAt(now: number): void {
    this.now = now;
    this.list();
  }

  private list(): void {
    const now = this.now;
    this.wantingCount = 0;
    this.toldCount = 0;
    for (const port of this.ports) {
      if (port.isRouter(now) || now < port.overflowUntil) this.wanting[this.wantingCount++] = port.id;
      if (port.isTold(now)) this.told[this.toldCount++] = port.id;
    }
  }
}
