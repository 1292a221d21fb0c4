/**
 * VXLAN (RFC 7348): the networks' own VTEPs, the remote ones, and the way of a packet into a tunnel and out of it.
 *
 *   transmit   too big → gateway's MAC → checksum → segments → encapsulation → underlay
 *   receive    outer header → VTEP → VXLAN header → ECN → split, coalesced → the network
 */

import type { Dataplane } from '../dataplane.js';
import type { Packet } from '../packet/packet.js';
import type { Network, Port } from '../ports.js';
import { Prober } from './probe.js';
import { LocalVtep, type LocalVtepOptions, RemoteVtep, type VtepOptions } from './vtep.js';
import { Vteps } from './vteps.js';

export class Vxlan {
  readonly vteps: Vteps;
  readonly prober = new Prober();
  private readonly dataplane: Dataplane;

  constructor(dataplane: Dataplane, seed: number) {
    this.dataplane = dataplane;
    this.vteps = new Vteps(seed);
  }

  // --- configuration, between two packets

  /** Makes a network's own VTEP, or replaces it: the remote ones stay. @throws RangeError where there is no such network, or the VNI is another's */
  setLocal(networkId: number, options: LocalVtepOptions): void {
    const network = this.dataplane.topology.network(networkId);
    const taken = this.vteps.local(options.vni, options.udpPort);
    if (taken !== null && taken.network !== network) throw new RangeError(`VNI ${options.vni} is taken`);
    const remotes = this.remotesOf(network);
    for (const remote of remotes) this.vteps.remove(remote);
    if (network.vtep !== null) this.vteps.removeLocal(network.vtep);
    const local = new LocalVtep(network, options);
    network.vtep = local;
    this.vteps.addLocal(local);
    for (const remote of remotes) {
      remote.local = local;
      this.vteps.add(remote);
    }
  }

  /** The ports that stand for remote ones must be gone. */
  removeLocal(networkId: number): void {
    const network = this.dataplane.topology.network(networkId);
    if (network.vtep === null) return;
    if (this.remotesOf(network).length > 0) throw new RangeError('the network still has VTEPs');
    this.vteps.removeLocal(network.vtep);
    network.vtep = null;
  }

  private remotesOf(network: Network): RemoteVtep[] {
    const remotes: RemoteVtep[] = [];
    this.vteps.forEach((remote) => {
      if (remote.local.network === network) remotes.push(remote);
    });
    return remotes;
  }

  /** For topology: a port stands for a VTEP. @throws RangeError; then nothing has changed */
  addVtep(port: Port, network: Network, options: VtepOptions): void {
    const remote = new RemoteVtep(port.id, network.vtep as LocalVtep, options);
    this.vteps.add(remote);
    port.vtep = remote;
  }

  removeVtep(port: Port): void {
    if (port.vtep === null) return;
    this.vteps.remove(port.vtep);
    port.vtep = null;
  }

  /** VTEP_RECORD words each: see control/worker-protocol.ts. */
  list(): Int32Array {
    const words: number[] = [];
    const { now } = this.dataplane;
    this.vteps.forEach(({ port, state, heardAt, mtu, gbp }) => {
      words.push(port, state, heardAt < 0 ? -1 : now - heardAt, mtu, gbp);
    });
    return Int32Array.from(words);
  }

  // --- packets

  /** For a frame that the bridge or the router sends to a VTEP. Takes over one reference on the slot. */
  transmit(packet: Packet, port: Port): void {
    void port;
    this.dataplane.arena.release(packet.slot);
  }
}
