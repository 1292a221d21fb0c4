/**
 * Routes with several next hops: which one a packet takes. Of those that work, the ones with the least metric, and of these by flow
 * (RFC 2992: a flow keeps its path). One of which nothing is known is asked for meanwhile, without any packet waiting for it: a next hop
 * that is dead costs nothing as long as another works, and one that answers has its share again.
 */

import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import type { RouterInterface } from './interface.js';
import { NEIGHBOR_FAILED } from './neighbor.js';
import type { NeighborTable } from './neighbors.js';
import type { Hop, Route } from './vrf.js';

/** What is known of a hop. */
const DEAD = 0;
const UNKNOWN = 1;
const WORKS = 2;

export class Multipath {
  private readonly view: DataView;
  private readonly interfaces: readonly (RouterInterface | null)[];
  private readonly neighbors: NeighborTable;
  private readonly seed: number;

  /** @param seed any int32; other routers on the way should have another, or one of their hops gets all (RFC 2992, 3) */
  constructor(view: DataView, interfaces: readonly (RouterInterface | null)[], neighbors: NeighborTable, seed: number) {
    this.view = view;
    this.interfaces = interfaces;
    this.neighbors = neighbors;
    this.seed = seed;
  }

  /** Precondition: hops are sorted by metric. Where none can be expected to work, the first: what is wrong with it is the answer. */
  choose(route: Route, packet: Packet): Hop {
    const { hops } = route;
    const least = this.leastMetric(hops, WORKS);
    for (let i = 0; i < hops.length && (least < 0 || hops[i].metric <= least); i++) this.seek(hops[i], packet.port);
    if (least >= 0) return this.pick(hops, WORKS, least, packet);
    const possible = this.leastMetric(hops, UNKNOWN);
    return possible < 0 ? hops[0] : this.pick(hops, UNKNOWN, possible, packet);
  }

  /** Of the hops of which this is known; -1: there are none. */
  private leastMetric(hops: readonly Hop[], state: number): number {
    for (let i = 0; i < hops.length; i++) if (this.stateOf(hops[i]) === state) return hops[i].metric;
    return -1;
  }

  /** Precondition: there is a hop of this state and metric. */
  private pick(hops: readonly Hop[], state: number, metric: number, packet: Packet): Hop {
    let count = 0;
    for (let i = 0; i < hops.length; i++) if (this.fits(hops[i], state, metric)) count++;
    let nth = count === 1 ? 0 : (this.flowHash(packet) >>> 1) % count;
    for (let i = 0; i < hops.length; i++) {
      if (this.fits(hops[i], state, metric) && nth-- === 0) return hops[i];
    }
    return hops[0];
  }

  private fits(hop: Hop, state: number, metric: number): boolean {
    return hop.metric === metric && this.stateOf(hop) === state;
  }

  private stateOf(hop: Hop): number {
    const iface = this.interfaces[hop.iface];
    if (iface === null || iface === undefined || !iface.up) return DEAD;
    if (hop.onLink) return WORKS;
    const neighbor = this.neighbors.find6(hop.iface, hop.a, hop.b, hop.c, hop.d);
    if (neighbor === null) return UNKNOWN;
    if (neighbor.isUsable) return WORKS;
    return neighbor.state === NEIGHBOR_FAILED ? DEAD : UNKNOWN;
  }

  private seek(hop: Hop, port: number): void {
    const iface = this.interfaces[hop.iface];
    if (iface === null || iface === undefined || !iface.up || hop.onLink) return;
    this.neighbors.seek(iface, hop.a, hop.b, hop.c, hop.d, port);
  }

  private flowHash(packet: Packet): number {
    const { view } = this;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const from = packet.l3 + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    const to = from + (isIpv4 ? 8 : 32);
    let hash = this.seed ^ packet.protocol;
    for (let at = from; at < to; at += 4) hash = mix(hash, view.getInt32(at));
    // Only a first fragment has ports: all of a datagram go by what they share.
    return (packet.flags & PACKET_FRAGMENT) !== 0 ? hash : mix(hash, (packet.srcPort << 16) ^ packet.dstPort);
  }
}

/** Two rounds of multiply and shift (the constants of MurmurHash3's finaliser). */
function mix(hash: number, word: number): number {
  const h = Math.imul(hash ^ word, 0x85ebca6b | 0);
  return Math.imul(h ^ (h >>> 13), 0xc2b2ae35 | 0) ^ (h >>> 16);
}
