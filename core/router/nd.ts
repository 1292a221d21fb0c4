/**
 * Neighbor discovery on the router's interfaces (RFC 4861): solicitations for own and for proxied addresses are answered, advertisements
 * learned, router solicitations handed to advertise.ts. What others advertise as routers, and redirects, change nothing here (RFC 4861,
 * 6.2.3 and 8.2: they are for hosts).
 */

import { DROP_NEIGHBOR_INVALID, DROP_NEIGHBOR_RATE, DROP_NO_SLOT, DROP_NOT_LISTENING } from '../drop.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { CONTINUE, LOCAL, refuse } from '../verdict.js';
import { macHigh, macLow } from '../wire/ethernet.js';
import {
  ICMPV6_CODE,
  icmpv6Type,
  isIcmpv6ChecksumRight,
  ND_NEIGHBOR_ADVERTISEMENT,
  ND_NEIGHBOR_LENGTH,
  ND_NEIGHBOR_SOLICITATION,
  ND_OPTION_SOURCE_LINK_ADDRESS,
  ND_OPTION_TARGET_LINK_ADDRESS,
  ND_ROUTER_SOLICITATION,
  ND_ROUTER_SOLICITATION_LENGTH,
  ND_TARGET,
} from '../wire/icmpv6.js';
import { IPV6_DESTINATION, IPV6_SOURCE, ipv6HopLimit } from '../wire/ipv6.js';
import { isIpv6Group } from '../wire/mld.js';
import {
  ALL_NODES_MAC_LOW,
  GROUP_MAC_HIGH,
  LINK_GROUP_FIRST,
  ND_FLAGS,
  ND_HOP_LIMIT,
  ND_OVERRIDE,
  ND_ROUTER,
  ND_SOLICITED,
  SOLICITED_NODE_THIRD,
  setNdDestination,
  setNdSource,
  writeAdvertisement,
  writeNdHeaders,
} from '../wire/nd-frame.js';
import { findLinkAddress, NO_LINK_ADDRESS, OPTIONS_INVALID } from '../wire/nd-options.js';
import type { Advertiser } from './advertise.js';
import { Claims } from './claims.js';
import type { RouterContext } from './context.js';
import { ADDRESS6_WORDS, type RouterInterface } from './interface.js';
import {
  LEARN_ADVERTISEMENT,
  LEARN_CREATE,
  LEARN_NO_MAC,
  LEARN_OVERRIDE,
  LEARN_ROUTER,
  LEARN_SOLICITED,
  type NeighborTable,
} from './neighbors.js';
import { PortRate } from './port-rate.js';

/** Solicitations a second that one port may have answered, and at once. */
const REQUESTS = 1000;
const REQUESTS_AT_ONCE = 200;
const SOLICITED_NODE_BITS = 0xff;

export class Discovery {
  private readonly context: RouterContext;
  private readonly neighbors: NeighborTable;
  private readonly advertiser: Advertiser;
  private readonly claims: Claims;
  private readonly rate = new PortRate(REQUESTS, REQUESTS_AT_ONCE);
  /** Set by `readAddresses`: the sender's address, and the target's. */
  private readonly source = new Int32Array(4);
  private readonly target = new Int32Array(4);
  /** Set by `findLinkAddress`. */
  private linkHigh = 0;
  private linkLow = 0;

  constructor(context: RouterContext, neighbors: NeighborTable, advertiser: Advertiser) {
    this.context = context;
    this.neighbors = neighbors;
    this.advertiser = advertiser;
    this.claims = new Claims(context);
  }

  /** Messages in which somebody else claimed an address of ours. */
  get conflicts(): number {
    return this.claims.conflicts;
  }

  /** An interface has come, or is up again, or has other addresses. */
  announce(iface: RouterInterface): void {
    const { addresses6, linkLocal } = iface;
    const all = [linkLocal];
    for (let i = 0; i < addresses6.length; i += ADDRESS6_WORDS) all.push(addresses6.slice(i, i + 4));
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
   * For neighbor discovery to a group or to the interface's MAC. Precondition: packet.l4 is a proven ICMPv6 header.
   * @returns LOCAL; CONTINUE: it is (also) for others, and may be flooded; DROP with `packet.reason`
   */
  receive(packet: Packet, iface: RouterInterface): number {
    const { view } = this.context.arena;
    const isToUs = packet.dstHigh === iface.macHigh && packet.dstLow === iface.macLow;
    const type = icmpv6Type(view, packet.l4);
    if (type === ND_ROUTER_SOLICITATION) return this.routerSolicitation(packet, iface, isToUs);
    const isNeighbor = type === ND_NEIGHBOR_SOLICITATION || type === ND_NEIGHBOR_ADVERTISEMENT;
    if (!isNeighbor || packet.l3End - packet.l4 < ND_NEIGHBOR_LENGTH) {
      return isToUs ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
    }
    readAddress(view, packet.l3 + IPV6_SOURCE, this.source);
    readAddress(view, packet.l4 + ND_TARGET, this.target);
    if (type === ND_NEIGHBOR_SOLICITATION) return this.solicitation(packet, iface, isToUs);
    return this.advertisement(packet, iface, isToUs);
  }

  // --- solicitations

  private solicitation(packet: Packet, iface: RouterInterface, isToUs: boolean): number {
    const { target } = this;
    const isOwn = owns(iface, target) && !iface.shared && !this.isDuplicate(iface);
    if (!isOwn && !this.isProxied(iface))
      return isToUs && !iface.shared ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
    if (!this.isSolicitationValid(packet)) return refuse(packet, DROP_NEIGHBOR_INVALID);
    if (!this.rate.admit(packet.port, this.context.milliseconds)) return refuse(packet, DROP_NEIGHBOR_RATE);
    const isOurMac = packet.srcHigh === iface.macHigh && packet.srcLow === iface.macLow;
    if (isOurMac) return refuse(packet, DROP_NEIGHBOR_INVALID);
    if (isUnspecified(this.source)) return this.detection(packet, iface);
    if (owns(iface, this.source) && !iface.shared) return this.disbelieve(packet, iface, this.source);
    return this.answer(packet, iface, isOwn);
  }

  /**
   * RFC 4861, 7.1.1. Precondition: the target is inside, and no group address, since it is an own or proxied one.
   * Sets the link-layer address where there is one.
   */
  private isSolicitationValid(packet: Packet): boolean {
    const { view } = this.context.arena;
    if (!isIntact(view, packet) || isIpv6Group(view, packet.l3 + IPV6_SOURCE)) return false;
    const found = this.findLinkAddress(packet, ND_NEIGHBOR_LENGTH, ND_OPTION_SOURCE_LINK_ADDRESS);
    if (found === OPTIONS_INVALID) return false;
    return !isUnspecified(this.source) || (found === NO_LINK_ADDRESS && isToSolicitedNode(view, packet));
  }

  /**
   * Somebody asks whether an address is free (RFC 4862, 5.4.3). It is ours; where we are asking too, nobody gets it.
   */
  private detection(packet: Packet, iface: RouterInterface): number {
    const { 0: a, 1: b, 2: c, 3: d } = this.target;
    if (this.claims.isTentative(iface, a, b, c, d)) return this.disbelieve(packet, iface, this.target);
    const reply = this.context.begin();
    if (reply === null) return refuse(packet, DROP_NO_SLOT);
    const { view } = this.context.arena;
    writeNdHeaders(view, reply, GROUP_MAC_HIGH, ALL_NODES_MAC_LOW, iface.macHigh, iface.macLow);
    setNdSource(view, reply, a, b, c, d);
    setNdDestination(view, reply, LINK_GROUP_FIRST, 0, 0, 1);
    writeAdvertisement(view, reply, ND_ROUTER | ND_OVERRIDE, a, b, c, d, iface.macHigh, iface.macLow);
    this.context.sendFrame(reply, iface);
    return LOCAL;
  }

  /**
   * RFC 4861, 7.2.3 and 7.2.4. For a proxied address from our own, and without the override flag (7.2.8); as for one that may still
   * turn out to be another's (RFC 4429, 3.3).
   */
  private answer(packet: Packet, iface: RouterInterface, isOwn: boolean): number {
    const { source, target } = this;
    this.learnSource(packet, iface);
    const reply = this.context.begin();
    if (reply === null) return refuse(packet, DROP_NO_SLOT);
    const { view } = this.context.arena;
    const { 0: a, 1: b, 2: c, 3: d } = target;
    const isFirm = isOwn && !this.claims.isTentative(iface, a, b, c, d);
    const from = isOwn ? target : iface.linkLocal;
    writeNdHeaders(view, reply, this.linkHigh, this.linkLow, iface.macHigh, iface.macLow);
    setNdSource(view, reply, from[0], from[1], from[2], from[3]);
    setNdDestination(view, reply, source[0], source[1], source[2], source[3]);
    const flags = ND_ROUTER | ND_SOLICITED | (isFirm ? ND_OVERRIDE : 0);
    writeAdvertisement(view, reply, flags, a, b, c, d, iface.macHigh, iface.macLow);
    this.context.sendFrame(reply, iface);
    return LOCAL;
  }

  /**
   * The sender's MAC, as it says itself, or where it says nothing, and nothing is learned, as its frame says. One of another subnet
   * would never be a next hop.
   */
  private learnSource(packet: Packet, iface: RouterInterface): void {
    if (this.linkHigh === NO_MAC) {
      this.linkHigh = packet.srcHigh;
      this.linkLow = packet.srcLow;
      return;
    }
    const { 0: a, 1: b, 2: c, 3: d } = this.source;
    const how = LEARN_OVERRIDE | (iface.isOnLink6(a, b, c, d) ? LEARN_CREATE : 0);
    this.neighbors.learn(iface, a, b, c, d, this.linkHigh, this.linkLow, how, packet.port);
  }

  /** As ARP does it: not for the sender itself, nor for duplicate address detection, nor where the address is on the sender's side. */
  private isProxied(iface: RouterInterface): boolean {
    const { source, target } = this;
    const { 0: a, 1: b, 2: c, 3: d } = target;
    if (isUnspecified(source) || isSame(source, target) || !iface.isProxied6(a, b, c, d) || owns(iface, target))
      return false;
    return this.neighbors.find6(iface.number, a, b, c, d)?.isUsable !== true;
  }

  private isDuplicate(iface: RouterInterface): boolean {
    const { 0: a, 1: b, 2: c, 3: d } = this.target;
    return this.claims.isDuplicate(iface, a, b, c, d);
  }

  // --- advertisements

  private advertisement(packet: Packet, iface: RouterInterface, isToUs: boolean): number {
    const { target } = this;
    const isOwn = owns(iface, target) && !iface.shared;
    if (!this.isAdvertisementValid(packet)) return isToUs || isOwn ? refuse(packet, DROP_NEIGHBOR_INVALID) : CONTINUE;
    if (isOwn) return this.disbelieve(packet, iface, target);
    const { 0: a, 1: b, 2: c, 3: d } = target;
    const how = this.howAdvertised(packet);
    const isKnown = this.neighbors.learn(iface, a, b, c, d, this.linkHigh, this.linkLow, how, packet.port);
    if (!isToUs) return CONTINUE;
    if (isKnown) return LOCAL;
    return iface.shared ? CONTINUE : refuse(packet, DROP_NEIGHBOR_INVALID);
  }

  /** RFC 4861, 7.1.2. Sets the link-layer address where there is one. */
  private isAdvertisementValid(packet: Packet): boolean {
    const { view } = this.context.arena;
    if (!isIntact(view, packet) || isIpv6Group(view, packet.l4 + ND_TARGET)) return false;
    const isSolicited = (view.getInt32(packet.l4 + ND_FLAGS) & ND_SOLICITED) !== 0;
    if (isSolicited && isIpv6Group(view, packet.l3 + IPV6_DESTINATION)) return false;
    return this.findLinkAddress(packet, ND_NEIGHBOR_LENGTH, ND_OPTION_TARGET_LINK_ADDRESS) !== OPTIONS_INVALID;
  }

  private howAdvertised(packet: Packet): number {
    const flags = this.context.arena.view.getInt32(packet.l4 + ND_FLAGS);
    let how = LEARN_ADVERTISEMENT;
    if ((flags & ND_ROUTER) !== 0) how |= LEARN_ROUTER;
    if ((flags & ND_SOLICITED) !== 0) how |= LEARN_SOLICITED;
    if ((flags & ND_OVERRIDE) !== 0) how |= LEARN_OVERRIDE;
    return this.linkHigh === NO_MAC ? how | LEARN_NO_MAC : how;
  }

  // --- router solicitations

  /** RFC 4861, 6.1.1 and 6.2.6. Where nothing is advertised, it may be for other routers. */
  private routerSolicitation(packet: Packet, iface: RouterInterface, isToUs: boolean): number {
    if (iface.advertisement === null) return isToUs && !iface.shared ? refuse(packet, DROP_NOT_LISTENING) : CONTINUE;
    const { view } = this.context.arena;
    readAddress(view, packet.l3 + IPV6_SOURCE, this.source);
    const found = this.findLinkAddress(packet, ND_ROUTER_SOLICITATION_LENGTH, ND_OPTION_SOURCE_LINK_ADDRESS);
    const isAnonymous = isUnspecified(this.source);
    const isWrong = found === OPTIONS_INVALID || (isAnonymous && found > 0);
    if (isWrong || !isIntact(view, packet) || isIpv6Group(view, packet.l3 + IPV6_SOURCE)) {
      return refuse(packet, DROP_NEIGHBOR_INVALID);
    }
    if (!this.rate.admit(packet.port, this.context.milliseconds)) return refuse(packet, DROP_NEIGHBOR_RATE);
    const { 0: a, 1: b, 2: c, 3: d } = this.source;
    if (!isAnonymous && owns(iface, this.source)) return this.disbelieve(packet, iface, this.source);
    if (!isAnonymous) this.learnSource(packet, iface);
    return this.advertiser.solicited(iface, a, b, c, d, this.linkHigh, this.linkLow);
  }

  // --- all

  /** Our own frame that has come back, or a conflict. Nobody else is to believe it either. */
  private disbelieve(packet: Packet, iface: RouterInterface, address: Int32Array): number {
    const { srcHigh, srcLow, port } = packet;
    const { 0: a, 1: b, 2: c, 3: d } = address;
    if (srcHigh !== iface.macHigh || srcLow !== iface.macLow)
      this.claims.conflict(iface, port, srcHigh, srcLow, a, b, c, d);
    return refuse(packet, DROP_NEIGHBOR_INVALID);
  }

  /**
   * Sets the MAC in the option of kind `kind` behind the first `offset` bytes of the message, or NO_MAC.
   * @returns as the function of that name
   */
  private findLinkAddress(packet: Packet, offset: number, kind: number): number {
    const { view } = this.context.arena;
    const found = findLinkAddress(view, packet.l4 + offset, packet.l3End, kind);
    this.linkHigh = found > 0 ? macHigh(view, found) : NO_MAC;
    this.linkLow = found > 0 ? macLow(view, found) : 0;
    return found;
  }
}

/** No first two octets of a MAC. */
const NO_MAC = -1;

/** What all messages must be (RFC 4861, 6.1.1, 7.1.1 and 7.1.2; RFC 6980, 5: never fragmented). */
export function isIntact(view: DataView, packet: Packet): boolean {
  if ((packet.flags & PACKET_FRAGMENT) !== 0) return false;
  if (ipv6HopLimit(view, packet.l3) !== ND_HOP_LIMIT || view.getUint8(packet.l4 + ICMPV6_CODE) !== 0) return false;
  return isIcmpv6ChecksumRight(view, packet);
}

/** ff02::1:ff00:0/104. */
export function isToSolicitedNode(view: DataView, packet: Packet): boolean {
  const at = packet.l3 + IPV6_DESTINATION;
  return (
    view.getInt32(at) === LINK_GROUP_FIRST &&
    view.getInt32(at + 4) === 0 &&
    view.getInt32(at + 8) === SOLICITED_NODE_THIRD &&
    view.getUint8(at + 12) === SOLICITED_NODE_BITS
  );
}

function readAddress(view: DataView, at: number, words: Int32Array): void {
  for (let i = 0; i < 4; i++) words[i] = view.getInt32(at + 4 * i);
}

function isUnspecified(words: Int32Array): boolean {
  return (words[0] | words[1] | words[2] | words[3]) === 0;
}

function isSame(words: Int32Array, others: Int32Array): boolean {
  return words[0] === others[0] && words[1] === others[1] && words[2] === others[2] && words[3] === others[3];
}

function owns(iface: RouterInterface, words: Int32Array): boolean {
  return iface.owns6(words[0], words[1], words[2], words[3]);
}
