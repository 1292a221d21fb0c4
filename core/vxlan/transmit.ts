/**
 * Into a tunnel: from the frame that the bridge or the router sends to a VTEP to the outer packet at the uplink.
 *
 *   gateway's MAC → too big → whole, in bundles, or alone → outer headers → next hop
 */

import type { Dataplane } from '../dataplane.js';
import {
  DROP_HOST_GATEWAY,
  DROP_INTERNAL_ERROR,
  DROP_NO_SLOT,
  DROP_NONE,
  DROP_PORT_GONE,
  DROP_TOO_BIG,
  DROP_TX_REJECTED,
} from '../drop.js';
import { Segmenter } from '../offload/segment.js';
import { beginFrame } from '../originate.js';
import type { Arena } from '../packet/arena.js';
import { completeChecksum } from '../packet/checksum.js';
import { PACKET_L3_MALFORMED, type Packet, TAG_NONE, UNPARSED } from '../packet/packet.js';
import { removeTag } from '../packet/tag.js';
import { isTunnelled, VNET_F_NEEDS_CSUM, VNET_GSO_NONE } from '../packet/vnet.js';
import type { Port } from '../ports.js';
import { fragment4 } from '../router/fragment.js';
import { ICMP_FRAGMENTATION_NEEDED } from '../router/icmp.js';
import { ICMPV6_PACKET_TOO_BIG } from '../router/icmpv6.js';
import type { RouterInterface } from '../router/interface.js';
import { DROP, HELD, TO_PORT } from '../verdict.js';
import {
  ETHERNET_HEADER_LENGTH,
  ETHERNET_SOURCE,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  macHigh,
  macLow,
} from '../wire/ethernet.js';
import { ICMP_UNREACHABLE } from '../wire/icmp.js';
import { IPV4_DONT_FRAGMENT, ipv4Fragment, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { parse } from '../wire/parse.js';
import { VXLAN_HEADER_LENGTH } from '../wire/vxlan.js';
import { leaveGateway } from './anycast.js';
import { bundleSize, fill, MAX_DATAGRAMS } from './bundle.js';
import { ECN_MASK, trafficClass } from './ecn.js';
import { LONGEST_WHOLE, prepend, prependWhole, setOuterMacs, type Template } from './encapsulate.js';
import { sourcePort } from './entropy.js';
import type { Underlay } from './underlay.js';
import type { RemoteVtep } from './vtep.js';

/** Fragments that one inner packet can become: 65,535 bytes in pieces of 48, where a path takes 68. */
const MAX_FRAGMENTS = 1400;

export class TunnelTransmitter {
  /** Ports take UDP super-packets: bundles are sent. */
  udpSegments = true;
  private readonly dataplane: Dataplane;
  private readonly underlay: Underlay;
  private readonly segmenter: Segmenter;
  /** Slots of the fragments of one packet. */
  private readonly fragments = new Int32Array(MAX_FRAGMENTS);

  constructor(dataplane: Dataplane, underlay: Underlay) {
    this.dataplane = dataplane;
    this.underlay = underlay;
    this.segmenter = new Segmenter(dataplane.arena);
  }

  /** For a frame that the bridge or the router sends to a VTEP, counted as transmitted there. Takes over one reference on the slot. */
  transmit(packet: Packet, port: Port): void {
    const { length } = packet;
    const { arena } = this.dataplane;
    const own = arena.referenceCount(packet.slot) === 1 ? packet : this.dataplane.unshared(packet);
    if (own === null) {
      this.fail(packet, port, length, DROP_NO_SLOT);
      return;
    }
    const reason = this.transmitSafely(own, port.vtep as RemoteVtep);
    if (reason !== DROP_NONE) this.fail(own, port, length, reason);
  }

  private fail(packet: Packet, port: Port, length: number, reason: number): void {
    this.dataplane.counters.transmitFailed(port.id, length, reason);
    this.dataplane.arena.release(packet.slot);
  }

  private transmitSafely(packet: Packet, remote: RemoteVtep): number {
    try {
      return this.enclose(packet, remote);
    } catch (error) {
      this.dataplane.lastError = error;
      return DROP_INTERNAL_ERROR;
    }
  }

  /** @returns a drop reason, and the slot is still the caller's; DROP_NONE */
  private enclose(packet: Packet, remote: RemoteVtep): number {
    const { arena, topology } = this.dataplane;
    // Of frames of our own, and of copies, nothing has been parsed.
    if (packet.etherType === UNPARSED) parse(arena, packet);
    const { local } = remote;
    if (packet.vlan !== -1 && local.network.vlanProtocol === 0) removeTags(arena, packet);
    const gateway = topology.domainOf(packet.domain)?.gateway ?? null;
    if (gateway !== null && isFrom(arena.view, packet, gateway)) {
      const { srcHigh, srcLow } = packet;
      if (!leaveGateway(arena.view, packet, gateway, local.macHigh, local.macLow)) return DROP_HOST_GATEWAY;
      // Of a packet that was routed, the MAC that it came from: who is told, should it be too big.
      packet.srcHigh = srcHigh;
      packet.srcLow = srcLow;
    }
    if (!this.underlay.find(remote)) return this.underlay.reason;
    if (packet.gsoType !== VNET_GSO_NONE) return this.sendSegments(packet, remote);
    if (packet.length - ETHERNET_HEADER_LENGTH > remote.mtu) return this.sendFragments(packet, remote);
    completeChecksum(arena, packet);
    const { template } = remote;
    prepend(arena, packet, template, this.outerTos(packet, template), sourcePort(arena.view, packet), 0);
    this.deliver(packet, remote);
    return DROP_NONE;
  }

  /** DSCP as configured, ECN as inside (RFC 6040, 4.1: normal mode). */
  private outerTos(packet: Packet, { dscp }: Template): number {
    const isIp = packet.l3 !== -1 && packet.etherType !== ETHERTYPE_ARP;
    const inner = isIp ? trafficClass(this.dataplane.arena.view, packet.l3) : 0;
    return dscp < 0 ? inner : (dscp << 2) | (inner & ECN_MASK);
  }

  /** Too big: IPv4 that may go in pieces does, inside the tunnel; the outer packet is never cut (RFC 7348, 4.3). */
  private sendFragments(packet: Packet, remote: RemoteVtep): number {
    const { arena, counters } = this.dataplane;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4 && (packet.flags & PACKET_L3_MALFORMED) === 0;
    const mayBeCut = isIpv4 && packet.start === packet.l3 - ETHERNET_HEADER_LENGTH;
    if (!mayBeCut || (ipv4Fragment(arena.view, packet.l3) & IPV4_DONT_FRAGMENT) !== 0)
      return this.tooBig(packet, remote.mtu);
    const count = fragment4(arena, packet, remote.mtu, this.fragments);
    // None of a packet that is all padding.
    if (count < 1) return count < 0 ? packet.reason : DROP_TOO_BIG;
    for (let i = 0; i < count; i++) {
      const fragment = arena.packets[this.fragments[i]];
      const reason = this.enclose(fragment, remote);
      if (reason === DROP_NONE) continue;
      counters.copied(remote.port, 1);
      counters.dropTransmit(remote.port, reason);
      arena.release(fragment.slot);
    }
    arena.release(packet.slot);
    return DROP_NONE;
  }

  /** The sender is told by the gateway (RFC 1191, 4; RFC 4443, 3.2): it, not the bridge, has an address to speak from. */
  private tooBig(packet: Packet, mtu: number): number {
    const from = this.dataplane.interfaceAt(packet.port);
    const { view } = this.dataplane.arena;
    const { errors } = this.dataplane.router;
    if (from === null || packet.l3 === -1) return DROP_TOO_BIG;
    if (packet.etherType === ETHERTYPE_IPV6) {
      errors.send6(packet, from, ICMPV6_PACKET_TOO_BIG, 0, mtu);
    } else if (packet.etherType === ETHERTYPE_IPV4 && (ipv4Fragment(view, packet.l3) & IPV4_DONT_FRAGMENT) !== 0) {
      errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED, mtu);
    }
    return DROP_TOO_BIG;
  }

  /** A super-packet. Segments of TCP are made to fit; datagrams are somebody's, and are not. */
  private sendSegments(packet: Packet, remote: RemoteVtep): number {
    const { segmenter } = this;
    let size = packet.gsoSize;
    let count = segmenter.begin(packet, size);
    const excess = segmenter.frameLength - ETHERNET_HEADER_LENGTH - remote.mtu;
    if (count > 0 && excess > 0) {
      if (packet.protocol !== PROTOCOL_TCP || segmenter.size <= excess) return this.tooBig(packet, remote.mtu);
      size = segmenter.size - excess;
      count = segmenter.begin(packet, size);
    }
    if (count < 1) return DROP_TX_REJECTED;
    return this.mayStayWhole(packet, remote, count)
      ? this.sendWhole(packet, remote, size)
      : this.sendBundles(packet, remote, count);
  }

  /** The kernel cuts it, if anybody has to: between two containers of one machine nobody does. */
  private mayStayWhole(packet: Packet, { iface, template }: RemoteVtep, count: number): boolean {
    if (count < 2 || (packet.protocol === PROTOCOL_UDP && count > MAX_DATAGRAMS)) return false;
    if (!takesWhole(this.dataplane.ports[(iface as RouterInterface).port])) return false;
    if ((packet.vnetFlags & VNET_F_NEEDS_CSUM) === 0 || packet.start + packet.length !== packet.l3End) return false;
    return packet.length + template.length <= LONGEST_WHOLE;
  }

  private sendWhole(packet: Packet, remote: RemoteVtep, size: number): number {
    const { arena } = this.dataplane;
    const { template } = remote;
    packet.gsoSize = size;
    prependWhole(arena, packet, template, this.outerTos(packet, template), sourcePort(arena.view, packet));
    this.deliver(packet, remote);
    return DROP_NONE;
  }

  /** Cut here, by the segmenter that has begun. */
  private sendBundles(packet: Packet, remote: RemoteVtep, count: number): number {
    const { segmenter } = this;
    const { arena } = this.dataplane;
    const { template } = remote;
    const tos = this.outerTos(packet, template);
    const port = sourcePort(arena.view, packet);
    const stride = VXLAN_HEADER_LENGTH + segmenter.frameLength;
    const most = this.udpSegments ? bundleSize(template, stride) : 1;
    for (let from = 0; from < count; from += most) {
      const outer = beginFrame(arena, remote.port);
      if (outer === null) return DROP_NO_SLOT;
      const to = from + most < count ? from + most : count;
      fill(arena, outer, segmenter, template, from, to);
      prepend(arena, outer, template, tos, port, to - from > 1 ? stride : 0);
      this.deliver(outer, remote);
    }
    arena.release(packet.slot);
    return DROP_NONE;
  }

  /** An outer packet, all but its MACs: to the next hop. It belongs to no domain, which tells it from what came out of the tunnel. */
  private deliver(packet: Packet, remote: RemoteVtep): void {
    packet.port = remote.port;
    packet.network = 0;
    packet.domain = 0;
    packet.tag = TAG_NONE;
    packet.vlan = -1;
    packet.reason = DROP_NONE;
    this.dataplane.counters.originated(remote.port);
    this.leave(packet, remote);
  }

  private leave(packet: Packet, remote: RemoteVtep): void {
    const verdict = this.underlay.resolve(remote, packet);
    if (verdict === HELD) return;
    if (verdict === DROP) {
      this.dataplane.abandon(packet);
      return;
    }
    const iface = remote.iface as RouterInterface;
    // It may have waited for its next hop, which is elsewhere meanwhile.
    if (isTunnelled(packet) && !takesWhole(this.dataplane.ports[iface.port])) {
      packet.reason = DROP_TX_REJECTED;
      this.dataplane.abandon(packet);
      return;
    }
    const { view } = this.dataplane.arena;
    const { macHigh, macLow } = this.underlay;
    setOuterMacs(view, packet, remote.local.isIpv4, macHigh, macLow, iface.macHigh, iface.macLow);
    packet.outPort = iface.port;
    this.dataplane.sendRouted(packet, TO_PORT);
  }

  /** An outer packet that has waited for its next hop's MAC. */
  resume(packet: Packet): void {
    const remote = this.dataplane.ports[packet.port].vtep;
    if (remote !== null && this.underlay.find(remote)) {
      this.leave(packet, remote);
      return;
    }
    packet.reason = remote === null ? DROP_PORT_GONE : this.underlay.reason;
    this.dataplane.abandon(packet);
  }
}

/** Whether a super-packet in a tunnel can leave by a port as it is: without a tag, and to nobody else, who might not take it. */
function takesWhole({ outlet, untagged, mirrorOut }: Port): boolean {
  return outlet && untagged && mirrorOut === null;
}

/** A tag means nothing in a network without VLANs, and is not sent on (RFC 7348, 6.1). */
function removeTags(arena: Arena, packet: Packet): void {
  while (packet.vlan !== -1) {
    removeTag(arena, packet);
    packet.vlan = packet.innerVlan;
    packet.innerVlan = -1;
  }
}

function isFrom(view: DataView, packet: Packet, gateway: RouterInterface): boolean {
  const at = packet.start + ETHERNET_SOURCE;
  return macLow(view, at) === gateway.macLow && macHigh(view, at) === gateway.macHigh;
}
