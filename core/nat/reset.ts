/**
 * TCP resets of the router's own (RFC 9293, 3.5.2): to the sender of a segment whose connection is refused by policy, or is not known. As
 * with ICMP errors, and out of the same allowance, they go back the way the segment came.
 */

import { checksum, pseudoHeaderSum4, pseudoHeaderSum6 } from '../packet/checksum.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { MAPPED } from '../router/address.js';
import { OWN_TTL } from '../router/icmp.js';
import type { RouterInterface } from '../router/interface.js';
import type { Router } from '../router/router.js';
import { isGroupDestination } from '../switch/admit.js';
import { ETHERNET_HEADER_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, setEthernetHeader } from '../wire/ethernet.js';
import { IPV4_DESTINATION, IPV4_HEADER_LENGTH, IPV4_SOURCE, PROTOCOL_TCP } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HEADER_LENGTH, IPV6_SOURCE } from '../wire/ipv6.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGMENT,
  TCP_CHECKSUM,
  TCP_FIN,
  TCP_FLAGS,
  TCP_HEADER_LENGTH,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SYN,
  tcpHeaderLength,
} from '../wire/tcp.js';

/** Version 4, five words of header, no type of service. */
const IPV4_FIRST = 0x4500;
/** Don't fragment. */
const IPV4_DF = 0x4000;
/** Data offset of five words. */
const TCP_OFFSET = 0x50;
/** An Ethernet frame is 60 octets at least. */
const MIN_FRAME = 60;

export class Resets {
  /** Resets sent. */
  sent = 0;
  private readonly router: Router;

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
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const l3 = reset.start + ETHERNET_HEADER_LENGTH;
    const l4 = l3 + (isIpv4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH);
    if (isIpv4) this.writeHeader4(l3, packet);
    else this.writeHeader6(l3, packet);
    this.writeSegment(l4, packet);
    const sum = isIpv4
      ? pseudoHeaderSum4(arena.view, l3, PROTOCOL_TCP, TCP_HEADER_LENGTH)
      : pseudoHeaderSum6(arena.view, l3, PROTOCOL_TCP, TCP_HEADER_LENGTH);
    arena.view.setUint16(l4 + TCP_CHECKSUM, checksum(arena, l4, TCP_HEADER_LENGTH, sum));
    this.dispatch(reset, l4 + TCP_HEADER_LENGTH, packet, from);
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

  private writeHeader4(l3: number, packet: Packet): void {
    const { arena } = this.router;
    const { view } = arena;
    view.setUint16(l3, IPV4_FIRST);
    view.setUint16(l3 + 2, IPV4_HEADER_LENGTH + TCP_HEADER_LENGTH);
    view.setUint16(l3 + 4, 0);
    view.setUint16(l3 + 6, IPV4_DF);
    view.setUint16(l3 + 8, (OWN_TTL << 8) | PROTOCOL_TCP);
    view.setUint16(l3 + 10, 0);
    view.setInt32(l3 + IPV4_SOURCE, view.getInt32(packet.l3 + IPV4_DESTINATION));
    view.setInt32(l3 + IPV4_DESTINATION, view.getInt32(packet.l3 + IPV4_SOURCE));
    view.setUint16(l3 + 10, checksum(arena, l3, IPV4_HEADER_LENGTH, 0));
  }

  private writeHeader6(l3: number, packet: Packet): void {
    const { view } = this.router.arena;
    view.setInt32(l3, 0x60000000);
    view.setUint16(l3 + 4, TCP_HEADER_LENGTH);
    view.setUint16(l3 + 6, (PROTOCOL_TCP << 8) | OWN_TTL);
    for (let i = 0; i < 16; i += 4) {
      view.setInt32(l3 + IPV6_SOURCE + i, view.getInt32(packet.l3 + IPV6_DESTINATION + i));
      view.setInt32(l3 + IPV6_DESTINATION + i, view.getInt32(packet.l3 + IPV6_SOURCE + i));
    }
  }

  /** RFC 9293, 3.10.7.1: what the sender must believe, whether it has said what it expects or not. */
  private writeSegment(l4: number, packet: Packet): void {
    const { view } = this.router.arena;
    const flags = view.getUint8(packet.l4 + TCP_FLAGS);
    const isAnswer = (flags & TCP_ACK) !== 0;
    const ports = view.getInt32(packet.l4);
    const length = packet.l3End - packet.l4 - tcpHeaderLength(view, packet.l4);
    const spoken = length + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    view.setInt32(l4, (ports << 16) | (ports >>> 16));
    view.setInt32(l4 + TCP_SEQUENCE, isAnswer ? view.getInt32(packet.l4 + TCP_ACKNOWLEDGMENT) : 0);
    view.setInt32(l4 + TCP_ACKNOWLEDGMENT, isAnswer ? 0 : view.getInt32(packet.l4 + TCP_SEQUENCE) + spoken);
    view.setUint8(l4 + 12, TCP_OFFSET);
    view.setUint8(l4 + TCP_FLAGS, isAnswer ? TCP_RST : TCP_RST | TCP_ACK);
    view.setUint16(l4 + 14, 0);
    view.setInt32(l4 + TCP_CHECKSUM, 0);
  }

  private dispatch(reset: Packet, end: number, packet: Packet, from: RouterInterface): void {
    const { arena } = this.router;
    const type = packet.etherType === ETHERTYPE_IPV4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
    const { macHigh, macLow } = from;
    setEthernetHeader(arena.view, reset.start, packet.srcHigh, packet.srcLow, macHigh, macLow, type);
    reset.length = end - reset.start;
    while (reset.length < MIN_FRAME) arena.bytes[reset.start + reset.length++] = 0;
    this.sent++;
    this.router.sendFrame(reset, from);
  }
}
