/**
 * VXLAN (RFC 7348): the networks' own VTEPs, the remote ones, and the way of a packet into a tunnel and out of it.
 *
 *   transmit   too big → gateway's MAC → checksum → segments → encapsulation → underlay
 *   receive    outer header → VTEP → VXLAN header → ECN → split, coalesced → the network
 */

import type { Dataplane } from '../dataplane.js';
import {
  DROP_HOST_GATEWAY,
  DROP_INTERNAL_ERROR,
  DROP_IP_CHECKSUM,
  DROP_NO_SLOT,
  DROP_NONE,
  DROP_PORT_GONE,
  DROP_TOO_BIG,
  DROP_TX_REJECTED,
  DROP_VXLAN_CHECKSUM,
  DROP_VXLAN_ECN,
  DROP_VXLAN_FRAGMENT,
  DROP_VXLAN_GPE,
  DROP_VXLAN_MALFORMED,
  DROP_VXLAN_VLAN,
  DROP_VXLAN_VNI,
  DROP_VXLAN_VTEP,
} from '../drop.js';
import { COALESCE_ALL, COALESCE_TCP, type Coalescer } from '../offload/coalesce.js';
import { Segmenter } from '../offload/segment.js';
import { Splitter } from '../offload/split.js';
import { beginFrame } from '../originate.js';
import type { Arena } from '../packet/arena.js';
import { completeChecksum } from '../packet/checksum.js';
import { PACKET_FRAGMENT, PACKET_L3_MALFORMED, type Packet, TAG_NONE, UNPARSED } from '../packet/packet.js';
import { removeTag } from '../packet/tag.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_NONE, writeVnetHeader } from '../packet/vnet.js';
import type { Domain, Network, Port } from '../ports.js';
import { isGroupAddress, isMapped, MAPPED } from '../router/address.js';
import { fragment4 } from '../router/fragment.js';
import { ICMP_FRAGMENTATION_NEEDED } from '../router/icmp.js';
import { ICMPV6_PACKET_TOO_BIG } from '../router/icmpv6.js';
import type { RouterInterface } from '../router/interface.js';
import { isGroupDestination } from '../switch/admit.js';
import { CONTINUE, DROP, HELD, LOCAL, refuse, TO_PORT, TO_TUNNEL } from '../verdict.js';
import {
  ETHERNET_HEADER_LENGTH,
  ETHERNET_SOURCE,
  ETHERNET_TYPE,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  macHigh,
  macLow,
} from '../wire/ethernet.js';
import { ICMP_UNREACHABLE } from '../wire/icmp.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import {
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_HEADER_LENGTH,
  IPV4_SOURCE,
  ipv4Fragment,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { parse } from '../wire/parse.js';
import { isVlanType, VLAN_NEXT_TYPE, VLAN_TAG_LENGTH } from '../wire/vlan.js';
import { isGpe, VXLAN_FLAG_GBP, VXLAN_FLAG_VNI, VXLAN_FLAGS, VXLAN_HEADER_LENGTH, VXLAN_VNI } from '../wire/vxlan.js';
import { enterGateway, leaveGateway } from './anycast.js';
import { bundleSize, fill, isUniform, MAX_DATAGRAMS } from './bundle.js';
import { isBundle, isOuterChecksumRight, isOuterHeaderRight, payloadEnd, payloadStart, strip } from './decapsulate.js';
import { decapsulateEcn, ECN_DROP, ECN_MASK, ECN_NOT_ECT, setEcn, trafficClass } from './ecn.js';
import { isWhole, LONGEST_WHOLE, prepend, prependWhole, setOuterMacs, type Template } from './encapsulate.js';
import { sourcePort } from './entropy.js';
import { HostAddress } from './host-address.js';
import { GroupMembership } from './membership.js';
import { Prober } from './probe.js';
import { Strangers } from './strangers.js';
import { Suppressor } from './suppress.js';
import { Underlay } from './underlay.js';
import { UnderlayErrors } from './underlay-errors.js';
import { LocalVtep, type LocalVtepOptions, RemoteVtep, type VtepOptions } from './vtep.js';
import { Vteps } from './vteps.js';

/** Fragments that one inner packet can become: 65,535 bytes in pieces of 48, where a path takes 68. */
const MAX_FRAGMENTS = 1400;

export class Vxlan {
  readonly vteps: Vteps;
  readonly prober: Prober;
  /** Networks with VTEPs are there: packets of the uplinks are looked at. */
  isListening = false;
  /** Ports take UDP super-packets: bundles are sent, and datagrams coalesced. */
  udpSegments = true;
  private readonly dataplane: Dataplane;
  private readonly underlay: Underlay;
  private readonly segmenter: Segmenter;
  private readonly coalescer: Coalescer;
  private readonly splitter: Splitter;
  private readonly underlayErrors: UnderlayErrors;
  private readonly strangers: Strangers;
  private readonly suppressor: Suppressor;
  private readonly membership: GroupMembership;
  private readonly hostAddress: HostAddress;
  /** Slots of the fragments of one packet. */
  private readonly fragments = new Int32Array(MAX_FRAGMENTS);
  /** Why `sender` has found none: a drop reason. */
  private refusal = DROP_NONE;

  /** @param coalescer of inner frames, flushed by its owner, who gets them */
  constructor(dataplane: Dataplane, seed: number, coalescer: Coalescer) {
    const { arena, router } = dataplane;
    this.dataplane = dataplane;
    this.vteps = new Vteps(seed);
    this.prober = new Prober(dataplane);
    this.underlay = new Underlay(dataplane, router);
    this.segmenter = new Segmenter(arena);
    this.coalescer = coalescer;
    this.splitter = new Splitter(arena, coalescer);
    this.underlayErrors = new UnderlayErrors(dataplane, this.vteps);
    this.strangers = new Strangers(dataplane);
    this.suppressor = new Suppressor(dataplane);
    this.membership = new GroupMembership(router);
    this.hostAddress = new HostAddress(dataplane);
  }

  // --- configuration, between two packets

  /** Makes a network's own VTEP, or replaces it: the remote ones stay. @throws RangeError where there is no such network, or the VNI is another's */
  setLocal(networkId: number, options: LocalVtepOptions): void {
    const network = this.dataplane.topology.network(networkId);
    const taken = this.vteps.local(options.vni, options.udpPort);
    if (taken !== null && taken.network !== network) throw new RangeError(`VNI ${options.vni} is taken`);
    const remotes = this.remotesOf(network);
    if (remotes.length > 0 && isIpv4(options.local) !== network.vtep?.isIpv4)
      throw new RangeError('the network still has VTEPs of the other address family');
    for (const remote of remotes) this.vteps.remove(remote);
    if (network.vtep !== null) this.vteps.removeLocal(network.vtep);
    const local = new LocalVtep(network, options);
    network.vtep = local;
    this.vteps.addLocal(local);
    for (const remote of remotes) {
      remote.follow(local);
      this.vteps.add(remote);
    }
    this.isListening = true;
  }

  /** The ports that stand for remote ones must be gone. */
  removeLocal(networkId: number): void {
    const network = this.dataplane.topology.network(networkId);
    if (network.vtep === null) return;
    if (this.remotesOf(network).length > 0) throw new RangeError('the network still has VTEPs');
    this.vteps.removeLocal(network.vtep);
    network.vtep = null;
    this.isListening = this.vteps.own.length > 0;
  }

  private remotesOf(network: Network): RemoteVtep[] {
    const remotes: RemoteVtep[] = [];
    // Of networks that begin there may be thousands, each of which would look through the others' ports.
    if (network.vtep === null) return remotes;
    this.vteps.forEach((remote) => {
      if (remote.local.network === network) remotes.push(remote);
    });
    return remotes;
  }

  /** For topology: a port stands for a VTEP. @throws RangeError; then nothing has changed */
  addVtep(port: Port, network: Network, options: VtepOptions): void {
    const local = network.vtep as LocalVtep;
    if (isIpv4(options.address) !== local.isIpv4)
      throw new RangeError('the VTEP is of another address family than the local one');
    const remote = new RemoteVtep(port.id, local, options);
    this.vteps.add(remote);
    port.vtep = remote;
    if (remote.isGroup) this.listen(remote);
  }

  /** A group is listened to by the interface that has the local address, wherever that is now. */
  private listen(remote: RemoteVtep): void {
    const iface = this.underlay.find(remote) ? (remote.iface as RouterInterface).number : 0;
    if (iface === remote.listensBy) return;
    this.stopListening(remote);
    remote.listensBy = iface;
    if (iface !== 0) this.membership.join(iface, remote.a, remote.b, remote.c, remote.d);
  }

  private stopListening(remote: RemoteVtep): void {
    if (remote.listensBy !== 0) this.membership.leave(remote.listensBy, remote.a, remote.b, remote.c, remote.d);
    remote.listensBy = 0;
  }

  removeVtep(port: Port): void {
    if (port.vtep === null) return;
    this.stopListening(port.vtep);
    this.vteps.remove(port.vtep);
    port.vtep = null;
  }

  /** VTEP_RECORD words each: see control/worker-protocol.ts. */
  list(): Int32Array {
    const words: number[] = [];
    const { now } = this.dataplane;
    this.vteps.forEach((remote) => {
      const { port, heardAt, mtu, gbp } = remote;
      words.push(port, remote.stateAt(now), heardAt < 0 ? -1 : now - heardAt, mtu, gbp);
    });
    return Int32Array.from(words);
  }

  // --- into a tunnel

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
    if (isWhole(packet) && !takesWhole(this.dataplane.ports[iface.port])) {
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

  // --- out of a tunnel

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

  /**
   * For an inner frame, parsed, that comes into its network by a VTEP's port: what is not for the bridge.
   * @returns CONTINUE, or the verdict
   */
  enter(packet: Packet, port: Port): number {
    const { local } = port.vtep as RemoteVtep;
    if (packet.vlan !== -1 && local.network.vlanProtocol === 0) return refuse(packet, DROP_VXLAN_VLAN);
    if (this.prober.isProbe(packet)) return this.prober.receive(packet, port);
    if (packet.dstLow === local.macLow && packet.dstHigh === local.macHigh) {
      if (this.hostAddress.answer(packet, port)) return LOCAL;
      const gateway = this.dataplane.topology.domainOf(packet.domain)?.gateway ?? null;
      if (gateway !== null) enterGateway(this.dataplane.arena.view, packet, gateway, local.macHigh, local.macLow);
    }
    return CONTINUE;
  }

  /** For a frame of a local port that would be flooded through tunnels. @returns LOCAL: it was answered; CONTINUE */
  suppress(packet: Packet, domain: Domain): number {
    try {
      return this.suppressor.consider(packet, domain, domain.gateway);
    } catch (error) {
      this.dataplane.lastError = error;
      return CONTINUE;
    }
  }

  /** For an inner frame whose source the FDB has learned: what it says of where an address is. */
  learnFrom(packet: Packet): void {
    if (packet.etherType !== ETHERTYPE_ARP && packet.protocol !== PROTOCOL_ICMPV6) return;
    const domain = this.dataplane.topology.domainOf(packet.domain);
    if (domain !== null) this.suppressor.learnFrom(packet, domain, domain.gateway);
  }

  // --- time

  /** Once a second. */
  tick(): void {
    this.vteps.forEach((remote) => {
      this.underlay.tick(remote);
      if (remote.isGroup) this.listen(remote);
    });
    this.membership.tick(this.dataplane.milliseconds);
  }
}

/** Whether a super-packet in a tunnel can leave by a port as it is: without a tag, and to nobody else, who might not take it. */
function takesWhole({ outlet, untagged, mirrorOut }: Port): boolean {
  return outlet && untagged && mirrorOut === null;
}

/** Of four words. */
function isIpv4({ 0: a, 1: b, 2: c }: Int32Array): boolean {
  return isMapped(a, b, c);
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
