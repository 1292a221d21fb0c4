/**
 * ARP on the router's interfaces (RFC 826, RFC 1122, 2.3.2, RFC 1812, 3.3.2, RFC 5227): answers for own and for proxied addresses
 * (RFC 1027), learns from who speaks to us, refreshes what is known from all others, and does not believe who claims an own address.
 */

import { DROP_NEIGHBOR_INVALID, DROP_NEIGHBOR_RATE, DROP_NO_SLOT } from '../drop.js';
import { PACKET_L3_MALFORMED, type Packet } from '../packet/packet.js';
import { CONTINUE, LOCAL, refuse } from '../verdict.js';
import { ARP_REPLY, ARP_REQUEST, ARP_SENDER_MAC, arpOperation, arpSender, arpTarget } from '../wire/arp.js';
import { writeArp } from '../wire/arp-frame.js';
import { macHigh, macLow } from '../wire/ethernet.js';
import { MAPPED } from './address.js';
import { Claims } from './claims.js';
import type { RouterContext } from './context.js';
import { ADDRESS4_WORDS, type RouterInterface } from './interface.js';
import { LEARN_CREATE, LEARN_OVERRIDE, LEARN_REPLY, type NeighborTable } from './neighbors.js';
import { PortRate } from './port-rate.js';

const GROUP_BIT = 0x0100;

/** Requests a second that one port may have answered, and at once. */
const REQUESTS = 1000;
const REQUESTS_AT_ONCE = 200;

export class Arp {
  private readonly context: RouterContext;
  private readonly neighbors: NeighborTable;
  private readonly claims: Claims;
  private readonly rate = new PortRate(REQUESTS, REQUESTS_AT_ONCE);

  constructor(context: RouterContext, neighbors: NeighborTable) {
    this.context = context;
    this.neighbors = neighbors;
    this.claims = new Claims(context);
  }

  /** Messages in which somebody else claimed an address of ours. */
  get conflicts(): number {
    return this.claims.conflicts;
  }

  /** An interface has come, or is up again, or has other addresses. */
  announce(iface: RouterInterface): void {
    const { addresses4 } = iface;
    const all: Int32Array[] = [];
    for (let i = 0; i < addresses4.length; i += ADDRESS4_WORDS) all.push(Int32Array.of(0, 0, MAPPED, addresses4[i]));
    this.claims.announce(iface, all);
  }

  /** An interface is gone, or down. */
  removeInterface(number: number): void {
    this.claims.removeInterface(number);
  }

  /** Once a second. */
  tick(): void {
    this.claims.tick();
  }

  /**
   * For an ARP frame to everybody, or to the interface's MAC.
   * @returns LOCAL; CONTINUE: it is (also) for others, and may be flooded; DROP with `packet.reason`
   */
  receive(packet: Packet, iface: RouterInterface): number {
    const isToUs = packet.dstHigh === iface.macHigh && packet.dstLow === iface.macLow;
    if ((packet.flags & PACKET_L3_MALFORMED) !== 0) return isToUs ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
    const { view } = this.context.arena;
    const at = packet.l3;
    const sender = arpSender(view, at);
    const high = macHigh(view, at + ARP_SENDER_MAC);
    const low = macLow(view, at + ARP_SENDER_MAC);
    if (!iface.shared && sender !== 0 && iface.owns4(sender)) return this.disbelieve(packet, iface, sender, high, low);
    const target = arpTarget(view, at);
    const isForUs = isToUs || iface.owns4(target);
    if (!isMacPossible(high, low) || !isAddressPossible(sender) || isOwnMac(iface, high, low)) {
      return isForUs && !iface.shared ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
    }
    const operation = arpOperation(view, at);
    if (operation === ARP_REQUEST) return this.request(packet, iface, sender, target, high, low, isToUs);
    if (operation === ARP_REPLY) return this.reply(packet, iface, sender, high, low, isToUs);
    return isToUs ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
  }

  /** Our own frame that has come back, or a conflict. Nobody else is to believe it either. */
  private disbelieve(packet: Packet, iface: RouterInterface, sender: number, high: number, low: number): number {
    if (!isOwnMac(iface, high, low)) this.claims.conflict(iface, packet.port, high, low, 0, 0, MAPPED, sender);
    return refuse(packet, DROP_NEIGHBOR_INVALID);
  }

  /** A request to everybody, or, to confirm what its sender knows, to us (RFC 1122, 2.3.2.1). */
  private request(
    packet: Packet,
    iface: RouterInterface,
    sender: number,
    target: number,
    high: number,
    low: number,
    isToUs: boolean,
  ): number {
    const isOurs = iface.owns4(target) && !iface.shared;
    if (!isOurs && !this.isProxied(iface, sender, target)) {
      this.refresh(iface, sender, high, low);
      return isToUs && !iface.shared ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
    }
    if (!this.rate.admit(packet.port, this.context.milliseconds)) return refuse(packet, DROP_NEIGHBOR_RATE);
    // A probe's sender has no address yet (RFC 5227, 2.1.1); one of another subnet would never be a next hop.
    if (sender !== 0) {
      const how = LEARN_OVERRIDE | (iface.isOnLink4(sender) ? LEARN_CREATE : 0);
      this.neighbors.learn(iface, 0, 0, MAPPED, sender, high, low, how, packet.port);
    }
    return this.answer(packet, iface, sender, target, high, low);
  }

  /**
   * Proxied, unless it is the sender's own address, or is known to be on the sender's side. Probes are not answered: whether anybody has
   * the address is not known here.
   */
  private isProxied(iface: RouterInterface, sender: number, target: number): boolean {
    if (sender === 0 || sender === target || !iface.isProxied4(target)) return false;
    return this.neighbors.find4(iface.number, target)?.isUsable !== true;
  }

  private answer(
    packet: Packet,
    iface: RouterInterface,
    sender: number,
    target: number,
    high: number,
    low: number,
  ): number {
    const reply = this.context.begin();
    if (reply === null) return refuse(packet, DROP_NO_SLOT);
    const { view } = this.context.arena;
    writeArp(view, reply, high, low, ARP_REPLY, iface.macHigh, iface.macLow, target, high, low, sender);
    this.context.sendFrame(reply, iface);
    return LOCAL;
  }

  /** To us: an answer, believed where the address is known, which it is from the request on. To everybody: gratuitous. */
  private reply(
    packet: Packet,
    iface: RouterInterface,
    sender: number,
    high: number,
    low: number,
    isToUs: boolean,
  ): number {
    if (!isToUs) {
      this.refresh(iface, sender, high, low);
      return CONTINUE;
    }
    const how = LEARN_OVERRIDE | LEARN_REPLY;
    if (this.neighbors.learn(iface, 0, 0, MAPPED, sender, high, low, how, packet.port)) return LOCAL;
    return iface.shared ? CONTINUE : refuse(packet, DROP_NEIGHBOR_INVALID);
  }

  /** What everybody may hear updates what is known, and adds nothing (RFC 826, "Merge_flag"; RFC 5227, 4). */
  private refresh(iface: RouterInterface, sender: number, high: number, low: number): void {
    if (sender !== 0) this.neighbors.learn(iface, 0, 0, MAPPED, sender, high, low, LEARN_OVERRIDE);
  }
}

/** No group address (RFC 1812, 3.3.2), and not nothing. */
function isMacPossible(high: number, low: number): boolean {
  return (high & GROUP_BIT) === 0 && (high | low) !== 0;
}

/** No loopback, multicast, reserved or broadcast address (RFC 1122, 3.2.1.3); 0 is a probe's. */
function isAddressPossible(sender: number): boolean {
  const first = sender >>> 24;
  return sender === 0 || (first !== 0 && first !== 127 && first < 224);
}

function isOwnMac(iface: RouterInterface, high: number, low: number): boolean {
  return high === iface.macHigh && low === iface.macLow;
}
