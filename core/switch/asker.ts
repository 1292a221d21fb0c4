/** Sends a domain's queries: general ones to all or to what is behind a new port, specific ones after a leave. */

import type { Packet } from '../packet/packet.js';
import type { Group } from './mdb.js';
import type { MemberAsker, SnoopingPort } from './membership.js';
import {
  IGMP_GENERAL,
  IGMP_QUICK,
  MLD_GENERAL,
  MLD_QUICK,
  type QuerySource,
  writeIgmpQueryFrame,
  writeMldQueryFrame,
} from './query-frame.js';

/** More new ports than this at once are asked with one query for all. */
const NEW_PORTS_A_TICK = 8;

/** Makes frames of the dataplane's own. */
export interface Originator {
  /** A slot's handle with `start` set behind the headroom, to fill with an untagged frame; null where no slot is free. */
  begin(): Packet | null;
  /** Sends it (packet.length set) to every port of the domain. Takes over the slot. */
  toAll(packet: Packet): void;
  /** Sends it to one port. Takes over the slot. */
  toPort(packet: Packet, port: number): void;
}

/** All methods return false, and leave it for the next tick, where no slot is free. */
export class Asker implements MemberAsker {
  /** Queries sent. */
  count = 0;
  /** Source of the queries. */
  source: QuerySource;
  private originator: Originator | null = null;
  private view: DataView = new DataView(new ArrayBuffer(0));

  constructor(source: QuerySource) {
    this.source = source;
  }

  /** Says how the next ones are sent, and in which memory their slots lie. */
  use(originator: Originator, view: DataView): void {
    this.originator = originator;
    this.view = view;
  }

  /** IGMP, to every port. */
  askIgmp(): boolean {
    return this.send(0, true, false, null);
  }

  /** MLD, to every port. */
  askMld(): boolean {
    return this.send(0, false, false, null);
  }

  /**
   * Asks what is behind ports whose time has come (`askIn`). Called once a tick, also while another is the querier: its next query may
   * be two minutes off, and a query with a lower claim than his does no harm (RFC 4541, 2.1.1: "for faster network convergence").
   */
  askNewPorts(ports: readonly SnoopingPort[]): void {
    let due = 0;
    for (const port of ports) {
      if (port.askIn > 1) port.askIn--;
      else if (port.askIn === 1) due++;
    }
    if (due === 0) return;
    if (due <= NEW_PORTS_A_TICK) this.askEach(ports);
    else if (this.send(0, true, true, null) && this.send(0, false, true, null)) for (const port of ports) asked(port);
  }

  /** Specific, to one member. */
  askMember(group: Group, index: number): boolean {
    return this.send(group.ports[index], group.isIpv4, true, group);
  }

  private askEach(ports: readonly SnoopingPort[]): void {
    for (const port of ports) {
      if (port.askIn !== 1) continue;
      if (!this.send(port.id, true, true, null) || !this.send(port.id, false, true, null)) return;
      asked(port);
    }
  }

  /**
   * @param port 0: all
   * @param isQuick answers are to come within a second
   * @param group null: general
   */
  private send(port: number, isIpv4: boolean, isQuick: boolean, group: Group | null): boolean {
    const originator = this.originator;
    const packet = originator === null ? null : originator.begin();
    if (originator === null || packet === null) return false;
    this.write(packet, isIpv4, isQuick, group);
    if (port === 0) originator.toAll(packet);
    else originator.toPort(packet, port);
    this.count++;
    return true;
  }

  private write(packet: Packet, isIpv4: boolean, isQuick: boolean, group: Group | null): void {
    const { view, source } = this;
    if (isIpv4) {
      const address = group === null ? 0 : group.d;
      writeIgmpQueryFrame(view, packet, source, address, isQuick ? IGMP_QUICK : IGMP_GENERAL);
      return;
    }
    const fields = isQuick ? MLD_QUICK : MLD_GENERAL;
    if (group === null) writeMldQueryFrame(view, packet, source, 0, 0, 0, 0, fields);
    else writeMldQueryFrame(view, packet, source, group.a, group.b, group.c, group.d, fields);
  }
}

function asked(port: SnoopingPort): void {
  if (port.askIn === 1) port.askIn = 0;
}
