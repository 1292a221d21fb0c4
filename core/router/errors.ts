/** ICMP errors of the router: whether one is due, and its sending, back the way the packet came. */

import type { Packet } from '../packet/packet.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, setEthernetHeader } from '../wire/ethernet.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { MAPPED } from './address.js';
import type { RouterContext } from './context.js';
import { isErrorAllowed4, writeIcmpError } from './icmp.js';
import { IcmpLimiter } from './icmp-limit.js';
import {
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_UNKNOWN_OPTION,
  isErrorAllowed6,
  writeIcmpv6Error,
} from './icmpv6.js';
import type { RouterInterface } from './interface.js';

/** First octet of a group's address. */
const MULTICAST = 0xff;

export class IcmpErrors {
  readonly limiter = new IcmpLimiter();
  private readonly context: RouterContext;
  /** Of the IPv4 header: errors may be fragmented on their way (RFC 6864, 4.1). */
  private identification = 0;

  constructor(context: RouterContext) {
    this.context = context;
  }

  /**
   * Answers a packet that is about to be dropped, and is as it came.
   * @param from where it came in
   * @param extra the word behind the checksum: next-hop MTU, pointer
   */
  send4(packet: Packet, from: RouterInterface, type: number, code: number, extra: number): void {
    const { context } = this;
    const { view } = context.arena;
    if (!isErrorAllowed4(view, packet)) return;
    const receiver = view.getInt32(packet.l3 + IPV4_SOURCE);
    const source = from.source4(receiver);
    if (source === 0 || from.isBroadcast4(receiver)) return;
    if (!this.limiter.admit(0, 0, MAPPED, receiver, packet.port, context.milliseconds)) return;
    const error = context.begin();
    if (error === null) return;
    this.identification = (this.identification + 1) & 0xffff;
    writeIcmpError(context.arena, error, packet, type, code, extra, source, this.identification);
    this.send(error, packet, from, ETHERTYPE_IPV4);
  }

  /**
   * The same for IPv6.
   * @param isForUs the packet is for an address of the router's: the answer comes from there, wherever it is (RFC 4443, 2.2(a))
   */
  send6(packet: Packet, from: RouterInterface, type: number, code: number, extra: number, isForUs = false): void {
    const { context } = this;
    const { view } = context.arena;
    if (!isErrorAllowed6(view, packet, isForGroups(type, code))) return;
    const at = packet.l3 + IPV6_SOURCE;
    const a = view.getInt32(at);
    const b = view.getInt32(at + 4);
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    if (!this.limiter.admit(a, b, c, d, packet.port, context.milliseconds)) return;
    const error = context.begin();
    if (error === null) return;
    this.writeError6(error, packet, from, type, code, extra, isForUs);
    this.send(error, packet, from, ETHERTYPE_IPV6);
  }

  private writeError6(
    error: Packet,
    packet: Packet,
    from: RouterInterface,
    type: number,
    code: number,
    extra: number,
    isForUs: boolean,
  ): void {
    const { arena } = this.context;
    const { view } = arena;
    const to = packet.l3 + IPV6_DESTINATION;
    if (isForUs && view.getUint8(to) !== MULTICAST) {
      const a = view.getInt32(to);
      const b = view.getInt32(to + 4);
      const c = view.getInt32(to + 8);
      const d = view.getInt32(to + 12);
      writeIcmpv6Error(arena, error, packet, type, code, extra, a, b, c, d);
      return;
    }
    const at = packet.l3 + IPV6_SOURCE;
    const own = from.source6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
    const words = own < 0 ? from.linkLocal : from.addresses6;
    const i = Math.max(own, 0);
    writeIcmpv6Error(arena, error, packet, type, code, extra, words[i], words[i + 1], words[i + 2], words[i + 3]);
  }

  private send(error: Packet, packet: Packet, from: RouterInterface, etherType: number): void {
    const { view } = this.context.arena;
    setEthernetHeader(view, error.start, packet.srcHigh, packet.srcLow, from.macHigh, from.macLow, etherType);
    this.context.sendFrame(error, from);
  }
}

/** The errors that are also sent about packets to a group (RFC 4443, 2.4(e.3)). */
function isForGroups(type: number, code: number): boolean {
  return type === ICMPV6_PACKET_TOO_BIG || (type === ICMPV6_PARAMETER_PROBLEM && code === ICMPV6_UNKNOWN_OPTION);
}
