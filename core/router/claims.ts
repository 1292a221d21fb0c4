/**
 * The router's claims to its own addresses of one family: announced when an interface comes, on a wire that others share asked for first (RFC 5227, 2.1;
 * RFC 4862, 5.4), and defended (RFC 5227, 2.4).
 *
 * An address is used from the first moment on: the operator has said that it is ours, and a gateway that waits is a gateway that is
 * down. So the probes tell of a conflict, and do not prevent it (RFC 4429 does so for IPv6). An IPv6 address that turns out to be
 * somebody else's while it is asked for is not answered for again; inside a network, where an endpoint could take the gateway away like
 * that, it stays ours.
 */

import { EVENT_ADDRESS_CONFLICT } from '../events.js';
import { writeArpAnnouncement, writeNeighborAdvertisement } from '../switch/announce.js';
import { writeArpBroadcast } from '../wire/arp-frame.js';
import {
  GROUP_MAC_HIGH,
  LINK_GROUP_FIRST,
  ND_ROUTER,
  SOLICITED_NODE_THIRD,
  setNdDestination,
  setNdSource,
  solicitedNodeLast,
  writeNdHeaders,
  writeSolicitation,
} from '../wire/nd-frame.js';
import { isMapped } from './address.js';
import type { RouterContext } from './context.js';
import { INTERFACE_HOST, INTERFACE_UPLINK, type RouterInterface } from './interface.js';

/** An address is announced twice, a second apart (RFC 5227, 1.1: ANNOUNCE_NUM; the interval is half of what it says). */
const ANNOUNCEMENTS = 2;
/** Seconds: at most one event, and one defence, an address in this time (RFC 5227, 2.4(b): DEFEND_INTERVAL). */
const CONFLICT_INTERVAL = 10;
const LONG_AGO = -0x40000000;

class Claim {
  readonly iface: RouterInterface;
  /** The address's four words. */
  readonly words: Int32Array;
  /** Announcements still to come, the next in second `dueAt`. */
  announcements: number;
  dueAt = 0;
  /** It is being asked for, until `dueAt`. */
  isTentative = false;
  isDuplicate = false;
  reportedAt = LONG_AGO;
  defendedAt = LONG_AGO;

  constructor(iface: RouterInterface, words: Int32Array, announcements: number) {
    this.iface = iface;
    this.words = words;
    this.announcements = announcements;
  }
}

export class Claims {
  /** Messages in which somebody else claimed an address of ours. */
  conflicts = 0;
  private readonly context: RouterContext;
  /** By number of the interface. */
  private readonly claims: Claim[][] = [];

  constructor(context: RouterContext) {
    this.context = context;
  }

  /**
   * An interface has come, or is up again: asks for its addresses on the uplink, announces them elsewhere. Nothing on a shared uplink,
   * where they are the host's, nor towards the host, which asks when it wants to know.
   * @param addresses four words each
   */
  announce(iface: RouterInterface, addresses: readonly Int32Array[]): void {
    this.removeInterface(iface.number);
    if (iface.shared || iface.kind === INTERFACE_HOST) return;
    for (const words of addresses) this.begin(new Claim(iface, words, ANNOUNCEMENTS));
  }

  removeInterface(number: number): void {
    this.claims[number] = [];
  }

  /** Once a second. */
  tick(): void {
    for (const ofOne of this.claims) for (const claim of ofOne ?? []) this.goOn(claim);
  }

  /** IPv6 only: the address was somebody else's when we asked for it. */
  isDuplicate(iface: RouterInterface, a: number, b: number, c: number, d: number): boolean {
    return this.find(iface, a, b, c, d)?.isDuplicate === true;
  }

  /** It is being asked for. */
  isTentative(iface: RouterInterface, a: number, b: number, c: number, d: number): boolean {
    return this.find(iface, a, b, c, d)?.isTentative === true;
  }

  /**
   * Somebody with another MAC claims an own address of the interface.
   * @param port that he is behind
   */
  conflict(
    iface: RouterInterface,
    port: number,
    macHigh: number,
    macLow: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): void {
    const claim = this.find(iface, a, b, c, d) ?? this.add(new Claim(iface, Int32Array.of(a, b, c, d), 0));
    this.conflicts++;
    const { now, events } = this.context;
    if (((now - claim.reportedAt) | 0) > CONFLICT_INTERVAL) {
      claim.reportedAt = now;
      events.addWithAddress(EVENT_ADDRESS_CONFLICT, iface.fid, port, macHigh, macLow, a, b, c, d);
    }
    if (claim.isTentative && !isMapped(a, b, c)) claim.isDuplicate = true;
    else this.defend(claim);
  }

  private defend(claim: Claim): void {
    const { now } = this.context;
    if (claim.isDuplicate || ((now - claim.defendedAt) | 0) <= CONFLICT_INTERVAL) return;
    claim.defendedAt = now;
    this.sendAnnouncement(claim);
  }

  private begin(claim: Claim): void {
    this.add(claim);
    if (claim.iface.kind !== INTERFACE_UPLINK) {
      this.proclaim(claim);
      return;
    }
    claim.isTentative = true;
    claim.dueAt = this.context.now + 1;
    this.sendProbe(claim);
  }

  private add(claim: Claim): Claim {
    const { number } = claim.iface;
    this.claims[number] ??= [];
    this.claims[number].push(claim);
    return claim;
  }

  private goOn(claim: Claim): void {
    if (claim.announcements === 0 || claim.isDuplicate || ((this.context.now - claim.dueAt) | 0) < 0) return;
    claim.isTentative = false;
    this.proclaim(claim);
  }

  private proclaim(claim: Claim): void {
    claim.announcements--;
    claim.dueAt = this.context.now + 1;
    this.sendAnnouncement(claim);
  }

  private find(iface: RouterInterface, a: number, b: number, c: number, d: number): Claim | null {
    for (const claim of this.claims[iface.number] ?? []) {
      const { words } = claim;
      if (words[3] === d && words[2] === c && words[1] === b && words[0] === a) return claim;
    }
    return null;
  }

  /** Where no slot is free, the second announcement is left to make it known. */
  private sendAnnouncement({ iface, words }: Claim): void {
    const packet = this.context.begin();
    if (packet === null) return;
    const { view } = this.context.arena;
    const { macHigh, macLow } = iface;
    if (isMapped(words[0], words[1], words[2])) writeArpAnnouncement(view, packet, macHigh, macLow, words[3]);
    else writeNeighborAdvertisement(view, packet, macHigh, macLow, words, 0, ND_ROUTER);
    this.context.sendFrame(packet, iface);
  }

  /** From no address: RFC 5227, 2.1.1; RFC 4862, 5.4.2. */
  private sendProbe({ iface, words }: Claim): void {
    const packet = this.context.begin();
    if (packet === null) return;
    const { view } = this.context.arena;
    const { macHigh, macLow } = iface;
    const { 0: a, 1: b, 2: c, 3: d } = words;
    if (isMapped(a, b, c)) {
      writeArpBroadcast(view, packet, macHigh, macLow, 0, d);
    } else {
      const group = solicitedNodeLast(d);
      writeNdHeaders(view, packet, GROUP_MAC_HIGH, group, macHigh, macLow);
      setNdSource(view, packet, 0, 0, 0, 0);
      setNdDestination(view, packet, LINK_GROUP_FIRST, 0, SOLICITED_NODE_THIRD, group);
      writeSolicitation(view, packet, a, b, c, d, false, 0, 0);
    }
    this.context.sendFrame(packet, iface);
  }
}
