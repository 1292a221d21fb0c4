/**
 * Out of a tunnel: from a packet at the uplink to the inner frames, which the coalescer hands to their network.
 *
 *   outer headers → VXLAN header → VTEP → ECN → stripped, or taken apart
 */

import type { Dataplane } from '../dataplane.js';
import {
  DROP_INTERNAL_ERROR,
  DROP_IP_CHECKSUM,
  DROP_NO_SLOT,
  DROP_NONE,
  DROP_VXLAN_CHECKSUM,
  DROP_VXLAN_ECN,
  DROP_VXLAN_FRAGMENT,
  DROP_VXLAN_GPE,
  DROP_VXLAN_MALFORMED,
  DROP_VXLAN_VNI,
  DROP_VXLAN_VTEP,
} from '../drop.js';
import { COALESCE_ALL, COALESCE_TCP, type Coalescer } from '../offload/coalesce.js';
import { Splitter } from '../offload/split.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { writeVnetHeader } from '../packet/vnet.js';
import { isGroupAddress, isMapped, MAPPED } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import { isGroupDestination } from '../switch/admit.js';
import { CONTINUE, LOCAL, TO_TUNNEL } from '../verdict.js';
import { ETHERNET_HEADER_LENGTH, ETHERNET_TYPE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { IPV4_DESTINATION, IPV4_HEADER_LENGTH, IPV4_SOURCE, PROTOCOL_ICMP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { isVlanType, VLAN_NEXT_TYPE, VLAN_TAG_LENGTH } from '../wire/vlan.js';
import { isGpe, VXLAN_FLAG_GBP, VXLAN_FLAG_VNI, VXLAN_FLAGS, VXLAN_HEADER_LENGTH, VXLAN_VNI } from '../wire/vxlan.js';
import { isUniform } from './bundle.js';
import { isBundle, isOuterChecksumRight, isOuterHeaderRight, payloadEnd, payloadStart, strip } from './decapsulate.js';
import { decapsulateEcn, ECN_DROP, ECN_MASK, ECN_NOT_ECT, setEcn, trafficClass } from './ecn.js';
import type { GroupMembership } from './membership.js';
import { Strangers } from './strangers.js';
import { UnderlayErrors } from './underlay-errors.js';
import type { RemoteVtep } from './vtep.js';
import type { Vteps } from './vteps.js';

export interface ReceiverParts {
  readonly dataplane: Dataplane;
  readonly vteps: Vteps;
  readonly membership: GroupMembership;
  /** Of inner frames, flushed by its owner, who gets them. */
  readonly coalescer: Coalescer;
}

export class TunnelReceiver {
  /** Ports take UDP super-packets: datagrams are coalesced. */
  udpSegments = true;
  private readonly dataplane: Dataplane;
  private readonly vteps: Vteps;
  private readonly membership: GroupMembership;
  private readonly coalescer: Coalescer;
  private readonly splitter: Splitter;
  private readonly underlayErrors: UnderlayErrors;
  private readonly strangers: Strangers;
  /** Why `sender` has found none: a drop reason. */
  private refusal = DROP_NONE;

  constructor({ dataplane, vteps, membership, coalescer }: ReceiverParts) {
    this.dataplane = dataplane;
    this.vteps = vteps;
    this.membership = membership;
    this.coalescer = coalescer;
    this.splitter = new Splitter(dataplane.arena, coalescer);
    this.underlayErrors = new UnderlayErrors(dataplane, vteps);
    this.strangers = new Strangers(dataplane);
  }

  /**
   * Whether a packet that came in by an uplink, for its MAC or a group's, is one of ours.
   * @returns TO_TUNNEL; LOCAL where it told of a tunnel, and that was all; CONTINUE
   */
  claim(packet: Packet, iface: RouterInterface): number {
    // What has a tag is of another network on that wire, and refused by the router.
    if (packet.vlan !== -1) return CONTINUE;
    if (packet.protocol === PROTOCOL_UDP) return this.isOurs(packet, iface) ? TO_TUNNEL : CONTINUE;
    if (packet.l4 !== -1 && (packet.protocol === PROTOCOL_ICMP || packet.protocol === PROTOCOL_ICMPV6)) {
      if (this.underlayErrors.hear(packet, iface)) return LOCAL;
    }
    this.membership.hear(packet, iface);
    return CONTINUE;
  }

  /** UDP to a port and an address, or a group, of ours. Of fragments only the first says so; none is put together (RFC 7348, 4.3). */
  private isOurs(packet: Packet, { vrf }: RouterInterface): boolean {
    if (packet.l4 === -1) return false;
    const { view } = this.dataplane.arena;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const at = packet.l3 + (isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION);
    const a = isIpv4 ? 0 : view.getInt32(at);
    const b = isIpv4 ? 0 : view.getInt32(at + 4);
    const c = isIpv4 ? MAPPED : view.getInt32(at + 8);
    const d = view.getInt32(isIpv4 ? at : at + 12);
    if (!isIpv4 && isMapped(a, b, c)) return false;
    // Unicast in a broadcast or multicast frame is for nobody (RFC 1122, 3.3.6); the reverse, a group's packet sent to our MAC, may be (RFC 6085).
    if (isGroupDestination(packet) && !isGroupAddress(isIpv4, a, d)) return false;
    return this.vteps.isListening(vrf, packet.dstPort, a, b, c, d);
  }

  /** Takes over the slot of a packet that `claim` has said TO_TUNNEL of. */
  receive(packet: Packet): void {
    const { dataplane } = this;
    const own = dataplane.arena.referenceCount(packet.slot) === 1 ? packet : dataplane.unshared(packet);
    if (own === null) {
      packet.reason = DROP_NO_SLOT;
      dataplane.abandon(packet);
      return;
    }
    const remote = this.openSafely(own);
    if (remote === null) {
      own.reason = this.refusal;
      dataplane.abandon(own);
    } else {
      dataplane.counters.local(own.port);
      own.port = remote.port;
      this.handOn(own, remote);
    }
  }

  private openSafely(packet: Packet): RemoteVtep | null {
    try {
      return this.open(packet);
    } catch (error) {
      this.dataplane.lastError = error;
      return this.refuse(DROP_INTERNAL_ERROR);
    }
  }

  /** All that may be wrong with it. @returns whom it is from, and its frames may be handed on; null: `refusal` says why not */
  private open(packet: Packet): RemoteVtep | null {
    const { view } = this.dataplane.arena;
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return this.refuse(DROP_VXLAN_FRAGMENT);
    if (!isOuterHeaderRight(view, packet)) return this.refuse(DROP_IP_CHECKSUM);
    const at = payloadStart(packet);
    const end = payloadEnd(view, packet);
    // Before anything is believed of it, and remembered.
    if (!isOuterChecksumRight(view, packet)) return this.refuse(DROP_VXLAN_CHECKSUM);
    const remote = this.sender(packet, at, end);
    if (remote === null) return null;
    const reason = isBundle(packet) ? this.openBundle(packet, at, end) : this.openOne(packet, at, end);
    return reason === DROP_NONE ? remote : this.refuse(reason);
  }

  /** The VTEP that a VXLAN packet is from. Null: `refusal` says why it is not taken. */
  private sender(packet: Packet, at: number, end: number): RemoteVtep | null {
    const { view } = this.dataplane.arena;
    if (end - at < VXLAN_HEADER_LENGTH + ETHERNET_HEADER_LENGTH) return this.refuse(DROP_VXLAN_MALFORMED);
    const first = view.getInt32(at + VXLAN_FLAGS);
    if (isGpe(first)) return this.refuse(DROP_VXLAN_GPE);
    if ((first & VXLAN_FLAG_VNI) === 0) return this.refuse(DROP_VXLAN_MALFORMED);
    const vni = view.getInt32(at + VXLAN_VNI) >>> 8;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const from = packet.l3 + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    const a = isIpv4 ? 0 : view.getInt32(from);
    const b = isIpv4 ? 0 : view.getInt32(from + 4);
    const c = isIpv4 ? MAPPED : view.getInt32(from + 8);
    const d = view.getInt32(isIpv4 ? from : from + 12);
    // Nobody's on a wire; taken for what it maps, it would get by whoever filters IPv4.
    if (!isIpv4 && isMapped(a, b, c)) return this.refuse(DROP_VXLAN_VTEP);
    const remote = this.vteps.find(vni, packet.dstPort, a, b, c, d) ?? this.stranger(vni, packet.dstPort, a, b, c, d);
    if (remote === null) return null;
    remote.heardAt = this.dataplane.now;
    remote.gbp = (first & VXLAN_FLAG_GBP) === 0 ? -1 : first & 0xffff;
    return remote;
  }

  private refuse(reason: number): null {
    this.refusal = reason;
    return null;
  }

  /** A VTEP that is no port. In an open network the group's port stands for it until control has given it one. */
  private stranger(vni: number, udpPort: number, a: number, b: number, c: number, d: number): RemoteVtep | null {
    const local = this.vteps.local(vni, udpPort);
    if (local === null) return this.refuse(DROP_VXLAN_VNI);
    if (!local.options.open || local.isOwn(a, b, c, d)) return this.refuse(DROP_VXLAN_VTEP);
    this.strangers.tell(local, a, b, c, d);
    return local.group ?? this.refuse(DROP_VXLAN_VTEP);
  }

  /** Makes the packet that of the inner frame. @returns a drop reason, or DROP_NONE */
  private openOne(packet: Packet, at: number, end: number): number {
    const inner = at + VXLAN_HEADER_LENGTH;
    const outerEcn = trafficClass(this.dataplane.arena.view, packet.l3) & ECN_MASK;
    if (outerEcn !== ECN_NOT_ECT && !this.mark(inner, end, outerEcn)) return DROP_VXLAN_ECN;
    return strip(packet, inner, end) ? DROP_NONE : DROP_VXLAN_MALFORMED;
  }

  /** Gives the inner IP header, behind whatever tags, what the way has marked (RFC 6040, 4.2). @returns false: it cannot say so */
  private mark(frame: number, end: number, outer: number): boolean {
    const { view } = this.dataplane.arena;
    let l3 = frame + ETHERNET_HEADER_LENGTH;
    let type = view.getUint16(frame + ETHERNET_TYPE);
    while (isVlanType(type) && l3 + VLAN_TAG_LENGTH <= end) {
      type = view.getUint16(l3 + VLAN_NEXT_TYPE);
      l3 += VLAN_TAG_LENGTH;
    }
    const isIp = type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
    if (!isIp || end - l3 < IPV4_HEADER_LENGTH) return true;
    const inner = trafficClass(view, l3) & ECN_MASK;
    const after = decapsulateEcn(outer, inner);
    if (after === ECN_DROP) return false;
    if (after !== inner) setEcn(view, l3, after);
    return true;
  }

  /** @returns a drop reason, or DROP_NONE: it can be taken apart */
  private openBundle(packet: Packet, at: number, end: number): number {
    const { view } = this.dataplane.arena;
    const stride = packet.gsoSize;
    const prefix = VXLAN_HEADER_LENGTH;
    if (stride < prefix + ETHERNET_HEADER_LENGTH || !isUniform(view, at, stride, end)) return DROP_VXLAN_MALFORMED;
    const outerEcn = trafficClass(view, packet.l3) & ECN_MASK;
    if (outerEcn === ECN_NOT_ECT) return DROP_NONE;
    for (let frame = at + prefix; frame < end; frame += stride) {
      if (!this.mark(frame, end, outerEcn)) return DROP_VXLAN_ECN;
    }
    return DROP_NONE;
  }

  /** Gives the slot up, to the coalescer and whoever comes behind it: what is thrown there is not about this packet. */
  private handOn(packet: Packet, remote: RemoteVtep): void {
    const { arena, counters } = this.dataplane;
    const what = this.udpSegments ? COALESCE_ALL : COALESCE_TCP;
    // Of a single one the handle is the inner frame's already.
    if (!isBundle(packet)) {
      writeVnetHeader(arena, packet);
      this.coalescer.add(packet, what);
      return;
    }
    const end = payloadEnd(arena.view, packet);
    const first = payloadStart(packet) + VXLAN_HEADER_LENGTH;
    const lost = this.splitter.split(packet, first, packet.gsoSize, VXLAN_HEADER_LENGTH, end, what);
    for (let i = 0; i < lost; i++) {
      counters.received(remote.port, 0);
      counters.dropReceived(remote.port, DROP_NO_SLOT);
    }
  }
}
