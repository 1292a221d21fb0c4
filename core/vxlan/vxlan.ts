/**
 * VXLAN (RFC 7348): the networks' own VTEPs, the remote ones, and what a network sees of tunnels. The way of a packet into one is transmit.ts,
 * the way out receive.ts.
 */

import type { Dataplane } from '../dataplane.js';
import { DROP_VXLAN_VLAN } from '../drop.js';
import type { Coalescer } from '../offload/coalesce.js';
import type { Packet } from '../packet/packet.js';
import type { Domain, Network, Port } from '../ports.js';
import { isMapped } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import { CONTINUE, LOCAL, refuse } from '../verdict.js';
import { ETHERTYPE_ARP } from '../wire/ethernet.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { enterGateway } from './anycast.js';
import { HostAddress } from './host-address.js';
import { GroupMembership } from './membership.js';
import { Prober } from './probe.js';
import { TunnelReceiver } from './receive.js';
import { Suppressor } from './suppress.js';
import { TunnelTransmitter } from './transmit.js';
import { Underlay } from './underlay.js';
import { LocalVtep, type LocalVtepOptions, RemoteVtep, type VtepOptions } from './vtep.js';
import { Vteps } from './vteps.js';

export class Vxlan {
  readonly vteps: Vteps;
  readonly prober: Prober;
  /** Networks with VTEPs are there: packets of the uplinks are looked at. */
  isListening = false;
  readonly transmitter: TunnelTransmitter;
  readonly receiver: TunnelReceiver;
  private readonly dataplane: Dataplane;
  private readonly underlay: Underlay;
  private readonly suppressor: Suppressor;
  private readonly membership: GroupMembership;
  private readonly hostAddress: HostAddress;

  /** @param coalescer of inner frames, flushed by its owner, who gets them */
  constructor(dataplane: Dataplane, seed: number, coalescer: Coalescer) {
    const { router } = dataplane;
    this.dataplane = dataplane;
    this.vteps = new Vteps(seed);
    this.prober = new Prober(dataplane);
    this.underlay = new Underlay(dataplane, router);
    this.membership = new GroupMembership(router);
    this.transmitter = new TunnelTransmitter(dataplane, this.underlay);
    this.receiver = new TunnelReceiver({ dataplane, vteps: this.vteps, membership: this.membership, coalescer });
    this.suppressor = new Suppressor(dataplane);
    this.hostAddress = new HostAddress(dataplane);
  }

  /** Whether ports take UDP super-packets. */
  set udpSegments(takes: boolean) {
    this.transmitter.udpSegments = takes;
    this.receiver.udpSegments = takes;
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

  // --- what a network sees of tunnels

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

/** Of four words. */
function isIpv4({ 0: a, 1: b, 2: c }: Int32Array): boolean {
  return isMapped(a, b, c);
}
