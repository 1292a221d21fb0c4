/**
 * The neighbor table: (interface, IP address) → MAC, by ARP and neighbor discovery, both with the states of RFC 4861 (7.3.2).
 *
 *                  resolve ─→ INCOMPLETE ──3 requests──→ FAILED ──→ gone
 *                                 │ answer
 *   learn ─→ STALE ←── 15–45 s ── REACHABLE ←── answer ──┐
 *              │ 120 s unused: gone                       │
 *              └── use ─→ DELAY ── 5 s ─→ PROBE, 3 requests by unicast ──→ gone
 *
 * The fast path finds, and calls `use` where the state is not REACHABLE; everything else is slow. Packets that wait lie in `hold`,
 * unchanged. Every table has its bound, and what one port may cause is bounded too, so that a scan of it costs nobody else anything:
 * unresolved entries a port and in all, packets that wait, resolutions a second. Entries count for the port whose packet caused them.
 */

import {
  DROP_NEIGHBOR_FAILED,
  DROP_NEIGHBOR_FULL,
  DROP_NEIGHBOR_QUEUE,
  DROP_NEIGHBOR_RATE,
  DROP_NONE,
} from '../drop.js';
import { EVENT_NEIGHBORS_FULL } from '../events.js';
import type { Packet } from '../packet/packet.js';
import { MAX_PORTS } from '../ports.js';
import { CONTINUE, HELD, refuse } from '../verdict.js';
import type { RouterContext } from './context.js';
import { Hold } from './hold.js';
import type { RouterInterface } from './interface.js';
import {
  NEIGHBOR_DELAY,
  NEIGHBOR_FAILED,
  NEIGHBOR_FREE,
  NEIGHBOR_INCOMPLETE,
  NEIGHBOR_PERMANENT,
  NEIGHBOR_PROBE,
  NEIGHBOR_REACHABLE,
  NEIGHBOR_STALE,
  Neighbor,
} from './neighbor.js';
import { NeighborIndex } from './neighbor-index.js';
import { PortRate } from './port-rate.js';
import { Random } from './random.js';
import { solicit } from './solicit.js';

export * from './neighbor.js';

export const MAX_NEIGHBORS = 16384;
/** Unresolved entries (INCOMPLETE and FAILED) of one port, and in all. */
export const MAX_UNRESOLVED_PORT = 64;
export const MAX_UNRESOLVED = 1024;
/** New resolutions a second that one port may cause, and at once: each is a request to everybody on a link. */
const RESOLUTIONS = 500;
const RESOLUTIONS_AT_ONCE = 100;

/** Seconds (RFC 4861, 10): a confirmation lasts 30, times 0.5 to 1.5 (6.3.2). */
const REACHABLE_LEAST = 15;
const REACHABLE_MOST = 45;
const DELAY_TIME = 5;
/** Seconds after which an entry that nobody uses goes. */
const STALE_TIME = 120;
/** Milliseconds between requests: a second (RFC 4861, 10; RFC 1122, 2.3.2.1), less what a tick may come early. */
const RETRANS_TIME = 950;
/** Requests: by multicast, and by unicast (RFC 4861, 10). */
const MAX_REQUESTS = 3;
/** Milliseconds that a failure is remembered at least; a tick more at most. */
const FAILED_TIME = 950;
/** Requests a tick; further ones wait for the next. */
const REQUESTS_A_TICK = 512;
/** Entries looked at for one to evict, and candidates among which the best is taken. */
const EVICTION_STEPS = 1024;
const EVICTION_CANDIDATES = 64;
/** Seconds between two events about a full table. */
const FULL_REPORT = 60;

/** `how` of `learn`. It answers our request: of an advertisement, the flag (RFC 4861, 4.4). */
export const LEARN_SOLICITED = 1;
/** A MAC that differs replaces the one that is known. */
export const LEARN_OVERRIDE = 2;
/** The router flag is set. */
export const LEARN_ROUTER = 4;
/** The router flag means something: an advertisement. */
export const LEARN_ADVERTISEMENT = 8;
/** An entry is made where there is none: somebody speaks to us, and will be answered. */
export const LEARN_CREATE = 16;
/** There is no MAC in it (RFC 4861, 7.2.5: an advertisement by unicast may leave it out). */
export const LEARN_NO_MAC = 32;
/** An ARP reply to us: a solicited one where we have asked, else a gratuitous one. */
export const LEARN_REPLY = 64;

export class NeighborTable {
  /** Entries. */
  count = 0;
  /** Entries that were put out to make room. */
  evicted = 0;
  readonly maximum: number;
  private readonly context: RouterContext;
  private readonly pool: Neighbor[] = [];
  private readonly spare: Neighbor[] = [];
  private readonly index: NeighborIndex;
  private readonly hold = new Hold();
  private readonly live: Neighbor[] = [];
  private readonly unresolved: Neighbor[] = [];
  /** Entries, and unresolved ones, by the port that caused them. */
  private readonly byPort = new Int32Array(MAX_PORTS);
  private readonly unresolvedByPort = new Int32Array(MAX_PORTS);
  /** By number, as they were seen last: whom to ask by. */
  private readonly interfaces: (RouterInterface | undefined)[] = [];
  private readonly rate = new PortRate(RESOLUTIONS, RESOLUTIONS_AT_ONCE);
  private readonly random: Random;
  /** Where the next tick and the next eviction go on. */
  private tickHand = 0;
  private evictionHand = 0;
  private requestsLeft = 0;
  private fullReportedAt = -0x40000000;

  /** @param seed any int32, from a random source: nobody may choose addresses that collide */
  constructor(context: RouterContext, seed: number, maximum = MAX_NEIGHBORS) {
    this.context = context;
    this.maximum = maximum;
    this.index = new NeighborIndex(this.pool, maximum, seed);
    this.random = new Random(seed);
  }

  /** Packets that wait. */
  get held(): number {
    return this.hold.count;
  }

  /** Entries without a MAC. */
  get unresolvedCount(): number {
    return this.unresolved.length;
  }

  /** Whatever its state; null: there is none. */
  find4(iface: number, address: number): Neighbor | null {
    return this.index.find4(iface, address);
  }

  find6(iface: number, a: number, b: number, c: number, d: number): Neighbor | null {
    return this.index.find6(iface, a, b, c, d);
  }

  /** Asks for a neighbor of which nothing is known, without a packet that waits for it. @param port on whose account it is */
  seek(iface: RouterInterface, a: number, b: number, c: number, d: number, port: number): void {
    if (this.index.find6(iface.number, a, b, c, d) !== null) return;
    if (this.makeUnresolved(port) === DROP_NONE) this.start(iface, a, b, c, d, port);
  }

  /**
   * For a packet whose neighbor is missing, or not usable: asks for it, and keeps the packet.
   * @returns HELD, and the slot is the table's; DROP with `packet.reason`; CONTINUE where the neighbor is usable after all
   */
  resolve(iface: RouterInterface, a: number, b: number, c: number, d: number, packet: Packet): number {
    let neighbor = this.index.find6(iface.number, a, b, c, d);
    if (neighbor === null) {
      const reason = this.makeUnresolved(packet.port);
      if (reason !== DROP_NONE) return refuse(packet, reason);
      neighbor = this.start(iface, a, b, c, d, packet.port);
    }
    if (neighbor.isUsable) return CONTINUE;
    if (neighbor.state === NEIGHBOR_FAILED) return refuse(packet, DROP_NEIGHBOR_FAILED);
    const victim = this.hold.makeRoom(neighbor, packet.port);
    if (victim !== null) this.context.giveUp(victim, DROP_NEIGHBOR_QUEUE);
    this.hold.push(neighbor, packet);
    neighbor.usedAt = this.context.now;
    return HELD;
  }

  /** A packet is sent to a usable neighbor that is not REACHABLE: a stale one is to be asked, should nothing confirm it soon. */
  use(neighbor: Neighbor): void {
    if (neighbor.state !== NEIGHBOR_STALE) return;
    neighbor.usedAt = this.context.now;
    this.setState(neighbor, NEIGHBOR_DELAY);
  }

  /**
   * Takes in that an address is at a MAC: RFC 4861, 7.2.3 and 7.2.5, for ARP alike. Whether the message may be believed has been checked.
   * @param how LEARN_SOLICITED and so on
   * @param port that it came from
   * @returns false: nothing is known of the address, and nothing was learned
   */
  learn(
    iface: RouterInterface,
    a: number,
    b: number,
    c: number,
    d: number,
    macHigh: number,
    macLow: number,
    how: number,
    port = 0,
  ): boolean {
    const neighbor = this.index.find6(iface.number, a, b, c, d);
    if (neighbor === null) return (how & LEARN_CREATE) !== 0 && this.add(iface, a, b, c, d, macHigh, macLow, port);
    this.interfaces[iface.number] = iface;
    if (neighbor.state === NEIGHBOR_PERMANENT) return true;
    if (neighbor.isUsable) this.update(neighbor, macHigh, macLow, how);
    else this.complete(neighbor, macHigh, macLow, how);
    return true;
  }

  /** An interface was replaced by another of its number, or is new: it is the one to ask by from now on. */
  setInterface(iface: RouterInterface): void {
    this.interfaces[iface.number] = iface;
  }

  /**
   * Binds an address to a MAC until `removePermanent`, as an operator has told: it is not asked for, does not age, and what is heard does
   * not change it. What waits for it goes.
   * @returns false: there is no room
   */
  setPermanent(
    iface: RouterInterface,
    a: number,
    b: number,
    c: number,
    d: number,
    macHigh: number,
    macLow: number,
  ): boolean {
    let neighbor = this.index.find6(iface.number, a, b, c, d);
    if (neighbor === null) {
      if (this.count >= this.maximum && !this.evict(0)) return false;
      neighbor = this.create(iface, a, b, c, d, 0, NEIGHBOR_PERMANENT);
    }
    this.interfaces[iface.number] = iface;
    // Told again, nothing changes for those who remember it.
    const isSame = neighbor.isUsable && neighbor.macHigh === macHigh && neighbor.macLow === macLow;
    if (!isSame) this.setMac(neighbor, macHigh, macLow);
    if (neighbor.state !== NEIGHBOR_PERMANENT) this.setState(neighbor, NEIGHBOR_PERMANENT);
    this.deliver(neighbor);
    return true;
  }

  /** What was bound is forgotten; the next packet asks. False: there is no such binding. */
  removePermanent(iface: RouterInterface, a: number, b: number, c: number, d: number): boolean {
    const neighbor = this.index.find6(iface.number, a, b, c, d);
    if (neighbor?.state !== NEIGHBOR_PERMANENT) return false;
    this.remove(neighbor, DROP_NEIGHBOR_FAILED);
    return true;
  }

  /** Forgets what was learned on an interface; what waits there is given up. */
  flush(iface: number, reason = DROP_NEIGHBOR_FAILED): void {
    for (let i = this.live.length - 1; i >= 0; i--) {
      const neighbor = this.live[i];
      if (neighbor.iface === iface && neighbor.state !== NEIGHBOR_PERMANENT) this.remove(neighbor, reason);
    }
  }

  /** Forgets all of an interface, permanent entries included. */
  removeInterface(iface: number, reason = DROP_NEIGHBOR_FAILED): void {
    for (let i = this.live.length - 1; i >= 0; i--) {
      if (this.live[i].iface === iface) this.remove(this.live[i], reason);
    }
    this.interfaces[iface] = undefined;
  }

  /** Forgets who is known and satisfies `isGone`; the next packet to him asks anew. */
  forget(isGone: (neighbor: Neighbor) => boolean): void {
    for (let i = this.live.length - 1; i >= 0; i--) {
      const neighbor = this.live[i];
      if (neighbor.isUsable && neighbor.state !== NEIGHBOR_PERMANENT && isGone(neighbor)) {
        this.remove(neighbor, DROP_NEIGHBOR_FAILED);
      }
    }
  }

  /** Gives up what came in by a port and waits: the port goes, and its number may be another's when the answer comes. */
  giveUpFrom(port: number, reason: number): void {
    for (let packet = this.hold.popFrom(port); packet !== null; packet = this.hold.popFrom(port)) {
      this.context.giveUp(packet, reason);
    }
  }

  /** The visitor must not change the table. */
  forEach(visitor: (neighbor: Neighbor) => void): void {
    for (const neighbor of this.live) visitor(neighbor);
  }

  /** Once a second; more often does no harm. */
  tick(): void {
    this.requestsLeft = REQUESTS_A_TICK;
    const { live } = this;
    const first = this.tickHand % Math.max(1, live.length);
    let isCut = false;
    // Backwards, since the last entry takes the place of one that goes; and on from where the requests ended last time.
    for (let step = live.length, at = first; step > 0; step--, at--) {
      if (at < 0 || at >= live.length) at = live.length - 1;
      if (at < 0) return;
      this.age(live[at]);
      if (this.requestsLeft === 0 && !isCut) {
        isCut = true;
        this.tickHand = at + live.length - 1;
      }
    }
  }

  // --- time

  private age(neighbor: Neighbor): void {
    const { now, milliseconds } = this.context;
    const inState = (now - neighbor.since) | 0;
    switch (neighbor.state) {
      case NEIGHBOR_INCOMPLETE:
      case NEIGHBOR_PROBE:
        this.ask(neighbor);
        break;
      case NEIGHBOR_FAILED:
        if (((milliseconds - neighbor.sentAt) | 0) >= FAILED_TIME) this.remove(neighbor, DROP_NEIGHBOR_FAILED);
        break;
      case NEIGHBOR_REACHABLE:
        if (((now - neighbor.confirmedAt) | 0) >= neighbor.reachableFor) this.setState(neighbor, NEIGHBOR_STALE);
        break;
      case NEIGHBOR_STALE:
        if (inState >= STALE_TIME) this.remove(neighbor, DROP_NEIGHBOR_FAILED);
        break;
      case NEIGHBOR_DELAY:
        if (inState >= DELAY_TIME) this.probe(neighbor);
        break;
    }
  }

  private probe(neighbor: Neighbor): void {
    this.setState(neighbor, NEIGHBOR_PROBE);
    this.unasked(neighbor);
    this.ask(neighbor);
  }

  /** Sends the next request where its time has come, or gives up after the last. One for which no slot is free counts as sent. */
  private ask(neighbor: Neighbor): void {
    if (((this.context.milliseconds - neighbor.sentAt) | 0) < RETRANS_TIME) return;
    if (neighbor.probes >= MAX_REQUESTS) {
      this.fail(neighbor);
      return;
    }
    if (this.requestsLeft === 0) return;
    this.requestsLeft--;
    this.request(neighbor);
  }

  private request(neighbor: Neighbor): void {
    const iface = this.interfaces[neighbor.iface];
    neighbor.probes++;
    neighbor.sentAt = this.context.milliseconds;
    if (iface !== undefined) solicit(this.context, iface, neighbor, neighbor.state === NEIGHBOR_PROBE);
  }

  private unasked(neighbor: Neighbor): void {
    neighbor.probes = 0;
    neighbor.sentAt = (this.context.milliseconds - RETRANS_TIME) | 0;
  }

  /** A neighbor that was known is forgotten (RFC 4861, 7.3.3), so that the next packet asks everybody. */
  private fail(neighbor: Neighbor): void {
    if (neighbor.state === NEIGHBOR_PROBE) {
      this.remove(neighbor, DROP_NEIGHBOR_FAILED);
      return;
    }
    this.setState(neighbor, NEIGHBOR_FAILED);
    neighbor.sentAt = this.context.milliseconds;
    this.giveUpAll(neighbor, DROP_NEIGHBOR_FAILED);
  }

  // --- learning

  private add(
    iface: RouterInterface,
    a: number,
    b: number,
    c: number,
    d: number,
    macHigh: number,
    macLow: number,
    port: number,
  ): boolean {
    if (this.count >= this.maximum && !this.evict(port)) return false;
    const neighbor = this.create(iface, a, b, c, d, port, NEIGHBOR_STALE);
    this.setMac(neighbor, macHigh, macLow);
    return true;
  }

  /** An INCOMPLETE or FAILED entry: the override flag does not matter (RFC 4861, 7.2.5). */
  private complete(neighbor: Neighbor, macHigh: number, macLow: number, how: number): void {
    if ((how & LEARN_NO_MAC) !== 0) return;
    const isAnswer = isSolicited(neighbor, how);
    this.setMac(neighbor, macHigh, macLow);
    this.setRouter(neighbor, how);
    if (isAnswer) this.confirm(neighbor);
    else this.setState(neighbor, NEIGHBOR_STALE);
    this.deliver(neighbor);
  }

  private update(neighbor: Neighbor, macHigh: number, macLow: number, how: number): void {
    const isOther = (how & LEARN_NO_MAC) === 0 && (neighbor.macHigh !== macHigh || neighbor.macLow !== macLow);
    if (isOther && (how & LEARN_OVERRIDE) === 0) {
      if (neighbor.state === NEIGHBOR_REACHABLE) this.setState(neighbor, NEIGHBOR_STALE);
      return;
    }
    const isAnswer = isSolicited(neighbor, how);
    if (isOther) this.setMac(neighbor, macHigh, macLow);
    this.setRouter(neighbor, how);
    if (isAnswer) this.confirm(neighbor);
    else if (isOther) this.setState(neighbor, NEIGHBOR_STALE);
  }

  private confirm(neighbor: Neighbor): void {
    neighbor.confirmedAt = this.context.now;
    neighbor.reachableFor = this.random.between(REACHABLE_LEAST, REACHABLE_MOST);
    this.setState(neighbor, NEIGHBOR_REACHABLE);
  }

  private setMac(neighbor: Neighbor, macHigh: number, macLow: number): void {
    neighbor.macHigh = macHigh;
    neighbor.macLow = macLow;
    neighbor.generation = (neighbor.generation + 1) | 0;
    neighbor.outPort = 0;
    neighbor.fdbEpoch = -1;
  }

  private setRouter(neighbor: Neighbor, how: number): void {
    if ((how & LEARN_ADVERTISEMENT) !== 0) neighbor.isRouter = (how & LEARN_ROUTER) === 0 ? 0 : 1;
  }

  /** Lets all that waits go, in order. Each is routed anew, which may change the table, this entry included. */
  private deliver(neighbor: Neighbor): void {
    const { generation } = neighbor;
    while (neighbor.generation === generation && neighbor.isUsable) {
      const packet = this.hold.pop(neighbor);
      if (packet === null) return;
      this.context.resume(packet);
    }
  }

  // --- entries

  /** Makes room for an unresolved entry of a port's. Returns a drop reason, or DROP_NONE. */
  private makeUnresolved(port: number): number {
    if (!this.rate.admit(port, this.context.milliseconds)) return DROP_NEIGHBOR_RATE;
    if (this.unresolvedByPort[port] >= MAX_UNRESOLVED_PORT) this.putOut(this.oldestUnresolved(port));
    else if (this.unresolved.length >= MAX_UNRESOLVED) this.putOut(this.oldestUnresolved(this.busiestPort()));
    return this.count < this.maximum || this.evict(port) ? DROP_NONE : DROP_NEIGHBOR_FULL;
  }

  private start(iface: RouterInterface, a: number, b: number, c: number, d: number, port: number): Neighbor {
    const neighbor = this.create(iface, a, b, c, d, port, NEIGHBOR_INCOMPLETE);
    this.request(neighbor);
    return neighbor;
  }

  private oldestUnresolved(port: number): Neighbor {
    let oldest: Neighbor | null = null;
    for (const neighbor of this.unresolved) {
      if (neighbor.port === port && (oldest === null || isOlder(neighbor, oldest))) oldest = neighbor;
    }
    return oldest as Neighbor;
  }

  private busiestPort(): number {
    let busiest = this.unresolved[0].port;
    for (const { port } of this.unresolved) {
      if (this.unresolvedByPort[port] > this.unresolvedByPort[busiest]) busiest = port;
    }
    return busiest;
  }

  /**
   * Puts out an entry of a full table: a stale or failed one rather than one in use, of the port with the most entries rather than of
   * others, then the one longest in its state, among those that a hand meets. Never a permanent one, nor one that is being asked.
   */
  private evict(port: number): boolean {
    this.reportFull(port);
    const { live } = this;
    let best: Neighbor | null = null;
    let candidates = 0;
    for (let i = Math.min(live.length, EVICTION_STEPS); i > 0 && candidates < EVICTION_CANDIDATES; i--) {
      this.evictionHand = this.evictionHand === 0 ? live.length - 1 : Math.min(this.evictionHand, live.length) - 1;
      const neighbor = live[this.evictionHand];
      if (evictionRank(neighbor) === 0) continue;
      candidates++;
      if (best === null || this.isBetterVictim(neighbor, best)) best = neighbor;
    }
    if (best === null) return false;
    this.putOut(best);
    return true;
  }

  private isBetterVictim(neighbor: Neighbor, than: Neighbor): boolean {
    const rank = evictionRank(neighbor) - evictionRank(than);
    if (rank !== 0) return rank > 0;
    const load = this.byPort[neighbor.port] - this.byPort[than.port];
    return load !== 0 ? load > 0 : isOlder(neighbor, than);
  }

  private putOut(neighbor: Neighbor): void {
    this.evicted++;
    this.remove(neighbor, DROP_NEIGHBOR_FULL);
  }

  private reportFull(port: number): void {
    const { now, events } = this.context;
    if (((now - this.fullReportedAt) | 0) < FULL_REPORT) return;
    this.fullReportedAt = now;
    events.add(EVENT_NEIGHBORS_FULL, 0, port, 0, 0, 0, this.maximum);
  }

  /** There must be room. */
  private create(
    iface: RouterInterface,
    a: number,
    b: number,
    c: number,
    d: number,
    port: number,
    state: number,
  ): Neighbor {
    const neighbor = this.spare.pop() ?? this.growPool();
    this.interfaces[iface.number] = iface;
    neighbor.iface = iface.number;
    neighbor.a = a;
    neighbor.b = b;
    neighbor.c = c;
    neighbor.d = d;
    neighbor.port = port;
    neighbor.isRouter = 0;
    neighbor.confirmedAt = this.context.now;
    neighbor.usedAt = this.context.now;
    this.unasked(neighbor);
    this.index.insert(neighbor);
    neighbor.liveAt = this.live.length;
    this.live.push(neighbor);
    this.byPort[port]++;
    this.count++;
    this.setState(neighbor, state);
    return neighbor;
  }

  private growPool(): Neighbor {
    const neighbor = new Neighbor(this.pool.length + 1);
    this.pool.push(neighbor);
    return neighbor;
  }

  private remove(neighbor: Neighbor, reason: number): void {
    this.giveUpAll(neighbor, reason);
    this.setState(neighbor, NEIGHBOR_FREE);
    this.index.remove(neighbor);
    const last = this.live.pop() as Neighbor;
    if (last !== neighbor) {
      this.live[neighbor.liveAt] = last;
      last.liveAt = neighbor.liveAt;
    }
    this.byPort[neighbor.port]--;
    this.count--;
    neighbor.iface = 0;
    neighbor.generation = (neighbor.generation + 1) | 0;
    neighbor.fdbEpoch = -1;
    this.spare.push(neighbor);
  }

  private giveUpAll(neighbor: Neighbor, reason: number): void {
    for (let packet = this.hold.pop(neighbor); packet !== null; packet = this.hold.pop(neighbor)) {
      this.context.giveUp(packet, reason);
    }
  }

  private setState(neighbor: Neighbor, state: number): void {
    const was = isUnresolved(neighbor.state);
    neighbor.state = state;
    neighbor.since = this.context.now;
    const is = isUnresolved(state);
    if (is === was) return;
    this.unresolvedByPort[neighbor.port] += is ? 1 : -1;
    if (is) {
      neighbor.unresolvedAt = this.unresolved.length;
      this.unresolved.push(neighbor);
      return;
    }
    const last = this.unresolved.pop() as Neighbor;
    if (last === neighbor) return;
    this.unresolved[neighbor.unresolvedAt] = last;
    last.unresolvedAt = neighbor.unresolvedAt;
  }
}

function isUnresolved(state: number): boolean {
  return state === NEIGHBOR_INCOMPLETE || state === NEIGHBOR_FAILED;
}

/** ARP has no flag that says so: a reply is solicited where we have asked. */
function isSolicited(neighbor: Neighbor, how: number): boolean {
  if ((how & LEARN_SOLICITED) !== 0) return true;
  const isAsked = neighbor.state === NEIGHBOR_INCOMPLETE || neighbor.state === NEIGHBOR_PROBE;
  return (how & LEARN_REPLY) !== 0 && isAsked;
}

function evictionRank(neighbor: Neighbor): number {
  const { state } = neighbor;
  if (state === NEIGHBOR_STALE || state === NEIGHBOR_FAILED) return 2;
  return state === NEIGHBOR_REACHABLE ? 1 : 0;
}

/** Longer in its state. */
function isOlder(neighbor: Neighbor, than: Neighbor): boolean {
  return ((neighbor.since - than.since) | 0) < 0;
}
