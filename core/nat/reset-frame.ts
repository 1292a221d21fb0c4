/** A TCP reset (RFC 9293, 3.5.2) as a frame: all but the MACs, which say where it goes. */

import type { Arena } from '../packet/arena.js';
import { checksum, pseudoHeaderSum4, pseudoHeaderSum6 } from '../packet/checksum.js';
import type { Packet } from '../packet/packet.js';
import { isMapped } from '../router/address.js';
import { OWN_TTL } from '../router/icmp.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import { IPV4_DESTINATION, IPV4_HEADER_LENGTH, IPV4_SOURCE, PROTOCOL_TCP } from '../wire/ipv4.js';
import { IPV6_HEADER_LENGTH, IPV6_SOURCE } from '../wire/ipv6.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGMENT,
  TCP_CHECKSUM,
  TCP_FLAGS,
  TCP_HEADER_LENGTH,
  TCP_RST,
  TCP_SEQUENCE,
} from '../wire/tcp.js';

/** Version 4, five words of header, no type of service. */
const IPV4_FIRST = 0x4500;
/** Don't fragment. */
const IPV4_DF = 0x4000;
/** Data offset of five words. */
const TCP_OFFSET = 0x50;
/** An Ethernet frame is 60 octets at least. */
const MIN_FRAME = 60;

/** What a reset says. */
export class ResetContent {
  /** Source and destination, four words each, those of IPv4 mapped. */
  readonly addresses = new Int32Array(8);
  /** Source port in the upper half. */
  ports = 0;
  sequence = 0;
  acknowledgment = 0;
  /** With ACK: it answers what has acknowledged nothing. */
  acknowledges = false;
}

/** Writes IP and TCP behind the place of an Ethernet header, and sets the length. @param reset as `Router.begin` gives it */
export function writeReset(arena: Arena, reset: Packet, content: ResetContent): void {
  const { addresses } = content;
  const isIpv4 = isMapped(addresses[0], addresses[1], addresses[2]);
  const l3 = reset.start + ETHERNET_HEADER_LENGTH;
  const l4 = l3 + (isIpv4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH);
  if (isIpv4) writeHeader4(arena, l3, addresses);
  else writeHeader6(arena, l3, addresses);
  writeSegment(arena.view, l4, content);
  const sum = isIpv4
    ? pseudoHeaderSum4(arena.view, l3, PROTOCOL_TCP, TCP_HEADER_LENGTH)
    : pseudoHeaderSum6(arena.view, l3, PROTOCOL_TCP, TCP_HEADER_LENGTH);
  arena.view.setUint16(l4 + TCP_CHECKSUM, checksum(arena, l4, TCP_HEADER_LENGTH, sum));
  reset.length = l4 + TCP_HEADER_LENGTH - reset.start;
  while (reset.length < MIN_FRAME) arena.bytes[reset.start + reset.length++] = 0;
}

function writeHeader4(arena: Arena, l3: number, addresses: Int32Array): void {
  const { view } = arena;
  view.setUint16(l3, IPV4_FIRST);
  view.setUint16(l3 + 2, IPV4_HEADER_LENGTH + TCP_HEADER_LENGTH);
  view.setUint16(l3 + 4, 0);
  view.setUint16(l3 + 6, IPV4_DF);
  view.setUint16(l3 + 8, (OWN_TTL << 8) | PROTOCOL_TCP);
  view.setUint16(l3 + 10, 0);
  view.setInt32(l3 + IPV4_SOURCE, addresses[3]);
  view.setInt32(l3 + IPV4_DESTINATION, addresses[7]);
  view.setUint16(l3 + 10, checksum(arena, l3, IPV4_HEADER_LENGTH, 0));
}

function writeHeader6({ view }: Arena, l3: number, addresses: Int32Array): void {
  view.setInt32(l3, 0x60000000);
  view.setUint16(l3 + 4, TCP_HEADER_LENGTH);
  view.setUint16(l3 + 6, (PROTOCOL_TCP << 8) | OWN_TTL);
  for (let i = 0; i < 8; i++) view.setInt32(l3 + IPV6_SOURCE + i * 4, addresses[i]);
}

function writeSegment(view: DataView, l4: number, content: ResetContent): void {
  view.setInt32(l4, content.ports);
  view.setInt32(l4 + TCP_SEQUENCE, content.sequence);
  view.setInt32(l4 + TCP_ACKNOWLEDGMENT, content.acknowledgment);
  view.setUint8(l4 + 12, TCP_OFFSET);
  view.setUint8(l4 + TCP_FLAGS, content.acknowledges ? TCP_RST | TCP_ACK : TCP_RST);
  view.setUint16(l4 + 14, 0);
  view.setInt32(l4 + TCP_CHECKSUM, 0);
}
