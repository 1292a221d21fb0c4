/** The router's part of the worker: what the main thread asks of it. */

import type { Router } from '../core/router/router.js';
import { Hop } from '../core/router/vrf.js';
import type { RouterStatus } from './types.js';
import {
  type Answer,
  type Command,
  FIB_RECORD,
  type FibListing,
  NEIGHBOR_RECORD,
  type WorkerInterface,
  type WorkerRoute,
  type WorkerSetup,
} from './worker-protocol.js';

export class WorkerRouter {
  private readonly router: Router;

  constructor(router: Router) {
    this.router = router;
  }

  /** @param take runs one step, and says so where that fails */
  inherit({ vrfs, interfaces, routes }: WorkerSetup, take: (what: string, step: () => void) => void): void {
    for (const vrf of vrfs) take('VRF', () => this.router.addVrf(vrf.number, vrf.options));
    for (const iface of interfaces) take('interface', () => this.addInterface(iface));
    for (const route of routes) take('route', () => this.setRoute(route));
  }

  /** Undefined where the command is not the router's. */
  dispatch(command: Command): Answer | undefined {
    const { router } = this;
    switch (command.op) {
      case 'addVrf':
        router.addVrf(command.vrf.number, command.vrf.options);
        return null;
      case 'setVrf':
        router.setVrf(command.vrf.number, command.vrf.options);
        return null;
      case 'removeVrf':
        router.removeVrf(command.number);
        return null;
      case 'addInterface':
        this.addInterface(command.iface);
        return null;
      case 'setInterface':
        router.setInterface(command.iface.number, command.iface.options, command.iface.up);
        return null;
      case 'removeInterface':
        router.removeInterface(command.number);
        return null;
      case 'setRoute':
        this.setRoute(command.route);
        return null;
      case 'removeRoute':
        return router.removeRoute(command.vrf, command.prefix);
      case 'fib':
        return this.listFib();
      case 'neighbors':
        return this.listNeighbors();
      case 'flushNeighbors':
        router.neighbors.flush(command.iface);
        return null;
      case 'routerStatus':
        return this.status();
      default:
        return undefined;
    }
  }

  private addInterface({ number, options, up }: WorkerInterface): void {
    this.router.addInterface(number, options, up);
  }

  private setRoute({ vrf, prefix, kind, hops }: WorkerRoute): void {
    this.router.setRoute(
      vrf,
      prefix,
      kind,
      hops.map(({ iface, via, metric }) => new Hop(iface, via, metric)),
    );
  }

  /** Flat, since packets wait meanwhile and there may be a million. */
  private listFib(): FibListing {
    const vrfs = this.router.vrfs.filter((vrf) => vrf !== null);
    const words = new Int32Array(vrfs.reduce((sum, { prefixes }) => sum + prefixes, 0) * FIB_RECORD);
    const routes: FibListing['routes'][number][] = [];
    let at = 0;
    for (const vrf of vrfs) {
      vrf.forEach(({ a, b, c, d, length }, { value }) => {
        words[at] = vrf.number;
        words[at + 1] = a;
        words[at + 2] = b;
        words[at + 3] = c;
        words[at + 4] = d;
        words[at + 5] = length;
        words[at + 6] = value;
        at += FIB_RECORD;
      });
      for (const { kind, hops, value, isConnected, references } of vrf.routes) {
        if (references > 0) routes.push({ vrf: vrf.number, kind, hops: hops.map(plainHop), value, isConnected });
      }
    }
    return { words, routes };
  }

  private listNeighbors(): Int32Array {
    const { neighbors, now } = this.router;
    const words = new Int32Array(neighbors.count * NEIGHBOR_RECORD);
    let at = 0;
    neighbors.forEach(({ iface, a, b, c, d, state, macHigh, macLow, since, isRouter, waiting }) => {
      words.set([iface, a, b, c, d, state, macHigh, macLow, now - since, isRouter, waiting], at);
      at += NEIGHBOR_RECORD;
    });
    return words.slice(0, at);
  }

  private status(): RouterStatus {
    const { neighbors, vrfs, errors, forwarder, local, reassembly } = this.router;
    return {
      neighbors: neighbors.count,
      neighborsMax: neighbors.maximum,
      neighborsEvicted: neighbors.evicted,
      fibPrefixes: vrfs.reduce((sum, vrf) => sum + (vrf?.prefixes ?? 0), 0),
      icmpErrors: errors.limiter.sent,
      icmpSuppressed: errors.limiter.suppressed,
      fragmented: forwarder.fragmented,
      reassembled: local.reassembled,
      held: neighbors.held + reassembly.held,
    };
  }
}

function plainHop({ iface, onLink, a, b, c, d, metric }: Hop): WorkerRoute['hops'][number] {
  return { iface, via: onLink ? null : [a, b, c, d], metric };
}
