/**
 * TCP resets of the router's own (RFC 9293, 3.5.2): to the sender of a segment whose connection is refused by policy, or is not known. As
 * with ICMP errors, and out of the same allowance, they go back the way the segment came.
 */

import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { MAPPED } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import type { Router } from '../router/router.js';
import { isGroupDestination } from '../switch/admit.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, setEthernetHeader } from '../wire/ethernet.js';
import { IPV4_DESTINATION, IPV4_SOURCE, PROTOCOL_TCP } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGMENT,
  TCP_FIN,
  TCP_FLAGS,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SYN,
  tcpHeaderLength,
} from '../wire/tcp.js';
import { ResetContent, writeReset } from './reset-frame.js';

export class Resets {
  /** Resets sent. */
  sent = 0;
  private readonly router: Router;
  private readonly content = new ResetContent();

  constructor(router: Router) {
    this.router = router;
  }

  /** Answers a TCP segment, unless that is a reset itself. The segment is as it came, and is about to be dropped. */
  send(packet: Packet, from: RouterInterface): void {
    const { arena } = this.router;
    if (packet.l4 === -1 || packet.protocol !== PROTOCOL_TCP || isGroupDestination(packet)) return;
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return;
    if ((arena.view.getUint8(packet.l4 + TCP_FLAGS) & TCP_RST) !== 0) return;
    if (!this.mayAnswer(packet)) return;
    const reset = this.router.begin();
    if (reset === null) return;
    this.fill(packet);
    writeReset(arena, reset, this.content);
    const type = packet.etherType === ETHERTYPE_IPV4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
    const { macHigh, macLow } = from;
    setEthernetHeader(arena.view, reset.start, packet.srcHigh, packet.srcLow, macHigh, macLow, type);
    this.sent++;
    this.router.sendFrame(reset, from);
  }

  private mayAnswer(packet: Packet): boolean {
    const { router } = this;
    const { view } = router.arena;
    const { limiter } = router.errors;
    const { l3, port } = packet;
    if (packet.etherType === ETHERTYPE_IPV4) {
      return limiter.admit(0, 0, MAPPED, view.getInt32(l3 + IPV4_SOURCE), port, router.milliseconds);
    }
    const at = l3 + IPV6_SOURCE;
    const a = view.getInt32(at);
    return limiter.admit(
      a,
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
      port,
      router.milliseconds,
    );
  }

  /** RFC 9293, 3.10.7.1: what the sender must believe, whether it has said what it expects or not. */
  private fill(packet: Packet): void {
    const { content } = this;
    const { view } = this.router.arena;
    const flags = view.getUint8(packet.l4 + TCP_FLAGS);
    const isAnswer = (flags & TCP_ACK) !== 0;
    const ports = view.getInt32(packet.l4);
    const length = packet.l3End - packet.l4 - tcpHeaderLength(view, packet.l4);
    const spoken = length + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    content.ports = (ports << 16) | (ports >>> 16);
    content.sequence = isAnswer ? view.getInt32(packet.l4 + TCP_ACKNOWLEDGMENT) : 0;
    content.acknowledgment = isAnswer ? 0 : view.getInt32(packet.l4 + TCP_SEQUENCE) + spoken;
    content.acknowledges = !isAnswer;
    this.turn(packet);
  }

  /** The segment's addresses, exchanged. */
  private turn({ l3, etherType }: Packet): void {
    const { view } = this.router.arena;
    const { addresses } = this.content;
    if (etherType === ETHERTYPE_IPV4) {
      addresses[0] = addresses[1] = addresses[4] = addresses[5] = 0;
      addresses[2] = addresses[6] = MAPPED;
      addresses[3] = view.getInt32(l3 + IPV4_DESTINATION);
      addresses[7] = view.getInt32(l3 + IPV4_SOURCE);
      return;
    }
    for (let i = 0; i < 4; i++) {
      addresses[i] = view.getInt32(l3 + IPV6_DESTINATION + i * 4);
      addresses[4 + i] = view.getInt32(l3 + IPV6_SOURCE + i * 4);
    }
  }
}
