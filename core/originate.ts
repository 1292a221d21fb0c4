/** Frames of the dataplane's own: a slot to fill, and the way into a domain. */

import type { Dataplane } from './dataplane.js';
import { type Arena, VNET_HEADER_LENGTH } from './packet/arena.js';
import { type Packet, UNPARSED } from './packet/packet.js';
import { clearVnetHeader } from './packet/vnet.js';
import { type Domain, MAX_PORTS } from './ports.js';
import { ROUTER_ALWAYS } from './switch/membership.js';
import type { Originator } from './switch/snooping.js';

/**
 * A slot's handle with `start` set behind the headroom, to fill with an untagged frame of the dataplane's own.
 * @param port that it speaks for; 0: nobody's
 * @returns null where no slot is free
 */
export function beginFrame(arena: Arena, port: number): Packet | null {
  const slot = arena.allocate();
  if (slot < 0) return null;
  const packet = arena.packets[slot];
  packet.start = arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
  packet.length = 0;
  packet.port = port;
  packet.etherType = UNPARSED;
  clearVnetHeader(arena, packet);
  return packet;
}

/** Speaks for a domain, or for one port in it. */
export class DomainOriginator implements Originator {
  private readonly dataplane: Dataplane;
  private domain: Domain | null = null;
  private port = 0;
  private readonly targets = new Int32Array(MAX_PORTS);

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
  }

  /** @param port that the frames are on behalf of, and which therefore does not get them; 0: nobody's */
  speakFor(domain: Domain, port: number): void {
    this.domain = domain;
    this.port = port;
  }

  begin(): Packet | null {
    return beginFrame(this.dataplane.arena, this.port);
  }

  /** An announcement goes to everybody; a query not to where a multicast router is said to be, which asks for itself. */
  toAll(packet: Packet): void {
    const domain = this.domain as Domain;
    if (this.port !== 0) {
      this.dataplane.originate(packet, domain, domain.members, domain.memberCount);
      return;
    }
    const asked = this.listAsked(domain);
    // Nobody is there to be asked: that is no drop to be told of, once for each VLAN of a trunk.
    if (asked === 0) this.dataplane.arena.release(packet.slot);
    else this.dataplane.originate(packet, domain, this.targets, asked);
  }

  private listAsked(domain: Domain): number {
    let count = 0;
    for (let i = 0; i < domain.memberCount; i++) {
      const id = domain.members[i];
      if (this.dataplane.ports[id].router !== ROUTER_ALWAYS) this.targets[count++] = id;
    }
    return count;
  }

  toPort(packet: Packet, port: number): void {
    this.dataplane.originateTo(packet, this.domain as Domain, port);
  }
}
