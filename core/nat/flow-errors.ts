/**
 * ICMP errors about flows (RFC 5508, 4; RFC 4787, REQ-12; RFC 5382, REQ-9 and 10): found by the packet that they quote, translated outside
 * and inside, and otherwise without effect: they neither refresh a flow nor end it, whatever they say.
 */

import { DROP_NONE } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import type { RouterInterface } from '../router/interface.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import {
  DIRECTION_ORIGINAL,
  FLOW_DESTINATION,
  FLOW_DNAT,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SNAT,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  kindOf,
  mirrorPorts,
} from './flow.js';
import type { FlowTable } from './flow-table.js';
import { embedded, isIcmpError, readEmbedded4, readEmbedded6, translateError4, translateError6 } from './icmp-error.js';

export class ErrorTranslator {
  private readonly view: DataView;
  private readonly table: FlowTable;
  /** Source and destination of the quoted packet, the other way round. */
  private readonly mirrored = new Int32Array(8);
  /** Source and destination of the error, and of what it quotes, as they will be. */
  private readonly words = new Int32Array(16);

  constructor(view: DataView, table: FlowTable) {
    this.view = view;
    this.table = table;
  }

  /**
   * The flow that an error is about: the quoted packet left us as the mirror image of its answers.
   * @returns flow and direction in which the error goes, as packets of that direction do; -1: none
   */
  find4(packet: Packet, from: RouterInterface): number {
    if (!isIcmpError(this.view, packet) || readEmbedded4(this.view, packet) !== DROP_NONE) return -1;
    const kind = kindOf(from.vrf, embedded.protocol, false);
    return this.table.find4(kind, embedded.destination, embedded.source, mirrorPorts(embedded.ports));
  }

  find6(packet: Packet, from: RouterInterface): number {
    if (!isIcmpError(this.view, packet) || readEmbedded6(this.view, packet) !== DROP_NONE) return -1;
    const { mirrored } = this;
    for (let i = 0; i < 4; i++) {
      mirrored[i] = embedded.words[4 + i];
      mirrored[4 + i] = embedded.words[i];
    }
    const kind = kindOf(from.vrf, embedded.protocol, true);
    return this.table.findWords6(kind, mirrored, mirrorPorts(embedded.ports));
  }

  /** Gives an error the addresses that it leaves with. It is in its slot as `find4` or `find6` has found it. */
  translate(packet: Packet, found: number): void {
    if (packet.etherType === ETHERTYPE_IPV4) this.translate4(packet, found);
    else this.translate6(packet, found);
  }

  private translate4(packet: Packet, found: number): void {
    const { view } = this;
    const { words } = this.table;
    // What was found may have been of another packet since: one that has waited comes by again.
    readEmbedded4(view, packet);
    const at = (found >> 1) * FLOW_WORDS;
    const isOriginal = (found & 1) === DIRECTION_ORIGINAL;
    // Packets of the error's direction leave from `source` to `destination`; the quoted one came from there, to where those go.
    const source = words[at + (isOriginal ? FLOW_REPLY_DESTINATION : FLOW_DESTINATION)];
    const destination = words[at + (isOriginal ? FLOW_REPLY_SOURCE : FLOW_SOURCE)];
    const ports = words[at + (isOriginal ? FLOW_REPLY_PORTS : FLOW_PORTS)];
    const outer = view.getInt32(packet.l3 + IPV4_SOURCE);
    const isHidden = outer === embedded.destination || this.hidesSource(at, isOriginal);
    translateError4(view, packet, isHidden ? source : outer, destination, destination, source, ports);
  }

  private translate6(packet: Packet, found: number): void {
    const { view, words } = this;
    const { addresses6 } = this.table;
    readEmbedded6(view, packet);
    const at = (found >> 1) * FLOW_WORDS;
    const isOriginal = (found & 1) === DIRECTION_ORIGINAL;
    const other = (found >> 1) * 16 + (isOriginal ? 8 : 0);
    const ports = this.table.words[at + (isOriginal ? FLOW_REPLY_PORTS : FLOW_PORTS)];
    const isFromEnd = this.isOuterSource(packet);
    for (let i = 0; i < 4; i++) {
      const source = addresses6[other + 4 + i];
      const destination = addresses6[other + i];
      const isHidden = isFromEnd || this.hidesSource(at, isOriginal);
      words[i] = isHidden ? source : view.getInt32(packet.l3 + IPV6_SOURCE + i * 4);
      words[4 + i] = destination;
      words[8 + i] = destination;
      words[12 + i] = source;
    }
    translateError6(view, packet, words, 0, ports);
  }

  /** Whether the error comes from whom the quoted packet was for. */
  private isOuterSource(packet: Packet): boolean {
    for (let i = 0; i < 4; i++) {
      if (this.view.getInt32(packet.l3 + IPV6_SOURCE + i * 4) !== embedded.words[4 + i]) return false;
    }
    return true;
  }

  /** Whether packets of that direction leave from another address than they have: then so do errors of routers on their way (REQ-5). */
  private hidesSource(at: number, isOriginal: boolean): boolean {
    return (this.table.words[at + FLOW_STATE] & (isOriginal ? FLOW_SNAT : FLOW_DNAT)) !== 0;
  }
}
