/**
 * The way into a service: a packet that came to its listener gets a backend to go to. During a flood it is passed on without a flow, and
 * answers are known by where they come from.
 */

import { DROP_NO_BACKEND } from '../drop.js';
import {
  type Arrival,
  beginsConnection,
  DESTINATION,
  INSIDE_SERVICE,
  PASSING_IN,
  PASSING_OUT,
  SOURCE,
} from '../nat/arrival.js';
import type { Flows } from '../nat/flows.js';
import { PUBLISHED_PROTOCOL, PUBLISHED_SERVICE } from '../nat/published.js';
import { isTrackable, rewrite4, rewrite6 } from '../nat/rewrite.js';
import type { Packet } from '../packet/packet.js';
import { ICMP_PORT_UNREACHABLE } from '../router/icmp.js';
import { ICMPV6_PORT_UNREACHABLE, ICMPV6_UNREACHABLE } from '../router/icmpv6.js';
import { ADDRESS4_WORDS, ADDRESS6_WORDS, INTERFACE_UPLINK, type RouterInterface } from '../router/interface.js';
import type { Router } from '../router/router.js';
import { CONTINUE, refuse } from '../verdict.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ICMP_UNREACHABLE } from '../wire/icmp.js';
import { PROTOCOL_TCP } from '../wire/ipv4.js';
import { TCP_FLAGS, TCP_RST } from '../wire/tcp.js';
import type { Service } from './services.js';

export class ServiceEntry {
  private readonly router: Router;
  private readonly flows: Flows;
  private readonly arrival: Arrival;
  private readonly view: DataView;

  constructor(router: Router, flows: Flows, arrival: Arrival) {
    this.router = router;
    this.flows = flows;
    this.arrival = arrival;
    this.view = router.arena.view;
  }

  /**
   * The first packet of a flow to a service, or one of a connection that nobody knows (any more).
   *
   * @param record number of the listener's record
   * @returns CONTINUE, with a backend found; or a verdict
   */
  enter(packet: Packet, from: RouterInterface, record: number): number {
    const service = this.flows.services.get(this.flows.published.service(record));
    if (service === null) return this.withoutBackend(packet, from);
    const { flows, arrival, view } = this;
    arrival.isPickedUp = !beginsConnection(view, packet);
    if (arrival.isPickedUp && (!flows.services.mayPickUp(service) || isReset(view, packet))) {
      return flows.opener.unknown(packet, from);
    }
    const isOver = flows.services.isOver(service) && this.mayPass(from, record, service);
    if (isOver) flows.services.letPass(service);
    const isIpv6 = packet.etherType !== ETHERTYPE_IPV4;
    if (!this.choose(service, record, isIpv6, isOver)) return this.withoutBackend(packet, from);
    if (isOver && this.leadsBack(packet, from, record)) this.pass(isIpv6);
    return CONTINUE;
  }

  /** Sets where the packet in hand goes. False: there is no backend. @param isOver by hash alone: no flow is to be noted */
  private choose(service: Service, record: number, isIpv6: boolean, isOver: boolean): boolean {
    const { arrival } = this;
    const { services } = this.flows;
    const { before, portsBefore } = arrival;
    const isHashed = isOver || arrival.isPickedUp;
    const at = isHashed
      ? services.chooseByHash(service, before, portsBefore, isIpv6)
      : services.choose(service, before, portsBefore, isIpv6);
    if (at < 0) return false;
    this.aimAt(service, at, record, isIpv6);
    arrival.turnOf = isHashed ? null : service;
    arrival.turnAt = at;
    return true;
  }

  /** The packet in hand goes on without a flow. */
  private pass(isIpv6: boolean): void {
    const { arrival } = this;
    arrival.passing = PASSING_IN;
    const sole = isIpv6 ? this.sole6 : this.sole4;
    for (let i = 0; i < 4; i++) sole[i] = arrival.before[DESTINATION + i];
  }

  /** Whether answers to where the packet in hand goes now would be taken for those of the port that it came to, and of no other one. */
  private leadsBack(packet: Packet, from: RouterInterface, record: number): boolean {
    const { published, services } = this.flows;
    const isIpv6 = packet.etherType !== ETHERTYPE_IPV4;
    const port = this.arrival.portsAfter & 0xffff;
    const found = services.listenerBehind(published, from.vrf, packet.protocol, this.arrival.via, port, isIpv6);
    return found === record && services.portBefore === (this.arrival.portsBefore & 0xffff);
  }

  /** Packets of a flood are translated back by where they come from: there must be one answer to that. */
  private mayPass(from: RouterInterface, record: number, { options }: Service): boolean {
    const { published } = this.flows;
    if (from.kind !== INTERFACE_UPLINK || options.direct) return false;
    if (published.isUnbound(record) && !this.isSole(from, published.isIpv6(record))) return false;
    const { words } = published;
    let like = 0;
    for (const other of published.listenersOf(words[record + PUBLISHED_SERVICE])) {
      const isLike =
        words[other + PUBLISHED_PROTOCOL] === words[record + PUBLISHED_PROTOCOL] &&
        published.isIpv6(other) === published.isIpv6(record);
      if (isLike && !this.flows.services.isForHost(published, other)) like++;
    }
    return like === 1;
  }

  /** Where the last packet of a flood came to, by family: for answers of listeners that are bound to no address, the only one. */
  private readonly sole4 = new Int32Array(4);
  private readonly sole6 = new Int32Array(4);

  /** Whether the packet in hand came to the only address of its family that an interface has. */
  private isSole({ addresses4, addresses6 }: RouterInterface, isIpv6: boolean): boolean {
    const { before } = this.arrival;
    if (!isIpv6) return addresses4.length === ADDRESS4_WORDS && addresses4[0] === before[DESTINATION + 3];
    if (addresses6.length !== ADDRESS6_WORDS) return false;
    for (let i = 0; i < 4; i++) if (addresses6[i] !== before[DESTINATION + i]) return false;
    return true;
  }

  private aimAt(service: Service, at: number, record: number, isIpv6: boolean): void {
    const { after, via } = this.arrival;
    const { published, services } = this.flows;
    this.arrival.backend = service.numberOf(at);
    this.arrival.inside = INSIDE_SERVICE;
    this.arrival.isDirect = service.options.direct;
    services.addressAt(service, at, isIpv6, via);
    if (this.arrival.isDirect) return;
    for (let i = 0; i < 4; i++) after[DESTINATION + i] = via[i];
    const port = service.port(at) + published.offset(record, this.arrival.portsBefore & 0xffff);
    this.arrival.portsAfter = (this.arrival.portsBefore & (0xffff0000 | 0)) | (port & 0xffff);
  }

  /** The client hears at once that nobody is there: RST, or ICMP. A verdict. */
  private withoutBackend(packet: Packet, from: RouterInterface): number {
    const { errors } = this.router;
    if (packet.protocol === PROTOCOL_TCP) this.flows.resets.send(packet, from);
    else if (packet.etherType === ETHERTYPE_IPV4) {
      errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_PORT_UNREACHABLE, 0);
    } else errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_PORT_UNREACHABLE, 0, true);
    return refuse(packet, DROP_NO_BACKEND);
  }

  /** Whether the packet in hand is a backend's answer to one that was passed on during a flood. */
  findPassing(packet: Packet, from: RouterInterface): boolean {
    const { flows } = this;
    const { before, after } = this.arrival;
    if (!isTrackable(this.view, packet)) return false;
    // What a backend begins itself, from whatever port, answers nobody.
    if (packet.protocol === PROTOCOL_TCP && beginsConnection(this.view, packet)) return false;
    const isIpv6 = packet.etherType !== ETHERTYPE_IPV4;
    const port = this.arrival.portsBefore >>> 16;
    const record = flows.services.listenerBehind(flows.published, from.vrf, packet.protocol, before, port, isIpv6);
    if (record < 0) return false;
    const sole = isIpv6 ? this.sole6 : this.sole4;
    const isBound = !flows.published.isUnbound(record);
    // The flood is at another listener.
    if (!isBound && (sole[0] | sole[3]) === 0) return false;
    for (let i = 0; i < 4; i++) after[SOURCE + i] = isBound ? flows.published.address(record, i) : sole[i];
    this.arrival.portsAfter = (flows.services.portBefore << 16) | (this.arrival.portsBefore & 0xffff);
    this.arrival.backend = flows.services.backendBehind;
    this.arrival.passing = PASSING_OUT;
    return true;
  }

  /** For flows.ts: rewrites a packet with `packet.flow` FLOW_PASSING. */
  rewritePassing(packet: Packet): void {
    const { after, portsAfter } = this.arrival;
    this.flows.services.count(this.arrival.backend, this.arrival.passing === PASSING_OUT, packet.l3End - packet.l3);
    if (packet.etherType === ETHERTYPE_IPV4) rewrite4(this.view, packet, after[3], after[7], portsAfter);
    else rewrite6(this.view, packet, after, 0, portsAfter);
  }
}

/** TCP's RST. */
function isReset(view: DataView, packet: Packet): boolean {
  return packet.protocol === PROTOCOL_TCP && (view.getUint8(packet.l4 + TCP_FLAGS) & TCP_RST) !== 0;
}
