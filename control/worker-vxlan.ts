/** The worker's part of core/vxlan: what the main thread asks of it. */

import type { Dataplane } from '../core/dataplane.js';
import type { Answer, Command, WorkerNeighbor, WorkerSetup } from './worker-protocol.js';

export class WorkerVxlan {
  private readonly dataplane: Dataplane;

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
  }

  /** Own VTEPs, before the ports that stand for others. */
  inherit({ vxlan }: WorkerSetup): void {
    for (const [network, options] of vxlan) this.dataplane.vxlan.setLocal(network, options);
  }

  /** Once there are interfaces. */
  inheritNeighbors({ neighbors }: WorkerSetup): void {
    for (const neighbor of neighbors) this.tell(neighbor);
  }

  /** Undefined where the command is not for it. */
  dispatch(command: Command): Answer | undefined {
    const { vxlan, router } = this.dataplane;
    switch (command.op) {
      case 'setVxlan':
        if (command.options === null) vxlan.removeLocal(command.network);
        else vxlan.setLocal(command.network, command.options);
        return null;
      case 'setFloods':
        this.dataplane.topology.setFloods(command.port, command.floods);
        return null;
      case 'vxlanStatus':
        return vxlan.list();
      case 'sendProbes':
        vxlan.prober.send(command.ports);
        return null;
      case 'probes':
        return vxlan.prober.list();
      case 'setNeighbor':
        this.tell(command.neighbor);
        return null;
      case 'removeNeighbor': {
        const [a, b, c, d] = command.address;
        router.neighbors.removePermanent(router.interface(command.iface), a, b, c, d);
        return null;
      }
      default:
        return undefined;
    }
  }

  private tell({ iface, address, mac }: WorkerNeighbor): void {
    const { router } = this.dataplane;
    const [a, b, c, d] = address;
    if (!router.neighbors.setPermanent(router.interface(iface), a, b, c, d, mac[0], mac[1]))
      throw new RangeError('the neighbor table is full');
  }
}
