/**
 * The packet in hand that belongs to no flow: as it came, and as it would leave. Stages of its way (open.ts, core/lb/entry.ts) read here what
 * those before have found; one packet at a time.
 *
 * Addresses are four words, those of IPv4 mapped: one path for both families, as it is walked once a flow.
 */

import type { Service } from '../lb/services.js';
import type { Packet } from '../packet/packet.js';
import { MAPPED } from '../router/address.js';
import { IPV4_DESTINATION, IPV4_SOURCE, PROTOCOL_TCP } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { TCP_ACK, TCP_FLAGS, TCP_RST, TCP_SYN } from '../wire/tcp.js';

/** What has been found at the packet's destination. */
export const INSIDE_NONE = 0;
export const INSIDE_PUBLISHED = 1;
export const INSIDE_MAPPING = 2;
export const INSIDE_PREFIX = 3;
export const INSIDE_EXPECTED = 4;
export const INSIDE_SERVICE = 5;

/** A packet of a flood: it goes on translated, and no flow begins. */
export const PASSING_NONE = 0;
export const PASSING_IN = 1;
/** One that a backend answers with. */
export const PASSING_OUT = 2;

/** Places in `before` and `after`. */
export const SOURCE = 0;
export const DESTINATION = 4;

export class Arrival {
  /** Source and destination, as it came; and as it would leave. */
  readonly before = new Int32Array(8);
  readonly after = new Int32Array(8);
  /** Ports likewise. */
  portsBefore = 0;
  portsAfter = 0;
  inside = INSIDE_NONE;
  /** What a gateway expects the packet as (core/alg); -1: none does. */
  expected = -1;
  /** External address of the mapping that has been taken; 0: none. */
  external = 0;
  /** Number of the backend that a service has chosen; 0: none has. */
  backend = 0;
  /** Whose turn it was: the service, and the first word of the backend's record; null: nobody's, a hash has chosen. */
  turnOf: Service | null = null;
  turnAt = 0;
  /** The backend takes packets with the service's address; `via` is its own. */
  isDirect = false;
  readonly via = new Int32Array(4);
  /** A segment in the middle of a connection that may go on all the same. */
  isPickedUp = false;
  passing = PASSING_NONE;

  /** What was found for the packet before. */
  forget(): void {
    this.inside = INSIDE_NONE;
    this.external = 0;
    this.expected = -1;
    this.backend = 0;
    this.turnOf = null;
    this.isDirect = false;
    this.isPickedUp = false;
    this.passing = PASSING_NONE;
  }

  read4(view: DataView, packet: Packet): void {
    const { before, after } = this;
    before[0] = 0;
    before[1] = 0;
    before[2] = MAPPED;
    before[3] = view.getInt32(packet.l3 + IPV4_SOURCE);
    before[4] = 0;
    before[5] = 0;
    before[6] = MAPPED;
    before[7] = view.getInt32(packet.l3 + IPV4_DESTINATION);
    for (let i = 0; i < 8; i++) after[i] = before[i];
  }

  read6(view: DataView, packet: Packet): void {
    const { before, after } = this;
    for (let i = 0; i < 8; i++) after[i] = before[i] = view.getInt32(packet.l3 + IPV6_SOURCE + i * 4);
  }
}

/** A TCP segment that is no SYN belongs to a connection that began elsewhere; of all else any packet begins one. */
export function beginsConnection(view: DataView, packet: Packet): boolean {
  if (packet.protocol !== PROTOCOL_TCP) return true;
  const flags = view.getUint8(packet.l4 + TCP_FLAGS);
  return (flags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN;
}
