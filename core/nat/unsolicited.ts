/**
 * Connections from outside that nobody waits for (RFC 5382, REQ-4): a SYN to an address of the router's, at a port that is neither published
 * nor mapped, is kept for six seconds before its sender is told, since the other side of a simultaneous open may be on its way. If that
 * comes meanwhile, the SYN is dropped without a word, and its repetition finds the flow.
 */

import type { Dataplane } from '../dataplane.js';
import { DROP_UNSOLICITED } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import { ICMP_PORT_UNREACHABLE } from '../router/icmp.js';
import { ICMPV6_PORT_UNREACHABLE, ICMPV6_UNREACHABLE } from '../router/icmpv6.js';
import type { Router } from '../router/router.js';
import { refuse } from '../verdict.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ICMP_UNREACHABLE } from '../wire/icmp.js';
import { IPV4_DESTINATION, IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { kindOf } from './flow.js';
import type { FlowTable } from './flow-table.js';
import { portsOf } from './rewrite.js';

/** Seconds. */
const PATIENCE = 6;
/** Segments kept at a time, a slot each. More are dropped at once, in silence. */
const MAX_HELD = 128;

export class Unsolicited {
  private readonly dataplane: Dataplane;
  private readonly router: Router;
  private readonly table: FlowTable;
  /** A ring: slots by the time they came, and when that was in milliseconds. */
  private readonly slots = new Int32Array(MAX_HELD);
  private readonly since = new Int32Array(MAX_HELD);
  private first = 0;
  /** Segments that are kept. */
  held = 0;

  constructor(dataplane: Dataplane, router: Router, table: FlowTable) {
    this.dataplane = dataplane;
    this.router = router;
    this.table = table;
  }

  /** @returns false: there is no room, and the packet is to be dropped, for `packet.reason` */
  hold(packet: Packet): boolean {
    if (this.held === MAX_HELD) {
      refuse(packet, DROP_UNSOLICITED);
      return false;
    }
    const at = (this.first + this.held++) & (MAX_HELD - 1);
    this.slots[at] = packet.slot;
    this.since[at] = this.dataplane.milliseconds;
    return true;
  }

  /** Once a turn. */
  tick(): void {
    while (this.held > 0 && this.isDue(this.first)) {
      const packet = this.dataplane.arena.packets[this.slots[this.first]];
      this.first = (this.first + 1) & (MAX_HELD - 1);
      this.held--;
      this.giveUp(packet);
    }
  }

  /** A port goes, and what came in by it. */
  giveUpFrom(port: number, reason: number): void {
    const { packets } = this.dataplane.arena;
    const count = this.held;
    this.held = 0;
    for (let i = 0; i < count; i++) {
      const from = (this.first + i) & (MAX_HELD - 1);
      const packet = packets[this.slots[from]];
      if (packet.port === port) {
        packet.reason = reason;
        this.dataplane.abandon(packet);
        continue;
      }
      const to = (this.first + this.held++) & (MAX_HELD - 1);
      this.slots[to] = this.slots[from];
      this.since[to] = this.since[from];
    }
  }

  private isDue(at: number): boolean {
    return ((this.dataplane.milliseconds - this.since[at]) | 0) >= PATIENCE * 1000;
  }

  private giveUp(packet: Packet): void {
    const from = this.dataplane.interfaceOf(packet);
    packet.reason = DROP_UNSOLICITED;
    if (from !== null && !this.isExpected(packet, from.vrf)) {
      const { errors } = this.router;
      if (packet.etherType === ETHERTYPE_IPV4) errors.send4(packet, from, ICMP_UNREACHABLE, ICMP_PORT_UNREACHABLE, 0);
      else errors.send6(packet, from, ICMPV6_UNREACHABLE, ICMPV6_PORT_UNREACHABLE, 0, true);
    }
    this.dataplane.abandon(packet);
  }

  /** Somebody inside has opened the same connection from the other end. */
  private isExpected(packet: Packet, zone: number): boolean {
    const { view } = this.dataplane.arena;
    const { l3, protocol } = packet;
    const ports = portsOf(view, packet);
    if (packet.etherType !== ETHERTYPE_IPV4) {
      return this.table.find6(kindOf(zone, protocol, true), view, l3 + IPV6_SOURCE, ports) >= 0;
    }
    const source = view.getInt32(l3 + IPV4_SOURCE);
    return this.table.find4(kindOf(zone, protocol, false), source, view.getInt32(l3 + IPV4_DESTINATION), ports) >= 0;
  }
}
